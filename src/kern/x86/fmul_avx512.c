/* Float matrix products for avx512. */
#if defined(__x86_64__)
#define FMUL fmul_avx512
#define FMUL_LEVEL "avx512"
#define MAX_COL 7
#include "kern/x86/fmul_body.h"
#endif
