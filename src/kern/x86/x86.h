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

void attn_avx2(const struct kern_attn *a, const struct kern_attn_job *job);
void attn_avx512(const struct kern_attn *a, const struct kern_attn_job *job);
size_t attn_scratch_avx2(const struct kern_attn *a, int n_q);
size_t attn_scratch_avx512(const struct kern_attn *a, int n_q);

int64_t peak_f32_avx2(int64_t n_turn);
int64_t peak_f32_avx512(int64_t n_turn);
int64_t peak_bf16_avx512bf16(int64_t n_turn);
int64_t peak_avx2(int64_t n_turn);
int64_t peak_avx2vnni(int64_t n_turn);
int64_t peak_avx2evex(int64_t n_turn);
int64_t peak_avx512(int64_t n_turn);
int64_t peak_avx512vnni(int64_t n_turn);

/* evex: avx2vnni in the encoding of AVX-512 machines. */
extern const struct kern kern_avx2, kern_avx2vnni, kern_avx2evex, kern_avx512, kern_avx512vnni, kern_avx512bf16;

#endif
