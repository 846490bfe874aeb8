/* Peak rate of byte products for avx2vnni. */
#if defined(__x86_64__)
#include "kern/x86/peak_body.h"

PEAK_I8(peak_avx2vnni)
#endif
