/* Quantized matrix products for avx512. */
#if defined(__x86_64__)
#define QMUL qmul_avx512
#define QMUL_LEVEL "avx512"
#define MAX_COL 8
#include "kern/x86/qmul_body.h"
#endif
