/* Peak rate of byte products for avx2. */
#if defined(__x86_64__)
#define PEAK peak_avx2
#include "kern/x86/peak_body.h"
#endif
