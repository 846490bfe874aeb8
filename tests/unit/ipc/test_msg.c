/* Messages: decode(encode(x)) = x, and every field is checked. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "ipc/ipc_msg.h"

static struct err err;

static json_t *parse(const char *text)
{
	json_t *v = json_loads(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	ck_assert_ptr_nonnull(v);
	return v;
}

static void fill_req(struct gen_req *r)
{
	gen_req_init(r);
	r->kind = GEN_CHAT;
	r->req_id = mem_strdup("abc");
	r->messages = parse("[{\"role\":\"user\",\"content\":\"h\\u0000\\u00e9 \\\"<&>\\u2028\",\"n\":2.0,\"e\":1e-7}]");
	r->tools = parse("[]");
	r->template_kwargs = parse("{\"a\":{\"b\":[1,2,null]}}");
	r->prompt = mem_strdup("");
	r->go_template = mem_strdup("{{ .Prompt }}\n");
	r->custom_template = true;
	r->format = parse("\"json\"");
	r->think = 1;
	r->think_level = mem_strdup("high");
	r->logprobs = true;
	r->top_logprobs = 20;
	r->want_context = true;
	r->truncate = false;
	vec_push(&r->context, 0);
	vec_push(&r->context, 151935);
	r->opts.seed = INT64_MAX;
	r->opts.num_predict = INT64_MIN;
	r->opts.temperature = 0.1;
	r->opts.top_p = 1e-300;
	r->opts.stop = mem_calloc(2, sizeof *r->opts.stop);
	r->opts.stop[0] = mem_strdup("\n");
	r->opts.stop[1] = mem_strdup("");
	r->opts.n_stop = 2;
}

START_TEST(gen_req_roundtrip)
{
	struct gen_req r, got;
	struct str text = {0}, again = {0};
	fill_req(&r);
	gen_req_encode(&r, &text);
	ck_assert_int_eq(gen_req_decode(text.data, text.len, &got, &err), 0);
	ck_assert_int_eq(json_equal(got.messages, r.messages), 1);
	ck_assert_int_eq(json_equal(got.template_kwargs, r.template_kwargs), 1);
	ck_assert_int_eq((int)got.opts.n_stop, 2);
	ck_assert_str_eq(got.opts.stop[0], "\n");
	ck_assert_str_eq(got.opts.stop[1], "");
	ck_assert_str_eq(got.prompt, "");
	ck_assert_str_eq(got.go_template, "{{ .Prompt }}\n");
	ck_assert(got.custom_template && !got.suffix);
	ck_assert(got.opts.seed == INT64_MAX && got.opts.num_predict == INT64_MIN);
	ck_assert(got.opts.temperature == 0.1 && got.opts.top_p == 1e-300);
	ck_assert_int_eq((int)got.context.n, 2);
	ck_assert_int_eq(got.context.data[1], 151935);
	ck_assert_int_eq(got.truncate, 0);
	gen_req_encode(&got, &again);
	ck_assert_str_eq(text.data, again.data);
	gen_req_release(&got);
	gen_req_set_num_ctx(&text, 4096);
	ck_assert_int_eq(gen_req_decode(text.data, text.len, &got, &err), 0);
	ck_assert_int_eq(got.opts.num_ctx, 4096);
	gen_req_release(&got);
	/* every cut of the text is refused and frees what it read */
	for (size_t i = 0; i < text.len; i++)
		ck_assert_int_lt(gen_req_decode(text.data, i, &got, &err), 0);
	str_release(&text);
	str_release(&again);
	gen_req_release(&r);
	gen_req_release(&r);
}
END_TEST

START_TEST(gen_req_defaults)
{
	struct gen_req r, got;
	struct str text = {0};
	gen_req_init(&r);
	r.kind = GEN_PROMPT;
	gen_req_encode(&r, &text);
	ck_assert_int_eq(gen_req_decode(text.data, text.len, &got, &err), 0);
	ck_assert(!got.go_template && !got.custom_template && !got.suffix);
	ck_assert(!got.messages && !got.prompt && !got.format && !got.opts.stop && got.context.n == 0);
	ck_assert(got.truncate && got.shift && got.normalize && got.think == -1 && got.opts.top_k == 40);
	gen_req_release(&got);
	str_release(&text);
}
END_TEST

/* Replaces one field of a valid request: what must be refused. */
static const struct {
	const char *path, *key, *value, *word;
} bad_fields[] = {
	{NULL, "kind", "\"poem\"", "kind"},
	{NULL, "kind", "7", "kind"},
	{NULL, "messages", "{}", "messages"},
	{NULL, "messages", "[1]", "messages"},
	{NULL, "think", "2", "think"},
	{NULL, "top_logprobs", "21", "top_logprobs"},
	{NULL, "top_logprobs", "1.5", "top_logprobs"},
	{NULL, "logprobs", "1", "logprobs"},
	{NULL, "context", "[1,\"2\"]", "context"},
	{NULL, "context", "[99999999999]", "context"},
	{NULL, "format", "1", "format"},
	{NULL, "dimensions", "-1", "dimensions"},
	{NULL, "prompt", "\"a\\u0000b\"", "prompt"},
	{NULL, "go_template", "1", "go_template"},
	{NULL, "custom_template", "null", "custom_template"},
	{NULL, "suffix", "\"end\"", "suffix"}, /* of a conversation */
	{NULL, "opts", "[]", "opts"},
	{NULL, "opts", "{}", "num_ctx"},
	{"opts", "num_ctx", "-1", "num_ctx"},
	{"opts", "temperature", "null", "temperature"},
	{"opts", "temperature", "\"1\"", "temperature"},
	{"opts", "stop", "[\"a\",1]", "stop"},
	{"opts", "stop", "\"a\"", "stop"},
	{NULL, "num_ctx", "0", "num_ctx"},
};

START_TEST(gen_req_bad)
{
	struct gen_req r, got;
	struct str text = {0};
	fill_req(&r);
	gen_req_encode(&r, &text);
	json_t *obj = parse(text.data);
	json_t *at = bad_fields[_i].path ? json_object_get(obj, bad_fields[_i].path) : obj;
	json_object_set_new(at, bad_fields[_i].key, json_loads(bad_fields[_i].value, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL));
	char *bad = json_dumps(obj, 0);
	ck_assert_int_eq(gen_req_decode(bad, strlen(bad), &got, &err), ERR_INVALID);
	ck_assert_msg(strstr(err.msg, bad_fields[_i].word), "%s", err.msg);
	free(bad);
	json_decref(obj);
	str_release(&text);
	gen_req_release(&r);
}
END_TEST

START_TEST(events)
{
	struct gen_event list[] = {
		{.kind = EV_TEXT, .text = mem_strdup("a\"\xc3\xa9<"), .thinking = mem_strdup("t")},
		{.kind = EV_TEXT},
		{.kind = EV_TEXT, .text = mem_strdup(""), .logprobs = parse("[{\"token\":\"a\",\"logprob\":-0.5}]")},
		{.kind = EV_TOOL_CALL, .tool_call = parse("{\"name\":\"f\",\"arguments\":{\"x\":1.0}}")},
		{.kind = EV_RENDERED, .text = mem_strdup("<s>")},
		{.kind = EV_DONE, .reason = DONE_LENGTH, .stats = {1, 2, 3, 4, 5, 6, 7, INT64_MAX}},
		{.kind = EV_ERROR, .code = ERR_TOO_LONG, .text = mem_strdup("too long")},
	};
	vec_push(&list[5].context, 42);
	for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
		struct gen_event got;
		struct str a = {0}, b = {0};
		gen_event_encode(&list[i], &a);
		ck_assert_int_eq(gen_event_decode(a.data, a.len, &got, &err), 0);
		ck_assert_int_eq(got.kind, list[i].kind);
		ck_assert_int_eq(got.code, list[i].code);
		ck_assert(got.stats.queued_ns == list[i].stats.queued_ns);
		gen_event_encode(&got, &b);
		ck_assert_str_eq(a.data, b.data);
		for (size_t k = 0; k < a.len; k++) {
			struct gen_event cut;
			ck_assert_int_lt(gen_event_decode(a.data, k, &cut, &err), 0);
		}
		gen_event_release(&got);
		gen_event_release(&list[i]);
		str_release(&a);
		str_release(&b);
	}
}
END_TEST

static const char *const bad_events[] = {
	"", "null", "[]", "{}", "{\"kind\":\"embedding\"}", "{\"kind\":\"text\",\"text\":1}", "{\"kind\":\"tool_call\"}",
	"{\"kind\":\"tool_call\",\"tool_call\":[]}", "{\"kind\":\"error\",\"code\":\"IO\"}", "{\"kind\":\"error\",\"text\":\"x\"}",
	"{\"kind\":\"done\",\"reason\":\"stop\"}", "{\"kind\":\"done\",\"reason\":\"bored\",\"stats\":{}}", "{\"kind\":\"rendered\"}",
	"{\"kind\":\"text\",\"text\":\"a\"} x", "{\"kind\":\"text\",\"logprobs\":{}}",
};

START_TEST(event_bad)
{
	struct gen_event got;
	ck_assert_int_eq(gen_event_decode(bad_events[_i], strlen(bad_events[_i]), &got, &err), ERR_INVALID);
}
END_TEST

START_TEST(embedding)
{
	float v[3] = {1.5f, -0.0f, 3e38f};
	struct gen_event e = {.kind = EV_EMBEDDING, .i_input = 4, .n_input_tok = 9, .values = v, .n_values = 3}, got;
	struct str s = {0};
	gen_event_encode_embedding(&e, &s);
	ck_assert_int_eq(gen_event_decode_embedding(s.data, s.len, &got, &err), 0);
	ck_assert(got.kind == EV_EMBEDDING && got.i_input == 4 && got.n_input_tok == 9 && got.n_values == 3);
	ck_assert_int_eq(memcmp(got.values, v, sizeof v), 0);
	for (size_t i = 0; i < s.len; i++)
		ck_assert_int_eq(gen_event_decode_embedding(s.data, i, &got, &err), ERR_INVALID);
	gen_event_release(&got);
	uint32_t huge = UINT32_MAX;
	memcpy(s.data, &huge, 4);
	ck_assert_int_eq(gen_event_decode_embedding(s.data, s.len, &got, &err), ERR_INVALID);
	str_release(&s);
}
END_TEST

START_TEST(loading)
{
	struct str s = {0};
	struct load_req r = {.name = (char *)"m", .n_ctx_max = 8192, .kv_bytes = 1 << 30, .n_thread = 4, .cpu = (char *)"avx2",
			      .speculation = true, .kv_type = (char *)"q8_0"}, r2;
	load_req_encode(&r, &s);
	ck_assert_int_eq(load_req_decode(s.data, s.len, &r2, &err), 0);
	ck_assert_str_eq(r2.name, "m");
	ck_assert_str_eq(r2.cpu, "avx2");
	ck_assert_str_eq(r2.kv_type, "q8_0");
	ck_assert(!r2.kernels && !r2.template_text && r2.n_ctx_max == 8192 && r2.kv_bytes == 1 << 30 && r2.n_thread == 4 && r2.speculation);
	load_req_release(&r2);
	str_clear(&s);
	struct loaded_info i = {.arch = (char *)"llama", .n_ctx_train = 1, .pooling = -1, .is_encoder = true, .weights_bytes = INT64_MAX}, i2;
	loaded_info_encode(&i, &s);
	ck_assert_int_eq(loaded_info_decode(s.data, s.len, &i2, &err), 0);
	ck_assert(i2.pooling == -1 && i2.is_encoder && !i2.has_template && i2.weights_bytes == INT64_MAX);
	loaded_info_release(&i2);
	str_clear(&s);
	struct err failed = {.code = ERR_FORMAT, .msg = "cut \"short\""}, failed2;
	load_failed_encode(&failed, &s);
	ck_assert_int_eq(load_failed_decode(s.data, s.len, &failed2, &err), 0);
	ck_assert_int_eq(failed2.code, ERR_FORMAT);
	ck_assert_str_eq(failed2.msg, failed.msg);
	ck_assert_int_eq(load_failed_decode("{\"code\":\"IO\"}", 13, &failed2, &err), ERR_INVALID);
	str_clear(&s);
	double share;
	load_progress_encode(0.25, &s);
	ck_assert_int_eq(load_progress_decode(s.data, s.len, &share, &err), 0);
	ck_assert(share == 0.25);
	ck_assert_int_eq(load_progress_decode("{\"share\":1.5}", 13, &share, &err), ERR_INVALID);
	ck_assert_int_eq(load_progress_decode("{\"share\":\"1\"}", 13, &share, &err), ERR_INVALID);
	str_release(&s);
}
END_TEST

START_TEST(stats)
{
	struct str s = {0};
	struct runner_stats st = {1, 2, 3, 4, 5, 6, 7, 8}, got;
	runner_stats_encode(&st, &s);
	ck_assert_int_eq(runner_stats_decode(s.data, s.len, &got, &err), 0);
	ck_assert(got.n_active == 1 && got.step_age_ns == 6 && got.rss_bytes == 8);
	str_clear(&s);
	st.n_active = -1;
	runner_stats_encode(&st, &s);
	ck_assert_int_eq(runner_stats_decode(s.data, s.len, &got, &err), ERR_INVALID);
	str_release(&s);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("ipc_msg");
	TCase *t = tcase_create("all");
	tcase_add_test(t, gen_req_roundtrip);
	tcase_add_test(t, gen_req_defaults);
	tcase_add_loop_test(t, gen_req_bad, 0, (int)(sizeof bad_fields / sizeof *bad_fields));
	tcase_add_test(t, events);
	tcase_add_loop_test(t, event_bad, 0, (int)(sizeof bad_events / sizeof *bad_events));
	tcase_add_test(t, embedding);
	tcase_add_test(t, loading);
	tcase_add_test(t, stats);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
