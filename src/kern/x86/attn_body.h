/* Attention over f16 KV pages: all query heads of one KV head together, one page of 32 positions a tile, online softmax in f32
 * (Milakov and Gimelshein, arXiv 1805.02867; Dao et al., arXiv 2205.14135). Included once per instruction set with ATTN (the
 * function's name), ATTN_SCRATCH and MAX_ROW (query rows of a register tile) defined.
 *
 * A query row sees its pages in ascending order; a score sums its products over d in order, fused; a page's weights are summed
 * lane by lane, then over the lanes; outputs sum over positions in order. Rows in one register tile never meet, so neither
 * n_q nor the tiling changes a bit: a position that a row does not see has weight 0, and adding 0 v changes nothing (stored
 * values are finite, see kv_store). Positions at and past kv_len may hold anything: their scores are replaced, their V not read. */
#include "kern/kern.h"
#include "kern/x86/lanes.h"

enum {
	PT = KERN_PAGE_TOK,
	SCORE_VEC = PT / LANES, /* vectors of a row's scores on one page */
	DIM_BLK = 32,           /* output values of a row that one pass over the positions sums */
	DIM_VEC = DIM_BLK / LANES,
};

struct work {
	const struct kern_attn *a;
	const struct kern_attn_job *job;
	int hd_k, hd_v, hd_pad; /* hd_pad: hd_v up to a multiple of DIM_BLK */
	int ratio, n_row;       /* query heads per KV head; rows = tokens x ratio, row r is token r / ratio */
	float *k32, *v32;       /* one page in f32: [hd_k][PT], [PT][hd_pad] */
	float *p;               /* [MAX_ROW][PT] weights */
	float *acc;             /* [n_row][hd_pad] */
	float *max, *sum;       /* [n_row] */
};

size_t ATTN_SCRATCH(const struct kern_attn *a, int n_q)
{
	size_t n_row = (size_t)n_q * (size_t)(a->n_head / a->kv->n_head_kv), hd_k = (size_t)a->kv->hd_k;
	size_t hd_pad = ((size_t)a->kv->hd_v + DIM_BLK - 1) / DIM_BLK * DIM_BLK;
	return (hd_k + hd_pad + MAX_ROW) * PT + n_row * (hd_pad + 2);
}

static struct work carve(const struct kern_attn *a, const struct kern_attn_job *job)
{
	struct work w = {.a = a, .job = job, .hd_k = a->kv->hd_k, .hd_v = a->kv->hd_v};
	w.hd_pad = (w.hd_v + DIM_BLK - 1) / DIM_BLK * DIM_BLK;
	w.ratio = a->n_head / a->kv->n_head_kv;
	w.n_row = job->n_q * w.ratio;
	w.k32 = job->scratch;
	w.v32 = w.k32 + (size_t)w.hd_k * PT;
	w.p = w.v32 + (size_t)w.hd_pad * PT;
	w.acc = w.p + MAX_ROW * PT;
	w.max = w.acc + (size_t)w.n_row * (size_t)w.hd_pad;
	w.sum = w.max + w.n_row;
	memset(w.acc, 0, (size_t)w.n_row * (size_t)w.hd_pad * sizeof *w.acc);
	for (int r = 0; r < w.n_row; r++) {
		w.max[r] = -INFINITY;
		w.sum[r] = 0.0f;
	}
	return w;
}

/* K and V of one page, in f16 as stored (v_stride = hd_v) or in f32 (v_stride = hd_pad). */
struct page {
	const void *k, *v;
	size_t v_stride;
	int n_pos;     /* positions of the page that are stored */
	int64_t first; /* position of its first row */
};

INLINE vf load(const void *p, size_t i, const int f16)
{
	return f16 ? vf_from_f16((const uint16_t *)p + i) : vf_load((const float *)p + i);
}

static const float *query(const struct work *w, int r)
{
	int head = w->job->i_head_kv * w->ratio + r % w->ratio;
	return w->job->q + (size_t)(r / w->ratio) * w->job->q_stride + (size_t)head * (size_t)w->hd_k;
}

/* Scores of rows r0 .. r0 + n on a page, as q.k: [n][SCORE_VEC]. */
INLINE void scores(const struct work *w, const struct page *pg, int r0, vf s[][SCORE_VEC], const int n, const int f16)
{
	const float *q[MAX_ROW];
UNROLL
	for (int r = 0; r < n; r++) {
		q[r] = query(w, r0 + r);
UNROLL
		for (int i = 0; i < SCORE_VEC; i++)
			s[r][i] = vf_set(0.0f);
	}
	for (int d = 0; d < w->hd_k; d++) {
		vf k[SCORE_VEC];
UNROLL
		for (int i = 0; i < SCORE_VEC; i++)
			k[i] = load(pg->k, (size_t)d * PT + (size_t)i * LANES, f16);
UNROLL
		for (int r = 0; r < n; r++) {
			vf x = vf_set(q[r][d]);
UNROLL
			for (int i = 0; i < SCORE_VEC; i++)
				s[r][i] = vf_fma(x, k[i], s[r][i]);
		}
	}
}

/* Turns a row's scores into weights p[PT] and updates its maximum and sum; returns the factor for what is summed so far. */
static float weigh(const struct work *w, const struct page *pg, int r, const float *score, float *p)
{
	const struct kern_attn *a = w->a;
	int64_t lo, hi;
	kern_attn_range(a, w->job, w->job->pos + r / w->ratio, &lo, &hi);
	lo = lo > pg->first ? lo - pg->first : 0;
	hi = hi < pg->first + PT ? hi - pg->first : PT;
	if (lo >= hi) {
		memset(p, 0, PT * sizeof *p);
		return 1.0f;
	}
	vf top = vf_set(-INFINITY), s[SCORE_VEC], all = vf_set(0.0f);
	for (int i = 0; i < SCORE_VEC; i++) {
		s[i] = vf_mul(vf_load(score + i * LANES), vf_set(a->scale));
		if (a->softcap != 0.0f)
			s[i] = vf_mul(vf_set(a->softcap), vf_tanh(vf_div(s[i], vf_set(a->softcap))));
		vf_store(p + i * LANES, s[i]);
	}
	for (int t = 0; t < PT; t++)
		if (t < lo || t >= hi)
			p[t] = -INFINITY;
	for (int i = 0; i < SCORE_VEC; i++) {
		s[i] = vf_load(p + i * LANES);
		top = vf_max(top, s[i]);
	}
	float max = vf_hmax(top);
	max = max > w->max[r] ? max : w->max[r];
	for (int i = 0; i < SCORE_VEC; i++) {
		s[i] = vf_exp(vf_sub(s[i], vf_set(max)));
		vf_store(p + i * LANES, s[i]);
		all = vf_add(all, s[i]);
	}
	float keep[LANES];
	vf_store(keep, vf_exp(vf_set(w->max[r] - max)));
	w->max[r] = max;
	w->sum[r] = w->sum[r] * keep[0] + vf_hsum(all);
	return keep[0];
}

/* acc rows = acc * keep + weights . V */
INLINE void outputs(const struct work *w, const struct page *pg, int r0, const float *keep, const int n, const int f16)
{
	for (int d = 0; d < w->hd_pad; d += DIM_BLK) {
		vf o[MAX_ROW][DIM_VEC];
UNROLL
		for (int r = 0; r < n; r++)
UNROLL
			for (int i = 0; i < DIM_VEC; i++)
				o[r][i] = vf_mul(vf_load(w->acc + (size_t)(r0 + r) * (size_t)w->hd_pad + d + i * LANES), vf_set(keep[r]));
		for (int t = 0; t < pg->n_pos; t++) {
			vf v[DIM_VEC];
UNROLL
			for (int i = 0; i < DIM_VEC; i++)
				v[i] = load(pg->v, (size_t)t * pg->v_stride + (size_t)d + (size_t)i * LANES, f16);
UNROLL
			for (int r = 0; r < n; r++) {
				vf x = vf_set(w->p[r * PT + t]);
UNROLL
				for (int i = 0; i < DIM_VEC; i++)
					o[r][i] = vf_fma(x, v[i], o[r][i]);
			}
		}
UNROLL
		for (int r = 0; r < n; r++)
UNROLL
			for (int i = 0; i < DIM_VEC; i++)
				vf_store(w->acc + (size_t)(r0 + r) * (size_t)w->hd_pad + d + i * LANES, o[r][i]);
	}
}

INLINE void rows(const struct work *w, const struct page *pg, int r0, const int n, const int f16)
{
	vf s[MAX_ROW][SCORE_VEC];
	float keep[MAX_ROW], score[MAX_ROW][PT];
	scores(w, pg, r0, s, n, f16);
UNROLL
	for (int r = 0; r < n; r++)
UNROLL
		for (int i = 0; i < SCORE_VEC; i++)
			vf_store(score[r] + i * LANES, s[r][i]);
	for (int r = 0; r < n; r++)
		keep[r] = weigh(w, pg, r0 + r, score[r], w->p + r * PT);
	outputs(w, pg, r0, keep, n, f16);
}

typedef void rows_fn(const struct work *w, const struct page *pg, int r0);
#define ROWS_FN(n)                                                                                                     \
	static void rows_f16_##n(const struct work *w, const struct page *pg, int r0) { rows(w, pg, r0, n, 1); }       \
	static void rows_f32_##n(const struct work *w, const struct page *pg, int r0) { rows(w, pg, r0, n, 0); }
ROWS_FN(1)
ROWS_FN(2)
ROWS_FN(3)
#if MAX_ROW == 3
static rows_fn *const rows_fns[2][MAX_ROW] = {{rows_f32_1, rows_f32_2, rows_f32_3}, {rows_f16_1, rows_f16_2, rows_f16_3}};
#else
ROWS_FN(4)
ROWS_FN(5)
ROWS_FN(6)
ROWS_FN(7)
ROWS_FN(8)
static rows_fn *const rows_fns[2][MAX_ROW] = {
	{rows_f32_1, rows_f32_2, rows_f32_3, rows_f32_4, rows_f32_5, rows_f32_6, rows_f32_7, rows_f32_8},
	{rows_f16_1, rows_f16_2, rows_f16_3, rows_f16_4, rows_f16_5, rows_f16_6, rows_f16_7, rows_f16_8},
};
#endif

/* The page in f32, V padded with zeros. */
static void widen(const struct work *w, struct page *pg)
{
	const uint16_t *k = pg->k, *v = pg->v;
	for (size_t i = 0; i < (size_t)w->hd_k * PT; i += LANES)
		vf_store(w->k32 + i, vf_from_f16(k + i));
	for (int t = 0; t < pg->n_pos; t++) {
		float *dst = w->v32 + (size_t)t * (size_t)w->hd_pad;
		const uint16_t *src = v + (size_t)t * (size_t)w->hd_v;
		int d = 0;
		for (; d + LANES <= w->hd_v; d += LANES)
			vf_store(dst + d, vf_from_f16(src + d));
		uint16_t tail[LANES] = {0};
		memcpy(tail, src + d, (size_t)(w->hd_v - d) * sizeof *tail);
		if (d < w->hd_v)
			vf_store(dst + d, vf_from_f16(tail));
		for (d += d < w->hd_v ? LANES : 0; d < w->hd_pad; d += LANES)
			vf_store(dst + d, vf_set(0.0f));
	}
	*pg = (struct page){w->k32, w->v32, (size_t)w->hd_pad, pg->n_pos, pg->first};
}

static void one_page(const struct work *w, int64_t i_page)
{
	const struct kern_kv *kv = w->a->kv;
	size_t at = w->job->pages[i_page], head = (size_t)w->job->i_head_kv;
	int64_t first = i_page * PT, n_pos = w->job->kv_len - first;
	struct page pg = {kv->k + at * kv->k_page_bytes + head * (size_t)w->hd_k * PT * 2,
			  kv->v + at * kv->v_page_bytes + head * (size_t)w->hd_v * PT * 2, (size_t)w->hd_v,
			  (int)(n_pos < PT ? n_pos : PT), first};
	/* Widening pays from the second tile on; heads that do not fill the last block of outputs need its zeros. */
	int f16 = w->n_row <= MAX_ROW && w->hd_v == w->hd_pad;
	if (!f16)
		widen(w, &pg);
	int n_tile = (w->n_row + MAX_ROW - 1) / MAX_ROW;
	for (int i = 0; i < n_tile; i++) {
		int r0 = w->n_row * i / n_tile, r1 = w->n_row * (i + 1) / n_tile;
		int64_t lo, hi, last_hi;
		kern_attn_range(w->a, w->job, w->job->pos + r0 / w->ratio, &lo, &hi);
		kern_attn_range(w->a, w->job, w->job->pos + (r1 - 1) / w->ratio, &(int64_t){0}, &last_hi);
		if (first + PT > lo && first < last_hi)
			rows_fns[f16][r1 - r0 - 1](w, &pg, r0);
	}
}

static void finish_row(const struct work *w, int r)
{
	int head = w->job->i_head_kv * w->ratio + r % w->ratio;
	float *out = w->job->out + (size_t)(r / w->ratio) * w->job->out_stride + (size_t)head * (size_t)w->hd_v;
	const float *acc = w->acc + (size_t)r * (size_t)w->hd_pad;
	float keep[LANES] = {1.0f}, add[LANES] = {0.0f}, sum = w->sum[r];
	if (w->a->sinks) {
		float sink = w->a->sinks[head], max = sink > w->max[r] ? sink : w->max[r];
		vf_store(keep, vf_exp(vf_set(w->max[r] - max)));
		vf_store(add, vf_exp(vf_set(sink - max)));
		sum = sum * keep[0] + add[0];
	}
	float inv = sum == 0.0f ? 0.0f : keep[0] / sum;
	int d = 0;
	for (; d + LANES <= w->hd_v; d += LANES)
		vf_store(out + d, vf_mul(vf_load(acc + d), vf_set(inv)));
	for (; d < w->hd_v; d++)
		out[d] = acc[d] * inv;
}

void ATTN(const struct kern_attn *a, const struct kern_attn_job *job)
{
	struct work w = carve(a, job);
	int64_t lo, hi, first_hi;
	kern_attn_range(a, job, job->pos, &lo, &first_hi);
	kern_attn_range(a, job, job->pos + job->n_q - 1, &(int64_t){0}, &hi);
	for (int64_t i = lo / PT; i * PT < hi; i++)
		one_page(&w, i);
	for (int r = 0; r < w.n_row; r++)
		finish_row(&w, r);
}
