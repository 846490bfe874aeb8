/* Attention for avx512. */
#if defined(__x86_64__)
#include "kern/x86/x86.h"

#define ATTN(fn) attn_avx512_##fn
#define MAX_ROW 6
#include "kern/x86/attn_body.h"
#endif
