/* Quantized matrix products for avx2vnni: 256 bits, VEX encoded as CPUs without AVX-512 have it. */
#if defined(__x86_64__)
#define QMUL qmul_avx2vnni
#define QMUL_LEVEL "avx2vnni"
#define MAX_COL 4
#define WIDE_VEC 2
#define WIDE_COL 6
#include "kern/x86/qmul_body.h"
#endif
