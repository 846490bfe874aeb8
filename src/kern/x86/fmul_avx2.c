/* Float matrix products for avx2. */
#if defined(__x86_64__)
#define FMUL fmul_avx2
#define FMUL_LEVEL "avx2"
#define MAX_COL 3
#include "kern/x86/fmul_body.h"
#endif
