/* http_route: finds the route of a request head, or the redirect, 404 or 405 that Ollama's router (gin behind Go's ServeMux)
 * answers. Pure functions over a route table; texts live in the arena that was given. */
#ifndef CRIA_HTTP_ROUTE_H
#define CRIA_HTTP_ROUTE_H

#include "http/http_parse.h"

enum http_route_kind { HTTP_ROUTE_FOUND, HTTP_ROUTE_UNKNOWN, HTTP_ROUTE_METHOD, HTTP_ROUTE_REDIRECT };

struct http_route {
	enum http_route_kind kind;
	const struct api_route *route; /* FOUND */
	const char *param;             /* FOUND: text of the :name part, else "" */
	unsigned allowed;              /* METHOD: the methods that the path knows */
	int status;                    /* REDIRECT: 301 or 307 */
	const char *location;          /* REDIRECT: path and query */
};

void http_route_find(const struct api_route *routes, size_t n_route, const struct http_head *h, struct arena *a,
		     struct http_route *ret);
/* "HEAD, GET": the Allow header. */
void http_route_allow_text(unsigned methods, char out[96]);
/* The html body of a redirect: a link to the location, escaped. */
void http_route_redirect_body(const char *location, const char *reason, struct str *out);

#endif
