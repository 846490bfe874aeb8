/* sched: owns the runner processes. It starts a runner on first use of a model, hands it requests, supervises it, keeps it
 * warm, and ends it; it also runs the short `cria inspect` children. It knows no dialect and never reads model bytes.
 *
 * One scheduler thread owns all runners (epoll over their sockets, pidfds and timers). sched_submit, sched_cancel and the
 * others may be called from any thread. Hooks run on the scheduler thread: they must not block.
 *
 * Runner life: ABSENT -> STARTING -> LOADING -> READY <-> BUSY -> DRAINING -> ABSENT; any state may fall to DEAD. A request
 * caught by DEAD is retried once if no event reached its hook; otherwise it ends with EV_ERROR (ERR_CRASHED). A request that
 * was present at two deaths is not tried again. */
#ifndef CRIA_SCHED_H
#define CRIA_SCHED_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "ipc/ipc_msg.h"
#include "store/store.h"

struct sched;

struct sched_cfg {
	const char *exe;          /* path of this binary, for runners; NULL: /proc/self/exe */
	int64_t keep_alive_ns;    /* default; INT64_MAX: for ever */
	int64_t load_timeout_ns;  /* without load progress; 0: 5 minutes */
	int64_t n_ctx_default;    /* OLLAMA_CONTEXT_LENGTH; 0: automatic (least of trained, memory, 32768) */
	int max_loaded;           /* 0: as many as memory holds */
	int max_queue;            /* waiting requests per model; more is ERR_BUSY; 0: 512 */
	int n_thread;             /* of a runner; 0: the cores there are */
	const char *kernels, *cpu;
	bool speculation;         /* runners guess tokens and check them */
	const char *kv_type;      /* "f16", "bf16" or "q8_0"; NULL: f16 */
	int64_t mem_limit_bytes;  /* all runners together; 0: what the machine and its control groups allow */
	/* Supervision; 0 takes the default. */
	int64_t ping_every_ns;    /* 1 s */
	int64_t pong_timeout_ns;  /* 10 s without an answer: the runner hangs */
	int64_t step_timeout_ns;  /* 60 s in one step without page faults: the engine hangs */
	int64_t quit_timeout_ns;  /* 5 s from IPC_QUIT to SIGKILL */
	int64_t backoff_ns;       /* 100 ms before a restart after a death, doubled for each further one */
	int64_t inspect_timeout_ns; /* 30 s */
};

int sched_start(const struct sched_cfg *cfg, struct store *store, struct sched **ret, struct err *err);
/* Ends running requests within grace_ns (then EV_ERROR ERR_CANCELED), ends every child, joins the thread. */
void sched_stop(struct sched *s, int64_t grace_ns);

/* keep_alive of a request: SCHED_KEEP_DEFAULT leaves the runner's current value. */
#define SCHED_KEEP_DEFAULT INT64_MIN

struct sched_req {
	const struct store_model *model; /* copied as needed */
	const struct gen_req *gen;       /* NULL: load only (the hook then gets EV_DONE) */
	int64_t num_ctx;                 /* load only: context to be ready for, 0: none in particular */
	int64_t num_thread;              /* threads of the runner if this request loads it; 0 or less: the setting */
	int64_t keep_alive_ns;           /* >= 0, INT64_MAX for ever, SCHED_KEEP_DEFAULT */
	void *user;
	/* Events of the request, in order, the last one EV_DONE or EV_ERROR; not called again after it, nor after
	 * sched_cancel returned. load_ns is the time from submit to a loaded runner (for load_duration). */
	void (*on_event)(void *user, const struct gen_event *ev, int64_t load_ns);
};

/* *ret_id > 0. ERR_BUSY when the queue is full. */
int sched_submit(struct sched *s, const struct sched_req *req, uint64_t *ret_id, struct err *err);
/* The hook is not called any more when this returns. Unknown ids are ignored. Must not be called from a hook (return there
 * instead and cancel elsewhere): waits for a running hook. */
void sched_cancel(struct sched *s, uint64_t id);
/* Leaves a stream out of the steps while its client does not read, and takes it back. Never blocks. */
void sched_park(struct sched *s, uint64_t id, bool parked);
/* Sets keep-alive to 0: the runner ends when its requests are done. False when the model is not loaded. */
bool sched_unload(struct sched *s, const struct store_model *model);

struct sched_loaded {
	struct store_name name;
	char *model_digest, *manifest_digest;
	int64_t size_bytes;         /* weights + KV + other */
	int64_t n_ctx;
	int64_t expires_wall_ns;    /* INT64_MAX: never */
	int pid;
	int n_active, n_queued;
};
/* A snapshot of the loaded and loading models, latest expiry first. */
size_t sched_ps(struct sched *s, struct sched_loaded **ret);
void sched_ps_free(struct sched_loaded *list, size_t n);

/* Facts of a model file from the cache or an inspect child (blocks up to 30 s; worker threads only). Owned result. */
int sched_inspect(struct sched *s, const char *blob_path, const char *digest, bool verbose, json_t **ret, struct err *err);

/* Facts of a Go template's text in the same way: {"tools","insert","thinking","tool_round_trip"}, all booleans. digest: of the
 * text, for the cache; "" keeps nothing. ERR_FORMAT with the parser's words when it is broken. */
int sched_inspect_template(struct sched *s, const char *text, const char *digest, json_t **ret, struct err *err);

/* True when the scheduler loop turned within the last 5 s. */
bool sched_alive(struct sched *s);

#endif
