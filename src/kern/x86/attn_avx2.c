/* Attention for avx2. */
#if defined(__x86_64__)
#include "kern/x86/x86.h"

#define ATTN(fn) attn_avx2_##fn
#define MAX_ROW 3
#include "kern/x86/attn_body.h"
#endif
