/* ref_core with 512-bit registers. */
#if defined(__x86_64__)
#define REF_CORE ref_core_avx512
#define REF_LANES 16
#include "kern/ref/ref_core_body.h"
#endif
