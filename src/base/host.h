/* host: addresses as OLLAMA_HOST spells them: `[scheme://]host[:port][/path]`, for the server and for its clients. */
#ifndef CRIA_BASE_HOST_H
#define CRIA_BASE_HOST_H

#include <stdbool.h>

enum { HOST_PORT_DEFAULT = 11434 };

struct host {
	char scheme[8]; /* "http" or "https" */
	char name[256]; /* name or literal address, without brackets */
	int port;
	char path[256]; /* "" or "/prefix", without a trailing slash; only clients use it */
};

/* Parses text (NULL or blank: 127.0.0.1:11434). Quotes and blanks around it are dropped; a missing port is 80 or 443 when a
 * scheme is given, else 11434; a port that is no number from 0 to 65535 becomes 11434 and *ret_bad_port is set. */
void host_parse(const char *text, struct host *ret, bool *ret_bad_port);
/* "http://name:port/path" with brackets around IPv6 and, for clients, wildcard addresses replaced by loopback. */
void host_url(const struct host *h, char *out, int n);

#endif
