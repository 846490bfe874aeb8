/* Peak rates for avx2. */
#if defined(__x86_64__)
#define PEAK peak_avx2
#define PEAK_F32 peak_f32_avx2
#include "kern/x86/peak_body.h"
#endif
