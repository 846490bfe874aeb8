/* runner_embed: from the hidden rows of a text to its vector. */
#ifndef CRIA_RUNNER_EMBED_H
#define CRIA_RUNNER_EMBED_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/vec.h"
#include "tok/tok.h"

/* GGUF <arch>.pooling_type. */
enum runner_pooling { RUNNER_POOL_NONE, RUNNER_POOL_MEAN, RUNNER_POOL_CLS, RUNNER_POOL_LAST, RUNNER_POOL_RANK };

/* rows [n_tok][n_embd] to out [n_embd]; pooling is MEAN, CLS or LAST; sums in double. */
void runner_embed_pool(int pooling, const float *rows, int64_t n_tok, int n_embd, float *out);
/* To length 1; a vector shorter than 1e-12 is divided by that. */
void runner_embed_normalize(float *v, int n);
/* ERR_UNSUPPORTED unless the pooling gives one vector a text. */
int runner_embed_check(int pooling, struct err *err);
/* Cuts the ids of a text, special tokens included, to `limit` of them; the special token at the end stays. */
void runner_embed_cut(const struct tok *t, struct ids *ids, size_t limit);

#endif
