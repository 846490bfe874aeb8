#include "engine/spec.h"

#include "base/bug.h"
#include "engine/engine_int.h"

/* Before anything was measured: a row more costs this share of a step. */
static const double row_share = 1.0 / 8;

/* Other programs make steps longer, never shorter: shorter times are believed sooner. */
static const double weight_less = 1.0 / 4, weight_more = 1.0 / 16;

/* A guess that seems too dear makes the next one seem cheaper, so that the price is looked at again some day. */
static const double weight_retry = 1.0 / 256;

/* What is expected of the step being planned. */
struct outlook {
	double base_ns, row_ns;
	int n_row;    /* guesses taken so far */
	double n_tok; /* tokens that it will give */
};

/* True when one row more, whose token comes with probability p, gives more tokens per second than the step has without. */
static bool pays(const struct outlook *o, double p)
{
	return p * (o->base_ns + o->row_ns * o->n_row) > o->row_ns * o->n_tok;
}

/* How many of n guesses s takes. */
static int choose(struct outlook *o, const struct seq *s, int n)
{
	bool always = s->cfg.draft == SEQ_DRAFT_ALWAYS;
	double chance = draft_chance(s->draft), p = chance;
	int n_taken = 0;
	for (; n_taken < n && (always || pays(o, p)); n_taken++, p *= chance) {
		o->n_row++;
		o->n_tok += p;
	}
	return n_taken;
}

/* Guesses for s, at most `most`. */
static void guess(struct spec *sp, struct outlook *o, struct seq *s, int most)
{
	/* One token comes without a guess: the last position is drawn from, not guessed. */
	int64_t left = s->n_max - s->n_ids - 1;
	int n = draft_find(s->draft, s->ids, s->n_ids, left < most ? (int)left : most);
	if (!n)
		return;
	s->n_draft = choose(o, s, n);
	s->n_take += s->n_draft;
	if (s->n_draft)
		return;
	draft_learn(s->draft, 0, 0);
	sp->row_ns -= sp->row_ns * weight_retry;
}

void spec_plan(struct engine *e, int n_decode)
{
	struct spec *sp = &e->step.spec;
	struct outlook o = {.base_ns = pace_decode_ns(&e->step.pace, n_decode), .n_tok = n_decode};
	o.row_ns = sp->row_ns > 0 ? sp->row_ns : o.base_ns * row_share;
	/* One run of the head serves all rows. */
	int room = (e->step.n_budget < MODEL_HEAD_ROWS ? e->step.n_budget : MODEL_HEAD_ROWS) - n_decode;
	int share = n_decode && room > n_decode ? room / n_decode : 1;
	for (struct seq *s = e->active; s && o.n_row < room; s = s->next)
		if (s->n_take && s->draft && (o.base_ns > 0 || s->cfg.draft == SEQ_DRAFT_ALWAYS))
			guess(sp, &o, s, share < room - o.n_row ? share : room - o.n_row);
}

void spec_accept(struct engine *e, struct seq *s)
{
	s->n_done++;
	s->n_right++;
	s->stats.n_accepted++;
	prefix_put(e->prefix, &s->at, &s->mem, s->ids, s->n_done);
	pthread_mutex_lock(&e->lock);
	e->stats.n_accepted++;
	e->stats.n_tok_decode++;
	pthread_mutex_unlock(&e->lock);
}

void spec_settle(struct engine *e, struct seq *s)
{
	if (!s->n_draft)
		return;
	/* Windows passed only what the item before the first guess does not see, and that item stays. */
	BUG_ON(!seq_mem_rollback(&s->mem, e->kv, s->n_done));
	draft_learn(s->draft, s->n_draft, s->n_right);
	s->n_draft = 0;
}

void spec_learn(struct spec *sp, double base_ns, int n_draft, int64_t took_ns)
{
	if (base_ns <= 0)
		return;
	double row = ((double)took_ns - base_ns) / n_draft, known = sp->row_ns > 0 ? sp->row_ns : base_ns * row_share;
	row = row < 0 ? 0 : row > base_ns ? base_ns : row;
	sp->row_ns = known + (row - known) * (row < known ? weight_less : weight_more);
}
