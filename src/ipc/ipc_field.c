#include "ipc/ipc_field.h"

#include <string.h>

#include "base/bug.h"
#include "base/mem.h"
#include "base/vec.h"

enum { LIST_MAX = 16 << 20 }; /* elements of a list; a payload cannot hold many more */

/* A list of strings as it lies in its struct: the pointer and, behind it, the count. */
struct strs {
	char **data;
	size_t n;
};

static int write_bytes(const char *p, size_t n, void *out)
{
	str_add(out, p, n);
	return 0;
}

/* jansson's own writer: unlike jsonw_value it keeps 2.0 a real number, so that what arrives is what was sent. */
static void write_json(struct jsonw *w, const json_t *v)
{
	struct str text = {0};
	BUG_ON(json_dump_callback(v, write_bytes, &text, JSON_COMPACT | JSON_ENCODE_ANY) != 0);
	jsonw_raw(w, text.data, text.len);
	str_release(&text);
}

static void write_strs(struct jsonw *w, const struct strs *l)
{
	jsonw_arr(w);
	for (size_t i = 0; i < l->n; i++)
		jsonw_str(w, l->data[i]);
	jsonw_arr_end(w);
}

static void write_ids(struct jsonw *w, const struct ids *ids)
{
	jsonw_arr(w);
	for (size_t i = 0; i < ids->n; i++)
		jsonw_int(w, ids->data[i]);
	jsonw_arr_end(w);
}

static bool is_absent(const struct ipc_field *f, const void *p)
{
	switch (f->type) {
	case F_STR:
		return !*(char *const *)p;
	case F_JSON:
		return !*(json_t *const *)p;
	case F_STRS:
		return !((const struct strs *)p)->n;
	case F_IDS:
		return !((const struct ids *)p)->n;
	default:
		return false;
	}
}

static void write_value(struct jsonw *w, const struct ipc_field *f, const void *p)
{
	switch (f->type) {
	case F_STR:
		jsonw_str(w, *(char *const *)p);
		break;
	case F_I64:
		jsonw_int(w, *(const int64_t *)p);
		break;
	case F_INT:
		jsonw_int(w, *(const int *)p);
		break;
	case F_F64:
		jsonw_f64(w, *(const double *)p);
		break;
	case F_BOOL:
		jsonw_bool(w, *(const bool *)p);
		break;
	case F_ENUM:
		jsonw_str(w, f->names[*(const unsigned *)p]);
		break;
	case F_CODE:
		jsonw_str(w, err_name(*(const int *)p));
		break;
	case F_JSON:
		write_json(w, *(json_t *const *)p);
		break;
	case F_STRS:
		write_strs(w, p);
		break;
	case F_IDS:
		write_ids(w, p);
		break;
	case F_SUB:
		jsonw_obj(w);
		ipc_field_write(w, f->sub, p);
		jsonw_obj_end(w);
		break;
	}
}

void ipc_field_write(struct jsonw *w, const struct ipc_field *table, const void *base)
{
	for (const struct ipc_field *f = table; f->key; f++) {
		const char *p = (const char *)base + f->at;
		if (is_absent(f, p))
			continue;
		jsonw_key(w, f->key);
		write_value(w, f, p);
	}
}

static int wrong(const struct ipc_field *f, const char *what, struct err *err)
{
	return err_set(err, ERR_INVALID, "field \"%s\" must be %s", f->key, what);
}

static int read_str(const struct ipc_field *f, const json_t *v, char **ret, struct err *err)
{
	const char *s = json_string_value(v);
	if (!s)
		return wrong(f, "a string", err);
	if (strlen(s) != json_string_length(v))
		return wrong(f, "a string without NUL characters", err);
	mem_free(*ret);
	*ret = mem_strdup(s);
	return 0;
}

static int read_int(const struct ipc_field *f, const json_t *v, int64_t *ret, struct err *err)
{
	json_int_t n = json_integer_value(v);
	if (!json_is_integer(v))
		return wrong(f, "an integer", err);
	if (n < f->min || n > f->max)
		return err_set(err, ERR_INVALID, "field \"%s\" is %lld, it must be from %lld to %lld", f->key, (long long)n,
			       (long long)f->min, (long long)f->max);
	*ret = n;
	return 0;
}

static int read_f64(const struct ipc_field *f, const json_t *v, double *ret, struct err *err)
{
	if (!json_is_number(v))
		return wrong(f, "a number", err);
	*ret = json_number_value(v);
	return 0;
}

static int read_enum(const struct ipc_field *f, const json_t *v, unsigned *ret, struct err *err)
{
	const char *s = json_string_value(v);
	for (unsigned i = 0; s && f->names[i]; i++)
		if (!strcmp(s, f->names[i])) {
			*ret = i;
			return 0;
		}
	return wrong(f, "one of the known words", err);
}

static int read_strs(const struct ipc_field *f, const json_t *v, struct strs *ret, struct err *err)
{
	size_t n = json_array_size(v);
	if (!json_is_array(v) || n > LIST_MAX || ret->n)
		return wrong(f, "a list of strings", err);
	ret->data = mem_calloc(n, sizeof *ret->data);
	for (; ret->n < n; ret->n++) {
		int rc = read_str(f, json_array_get(v, ret->n), &ret->data[ret->n], err);
		if (rc)
			return rc;
	}
	return 0;
}

static int read_ids(const struct ipc_field *f, const json_t *v, struct ids *ret, struct err *err)
{
	size_t n = json_array_size(v);
	if (!json_is_array(v) || n > LIST_MAX)
		return wrong(f, "a list of token ids", err);
	vec_reserve(ret, n);
	for (size_t i = 0; i < n; i++) {
		int64_t id;
		static const struct ipc_field range = {.key = "id", .min = INT32_MIN, .max = INT32_MAX};
		if (read_int(&range, json_array_get(v, i), &id, err))
			return wrong(f, "a list of token ids", err);
		ret->data[ret->n++] = (int)id;
	}
	return 0;
}

static int read_json(const struct ipc_field *f, json_t *v, json_t **ret, struct err *err)
{
	if (!(f->json_mask & JSON_BIT(json_typeof(v))))
		return wrong(f, "of another JSON type", err);
	json_decref(*ret);
	*ret = json_incref(v);
	return 0;
}

static int read_value(const struct ipc_field *f, json_t *v, void *p, struct err *err)
{
	int64_t n;
	int rc;
	switch (f->type) {
	case F_STR:
		return read_str(f, v, p, err);
	case F_I64:
		return read_int(f, v, p, err);
	case F_INT:
		rc = read_int(f, v, &n, err);
		if (!rc)
			*(int *)p = (int)n;
		return rc;
	case F_F64:
		return read_f64(f, v, p, err);
	case F_BOOL:
		if (!json_is_boolean(v))
			return wrong(f, "true or false", err);
		*(bool *)p = json_is_true(v);
		return 0;
	case F_ENUM:
		return read_enum(f, v, p, err);
	case F_CODE:
		if (!json_is_string(v))
			return wrong(f, "the name of an error class", err);
		*(int *)p = err_from_name(json_string_value(v));
		return 0;
	case F_JSON:
		return read_json(f, v, p, err);
	case F_STRS:
		return read_strs(f, v, p, err);
	case F_IDS:
		return read_ids(f, v, p, err);
	case F_SUB:
		if (!json_is_object(v))
			return wrong(f, "an object", err);
		return ipc_field_read(v, f->sub, p, err);
	}
	return wrong(f, "of a known type", err);
}

int ipc_field_read(const json_t *obj, const struct ipc_field *table, void *base, struct err *err)
{
	for (const struct ipc_field *f = table; f->key; f++) {
		json_t *v = json_object_get(obj, f->key);
		if (!v && f->must)
			return err_set(err, ERR_INVALID, "field \"%s\" is missing", f->key);
		int rc = v ? read_value(f, v, (char *)base + f->at, err) : 0;
		if (rc)
			return rc;
	}
	return 0;
}

void ipc_field_release(const struct ipc_field *table, void *base)
{
	for (const struct ipc_field *f = table; f->key; f++) {
		void *p = (char *)base + f->at;
		struct strs *l = p;
		switch (f->type) {
		case F_STR:
			mem_free(*(char **)p);
			*(char **)p = NULL;
			break;
		case F_JSON:
			json_decref(*(json_t **)p);
			*(json_t **)p = NULL;
			break;
		case F_STRS:
			for (size_t i = 0; l->data && i < l->n; i++)
				mem_free(l->data[i]);
			mem_free(l->data);
			*l = (struct strs){0};
			break;
		case F_IDS:
			vec_release((struct ids *)p);
			break;
		case F_SUB:
			ipc_field_release(f->sub, p);
			break;
		default:
			break;
		}
	}
}
