#include "base/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/bug.h"
#include "base/utf8.h"

/* ---- reading ---- */

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

bool json_is_blank(const char *text, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!is_blank(text[i]))
			return false;
	return true;
}

/* The four hex digits at s, or -1. */
static int hex4(const char *s, size_t n)
{
	int v = 0;
	if (n < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		char c = s[i];
		int d = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
		if (d < 0)
			return -1;
		v = v << 4 | d;
	}
	return v;
}

/* Copies one string token that starts at s[0] == '"'; returns the bytes consumed. Repairs what jansson refuses and Go
 * accepts: invalid UTF-8 and lone surrogates. */
static size_t copy_string(const char *s, size_t n, struct str *out)
{
	size_t i = 1;
	str_addc(out, '"');
	while (i < n) {
		char c = s[i];
		if (c == '"') {
			str_addc(out, '"');
			return i + 1;
		}
		if (c == '\\' && i + 1 < n) {
			int u = s[i + 1] == 'u' ? hex4(s + i + 2, n - i - 2) : -1;
			if (u >= 0xD800 && u < 0xE000) {
				int low = u < 0xDC00 && i + 7 < n && s[i + 6] == '\\' && s[i + 7] == 'u' ? hex4(s + i + 8, n - i - 8) : -1;
				if (low >= 0xDC00 && low < 0xE000) {
					str_add(out, s + i, 12);
					i += 12;
				} else {
					str_adds(out, "\\ufffd");
					i += 6;
				}
				continue;
			}
			str_add(out, s + i, 2);
			i += 2;
			continue;
		}
		uint32_t cp;
		size_t len = utf8_decode(s + i, n - i, &cp);
		if (len)
			str_add(out, s + i, len);
		else
			str_adds(out, "\\ufffd");
		i += len ? len : 1;
	}
	return n;
}

/* Copies one number token; integers of more than 18 digits get an exponent, so that they become reals. */
static size_t copy_number(const char *s, size_t n, struct str *out)
{
	size_t i = 0;
	bool real = false;
	while (i < n && strchr("+-0123456789.eE", s[i]) && s[i]) {
		real |= s[i] == '.' || s[i] == 'e' || s[i] == 'E';
		i++;
	}
	str_add(out, s, i);
	if (!real && i > 18)
		str_adds(out, "e0");
	return i;
}

enum { DEPTH_MAX = 2000 }; /* below jansson's own bound of 2048 */

/* One pass over the text: repairs tokens, stops after the first value, counts nesting. */
static int repair(const char *s, size_t n, struct str *out, size_t *ret_used, struct err *err)
{
	int depth = 0;
	size_t i = 0;
	while (i < n) {
		char c = s[i];
		if (is_blank(c)) {
			i++;
			str_addc(out, ' ');
			continue;
		}
		if (c == '"') {
			i += copy_string(s + i, n - i, out);
		} else if (c == '-' || (c >= '0' && c <= '9')) {
			i += copy_number(s + i, n - i, out);
		} else {
			if ((c == '[' || c == '{') && ++depth > DEPTH_MAX)
				return err_set(err, ERR_INVALID, "invalid character '%c' exceeded max depth", c);
			if (c == ']' || c == '}')
				depth--;
			if (c == 't' || c == 'f' || c == 'n') {
				while (i < n && s[i] >= 'a' && s[i] <= 'z')
					str_addc(out, s[i++]);
			} else {
				str_addc(out, c ? c : '\1'); /* a NUL between tokens is as wrong as any other control byte */
				i++;
				if (c == ',' || c == ':')
					continue;
			}
		}
		if (depth <= 0)
			break;
	}
	*ret_used = i;
	return 0;
}

static int parse_error(const char *s, size_t n, const json_error_t *e, struct err *err)
{
	size_t at = e->position > 0 ? (size_t)e->position : 0;
	enum json_error_code code = json_error_code(e);
	if (code == json_error_premature_end_of_input || json_is_blank(s, n))
		return err_set(err, ERR_INVALID, "unexpected EOF");
	if (code == json_error_stack_overflow)
		return err_set(err, ERR_INVALID, "exceeded max depth");
	if (code == json_error_invalid_syntax || at == 0) {
		size_t i = at ? at - 1 : 0;
		while (i < n && is_blank(s[i]))
			i++;
		if (i < n && (unsigned char)s[i] >= 0x20 && (unsigned char)s[i] < 0x7f)
			return err_set(err, ERR_INVALID, "invalid character '%c' looking for beginning of value", s[i]);
	}
	return err_set(err, ERR_INVALID, "invalid JSON: %s near byte %zu", e->text, at);
}

static int parse(const char *text, size_t n, bool all, json_t **ret, struct err *err)
{
	struct str fixed = {0};
	size_t used = 0;
	int rc = repair(text, n, &fixed, &used, err);
	*ret = NULL;
	if (!rc) {
		json_error_t e;
		*ret = json_loadb(str_cstr(&fixed), fixed.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, &e);
		if (!*ret)
			rc = parse_error(str_cstr(&fixed), fixed.len, &e, err);
		else if (all && !json_is_blank(text + used, n - used))
			rc = err_set(err, ERR_INVALID, "unexpected text after the JSON value");
	}
	str_release(&fixed);
	if (rc) {
		json_decref(*ret);
		*ret = NULL;
	}
	return rc;
}

int json_parse(const char *text, size_t n, json_t **ret, struct err *err)
{
	return parse(text, n, false, ret, err);
}

int json_parse_all(const char *text, size_t n, json_t **ret, struct err *err)
{
	return parse(text, n, true, ret, err);
}

json_t *json_get(const json_t *obj, const char *key)
{
	json_t *v = json_object_get(obj, key), *found = NULL;
	const char *k;
	if (v || !json_is_object(obj))
		return v;
	void *it = json_object_iter((json_t *)obj);
	for (; it; it = json_object_iter_next((json_t *)obj, it)) {
		k = json_object_iter_key(it);
		if (!strcasecmp(k, key))
			found = json_object_iter_value(it);
	}
	return found;
}

json_t *json_get_nonnull(const json_t *obj, const char *key)
{
	json_t *v = json_get(obj, key);
	return json_is_null(v) ? NULL : v;
}

/* ---- numbers as text ---- */

/* Turns printf's "1e-07" into Go's "1e-7", and plain digits for exponents within [-6, 21). */
static void go_form(const char *g, double v, char out[40])
{
	double a = fabs(v);
	bool exp_form = a != 0 && (a < 1e-6 || a >= 1e21);
	int exp10 = 0, n_digit = 0;
	char digits[32];
	const char *p = g;
	char *o = out;
	int point = -1;
	if (*p == '-') {
		*o++ = '-';
		p++;
	}
	for (; *p && *p != 'e'; p++) {
		if (*p == '.')
			point = n_digit;
		else
			digits[n_digit++] = *p;
	}
	if (point < 0)
		point = n_digit;
	if (*p == 'e')
		exp10 = atoi(p + 1);
	int lead = 0;
	while (lead < n_digit - 1 && digits[lead] == '0')
		lead++;
	memmove(digits, digits + lead, (size_t)(n_digit - lead));
	n_digit -= lead;
	point -= lead;
	while (n_digit > 1 && digits[n_digit - 1] == '0')
		n_digit--;
	point += exp10; /* value = 0.digits * 10^point */
	if (exp_form) {
		*o++ = digits[0];
		if (n_digit > 1) {
			*o++ = '.';
			memcpy(o, digits + 1, (size_t)(n_digit - 1));
			o += n_digit - 1;
		}
		sprintf(o, "e%+d", point - 1);
		return;
	}
	if (point <= 0) {
		*o++ = '0';
		if (!(n_digit == 1 && digits[0] == '0')) {
			*o++ = '.';
			for (int i = point; i < 0; i++)
				*o++ = '0';
			memcpy(o, digits, (size_t)n_digit);
			o += n_digit;
		}
	} else {
		for (int i = 0; i < point || i < n_digit; i++) {
			if (i == point)
				*o++ = '.';
			*o++ = i < n_digit ? digits[i] : '0';
		}
	}
	*o = '\0';
}

void json_f64_text(double v, char out[40])
{
	char g[40];
	if (!isfinite(v)) {
		strcpy(out, "null");
		return;
	}
	static const int precs[] = {6, 15, 16, 17}; /* trailing zeros are cut afterwards, so the steps may be coarse */
	for (size_t i = 0; i < ARRAY_LEN(precs); i++) {
		int prec = precs[i];
		snprintf(g, sizeof g, "%.*e", prec - 1, v);
		if (strtod(g, NULL) == v)
			break;
	}
	go_form(g, v, out);
}

void json_f32_text(float v, char out[40])
{
	char g[40];
	if (!isfinite(v)) {
		strcpy(out, "null");
		return;
	}
	for (int prec = 6; prec <= 9; prec++) /* 9 digits identify any float */ {
		snprintf(g, sizeof g, "%.*e", prec - 1, (double)v);
		if (strtof(g, NULL) == v)
			break;
	}
	go_form(g, (double)v, out);
}

/* ---- writer ---- */

void jsonw_init(struct jsonw *w, struct str *out, enum jsonw_style style)
{
	*w = (struct jsonw){.out = out, .style = style};
}

/* Called before every value: the comma that separates it from the one before. */
static void before(struct jsonw *w)
{
	if (w->comma && !w->after_key)
		str_adds(w->out, w->style == JSONW_SPACED ? ", " : ",");
	w->after_key = false;
	w->comma = true;
}

static void open_bracket(struct jsonw *w, char c)
{
	before(w);
	str_addc(w->out, c);
	w->depth++;
	w->comma = false;
}

static void close_bracket(struct jsonw *w, char c)
{
	BUG_ON(w->depth <= 0 || w->after_key);
	str_addc(w->out, c);
	w->depth--;
	w->comma = true;
}

void jsonw_obj(struct jsonw *w)
{
	open_bracket(w, '{');
}

void jsonw_obj_end(struct jsonw *w)
{
	close_bracket(w, '}');
}

void jsonw_arr(struct jsonw *w)
{
	open_bracket(w, '[');
}

void jsonw_arr_end(struct jsonw *w)
{
	close_bracket(w, ']');
}

static void put_string(struct jsonw *w, const char *s, size_t n)
{
	static const char hex[] = "0123456789abcdef";
	struct str *o = w->out;
	str_addc(o, '"');
	size_t from = 0;
	for (size_t i = 0; i < n;) {
		unsigned char c = (unsigned char)s[i];
		char esc[8];
		size_t n_esc = 0, len = 1;
		if (c >= 0x80) {
			uint32_t cp;
			len = utf8_decode(s + i, n - i, &cp);
			if (!len) {
				n_esc = (size_t)sprintf(esc, "\\ufffd");
				len = 1;
			} else if (w->style == JSONW_GO && (cp == 0x2028 || cp == 0x2029)) {
				n_esc = (size_t)sprintf(esc, "\\u%04x", (unsigned)cp);
			}
		} else if (c == '"' || c == '\\') {
			esc[n_esc++] = '\\';
			esc[n_esc++] = (char)c;
		} else if (c < 0x20 || (w->style == JSONW_GO && (c == '<' || c == '>' || c == '&'))) {
			const char *at = c ? strchr("\bb\tt\nn\ff\rr", c) : NULL;
			esc[n_esc++] = '\\';
			if (at && c < 0x20) {
				esc[n_esc++] = at[1];
			} else {
				memcpy(esc + n_esc, "u00", 3);
				esc[n_esc + 3] = hex[c >> 4];
				esc[n_esc + 4] = hex[c & 15];
				n_esc += 5;
			}
		}
		if (n_esc) {
			str_add(o, s + from, i - from);
			str_add(o, esc, n_esc);
			from = i + len;
		}
		i += len;
	}
	str_add(o, s + from, n - from);
	str_addc(o, '"');
}

void jsonw_key(struct jsonw *w, const char *key)
{
	BUG_ON(w->after_key);
	before(w);
	put_string(w, key, strlen(key));
	str_adds(w->out, w->style == JSONW_SPACED ? ": " : ":");
	w->after_key = true;
}

void jsonw_strn(struct jsonw *w, const char *s, size_t n)
{
	before(w);
	put_string(w, s, n);
}

void jsonw_str(struct jsonw *w, const char *z)
{
	if (z)
		jsonw_strn(w, z, strlen(z));
	else
		jsonw_null(w);
}

void jsonw_raw(struct jsonw *w, const char *json, size_t n)
{
	before(w);
	str_add(w->out, json, n);
}

void jsonw_int(struct jsonw *w, int64_t v)
{
	before(w);
	str_printf(w->out, "%lld", (long long)v);
}

void jsonw_f64(struct jsonw *w, double v)
{
	char buf[40];
	json_f64_text(v, buf);
	jsonw_raw(w, buf, strlen(buf));
}

void jsonw_f32(struct jsonw *w, float v)
{
	char buf[40];
	json_f32_text(v, buf);
	jsonw_raw(w, buf, strlen(buf));
}

void jsonw_bool(struct jsonw *w, bool v)
{
	jsonw_raw(w, v ? "true" : "false", v ? 4 : 5);
}

void jsonw_null(struct jsonw *w)
{
	jsonw_raw(w, "null", 4);
}

void jsonw_value(struct jsonw *w, const json_t *v)
{
	switch (v ? json_typeof(v) : JSON_NULL) {
	case JSON_OBJECT:
		jsonw_obj(w);
		for (void *it = json_object_iter((json_t *)v); it; it = json_object_iter_next((json_t *)v, it)) {
			jsonw_key(w, json_object_iter_key(it));
			jsonw_value(w, json_object_iter_value(it));
		}
		jsonw_obj_end(w);
		break;
	case JSON_ARRAY:
		jsonw_arr(w);
		for (size_t i = 0; i < json_array_size(v); i++)
			jsonw_value(w, json_array_get(v, i));
		jsonw_arr_end(w);
		break;
	case JSON_STRING:
		jsonw_strn(w, json_string_value(v), json_string_length(v));
		break;
	case JSON_INTEGER:
		jsonw_int(w, json_integer_value(v));
		break;
	case JSON_REAL:
		jsonw_f64(w, json_real_value(v));
		break;
	case JSON_TRUE:
	case JSON_FALSE:
		jsonw_bool(w, json_is_true(v));
		break;
	case JSON_NULL:
		jsonw_null(w);
		break;
	}
}

void jsonw_kstr(struct jsonw *w, const char *key, const char *z)
{
	jsonw_key(w, key);
	jsonw_str(w, z);
}

void jsonw_kint(struct jsonw *w, const char *key, int64_t v)
{
	jsonw_key(w, key);
	jsonw_int(w, v);
}

void jsonw_kbool(struct jsonw *w, const char *key, bool v)
{
	jsonw_key(w, key);
	jsonw_bool(w, v);
}
