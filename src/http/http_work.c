#include "http/http_work.h"

#include <pthread.h>
#include <time.h>

#include "base/bug.h"
#include "base/clock.h"
#include "base/mem.h"

struct job {
	void (*fn)(void *arg);
	void *arg;
};

struct http_work {
	pthread_mutex_t lock;
	pthread_cond_t wake;  /* a job was pushed, or the pool stops */
	pthread_cond_t quiet; /* a thread ended */
	struct job *ring;     /* [max_queue] */
	size_t max_queue, i_first, n_queue;
	size_t n_running;
	int n_thread, n_idle, max_thread;
	bool stopping;
};

static void *worker_main(void *arg)
{
	struct http_work *w = arg;
	pthread_mutex_lock(&w->lock);
	for (;;) {
		while (w->n_queue == 0 && !w->stopping) {
			w->n_idle++;
			pthread_cond_wait(&w->wake, &w->lock);
			w->n_idle--;
		}
		if (w->n_queue == 0)
			break;
		struct job j = w->ring[w->i_first];
		w->i_first = (w->i_first + 1) % w->max_queue;
		w->n_queue--;
		w->n_running++;
		pthread_mutex_unlock(&w->lock);
		j.fn(j.arg);
		pthread_mutex_lock(&w->lock);
		w->n_running--;
	}
	w->n_thread--;
	pthread_cond_broadcast(&w->quiet);
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

struct http_work *http_work_start(int max_thread, size_t max_queue)
{
	struct http_work *w = mem_zalloc(sizeof *w);
	pthread_condattr_t attr;
	w->max_thread = max_thread;
	w->max_queue = max_queue;
	w->ring = mem_calloc(max_queue, sizeof *w->ring);
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->wake, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&w->quiet, &attr);
	pthread_condattr_destroy(&attr);
	return w;
}

/* Under the lock. A thread that cannot be started is no failure while others run. */
static void grow(struct http_work *w)
{
	pthread_t t;
	if (w->n_thread >= w->max_thread || (size_t)w->n_idle >= w->n_queue)
		return;
	if (pthread_create(&t, NULL, worker_main, w))
		return;
	pthread_detach(t);
	w->n_thread++;
}

bool http_work_push(struct http_work *w, void (*fn)(void *arg), void *arg)
{
	pthread_mutex_lock(&w->lock);
	bool ok = !w->stopping && w->n_queue < w->max_queue;
	if (ok) {
		w->ring[(w->i_first + w->n_queue++) % w->max_queue] = (struct job){fn, arg};
		grow(w);
		pthread_cond_signal(&w->wake);
	}
	if (ok && w->n_thread == 0) { /* no thread could be started */
		w->n_queue--;
		ok = false;
	}
	pthread_mutex_unlock(&w->lock);
	return ok;
}

size_t http_work_busy(struct http_work *w)
{
	pthread_mutex_lock(&w->lock);
	size_t n = w->n_queue + w->n_running;
	pthread_mutex_unlock(&w->lock);
	return n;
}

bool http_work_stop(struct http_work *w, int64_t timeout_ns)
{
	int64_t until = clock_now_ns() + timeout_ns;
	struct timespec ts = {.tv_sec = until / NS_PER_S, .tv_nsec = until % NS_PER_S};
	pthread_mutex_lock(&w->lock);
	w->stopping = true;
	pthread_cond_broadcast(&w->wake);
	while (w->n_thread > 0 && !pthread_cond_timedwait(&w->quiet, &w->lock, &ts))
		;
	bool done = w->n_thread == 0;
	pthread_mutex_unlock(&w->lock);
	if (!done)
		return false;
	pthread_cond_destroy(&w->wake);
	pthread_cond_destroy(&w->quiet);
	pthread_mutex_destroy(&w->lock);
	mem_free(w->ring);
	mem_free(w);
	return true;
}
