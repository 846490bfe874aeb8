/* What this instruction set can do at most: the limits that `bench` measures results against. Included once per level with PEAK
 * (the table's name) defined. */
#include "kern/x86/lanes.h"
#include "kern/x86/x86.h"

enum { CHAINS = 12 }; /* enough to hide the latency of a multiplication */

/* n_turn turns of `acc[c] = step` for each chain. The compiler may neither fold the turns nor take anything out of them. */
#define TURNS(acc, factor, step)                                                                                               \
	for (int64_t i = 0; i < n_turn; i++) {                                                                                 \
UNROLL                                                                                                                         \
		for (int c = 0; c < CHAINS; c++) {                                                                             \
			acc[c] = step;                                                                                         \
			__asm__ volatile("" : "+x"(acc[c]), "+x"(factor));                                                     \
		}                                                                                                              \
	}

/* Without VNNI the least that products of bytes take: sums in 16 bits. */
static int64_t mul_i8(int64_t n_turn)
{
	vi acc[CHAINS], u = vi_set8(3), s = vi_set8(1);
UNROLL
	for (int c = 0; c < CHAINS; c++)
		acc[c] = vi_zero();
	TURNS(acc, u, VNNI ? vi_dot(acc[c], u, s) : vi_add16(acc[c], vi_maddubs(u, s)))
	return n_turn * CHAINS * (int64_t)sizeof(vi);
}

static int64_t mul_f32(int64_t n_turn)
{
	vf acc[CHAINS], u = vf_set(3.0f), s = vf_set(0.5f);
UNROLL
	for (int c = 0; c < CHAINS; c++)
		acc[c] = vf_set(0.0f);
	TURNS(acc, u, vf_fma(u, s, acc[c]))
	return n_turn * CHAINS * LANES;
}

#if defined(__AVX512BF16__)
static int64_t mul_bf16(int64_t n_turn)
{
	vf acc[CHAINS], u = vf_from_bits(vi_set32(0x3f803f80)), s = u; /* pairs of 1.0 */
UNROLL
	for (int c = 0; c < CHAINS; c++)
		acc[c] = vf_set(0.0f);
	TURNS(acc, u, _mm512_dpbf16_ps(acc[c], (__m512bh)u, (__m512bh)s))
	return n_turn * CHAINS * 2 * LANES;
}
#else
#define mul_bf16 NULL
#endif

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

const struct kern_peak PEAK = {
	.mul = {[KERN_ACT_F32] = mul_f32, [KERN_ACT_I8] = mul_i8, [KERN_ACT_BF16] = mul_bf16}, .read = read_all};
