#include "api/api_decode.h"

#include <math.h>
#include <string.h>

#include "base/bug.h"
#include "base/clock.h"
#include "base/json.h"

int api_body(struct api_call *call, const char *type_name, const char *blank, json_t **ret, struct err *err)
{
	*ret = NULL;
	if (json_is_blank(call->body, call->n_body))
		return err_set(err, ERR_INVALID, "%s", blank);
	int rc = json_parse(call->body, call->n_body, ret, err);
	if (rc)
		return rc;
	if (json_is_null(*ret)) {
		*ret = json_object();
	} else if (!json_is_object(*ret)) {
		api_type_error(*ret, type_name, NULL, NULL, err);
		json_decref(*ret);
		*ret = NULL;
		return ERR_INVALID;
	}
	return 0;
}

static const char *kind_of(const json_t *v)
{
	switch (json_typeof(v)) {
	case JSON_OBJECT: return "object";
	case JSON_ARRAY: return "array";
	case JSON_STRING: return "string";
	case JSON_INTEGER: case JSON_REAL: return "number";
	case JSON_TRUE: case JSON_FALSE: return "bool";
	default: return "null";
	}
}

int api_type_error(const json_t *got, const char *type_name, const char *name, const char *want, struct err *err)
{
	if (!name)
		return err_set(err, ERR_INVALID, "json: cannot unmarshal %s into Go value of type api.%s", kind_of(got), type_name);
	return err_set(err, ERR_INVALID, "json: cannot unmarshal %s into Go struct field %s.%s of type %s", kind_of(got), type_name,
		       name, want);
}

const char *api_text(struct api_call *call, const json_t *v)
{
	const char *s = json_string_value(v);
	size_t n = json_string_length(v);
	if (!s)
		return "";
	if (!memchr(s, '\0', n))
		return s;
	struct str fixed = {0};
	for (size_t i = 0; i < n; i++) {
		if (s[i])
			str_addc(&fixed, s[i]);
		else
			str_adds(&fixed, "\xEF\xBF\xBD");
	}
	char *copy = arena_strndup(&call->arena, fixed.data, fixed.len);
	str_release(&fixed);
	return copy ? copy : "";
}

/* ---- durations ---- */

static const struct {
	const char *name;
	int64_t ns;
} units[] = {
	{"ns", 1}, {"us", 1000}, {"\xC2\xB5s", 1000}, {"\xCE\xBCs", 1000}, {"ms", NS_PER_MS}, {"s", NS_PER_S},
	{"m", 60 * NS_PER_S}, {"h", 3600 * NS_PER_S},
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static int bad_duration(const char *text, struct err *err)
{
	return err_set(err, ERR_INVALID, "time: invalid duration \"%s\"", text);
}

/* One "1.5h" of a duration: adds it to *total. */
static int duration_term(const char *text, const char **at, double *total, struct err *err)
{
	const char *p = *at;
	double v = 0, scale = 1;
	bool any = false;
	for (; is_digit(*p); p++, any = true)
		v = v * 10 + (*p - '0');
	if (*p == '.') {
		for (p++; is_digit(*p); p++, any = true)
			v += (*p - '0') * (scale /= 10);
	}
	if (!any)
		return bad_duration(text, err);
	size_t n = 0;
	while (p[n] && p[n] != '.' && !is_digit(p[n]))
		n++;
	if (!n)
		return err_set(err, ERR_INVALID, "time: missing unit in duration \"%s\"", text);
	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		if (strlen(units[i].name) != n || memcmp(units[i].name, p, n))
			continue;
		*total += v * (double)units[i].ns;
		*at = p + n;
		return 0;
	}
	return err_set(err, ERR_INVALID, "time: unknown unit \"%.*s\" in duration \"%s\"", (int)n, p, text);
}

int api_duration(const char *text, int64_t *ret, struct err *err)
{
	const char *p = text;
	double total = 0;
	bool negative = *p == '-';
	if (*p == '-' || *p == '+')
		p++;
	*ret = 0;
	if (!strcmp(p, "0"))
		return 0;
	if (!*p)
		return bad_duration(text, err);
	while (*p) {
		int rc = duration_term(text, &p, &total, err);
		if (rc)
			return rc;
	}
	if (total >= 9.2e18)
		return bad_duration(text, err);
	*ret = negative ? -(int64_t)total : (int64_t)total;
	return 0;
}

/* ---- base64 ---- */

static int b64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

int api_base64_decode(const char *s, size_t n, struct str *out, struct err *err)
{
	uint32_t acc = 0;
	size_t n_char = 0, n_pad = 0;
	for (size_t i = 0; i < n; i++) {
		if (s[i] == '\n' || s[i] == '\r')
			continue;
		int v = b64_value(s[i]);
		bool pad = s[i] == '=' && n_char % 4 >= 2;
		if (n_pad ? !(pad && n_char % 4 == 3) : v < 0 && !pad)
			return err_set(err, ERR_INVALID, "illegal base64 data at input byte %zu", i);
		n_pad += pad;
		acc = acc << 6 | (uint32_t)(v < 0 ? 0 : v);
		if (++n_char % 4)
			continue;
		for (size_t k = 0; out && k < 3 - n_pad; k++)
			str_addc(out, (char)(acc >> (16 - 8 * k)));
		acc = 0;
	}
	if (n_char % 4)
		return err_set(err, ERR_INVALID, "illegal base64 data at input byte %zu", n);
	return 0;
}

void api_base64_encode(const void *data, size_t n, struct str *out)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const unsigned char *p = data;
	str_reserve(out, (n + 2) / 3 * 4);
	for (size_t i = 0; i < n; i += 3) {
		uint32_t v = (uint32_t)p[i] << 16 | (i + 1 < n ? (uint32_t)p[i + 1] << 8 : 0) | (i + 2 < n ? p[i + 2] : 0);
		str_addc(out, digits[v >> 18]);
		str_addc(out, digits[v >> 12 & 63]);
		str_addc(out, i + 1 < n ? digits[v >> 6 & 63] : '=');
		str_addc(out, i + 2 < n ? digits[v & 63] : '=');
	}
}

/* ---- fields ---- */

static int decode_keep_alive(struct api_call *call, const json_t *v, int64_t *ret, struct err *err)
{
	static const char *const go_types[] = {[JSON_OBJECT] = "map[string]interface {}", [JSON_ARRAY] = "[]interface {}",
					       [JSON_TRUE] = "bool", [JSON_FALSE] = "bool"};
	if (json_is_number(v)) {
		double s = json_number_value(v);
		*ret = s < 0 || s >= 9.2e9 ? INT64_MAX : (int64_t)(s * (double)NS_PER_S);
		return 0;
	}
	if (json_is_string(v)) {
		int rc = api_duration(api_text(call, v), ret, err);
		if (!rc && *ret < 0)
			*ret = INT64_MAX;
		return rc;
	}
	return err_set(err, ERR_INVALID, "Unsupported type: '%s'", go_types[json_typeof(v)]);
}

static int decode_think(struct api_call *call, const json_t *v, struct api_think *ret, struct err *err)
{
	static const char *const levels[] = {"high", "medium", "low", "max"};
	if (json_is_boolean(v)) {
		ret->on = json_is_true(v);
		return 0;
	}
	if (!json_is_string(v))
		return err_set(err, ERR_INVALID,
			       "think must be a boolean or string (\"high\", \"medium\", \"low\", \"max\", true, or false)");
	const char *s = api_text(call, v);
	for (size_t i = 0; i < ARRAY_LEN(levels); i++) {
		if (strcmp(levels[i], s))
			continue;
		*ret = (struct api_think){1, levels[i]};
		return 0;
	}
	return err_set(err, ERR_INVALID,
		       "invalid think value: \"%s\" (must be \"high\", \"medium\", \"low\", \"max\", true, or false)", s);
}

static int decode_int(const json_t *v, const char *type_name, const char *name, int64_t *ret, struct err *err)
{
	if (json_is_integer(v)) {
		*ret = json_integer_value(v);
		return 0;
	}
	if (json_is_real(v)) {
		char text[40];
		json_f64_text(json_real_value(v), text);
		return err_set(err, ERR_INVALID, "json: cannot unmarshal number %s into Go struct field %s.%s of type int", text,
			       type_name, name);
	}
	return api_type_error(v, type_name, name, "int", err);
}

static int check_items(const json_t *v, const char *type_name, const struct api_field *f, struct err *err)
{
	const char *elem = f->type == API_F_INTS ? "int" : "string";
	size_t i;
	json_t *x;
	json_array_foreach (v, i, x) {
		bool ok = f->type == API_F_INTS ? json_is_integer(x) : json_is_string(x) || json_is_null(x);
		int rc = ok ? 0 : api_type_error(x, type_name, f->name, elem, err);
		if (!rc && f->type == API_F_IMAGES)
			rc = api_base64_decode(json_string_value(x) ? json_string_value(x) : "", json_string_length(x), NULL, err);
		if (rc)
			return rc;
	}
	return 0;
}

/* JSON values that are kept as they are, after a look at their type. */
static int decode_value(json_t *v, const char *type_name, const struct api_field *f, json_t **ret, struct err *err)
{
	switch (f->type) {
	case API_F_NUM:
		if (!json_is_number(v))
			return api_type_error(v, type_name, f->name, "float64", err);
		break;
	case API_F_OBJ:
		if (!json_is_object(v))
			return api_type_error(v, type_name, f->name, "map[string]interface {}", err);
		break;
	case API_F_STR_MAP: {
		const char *key;
		json_t *x;
		if (!json_is_object(v))
			return api_type_error(v, type_name, f->name, "map[string]string", err);
		json_object_foreach (v, key, x)
			if (!json_is_string(x))
				return api_type_error(x, type_name, f->name, "string", err);
		break;
	}
	case API_F_ARR:
		if (!json_is_array(v))
			return api_type_error(v, type_name, f->name, "[]interface {}", err);
		break;
	case API_F_STRS: case API_F_INTS: case API_F_IMAGES:
		if (!json_is_array(v))
			return api_type_error(v, type_name, f->name, f->type == API_F_INTS ? "[]int" : "[]string", err);
		if (check_items(v, type_name, f, err))
			return ERR_INVALID;
		break;
	default:
		break;
	}
	*ret = v;
	return 0;
}

static int decode_field(struct api_call *call, json_t *v, const char *type_name, const struct api_field *f, void *slot,
			struct err *err)
{
	switch (f->type) {
	case API_F_STR:
		if (!json_is_string(v))
			return api_type_error(v, type_name, f->name, "string", err);
		*(const char **)slot = api_text(call, v);
		return 0;
	case API_F_BOOL:
		if (!json_is_boolean(v))
			return api_type_error(v, type_name, f->name, "bool", err);
		*(int *)slot = json_is_true(v);
		return 0;
	case API_F_INT:
		return decode_int(v, type_name, f->name, slot, err);
	case API_F_KEEP_ALIVE:
		return decode_keep_alive(call, v, slot, err);
	case API_F_THINK:
		return decode_think(call, v, slot, err);
	default:
		return decode_value(v, type_name, f, slot, err);
	}
}

static void set_absent(const struct api_field *f, void *slot)
{
	switch (f->type) {
	case API_F_STR: *(const char **)slot = ""; break;
	case API_F_BOOL: *(int *)slot = -1; break;
	case API_F_INT: *(int64_t *)slot = 0; break;
	case API_F_KEEP_ALIVE: *(int64_t *)slot = SCHED_KEEP_DEFAULT; break;
	case API_F_THINK: *(struct api_think *)slot = (struct api_think){-1, NULL}; break;
	default: *(json_t **)slot = NULL; break;
	}
}

int api_decode(struct api_call *call, const json_t *obj, const char *type_name, const struct api_field *fields, size_t n_field,
	       void *out, struct err *err)
{
	int rc = 0;
	for (size_t i = 0; i < n_field; i++)
		set_absent(&fields[i], (char *)out + fields[i].offset);
	for (size_t i = 0; !rc && i < n_field; i++) {
		json_t *v = json_get_nonnull(obj, fields[i].name);
		if (v)
			rc = decode_field(call, v, type_name, &fields[i], (char *)out + fields[i].offset, err);
	}
	return rc;
}
