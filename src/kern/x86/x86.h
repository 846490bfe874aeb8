/* x86: what the files of this folder offer each other and the level table. */
#ifndef CRIA_KERN_X86_X86_H
#define CRIA_KERN_X86_X86_H

#include "kern/kern.h"

/* Quantized types (int8 activations) and float types (f32 activations, where not said otherwise); NULL for types they do not have. */
const struct kern_mat_ops *qmul_avx2(int type);
const struct kern_mat_ops *qmul_avx2vnni(int type);
const struct kern_mat_ops *qmul_avx2evex(int type);
const struct kern_mat_ops *qmul_avx512(int type);
const struct kern_mat_ops *qmul_avx512vnni(int type);
const struct kern_mat_ops *fmul_avx2(int type);
const struct kern_mat_ops *fmul_avx512(int type);
const struct kern_mat_ops *fmul_avx512bf16(int type); /* bf16 activations */

#define ATTN_FNS(level)                                                                                                \
	size_t attn_##level##_scratch(const struct kern_attn *a, int n_q);                                             \
	void attn_##level##_all(const struct kern_attn *a, const struct kern_attn_job *job);                           \
	void attn_##level##_tile(const struct kern_attn *a, const struct kern_attn_job *job, int64_t i_tile, float *part); \
	void attn_##level##_merge(const struct kern_attn *a, const struct kern_attn_job *job, float *parts);
ATTN_FNS(avx2)
ATTN_FNS(avx512)
#undef ATTN_FNS

extern const struct kern_peak peak_avx2, peak_avx2vnni, peak_avx2evex, peak_avx512, peak_avx512vnni;

/* evex: avx2vnni in the encoding of AVX-512 machines. */
extern const struct kern kern_avx2, kern_avx2vnni, kern_avx2evex, kern_avx512, kern_avx512vnni, kern_avx512bf16;

#endif
