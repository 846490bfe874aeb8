/* K-quants: super-blocks of 256 values with one f16 scale (and one f16 minimum) and small integer scales for sub-blocks of
 * 16 or 32. Field orders are those of the GGUF tensor type table. */
#include "kern/quant/quant.h"
#include "kern/quant/quant_k.h"

void quant_k4_scales(const uint8_t a[12], uint8_t sc[8], uint8_t mn[8])
{
	for (int j = 0; j < 4; j++) {
		sc[j] = a[j] & 63;
		mn[j] = a[j + 4] & 63;
		sc[j + 4] = (uint8_t)((a[j + 8] & 15) | (a[j] >> 6) << 4);
		mn[j + 4] = (uint8_t)((a[j + 8] >> 4) | (a[j + 4] >> 6) << 4);
	}
}

void quant_k3_scales(const uint8_t a[12], int8_t sc[16])
{
	for (int i = 0; i < 16; i++) {
		int lo = i < 8 ? a[i] & 15 : a[i - 8] >> 4;
		int hi = a[8 + i % 4] >> (2 * (i / 4)) & 3;
		sc[i] = (int8_t)((lo | hi << 4) - 32);
	}
}

/* Q2_K: scales[16], qs[64], f16 d, f16 dmin. Within a half of 128, 32 bytes hold four 2-bit planes. */
void quant_Q2_K_to_f32(const uint8_t *src, float *dst, int64_t n)
{
	for (int64_t i = 0; i < n / QUANT_K; i++, src += 84, dst += QUANT_K) {
		float d = quant_f16(src + 80), dmin = quant_f16(src + 82);
		for (int s = 0; s < 16; s++) {
			const uint8_t *qs = src + 16 + 32 * (s / 8) + 16 * (s & 1);
			int shift = 2 * (s / 2 % 4);
			float dl = d * (float)(src[s] & 15), ml = dmin * (float)(src[s] >> 4);
			for (int j = 0; j < 16; j++)
				dst[16 * s + j] = dl * (float)(qs[j] >> shift & 3) - ml;
		}
	}
}

/* Q3_K: hmask[32], qs[64], scales[12], f16 d. The mask's bit g tells for group g of 32 values which are not lowered by 4. */
void quant_Q3_K_to_f32(const uint8_t *src, float *dst, int64_t n)
{
	for (int64_t i = 0; i < n / QUANT_K; i++, src += 110, dst += QUANT_K) {
		float d = quant_f16(src + 108);
		int8_t sc[16];
		quant_k3_scales(src + 96, sc);
		for (int s = 0; s < 16; s++) {
			const uint8_t *qs = src + 32 + 32 * (s / 8) + 16 * (s & 1), *hm = src + 16 * (s & 1);
			int shift = 2 * (s / 2 % 4), bit = s / 2;
			float dl = d * (float)sc[s];
			for (int j = 0; j < 16; j++)
				dst[16 * s + j] = dl * (float)((qs[j] >> shift & 3) - (hm[j] >> bit & 1 ? 0 : 4));
		}
	}
}

/* Q4_K: f16 d, f16 dmin, scales[12], qs[128]: each 32 bytes hold sub-block 2k in their low and 2k + 1 in their high halves. */
void quant_Q4_K_to_f32(const uint8_t *src, float *dst, int64_t n)
{
	for (int64_t i = 0; i < n / QUANT_K; i++, src += 144, dst += QUANT_K) {
		float d = quant_f16(src), dmin = quant_f16(src + 2);
		uint8_t sc[8], mn[8];
		quant_k4_scales(src + 4, sc, mn);
		for (int s = 0; s < 8; s++) {
			const uint8_t *qs = src + 16 + 32 * (s / 2);
			int shift = 4 * (s & 1);
			float dl = d * (float)sc[s], ml = dmin * (float)mn[s];
			for (int j = 0; j < 32; j++)
				dst[32 * s + j] = dl * (float)(qs[j] >> shift & 15) - ml;
		}
	}
}

/* Q5_K: as Q4_K with qh[32] before qs: bit s of qh[j] is the fifth bit of value j of sub-block s. */
void quant_Q5_K_to_f32(const uint8_t *src, float *dst, int64_t n)
{
	for (int64_t i = 0; i < n / QUANT_K; i++, src += 176, dst += QUANT_K) {
		float d = quant_f16(src), dmin = quant_f16(src + 2);
		uint8_t sc[8], mn[8];
		quant_k4_scales(src + 4, sc, mn);
		for (int s = 0; s < 8; s++) {
			const uint8_t *qh = src + 16, *qs = src + 48 + 32 * (s / 2);
			int shift = 4 * (s & 1);
			float dl = d * (float)sc[s], ml = dmin * (float)mn[s];
			for (int j = 0; j < 32; j++)
				dst[32 * s + j] = dl * (float)((qs[j] >> shift & 15) | (qh[j] >> s & 1) << 4) - ml;
		}
	}
}

/* Q6_K: ql[128], qh[64], i8 scales[16], f16 d. In a half of 128, group g of 32 takes the nibbles g / 2 of ql[32 (g % 2) ..]
 * and the bits 2g, 2g + 1 of qh. */
void quant_Q6_K_to_f32(const uint8_t *src, float *dst, int64_t n)
{
	for (int64_t i = 0; i < n / QUANT_K; i++, src += 210, dst += QUANT_K) {
		float d = quant_f16(src + 208);
		for (int s = 0; s < 16; s++) {
			int half = s / 8, g = s / 2 % 4, first = 16 * (s & 1);
			const uint8_t *ql = src + 64 * half + 32 * (g & 1) + first, *qh = src + 128 + 32 * half + first;
			float dl = d * (float)(int8_t)src[192 + s];
			for (int j = 0; j < 16; j++)
				dst[16 * s + j] = dl * (float)(((ql[j] >> (4 * (g / 2)) & 15) | (qh[j] >> (2 * g) & 3) << 4) - 32);
		}
	}
}
