#include "engine/seq.h"

#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

static int nomem(struct seq *s, struct err *err)
{
	seq_free(s);
	return err_set(err, ERR_NOMEM, "not enough memory for one more sequence");
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
		s->sampler = sampler_new(&cfg->sampler, model_n_vocab(m), n_ctx);
		for (size_t i = 0; i < cfg->n_ids; i++)
			sampler_accept(s->sampler, cfg->ids[i]);
	}
	*ret = s;
	return 0;
}

void seq_free(struct seq *s)
{
	if (!s)
		return;
	sampler_free(s->sampler);
	seq_mem_release(&s->mem);
	mem_free(s->rows);
	mem_free(s->ids);
	mem_free(s);
}
