/* Go's fmt: verbs, flags, width and precision (https://pkg.go.dev/fmt). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/utf8.h"
#include "chat/gotmpl_run.h"

struct gfmt {
	struct gbuf *b;
	bool minus, plus, sharp, space, zero;
	bool plus_v, sharp_v; /* %+v, %#v */
	bool has_wid, has_prec;
	int64_t wid, prec;
};

enum { NUMBER_MAX = 1000000 }; /* fmt's limit for widths and precisions */

static void put(struct gfmt *f, const char *z)
{
	gb_adds(f->b, z);
}

/* Text in a field of the wanted width, counted in characters. */
static void pad(struct gfmt *f, const char *p, size_t n)
{
	int64_t space = f->has_wid ? f->wid - (int64_t)utf8_count(p, n) : 0;
	if (!f->minus)
		gb_pad(f->b, f->zero ? '0' : ' ', space);
	gb_add(f->b, p, n);
	if (f->minus)
		gb_pad(f->b, ' ', space);
}

static void pad_str(struct gfmt *f, const struct str *s)
{
	pad(f, str_cstr(s), s->len);
}

static void put_cp(struct gfmt *f, uint32_t cp)
{
	char u[4];
	gb_add(f->b, u, utf8_encode(cp, u));
}

/* ---- integers ---- */

static void fmt_int(struct gfmt *f, uint64_t u, bool negative, unsigned base, char verb)
{
	char digits[72];
	int n = 0;
	const char *letters = verb == 'X' ? "0123456789ABCDEF" : "0123456789abcdef", *prefix = "";
	if (f->has_prec && f->prec == 0 && u == 0) { /* nothing but padding */
		gb_pad(f->b, ' ', f->has_wid ? f->wid : 0);
		return;
	}
	int64_t want = f->has_prec ? f->prec : f->zero && !f->minus && f->has_wid ? f->wid - (negative || f->plus || f->space) : 0;
	do
		digits[sizeof digits - 1 - (size_t)n++] = letters[u % base];
	while (u /= base);
	const char *first = digits + sizeof digits - n;
	int64_t zeros = want > n ? want - n : 0;
	if (f->sharp)
		prefix = base == 2 ? "0b" : base == 8 ? (zeros || *first == '0' ? "" : "0") : base == 16 ? (verb == 'X' ? "0X" : "0x") : "";
	if (verb == 'O')
		prefix = "0o";
	const char *sign = negative ? "-" : f->plus ? "+" : f->space ? " " : "";
	int64_t space = f->has_wid ? f->wid - (int64_t)(strlen(sign) + strlen(prefix)) - zeros - n : 0;
	gb_pad(f->b, ' ', f->minus ? 0 : space);
	put(f, sign);
	put(f, prefix);
	gb_pad(f->b, '0', zeros);
	gb_add(f->b, first, (size_t)n);
	gb_pad(f->b, ' ', f->minus ? space : 0);
}

static void fmt_unicode(struct gfmt *f, uint64_t u)
{
	char code[24], shown[16] = "";
	int64_t digits = f->has_prec && f->prec > 4 ? f->prec : 4;
	snprintf(code, sizeof code, "%llX", (unsigned long long)u);
	int64_t zeros = digits > (int64_t)strlen(code) ? digits - (int64_t)strlen(code) : 0;
	if (f->sharp && u <= 0x10FFFF && gp_printable((uint32_t)u)) {
		char c[5] = "";
		c[utf8_encode((uint32_t)u, c)] = '\0';
		snprintf(shown, sizeof shown, " '%s'", c);
	}
	int64_t space = f->has_wid ? f->wid - 2 - zeros - (int64_t)strlen(code) - (int64_t)utf8_count(shown, strlen(shown)) : 0;
	gb_pad(f->b, ' ', f->minus ? 0 : space);
	put(f, "U+");
	gb_pad(f->b, '0', zeros);
	put(f, code);
	put(f, shown);
	gb_pad(f->b, ' ', f->minus ? space : 0);
}

/* ---- floats ---- */

/* The shortest digits that read back as v (at least one), and the decimal exponent of the first. */
static void shortest(double v, char digits[24], int *ret_exp)
{
	char text[40];
	for (int p = 0; p <= 16; p++) {
		snprintf(text, sizeof text, "%.*e", p, v);
		if (strtod(text, NULL) == v)
			break;
	}
	char *e = strchr(text, 'e'), *w = digits;
	*ret_exp = atoi(e + 1);
	for (const char *c = text; c < e; c++)
		if (*c >= '0' && *c <= '9')
			*w++ = *c;
	*w = '\0';
}

/* v >= 0 in its shortest form for %e, %f or %g. */
static void shortest_text(double v, char verb, struct str *s)
{
	char digits[24];
	int e, n;
	shortest(v, digits, &e);
	n = (int)strlen(digits);
	bool upper = verb == 'G' || verb == 'E', exponent = verb == 'e' || verb == 'E';
	if (verb == 'g' || verb == 'G')
		exponent = e < -4 || e >= 6;
	if (exponent) {
		str_printf(s, "%c%s%s%c%c%02d", digits[0], n > 1 ? "." : "", digits + 1, upper ? 'E' : 'e', e < 0 ? '-' : '+', abs(e));
		return;
	}
	if (e < 0)
		str_adds(s, "0.");
	for (int i = e < 0 ? e + 1 : 0; i < n || i <= e; i++) {
		if (i == e + 1 && e >= 0)
			str_addc(s, '.');
		str_addc(s, i >= 0 && i < n ? digits[i] : '0');
	}
}

/* %x and %b */
static void binary_text(double v, char verb, int64_t prec, struct str *s)
{
	int e = 0;
	if (verb == 'b') {
		uint64_t bits;
		memcpy(&bits, &v, sizeof bits);
		uint64_t mant = bits & ((UINT64_C(1) << 52) - 1);
		e = (int)(bits >> 52 & 2047);
		mant |= e ? UINT64_C(1) << 52 : 0;
		e = (e ? e : 1) - 1075;
		str_printf(s, "%llup%c%d", (unsigned long long)mant, e < 0 ? '-' : '+', abs(e));
		return;
	}
	char text[64], *p;
	v = v != 0 ? frexp(v, &e) * 2 : 0; /* 1 <= v < 2, also for denormals */
	e = v != 0 ? e - 1 : 0;
	if (prec < 0)
		snprintf(text, sizeof text, "%a", v);
	else
		snprintf(text, sizeof text, "%.*a", prec > 20 ? 20 : (int)prec, v);
	p = strchr(text, 'p');
	if (p) {
		e += atoi(p + 1);
		*p = '\0';
	}
	if (verb == 'X')
		for (p = text; *p; p++)
			*p = *p >= 'a' && *p <= 'z' ? (char)(*p - 32) : *p;
	str_printf(s, "%s%c%c%02d", text, verb == 'X' ? 'P' : 'p', e < 0 ? '-' : '+', abs(e));
}

/* With # a point stays and %g keeps its zeros. */
static void sharpen(struct str *num, char verb, int64_t prec)
{
	struct str tail = {0};
	int64_t digits = verb == 'g' || verb == 'G' ? (prec < 0 ? 6 : prec) : verb == 'x' || verb == 'X' ? (prec < 0 ? 6 : prec) : 0;
	bool point = false, nonzero = false;
	for (size_t i = 0; i < num->len; i++) {
		char c = num->data[i];
		bool hex = verb == 'x' || verb == 'X';
		if (c == '.') {
			point = true;
		} else if (c == 'p' || c == 'P' || (!hex && (c == 'e' || c == 'E'))) {
			str_adds(&tail, num->data + i);
			str_truncate(num, i);
			break;
		} else {
			nonzero |= c != '0';
			digits -= nonzero;
		}
	}
	if (!point) {
		digits -= num->len == 1 && num->data[0] == '0';
		str_addc(num, '.');
	}
	for (; digits > 0 && digits < NUMBER_MAX; digits--)
		str_addc(num, '0');
	str_adds(num, str_cstr(&tail));
	str_release(&tail);
}

static void float_digits(struct gfmt *f, double v, char verb, int64_t prec, struct str *s)
{
	if (verb == 'x' || verb == 'X' || verb == 'b') {
		binary_text(v, verb, prec, s);
		return;
	}
	if (prec < 0) {
		shortest_text(v, verb, s);
		return;
	}
	f->b->r->steps += (uint64_t)prec / 8; /* exact digits are slow to make */
	if (!gr_step(f->b->r))
		return;
	enum { G_DIGITS = 800 }; /* no double has more significant digits */
	const char fmt[] = {'%', '.', '*', verb, '\0'};
	int p = (int)((verb == 'g' || verb == 'G') && prec > G_DIGITS ? G_DIGITS : prec);
	int n = snprintf(NULL, 0, fmt, p, v);
	str_reserve(s, (size_t)n + 1);
	snprintf(s->data + s->len, (size_t)n + 1, fmt, p, v);
	s->len += (size_t)n;
}

static void fmt_float(struct gfmt *f, double v, char verb, int64_t prec)
{
	struct str s = {0}, all = {0};
	bool zero = f->zero, finite = isfinite(v), negative = signbit(v) && !isnan(v);
	if (f->has_prec)
		prec = f->prec;
	if (finite)
		float_digits(f, fabs(v), verb, prec, &s);
	else
		str_adds(&s, isnan(v) ? "NaN" : "Inf");
	if (f->sharp && finite && verb != 'b')
		sharpen(&s, verb, prec);
	const char *sign = negative ? "-" : f->plus ? "+" : f->space ? " " : isinf(v) ? "+" : "";
	if (zero && finite && !f->minus && *sign) { /* the sign goes before the zeros */
		put(f, sign);
		gb_pad(f->b, '0', f->has_wid ? f->wid - 1 - (int64_t)s.len : 0);
		gb_add(f->b, str_cstr(&s), s.len);
	} else {
		str_adds(&all, sign);
		str_add(&all, str_cstr(&s), s.len);
		f->zero = zero && finite;
		pad_str(f, &all);
		f->zero = zero;
	}
	str_release(&s);
	str_release(&all);
}

/* ---- strings ---- */

static struct gstr cut_chars(const struct gfmt *f, struct gstr s)
{
	size_t i = 0;
	uint32_t cp;
	if (!f->has_prec)
		return s;
	for (int64_t k = 0; k < f->prec && i < s.n; k++)
		i += utf8_next(s.p + i, s.n - i, &cp);
	return (struct gstr){s.p, i};
}

static void fmt_hex_str(struct gfmt *f, struct gstr s, char verb)
{
	const char *digits = verb == 'X' ? "0123456789ABCDEF" : "0123456789abcdef", prefix[] = {'0', verb, '\0'};
	size_t n = f->has_prec && (uint64_t)f->prec < s.n ? (size_t)f->prec : s.n;
	int64_t width = 2 * (int64_t)n;
	if (f->space && n)
		width += (f->sharp ? 2 * (int64_t)n : 0) + (int64_t)n - 1;
	else if (f->sharp && n)
		width += 2;
	int64_t space = f->has_wid ? f->wid - width : 0;
	if (!f->minus)
		gb_pad(f->b, f->zero ? '0' : ' ', space);
	for (size_t i = 0; i < n && !f->b->r->failed; i++) {
		char two[2] = {digits[(unsigned char)s.p[i] >> 4], digits[(unsigned char)s.p[i] & 15]};
		if (f->space && i)
			gb_addc(f->b, ' ');
		if (f->sharp && (f->space || !i))
			put(f, prefix);
		gb_add(f->b, two, 2);
	}
	if (f->minus)
		gb_pad(f->b, ' ', space);
}

static bool can_backquote(struct gstr s)
{
	for (size_t i = 0; i < s.n;) {
		uint32_t cp;
		size_t len = utf8_next(s.p + i, s.n - i, &cp);
		if ((cp == UTF8_REPLACEMENT && len == 1) || cp == 0xFEFF || (cp < 32 && cp != '\t') || cp == '`' || cp == 127)
			return false;
		i += len;
	}
	return true;
}

static void fmt_quoted(struct gfmt *f, struct gstr s)
{
	struct str q;
	struct gbuf b = gb_scratch(f->b->r, &q);
	s = cut_chars(f, s);
	if (f->sharp && can_backquote(s)) {
		gb_addc(&b, '`');
		gb_add(&b, s.p, s.n);
		gb_addc(&b, '`');
	} else {
		gp_quote(&b, s, '"', f->plus);
	}
	pad_str(f, &q);
	str_release(&q);
}

/* ---- values by verb ---- */

static void print_arg(struct gfmt *f, const struct gval *v, uint32_t verb, int depth);

static void bad_verb(struct gfmt *f, const struct gval *v, uint32_t verb)
{
	put(f, "%!");
	put_cp(f, verb);
	put(f, "(");
	if (v->kind == GV_INVALID || (v->kind == GV_NIL && !v->type)) {
		put(f, "<nil>");
	} else {
		put(f, gv_type(v));
		put(f, "=");
		print_arg(f, v, 'v', 0);
	}
	put(f, ")");
}

static bool print_int(struct gfmt *f, const struct gval *v, uint32_t verb)
{
	bool negative = v->i < 0, byte = v->kind == GV_UINT8;
	uint64_t u = negative ? 0 - (uint64_t)v->i : (uint64_t)v->i;
	uint32_t cp = v->i < 0 || v->i > 0x10FFFF ? UTF8_REPLACEMENT : (uint32_t)v->i;
	char text[4];
	switch (verb) {
	case 'v':
		if (f->sharp_v && byte) { /* fmt shows unsigned numbers in hexadecimal here */
			f->sharp = true;
			fmt_int(f, u, false, 16, 'v');
			f->sharp = false;
			return true;
		}
		/* fall through */
	case 'd':
		fmt_int(f, u, negative, 10, 'd');
		return true;
	case 'b':
		fmt_int(f, u, negative, 2, 'b');
		return true;
	case 'o':
	case 'O':
		fmt_int(f, u, negative, 8, (char)verb);
		return true;
	case 'x':
	case 'X':
		fmt_int(f, u, negative, 16, (char)verb);
		return true;
	case 'c':
		pad(f, text, utf8_encode(cp, text));
		return true;
	case 'q': {
		struct str q;
		struct gbuf b = gb_scratch(f->b->r, &q);
		gp_quote(&b, (struct gstr){text, utf8_encode(cp, text)}, '\'', f->plus);
		pad_str(f, &q);
		str_release(&q);
		return true;
	}
	case 'U':
		fmt_unicode(f, (uint64_t)v->i);
		return true;
	default:
		return false;
	}
}

static bool print_float(struct gfmt *f, double v, uint32_t verb)
{
	if (verb == 'v')
		fmt_float(f, v, 'g', -1);
	else if (verb < 128 && strchr("bgGxX", (int)verb))
		fmt_float(f, v, (char)verb, -1);
	else if (verb < 128 && strchr("feEF", (int)verb))
		fmt_float(f, v, verb == 'F' ? 'f' : (char)verb, 6);
	else
		return false;
	return true;
}

static bool print_complex(struct gfmt *f, const struct gval *v, uint32_t verb)
{
	bool plus = f->plus;
	if (verb >= 128 || !verb || !strchr("vbgGxXfFeE", (int)verb))
		return false;
	put(f, "(");
	print_float(f, v->re, verb);
	f->plus = true;
	print_float(f, v->im, verb);
	put(f, "i)");
	f->plus = plus;
	return true;
}

static bool print_str(struct gfmt *f, struct gstr s, uint32_t verb)
{
	switch (verb) {
	case 'v':
		if (f->sharp_v) {
			fmt_quoted(f, s);
			return true;
		}
		/* fall through */
	case 's':
		s = cut_chars(f, s);
		pad(f, s.p, s.n);
		return true;
	case 'x':
	case 'X':
		fmt_hex_str(f, s, (char)verb);
		return true;
	case 'q':
		fmt_quoted(f, s);
		return true;
	default:
		return false;
	}
}

/* The brackets and separators of slices, maps and structs. */
static void print_parts(struct gfmt *f, const struct gval *v, uint32_t verb, int depth)
{
	bool map = v->kind == GV_MAP, fields = v->kind == GV_STRUCT;
	size_t n = fields ? v->type->n_fields : gv_len(v);
	if (f->sharp_v) {
		put(f, v->type->name);
		if (v->nil && !fields) {
			put(f, "(nil)");
			return;
		}
	}
	put(f, f->sharp_v || fields ? "{" : map ? "map[" : "[");
	for (size_t i = 0; i < n && !f->b->r->failed; i++) {
		struct gval key = map ? gv_str(v->map->e[i].key) : gv_none();
		put(f, !i ? "" : f->sharp_v ? ", " : " ");
		if (map)
			print_arg(f, &key, verb, depth + 1);
		else if (fields && (f->plus_v || f->sharp_v))
			put(f, v->type->fields[i].name);
		if (map || (fields && (f->plus_v || f->sharp_v)))
			put(f, ":");
		print_arg(f, map ? &v->map->e[i].val : fields ? &v->fields[i] : &v->v[i], verb, depth + 1);
	}
	put(f, f->sharp_v || fields ? "}" : "]");
}

static bool print_own_text(struct gfmt *f, const struct gval *v, uint32_t verb)
{
	struct str s;
	if (f->sharp_v || !v->type || v->type->print == GPRINT_PLAIN || verb >= 128 || !verb || !strchr("vsxXq", (int)verb))
		return false;
	struct gbuf b = gb_scratch(f->b->r, &s);
	bool own = gp_stringer(&b, v);
	if (own)
		print_str(f, (struct gstr){str_cstr(&s), s.len}, verb);
	str_release(&s);
	return own;
}

static void print_nil(struct gfmt *f, const struct gval *v, uint32_t verb, int depth)
{
	if (depth > 0 && v->kind == GV_NIL && !v->type) /* an element: fmt shows it the same for every verb */
		put(f, f->sharp_v ? "interface {}(nil)" : "<nil>");
	else if (verb == 'v' || (verb == 'T' && !v->type))
		pad(f, "<nil>", 5);
	else
		bad_verb(f, v, verb);
}

static void print_arg(struct gfmt *f, const struct gval *v, uint32_t verb, int depth)
{
	bool ok = true;
	if (f->b->r->failed || !gr_enter(f->b->r))
		return;
	if (v->kind == GV_INVALID || v->kind == GV_NIL) {
		print_nil(f, v, verb, depth);
	} else if (verb == 'T') {
		struct gstr name = cut_chars(f, (struct gstr){gv_type(v), strlen(gv_type(v))});
		pad(f, name.p, name.n);
	} else if (v->kind >= GV_SLICE) {
		if (verb == 'p' || verb == 'w')
			bad_verb(f, v, verb); /* there are no addresses to show and no errors to wrap */
		else if (!print_own_text(f, v, verb))
			print_parts(f, v, verb, depth);
	} else if (v->kind == GV_BOOL) {
		ok = verb == 't' || verb == 'v';
		if (ok)
			pad(f, v->b ? "true" : "false", v->b ? 4 : 5);
	} else if (v->kind == GV_FLOAT) {
		ok = verb && print_float(f, v->f, verb);
	} else if (v->kind == GV_COMPLEX) {
		ok = print_complex(f, v, verb);
	} else {
		ok = v->kind == GV_STR ? print_str(f, v->s, verb) : print_int(f, v, verb);
	}
	if (!ok)
		bad_verb(f, v, verb);
	f->b->r->depth--;
}

void gp_sprint(struct gbuf *b, const struct gval *args, size_t n, bool line)
{
	struct gfmt f = {.b = b};
	for (size_t i = 0; i < n && !b->r->failed; i++) {
		if (i && (line || (args[i].kind != GV_STR && args[i - 1].kind != GV_STR)))
			gb_addc(b, ' ');
		print_arg(&f, &args[i], 'v', 0);
	}
	if (line)
		gb_addc(b, '\n');
}

/* ---- the format string ---- */

struct gscan {
	struct gfmt f;
	const char *p;
	size_t i, n;
	const struct gval *args;
	size_t n_args, i_arg;
	bool reordered, good_index, after_index;
};

/* Digits up to `end`; false when there are none. A number that is too large ends the format. */
static bool scan_number(struct gscan *s, size_t *i, size_t end, int64_t *ret)
{
	bool any = false;
	*ret = 0;
	for (; *i < end && s->p[*i] >= '0' && s->p[*i] <= '9'; ++*i) {
		if (*ret > NUMBER_MAX) {
			*i = end;
			*ret = 0;
			return false;
		}
		*ret = *ret * 10 + (s->p[*i] - '0');
		any = true;
	}
	return any;
}

/* An explicit argument index: [3] */
static void scan_index(struct gscan *s)
{
	int64_t index;
	s->after_index = false;
	if (s->i >= s->n || s->p[s->i] != '[')
		return;
	s->reordered = true;
	const char *close = s->n - s->i >= 3 ? memchr(s->p + s->i, ']', s->n - s->i) : NULL;
	if (!close) {
		s->good_index = false;
		s->i++;
		return;
	}
	size_t end = (size_t)(close - s->p), i = s->i + 1;
	bool ok = scan_number(s, &i, end, &index) && i == end;
	s->i = end + 1;
	if (ok && index >= 1 && (uint64_t)index <= s->n_args)
		s->i_arg = (size_t)index - 1;
	else
		s->good_index = false;
	s->after_index = ok;
}

/* A width or precision from an argument. */
static bool scan_star(struct gscan *s, int64_t *ret)
{
	*ret = 0;
	if (s->i_arg >= s->n_args)
		return false;
	const struct gval *v = &s->args[s->i_arg++];
	if ((v->kind != GV_INT && v->kind != GV_UINT8) || v->i > NUMBER_MAX || v->i < -NUMBER_MAX)
		return false;
	*ret = v->i;
	return true;
}

static void scan_width(struct gscan *s)
{
	struct gfmt *f = &s->f;
	if (s->i < s->n && s->p[s->i] == '*') {
		s->i++;
		f->has_wid = scan_star(s, &f->wid);
		if (!f->has_wid)
			put(f, "%!(BADWIDTH)");
		if (f->wid < 0) {
			f->wid = -f->wid;
			f->minus = true;
			f->zero = false;
		}
		s->after_index = false;
	} else {
		f->has_wid = scan_number(s, &s->i, s->n, &f->wid);
		if (s->after_index && f->has_wid)
			s->good_index = false;
	}
}

static void scan_precision(struct gscan *s)
{
	struct gfmt *f = &s->f;
	if (s->i >= s->n || s->p[s->i] != '.')
		return;
	s->i++;
	if (s->after_index)
		s->good_index = false;
	scan_index(s);
	if (s->i < s->n && s->p[s->i] == '*') {
		s->i++;
		f->has_prec = scan_star(s, &f->prec);
		if (f->prec < 0) {
			f->prec = 0;
			f->has_prec = false;
		}
		if (!f->has_prec)
			put(f, "%!(BADPREC)");
		s->after_index = false;
	} else {
		scan_number(s, &s->i, s->n, &f->prec);
		f->has_prec = true;
	}
}

static void scan_flags(struct gscan *s)
{
	for (; s->i < s->n; s->i++) {
		switch (s->p[s->i]) {
		case '#':
			s->f.sharp = true;
			break;
		case '0':
			s->f.zero = true;
			break;
		case '+':
			s->f.plus = true;
			break;
		case '-':
			s->f.minus = true;
			break;
		case ' ':
			s->f.space = true;
			break;
		default:
			return;
		}
	}
}

static void complain(struct gscan *s, uint32_t verb, const char *what)
{
	put(&s->f, "%!");
	put_cp(&s->f, verb);
	put(&s->f, what);
}

/* One verb; s->i stands after the percent sign. */
static void scan_verb(struct gscan *s)
{
	uint32_t verb;
	s->f = (struct gfmt){.b = s->f.b};
	s->good_index = true;
	scan_flags(s);
	scan_index(s);
	scan_width(s);
	scan_precision(s);
	if (!s->after_index)
		scan_index(s);
	if (s->i >= s->n) {
		put(&s->f, "%!(NOVERB)");
		return;
	}
	s->i += utf8_next(s->p + s->i, s->n - s->i, &verb);
	if (verb == '%') {
		put(&s->f, "%");
	} else if (!s->good_index) {
		complain(s, verb, "(BADINDEX)");
	} else if (s->i_arg >= s->n_args) {
		complain(s, verb, "(MISSING)");
	} else {
		if (verb == 'v' || verb == 'w') {
			s->f.sharp_v = s->f.sharp;
			s->f.plus_v = s->f.plus;
			s->f.sharp = s->f.plus = false;
		}
		print_arg(&s->f, &s->args[s->i_arg++], verb, 0);
	}
}

static void extra_args(struct gscan *s)
{
	s->f = (struct gfmt){.b = s->f.b};
	put(&s->f, "%!(EXTRA ");
	for (size_t i = s->i_arg; i < s->n_args && !s->f.b->r->failed; i++) {
		const struct gval *v = &s->args[i];
		put(&s->f, i > s->i_arg ? ", " : "");
		if (v->kind == GV_INVALID) {
			put(&s->f, "<nil>");
			continue;
		}
		put(&s->f, gv_type(v));
		put(&s->f, "=");
		print_arg(&s->f, v, 'v', 0);
	}
	put(&s->f, ")");
}

void gp_printf(struct gbuf *b, struct gstr format, const struct gval *args, size_t n)
{
	struct gscan s = {.f = {.b = b}, .p = format.p, .n = format.n, .args = args, .n_args = n};
	while (s.i < s.n && gr_step(b->r) && !b->r->failed) {
		const char *mark = memchr(s.p + s.i, '%', s.n - s.i);
		size_t to = mark ? (size_t)(mark - s.p) : s.n;
		gb_add(b, s.p + s.i, to - s.i);
		s.i = to;
		if (mark) {
			s.i++;
			s.after_index = false;
			scan_verb(&s);
		}
	}
	if (!s.reordered && s.i_arg < n)
		extra_args(&s);
}
