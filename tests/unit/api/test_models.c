/* The model management endpoints: create in its forms, show, tags, copy, delete, blobs, and capabilities. */
#include "fake.h"

#include "api/api_model.h"

static json_t *parse_body(void)
{
	json_t *v;
	struct err err;
	ck_assert_msg(!json_parse(str_cstr(&fake.body), fake.body.len, &v, &err), "%s: %s", err.msg, str_cstr(&fake.body));
	return v;
}

static json_t *show(const char *body)
{
	request(api_show, body, NULL);
	ck_assert_msg(fake.status == 200, "%s", str_cstr(&fake.body));
	return parse_body();
}

static const char *text_at(const json_t *v, const char *key)
{
	return api_json_text(v, key);
}

static char *compact(const json_t *v)
{
	static char *last;
	free(last);
	last = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);
	return last;
}

START_TEST(create_and_show)
{
	fake_create("made", ",\"system\":\"Be \\\"nice\\\".\",\"parameters\":{\"temperature\":0.2,\"stop\":[\"a\",\"<b>\"],\"num_ctx\":2048},"
			    "\"license\":[\"MIT\",\"Second\"],\"messages\":[{\"role\":\"user\",\"content\":\"q\\nr\"}],"
			    "\"template\":\"{{ .Prompt }}{{ .Suffix }}\",\"requires\":\"0.1.0\"");
	json_t *v = show("{\"name\":\"MADE\",\"options\":{\"temperature\":0.5}}");
	ck_assert_str_eq(text_at(v, "license"), "MIT\nSecond");
	ck_assert_str_eq(text_at(v, "parameters"),
			 "num_ctx                        2048\nstop                           \"a\"\n"
			 "stop                           \"<b>\"\ntemperature                    0.2");
	ck_assert_str_eq(text_at(v, "template"), "{{ .Prompt }}{{ .Suffix }}");
	ck_assert_str_eq(text_at(v, "system"), "Be \"nice\".");
	ck_assert_str_eq(compact(json_get(v, "details")),
			 "{\"parent_model\":\"\",\"format\":\"gguf\",\"family\":\"llama\",\"families\":[\"llama\"],\"parameter_size\":\"134.52M\","
			 "\"quantization_level\":\"Q4_1\"}");
	ck_assert_str_eq(compact(json_get(v, "model_info")), "{\"a\":2,\"general.parameter_count\":134515008,\"z\":1}");
	ck_assert_str_eq(compact(json_get(v, "capabilities")), "[\"completion\",\"insert\"]");
	ck_assert_str_eq(compact(json_get(v, "messages")), "[{\"role\":\"user\",\"content\":\"q\\nr\"}]");
	ck_assert_str_eq(text_at(v, "requires"), "0.1.0");
	const char *file = text_at(v, "modelfile");
	ck_assert_ptr_nonnull(strstr(file, "# FROM made:latest\n\nFROM /"));
	ck_assert_ptr_nonnull(strstr(file, "\nSYSTEM Be \"nice\".\nPARAMETER num_ctx 2048\nPARAMETER stop a\nPARAMETER stop <b>\n"
					   "PARAMETER temperature 0.5\nLICENSE MIT\nLICENSE Second\nMESSAGE user \"q\nr\"\n"));
	json_decref(v);
}
END_TEST

START_TEST(create_from)
{
	fake_create("base", ",\"system\":\"S\",\"parameters\":{\"top_k\":1,\"stop\":[\"x\"]}");
	request(api_create, "{\"model\":\"made\",\"from\":\"Base\",\"system\":\"T\",\"parameters\":{\"top_k\":2},"
			    "\"info\":{\"model_family\":\"fam\",\"capabilities\":[\"vision\"],\"context_length\":9}}", NULL);
	ck_assert(fake.ended);
	ck_assert_str_eq(fake.type, "application/x-ndjson");
	ck_assert(starts_with(fake.body.data, "{\"status\":\"using existing layer sha256:"));
	ck_assert(ends_with(fake.body.data, "{\"status\":\"writing manifest\"}\n{\"status\":\"success\"}\n"));
	json_t *v = show("{\"model\":\"made\"}");
	ck_assert_str_eq(text_at(v, "system"), "T");
	ck_assert_str_eq(text_at(v, "parameters"), "stop                           \"x\"\ntop_k                          2");
	ck_assert_str_eq(text_at(json_get(v, "details"), "parent_model"), "base:latest");
	ck_assert_str_eq(compact(json_get(json_get(v, "details"), "families")), "[\"fam\",\"llama\"]");
	ck_assert_str_eq(compact(json_get(v, "capabilities")), "[\"vision\",\"completion\"]");
	json_decref(v);
	/* overwriting the base leaves what the other uses */
	request(api_delete, "{\"name\":\"BASE\"}", NULL);
	ck_assert_int_eq(fake.status, 200);
	ck_assert_uint_eq(fake.body.len, 0);
	json_decref(show("{\"model\":\"made\"}"));
	request(api_show, "{\"model\":\"base\"}", NULL);
	ck_assert_str_eq(fake.body.data, "{\"error\":\"model 'base:latest' not found\"}");
}
END_TEST

START_TEST(create_detected)
{
	static const char facts[] =
		"{\"arch\":\"llama\",\"chat_template\":\"{{ x }}\",\"detected_template\":{\"name\":\"chatml\",\"text\":"
		"\"{{ range .Messages }}{{ .Role }}{{ end }}\",\"params\":{\"stop\":[\"<|im_start|>\",\"<|im_end|>\"]}}}";
	fs.facts = facts;
	fake_create("c", "");
	json_t *v = show("{\"model\":\"c\"}");
	ck_assert_ptr_nonnull(strstr(text_at(v, "template"), "range .Messages"));
	ck_assert_ptr_nonnull(strstr(text_at(v, "parameters"), "\"<|im_end|>\""));
	json_decref(v);
	/* a file whose template is another keeps it */
	fs.facts = "{\"arch\":\"llama\",\"chat_template\":\"{{ messages }} tools tool_calls <tool_response>\",\"template_tools\":true}";
	fake_create("d", "");
	v = show("{\"model\":\"d\"}");
	ck_assert(starts_with(text_at(v, "template"), "{{ messages }}"));
	ck_assert_str_eq(compact(json_get(v, "capabilities")), "[\"tools\",\"completion\"]");
	json_decref(v);
	/* a plain Go template on top of it does not take the tools away; one that knows tools wins */
	fake_create("e", ",\"template\":\"{{ .Prompt }}\"");
	v = show("{\"model\":\"e\"}");
	ck_assert_str_eq(compact(json_get(v, "capabilities")), "[\"tools\",\"completion\"]");
	json_decref(v);
	fake_create("f", ",\"template\":\"{{ .Tools }}{{ .ToolCalls }}<tool_response>{{ .Thinking }}\"");
	v = show("{\"model\":\"f\"}");
	ck_assert_str_eq(compact(json_get(v, "capabilities")), "[\"completion\",\"tools\",\"thinking\"]");
	json_decref(v);
}
END_TEST

START_TEST(create_refused)
{
	static const struct {
		const char *body;
		int status;
		const char *text;
	} cases[] = {
		{"", 400, "{\"error\":\"missing request body\"}"},
		{"{\"from\":\"m\"}", 400, "{\"error\":\"invalid model name\"}"},
		{"{\"model\":\"x\",\"stream\":false}", 400, "{\"error\":\"neither 'from' or 'files' was specified\"}"},
		{"{\"model\":\"x\",\"from\":\"a b\"}", 400, "{\"error\":\"invalid model name\"}"},
		{"{\"model\":\"x\",\"files\":{}}", 400, "{\"error\":\"unknown type\"}"},
		{"{\"model\":\"x\",\"files\":{\"../x\":\"y\"}}", 400, "{\"error\":\"file path must be relative\"}"},
		{"{\"model\":\"x\",\"files\":{\"a/../../x\":\"y\"}}", 400, "{\"error\":\"file path must be relative\"}"},
		{"{\"model\":\"x\",\"files\":{\"/x\":\"y\"}}", 400, "{\"error\":\"file path must be relative\"}"},
		{"{\"model\":\"x\",\"files\":{\"x.gguf\":\"sha256:zz\"},\"stream\":false}", 400, "{\"error\":\"invalid digest format\"}"},
		{"{\"model\":\"x\",\"files\":{\"x.gguf\":\"sha256:zz\"}}", 200,
		 "{\"status\":\"parsing GGUF\"}\n{\"error\":\"invalid digest format\"}\n"},
		{"{\"model\":\"x\",\"from\":\"m\",\"template\":\"a\\n{{ .X\"}", 400,
		 "{\"error\":\"template error: template: :2: unclosed action\"}"},
		{"{\"model\":\"x\",\"from\":\"m\",\"license\":5}", 500,
		 "{\"error\":\"json: cannot unmarshal number into Go value of type []string\"}"},
		{"{\"model\":\"x\",\"from\":\"m\",\"quantize\":\"q2\"}", 500,
		 "{\"error\":\"unsupported quantization type Q2 - supported types are F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, "
		 "Q3_K_S, Q3_K_M, Q3_K_L, Q4_K_S, Q4_K_M, Q5_K_S, Q5_K_M, Q6_K\"}"},
		{"{\"model\":\"x\",\"files\":{\"model.safetensors\":\"sha256:zz\"}}", 200,
		 "{\"status\":\"converting model\"}\n{\"error\":\"open config.json: no such file or directory\"}\n"},
		{"{\"model\":\"x\",\"from\":\"m\",\"draft_quantize\":\"q8_0\"}", 400,
		 "{\"error\":\"--draft-quantize requires a DRAFT model\"}"},
		{"{\"model\":\"x\",\"from\":\"m\",\"info\":{\"context_length\":\"big\"}}", 400,
		 "{\"error\":\"info field \\\"context_length\\\" must be a number\"}"},
		{"{\"model\":\"x\",\"from\":\"m\",\"info\":{\"context_length\":-1}}", 400,
		 "{\"error\":\"info field \\\"context_length\\\" must be a non-negative integer\"}"},
		{"{\"model\":\"x\",\"from\":\"m\",\"adapters\":{\"a\":\"b\",\"c\":\"d\"}}", 400,
		 "{\"error\":\"only one adapter is currently supported\"}"},
	};
	fake_create("m", "");
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		request(api_create, cases[i].body, NULL);
		ck_assert_int_eq(fake.n_answer, 1);
		ck_assert_msg(fake.status == cases[i].status && str_eq(&fake.body, cases[i].text), "%s\n%d %s\nwanted\n%d %s",
			      cases[i].body, fake.status, str_cstr(&fake.body), cases[i].status, cases[i].text);
	}
	struct err err;
	struct str body = {0};
	char digest[72];
	fs.facts = NULL; /* inspect finds no GGUF */
	ck_assert_int_eq(store_blob_put(ctx.store, "hello", 5, digest, NULL, &err), 0);
	str_printf(&body, "{\"model\":\"x\",\"files\":{\"x.gguf\":\"%s\"},\"stream\":false}", digest);
	request(api_create, body.data, NULL);
	ck_assert_int_eq(fake.status, 400);
	ck_assert(starts_with(fake.body.data, "{\"error\":\"supplied file was not in GGUF format"));
	str_release(&body);
}
END_TEST

/* The scheduler's stand-in writes the type and the first input's name into the new file. */
START_TEST(quantize)
{
	struct err err;
	struct str body = {0};
	char digest[72];
	fake_create("m", "");
	request(api_create, "{\"model\":\"x\",\"from\":\"m\",\"quantize\":\"q4_k\"}", NULL);
	ck_assert_msg(starts_with(fake.body.data,
		"{\"status\":\"quantizing Q4_1 model to Q4_K_M\"}\n"
		"{\"status\":\"quantizing Q4_1 model to Q4_K_M\",\"digest\":\"0000000000000000000\",\"total\":10}\n"
		"{\"status\":\"quantizing Q4_1 model to Q4_K_M\",\"digest\":\"0000000000000000000\",\"total\":10,\"completed\":10}\n"
		"{\"status\":\"creating new layer sha256:"), "%s", fake.body.data);
	ck_assert_int_eq(store_blob_put(ctx.store, "Q4_K_M model.gguf 1", 19, digest, NULL, &err), 0);
	ck_assert(strstr(fake.body.data, digest) != NULL);
	request(api_create, "{\"model\":\"x\",\"from\":\"m\",\"quantize\":\"Q4_1\",\"stream\":false}", NULL); /* is so already */
	ck_assert_str_eq(fake.body.data, "{\"status\":\"success\"}");
	ck_assert_int_eq(store_blob_put(ctx.store, "part", 4, digest, NULL, &err), 0);
	str_printf(&body, "{\"model\":\"y\",\"stream\":false,\"files\":{\"a-00001-of-00002.gguf\":\"%s\",\"a-00002-of-00002.gguf\":\"%s\"}}",
		   digest, digest);
	request(api_create, body.data, NULL);
	ck_assert_str_eq(fake.body.data, "{\"status\":\"success\"}");
	ck_assert_int_eq(store_blob_put(ctx.store, " a-00001-of-00002.gguf 2", 24, digest, NULL, &err), 0);
	json_t *v = show("{\"model\":\"y\"}");
	ck_assert(strstr(text_at(v, "modelfile"), digest + 7) != NULL);
	json_decref(v);
	str_release(&body);
}
END_TEST

START_TEST(remote_stub)
{
	request(api_create, "{\"model\":\"r\",\"from\":\"llama3\",\"remote_host\":\"http://127.0.0.1:9\"}", NULL);
	ck_assert_str_eq(fake.body.data, "{\"status\":\"writing manifest\"}\n{\"status\":\"success\"}\n");
	json_t *v = show("{\"model\":\"r\"}");
	ck_assert_str_eq(text_at(v, "remote_model"), "llama3");
	ck_assert_str_eq(text_at(v, "remote_host"), "http://127.0.0.1:9");
	ck_assert_str_eq(compact(json_get(v, "model_info")), "{}");
	json_decref(v);
	request(api_generate, "{\"model\":\"r\",\"prompt\":\"x\"}", NULL);
	ck_assert_str_eq(fake.body.data, "{\"error\":\"this server cannot run this remote model\"}");
}
END_TEST

START_TEST(tags_and_copy)
{
	request(api_tags, "", NULL);
	ck_assert_str_eq(fake.body.data, "{\"models\":[]}");
	request(api_v1_models, "", NULL);
	ck_assert_str_eq(fake.body.data, "{\"object\":\"list\",\"data\":[]}\n");
	fake_create("one", "");
	request(api_copy, "{\"source\":\"one\",\"destination\":\"me/two:v1\"}", NULL);
	ck_assert_int_eq(fake.status, 200);
	request(api_tags, "", NULL);
	json_t *v = parse_body(), *list = json_get(v, "models");
	ck_assert_uint_eq(json_array_size(list), 2);
	ck_assert_str_eq(text_at(json_array_get(list, 0), "name"), "me/two:v1");
	ck_assert_int_eq(api_json_int(json_get(json_array_get(list, 0), "details"), "context_length"), 8192);
	json_decref(v);
	static const struct {
		api_handler_fn *fn;
		const char *body;
		int status;
		const char *text;
	} cases[] = {
		{api_copy, "{\"source\":\"a b\",\"destination\":\"x\"}", 400, "{\"error\":\"source \\\"a b\\\" is invalid\"}"},
		{api_copy, "{\"source\":\"one\"}", 400, "{\"error\":\"destination \\\"\\\" is invalid\"}"},
		{api_copy, "{\"source\":\"nope\",\"destination\":\"x\"}", 404, "{\"error\":\"model \\\"nope\\\" not found\"}"},
		{api_delete, "{}", 400, "{\"error\":\"model is required\"}"},
		{api_delete, "{\"model\":\"../x\"}", 400, "{\"error\":\"name \\\"../x\\\" is invalid\"}"},
		{api_delete, "{\"model\":\"nope\"}", 404, "{\"error\":\"model 'nope' not found\"}"},
		{api_show, "null", 400, "{\"error\":\"model is required\"}"},
		{api_show, "{\"model\":\"x:cloud\"}", 403, "{\"error\":\"ollama cloud is disabled: remote model details are unavailable\"}"},
		{api_push, "{}", 400, "{\"error\":\"model is required\"}"},
		{api_pull, "{\"model\":\"a b\"}", 400, "{\"error\":\"invalid model name\"}"},
		{api_version, "", 200, "{\"version\":\"1.2.3\"}"},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		request(cases[i].fn, cases[i].body, NULL);
		ck_assert_msg(fake.status == cases[i].status && str_eq(&fake.body, cases[i].text), "%s\n%d %s", cases[i].body,
			      fake.status, str_cstr(&fake.body));
	}
}
END_TEST

static void post_blob(const char *digest, const char *data)
{
	struct err err;
	request(api_root, "", NULL);
	memset(&fake.call.blob, 0, sizeof fake.call.blob);
	str_release(&fake.body);
	fake.n_answer = 0;
	fake.call.param = digest;
	ck_assert_int_eq(store_blob_begin(ctx.store, &fake.call.blob, &err), 0);
	ck_assert_int_eq(store_blob_write(fake.call.blob, data, strlen(data), &err), 0);
	api_blobs_post(&ctx, &fake.call);
	ck_assert_int_eq(fake.n_answer, 1);
	ck_assert_ptr_null(fake.call.blob);
}

START_TEST(blob_upload)
{
	static const char good[] = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
	post_blob(good, "hello");
	ck_assert_int_eq(fake.status, 201);
	post_blob(good, "hello");
	ck_assert_int_eq(fake.status, 200);
	post_blob("sha256-2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9825", "hello");
	ck_assert_str_eq(fake.body.data,
			 "{\"error\":\"digest mismatch, expected \\\"sha256-2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9825\\\", "
			 "got \\\"sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824\\\"\"}");
	post_blob("md5:abc", "hello");
	ck_assert_str_eq(fake.body.data, "{\"error\":\"invalid digest format\"}");
}
END_TEST

START_TEST(sizes)
{
	static const struct {
		int64_t n;
		const char *text;
	} cases[] = {{134515008, "134.52M"}, {630167424, "630.17M"}, {3212749888, "3.2B"}, {7000000000, "7B"}, {22565376, "22.57M"},
		     {5000000, "5M"}, {1500, "2K"}, {12, "12"}};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char out[24];
		api_param_size_text(cases[i].n, out);
		ck_assert_str_eq(out, cases[i].text);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("api-models");
	TCase *tc = tcase_create("models");
	tcase_add_checked_fixture(tc, fake_setup, fake_teardown);
	tcase_add_test(tc, create_and_show);
	tcase_add_test(tc, create_from);
	tcase_add_test(tc, create_detected);
	tcase_add_test(tc, create_refused);
	tcase_add_test(tc, quantize);
	tcase_add_test(tc, remote_stub);
	tcase_add_test(tc, tags_and_copy);
	tcase_add_test(tc, blob_upload);
	tcase_add_test(tc, sizes);
	suite_add_tcase(s, tc);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
