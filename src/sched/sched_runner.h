/* sched_runner: one model and the life of its runner process: preparing, starting, loading, requests, supervision, death,
 * retry, unload. The object outlives its processes: it exists while the model has requests, a process, or a restart delay.
 *
 * Invariants: 1. state, child, conn and the jobs' flags change on the scheduler thread only. 2. A job that is `active` is
 * known to the runner process; at the process's end no job is. 3. READY has no jobs, BUSY has some.
 * All functions: scheduler thread with the scheduler's lock, unless said otherwise. */
#ifndef CRIA_SCHED_RUNNER_H
#define CRIA_SCHED_RUNNER_H

#include "ipc/ipc_frame.h"
#include "sched/sched_mem.h"
#include "sched/sched_priv.h"
#include "sched/sched_spawn.h"

enum sched_runner_state {
	RUNNER_ABSENT,   /* no process; starts when there are jobs and the restart delay is over */
	RUNNER_STARTING, /* a thread gathers facts, then the model waits for memory */
	RUNNER_LOADING,  /* the process runs, IPC_LOAD is sent */
	RUNNER_READY,    /* loaded, idle */
	RUNNER_BUSY,     /* loaded, with jobs */
	RUNNER_DRAINING, /* IPC_QUIT is sent; new jobs wait for the next process */
	RUNNER_DEAD,     /* killed or ended, not yet reaped */
	RUNNER_N_STATE
};

/* What the preparing thread finds out; its own until done. */
struct sched_prep {
	pthread_t thread;
	bool running;             /* to be joined */
	bool done;                /* with the lock */
	struct err err;           /* code 0: fine */
	struct sched_mem_model mem;
	int fd;                   /* the model file, -1: none */
};

struct sched_runner {
	struct sched *s;
	struct sched_runner *next;
	uint64_t serial;          /* names the runner in epoll events */
	/* The model, by its first name. */
	char *digest, *path, *manifest_digest;
	struct store_name name;
	char label[sizeof(struct store_name)]; /* short name for logs */

	enum sched_runner_state state;
	int64_t state_ns;         /* when the state began */
	struct sched_list jobs;
	bool dirty;               /* jobs or wishes changed: any thread with the lock */
	bool evict;               /* ends when its active jobs are done, to make room */
	int64_t keep_ns;          /* keep-alive; any thread with the lock */
	int64_t idle_ns;          /* READY: since when */
	struct sched_prep prep;

	struct sched_child child;
	struct ipc_conn *conn;
	bool wants_out;           /* EPOLLOUT is registered */
	struct sched_mem_plan plan;
	struct loaded_info info;  /* from READY on */
	int64_t n_ctx_shown;      /* context of the last request */
	double load_share;
	int64_t load_ns;          /* last load progress */
	int64_t ping_ns, next_ping_ns; /* the unanswered ping (0: none) and the time of the next */
	struct runner_stats stats;
	int64_t faults_ns;        /* when stats.major_faults last advanced */

	int n_death;              /* in a row */
	int64_t retry_ns;         /* ABSENT: not started before; STARTING: memory is not looked at before */
};

/* Any thread with the lock. */
struct sched_runner *sched_runner_find(struct sched *s, const char *digest);
struct sched_runner *sched_runner_new(struct sched *s, const struct store_model *model);

/* Moves the runner on as far as it goes now, and lowers *ret_due_ns to when it must be called again without an event. Frees
 * the runner when it is over. */
void sched_runner_step(struct sched_runner *r, int64_t now_ns, int64_t *ret_due_ns);
/* The socket can be read or written, or the process ended. */
void sched_runner_on_socket(struct sched_runner *r);
void sched_runner_on_exit(struct sched_runner *r);

/* Asks an idle process to end. */
void sched_runner_quit(struct sched_runner *r);
/* Ends all jobs with an error. */
void sched_runner_fail_jobs(struct sched_runner *r, const struct err *err);
/* Server shutdown: leaves the process no work and the way out; kills what is not loaded yet. */
void sched_runner_stop(struct sched_runner *r);
bool sched_runner_has_process(const struct sched_runner *r);
size_t sched_runner_n_active(const struct sched_runner *r);
/* End of the keep-alive, monotonic; INT64_MAX never. */
int64_t sched_runner_expires_ns(const struct sched_runner *r, int64_t now_ns);
/* Bytes of the loaded or loading model: weights, buffers, and KV of one context. */
int64_t sched_runner_size_bytes(const struct sched_runner *r);

/* sched_room.c: 1 when r may start now (its plan is made), 0 when it has to wait, ERR_NOMEM when it never can. */
int sched_room_make(struct sched_runner *r, struct err *err);

enum { SCHED_EVENT_SOCKET, SCHED_EVENT_EXIT };
/* The epoll data of a runner's descriptor. */
uint64_t sched_runner_event(const struct sched_runner *r, int which);

#endif
