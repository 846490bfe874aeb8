/* Peak rate of bf16 products for avx512bf16. */
#if defined(__x86_64__)
#include "kern/x86/peak_body.h"

PEAK(peak_bf16_avx512bf16, vf, vf_set(0.0f), vf_set(3.0f), vf_set(0.5f), _mm512_dpbf16_ps(acc, (__m512bh)u, (__m512bh)s), 2 * LANES)
#endif
