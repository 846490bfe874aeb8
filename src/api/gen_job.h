/* gen_job: one inference request from submission to its last byte: takes the scheduler's events and answers the client in
 * a dialect, as a stream or as one body. It knows no dialect: the printers come in a struct gen_dialect.
 *
 * Who owns what: a job is reference counted. The endpoint's thread holds a reference until gen_job_start returns, the
 * scheduler's hook one until the last event (or the cancellation), the HTTP watch one until the answer is out or the client
 * has gone. It keeps the call alive for as long.
 *
 * Threads: events come one at a time on the scheduler thread, so printers and collected data need no lock; `lock` guards
 * what the HTTP thread shares (id, gone, parked, finished). A client that leaves is cancelled from the HTTP thread, where
 * waiting for a running hook is allowed; no lock is held meanwhile. */
#ifndef CRIA_API_GEN_JOB_H
#define CRIA_API_GEN_JOB_H

#include <pthread.h>

#include "api/api.h"
#include "base/json.h"

struct gen_job;

struct gen_dialect {
	const char *stream_type; /* content types */
	const char *whole_type;
	/* Streams: append what the client gets for the event. `done` gets what ends the stream as well. */
	void (*text)(struct gen_job *j, const struct gen_event *ev, struct str *out);
	void (*tool_call)(struct gen_job *j, const json_t *call, struct str *out);
	void (*done)(struct gen_job *j, const struct gen_event *ev, struct str *out);
	void (*late_error)(struct gen_job *j, const char *msg, struct str *out);
	/* Streams: tells of a pull on the way to the answer. NULL: nothing is told. */
	void (*status)(struct gen_job *j, const char *status, const char *digest, int64_t total, int64_t completed, struct str *out);
	/* The whole body when nothing is streamed; also for a rendered prompt (job->rendered set). */
	void (*whole)(struct gen_job *j, const struct gen_event *ev, struct str *out);
	/* One vector as JSON. It is made as the vector arrives, so that a reply of many does not hold up the scheduler. */
	void (*vector)(struct gen_job *j, const float *values, size_t n, struct str *out);
	/* An error before the first byte. */
	void (*fail)(struct api_call *call, const struct err *err);
};

struct gen_job {
	const struct gen_dialect *dialect;
	struct api_call *call;
	const char *model;     /* as the client spelled it; lives with `body` */
	json_t *body;          /* the request, owned */
	struct gen_req req;    /* filled by the endpoint */
	bool stream;
	bool may_pull;         /* a missing model may be pulled; false for requests that unload it */
	bool narrate;          /* the answer will be a stream, so a pull may be told in it */
	bool load_only;        /* answer when the model is loaded; generate nothing */
	int64_t keep_alive_ns;
	/* what printers use */
	int64_t submit_ns;     /* when it was submitted */
	int64_t load_ns;       /* from the request's arrival to a loaded model */
	struct str text, thinking;
	json_t *logprobs;      /* array or NULL */
	json_t *tool_calls;    /* array of {"id","function":{"index","name","arguments"}} or NULL */
	char *rendered;        /* or NULL */
	int n_image;           /* in the request, told with a rendered prompt */
	struct str *vectors;   /* [n_vector] JSON by the dialect's `vector` */
	size_t n_vector;
	int64_t n_input_tok;
	/* state that belongs to the dialect */
	char reply_id[40];
	int64_t created_s;
	bool include_usage, base64, sent_any, sent_calls;
	/* the machine */
	pthread_mutex_t lock;
	int n_ref;
	uint64_t id;           /* the scheduler's, 0 until known */
	bool gone, parked, finished, began;
	struct str out;        /* scratch of the printers */
};

/* Takes the body over (decoded strings may point into it). */
struct gen_job *gen_job_new(const struct gen_dialect *d, struct api_call *call, json_t *body, const char *model);
void gen_job_unref(struct gen_job *j);
/* Submits and gives up the caller's reference; every outcome is answered. */
void gen_job_start(struct gen_job *j, const struct store_model *m);
/* Answers an error found while the job was being built, or has a missing model pulled (gen_pull.h); gives up the caller's reference. */
void gen_job_fail(struct gen_job *j, const struct err *err);

/* Whether a native generate or chat is streamed: `asked` is the request's "stream" (-1: absent). */
bool gen_job_wants_stream(const struct api_ctx *ctx, const struct api_call *call, int asked);

#endif
