/* What this instruction set can do at most: the limits that `bench` measures results against. Included once per instruction
 * set with PEAK (the table's name) defined. */
#include "kern/x86/lanes.h"
#include "kern/x86/x86.h"

enum { CHAINS = 12 }; /* enough to hide the latency of a multiplication */

static int64_t mul_i8(int64_t n_turn)
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

static int64_t mul_f32(int64_t n_turn)
{
	vf acc[CHAINS], a = vf_set(0.5f), b = vf_set(0.25f);
UNROLL
	for (int c = 0; c < CHAINS; c++)
		acc[c] = vf_set(0.0f);
	for (int64_t i = 0; i < n_turn; i++) {
UNROLL
		for (int c = 0; c < CHAINS; c++) {
			acc[c] = vf_fma(acc[c], a, b);
			__asm__ volatile("" : "+x"(acc[c]));
		}
	}
	return n_turn * CHAINS * LANES;
}

/* Four places at once keep more lines under way than one: each has its own run of hardware prefetches, and the software
 * ones carry them over the ends of 4 KiB pages. */
static uint64_t read_all(const uint8_t *p, size_t n_bytes)
{
	enum { PLACES = 4, STEP = 128, AHEAD = 1024, LOADS = STEP / (int)sizeof(vi) };
	size_t part = n_bytes / PLACES / STEP * STEP;
	vi acc[PLACES * 2];
UNROLL
	for (int k = 0; k < PLACES * 2; k++)
		acc[k] = vi_zero();
	for (size_t i = 0; i < part; i += STEP) {
UNROLL
		for (int k = 0; k < PLACES; k++) {
			const uint8_t *q = p + (size_t)k * part + i;
			__builtin_prefetch(q + AHEAD);
			__builtin_prefetch(q + AHEAD + 64);
UNROLL
			for (int j = 0; j < LOADS; j++)
				acc[2 * k + j % 2] = vi_add32(acc[2 * k + j % 2], vi_load(q + j * (int)sizeof(vi)));
		}
	}
UNROLL
	for (int k = 1; k < PLACES * 2; k++)
		acc[0] = vi_add32(acc[0], acc[k]);
	uint64_t sum;
	memcpy(&sum, &acc[0], sizeof sum);
	return sum;
}

const struct kern_peak PEAK = {.mul_i8 = mul_i8, .mul_f32 = mul_f32, .read = read_all};
