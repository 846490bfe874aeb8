#include "engine/draw.h"

#include <stdatomic.h>

struct work {
	const struct draw_ctx *ctx;
	struct draw *draws;
	int n;
	atomic_int next;
};

/* The most likely token is tried first where no chance is involved: it mostly fits, and the mask is saved. */
static int draw_id(struct seq *s, float *logits, int n_vocab)
{
	if (!s->grammar)
		return sampler_draw(s->sampler, logits);
	int id = s->cfg.sampler.temperature <= 0 ? sampler_draw(s->sampler, logits) : -1;
	if (id >= 0 && grammar_state_accept(s->grammar, s->cfg.vocab, id))
		return id;
	if (!grammar_state_mask(s->grammar, s->cfg.vocab, s->mask))
		return -1;
	grammar_mask_apply(s->cfg.vocab, s->mask, logits, n_vocab, s->masked);
	id = sampler_draw(s->sampler, s->masked);
	return grammar_state_accept(s->grammar, s->cfg.vocab, id) ? id : -1;
}

static void draw_one(const struct draw_ctx *ctx, struct draw *d)
{
	struct seq *s = d->seq;
	struct seq_token *t = &d->tok;
	*t = (struct seq_token){.id = draw_id(s, d->logits, ctx->n_vocab), .pos = s->stats.n_generated};
	if (t->id < 0)
		return;
	t->logits = s->cfg.want_logits ? d->logits : NULL;
	t->eog = !s->cfg.ignore_eog && ctx->is_eog && ctx->is_eog(ctx->eog_user, t->id);
	sampler_accept(s->sampler, t->id);
	if (s->cfg.on_drawn)
		s->cfg.on_drawn(s->cfg.user, t);
}

static void draw_some(void *arg, int i_thread, int n_thread)
{
	struct work *w = arg;
	(void)i_thread, (void)n_thread;
	for (int i; (i = atomic_fetch_add(&w->next, 1)) < w->n;)
		draw_one(w->ctx, &w->draws[i]);
}

void draw_all(const struct draw_ctx *ctx, struct draw *draws, int n)
{
	struct work w = {.ctx = ctx, .draws = draws, .n = n};
	if (n > 1)
		pool_run(ctx->pool, draw_some, &w);
	else if (n)
		draw_one(ctx, draws);
}
