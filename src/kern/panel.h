/* panel: quantized weights rearranged for kernels that multiply 16 output rows at once, and the int8 activation rows that
 * meet them. Every level that reads panels reads the same ones; no integer and no scale differs from the file's.
 *
 * A strip is 16 rows of W (the last one padded with rows whose scales are zero). It holds first the quants, then the scales:
 *   quants: for each block of 32 inputs, planes of 64 bytes. Byte 4 r + i of a plane belongs to row r. With group g = 0..7
 *     standing for inputs 4 g + i of the block, bits are spread over planes so that one shift and one mask give a group:
 *       4 bits:  plane g (0..3) has group g in its low and group g + 4 in its high nibbles
 *       5 bits:  4 bits, then one plane whose bit g is the fifth bit of group g
 *       6 bits:  4 bits, then two planes: bits 2 g' of plane h are the upper bits of group 4 h + g'
 *       2 bits:  two planes: bits 2 g' of plane h are group 4 h + g'
 *       3 bits:  2 bits, then one plane whose bit g is the third bit of group g
 *       8 bits:  plane g is group g, stored as q + 128
 *   scales: per unit (32 inputs, K-quants 256): 16 f16 d; types with a minimum: 16 f16 of it; K-quants then have for each
 *     block of 32 inputs: Q4_K, Q5_K: 16 u8 scales, 16 u8 minimums; Q6_K, Q3_K: 16 i8 scales of the first 16 inputs, 16 of
 *     the second; Q2_K: the same with u8, scale in the low and minimum in the high nibble. */
#ifndef CRIA_KERN_PANEL_H
#define CRIA_KERN_PANEL_H

#include <stddef.h>
#include <stdint.h>

#include "kern/kern.h"

enum { PANEL_ROWS = 16, PANEL_BLK = 32, PANEL_PLANE = 64 };

/* PANEL(type, bits, offset taken from each quant, inputs per unit, bytes of scales per unit, shape of the scales) */
#define PANEL_KINDS(PANEL)                                                                                             \
	PANEL(Q4_0, 4, 8, 32, 32, PANEL_PLAIN)                                                                         \
	PANEL(Q4_1, 4, 0, 32, 64, PANEL_MIN)                                                                           \
	PANEL(Q5_0, 5, 16, 32, 32, PANEL_PLAIN)                                                                        \
	PANEL(Q5_1, 5, 0, 32, 64, PANEL_MIN)                                                                           \
	PANEL(Q8_0, 8, 128, 32, 32, PANEL_PLAIN)                                                                       \
	PANEL(Q2_K, 2, 0, 256, 320, PANEL_HALF_MIN)                                                                    \
	PANEL(Q3_K, 3, 4, 256, 288, PANEL_HALF)                                                                        \
	PANEL(Q4_K, 4, 0, 256, 320, PANEL_K_MIN)                                                                       \
	PANEL(Q5_K, 5, 0, 256, 320, PANEL_K_MIN)                                                                       \
	PANEL(Q6_K, 6, 32, 256, 288, PANEL_HALF)

enum panel_scales {
	PANEL_PLAIN,    /* d (q - offset) */
	PANEL_MIN,      /* d q + m */
	PANEL_K_MIN,    /* d sc q - dmin mn, sc and mn per 32 inputs */
	PANEL_HALF,     /* d sc (q - offset), sc per 16 inputs */
	PANEL_HALF_MIN, /* d sc q - dmin mn, sc and mn per 16 inputs */
};

static inline size_t panel_blk_bytes(int bits)
{
	return (size_t)bits * PANEL_PLANE;
}

/* One strip of n_in inputs; a multiple of 64. */
static inline size_t panel_strip_bytes(int bits, int unit, int unit_bytes, int64_t n_in)
{
	size_t n = (size_t)(n_in / PANEL_BLK) * panel_blk_bytes(bits) + (size_t)(n_in / unit) * (size_t)unit_bytes;
	return (n + 63) & ~(size_t)63;
}

/* The two functions of kern_mat_ops that make panels, by type. */
#define PANEL(type, ...)                                                                                               \
	size_t panel_bytes_##type(int64_t n_in, int64_t n_out);                                                        \
	void panel_pack_##type(const struct kern_mat *w, uint8_t *panel, int64_t r0, int64_t r1);
PANEL_KINDS(PANEL)
#undef PANEL

/* Float types: for each input the 16 rows' values as they are in the file, inputs padded with zeros to an even number. */
size_t panel_bytes_f32(int64_t n_in, int64_t n_out);
size_t panel_bytes_f16(int64_t n_in, int64_t n_out);
void panel_pack_f32(const struct kern_mat *w, uint8_t *panel, int64_t r0, int64_t r1);
void panel_pack_f16(const struct kern_mat *w, uint8_t *panel, int64_t r0, int64_t r1);
/* Any type as bf16, by pairs of inputs: the 16 rows' pairs, padded with zeros to an even number of pairs. */
size_t panel_bytes_bf16(int64_t n_in, int64_t n_out);
void panel_pack_bf16(const struct kern_mat *w, uint8_t *panel, int64_t r0, int64_t r1);

/* An activation row in int8: n_in / 32 of these. x[i] is close to d q[i]; |q| <= 127. A block with a value that is not
 * finite has q = 0 and d = NaN, so that its products are NaN. Values below 1e-30 count as zero. One cache line each. */
struct act_blk {
	int8_t q[PANEL_BLK];
	float d;
	float sum;          /* of q; exact */
	float half[2];      /* sums of the first and second 16 */
	int32_t off;        /* -128 sum: where a dot product with quants stored as q + 128 starts */
	int32_t off_half[2];
	int32_t pad;
};

/* An odd number of cache lines: rows a power of two apart would fall into the same sets of the caches. */
static inline size_t act_i8_bytes(int64_t n_in)
{
	return ((size_t)(n_in / PANEL_BLK) | 1) * sizeof(struct act_blk);
}

#endif
