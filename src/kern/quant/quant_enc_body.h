/* quant_enc_body: f32 values to the blocks of every type, the inverse of quant_32.c, quant_k.c and quant_float.c, which
 * describe the layouts. Included once per CPU level with QUANT_ENC, the name of the table. Values that are no finite numbers
 * give some block, never a fault; whoever wants to refuse them looks before. */
#include "kern/quant/quant_enc.h"
#include "kern/quant/quant_enc_fit.h"
#include "kern/quant/quant_k.h"

enum { BLOCK = 32, HALF = 16 };

/* A scale as the file stores it, and the value that the decoder will see. Beyond the range of f16 it is held at the end. */
static float put_f16(uint8_t *p, float v)
{
	v = v > 65504.0f ? 65504.0f : v < -65504.0f ? -65504.0f : v;
	uint16_t h = f32_to_f16(v);
	memcpy(p, &h, sizeof h);
	return f16_to_f32(h);
}

static void put_u32(uint8_t *p, uint32_t v)
{
	memcpy(p, &v, sizeof v);
}

/* ---- floats ---- */

static void enc_F32(const float *src, uint8_t *dst, int64_t n)
{
	memcpy(dst, src, (size_t)n * sizeof *src);
}

static void enc_F16(const float *src, uint8_t *dst, int64_t n)
{
	for (int64_t i = 0; i < n; i++) {
		uint16_t h = f32_to_f16(src[i]);
		memcpy(dst + 2 * i, &h, sizeof h);
	}
}

/* Round to nearest, ties to even; NaNs stay NaNs. */
static void enc_BF16(const float *src, uint8_t *dst, int64_t n)
{
	for (int64_t i = 0; i < n; i++) {
		uint32_t x;
		memcpy(&x, &src[i], sizeof x);
		uint32_t nan = (x & 0x7fffffff) > 0x7f800000;
		uint16_t h = (uint16_t)(nan ? x >> 16 | 64 : (x + 0x7fff + (x >> 16 & 1)) >> 16);
		memcpy(dst + 2 * i, &h, sizeof h);
	}
}

/* ---- blocks of 32 ---- */

/* Low nibbles hold values 0 to 15, high ones 16 to 31; the fifth bits come as a word. */
INLINE uint32_t put_nibbles(const levels q, int j, int add, uint8_t *qs)
{
	uint32_t fifth = 0;
	for (int i = 0; i < HALF; i++) {
		uint32_t lo = (uint32_t)(q[i][j] + add), hi = (uint32_t)(q[i + HALF][j] + add);
		qs[i] = (uint8_t)((lo & 15) | (hi & 15) << 4);
		fifth |= (lo >> 4) << i | (hi >> 4) << (i + HALF);
	}
	return fifth;
}

/* Q4_0 and Q5_0: a scale, integers from -half to half - 1. */
INLINE void enc_scale_32(const float *src, uint8_t *dst, int64_t n, int half, int bytes)
{
	struct blocks b;
	levels q;
	for (int64_t n_left = n / BLOCK; n_left > 0; n_left -= LANE, src += LANE * BLOCK) {
		int n_block = n_left < LANE ? (int)n_left : LANE;
		load_blocks(&b, src, n_block, BLOCK, WEIGHT_RMS_ABS);
		union lanes scale = {.v = fit_scale(&b, (float)-half, (float)(half - 1), -0.6f, 0.15f, 9).scale};
		for (int j = 0; j < n_block; j++)
			scale.e[j] = put_f16(dst + j * bytes, scale.e[j]);
		store_levels(&b, vf_set(0), scale.v, (float)-half, (float)(half - 1), q);
		for (int j = 0; j < n_block; j++, dst += bytes) {
			uint32_t fifth = put_nibbles(q, j, half, dst + bytes - HALF);
			if (half == 16)
				put_u32(dst + 2, fifth);
		}
	}
}

/* Q4_1 and Q5_1: a scale and a minimum, integers from 0 to top. */
INLINE void enc_line_32(const float *src, uint8_t *dst, int64_t n, int top, int bytes)
{
	struct blocks b;
	levels q;
	for (int64_t n_left = n / BLOCK; n_left > 0; n_left -= LANE, src += LANE * BLOCK) {
		int n_block = n_left < LANE ? (int)n_left : LANE;
		load_blocks(&b, src, n_block, BLOCK, WEIGHT_RMS_ABS);
		struct fit f = fit_line(&b, (float)top, false, -0.9f, 0.15f, 13);
		union lanes scale = {.v = f.scale}, min = {.v = f.min};
		for (int j = 0; j < n_block; j++) {
			scale.e[j] = put_f16(dst + j * bytes, scale.e[j]);
			min.e[j] = put_f16(dst + j * bytes + 2, min.e[j]);
		}
		store_levels(&b, min.v, scale.v, 0, (float)top, q);
		for (int j = 0; j < n_block; j++, dst += bytes) {
			uint32_t fifth = put_nibbles(q, j, 0, dst + bytes - HALF);
			if (top == 31)
				put_u32(dst + 4, fifth);
		}
	}
}

static void enc_Q4_0(const float *src, uint8_t *dst, int64_t n)
{
	enc_scale_32(src, dst, n, 8, 18);
}
static void enc_Q5_0(const float *src, uint8_t *dst, int64_t n)
{
	enc_scale_32(src, dst, n, 16, 22);
}
static void enc_Q4_1(const float *src, uint8_t *dst, int64_t n)
{
	enc_line_32(src, dst, n, 15, 20);
}
static void enc_Q5_1(const float *src, uint8_t *dst, int64_t n)
{
	enc_line_32(src, dst, n, 31, 24);
}

/* Fine enough that the greatest value may as well decide the scale. */
static void enc_Q8_0(const float *src, uint8_t *dst, int64_t n)
{
	struct blocks b;
	levels q;
	for (int64_t n_left = n / BLOCK; n_left > 0; n_left -= LANE, src += LANE * BLOCK) {
		int n_block = n_left < LANE ? (int)n_left : LANE;
		load_blocks(&b, src, n_block, BLOCK, WEIGHT_SQUARE);
		union lanes scale = {.v = vf_abs(b.far) / 127.0f};
		for (int j = 0; j < n_block; j++)
			scale.e[j] = put_f16(dst + j * 34, scale.e[j]);
		store_levels(&b, vf_set(0), scale.v, -127, 127, q);
		for (int j = 0; j < n_block; j++, dst += 34)
			for (int i = 0; i < BLOCK; i++)
				dst[2 + i] = (uint8_t)q[i][j];
	}
}

/* ---- super-blocks ---- */

static int level(float v, int lo, int hi)
{
	return v > (float)lo ? v < (float)hi ? (int)__builtin_rintf(v) : hi : lo;
}

/* Scales and minimums of n sub-blocks as integers up to top with one f16 factor each, at d and d + 2. Both become what the
 * decoder will see. */
static void put_line_scales(float *scale, float *min, int n, int top, uint8_t *d, uint8_t *sc, uint8_t *mn)
{
	float most = 0, deep = 0;
	for (int k = 0; k < n; k++) {
		most = scale[k] > most ? scale[k] : most;
		deep = -min[k] > deep ? -min[k] : deep;
	}
	float ds = put_f16(d, most / (float)top), dm = put_f16(d + 2, deep / (float)top);
	for (int k = 0; k < n; k++) {
		sc[k] = (uint8_t)(ds > 0 ? level(scale[k] / ds, 0, top) : 0);
		mn[k] = (uint8_t)(dm > 0 ? level(-min[k] / dm, 0, top) : 0);
		scale[k] = ds * (float)sc[k];
		min[k] = -dm * (float)mn[k];
	}
}

/* The same for 16 signed scales from -half to half - 1. */
static void put_scales(float scale[LANE], int half, uint8_t *d, int8_t sc[LANE])
{
	float far = 0;
	for (int k = 0; k < LANE; k++)
		far = __builtin_fabsf(scale[k]) > __builtin_fabsf(far) ? scale[k] : far;
	float ds = put_f16(d, -far / (float)half);
	for (int k = 0; k < LANE; k++) {
		sc[k] = (int8_t)(ds != 0 ? level(scale[k] / ds, -half, half - 1) : 0);
		scale[k] = ds * (float)sc[k];
	}
}

/* The inverse of quant_k4_scales. */
static void pack_k4_scales(const uint8_t sc[8], const uint8_t mn[8], uint8_t a[12])
{
	for (int j = 0; j < 4; j++) {
		a[j] = (uint8_t)(sc[j] | sc[j + 4] >> 4 << 6);
		a[j + 4] = (uint8_t)(mn[j] | mn[j + 4] >> 4 << 6);
		a[j + 8] = (uint8_t)((sc[j + 4] & 15) | (mn[j + 4] & 15) << 4);
	}
}

/* Q4_K (top 15) and Q5_K (top 31): two super-blocks fill the lanes. */
INLINE void enc_line_k(const float *src, uint8_t *dst, int64_t n, int top, int bytes)
{
	struct blocks b;
	levels q;
	uint8_t sc[8], mn[8];
	for (int64_t n_left = n / QUANT_K; n_left > 0; n_left -= 2, src += 2 * QUANT_K) {
		int n_super = n_left < 2 ? 1 : 2;
		load_blocks(&b, src, 8 * n_super, 32, WEIGHT_RMS_ABS);
		struct fit f = fit_line(&b, (float)top, true, -1.0f, 0.1f, 16);
		union lanes scale = {.v = f.scale}, min = {.v = f.min};
		for (int s = 0; s < n_super; s++) {
			put_line_scales(scale.e + 8 * s, min.e + 8 * s, 8, 63, dst + s * bytes, sc, mn);
			pack_k4_scales(sc, mn, dst + s * bytes + 4);
		}
		store_levels(&b, min.v, scale.v, 0, (float)top, q);
		for (int s = 0; s < n_super; s++, dst += bytes) {
			uint8_t *qh = dst + 16, *qs = dst + bytes - 128;
			if (top == 31)
				memset(qh, 0, 32);
			for (int k = 0; k < 8; k += 2)
				for (int i = 0; i < 32; i++) {
					int lo = q[i][8 * s + k], hi = q[i][8 * s + k + 1];
					qs[16 * k + i] = (uint8_t)((lo & 15) | (hi & 15) << 4);
					if (top == 31)
						qh[i] |= (uint8_t)((lo >> 4) << k | (hi >> 4) << (k + 1));
				}
		}
	}
}

static void enc_Q4_K(const float *src, uint8_t *dst, int64_t n)
{
	enc_line_k(src, dst, n, 15, 144);
}
static void enc_Q5_K(const float *src, uint8_t *dst, int64_t n)
{
	enc_line_k(src, dst, n, 31, 176);
}

static void enc_Q2_K(const float *src, uint8_t *dst, int64_t n)
{
	struct blocks b;
	levels q;
	uint8_t sc[LANE], mn[LANE];
	for (int64_t k = 0; k < n / QUANT_K; k++, src += QUANT_K, dst += 84) {
		load_blocks(&b, src, LANE, 16, WEIGHT_ABS);
		struct fit f = fit_line(&b, 3, true, -0.9f, 0.1f, 16);
		union lanes scale = {.v = f.scale}, min = {.v = f.min};
		put_line_scales(scale.e, min.e, LANE, 15, dst + 80, sc, mn);
		store_levels(&b, min.v, scale.v, 0, 3, q);
		memset(dst + 16, 0, 64);
		for (int s = 0; s < LANE; s++) {
			uint8_t *qs = dst + 16 + 32 * (s / 8) + 16 * (s & 1);
			dst[s] = (uint8_t)(sc[s] | mn[s] << 4);
			for (int i = 0; i < 16; i++)
				qs[i] |= (uint8_t)(q[i][s] << 2 * (s / 2 % 4));
		}
	}
}

/* The inverse of quant_k3_scales. */
static void pack_k3_scales(const int8_t sc[16], uint8_t a[12])
{
	memset(a, 0, 12);
	for (int i = 0; i < 16; i++) {
		int v = sc[i] + 32;
		a[i % 8] |= (uint8_t)((v & 15) << (i < 8 ? 0 : 4));
		a[8 + i % 4] |= (uint8_t)((v >> 4) << 2 * (i / 4));
	}
}

static void enc_Q3_K(const float *src, uint8_t *dst, int64_t n)
{
	struct blocks b;
	levels q;
	int8_t sc[LANE];
	for (int64_t k = 0; k < n / QUANT_K; k++, src += QUANT_K, dst += 110) {
		load_blocks(&b, src, LANE, 16, WEIGHT_SQUARE);
		union lanes scale = {.v = fit_scale(&b, -4, 3, -0.6f, 0.1f, 13).scale};
		put_scales(scale.e, 32, dst + 108, sc);
		pack_k3_scales(sc, dst + 96);
		store_levels(&b, vf_set(0), scale.v, -4, 3, q);
		memset(dst, 0, 96);
		for (int s = 0; s < LANE; s++) {
			uint8_t *hm = dst + 16 * (s & 1), *qs = dst + 32 + 32 * (s / 8) + 16 * (s & 1);
			for (int i = 0; i < 16; i++) {
				int v = q[i][s] + 4;
				qs[i] |= (uint8_t)((v & 3) << 2 * (s / 2 % 4));
				hm[i] |= (uint8_t)((v >> 2) << s / 2);
			}
		}
	}
}

static void enc_Q6_K(const float *src, uint8_t *dst, int64_t n)
{
	struct blocks b;
	levels q;
	int8_t sc[LANE];
	for (int64_t k = 0; k < n / QUANT_K; k++, src += QUANT_K, dst += 210) {
		load_blocks(&b, src, LANE, 16, WEIGHT_SQUARE);
		union lanes scale = {.v = fit_scale(&b, -32, 31, -0.8f, 0.2f, 9).scale};
		put_scales(scale.e, 128, dst + 208, sc);
		memcpy(dst + 192, sc, sizeof sc);
		store_levels(&b, vf_set(0), scale.v, -32, 31, q);
		memset(dst, 0, 192);
		for (int s = 0; s < LANE; s++) {
			int half = s / 8, g = s / 2 % 4, first = 16 * (s & 1);
			uint8_t *ql = dst + 64 * half + 32 * (g & 1) + first, *qh = dst + 128 + 32 * half + first;
			for (int i = 0; i < 16; i++) {
				int v = q[i][s] + 32;
				ql[i] |= (uint8_t)((v & 15) << 4 * (g / 2));
				qh[i] |= (uint8_t)((v >> 4) << 2 * g);
			}
		}
	}
}

const struct quant_enc QUANT_ENC = {{
#define QUANT(name) enc_##name,
#include "kern/quant/quant.def"
#undef QUANT
}};
