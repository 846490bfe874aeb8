/* Row operations, KV storage and the level tables. Included once per instruction set; the including file then makes its levels
 * with LEVEL. Element-wise operations that need no special function are plain loops: the compiler turns them into the same
 * instructions. Sums keep one partial sum a lane, added over the lanes at the end. Tails go through a padded vector, so that
 * every element gets the same operations wherever it stands. */
#include <stddef.h>

#include "kern/kern.h"
#include "kern/ref/ref.h"
#include "kern/x86/lanes.h"
#include "kern/x86/x86.h"

/* y[i] = f(x[i]) for n values; f is an expression of v. */
#define MAP(x, y, n, expr)                                                                                             \
	do {                                                                                                           \
		int64_t i_ = 0;                                                                                        \
		for (; i_ + LANES <= (n); i_ += LANES) {                                                               \
			vf v = vf_load((x) + i_);                                                                      \
			vf_store((y) + i_, expr);                                                                      \
		}                                                                                                      \
		if (i_ < (n)) {                                                                                        \
			vf v = vf_load_part((x) + i_, (n) - i_);                                                       \
			vf_store_part((y) + i_, expr, (n) - i_);                                                       \
		}                                                                                                      \
	} while (0)

/* The same with a second input u. */
#define MAP2(x, x2, y, n, expr)                                                                                        \
	do {                                                                                                           \
		int64_t i_ = 0;                                                                                        \
		for (; i_ + LANES <= (n); i_ += LANES) {                                                               \
			vf v = vf_load((x) + i_), u = vf_load((x2) + i_);                                              \
			vf_store((y) + i_, expr);                                                                      \
		}                                                                                                      \
		if (i_ < (n)) {                                                                                        \
			vf v = vf_load_part((x) + i_, (n) - i_), u = vf_load_part((x2) + i_, (n) - i_);                \
			vf_store_part((y) + i_, expr, (n) - i_);                                                       \
		}                                                                                                      \
	} while (0)

/* Sum over n values of an expression of v; zeros pad the tail unless the expression is made for it. */
#define SUM(x, n, expr, ret)                                                                                           \
	do {                                                                                                           \
		vf s_ = vf_set(0.0f);                                                                                  \
		int64_t i_ = 0;                                                                                        \
		for (; i_ + LANES <= (n); i_ += LANES) {                                                               \
			vf v = vf_load((x) + i_);                                                                      \
			s_ = vf_add(s_, expr);                                                                         \
		}                                                                                                      \
		float tail_[LANES] = {0};                                                                              \
		if (i_ < (n)) {                                                                                        \
			vf v = vf_load_part((x) + i_, (n) - i_);                                                       \
			vf_store_part(tail_, expr, (n) - i_);                                                          \
		}                                                                                                      \
		*(ret) = vf_hsum(vf_add(s_, vf_load(tail_)));                                                          \
	} while (0)

static void rms_norm(const float *x, const float *w, float *y, int64_t n, float eps)
{
	float sum;
	SUM(x, n, vf_mul(v, v), &sum);
	vf s = vf_set(1.0f / sqrtf(sum / (float)n + eps));
	if (w)
		MAP2(x, w, y, n, vf_mul(vf_mul(v, s), u));
	else
		MAP(x, y, n, vf_mul(v, s));
}

static void layer_norm(const float *x, const float *w, const float *b, float *y, int64_t n, float eps)
{
	float sum, sq;
	SUM(x, n, v, &sum);
	vf mean = vf_set(sum / (float)n);
	SUM(x, n, vf_mul(vf_sub(v, mean), vf_sub(v, mean)), &sq);
	vf s = vf_set(1.0f / sqrtf(sq / (float)n + eps));
	MAP(x, y, n, vf_mul(vf_sub(v, mean), s));
	if (w)
		MAP2(y, w, y, n, vf_mul(v, u));
	if (b)
		MAP2(y, b, y, n, vf_add(v, u));
}

static void add(const float *a, const float *b, float *y, int64_t n)
{
	MAP2(a, b, y, n, vf_add(v, u));
}

static void mul(const float *a, const float *b, float *y, int64_t n)
{
	MAP2(a, b, y, n, vf_mul(v, u));
}

static void scale(const float *x, float s, float *y, int64_t n)
{
	MAP(x, y, n, vf_mul(v, vf_set(s)));
}

static void axpy(float a, const float *x, float *y, int64_t n)
{
	MAP2(x, y, y, n, vf_fma(vf_set(a), v, u));
}

static void softcap(const float *x, float cap, float *y, int64_t n)
{
	MAP(x, y, n, vf_mul(vf_set(cap), vf_tanh(vf_div(v, vf_set(cap)))));
}

/* x / (1 + e^-x) */
INLINE vf silu1(vf v)
{
	return vf_div(v, vf_add(vf_set(1.0f), vf_exp(vf_sub(vf_set(0.0f), v))));
}

/* The tanh form, as x / (1 + e^-2u) with u = sqrt(2/pi) (x + 0.044715 x^3). */
INLINE vf gelu1(vf v)
{
	vf u = vf_mul(v, vf_fma(vf_mul(v, v), vf_set(0.044715f * 1.5957691216f), vf_set(1.5957691216f)));
	return vf_div(v, vf_add(vf_set(1.0f), vf_exp(vf_sub(vf_set(0.0f), u))));
}

static void silu(const float *x, float *y, int64_t n)
{
	MAP(x, y, n, silu1(v));
}

static void gelu(const float *x, float *y, int64_t n)
{
	MAP(x, y, n, gelu1(v));
}

static void relu_sqr(const float *x, float *y, int64_t n)
{
	MAP(x, y, n, vf_mul(vf_max(vf_set(0.0f), v), vf_max(vf_set(0.0f), v)));
}

static void silu_mul(const float *gate, const float *up, float *y, int64_t n)
{
	MAP2(gate, up, y, n, vf_mul(silu1(v), u));
}

static void gelu_mul(const float *gate, const float *up, float *y, int64_t n)
{
	MAP2(gate, up, y, n, vf_mul(gelu1(v), u));
}

static void softmax(const float *x, float *y, int64_t n)
{
	vf top = vf_set(-INFINITY);
	int64_t n_full = n / LANES * LANES;
	for (int64_t i = 0; i < n_full; i += LANES)
		top = vf_max(vf_load(x + i), top);
	float max = vf_hmax(top), sum;
	for (int64_t i = n_full; i < n; i++)
		max = x[i] > max ? x[i] : max;
	MAP(x, y, n, vf_exp(vf_sub(v, vf_set(max))));
	SUM(y, n, v, &sum);
	MAP(y, y, n, vf_div(v, vf_set(sum)));
}

/* Adjacent pairs (2i, 2i + 1). */
static void rope_norm(float *x, const float *cs, int n_head, int hd, int n_rot)
{
	int i = 0;
	for (; i + LANES <= n_rot; i += LANES) {
		vf v = vf_load(cs + i), c = vf_first(v), s = vf_second(v);
		for (float *p = x + i, *end = p + (ptrdiff_t)n_head * hd; p < end; p += hd)
			vf_store(p, vf_fmaddsub(vf_load(p), c, vf_mul(vf_swap(vf_load(p)), s)));
	}
	for (; i + 1 < n_rot; i += 2)
		for (float *p = x + i, *end = p + (ptrdiff_t)n_head * hd; p < end; p += hd) {
			float a = p[0], b = p[1];
			p[0] = fmaf(a, cs[i], -(b * cs[i + 1]));
			p[1] = fmaf(b, cs[i], a * cs[i + 1]);
		}
}

/* Pairs half a rotation apart (i, i + n_rot / 2). */
static void rope_neox(float *x, const float *cs, int n_head, int hd, int n_rot)
{
	int i = 0, half = n_rot / 2;
	for (; i + LANES <= half; i += LANES) {
		vf lo = vf_load(cs + 2 * i), hi = vf_load(cs + 2 * i + LANES), c = vf_firsts(lo, hi), s = vf_seconds(lo, hi);
		for (float *p = x + i, *end = p + (ptrdiff_t)n_head * hd; p < end; p += hd) {
			vf a = vf_load(p), b = vf_load(p + half);
			vf_store(p, vf_fnma(b, s, vf_mul(a, c)));
			vf_store(p + half, vf_fma(b, c, vf_mul(a, s)));
		}
	}
	for (; i < half; i++)
		for (float *p = x + i, *end = p + (ptrdiff_t)n_head * hd; p < end; p += hd) {
			float a = p[0], b = p[half];
			p[0] = fmaf(-b, cs[2 * i + 1], a * cs[2 * i]);
			p[half] = fmaf(b, cs[2 * i], a * cs[2 * i + 1]);
		}
}

static void rope(float *x, const float *cos_sin, enum kern_rope kind, int n_head, int hd, int n_rot)
{
	if (kind == KERN_ROPE_NORM)
		rope_norm(x, cos_sin, n_head, hd, n_rot);
	else
		rope_neox(x, cos_sin, n_head, hd, n_rot);
}

/* f16 cannot hold what is beyond its range: such values become the largest that it can; NaN stays. */
INLINE vf clamp16(vf v)
{
	return vf_min(vf_set(65504.0f), vf_max(vf_set(-65504.0f), v));
}

/* n values as f16, `stride` f16 apart. */
static void store_f16(uint16_t *dst, size_t stride, const float *x, size_t n)
{
	uint16_t h[LANES];
	for (size_t i = 0; i < n; i += LANES) {
		size_t m = n - i < LANES ? n - i : LANES;
		vf_to_f16(h, clamp16(m < LANES ? vf_load_part(x + i, (int64_t)m) : vf_load(x + i)));
		for (size_t j = 0; j < m; j++)
			dst[(i + j) * stride] = h[j];
	}
}

static void kv_store(const struct kern_kv *kv, uint32_t page, int64_t pos, const float *k, const float *v)
{
	size_t row = (size_t)(pos % KERN_PAGE_TOK), hd_k = (size_t)kv->hd_k, hd_v = (size_t)kv->hd_v;
	uint16_t *dst_k = (void *)(kv->k + page * kv->k_page_bytes), *dst_v = (void *)(kv->v + page * kv->v_page_bytes);
	for (size_t h = 0; h < (size_t)kv->n_head_kv; h++) {
		store_f16(dst_k + h * hd_k * KERN_PAGE_TOK + row, KERN_PAGE_TOK, k + h * hd_k, hd_k);
		store_f16(dst_v + (h * KERN_PAGE_TOK + row) * hd_v, 1, v + h * hd_v, hd_v);
	}
}

#define LEVEL(symbol, level_name, ops, peak_fn, bf16)                                                                             \
	const struct kern symbol = {                                                                                   \
		.name = level_name, .kv_type = KERN_KV_F16, .mat_ops = ops, .rms_norm = rms_norm, .layer_norm = layer_norm, \
		.add = add, .mul = mul, .scale = scale, .axpy = axpy, .softcap = softcap, .silu = silu, .gelu = gelu,  \
		.relu_sqr = relu_sqr, .silu_mul = silu_mul, .gelu_mul = gelu_mul, .softmax = softmax, .rope = rope, \
		.row_f32 = ref_row_f32, .kv_store = kv_store, .attn_scratch = ATTN_SCRATCH, .attn = ATTN, .peak = peak_fn, \
		.peak_f32 = PEAK_F32, .peak_bf16 = bf16,                                                               \
	};
