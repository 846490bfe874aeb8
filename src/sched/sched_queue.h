/* sched_queue: the requests of the scheduler: one index by id over all, and one list in order of arrival for each runner.
 * Guarded by the scheduler's lock. */
#ifndef CRIA_SCHED_QUEUE_H
#define CRIA_SCHED_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sched/sched.h"

struct sched_runner;

struct sched_job {
	uint64_t id;
	struct sched_runner *runner;
	struct sched_job *hash_next, *prev, *next;
	struct str gen;            /* encoded request; freed with the first event, when no retry can follow */
	bool load_only;
	int64_t num_ctx;           /* as asked for, 0: none */
	int n_thread;              /* as asked for, 0: the setting */
	int64_t keep_alive_ns, submit_ns, load_ns;
	void *user;
	void (*on_event)(void *user, const struct gen_event *ev, int64_t load_ns);
	bool canceled;             /* the hook is not called any more */
	bool active;               /* handed to the runner */
	bool lost;                 /* fails because of the death that is being settled */
	bool suspect;              /* was active when a runner died: tried again alone */
	bool want_parked, is_parked;
	uint64_t n_event;
	int n_death;               /* runner deaths it was present at */
};

struct sched_list {
	struct sched_job *first, *last;
	size_t n;
};

enum { SCHED_QUEUE_BUCKETS = 1024 };

struct sched_queue {
	struct sched_job *buckets[SCHED_QUEUE_BUCKETS];
	size_t n;
	uint64_t last_id;
};

/* Takes the job over, gives it an id, and puts it at the end of the list. */
void sched_queue_push(struct sched_queue *q, struct sched_list *list, struct sched_job *j);
struct sched_job *sched_queue_find(const struct sched_queue *q, uint64_t id);
/* Takes the job out of both and frees it. */
void sched_queue_remove(struct sched_queue *q, struct sched_list *list, struct sched_job *j);
/* Jobs whose client still waits for a first event. */
size_t sched_queue_n_waiting(const struct sched_list *list);
void sched_queue_free_job(struct sched_job *j);

#endif
