/* generate, chat, embeddings in all dialects against a scripted scheduler: what is asked of the model, how events print, and
 * how a job ends when its client leaves, reads slowly, or the model fails. */
#include "fake.h"

/* Replaces what differs from run to run. */
static const char *stable(void)
{
	static char out[8192];
	const char *p = str_cstr(&fake.body);
	size_t n = 0;
	static const char *const keys[] = {"\"created_at\":\"", "_duration\":", "\"created\":", "chatcmpl-", "\"cmpl-", "call_"};
	while (*p && n < sizeof out - 64) {
		for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
			size_t k = strlen(keys[i]);
			if (strncmp(p, keys[i], k))
				continue;
			memcpy(out + n, p, k);
			n += k;
			p += k;
			out[n++] = '#';
			while (*p && *p != '"' && *p != ',' && *p != '}')
				p++;
		}
		out[n++] = *p++;
	}
	out[n] = '\0';
	return out;
}

static void play_text(const char *text, const char *thinking)
{
	play((struct gen_event){.kind = EV_TEXT, .text = (char *)text, .thinking = (char *)thinking});
}

static void play_done(void)
{
	play((struct gen_event){.kind = EV_DONE, .reason = DONE_LENGTH,
				.stats = {.n_prompt = 10, .n_generated = 2, .prefill_ns = 5, .decode_ns = 6}});
}

static void play_call(void)
{
	json_t *call = json_pack("{s:s,s:{s:s}}", "name", "f", "arguments", "city", "Oslo");
	play((struct gen_event){.kind = EV_TOOL_CALL, .tool_call = call});
	json_decref(call);
}

START_TEST(chat_stream)
{
	fake_create("m", "");
	request(api_chat, "{\"model\":\"M\",\"messages\":[{\"role\":\"USER\",\"content\":\"<hi>\"}],\"stream\":true,"
			  "\"options\":{\"temperature\":0,\"max_tokens\":5,\"stop\":[\"a\",\"\"],\"unknown\":[]}}", NULL);
	ck_assert(fs.submitted);
	ck_assert_int_eq(fs.gen->kind, GEN_CHAT);
	ck_assert_int_eq((int)fs.gen->opts.num_predict, 5);
	ck_assert(fs.gen->opts.temperature == 0);
	ck_assert_uint_eq(fs.gen->opts.n_stop, 1);
	char *messages = json_dumps(fs.gen->messages, JSON_COMPACT);
	ck_assert_str_eq(messages, "[{\"role\":\"user\",\"content\":\"<hi>\"}]");
	free(messages);
	play_text("a<", NULL);
	play_text("", NULL); /* nothing to say: no line */
	play_text(NULL, "hm");
	play_call();
	play_done();
	ck_assert(fake.ended);
	ck_assert_str_eq(fake.type, "application/x-ndjson");
	ck_assert_str_eq(stable(),
			 "{\"model\":\"M\",\"created_at\":\"#\",\"message\":{\"role\":\"assistant\",\"content\":\"a\\u003c\"},\"done\":false}\n"
			 "{\"model\":\"M\",\"created_at\":\"#\",\"message\":{\"role\":\"assistant\",\"content\":\"\",\"thinking\":\"hm\"},"
			 "\"done\":false}\n"
			 "{\"model\":\"M\",\"created_at\":\"#\",\"message\":{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"id\":"
			 "\"call_#\",\"function\":{\"index\":0,\"name\":\"f\",\"arguments\":{\"city\":\"Oslo\"}}}]},\"done\":false}\n"
			 "{\"model\":\"M\",\"created_at\":\"#\",\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":true,"
			 "\"done_reason\":\"length\",\"total_duration\":#,\"load_duration\":#,\"prompt_eval_count\":10,"
			 "\"prompt_eval_duration\":#,\"eval_count\":2,\"eval_duration\":#}\n");
	answered();
}
END_TEST

START_TEST(chat_whole)
{
	fake_create("m", ",\"system\":\"S\",\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],\"parameters\":{\"num_ctx\":1,\"top_k\":7}");
	request(api_chat, "{\"model\":\"m\",\"messages\":[{\"content\":\"hi\"}],\"options\":{\"top_k\":3.9}}", "text/html");
	char *messages = json_dumps(fs.gen->messages, JSON_COMPACT);
	ck_assert_str_eq(messages, "[{\"role\":\"system\",\"content\":\"S\"},{\"role\":\"user\",\"content\":\"q\"},"
				   "{\"role\":\"\",\"content\":\"hi\"}]");
	free(messages);
	ck_assert_int_eq((int)fs.gen->opts.top_k, 3);
	ck_assert_int_eq((int)fs.gen->opts.num_ctx, 4);
	play_text("a", NULL);
	play_call();
	play_text("b", "t");
	play_done();
	ck_assert_str_eq(stable(), "{\"model\":\"m\",\"created_at\":\"#\",\"message\":{\"role\":\"assistant\",\"content\":\"ab\",\"thinking\":"
				   "\"t\",\"tool_calls\":[{\"id\":\"call_#\",\"function\":{\"index\":0,\"name\":\"f\",\"arguments\":{\"city\":"
				   "\"Oslo\"}}}]},\"done\":true,\"done_reason\":\"length\",\"total_duration\":#,\"load_duration\":#,"
				   "\"prompt_eval_count\":10,\"prompt_eval_duration\":#,\"eval_count\":2,\"eval_duration\":#}");
	answered();
}
END_TEST

START_TEST(stream_default)
{
	static const struct {
		enum api_stream_default mode;
		const char *accept;
		bool streams;
	} cases[] = {{API_STREAM_AUTO, NULL, false}, {API_STREAM_AUTO, "text/html, Application/X-NDJSON;q=1", true},
		     {API_STREAM_AUTO, "*/*", false}, {API_STREAM_ON, NULL, true}, {API_STREAM_OFF, "application/x-ndjson", false}};
	fake_create("m", "");
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		ctx.stream_default = cases[i].mode;
		request(api_generate, "{\"model\":\"m\",\"prompt\":\"x\"}", cases[i].accept);
		play_done();
		ck_assert_int_eq(fake.streaming, cases[i].streams);
		answered();
	}
	ctx.stream_default = API_STREAM_AUTO;
}
END_TEST

START_TEST(generate)
{
	int ids[] = {1, 2, 3};
	fake_create("m", "");
	request(api_generate, "{\"model\":\"m\",\"prompt\":\"p\",\"context\":[4,5],\"stream\":false,\"keep_alive\":\"1h30m\"}", NULL);
	ck_assert_uint_eq(fs.gen->context.n, 2);
	ck_assert(fs.gen->want_context);
	ck_assert_int_eq(fs.req.keep_alive_ns, 5400 * NS_PER_S);
	play_text("out", NULL);
	play((struct gen_event){.kind = EV_DONE, .context = {ids, 3, 3}, .stats = {.n_prompt = 1}});
	ck_assert_str_eq(stable(), "{\"model\":\"m\",\"created_at\":\"#\",\"response\":\"out\",\"done\":true,\"done_reason\":\"stop\","
				   "\"context\":[1,2,3],\"total_duration\":#,\"load_duration\":#,\"prompt_eval_count\":1}");
	answered();
	request(api_generate, "{\"model\":\"m\",\"prompt\":\"p\",\"raw\":true,\"stream\":false}", NULL);
	ck_assert_int_eq(fs.gen->kind, GEN_PROMPT);
	ck_assert_str_eq(fs.gen->prompt, "p");
	ck_assert(!fs.gen->want_context);
	play_done();
	answered();
	request(api_generate, "{\"model\":\"m\",\"prompt\":\"p\",\"_debug_render_only\":true}", "application/x-ndjson");
	ck_assert(fs.gen->render_only);
	play((struct gen_event){.kind = EV_RENDERED, .text = (char[]){"<p>"}});
	play((struct gen_event){.kind = EV_DONE});
	ck_assert_str_eq(stable(), "{\"model\":\"m\",\"created_at\":\"#\",\"response\":\"\",\"done\":false,\"_debug_info\":"
				   "{\"rendered_template\":\"\\u003cp\\u003e\"}}");
	answered();
}
END_TEST

START_TEST(load_and_unload)
{
	fake_create("m", "");
	request(api_generate, "{\"model\":\"m\"}", "application/x-ndjson");
	ck_assert(fs.submitted && !fs.gen);
	play((struct gen_event){.kind = EV_DONE});
	ck_assert_str_eq(stable(), "{\"model\":\"m\",\"created_at\":\"#\",\"response\":\"\",\"done\":true,\"done_reason\":\"load\"}");
	answered();
	request(api_chat, "{\"model\":\"m\",\"keep_alive\":0}", NULL);
	ck_assert(fs.unloaded && !fs.submitted);
	ck_assert_str_eq(stable(), "{\"model\":\"m\",\"created_at\":\"#\",\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":true,"
				   "\"done_reason\":\"unload\"}");
	answered();
}
END_TEST

START_TEST(refused)
{
	static const struct {
		api_handler_fn *fn;
		const char *body;
		int status;
		const char *text;
	} cases[] = {
		{api_generate, " \n", 400, "{\"error\":\"missing request body\"}"},
		{api_generate, "[1]", 400, "{\"error\":\"json: cannot unmarshal array into Go value of type api.GenerateRequest\"}"},
		{api_generate, "{\"model\":5}", 400,
		 "{\"error\":\"json: cannot unmarshal number into Go struct field GenerateRequest.model of type string\"}"},
		{api_generate, "{\"model\":\"\"}", 404, "{\"error\":\"model '' not found\"}"},
		{api_generate, "{\"model\":\"nope:7b\"}", 404, "{\"error\":\"model 'nope:7b' not found\"}"},
		{api_generate, "{\"model\":\"m:cloud\"}", 403, "{\"error\":\"ollama cloud is disabled: remote model is unavailable\"}"},
		{api_generate, "{\"model\":\"m:7b-Cloud\"}", 403, "{\"error\":\"ollama cloud is disabled: remote model is unavailable\"}"},
		{api_generate, "{\"model\":\"m:cloud:local\"}", 400,
		 "{\"error\":\"use either :local or :cloud, not both: \\\"m:cloud:local\\\"\"}"},
		{api_generate, "{\"model\":\"m\\u0000\"}", 400, "{\"error\":\"invalid model name\"}"},
		{api_generate, "{\"model\":\"m\",\"keep_alive\":\"5\"}", 400, "{\"error\":\"time: missing unit in duration \\\"5\\\"\"}"},
		{api_generate, "{\"model\":\"m\",\"keep_alive\":true}", 400, "{\"error\":\"Unsupported type: 'bool'\"}"},
		{api_generate, "{\"model\":\"m\",\"prompt\":\"x\",\"raw\":true,\"system\":\"y\"}", 400,
		 "{\"error\":\"raw mode does not support template, system, or context\"}"},
		{api_generate, "{\"model\":\"m\",\"prompt\":\"x\",\"think\":true}", 400, "{\"error\":\"\\\"m\\\" does not support thinking\"}"},
		{api_generate, "{\"model\":\"m\",\"prompt\":\"x\",\"suffix\":\"y\"}", 400,
		 "{\"error\":\"registry.ollama.ai/library/m:latest does not support insert\"}"},
		{api_generate, "{\"model\":\"m\",\"prompt\":\"x\",\"top_logprobs\":21}", 400,
		 "{\"error\":\"top_logprobs must be between 0 and 20\"}"},
		{api_generate, "{\"model\":\"m\",\"prompt\":\"x\",\"options\":{\"temperature\":\"hot\"}}", 500,
		 "{\"error\":\"option \\\"temperature\\\" must be of type float32\"}"},
		{api_generate, "{\"model\":\"m\",\"prompt\":\"x\",\"options\":{\"stop\":[1]}}", 500,
		 "{\"error\":\"option \\\"stop\\\" must be of an array of strings\"}"},
		{api_generate, "{\"model\":\"m\",\"prompt\":\"x\",\"format\":\"yaml\"}", 500,
		 "{\"error\":\"invalid format: \\\"\\\\\\\"yaml\\\\\\\"\\\"; expected \\\"json\\\" or a valid JSON Schema object\"}"},
		{api_generate, "{\"model\":\"m\",\"prompt\":\"x\",\"images\":[\"data:image/png;base64,AAAA\"]}", 400,
		 "{\"error\":\"illegal base64 data at input byte 4\"}"},
		{api_chat, "{\"model\":\"\",\"messages\":[]}", 400, "{\"error\":\"model is required\"}"},
		{api_chat, "{\"model\":\"m\",\"messages\":[],\"think\":3}", 400,
		 "{\"error\":\"think must be a boolean or string (\\\"high\\\", \\\"medium\\\", \\\"low\\\", \\\"max\\\", true, or false)\"}"},
		{api_chat, "{\"model\":\"m\",\"messages\":[{\"content\":\"x\"}],\"tools\":[{\"function\":{\"name\":\"f\"}}]}", 400,
		 "{\"error\":\"registry.ollama.ai/library/m:latest does not support tools\"}"},
		{api_embed, "{\"model\":\"nope\",\"input\":\"x\"}", 404, "{\"error\":\"model \\\"nope\\\" not found, try pulling it first\"}"},
		{api_embed, "{\"model\":\"m\",\"input\":[1]}", 400, "{\"error\":\"invalid input type\"}"},
		{api_embed, "{\"model\":\"m\",\"input\":\"x\"}", 501,
		 "{\"error\":\"This server does not support embeddings. Start it with `--embeddings`\"}"},
		{api_embeddings, "{\"model\":\"m\",\"prompt\":\"x\"}", 500,
		 "{\"error\":\"This server does not support embeddings. Start it with `--embeddings`\"}"},
		{api_v1_chat_completions, "", 400,
		 "{\"error\":{\"message\":\"EOF\",\"type\":\"invalid_request_error\",\"param\":null,\"code\":null}}"},
		{api_v1_chat_completions, "{\"model\":\"m\",\"messages\":[]}", 400,
		 "{\"error\":{\"message\":\"[] is too short - 'messages'\",\"type\":\"invalid_request_error\",\"param\":null,\"code\":null}}"},
		{api_v1_chat_completions, "{\"model\":\"nope\",\"messages\":[{\"content\":\"x\"}]}", 404,
		 "{\"error\":{\"message\":\"model 'nope' not found\",\"type\":\"not_found_error\",\"param\":null,\"code\":null}}\n"},
		{api_v1_completions, "{\"model\":\"m\",\"prompt\":\"x\",\"stop\":[5]}", 400,
		 "{\"error\":{\"message\":\"invalid type for 'stop' field: float64\",\"type\":\"invalid_request_error\",\"param\":null,"
		 "\"code\":null}}"},
	};
	fake_create("m", "");
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		request(cases[i].fn, cases[i].body, NULL);
		ck_assert_msg(fake.status == cases[i].status && str_eq(&fake.body, cases[i].text), "%s\n%d %s\nwanted\n%d %s",
			      cases[i].body, fake.status, str_cstr(&fake.body), cases[i].status, cases[i].text);
		ck_assert(!fs.submitted);
		answered();
	}
}
END_TEST

START_TEST(failing)
{
	fake_create("m", "");
	request(api_chat, "{\"model\":\"m\",\"messages\":[{\"content\":\"x\"}],\"stream\":true}", NULL);
	play((struct gen_event){.kind = EV_ERROR, .code = ERR_TOO_LONG, .text = (char[]){"too long"}});
	ck_assert_int_eq(fake.status, 400);
	ck_assert_str_eq(fake.body.data, "{\"error\":\"too long\"}");
	answered();
	request(api_chat, "{\"model\":\"m\",\"messages\":[{\"content\":\"x\"}],\"stream\":true}", NULL);
	play_text("a", NULL);
	play((struct gen_event){.kind = EV_ERROR, .code = ERR_CRASHED, .text = (char[]){"gone"}});
	ck_assert_int_eq(fake.status, 200);
	ck_assert(fake.ended && ends_with(fake.body.data, "\n{\"error\":\"gone\"}\n"));
	answered();
	fs.fail_submit = true;
	request(api_chat, "{\"model\":\"m\",\"messages\":[{\"content\":\"x\"}]}", NULL);
	ck_assert_int_eq(fake.status, 503);
	answered();
	fs.fail_submit = false;
	request(api_v1_chat_completions, "{\"model\":\"m\",\"messages\":[{\"content\":\"x\"}],\"stream\":true}", NULL);
	play_text("a", NULL);
	play((struct gen_event){.kind = EV_ERROR, .code = ERR_CRASHED, .text = (char[]){"gone"}});
	ck_assert(fake.ended && strstr(fake.body.data, "data: {\"error\":{\"message\":\"gone\""));
	answered();
}
END_TEST

START_TEST(client_leaves)
{
	fake_create("m", "");
	request(api_chat, "{\"model\":\"m\",\"messages\":[{\"content\":\"x\"}],\"stream\":true}", NULL);
	play_text("a", NULL);
	fake.on_end(fake.user, true);
	ck_assert_uint_eq(fs.cancelled, 7);
	ck_assert_int_eq(fake.n_ref, 0);
	/* the last event may come first: then there is nothing to cancel */
	fs.cancelled = 0;
	request(api_chat, "{\"model\":\"m\",\"messages\":[{\"content\":\"x\"}],\"stream\":true}", NULL);
	play_text("a", NULL);
	play_done();
	fake.on_end(fake.user, true);
	ck_assert_uint_eq(fs.cancelled, 0);
	ck_assert_int_eq(fake.n_ref, 0);
}
END_TEST

START_TEST(slow_reader)
{
	fake_create("m", "");
	request(api_chat, "{\"model\":\"m\",\"messages\":[{\"content\":\"x\"}],\"stream\":true}", NULL);
	fake.pending = 300 * 1024;
	play_text("a", NULL);
	play_text("b", NULL);
	ck_assert_int_eq(fs.n_park, 1);
	fake.on_low(fake.user);
	ck_assert_int_eq(fs.n_unpark, 1);
	play_text("c", NULL);
	ck_assert_int_eq(fs.n_park, 2);
	play_done();
	fake.on_low(fake.user); /* finished: nothing to take back */
	ck_assert_int_eq(fs.n_unpark, 1);
	answered();
}
END_TEST

START_TEST(openai_chat)
{
	fake_create("m", "");
	request(api_v1_chat_completions,
		"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"text\",\"text\":"
		"\"b\"}]},{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"c1\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"z\\\":1}\"}}]},"
		"{\"role\":\"tool\",\"tool_call_id\":\"c1\",\"content\":\"ok\"}],\"stream\":true,\"stream_options\":{\"include_usage\":true},"
		"\"stop\":\"x\",\"seed\":9,\"max_tokens\":3,\"options\":{\"num_predict\":1}}", NULL);
	char *messages = json_dumps(fs.gen->messages, JSON_COMPACT);
	ck_assert_str_eq(messages, "[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"user\",\"content\":\"b\"},{\"role\":\"assistant\","
				   "\"content\":\"\",\"tool_calls\":[{\"id\":\"c1\",\"function\":{\"name\":\"f\",\"arguments\":{\"z\":1}}}]},"
				   "{\"role\":\"tool\",\"content\":\"ok\",\"tool_name\":\"f\",\"tool_call_id\":\"c1\"}]");
	free(messages);
	ck_assert(fs.gen->opts.temperature == 1 && fs.gen->opts.top_p == 1 && fs.gen->opts.seed == 9 && fs.gen->opts.num_predict == 3);
	play_text("A", "T");
	play_call();
	play((struct gen_event){.kind = EV_DONE, .stats = {.n_prompt = 200, .n_cached = 160, .n_generated = 2}});
#define HEAD "data: {\"id\":\"chatcmpl-#\",\"object\":\"chat.completion.chunk\",\"created\":#,\"model\":\"m\",\"system_fingerprint\":" \
	     "\"fp_ollama\",\"choices\":["
	ck_assert_str_eq(stable(),
			 HEAD "{\"index\":0,\"delta\":{\"role\":\"assistant\",\"reasoning\":\"T\"},\"finish_reason\":null}]}\n\n"
			 HEAD "{\"index\":0,\"delta\":{\"content\":\"A\"},\"finish_reason\":null}]}\n\n"
			 HEAD "{\"index\":0,\"delta\":{\"content\":\"\",\"tool_calls\":[{\"id\":\"call_#\",\"index\":0,\"type\":\"function\","
			      "\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"city\\\":\\\"Oslo\\\"}\"}}]},\"finish_reason\":null}]}\n\n"
			 HEAD "{\"index\":0,\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\n"
			 HEAD "],\"usage\":{\"prompt_tokens\":200,\"completion_tokens\":2,\"total_tokens\":202,\"prompt_tokens_details\":"
			      "{\"cached_tokens\":160}}}\n\n"
			      "data: [DONE]\n\n");
	answered();
}
END_TEST

START_TEST(openai_completion)
{
	fake_create("m", "");
	request(api_v1_completions, "{\"model\":\"m\",\"prompt\":\"x\"}", NULL);
	play_text("A", "T");
	play_done();
	ck_assert_str_eq(stable(), "{\"id\":\"cmpl-#\",\"object\":\"text_completion\",\"created\":#,\"model\":\"m\",\"system_fingerprint\":"
				   "\"fp_ollama\",\"choices\":[{\"text\":\"A\",\"index\":0,\"finish_reason\":\"length\"}],\"usage\":"
				   "{\"prompt_tokens\":10,\"completion_tokens\":2,\"total_tokens\":12}}\n");
	ck_assert_str_eq(fake.type, "application/json");
	answered();
}
END_TEST

START_TEST(embeddings)
{
	float a[] = {0.1f, -2}, b[] = {1e-9f, 3};
	static const char facts[] = "{\"arch\":\"bert\",\"pooling_type\":1,\"file_type\":\"F16\",\"parameter_count\":22565376}";
	fs.facts = facts;
	fake_create("e", "");
	request(api_embed, "{\"model\":\"e\",\"input\":[\"x\",\"y\"],\"dimensions\":-1}", NULL);
	ck_assert_int_eq(fs.gen->kind, GEN_EMBED);
	ck_assert_int_eq((int)fs.gen->dimensions, 0);
	play((struct gen_event){.kind = EV_EMBEDDING, .values = b, .n_values = 2, .i_input = 1, .n_input_tok = 3});
	play((struct gen_event){.kind = EV_EMBEDDING, .values = a, .n_values = 2, .i_input = 0, .n_input_tok = 4});
	play((struct gen_event){.kind = EV_EMBEDDING, .values = a, .n_values = 2, .i_input = 99, .n_input_tok = 4}); /* not ours */
	play((struct gen_event){.kind = EV_DONE});
	ck_assert_str_eq(stable(), "{\"model\":\"e\",\"embeddings\":[[0.1,-2],[1e-9,3]],\"total_duration\":#,\"load_duration\":#,"
				   "\"prompt_eval_count\":7}");
	answered();
	request(api_embed, "{\"model\":\"e\",\"input\":[]}", NULL);
	ck_assert(!fs.gen);
	play((struct gen_event){.kind = EV_DONE});
	ck_assert_str_eq(fake.body.data, "{\"model\":\"e\",\"embeddings\":[]}");
	answered();
	request(api_v1_embeddings, "{\"model\":\"e\",\"input\":\"\",\"encoding_format\":\"base64\"}", NULL);
	ck_assert_uint_eq(json_array_size(fs.gen->inputs), 1);
	play((struct gen_event){.kind = EV_EMBEDDING, .values = a, .n_values = 2, .n_input_tok = 2});
	play((struct gen_event){.kind = EV_DONE});
	ck_assert_str_eq(fake.body.data, "{\"object\":\"list\",\"data\":[{\"object\":\"embedding\",\"embedding\":\"zczMPQAAAMA=\",\"index\":0}],"
					 "\"model\":\"e\",\"usage\":{\"prompt_tokens\":2,\"total_tokens\":2}}\n");
	answered();
	request(api_generate, "{\"model\":\"e\",\"prompt\":\"x\"}", NULL);
	ck_assert_str_eq(fake.body.data, "{\"error\":\"\\\"e\\\" does not support generate\"}");
	answered();
}
END_TEST

/* Which template a request carries to the runner. */
START_TEST(templates)
{
	fake_create("g", ",\"template\":\"{{ .Prompt }}{{ .Suffix }}\"");
	request(api_generate, "{\"model\":\"g\",\"prompt\":\"x\",\"suffix\":\"y\"}", NULL);
	ck_assert(fs.gen->kind == GEN_PROMPT && !fs.gen->custom_template && fs.gen->want_context);
	ck_assert_str_eq(fs.gen->suffix, "y");
	ck_assert_str_eq(fs.gen->go_template, "{{ .Prompt }}{{ .Suffix }}");
	play((struct gen_event){.kind = EV_DONE});
	answered();
	request(api_v1_completions, "{\"model\":\"g\",\"prompt\":\"x\",\"suffix\":\"y\"}", NULL);
	ck_assert(fs.gen->kind == GEN_PROMPT && fs.gen->go_template);
	play((struct gen_event){.kind = EV_DONE});
	answered();
	request(api_chat, "{\"model\":\"g\",\"messages\":[{\"content\":\"x\"}]}", NULL);
	ck_assert(fs.gen->kind == GEN_CHAT && !fs.gen->custom_template && !fs.gen->suffix);
	ck_assert_str_eq(fs.gen->go_template, "{{ .Prompt }}{{ .Suffix }}");
	play((struct gen_event){.kind = EV_DONE});
	answered();
	fake_create("m", "");
	request(api_generate, "{\"model\":\"m\",\"prompt\":\"x\",\"template\":\"{{ .System }}\"}", NULL);
	ck_assert(fs.gen->kind == GEN_CHAT && fs.gen->custom_template);
	ck_assert_str_eq(fs.gen->go_template, "{{ .System }}");
	play((struct gen_event){.kind = EV_DONE});
	answered();
	request(api_generate, "{\"model\":\"m\",\"prompt\":\"x\"}", NULL);
	ck_assert(fs.gen->kind == GEN_CHAT && !fs.gen->go_template);
	play((struct gen_event){.kind = EV_DONE});
	answered();
	request(api_generate, "{\"model\":\"m\",\"options\":{\"num_ctx\":512,\"num_thread\":3}}", NULL);
	ck_assert(!fs.gen && fs.req.num_ctx == 512 && fs.req.num_thread == 3);
	play((struct gen_event){.kind = EV_DONE});
	answered();
}
END_TEST

START_TEST(tools)
{
	static const char facts[] = "{\"arch\":\"qwen2\",\"chat_template\":\"x\",\"template_tools\":true}";
	fs.facts = facts;
	fake_create("t", "");
	request(api_chat, "{\"model\":\"t\",\"messages\":[{\"content\":\"x\"},{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"name\":\"f\","
			  "\"arguments\":{\"z\":1,\"a\":{\"y\":1,\"b\":[{\"d\":1,\"c\":2}]}}}}]}],"
			  "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"strict\":true,\"description\":\"d\",\"parameters\":{"
			  "\"type\":\"object\",\"additionalProperties\":false,\"required\":[\"z\"],\"properties\":{\"z\":{\"type\":[\"string\"],"
			  "\"default\":\"q\"},\"a\":{\"enum\":[\"x\",1],\"type\":[\"string\",\"null\"]},\"o\":{\"required\":[\"k\"],\"type\":"
			  "\"object\",\"properties\":{\"k\":{\"minimum\":1,\"type\":\"number\"}}}}}}},{\"function\":{\"name\":\"bare\"}}]}", NULL);
	ck_assert_msg(fs.submitted, "%s", str_cstr(&fake.body));
	char *text = json_dumps(fs.gen->tools, JSON_COMPACT);
	ck_assert_str_eq(text, "[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"description\":\"d\",\"parameters\":{\"type\":\"object\","
			       "\"required\":[\"z\"],\"properties\":{\"z\":{\"type\":\"string\"},\"a\":{\"type\":[\"string\",\"null\"],"
			       "\"enum\":[\"x\",1]},\"o\":{\"type\":\"object\",\"properties\":{\"k\":{\"type\":\"number\"}},\"required\":[\"k\"]}"
			       "}}}},{\"type\":\"\",\"function\":{\"name\":\"bare\",\"parameters\":{\"type\":\"object\",\"properties\":{}}}}]");
	free(text);
	text = json_dumps(json_get(json_array_get(fs.gen->messages, 1), "tool_calls"), JSON_COMPACT);
	ck_assert_str_eq(text, "[{\"function\":{\"name\":\"f\",\"arguments\":{\"z\":1,\"a\":{\"b\":[{\"c\":2,\"d\":1}],\"y\":1}}}}]");
	free(text);
	play_done();
	answered();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("api-gen");
	TCase *tc = tcase_create("gen");
	tcase_add_checked_fixture(tc, fake_setup, fake_teardown);
	tcase_add_test(tc, chat_stream);
	tcase_add_test(tc, chat_whole);
	tcase_add_test(tc, stream_default);
	tcase_add_test(tc, generate);
	tcase_add_test(tc, load_and_unload);
	tcase_add_test(tc, refused);
	tcase_add_test(tc, failing);
	tcase_add_test(tc, client_leaves);
	tcase_add_test(tc, slow_reader);
	tcase_add_test(tc, openai_chat);
	tcase_add_test(tc, openai_completion);
	tcase_add_test(tc, embeddings);
	tcase_add_test(tc, templates);
	tcase_add_test(tc, tools);
	suite_add_tcase(s, tc);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
