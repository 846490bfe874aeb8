/* The avx2 level and the two forms of avx2vnni: they differ in the products of quantized matrices alone. */
#if defined(__x86_64__)
#define ATTN(fn) attn_avx2_##fn
#include "kern/x86/vec_body.h"

static const struct kern_mat_ops *mat_ops(int type)
{
	const struct kern_mat_ops *ops = qmul_avx2(type);
	return ops ? ops : fmul_avx2(type);
}

static const struct kern_mat_ops *mat_ops_vnni(int type)
{
	const struct kern_mat_ops *ops = qmul_avx2vnni(type);
	return ops ? ops : fmul_avx2(type);
}

static const struct kern_mat_ops *mat_ops_evex(int type)
{
	const struct kern_mat_ops *ops = qmul_avx2evex(type);
	return ops ? ops : fmul_avx2(type);
}

LEVEL(kern_avx2, "avx2", mat_ops, &peak_avx2)
LEVEL(kern_avx2vnni, "avx2vnni", mat_ops_vnni, &peak_avx2vnni)
LEVEL(kern_avx2evex, "avx2vnni", mat_ops_evex, &peak_avx2evex)
#endif
