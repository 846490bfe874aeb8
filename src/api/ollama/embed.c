/* POST /api/embed */
#include "api/api_decode.h"
#include "api/api_endpoints.h"
#include "api/embed_build.h"
#include "api/ollama/ollama_print.h"
#include "base/bug.h"
#include "base/clock.h"

static void print_whole(struct gen_job *j, const struct gen_event *ev, struct str *out)
{
	struct jsonw w;
	(void)ev;
	jsonw_init(&w, out, JSONW_GO);
	jsonw_obj(&w);
	jsonw_kstr(&w, "model", j->model);
	jsonw_key(&w, "embeddings");
	jsonw_arr(&w);
	for (size_t i = 0; i < j->n_vector; i++)
		jsonw_raw(&w, j->vectors[i].data, j->vectors[i].len);
	jsonw_arr_end(&w);
	if (!j->load_only) {
		struct gen_stats s = {.n_prompt = j->n_input_tok};
		ollama_metrics(&w, j, &s);
	}
	jsonw_obj_end(&w);
}

static void print_vector(struct gen_job *j, const float *values, size_t n, struct str *out)
{
	struct jsonw w;
	(void)j;
	jsonw_init(&w, out, JSONW_GO);
	jsonw_arr(&w);
	for (size_t k = 0; k < n; k++)
		jsonw_f32(&w, values[k]);
	jsonw_arr_end(&w);
}

static const struct gen_dialect dialect = {
	.whole_type = OLLAMA_JSON,
	.vector = print_vector,
	.whole = print_whole,
	.fail = api_reply_err,
};

struct embed_fields {
	const char *model;
	json_t *input, *options;
	int truncate;
	int64_t keep_alive_ns, dimensions;
};

static const struct api_field table[] = {
	{"model", API_F_STR, offsetof(struct embed_fields, model)},
	{"input", API_F_ANY, offsetof(struct embed_fields, input)},
	{"keep_alive", API_F_KEEP_ALIVE, offsetof(struct embed_fields, keep_alive_ns)},
	{"truncate", API_F_BOOL, offsetof(struct embed_fields, truncate)},
	{"dimensions", API_F_INT, offsetof(struct embed_fields, dimensions)},
	{"options", API_F_OBJ, offsetof(struct embed_fields, options)},
};

void api_embed(struct api_ctx *ctx, struct api_call *call)
{
	struct embed_fields f;
	struct store_model *m = NULL;
	struct err err;
	json_t *body;
	if (api_body(call, "EmbedRequest", "missing request body", &body, &err)) {
		api_reply_err(call, &err);
		return;
	}
	int rc = api_decode(call, body, "EmbedRequest", table, ARRAY_LEN(table), &f, &err);
	struct gen_job *j = gen_job_new(&dialect, call, body, f.model);
	if (!rc) {
		struct embed_ask ask = {.model = f.model, .input = f.input, .options = f.options, .dimensions = f.dimensions,
					.keep_alive_ns = f.keep_alive_ns, .truncate = f.truncate != 0};
		rc = embed_build(ctx, j, &ask, &m, &err);
	}
	if (rc)
		gen_job_fail(j, &err);
	else
		gen_job_start(j, m);
	store_model_free(m);
}
