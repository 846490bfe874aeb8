/* POST /v1/chat/completions */
#include <string.h>

#include "api/api_endpoints.h"
#include "api/api_model.h"
#include "api/gen_build.h"
#include "api/ollama/ollama_print.h"
#include "api/openai/openai.h"
#include "base/bug.h"
#include "base/mem.h"

/* ---- printing ---- */

static void put_head(struct jsonw *w, struct gen_job *j, const char *object, struct str *out)
{
	jsonw_init(w, out, JSONW_GO);
	jsonw_obj(w);
	jsonw_kstr(w, "id", j->reply_id);
	jsonw_kstr(w, "object", object);
	jsonw_kint(w, "created", j->created_s);
	jsonw_kstr(w, "model", j->model);
	jsonw_kstr(w, "system_fingerprint", "fp_ollama");
	jsonw_key(w, "choices");
	jsonw_arr(w);
}

/* Opens a chunk up to the members of its delta. The role is told once. */
static void open_chunk(struct jsonw *w, struct gen_job *j, bool role, struct str *out)
{
	str_adds(out, "data: ");
	put_head(w, j, "chat.completion.chunk", out);
	jsonw_obj(w);
	jsonw_kint(w, "index", 0);
	jsonw_key(w, "delta");
	jsonw_obj(w);
	if (role)
		jsonw_kstr(w, "role", "assistant");
}

static void close_chunk(struct jsonw *w, const char *finish_reason, const json_t *logprobs, struct str *out)
{
	jsonw_obj_end(w);
	jsonw_kstr(w, "finish_reason", finish_reason);
	if (json_array_size(logprobs)) {
		jsonw_key(w, "logprobs");
		jsonw_obj(w);
		jsonw_key(w, "content");
		ollama_logprob_list(w, logprobs);
		jsonw_obj_end(w);
	}
	jsonw_obj_end(w);
	jsonw_arr_end(w);
	jsonw_obj_end(w);
	str_adds(out, "\n\n");
}

static void print_text(struct gen_job *j, const struct gen_event *ev, struct str *out)
{
	struct jsonw w;
	bool text = ev->text && *ev->text, thinking = ev->thinking && *ev->thinking;
	if (thinking) {
		open_chunk(&w, j, !j->sent_any, out);
		if (!text)
			jsonw_kstr(&w, "content", "");
		jsonw_kstr(&w, "reasoning", ev->thinking);
		close_chunk(&w, NULL, ev->logprobs, out);
	}
	if (text || !thinking) {
		open_chunk(&w, j, !j->sent_any && !thinking, out);
		jsonw_kstr(&w, "content", ev->text ? ev->text : "");
		close_chunk(&w, NULL, thinking ? NULL : ev->logprobs, out);
	}
}

static void put_tool_call(struct jsonw *w, const json_t *call)
{
	const json_t *f = json_get(call, "function");
	struct str args = {0};
	struct jsonw inner;
	jsonw_init(&inner, &args, JSONW_GO);
	jsonw_value(&inner, json_get(f, "arguments"));
	jsonw_obj(w);
	jsonw_kstr(w, "id", api_json_text(call, "id"));
	jsonw_kint(w, "index", api_json_int(f, "index"));
	jsonw_kstr(w, "type", "function");
	jsonw_key(w, "function");
	jsonw_obj(w);
	jsonw_kstr(w, "name", api_json_text(f, "name"));
	jsonw_kstr(w, "arguments", args.data);
	jsonw_obj_end(w);
	jsonw_obj_end(w);
	str_release(&args);
}

static void print_tool_call(struct gen_job *j, const json_t *call, struct str *out)
{
	struct jsonw w;
	open_chunk(&w, j, !j->sent_any, out);
	jsonw_kstr(&w, "content", "");
	jsonw_key(&w, "tool_calls");
	jsonw_arr(&w);
	put_tool_call(&w, call);
	jsonw_arr_end(&w);
	close_chunk(&w, NULL, NULL, out);
}

static const char *finish_reason(const struct gen_job *j, const struct gen_event *ev)
{
	const char *reason = ollama_done_reason(ev);
	return json_array_size(j->tool_calls) && !strcmp(reason, "stop") ? "tool_calls" : reason;
}

static void print_done(struct gen_job *j, const struct gen_event *ev, struct str *out)
{
	struct jsonw w;
	if (!j->sent_any) { /* an empty answer: the role must be told all the same */
		open_chunk(&w, j, true, out);
		jsonw_kstr(&w, "content", "");
		close_chunk(&w, NULL, NULL, out);
	}
	open_chunk(&w, j, false, out);
	close_chunk(&w, finish_reason(j, ev), NULL, out);
	if (j->include_usage) {
		str_adds(out, "data: ");
		put_head(&w, j, "chat.completion.chunk", out);
		jsonw_arr_end(&w);
		openai_usage(&w, &ev->stats);
		jsonw_obj_end(&w);
		str_adds(out, "\n\n");
	}
	str_adds(out, "data: [DONE]\n\n");
}

static void put_message(struct jsonw *w, const struct gen_job *j)
{
	jsonw_key(w, "message");
	jsonw_obj(w);
	jsonw_kstr(w, "role", j->rendered ? "" : "assistant");
	jsonw_kstr(w, "content", str_cstr(&j->text));
	if (j->thinking.len)
		jsonw_kstr(w, "reasoning", j->thinking.data);
	if (json_array_size(j->tool_calls)) {
		jsonw_key(w, "tool_calls");
		jsonw_arr(w);
		for (size_t i = 0; i < json_array_size(j->tool_calls); i++)
			put_tool_call(w, json_array_get(j->tool_calls, i));
		jsonw_arr_end(w);
	}
	jsonw_obj_end(w);
}

static void print_whole(struct gen_job *j, const struct gen_event *ev, struct str *out)
{
	struct jsonw w;
	struct gen_stats none = {0};
	put_head(&w, j, "chat.completion", out);
	jsonw_obj(&w);
	jsonw_kint(&w, "index", 0);
	put_message(&w, j);
	jsonw_kstr(&w, "finish_reason", j->rendered ? NULL : finish_reason(j, ev));
	if (json_array_size(j->logprobs)) {
		jsonw_key(&w, "logprobs");
		jsonw_obj(&w);
		jsonw_key(&w, "content");
		ollama_logprob_list(&w, j->logprobs);
		jsonw_obj_end(&w);
	}
	jsonw_obj_end(&w);
	jsonw_arr_end(&w);
	openai_usage(&w, j->rendered ? &none : &ev->stats);
	if (j->rendered)
		ollama_debug_info(&w, j);
	jsonw_obj_end(&w);
	str_addc(out, '\n');
}

static const struct gen_dialect dialect = {
	.stream_type = OPENAI_SSE,
	.whole_type = OPENAI_JSON,
	.text = print_text,
	.tool_call = print_tool_call,
	.done = print_done,
	.late_error = openai_late_error,
	.status = openai_status,
	.whole = print_whole,
	.fail = openai_reply_err,
};

/* ---- the request ---- */

struct fields {
	const char *model, *reasoning_effort;
	json_t *messages, *tools, *response_format, *reasoning, *stream_options;
	int stream, logprobs, render_only;
	int64_t top_logprobs;
	struct openai_sampling s;
};

static const struct api_field table[] = {
	{"model", API_F_STR, offsetof(struct fields, model)},
	{"messages", API_F_ARR, offsetof(struct fields, messages)},
	{"stream", API_F_BOOL, offsetof(struct fields, stream)},
	{"stream_options", API_F_OBJ, offsetof(struct fields, stream_options)},
	OPENAI_SAMPLING_FIELDS(struct fields),
	{"response_format", API_F_OBJ, offsetof(struct fields, response_format)},
	{"tools", API_F_ARR, offsetof(struct fields, tools)},
	{"reasoning", API_F_OBJ, offsetof(struct fields, reasoning)},
	{"reasoning_effort", API_F_STR, offsetof(struct fields, reasoning_effort)},
	{"logprobs", API_F_BOOL, offsetof(struct fields, logprobs)},
	{"top_logprobs", API_F_INT, offsetof(struct fields, top_logprobs)},
	{"_debug_render_only", API_F_BOOL, offsetof(struct fields, render_only)},
};

/* What the decoder and converter can find wrong, before the model is looked at. */
struct converted {
	json_t *messages, *neutral, *options;
	struct api_think think;
};

static void converted_release(struct converted *c)
{
	json_decref(c->messages);
	json_decref(c->neutral);
	json_decref(c->options);
}

static int convert(struct gen_job *j, const struct fields *f, struct converted *c, struct err *err)
{
	int rc;
	if (!json_array_size(f->messages))
		return err_set(err, ERR_INVALID, "[] is too short - 'messages'");
	if ((rc = openai_messages(j->call, f->messages, &c->messages, err)) ||
	    (rc = gen_build_messages(j->call, c->messages, "ChatCompletionRequest", &c->neutral, err)) ||
	    (rc = openai_options(&f->s, false, &c->options, err)) ||
	    (rc = openai_think(j->call, f->reasoning, f->reasoning_effort, &c->think, err)))
		return rc;
	return gen_build_tools(j->call, f->tools, "ChatCompletionRequest", &j->req.tools, err);
}

/* {"type":"json_object"} or {"type":"json_schema","json_schema":{"schema":...}}; owned result or NULL. */
static json_t *response_format(const json_t *v)
{
	const char *type = api_json_text(v, "type");
	if (!strcmp(type, "json_object"))
		return json_string("json");
	if (!strcmp(type, "json_schema"))
		return json_incref(json_get_nonnull(json_get(v, "json_schema"), "schema"));
	return NULL;
}

static int build(struct api_ctx *ctx, struct gen_job *j, const struct fields *f, struct converted *c, const struct store_model *m,
		 struct err *err)
{
	json_t *facts, *given = response_format(f->response_format), *format = NULL;
	struct api_caps caps;
	struct gen_needs needs = {.tools = json_array_size(j->req.tools) > 0};
	j->n_image = gen_build_count_images(c->neutral);
	needs.images = j->n_image && f->render_only != 1;
	int rc = api_model_facts(ctx, m, false, &facts, err);
	if (!rc) {
		bool native = api_model_native(m, facts);
		api_model_caps(m, facts, native, &caps);
		gen_build_template(&j->req, m, "", native);
		rc = gen_build_check(m, &caps, f->model, "chat", &needs, &c->think, err);
		json_decref(facts);
	}
	if (!rc)
		rc = gen_build_opts(ctx, m, c->options, &j->req.opts, err);
	if (!rc)
		rc = gen_build_format(given, &format, err);
	j->req.kind = GEN_CHAT;
	j->req.format = json_incref(format);
	j->req.messages = gen_build_history(m, c->neutral, m->system);
	j->req.logprobs = f->logprobs == 1;
	j->req.top_logprobs = (int)f->top_logprobs;
	j->req.render_only = f->render_only == 1;
	j->req.think = c->think.on;
	j->req.think_level = c->think.level ? mem_strdup(c->think.level) : NULL;
	json_decref(given);
	return rc;
}

static void run(struct api_ctx *ctx, struct gen_job *j, const struct fields *f, struct converted *c, struct err *err)
{
	struct store_model *m = NULL;
	j->narrate = f->stream == 1;
	int rc = f->top_logprobs < 0 || f->top_logprobs > 20 ? err_set(err, ERR_INVALID, "top_logprobs must be between 0 and 20") : 0;
	if (!rc && !*f->model)
		rc = err_set(err, ERR_INVALID, "model is required");
	if (!rc)
		rc = api_model_open(ctx, f->model, &m, err);
	if (!rc)
		rc = build(ctx, j, f, c, m, err);
	if (rc) {
		gen_job_fail(j, err);
	} else {
		openai_new_id(j, "chatcmpl");
		j->stream = f->stream == 1;
		j->include_usage = json_is_true(json_get(f->stream_options, "include_usage"));
		gen_job_start(j, m);
	}
	store_model_free(m);
}

void api_v1_chat_completions(struct api_ctx *ctx, struct api_call *call)
{
	struct fields f;
	struct converted c = {0};
	struct err err;
	json_t *body;
	if (api_body(call, "ChatCompletionRequest", "EOF", &body, &err)) {
		openai_reply_early(call, &err);
		return;
	}
	int rc = api_decode(call, body, "ChatCompletionRequest", table, ARRAY_LEN(table), &f, &err);
	struct gen_job *j = gen_job_new(&dialect, call, body, f.model);
	if (!rc)
		rc = convert(j, &f, &c, &err);
	if (rc) {
		openai_reply_early(call, &err);
		gen_job_unref(j);
	} else {
		run(ctx, j, &f, &c, &err);
	}
	converted_release(&c);
}
