#include "kern/quant/quant.h"

#include "base/bug.h"
#include "gguf/gguf_type.h"
#include "kern/cpu.h"
#include "kern/quant/quant_enc.h"

static const struct quant quants[] = {
#define QUANT(name) {GGUF_##name, #name, quant_##name##_to_f32},
#include "kern/quant/quant.def"
#undef QUANT
};

const struct quant *quant_for(int type)
{
	for (size_t i = 0; i < ARRAY_LEN(quants); i++)
		if (quants[i].type == type)
			return &quants[i];
	return NULL;
}

quant_from_f32_fn *quant_encoder(int type)
{
	const struct quant_enc *enc = &quant_enc_base;
#if defined(__x86_64__)
	enc = cpu_has(CPU_AVX2 | CPU_AVX512) ? &quant_enc_avx512 : cpu_has(CPU_AVX2) ? &quant_enc_avx2 : enc;
#endif
	const struct quant *q = quant_for(type);
	return q ? enc->fn[q - quants] : NULL;
}

const char *quant_names(void)
{
	static const char names[] =
#define QUANT(name) " " #name
#include "kern/quant/quant.def"
#undef QUANT
		;
	return names + 1;
}

uint16_t f32_to_f16(float f)
{
	uint32_t x;
	memcpy(&x, &f, sizeof x);
	uint16_t sign = (uint16_t)((x >> 16) & 0x8000);
	x &= 0x7fffffffu;
	if (x > 0x7f800000u)
		return (uint16_t)(sign | 0x7e00);
	if (x >= 0x477ff000u) /* 65520 and above round to infinity */
		return (uint16_t)(sign | 0x7c00);
	if (x < 0x38800000u) { /* below 2^-14: adding 0.5 puts the subnormal's bits, rounded, at the bottom of the sum */
		float mag;
		memcpy(&mag, &x, sizeof mag);
		mag += 0.5f;
		memcpy(&x, &mag, sizeof x);
		return (uint16_t)(sign | (x - 0x3f000000u));
	}
	uint32_t odd = (x >> 13) & 1;
	return (uint16_t)(sign | ((x - 0x38000000u + 0xfffu + odd) >> 13));
}
