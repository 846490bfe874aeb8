/* ref_core with 256-bit registers. */
#if defined(__x86_64__)
#define REF_CORE ref_core_avx2
#define REF_LANES 8
#include "kern/ref/ref_core_body.h"
#endif
