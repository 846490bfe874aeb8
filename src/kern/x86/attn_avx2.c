/* Attention for avx2. */
#if defined(__x86_64__)
#include "kern/x86/x86.h"

#define ATTN attn_avx2
#define ATTN_SCRATCH attn_scratch_avx2
#define MAX_ROW 3
#include "kern/x86/attn_body.h"
#endif
