/* http_conn: what the files of http/ share: server, loop, connection and call. Internal to http/.
 *
 * Ownership: a loop owns its connections; nobody else touches them. A connection has at most one call at a time and holds one
 * reference to it. A call is shared by the loop, a worker, and whoever took a reference; its lock guards the fields marked so.
 * Lock order: call, then loop. Hooks of others (watch) run on the loop without any lock. */
#ifndef CRIA_HTTP_CONN_H
#define CRIA_HTTP_CONN_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <pthread.h>
#include <stdatomic.h>

#include "api/api.h"
#include "base/str.h"
#include "http/http_cors.h"
#include "http/http_parse.h"
#include "http/http_route.h"
#include "http/http_server.h"
#include "http/http_work.h"

struct evbuffer;

enum {
	HTTP_N_LOOP = 2,
	HTTP_N_LISTEN = 2,                       /* "localhost" may be two addresses */
	HTTP_READ_BODY_BYTES = 64 * 1024,        /* one read of a body */
	HTTP_READ_HEAD_BYTES = 4 * 1024,         /* one read of anything else */
	HTTP_AHEAD_MAX_BYTES = 64 * 1024,        /* read of pipelined requests while one is answered */
	HTTP_DISCARD_MAX_BYTES = 256 * 1024,     /* of an unwanted body; a longer one ends the connection */
	HTTP_SPOOL_BYTES = 1024 * 1024,          /* of an upload, written by a worker at once */
	HTTP_PENDING_HIGH_BYTES = 256 * 1024,    /* on_low is armed above ... */
	HTTP_PENDING_LOW_BYTES = 64 * 1024,      /* ... and fires below */
	HTTP_PENDING_MAX_BYTES = 64 * 1024 * 1024, /* of a stream whose writer ignores pending: the client is given up */
	HTTP_TURN_BYTES = 1024 * 1024,           /* read from one connection before others have a turn */
	HTTP_TICK_MS = 250                       /* deadlines are looked at this often */
};
#define HTTP_LINGER_NS (INT64_C(1000000000))     /* how long a closing connection is drained */

struct http_call;
struct http_conn;

struct http_loop {
	struct http_server *server;
	struct event_base *base;
	pthread_t thread;
	struct event wake, tick;
	int wake_fd;              /* eventfd */
	struct http_conn *conns;  /* list */
	pthread_mutex_t lock;     /* guards the rest */
	struct http_call *posted; /* list by next_posted, each with a reference */
	struct http_call **posted_tail;
	int *fds;                 /* [n_fd] accepted sockets for this loop */
	size_t n_fd, cap_fd;
	bool drain, cut, stop;
};

struct http_server {
	struct http_server_cfg cfg; /* limits filled in */
	struct http_origins origins;
	struct http_loop loops[HTTP_N_LOOP];
	struct http_work *work;
	int listen_fds[HTTP_N_LISTEN];
	struct event listen_events[HTTP_N_LISTEN]; /* on loop 0 */
	int n_listen, port;
	bool loopback;
	unsigned id_seed;
	int i_next_loop;               /* loop 0 only */
	int64_t accept_after_ns;       /* loop 0 only: accepting rests until then, 0: it does not */
	atomic_uint n_id;
	atomic_int n_conn, n_active;
	atomic_size_t body_bytes;      /* of all bodies in memory */
	atomic_bool draining;
	atomic_int refs;               /* the owner and every call */
};

/* What http/ answers without a handler. */
enum http_early {
	HTTP_EARLY_NONE,
	HTTP_EARLY_EXPECT,    /* 417 */
	HTTP_EARLY_REDIRECT,
	HTTP_EARLY_DENIED,    /* 403: origin or host */
	HTTP_EARLY_PREFLIGHT, /* 204 with what pages may do */
	HTTP_EARLY_OPTIONS,   /* 204: OPTIONS under a local name */
	HTTP_EARLY_UNKNOWN,   /* 404 */
	HTTP_EARLY_METHOD,    /* 405 */
	HTTP_EARLY_DRAINING   /* 503 */
};

enum http_answer { HTTP_ANSWER_NONE, HTTP_ANSWER_STREAM, HTTP_ANSWER_DONE };

struct http_call {
	struct api_call c; /* first: api/ knows a call by this */
	struct http_server *server;
	struct http_loop *loop;
	struct http_head head;
	struct http_route route;
	enum http_cors cors;
	const char *origin;
	char id[16];
	/* loop and worker, one after the other */
	struct http_conn *conn;    /* loop thread only; NULL once the connection let go */
	char *body;                /* of n_body_cap bytes, counted in server->body_bytes */
	size_t n_body_cap;
	struct str spool;          /* upload bytes on the way to the blob */
	struct err spool_err;
	bool blob_ours;            /* the handler has not taken c.blob over */
	bool force_close;          /* the connection ends with the answer */
	enum http_early early;     /* not NONE: http/ answers itself; a body is read only to be thrown away */
	/* guarded by lock */
	pthread_mutex_t lock;
	int refs;
	bool posted;               /* guarded by loop->lock */
	struct http_call *next_posted; /* likewise */
	bool dispatched;           /* a handler was given the call */
	bool spooled;              /* a worker finished with `spool` */
	bool detached;             /* the connection let go: nothing is sent any more */
	bool gone;                 /* ... because the client left */
	bool abandoned;            /* every holder left without an answer */
	enum http_answer answer;
	bool chunked, close_after, no_body;
	struct str out;            /* answer bytes on the way to the loop */
	size_t unsent_bytes;       /* in the connection's buffer */
	bool was_high;
	int status;
	int64_t n_sent_bytes;      /* body bytes, for the log */
	void (*on_end)(void *user, bool gone);
	void (*on_low)(void *user);
	void *user;
};

enum http_conn_state { HTTP_CONN_HEAD, HTTP_CONN_BODY, HTTP_CONN_ANSWER, HTTP_CONN_LINGER };

struct http_conn {
	struct http_loop *loop;
	struct http_conn *prev, *next;
	int fd;
	struct event ev;      /* edge-triggered for the life of the connection */
	bool readable;        /* no EAGAIN since the last edge */
	bool writable;
	bool eof;             /* the peer sends nothing more, all it sent is in `in` */
	bool broken;          /* the socket failed */
	bool shut;            /* our side is closed */
	enum http_conn_state state;
	int64_t deadline_ns;  /* INT64_MAX: none */
	struct str in;        /* bytes read, not yet consumed from i_in on */
	size_t i_in;
	struct http_scan scan;
	struct http_body body;
	size_t n_discard_bytes;
	bool spooling;        /* a worker has the spool: nothing is read */
	struct evbuffer *out;
	struct http_call *call;
	int64_t t_first_ns;   /* first byte of the request, 0: none yet */
};

/* ---- http_conn.c (loop thread) ---- */
void http_conn_open(struct http_loop *l, int fd);
/* Goes on with whatever is possible: input, answers, closing. May free the connection. */
void http_conn_run(struct http_conn *k);
/* Ends a connection at once. */
void http_conn_cut(struct http_conn *k);
/* A post arrived for the call of this connection. */
void http_conn_posted(struct http_conn *k);
/* Opens a connection only to say that there are too many. */
void http_conn_refuse(struct http_loop *l, int fd);
void http_conn_deadline(struct http_conn *k, int64_t now_ns);
/* Closes the connection if no request is under way. */
void http_conn_close_idle(struct http_conn *k);

/* ---- http_call.c ---- */
/* A new call with one reference, its head not yet parsed. */
struct http_call *http_call_new(struct http_server *s, struct http_loop *l);
void http_call_ref(struct http_call *c);
void http_call_unref(struct http_call *c);
void http_call_reply(struct http_call *c, int status, const struct api_header *headers, size_t n_header, const void *body, size_t n);
/* Loop: moves queued answer bytes into buf and returns how far the answer is. *ret_overrun: more is pending than any
 * client may cause. */
enum http_answer http_call_take(struct http_call *c, struct evbuffer *buf, bool *ret_overrun);
/* Loop: the buffer holds unsent bytes now; fires on_low. */
void http_call_sent(struct http_call *c, size_t unsent_bytes);
/* Loop: the connection lets go; fires on_end, writes the access log. Then drop the reference. */
void http_call_detach(struct http_call *c, bool gone);
bool http_call_watched(struct http_call *c);
bool http_call_detached(struct http_call *c);
/* Appends body bytes: 0, or the status that refuses them (413, 503). */
int http_call_body_add(struct http_call *c, const char *data, size_t n);

/* ---- http_dispatch.c ---- */
/* The head was parsed: fills c->c from it, finds the route, or sets c->early. */
void http_dispatch_head(struct http_call *c);
/* Answers a call with c->early set. */
void http_dispatch_early(struct http_call *c);
/* The body is complete: hands the call to a worker, or answers 503. */
void http_dispatch_handler(struct http_call *c);
/* Hands the spool to a worker, which appends it to the blob and posts the call with `spooled`. False: no worker free. */
bool http_dispatch_spool(struct http_call *c);

/* ---- http_server.c ---- */
/* Puts a call on its loop's list and wakes the loop. The caller holds c->lock; c->detached is false. */
void http_loop_post(struct http_call *c);
void http_server_unref(struct http_server *s);

#endif
