/* Row operations, KV storage and the level tables. Included once per instruction set; the including file defines ATTN(fn), the names
 * of its attention functions, and then its levels by LEVEL. Element-wise operations that need no special function are plain
 * loops: the compiler turns them into the same instructions. Sums keep one partial sum a lane, added over the lanes at the
 * end. Tails go through a padded vector, so that every element gets the same operations wherever it stands. */
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

/* Four maxima at a time: one would wait for itself. vf_max gives its second operand where the first is NaN. */
static float max(const float *x, int64_t n)
{
	vf top[4] = {vf_set(-INFINITY), vf_set(-INFINITY), vf_set(-INFINITY), vf_set(-INFINITY)};
	int64_t i = 0;
	for (; i + 4 * LANES <= n; i += 4 * LANES)
		for (int j = 0; j < 4; j++)
			top[j] = vf_max(vf_load(x + i + j * LANES), top[j]);
	for (; i + LANES <= n; i += LANES)
		top[0] = vf_max(vf_load(x + i), top[0]);
	float best = vf_hmax(vf_max(vf_max(top[0], top[1]), vf_max(top[2], top[3])));
	for (; i < n; i++)
		best = x[i] > best ? x[i] : best;
	return best;
}

static void softmax(const float *x, float *y, int64_t n)
{
	vf top = vf_set(max(x, n));
	float sum;
	MAP(x, y, n, vf_exp(vf_sub(v, top)));
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

static void to_f16(uint8_t *dst, const float *x, size_t n)
{
	for (size_t i = 0; i < n; i += LANES) {
		uint16_t h[LANES];
		size_t m = n - i < LANES ? n - i : LANES;
		vf_to_f16(h, clamp16(m < LANES ? vf_load_part(x + i, (int64_t)m) : vf_load(x + i)));
		memcpy(dst + 2 * i, h, 2 * m);
	}
}

#define KV_F16 to_f16
#include "kern/kv_store_body.h"

#define LEVEL(symbol, level_name, ops, peak_fn)                                                                             \
	const struct kern symbol = {                                                                                   \
		.name = level_name, .kv_type = KERN_KV_F16, .mat_ops = ops, .rms_norm = rms_norm, .layer_norm = layer_norm, \
		.add = add, .mul = mul, .scale = scale, .axpy = axpy, .softcap = softcap, .silu = silu, .gelu = gelu,  \
		.relu_sqr = relu_sqr, .silu_mul = silu_mul, .gelu_mul = gelu_mul, .softmax = softmax, .max = max, .rope = rope, \
		.row_f32 = ref_row_f32, .kv_store = kv_store, .attn_scratch = ATTN(scratch), .attn = ATTN(all), .attn_tile = ATTN(tile), \
		.attn_merge = ATTN(merge), .peak = peak_fn, \
	};
