/* Constants as Go writes them (The Go Programming Language Specification: string, rune, integer, floating-point and
 * imaginary literals). */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/utf8.h"
#include "chat/gotmpl_ast.h"

static int digit_of(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'z' ? (c | 32) - 'a' + 10 : 99;
}

/* ---- quoted text ---- */

/* n digits of a code after a backslash; -1 when there are fewer. */
static int64_t code_digits(const char *p, size_t left, int n, int base)
{
	int64_t v = 0;
	if ((size_t)n > left)
		return -1;
	for (int i = 0; i < n; i++) {
		int d = digit_of(p[i]);
		if (d >= base)
			return -1;
		v = v * base + d;
	}
	return v;
}

/* One character or escape at p. *ret_byte: the value is a byte, not a code point. Returns its length, 0 when malformed. */
static size_t unquote_char(const char *p, size_t n, char quote, uint32_t *ret_cp, bool *ret_byte)
{
	static const char names[] = "abfnrtv\\", values[] = "\a\b\f\n\r\t\v\\";
	*ret_byte = false;
	if (p[0] == quote)
		return 0;
	if (p[0] != '\\')
		return utf8_next(p, n, ret_cp);
	if (n < 2)
		return 0;
	char c = p[1];
	const char *name = c ? strchr(names, c) : NULL;
	if (name || c == quote) {
		*ret_cp = name ? (unsigned char)values[name - names] : (unsigned char)quote;
		return 2;
	}
	bool octal = c >= '0' && c <= '7';
	int n_digit = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : octal ? 3 : 0;
	size_t skip = octal ? 1 : 2;
	int64_t v = n_digit ? code_digits(p + skip, n - skip, n_digit, octal ? 8 : 16) : -1;
	*ret_byte = c == 'x' || octal;
	if (v < 0 || v > 0x10FFFF || (octal && v > 255) || (!*ret_byte && v >= 0xD800 && v < 0xE000))
		return 0;
	*ret_cp = (uint32_t)v;
	return skip + (size_t)n_digit;
}

bool gparse_unquote(struct arena *a, struct gstr q, struct gstr *ret)
{
	if (q.n < 2 || q.p[0] != q.p[q.n - 1])
		return false;
	const char *p = q.p + 1;
	size_t n = q.n - 2, k = 0;
	char *out = arena_alloc(a, n * 3 + 1); /* an invalid byte becomes three */
	if (!out)
		return false;
	for (size_t i = 0; i < n;) {
		uint32_t cp = (unsigned char)p[i];
		bool byte = true;
		if (q.p[0] == '`') { /* raw: carriage returns are dropped */
			if (p[i] != '\r')
				out[k++] = p[i];
			i++;
			continue;
		}
		size_t len = unquote_char(p + i, n - i, q.p[0], &cp, &byte);
		if (!len || p[i] == '\n')
			return false;
		i += len;
		if (byte)
			out[k++] = (char)cp;
		else
			k += utf8_encode(cp, out + k);
	}
	*ret = (struct gstr){out, k};
	return true;
}

/* ---- numbers ---- */

/* Digits with underscores: one may follow each digit (a base prefix counts as one) and must be followed by a digit. */
static bool underscores_ok(struct gstr s)
{
	char before = '^';
	size_t i = s.n && (s.p[0] == '+' || s.p[0] == '-');
	bool hex = false;
	if (s.n - i >= 2 && s.p[i] == '0' && strchr("boxBOX", s.p[i + 1])) {
		hex = (s.p[i + 1] | 32) == 'x';
		before = '0';
		i += 2;
	}
	for (; i < s.n; i++) {
		bool digit = (s.p[i] >= '0' && s.p[i] <= '9') || (hex && digit_of(s.p[i]) < 16);
		if (s.p[i] == '_' ? before != '0' : !digit && before == '_')
			return false;
		before = digit ? '0' : s.p[i] == '_' ? '_' : '!';
	}
	return before != '_';
}

/* An integer: its size without sign. ERANGE in *ret_rc when it has the form of one but is too large. */
static uint64_t whole(struct gstr s, int *ret_rc)
{
	size_t i = s.n && (s.p[0] == '+' || s.p[0] == '-');
	int base = 10;
	uint64_t v = 0;
	bool any = false;
	*ret_rc = 0;
	if (i + 1 < s.n && s.p[i] == '0') {
		int c = s.p[i + 1] | 32;
		base = c == 'x' ? 16 : c == 'b' ? 2 : 8;
		i += c == 'x' || c == 'b' || c == 'o' ? 2 : 1;
		any = base == 8 && s.p[i - 1] == '0';
	}
	for (; i < s.n; i++) {
		if (s.p[i] == '_')
			continue;
		int d = digit_of(s.p[i]);
		if (d >= base) {
			*ret_rc = EINVAL;
			return 0;
		}
		any = true;
		if (__builtin_mul_overflow(v, (uint64_t)base, &v) || __builtin_add_overflow(v, (uint64_t)d, &v))
			*ret_rc = ERANGE;
	}
	if (!any)
		*ret_rc = EINVAL;
	return v;
}

static bool has_any(struct gstr s, const char *set)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] && strchr(set, s.p[i]))
			return true;
	return false;
}

/* A floating-point literal, decimal or hexadecimal with an exponent. */
static bool real(struct gstr s, double *ret)
{
	char buf[400], *end;
	size_t k = 0, i = s.n && (s.p[0] == '+' || s.p[0] == '-');
	bool hex = s.n > i + 1 && s.p[i] == '0' && (s.p[i + 1] | 32) == 'x';
	bool prefix = s.n > i + 1 && s.p[i] == '0' && strchr("boBO", s.p[i + 1]);
	if (!s.n || s.n >= sizeof buf || prefix || !underscores_ok(s) || (hex && !has_any(s, "pP")))
		return false;
	for (size_t j = 0; j < s.n; j++)
		if (s.p[j] != '_')
			buf[k++] = s.p[j];
	buf[k] = '\0';
	*ret = strtod(buf, &end);
	return end == buf + k && isfinite(*ret) && has_any(s, "0123456789");
}

/* "1+2i", "2i": real part 0 */
static bool imaginary(struct gstr s, struct gnode *ret)
{
	size_t split = 0;
	double re = 0, im;
	for (size_t i = 1; i + 1 < s.n; i++)
		if ((s.p[i] == '+' || s.p[i] == '-') && !strchr("eEpP", s.p[i - 1]))
			split = i;
	if (split && !real((struct gstr){s.p, split}, &re))
		return false;
	if (!real((struct gstr){s.p + split, s.n - split - 1}, &im))
		return false;
	ret->num = GNUM_COMPLEX;
	ret->re = re;
	ret->im = im;
	return true;
}

static bool character(struct gstr s, struct gnode *ret)
{
	uint32_t cp;
	bool byte;
	size_t len = s.n > 2 ? unquote_char(s.p + 1, s.n - 1, '\'', &cp, &byte) : 0;
	if (!len || len + 2 != s.n)
		return false;
	ret->num = GNUM_INT;
	ret->i = cp;
	return true;
}

static bool bad(char *msg, const char *what, struct gstr s)
{
	int n = (int)(s.n < 60 ? s.n : 60);
	snprintf(msg, 128, "%s%.*s%s", what, n, s.p, strchr(what, '"') ? "\"" : "");
	return false;
}

bool gparse_number(struct gtok tok, struct gnode *ret, char msg[128])
{
	struct gstr s = tok.text;
	if (tok.type == GT_CHARCONST)
		return character(s, ret) || bad(msg, "malformed character constant: ", s);
	if (tok.type == GT_COMPLEX || s.p[s.n - 1] == 'i') {
		if (!imaginary(s, ret))
			return bad(msg, "illegal number syntax: \"", s);
		if (ret->im != 0)
			return true;
		double re = ret->re; /* without an imaginary part it is a plain number */
		bool is_int = fabs(re) < 9e18 && re == floor(re);
		ret->num = is_int && !has_any(s, ".eEpP") ? GNUM_INT : GNUM_FLOAT;
		if (ret->num == GNUM_INT)
			ret->i = (int64_t)re;
		return true;
	}
	int rc;
	bool minus = s.p[0] == '-', plus = s.p[0] == '+', hex = s.n > 2 && s.p[0] == '0' && (s.p[1] | 32) == 'x';
	bool pointed = !(hex && !has_any(s, "pP")) && has_any(s, ".eEpP");
	uint64_t v = underscores_ok(s) ? whole(s, &rc) : (rc = EINVAL, 0);
	bool is_int = !rc && v <= (uint64_t)INT64_MAX + minus;
	double f;
	if (is_int && !pointed) {
		ret->num = GNUM_INT;
		ret->i = minus ? (int64_t)(0 - v) : (int64_t)v;
	} else if (is_int) { /* -0x1e: an integer, but it looks like a float */
		ret->num = GNUM_FLOAT;
		ret->re = minus ? -(double)v : (double)v;
	} else if (!rc && !minus && !plus) {
		ret->num = GNUM_TOO_BIG;
	} else if (real(s, &f)) {
		if (!has_any(s, ".eEpP"))
			return bad(msg, "integer overflow: \"", s);
		ret->num = GNUM_FLOAT;
		ret->re = f;
	} else {
		return bad(msg, "illegal number syntax: \"", s);
	}
	return true;
}
