/* http_server: the HTTP/1.1 server: listening sockets, loop threads, workers. It knows requests and routes, not what
 * endpoints do. TLS is left to a proxy in front.
 *
 * Threads: N_LOOP loops own the connections (each connection has one loop for life) and never block; handlers and upload
 * writes run in a bounded pool (http_work); answers may come from any thread (api_call_ops, http_call.c). */
#ifndef CRIA_HTTP_SERVER_H
#define CRIA_HTTP_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "api/api.h"
#include "base/err.h"

struct http_server;

/* Zero in a field means the default. */
struct http_limits {
	int64_t head_ns;         /* 30 s: first byte of a request to its blank line */
	int64_t body_ns;         /* 60 s without a byte of a body */
	int64_t idle_ns;         /* 120 s between requests */
	int64_t stall_ns;        /* 60 s in which a client takes nothing of its answer */
	int max_conn;            /* 4096; further ones get a 503 */
	int max_worker;          /* 16 threads for handlers */
	int max_queue;           /* 1024 requests waiting for one of them; further ones get a 503 */
	size_t body_max_bytes;   /* 256 MiB for a body held in memory: 413 */
	size_t bodies_max_bytes; /* 1 GiB for all bodies in memory together: 503 */
};

struct http_server_cfg {
	const char *host;               /* name or address; "" : every address of the machine */
	int port;                       /* 0: any free one */
	const struct api_route *routes; /* [n_route], outlive the server */
	size_t n_route;
	struct api_ctx *ctx;            /* outlives the server */
	const char *origins;            /* OLLAMA_ORIGINS or NULL */
	struct http_limits limits;
};

/* ERR_EXISTS when the port is taken, ERR_FORBIDDEN when it may not be bound, ERR_IO otherwise. */
int http_server_start(const struct http_server_cfg *cfg, struct http_server **ret, struct err *err);
int http_server_port(const struct http_server *s);
/* True when only programs of this machine can connect. */
bool http_server_loopback(const struct http_server *s);
/* Accepts nothing more and closes idle connections; requests under way go on, and end their connection. */
void http_server_drain(struct http_server *s);
/* Requests read or being read, whose answers are not written out. */
int http_server_active(const struct http_server *s);
/* Cuts what is left (watchers hear gone = true), waits for handlers, joins all threads. Calls that others still hold stay
 * valid and swallow what is written. False when a handler does not return within timeout_ns. */
bool http_server_stop(struct http_server *s, int64_t timeout_ns);

#endif
