/* Matrix product for float weights: panels of 16 rows (panel.h) times f32 activations. Included once per instruction set with
 * FMUL (the lookup function's name), FMUL_LEVEL (its name as a string) and MAX_COL (columns of a register tile: 3 or 7) defined.
 * FMUL_DOT(acc, a, b), when defined, makes products of bf16 pairs instead: weights and activations are bf16, `input` below means
 * a pair of them, and acc + the two products takes the place of a fused step.
 *
 * A row and a token have 2 partial sums, of even and of odd inputs, with fused steps, added at the end. A register tile is
 * VECS vectors of rows by MAX_COL tokens by these 2. With few tokens a tile walks its whole strips once; with many, inputs are
 * taken in blocks that stay in the first-level cache as f32 while all tokens pass, and the partial sums wait in memory. */
#include <stdbool.h>

#include "base/bug.h"
#include "gguf/gguf_type.h"
#include "kern/panel.h"
#include "kern/quant/quant.h"
#include "kern/ref/ref.h"
#include "kern/x86/lanes.h"
#include "kern/x86/x86.h"

enum {
	N_SUM = 2,
	VECS = 2,
	TILE_ROWS = VECS * LANES,
	BLK_IN = 256,           /* inputs of a block */
	RUN_TOK = 16 * MAX_COL, /* most tokens that pass over a block, and the bytes that their activations may have: they stay */
	RUN_BYTES = 768 * 1024, /* in the second-level cache while strips pass */
	MIN_TILES = 4,          /* from here on blocks pay */
};

struct tile {
	const uint8_t *w[VECS]; /* weights of each vector of rows; an input's are `step` bytes apart */
	size_t step;
	int64_t n_in;
	const uint8_t *act;
	size_t act_stride;
	float (*part)[N_SUM][TILE_ROWS]; /* partial sums by column when the inputs come in blocks, else NULL */
	bool first, last;                /* block */
	float *y;
	size_t y_stride;
	const float *bias;
	int64_t n_row; /* of TILE_ROWS, those that exist */
};

#if defined(FMUL_DOT)
INLINE vf step(vf acc, vf w, vf x) { return FMUL_DOT(acc, w, x); }
#else
INLINE vf step(vf acc, vf w, vf x) { return vf_fma(w, x, acc); }
#endif

/* LANES weights of 4 bytes (F32 or pairs) or 2. */
INLINE vf load_w(const uint8_t *p, const int type)
{
	return type == GGUF_F32 ? vf_load((const float *)(const void *)p) : type == GGUF_F16 ? vf_from_f16(p) : vf_from_bf16(p);
}

/* Writes one column's sums. */
INLINE void put(const struct tile *t, const int c, vf f[VECS][N_SUM])
{
UNROLL
	for (int v = 0; v < VECS; v++) {
		int64_t n = t->n_row - v * LANES;
		float *y = t->y + (size_t)c * t->y_stride + v * LANES;
		const float *bias = t->bias + v * LANES;
		vf sum = vf_add(f[v][0], f[v][1]);
		if (n >= LANES)
			vf_store(y, t->bias ? vf_add(sum, vf_load(bias)) : sum);
		else if (n > 0)
			vf_store_part(y, t->bias ? vf_add(sum, vf_load_part(bias, n)) : sum, n);
	}
}

INLINE void tile(const struct tile *t, const int type, const int n_col)
{
	const float *x[MAX_COL];
	vf f[MAX_COL][VECS][N_SUM];
UNROLL
	for (int c = 0; c < n_col; c++) {
		x[c] = (const void *)(t->act + (size_t)c * t->act_stride);
UNROLL
		for (int k = 0; k < VECS * N_SUM; k++)
			f[c][k / N_SUM][k % N_SUM] = t->first ? vf_set(0.0f) : vf_load(t->part[c][k % N_SUM] + k / N_SUM * LANES);
	}
	const uint8_t *w[VECS];
UNROLL
	for (int v = 0; v < VECS; v++)
		w[v] = t->w[v];
	for (int64_t i = 0; i < t->n_in; i += N_SUM)
UNROLL
		for (int j = 0; j < N_SUM; j++) {
			vf m[VECS];
UNROLL
			for (int v = 0; v < VECS; v++, w[v - 1] += t->step)
				m[v] = load_w(w[v], type);
UNROLL
			for (int c = 0; c < n_col; c++) {
				vf b = vf_set(x[c][i + j]);
UNROLL
				for (int v = 0; v < VECS; v++)
					f[c][v][j] = step(f[c][v][j], m[v], b);
			}
		}
UNROLL
	for (int c = 0; c < n_col; c++) {
		if (t->last) {
			put(t, c, f[c]);
			continue;
		}
UNROLL
		for (int k = 0; k < VECS * N_SUM; k++)
			vf_store(t->part[c][k % N_SUM] + k / N_SUM * LANES, f[c][k / N_SUM][k % N_SUM]);
	}
}

typedef void tile_fn(const struct tile *t);

#define TILE_FN(type, n)                                                                                               \
	static void tile_##type##_##n(const struct tile *t)                                                            \
	{                                                                                                              \
		tile(t, GGUF_##type, n);                                                       \
	}
#if MAX_COL == 3
#define TILE_FNS(type) TILE_FN(type, 1) TILE_FN(type, 2) TILE_FN(type, 3)
#define TILE_ROW(type) {tile_##type##_1, tile_##type##_2, tile_##type##_3}
#else
#define TILE_FNS(type)                                                                                                 \
	TILE_FN(type, 1) TILE_FN(type, 2) TILE_FN(type, 3) TILE_FN(type, 4)                                            \
	TILE_FN(type, 5) TILE_FN(type, 6) TILE_FN(type, 7)
#define TILE_ROW(type)                                                                                                 \
	{tile_##type##_1, tile_##type##_2, tile_##type##_3, tile_##type##_4, tile_##type##_5, tile_##type##_6, tile_##type##_7}
#endif
TILE_FNS(F32)
#if !defined(FMUL_DOT)
TILE_FNS(F16)
TILE_FNS(BF16)
#endif
static tile_fn *const f32_fns[] = TILE_ROW(F32);

/* The tiles of n_tok columns, cut into equal ones, over the inputs that t says. */
INLINE void tiles(struct tile t, int64_t n_tok, tile_fn *const *fns)
{
	const struct tile all = t;
	int64_t n_tile = (n_tok + MAX_COL - 1) / MAX_COL;
	for (int64_t i = 0; i < n_tile; i++) {
		int64_t c0 = n_tok * i / n_tile, c1 = n_tok * (i + 1) / n_tile;
		t.act = all.act + (size_t)c0 * t.act_stride;
		t.part = all.part ? all.part + c0 : NULL;
		t.y = all.y + (size_t)c0 * t.y_stride;
		fns[c1 - c0 - 1](&t);
	}
}

/* TILE_ROWS rows times n_tok columns by blocks of inputs, each in f32 while all columns pass. */
INLINE void blocks(struct tile t, int64_t n_tok, const int type)
{
	_Alignas(64) float f32[BLK_IN][VECS][LANES], part[RUN_TOK][N_SUM][TILE_ROWS];
	const struct tile all = t;
	t.part = part;
	t.step = sizeof f32[0];
	for (int64_t i = 0; i < all.n_in; i += BLK_IN) {
		t.n_in = all.n_in - i < BLK_IN ? all.n_in - i : BLK_IN;
		for (int64_t k = 0; k < (t.n_in + N_SUM - 1) / N_SUM * N_SUM; k++)
UNROLL
			for (int v = 0; v < VECS; v++)
				vf_store(f32[k][v], load_w(all.w[v] + (size_t)(i + k) * all.step, type));
		for (int v = 0; v < VECS; v++)
			t.w[v] = (const uint8_t *)f32[0][v];
		t.act = all.act + (size_t)i * sizeof(float);
		t.first = i == 0;
		t.last = i + BLK_IN >= all.n_in;
		tiles(t, n_tok, f32_fns);
	}
}

INLINE void mul(const uint8_t *panel, int64_t n_in, int64_t r0, int64_t r1, const uint8_t *act, size_t act_stride, int64_t n_tok,
		float *y, size_t y_stride, const float *bias, const int type, tile_fn *const *fns)
{
	const size_t size = type == GGUF_F32 ? 4 : 2, n_pad = (size_t)((n_in + N_SUM - 1) / N_SUM * N_SUM);
	struct tile t = {.step = PANEL_ROWS * size, .n_in = n_in, .act_stride = act_stride, .first = true, .last = true};
	t.y_stride = y_stride;
	int64_t run = (int64_t)(RUN_BYTES / act_stride) / MAX_COL * MAX_COL;
	run = run < MIN_TILES * MAX_COL ? MIN_TILES * MAX_COL : run < RUN_TOK ? run : RUN_TOK;
	for (int64_t c = 0; c < n_tok; c += run)
		for (int64_t r = r0; r < r1; r += TILE_ROWS) {
			int64_t n = n_tok - c < run ? n_tok - c : run;
			for (int v = 0; v < VECS; v++) {
				int64_t at = r + v * LANES < r1 ? r + v * LANES : r; /* rows that do not exist compute what others do */
				t.w[v] = panel + ((size_t)(at / PANEL_ROWS) * n_pad * PANEL_ROWS + (size_t)(at % PANEL_ROWS)) * size;
			}
			t.act = act + (size_t)c * act_stride;
			t.y = y + (size_t)c * y_stride + r;
			t.bias = bias ? bias + r : NULL;
			t.n_row = r1 - r;
			if (n >= MIN_TILES * MAX_COL)
				blocks(t, n, type);
			else
				tiles(t, n, fns);
		}
}

#if defined(FMUL_DOT)

static size_t act_bytes(int64_t n_in)
{
	return ((size_t)n_in * 2 + 63) & ~(size_t)63;
}

static void act_row(const float *x, uint8_t *act, int64_t n_in)
{
	uint16_t *dst = (void *)act;
	memset(act + act_bytes(n_in) - 64, 0, 64);
	for (int64_t i = 0; i < n_in; i++)
		dst[i] = f32_to_bf16(x[i]);
}

static void mul_pairs(const struct kern_mat *w, int64_t r0, int64_t r1, const uint8_t *act, size_t act_stride, int64_t n_tok,
		      float *y, size_t y_stride, const float *bias)
{
	mul(w->panel, (w->n_in + 1) / 2, r0, r1, act, act_stride, n_tok, y, y_stride, bias, GGUF_F32, f32_fns);
}

#define OPS(type)                                                                                                      \
	{GGUF_##type,                                                                                                  \
	 {#type "/" FMUL_LEVEL, KERN_ACT_BF16, PANEL_ROWS, panel_bytes_bf16, panel_pack_bf16, act_bytes, act_row, mul_pairs}}
#define TABLE OPS(BF16), OPS(F16)

#else

#define MUL_FN(type)                                                                                                   \
	static void mul_##type(const struct kern_mat *w, int64_t r0, int64_t r1, const uint8_t *act, size_t act_stride, \
			       int64_t n_tok, float *y, size_t y_stride, const float *bias)                            \
	{                                                                                                              \
		static tile_fn *const fns[MAX_COL] = TILE_ROW(type);                                                   \
		mul(w->panel, w->n_in, r0, r1, act, act_stride, n_tok, y, y_stride, bias, GGUF_##type, fns);           \
	}
MUL_FN(F32)
MUL_FN(F16)
MUL_FN(BF16)

#define OPS(type, kind)                                                                                                \
	{GGUF_##type,                                                                                                  \
	 {#type "/" FMUL_LEVEL, KERN_ACT_F32, PANEL_ROWS, panel_bytes_##kind, panel_pack_##kind, ref_act_bytes, ref_act_row, mul_##type}}
#define TABLE OPS(F32, f32), OPS(F16, f16), OPS(BF16, f16)

#endif

static const struct {
	int type;
	struct kern_mat_ops ops;
} table[] = {TABLE};

const struct kern_mat_ops *FMUL(int type)
{
	for (size_t i = 0; i < ARRAY_LEN(table); i++)
		if (table[i].type == type)
			return &table[i].ops;
	return NULL;
}
