/* The inner loops of ref, included once per instruction set with REF_CORE (the table's name) and REF_LANES (floats per
 * vector register: 4, 8 or 16) defined. Vectors are GCC's, so the arithmetic is that of plain C. */
#include <math.h>
#include <string.h>

#include "kern/quant/quant.h"
#include "kern/ref/ref.h"
#include "kern/ref/ref_math.h"

typedef float lanes __attribute__((vector_size(REF_LANES * 4)));

enum {
	N_SUM = 16,
	COLS = REF_LANES == 16 ? 4 : 2, /* columns of a register tile: 4 rows x COLS sums stay in registers */
	MAX_ROW = 4,
};

static inline __attribute__((always_inline)) lanes load_lanes(const float *p)
{
	lanes v;
	memcpy(&v, p, sizeof v);
	return v;
}

/* One register tile over lanes [l0, l0 + REF_LANES) of the 16 sums. */
static inline __attribute__((always_inline)) void tile_part(const float *w, size_t sw, const float *x, size_t sx, int64_t n,
							     float *acc, size_t sa, const int rows, const int cols)
{
	lanes s[MAX_ROW][4];
	for (int r = 0; r < rows; r++)
		for (int c = 0; c < cols; c++)
			s[r][c] = load_lanes(acc + (size_t)r * sa + (size_t)c * N_SUM);
	for (int64_t i = 0; i < n; i += N_SUM) {
		lanes xv[4];
		for (int c = 0; c < cols; c++)
			xv[c] = load_lanes(x + (size_t)c * sx + i);
		for (int r = 0; r < rows; r++) {
			lanes wv = load_lanes(w + (size_t)r * sw + i);
			for (int c = 0; c < cols; c++)
				s[r][c] += wv * xv[c];
		}
	}
	for (int r = 0; r < rows; r++)
		for (int c = 0; c < cols; c++)
			memcpy(acc + (size_t)r * sa + (size_t)c * N_SUM, &s[r][c], sizeof(lanes));
}

static void tile(const float *w, size_t sw, int n_row, const float *x, size_t sx, int n_col, int64_t n, float *acc, size_t sa)
{
	for (size_t l = 0; l < N_SUM; l += REF_LANES) {
		int c = 0;
		if (n_row == MAX_ROW)
			for (; c + COLS <= n_col; c += COLS)
				tile_part(w + l, sw, x + (size_t)c * sx + l, sx, n, acc + (size_t)c * N_SUM + l, sa, MAX_ROW, COLS);
		for (; c < n_col; c++)
			for (int r = 0; r < n_row; r++)
				tile_part(w + (size_t)r * sw + l, sw, x + (size_t)c * sx + l, sx, n,
					  acc + (size_t)r * sa + (size_t)c * N_SUM + l, sa, 1, 1);
	}
}

/* ---- attention ---- */

enum { PT = KERN_PAGE_TOK };

/* The state of one query row: what its part holds. */
struct row {
	float max, sum;
	float *acc; /* [hd_v] */
};

static struct row row_load(float *part, int64_t n)
{
	return (struct row){part[n - 16], part[n - 15], part};
}

static void row_store(const struct row *row, int64_t n)
{
	row->acc[n - 16] = row->max;
	row->acc[n - 15] = row->sum;
}

static void row_clear(float *part, int64_t n)
{
	memset(part, 0, (size_t)n * sizeof *part);
	part[n - 16] = -INFINITY;
}

/* One head's n_dim x PT values: the place of value i's scale is row i / row_len, column i % row_len of its block's. */
static void q8_to_f32(const uint8_t *src, float *buf, int hd, bool is_k)
{
	int n_block = (hd + KERN_KV_BLOCK - 1) / KERN_KV_BLOCK;
	const uint8_t *scales = src + (size_t)hd * PT;
	for (int d = 0; d < hd; d++)
		for (int t = 0; t < PT; t++) {
			int at = is_k ? d * PT + t : t * hd + d, block = d / KERN_KV_BLOCK;
			buf[at] = (float)(int8_t)src[at] * quant_f16(scales + 2 * (is_k ? block * PT + t : t * n_block + block));
		}
}

static const float *page_f32(const struct kern_kv *kv, const uint8_t *src, float *buf, int hd, bool is_k)
{
	switch (kv->type) {
	case KERN_KV_F16:
		quant_F16_to_f32(src, buf, (int64_t)hd * PT);
		return buf;
	case KERN_KV_BF16:
		quant_BF16_to_f32(src, buf, (int64_t)hd * PT);
		return buf;
	case KERN_KV_Q8_0:
		q8_to_f32(src, buf, hd, is_k);
		return buf;
	default:
		return (const float *)(const void *)src;
	}
}

/* One page for one query row: k [hd_k][PT], v [PT][hd_v]; positions [t0, t1) of the page are visible. */
static void attend(const struct kern_attn *a, struct row *row, const float *q, const float *k, const float *v, int t0, int t1)
{
	int hd_k = a->kv->hd_k, hd_v = a->kv->hd_v;
	float s[PT] = {0}, max = row->max;
	for (int d = 0; d < hd_k; d++)
		for (int t = 0; t < PT; t++)
			s[t] += q[d] * k[(size_t)d * PT + (size_t)t];
	for (int t = t0; t < t1; t++) {
		s[t] *= a->scale;
		if (a->softcap != 0.0f)
			s[t] = a->softcap * (float)ref_tanh(s[t] / a->softcap);
		max = s[t] > max ? s[t] : max;
	}
	float keep = ref_exp(row->max - max);
	row->sum *= keep;
	row->max = max;
	for (int d = 0; d < hd_v; d++)
		row->acc[d] *= keep;
	for (int t = t0; t < t1; t++) {
		float p = ref_exp(s[t] - max);
		row->sum += p;
		for (int d = 0; d < hd_v; d++)
			row->acc[d] += p * v[(size_t)t * (size_t)hd_v + (size_t)d];
	}
}

static void attn_page(const struct kern_attn *a, const struct kern_attn_job *job, int64_t page, float *part)
{
	const struct kern_kv *kv = a->kv;
	int ratio = a->n_head / kv->n_head_kv, n_row = job->n_q * ratio;
	size_t at = job->pages[page], head_kv = (size_t)job->i_head_kv;
	int64_t n_part = kern_attn_part(a);
	float *kbuf = job->scratch, *vbuf = kbuf + (size_t)kv->hd_k * PT;
	const uint8_t *k_at = kv->k + at * kv->k_page_bytes + head_kv * kern_kv_head_bytes(kv->type, kv->hd_k);
	const uint8_t *v_at = kv->v + at * kv->v_page_bytes + head_kv * kern_kv_head_bytes(kv->type, kv->hd_v);
	const float *k = page_f32(kv, k_at, kbuf, kv->hd_k, true), *v = page_f32(kv, v_at, vbuf, kv->hd_v, false);
	for (int r = 0; r < n_row; r++) {
		int64_t lo, hi;
		kern_attn_range(a, job, job->pos + r / ratio, &lo, &hi);
		lo = lo < page * PT ? 0 : lo - page * PT;
		hi = hi > (page + 1) * PT ? PT : hi - page * PT;
		if (lo >= hi)
			continue;
		int head = job->i_head_kv * ratio + r % ratio;
		struct row row = row_load(part + r * n_part, n_part);
		attend(a, &row, job->q + (size_t)(r / ratio) * job->q_stride + (size_t)head * (size_t)kv->hd_k, k, v, (int)lo, (int)hi);
		row_store(&row, n_part);
	}
}

static void attn_tile(const struct kern_attn *a, const struct kern_attn_job *job, int64_t i_tile, float *part)
{
	const int64_t tile_page = KERN_ATTN_TILE / PT;
	int n_row = job->n_q * (a->n_head / a->kv->n_head_kv);
	int64_t lo, hi, ignored;
	for (int r = 0; r < n_row; r++)
		row_clear(part + r * kern_attn_part(a), kern_attn_part(a));
	kern_attn_range(a, job, job->pos, &lo, &ignored);
	kern_attn_range(a, job, job->pos + job->n_q - 1, &ignored, &hi);
	int64_t page = lo / PT > i_tile * tile_page ? lo / PT : i_tile * tile_page;
	for (; page < (i_tile + 1) * tile_page && page * PT < hi; page++)
		attn_page(a, job, page, part);
}

/* Adds a part to what came before it. */
static void fold(float *sum, const float *part, int64_t n)
{
	struct row all = row_load(sum, n);
	float part_max = part[n - 16], part_sum = part[n - 15];
	if (part_sum == 0.0f)
		return;
	if (all.sum == 0.0f) {
		memcpy(sum, part, (size_t)n * sizeof *sum);
		return;
	}
	float max = part_max > all.max ? part_max : all.max, keep = ref_exp(all.max - max), add = ref_exp(part_max - max);
	for (int64_t d = 0; d < n - 16; d++)
		all.acc[d] = all.acc[d] * keep + part[d] * add;
	all.max = max;
	all.sum = all.sum * keep + part_sum * add;
	row_store(&all, n);
}

static void finish(const struct kern_attn *a, const struct row *row, int i_head, float *out)
{
	float keep = 1.0f, sum = row->sum;
	if (a->sinks) {
		float max = a->sinks[i_head] > row->max ? a->sinks[i_head] : row->max;
		keep = ref_exp(row->max - max);
		sum = sum * keep + ref_exp(a->sinks[i_head] - max);
	}
	for (int d = 0; d < a->kv->hd_v; d++)
		out[d] = sum > 0.0f ? row->acc[d] * keep / sum : sum == sum ? 0.0f : sum;
}

static void finish_all(const struct kern_attn *a, const struct kern_attn_job *job, float *sums)
{
	int ratio = a->n_head / a->kv->n_head_kv, n_row = job->n_q * ratio;
	for (int r = 0; r < n_row; r++) {
		int head = job->i_head_kv * ratio + r % ratio;
		struct row row = row_load(sums + r * kern_attn_part(a), kern_attn_part(a));
		finish(a, &row, head, job->out + (size_t)(r / ratio) * job->out_stride + (size_t)head * (size_t)a->kv->hd_v);
	}
}

static void fold_all(const struct kern_attn *a, const struct kern_attn_job *job, float *sums, const float *part)
{
	int64_t n_part = kern_attn_part(a), n_row = job->n_q * (a->n_head / a->kv->n_head_kv);
	for (int64_t r = 0; r < n_row; r++)
		fold(sums + r * n_part, part + r * n_part, n_part);
}

static void attn_merge(const struct kern_attn *a, const struct kern_attn_job *job, float *parts)
{
	int64_t i0, i1, n = job->n_q * (a->n_head / a->kv->n_head_kv) * kern_attn_part(a);
	kern_attn_tiles(a, job, &i0, &i1);
	for (int64_t i = 1; i < i1 - i0; i++)
		fold_all(a, job, parts, parts + i * n);
	finish_all(a, job, parts);
}

static void attn(const struct kern_attn *a, const struct kern_attn_job *job)
{
	int64_t i0, i1, n = job->n_q * (a->n_head / a->kv->n_head_kv) * kern_attn_part(a);
	float *sums = job->scratch + (size_t)(a->kv->hd_k + a->kv->hd_v) * PT, *part = sums + n;
	kern_attn_tiles(a, job, &i0, &i1);
	attn_tile(a, job, i0, sums);
	for (int64_t i = i0 + 1; i < i1; i++) {
		attn_tile(a, job, i, part);
		fold_all(a, job, sums, part);
	}
	finish_all(a, job, sums);
}

const struct ref_core REF_CORE = {tile, attn, attn_tile, attn_merge};
