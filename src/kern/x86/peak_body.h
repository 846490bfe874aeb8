/* The rates at which an instruction set multiplies when nothing has to be loaded: what `bench` measures products against. A file
 * per instruction set makes those it has with the macros below; each makes a function that returns how many products its
 * n_turn turns were. */
#include "kern/x86/lanes.h"
#include "kern/x86/x86.h"

enum { CHAINS = 12 }; /* enough to hide the latency of a multiplication */

/* The compiler may neither fold the turns nor take what does not change out of them. */
#define PEAK(name, type, zero, u0, s0, step, n_lane)                                                                   \
	int64_t name(int64_t n_turn)                                                                                   \
	{                                                                                                              \
		type sum[CHAINS], u = u0, s = s0;                                                                      \
		UNROLL                                                                                                 \
		for (int c = 0; c < CHAINS; c++)                                                                       \
			sum[c] = zero;                                                                                 \
		for (int64_t i = 0; i < n_turn; i++) {                                                                 \
			UNROLL                                                                                         \
			for (int c = 0; c < CHAINS; c++) {                                                             \
				type acc = sum[c];                                                                     \
				acc = step;                                                                            \
				__asm__ volatile("" : "+x"(acc), "+x"(u));                                             \
				sum[c] = acc;                                                                          \
			}                                                                                              \
		}                                                                                                      \
		return n_turn * CHAINS * (n_lane);                                                                     \
	}

#define PEAK_F32(name) PEAK(name, vf, vf_set(0.0f), vf_set(3.0f), vf_set(0.5f), vf_fma(u, s, acc), LANES)
/* Without VNNI the least that products of bytes take: sums in 16 bits. */
#define PEAK_I8(name)                                                                                                  \
	PEAK(name, vi, vi_zero(), vi_set8(3), vi_set8(1), VNNI ? vi_dot(acc, u, s) : vi_add16(acc, vi_maddubs(u, s)),  \
	     (int64_t)sizeof(vi))
