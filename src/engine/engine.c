#include "engine/engine.h"

#include <errno.h>
#include <string.h>

#include "base/bug.h"
#include "base/clock.h"
#include "base/mem.h"
#include "engine/engine_int.h"
#include "model/model_int.h"

/* Sequences that may exist at once; a scheduler above keeps far below it. */
enum { SEQ_MAX = 4096, STEP_TOK_DEFAULT = 512, STEP_TOK_MAX = 1 << 16 };
enum { IDLE_MAX_BYTES = 512 << 20 };
static const int64_t IDLE_DEFAULT_NS = 60 * NS_PER_S;

/* ---- the thread ---- */

void engine_drop_pages(struct engine *e, struct seq *s)
{
	prefix_leave(e->prefix, &s->at);
	seq_mem_drop(&s->mem, e->kv);
}

void engine_end_seq(struct engine *e, struct seq *s, enum seq_end end, const struct err *err)
{
	pthread_mutex_lock(&e->lock);
	struct seq **link = &e->active;
	while (*link != s)
		link = &(*link)->next;
	*link = s->next;
	e->news = true; /* its memory may be what others wait for */
	pthread_mutex_unlock(&e->lock);

	int64_t now = clock_now_ns();
	if (!s->cfg.embed)
		prefix_put_rest(e->prefix, &s->at, &s->mem, s->ids, s->n_done);
	engine_drop_pages(e, s);
	int64_t started = s->started_ns ? s->started_ns : now, first = s->first_ns ? s->first_ns : now;
	s->stats.queued_ns = started - s->submitted_ns;
	s->stats.prefill_ns = first - started;
	s->stats.decode_ns = now - first;
	if (s->cfg.on_end)
		s->cfg.on_end(s->cfg.user, end, &s->stats, err);
	seq_free(s);
}

/* Moves what was submitted behind the active ones. */
static void take_queue(struct engine *e)
{
	struct seq **end = &e->active;
	while (*end)
		end = &(*end)->next;
	*end = e->queue;
	e->queue = NULL;
	e->queue_end = &e->queue;
	e->n_queue = 0;
	e->news = false;
}

static void end_canceled(struct engine *e)
{
	for (struct seq *s = e->active, *next; s; s = next) {
		next = s->next;
		if (atomic_load(&s->cancel))
			engine_end_seq(e, s, SEQ_END_CANCELED, NULL);
	}
}

static void end_all(struct engine *e)
{
	while (e->active)
		engine_end_seq(e, e->active, SEQ_END_CANCELED, NULL);
}

static void count_seqs(struct engine *e)
{
	int n_active = 0, n_waiting = 0;
	for (const struct seq *s = e->active; s; s = s->next)
		*(s->started_ns ? &n_active : &n_waiting) += 1;
	e->stats.n_active = n_active;
	e->stats.n_queued = n_waiting + e->n_queue;
	e->stats.kv_used_bytes = kv_used_bytes(e->kv);
	e->stats.kv_kept_bytes = prefix_bytes(e->prefix);
	e->stats.n_kept_page = prefix_n_node(e->prefix);
}

/* An engine that nobody asks keeps little memory. */
static size_t idle_bytes(const struct engine *e)
{
	size_t share = kv_budget_bytes(e->kv) / 4;
	return share < IDLE_MAX_BYTES ? share : IDLE_MAX_BYTES;
}

/* Sleeps until there are news, under the lock. With nothing to run, unused pages are released at once, and most of the
 * kept ones after a while: the next turn of a conversation comes soon or late. */
static void sleep_idle(struct engine *e)
{
	bool settled = e->active != NULL;
	int64_t until_ns = clock_now_ns() + e->idle_ns;
	struct timespec until = {.tv_sec = until_ns / NS_PER_S, .tv_nsec = until_ns % NS_PER_S};
	if (!e->active)
		kv_trim(e->kv);
	while (!e->stop && !e->news) {
		settled |= prefix_bytes(e->prefix) <= idle_bytes(e);
		if (settled) {
			pthread_cond_wait(&e->wake, &e->lock);
		} else if (pthread_cond_timedwait(&e->wake, &e->lock, &until) == ETIMEDOUT) {
			prefix_shrink(e->prefix, idle_bytes(e));
			kv_trim(e->kv);
			count_seqs(e);
			settled = true;
		}
	}
}

/* Waits for something to do; false when the engine stops. `idle`: the last step found nobody to serve, so that only
 * news help. */
static bool wait_for_work(struct engine *e, bool idle)
{
	pthread_mutex_lock(&e->lock);
	count_seqs(e);
	if (!e->stop && !e->news && (idle || !e->active))
		sleep_idle(e);
	take_queue(e);
	bool go = !e->stop;
	pthread_mutex_unlock(&e->lock);
	return go;
}

static void *thread_main(void *arg)
{
	struct engine *e = arg;
	bool idle = true;
	while (wait_for_work(e, idle)) {
		end_canceled(e);
		atomic_store(&e->step_started_ns, clock_now_ns());
		idle = !step_run(e);
		atomic_store(&e->step_started_ns, 0);
	}
	end_all(e);
	return NULL;
}

/* ---- any thread ---- */

static int64_t longest(const struct model *m, const struct engine_cfg *cfg)
{
	int64_t n = cfg->n_ctx_max > 0 ? cfg->n_ctx_max : model_n_ctx_train(m);
	if (m->hp.n_pos > 0 && n > m->hp.n_pos)
		n = m->hp.n_pos;
	return n > INT32_MAX / 2 ? INT32_MAX / 2 : n;
}

int engine_new(struct model *m, const struct engine_cfg *cfg, struct engine **ret, struct err *err)
{
	struct engine *e = mem_zalloc(sizeof *e);
	e->model = m;
	e->pool = cfg->pool;
	e->n_ctx_max = longest(m, cfg);
	e->is_eog = cfg->is_eog;
	e->eog_user = cfg->eog_user;
	e->queue_end = &e->queue;
	pthread_mutex_init(&e->lock, NULL);
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&e->wake, &attr);
	pthread_condattr_destroy(&attr);
	e->idle_ns = cfg->idle_ns > 0 ? cfg->idle_ns : IDLE_DEFAULT_NS;

	int n_step = cfg->n_step_tok > 0 ? cfg->n_step_tok : STEP_TOK_DEFAULT;
	n_step = n_step > STEP_TOK_MAX ? STEP_TOK_MAX : n_step;
	size_t budget = cfg->kv_bytes ? cfg->kv_bytes : kv_bytes_for(m, e->n_ctx_max, n_step);
	int rc = kv_new(m, budget, &e->kv, err);
	if (!rc)
		rc = prefix_new(e->kv, cfg->prefix_off || model_is_encoder(m), &e->prefix, err);
	if (!rc)
		rc = step_new(&e->step, e, n_step, err);
	if (!rc) {
		for (int i = 0; i < kv_n_group(e->kv); i++)
			model_exec_set_pages(e->step.exec, i, kv_base(e->kv, i), kv_block_bytes(e->kv, i));
		e->stats.kv_budget_bytes = kv_budget_bytes(e->kv);
		if (pthread_create(&e->thread, NULL, thread_main, e))
			rc = err_set(err, ERR_NOMEM, "cannot start the engine thread");
		else
			e->started = true;
	}
	if (rc) {
		engine_free(e);
		return rc;
	}
	*ret = e;
	return 0;
}

void engine_free(struct engine *e)
{
	if (!e)
		return;
	if (e->started) {
		pthread_mutex_lock(&e->lock);
		e->stop = true;
		pthread_cond_signal(&e->wake);
		pthread_mutex_unlock(&e->lock);
		pthread_join(e->thread, NULL);
	}
	step_release(&e->step);
	prefix_free(e->prefix);
	BUG_ON(e->kv && kv_used_bytes(e->kv));
	kv_free(e->kv);
	pthread_cond_destroy(&e->wake);
	pthread_mutex_destroy(&e->lock);
	mem_free(e);
}

int64_t engine_n_ctx_max(const struct engine *e)
{
	return e->n_ctx_max;
}

size_t engine_kv_bytes_per_tok(const struct engine *e)
{
	size_t n = 0;
	for (int i = 0; i < kv_n_group(e->kv); i++)
		n += kv_block_bytes(e->kv, i) / KERN_PAGE_TOK;
	return n;
}

static int check(const struct engine *e, const struct seq_cfg *cfg, int64_t n_ctx, struct err *err)
{
	int n_vocab = model_n_vocab(e->model);
	if (!cfg->n_ids)
		return err_set(err, ERR_INVALID, "the prompt is empty; at least one token is needed");
	if (cfg->n_ids > (size_t)n_ctx)
		return err_set(err, ERR_TOO_LONG, "the prompt has %zu tokens; the context holds %lld", cfg->n_ids,
			       (long long)n_ctx);
	for (size_t i = 0; i < cfg->n_ids; i++)
		if (cfg->ids[i] < 0 || cfg->ids[i] >= n_vocab)
			return err_set(err, ERR_INVALID, "token %d at position %zu is outside of the vocabulary of %d", cfg->ids[i],
				       i, n_vocab);
	if (model_is_encoder(e->model) && !cfg->embed)
		return err_set(err, ERR_INVALID, "the model \"%s\" makes embeddings and cannot generate text",
			       model_arch(e->model));
	return 0;
}

int engine_submit(struct engine *e, const struct seq_cfg *cfg, uint64_t *ret_id, struct err *err)
{
	int64_t n_ctx = cfg->n_ctx > 0 && cfg->n_ctx < e->n_ctx_max ? cfg->n_ctx : e->n_ctx_max;
	struct seq *s;
	int rc = check(e, cfg, n_ctx, err);
	if (rc || (rc = seq_new(e->model, cfg, n_ctx, &s, err)))
		return rc;
	pthread_mutex_lock(&e->lock);
	if (e->stats.n_active + e->stats.n_queued + e->n_queue >= SEQ_MAX) {
		pthread_mutex_unlock(&e->lock);
		seq_free(s);
		return err_set(err, ERR_BUSY, "the model already has %d sequences; try again later", SEQ_MAX);
	}
	*ret_id = s->id = ++e->last_id;
	*e->queue_end = s;
	e->queue_end = &s->next;
	e->n_queue++;
	e->news = true;
	pthread_cond_signal(&e->wake);
	pthread_mutex_unlock(&e->lock);
	return 0;
}

static struct seq *find(struct seq *list, uint64_t id)
{
	while (list && list->id != id)
		list = list->next;
	return list;
}

static void flag(struct engine *e, uint64_t id, size_t offset, bool value)
{
	pthread_mutex_lock(&e->lock);
	struct seq *s = find(e->active, id);
	if (!s)
		s = find(e->queue, id);
	if (s) {
		atomic_store((atomic_bool *)(void *)((char *)s + offset), value);
		e->news = true;
		pthread_cond_signal(&e->wake);
	}
	pthread_mutex_unlock(&e->lock);
}

void engine_cancel(struct engine *e, uint64_t id)
{
	flag(e, id, offsetof(struct seq, cancel), true);
}

void engine_park(struct engine *e, uint64_t id, bool parked)
{
	flag(e, id, offsetof(struct seq, parked), parked);
}

void engine_stats(struct engine *e, struct engine_stats *ret)
{
	pthread_mutex_lock(&e->lock);
	*ret = e->stats;
	ret->n_queued += e->n_queue;
	pthread_mutex_unlock(&e->lock);
	ret->step_started_ns = atomic_load(&e->step_started_ns);
}
