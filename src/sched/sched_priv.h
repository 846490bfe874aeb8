/* sched_priv: the state that the files of sched/ share.
 *
 * One mutex, `lock`, guards everything in struct sched but what is named otherwise. The scheduler thread holds it whenever it
 * does not sleep in epoll_wait or run a hook; only that thread changes the state of a runner or frees a runner or a job, so
 * pointers to them stay valid for it over a hook. Other threads add jobs and set wishes (canceled, want_parked, keep_ns),
 * mark the runner dirty and wake the thread. */
#ifndef CRIA_SCHED_PRIV_H
#define CRIA_SCHED_PRIV_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/vec.h"
#include "sched/sched.h"
#include "sched/sched_queue.h"

struct sched_runner;

/* An inspect child that runs for some caller; a second caller for the same facts waits for the first. */
struct sched_inspecting {
	const char *digest, *kind;
};

struct sched {
	struct sched_cfg cfg;       /* strings owned, all defaults filled in */
	struct store *store;        /* borrowed */
	char **child_env;
	int epoll_fd, wake_fd;
	int stop_fd;                /* readable from the end of the grace time on: inspect children are given up */
	pthread_t thread;
	_Atomic int64_t turn_ns;    /* when the loop last turned */

	pthread_mutex_t lock;
	pthread_cond_t hook_done;
	struct sched_queue queue;
	struct sched_runner *runners;
	uint64_t last_serial;       /* of runners */
	uint64_t hook_id;           /* job whose hook runs, 0: none */
	bool stopping;
	int64_t stop_ns;            /* end of the grace time */

	pthread_mutex_t inspect_lock;
	pthread_cond_t inspect_done;
	VEC(struct sched_inspecting) inspecting;
	_Atomic int n_converting;
};

/* Makes the scheduler thread look at its runners. */
void sched_wake(struct sched *s);
/* Calls the job's hook unless it was canceled. The lock is held before and after, not meanwhile. Scheduler thread. */
void sched_emit(struct sched *s, struct sched_job *j, const struct gen_event *ev);

/* a + b, INT64_MAX when that is too much: for times and sizes where "for ever" and "unlimited" are INT64_MAX. */
static inline int64_t sched_sum(int64_t a, int64_t b)
{
	int64_t sum;
	return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

#endif
