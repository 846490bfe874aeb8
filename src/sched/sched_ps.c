/* sched_ps: what other threads see of the loaded models, and the wish to unload one. */
#include <stdlib.h>

#include "base/mem.h"
#include "sched/sched_runner.h"

/* A model that is loaded or about to be. One that drains is gone for its users. */
static bool is_shown(const struct sched_runner *r)
{
	return r->state == RUNNER_LOADING || r->state == RUNNER_READY || r->state == RUNNER_BUSY;
}

static int64_t wall_of(int64_t mono_ns, int64_t now_ns)
{
	int64_t wall;
	if (mono_ns == INT64_MAX || __builtin_add_overflow(clock_wall_ns(), mono_ns - now_ns, &wall))
		return INT64_MAX;
	return wall;
}

static void describe(const struct sched_runner *r, int64_t now_ns, struct sched_loaded *ret)
{
	size_t n_active = sched_runner_n_active(r);
	*ret = (struct sched_loaded){
		.name = r->name,
		.model_digest = mem_strdup(r->digest),
		.manifest_digest = mem_strdup(r->manifest_digest),
		.size_bytes = sched_runner_size_bytes(r),
		.n_ctx = r->n_ctx_shown,
		.expires_wall_ns = wall_of(sched_runner_expires_ns(r, now_ns), now_ns),
		.pid = r->child.pid,
		.n_active = (int)n_active,
		.n_queued = (int)(r->jobs.n - n_active),
	};
}

static int later_first(const void *a, const void *b)
{
	int64_t x = ((const struct sched_loaded *)a)->expires_wall_ns, y = ((const struct sched_loaded *)b)->expires_wall_ns;
	return (x < y) - (x > y);
}

size_t sched_ps(struct sched *s, struct sched_loaded **ret)
{
	VEC(struct sched_loaded) list = {0};
	struct sched_loaded one;
	int64_t now = clock_now_ns();
	pthread_mutex_lock(&s->lock);
	for (const struct sched_runner *r = s->runners; r; r = r->next)
		if (is_shown(r)) {
			describe(r, now, &one);
			vec_push(&list, one);
		}
	pthread_mutex_unlock(&s->lock);
	if (list.n)
		qsort(list.data, list.n, sizeof *list.data, later_first);
	*ret = list.data;
	return list.n;
}

void sched_ps_free(struct sched_loaded *list, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		mem_free(list[i].model_digest);
		mem_free(list[i].manifest_digest);
	}
	mem_free(list);
}

bool sched_unload(struct sched *s, const struct store_model *model)
{
	pthread_mutex_lock(&s->lock);
	struct sched_runner *r = model->model_digest ? sched_runner_find(s, model->model_digest) : NULL;
	bool loaded = r && (r->state == RUNNER_STARTING || is_shown(r));
	if (loaded) {
		r->keep_ns = 0;
		sched_wake(s);
	}
	pthread_mutex_unlock(&s->lock);
	return loaded;
}
