/* lanes: the vector operations the x86 kernels are written in, at 256 or 512 bits by the flags of the including file, so that
 * one body serves every level. vf holds LANES floats, vi the same number of bytes as integers. Only kernel files include
 * this; they are compiled with contraction off, so fused operations are exactly the vf_fma written. */
#ifndef CRIA_KERN_X86_LANES_H
#define CRIA_KERN_X86_LANES_H

#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline, unused))
#if defined(__clang__)
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 32")
#endif

/* A file compiled for AVX-512 stays at 256 bits when it defines LANES_256: it gets the instructions and the 32 registers. */
#if defined(__AVX512F__) && !defined(LANES_256)

#define LANES 16
typedef __m512 vf;
typedef __m512i vi;

INLINE vf vf_load(const float *p) { return _mm512_loadu_ps(p); }
INLINE void vf_store(float *p, vf v) { _mm512_storeu_ps(p, v); }
INLINE vf vf_set(float x) { return _mm512_set1_ps(x); }
INLINE vf vf_add(vf a, vf b) { return _mm512_add_ps(a, b); }
INLINE vf vf_sub(vf a, vf b) { return _mm512_sub_ps(a, b); }
INLINE vf vf_mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
INLINE vf vf_div(vf a, vf b) { return _mm512_div_ps(a, b); }
INLINE vf vf_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }   /* a b + c */
INLINE vf vf_fnma(vf a, vf b, vf c) { return _mm512_fnmadd_ps(a, b, c); } /* c - a b */
INLINE vf vf_max(vf a, vf b) { return _mm512_max_ps(a, b); }              /* b when either is NaN */
INLINE vf vf_min(vf a, vf b) { return _mm512_min_ps(a, b); }
INLINE vf vf_round(vf a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
INLINE vf vf_abs(vf a) { return _mm512_abs_ps(a); }
/* a < b ? x : y */
INLINE vf vf_lt(vf a, vf b, vf x, vf y) { return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), y, x); }
INLINE vf vf_from_i32(vi v) { return _mm512_cvtepi32_ps(v); }
INLINE vi vf_to_i32(vf v) { return _mm512_cvtps_epi32(v); }
INLINE vf vf_from_bits(vi v) { return _mm512_castsi512_ps(v); }
INLINE vf vf_scale2(vf v, vf n) { return _mm512_scalef_ps(v, n); } /* v 2^n; n whole, neither it nor the result below 2^-126 */
INLINE vf vf_from_f16(const void *p) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p)); }
INLINE vf vf_from_bf16(const void *p)
{
	return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p)), 16));
}
INLINE void vf_to_f16(void *p, vf v) { _mm256_storeu_si256((__m256i *)p, _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT)); }
INLINE vi vi_from_u8(const void *p) { return _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p)); }
INLINE vi vi_from_i8(const void *p) { return _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p)); }
/* 32 integers of 32 bits in order, saturated to 8. */
INLINE __m256i vi_pack8(const vi *v) { return _mm256_set_m128i(_mm512_cvtsepi32_epi8(v[1]), _mm512_cvtsepi32_epi8(v[0])); }

/* Neighbours as pairs (c, s): the first of each pair twice, the second twice, both exchanged. */
INLINE vf vf_first(vf v) { return _mm512_moveldup_ps(v); }
INLINE vf vf_second(vf v) { return _mm512_movehdup_ps(v); }
INLINE vf vf_swap(vf v) { return _mm512_permute_ps(v, 0xb1); }
INLINE vf vf_fmaddsub(vf a, vf b, vf c) { return _mm512_fmaddsub_ps(a, b, c); } /* even lanes a b - c, odd a b + c */
/* LANES pairs in two vectors: the firsts, the seconds. */
INLINE vf vf_firsts(vf lo, vf hi)
{
	return _mm512_permutex2var_ps(lo, _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30), hi);
}
INLINE vf vf_seconds(vf lo, vf hi)
{
	return _mm512_permutex2var_ps(lo, _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31), hi);
}

INLINE vi vi_load(const void *p) { return _mm512_loadu_si512(p); }
INLINE void vi_store(void *p, vi v) { _mm512_storeu_si512(p, v); }
INLINE vi vi_set8(int x) { return _mm512_set1_epi8((char)x); }
INLINE vi vi_set16(int x) { return _mm512_set1_epi16((short)x); }
INLINE vi vi_set32(int x) { return _mm512_set1_epi32(x); }
INLINE vi vi_zero(void) { return _mm512_setzero_si512(); }
INLINE vi vi_and(vi a, vi b) { return _mm512_and_si512(a, b); }
INLINE vi vi_or(vi a, vi b) { return _mm512_or_si512(a, b); }
INLINE vi vi_xor(vi a, vi b) { return _mm512_xor_si512(a, b); }
INLINE vi vi_add32(vi a, vi b) { return _mm512_add_epi32(a, b); }
INLINE vi vi_sub32(vi a, vi b) { return _mm512_sub_epi32(a, b); }
INLINE vi vi_max32(vi a, vi b) { return _mm512_max_epi32(a, b); }
INLINE vi vi_add8(vi a, vi b) { return _mm512_add_epi8(a, b); }
INLINE vi vi_add16(vi a, vi b) { return _mm512_add_epi16(a, b); }
INLINE vi vi_sll16(vi a, unsigned n) { return _mm512_slli_epi16(a, n); }
INLINE vi vi_srl16(vi a, unsigned n) { return _mm512_srli_epi16(a, n); }
INLINE vi vi_sll32(vi a, unsigned n) { return _mm512_slli_epi32(a, n); }
INLINE vi vi_sra32(vi a, unsigned n) { return _mm512_srai_epi32(a, n); }
INLINE vi vi_maddubs(vi u, vi s) { return _mm512_maddubs_epi16(u, s); }
INLINE vi vi_madd16(vi a, vi b) { return _mm512_madd_epi16(a, b); }
/* |w| and a with the sign of w, bytewise */
INLINE vi vi_abs8(vi w) { return _mm512_abs_epi8(w); }
INLINE vi vi_sign8(vi a, vi w) { return _mm512_mask_sub_epi8(a, _mm512_movepi8_mask(w), vi_zero(), a); }

#else

#define LANES 8
typedef __m256 vf;
typedef __m256i vi;

INLINE vf vf_load(const float *p) { return _mm256_loadu_ps(p); }
INLINE void vf_store(float *p, vf v) { _mm256_storeu_ps(p, v); }
INLINE vf vf_set(float x) { return _mm256_set1_ps(x); }
INLINE vf vf_add(vf a, vf b) { return _mm256_add_ps(a, b); }
INLINE vf vf_sub(vf a, vf b) { return _mm256_sub_ps(a, b); }
INLINE vf vf_mul(vf a, vf b) { return _mm256_mul_ps(a, b); }
INLINE vf vf_div(vf a, vf b) { return _mm256_div_ps(a, b); }
INLINE vf vf_fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
INLINE vf vf_fnma(vf a, vf b, vf c) { return _mm256_fnmadd_ps(a, b, c); }
INLINE vf vf_max(vf a, vf b) { return _mm256_max_ps(a, b); }
INLINE vf vf_min(vf a, vf b) { return _mm256_min_ps(a, b); }
INLINE vf vf_round(vf a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
INLINE vf vf_abs(vf a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
INLINE vf vf_lt(vf a, vf b, vf x, vf y) { return _mm256_blendv_ps(y, x, _mm256_cmp_ps(a, b, _CMP_LT_OQ)); }
INLINE vf vf_from_i32(vi v) { return _mm256_cvtepi32_ps(v); }
INLINE vi vf_to_i32(vf v) { return _mm256_cvtps_epi32(v); }
INLINE vf vf_from_bits(vi v) { return _mm256_castsi256_ps(v); }
INLINE vf vf_scale2(vf v, vf n)
{
	__m256i k = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
	return _mm256_mul_ps(v, _mm256_castsi256_ps(_mm256_slli_epi32(k, 23)));
}
INLINE vf vf_from_f16(const void *p) { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p)); }
INLINE vf vf_from_bf16(const void *p)
{
	return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p)), 16));
}
INLINE void vf_to_f16(void *p, vf v) { _mm_storeu_si128((__m128i *)p, _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT)); }
INLINE vi vi_from_u8(const void *p) { return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p)); }
INLINE vi vi_from_i8(const void *p) { return _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)p)); }
INLINE __m256i vi_pack8(const vi *v)
{
	__m256i w = _mm256_packs_epi16(_mm256_packs_epi32(v[0], v[1]), _mm256_packs_epi32(v[2], v[3]));
	return _mm256_permutevar8x32_epi32(w, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

INLINE vf vf_first(vf v) { return _mm256_moveldup_ps(v); }
INLINE vf vf_second(vf v) { return _mm256_movehdup_ps(v); }
INLINE vf vf_swap(vf v) { return _mm256_permute_ps(v, 0xb1); }
INLINE vf vf_fmaddsub(vf a, vf b, vf c) { return _mm256_fmaddsub_ps(a, b, c); }
INLINE vf quarters(vf v) { return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(v), 0xd8)); }
INLINE vf vf_firsts(vf lo, vf hi) { return quarters(_mm256_shuffle_ps(lo, hi, 0x88)); }
INLINE vf vf_seconds(vf lo, vf hi) { return quarters(_mm256_shuffle_ps(lo, hi, 0xdd)); }

INLINE vi vi_load(const void *p) { return _mm256_loadu_si256((const __m256i *)p); }
INLINE void vi_store(void *p, vi v) { _mm256_storeu_si256((__m256i *)p, v); }
INLINE vi vi_set8(int x) { return _mm256_set1_epi8((char)x); }
INLINE vi vi_set16(int x) { return _mm256_set1_epi16((short)x); }
INLINE vi vi_set32(int x) { return _mm256_set1_epi32(x); }
INLINE vi vi_zero(void) { return _mm256_setzero_si256(); }
INLINE vi vi_and(vi a, vi b) { return _mm256_and_si256(a, b); }
INLINE vi vi_or(vi a, vi b) { return _mm256_or_si256(a, b); }
INLINE vi vi_xor(vi a, vi b) { return _mm256_xor_si256(a, b); }
INLINE vi vi_add32(vi a, vi b) { return _mm256_add_epi32(a, b); }
INLINE vi vi_sub32(vi a, vi b) { return _mm256_sub_epi32(a, b); }
INLINE vi vi_max32(vi a, vi b) { return _mm256_max_epi32(a, b); }
INLINE vi vi_add8(vi a, vi b) { return _mm256_add_epi8(a, b); }
INLINE vi vi_add16(vi a, vi b) { return _mm256_add_epi16(a, b); }
INLINE vi vi_sll16(vi a, int n) { return _mm256_slli_epi16(a, n); }
INLINE vi vi_srl16(vi a, int n) { return _mm256_srli_epi16(a, n); }
INLINE vi vi_sll32(vi a, int n) { return _mm256_slli_epi32(a, n); }
INLINE vi vi_sra32(vi a, int n) { return _mm256_srai_epi32(a, n); }
INLINE vi vi_maddubs(vi u, vi s) { return _mm256_maddubs_epi16(u, s); }
INLINE vi vi_madd16(vi a, vi b) { return _mm256_madd_epi16(a, b); }
INLINE vi vi_abs8(vi w) { return _mm256_abs_epi8(w); }
INLINE vi vi_sign8(vi a, vi w) { return _mm256_sign_epi8(a, w); }

#endif

/* acc + u . s: each 32-bit lane gets the four products of its unsigned and signed bytes. VNNI: whether one instruction does it. */
#if LANES == 16 && defined(__AVX512VNNI__)
#define VNNI 1
INLINE vi vi_dot(vi acc, vi u, vi s) { return _mm512_dpbusd_epi32(acc, u, s); }
#elif defined(__AVX512VNNI__) && defined(__AVX512VL__)
#define VNNI 1
INLINE vi vi_dot(vi acc, vi u, vi s) { return _mm256_dpbusd_epi32(acc, u, s); }
#elif defined(__AVXVNNI__)
#define VNNI 1
INLINE vi vi_dot(vi acc, vi u, vi s) { return _mm256_dpbusd_avx_epi32(acc, u, s); }
#else
#define VNNI 0 /* sums of two products saturate: u must leave room (254 times u at most 32767) */
INLINE vi vi_dot(vi acc, vi u, vi s) { return vi_add32(acc, vi_madd16(vi_maddubs(u, s), vi_set16(1))); }
#endif

/* The upper half of the lanes folded onto the lower one. */
#if LANES == 16
INLINE __m256 halve_add(vf v) { return _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1)); }
INLINE __m256 halve_max(vf v) { return _mm256_max_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1)); }
INLINE __m256i halve_max32(vi v) { return _mm256_max_epi32(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1)); }
#else
INLINE __m256 halve_add(vf v) { return v; }
INLINE __m256 halve_max(vf v) { return v; }
INLINE __m256i halve_max32(vi v) { return v; }
#endif

/* Sum and greatest of the lanes, halves first: a fixed order. */
INLINE float vf_hsum(vf v)
{
	__m256 h = halve_add(v);
	__m128 q = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
	q = _mm_add_ps(q, _mm_permute_ps(q, 0x4e));
	return _mm_cvtss_f32(_mm_add_ps(q, _mm_permute_ps(q, 0xb1)));
}

INLINE float vf_hmax(vf v)
{
	__m256 h = halve_max(v);
	__m128 q = _mm_max_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
	q = _mm_max_ps(q, _mm_permute_ps(q, 0x4e));
	return _mm_cvtss_f32(_mm_max_ps(q, _mm_permute_ps(q, 0xb1)));
}

INLINE int vi_hmax32(vi v)
{
	__m256i h = halve_max32(v);
	__m128i q = _mm_max_epi32(_mm256_castsi256_si128(h), _mm256_extracti128_si256(h, 1));
	q = _mm_max_epi32(q, _mm_shuffle_epi32(q, 0x4e));
	return _mm_cvtsi128_si32(_mm_max_epi32(q, _mm_shuffle_epi32(q, 0xb1)));
}

/* e^x, relative error below 3e-7: x = n ln 2 + r, Taylor series to r^7 (next term 5e-9), times 2^n in two steps so that
 * results near overflow and below the normal range come out right. NaN stays. */
INLINE vf vf_exp(vf x)
{
	x = vf_min(vf_set(89.0f), vf_max(vf_set(-105.0f), x));
	vf n = vf_round(vf_mul(x, vf_set(1.44269504f)));
	vf r = vf_fnma(n, vf_set(0.693359375f), x);
	r = vf_fnma(n, vf_set(-2.12194440e-4f), r);
	vf p = vf_fma(vf_set(1.0f / 5040), r, vf_set(1.0f / 720));
	p = vf_fma(p, r, vf_set(1.0f / 120));
	p = vf_fma(p, r, vf_set(1.0f / 24));
	p = vf_fma(p, r, vf_set(1.0f / 6));
	p = vf_fma(p, r, vf_set(0.5f));
	p = vf_fma(p, r, vf_set(1.0f));
	p = vf_fma(p, r, vf_set(1.0f));
	vi k = vf_to_i32(n), k1 = vi_sra32(k, 1), k2 = vi_sub32(k, k1), bias = vi_set32(127);
	p = vf_mul(p, vf_from_bits(vi_sll32(vi_add32(k1, bias), 23)));
	return vf_mul(p, vf_from_bits(vi_sll32(vi_add32(k2, bias), 23)));
}

/* tanh: 1 - 2 / (e^2x + 1), which cancels near 0: there the series to x^9. */
INLINE vf vf_tanh(vf x)
{
	vf y = vf_mul(x, x);
	vf p = vf_fma(vf_set(62.0f / 2835), y, vf_set(-17.0f / 315));
	p = vf_fma(p, y, vf_set(2.0f / 15));
	p = vf_fma(p, y, vf_set(-1.0f / 3));
	vf small = vf_fma(vf_mul(x, y), p, x);
	vf large = vf_sub(vf_set(1.0f), vf_div(vf_set(2.0f), vf_add(vf_exp(vf_add(x, x)), vf_set(1.0f))));
	return vf_lt(y, vf_set(0.0625f), small, large);
}

/* The first n < LANES floats at p, zeros above. */
INLINE vf vf_load_part(const float *p, int64_t n)
{
	float a[LANES] = {0};
	memcpy(a, p, (size_t)n * sizeof *a);
	return vf_load(a);
}

INLINE void vf_store_part(float *p, vf v, int64_t n)
{
	float a[LANES];
	vf_store(a, v);
	memcpy(p, a, (size_t)n * sizeof *a);
}

#endif
