/* Quantized matrix products for avx2. */
#if defined(__x86_64__)
#define QMUL qmul_avx2
#define QMUL_LEVEL "avx2"
#define MAX_COL 8
#include "kern/x86/qmul_body.h"
#endif
