#include "http/http_route.h"

#include <stdio.h>
#include <string.h>

#include "base/bug.h"

/* True when path is an instance of pattern. *ret_param gets the text of a ":name" part. */
static bool pattern_match(const char *pattern, const char *path, struct arena *a, const char **ret_param)
{
	*ret_param = "";
	while (*pattern) {
		if (*pattern == ':') {
			size_t n = strcspn(path, "/");
			if (n == 0)
				return false;
			*ret_param = arena_strndup(a, path, n);
			if (!*ret_param)
				return false;
			path += n;
			pattern += strcspn(pattern, "/");
		} else if (*pattern++ != *path++) {
			return false;
		}
	}
	return *path == '\0';
}

/* Go's ServeMux cleans a path: "" segments, "." and ".." go, one trailing slash stays. out has room for strlen(p) + 2. */
static void clean_path(const char *p, char *out)
{
	size_t n = 0; /* out[0..n) never ends in a slash */
	while (*p) {
		while (*p == '/')
			p++;
		size_t len = strcspn(p, "/");
		if (len == 2 && p[0] == '.' && p[1] == '.') {
			while (n && out[--n] != '/')
				;
		} else if (len && !(len == 1 && *p == '.')) {
			out[n++] = '/';
			memcpy(out + n, p, len);
			n += len;
		}
		p += len;
	}
	if (n == 0 || p[-1] == '/')
		out[n++] = '/';
	out[n] = '\0';
}

/* path + query with bytes outside ASCII percent-encoded, as a header value must be. */
static const char *location_of(const char *path, const char *query, struct arena *a)
{
	size_t n = strlen(path) + strlen(query), k = 0;
	char *out = arena_alloc(a, n * 3 + 1);
	if (!out)
		return NULL;
	for (size_t part = 0; part < 2; part++)
		for (const char *s = part ? query : path; *s; s++) {
			unsigned char c = (unsigned char)*s;
			if (c < 0x80) {
				out[k++] = *s;
			} else {
				out[k++] = '%';
				out[k++] = "0123456789ABCDEF"[c >> 4];
				out[k++] = "0123456789ABCDEF"[c & 15];
			}
		}
	out[k] = '\0';
	return out;
}

static void redirect(struct http_route *ret, int status, const char *path, const char *query, struct arena *a)
{
	ret->location = location_of(path, query, a);
	ret->kind = ret->location ? HTTP_ROUTE_REDIRECT : HTTP_ROUTE_UNKNOWN;
	ret->status = status;
}

/* The path with its trailing slash removed, or one added; NULL for "/". */
static char *toggle_slash(const char *path, struct arena *a)
{
	size_t n = strlen(path);
	char *out = arena_alloc(a, n + 2);
	if (!out || n <= 1)
		return NULL;
	memcpy(out, path, n + 1);
	if (out[n - 1] == '/')
		out[n - 1] = '\0';
	else
		memcpy(out + n, "/", 2);
	return out;
}

void http_route_find(const struct api_route *routes, size_t n_route, const struct http_head *h, struct arena *a,
		     struct http_route *ret)
{
	*ret = (struct http_route){.kind = HTTP_ROUTE_UNKNOWN, .param = ""};
	if (h->raw_path[0] == '/' && strcmp(h->method_text, "CONNECT")) {
		char *clean = arena_alloc(a, strlen(h->raw_path) + 2);
		if (!clean)
			return;
		clean_path(h->raw_path, clean);
		if (strcmp(clean, h->raw_path)) {
			redirect(ret, 307, clean, h->query, a);
			return;
		}
	}
	const char *param;
	for (size_t i = 0; i < n_route; i++) {
		if (!pattern_match(routes[i].pattern, h->path, a, &param))
			continue;
		if (routes[i].methods & h->method) {
			ret->kind = HTTP_ROUTE_FOUND;
			ret->route = &routes[i];
			ret->param = param;
			return;
		}
		ret->allowed |= routes[i].methods;
	}
	char *other = toggle_slash(h->path, a);
	for (size_t i = 0; other && i < n_route; i++)
		if ((routes[i].methods & h->method) && pattern_match(routes[i].pattern, other, a, &param)) {
			char *raw = toggle_slash(h->raw_path, a);
			redirect(ret, h->method == API_GET ? 301 : 307, raw ? raw : other, h->query, a);
			return;
		}
	if (ret->allowed)
		ret->kind = HTTP_ROUTE_METHOD;
}

void http_route_allow_text(unsigned methods, char out[96])
{
	static const struct {
		enum api_method method;
		const char *name;
	} order[] = {{API_HEAD, "HEAD"}, {API_GET, "GET"},     {API_POST, "POST"},
		     {API_PUT, "PUT"},   {API_PATCH, "PATCH"}, {API_DELETE, "DELETE"}};
	size_t n = 0;
	*out = '\0';
	for (size_t i = 0; i < ARRAY_LEN(order); i++)
		if (methods & order[i].method)
			n += (size_t)snprintf(out + n, 96 - n, "%s%s", n ? ", " : "", order[i].name);
}

void http_route_redirect_body(const char *location, const char *reason, struct str *out)
{
	str_adds(out, "<a href=\"");
	for (const char *s = location; *s; s++) {
		const char *esc = *s == '&' ? "&amp;" : *s == '<' ? "&lt;" : *s == '>' ? "&gt;" : *s == '"' ? "&#34;" :
				  *s == '\'' ? "&#39;" : NULL;
		if (esc)
			str_adds(out, esc);
		else
			str_addc(out, *s);
	}
	str_printf(out, "\">%s</a>.\n\n", reason);
}
