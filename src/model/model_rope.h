/* model_rope: the angle per position of each rotated pair, with context extension applied. */
#ifndef CRIA_MODEL_ROPE_H
#define CRIA_MODEL_ROPE_H

#include "model/model_hp.h"

/* freq[i] for pair i < n_rot / 2: the pair's angle at position p is p * freq[i]. Returns what cos and sin are multiplied
 * by. */
float model_rope_freqs(const struct model_rope *r, double *freq);

#endif
