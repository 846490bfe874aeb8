/* http_parse: HTTP/1.x messages as bytes: request head and body framing. Pure functions over memory: no sockets, no clock,
 * no routes. Accepts and refuses what Go's net/http does (RFC 9112 where the two agree), because clients of Ollama were
 * written against that; stricter in four places where leniency lets two parties disagree about where a request ends:
 * folded header lines, Transfer-Encoding in HTTP/1.0, bare LF after a chunk size, and NUL in the decoded path are refused.
 *
 * The head is parsed once it is complete (http_scan finds its end while bytes arrive); the body decoder takes bytes in any
 * pieces and gives the same result for every split. Strings of a head live in the arena that was given. */
#ifndef CRIA_HTTP_PARSE_H
#define CRIA_HTTP_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/api.h"
#include "base/arena.h"

enum {
	HTTP_HEAD_MAX_BYTES = 64 * 1024,
	HTTP_HEADER_MAX = 256,                 /* header lines of one request */
	HTTP_CHUNK_LINE_MAX_BYTES = 4096,
	HTTP_TRAILER_MAX_BYTES = 16 * 1024,
	HTTP_CHUNK_OVERHEAD_MAX_BYTES = 16 * 1024 /* framing beyond 16 bytes + twice the data of a chunk, summed */
};

enum http_fault {
	HTTP_FAULT_NONE,
#define FAULT(name, status, reason, body) HTTP_FAULT_##name,
#include "http/http_fault.def"
#undef FAULT
	HTTP_FAULT_END_
};
struct http_fault_text {
	int status;
	const char *reason, *body;
};
extern const struct http_fault_text http_faults[HTTP_FAULT_END_];

struct http_head {
	enum api_method method;
	const char *method_text;
	const char *raw_path;         /* as sent, without query; starts with '/' or is "*" */
	const char *query;            /* with its '?', "" when there is none */
	const char *path;             /* percent-decoded */
	const char *host;             /* authority of an absolute target, else the Host header, "" when neither */
	int minor;                    /* HTTP/1.minor */
	struct api_header *headers;   /* [n_header], names and values trimmed */
	size_t n_header;
	int64_t content_length_bytes; /* 0 when absent or overridden by chunked */
	bool chunked;
	bool expect_continue;         /* wants 100 Continue before it sends the body */
	bool expect_unknown;          /* any other expectation: 417 */
	bool keep_alive;              /* the connection may carry another request */
};

enum http_step { HTTP_MORE, HTTP_DATA, HTTP_DONE, HTTP_BAD };

/* Finds the end of a head in a growing buffer. Zeroed before the first byte. */
struct http_scan {
	size_t pos;        /* bytes looked at */
	size_t line_start;
	bool line_checked; /* the request line was seen and is well-formed */
};
/* buf holds the message from its first byte. HTTP_DONE: *ret_n is the head's length with its blank line. HTTP_BAD: *ret_fault;
 * a bad request line is noticed as soon as it has ended. */
enum http_step http_scan(struct http_scan *s, const char *buf, size_t n, size_t *ret_n, enum http_fault *ret_fault);

/* Parses a whole head of n bytes. HTTP_FAULT_NONE on success. On a fault ret->minor and ret->method may still be of use. */
enum http_fault http_head_parse(const char *buf, size_t n, struct arena *a, struct http_head *ret);

/* Decodes a body: by length, or chunked with extensions and trailers (both dropped). */
struct http_body {
	int state;
	uint64_t left_bytes;      /* of the body or the chunk */
	size_t n_line_bytes;      /* of the chunk line being read */
	size_t n_trailer_bytes;
	int64_t overhead_bytes;
	const char *error;        /* after HTTP_BAD: what is wrong, for the answer */
};
void http_body_init(struct http_body *b, const struct http_head *h);
/* One step: HTTP_DATA gives the next payload bytes (a part of `in`); HTTP_MORE wants more input; HTTP_DONE and HTTP_BAD
 * are final. *ret_used bytes of the input are consumed in any case. */
enum http_step http_body_feed(struct http_body *b, const char *in, size_t n, size_t *ret_used, const char **ret_data,
			      size_t *ret_n);

/* Value of the last header of that name, NULL when absent. */
const char *http_header(const struct http_head *h, const char *name);
/* True when a comma-separated header value holds the token, without case. */
bool http_has_token(const char *value, const char *token);

#endif
