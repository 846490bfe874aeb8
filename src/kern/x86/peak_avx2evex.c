/* Peak rate of byte products for avx2vnni, EVEX encoded. */
#if defined(__x86_64__)
#define LANES_256
#include "kern/x86/peak_body.h"

PEAK_I8(peak_avx2evex)
#endif
