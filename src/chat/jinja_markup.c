/* Filters for HTML and URLs, and pprint. Chat templates hardly use them; they are here because Jinja2 has them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/bug.h"
#include "base/utf8.h"
#include "chat/jinja_str.h"

/* ---- striptags ---- */

/* Removes every part that begins with open and ends with close. */
static bool cut_between(struct jrun *r, const struct jstr *s, const char *open, const char *close, struct jval *ret)
{
	struct jb b;
	size_t at = 0;
	jb_init(&b, r);
	for (;;) {
		const char *from = memmem(s->p + at, s->n - at, open, strlen(open));
		const char *to = from ? memmem(from, (size_t)(s->p + s->n - from), close, strlen(close)) : NULL;
		if (!to)
			break;
		if (!jb_add(&b, s->p + at, (size_t)(from - s->p) - at))
			return false;
		at = (size_t)(to - s->p) + strlen(close);
	}
	return jb_add(&b, s->p + at, s->n - at) && jb_take(&b, ret);
}

/* Adds the character of the entity at p ("&...;"); *ret_n is its length, 0 when it is none. */
static bool unescape_one(struct jb *b, const char *p, size_t n, size_t *ret_n)
{
	static const struct {
		const char *name;
		uint32_t cp;
	} names[] = {{"amp;", '&'}, {"lt;", '<'}, {"gt;", '>'}, {"quot;", '"'}, {"apos;", '\''}, {"nbsp;", 0xA0}, {"copy;", 0xA9},
		     {"raquo;", 0xBB}, {"laquo;", 0xAB}, {"hellip;", 0x2026}, {"mdash;", 0x2014}, {"ndash;", 0x2013}};
	char text[16];
	*ret_n = 0;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		size_t len = strlen(names[i].name);
		if (n > len && memcmp(p + 1, names[i].name, len) == 0) {
			*ret_n = len + 1;
			return jb_add_cp(b, names[i].cp);
		}
	}
	size_t len = n < sizeof text - 1 ? n : sizeof text - 1;
	memcpy(text, p, len);
	text[len] = '\0';
	if (len < 4 || text[1] != '#')
		return true;
	bool hex = text[2] == 'x' || text[2] == 'X';
	char *end;
	unsigned long cp = strtoul(text + 2 + hex, &end, hex ? 16 : 10);
	if (*end != ';' || end == text + 2 + hex || text[2] == '-' || text[2] == '+' || text[2] == ' ')
		return true;
	*ret_n = (size_t)(end - text) + 1;
	return jb_add_cp(b, cp ? (uint32_t)cp : UTF8_REPLACEMENT);
}

bool jinja_striptags(struct jrun *r, struct jargs *a, struct jval *ret)
{
	struct jval s, words;
	struct jb b;
	jb_init(&b, r);
	if (!jp_to_str(r, &a->v[0], &s) || !cut_between(r, s.s, "<!--", "-->", &s) || !cut_between(r, s.s, "<", ">", &s) ||
	    !jstr_split(r, &s, NULL, -1, false, &words))
		return false;
	for (size_t i = 0; i < words.list->n; i++) {
		const struct jstr *w = words.list->v[i].s;
		if (i && !jb_addc(&b, ' '))
			return false;
		for (size_t k = 0, n; k < w->n; k += n ? n : 1) {
			n = 0;
			if (w->p[k] == '&' && !unescape_one(&b, w->p + k, w->n - k, &n))
				return false;
			if (!n && !jb_addc(&b, w->p[k]))
				return false;
		}
	}
	return jb_take(&b, ret);
}

/* ---- urlencode, xmlattr ---- */

static bool quote_url(struct jb *b, const struct jval *v, bool query)
{
	struct jval s;
	if (!jp_to_str(b->r, v, &s))
		return false;
	for (size_t i = 0; i < s.s->n; i++) {
		unsigned char c = (unsigned char)s.s->p[i];
		bool plain = (c < 0x80 && jcase_word(c)) || (c && strchr("-.~", c)) || (!query && c == '/');
		bool ok = plain ? jb_addc(b, (char)c) : query && c == ' ' ? jb_addc(b, '+') : jb_printf(b, "%%%02X", c);
		if (!ok)
			return false;
	}
	return true;
}

bool jinja_urlencode(struct jrun *r, struct jargs *a, struct jval *ret)
{
	struct jval v = a->v[0], pair, two;
	struct jiter it;
	struct jb b;
	bool first = true;
	int got;
	jb_init(&b, r);
	if (v.kind == J_STR || !ji_can(&v))
		return quote_url(&b, &v, false) && jb_take(&b, ret);
	if (v.kind == J_DICT) {
		v.kind = J_VIEW;
		v.of = JVIEW_ITEMS;
	}
	if (!ji_open(r, &v, &it))
		return false;
	while ((got = ji_next(r, &it, &pair))) {
		if (got < 0 || !ji_list(r, &pair, &two))
			return false;
		if (two.list->n != 2)
			return jr_fail(r, "urlencode needs pairs");
		if ((!first && !jb_addc(&b, '&')) || !quote_url(&b, &two.list->v[0], true) || !jb_addc(&b, '=') ||
		    !quote_url(&b, &two.list->v[1], true))
			return false;
		first = false;
	}
	return jb_take(&b, ret);
}

bool jinja_xmlattr(struct jrun *r, struct jargs *a, struct jval *ret)
{
	struct jb b;
	jb_init(&b, r);
	if (a->v[0].kind == J_UNDEF)
		return jr_fail_undef(r, &a->v[0]);
	if (a->v[0].kind != J_DICT)
		return jr_fail(r, "'%s' object has no attribute 'items'", jv_type(&a->v[0]));
	const struct jdict *d = a->v[0].dict;
	bool space = ja_bool(&a->v[1], true);
	for (size_t i = 0; i < d->n; i++) {
		struct jval key, val;
		if (d->e[i].val.kind == J_NONE || d->e[i].val.kind == J_UNDEF)
			continue;
		if (d->e[i].key.kind != J_STR)
			return jr_fail(r, "attribute names must be strings");
		for (size_t k = 0; k < d->e[i].key.s->n; k++)
			if (strchr(" \t\n\r\f\v/>=", d->e[i].key.s->p[k]))
				return jr_fail(r, "invalid character in an attribute name");
		if (!jp_escape(r, &d->e[i].key, &key) || !jp_escape(r, &d->e[i].val, &val))
			return false;
		if (((b.n || space) && !jb_addc(&b, ' ')) || !jp_str(&b, &key) || !jb_adds(&b, "=\"") || !jp_str(&b, &val) ||
		    !jb_addc(&b, '"'))
			return false;
	}
	if (!jb_take(&b, ret))
		return false;
	ret->safe = r->autoescape;
	return true;
}

/* ---- urlize: words that begin with http://, https:// or www. ---- */

static bool is_url(const char *p, size_t n, bool *has_scheme)
{
	static const char *const starts[] = {"http://", "https://", "www."};
	for (size_t i = 0; i < ARRAY_LEN(starts); i++) {
		size_t len = strlen(starts[i]);
		if (n > len && strncasecmp(p, starts[i], len) == 0) {
			*has_scheme = i < 2;
			return memchr(p + len, '.', n - len) != NULL;
		}
	}
	return false;
}

struct link {
	struct jval limit, target, rel;
	bool nofollow;
};

static bool link_attr(struct jb *b, const char *name, const struct jval *v, const char *more)
{
	struct jval s = {0};
	bool given = v->kind != J_MISSING && v->kind != J_NONE;
	if (!given && !more)
		return true;
	if (given && !jp_escape(b->r, v, &s))
		return false;
	return jb_addc(b, ' ') && jb_adds(b, name) && jb_adds(b, "=\"") && (!more || jb_adds(b, more)) &&
	       (!given || ((!more || jb_addc(b, ' ')) && jp_str(b, &s))) && jb_addc(b, '"');
}

static bool add_link(struct jb *b, const char *p, size_t n, bool has_scheme, const struct link *how)
{
	int64_t limit;
	struct jval text, part[3] = {0}, shown;
	if (!ja_int(b->r, &how->limit, INT64_MAX, &limit) || !jv_str_ref(b->r, p, n, &text))
		return false;
	bool cut = (int64_t)jv_str_len(text.s) > limit;
	part[1] = jv_int(limit);
	if (!jb_adds(b, "<a href=\"") || (!has_scheme && !jb_adds(b, "https://")) || !jb_add(b, p, n) || !jb_addc(b, '"') ||
	    !link_attr(b, "rel", &how->rel, how->nofollow ? "nofollow noopener" : "noopener") ||
	    !link_attr(b, "target", &how->target, NULL) || !jb_addc(b, '>'))
		return false;
	if (!jo_slice(b->r, &text, part, &shown) || !jp_str(b, &shown))
		return false;
	return (!cut || jb_adds(b, "...")) && jb_adds(b, "</a>");
}

bool jinja_urlize(struct jrun *r, struct jargs *a, struct jval *ret)
{
	struct link how = {.limit = a->v[1], .target = a->v[3], .rel = a->v[4], .nofollow = ja_bool(&a->v[2], false)};
	struct jval s;
	struct jb b;
	jb_init(&b, r);
	if (how.limit.kind == J_NONE)
		how.limit.kind = J_MISSING;
	if (!jp_escape(r, &a->v[0], &s))
		return false;
	const char *p = s.s->p;
	for (size_t i = 0; i < s.s->n;) {
		size_t end = i;
		bool scheme;
		while (end < s.s->n && !strchr(" \t\n\r\f\v", p[end]))
			end++;
		while (i < end && (p[i] == '(' || p[i] == '['))
			if (!jb_addc(&b, p[i++]))
				return false;
		size_t stop = end;
		while (stop > i && strchr(").,", p[stop - 1]))
			stop--;
		bool link = is_url(p + i, stop - i, &scheme);
		bool ok = link ? add_link(&b, p + i, stop - i, scheme, &how) : jb_add(&b, p + i, stop - i);
		if (!ok || !jb_add(&b, p + stop, end - stop) || (end < s.s->n && !jb_addc(&b, p[end])))
			return false;
		i = end + 1;
	}
	return jb_take(&b, ret);
}

/* ---- pprint ---- */

enum { PPRINT_WIDTH = 80 };

/* The value with the keys of dicts in order, as pprint shows them. */
static bool sorted_copy(struct jrun *r, const struct jval *v, struct jval *ret)
{
	struct jval items, item;
	*ret = *v;
	if (v->kind != J_DICT && v->kind != J_LIST && v->kind != J_TUPLE)
		return true;
	if (!jr_enter(r))
		return false;
	if (v->kind == J_DICT) {
		const struct jval sensitive = jv_bool(true);
		const struct jcall args = {.args = &sensitive, .n_args = 1};
		if (!jv_dict(r, ret) || !jr_call_builtin(r, jinja_find_filter("dictsort", 8), *v, &args, &items))
			return false;
		for (size_t i = 0; i < items.list->n; i++) {
			const struct jval *pair = items.list->v[i].list->v;
			if (!sorted_copy(r, &pair[1], &item) || !jv_dict_put(r, ret->dict, pair[0], item))
				return false;
		}
	} else {
		if (!jv_list(r, v->kind, v->list->n, ret))
			return false;
		for (size_t i = 0; i < v->list->n; i++)
			if (!sorted_copy(r, &v->list->v[i], &item) || !jv_push(r, ret->list, item))
				return false;
	}
	jr_leave(r);
	return true;
}

static bool pprint_in(struct jb *b, const struct jval *v, size_t indent, size_t after);

/* Items one a line, under each other. */
static bool pprint_items(struct jb *b, const struct jval *v, size_t indent, size_t after)
{
	bool dict = v->kind == J_DICT;
	size_t n = dict ? v->dict->n : v->list->n;
	struct jval key;
	for (size_t i = 0; i < n; i++) {
		size_t shift = indent + 1, rest = i + 1 < n ? 1 : after + 1;
		if (i && (!jb_adds(b, ",\n") || !jb_pad(b, " ", 1, indent + 1)))
			return false;
		if (dict) {
			struct jb kb;
			jb_init(&kb, b->r);
			if (!jp_repr(&kb, &v->dict->e[i].key) || !jb_adds(&kb, ": ") || !jb_take(&kb, &key) || !jp_str(b, &key))
				return false;
			shift += jv_str_len(key.s);
		}
		if (!pprint_in(b, dict ? &v->dict->e[i].val : &v->list->v[i], shift, rest))
			return false;
	}
	return true;
}

static bool pprint_in(struct jb *b, const struct jval *v, size_t indent, size_t after)
{
	static const struct {
		char open, close;
	} marks[J_N_KIND] = {[J_DICT] = {'{', '}'}, [J_LIST] = {'[', ']'}, [J_TUPLE] = {'(', ')'}};
	struct jb line;
	struct jval text;
	jb_init(&line, b->r);
	if (!jp_repr(&line, v) || !jb_take(&line, &text))
		return false;
	if (!marks[v->kind].open || indent + after + jv_str_len(text.s) <= PPRINT_WIDTH)
		return jp_str(b, &text);
	if (!jr_enter(b->r) || !jb_addc(b, marks[v->kind].open) || !pprint_items(b, v, indent, after) ||
	    !jb_addc(b, marks[v->kind].close))
		return false;
	jr_leave(b->r);
	return true;
}

bool jinja_pprint(struct jrun *r, struct jargs *a, struct jval *ret)
{
	struct jval v;
	struct jb b;
	jb_init(&b, r);
	return sorted_copy(r, &a->v[0], &v) && pprint_in(&b, &v, 0, 0) && jb_take(&b, ret);
}
