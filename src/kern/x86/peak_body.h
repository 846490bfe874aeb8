/* The rate at which this instruction set multiplies bytes when nothing has to be loaded: what `bench` measures products
 * against. Included once per instruction set with PEAK (the function's name) and, where floats have a rate of their own, PEAK_F32
 * defined. */
#include "kern/x86/lanes.h"
#include "kern/x86/x86.h"

enum { CHAINS = 12 }; /* enough to hide the latency of a multiplication */

int64_t PEAK(int64_t n_turn)
{
	vi acc[CHAINS], u = vi_set8(3), s = vi_set8(1);
UNROLL
	for (int c = 0; c < CHAINS; c++)
		acc[c] = vi_zero();
	for (int64_t i = 0; i < n_turn; i++) {
UNROLL
		for (int c = 0; c < CHAINS; c++) {
			acc[c] = vi_dot(acc[c], u, s);
			__asm__ volatile("" : "+x"(acc[c])); /* the compiler may not fold the turns */
		}
	}
	return n_turn * CHAINS * (int64_t)sizeof(vi);
}

#if defined(PEAK_F32)
int64_t PEAK_F32(int64_t n_turn)
{
	vf acc[CHAINS], u = vf_set(3.0f), s = vf_set(0.5f);
UNROLL
	for (int c = 0; c < CHAINS; c++)
		acc[c] = vf_set(0.0f);
	for (int64_t i = 0; i < n_turn; i++) {
UNROLL
		for (int c = 0; c < CHAINS; c++) {
			acc[c] = vf_fma(u, s, acc[c]);
			__asm__ volatile("" : "+x"(acc[c]));
		}
	}
	return n_turn * CHAINS * LANES;
}
#endif
