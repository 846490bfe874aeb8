/* ref_math: exp and tanh for the reference level, in double, with nothing but IEEE operations. Error below 1e-12 before
 * the one rounding to float. Written without branches so that loops vectorize. */
#ifndef CRIA_KERN_REF_MATH_H
#define CRIA_KERN_REF_MATH_H

#include <stdint.h>
#include <string.h>

/* e^x for |x| <= 700: x = k ln 2 + r with |r| <= 0.35, Taylor series to r^11 (next term 4e-15). */
static inline double ref_exp_d(double x)
{
	const double shift = 6755399441055744.0; /* 1.5 * 2^52: adding it rounds to an integer */
	double k = (x * 1.4426950408889634 + shift) - shift;
	double r = (x - k * 0.693147180369123816490) - k * 1.90821492927058770002e-10;
	double p = 1.0 / 39916800;
	p = p * r + 1.0 / 3628800;
	p = p * r + 1.0 / 362880;
	p = p * r + 1.0 / 40320;
	p = p * r + 1.0 / 5040;
	p = p * r + 1.0 / 720;
	p = p * r + 1.0 / 120;
	p = p * r + 1.0 / 24;
	p = p * r + 1.0 / 6;
	p = p * r + 0.5;
	p = p * r + 1.0;
	p = p * r + 1.0;
	double biased = (k + 1023.0) + 4503599627370496.0; /* the exponent field ends up in the low mantissa bits */
	uint64_t bits;
	memcpy(&bits, &biased, sizeof bits);
	bits <<= 52;
	double scale;
	memcpy(&scale, &bits, sizeof scale);
	return p * scale;
}

static inline double ref_clamp(double x, double limit)
{
	x = x > limit ? limit : x; /* NaN passes both */
	return x < -limit ? -limit : x;
}

/* e^x; float overflow gives infinity, NaN stays. */
static inline float ref_exp(float x)
{
	return (float)ref_exp_d(ref_clamp(x, 200.0));
}

/* tanh as 1 - 2 / (e^2x + 1); near 0, where that cancels, the series to x^9. */
static inline double ref_tanh(double x)
{
	double y = x * x;
	double small = x * (1.0 + y * (-1.0 / 3 + y * (2.0 / 15 + y * (-17.0 / 315 + y * (62.0 / 2835)))));
	double large = 1.0 - 2.0 / (ref_exp_d(ref_clamp(2.0 * x, 200.0)) + 1.0);
	return y < 0.0025 ? small : large;
}

static inline float ref_silu(float x)
{
	double v = x;
	return (float)(v / (1.0 + ref_exp_d(ref_clamp(-v, 200.0))));
}

/* x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), the tanh form of Hendrycks and Gimpel (arXiv 1606.08415). */
static inline float ref_gelu(float x)
{
	double v = x;
	return (float)(0.5 * v * (1.0 + ref_tanh(0.7978845608028654 * (v + 0.044715 * v * v * v))));
}

#endif
