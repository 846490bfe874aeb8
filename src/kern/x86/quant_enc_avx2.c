/* The encoders with 256-bit registers. */
#if defined(__x86_64__)
#define QUANT_ENC quant_enc_avx2
#include "kern/quant/quant_enc_body.h"
#endif
