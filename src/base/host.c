#include "base/host.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

/* Copies at most n - 1 bytes of [from, from + len). */
static void copy(char *to, size_t n, const char *from, size_t len)
{
	if (len >= n)
		len = n - 1;
	memcpy(to, from, len);
	to[len] = '\0';
}

static bool strip_blank(char c)
{
	return isspace((unsigned char)c) || c == '"' || c == '\'';
}

/* Splits "name", "name:port", "[v6]:port", ":port" or a bare IPv6 address. Returns the port text or NULL. */
static const char *split_port(char *s)
{
	char *close = *s == '[' ? strchr(s, ']') : NULL;
	if (close) {
		const char *port = close[1] == ':' ? close + 2 : NULL;
		*close = '\0';
		memmove(s, s + 1, strlen(s + 1) + 1);
		return port;
	}
	char *colon = strrchr(s, ':');
	if (!colon || strchr(s, ':') != colon)
		return NULL;
	*colon = '\0';
	return colon + 1;
}

void host_parse(const char *text, struct host *ret, bool *ret_bad_port)
{
	char buf[600];
	*ret = (struct host){.port = HOST_PORT_DEFAULT};
	*ret_bad_port = false;
	strcpy(ret->scheme, "http");
	text = text ? text : "";
	while (*text && strip_blank(*text))
		text++;
	size_t n = strlen(text);
	while (n && strip_blank(text[n - 1]))
		n--;
	copy(buf, sizeof buf, text, n);

	char *s = buf, *sep = strstr(buf, "://");
	if (sep) {
		bool tls = sep - s == 5 && !strncmp(s, "https", 5);
		ret->port = tls ? 443 : 80;
		strcpy(ret->scheme, tls ? "https" : "http");
		s = sep + 3;
	}
	char *slash = strchr(s, '/');
	if (slash) {
		size_t len = strlen(slash);
		while (len && slash[len - 1] == '/')
			len--;
		copy(ret->path, sizeof ret->path, slash, len);
		*slash = '\0';
	}
	const char *port = split_port(s);
	if (port) {
		char *end;
		long v = strtol(port, &end, 10);
		*ret_bad_port = !*port || *end || v < 0 || v > 65535;
		ret->port = *ret_bad_port ? HOST_PORT_DEFAULT : (int)v;
	}
	const char *name = *s ? s : port ? "0.0.0.0" : "127.0.0.1"; /* ":8080" is every address, as in Go */
	copy(ret->name, sizeof ret->name, name, strlen(name));
}

void host_url(const struct host *h, char *out, int n)
{
	const char *name = h->name;
	if (!strcmp(name, "0.0.0.0"))
		name = "127.0.0.1";
	else if (!strcmp(name, "::"))
		name = "::1";
	bool v6 = strchr(name, ':') != NULL;
	snprintf(out, (size_t)n, "%s://%s%s%s:%d%s", h->scheme, v6 ? "[" : "", name, v6 ? "]" : "", h->port, h->path);
}
