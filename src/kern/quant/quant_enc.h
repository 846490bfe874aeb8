/* quant_enc: encoders, one table per CPU level with a row per line of quant.def. All levels give the same bytes: they are
 * one source (quant_enc_body.h), whose sums have a fixed order. */
#ifndef CRIA_KERN_QUANT_ENC_H
#define CRIA_KERN_QUANT_ENC_H

#include "kern/quant/quant.h"

enum {
#define QUANT(name) QUANT_ENC_##name,
#include "kern/quant/quant.def"
#undef QUANT
	QUANT_ENC_N
};

struct quant_enc {
	quant_from_f32_fn *fn[QUANT_ENC_N];
};

extern const struct quant_enc quant_enc_base, quant_enc_avx2, quant_enc_avx512;

#endif
