/* F32, F16, BF16: values stored one by one. */
#include "kern/quant/quant.h"

void quant_F32_to_f32(const uint8_t *src, float *dst, int64_t n)
{
	memcpy(dst, src, (size_t)n * sizeof *dst);
}

void quant_F16_to_f32(const uint8_t *src, float *dst, int64_t n)
{
	for (int64_t i = 0; i < n; i++)
		dst[i] = quant_f16(src + 2 * i);
}

void quant_BF16_to_f32(const uint8_t *src, float *dst, int64_t n)
{
	for (int64_t i = 0; i < n; i++) {
		uint16_t h;
		memcpy(&h, src + 2 * i, sizeof h);
		dst[i] = bf16_to_f32(h);
	}
}
