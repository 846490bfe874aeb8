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

/* Running state of one query row while pages pass by. */
struct row {
	float max, sum;
	float *acc; /* [hd_v] */
};

static const float *page_f32(const struct kern_kv *kv, const uint8_t *src, float *buf, int64_t n)
{
	if (kv->type == KERN_KV_F16) {
		quant_F16_to_f32(src, buf, n);
		return buf;
	}
	return (const float *)(const void *)src;
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

static void finish(const struct kern_attn *a, struct row *row, int i_head, float *out)
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

static void attn(const struct kern_attn *a, const struct kern_attn_job *job)
{
	const struct kern_kv *kv = a->kv;
	int ratio = a->n_head / kv->n_head_kv, n_row = job->n_q * ratio;
	size_t esize = kv->type == KERN_KV_F16 ? 2 : 4;
	size_t nk = (size_t)kv->hd_k * PT, nv = (size_t)kv->hd_v * PT;
	float *kbuf = job->scratch, *vbuf = kbuf + nk, *acc = vbuf + nv, *state = acc + (size_t)n_row * (size_t)kv->hd_v;
	for (int r = 0; r < n_row; r++) {
		state[2 * r] = -INFINITY;
		state[2 * r + 1] = 0.0f;
	}
	memset(acc, 0, (size_t)n_row * (size_t)kv->hd_v * sizeof *acc);
	int64_t lo, hi;
	kern_attn_range(a, job, job->pos, &lo, &hi);
	int64_t first = lo / PT;
	kern_attn_range(a, job, job->pos + job->n_q - 1, &lo, &hi);
	for (int64_t page = first; page * PT < hi; page++) {
		size_t at = job->pages[page];
		const float *k = page_f32(kv, kv->k + at * kv->k_page_bytes + (size_t)job->i_head_kv * nk * esize, kbuf, (int64_t)nk);
		const float *v = page_f32(kv, kv->v + at * kv->v_page_bytes + (size_t)job->i_head_kv * nv * esize, vbuf, (int64_t)nv);
		for (int r = 0; r < n_row; r++) {
			int64_t r_lo, r_hi;
			kern_attn_range(a, job, job->pos + r / ratio, &r_lo, &r_hi);
			int64_t t0 = r_lo - page * PT, t1 = r_hi - page * PT;
			t0 = t0 < 0 ? 0 : t0;
			t1 = t1 > PT ? PT : t1;
			if (t0 >= t1)
				continue;
			int head = job->i_head_kv * ratio + r % ratio;
			struct row row = {state[2 * r], state[2 * r + 1], acc + (size_t)r * (size_t)kv->hd_v};
			attend(a, &row, job->q + (size_t)(r / ratio) * job->q_stride + (size_t)head * (size_t)kv->hd_k, k, v, (int)t0,
			       (int)t1);
			state[2 * r] = row.max;
			state[2 * r + 1] = row.sum;
		}
	}
	for (int r = 0; r < n_row; r++) {
		int head = job->i_head_kv * ratio + r % ratio;
		struct row row = {state[2 * r], state[2 * r + 1], acc + (size_t)r * (size_t)kv->hd_v};
		finish(a, &row, head, job->out + (size_t)(r / ratio) * job->out_stride + (size_t)head * (size_t)kv->hd_v);
	}
}

const struct ref_core REF_CORE = {tile, attn};
