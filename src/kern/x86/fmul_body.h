/* Matrix product for float weights: panels of 16 rows (panel.h) times f32 activations. Included once per instruction set with
 * FMUL (the lookup function's name), FMUL_LEVEL (its name as a string) and MAX_COL defined.
 *
 * A row and a token have 2 partial sums, of even and of odd inputs, with fused steps, added at the end. */
#include "base/bug.h"
#include "gguf/gguf_type.h"
#include "kern/panel.h"
#include "kern/ref/ref.h"
#include "kern/x86/lanes.h"
#include "kern/x86/x86.h"

#define N_SUM 2

struct tile {
	const uint8_t *w; /* the strip, at this tile's first row */
	int64_t n_in;
	const uint8_t *act;
	size_t act_stride;
	float *y;
	size_t y_stride;
	const float *bias;
	int n_row;
};

INLINE vf load_w(const uint8_t *p, const int type)
{
	return type == GGUF_F32 ? vf_load((const float *)(const void *)p) : type == GGUF_F16 ? vf_from_f16(p) : vf_from_bf16(p);
}

INLINE void tile(const struct tile *t, const int type, const int n_col)
{
	const size_t step = PANEL_ROWS * (type == GGUF_F32 ? 4 : 2);
	const float *x[MAX_COL];
	vf f[MAX_COL][N_SUM];
UNROLL
	for (int c = 0; c < n_col; c++) {
		x[c] = (const void *)(t->act + (size_t)c * t->act_stride);
UNROLL
		for (int j = 0; j < N_SUM; j++)
			f[c][j] = vf_set(0.0f);
	}
	const uint8_t *w = t->w;
	for (int64_t i = 0; i < t->n_in; i += N_SUM)
UNROLL
		for (int j = 0; j < N_SUM; j++, w += step) {
			vf v = load_w(w, type);
UNROLL
			for (int c = 0; c < n_col; c++)
				f[c][j] = vf_fma(v, vf_set(x[c][i + j]), f[c][j]);
		}
UNROLL
	for (int c = 0; c < n_col; c++) {
		vf sum = vf_add(f[c][0], f[c][1]);
		float *y = t->y + (size_t)c * t->y_stride;
		if (t->n_row >= LANES)
			vf_store(y, t->bias ? vf_add(sum, vf_load(t->bias)) : sum);
		else
			vf_store_part(y, t->bias ? vf_add(sum, vf_load_part(t->bias, t->n_row)) : sum, t->n_row);
	}
}

typedef void tile_fn(const struct tile *t);

#define TILE_FN(type, n)                                                                                               \
	static void tile_##type##_##n(const struct tile *t)                                                            \
	{                                                                                                              \
		tile(t, GGUF_##type, n);                                                                               \
	}
#define TILE_FNS4(type) TILE_FN(type, 1) TILE_FN(type, 2) TILE_FN(type, 3) TILE_FN(type, 4)
#if MAX_COL > 4
#define TILE_FNS(type) TILE_FNS4(type) TILE_FN(type, 5) TILE_FN(type, 6) TILE_FN(type, 7) TILE_FN(type, 8)
#define TILE_ROW(type)                                                                                                 \
	{tile_##type##_1, tile_##type##_2, tile_##type##_3, tile_##type##_4,                                           \
	 tile_##type##_5, tile_##type##_6, tile_##type##_7, tile_##type##_8}
#else
#define TILE_FNS(type) TILE_FNS4(type)
#define TILE_ROW(type) {tile_##type##_1, tile_##type##_2, tile_##type##_3, tile_##type##_4}
#endif
TILE_FNS(F32)
TILE_FNS(F16)
TILE_FNS(BF16)

INLINE void mul(const struct kern_mat *w, int64_t r0, int64_t r1, const uint8_t *act, size_t act_stride, int64_t n_tok, float *y,
		size_t y_stride, const float *bias, size_t size, tile_fn *const *fns)
{
	size_t n_pad = (size_t)((w->n_in + N_SUM - 1) / N_SUM * N_SUM);
	struct tile t = {.n_in = w->n_in, .act_stride = act_stride, .y_stride = y_stride};
	int64_t n_tile = (n_tok + MAX_COL - 1) / MAX_COL;
	for (int64_t r = r0; r < r1; r += LANES)
		for (int64_t i = 0; i < n_tile; i++) {
			int64_t c0 = n_tok * i / n_tile, c1 = n_tok * (i + 1) / n_tile;
			t.w = w->panel + ((size_t)(r / PANEL_ROWS) * n_pad * PANEL_ROWS + (size_t)(r % PANEL_ROWS)) * size;
			t.act = act + (size_t)c0 * act_stride;
			t.y = y + (size_t)c0 * y_stride + r;
			t.bias = bias ? bias + r : NULL;
			t.n_row = (int)(r1 - r < LANES ? r1 - r : LANES);
			fns[c1 - c0 - 1](&t);
		}
}

#define MUL_FN(type, size)                                                                                             \
	static void mul_##type(const struct kern_mat *w, int64_t r0, int64_t r1, const uint8_t *act, size_t act_stride, \
			       int64_t n_tok, float *y, size_t y_stride, const float *bias)                            \
	{                                                                                                              \
		static tile_fn *const fns[MAX_COL] = TILE_ROW(type);                                                   \
		mul(w, r0, r1, act, act_stride, n_tok, y, y_stride, bias, size, fns);                                  \
	}
MUL_FN(F32, 4)
MUL_FN(F16, 2)
MUL_FN(BF16, 2)

#define OPS(type, panel)                                                                                               \
	{GGUF_##type,                                                                                                  \
	 {#type "/" FMUL_LEVEL, KERN_ACT_F32, PANEL_ROWS, panel_bytes_##panel, panel_pack_##panel, ref_act_bytes, ref_act_row, mul_##type}}
static const struct {
	int type;
	struct kern_mat_ops ops;
} table[] = {OPS(F32, f32), OPS(F16, f16), OPS(BF16, f16)};

const struct kern_mat_ops *FMUL(int type)
{
	for (size_t i = 0; i < ARRAY_LEN(table); i++)
		if (table[i].type == type)
			return &table[i].ops;
	return NULL;
}
