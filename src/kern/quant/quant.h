/* quant: what the bytes of a quantized block mean. One file per family, one line in quant.def per type. */
#ifndef CRIA_KERN_QUANT_H
#define CRIA_KERN_QUANT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Dequantizes n values (a multiple of the block size) from src to dst. Bit-exact with the f32 product of f16 scales. */
typedef void quant_to_f32_fn(const uint8_t *src, float *dst, int64_t n);

struct quant {
	int type;         /* enum gguf_type */
	const char *name; /* "Q4_K" */
	quant_to_f32_fn *to_f32;
};

/* NULL when cria cannot compute with the type. */
const struct quant *quant_for(int type);
/* "F32 F16 ..." in quant.def order, for messages. */
const char *quant_names(void);

#define QUANT(name) quant_to_f32_fn quant_##name##_to_f32;
#include "kern/quant/quant.def"
#undef QUANT

/* IEEE binary16 to binary32, exact; branch-free so that loops over it vectorize. */
static inline float f16_to_f32(uint16_t h)
{
	uint32_t mag = (uint32_t)(h & 0x7fff) << 13, sign = (uint32_t)(h & 0x8000) << 16;
	const uint32_t two112 = (127u + 112u) << 23; /* moves the exponent bias from 15 to 127; subnormals come out right */
	float f, scale;
	memcpy(&f, &mag, sizeof f);
	memcpy(&scale, &two112, sizeof scale);
	f *= scale;
	uint32_t bits;
	memcpy(&bits, &f, sizeof bits);
	bits = mag >= 0x0f800000u ? mag | 0x7f800000u : bits; /* infinities and NaNs */
	bits |= sign;
	memcpy(&f, &bits, sizeof f);
	return f;
}

static inline float bf16_to_f32(uint16_t h)
{
	uint32_t bits = (uint32_t)h << 16;
	float f;
	memcpy(&f, &bits, sizeof f);
	return f;
}

/* As below; branch-free as well. */
static inline uint16_t f32_to_bf16(float f)
{
	uint32_t bits;
	memcpy(&bits, &f, sizeof bits);
	uint32_t even = (bits + 0x7fffu + (bits >> 16 & 1)) >> 16, nan = bits >> 16 | 0x40;
	return (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? nan : even);
}

/* Round to nearest, ties to even; overflow gives infinity, NaNs stay NaNs. */
uint16_t f32_to_f16(float f);

/* An unaligned little-endian f16 field of a block. */
static inline float quant_f16(const uint8_t *p)
{
	uint16_t h;
	memcpy(&h, p, sizeof h);
	return f16_to_f32(h);
}

#endif
