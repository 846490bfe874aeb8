/* Blocks of 32 values: f16 scale d (and minimum m), then the fifth bits, then nibbles: byte j holds value j in its low and
 * value j + 16 in its high half. _0 types are d * (q - offset), _1 types d * q + m. */
#include "kern/quant/quant.h"

enum { BLOCK = 32, HALF = 16 };

static uint32_t load_u32(const uint8_t *p)
{
	uint32_t v;
	memcpy(&v, p, sizeof v);
	return v;
}

void quant_Q4_0_to_f32(const uint8_t *src, float *dst, int64_t n)
{
	for (int64_t i = 0; i < n / BLOCK; i++, src += 18, dst += BLOCK) {
		float d = quant_f16(src);
		const uint8_t *qs = src + 2;
		for (int j = 0; j < HALF; j++) {
			dst[j] = d * (float)((qs[j] & 15) - 8);
			dst[j + HALF] = d * (float)((qs[j] >> 4) - 8);
		}
	}
}

void quant_Q4_1_to_f32(const uint8_t *src, float *dst, int64_t n)
{
	for (int64_t i = 0; i < n / BLOCK; i++, src += 20, dst += BLOCK) {
		float d = quant_f16(src), m = quant_f16(src + 2);
		const uint8_t *qs = src + 4;
		for (int j = 0; j < HALF; j++) {
			dst[j] = d * (float)(qs[j] & 15) + m;
			dst[j + HALF] = d * (float)(qs[j] >> 4) + m;
		}
	}
}

void quant_Q5_0_to_f32(const uint8_t *src, float *dst, int64_t n)
{
	for (int64_t i = 0; i < n / BLOCK; i++, src += 22, dst += BLOCK) {
		float d = quant_f16(src);
		uint32_t qh = load_u32(src + 2);
		const uint8_t *qs = src + 6;
		for (int j = 0; j < HALF; j++) {
			int lo = (int)((qs[j] & 15u) | (qh >> j << 4 & 16u));
			int hi = (int)((qs[j] >> 4) | (qh >> (j + HALF) << 4 & 16u));
			dst[j] = d * (float)(lo - 16);
			dst[j + HALF] = d * (float)(hi - 16);
		}
	}
}

void quant_Q5_1_to_f32(const uint8_t *src, float *dst, int64_t n)
{
	for (int64_t i = 0; i < n / BLOCK; i++, src += 24, dst += BLOCK) {
		float d = quant_f16(src), m = quant_f16(src + 2);
		uint32_t qh = load_u32(src + 4);
		const uint8_t *qs = src + 8;
		for (int j = 0; j < HALF; j++) {
			int lo = (int)((qs[j] & 15u) | (qh >> j << 4 & 16u));
			int hi = (int)((qs[j] >> 4) | (qh >> (j + HALF) << 4 & 16u));
			dst[j] = d * (float)lo + m;
			dst[j + HALF] = d * (float)hi + m;
		}
	}
}

void quant_Q8_0_to_f32(const uint8_t *src, float *dst, int64_t n)
{
	for (int64_t i = 0; i < n / BLOCK; i++, src += 34, dst += BLOCK) {
		float d = quant_f16(src);
		for (int j = 0; j < BLOCK; j++)
			dst[j] = d * (float)(int8_t)src[2 + j];
	}
}
