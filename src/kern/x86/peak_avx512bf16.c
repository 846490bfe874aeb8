/* What avx512bf16 can do at most. */
#if defined(__x86_64__)
#define PEAK peak_avx512bf16
#include "kern/x86/peak_body.h"
#endif
