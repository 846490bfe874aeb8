/* Quantized matrix products for avx512vnni. */
#if defined(__x86_64__)
#define QMUL qmul_avx512vnni
#define QMUL_LEVEL "avx512vnni"
#define MAX_COL 8
#include "kern/x86/qmul_body.h"
#endif
