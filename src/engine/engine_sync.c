#include "engine/engine_sync.h"

#include <pthread.h>

struct waiter {
	const struct seq_cfg *cfg;
	pthread_mutex_t lock;
	pthread_cond_t ended;
	bool done;
	enum seq_end end;
	struct seq_stats stats;
	struct err err;
};

static void on_prompt_logits(void *user, int64_t pos, const float *logits, int n_vocab)
{
	const struct seq_cfg *cfg = ((struct waiter *)user)->cfg;
	cfg->on_prompt_logits(cfg->user, pos, logits, n_vocab);
}

static void on_embedding(void *user, const float *rows, int64_t n_tok, int n_embd)
{
	const struct seq_cfg *cfg = ((struct waiter *)user)->cfg;
	cfg->on_embedding(cfg->user, rows, n_tok, n_embd);
}

static bool on_token(void *user, const struct seq_token *tok)
{
	const struct seq_cfg *cfg = ((struct waiter *)user)->cfg;
	return cfg->on_token(cfg->user, tok);
}

static void on_end(void *user, enum seq_end end, const struct seq_stats *stats, const struct err *err)
{
	struct waiter *w = user;
	if (w->cfg->on_end)
		w->cfg->on_end(w->cfg->user, end, stats, err);
	pthread_mutex_lock(&w->lock);
	w->done = true;
	w->end = end;
	w->stats = *stats;
	if (err)
		w->err = *err;
	pthread_cond_signal(&w->ended);
	pthread_mutex_unlock(&w->lock);
}

int engine_sync_run(struct engine *e, const struct seq_cfg *cfg, enum seq_end *ret_end, struct seq_stats *ret_stats,
		    struct err *err)
{
	struct waiter w = {.cfg = cfg, .lock = PTHREAD_MUTEX_INITIALIZER, .ended = PTHREAD_COND_INITIALIZER};
	struct seq_cfg c = *cfg;
	uint64_t id;
	c.user = &w;
	c.on_end = on_end;
	c.on_prompt_logits = cfg->on_prompt_logits ? on_prompt_logits : NULL;
	c.on_embedding = cfg->on_embedding ? on_embedding : NULL;
	c.on_token = cfg->on_token ? on_token : NULL;
	int rc = engine_submit(e, &c, &id, err);
	if (rc)
		return rc;
	pthread_mutex_lock(&w.lock);
	while (!w.done)
		pthread_cond_wait(&w.ended, &w.lock);
	pthread_mutex_unlock(&w.lock);
	if (ret_end)
		*ret_end = w.end;
	if (ret_stats)
		*ret_stats = w.stats;
	if (w.end == SEQ_END_ERROR)
		return err_set(err, w.err.code, "%s", w.err.msg);
	return 0;
}
