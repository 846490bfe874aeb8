#include "model/model_rope.h"

#include <math.h>

static const double pi = 3.14159265358979323846;

/* Pair index at which b full turns fit into the trained length (YaRN, arXiv:2309.00071, section 3.2). */
static double turns_at(const struct model_rope *r, double b)
{
	return r->n_rot * log((double)r->n_orig / (2 * pi * b)) / (2 * log((double)r->base));
}

static double clamp(double x, double lo, double hi)
{
	return x < lo ? lo : x > hi ? hi : x;
}

float model_rope_freqs(const struct model_rope *r, double *freq)
{
	bool yarn = r->scaling == MODEL_ROPE_YARN;
	double low = 0, high = 0, mscale = r->attn_factor;
	if (yarn) {
		low = clamp(floor(turns_at(r, r->beta_fast)), 0, r->n_rot - 1);
		high = clamp(ceil(turns_at(r, r->beta_slow)), 0, r->n_rot - 1);
		if (r->factor > 1)
			mscale *= 1 + 0.1 * log(r->factor);
	}
	for (int i = 0; i < r->n_rot / 2; i++) {
		double f = pow(r->base, -2.0 * i / r->n_rot);
		if (r->freq_factors)
			f /= r->freq_factors[i];
		double ramp = 1 - clamp((i - low) / fmax(0.001, high - low), 0, 1);
		double mix = yarn ? ramp * r->ext_factor : 0;
		if (r->scaling != MODEL_ROPE_PLAIN)
			f = f / r->factor * (1 - mix) + f * mix;
		freq[i] = f;
	}
	return (float)mscale;
}
