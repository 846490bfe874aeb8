/* runner_int: what the files of the runner process share: the process (struct runner) and its requests (struct runner_gen).
 *
 * Threads. The frame thread (main) polls the socket, reads frames, writes what is queued, and never waits for anything else.
 * The loader thread makes the model and ends. The text thread runs jobs one by one: it alone creates prompts, submits
 * sequences and ends requests. The engine's threads call the hooks, which hand tokens to the token thread (runner_tokens.h):
 * it makes text of them and writes it, so that neither the engine nor a long prompt holds up an answer.
 *
 * Locks. `lock`: the list of requests and, in each, what cancel and park need; held by frame, text and token thread only, also
 * while they call engine_cancel and engine_park, so hooks never take it. `conn_lock` and `job_lock` are leaves: nothing is
 * called under them but the connection. */
#ifndef CRIA_RUNNER_INT_H
#define CRIA_RUNNER_INT_H

#include <pthread.h>
#include <stdatomic.h>

#include "ipc/ipc_frame.h"
#include "runner/runner_load.h"
#include "runner/runner_template.h"
#include "runner/runner_tokens.h"

enum {
	RUNNER_OUT_HIGH_BYTES = 4 << 20, /* queued output above which all sequences are parked */
	RUNNER_OUT_LOW_BYTES = 1 << 20,  /* and below which they go on */
	RUNNER_SLOT_MAX = 8,             /* sequences of one request at a time (embeddings) */
	RUNNER_N_CTX_MIN = 4,
	RUNNER_WINDOW_MIN = 256          /* generation may use this much context whatever num_ctx says, as in Ollama */
};
#define RUNNER_PARKED_MAX_NS (60 * NS_PER_S)

enum runner_state { RUNNER_EMPTY, RUNNER_LOADING, RUNNER_READY, RUNNER_FAILED };

struct runner_job {
	struct runner_job *next;
	void (*fn)(struct runner_job *job);
};

struct runner_gen;

/* One sequence of a request in the engine, and how it ended. */
struct runner_slot {
	struct runner_job job; /* first: a job is cast back to its slot */
	struct runner_gen *gen;
	bool busy;             /* text thread: submitted or about to be */
	uint64_t seq;          /* `lock`: the engine's id, 0 while there is none */
	bool enough;           /* `lock`: its text has ended, it need not go on */
	int i_input;           /* embeddings: input, its tokens, its vector */
	int64_t n_tok;
	float *vec;
	int n_vec;
	enum seq_end end;      /* written by the end hook before the job is queued */
	struct seq_stats stats;
	struct err err;
};

struct runner_text;

struct runner_gen {
	struct runner *r;
	uint64_t stream;
	struct runner_gen *next, **at; /* `lock`: list of all requests */
	bool canceled, parked;         /* `lock`: by the server */
	bool late;                     /* `lock`: canceled because it was parked for too long */
	int64_t parked_ns;             /* `lock`: since when it is left out of the steps, 0: it is not */
	char *payload;                 /* until the request is decoded */
	size_t n_payload;
	struct gen_req req;
	struct gen_stats stats;
	struct runner_slot slots[RUNNER_SLOT_MAX]; /* generation uses the first */
	struct runner_text *text;      /* generation: runner_gen.c */
	size_t i_next;                 /* embeddings: next input to submit */
	int n_busy;                    /* embeddings: slots in use */
	struct err err;                /* embeddings: first failure */
};

struct runner {
	struct ipc_conn *conn;
	pthread_mutex_t conn_lock;
	int wake_fd;                   /* eventfd: output was queued */
	int statm_fd;                  /* /proc/self/statm, opened while that is allowed; -1 when it cannot be */
	pthread_mutex_t job_lock;
	pthread_cond_t job_cond;
	struct runner_job *job_head, **job_tail;
	pthread_mutex_t lock;
	struct runner_gen *gens;
	bool throttled;                /* `lock` */
	_Atomic int state;             /* enum runner_state */
	struct runner_load load;       /* constant once the state is RUNNER_READY */
	struct runner_tokens tokens;
	struct runner_templates templates; /* text thread */
	struct load_req load_req;
	int load_fd;
	int64_t quit_ns;               /* frame thread: when to leave at the latest, 0: stay */
};

/* Any thread. */
void runner_push(struct runner *r, enum ipc_type type, uint64_t stream, const void *data, size_t n);
void runner_push_event(struct runner *r, uint64_t stream, const struct gen_event *e);
/* The same, but written by whoever pushes or flushes next. */
void runner_queue_event(struct runner *r, uint64_t stream, const struct gen_event *e);
void runner_push_error(struct runner *r, uint64_t stream, int code, const char *msg);
void runner_job_push(struct runner *r, struct runner_job *job);

/* runner_gen.c: frame thread. payload is taken. */
void runner_gen_new(struct runner *r, uint64_t stream, char *payload, size_t n);
void runner_gen_cancel(struct runner *r, uint64_t stream); /* 0: all */
void runner_gen_park(struct runner *r, uint64_t stream, bool parked);
/* Parks everything or takes it back, and cancels what was parked for too long. True while something is parked. */
bool runner_gen_flow(struct runner *r, size_t n_pending_bytes, int64_t now_ns);
bool runner_gen_any(struct runner *r);

/* Text thread. Submits the slot's sequence with the slot as user; on failure fills *err. */
int runner_gen_submit(struct runner_slot *slot, const struct seq_cfg *cfg, struct err *err);
/* What every end hook does first. */
void runner_gen_set_end(struct runner_slot *slot, enum seq_end end, const struct seq_stats *stats, const struct err *err);
/* An end hook: the slot's job runs on the text thread. */
void runner_gen_on_end(void *user, enum seq_end end, const struct seq_stats *stats, const struct err *err);
/* Token thread: the sequence ends within a step. */
void runner_gen_enough(struct runner_slot *slot);
bool runner_gen_is_canceled(struct runner_gen *g);
void runner_gen_add_stats(struct runner_gen *g, const struct seq_stats *s);
/* Sends the last event and frees the request. */
void runner_gen_done(struct runner_gen *g, enum done_reason reason, struct ids *context);
void runner_gen_fail(struct runner_gen *g, int code, const char *msg);
/* The request's context length: what it asks for, within the engine's. */
int64_t runner_gen_n_ctx(const struct runner_gen *g);

/* runner_text.c: GEN_CHAT and GEN_PROMPT. runner_embed.c: GEN_EMBED. Text thread. */
void runner_text_start(struct runner_gen *g);
void runner_text_free(struct runner_text *t);
void runner_embed_start(struct runner_gen *g);

#endif
