#include "api/embed_build.h"

#include "api/gen_build.h"

/* The input as an array of strings; NULL when there is nothing: absent, null, "" or []. */
static int take_input(json_t *input, json_t **ret, struct err *err)
{
	*ret = NULL;
	if (!input || json_is_null(input) || (json_is_string(input) && !json_string_length(input)))
		return 0;
	if (json_is_string(input)) {
		*ret = json_pack("[O]", input);
		return 0;
	}
	if (!json_is_array(input))
		return err_set(err, ERR_INVALID, "invalid input type");
	for (size_t i = 0; i < json_array_size(input); i++)
		if (!json_is_string(json_array_get(input, i)))
			return err_set(err, ERR_INVALID, "invalid input type");
	if (json_array_size(input))
		*ret = json_incref(input);
	return 0;
}

int embed_build(struct api_ctx *ctx, struct gen_job *j, const struct embed_ask *ask, struct store_model **ret_model, struct err *err)
{
	json_t *facts = NULL;
	int rc = take_input(ask->input, &j->req.inputs, err);
	*ret_model = NULL;
	if (rc)
		return rc;
	rc = api_model_open(ctx, ask->model, ret_model, err);
	if (rc == ERR_NOT_FOUND && *ask->model)
		err_set(err, rc, "model \"%s\" not found, try pulling it first", ask->model);
	if (rc || (rc = gen_build_opts(ctx, *ret_model, ask->options, &j->req.opts, err)) ||
	    (rc = api_model_facts(ctx, *ret_model, false, &facts, err)))
		return rc;
	bool encoder = json_get_nonnull(facts, "pooling_type");
	json_decref(facts);
	j->load_only = !j->req.inputs;
	j->keep_alive_ns = ask->keep_alive_ns;
	if (!encoder && !j->load_only) /* worded as clients of Ollama know it */
		return err_set(err, ERR_UNSUPPORTED, "This server does not support embeddings. Start it with `--embeddings`");
	j->req.kind = GEN_EMBED;
	j->req.dimensions = ask->dimensions > 0 ? ask->dimensions : 0;
	j->req.truncate = ask->truncate;
	return 0;
}
