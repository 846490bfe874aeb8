/* model: a GGUF file as something that can be run: hyperparameters, weights, the recorded list of operations.
 * (The loader and the recording builder live beside this header; arch/ files use them.) */
#ifndef CRIA_MODEL_H
#define CRIA_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "gguf/gguf.h"
#include "kern/kern.h"
#include "kern/pool.h"

struct model;

/* kv_type: what K and V are stored as. Reads keys, checks every tensor's shape and use, prepares the matrices (packing runs on the pool). The gguf must outlive
 * the model. `n_ctx` selects what depends on the configured context (longrope factors); 0: trained length. `progress` may be
 * NULL. ERR_UNSUPPORTED names the architecture or tensor type and what is supported. */
int model_new(const struct gguf *g, const struct kern *k, enum kern_kv_type kv_type, struct pool *pool, int64_t n_ctx,
	      void (*progress)(void *user, float share), void *user, struct model **ret, struct err *err);
void model_free(struct model *m);

const char *model_arch(const struct model *m);
int model_n_vocab(const struct model *m);
int model_n_embd(const struct model *m);
int64_t model_n_ctx_train(const struct model *m);
bool model_is_encoder(const struct model *m); /* no KV cache, no generation (bert) */
int model_pooling(const struct model *m);     /* <arch>.pooling_type: 0 none, 1 mean, 2 CLS, 3 last, 4 rank; -1 no key */

/* "llama qwen2 gemma3 bert", for messages and `inspect`. */
const char *model_arch_names(void);
bool model_arch_supported(const char *name);

#endif
