/* Peak rates for avx512. */
#if defined(__x86_64__)
#include "kern/x86/peak_body.h"

PEAK_I8(peak_avx512)
PEAK_F32(peak_f32_avx512)
#endif
