/* GGUF files as sources. A split model has its metadata in part 0; every part has keys split.no, split.count and
 * split.tensors.count, and its share of the tensors. */
#include <string.h>

#include "base/bug.h"
#include "base/map.h"
#include "convert/convert_model.h"

/* Keys that are written anew, or that only the parts of a split model have. */
static bool is_replaced(const char *key)
{
	return !strncmp(key, "split.", 6) || !strcmp(key, "general.file_type") || !strcmp(key, "general.quantization_version") ||
	       !strcmp(key, "general.alignment");
}

/* Part i of n in its place; *ret is in the order of the parts. */
static int order_parts(struct gguf *const *parts, size_t n, const struct gguf **ret, struct err *err)
{
	for (size_t i = 0; i < n; i++) {
		int64_t no = 0, count = 1;
		if (gguf_get_i64(parts[i], "split.no", &no, err) < 0 || gguf_get_i64(parts[i], "split.count", &count, err) < 0)
			return err->code;
		if (count < 1 || (uint64_t)count != n)
			return err_set(err, ERR_FORMAT, "the model is split into %lld files, %zu were given: give all of them, and "
							"nothing else", (long long)count, n);
		if (no < 0 || (uint64_t)no >= n)
			return err_set(err, ERR_FORMAT, "a part of a split model has number %lld, but there are %zu", (long long)no, n);
		if (ret[no])
			return err_set(err, ERR_FORMAT, "part %lld of the split model was given twice", (long long)no + 1);
		ret[no] = parts[i];
	}
	return 0;
}

static int add_tensor(struct convert_model *m, struct map *seen, const struct gguf_tensor *t, struct err *err)
{
	if (map_get(seen, t->name, strlen(t->name)))
		return err_set(err, ERR_FORMAT, "two parts of the model have a tensor %s", t->name);
	map_put_ref(seen, t->name, strlen(t->name));
	struct convert_tensor c = {.name = t->name, .n_dims = t->n_dims, .src_type = t->type, .type = t->type, .src = t->data,
				   .row = t->ne[0]};
	memcpy(c.ne, t->ne, sizeof c.ne);
	vec_push(&m->tensors, c);
	return 0;
}

/* <arch>.<name>, 0 when absent; the greatest of a list with a value per layer. */
static int64_t arch_int(const struct gguf *g, const char *name)
{
	struct gguf_str arch;
	struct str key = {0};
	int64_t most = 0, v;
	if (gguf_get_str(g, "general.architecture", &arch, NULL) <= 0)
		return 0;
	str_add(&key, arch.s, arch.n);
	str_printf(&key, ".%s", name);
	const struct gguf_kv *kv = gguf_find(g, str_cstr(&key));
	for (uint64_t i = 0; kv && i < kv->n && i < 4096; i++)
		if (gguf_arr_i64(kv, i, &v, NULL) >= 0 && v > most)
			most = v;
	str_release(&key);
	return most;
}

int convert_gguf_read(struct gguf *const *parts, size_t n_part, struct convert_model *m, struct err *err)
{
	const struct gguf **sorted = mem_calloc(n_part, sizeof *sorted);
	struct map seen = {0};
	int64_t n_want = -1, file_type = -1;
	int rc = order_parts(parts, n_part, sorted, err);
	for (size_t i = 0; !rc && i < n_part; i++)
		for (size_t k = 0; !rc && k < gguf_n_tensor(sorted[i]); k++)
			rc = add_tensor(m, &seen, gguf_tensor_at(sorted[i], k), err);
	if (!rc && gguf_get_i64(sorted[0], "split.tensors.count", &n_want, err) > 0 && (uint64_t)n_want != m->tensors.n)
		rc = err_set(err, ERR_FORMAT, "the parts have %zu tensors together, the first one says %lld", m->tensors.n,
			     (long long)n_want);
	if (!rc) {
		for (size_t k = 0; k < gguf_n_kv(sorted[0]); k++)
			if (!is_replaced(gguf_kv_at(sorted[0], k)->key))
				gguf_write_copy(&m->w, gguf_kv_at(sorted[0], k));
		gguf_get_i64(sorted[0], "general.file_type", &file_type, NULL);
		m->file_type = file_type >= 0 && file_type <= INT32_MAX ? (int)file_type : -1;
		m->n_layer = arch_int(sorted[0], "block_count");
		m->n_head = arch_int(sorted[0], "attention.head_count");
		m->n_head_kv = arch_int(sorted[0], "attention.head_count_kv");
		m->n_head_kv = m->n_head_kv ? m->n_head_kv : m->n_head;
		m->n_expert = arch_int(sorted[0], "expert_count");
	}
	map_release(&seen);
	mem_free(sorted);
	return rc;
}
