/* Peak rate of byte products for avx2vnni. */
#if defined(__x86_64__)
#define PEAK peak_avx2vnni
#include "kern/x86/peak_body.h"
#endif
