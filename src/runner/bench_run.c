/* Measuring: prompts through the engine, and crowds of streams. */
#include <pthread.h>

#include "base/clock.h"
#include "base/mem.h"
#include "engine/engine_sync.h"
#include "runner/bench_int.h"

static const struct sampler_cfg greedy = {.seed = 1, .top_p = 1, .typical_p = 1, .repeat_penalty = 1};

/* Every prompt is a new one, so that none is found in the prefix tree unless it was put there on purpose. */
static int *prompt_new(const struct runner_load *l, int n)
{
	static uint64_t seed = 1;
	int *ids = mem_alloc((size_t)n * sizeof *ids), n_vocab = model_n_vocab(l->model);
	for (int i = 0; i < n; i++) {
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		ids[i] = (int)((seed >> 33) % (uint64_t)n_vocab);
	}
	return ids;
}

static int list_max(const struct bench_list *list)
{
	int max = 0;
	for (int i = 0; i < list->n; i++)
		max = list->v[i] > max ? list->v[i] : max;
	return max;
}

/* Tokens of one stream at most. */
static int64_t stream_tok(const struct bench_cfg *cfg)
{
	int depth = list_max(&cfg->depths);
	return (depth > BENCH_COPY_TOK ? depth : BENCH_COPY_TOK) + (int64_t)cfg->n_gen + 2 * KERN_PAGE_TOK;
}

int64_t bench_n_ctx(const struct bench_cfg *cfg)
{
	int64_t stream = stream_tok(cfg), prompt = list_max(&cfg->prompts) + 2 * KERN_PAGE_TOK;
	return stream > prompt ? stream : prompt;
}

int bench_engine(struct runner_load *l, const struct bench_cfg *cfg, struct err *err)
{
	/* All streams with their prompts, and one more prompt, so that nothing has to give way. */
	int64_t n_tok = stream_tok(cfg) * list_max(&cfg->batches) + bench_n_ctx(cfg);
	struct engine_cfg e = {.pool = l->pool, .n_ctx_max = engine_n_ctx_max(l->engine),
			       .kv_bytes = engine_kv_bytes_per_tok(l->engine) * (size_t)n_tok};
	engine_free(l->engine);
	l->engine = NULL;
	return engine_new(l->model, &e, &l->engine, err);
}

static bool go_on(void *user, const struct seq_token *tok)
{
	(void)user, (void)tok;
	return true;
}

static struct seq_cfg stream_cfg(const int *ids, int n_ids, int n_gen)
{
	return (struct seq_cfg){.ids = ids, .n_ids = (size_t)n_ids, .n_predict = n_gen, .sampler = greedy, .ignore_eog = true,
				.on_token = go_on};
}

static int run_alone(struct runner_load *l, const int *ids, int n_ids, int n_gen, struct seq_stats *ret, struct err *err)
{
	struct seq_cfg cfg = stream_cfg(ids, n_ids, n_gen);
	enum seq_end end;
	return engine_sync_run(l->engine, &cfg, &end, ret, err);
}

int bench_warm(struct runner_load *l, struct err *err)
{
	struct seq_stats s;
	int *ids = prompt_new(l, 64);
	int rc = run_alone(l, ids, 64, 8, &s, err);
	mem_free(ids);
	return rc;
}

int bench_prefill(struct runner_load *l, int n_repeat, struct bench_result *r, struct err *err)
{
	int rc = 0;
	for (r->n = 0; r->n < n_repeat && !rc; r->n += !rc) {
		struct seq_stats s;
		int *ids = prompt_new(l, r->n_tok);
		rc = run_alone(l, ids, r->n_tok, 1, &s, err);
		mem_free(ids);
		if (!rc)
			r->v[r->n] = (double)s.n_prompt * 1e9 / (double)(s.prefill_ns ? s.prefill_ns : 1);
	}
	return rc;
}

int bench_copy(struct runner_load *l, int n_repeat, struct bench_result *r, struct err *err)
{
	int rc = 0, half = BENCH_COPY_TOK / 2, *ids = mem_calloc(BENCH_COPY_TOK, sizeof *ids);
	for (r->n = 0; r->n < n_repeat && !rc; r->n += !rc) {
		struct seq_stats s;
		int *passage = prompt_new(l, half);
		for (int i = 0; i < BENCH_COPY_TOK; i++)
			ids[i] = passage[i % half];
		struct seq_cfg cfg = stream_cfg(ids, BENCH_COPY_TOK, r->n_tok);
		cfg.draft = SEQ_DRAFT_PAYS;
		rc = engine_sync_run(l->engine, &cfg, NULL, &s, err);
		mem_free(passage);
		if (rc)
			break;
		r->v[r->n] = (double)(s.n_generated - 1) * 1e9 / (double)(s.decode_ns ? s.decode_ns : 1);
		r->n_drafted += s.n_drafted;
		r->n_accepted += s.n_accepted;
	}
	mem_free(ids);
	return rc;
}

/* ---- many streams ---- */

/* Counts tokens between the moment when all streams decode and the moment when the first one ends. */
struct crowd {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int n, n_started, n_ended;
	int64_t n_tok, t0_ns, t1_ns, n_counted;
	struct err err;
	bool failed;
};

struct member {
	struct crowd *crowd;
	bool started;
	int *ids;
};

static bool on_token(void *user, const struct seq_token *tok)
{
	struct member *m = user;
	struct crowd *c = m->crowd;
	(void)tok;
	pthread_mutex_lock(&c->lock);
	if (!m->started && ++c->n_started == c->n) {
		c->t0_ns = clock_now_ns();
		c->n_tok = 0;
	} else {
		c->n_tok++;
	}
	m->started = true;
	pthread_mutex_unlock(&c->lock);
	return true;
}

static void on_end(void *user, enum seq_end end, const struct seq_stats *stats, const struct err *err)
{
	struct crowd *c = ((struct member *)user)->crowd;
	(void)stats;
	pthread_mutex_lock(&c->lock);
	if (!c->n_ended++) {
		c->t1_ns = clock_now_ns();
		c->n_counted = c->n_tok;
	}
	if (end == SEQ_END_ERROR && !c->failed) {
		c->failed = true;
		c->err = *err;
	}
	pthread_cond_signal(&c->changed);
	pthread_mutex_unlock(&c->lock);
}

/* The streams of r once, in tokens per second. */
static int run_crowd(struct runner_load *l, const struct bench_result *r, int n_prompt, struct member *members, double *ret_tok_s,
		     struct err *err)
{
	struct crowd c = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER, .n = r->n_stream};
	int n_in = 0, rc = 0;
	for (; n_in < c.n && !rc; n_in += !rc) {
		struct member *m = &members[n_in];
		uint64_t id;
		m->crowd = &c;
		m->started = false;
		struct seq_cfg cfg = stream_cfg(m->ids, n_prompt, r->n_tok);
		cfg.user = m;
		cfg.on_token = on_token;
		cfg.on_end = on_end;
		rc = engine_submit(l->engine, &cfg, &id, err);
	}
	pthread_mutex_lock(&c.lock);
	while (c.n_ended < n_in)
		pthread_cond_wait(&c.changed, &c.lock);
	pthread_mutex_unlock(&c.lock);
	if (rc)
		return rc;
	if (c.failed)
		return err_set(err, c.err.code, "%s", c.err.msg);
	if (c.n_started < c.n || !c.n_counted)
		return err_set(err, ERR_INVALID, "the first of %d streams ended before the last one began; use a larger --gen", c.n);
	*ret_tok_s = (double)c.n_counted * 1e9 / (double)(c.t1_ns - c.t0_ns);
	return 0;
}

int bench_decode(struct runner_load *l, int n_repeat, struct bench_result *r, struct err *err)
{
	struct member *members = mem_calloc((size_t)r->n_stream, sizeof *members);
	int n_prompt = r->depth ? r->depth : BENCH_SHORT_TOK, rc = 0;
	for (int i = 0; i < r->n_stream && !rc; i++) {
		struct seq_stats s;
		members[i].ids = prompt_new(l, n_prompt);
		if (r->depth) /* computed once; the streams find its pages in the prefix tree and start together */
			rc = run_alone(l, members[i].ids, n_prompt, 1, &s, err);
	}
	for (r->n = 0; r->n < n_repeat && !rc; r->n += !rc)
		rc = run_crowd(l, r, n_prompt, members, &r->v[r->n], err);
	for (int i = 0; i < r->n_stream; i++)
		mem_free(members[i].ids);
	mem_free(members);
	return rc;
}
