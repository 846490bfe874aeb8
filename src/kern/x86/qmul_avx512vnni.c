/* Quantized matrix products for avx512vnni. */
#if defined(__x86_64__)
#define QMUL qmul_avx512vnni
#define QMUL_LEVEL "avx512vnni"
#define MAX_COL 8
#define WIDE_VEC 2
#define WIDE_COL 6
#include "kern/x86/qmul_body.h"
#endif
