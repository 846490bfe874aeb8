/* Peak rates for avx2. */
#if defined(__x86_64__)
#include "kern/x86/peak_body.h"

PEAK_I8(peak_avx2)
PEAK_F32(peak_f32_avx2)
#endif
