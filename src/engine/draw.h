/* draw: the next tokens of a step, drawn from its logits by all compute threads: each sequence has its own sampler and
 * grammar, so the order does not matter. Nothing here ends a sequence or tells anybody but on_drawn. */
#ifndef CRIA_ENGINE_DRAW_H
#define CRIA_ENGINE_DRAW_H

#include "engine/seq.h"
#include "kern/pool.h"

struct draw {
	struct seq *seq;
	float *logits;        /* [n_vocab]; as they were when it is done */
	int i_seg;            /* of the step */
	struct seq_token tok; /* the result; id -1: the grammar has come to an end that the vocabulary has no token for */
};

struct draw_ctx {
	struct pool *pool;
	int n_vocab;
	bool (*is_eog)(const void *user, int id); /* NULL: none ends generation */
	const void *eog_user;
};

/* At most one entry per sequence. Returns when all are drawn. */
void draw_all(const struct draw_ctx *ctx, struct draw *draws, int n);

#endif
