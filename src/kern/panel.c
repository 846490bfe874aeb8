#include "kern/panel.h"

#include <string.h>

#include "gguf/gguf_type.h"
#include "kern/quant/quant.h"
#include "kern/quant/quant_k.h"

#define ONES 0x01010101u
#define TWOS 0x03030303u
#define NIBS 0x0f0f0f0fu

/* Four consecutive bytes of a file row. All of packing works on such words: byte i of word g is input 4 g + i. */
static uint32_t word(const uint8_t *p, int g)
{
	uint32_t v;
	memcpy(&v, p + 4 * g, sizeof v);
	return v;
}

static void put(uint8_t *blk, int plane, int row, uint32_t v)
{
	memcpy(blk + plane * PANEL_PLANE + 4 * row, &v, sizeof v);
}

static void put_u16(uint8_t *dst, int row, const uint8_t *src)
{
	memcpy(dst + 2 * row, src, 2);
}

/* 32 one-bit values, bit `bit` of src[0..31], as one word of a bit plane. */
static uint32_t bit_plane(const uint8_t *src, int bit)
{
	uint32_t v = 0;
	for (int g = 0; g < 8; g++)
		v |= (word(src, g) >> bit & ONES) << g;
	return v;
}

/* 16 two-bit values, bits `shift`.. of src[0..15], as one word of a two-bit plane. */
static uint32_t two_plane(const uint8_t *src, int shift)
{
	uint32_t v = 0;
	for (int g = 0; g < 4; g++)
		v |= (word(src, g) >> shift & TWOS) << 2 * g;
	return v;
}

/* The fifth bits of Q5_0 and Q5_1: bit k of qh is input k; they move to bit g of byte i. */
static uint32_t spread_qh(uint32_t qh)
{
	uint32_t v = 0;
	for (int i = 0; i < 4; i++) {
		uint32_t y = qh >> i & 0x11111111u;
		y = (y | y >> 3) & 0x03030303u;
		y = (y | y >> 6) & 0x000f000fu;
		y = (y | y >> 12) & 0xffu;
		v |= y << 8 * i;
	}
	return v;
}

/* ---- one row of one unit: src is the file's block, q the first quant block of the unit, s its scales ---- */

static void put_nibbles(uint8_t *q, int row, const uint8_t *qs)
{
	for (int g = 0; g < 4; g++)
		put(q, g, row, word(qs, g));
}

static void unit_Q4_0(const uint8_t *src, uint8_t *q, uint8_t *s, int row)
{
	put_u16(s, row, src);
	put_nibbles(q, row, src + 2);
}

static void unit_Q4_1(const uint8_t *src, uint8_t *q, uint8_t *s, int row)
{
	put_u16(s, row, src);
	put_u16(s + 32, row, src + 2);
	put_nibbles(q, row, src + 4);
}

static void unit_Q5_0(const uint8_t *src, uint8_t *q, uint8_t *s, int row)
{
	put_u16(s, row, src);
	put_nibbles(q, row, src + 6);
	put(q, 4, row, spread_qh(word(src + 2, 0)));
}

static void unit_Q5_1(const uint8_t *src, uint8_t *q, uint8_t *s, int row)
{
	put_u16(s, row, src);
	put_u16(s + 32, row, src + 2);
	put_nibbles(q, row, src + 8);
	put(q, 4, row, spread_qh(word(src + 4, 0)));
}

static void unit_Q8_0(const uint8_t *src, uint8_t *q, uint8_t *s, int row)
{
	put_u16(s, row, src);
	for (int g = 0; g < 8; g++)
		put(q, g, row, word(src + 2, g) ^ 0x80808080u);
}

/* Nibbles (low or high by shift) of 32 bytes as one block. */
static void put_half_nibbles(uint8_t *q, int row, const uint8_t *qs, int shift)
{
	for (int g = 0; g < 4; g++)
		put(q, g, row, (word(qs, g) >> shift & NIBS) | (word(qs, g + 4) >> shift & NIBS) << 4);
}

static void put_k4_scales(const uint8_t *src, uint8_t *s, int row)
{
	uint8_t sc[8], mn[8];
	put_u16(s, row, src);
	put_u16(s + 32, row, src + 2);
	quant_k4_scales(src + 4, sc, mn);
	for (int b = 0; b < 8; b++) {
		s[64 + 32 * b + row] = sc[b];
		s[64 + 32 * b + 16 + row] = mn[b];
	}
}

static void unit_Q4_K(const uint8_t *src, uint8_t *q, uint8_t *s, int row)
{
	put_k4_scales(src, s, row);
	for (int b = 0; b < 8; b++)
		put_half_nibbles(q + (size_t)b * panel_blk_bytes(4), row, src + 16 + 32 * (b / 2), 4 * (b & 1));
}

static void unit_Q5_K(const uint8_t *src, uint8_t *q, uint8_t *s, int row)
{
	put_k4_scales(src, s, row);
	for (int b = 0; b < 8; b++) {
		uint8_t *blk = q + (size_t)b * panel_blk_bytes(5);
		put_half_nibbles(blk, row, src + 48 + 32 * (b / 2), 4 * (b & 1));
		put(blk, 4, row, bit_plane(src + 16, b));
	}
}

static void unit_Q6_K(const uint8_t *src, uint8_t *q, uint8_t *s, int row)
{
	put_u16(s, row, src + 208);
	for (int b = 0; b < 8; b++) {
		int half = b / 4, g = b % 4;
		uint8_t *blk = q + (size_t)b * panel_blk_bytes(6);
		const uint8_t *qh = src + 128 + 32 * half;
		put_half_nibbles(blk, row, src + 64 * half + 32 * (g & 1), 4 * (g / 2));
		put(blk, 4, row, two_plane(qh, 2 * g));
		put(blk, 5, row, two_plane(qh + 16, 2 * g));
		s[32 + 32 * b + row] = src[192 + 2 * b];
		s[32 + 32 * b + 16 + row] = src[192 + 2 * b + 1];
	}
}

static void unit_Q2_K(const uint8_t *src, uint8_t *q, uint8_t *s, int row)
{
	put_u16(s, row, src + 80);
	put_u16(s + 32, row, src + 82);
	for (int b = 0; b < 8; b++) {
		uint8_t *blk = q + (size_t)b * panel_blk_bytes(2);
		const uint8_t *qs = src + 16 + 32 * (b / 4);
		put(blk, 0, row, two_plane(qs, 2 * (b % 4)));
		put(blk, 1, row, two_plane(qs + 16, 2 * (b % 4)));
		s[64 + 32 * b + row] = src[2 * b];
		s[64 + 32 * b + 16 + row] = src[2 * b + 1];
	}
}

static void unit_Q3_K(const uint8_t *src, uint8_t *q, uint8_t *s, int row)
{
	int8_t sc[16];
	put_u16(s, row, src + 108);
	quant_k3_scales(src + 96, sc);
	for (int b = 0; b < 8; b++) {
		uint8_t *blk = q + (size_t)b * panel_blk_bytes(3);
		const uint8_t *qs = src + 32 + 32 * (b / 4);
		put(blk, 0, row, two_plane(qs, 2 * (b % 4)));
		put(blk, 1, row, two_plane(qs + 16, 2 * (b % 4)));
		put(blk, 2, row, bit_plane(src, b));
		s[32 + 32 * b + row] = (uint8_t)sc[2 * b];
		s[32 + 32 * b + 16 + row] = (uint8_t)sc[2 * b + 1];
	}
}

/* ---- whole strips ---- */

struct layout {
	int type, bits, unit, unit_bytes; /* as in PANEL_KINDS */
	void (*put_unit)(const uint8_t *src, uint8_t *q, uint8_t *s, int row);
};

static size_t all_bytes(const struct layout *l, int64_t n_in, int64_t n_out)
{
	return (size_t)((n_out + PANEL_ROWS - 1) / PANEL_ROWS) * panel_strip_bytes(l->bits, l->unit, l->unit_bytes, n_in);
}

static void pack(const struct layout *l, const struct kern_mat *w, uint8_t *panel, int64_t r0, int64_t r1)
{
	size_t strip = panel_strip_bytes(l->bits, l->unit, l->unit_bytes, w->n_in);
	size_t n_q = (size_t)(w->n_in / PANEL_BLK) * panel_blk_bytes(l->bits);
	size_t unit_q = (size_t)(l->unit / PANEL_BLK) * panel_blk_bytes(l->bits);
	size_t src_bytes = (size_t)gguf_type_info(l->type)->bytes;
	int64_t n_unit = w->n_in / l->unit;
	for (int64_t r = r0; r < r1; r += PANEL_ROWS) {
		uint8_t *q = panel + (size_t)(r / PANEL_ROWS) * strip, *s = q + n_q;
		int n_row = (int)(w->n_out - r < PANEL_ROWS ? w->n_out - r : PANEL_ROWS);
		if (n_row < PANEL_ROWS)
			memset(q, 0, strip);
		for (int64_t u = 0; u < n_unit; u++)
			for (int row = 0; row < n_row; row++)
				l->put_unit(w->data + (size_t)(r + row) * w->row_bytes + (size_t)u * src_bytes, q + (size_t)u * unit_q,
					    s + (size_t)u * (size_t)l->unit_bytes, row);
	}
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
