/* Peak rate of byte products for avx2vnni, EVEX encoded. */
#if defined(__x86_64__)
#define PEAK peak_avx2evex
#define LANES_256
#include "kern/x86/peak_body.h"
#endif
