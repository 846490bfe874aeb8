/* Peak rates for avx512. */
#if defined(__x86_64__)
#define PEAK peak_avx512
#define PEAK_F32 peak_f32_avx512
#include "kern/x86/peak_body.h"
#endif
