/* Attention for avx512. */
#if defined(__x86_64__)
#include "kern/x86/x86.h"

#define ATTN attn_avx512
#define ATTN_SCRATCH attn_scratch_avx512
#define MAX_ROW 8
#include "kern/x86/attn_body.h"
#endif
