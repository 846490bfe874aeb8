/* seq: one sequence: its items, its memory, its sampler, how far it has come. Made by the submitting thread, then the
 * engine thread's alone, except for the two flags. */
#ifndef CRIA_ENGINE_SEQ_H
#define CRIA_ENGINE_SEQ_H

#include <stdatomic.h>

#include "engine/draft.h"
#include "engine/engine.h"
#include "engine/prefix.h"
#include "engine/seq_mem.h"

struct seq {
	struct seq *next;
	uint64_t id;            /* later submitted, larger: the youngest gives way */
	struct seq_cfg cfg;     /* ids is NULL here */
	int *ids;               /* [n_max] prompt, then what was generated; behind n_ids the guesses of a step */
	int64_t n_prompt, n_ids, n_max;
	int64_t n_done;         /* items whose keys and values are stored */
	int64_t n_prompt_out;   /* prompt positions whose logits or rows were handed out */
	float *rows;            /* [n_prompt][n_embd] when embed */
	int64_t n_far;          /* the most n_done was before its pages were given up */
	struct seq_mem mem;
	struct prefix_at at;
	struct sampler *sampler;
	struct grammar_state *grammar; /* NULL: free text */
	uint32_t *mask;         /* [grammar_vocab_n_words] scratch, with grammar */
	float *masked;          /* [n_vocab] scratch, with grammar */
	struct draft *draft;    /* NULL: nothing is guessed */

	bool admitted;          /* has been promised memory for what it holds now */
	int n_passed;           /* younger ones that were admitted before it */
	bool starved;           /* got no pages in the step being built */
	bool waits;             /* an older sequence is computing the page that it needs next */
	int n_take;             /* items in the step being built, guesses included */
	int n_draft, n_right;   /* guesses among them, and how many came true so far */
	int64_t turn;           /* the step that served it last, or admitted it */
	int64_t submitted_ns, started_ns, first_ns; /* started: its first step; first: its first token */
	struct seq_stats stats;

	atomic_bool cancel, parked; /* any thread */
};

/* Copies the prompt. n_ctx: most items it may have. ERR_NOMEM. */
int seq_new(const struct model *m, const struct seq_cfg *cfg, int64_t n_ctx, struct seq **ret, struct err *err);
void seq_free(struct seq *s); /* its pages must be dropped */

/* How many of its items may come from stored pages: the last one is computed for its logits, and so is every prompt
 * position whose result is wanted. */
static inline int64_t seq_n_reusable(const struct seq *s)
{
	bool all = s->cfg.embed || (s->cfg.on_prompt_logits && s->n_prompt_out < s->n_prompt);
	return all && s->n_prompt_out < s->n_ids - 1 ? s->n_prompt_out : s->n_ids - 1;
}

static inline bool seq_decodes(const struct seq *s)
{
	return s->n_ids > s->n_prompt && s->n_ids - s->n_done == 1;
}

#endif
