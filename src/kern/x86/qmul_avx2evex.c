/* Quantized matrix products for avx2vnni, EVEX encoded: what AVX-512 machines run when asked for this level. */
#if defined(__x86_64__)
#define QMUL qmul_avx2evex
#define QMUL_LEVEL "avx2vnni-evex"
#define LANES_256
#define MAX_COL 4
#define WIDE_VEC 2
#define WIDE_COL 6
#include "kern/x86/qmul_body.h"
#endif
