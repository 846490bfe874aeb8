/* Quantized matrix product: panels of 16 rows (panel.h) times int8 activation rows. Included once per instruction set with
 * QMUL (the lookup function's name), QMUL_LEVEL (its name as a string) and MAX_COL (columns of the register tile) defined.
 *
 * For one row and one token, blocks of 32 inputs in ascending order: the integer dot product c is exact; then, in floats,
 *   plain:            f += ((c - offset sum) d) da      minimum:   f += (c s + sum m) da
 *   halves:           f += ((c0 - offset h0) s0 + (c1 - offset h1) s1) da, and with minimums + h0 m0 + h1 m1 inside
 * with one rounding for each fused step. Nothing in it depends on the other rows or tokens of the call, nor on the vector
 * width: all levels built from this file give the same bits.
 *
 * Without VNNI, products of unsigned and signed bytes are summed in 16 bits for as many groups as cannot overflow:
 * 254 times the largest quant a group, at most 32767. 8-bit quants do not fit; there |w| meets sign(w) a. */
#include "base/bug.h"
#include "gguf/gguf_type.h"
#include "kern/panel.h"
#include "kern/x86/lanes.h"
#include "kern/x86/x86.h"

/* Instrumented, the widest unrolled tiles take the compiler many minutes; the narrow ones run the same code. */
#if defined(__SANITIZE_ADDRESS__)
#undef MAX_COL
#define MAX_COL 2
#endif

enum { GROUPS = 8 };

/* What one call works on: LANES rows of a strip and up to MAX_COL tokens. */
struct tile {
	const uint8_t *q, *s; /* the strip's quants and scales */
	int row0;             /* first row of the strip that is computed: 0, or LANES */
	int64_t n_blk;
	const uint8_t *act; /* rows of struct act_blk */
	size_t act_stride;
	const uint8_t *ahead; /* fetched line by line while this tile is computed: lines pf0, pf0 + pf_step .. of each block */
	int pf0, pf_step;
	float *y; /* [n_col] rows, y_stride floats apart */
	size_t y_stride;
	const float *bias; /* [n_row] or NULL */
	int n_row;
};

INLINE vi bcast4(const int8_t *p)
{
	int v;
	memcpy(&v, p, sizeof v);
	return vi_set32(v);
}

/* Group g of a block as unsigned bytes (8 bits: as signed ones without VNNI). */
INLINE vi group(const uint8_t *q, const int bits, const int g)
{
	if (bits == 8) {
		vi v = vi_load(q + g * PANEL_PLANE);
		return VNNI ? v : vi_xor(v, vi_set8(0x80));
	}
	if (bits < 4) {
		vi v = vi_and(vi_srl16(vi_load(q + g / 4 * PANEL_PLANE), 2 * (g % 4)), vi_set8(3));
		if (bits == 2)
			return v;
		vi h = vi_load(q + 2 * PANEL_PLANE);
		return vi_or(v, vi_and(g < 2 ? vi_sll16(h, g < 2 ? 2 - g : 0) : vi_srl16(h, g < 2 ? 0 : g - 2), vi_set8(4)));
	}
	vi n = vi_load(q + g % 4 * PANEL_PLANE);
	vi v = vi_and(g < 4 ? n : vi_srl16(n, 4), vi_set8(15));
	if (bits == 5) {
		vi h = vi_load(q + 4 * PANEL_PLANE);
		v = vi_or(v, vi_and(g < 4 ? vi_sll16(h, g < 4 ? 4 - g : 0) : vi_srl16(h, g < 4 ? 0 : g - 4), vi_set8(16)));
	}
	if (bits == 6) {
		vi h = vi_load(q + (4 + g / 4) * PANEL_PLANE);
		const int at = 2 * (g % 4);
		v = vi_or(v, vi_and(at < 4 ? vi_sll16(h, at < 4 ? 4 - at : 0) : vi_srl16(h, at < 4 ? 0 : at - 4), vi_set8(48)));
	}
	return v;
}

/* Groups whose byte products may be summed in 16 bits. */
INLINE int groups16(const int bits)
{
	return bits <= 4 ? 8 : bits == 5 ? 4 : bits == 6 ? 2 : 1;
}

/* acc[c] += the dot products of groups [g0, g1) with column c. */
INLINE void dot_groups(vi *acc, const uint8_t *q, const int bits, const int g0, const int g1, const struct act_blk *const *a,
		       int64_t b, const int n_col)
{
	vi sum16[MAX_COL];
UNROLL
	for (int g = g0; g < g1; g++) {
		vi w = group(q, bits, g);
		if (VNNI) {
UNROLL
			for (int c = 0; c < n_col; c++)
				acc[c] = vi_dot(acc[c], w, bcast4(a[c][b].q + 4 * g));
			continue;
		}
		const int step = groups16(bits);
		vi mag = bits == 8 ? vi_abs8(w) : w;
UNROLL
		for (int c = 0; c < n_col; c++) {
			vi x = bcast4(a[c][b].q + 4 * g);
			vi p = vi_maddubs(mag, bits == 8 ? vi_sign8(x, w) : x);
			sum16[c] = (g - g0) % step ? vi_add16(sum16[c], p) : p;
			if ((g - g0) % step == step - 1 || g == g1 - 1)
				acc[c] = vi_add32(acc[c], vi_madd16(sum16[c], vi_set16(1)));
		}
	}
}

/* The scales of one block for LANES rows. */
struct scales {
	vf d0, d1, m0, m1;
};

INLINE struct scales load_scales(const uint8_t *p, const enum panel_scales kind, vf d, vf dmin)
{
	struct scales r = {d, d, dmin, dmin};
	if (kind == PANEL_K_MIN) {
		r.d0 = vf_mul(d, vf_from_i32(vi_from_u8(p)));
		r.m0 = vf_mul(dmin, vf_from_i32(vi_from_u8(p + PANEL_ROWS)));
	} else if (kind == PANEL_HALF) {
		r.d0 = vf_mul(d, vf_from_i32(vi_from_i8(p)));
		r.d1 = vf_mul(d, vf_from_i32(vi_from_i8(p + PANEL_ROWS)));
	} else if (kind == PANEL_HALF_MIN) {
		vi a = vi_from_u8(p), b = vi_from_u8(p + PANEL_ROWS), low = vi_set32(15);
		r.d0 = vf_mul(d, vf_from_i32(vi_and(a, low)));
		r.d1 = vf_mul(d, vf_from_i32(vi_and(b, low)));
		r.m0 = vf_mul(dmin, vf_from_i32(vi_srl16(a, 4)));
		r.m1 = vf_mul(dmin, vf_from_i32(vi_srl16(b, 4)));
	}
	return r;
}

/* The integer sums of one block into the float sums of its column. */
INLINE vf finish(vf f, vi c0, vi c1, const struct act_blk *a, struct scales s, const enum panel_scales kind, const int offset)
{
	vf u0 = vf_from_i32(c0), t;
	vf off = vf_set((float)-offset);
	if (kind == PANEL_PLAIN || kind == PANEL_MIN || kind == PANEL_K_MIN) {
		if (offset)
			u0 = vf_fma(vf_set(a->sum), off, u0);
		t = vf_mul(u0, s.d0);
		if (kind != PANEL_PLAIN)
			t = vf_fma(vf_set(a->sum), s.m0, t);
		return vf_fma(t, vf_set(a->d), f);
	}
	vf u1 = vf_from_i32(c1);
	if (offset) {
		u0 = vf_fma(vf_set(a->half[0]), off, u0);
		u1 = vf_fma(vf_set(a->half[1]), off, u1);
	}
	t = vf_fma(u1, s.d1, vf_mul(u0, s.d0));
	if (kind == PANEL_HALF_MIN) {
		t = vf_fma(vf_set(a->half[0]), s.m0, t);
		t = vf_fma(vf_set(a->half[1]), s.m1, t);
	}
	return vf_fma(t, vf_set(a->d), f);
}

INLINE void block(vf *f, const struct tile *t, const uint8_t *q, const struct act_blk *const *a, int64_t b, struct scales s,
		  const int bits, const int offset, const enum panel_scales kind, const int n_col)
{
	const int halves = kind == PANEL_HALF || kind == PANEL_HALF_MIN;
	vi c0[MAX_COL], c1[MAX_COL];
	for (int i = t->pf0; i < bits; i += t->pf_step)
		_mm_prefetch((const char *)t->ahead + (size_t)b * panel_blk_bytes(bits) + (size_t)i * PANEL_PLANE, _MM_HINT_T0);
UNROLL
	for (int c = 0; c < n_col; c++)
		c0[c] = c1[c] = vi_zero();
	dot_groups(c0, q, bits, 0, halves ? GROUPS / 2 : GROUPS, a, b, n_col);
	if (halves)
		dot_groups(c1, q, bits, GROUPS / 2, GROUPS, a, b, n_col);
UNROLL
	for (int c = 0; c < n_col; c++)
		f[c] = finish(f[c], c0[c], c1[c], &a[c][b], s, kind, bits == 8 && !VNNI ? 0 : offset);
}

INLINE void tile(const struct tile *t, const int bits, const int offset, const int unit, const int unit_bytes,
		 const enum panel_scales kind, const int n_col)
{
	const struct act_blk *a[MAX_COL];
	vf f[MAX_COL];
	const vf sign = vf_set(kind == PANEL_MIN ? 1.0f : -1.0f); /* K-quants subtract their minimums */
	const int per_unit = unit / PANEL_BLK;
UNROLL
	for (int c = 0; c < n_col; c++) {
		a[c] = (const void *)(t->act + (size_t)c * t->act_stride);
		f[c] = vf_set(0.0f);
	}
	const int row0 = LANES < PANEL_ROWS ? t->row0 : 0, has_min = kind == PANEL_MIN || kind == PANEL_K_MIN || kind == PANEL_HALF_MIN;
	const uint8_t *q = t->q + 4 * row0, *s = t->s;
	for (int64_t b = 0; b < t->n_blk; b += per_unit, s += unit_bytes) {
		vf d = vf_from_f16(s + 2 * row0);
		vf dmin = has_min ? vf_mul(sign, vf_from_f16(s + 2 * PANEL_ROWS + 2 * row0)) : vf_set(0.0f);
		const uint8_t *p = s + (has_min ? 4 : 2) * PANEL_ROWS + row0;
		for (int sub = 0; sub < per_unit; sub++, q += panel_blk_bytes(bits), p += 2 * PANEL_ROWS)
			block(f, t, q, a, b + sub, load_scales(p, kind, d, dmin), bits, offset, kind, n_col);
	}
UNROLL
	for (int c = 0; c < n_col; c++) {
		float *y = t->y + (size_t)c * t->y_stride;
		if (t->n_row >= LANES) {
			vf_store(y, t->bias ? vf_add(f[c], vf_load(t->bias)) : f[c]);
			continue;
		}
		vf_store_part(y, t->bias ? vf_add(f[c], vf_load_part(t->bias, t->n_row)) : f[c], t->n_row);
	}
}

/* ---- one function per type and number of columns ---- */

typedef void tile_fn(const struct tile *t);

#define TILE_FN(type, bits, offset, unit, unit_bytes, kind, n)                                                         \
	static void tile_##type##_##n(const struct tile *t)                                                            \
	{                                                                                                              \
		tile(t, bits, offset, unit, unit_bytes, kind, n);                                                      \
	}
#define TILE_FNS(type, bits, offset, unit, unit_bytes, kind, a, b)                                                     \
	TILE_FN(type, bits, offset, unit, unit_bytes, kind, a)                                                         \
	TILE_FN(type, bits, offset, unit, unit_bytes, kind, b)
#define PANEL(...) TILE_FNS(__VA_ARGS__, 1, 2)
PANEL_KINDS(PANEL)
#undef PANEL
#if MAX_COL > 2
#define PANEL(...) TILE_FNS(__VA_ARGS__, 3, 4)
PANEL_KINDS(PANEL)
#undef PANEL
#endif
#if MAX_COL > 4
#define PANEL(...) TILE_FNS(__VA_ARGS__, 5, 6) TILE_FNS(__VA_ARGS__, 7, 8)
PANEL_KINDS(PANEL)
#undef PANEL
#define TILE_ROW(type)                                                                                                 \
	{tile_##type##_1, tile_##type##_2, tile_##type##_3, tile_##type##_4,                                           \
	 tile_##type##_5, tile_##type##_6, tile_##type##_7, tile_##type##_8}
#elif MAX_COL > 2
#define TILE_ROW(type) {tile_##type##_1, tile_##type##_2, tile_##type##_3, tile_##type##_4}
#else
#define TILE_ROW(type) {tile_##type##_1, tile_##type##_2}
#endif

/* Tokens are taken in runs whose activations stay in the second-level cache while strips pass. */
enum { RUN_BYTES = 768 * 1024, RUN_MIN_TOK = 32, AHEAD_BYTES = 4096 };

/* Strips of [r0, r1) times n_tok columns, cut into equal tiles of at most MAX_COL. */
INLINE void mul_run(const struct kern_mat *w, int64_t r0, int64_t r1, struct tile t, int64_t n_tok, const uint8_t *act, float *y,
		    const float *bias, size_t strip, size_t n_q, tile_fn *const *fns)
{
	int64_t n_tile = (n_tok + MAX_COL - 1) / MAX_COL;
	for (int64_t r = r0; r < r1; r += PANEL_ROWS) {
		const uint8_t *q = w->panel + (size_t)(r / PANEL_ROWS) * strip;
		t.q = q;
		t.s = q + n_q;
		for (int64_t i = 0; i < n_tile; i++) {
			int64_t c0 = n_tok * i / n_tile, c1 = n_tok * (i + 1) / n_tile;
			t.act = act + (size_t)c0 * t.act_stride;
			t.ahead = n_tile > 1 ? q + strip : q + AHEAD_BYTES;
			t.pf0 = (int)(i < 16 ? i : 16);
			t.pf_step = (int)(n_tile < 16 ? n_tile : 16);
			for (t.row0 = 0; t.row0 < PANEL_ROWS && r + t.row0 < r1; t.row0 += LANES) {
				int64_t n_row = r1 - r - t.row0;
				t.n_row = (int)(n_row < LANES ? n_row : LANES);
				t.y = y + (size_t)c0 * t.y_stride + r + t.row0;
				t.bias = bias ? bias + r + t.row0 : NULL;
				fns[c1 - c0 - 1](&t);
			}
		}
	}
}

#if VNNI
#include "kern/x86/qwide_body.h"
#endif

INLINE void mul(const struct kern_mat *w, int64_t r0, int64_t r1, const uint8_t *act, size_t act_stride, int64_t n_tok, float *y,
		size_t y_stride, const float *bias, size_t strip, size_t n_q, tile_fn *const *fns)
{
	struct tile t = {.n_blk = w->n_in / PANEL_BLK, .act_stride = act_stride, .y_stride = y_stride};
	int64_t run = (int64_t)(RUN_BYTES / act_stride) / MAX_COL * MAX_COL;
	run = run < RUN_MIN_TOK ? RUN_MIN_TOK : run;
	for (int64_t i = 0; i < n_tok; i += run)
		mul_run(w, r0, r1, t, n_tok - i < run ? n_tok - i : run, act + (size_t)i * act_stride, y + (size_t)i * y_stride, bias,
			strip, n_q, fns);
}

/* ---- activations ---- */

enum { ACT_BLKS = 4 };

/* The fields behind the quants of a block, from its 32 quants and its scale. */
INLINE void act_sums(struct act_blk *blk, __m256i q, float d)
{
	__m256i v = _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_set1_epi8(1), q), _mm256_set1_epi16(1));
	v = _mm256_hadd_epi32(v, v);
	v = _mm256_hadd_epi32(v, v);
	__m128i h0 = _mm256_castsi256_si128(v), h1 = _mm256_extracti128_si256(v, 1); /* each sum four times */
	__m128i all = _mm_blend_epi32(_mm_blend_epi32(_mm_add_epi32(h0, h1), h0, 2), h1, 4); /* both, first, second, - */
	__m128 sums = _mm_cvtepi32_ps(_mm_shuffle_epi32(all, _MM_SHUFFLE(2, 1, 0, 3)));
	_mm_storeu_ps(&blk->d, _mm_move_ss(sums, _mm_set_ss(d)));
	__m128i off = _mm_sub_epi32(_mm_setzero_si128(), _mm_slli_epi32(_mm_blend_epi32(all, _mm_setzero_si128(), 8), 7));
	_mm_storeu_si128((__m128i *)(void *)&blk->off, off);
}

/* n blocks at once: independent work that overlaps. */
INLINE void act_blks(const float *x, struct act_blk *blk, const int n)
{
	int bits[ACT_BLKS];
UNROLL
	for (int i = 0; i < n; i++) {
		vi top = vi_zero(); /* magnitudes as integers order like floats, with infinity and NaN above all */
		for (int j = 0; j < PANEL_BLK; j += LANES)
			top = vi_max32(top, vi_and(vi_load(x + i * PANEL_BLK + j), vi_set32(0x7fffffff)));
		bits[i] = vi_hmax32(top);
	}
UNROLL
	for (int i = 0; i < n; i++) {
		float max;
		memcpy(&max, &bits[i], sizeof max);
		const int finite = bits[i] < 0x7f800000;
		max = finite && max >= 1e-30f ? max : 0.0f;
		const vf inv = vf_set(max > 0.0f ? 127.0f / max : 0.0f);
		const vi keep = vi_set32(finite ? -1 : 0);
		vi steps[PANEL_BLK / LANES];
		for (int j = 0; j < PANEL_BLK / LANES; j++)
			steps[j] = vi_and(vf_to_i32(vf_mul(vf_load(x + i * PANEL_BLK + j * LANES), inv)), keep);
		__m256i q = vi_pack8(steps);
		_mm256_storeu_si256((__m256i *)(void *)blk[i].q, q);
		act_sums(&blk[i], q, finite ? max / 127.0f : NAN);
	}
}

static void act_row(const float *x, uint8_t *act, int64_t n_in)
{
	struct act_blk *blk = (void *)act;
	int64_t b = 0, n = n_in / PANEL_BLK;
	for (; b + ACT_BLKS <= n; b += ACT_BLKS)
		act_blks(x + b * PANEL_BLK, blk + b, ACT_BLKS);
	for (; b < n; b++)
		act_blks(x + b * PANEL_BLK, blk + b, 1);
}

/* ---- the table ---- */

#if VNNI
#define WIDE(type, bits, offset, unit, unit_bytes, kind)                                                               \
	if (n_tok >= WIDE_MIN) {                                                                                       \
		wide_mul(w, r0, r1, act, act_stride, n_tok, y, y_stride, bias,                                         \
			 panel_strip_bytes(bits, unit, unit_bytes, w->n_in),                                           \
			 (size_t)(w->n_in / PANEL_BLK) * panel_blk_bytes(bits), bits, offset, unit, unit_bytes, kind); \
		return;                                                                                                \
	}
#else
#define WIDE(...) /* sums in 16 bits want the quants as narrow as they are stored */
#endif

#define PANEL(type, bits, offset, unit, unit_bytes, kind)                                                              \
	static void mul_##type(const struct kern_mat *w, int64_t r0, int64_t r1, const uint8_t *act, size_t act_stride, \
			       int64_t n_tok, float *y, size_t y_stride, const float *bias)                            \
	{                                                                                                              \
		static tile_fn *const fns[MAX_COL] = TILE_ROW(type);                                                   \
		WIDE(type, bits, offset, unit, unit_bytes, kind)                                                       \
		mul(w, r0, r1, act, act_stride, n_tok, y, y_stride, bias,                                              \
		    panel_strip_bytes(bits, unit, unit_bytes, w->n_in),                                                \
		    (size_t)(w->n_in / PANEL_BLK) * panel_blk_bytes(bits), fns);                                       \
	}
PANEL_KINDS(PANEL)
#undef PANEL

static const struct {
	int type;
	struct kern_mat_ops ops;
} table[] = {
#define PANEL(type, ...)                                                                                               \
	{GGUF_##type,                                                                                                  \
	 {#type "/" QMUL_LEVEL, KERN_ACT_I8, PANEL_ROWS, panel_bytes_##type, panel_pack_##type, act_i8_bytes, act_row, mul_##type}},
	PANEL_KINDS(PANEL)
#undef PANEL
};

const struct kern_mat_ops *QMUL(int type)
{
	for (size_t i = 0; i < ARRAY_LEN(table); i++)
		if (table[i].type == type)
			return &table[i].ops;
	return NULL;
}
