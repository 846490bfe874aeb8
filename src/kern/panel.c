#include "kern/panel.h"

#include <string.h>

#include "base/bug.h"
#include "gguf/gguf_type.h"
#include "kern/quant/quant.h"
#include "kern/quant/quant_k.h"

#define ONES 0x01010101u
#define TWOS 0x03030303u
#define NIBS 0x0f0f0f0fu

/* Packing works on four rows at a time. Word g of 16 file bytes is inputs 4 g .. 4 g + 3 of one row; four rows' words are
 * turned so that a vector holds one group of all four, which is a quarter of a plane. */
typedef uint32_t u32x4 __attribute__((vector_size(16)));

enum { ROWS_AT_ONCE = 4, UNIT_BYTES_MAX = 256 };

static u32x4 load(const uint8_t *p)
{
	u32x4 v;
	memcpy(&v, p, sizeof v);
	return v;
}

/* The same unaligned word of four rows. */
static u32x4 load_word(const uint8_t *const *src, int off)
{
	u32x4 v;
	for (int i = 0; i < ROWS_AT_ONCE; i++) {
		uint32_t w;
		memcpy(&w, src[i] + off, sizeof w);
		v[i] = w;
	}
	return v;
}

/* Rows to columns: w[i][j] becomes w[j][i]. */
static void turn(u32x4 w[4])
{
	u32x4 a = __builtin_shufflevector(w[0], w[1], 0, 4, 1, 5), b = __builtin_shufflevector(w[2], w[3], 0, 4, 1, 5);
	u32x4 c = __builtin_shufflevector(w[0], w[1], 2, 6, 3, 7), d = __builtin_shufflevector(w[2], w[3], 2, 6, 3, 7);
	w[0] = __builtin_shufflevector(a, b, 0, 1, 4, 5);
	w[1] = __builtin_shufflevector(a, b, 2, 3, 6, 7);
	w[2] = __builtin_shufflevector(c, d, 0, 1, 4, 5);
	w[3] = __builtin_shufflevector(c, d, 2, 3, 6, 7);
}

/* A quarter of one plane: the words of rows row .. row + 3. */
static void put(uint8_t *blk, int plane, int row, u32x4 v)
{
	memcpy(blk + plane * PANEL_PLANE + 4 * row, &v, sizeof v);
}

/* Four planes: w[i] is what row row + i has in them. */
static void put_turned(uint8_t *blk, int plane, int row, u32x4 w[4])
{
	turn(w);
	for (int i = 0; i < 4; i++)
		put(blk, plane + i, row, w[i]);
}

/* The four words of each row ORed into one. */
static u32x4 gather(u32x4 w[4])
{
	turn(w);
	return w[0] | w[1] | w[2] | w[3];
}

static void put_u16(uint8_t *dst, int row, const uint8_t *const *src, int off)
{
	for (int i = 0; i < ROWS_AT_ONCE; i++)
		memcpy(dst + 2 * (row + i), src[i] + off, 2);
}

/* 32 one-bit values, bit `bit` of the bytes at off, as one word of a bit plane. */
static u32x4 bit_plane(const uint8_t *const *src, int off, int bit)
{
	static const u32x4 low = {0, 1, 2, 3}, high = {4, 5, 6, 7};
	u32x4 w[4];
	for (int i = 0; i < ROWS_AT_ONCE; i++)
		w[i] = (load(src[i] + off) >> (unsigned)bit & ONES) << low | (load(src[i] + off + 16) >> (unsigned)bit & ONES) << high;
	return gather(w);
}

/* 16 two-bit values, bits `shift`.. of the bytes at off, as one word of a two-bit plane. */
static u32x4 two_plane(const uint8_t *const *src, int off, int shift)
{
	static const u32x4 at = {0, 2, 4, 6};
	u32x4 w[4];
	for (int i = 0; i < ROWS_AT_ONCE; i++)
		w[i] = (load(src[i] + off) >> (unsigned)shift & TWOS) << at;
	return gather(w);
}

/* The fifth bits of Q5_0 and Q5_1: bit k of qh is input k; they move to bit g of byte i. */
static u32x4 spread_qh(u32x4 qh)
{
	u32x4 v = {0};
	for (unsigned i = 0; i < 4; i++) {
		u32x4 y = qh >> i & 0x11111111u;
		y = (y | y >> 3) & 0x03030303u;
		y = (y | y >> 6) & 0x000f000fu;
		y = (y | y >> 12) & 0xffu;
		v |= y << 8 * i;
	}
	return v;
}

/* ---- one unit of four rows: src are their blocks, q the first quant block of the unit, s its scales ---- */

static void put_nibbles(uint8_t *q, int row, const uint8_t *const *src, int off)
{
	u32x4 w[4];
	for (int i = 0; i < ROWS_AT_ONCE; i++)
		w[i] = load(src[i] + off);
	put_turned(q, 0, row, w);
}

static void unit_Q4_0(const uint8_t *const *src, uint8_t *q, uint8_t *s, int row)
{
	put_u16(s, row, src, 0);
	put_nibbles(q, row, src, 2);
}

static void unit_Q4_1(const uint8_t *const *src, uint8_t *q, uint8_t *s, int row)
{
	put_u16(s, row, src, 0);
	put_u16(s + 32, row, src, 2);
	put_nibbles(q, row, src, 4);
}

static void unit_Q5_0(const uint8_t *const *src, uint8_t *q, uint8_t *s, int row)
{
	put_u16(s, row, src, 0);
	put_nibbles(q, row, src, 6);
	put(q, 4, row, spread_qh(load_word(src, 2)));
}

static void unit_Q5_1(const uint8_t *const *src, uint8_t *q, uint8_t *s, int row)
{
	put_u16(s, row, src, 0);
	put_u16(s + 32, row, src, 2);
	put_nibbles(q, row, src, 8);
	put(q, 4, row, spread_qh(load_word(src, 4)));
}

static void unit_Q8_0(const uint8_t *const *src, uint8_t *q, uint8_t *s, int row)
{
	put_u16(s, row, src, 0);
	for (int half = 0; half < 2; half++) {
		u32x4 w[4];
		for (int i = 0; i < ROWS_AT_ONCE; i++)
			w[i] = load(src[i] + 2 + 16 * half) ^ 0x80808080u;
		put_turned(q, 4 * half, row, w);
	}
}

/* Nibbles (low or high by shift) of 32 bytes as one block. */
static void put_half_nibbles(uint8_t *q, int row, const uint8_t *const *src, int off, int shift)
{
	u32x4 w[4];
	for (int i = 0; i < ROWS_AT_ONCE; i++)
		w[i] = (load(src[i] + off) >> (unsigned)shift & NIBS) | (load(src[i] + off + 16) >> (unsigned)shift & NIBS) << 4;
	put_turned(q, 0, row, w);
}

static void put_k4_scales(const uint8_t *const *src, uint8_t *s, int row)
{
	put_u16(s, row, src, 0);
	put_u16(s + 32, row, src, 2);
	for (int i = 0; i < ROWS_AT_ONCE; i++) {
		uint8_t sc[8], mn[8];
		quant_k4_scales(src[i] + 4, sc, mn);
		for (int b = 0; b < 8; b++) {
			s[64 + 32 * b + row + i] = sc[b];
			s[64 + 32 * b + 16 + row + i] = mn[b];
		}
	}
}

static void unit_Q4_K(const uint8_t *const *src, uint8_t *q, uint8_t *s, int row)
{
	put_k4_scales(src, s, row);
	for (int b = 0; b < 8; b++)
		put_half_nibbles(q + (size_t)b * panel_blk_bytes(4), row, src, 16 + 32 * (b / 2), 4 * (b & 1));
}

static void unit_Q5_K(const uint8_t *const *src, uint8_t *q, uint8_t *s, int row)
{
	put_k4_scales(src, s, row);
	for (int b = 0; b < 8; b++) {
		uint8_t *blk = q + (size_t)b * panel_blk_bytes(5);
		put_half_nibbles(blk, row, src, 48 + 32 * (b / 2), 4 * (b & 1));
		put(blk, 4, row, bit_plane(src, 16, b));
	}
}

/* sc[16]: one byte for each 16 inputs, as the scales of the halves of 8 blocks. */
static void put_half_scales(uint8_t *s, int row, const uint8_t *sc)
{
	for (int b = 0; b < 8; b++) {
		s[32 * b + row] = sc[2 * b];
		s[32 * b + 16 + row] = sc[2 * b + 1];
	}
}

static void unit_Q6_K(const uint8_t *const *src, uint8_t *q, uint8_t *s, int row)
{
	put_u16(s, row, src, 208);
	for (int b = 0; b < 8; b++) {
		int half = b / 4, g = b % 4, qh = 128 + 32 * half;
		uint8_t *blk = q + (size_t)b * panel_blk_bytes(6);
		put_half_nibbles(blk, row, src, 64 * half + 32 * (g & 1), 4 * (g / 2));
		put(blk, 4, row, two_plane(src, qh, 2 * g));
		put(blk, 5, row, two_plane(src, qh + 16, 2 * g));
	}
	for (int i = 0; i < ROWS_AT_ONCE; i++)
		put_half_scales(s + 32, row + i, src[i] + 192);
}

static void unit_Q2_K(const uint8_t *const *src, uint8_t *q, uint8_t *s, int row)
{
	put_u16(s, row, src, 80);
	put_u16(s + 32, row, src, 82);
	for (int b = 0; b < 8; b++) {
		uint8_t *blk = q + (size_t)b * panel_blk_bytes(2);
		int off = 16 + 32 * (b / 4);
		put(blk, 0, row, two_plane(src, off, 2 * (b % 4)));
		put(blk, 1, row, two_plane(src, off + 16, 2 * (b % 4)));
	}
	for (int i = 0; i < ROWS_AT_ONCE; i++)
		put_half_scales(s + 64, row + i, src[i]);
}

static void unit_Q3_K(const uint8_t *const *src, uint8_t *q, uint8_t *s, int row)
{
	put_u16(s, row, src, 108);
	for (int b = 0; b < 8; b++) {
		uint8_t *blk = q + (size_t)b * panel_blk_bytes(3);
		int off = 32 + 32 * (b / 4);
		put(blk, 0, row, two_plane(src, off, 2 * (b % 4)));
		put(blk, 1, row, two_plane(src, off + 16, 2 * (b % 4)));
		put(blk, 2, row, bit_plane(src, 0, b));
	}
	for (int i = 0; i < ROWS_AT_ONCE; i++) {
		int8_t sc[16];
		quant_k3_scales(src[i] + 96, sc);
		put_half_scales(s + 32, row + i, (const uint8_t *)sc);
	}
}

/* ---- whole strips ---- */

struct layout {
	int type, bits, unit, unit_bytes; /* as in PANEL_KINDS */
	void (*put_unit)(const uint8_t *const *src, uint8_t *q, uint8_t *s, int row);
};

static size_t all_bytes(const struct layout *l, int64_t n_in, int64_t n_out)
{
	return (size_t)((n_out + PANEL_ROWS - 1) / PANEL_ROWS) * panel_strip_bytes(l->bits, l->unit, l->unit_bytes, n_in);
}

/* One strip; rows that the matrix does not have are made of zeros. */
static void pack_strip(const struct layout *l, const struct kern_mat *w, uint8_t *q, int64_t r)
{
	static const uint8_t zeros[UNIT_BYTES_MAX];
	uint8_t *s = q + (size_t)(w->n_in / PANEL_BLK) * panel_blk_bytes(l->bits);
	size_t unit_q = (size_t)(l->unit / PANEL_BLK) * panel_blk_bytes(l->bits);
	size_t src_bytes = (size_t)gguf_type_info(l->type)->bytes;
	int64_t n_unit = w->n_in / l->unit;
	const uint8_t *src[PANEL_ROWS];
	size_t step[PANEL_ROWS];
	for (int i = 0; i < PANEL_ROWS; i++) {
		bool is_row = r + i < w->n_out;
		src[i] = is_row ? w->data + (size_t)(r + i) * w->row_bytes : zeros;
		step[i] = is_row ? src_bytes : 0;
	}
	for (int64_t u = 0; u < n_unit; u++, q += unit_q, s += l->unit_bytes) {
		for (int row = 0; row < PANEL_ROWS; row += ROWS_AT_ONCE)
			l->put_unit(src + row, q, s, row);
		for (int i = 0; i < PANEL_ROWS; i++)
			src[i] += step[i];
	}
}

static void pack(const struct layout *l, const struct kern_mat *w, uint8_t *panel, int64_t r0, int64_t r1)
{
	size_t strip = panel_strip_bytes(l->bits, l->unit, l->unit_bytes, w->n_in);
	BUG_ON((size_t)gguf_type_info(l->type)->bytes > UNIT_BYTES_MAX);
	for (int64_t r = r0; r < r1; r += PANEL_ROWS)
		pack_strip(l, w, panel + (size_t)(r / PANEL_ROWS) * strip, r);
}

#define PANEL(type, bits, offset, unit, unit_bytes, scales)                                                            \
	static const struct layout layout_##type = {GGUF_##type, bits, unit, unit_bytes, unit_##type};                 \
	size_t panel_bytes_##type(int64_t n_in, int64_t n_out)                                                         \
	{                                                                                                              \
		return all_bytes(&layout_##type, n_in, n_out);                                                         \
	}                                                                                                              \
	void panel_pack_##type(const struct kern_mat *w, uint8_t *panel, int64_t r0, int64_t r1)                       \
	{                                                                                                              \
		pack(&layout_##type, w, panel, r0, r1);                                                                \
	}
PANEL_KINDS(PANEL)
#undef PANEL

/* ---- float types ---- */

static size_t float_strip(int64_t n_in, size_t size)
{
	return (size_t)((n_in + 1) / 2 * 2) * PANEL_ROWS * size;
}

static size_t float_bytes(int64_t n_in, int64_t n_out, size_t size)
{
	return (size_t)((n_out + PANEL_ROWS - 1) / PANEL_ROWS) * float_strip(n_in, size);
}

static void pack_floats(const struct kern_mat *w, uint8_t *panel, int64_t r0, int64_t r1, size_t size)
{
	size_t strip = float_strip(w->n_in, size);
	for (int64_t r = r0; r < r1; r += PANEL_ROWS) {
		uint8_t *dst = panel + (size_t)(r / PANEL_ROWS) * strip;
		memset(dst, 0, strip);
		for (int64_t row = 0; row < PANEL_ROWS && r + row < w->n_out; row++) {
			const uint8_t *src = w->data + (size_t)(r + row) * w->row_bytes;
			for (int64_t i = 0; i < w->n_in; i++)
				memcpy(dst + (size_t)(i * PANEL_ROWS + row) * size, src + (size_t)i * size, size);
		}
	}
}

size_t panel_bytes_f32(int64_t n_in, int64_t n_out)
{
	return float_bytes(n_in, n_out, 4);
}

size_t panel_bytes_f16(int64_t n_in, int64_t n_out)
{
	return float_bytes(n_in, n_out, 2);
}

void panel_pack_f32(const struct kern_mat *w, uint8_t *panel, int64_t r0, int64_t r1)
{
	pack_floats(w, panel, r0, r1, 4);
}

void panel_pack_f16(const struct kern_mat *w, uint8_t *panel, int64_t r0, int64_t r1)
{
	pack_floats(w, panel, r0, r1, 2);
}

static size_t pair_strip(int64_t n_in)
{
	return (size_t)((n_in + 3) / 4 * 4) * PANEL_ROWS * 2;
}

size_t panel_bytes_bf16(int64_t n_in, int64_t n_out)
{
	return (size_t)((n_out + PANEL_ROWS - 1) / PANEL_ROWS) * pair_strip(n_in);
}

void panel_pack_bf16(const struct kern_mat *w, uint8_t *panel, int64_t r0, int64_t r1)
{
	enum { CHUNK = 256 }; /* a multiple of every block size */
	float f[CHUNK];
	const struct gguf_type_info *info = gguf_type_info(w->type);
	for (int64_t r = r0; r < r1; r += PANEL_ROWS) {
		uint8_t *dst = panel + (size_t)(r / PANEL_ROWS) * pair_strip(w->n_in);
		memset(dst, 0, pair_strip(w->n_in));
		for (int64_t row = 0; row < PANEL_ROWS && r + row < w->n_out; row++)
			for (int64_t i = 0; i < w->n_in; i += CHUNK) {
				int64_t n = w->n_in - i < CHUNK ? w->n_in - i : CHUNK;
				const uint8_t *src = w->data + (size_t)(r + row) * w->row_bytes;
				quant_for(w->type)->to_f32(src + (size_t)(i / info->block) * (size_t)info->bytes, f, n);
				for (int64_t k = 0; k < n; k++) {
					uint16_t h = f32_to_bf16(f[k]);
					memcpy(dst + (size_t)(((i + k) / 2 * PANEL_ROWS + row) * 4 + (i + k) % 2 * 2), &h, sizeof h);
				}
			}
	}
}
