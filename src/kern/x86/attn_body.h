/* Attention over KV pages: all query heads of one KV head together. Included once per instruction set with ATTN(fn) (names) and
 * MAX_ROW (query rows of a register tile) defined.
 *
 * For each tile of KERN_ATTN_TILE positions: the scores of all rows, STEP positions at a time; each row's weights (softmax with
 * the tile's own maximum); the sums of weights . V, BLK values at a time. Parts of tiles are merged with their maxima, in
 * ascending order (after Milakov and Gimelshein, arXiv 1805.02867, and Dao et al., arXiv 2205.14135).
 *
 * A score sums its products over d in order, fused; a tile's weights are summed lane by lane over the vectors that the row
 * sees, then over the lanes; outputs sum over positions in order. Rows in one register tile never meet, so neither n_q nor the
 * tiling changes a bit: a position that a row does not see has weight 0, and adding 0 v changes nothing (stored values are
 * finite, see kv_store). Positions at and past kv_len may hold anything: their scores are replaced, their V not read. */
#include "kern/kern.h"
#include "kern/x86/lanes.h"

enum {
	PT = KERN_PAGE_TOK,
	TILE = KERN_ATTN_TILE,
	VEC = 4,              /* a register tile: MAX_ROW rows of VEC vectors */
	STEP = VEC * LANES,   /* positions whose scores one pass over the head's values gives */
	STEP_PAGE = STEP / PT,
	BLK = VEC * LANES,    /* output values that one pass over a step's positions sums */
};

#define WIDE KERN_KV_F32 /* the type of a step in scratch */

struct work {
	const struct kern_attn *a;
	const struct kern_attn_job *job;
	enum kern_kv_type type; /* what the kernels read: the stored type, or WIDE */
	int hd_k, hd_v, hd_pad; /* hd_pad: hd_v up to a multiple of 16 */
	int ratio, n_row;       /* query heads per KV head; rows = tokens x ratio, row r is token r / ratio */
	int n_rt;               /* register tiles */
	size_t n_part;
	float *q;               /* register tiles' queries times the scale, each [hd_k][its rows] */
	float *k32, *v32;       /* one step in f32: [hd_k][STEP], [STEP][hd_pad] */
	float *s;               /* [n_row][TILE] scores, then weights */
	float *part, *sum;      /* [n_row][n_part] */
};

/* A part of [n]: the sums, then these. */
INLINE float *part_max(const struct work *w, float *part) { return part + w->hd_pad; }
INLINE float *part_sum(const struct work *w, float *part) { return part + w->hd_pad + 1; }

static size_t up16(size_t n)
{
	return (n + 15) & ~(size_t)15;
}

size_t ATTN(scratch)(const struct kern_attn *a, int n_q)
{
	size_t n_row = (size_t)n_q * (size_t)(a->n_head / a->kv->n_head_kv), hd_k = (size_t)a->kv->hd_k;
	return up16(n_row * hd_k) + (hd_k + up16((size_t)a->kv->hd_v)) * STEP + n_row * (TILE + 2 * (size_t)kern_attn_part(a));
}

INLINE int rt_first(const struct work *w, int i)
{
	return w->n_row * i / w->n_rt;
}

/* Scores carry this factor, so that weights are powers of two. */
#define LOG2_E 1.44269504f

static void pack_q(const struct work *w)
{
	const float scale = w->a->scale * (w->a->softcap != 0.0f ? 1.0f : LOG2_E); /* a cap needs the true score */
	for (int i = 0; i < w->n_rt; i++) {
		int r0 = rt_first(w, i), n = rt_first(w, i + 1) - r0;
		float *dst = w->q + (size_t)r0 * (size_t)w->hd_k;
		for (int j = 0; j < n; j++) {
			int tok = (r0 + j) / w->ratio, head = w->job->i_head_kv * w->ratio + (r0 + j) % w->ratio;
			const float *q = w->job->q + (size_t)tok * w->job->q_stride + (size_t)head * (size_t)w->hd_k;
			for (int d = 0; d < w->hd_k; d++)
				dst[d * n + j] = q[d] * scale;
		}
	}
}

static struct work carve(const struct kern_attn *a, const struct kern_attn_job *job)
{
	struct work w = {.a = a, .job = job, .hd_k = a->kv->hd_k, .hd_v = a->kv->hd_v, .n_part = (size_t)kern_attn_part(a)};
	w.hd_pad = (int)up16((size_t)w.hd_v);
	w.ratio = a->n_head / a->kv->n_head_kv;
	w.n_row = job->n_q * w.ratio;
	w.n_rt = (w.n_row + MAX_ROW - 1) / MAX_ROW;
	/* Widening pays from the second register tile on; heads that end within a block need it. */
	w.type = w.n_rt > 1 || w.hd_v % BLK ? WIDE : a->kv->type;
	w.q = job->scratch;
	w.k32 = w.q + up16((size_t)w.n_row * (size_t)w.hd_k);
	w.v32 = w.k32 + (size_t)w.hd_k * STEP;
	w.s = w.v32 + (size_t)w.hd_pad * STEP;
	w.part = w.s + (size_t)w.n_row * TILE;
	w.sum = w.part + (size_t)w.n_row * w.n_part;
	return w;
}

/* ---- pages ---- */

/* STEP positions from a multiple of STEP on. Pages that no row sees are stood in for by one that is held. */
struct step {
	const uint8_t *k[STEP_PAGE], *v[STEP_PAGE]; /* this head's */
	const uint8_t *next[STEP_PAGE];             /* what is read after this K or V, laid out alike: to be fetched early */
	size_t v_stride;                            /* values from position to position */
};

INLINE void fetch(const uint8_t *p)
{
	_mm_prefetch((const char *)p, _MM_HINT_T0);
}

static struct step step_at(const struct work *w, int64_t first, int64_t lo, int64_t hi)
{
	const struct kern_kv *kv = w->a->kv;
	size_t k_head = kern_kv_head_bytes(kv->type, w->hd_k), v_head = kern_kv_head_bytes(kv->type, w->hd_v);
	struct step st = {.v_stride = (size_t)w->hd_v};
	for (int i = 0; i < STEP_PAGE; i++) {
		int64_t page = first / PT + i, last = (hi - 1) / PT;
		page = page < lo / PT ? lo / PT : page > last ? last : page;
		size_t at = w->job->pages[page];
		st.k[i] = kv->k + at * kv->k_page_bytes + (size_t)w->job->i_head_kv * k_head;
		st.v[i] = kv->v + at * kv->v_page_bytes + (size_t)w->job->i_head_kv * v_head;
	}
	return st;
}

INLINE vf f16_set(const uint8_t *p)
{
	uint16_t h;
	memcpy(&h, p, sizeof h);
	return vf_set(_cvtsh_ss(h));
}

/* LANES stored values from value i on; those of Q8_0 want their scales yet. */
INLINE vf load(const uint8_t *p, size_t i, const int type)
{
	switch (type) {
	case KERN_KV_F16:
		return vf_from_f16(p + 2 * i);
	case KERN_KV_BF16:
		return vf_from_bf16(p + 2 * i);
	case KERN_KV_Q8_0:
		return vf_from_i32(vi_from_i8(p + i));
	default:
		return vf_load((const float *)(const void *)p + i);
	}
}

/* Vector i of a step's positions of value d of K. Widened, pages are side by side. */
INLINE vf load_k(const struct step *st, int d, int i, const int type)
{
	if (type == WIDE)
		return load(st->k[0], (size_t)d * STEP + (size_t)i * LANES, type);
	return load(st->k[i * LANES / PT], (size_t)d * PT + (size_t)i * LANES % PT, type);
}

INLINE vf k_scale(const struct step *st, int hd_k, int d, int i)
{
	size_t at = (size_t)(d / KERN_KV_BLOCK) * PT + (size_t)i * LANES % PT;
	return vf_from_f16(st->k[i * LANES / PT] + (size_t)hd_k * PT + 2 * at);
}

/* Scale of position t of the page at v, values from d on. */
INLINE vf v_scale(const uint8_t *v, int hd_v, int t, int d)
{
	size_t n_block = ((size_t)hd_v + KERN_KV_BLOCK - 1) / KERN_KV_BLOCK;
	return f16_set(v + (size_t)hd_v * PT + 2 * ((size_t)t * n_block + (size_t)d / KERN_KV_BLOCK));
}

INLINE void widen_k(const struct work *w, const struct step *st, const int type)
{
	for (int d = 0; d < w->hd_k; d++)
UNROLL
		for (int i = 0; i < VEC; i++) {
			vf k = load_k(st, d, i, type);
			if (type == KERN_KV_Q8_0)
				k = vf_mul(k, k_scale(st, w->hd_k, d, i));
			vf_store(w->k32 + d * STEP + i * LANES, k);
		}
}

/* Positions [t0, t1) of the step, padded with zeros. */
INLINE void widen_v(const struct work *w, const struct step *st, int t0, int t1, const int type)
{
	const size_t size = type == KERN_KV_Q8_0 ? 1 : 2;
	for (int t = t0; t < t1; t++) {
		const uint8_t *v = st->v[t / PT], *src = v + (size_t)(t % PT) * (size_t)w->hd_v * size;
		float *dst = w->v32 + (size_t)t * (size_t)w->hd_pad;
		int d = 0;
		for (; d + LANES <= w->hd_v; d += LANES) {
			vf x = load(src, (size_t)d, type);
			if (type == KERN_KV_Q8_0)
				x = vf_mul(x, v_scale(v, w->hd_v, t % PT, d));
			vf_store(dst + d, x);
		}
		for (; d < w->hd_pad; d += LANES) {
			uint8_t tail[2 * LANES] = {0};
			if (d < w->hd_v)
				memcpy(tail, src + (size_t)d * size, (size_t)(w->hd_v - d) * size);
			vf x = load(tail, 0, type);
			if (type == KERN_KV_Q8_0 && d < w->hd_v)
				x = vf_mul(x, v_scale(v, w->hd_v, t % PT, d));
			vf_store(dst + d, x);
		}
	}
}

/* ---- one register tile ---- */

/* q . k of n rows at a step's positions: s[r * TILE + t]. */
INLINE void scores(const struct work *w, const struct step *st, const float *q, float *s, const int n, const int type)
{
	const int size = type == KERN_KV_Q8_0 ? 1 : 2;
	vf acc[MAX_ROW][VEC], scale[VEC];
UNROLL
	for (int r = 0; r < n; r++)
UNROLL
		for (int i = 0; i < VEC; i++)
			acc[r][i] = vf_set(0.0f);
	const int block = type == KERN_KV_Q8_0 ? KERN_KV_BLOCK : INT32_MAX;
	for (int d = 0; d < w->hd_k;) {
		int end = w->hd_k - d < block ? w->hd_k : d + block;
		if (type == KERN_KV_Q8_0)
UNROLL
			for (int i = 0; i < VEC; i++)
				scale[i] = k_scale(st, w->hd_k, d, i);
		if (type == KERN_KV_Q8_0)
UNROLL
			for (int i = 0; i < STEP_PAGE; i++)
				fetch(st->next[i] + (w->hd_k + d / KERN_KV_BLOCK * 2) * PT);
		for (; d < end; d++) {
			vf k[VEC];
			if (type != WIDE)
UNROLL
				for (int i = 0; i < STEP_PAGE; i++)
					fetch(st->next[i] + d * PT * size);
UNROLL
			for (int i = 0; i < VEC; i++) {
				k[i] = load_k(st, d, i, type);
				if (type == KERN_KV_Q8_0)
					k[i] = vf_mul(k[i], scale[i]);
			}
UNROLL
			for (int r = 0; r < n; r++) {
				vf x = vf_set(q[d * n + r]);
UNROLL
				for (int i = 0; i < VEC; i++)
					acc[r][i] = vf_fma(x, k[i], acc[r][i]);
			}
		}
	}
UNROLL
	for (int r = 0; r < n; r++)
UNROLL
		for (int i = 0; i < VEC; i++)
			vf_store(s + r * TILE + i * LANES, acc[r][i]);
}

/* acc[r * n_part ..] += weights . V over positions [t0, t1) of a step: nv vectors of values from d on. */
INLINE void outputs(const struct work *w, const struct step *st, const float *p, float *acc, int t0, int t1, int d, const int n,
		    const int nv, const int type)
{
	const int size = type == KERN_KV_Q8_0 ? 1 : 2;
	vf o[MAX_ROW][VEC];
UNROLL
	for (int r = 0; r < n; r++)
UNROLL
		for (int i = 0; i < nv; i++)
			o[r][i] = vf_load(acc + (size_t)r * w->n_part + i * LANES);
	for (int t = t0; t < t1; t++) {
		const uint8_t *page = type == WIDE ? st->v[0] : st->v[t / PT];
		int row = type == WIDE ? t : t % PT;
		vf v[VEC], scale = vf_set(0.0f);
		if (type != WIDE)
UNROLL
			for (int i = 0; i < BLK * size; i += 64)
				fetch(st->next[t / PT] + ((size_t)row * st->v_stride + (size_t)d) * size + i);
		if (type == KERN_KV_Q8_0)
			fetch(st->next[t / PT] + (size_t)w->hd_v * PT + 2 * (size_t)row * ((size_t)w->hd_v / KERN_KV_BLOCK));
UNROLL
		for (int i = 0; i < nv; i++) {
			v[i] = load(page, (size_t)row * st->v_stride + (size_t)d + (size_t)i * LANES, type);
			if (type == KERN_KV_Q8_0 && i * LANES % KERN_KV_BLOCK == 0)
				scale = v_scale(page, w->hd_v, row, d + i * LANES);
			if (type == KERN_KV_Q8_0)
				v[i] = vf_mul(v[i], scale);
		}
UNROLL
		for (int r = 0; r < n; r++) {
			vf x = vf_set(p[r * TILE + t]);
UNROLL
			for (int i = 0; i < nv; i++)
				o[r][i] = vf_fma(x, v[i], o[r][i]);
		}
	}
UNROLL
	for (int r = 0; r < n; r++)
UNROLL
		for (int i = 0; i < nv; i++)
			vf_store(acc + (size_t)r * w->n_part + i * LANES, o[r][i]);
}

typedef void scores_fn(const struct work *w, const struct step *st, const float *q, float *s);
typedef void outputs_fn(const struct work *w, const struct step *st, const float *p, float *acc, int t0, int t1, int d);

#define SCORES(n, type)                                                                                                \
	static void scores_##n##_##type(const struct work *w, const struct step *st, const float *q, float *s)         \
	{                                                                                                              \
		scores(w, st, q, s, n, type);                                                                          \
	}
#define OUTPUTS(n, nv, type)                                                                                           \
	static void outputs_##n##_##nv##_##type(const struct work *w, const struct step *st, const float *p, float *acc, \
						int t0, int t1, int d)                                                 \
	{                                                                                                              \
		outputs(w, st, p, acc, t0, t1, d, n, nv, type);                                                        \
	}
/* Stored types are read directly in whole blocks only; a widened head may end with 1 to 4 vectors. */
#define ROWS(n)                                                                                                        \
	SCORES(n, KERN_KV_F32) SCORES(n, KERN_KV_F16) SCORES(n, KERN_KV_BF16) SCORES(n, KERN_KV_Q8_0)                  \
	OUTPUTS(n, 1, KERN_KV_F32) OUTPUTS(n, 2, KERN_KV_F32) OUTPUTS(n, 3, KERN_KV_F32) OUTPUTS(n, 4, KERN_KV_F32)    \
	OUTPUTS(n, 4, KERN_KV_F16) OUTPUTS(n, 4, KERN_KV_BF16) OUTPUTS(n, 4, KERN_KV_Q8_0)
#define ROW_FNS(n)                                                                                                     \
	{                                                                                                              \
		{scores_##n##_KERN_KV_F32, scores_##n##_KERN_KV_F16, scores_##n##_KERN_KV_BF16, scores_##n##_KERN_KV_Q8_0}, \
		{outputs_##n##_1_KERN_KV_F32, outputs_##n##_2_KERN_KV_F32, outputs_##n##_3_KERN_KV_F32, outputs_##n##_4_KERN_KV_F32}, \
		{NULL, outputs_##n##_4_KERN_KV_F16, outputs_##n##_4_KERN_KV_BF16, outputs_##n##_4_KERN_KV_Q8_0},       \
	}
ROWS(1)
ROWS(2)
ROWS(3)
#if MAX_ROW == 6
ROWS(4)
ROWS(5)
ROWS(6)
#endif

static const struct {
	scores_fn *scores[4];  /* by type */
	outputs_fn *wide[VEC]; /* by vectors - 1 */
	outputs_fn *stored[4]; /* by type */
} row_fns[MAX_ROW] = {
	ROW_FNS(1), ROW_FNS(2), ROW_FNS(3),
#if MAX_ROW == 6
	ROW_FNS(4), ROW_FNS(5), ROW_FNS(6),
#endif
};

/* ---- weights ---- */

/* 2^x for x <= 0: 2^n for the nearest whole n, times a polynomial in the rest (least squares with weights that even the relative
 * error out; 1.7e-7 with f32 rounding). What is below 2^-125 is 0: no weight is subnormal, and hidden positions weigh nothing.
 * NaN stays. */
INLINE vf weight(vf x)
{
	const vf round = vf_set(0x1.8p23f), least = vf_set(-125.0f); /* adding `round` rounds to a whole number */
	vf y = vf_max(least, x), n = vf_sub(vf_add(y, round), round), f = vf_sub(y, n);
	vf p = vf_fma(vf_set(0x1.5bba14p-10f), f, vf_set(0x1.3cea88p-7f));
	p = vf_fma(p, f, vf_set(0x1.c6b752p-5f));
	p = vf_fma(p, f, vf_set(0x1.ebf9bcp-3f));
	p = vf_fma(p, f, vf_set(0x1.62e42ap-1f));
	p = vf_fma(p, f, vf_set(1.0f));
	return vf_lt(x, least, vf_set(0.0f), vf_scale2(p, n));
}

INLINE float weight1(float x)
{
	float e[LANES];
	vf_store(e, weight(vf_set(x)));
	return e[0];
}

/* A vector of scores from position t of the tile on as the row sees it: cap, mask. */
INLINE vf masked(const struct work *w, vf x, int t, int lo, int hi)
{
	static const float iota[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
	const float cap = w->a->softcap;
	if (cap != 0.0f)
		x = vf_mul(vf_set(cap * LOG2_E), vf_tanh(vf_div(x, vf_set(cap))));
	vf at = vf_load(iota);
	x = vf_lt(at, vf_set((float)(hi - t)), x, vf_set(-INFINITY));
	return vf_lt(at, vf_set((float)(lo - t)), vf_set(-INFINITY), x);
}

/* The row's scores at positions [lo, hi) of the tile become weights, others in [t0, t1) 0. */
static void weigh(const struct work *w, float *s, float *part, int t0, int t1, int lo, int hi)
{
	int v0 = lo / LANES * LANES, v1 = (hi + LANES - 1) / LANES * LANES;
	vf top = vf_set(-INFINITY), all = vf_set(0.0f);
	for (int t = v0; t < v1; t += LANES) {
		vf x = vf_load(s + t);
		if (t < lo || t + LANES > hi || w->a->softcap != 0.0f) {
			x = masked(w, x, t, lo, hi);
			vf_store(s + t, x);
		}
		top = vf_max(x, top);
	}
	float max = vf_hmax(top);
	for (int t = v0; t < v1; t += LANES) {
		vf x = weight(vf_sub(vf_load(s + t), vf_set(max)));
		vf_store(s + t, x);
		all = vf_add(all, x);
	}
	memset(s + t0, 0, (size_t)(v0 - t0) * sizeof *s);
	memset(s + v1, 0, (size_t)(t1 - v1) * sizeof *s);
	*part_max(w, part) = max;
	*part_sum(w, part) = vf_hsum(all);
}

/* ---- one tile of positions ---- */

struct range {
	int64_t lo, hi;
};

/* What rows r0 to r1 - 1 see of [first, first + n), from first on; empty: lo >= hi. */
static struct range seen(const struct work *w, int r0, int r1, int64_t first, int n)
{
	struct range g;
	kern_attn_range(w->a, w->job, w->job->pos + r0 / w->ratio, &g.lo, &(int64_t){0});
	kern_attn_range(w->a, w->job, w->job->pos + (r1 - 1) / w->ratio, &(int64_t){0}, &g.hi);
	g.lo = g.lo > first ? g.lo - first : 0;
	g.hi = g.hi < first + n ? g.hi - first : n;
	return g;
}

static void scores_step(const struct work *w, int64_t first, int t0, struct range all)
{
	struct step st = step_at(w, first + t0, first + all.lo, first + all.hi);
	if (w->type == WIDE) {
		switch (w->a->kv->type) {
		case KERN_KV_BF16:
			widen_k(w, &st, KERN_KV_BF16);
			break;
		case KERN_KV_Q8_0:
			widen_k(w, &st, KERN_KV_Q8_0);
			break;
		default:
			widen_k(w, &st, KERN_KV_F16);
		}
		st.k[0] = (const uint8_t *)w->k32;
	} else {
		bool more = t0 + STEP < all.hi;
		struct step next = step_at(w, first + (more ? t0 + STEP : all.lo / STEP * STEP), first + all.lo, first + all.hi);
		memcpy(st.next, more ? next.k : next.v, sizeof st.next);
	}
	for (int i = 0; i < w->n_rt; i++) {
		int r0 = rt_first(w, i), r1 = rt_first(w, i + 1);
		struct range g = seen(w, r0, r1, first + t0, STEP);
		if (g.lo < g.hi)
			row_fns[r1 - r0 - 1].scores[w->type](w, &st, w->q + (size_t)r0 * (size_t)w->hd_k, w->s + (size_t)r0 * TILE + t0);
	}
}

static void weights(const struct work *w, int64_t first, float *part)
{
	for (int i = 0; i < w->n_rt; i++) {
		int r0 = rt_first(w, i), r1 = rt_first(w, i + 1);
		struct range g = seen(w, r0, r1, first, TILE);
		int t0 = (int)g.lo / STEP * STEP, t1 = ((int)g.hi + STEP - 1) / STEP * STEP;
		for (int r = r0; r < r1; r++) {
			float *p = part + (size_t)r * w->n_part;
			struct range mine = seen(w, r, r + 1, first, TILE);
			memset(p, 0, w->n_part * sizeof *p);
			*part_max(w, p) = -INFINITY;
			if (mine.lo < mine.hi)
				weigh(w, w->s + (size_t)r * TILE, p, t0, t1, (int)mine.lo, (int)mine.hi);
			else if (g.lo < g.hi)
				memset(w->s + (size_t)r * TILE + t0, 0, (size_t)(t1 - t0) * sizeof *w->s);
		}
	}
}

static void outputs_step(const struct work *w, int64_t first, int t0, struct range all, float *part)
{
	struct step st = step_at(w, first + t0, first + all.lo, first + all.hi);
	if (w->type == WIDE) {
		int from = all.lo > t0 ? (int)all.lo - t0 : 0, to = all.hi < t0 + STEP ? (int)all.hi - t0 : STEP;
		switch (w->a->kv->type) {
		case KERN_KV_BF16:
			widen_v(w, &st, from, to, KERN_KV_BF16);
			break;
		case KERN_KV_Q8_0:
			widen_v(w, &st, from, to, KERN_KV_Q8_0);
			break;
		default:
			widen_v(w, &st, from, to, KERN_KV_F16);
		}
		st.v[0] = (const uint8_t *)w->v32;
		st.v_stride = (size_t)w->hd_pad;
	} else if (t0 + STEP < all.hi) {
		struct step next = step_at(w, first + t0 + STEP, first + all.lo, first + all.hi);
		memcpy(st.next, next.v, sizeof st.next);
	} else {
		struct range after = seen(w, 0, w->n_row, first + TILE, TILE); /* the next tile */
		struct step next = after.lo < after.hi ? step_at(w, first + TILE, first + TILE, first + TILE + after.hi) : st;
		memcpy(st.next, next.k, sizeof st.next);
	}
	for (int d = 0; d < w->hd_pad; d += BLK) {
		int nv = w->hd_pad - d < BLK ? (w->hd_pad - d) / LANES : VEC;
		for (int i = 0; i < w->n_rt; i++) {
			int r0 = rt_first(w, i), r1 = rt_first(w, i + 1);
			struct range g = seen(w, r0, r1, first + t0, STEP);
			if (g.lo >= g.hi)
				continue;
			outputs_fn *fn = w->type == WIDE ? row_fns[r1 - r0 - 1].wide[nv - 1] : row_fns[r1 - r0 - 1].stored[w->type];
			fn(w, &st, w->s + (size_t)r0 * TILE + t0, part + (size_t)r0 * w->n_part + d, (int)g.lo, (int)g.hi, d);
		}
	}
}

static void one_tile(const struct work *w, int64_t i_tile, float *part)
{
	int64_t first = i_tile * TILE;
	struct range all = seen(w, 0, w->n_row, first, TILE);
	for (int t = (int)all.lo / STEP * STEP; t < all.hi; t += STEP)
		scores_step(w, first, t, all);
	weights(w, first, part);
	for (int t = (int)all.lo / STEP * STEP; t < all.hi; t += STEP)
		outputs_step(w, first, t, all, part);
}

/* ---- all tiles ---- */

/* Adds a part to what came before it. The sum of a row that has seen something is at least 1. */
static void fold(const struct work *w, float *sum, float *part)
{
	if (*part_sum(w, part) == 0.0f)
		return;
	if (*part_sum(w, sum) == 0.0f) {
		memcpy(sum, part, w->n_part * sizeof *sum);
		return;
	}
	float a = *part_max(w, sum), b = *part_max(w, part), max = b > a ? b : a, keep = weight1(a - max), add = weight1(b - max);
	for (int d = 0; d < w->hd_pad; d += LANES)
		vf_store(sum + d, vf_fma(vf_load(part + d), vf_set(add), vf_mul(vf_load(sum + d), vf_set(keep))));
	*part_max(w, sum) = max;
	*part_sum(w, sum) = fmaf(*part_sum(w, part), add, *part_sum(w, sum) * keep);
}

static void fold_all(const struct work *w, float *sum, float *part)
{
	for (int r = 0; r < w->n_row; r++)
		fold(w, sum + (size_t)r * w->n_part, part + (size_t)r * w->n_part);
}

static void finish_row(const struct work *w, int r, float *acc)
{
	int head = w->job->i_head_kv * w->ratio + r % w->ratio;
	float *out = w->job->out + (size_t)(r / w->ratio) * w->job->out_stride + (size_t)head * (size_t)w->hd_v;
	float keep = 1.0f, sum = *part_sum(w, acc), top = *part_max(w, acc);
	if (w->a->sinks) {
		float sink = w->a->sinks[head] * LOG2_E, max = sink > top ? sink : top;
		keep = weight1(top - max);
		sum = sum * keep + weight1(sink - max);
	}
	float inv = sum == 0.0f ? 0.0f : keep / sum;
	int d = 0;
	for (; d + LANES <= w->hd_v; d += LANES)
		vf_store(out + d, vf_mul(vf_load(acc + d), vf_set(inv)));
	for (; d < w->hd_v; d++)
		out[d] = acc[d] * inv;
}

void ATTN(tile)(const struct kern_attn *a, const struct kern_attn_job *job, int64_t i_tile, float *part)
{
	struct work w = carve(a, job);
	pack_q(&w);
	one_tile(&w, i_tile, part);
}

void ATTN(merge)(const struct kern_attn *a, const struct kern_attn_job *job, float *parts)
{
	struct work w = carve(a, job);
	int64_t i0, i1;
	kern_attn_tiles(a, job, &i0, &i1);
	for (int64_t i = 1; i < i1 - i0; i++)
		fold_all(&w, parts, parts + (size_t)i * (size_t)w.n_row * w.n_part);
	for (int r = 0; r < w.n_row; r++)
		finish_row(&w, r, parts + (size_t)r * w.n_part);
}

void ATTN(all)(const struct kern_attn *a, const struct kern_attn_job *job)
{
	struct work w = carve(a, job);
	int64_t i0, i1;
	kern_attn_tiles(a, job, &i0, &i1);
	pack_q(&w);
	one_tile(&w, i0, w.sum);
	for (int64_t i = i0 + 1; i < i1; i++) {
		one_tile(&w, i, w.part);
		fold_all(&w, w.sum, w.part);
	}
	for (int r = 0; r < w.n_row; r++)
		finish_row(&w, r, w.sum + (size_t)r * w.n_part);
}
