#include "gguf/gguf_write.h"

#include <string.h>

#include "base/bug.h"

enum { ALIGN = 32 };

void gguf_writer_release(struct gguf_writer *w)
{
	str_release(&w->kv);
	vec_release(&w->tensors);
}

static void put_text(struct str *out, const char *s, uint64_t n)
{
	str_add(out, &n, sizeof n);
	str_add(out, s, (size_t)n);
}

static void put_key(struct gguf_writer *w, const char *key, int32_t type)
{
	put_text(&w->kv, key, strlen(key));
	str_add(&w->kv, &type, sizeof type);
	w->n_kv++;
}

void gguf_write_u32(struct gguf_writer *w, const char *key, uint32_t v)
{
	put_key(w, key, GGUF_KV_U32);
	str_add(&w->kv, &v, sizeof v);
}

void gguf_write_f32(struct gguf_writer *w, const char *key, float v)
{
	put_key(w, key, GGUF_KV_F32);
	str_add(&w->kv, &v, sizeof v);
}

void gguf_write_bool(struct gguf_writer *w, const char *key, bool v)
{
	put_key(w, key, GGUF_KV_BOOL);
	str_addc(&w->kv, v);
}

void gguf_write_str(struct gguf_writer *w, const char *key, const char *s, size_t n)
{
	put_key(w, key, GGUF_KV_STR);
	put_text(&w->kv, s, n);
}

static void put_array_head(struct gguf_writer *w, const char *key, int32_t elem, uint64_t n)
{
	put_key(w, key, GGUF_KV_ARR);
	str_add(&w->kv, &elem, sizeof elem);
	str_add(&w->kv, &n, sizeof n);
}

void gguf_write_array(struct gguf_writer *w, const char *key, enum gguf_kv_type elem, const void *p, uint64_t n)
{
	put_array_head(w, key, elem, n);
	str_add(&w->kv, p, (size_t)n * gguf_kv_bytes(elem));
}

void gguf_write_strings(struct gguf_writer *w, const char *key, const struct gguf_str *s, uint64_t n)
{
	put_array_head(w, key, GGUF_KV_STR, n);
	for (uint64_t i = 0; i < n; i++)
		put_text(&w->kv, s[i].s, s[i].n);
}

void gguf_write_copy(struct gguf_writer *w, const struct gguf_kv *kv)
{
	struct gguf_str_iter it = {0};
	struct gguf_str s;
	if (kv->type == GGUF_KV_ARR)
		put_array_head(w, kv->key, kv->elem_type, kv->n);
	else
		put_key(w, kv->key, kv->type);
	int elem = kv->type == GGUF_KV_ARR ? kv->elem_type : kv->type;
	if (elem != GGUF_KV_STR) {
		str_add(&w->kv, kv->p, (size_t)kv->n * gguf_kv_bytes(elem));
		return;
	}
	for (uint64_t i = 0; i < kv->n; i++) {
		BUG_ON(gguf_arr_next_str(kv, &it, &s, NULL) < 0);
		put_text(&w->kv, s.s, s.n);
	}
}

void gguf_write_tensor(struct gguf_writer *w, const char *name, int type, int n_dims, const int64_t ne[4])
{
	const struct gguf_type_info *info = gguf_type_info(type);
	struct gguf_write_tensor t = {.name = name, .type = type, .n_dims = n_dims, .ne = {1, 1, 1, 1}};
	memcpy(t.ne, ne, sizeof t.ne);
	int64_t n_elem = ne[0] * ne[1] * ne[2] * ne[3];
	BUG_ON(!info || ne[0] % info->block);
	t.n_bytes = (size_t)(n_elem / info->block) * (size_t)info->bytes;
	vec_push(&w->tensors, t);
}

static bool round_up(uint64_t *v)
{
	if (__builtin_add_overflow(*v, ALIGN - 1, v))
		return false;
	*v &= ~(uint64_t)(ALIGN - 1);
	return true;
}

int gguf_write_end(struct gguf_writer *w, struct str *out, uint64_t *ret_total, struct err *err)
{
	const struct {
		char magic[4];
		uint32_t version;
		uint64_t n_tensor, n_kv;
	} head = {{'G', 'G', 'U', 'F'}, 3, w->tensors.n, w->n_kv};
	uint64_t offset = 0;
	str_add(out, &head, sizeof head);
	str_add(out, w->kv.data, w->kv.len);
	for (size_t i = 0; i < w->tensors.n; i++) {
		struct gguf_write_tensor *t = &w->tensors.data[i];
		uint32_t n_dims = (uint32_t)t->n_dims;
		int32_t type = t->type;
		put_text(out, t->name, strlen(t->name));
		str_add(out, &n_dims, sizeof n_dims);
		str_add(out, t->ne, (size_t)t->n_dims * sizeof *t->ne);
		str_add(out, &type, sizeof type);
		str_add(out, &offset, sizeof offset);
		t->offset = offset;
		if (__builtin_add_overflow(offset, t->n_bytes, &offset) || !round_up(&offset))
			return err_set(err, ERR_LIMIT, "the model is larger than a file can be");
	}
	while (out->len % ALIGN)
		str_addc(out, '\0');
	for (size_t i = 0; i < w->tensors.n; i++)
		w->tensors.data[i].offset += out->len;
	*ret_total = out->len + offset;
	return *ret_total > INT64_MAX ? err_set(err, ERR_LIMIT, "the model is larger than a file can be") : 0;
}
