/* quant: what the bytes of a quantized block mean. One file per family, one line in quant.def per type. */
#ifndef CRIA_KERN_QUANT_H
#define CRIA_KERN_QUANT_H

#include <stddef.h>
#include <stdint.h>

/* Dequantizes n values (a multiple of the block size) from src to dst. Bit-exact with the f32 product of f16 scales. */
typedef void quant_to_f32_fn(const uint8_t *src, float *dst, int64_t n);

struct quant {
	int type; /* enum gguf_type */
	quant_to_f32_fn *to_f32;
};

/* NULL when cria cannot compute with the type. */
const struct quant *quant_for(int type);
/* "F32 F16 ..." in quant.def order, for messages. */
const char *quant_names(void);

float f16_to_f32(uint16_t h);
uint16_t f32_to_f16(float f); /* round to nearest even */

#endif
