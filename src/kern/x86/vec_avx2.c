/* The avx2 level. */
#if defined(__x86_64__)
#define ATTN(fn) attn_avx2_##fn
#include "kern/x86/vec_body.h"

static const struct kern_mat_ops *mat_ops(int type)
{
	const struct kern_mat_ops *ops = qmul_avx2(type);
	return ops ? ops : fmul_avx2(type);
}

LEVEL(kern_avx2, "avx2", mat_ops, peak_avx2)
#endif
