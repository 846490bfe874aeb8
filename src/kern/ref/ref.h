/* ref: the reference level. Weights are dequantized to f32, activations stay f32.
 *
 * Definitions that make it the same on every machine:
 *  - A matrix product's row . token keeps 16 partial sums: sum j takes elements j, j + 16, ... in order, products rounded
 *    before they are added. The sums are added as ((0+8)+(4+12)) + ((2+10)+(6+14)) and so on: halves, then quarters.
 *  - exp and tanh are evaluated in double by our own polynomials and rounded once; libm is not asked.
 * The inner loops (ref_core) are compiled once per instruction set from the same source with contraction off, so every
 * copy gives the same bits. */
#ifndef CRIA_KERN_REF_H
#define CRIA_KERN_REF_H

#include "kern/kern.h"

/* The level itself, f32 KV; and the portable level: the same operations with f16 KV. */
extern const struct kern kern_ref, kern_generic;

struct ref_core {
	/* acc[r][t][16] += w rows [n_row <= 4][stride_w] times x rows [n_col][stride_x], n floats each (a multiple of 16). */
	void (*tile)(const float *w, size_t stride_w, int n_row, const float *x, size_t stride_x, int n_col, int64_t n, float *acc,
		     size_t stride_acc);
	/* As in struct kern. */
	void (*attn)(const struct kern_attn *a, const struct kern_attn_job *job);
	void (*attn_tile)(const struct kern_attn *a, const struct kern_attn_job *job, int64_t i_tile, float *part);
	void (*attn_merge)(const struct kern_attn *a, const struct kern_attn_job *job, float *parts);
};
extern const struct ref_core ref_core_base, ref_core_avx2, ref_core_avx512;

void ref_row_f32(const struct kern_mat *w, int64_t row, float *y);

/* Activation rows of kind KERN_ACT_F32. */
size_t ref_act_bytes(int64_t n_in);
void ref_act_row(const float *x, uint8_t *act, int64_t n_in);

/* NULL when no level computes with the type. */
const struct kern_mat_ops *ref_mat_ops(int type);

#endif
