/* POST /api/embeddings: the older form, one prompt, one vector in double precision. */
#include "api/api_decode.h"
#include "api/api_endpoints.h"
#include "api/embed_build.h"
#include "api/ollama/ollama_print.h"
#include "base/bug.h"

static void print_whole(struct gen_job *j, const struct gen_event *ev, struct str *out)
{
	struct jsonw w;
	(void)ev;
	jsonw_init(&w, out, JSONW_GO);
	jsonw_obj(&w);
	jsonw_key(&w, "embedding");
	if (j->n_vector) {
		jsonw_raw(&w, j->vectors[0].data, j->vectors[0].len);
	} else {
		jsonw_arr(&w);
		jsonw_arr_end(&w);
	}
	jsonw_obj_end(&w);
}

/* This endpoint knows one status for whatever goes wrong with the model at work. */
static void reply_err(struct api_call *call, const struct err *err)
{
	int status = api_status_of(err->code);
	api_reply_error(call, status == 501 ? 500 : status, "%s", err->msg);
}

static void print_vector(struct gen_job *j, const float *values, size_t n, struct str *out)
{
	struct jsonw w;
	(void)j;
	jsonw_init(&w, out, JSONW_GO);
	jsonw_arr(&w);
	for (size_t k = 0; k < n; k++)
		jsonw_f64(&w, (double)values[k]);
	jsonw_arr_end(&w);
}

static const struct gen_dialect dialect = {
	.whole_type = OLLAMA_JSON,
	.vector = print_vector,
	.whole = print_whole,
	.fail = reply_err,
};

struct embeddings_fields {
	const char *model, *prompt;
	json_t *options;
	int64_t keep_alive_ns;
};

static const struct api_field table[] = {
	{"model", API_F_STR, offsetof(struct embeddings_fields, model)},
	{"prompt", API_F_STR, offsetof(struct embeddings_fields, prompt)},
	{"keep_alive", API_F_KEEP_ALIVE, offsetof(struct embeddings_fields, keep_alive_ns)},
	{"options", API_F_OBJ, offsetof(struct embeddings_fields, options)},
};

void api_embeddings(struct api_ctx *ctx, struct api_call *call)
{
	struct embeddings_fields f;
	struct store_model *m = NULL;
	struct err err;
	json_t *body;
	if (api_body(call, "EmbeddingRequest", "missing request body", &body, &err)) {
		api_reply_err(call, &err);
		return;
	}
	int rc = api_decode(call, body, "EmbeddingRequest", table, ARRAY_LEN(table), &f, &err);
	struct gen_job *j = gen_job_new(&dialect, call, body, f.model);
	if (!rc && !*f.model)
		rc = err_set(&err, ERR_INVALID, "model is required");
	if (!rc) {
		json_t *input = json_string(f.prompt);
		struct embed_ask ask = {.model = f.model, .input = input, .options = f.options, .keep_alive_ns = f.keep_alive_ns,
					.truncate = true};
		rc = embed_build(ctx, j, &ask, &m, &err);
		json_decref(input);
	}
	if (rc)
		gen_job_fail(j, &err);
	else
		gen_job_start(j, m);
	store_model_free(m);
}
