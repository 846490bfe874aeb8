/* POST /v1/completions: the prompt goes through the model's template as a user message, as in Ollama. */
#include "api/api_endpoints.h"
#include "api/api_model.h"
#include "api/gen_build.h"
#include "api/ollama/ollama_print.h"
#include "api/openai/openai.h"
#include "base/bug.h"
#include "base/clock.h"

/* ---- printing ---- */

static void put_head(struct jsonw *w, struct gen_job *j, int64_t created_s, struct str *out)
{
	jsonw_init(w, out, JSONW_GO);
	jsonw_obj(w);
	jsonw_kstr(w, "id", j->reply_id);
	jsonw_kstr(w, "object", "text_completion");
	jsonw_kint(w, "created", created_s);
}

static void put_model(struct jsonw *w, const struct gen_job *j)
{
	jsonw_kstr(w, "model", j->model);
	jsonw_kstr(w, "system_fingerprint", "fp_ollama");
}

/* "choices" with one choice, or with none when text is NULL. */
static void put_choices(struct jsonw *w, const char *text, const char *finish_reason)
{
	jsonw_key(w, "choices");
	jsonw_arr(w);
	if (text) {
		jsonw_obj(w);
		jsonw_kstr(w, "text", text);
		jsonw_kint(w, "index", 0);
		jsonw_kstr(w, "finish_reason", finish_reason);
		jsonw_obj_end(w);
	}
	jsonw_arr_end(w);
}

static void put_chunk(struct gen_job *j, const char *text, const char *finish_reason, const struct gen_stats *s, struct str *out)
{
	struct jsonw w;
	str_adds(out, "data: ");
	put_head(&w, j, clock_wall_ns() / NS_PER_S, out);
	put_choices(&w, text, finish_reason);
	put_model(&w, j);
	if (j->include_usage)
		openai_usage(&w, s);
	jsonw_obj_end(&w);
	str_adds(out, "\n\n");
}

static void print_text(struct gen_job *j, const struct gen_event *ev, struct str *out)
{
	struct gen_stats none = {0};
	if (ev->text && *ev->text) /* thinking has no place in this form */
		put_chunk(j, ev->text, NULL, &none, out);
}

static void print_tool_call(struct gen_job *j, const json_t *call, struct str *out)
{
	(void)j;
	(void)call;
	(void)out;
}

static void print_done(struct gen_job *j, const struct gen_event *ev, struct str *out)
{
	struct gen_stats none = {0};
	put_chunk(j, "", ollama_done_reason(ev), &none, out);
	if (j->include_usage)
		put_chunk(j, NULL, NULL, &ev->stats, out);
	str_adds(out, "data: [DONE]\n\n");
}

static void print_whole(struct gen_job *j, const struct gen_event *ev, struct str *out)
{
	struct jsonw w;
	struct gen_stats none = {0};
	bool idle = j->load_only || j->rendered;
	put_head(&w, j, j->created_s, out);
	put_model(&w, j);
	put_choices(&w, str_cstr(&j->text), j->load_only ? "load" : j->rendered ? NULL : ollama_done_reason(ev));
	openai_usage(&w, idle ? &none : &ev->stats);
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
	const char *model, *prompt, *suffix;
	json_t *stream_options;
	int stream, render_only;
	struct openai_sampling s;
};

static const struct api_field table[] = {
	{"model", API_F_STR, offsetof(struct fields, model)},
	{"prompt", API_F_STR, offsetof(struct fields, prompt)},
	{"suffix", API_F_STR, offsetof(struct fields, suffix)},
	OPENAI_SAMPLING_FIELDS(struct fields),
	{"stream", API_F_BOOL, offsetof(struct fields, stream)},
	{"stream_options", API_F_OBJ, offsetof(struct fields, stream_options)},
	{"_debug_render_only", API_F_BOOL, offsetof(struct fields, render_only)},
};

/* Penalties are always given here, so that the model's own do not count; a top_p of 0 means 1. */
static void complete_options(json_t *options)
{
	static const char *const penalties[] = {"frequency_penalty", "presence_penalty"};
	for (size_t i = 0; i < ARRAY_LEN(penalties); i++)
		if (!json_object_get(options, penalties[i]))
			json_object_set_new(options, penalties[i], json_real(0));
	if (json_number_value(json_object_get(options, "top_p")) == 0)
		json_object_set_new(options, "top_p", json_real(1));
}

static int build(struct api_ctx *ctx, struct gen_job *j, const struct fields *f, const json_t *options, const struct store_model *m,
		 struct err *err)
{
	json_t *facts;
	struct api_caps caps;
	struct api_think think = {-1, NULL};
	struct gen_needs needs = {.insert = *f->suffix != 0};
	int rc = api_model_facts(ctx, m, false, &facts, err);
	if (rc)
		return rc;
	bool native = api_model_native(m, facts);
	api_model_caps(m, facts, native, &caps);
	rc = gen_build_check(m, &caps, f->model, "generate", &needs, &think, err);
	json_decref(facts);
	if (rc || (rc = gen_build_opts(ctx, m, options, &j->req.opts, err)))
		return rc;
	j->load_only = !*f->prompt;
	j->req.render_only = f->render_only == 1;
	j->req.think = think.on;
	if (*f->suffix) {
		gen_build_fill(&j->req, m, "", f->prompt, f->suffix);
		return 0;
	}
	json_t *messages = json_pack("[{s:s,s:s}]", "role", "user", "content", f->prompt);
	j->req.kind = GEN_CHAT;
	j->req.messages = gen_build_history(m, messages, m->system);
	gen_build_template(&j->req, m, "", native);
	json_decref(messages);
	return 0;
}

static void run(struct api_ctx *ctx, struct gen_job *j, const struct fields *f, const json_t *options, struct err *err)
{
	struct store_model *m = NULL;
	j->narrate = f->stream == 1;
	int rc = api_model_open(ctx, f->model, &m, err);
	if (!rc)
		rc = build(ctx, j, f, options, m, err);
	if (rc) {
		gen_job_fail(j, err);
	} else {
		openai_new_id(j, "cmpl");
		j->stream = f->stream == 1;
		j->include_usage = json_is_true(json_get(f->stream_options, "include_usage"));
		gen_job_start(j, m);
	}
	store_model_free(m);
}

void api_v1_completions(struct api_ctx *ctx, struct api_call *call)
{
	struct fields f;
	struct err err;
	json_t *body, *options = NULL;
	if (api_body(call, "CompletionRequest", "EOF", &body, &err)) {
		openai_reply_early(call, &err);
		return;
	}
	int rc = api_decode(call, body, "CompletionRequest", table, ARRAY_LEN(table), &f, &err);
	struct gen_job *j = gen_job_new(&dialect, call, body, f.model);
	if (!rc)
		rc = openai_options(&f.s, true, &options, &err);
	if (rc) {
		openai_reply_early(call, &err);
		gen_job_unref(j);
	} else {
		complete_options(options);
		run(ctx, j, &f, options, &err);
	}
	json_decref(options);
}
