/* What avx2 can do at most. */
#if defined(__x86_64__)
#define PEAK peak_avx2
#include "kern/x86/peak_body.h"
#endif
