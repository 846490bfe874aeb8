#include "store/store_name.h"

#include <string.h>
#include <strings.h>

#define HOST_DEFAULT "registry.ollama.ai"
#define NS_DEFAULT "library"
#define TAG_DEFAULT "latest"

/* Which characters a part may hold besides letters, digits, '_' and '-', and how long it may be. */
struct part_rule {
	const char *extra;
	size_t len_max;
};
static const struct part_rule host_rule = {".:", 350}, ns_rule = {"", 80}, model_rule = {".", 80}, tag_rule = {".", 80};

static bool is_word(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* Copies a part after checking it. The first character is never a dot, so no part can be "." or "..". */
static bool take_part(const char *s, size_t n, const struct part_rule *rule, char *out)
{
	if (n == 0 || n > rule->len_max || !is_word(s[0]))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!is_word(s[i]) && s[i] != '-' && !(s[i] && strchr(rule->extra, s[i])))
			return false;
	memcpy(out, s, n);
	out[n] = '\0';
	return true;
}

static const char *last_of(const char *s, size_t n, char c)
{
	while (n--)
		if (s[n] == c)
			return s + n;
	return NULL;
}

static bool is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

bool store_name_parse(const char *text, struct store_name *ret)
{
	size_t n = strlen(text);
	const char *s = text, *p;
	while (n && is_space(s[0])) {
		s++;
		n--;
	}
	while (n && is_space(s[n - 1]))
		n--;
	memset(ret, 0, sizeof *ret);
	strcpy(ret->host, HOST_DEFAULT);
	strcpy(ret->ns, NS_DEFAULT);
	strcpy(ret->tag, TAG_DEFAULT);
	const char *colon = last_of(s, n, ':'), *slash = last_of(s, n, '/');
	if (colon && (!slash || colon > slash)) {
		if (!take_part(colon + 1, n - (size_t)(colon + 1 - s), &tag_rule, ret->tag))
			return false;
		n = (size_t)(colon - s);
	}
	p = last_of(s, n, '/');
	if (!p)
		return take_part(s, n, &model_rule, ret->model);
	if (!take_part(p + 1, n - (size_t)(p + 1 - s), &model_rule, ret->model))
		return false;
	n = (size_t)(p - s);
	p = last_of(s, n, '/');
	if (!p)
		return take_part(s, n, &ns_rule, ret->ns);
	if (!take_part(p + 1, n - (size_t)(p + 1 - s), &ns_rule, ret->ns))
		return false;
	n = (size_t)(p - s);
	size_t skip = n > 7 && !strncasecmp(s, "http://", 7) ? 7 : n > 8 && !strncasecmp(s, "https://", 8) ? 8 : 0;
	return take_part(s + skip, n - skip, &host_rule, ret->host);
}

void store_name_short(const struct store_name *n, struct str *out)
{
	bool host = strcasecmp(n->host, HOST_DEFAULT) != 0;
	if (host)
		str_printf(out, "%s/", n->host);
	if (host || strcasecmp(n->ns, NS_DEFAULT))
		str_printf(out, "%s/", n->ns);
	str_printf(out, "%s:%s", n->model, n->tag);
}

void store_name_full(const struct store_name *n, struct str *out)
{
	str_printf(out, "%s/%s/%s:%s", n->host, n->ns, n->model, n->tag);
}

bool store_name_equal(const struct store_name *a, const struct store_name *b)
{
	return !strcasecmp(a->host, b->host) && !strcasecmp(a->ns, b->ns) && !strcasecmp(a->model, b->model) &&
	       !strcasecmp(a->tag, b->tag);
}
