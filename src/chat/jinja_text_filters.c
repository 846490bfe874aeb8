/* Filters over texts and numbers. */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"
#include "base/json.h"
#include "base/utf8.h"
#include "chat/jinja_str.h"

static bool f_abs(struct jrun *r, struct jargs *a, struct jval *ret)
{
	const struct jval *v = &a->v[0];
	if (v->kind == J_FLOAT)
		*ret = jv_float(fabs(v->f));
	else if (jv_is_int(v) || v->kind == J_BIG)
		return jo_negate(r, v, jbig_sign(v) < 0, ret);
	else
		return v->kind == J_UNDEF ? jr_fail_undef(r, v) : jr_fail(r, "bad operand type for abs(): '%s'", jv_type(v));
	return true;
}

static bool f_attr(struct jrun *r, struct jargs *a, struct jval *ret)
{
	struct jstr *name;
	if (!ja_str(r, &a->v[1], &name) || !jo_attr_only(r, &a->v[0], name, ret))
		return false;
	if (ret->kind == J_MISSING)
		*ret = jv_undef(name, a->v[0].kind);
	return true;
}

/* upper, lower, capitalize: of any value's text */
static bool f_case(struct jrun *r, struct jargs *a, struct jval *ret)
{
	enum jcase how = a->fn->name[0] == 'u' ? JCASE_UPPER : a->fn->name[0] == 'l' ? JCASE_LOWER : JCASE_CAPITALIZE;
	struct jval s;
	if (!jp_to_str(r, &a->v[0], &s) || !jcase_map(r, s.s, how, ret))
		return false;
	ret->safe = s.safe;
	return true;
}

static bool is_word_break(uint32_t cp)
{
	return jcase_is_space(cp) || cp == '-' || cp == '(' || cp == '{' || cp == '[' || cp == '<';
}

/* Jinja2's title: words begin after blanks, hyphens and opening brackets; apostrophes do not count. */
static bool f_title(struct jrun *r, struct jargs *a, struct jval *ret)
{
	struct jval s, part, done;
	struct jb b;
	uint32_t cp;
	jb_init(&b, r);
	if (!jp_to_str(r, &a->v[0], &s))
		return false;
	for (size_t i = 0; i < s.s->n;) {
		size_t first = utf8_next(s.s->p + i, s.s->n - i, &cp), end = i + first;
		if (is_word_break(cp)) {
			if (!jb_add(&b, s.s->p + i, first))
				return false;
			i = end;
			continue;
		}
		if (!jv_str_part(r, s.s, i, first, &part) || !jcase_map(r, part.s, JCASE_UPPER, &done) || !jp_str(&b, &done))
			return false;
		i = end;
		while (end < s.s->n) {
			size_t n = utf8_next(s.s->p + end, s.s->n - end, &cp);
			if (is_word_break(cp))
				break;
			end += n;
		}
		if (!jv_str_part(r, s.s, i, end - i, &part) || !jcase_map(r, part.s, JCASE_LOWER, &done) || !jp_str(&b, &done))
			return false;
		i = end;
	}
	return jb_take(&b, ret);
}

static bool f_center(struct jrun *r, struct jargs *a, struct jval *ret)
{
	const struct jstr blank = {.p = " ", .n = 1, .n_cp = 1};
	struct jval s;
	size_t width;
	return jp_to_str(r, &a->v[0], &s) && ja_size(r, &a->v[1], 80, &width) && jstr_center(r, s.s, width, &blank, ret);
}

static bool f_default(struct jrun *r, struct jargs *a, struct jval *ret)
{
	bool boolean = ja_bool(&a->v[2], false);
	if (a->v[0].kind != J_UNDEF && !(boolean && !jv_truth(&a->v[0])))
		*ret = a->v[0];
	else if (a->v[1].kind != J_MISSING)
		*ret = a->v[1];
	else
		return jv_strz(r, "", ret);
	return true;
}

static bool f_escape(struct jrun *r, struct jargs *a, struct jval *ret)
{
	struct jval v = a->v[0];
	if (a->fn->name[0] == 'f')
		v.safe = v.kind == J_STR ? 0 : v.safe; /* forceescape */
	return jp_escape(r, &v, ret);
}

static bool f_safe(struct jrun *r, struct jargs *a, struct jval *ret)
{
	if (!jp_to_str(r, &a->v[0], ret))
		return false;
	ret->safe = true;
	return true;
}

static bool f_string(struct jrun *r, struct jargs *a, struct jval *ret)
{
	return jp_to_str(r, &a->v[0], ret);
}

static bool f_format(struct jrun *r, struct jargs *a, struct jval *ret)
{
	const struct jcall *c = a->call;
	struct jval fmt, args;
	if (c->n_args && c->n_kw)
		return jr_fail(r, "format takes positional or keyword arguments, not both");
	if (!jp_to_str(r, &a->v[0], &fmt))
		return false;
	if (!c->n_kw) {
		if (!jv_list(r, J_TUPLE, c->n_args, &args))
			return false;
		for (size_t i = 0; i < c->n_args; i++)
			args.list->v[args.list->n++] = c->args[i];
		return jf_percent(r, &fmt, &args, ret);
	}
	if (!jv_dict(r, &args))
		return false;
	for (size_t i = 0; i < c->n_kw; i++)
		if (!jv_dict_put(r, args.dict, (struct jval){.kind = J_STR, .s = c->kw_names[i]}, c->kw_vals[i]))
			return false;
	return jf_percent(r, &fmt, &args, ret);
}

/* ---- numbers from text ---- */

/* Text of a number without blanks around it and underscores between digits; false when it is too long for one. */
static bool number_text(const struct jstr *s, char *out, size_t n_out)
{
	size_t from, n = jcase_strip(s->p, s->n, NULL, true, true, &from), k = 0;
	for (size_t i = from; i < from + n; i++) {
		bool inside = i > from && i + 1 < from + n;
		bool between = inside && isalnum((unsigned char)s->p[i - 1]) && isalnum((unsigned char)s->p[i + 1]);
		if (s->p[i] == '_' && between)
			continue;
		if (k + 1 >= n_out || s->p[i] == '\0')
			return false;
		out[k++] = s->p[i];
	}
	out[k] = '\0';
	return k > 0;
}

enum { NUMBER_BYTES = 5000 }; /* Python reads at most 4300 digits */

/* float(text) with Python's syntax. */
static bool parse_float(const struct jstr *s, double *ret)
{
	char text[NUMBER_BYTES], *end;
	if (!number_text(s, text, sizeof text))
		return false;
	const char *body = text + (*text == '-' || *text == '+');
	if (strchr(body, 'x') || strchr(body, 'X') || strchr(body, '('))
		return false;
	*ret = strtod(text, &end);
	return *end == '\0' && !isspace((unsigned char)*text) && *body != '-' && *body != '+';
}

static int digit_value(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'z' ? c - 'a' + 10 : c >= 'A' && c <= 'Z' ? c - 'A' + 10 : 99;
}

/* int(text, base): *ok tells whether it is one. */
static bool parse_int(struct jrun *r, const struct jstr *s, int base, bool *ok, struct jval *ret)
{
	static const struct {
		char c;
		int base;
	} prefixes[] = {{'b', 2}, {'o', 8}, {'x', 16}};
	char text[NUMBER_BYTES];
	*ok = false;
	if (!number_text(s, text, sizeof text))
		return true;
	const char *p = text;
	bool neg = *p == '-';
	p += *p == '-' || *p == '+';
	for (size_t i = 0; i < ARRAY_LEN(prefixes); i++) {
		if (p[0] == '0' && (p[1] | 32) == prefixes[i].c && (base == 0 || base == prefixes[i].base)) {
			base = prefixes[i].base;
			p += 2;
			p += *p == '_';
			break;
		}
	}
	if (base == 0) {
		if (p[0] == '0' && strspn(p, "0") != strlen(p))
			return true;
		base = 10;
	}
	size_t n = strlen(p);
	for (size_t i = 0; i < n; i++)
		if (digit_value(p[i]) >= base)
			return true;
	if (!n)
		return true;
	*ok = true;
	return jr_charge(r, n * n) && (jbig_parse(&r->arena, p, n, base, neg, ret) || jr_limit(r, "an integer is too long"));
}

static bool f_int(struct jrun *r, struct jargs *a, struct jval *ret)
{
	const struct jval *v = &a->v[0];
	const struct jval def = a->v[1].kind == J_MISSING ? jv_int(0) : a->v[1];
	int64_t base;
	double f;
	bool ok = false;
	if (!ja_int(r, &a->v[2], 10, &base))
		return false;
	switch (v->kind) {
	case J_UNDEF: return jr_fail_undef(r, v);
	case J_BOOL: *ret = jv_int(v->b); return true;
	case J_INT:
	case J_BIG: *ret = *v; return true;
	case J_FLOAT:
		if (isinf(v->f))
			return jr_fail(r, "cannot convert float infinity to integer");
		*ret = def;
		return isnan(v->f) || jbig_from_double(r, v->f, ret);
	case J_STR:
		if (base == 0 || (base >= 2 && base <= 36)) {
			if (!parse_int(r, v->s, (int)base, &ok, ret))
				return false;
			if (ok)
				return true;
		}
		if (parse_float(v->s, &f) && isfinite(f))
			return jbig_from_double(r, f, ret);
		break;
	default: break;
	}
	*ret = def;
	return true;
}

static bool f_float(struct jrun *r, struct jargs *a, struct jval *ret)
{
	const struct jval *v = &a->v[0];
	double f;
	*ret = a->v[1].kind == J_MISSING ? jv_float(0) : a->v[1];
	switch (v->kind) {
	case J_UNDEF: return jr_fail_undef(r, v);
	case J_FLOAT: *ret = *v; return true;
	case J_BOOL:
	case J_INT:
	case J_BIG:
		*ret = jv_float(jbig_double(v));
		return !isinf(ret->f) || jr_fail(r, "int too large to convert to float");
	case J_STR:
		if (parse_float(v->s, &f))
			*ret = jv_float(f);
		return jr_charge(r, v->s->n < NUMBER_BYTES ? v->s->n * 16 : v->s->n);
	default: return true;
	}
}

static bool f_filesizeformat(struct jrun *r, struct jargs *a, struct jval *ret)
{
	static const char units[] = "kMGTPEZY";
	bool binary = ja_bool(&a->v[1], false);
	double base = binary ? 1024 : 1000, unit = base;
	struct jval f;
	struct jb b;
	size_t i = 0;
	struct jargs number = {.v = {a->v[0], jv_none()}};
	if (!f_float(r, &number, &f))
		return false;
	if (f.kind == J_NONE)
		return jr_fail(r, "filesizeformat needs a number, not %s", jv_type(&a->v[0]));
	jb_init(&b, r);
	if (f.f == 1)
		return jv_strz(r, "1 Byte", ret);
	if (!(f.f >= base))
		return jb_printf(&b, "%.0f Bytes", trunc(f.f)) && jb_take(&b, ret);
	while (i < sizeof units - 2 && f.f >= unit * base) {
		unit *= base;
		i++;
	}
	return jb_printf(&b, "%.1f %c%sB", f.f / unit, binary && units[i] == 'k' ? 'K' : units[i], binary ? "i" : "") &&
	       jb_take(&b, ret);
}

/* Python's round(float, digits): to the nearest decimal, exact halves to even. */
static double round_common(double f, int64_t digits)
{
	char text[400];
	if (!isfinite(f) || digits > 300)
		return f;
	if (digits >= 0) {
		snprintf(text, sizeof text, "%.*f", (int)(digits > 60 ? 60 : digits), f);
		return digits > 60 ? f : strtod(text, NULL);
	}
	if (digits < -308)
		return copysign(0, f);
	double p = pow(10, (double)-digits);
	return nearbyint(f / p) * p;
}

static bool round_int(struct jrun *r, const struct jval *v, int64_t digits, struct jval *ret)
{
	struct jval p, ten = jv_int(10), exp = jv_int(-digits), rest, twice, two = jv_int(2), low;
	if (digits >= 0) {
		*ret = v->kind == J_BOOL ? jv_int(v->b) : *v;
		return true;
	}
	if (digits < -1000)
		return (*ret = jv_int(0), true);
	if (!jo_binary(r, T_POW, &ten, &exp, &p) || !jo_binary(r, T_MOD, v, &p, &rest) || !jo_binary(r, T_SUB, v, &rest, &low) ||
	    !jo_binary(r, T_MUL, &rest, &two, &twice))
		return false;
	int c = jbig_cmp(&twice, &p);
	if (c == 0) {
		/* a half goes to the even multiple */
		struct jval q, odd;
		if (!jo_binary(r, T_FLOORDIV, &low, &p, &q) || !jo_binary(r, T_MOD, &q, &two, &odd))
			return false;
		c = odd.i ? 1 : -1;
	}
	*ret = low;
	return c < 0 || jo_binary(r, T_ADD, &low, &p, ret);
}

static bool f_round(struct jrun *r, struct jargs *a, struct jval *ret)
{
	const struct jval *v = &a->v[0];
	struct jval ten = jv_int(10), digits, p, scaled;
	int64_t n;
	struct jstr *method = NULL;
	if (!ja_int(r, &a->v[1], 0, &n) || (a->v[2].kind != J_MISSING && !ja_str(r, &a->v[2], &method)))
		return false;
	if (method && !jv_str_eqz(method, "common") && !jv_str_eqz(method, "ceil") && !jv_str_eqz(method, "floor"))
		return jr_fail(r, "method must be common, ceil or floor");
	if (v->kind == J_UNDEF)
		return jr_fail_undef(r, v);
	if (v->kind != J_FLOAT && !jv_is_int(v) && v->kind != J_BIG)
		return jr_fail(r, "type %s cannot be rounded", jv_type(v));
	if (!method || jv_str_eqz(method, "common")) {
		if (v->kind != J_FLOAT)
			return round_int(r, v, n, ret);
		*ret = jv_float(round_common(v->f, n));
		return true;
	}
	digits = jv_int(n);
	if (!jo_binary(r, T_POW, &ten, &digits, &p) || !jo_binary(r, T_MUL, v, &p, &scaled))
		return false;
	if (scaled.kind == J_FLOAT) {
		if (!isfinite(scaled.f))
			return jr_fail(r, "cannot round an infinite number or NaN");
		double whole = method->p[0] == 'c' ? ceil(scaled.f) : floor(scaled.f);
		if (!jbig_from_double(r, whole, &scaled))
			return false;
	}
	return jo_binary(r, T_DIV, &scaled, &p, ret);
}

/* ---- lines and words ---- */

static bool f_indent(struct jrun *r, struct jargs *a, struct jval *ret)
{
	struct jstr *s;
	struct jval lines, with_end;
	struct jb b;
	size_t width = 4;
	bool first = ja_bool(&a->v[2], false), blank = ja_bool(&a->v[3], false), by_text = a->v[1].kind == J_STR;
	if (!ja_str(r, &a->v[0], &s) || (!by_text && !ja_size(r, &a->v[1], 4, &width)))
		return false;
	const char *pad = by_text ? a->v[1].s->p : " ";
	size_t n_pad = by_text ? a->v[1].s->n : 1;
	struct jstr end = {.p = "\n", .n = 1, .n_cp = 1};
	if (by_text)
		width = 1;
	if (!jv_concat(r, s, &end, &with_end) || !jstr_splitlines(r, &with_end, false, &lines))
		return false;
	jb_init(&b, r);
	for (size_t i = 0; i < lines.list->n; i++) {
		const struct jstr *line = lines.list->v[i].s;
		bool indent = i == 0 ? first : blank || line->n;
		if ((i && !jb_addc(&b, '\n')) || (indent && !jb_pad(&b, pad, n_pad, width)) || !jb_add(&b, line->p, line->n))
			return false;
	}
	if (!jb_take(&b, ret))
		return false;
	ret->safe = a->v[0].safe;
	return true;
}

static bool f_replace(struct jrun *r, struct jargs *a, struct jval *ret)
{
	struct jval s, old, new;
	int64_t count;
	if (a->v[3].kind == J_NONE)
		a->v[3].kind = J_MISSING;
	return jp_to_str(r, &a->v[0], &s) && jp_to_str(r, &a->v[1], &old) && jp_to_str(r, &a->v[2], &new) &&
	       ja_int(r, &a->v[3], -1, &count) && jstr_replace(r, s.s, old.s, new.s, count, ret);
}

static bool f_trim(struct jrun *r, struct jargs *a, struct jval *ret)
{
	struct jval s;
	if (!jp_to_str(r, &a->v[0], &s) || !jstr_strip(r, s.s, &a->v[1], true, true, ret))
		return false;
	ret->safe = s.safe;
	return true;
}

/* truncate(length, killwords, end, leeway) */
static bool f_truncate(struct jrun *r, struct jargs *a, struct jval *ret)
{
	struct jval s = a->v[0], end, words, part[3] = {0}, head;
	int64_t length, leeway;
	size_t n;
	if (a->v[3].kind == J_MISSING ? !jv_strz(r, "...", &end) : !(end = a->v[3], ja_str(r, &end, &end.s)))
		return false;
	if (a->v[4].kind == J_NONE)
		a->v[4].kind = J_MISSING;
	if (!ja_int(r, &a->v[1], 255, &length) || !ja_int(r, &a->v[4], 5, &leeway) || !jv_len(r, &s, &n))
		return false;
	int64_t n_end = (int64_t)jv_str_len(end.s);
	if (length < n_end || leeway < 0)
		return jr_fail(r, "truncate: length must be at least %lld and leeway not negative", (long long)n_end);
	*ret = s;
	if (leeway > INT64_MAX - length || (int64_t)n <= length + leeway)
		return true;
	if (s.kind != J_STR)
		return jr_fail(r, "'%s' object cannot be truncated", jv_type(&s));
	part[1] = jv_int(length - n_end);
	if (!jo_slice(r, &s, part, &head))
		return false;
	if (!ja_bool(&a->v[2], false)) {
		struct jstr blank = {.p = " ", .n = 1, .n_cp = 1};
		if (!jstr_split(r, &head, &blank, 1, true, &words))
			return false;
		head = words.list->v[0];
	}
	return jo_binary(r, T_ADD, &head, &end, ret);
}

static bool f_wordcount(struct jrun *r, struct jargs *a, struct jval *ret)
{
	struct jval s;
	int64_t n = 0;
	bool in_word = false;
	if (!jp_to_str(r, &a->v[0], &s) || !jr_charge(r, s.s->n * 16))
		return false;
	for (size_t i = 0; i < s.s->n;) {
		uint32_t cp;
		i += utf8_next(s.s->p + i, s.s->n - i, &cp);
		bool word = jcase_word(cp);
		n += word && !in_word;
		in_word = word;
	}
	*ret = jv_int(n);
	return true;
}

/* ---- wordwrap ---- */

struct wrap {
	struct jb b;
	size_t width, column; /* column: characters on the current line */
	bool any;             /* the paragraph has lines already */
	const char *nl;
	size_t n_nl;
	size_t n_blank;       /* white space held back in front of the next word: bytes before it */
	bool break_long;
};

static bool wrap_newline(struct wrap *w)
{
	w->column = 0;
	return jb_add(&w->b, w->nl, w->n_nl);
}

/* Puts one chunk (a word or a part that ends in a hyphen); blanks in front of it go when the line breaks. */
static bool wrap_chunk(struct wrap *w, const char *p, size_t n, size_t n_blank)
{
	size_t len = utf8_count(p, n), blank = utf8_count(p - n_blank, n_blank);
	if (w->column && w->column + blank + len > w->width) {
		/* a word that is longer than a line fills up the line it meets first */
		bool fill = w->break_long && len > w->width && w->column + blank < w->width;
		if (fill ? !jb_add(&w->b, p - n_blank, n_blank) : !wrap_newline(w))
			return false;
		if (fill)
			w->column += blank;
	} else if (w->column || !w->any) {
		if (!jb_add(&w->b, p - n_blank, n_blank))
			return false;
		w->column += blank;
	}
	while (w->break_long && w->column + len > w->width) {
		size_t room = w->column < w->width ? w->width - w->column : 1, at = 0;
		uint32_t cp;
		for (size_t i = 0; i < room && at < n; i++)
			at += utf8_next(p + at, n - at, &cp);
		if (!jb_add(&w->b, p, at) || !wrap_newline(w))
			return false;
		p += at;
		n -= at;
		len -= room < len ? room : len;
	}
	w->column += len;
	w->any = true;
	return jb_add(&w->b, p, n);
}

static bool wrap_line(struct wrap *w, const struct jstr *s, bool hyphens)
{
	size_t i = 0;
	w->column = 0;
	w->any = false;
	while (i < s->n) {
		size_t blank = i, end;
		while (i < s->n && isspace((unsigned char)s->p[i]))
			i++;
		if (i == s->n)
			break;
		blank = i - blank;
		end = i;
		while (end < s->n && !isspace((unsigned char)s->p[end])) {
			end++;
			const unsigned char *p = (const unsigned char *)s->p + end;
			bool letters = end - i > 2 && isalpha(p[-2]) && isalpha(p[-3]);
			if (hyphens && s->p[end - 1] == '-' && letters && end < s->n && isalpha((unsigned char)s->p[end]))
				break;
		}
		if (!wrap_chunk(w, s->p + i, end - i, blank))
			return false;
		i = end;
	}
	return true;
}

/* wordwrap(width, break_long_words, wrapstring, break_on_hyphens): each line of the text for itself */
static bool f_wordwrap(struct jrun *r, struct jargs *a, struct jval *ret)
{
	struct wrap w = {.nl = "\n", .n_nl = 1, .break_long = ja_bool(&a->v[2], true)};
	struct jval lines;
	struct jstr *s;
	int64_t width;
	if (!ja_str(r, &a->v[0], &s) || !ja_int(r, &a->v[1], 79, &width) || !jstr_splitlines(r, &a->v[0], false, &lines))
		return false;
	if (width <= 0 && s->n)
		return jr_fail(r, "invalid width %lld (must be > 0)", (long long)width);
	if (a->v[3].kind != J_MISSING && a->v[3].kind != J_NONE) {
		if (!ja_str(r, &a->v[3], &s))
			return false;
		w.nl = s->p;
		w.n_nl = s->n;
	}
	w.width = (size_t)width;
	jb_init(&w.b, r);
	for (size_t i = 0; i < lines.list->n; i++) {
		if (i && !jb_add(&w.b, w.nl, w.n_nl))
			return false;
		if (!wrap_line(&w, lines.list->v[i].s, ja_bool(&a->v[4], true)))
			return false;
	}
	return jb_take(&w.b, ret);
}

/* ---- JSON ---- */

static bool json_separators(struct jrun *r, const struct jval *v, struct jjson *o)
{
	struct jstr *item, *key;
	if (v->kind == J_MISSING || v->kind == J_NONE)
		return true;
	if ((v->kind != J_TUPLE && v->kind != J_LIST) || v->list->n != 2)
		return jr_fail(r, "separators must be a pair of strings");
	if (!ja_str(r, &v->list->v[0], &item) || !ja_str(r, &v->list->v[1], &key))
		return false;
	o->item_sep = item->p;
	o->n_item_sep = item->n;
	o->key_sep = key->p;
	o->n_key_sep = key->n;
	return true;
}

/* tojson(ensure_ascii, indent, separators, sort_keys), as Hugging Face defines it */
static bool f_tojson(struct jrun *r, struct jargs *a, struct jval *ret)
{
	struct jjson o = {.ascii = ja_bool(&a->v[1], false), .sort = ja_bool(&a->v[4], false)};
	const struct jval *indent = &a->v[2];
	struct jval pad;
	struct jb b;
	size_t n;
	if (indent->kind == J_STR) {
		pad = *indent;
	} else if (indent->kind != J_MISSING && indent->kind != J_NONE) {
		struct jval blank;
		if (!ja_size(r, indent, 0, &n) || !jv_strz(r, " ", &blank) || !jo_repeat(r, &blank, (int64_t)n, &pad))
			return false;
	}
	bool lines = indent->kind != J_MISSING && indent->kind != J_NONE;
	if (lines) {
		o.indent = pad.s->p;
		o.n_indent = pad.s->n;
	}
	o.item_sep = lines ? "," : ", ";
	o.n_item_sep = lines ? 1 : 2;
	o.key_sep = ": ";
	o.n_key_sep = 2;
	jb_init(&b, r);
	return json_separators(r, &a->v[3], &o) && jp_json(&b, &a->v[0], &o) && jb_take(&b, ret);
}

/* Not in Jinja2; templates of DeepSeek use it. */
static bool f_from_json(struct jrun *r, struct jargs *a, struct jval *ret)
{
	enum { JSON_BYTES_MAX = 1 << 20, COST = 256 /* steps and memory of the parser, a byte */ };
	struct jstr *s;
	json_t *j;
	struct err err;
	if (!ja_str(r, &a->v[0], &s))
		return false;
	if (s->n > JSON_BYTES_MAX)
		return jr_limit(r, "from_json got more than %d bytes", JSON_BYTES_MAX);
	if (!jr_charge(r, s->n * COST))
		return false;
	if (json_parse_all(s->p, s->n, &j, &err))
		return jr_fail(r, "from_json: %s", err.msg);
	bool ok = jv_from_json_copy(r, j, 200, ret);
	json_decref(j);
	return ok;
}

const struct jbuiltin jinja_text_filters[] = {
	{"abs", "", f_abs},
	{"attr", "name", f_attr},
	{"capitalize", "", f_case},
	{"center", "width?", f_center},
	{"d", "default_value? boolean?", f_default},
	{"default", "default_value? boolean?", f_default},
	{"e", "", f_escape},
	{"escape", "", f_escape},
	{"filesizeformat", "binary?", f_filesizeformat},
	{"float", "default?", f_float},
	{"forceescape", "", f_escape},
	{"format", "*", f_format},
	{"from_json", "", f_from_json},
	{"indent", "width? first? blank?", f_indent},
	{"int", "default? base?", f_int},
	{"lower", "", f_case},
	{"pprint", "", jinja_pprint},
	{"replace", "old new count?", f_replace},
	{"round", "precision? method?", f_round},
	{"safe", "", f_safe},
	{"string", "", f_string},
	{"striptags", "", jinja_striptags},
	{"title", "", f_title},
	{"tojson", "ensure_ascii? indent? separators? sort_keys?", f_tojson},
	{"trim", "chars?", f_trim},
	{"truncate", "length? killwords? end? leeway?", f_truncate},
	{"upper", "", f_case},
	{"urlencode", "", jinja_urlencode},
	{"urlize", "trim_url_limit? nofollow? target? rel? extra_schemes?", jinja_urlize},
	{"wordcount", "", f_wordcount},
	{"wordwrap", "width? break_long_words? wrapstring? break_on_hyphens?", f_wordwrap},
	{"xmlattr", "autospace?", jinja_xmlattr},
};
const size_t jinja_n_text_filters = ARRAY_LEN(jinja_text_filters);
