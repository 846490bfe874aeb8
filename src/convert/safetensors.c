#include "convert/safetensors.h"

#include <stdlib.h>
#include <string.h>

#include "base/bug.h"
#include "base/json.h"
#include "base/mem.h"
#include "gguf/gguf_type.h"

enum {
	HEADER_MAX_BYTES = 100 << 20, /* the format's own limit */
	TENSORS_MAX = 1 << 20,
	NAME_MAX_BYTES = 512
};

static const struct {
	const char *name;
	int bytes, type;
} dtypes[] = {
	{"F64", 8, -1}, {"F32", 4, GGUF_F32}, {"F16", 2, GGUF_F16}, {"BF16", 2, GGUF_BF16}, {"I64", 8, -1}, {"I32", 4, -1},
	{"I16", 2, -1}, {"I8", 1, -1}, {"U64", 8, -1}, {"U32", 4, -1}, {"U16", 2, -1}, {"U8", 1, -1}, {"BOOL", 1, -1},
	{"F8_E4M3", 1, -1}, {"F8_E5M2", 1, -1},
};

static int bad(struct err *err, const char *name, const char *what)
{
	char shown[64];
	size_t n = 0;
	for (; name[n] && n < sizeof shown - 1; n++)
		shown[n] = name[n] >= 0x20 && name[n] < 0x7f ? name[n] : '?';
	shown[n] = '\0';
	return err_set(err, ERR_FORMAT, "the safetensors file's tensor \"%s\" %s: it is damaged, download it again", shown, what);
}

static bool get_size(const json_t *v, int64_t *ret)
{
	*ret = json_integer_value(v);
	return json_is_integer(v) && *ret >= 0;
}

static int read_shape(struct st_tensor *t, const json_t *shape, struct err *err)
{
	size_t i;
	json_t *v;
	if (!json_is_array(shape) || json_array_size(shape) > ST_DIMS_MAX)
		return bad(err, t->name, "has no shape, or too many dimensions");
	t->n_dims = (int)json_array_size(shape);
	t->n_elem = 1;
	json_array_foreach(shape, i, v)
		if (!get_size(v, &t->shape[i]) || __builtin_mul_overflow(t->n_elem, t->shape[i], &t->n_elem))
			return bad(err, t->name, "has an impossible shape");
	return 0;
}

static int read_tensor(struct st_tensor *t, const char *name, const json_t *v, const uint8_t *data, size_t n_data, struct err *err)
{
	const char *dtype = json_string_value(json_object_get(v, "dtype"));
	const json_t *places = json_object_get(v, "data_offsets");
	int64_t begin, end;
	size_t k = 0;
	t->name = mem_strdup(name);
	if (!*name || strlen(name) > NAME_MAX_BYTES)
		return bad(err, name, "has a name of an impossible length");
	while (dtype && k < ARRAY_LEN(dtypes) && strcmp(dtypes[k].name, dtype))
		k++;
	if (!dtype || k == ARRAY_LEN(dtypes))
		return bad(err, name, "has no known type");
	t->type = dtypes[k].type;
	int rc = read_shape(t, json_object_get(v, "shape"), err);
	if (rc)
		return rc;
	if (json_array_size(places) != 2 || !get_size(json_array_get(places, 0), &begin) || !get_size(json_array_get(places, 1), &end) ||
	    begin > end || (uint64_t)end > n_data)
		return bad(err, name, "lies outside of the file");
	if (__builtin_mul_overflow((size_t)t->n_elem, (size_t)dtypes[k].bytes, &t->n_bytes) || t->n_bytes != (size_t)(end - begin))
		return bad(err, name, "has another size than its shape");
	t->data = data + begin;
	return 0;
}

static int by_place(const void *a, const void *b)
{
	const struct st_tensor *x = a, *y = b;
	return x->data != y->data ? (x->data > y->data) - (x->data < y->data) : (x->n_bytes > y->n_bytes) - (x->n_bytes < y->n_bytes);
}

static int read_all(const json_t *header, const uint8_t *data, size_t n_data, struct safetensors *ret, struct err *err)
{
	int rc = 0;
	if (!json_is_object(header))
		return err_set(err, ERR_FORMAT, "the safetensors file's header is no JSON object");
	if (json_object_size(header) > TENSORS_MAX)
		return err_set(err, ERR_LIMIT, "the safetensors file has more than %d tensors", TENSORS_MAX);
	ret->tensors = mem_calloc(json_object_size(header) + 1, sizeof *ret->tensors);
	for (void *it = json_object_iter((json_t *)header); !rc && it; it = json_object_iter_next((json_t *)header, it))
		if (strcmp(json_object_iter_key(it), "__metadata__"))
			rc = read_tensor(&ret->tensors[ret->n++], json_object_iter_key(it), json_object_iter_value(it), data, n_data, err);
	if (rc)
		return rc;
	qsort(ret->tensors, ret->n, sizeof *ret->tensors, by_place);
	for (size_t i = 1; i < ret->n; i++)
		if (ret->tensors[i - 1].data + ret->tensors[i - 1].n_bytes > ret->tensors[i].data)
			return bad(err, ret->tensors[i].name, "overlaps another one");
	return 0;
}

int safetensors_read(const uint8_t *data, size_t n_bytes, struct safetensors *ret, struct err *err)
{
	uint64_t n_header;
	json_t *header;
	*ret = (struct safetensors){0};
	if (n_bytes < sizeof n_header)
		return err_set(err, ERR_FORMAT, "not a safetensors file: it has only %zu bytes", n_bytes);
	memcpy(&n_header, data, sizeof n_header);
	data += sizeof n_header;
	n_bytes -= sizeof n_header;
	if (n_header > n_bytes || n_header > HEADER_MAX_BYTES)
		return err_set(err, ERR_FORMAT, "not a safetensors file, or an incomplete one: its header of %llu bytes does not fit",
			       (unsigned long long)n_header);
	int rc = json_parse_all((const char *)data, (size_t)n_header, &header, err);
	if (rc) {
		err_prefix(err, "the safetensors file's header");
		err->code = ERR_FORMAT;
		return ERR_FORMAT;
	}
	rc = read_all(header, data + n_header, n_bytes - (size_t)n_header, ret, err);
	json_decref(header);
	if (rc)
		safetensors_release(ret);
	return rc;
}

void safetensors_release(struct safetensors *s)
{
	for (size_t i = 0; i < s->n; i++)
		mem_free(s->tensors[i].name);
	mem_free(s->tensors);
	*s = (struct safetensors){0};
}
