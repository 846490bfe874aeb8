/* POST /api/generate */
#include "api/api_endpoints.h"
#include "api/gen_build.h"
#include "api/gen_job.h"
#include "api/ollama/ollama_print.h"
#include "base/bug.h"
#include "base/mem.h"

/* ---- printing ---- */

static void open_line(struct jsonw *w, struct gen_job *j, const char *response, struct str *out)
{
	jsonw_init(w, out, JSONW_GO);
	jsonw_obj(w);
	jsonw_kstr(w, "model", j->model);
	ollama_created_at(w);
	jsonw_kstr(w, "response", response ? response : "");
}

static void print_text(struct gen_job *j, const struct gen_event *ev, struct str *out)
{
	struct jsonw w;
	open_line(&w, j, ev->text, out);
	if (ev->thinking && *ev->thinking)
		jsonw_kstr(&w, "thinking", ev->thinking);
	jsonw_kbool(&w, "done", false);
	ollama_logprobs(&w, ev->logprobs);
	jsonw_obj_end(&w);
	str_addc(out, '\n');
}

static void print_status(struct gen_job *j, const char *status, const char *digest, int64_t total, int64_t completed, struct str *out)
{
	struct jsonw w;
	open_line(&w, j, "", out);
	jsonw_kbool(&w, "done", false);
	ollama_status(&w, status, digest, total, completed);
	jsonw_obj_end(&w);
	str_addc(out, '\n');
}

/* Tool calls are part of the last object only. */
static void print_tool_call(struct gen_job *j, const json_t *call, struct str *out)
{
	(void)j;
	(void)call;
	(void)out;
}

/* What follows "done":true in a last object, streamed or not. */
static void print_end(struct jsonw *w, struct gen_job *j, const struct gen_event *ev)
{
	jsonw_kbool(w, "done", true);
	jsonw_kstr(w, "done_reason", ollama_done_reason(ev));
	if (ev->context.n) {
		jsonw_key(w, "context");
		jsonw_arr(w);
		for (size_t i = 0; i < ev->context.n; i++)
			jsonw_int(w, ev->context.data[i]);
		jsonw_arr_end(w);
	}
	ollama_metrics(w, j, &ev->stats);
	if (json_array_size(j->tool_calls)) {
		jsonw_key(w, "tool_calls");
		ollama_tool_calls(w, j->tool_calls);
	}
}

static void print_done(struct gen_job *j, const struct gen_event *ev, struct str *out)
{
	struct jsonw w;
	open_line(&w, j, "", out);
	print_end(&w, j, ev);
	jsonw_obj_end(&w);
	str_addc(out, '\n');
}

static void print_whole(struct gen_job *j, const struct gen_event *ev, struct str *out)
{
	struct jsonw w;
	open_line(&w, j, str_cstr(&j->text), out);
	if (j->rendered) {
		jsonw_kbool(&w, "done", false);
		ollama_debug_info(&w, j);
	} else if (j->load_only) {
		jsonw_kbool(&w, "done", true);
		jsonw_kstr(&w, "done_reason", "load");
	} else {
		if (j->thinking.len)
			jsonw_kstr(&w, "thinking", j->thinking.data);
		print_end(&w, j, ev);
		ollama_logprobs(&w, j->logprobs);
	}
	jsonw_obj_end(&w);
}

static const struct gen_dialect dialect = {
	.stream_type = OLLAMA_NDJSON,
	.whole_type = OLLAMA_JSON,
	.text = print_text,
	.status = print_status,
	.tool_call = print_tool_call,
	.done = print_done,
	.late_error = ollama_late_error,
	.whole = print_whole,
	.fail = api_reply_err,
};

/* ---- the request ---- */

struct generate_fields {
	const char *model, *prompt, *suffix, *system, *template_text;
	json_t *context, *format, *images, *options;
	int stream, raw, truncate, shift, logprobs, render_only;
	int64_t keep_alive_ns, top_logprobs;
	struct api_think think;
};

static const struct api_field table[] = {
	{"model", API_F_STR, offsetof(struct generate_fields, model)},
	{"prompt", API_F_STR, offsetof(struct generate_fields, prompt)},
	{"suffix", API_F_STR, offsetof(struct generate_fields, suffix)},
	{"system", API_F_STR, offsetof(struct generate_fields, system)},
	{"template", API_F_STR, offsetof(struct generate_fields, template_text)},
	{"context", API_F_INTS, offsetof(struct generate_fields, context)},
	{"stream", API_F_BOOL, offsetof(struct generate_fields, stream)},
	{"raw", API_F_BOOL, offsetof(struct generate_fields, raw)},
	{"format", API_F_ANY, offsetof(struct generate_fields, format)},
	{"keep_alive", API_F_KEEP_ALIVE, offsetof(struct generate_fields, keep_alive_ns)},
	{"images", API_F_IMAGES, offsetof(struct generate_fields, images)},
	{"options", API_F_OBJ, offsetof(struct generate_fields, options)},
	{"think", API_F_THINK, offsetof(struct generate_fields, think)},
	{"truncate", API_F_BOOL, offsetof(struct generate_fields, truncate)},
	{"shift", API_F_BOOL, offsetof(struct generate_fields, shift)},
	{"_debug_render_only", API_F_BOOL, offsetof(struct generate_fields, render_only)},
	{"logprobs", API_F_BOOL, offsetof(struct generate_fields, logprobs)},
	{"top_logprobs", API_F_INT, offsetof(struct generate_fields, top_logprobs)},
};

static void reply_unloaded(struct gen_job *j)
{
	struct jsonw w;
	struct str out = {0};
	open_line(&w, j, "", &out);
	jsonw_kbool(&w, "done", true);
	jsonw_kstr(&w, "done_reason", "unload");
	jsonw_obj_end(&w);
	api_reply_json(j->call, 200, &out);
	str_release(&out);
}

static int take_context(struct gen_req *r, const json_t *context, struct err *err)
{
	for (size_t i = 0; i < json_array_size(context); i++) {
		json_int_t id = json_integer_value(json_array_get(context, i));
		if (id < 0 || id > INT32_MAX)
			return err_set(err, ERR_INTERNAL, "detokenize error: %lld in \"context\" is no token id", (long long)id);
		vec_push(&r->context, (int)id);
	}
	return 0;
}

/* The prompt as a conversation: MESSAGEs of the model (unless an older answer's context stands for the past), then the user. */
static void take_prompt(struct gen_req *r, const struct generate_fields *f, const struct store_model *m, bool native)
{
	r->want_context = f->raw != 1;
	if (f->raw == 1) {
		r->kind = GEN_PROMPT;
		r->prompt = mem_strdup(f->prompt);
		return;
	}
	if (*f->suffix) {
		gen_build_fill(r, m, f->template_text, f->prompt, f->suffix);
		return;
	}
	json_t *user = json_pack("{s:s,s:s}", "role", "user", "content", f->prompt), *list = json_array();
	if (json_array_size(f->images))
		json_object_set(user, "images", f->images);
	json_array_append_new(list, user);
	r->kind = GEN_CHAT;
	gen_build_template(r, m, f->template_text, native);
	r->messages = gen_build_history(r->context.n ? NULL : m, list, *f->system ? f->system : m->system);
	json_decref(list);
}

static int build(struct api_ctx *ctx, struct gen_job *j, struct generate_fields *f, const struct store_model *m, struct err *err)
{
	json_t *facts, *format = NULL;
	struct api_caps caps;
	struct gen_needs needs = {.insert = *f->suffix != 0, .images = json_array_size(f->images) && f->render_only != 1};
	j->n_image = (int)json_array_size(f->images);
	if (f->raw == 1 && (*f->template_text || *f->system || json_array_size(f->context)))
		return err_set(err, ERR_INVALID, "raw mode does not support template, system, or context");
	int rc = api_model_facts(ctx, m, false, &facts, err);
	if (rc)
		return rc;
	bool native = api_model_native(m, facts);
	api_model_caps(m, facts, native, &caps);
	rc = gen_build_check(m, &caps, f->model, "generate", &needs, &f->think, err);
	json_decref(facts);
	if (rc || (rc = gen_build_opts(ctx, m, f->options, &j->req.opts, err)))
		return rc;
	j->load_only = !*f->prompt;
	if (j->load_only)
		return 0;
	if ((rc = gen_build_format(f->format, &format, err)) || (rc = take_context(&j->req, f->context, err)))
		return rc;
	take_prompt(&j->req, f, m, native);
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

static void run(struct api_ctx *ctx, struct gen_job *j, struct generate_fields *f, struct err *err)
{
	struct store_model *m = NULL;
	j->stream = gen_job_wants_stream(ctx, j->call, f->stream);
	j->narrate = j->stream && *f->prompt && f->render_only != 1;
	j->may_pull = *f->prompt || f->keep_alive_ns != 0;
	int rc = f->top_logprobs < 0 || f->top_logprobs > 20 ? err_set(err, ERR_INVALID, "top_logprobs must be between 0 and 20") : 0;
	if (!rc)
		rc = api_model_open(ctx, f->model, &m, err);
	if (!rc && !*f->prompt && f->keep_alive_ns == 0) {
		sched_unload(ctx->sched, m);
		reply_unloaded(j);
		gen_job_unref(j);
	} else if (rc || (rc = build(ctx, j, f, m, err))) {
		gen_job_fail(j, err);
	} else {
		j->keep_alive_ns = f->keep_alive_ns;
		gen_job_start(j, m);
	}
	store_model_free(m);
}

void api_generate(struct api_ctx *ctx, struct api_call *call)
{
	struct generate_fields f;
	struct err err;
	json_t *body;
	if (api_body(call, "GenerateRequest", "missing request body", &body, &err)) {
		api_reply_err(call, &err);
		return;
	}
	int rc = api_decode(call, body, "GenerateRequest", table, ARRAY_LEN(table), &f, &err);
	struct gen_job *j = gen_job_new(&dialect, call, body, f.model);
	if (rc)
		gen_job_fail(j, &err);
	else
		run(ctx, j, &f, &err);
}
