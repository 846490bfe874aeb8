/* Peak rate of byte products for avx512. */
#if defined(__x86_64__)
#define PEAK peak_avx512
#include "kern/x86/peak_body.h"
#endif
