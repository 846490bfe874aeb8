/* The levels of 512 bits: they differ in the products of matrices alone. */
#if defined(__x86_64__)
#define ATTN(fn) attn_avx512_##fn
#include "kern/x86/vec_body.h"

static const struct kern_mat_ops *mat_ops(int type)
{
	const struct kern_mat_ops *ops = qmul_avx512(type);
	return ops ? ops : fmul_avx512(type);
}

static const struct kern_mat_ops *mat_ops_vnni(int type)
{
	const struct kern_mat_ops *ops = qmul_avx512vnni(type);
	return ops ? ops : fmul_avx512(type);
}

static const struct kern_mat_ops *mat_ops_bf16(int type)
{
	const struct kern_mat_ops *ops = fmul_avx512bf16(type);
	return ops ? ops : mat_ops_vnni(type);
}

LEVEL(kern_avx512, "avx512", mat_ops, &peak_avx512)
LEVEL(kern_avx512vnni, "avx512vnni", mat_ops_vnni, &peak_avx512vnni)
LEVEL(kern_avx512bf16, "avx512bf16", mat_ops_bf16, &peak_avx512vnni)
#endif
