/* quant_enc_fit: the search for a block's scale and minimum, for 16 blocks at once: lane j of every vector belongs to block j,
 * element i of all blocks is x[i]. So no step adds across lanes, and the result does not depend on the register width.
 *
 * Both fits try several steps between the integers; for each, the integers that it rounds to are held fixed and the scale
 * (and minimum) with the least weighted square error is solved for: ordinary weighted least squares. The step whose solution
 * has the least error wins, and is then improved by rounding again with its own solution. */
#ifndef CRIA_KERN_QUANT_ENC_FIT_H
#define CRIA_KERN_QUANT_ENC_FIT_H

#include <stdbool.h>
#include <stdint.h>
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline, unused))
#define ROLLED _Pragma("GCC unroll 1") /* wide vectors are unrolled loops already */

typedef float vf __attribute__((vector_size(64)));
typedef int32_t vi __attribute__((vector_size(64)));

enum {
	LANE = 16,
	GROUP_MAX = 32, /* elements of a block */
	N_AGAIN = 2     /* rounds of improvement */
};

INLINE vf vf_set(float x)
{
	return (vf){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x};
}

INLINE vf vf_pick(vi mask, vf a, vf b)
{
	return (vf)(((vi)a & mask) | ((vi)b & ~mask));
}

/* The second argument when either is NaN. */
INLINE vf vf_max(vf a, vf b)
{
#if defined(__AVX512F__)
	return (vf)_mm512_max_ps((__m512)a, (__m512)b);
#else
	return vf_pick(a > b, a, b);
#endif
}

INLINE vf vf_min(vf a, vf b)
{
#if defined(__AVX512F__)
	return (vf)_mm512_min_ps((__m512)a, (__m512)b);
#else
	return vf_pick(a < b, a, b);
#endif
}

INLINE vf vf_abs(vf a)
{
	return (vf)((vi)a & 0x7fffffff);
}

/* To the nearest integer, ties to even, for |a| < 2^22. */
INLINE vf vf_round(vf a)
{
	const vf magic = vf_set(0x1.8p23f);
	return (a + magic) - magic;
}

/* The lanes as numbers. */
union lanes {
	vf v;
	float e[LANE];
};

INLINE vf vf_sqrt(vf a)
{
	union lanes u = {.v = a};
	ROLLED for (int i = 0; i < LANE; i++)
		u.e[i] = __builtin_sqrtf(u.e[i]);
	return u.v;
}

/* round(v), then held between the two: NaN gives the lower one. */
INLINE vf vf_level(vf v, float lo, float hi)
{
	return vf_round(vf_min(vf_max(v, vf_set(lo)), vf_set(hi)));
}

/* a / b, 0 where b is 0. */
INLINE vf vf_ratio(vf a, vf b)
{
	vi none = b == vf_set(0);
	return vf_pick(none, vf_set(0), a / vf_pick(none, vf_set(1), b));
}

/* 16 blocks of g elements: values, weights, and what one pass over them gives. */
struct blocks {
	int g;
	union {
		vf x[GROUP_MAX];
		float e[GROUP_MAX][LANE];
	};
	vf w[GROUP_MAX];
	vf lo, hi;           /* least and greatest value */
	vf far;              /* the value farthest from 0, with its sign */
	vf w_sum, wx, wxx;   /* sums of w, w x, w x x */
};

/* y = scale q + min, and the weighted square error it has (for a scale alone: less what all have). */
struct fit {
	vf scale, min, error;
};

INLINE void keep_better(struct fit *best, const struct fit *f, vi valid)
{
	vi better = (f->error < best->error) & valid;
	best->scale = vf_pick(better, f->scale, best->scale);
	best->min = vf_pick(better, f->min, best->min);
	best->error = vf_pick(better, f->error, best->error);
}

/* ---- scale and minimum: q = 0 .. top ---- */

/* The integers round((x - off) * inv), and the best line through them; with `below` the minimum may not be above 0. */
INLINE void try_line(const struct blocks *b, vf off, vf inv, float top, bool below, struct fit *best)
{
	vf q1 = vf_set(0), q2 = vf_set(0), xq = vf_set(0);
	ROLLED for (int i = 0; i < b->g; i++) {
		vf q = vf_level((b->x[i] - off) * inv, 0, top), wq = b->w[i] * q;
		q1 += wq;
		q2 += wq * q;
		xq += wq * b->x[i];
	}
	struct fit f;
	vf det = b->w_sum * q2 - q1 * q1;
	f.scale = vf_ratio(b->w_sum * xq - b->wx * q1, det);
	f.min = vf_ratio(q2 * b->wx - q1 * xq, det);
	vi flat = det <= 1e-6f * b->w_sum * q2; /* all integers are the same */
	if (below) {
		vi bare = flat | (f.min > vf_set(0));
		f.min = vf_pick(bare, vf_set(0), f.min);
		f.scale = vf_pick(bare, vf_ratio(xq, q2), f.scale);
		flat = (vi){0};
	}
	f.error = b->wxx - 2 * f.scale * xq - 2 * f.min * b->wx + f.scale * (f.scale * q2 + 2 * f.min * q1) + f.min * f.min * b->w_sum;
	keep_better(best, &f, ~flat & (f.scale > vf_set(0)));
}

/* Steps are (top + first + k * by) / range for k < n. */
INLINE struct fit fit_line(const struct blocks *b, float top, bool below, float first, float by, int n)
{
	vf lo = below ? vf_min(b->lo, vf_set(0)) : b->lo, range = b->hi - lo;
	struct fit best = {.scale = vf_set(0), .min = lo, .error = vf_set(__builtin_inff())};
	ROLLED for (int k = 0; k < n + N_AGAIN; k++) {
		vf off = k < n ? lo : best.min;
		vf inv = k < n ? vf_ratio(vf_set(top + first + (float)k * by), range) : vf_ratio(vf_set(1), best.scale);
		try_line(b, off, inv, top, below, &best);
	}
	return best;
}

/* ---- scale alone: q = lo .. hi ---- */

INLINE void try_scale(const struct blocks *b, vf inv, float lo, float hi, struct fit *best)
{
	vf q2 = vf_set(0), xq = vf_set(0);
	ROLLED for (int i = 0; i < b->g; i++) {
		vf q = vf_level(b->x[i] * inv, lo, hi), wq = b->w[i] * q;
		q2 += wq * q;
		xq += wq * b->x[i];
	}
	struct fit f = {.scale = vf_ratio(xq, q2), .min = vf_set(0)};
	f.error = -f.scale * xq;
	keep_better(best, &f, q2 > vf_set(0));
}

/* The farthest value goes to lo + first + k * by, k < n, or with the other sign to hi less the same. */
INLINE struct fit fit_scale(const struct blocks *b, float lo, float hi, float first, float by, int n)
{
	struct fit best = {.scale = vf_set(0), .min = vf_set(0), .error = vf_set(0)};
	ROLLED for (int k = 0; k < 2 * n + N_AGAIN; k++) {
		float shift = first + (float)(k / 2) * by;
		vf inv = k < 2 * n ? vf_ratio(vf_set(k & 1 ? hi - shift : lo + shift), b->far) : vf_ratio(vf_set(1), best.scale);
		try_scale(b, inv, lo, hi, &best);
	}
	return best;
}

/* ---- loading ---- */

/* How much an element's error counts. */
enum weighting { WEIGHT_SQUARE /* x x */, WEIGHT_ABS /* |x| */, WEIGHT_RMS_ABS /* root mean square of the block + |x| */ };

INLINE void weigh(struct blocks *b, enum weighting kind)
{
	vf xx = vf_set(0);
	ROLLED for (int i = 0; i < b->g; i++)
		xx += b->x[i] * b->x[i];
	vf rms = kind == WEIGHT_RMS_ABS ? vf_sqrt(xx / (float)b->g) : vf_set(0);
	b->w_sum = b->wx = b->wxx = vf_set(0);
	ROLLED for (int i = 0; i < b->g; i++) {
		vf x = b->x[i], w = kind == WEIGHT_SQUARE ? x * x : rms + vf_abs(x);
		b->w[i] = w;
		b->w_sum += w;
		b->wx += w * x;
		b->wxx += w * x * x;
	}
}

/* n_block (up to 16) blocks that follow each other at src; the other lanes are zeros. */
INLINE void load_blocks(struct blocks *b, const float *src, int n_block, int g, enum weighting kind)
{
	b->g = g;
	if (n_block < LANE)
		memset(b->e, 0, sizeof b->e);
	ROLLED for (int j = 0; j < n_block; j++)
		ROLLED for (int i = 0; i < g; i++)
			b->e[i][j] = src[j * g + i];
	b->lo = b->hi = b->far = b->x[0];
	ROLLED for (int i = 1; i < g; i++) {
		b->lo = vf_min(b->x[i], b->lo);
		b->hi = vf_max(b->x[i], b->hi);
	}
	b->far = vf_pick(-b->lo > b->hi, b->lo, b->hi);
	weigh(b, kind);
}

/* The integers of all blocks: q[i][j] is element i of block j. */
typedef int8_t levels[GROUP_MAX][LANE];

INLINE void store_levels(const struct blocks *b, vf off, vf scale, float lo, float hi, levels q)
{
	vf inv = vf_ratio(vf_set(1), scale);
	ROLLED for (int i = 0; i < b->g; i++) {
		union {
			vi v;
			int32_t e[LANE];
		} u = {.v = __builtin_convertvector(vf_level((b->x[i] - off) * inv, lo, hi), vi)};
		for (int j = 0; j < LANE; j++)
			q[i][j] = (int8_t)u.e[j];
	}
}

#endif
