/* embed_build: the request part that all embedding endpoints share. */
#ifndef CRIA_API_EMBED_BUILD_H
#define CRIA_API_EMBED_BUILD_H

#include "api/gen_job.h"

struct embed_ask {
	const char *model;    /* as spelled by the client */
	json_t *input;        /* string, array of strings, or NULL */
	json_t *options;
	int64_t dimensions, keep_alive_ns;
	bool truncate;
};

/* Opens the model and fills j->req; j->load_only when there is nothing to embed. *ret_model is to be freed by the caller.
 * Errors as /api/embed answers them. */
int embed_build(struct api_ctx *ctx, struct gen_job *j, const struct embed_ask *ask, struct store_model **ret_model, struct err *err);

#endif
