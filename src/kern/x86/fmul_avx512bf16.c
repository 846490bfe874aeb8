/* Products of bf16 matrices for avx512bf16. */
#if defined(__x86_64__)
#include "kern/x86/lanes.h"

/* acc + the two products of each lane's pair, the upper one first; subnormals count as zero. */
INLINE vf dot_pairs(vf acc, vf a, vf b)
{
	return _mm512_dpbf16_ps(acc, (__m512bh)a, (__m512bh)b);
}

#define FMUL fmul_avx512bf16
#define FMUL_LEVEL "avx512bf16"
#define FMUL_DOT dot_pairs
#define MAX_COL 7
#include "kern/x86/fmul_body.h"
#endif
