#include "api/api_job.h"

#include <pthread.h>

enum {
	JOBS_MAX = 64,
	PENDING_MAX = 256 * 1024 /* http/ calls on_low only after more than this was pending */
};

/* Lives in the call's arena: the call outlives both the thread and the watch, which may be replaced by another. */
struct api_job {
	struct api_call *call;
	api_job_fn *fn;
	void *user;
	pthread_mutex_t lock;
	pthread_cond_t moved;
	bool gone, low;
};

static int n_job; /* counter, atomic */

static void on_end(void *user, bool gone)
{
	struct api_job *j = user;
	pthread_mutex_lock(&j->lock);
	j->gone |= gone;
	pthread_cond_signal(&j->moved);
	pthread_mutex_unlock(&j->lock);
}

static void on_low(void *user)
{
	struct api_job *j = user;
	pthread_mutex_lock(&j->lock);
	j->low = true;
	pthread_cond_signal(&j->moved);
	pthread_mutex_unlock(&j->lock);
}

static void *job_main(void *arg)
{
	struct api_job *j = arg;
	struct api_call *call = j->call;
	j->fn(j, call, j->user);
	__atomic_fetch_sub(&n_job, 1, __ATOMIC_RELAXED);
	api_call_unref(call);
	return NULL;
}

int api_job_start(struct api_call *call, api_job_fn *fn, void *user, struct err *err)
{
	pthread_t thread;
	struct api_job *j = arena_zalloc(&call->arena, sizeof *j);
	if (!j || __atomic_add_fetch(&n_job, 1, __ATOMIC_RELAXED) > JOBS_MAX) {
		if (j)
			__atomic_fetch_sub(&n_job, 1, __ATOMIC_RELAXED);
		return err_set(err, ERR_BUSY, "%d transfers run already; try again when one has ended", JOBS_MAX);
	}
	j->call = call;
	j->fn = fn;
	j->user = user;
	pthread_mutex_init(&j->lock, NULL);
	pthread_cond_init(&j->moved, NULL);
	api_call_ref(call);
	call->ops->watch(call, on_end, on_low, j); /* before the thread writes: on_low comes once */
	if (pthread_create(&thread, NULL, job_main, j)) {
		__atomic_fetch_sub(&n_job, 1, __ATOMIC_RELAXED);
		api_call_unref(call);
		return err_set(err, ERR_BUSY, "no thread can be started");
	}
	pthread_detach(thread);
	return 0;
}

bool api_job_gone(struct api_job *j)
{
	pthread_mutex_lock(&j->lock);
	bool gone = j->gone;
	pthread_mutex_unlock(&j->lock);
	return gone;
}

bool api_job_write(struct api_job *j, const void *data, size_t n)
{
	pthread_mutex_lock(&j->lock);
	j->low = false;
	pthread_mutex_unlock(&j->lock);
	size_t pending = j->call->ops->stream_write(j->call, data, n);
	pthread_mutex_lock(&j->lock);
	while (pending > PENDING_MAX && !j->low && !j->gone)
		pthread_cond_wait(&j->moved, &j->lock);
	bool gone = j->gone;
	pthread_mutex_unlock(&j->lock);
	return !gone;
}
