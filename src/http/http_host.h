/* http_host: the guard against DNS rebinding. A page of a foreign site can make its own name point at 127.0.0.1; its
 * requests then carry that name in Host. A server that listens on loopback only therefore refuses foreign names. */
#ifndef CRIA_HTTP_HOST_H
#define CRIA_HTTP_HOST_H

enum http_host { HTTP_HOST_DENY, HTTP_HOST_ADDRESS, HTTP_HOST_NAME };

/* host: the Host header with or without port. ADDRESS: a literal address of this machine or its private network (or no
 * host at all); NAME: a local name. */
enum http_host http_host_check(const char *host);

#endif
