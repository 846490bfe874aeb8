/* Storing K and V in a page, in every KV type. Included by each level that stores, with KV_F16(dst, x, n) defined: n <= 32 floats
 * to f16, those beyond its range (infinities too) to the largest that it has. All types do so: no infinity gets into sums
 * where it would meet a weight of zero. NaN stays NaN, in Q8_0 for its whole block. */
#include <math.h>
#include <string.h>

#include "kern/kern.h"
#include "kern/quant/quant.h"

struct kv_codes {
	uint8_t bytes[KERN_KV_BLOCK * sizeof(float)]; /* values of the type, one after the other */
	uint16_t scale;
};

static inline void kv_bf16(uint8_t *dst, const float *x, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint32_t bits;
		memcpy(&bits, x + i, sizeof bits);
		uint32_t mag = bits & 0x7fffffffu, r = (mag + 0x7fff + (mag >> 16 & 1)) >> 16; /* to nearest, ties to even */
		r = r > 0x7f7f ? 0x7f7f : r;
		r = mag > 0x7f800000u ? 0x7fc0 : r;
		uint16_t h = (uint16_t)(r | (bits & 0x80000000u) >> 16);
		memcpy(dst + 2 * i, &h, sizeof h);
	}
}

/* Returns the scale. A code times its scale is exact in f32. */
static inline uint16_t kv_q8(uint8_t *dst, const float *x, size_t n)
{
	const float round = 0x1.8p23f; /* adding it rounds to an integer */
	float top = 0.0f;
	int n_nan = 0;
	for (size_t i = 0; i < n; i++) {
		float a = fabsf(x[i]);
		n_nan += a != a;
		top = a > top ? a : top;
	}
	top = top > 127.0f * 65504.0f ? 127.0f * 65504.0f : top;
	uint16_t scale = n_nan ? 0x7e00 : f32_to_f16(top / 127.0f);
	float inv = n_nan || !scale ? 0.0f : 1.0f / f16_to_f32(scale);
	for (size_t i = 0; i < n; i++) {
		float v = x[i] * inv;
		v = v < 127.0f ? v : 127.0f;
		v = v > -127.0f ? v : -127.0f;
		dst[i] = (uint8_t)(int8_t)(v + round - round);
	}
	return scale;
}

static inline void kv_encode(enum kern_kv_type type, const float *x, size_t n, struct kv_codes *ret)
{
	if (type == KERN_KV_F16)
		KV_F16(ret->bytes, x, n);
	else if (type == KERN_KV_BF16)
		kv_bf16(ret->bytes, x, n);
	else if (type == KERN_KV_Q8_0)
		ret->scale = kv_q8(ret->bytes, x, n);
	else
		memcpy(ret->bytes, x, n * sizeof *x);
}

/* n values of `size` bytes each, `stride` values apart. */
static inline void kv_put(uint8_t *dst, size_t stride, const struct kv_codes *c, size_t n, const size_t size)
{
	for (size_t i = 0; i < n; i++)
		memcpy(dst + i * stride * size, c->bytes + i * size, size);
}

/* One head's values; stride 1: a row of V, KERN_PAGE_TOK: a column of K. `at` is the place of the first. */
static void kv_store_head(enum kern_kv_type type, uint8_t *head, int hd, size_t at, size_t stride, const float *x)
{
	size_t n_all = (size_t)hd, row = stride == 1 ? at / n_all : at, n_block = (n_all + KERN_KV_BLOCK - 1) / KERN_KV_BLOCK;
	uint8_t *scales = head + n_all * KERN_PAGE_TOK;
	struct kv_codes c;
	for (size_t b = 0; b < n_block; b++) {
		size_t d = b * KERN_KV_BLOCK, n = n_all - d < KERN_KV_BLOCK ? n_all - d : KERN_KV_BLOCK;
		kv_encode(type, x + d, n, &c);
		if (type == KERN_KV_Q8_0) {
			kv_put(head + at + d * stride, stride, &c, n, 1);
			memcpy(scales + 2 * (stride == 1 ? row * n_block + b : b * KERN_PAGE_TOK + row), &c.scale, 2);
		} else if (type == KERN_KV_F32) {
			kv_put(head + 4 * (at + d * stride), stride, &c, n, 4);
		} else {
			kv_put(head + 2 * (at + d * stride), stride, &c, n, 2);
		}
	}
}

static void kv_store(const struct kern_kv *kv, uint32_t page, int64_t pos, const float *k, const float *v)
{
	size_t row = (size_t)(pos % KERN_PAGE_TOK), k_head = kern_kv_head_bytes(kv->type, kv->hd_k);
	size_t v_head = kern_kv_head_bytes(kv->type, kv->hd_v), hd_k = (size_t)kv->hd_k, hd_v = (size_t)kv->hd_v;
	uint8_t *dst_k = kv->k + page * kv->k_page_bytes, *dst_v = kv->v + page * kv->v_page_bytes;
	for (size_t h = 0; h < (size_t)kv->n_head_kv; h++) {
		kv_store_head(kv->type, dst_k + h * k_head, kv->hd_k, row, KERN_PAGE_TOK, k + h * hd_k);
		kv_store_head(kv->type, dst_v + h * v_head, kv->hd_v, row * hd_v, 1, v + h * hd_v);
	}
}
