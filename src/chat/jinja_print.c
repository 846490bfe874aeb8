/* Values as text: Python's str and repr, JSON as json.dumps writes it, HTML escapes. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "chat/jinja_run.h"

/* ---- building text ---- */

void jb_init(struct jb *b, struct jrun *r)
{
	*b = (struct jb){.r = r};
}

static bool jb_grow(struct jb *b, size_t n)
{
	size_t cap = b->cap * 2 + 64, need;
	if (!size_add(b->n, n, &need))
		return jr_limit(b->r, "a string is too long");
	if (cap < need)
		cap = need;
	char *p = jr_alloc(b->r, cap);
	if (!p)
		return false;
	if (b->n)
		memcpy(p, b->p, b->n);
	b->p = p;
	b->cap = cap;
	return true;
}

bool jb_add(struct jb *b, const char *p, size_t n)
{
	struct jrun *r = b->r;
	if (b->ext) {
		if (n > r->lim.output_bytes || b->ext->len - b->ext_base > r->lim.output_bytes - n)
			return jr_limit(r, "the prompt is longer than %zu bytes", r->lim.output_bytes);
		str_add(b->ext, p, n);
		return jr_charge(r, n);
	}
	if (b->cap - b->n < n && !jb_grow(b, n))
		return false;
	if (n)
		memcpy(b->p + b->n, p, n);
	b->n += n;
	return jr_charge(r, n);
}

bool jb_adds(struct jb *b, const char *z)
{
	return jb_add(b, z, strlen(z));
}

bool jb_addc(struct jb *b, char c)
{
	return jb_add(b, &c, 1);
}

bool jb_add_cp(struct jb *b, uint32_t cp)
{
	char out[4];
	return jb_add(b, out, utf8_encode(cp, out));
}

bool jb_pad(struct jb *b, const char *fill, size_t n_fill, size_t times)
{
	size_t n;
	if (!size_mul(n_fill, times, &n))
		return jr_limit(b->r, "a string is too long");
	if (!b->ext && n && b->cap - b->n < n && !jb_grow(b, n))
		return false; /* refuses absurd widths before any work */
	for (size_t i = 0; n && i < times; i++)
		if (!jb_add(b, fill, n_fill))
			return false;
	return true;
}

bool jb_printf(struct jb *b, const char *fmt, ...)
{
	enum { COST = 4 }; /* steps: formatting takes longer than copying */
	char text[400];
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	b->r->steps += COST;
	return jb_add(b, text, n < (int)sizeof text ? (size_t)n : sizeof text - 1);
}

bool jb_take(struct jb *b, struct jval *ret)
{
	return jv_str_ref(b->r, b->n ? b->p : "", b->n, ret);
}

/* ---- repr ---- */

void jp_float(double f, char out[40])
{
	char digits[40];
	if (!isfinite(f)) {
		snprintf(out, 40, "%s", isnan(f) ? "nan" : f > 0 ? "inf" : "-inf");
		return;
	}
	/* the shortest digits that read back as f */
	for (int p = 0; p <= 17; p++) {
		snprintf(digits, sizeof digits, "%.*e", p, f);
		if (strtod(digits, NULL) == f)
			break;
	}
	const char *e = strchr(digits, 'e');
	int exp = atoi(e + 1), n_digit = 0, point, k = 0;
	char mant[24];
	for (const char *c = digits; c < e; c++)
		if (*c >= '0' && *c <= '9')
			mant[n_digit++] = *c;
	bool scientific = exp < -4 || exp >= 16;
	point = scientific ? 1 : exp + 1; /* digits before the point */
	if (digits[0] == '-')
		out[k++] = '-';
	if (point <= 0)
		out[k++] = '0';
	for (int i = point < 0 ? point : 0; i < n_digit || i < point + !scientific; i++) {
		if (i == point)
			out[k++] = '.';
		out[k++] = i >= 0 && i < n_digit ? mant[i] : '0';
	}
	out[k] = '\0';
	if (scientific)
		snprintf(out + k, (size_t)(40 - k), "e%c%02d", exp < 0 ? '-' : '+', abs(exp));
}

static bool repr_char(struct jb *b, uint32_t cp, const char *p, size_t n, char quote, bool bytes)
{
	switch (cp) {
	case '\n': return jb_adds(b, "\\n");
	case '\r': return jb_adds(b, "\\r");
	case '\t': return jb_adds(b, "\\t");
	case '\\': return jb_adds(b, "\\\\");
	default: break;
	}
	if (cp == (unsigned char)quote)
		return jb_addc(b, '\\') && jb_addc(b, quote);
	if (bytes ? cp >= ' ' && cp < 0x7F : jcase_is(cp, JCLASS_PRINTABLE))
		return jb_add(b, p, n);
	return jb_printf(b, cp < 0x100 ? "\\x%02x" : cp < 0x10000 ? "\\u%04x" : "\\U%08x", (unsigned)cp);
}

static bool repr_str(struct jb *b, const struct jstr *s, bool bytes)
{
	char quote = memchr(s->p, '\'', s->n) && !memchr(s->p, '"', s->n) ? '"' : '\'';
	if ((bytes && !jb_addc(b, 'b')) || !jb_addc(b, quote))
		return false;
	for (size_t i = 0; i < s->n;) {
		uint32_t cp = (unsigned char)s->p[i];
		size_t n = bytes ? 1 : utf8_next(s->p + i, s->n - i, &cp);
		if (!repr_char(b, cp, s->p + i, n, quote, bytes))
			return false;
		i += n;
	}
	return jb_addc(b, quote);
}

/* Containers being printed, to find one inside itself. */
struct around {
	const void *p;
	const struct around *up;
};

static bool repr_in(struct jb *b, const struct jval *v, const struct around *up);

static bool repr_items(struct jb *b, const struct jval *v, const struct around *up)
{
	struct jiter it;
	struct jval item;
	int got;
	bool first = true;
	if (!ji_open(b->r, v, &it))
		return false;
	while ((got = ji_next(b->r, &it, &item))) {
		if (got < 0 || (!first && !jb_adds(b, ", ")) || !repr_in(b, &item, up))
			return false;
		first = false;
	}
	return true;
}

static bool repr_dict(struct jb *b, const struct jdict *d, const struct around *up)
{
	if (!jb_addc(b, '{'))
		return false;
	for (size_t i = 0; i < d->n; i++)
		if ((i && !jb_adds(b, ", ")) || !repr_in(b, &d->e[i].key, up) || !jb_adds(b, ": ") ||
		    !repr_in(b, &d->e[i].val, up))
			return false;
	return jb_addc(b, '}');
}

static bool repr_range(struct jb *b, const struct jrange *g)
{
	if (g->step == 1)
		return jb_printf(b, "range(%lld, %lld)", (long long)g->start, (long long)g->stop);
	return jb_printf(b, "range(%lld, %lld, %lld)", (long long)g->start, (long long)g->stop, (long long)g->step);
}

static bool repr_container(struct jb *b, const struct jval *v, const struct around *up)
{
	struct around here = {.p = v->list, .up = up};
	for (const struct around *a = up; a; a = a->up)
		if (a->p == here.p && v->kind != J_VIEW)
			return jb_adds(b, v->kind == J_LIST ? "[...]" : v->kind == J_TUPLE ? "(...)" : "{...}");
	switch (v->kind) {
	case J_LIST: return jb_addc(b, '[') && repr_items(b, v, &here) && jb_addc(b, ']');
	case J_TUPLE:
		return jb_addc(b, '(') && repr_items(b, v, &here) && jb_adds(b, v->list->n == 1 ? ",)" : ")");
	case J_VIEW: return jb_adds(b, jv_type(v)) && jb_adds(b, "([") && repr_items(b, v, &here) && jb_adds(b, "])");
	case J_NS: return jb_adds(b, "<Namespace ") && repr_dict(b, v->dict, &here) && jb_addc(b, '>');
	default: return repr_dict(b, v->dict, &here);
	}
}

static bool repr_loop(struct jb *b, struct jloop *l)
{
	static const struct jstr index_name = {.p = "index", .n = 5};
	int64_t n;
	struct jval index;
	return jx_loop_len(b->r, l, &n) && jx_loop_attr(b->r, l, &index_name, &index) &&
	       jb_printf(b, "<LoopContext %lld/%lld>", (long long)index.i, (long long)n);
}

static bool repr_in(struct jb *b, const struct jval *v, const struct around *up)
{
	char text[40];
	bool ok;
	switch (v->kind) {
	case J_UNDEF: return jb_adds(b, "Undefined");
	case J_NONE: return jb_adds(b, "None");
	case J_BOOL: return jb_adds(b, v->b ? "True" : "False");
	case J_INT: return jb_printf(b, "%lld", (long long)v->i);
	case J_BIG: {
		char *digits = jbig_text(b->r, v, 10);
		return digits && jb_adds(b, digits);
	}
	case J_FLOAT:
		b->r->steps += 8; /* finding the shortest digits takes a while */
		jp_float(v->f, text);
		return jb_adds(b, text);
	case J_STR:
		if (v->safe)
			return jb_adds(b, "Markup(") && repr_str(b, v->s, false) && jb_addc(b, ')');
		return repr_str(b, v->s, false);
	case J_BYTES: return repr_str(b, v->s, true);
	case J_LIST:
	case J_TUPLE:
	case J_DICT:
	case J_VIEW:
	case J_NS:
		if (!jr_enter(b->r))
			return false;
		ok = repr_container(b, v, up);
		jr_leave(b->r);
		return ok;
	case J_RANGE: return repr_range(b, v->range);
	case J_LOOP: return repr_loop(b, v->loop);
	case J_FUNC: return jb_printf(b, "<function %s>", v->func->fn->name);
	case J_MACRO:
		if (!v->macro->name)
			return jb_adds(b, "<Macro anonymous>");
		return jb_adds(b, "<Macro ") && repr_str(b, v->macro->name, false) && jb_addc(b, '>');
	case J_ITER: return jb_printf(b, "<%s object>", v->iter->type);
	default: return jb_printf(b, "<%s>", jv_type(v));
	}
}

bool jp_repr(struct jb *b, const struct jval *v)
{
	return repr_in(b, v, NULL);
}

bool jp_str(struct jb *b, const struct jval *v)
{
	if (v->kind == J_STR)
		return jb_add(b, v->s->p, v->s->n);
	return v->kind == J_UNDEF ? true : jp_repr(b, v);
}

bool jp_to_str(struct jrun *r, const struct jval *v, struct jval *ret)
{
	struct jb b;
	if (v->kind == J_STR) {
		*ret = *v;
		return true;
	}
	jb_init(&b, r);
	return jp_str(&b, v) && jb_take(&b, ret);
}

/* ---- HTML ---- */

static bool escape_to(struct jb *b, const struct jstr *s)
{
	static const char from[] = "&<>'\"";
	static const char *const to[] = {"&amp;", "&lt;", "&gt;", "&#39;", "&#34;"};
	size_t start = 0;
	for (size_t i = 0; i < s->n; i++) {
		const char *c = s->p[i] ? strchr(from, s->p[i]) : NULL;
		if (!c)
			continue;
		if (!jb_add(b, s->p + start, i - start) || !jb_adds(b, to[c - from]))
			return false;
		start = i + 1;
	}
	return jb_add(b, s->p + start, s->n - start);
}

bool jp_escape(struct jrun *r, const struct jval *v, struct jval *ret)
{
	struct jb b;
	struct jval s;
	if (v->kind == J_STR && v->safe) {
		*ret = *v;
		return true;
	}
	jb_init(&b, r);
	if (!jp_to_str(r, v, &s) || !escape_to(&b, s.s) || !jb_take(&b, ret))
		return false;
	ret->safe = true;
	return true;
}

/* ---- JSON ---- */

static bool json_char(struct jb *b, uint32_t cp, const char *p, size_t n, bool ascii)
{
	static const char from[] = "\"\\\n\r\t\b\f", to[] = "\"\\nrtbf";
	const char *c = cp && cp < 0x80 ? strchr(from, (int)cp) : NULL;
	if (c)
		return jb_addc(b, '\\') && jb_addc(b, to[c - from]);
	if (cp < 0x20 || (ascii && cp >= 0x7F && cp < 0x10000))
		return jb_printf(b, "\\u%04x", (unsigned)cp);
	if (ascii && cp >= 0x10000)
		return jb_printf(b, "\\u%04x\\u%04x", (unsigned)(0xD800 + ((cp - 0x10000) >> 10)),
				 (unsigned)(0xDC00 + ((cp - 0x10000) & 0x3FF)));
	return jb_add(b, p, n);
}

static bool json_str(struct jb *b, const struct jstr *s, const struct jjson *o)
{
	if (!jb_addc(b, '"'))
		return false;
	for (size_t i = 0; i < s->n;) {
		uint32_t cp;
		size_t n = utf8_next(s->p + i, s->n - i, &cp);
		if (!json_char(b, cp, s->p + i, n, o->ascii))
			return false;
		i += n;
	}
	return jb_addc(b, '"');
}

static bool json_break(struct jb *b, const struct jjson *o, int depth)
{
	return !o->indent || (jb_addc(b, '\n') && jb_pad(b, o->indent, o->n_indent, (size_t)depth));
}

static bool json_in(struct jb *b, const struct jval *v, const struct jjson *o, int depth);

static bool json_number(struct jb *b, const struct jval *v)
{
	if (v->kind == J_FLOAT && !isfinite(v->f))
		return jb_adds(b, isnan(v->f) ? "NaN" : v->f > 0 ? "Infinity" : "-Infinity");
	return jp_repr(b, v);
}

static bool json_list(struct jb *b, const struct jval *v, const struct jjson *o, int depth)
{
	struct jiter it;
	struct jval item;
	bool first = true;
	int got;
	if (!ji_open(b->r, v, &it) || !jb_addc(b, '['))
		return false;
	while ((got = ji_next(b->r, &it, &item))) {
		if (got < 0 || (!first && !jb_add(b, o->item_sep, o->n_item_sep)) || !json_break(b, o, depth + 1) ||
		    !json_in(b, &item, o, depth + 1))
			return false;
		first = false;
	}
	return (first || json_break(b, o, depth)) && jb_addc(b, ']');
}

static bool json_key(struct jb *b, const struct jval *k, const struct jjson *o)
{
	switch (k->kind) {
	case J_STR: return json_str(b, k->s, o);
	case J_NONE: return jb_adds(b, "\"null\"");
	case J_BOOL: return jb_adds(b, k->b ? "\"true\"" : "\"false\"");
	case J_INT:
	case J_BIG:
	case J_FLOAT: return jb_addc(b, '"') && json_number(b, k) && jb_addc(b, '"');
	default: return jr_fail(b->r, "keys must be str, int, float, bool or None, not %s", jv_type(k));
	}
}

/* The order of a dict's entries by key: insertion sort is enough for the few keys that such dicts have; its cost counts. */
static bool sorted_order(struct jrun *r, const struct jdict *d, size_t *order)
{
	for (size_t i = 0; i < d->n; i++) {
		size_t k = i;
		for (; k > 0; k--) {
			int c;
			if (!jr_step(r) || !jv_cmp(r, &d->e[i].key, &d->e[order[k - 1]].key, "<", &c))
				return false;
			if (c >= 0)
				break;
			order[k] = order[k - 1];
		}
		order[k] = i;
	}
	return true;
}

static bool json_dict(struct jb *b, const struct jdict *d, const struct jjson *o, int depth)
{
	size_t *order = NULL;
	if (o->sort && d->n && (!(order = jr_alloc_n(b->r, d->n, sizeof *order)) || !sorted_order(b->r, d, order)))
		return false;
	if (!jb_addc(b, '{'))
		return false;
	for (size_t i = 0; i < d->n; i++) {
		const struct jentry *e = &d->e[order ? order[i] : i];
		if ((i && !jb_add(b, o->item_sep, o->n_item_sep)) || !json_break(b, o, depth + 1) || !json_key(b, &e->key, o) ||
		    !jb_add(b, o->key_sep, o->n_key_sep) || !json_in(b, &e->val, o, depth + 1))
			return false;
	}
	return (!d->n || json_break(b, o, depth)) && jb_addc(b, '}');
}

static bool json_in(struct jb *b, const struct jval *v, const struct jjson *o, int depth)
{
	bool ok;
	switch (v->kind) {
	case J_NONE: return jb_adds(b, "null");
	case J_BOOL: return jb_adds(b, v->b ? "true" : "false");
	case J_INT:
	case J_BIG:
	case J_FLOAT: return json_number(b, v);
	case J_STR: return json_str(b, v->s, o);
	case J_LIST:
	case J_TUPLE:
	case J_ITER:
	case J_DICT:
		/* generators are taken as lists: templates made for other engines rely on it */
		if (v->kind == J_ITER && !ji_is_generator(v))
			break;
		if (!jr_enter(b->r))
			return false;
		ok = v->kind == J_DICT ? json_dict(b, v->dict, o, depth) : json_list(b, v, o, depth);
		jr_leave(b->r);
		return ok;
	default: break;
	}
	return jr_fail(b->r, "Object of type %s is not JSON serializable", jv_type(v));
}

bool jp_json(struct jb *b, const struct jval *v, const struct jjson *o)
{
	return json_in(b, v, o, 0);
}
