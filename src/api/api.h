/* api: the HTTP APIs, without HTTP: what an endpoint sees of a request (struct api_call) and how it answers. http/
 * implements struct api_call_ops; endpoints live one per file in ollama/, openai/, admin/ and are listed in routes.def.
 *
 * A handler runs on a worker thread with the whole body read (or spooled, see API_BODY_FILE). It may block briefly on disk.
 * It answers exactly once, now or later from any thread: api_reply, or api_stream_begin / write / end. A call is reference
 * counted: api_call_ref before keeping it beyond the handler, api_call_unref when done with it; the arena and all strings
 * of the call live as long as the last reference. */
#ifndef CRIA_API_H
#define CRIA_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "sched/sched.h"
#include "store/registry.h"
#include "store/store.h"

enum api_method {
	API_GET = 1, API_HEAD = 2, API_POST = 4, API_PUT = 8, API_DELETE = 16, API_PATCH = 32, API_OPTIONS = 64,
	API_OTHER = 128
};

enum api_route_flags {
	API_BODY_FILE = 1 /* the body goes to a store blob in the making (call->blob) instead of memory */
};

enum api_stream_default { API_STREAM_AUTO, API_STREAM_ON, API_STREAM_OFF };

/* What all endpoints share; constant after start. */
struct api_ctx {
	struct store *store;
	struct sched *sched;
	struct registry *registry;
	const char *version;              /* answered by /api/version */
	enum api_stream_default stream_default;
	int64_t keep_alive_ns;            /* default */
	int64_t n_ctx_default;            /* OLLAMA_CONTEXT_LENGTH, 0: automatic */
	bool auto_pull;                   /* models that are asked for and missing are pulled */
	bool no_prune;                    /* OLLAMA_NOPRUNE: replaced models leave their blobs behind */
	bool draining;                    /* set at shutdown: /readyz */
};

struct api_call;
typedef void api_handler_fn(struct api_ctx *ctx, struct api_call *call);
struct api_header {
	const char *name, *value;
};

/* Implemented by http/. All but `header` may be called from any thread. */
struct api_call_ops {
	void (*ref)(struct api_call *c);
	void (*unref)(struct api_call *c);
	/* Sends status, headers (besides Date, Content-Length, CORS, which http/ adds) and the whole body. */
	void (*reply)(struct api_call *c, int status, const struct api_header *headers, size_t n_header, const void *body, size_t n);
	/* Starts a streamed body: chunked on HTTP/1.1, until close on HTTP/1.0. */
	void (*stream_begin)(struct api_call *c, int status, const struct api_header *headers, size_t n_header);
	/* Queues bytes and flushes at once; returns the bytes not yet taken by the socket, so that the caller can park the
	 * sequence of a slow reader. After the client left it swallows everything. */
	size_t (*stream_write)(struct api_call *c, const void *data, size_t n);
	void (*stream_end)(struct api_call *c);
	/* fn is called once: when the client has gone (gone = true) or the answer was written out to the last byte (false).
	 * on_low is called when pending bytes fell below 64 KiB after having been above 256 KiB. Both on an http thread, must not block. */
	void (*watch)(struct api_call *c, void (*on_end)(void *user, bool gone), void (*on_low)(void *user), void *user);
};

struct api_call {
	const struct api_call_ops *ops;
	struct api_ctx *ctx;
	enum api_method method;
	const char *path;        /* decoded, without query */
	const char *param;       /* text of the :name part of the route, "" when it has none */
	const char *id;          /* request id for logs, "r-1a2b3c" */
	const struct api_header *headers; /* request headers in order */
	size_t n_header;
	const char *body;        /* NUL-terminated; empty with API_BODY_FILE */
	size_t n_body;
	struct store_blob *blob; /* API_BODY_FILE: all body bytes written, not finished; the handler finishes or aborts it */
	api_handler_fn *handler; /* the route's; may be run again after a pull */
	bool pulled;             /* its model was pulled on the way, or could not be: no second try */
	bool streaming;          /* progress was told: the answer goes on in the stream that has begun */
	int64_t t0_ns;           /* clock_now_ns when the request was read */
	struct arena arena;      /* freed with the call; capped */
};

struct api_route {
	unsigned methods;        /* enum api_method bits */
	const char *pattern;     /* "/api/blobs/:digest" */
	api_handler_fn *handler;
	unsigned flags;
};
extern const struct api_route api_routes[];
extern const size_t api_n_route;

/* Value of a request header (name without case), NULL when absent. */
const char *api_header(const struct api_call *c, const char *name);

/* ---- answers (api_reply.c) ---- */
void api_call_ref(struct api_call *c);
void api_call_unref(struct api_call *c);
void api_reply_text(struct api_call *c, int status, const char *content_type, const char *text);
void api_reply_json(struct api_call *c, int status, const struct str *json); /* application/json; charset=utf-8 */
/* {"error": msg} with the status of the class (api_status_of). */
void api_reply_err(struct api_call *c, const struct err *err);
void api_reply_error(struct api_call *c, int status, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* HTTP status of an error class: the only place that maps (api_status.c). */
int api_status_of(int code);

#endif
