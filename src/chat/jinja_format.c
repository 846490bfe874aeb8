/* Python's two ways to format text: "%s" % args and "{}".format(args). */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"
#include "base/utf8.h"
#include "chat/jinja_run.h"

enum { WIDTH_MAX = 1 << 26, PRECISION_MAX = 1000 };

/* What both ways know of one placeholder. */
struct spec {
	uint32_t fill;
	char align; /* '<' '>' '^' '=' or 0 */
	char sign;  /* '+' ' ' or 0 */
	bool alt;
	char group; /* ',' '_' or 0 */
	int width, precision; /* precision -1: none */
	char type;
};

static bool one_of(char c, const char *set)
{
	return c && strchr(set, c);
}

/* Decimal digits at p[*i]; false when the number is absurd. */
static bool read_int(struct jrun *r, const char *p, size_t n, size_t *i, int max, int *ret)
{
	int64_t v = 0;
	while (*i < n && p[*i] >= '0' && p[*i] <= '9') {
		v = v * 10 + (p[(*i)++] - '0');
		if (v > max)
			return jr_limit(r, "a format width or precision is larger than %d", max);
	}
	*ret = (int)v;
	return true;
}

/* Puts text into its field. `prefix` bytes at its front (sign, 0x) stay in front of zeros. */
static bool add_padded(struct jb *b, const char *p, size_t n, size_t prefix, const struct spec *s, char default_align)
{
	char fill[4];
	size_t n_fill = utf8_encode(s->fill ? s->fill : ' ', fill), len = utf8_count(p, n);
	size_t pad = (size_t)s->width > len ? (size_t)s->width - len : 0;
	char align = s->align ? s->align : default_align;
	size_t left = align == '<' ? 0 : align == '^' ? pad / 2 : pad;
	if (align == '=')
		return jb_add(b, p, prefix) && jb_pad(b, fill, n_fill, pad) && jb_add(b, p + prefix, n - prefix);
	return jb_pad(b, fill, n_fill, left) && jb_add(b, p, n) && jb_pad(b, fill, n_fill, pad - left);
}

/* Bytes of the first `max` characters. */
static size_t cut(const struct jstr *s, int max)
{
	size_t i = 0;
	uint32_t cp;
	for (; max > 0 && i < s->n; max--)
		i += utf8_next(s->p + i, s->n - i, &cp);
	return i;
}

static bool add_str(struct jb *b, const struct jstr *s, const struct spec *f, char default_align)
{
	return add_padded(b, s->p, f->precision < 0 ? s->n : cut(s, f->precision), 0, f, default_align);
}

/* Separators between groups of digits of the whole part, which begins at byte `from`. */
static bool add_grouped(struct jb *b, const char *p, size_t n, size_t from, const struct spec *f)
{
	size_t end = from, size = f->type == 'x' || f->type == 'X' || f->type == 'o' || f->type == 'b' ? 4 : 3;
	while (end < n && isalnum((unsigned char)p[end]) && !((p[end] | 32) == 'e' && size == 3))
		end++;
	for (size_t i = 0; i < n; i++) {
		bool here = i > from && i < end && (end - i) % size == 0;
		if ((here && !jb_addc(b, f->group)) || !jb_addc(b, p[i]))
			return false;
	}
	return true;
}

static bool add_number(struct jb *b, const char *p, size_t n, size_t prefix, const struct spec *f)
{
	struct jb grouped;
	jb_init(&grouped, b->r);
	if (f->group) {
		if (!add_grouped(&grouped, p, n, prefix, f))
			return false;
		p = grouped.p;
		n = grouped.n;
	}
	return add_padded(b, p, n, prefix, f, '>');
}

static bool format_int(struct jb *b, const struct jval *v, const struct spec *f)
{
	int base = f->type == 'x' || f->type == 'X' ? 16 : f->type == 'o' ? 8 : f->type == 'b' ? 2 : 10;
	const char *digits = jbig_text(b->r, v, base);
	struct jb t;
	jb_init(&t, b->r);
	if (!digits)
		return false;
	bool neg = *digits == '-';
	digits += neg;
	if (neg ? !jb_addc(&t, '-') : f->sign && !jb_addc(&t, f->sign))
		return false;
	if (f->alt && base != 10 && (!jb_addc(&t, '0') || !jb_addc(&t, f->type)))
		return false;
	size_t prefix = t.n, len = strlen(digits);
	/* a precision is the least number of digits */
	if (f->precision > 0 && (size_t)f->precision > len && !jb_pad(&t, "0", 1, (size_t)f->precision - len))
		return false;
	if (!jb_add(&t, digits, len))
		return false;
	for (size_t i = 0; f->type == 'X' && i < t.n; i++)
		t.p[i] = (char)toupper((unsigned char)t.p[i]);
	return add_number(b, t.p, t.n, prefix, f);
}

/* A float with a precision but no type: like %g, with a digit after the point, and with an exponent one digit earlier.
 * text has room for the precision and 40 bytes. Returns the length. */
static size_t short_float(double v, int precision, char *text)
{
	int digits = precision ? precision : 1;
	size_t n = (size_t)sprintf(text, "%.*e", digits - 1, v);
	int exp = atoi(strchr(text, 'e') + 1);
	if (exp >= -4 && exp < digits - 1) {
		n = (size_t)sprintf(text, "%.*g", digits, v);
		return strchr(text, '.') ? n : n + (size_t)sprintf(text + n, ".0");
	}
	char *e = strchr(text, 'e'), *cut = e;
	while (strchr(text, '.') && cut > text && (cut[-1] == '0' || cut[-1] == '.'))
		if (*--cut == '.')
			break;
	memmove(cut, e, strlen(e) + 1);
	return strlen(text);
}

static bool format_float(struct jb *b, double v, const struct spec *f)
{
	char fmt[16], text[PRECISION_MAX + 400];
	char type = f->type == '%' || f->type == 'F' ? 'f' : f->type == 'n' ? 'g' : f->type;
	size_t n = 0, k = 0;
	b->r->steps += 8 + (uint64_t)(f->precision > 0 ? f->precision : 0);
	if (f->type == '%')
		v *= 100;
	if (!signbit(v) && f->sign)
		text[n++] = f->sign;
	if (!isfinite(v)) {
		n += (size_t)sprintf(text + n, "%s", isnan(v) ? "nan" : v > 0 ? "inf" : "-inf");
		for (size_t i = 0; isupper((unsigned char)f->type) && i < n; i++)
			text[i] = (char)toupper((unsigned char)text[i]);
	} else if (!type && f->precision < 0) {
		jp_float(v, text + n);
		n += strlen(text + n);
	} else {
		fmt[k++] = '%';
		if (f->alt)
			fmt[k++] = '#';
		memcpy(fmt + k, ".*", 2);
		fmt[k + 2] = type;
		fmt[k + 3] = '\0';
		int precision = f->precision < 0 ? 6 : f->precision;
		n += type ? (size_t)snprintf(text + n, sizeof text - n - 4, fmt, precision, v)
			  : short_float(v, precision, text + n);
	}
	if (f->type == '%')
		text[n++] = '%';
	size_t prefix = n && (text[0] == '-' || text[0] == '+' || text[0] == ' ');
	return add_number(b, text, n, prefix, f);
}

static bool to_double(struct jrun *r, const struct jval *v, double *ret)
{
	if (v->kind == J_UNDEF)
		return jr_fail_undef(r, v);
	if (v->kind != J_FLOAT && !jv_is_int(v) && v->kind != J_BIG)
		return jr_fail(r, "a number is needed to format, not %s", jv_type(v));
	*ret = v->kind == J_FLOAT ? v->f : jbig_double(v);
	return !isinf(*ret) || v->kind == J_FLOAT || jr_fail(r, "int too large to convert to float");
}

/* One character, from its number or as it is. */
static bool format_char(struct jb *b, const struct jval *v, const struct spec *f, char default_align)
{
	char text[4];
	if (v->kind == J_STR && jv_str_len(v->s) == 1)
		return add_padded(b, v->s->p, v->s->n, 0, f, default_align);
	if (!jv_is_int(v) || jv_as_int(v) < 0 || jv_as_int(v) > 0x10FFFF)
		return jr_fail(b->r, "%%c requires a character or its number");
	return add_padded(b, text, utf8_encode((uint32_t)jv_as_int(v), text), 0, f, default_align);
}

/* str, repr or ASCII repr of a value; escaped for marked formats. */
static bool text_of(struct jrun *r, const struct jval *v, char how, bool escape, struct jval *ret)
{
	struct jb b;
	jb_init(&b, r);
	if (how == 's') {
		if (!jp_to_str(r, v, ret))
			return false;
	} else {
		if (!jp_repr(&b, v) || !jb_take(&b, ret))
			return false;
		struct jstr *s = ret->s;
		jb_init(&b, r);
		for (size_t i = 0; how == 'a' && i < s->n;) {
			uint32_t cp;
			size_t n = utf8_next(s->p + i, s->n - i, &cp);
			const char *escape_fmt = cp < 0x100 ? "\\x%02x" : cp < 0x10000 ? "\\u%04x" : "\\U%08x";
			if (!(cp < 0x80 ? jb_add(&b, s->p + i, n) : jb_printf(&b, escape_fmt, (unsigned)cp)))
				return false;
			i += n;
		}
		if (how == 'a' && !jb_take(&b, ret))
			return false;
	}
	return !escape || jp_escape(r, ret, ret);
}

/* ---- "%s" % args ---- */

struct percent {
	struct jrun *r;
	const char *p;
	size_t n, i;
	const struct jval *args; /* the right side */
	size_t at;               /* next positional argument */
	bool is_tuple, is_map;
	bool escape;
};

static bool next_arg(struct percent *f, struct jval *ret)
{
	size_t n = f->is_tuple ? f->args->list->n : 1;
	if (f->at >= n)
		return jr_fail(f->r, "not enough arguments for format string");
	*ret = f->is_tuple ? f->args->list->v[f->at] : *f->args;
	f->at++;
	return true;
}

/* A width or precision, which may be a star. */
static bool percent_int(struct percent *f, int max, int *ret)
{
	struct jval v;
	if (f->i >= f->n || f->p[f->i] != '*')
		return read_int(f->r, f->p, f->n, &f->i, max, ret);
	f->i++;
	if (!next_arg(f, &v))
		return false;
	if (!jv_is_int(&v))
		return jr_fail(f->r, "* wants int");
	if (jv_as_int(&v) > max || jv_as_int(&v) < -max)
		return jr_limit(f->r, "a format width or precision is larger than %d", max);
	*ret = (int)jv_as_int(&v);
	return true;
}

static bool percent_spec(struct percent *f, struct spec *s)
{
	bool zero = false, left = false;
	*s = (struct spec){.precision = -1};
	for (; f->i < f->n && one_of(f->p[f->i], "-+ #0"); f->i++) {
		char c = f->p[f->i];
		left |= c == '-';
		zero |= c == '0';
		s->alt |= c == '#';
		if (c == '+' || (c == ' ' && !s->sign))
			s->sign = c;
	}
	if (!percent_int(f, WIDTH_MAX, &s->width))
		return false;
	if (s->width < 0) {
		s->width = -s->width;
		left = true;
	}
	if (f->i < f->n && f->p[f->i] == '.') {
		f->i++;
		if (!percent_int(f, PRECISION_MAX, &s->precision))
			return false;
		if (s->precision < 0)
			s->precision = 0;
	}
	while (f->i < f->n && (f->p[f->i] == 'h' || f->p[f->i] == 'l' || f->p[f->i] == 'L'))
		f->i++;
	if (f->i >= f->n)
		return jr_fail(f->r, "incomplete format");
	s->type = f->p[f->i++];
	if (left)
		s->align = '<';
	if (zero && !left && one_of(s->type, "diuoxXeEfFgG")) {
		s->align = '=';
		s->fill = '0';
	}
	return true;
}

static bool percent_number(struct jb *b, const struct jval *v, struct spec *s)
{
	struct jval whole = *v;
	double d;
	if (!one_of(s->type, "diuoxX"))
		return to_double(b->r, v, &d) && format_float(b, d, s);
	if (v->kind == J_UNDEF)
		return jr_fail_undef(b->r, v);
	if (v->kind == J_FLOAT && one_of(s->type, "diu")) {
		if (!isfinite(v->f))
			return jr_fail(b->r, "cannot convert an infinite number or NaN to integer");
		if (!jbig_from_double(b->r, v->f, &whole))
			return false;
	}
	if (!jv_is_int(&whole) && whole.kind != J_BIG)
		return jr_fail(b->r, "%%%c format: a number is required, not %s", s->type, jv_type(v));
	return format_int(b, &whole, s);
}

static bool percent_one(struct percent *f, struct jb *b)
{
	struct jval v = {0}, key;
	struct spec s;
	if (f->i < f->n && f->p[f->i] == '(') {
		size_t from = ++f->i, depth = 1;
		for (; f->i < f->n && depth; f->i++)
			depth += f->p[f->i] == '(' ? 1 : f->p[f->i] == ')' ? -(size_t)1 : 0;
		if (depth)
			return jr_fail(f->r, "incomplete format key");
		if (!f->is_map)
			return jr_fail(f->r, "format requires a mapping");
		if (!jv_str_ref(f->r, f->p + from, f->i - 1 - from, &key) || !jo_getitem(f->r, f->args, &key, &v))
			return false;
		if (v.kind == J_UNDEF)
			return jr_fail(f->r, "the format names the key '%.*s', which is missing", (int)key.s->n, key.s->p);
	}
	if (!percent_spec(f, &s))
		return false;
	if (s.type == '%')
		return jb_addc(b, '%');
	if (!one_of(s.type, "diouxXeEfFgGcrsa"))
		return jr_fail(f->r, "unsupported format character '%c'", s.type);
	if (v.kind == J_MISSING && !next_arg(f, &v))
		return false;
	switch (s.type) {
	case 's':
	case 'r':
	case 'a': return text_of(f->r, &v, s.type, f->escape, &key) && add_str(b, key.s, &s, '>');
	case 'c': return format_char(b, &v, &s, '>');
	default: return percent_number(b, &v, &s);
	}
}

bool jf_percent(struct jrun *r, const struct jval *fmt, const struct jval *args, struct jval *ret)
{
	struct percent f = {.r = r, .p = fmt->s->p, .n = fmt->s->n, .args = args, .escape = fmt->safe};
	struct jb b;
	f.is_tuple = args->kind == J_TUPLE;
	f.is_map = args->kind == J_DICT;
	jb_init(&b, r);
	while (f.i < f.n) {
		const char *next = memchr(f.p + f.i, '%', f.n - f.i);
		size_t n = next ? (size_t)(next - f.p) - f.i : f.n - f.i;
		if (!jb_add(&b, f.p + f.i, n))
			return false;
		f.i += n + (next != NULL);
		if (next && !percent_one(&f, &b))
			return false;
	}
	/* what can be looked up by key need not be used */
	bool lookup = f.is_map || args->kind == J_LIST || args->kind == J_UNDEF || args->kind == J_RANGE;
	if (!lookup && f.at < (f.is_tuple ? args->list->n : 1))
		return jr_fail(r, "not all arguments converted during string formatting");
	if (!jb_take(&b, ret))
		return false;
	ret->safe = fmt->safe;
	return true;
}

/* ---- "{}".format(args) ---- */

struct format {
	struct jrun *r;
	const struct jcall *c;
	int64_t next_auto; /* number of the next "{}"; -1: numbers are given */
	bool escape;
};

static bool parse_spec(struct jrun *r, const char *p, size_t n, struct spec *s)
{
	size_t i = 0;
	uint32_t cp;
	*s = (struct spec){.precision = -1};
	size_t first = n ? utf8_next(p, n, &cp) : 0;
	if (first && first < n && one_of(p[first], "<>=^")) {
		s->fill = cp;
		s->align = p[first];
		i = first + 1;
	} else if (n && one_of(p[0], "<>=^")) {
		s->align = p[i++];
	}
	if (i < n && (p[i] == '+' || p[i] == ' ' || p[i] == '-')) {
		s->sign = p[i] == '-' ? 0 : p[i];
		i++;
	}
	if (i < n && p[i] == '#') {
		s->alt = true;
		i++;
	}
	if (i < n && p[i] == '0') {
		i++;
		if (!s->align)
			s->align = '=';
		if (!s->fill)
			s->fill = '0';
	}
	if (!read_int(r, p, n, &i, WIDTH_MAX, &s->width))
		return false;
	if (i < n && (p[i] == ',' || p[i] == '_'))
		s->group = p[i++];
	if (i < n && p[i] == '.') {
		i++;
		if (i >= n || p[i] < '0' || p[i] > '9')
			return jr_fail(r, "format specifier missing precision");
		if (!read_int(r, p, n, &i, PRECISION_MAX, &s->precision))
			return false;
	}
	if (i < n)
		s->type = p[i++];
	return i == n || jr_fail(r, "invalid format specifier");
}

static bool format_value(struct jb *b, const struct jval *v, const char *p, size_t n)
{
	struct jrun *r = b->r;
	struct spec s;
	double d;
	if (!n)
		return jp_str(b, v);
	if (!parse_spec(r, p, n, &s))
		return false;
	if (v->kind == J_STR) {
		if ((s.type && s.type != 's') || s.sign || s.alt || s.group || s.align == '=')
			return s.align == '=' && s.fill == '0' ? (s.align = '<', add_str(b, v->s, &s, '<'))
							       : jr_fail(r, "invalid format specifier for a string");
		return add_str(b, v->s, &s, '<');
	}
	if (v->kind != J_FLOAT && v->kind != J_BIG && !jv_is_int(v))
		return jr_fail(r, "unsupported format string passed to %s.__format__", jv_type(v));
	if (s.type == 'c' && v->kind != J_FLOAT)
		return format_char(b, v, &s, '<');
	if (v->kind != J_FLOAT && (!s.type || one_of(s.type, "bdoxXn"))) {
		if (s.precision >= 0)
			return jr_fail(r, "precision not allowed in integer format specifier");
		return format_int(b, v, &s);
	}
	if (s.type && !one_of(s.type, "eEfFgGn%"))
		return jr_fail(r, "unknown format code '%c' for object of type '%s'", s.type, jv_type(v));
	return to_double(r, v, &d) && format_float(b, d, &s);
}

static bool is_number_text(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] < '0' || p[i] > '9')
			return false;
	return n > 0;
}

/* The argument that a field begins with: nothing, a number or a name. */
static bool field_first(struct format *f, const char *p, size_t n, struct jval *ret)
{
	int64_t at = 0;
	if (n && !is_number_text(p, n)) {
		for (size_t i = 0; i < f->c->n_kw; i++) {
			if (f->c->kw_names[i]->n == n && memcmp(f->c->kw_names[i]->p, p, n) == 0) {
				*ret = f->c->kw_vals[i];
				return true;
			}
		}
		return jr_fail(f->r, "format() got no argument '%.*s'", (int)(n < 60 ? n : 60), p);
	}
	if (n ? f->next_auto > 0 : f->next_auto < 0)
		return jr_fail(f->r, "format: cannot mix {} and {0}");
	if (n)
		f->next_auto = -1;
	else
		at = f->next_auto++;
	for (size_t i = 0; i < n; i++) {
		at = at * 10 + (p[i] - '0');
		if (at > INT32_MAX)
			return jr_fail(f->r, "too many decimal digits in format string");
	}
	if ((size_t)at >= f->c->n_args)
		return jr_fail(f->r, "replacement index %lld out of range for positional args", (long long)at);
	*ret = f->c->args[at];
	return true;
}

/* first(.name | [key])* */
static bool field_value(struct format *f, const char *p, size_t n, struct jval *ret)
{
	size_t i = 0;
	while (i < n && p[i] != '.' && p[i] != '[')
		i++;
	if (!i && n)
		return jr_fail(f->r, "a format field needs a name or a number before '%c'", p[0]);
	if (!field_first(f, p, i, ret))
		return false;
	while (i < n) {
		bool item = p[i] == '[';
		size_t from = ++i;
		struct jval key;
		while (i < n && (item ? p[i] != ']' : p[i] != '.' && p[i] != '['))
			i++;
		if (i == from || (item && i >= n))
			return jr_fail(f->r, "empty attribute in format string");
		if (item && is_number_text(p + from, i - from)) {
			if (!jbig_parse(&f->r->arena, p + from, i - from, 10, false, &key))
				return jr_limit(f->r, "an index is too long");
		} else if (!jv_str_ref(f->r, p + from, i - from, &key)) {
			return false;
		}
		if (!(item ? jo_getitem(f->r, ret, &key, ret) : jo_getattr(f->r, ret, key.s, ret)))
			return false;
		i += item;
		if (item && i < n && p[i] != '.' && p[i] != '[')
			return jr_fail(f->r, "only '.' or '[' may follow ']' in a format field");
	}
	return true;
}

static bool format_text(struct format *f, struct jb *b, const char *p, size_t n, int depth);

/* The inside of one pair of braces. */
static bool format_field(struct format *f, struct jb *b, const char *p, size_t n, int depth)
{
	size_t end = 0;
	char how = 0;
	struct jval v, spec = {0};
	for (int in = 0; end < n && (in || (p[end] != '!' && p[end] != ':')); end++)
		in += p[end] == '[' ? !in : p[end] == ']' ? -in : 0;
	if (!field_value(f, p, end, &v))
		return false;
	if (end < n && p[end] == '!') {
		how = end + 1 < n ? p[end + 1] : 0;
		end += 2;
		if (!one_of(how, "rsa") || (end < n && p[end] != ':'))
			return jr_fail(f->r, "bad conversion in format string");
	}
	struct jb sb;
	jb_init(&sb, f->r);
	if (end < n && (!format_text(f, &sb, p + end + 1, n - end - 1, depth + 1) || !jb_take(&sb, &spec)))
		return false;
	if (how && !text_of(f->r, &v, how, false, &v))
		return false;
	struct jb out;
	jb_init(&out, f->r);
	struct jval done;
	if (!format_value(&out, &v, spec.s ? spec.s->p : "", spec.s ? spec.s->n : 0) || !jb_take(&out, &done))
		return false;
	done.safe = v.kind == J_STR && v.safe;
	if (f->escape && depth == 0 && !jp_escape(f->r, &done, &done))
		return false;
	return jp_str(b, &done);
}

static bool format_text(struct format *f, struct jb *b, const char *p, size_t n, int depth)
{
	if (depth > 1)
		return jr_fail(f->r, "max string recursion exceeded");
	for (size_t i = 0; i < n;) {
		char c = p[i];
		if (c != '{' && c != '}') {
			size_t from = i;
			while (i < n && p[i] != '{' && p[i] != '}')
				i++;
			if (!jb_add(b, p + from, i - from))
				return false;
			continue;
		}
		if (i + 1 < n && p[i + 1] == c && depth == 0) {
			if (!jb_addc(b, c))
				return false;
			i += 2;
			continue;
		}
		if (c == '}')
			return jr_fail(f->r, "single '}' encountered in format string");
		size_t from = ++i;
		for (int open = 1; i < n; i++) {
			open += p[i] == '{' ? 1 : p[i] == '}' ? -1 : 0;
			if (!open)
				break;
		}
		if (i >= n)
			return jr_fail(f->r, "expected '}' before end of format string");
		if (!format_field(f, b, p + from, i - from, depth))
			return false;
		i++;
	}
	return true;
}

bool jf_format(struct jrun *r, const struct jval *fmt, const struct jcall *c, struct jval *ret)
{
	struct format f = {.r = r, .c = c, .escape = fmt->safe};
	struct jb b;
	jb_init(&b, r);
	if (!format_text(&f, &b, fmt->s->p, fmt->s->n, 0) || !jb_take(&b, ret))
		return false;
	ret->safe = fmt->safe;
	return true;
}
