#include "engine/seq.h"

#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "model/model_int.h"

static int nomem(struct seq *s, struct err *err)
{
	seq_free(s);
	return err_set(err, ERR_NOMEM, "not enough memory for one more sequence");
}

/* A grammar's state behind the tokens that were generated before this sequence. */
static int init_grammar(struct seq *s, const struct seq_cfg *cfg, int n_vocab, struct err *err)
{
	s->grammar = grammar_state_new(cfg->grammar);
	s->mask = mem_try_alloc(grammar_vocab_n_words(cfg->vocab) * sizeof *s->mask);
	s->masked = mem_try_alloc((size_t)n_vocab * sizeof *s->masked);
	if (!s->grammar || !s->mask || !s->masked)
		return err_set(err, ERR_NOMEM, "not enough memory to hold the answer to its format");
	for (size_t i = 0; i < cfg->n_held; i++)
		if (!grammar_state_accept(s->grammar, cfg->vocab, cfg->held[i]))
			return err_set(err, ERR_INTERNAL, "token %d of the answer so far does not fit its format", cfg->held[i]);
	return 0;
}

int seq_new(const struct model *m, const struct seq_cfg *cfg, int64_t n_ctx, struct seq **ret, struct err *err)
{
	struct seq *s = mem_zalloc(sizeof *s);
	int64_t n_prompt = (int64_t)cfg->n_ids, room = n_ctx - n_prompt;
	bool generates = !cfg->embed && cfg->n_predict != 0;
	int64_t n_new = !generates ? 0 : cfg->n_predict < 0 || cfg->n_predict > room ? room : cfg->n_predict;
	size_t n_row_bytes;
	s->cfg = *cfg;
	s->cfg.ids = NULL;
	s->n_prompt = s->n_ids = n_prompt;
	s->n_max = n_prompt + n_new;
	s->at.domain = cfg->domain;
	s->submitted_ns = clock_now_ns();
	s->stats.n_prompt = n_prompt;
	s->ids = mem_try_alloc((size_t)s->n_max * sizeof *s->ids);
	if (!s->ids || !seq_mem_init(&s->mem, model_n_group(m), s->n_max))
		return nomem(s, err);
	memcpy(s->ids, cfg->ids, cfg->n_ids * sizeof *s->ids);
	if (cfg->embed) {
		if (!size_mul(cfg->n_ids, (size_t)model_n_embd(m) * sizeof *s->rows, &n_row_bytes))
			return nomem(s, err);
		s->rows = mem_try_alloc(n_row_bytes);
		if (!s->rows)
			return nomem(s, err);
	}
	if (n_new > 0) {
		s->sampler = sampler_new(&cfg->sampler, m->kern, model_n_vocab(m), n_ctx);
		for (size_t i = 0; i < cfg->n_ids; i++)
			sampler_accept(s->sampler, cfg->ids[i]);
	}
	if (n_new > 1 && cfg->draft)
		s->draft = draft_new(s->n_max); /* without memory for it, nothing is guessed */
	if (n_new > 0 && cfg->grammar) {
		int rc = init_grammar(s, cfg, model_n_vocab(m), err);
		if (rc) {
			seq_free(s);
			return rc;
		}
	}
	s->cfg.held = NULL;
	*ret = s;
	return 0;
}

void seq_free(struct seq *s)
{
	if (!s)
		return;
	sampler_free(s->sampler);
	grammar_state_free(s->grammar);
	mem_free(s->mask);
	mem_free(s->masked);
	draft_free(s->draft);
	seq_mem_release(&s->mem);
	mem_free(s->rows);
	mem_free(s->ids);
	mem_free(s);
}
