/* POST /api/chat */
#include "api/api_endpoints.h"
#include "api/gen_build.h"
#include "api/gen_job.h"
#include "api/ollama/ollama_print.h"
#include "base/bug.h"
#include "base/mem.h"

/* ---- printing ---- */

static void open_line(struct jsonw *w, struct gen_job *j, struct str *out)
{
	jsonw_init(w, out, JSONW_GO);
	jsonw_obj(w);
	jsonw_kstr(w, "model", j->model);
	ollama_created_at(w);
	jsonw_key(w, "message");
	jsonw_obj(w);
}

static void close_line(struct jsonw *w, struct str *out)
{
	jsonw_obj_end(w);
	str_addc(out, '\n');
}

static void print_text(struct gen_job *j, const struct gen_event *ev, struct str *out)
{
	struct jsonw w;
	open_line(&w, j, out);
	jsonw_kstr(&w, "role", "assistant");
	jsonw_kstr(&w, "content", ev->text ? ev->text : "");
	if (ev->thinking && *ev->thinking)
		jsonw_kstr(&w, "thinking", ev->thinking);
	jsonw_obj_end(&w);
	jsonw_kbool(&w, "done", false);
	ollama_logprobs(&w, ev->logprobs);
	close_line(&w, out);
}

static void print_status(struct gen_job *j, const char *status, const char *digest, int64_t total, int64_t completed, struct str *out)
{
	struct jsonw w;
	open_line(&w, j, out);
	jsonw_kstr(&w, "role", "assistant");
	jsonw_kstr(&w, "content", "");
	jsonw_obj_end(&w);
	jsonw_kbool(&w, "done", false);
	ollama_status(&w, status, digest, total, completed);
	close_line(&w, out);
}

static void print_tool_call(struct gen_job *j, const json_t *call, struct str *out)
{
	struct jsonw w;
	open_line(&w, j, out);
	jsonw_kstr(&w, "role", "assistant");
	jsonw_kstr(&w, "content", "");
	jsonw_key(&w, "tool_calls");
	jsonw_arr(&w);
	jsonw_value(&w, call);
	jsonw_arr_end(&w);
	jsonw_obj_end(&w);
	jsonw_kbool(&w, "done", false);
	close_line(&w, out);
}

static void print_done(struct gen_job *j, const struct gen_event *ev, struct str *out)
{
	struct jsonw w;
	open_line(&w, j, out);
	jsonw_kstr(&w, "role", "assistant");
	jsonw_kstr(&w, "content", "");
	jsonw_obj_end(&w);
	jsonw_kbool(&w, "done", true);
	jsonw_kstr(&w, "done_reason", ollama_done_reason(ev));
	ollama_metrics(&w, j, &ev->stats);
	close_line(&w, out);
}

static void print_rendered(struct jsonw *w, struct gen_job *j)
{
	jsonw_kstr(w, "role", "");
	jsonw_kstr(w, "content", "");
	jsonw_obj_end(w);
	jsonw_kbool(w, "done", false);
	ollama_debug_info(w, j);
}

static void print_whole(struct gen_job *j, const struct gen_event *ev, struct str *out)
{
	struct jsonw w;
	open_line(&w, j, out);
	if (j->rendered) {
		print_rendered(&w, j);
		jsonw_obj_end(&w);
		return;
	}
	jsonw_kstr(&w, "role", "assistant");
	jsonw_kstr(&w, "content", str_cstr(&j->text));
	if (j->thinking.len)
		jsonw_kstr(&w, "thinking", j->thinking.data);
	if (json_array_size(j->tool_calls)) {
		jsonw_key(&w, "tool_calls");
		ollama_tool_calls(&w, j->tool_calls);
	}
	jsonw_obj_end(&w);
	jsonw_kbool(&w, "done", true);
	jsonw_kstr(&w, "done_reason", j->load_only ? "load" : ollama_done_reason(ev));
	ollama_logprobs(&w, j->logprobs);
	if (!j->load_only)
		ollama_metrics(&w, j, &ev->stats);
	jsonw_obj_end(&w);
}

static const struct gen_dialect dialect = {
	.stream_type = OLLAMA_NDJSON,
	.whole_type = OLLAMA_JSON,
	.text = print_text,
	.tool_call = print_tool_call,
	.status = print_status,
	.done = print_done,
	.late_error = ollama_late_error,
	.whole = print_whole,
	.fail = api_reply_err,
};

/* ---- the request ---- */

struct chat_fields {
	const char *model;
	json_t *messages, *format, *tools, *options;
	int stream, truncate, shift, logprobs, render_only;
	int64_t keep_alive_ns, top_logprobs;
	struct api_think think;
};

static const struct api_field table[] = {
	{"model", API_F_STR, offsetof(struct chat_fields, model)},
	{"messages", API_F_ARR, offsetof(struct chat_fields, messages)},
	{"stream", API_F_BOOL, offsetof(struct chat_fields, stream)},
	{"format", API_F_ANY, offsetof(struct chat_fields, format)},
	{"keep_alive", API_F_KEEP_ALIVE, offsetof(struct chat_fields, keep_alive_ns)},
	{"tools", API_F_ARR, offsetof(struct chat_fields, tools)},
	{"options", API_F_OBJ, offsetof(struct chat_fields, options)},
	{"think", API_F_THINK, offsetof(struct chat_fields, think)},
	{"truncate", API_F_BOOL, offsetof(struct chat_fields, truncate)},
	{"shift", API_F_BOOL, offsetof(struct chat_fields, shift)},
	{"_debug_render_only", API_F_BOOL, offsetof(struct chat_fields, render_only)},
	{"logprobs", API_F_BOOL, offsetof(struct chat_fields, logprobs)},
	{"top_logprobs", API_F_INT, offsetof(struct chat_fields, top_logprobs)},
};

static void reply_unloaded(struct gen_job *j)
{
	struct jsonw w;
	struct str out = {0};
	open_line(&w, j, &out);
	jsonw_kstr(&w, "role", "assistant");
	jsonw_kstr(&w, "content", "");
	jsonw_obj_end(&w);
	jsonw_kbool(&w, "done", true);
	jsonw_kstr(&w, "done_reason", "unload");
	jsonw_obj_end(&w);
	api_reply_json(j->call, 200, &out);
	str_release(&out);
}

/* Fills j->req. */
static int build(struct api_ctx *ctx, struct gen_job *j, struct chat_fields *f, const struct store_model *m, json_t *messages,
		 struct err *err)
{
	json_t *facts, *format = NULL;
	struct api_caps caps;
	struct gen_needs needs = {.tools = json_array_size(f->tools) > 0};
	j->n_image = gen_build_count_images(messages);
	needs.images = j->n_image && f->render_only != 1;
	int rc = api_model_facts(ctx, m, false, &facts, err);
	if (rc)
		return rc;
	bool native = api_model_native(m, facts);
	api_model_caps(m, facts, native, &caps);
	rc = gen_build_check(m, &caps, f->model, "chat", &needs, &f->think, err);
	json_decref(facts);
	if (rc || (rc = gen_build_opts(ctx, m, f->options, &j->req.opts, err)))
		return rc;
	j->load_only = !json_array_size(messages);
	if (j->load_only)
		return 0;
	if ((rc = gen_build_format(f->format, &format, err)) ||
	    (rc = gen_build_tools(j->call, f->tools, "ChatRequest", &j->req.tools, err)))
		return rc;
	j->req.kind = GEN_CHAT;
	gen_build_template(&j->req, m, "", native);
	j->req.messages = gen_build_history(m, messages, m->system);
	j->req.format = json_incref(format);
	j->req.truncate = f->truncate != 0;
	j->req.shift = f->shift != 0;
	j->req.logprobs = f->logprobs == 1;
	j->req.top_logprobs = (int)f->top_logprobs;
	j->req.render_only = f->render_only == 1;
	j->req.think = f->think.on;
	j->req.think_level = f->think.level ? mem_strdup(f->think.level) : NULL;
	return 0;
}

static void run(struct api_ctx *ctx, struct gen_job *j, struct chat_fields *f, struct err *err)
{
	struct store_model *m = NULL;
	json_t *messages = NULL;
	j->stream = gen_job_wants_stream(ctx, j->call, f->stream);
	j->narrate = j->stream && json_array_size(f->messages) && f->render_only != 1;
	j->may_pull = json_array_size(f->messages) || f->keep_alive_ns != 0;
	int rc = gen_build_messages(j->call, f->messages, "ChatRequest", &messages, err);
	if (!rc && (f->top_logprobs < 0 || f->top_logprobs > 20))
		rc = err_set(err, ERR_INVALID, "top_logprobs must be between 0 and 20");
	if (!rc && !*f->model)
		rc = err_set(err, ERR_INVALID, "model is required");
	if (!rc)
		rc = api_model_open(ctx, f->model, &m, err);
	if (!rc && !json_array_size(messages) && f->keep_alive_ns == 0) {
		sched_unload(ctx->sched, m);
		reply_unloaded(j);
		gen_job_unref(j);
	} else if (rc || (rc = build(ctx, j, f, m, messages, err))) {
		gen_job_fail(j, err);
	} else {
		j->keep_alive_ns = f->keep_alive_ns;
		gen_job_start(j, m);
	}
	json_decref(messages);
	store_model_free(m);
}

void api_chat(struct api_ctx *ctx, struct api_call *call)
{
	struct chat_fields f;
	struct err err;
	json_t *body;
	if (api_body(call, "ChatRequest", "missing request body", &body, &err)) {
		api_reply_err(call, &err);
		return;
	}
	int rc = api_decode(call, body, "ChatRequest", table, ARRAY_LEN(table), &f, &err);
	struct gen_job *j = gen_job_new(&dialect, call, body, f.model);
	if (rc)
		gen_job_fail(j, &err);
	else
		run(ctx, j, &f, &err);
}
