/* POST /v1/embeddings */
#include <strings.h>

#include "api/api_endpoints.h"
#include "api/embed_build.h"
#include "api/openai/openai.h"
#include "base/bug.h"

static void print_vector(struct gen_job *j, const float *values, size_t n, struct str *out)
{
	struct jsonw w;
	if (j->base64) { /* little-endian f32, as in memory on every machine this runs on */
		str_addc(out, '"');
		api_base64_encode(values, n * sizeof *values, out);
		str_addc(out, '"');
		return;
	}
	jsonw_init(&w, out, JSONW_GO);
	jsonw_arr(&w);
	for (size_t k = 0; k < n; k++)
		jsonw_f32(&w, values[k]);
	jsonw_arr_end(&w);
}

static void print_whole(struct gen_job *j, const struct gen_event *ev, struct str *out)
{
	struct jsonw w;
	(void)ev;
	jsonw_init(&w, out, JSONW_GO);
	jsonw_obj(&w);
	jsonw_kstr(&w, "object", "list");
	jsonw_key(&w, "data");
	jsonw_arr(&w);
	for (size_t i = 0; i < j->n_vector; i++) {
		jsonw_obj(&w);
		jsonw_kstr(&w, "object", "embedding");
		jsonw_key(&w, "embedding");
		jsonw_raw(&w, j->vectors[i].data, j->vectors[i].len);
		jsonw_kint(&w, "index", (int64_t)i);
		jsonw_obj_end(&w);
	}
	jsonw_arr_end(&w);
	jsonw_kstr(&w, "model", j->model);
	jsonw_key(&w, "usage");
	jsonw_obj(&w);
	jsonw_kint(&w, "prompt_tokens", j->n_input_tok);
	jsonw_kint(&w, "total_tokens", j->n_input_tok);
	jsonw_obj_end(&w);
	jsonw_obj_end(&w);
	str_addc(out, '\n');
}

static const struct gen_dialect dialect = {
	.whole_type = OPENAI_JSON,
	.vector = print_vector,
	.whole = print_whole,
	.fail = openai_reply_err,
};

struct fields {
	const char *model, *encoding_format;
	json_t *input;
	int64_t dimensions;
};

static const struct api_field table[] = {
	{"model", API_F_STR, offsetof(struct fields, model)},
	{"input", API_F_ANY, offsetof(struct fields, input)},
	{"dimensions", API_F_INT, offsetof(struct fields, dimensions)},
	{"encoding_format", API_F_STR, offsetof(struct fields, encoding_format)},
};

static int check(const struct fields *f, struct err *err)
{
	const char *format = f->encoding_format;
	if (!f->input || (json_is_array(f->input) && !json_array_size(f->input)))
		return err_set(err, ERR_INVALID, "invalid input");
	if (*format && strcasecmp(format, "float") && strcasecmp(format, "base64"))
		return err_set(err, ERR_INVALID, "Invalid value for 'encoding_format' = %s. Supported values: ['float', 'base64'].",
			       format);
	return 0;
}

static void run(struct api_ctx *ctx, struct gen_job *j, const struct fields *f, struct err *err)
{
	struct store_model *m = NULL;
	/* an empty text is embedded here, unlike in the native form */
	json_t *input = json_is_string(f->input) ? json_pack("[O]", f->input) : json_incref(f->input);
	struct embed_ask ask = {.model = f->model, .input = input, .dimensions = f->dimensions, .keep_alive_ns = SCHED_KEEP_DEFAULT,
				.truncate = true};
	j->base64 = !strcasecmp(f->encoding_format, "base64");
	if (embed_build(ctx, j, &ask, &m, err))
		gen_job_fail(j, err);
	else
		gen_job_start(j, m);
	json_decref(input);
	store_model_free(m);
}

void api_v1_embeddings(struct api_ctx *ctx, struct api_call *call)
{
	struct fields f;
	struct err err;
	json_t *body;
	if (api_body(call, "EmbedRequest", "EOF", &body, &err)) {
		openai_reply_early(call, &err);
		return;
	}
	int rc = api_decode(call, body, "EmbedRequest", table, ARRAY_LEN(table), &f, &err);
	if (!rc)
		rc = check(&f, &err);
	struct gen_job *j = gen_job_new(&dialect, call, body, f.model);
	if (rc) {
		openai_reply_early(call, &err);
		gen_job_unref(j);
	} else {
		run(ctx, j, &f, &err);
	}
}
