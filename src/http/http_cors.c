#include "http/http_cors.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "base/bug.h"
#include "base/mem.h"
#include "base/str.h"

const char http_cors_methods[] = "GET,POST,PUT,PATCH,DELETE,HEAD,OPTIONS";
/* What the OpenAI and Ollama client libraries send from a browser. */
const char http_cors_headers[] =
	"Authorization,Content-Type,User-Agent,Accept,X-Requested-With,Openai-Beta,X-Stainless-Arch,X-Stainless-Async,"
	"X-Stainless-Custom-Poll-Interval,X-Stainless-Helper-Method,X-Stainless-Lang,X-Stainless-Os,"
	"X-Stainless-Package-Version,X-Stainless-Poll-Helper,X-Stainless-Retry-Count,X-Stainless-Runtime,"
	"X-Stainless-Runtime-Version,X-Stainless-Timeout";
const char http_cors_max_age[] = "43200";

static const char *const builtin[] = {
	"http://localhost",  "https://localhost",  "http://localhost:*",  "https://localhost:*",
	"http://127.0.0.1",  "https://127.0.0.1",  "http://127.0.0.1:*",  "https://127.0.0.1:*",
	"http://0.0.0.0",    "https://0.0.0.0",    "http://0.0.0.0:*",    "https://0.0.0.0:*",
	"app://*",           "file://*",           "tauri://*",           "vscode-webview://*",
	"vscode-file://*",
};

static void add(struct http_origins *o, const char *s, size_t n)
{
	while (n && isspace((unsigned char)*s))
		s++, n--;
	while (n && isspace((unsigned char)s[n - 1]))
		n--;
	if (n == 0)
		return;
	if (n == 1 && *s == '*')
		o->all = true;
	char *p = mem_strndup(s, n);
	for (size_t i = 0; i < n; i++)
		p[i] = (char)tolower((unsigned char)p[i]);
	o->patterns = mem_realloc(o->patterns, (o->n + 1) * sizeof *o->patterns);
	o->patterns[o->n++] = p;
}

void http_origins_init(struct http_origins *o, const char *list)
{
	*o = (struct http_origins){0};
	for (const char *s = list; s && *s;) {
		size_t n = strcspn(s, ",");
		add(o, s, n);
		s += n + (s[n] == ',');
	}
	for (size_t i = 0; i < ARRAY_LEN(builtin); i++)
		add(o, builtin[i], strlen(builtin[i]));
}

void http_origins_release(struct http_origins *o)
{
	for (size_t i = 0; i < o->n; i++)
		mem_free(o->patterns[i]);
	mem_free(o->patterns);
	*o = (struct http_origins){0};
}

static bool wildcard_match(const char *pattern, const char *s)
{
	const char *star = strchr(pattern, '*');
	if (!star)
		return !strcasecmp(pattern, s);
	size_t n = strlen(s), n_head = (size_t)(star - pattern), n_tail = strlen(star + 1);
	return n >= n_head + n_tail && !strncasecmp(pattern, s, n_head) && !strcasecmp(star + 1, s + n - n_tail);
}

enum http_cors http_cors_check(const struct http_origins *o, const char *origin, const char *host)
{
	if (!origin || !*origin)
		return HTTP_CORS_NONE;
	if ((starts_with(origin, "http://") && !strcmp(origin + 7, host)) ||
	    (starts_with(origin, "https://") && !strcmp(origin + 8, host)))
		return HTTP_CORS_NONE;
	if (o->all)
		return HTTP_CORS_ALLOW;
	for (size_t i = 0; i < o->n; i++)
		if (wildcard_match(o->patterns[i], origin))
			return HTTP_CORS_ALLOW;
	return HTTP_CORS_DENY;
}
