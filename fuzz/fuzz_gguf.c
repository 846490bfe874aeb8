/* layer: gguf */
/* Opens the input as a GGUF file and walks everything the reader promises to be readable: all keys, arrays and tensors. */
#include <stdlib.h>
#include <string.h>

#include "gguf/gguf.h"

static volatile unsigned sink;

static void touch(const void *p, size_t n)
{
	const unsigned char *b = p;
	unsigned sum = 0;
	for (size_t i = 0; i < n; i++)
		sum += b[i];
	sink += sum;
}

static void walk_kv(const struct gguf *g, const struct gguf_kv *kv)
{
	struct gguf_str_iter it = {0};
	struct gguf_str s;
	int64_t n;
	double d;
	bool b;
	for (uint64_t i = 0; i < kv->n; i++) {
		if (gguf_arr_next_str(kv, &it, &s, NULL) == 0)
			touch(s.s, s.n);
		else
			sink += (unsigned)(gguf_arr_i64(kv, i, &n, NULL) + gguf_arr_f64(kv, i, &d, NULL) + gguf_arr_bool(kv, i, &b, NULL));
	}
	sink += (unsigned)(gguf_get_i64(g, kv->key, &n, NULL) + gguf_get_str(g, kv->key, &s, NULL));
	if (gguf_find(g, kv->key) != kv)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	void *p = NULL;
	struct gguf *g;
	struct err err;
	if (posix_memalign(&p, 64, size ? size : 1))
		return 0;
	memcpy(p, data, size);
	if (gguf_open_mem(p, size, &g, &err) == 0) {
		for (size_t i = 0; i < gguf_n_kv(g); i++)
			walk_kv(g, gguf_kv_at(g, i));
		for (size_t i = 0; i < gguf_n_tensor(g); i++) {
			const struct gguf_tensor *t = gguf_tensor_at(g, i);
			touch(t->data, t->n_bytes);
			if (gguf_tensor(g, t->name) != t)
				abort();
		}
		gguf_close(g);
	}
	free(p);
	return 0;
}
