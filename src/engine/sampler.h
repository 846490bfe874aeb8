/* sampler: logits to one token id, in llama.cpp's order (spec/formats.md 7.1, 7.2): penalties, top_k, typical_p, top_p,
 * min_p, temperature, draw (mt19937, seeded). A sampler belongs to one sequence; after sampler_new it allocates nothing. */
#ifndef CRIA_ENGINE_SAMPLER_H
#define CRIA_ENGINE_SAMPLER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kern/kern.h"

struct sampler_cfg {
	int64_t seed;            /* negative: random */
	float temperature;       /* <= 0: greedy */
	int top_k;               /* <= 0: off */
	float top_p, min_p, typical_p;
	int repeat_last_n;       /* 0 off, -1: n_ctx */
	float repeat_penalty, presence_penalty, frequency_penalty;
};
/* Ollama's defaults (spec/ollama-api.md 5). */
extern const struct sampler_cfg sampler_cfg_default;

struct sampler;
struct sampler *sampler_new(const struct sampler_cfg *cfg, const struct kern *k, int n_vocab, int64_t n_ctx);
void sampler_free(struct sampler *s);
/* Feeds one token (prompt or generated) to the penalties. */
void sampler_accept(struct sampler *s, int id);
/* Chooses a token. Penalties are applied in place and taken back: logits are as before when it returns. Never fails: NaN
 * counts as -inf, an empty field gives the argmax. */
int sampler_draw(struct sampler *s, float *logits);

#endif
