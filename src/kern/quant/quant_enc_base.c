/* The encoders for any CPU. */
#define QUANT_ENC quant_enc_base
#include "kern/quant/quant_enc_body.h"
