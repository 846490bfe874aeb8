/* http_cors: which web pages may call us (the Origin header; Fetch standard, CORS protocol). Constant after init. */
#ifndef CRIA_HTTP_CORS_H
#define CRIA_HTTP_CORS_H

#include <stdbool.h>
#include <stddef.h>

struct http_origins {
	char **patterns; /* [n], lower case; at most one '*' counts */
	size_t n;
	bool all;        /* a bare "*" was listed */
};

/* list: OLLAMA_ORIGINS, comma-separated, may be NULL; the built-in local origins are always added. */
void http_origins_init(struct http_origins *o, const char *list);
void http_origins_release(struct http_origins *o);

enum http_cors { HTTP_CORS_NONE, HTTP_CORS_ALLOW, HTTP_CORS_DENY };
/* NONE: no Origin header (NULL or ""), or the page comes from this very host. */
enum http_cors http_cors_check(const struct http_origins *o, const char *origin, const char *host);

/* Values of the preflight answer. */
extern const char http_cors_methods[], http_cors_headers[], http_cors_max_age[];

#endif
