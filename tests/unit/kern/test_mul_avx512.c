/* The products of level avx512bf16 on any CPU with AVX-512: the kernels are compiled with an emulation of the one instruction
 * that the CPU may lack. Intel's manual (vdpbf16ps): products of the upper, then of the lower bf16 of a pair are added with
 * fused f32 steps, rounded to nearest even; subnormal inputs count as zero, subnormal results become zero. */
#include <stdio.h>

#include "kern/cpu.h"
#include "mul_check.h"

#if defined(__AVX512F__)
#include "kern/x86/lanes.h"
#include "kern/x86/x86.h"

INLINE vf emulated_dot(vf acc, vf a, vf b)
{
	const vi upper = vi_set32(-0x10000);
	vi ai = _mm512_castps_si512(a), bi = _mm512_castps_si512(b);
	acc = vf_fma(vf_from_bits(vi_and(ai, upper)), vf_from_bits(vi_and(bi, upper)), acc);
	return vf_fma(vf_from_bits(vi_sll32(ai, 16)), vf_from_bits(vi_sll32(bi, 16)), acc);
}

const struct kern_mat_ops *fmul_emulated(int type);

#define FMUL fmul_emulated
#define FMUL_LEVEL "avx512bf16-emulated"
#define FMUL_DOT emulated_dot
#define MAX_COL 7
#include "kern/x86/fmul_body.h"

/* Subnormals count as zero while the emulation runs, as the instruction has it whatever the mode. */
enum { FLUSH_RESULTS = 0x8000, FLUSH_INPUTS = 0x0040 };

static void mul_flushed(const struct kern_mat *w, int64_t r0, int64_t r1, const uint8_t *act, size_t act_stride, int64_t n_tok,
			float *y, size_t y_stride, const float *bias)
{
	unsigned mode = _mm_getcsr();
	_mm_setcsr(mode | FLUSH_RESULTS | FLUSH_INPUTS);
	mul_pairs(w, r0, r1, act, act_stride, n_tok, y, y_stride, bias);
	_mm_setcsr(mode);
}

static const struct kern_mat_ops *mat_ops(int type)
{
	static struct kern_mat_ops ops[2];
	const struct kern_mat_ops *from = fmul_emulated(type);
	if (!from)
		return kern_avx512.mat_ops(type);
	ops[type == GGUF_F16] = *from;
	ops[type == GGUF_F16].mul = mul_flushed;
	return &ops[type == GGUF_F16];
}

/* Each of the two steps rounds, upper products come first, subnormals vanish. */
START_TEST(test_dot)
{
	static const struct {
		uint16_t a[2], b[2]; /* lower, upper */
		float acc, want;
	} cases[] = {
		{{0x3f80, 0x3f80}, {0x3380, 0x3380}, 1.0f, 1.0f},            /* 2^-24 twice: a tie to even each time */
		{{0x3f80, 0x3f80}, {0x3380, 0x3400}, 1.0f, 1.0f + 0x1p-22f}, /* 2^-23, then the tie goes up */
		{{0x3f80, 0x3f80}, {0x3400, 0x3380}, 1.0f, 1.0f + 0x1p-23f}, /* the tie first */
		{{0x0001, 0x0000}, {0x7f00, 0x0000}, 0.0f, 0.0f},
		{{0x2000, 0x0000}, {0x1c00, 0x0000}, 0.0f, 0.0f},
		{{0x4000, 0x4040}, {0x4040, 0x4080}, 1.0f, 19.0f},
	};
	unsigned mode = _mm_getcsr();
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		float a, b, got[LANES];
		memcpy(&a, cases[i].a, sizeof a);
		memcpy(&b, cases[i].b, sizeof b);
		_mm_setcsr(mode | FLUSH_RESULTS | FLUSH_INPUTS);
		vf_store(got, emulated_dot(vf_set(cases[i].acc), vf_set(a), vf_set(b)));
		_mm_setcsr(mode);
		ck_assert_msg(got[0] == cases[i].want, "case %zu: %.9g, want %.9g", i, (double)got[0], (double)cases[i].want);
	}
}
END_TEST

/* The emulation against ref; on a CPU that has the instruction the level itself too. */
static int run(void)
{
	static struct kern emulated;
	static const struct kern *all[3] = {NULL, &emulated, &kern_avx512bf16};
	const struct kern *const *machine;
	kern_levels(&machine);
	emulated = kern_avx512;
	emulated.mat_ops = mat_ops;
	all[0] = machine[0];
	levels = all;
	n_level = cpu_has(CPU_AVX512BF16) ? 3 : 2;
	printf("levels: ref, avx512bf16 emulated%s\n", n_level == 3 ? ", avx512bf16" : "; not on this machine: avx512bf16 itself");
	Suite *s = suite_create("mul_avx512");
	TCase *t = tcase_create("dot");
	tcase_add_test(t, test_dot);
	suite_add_tcase(s, t);
	suite_add_tcase(s, mul_check_case());
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int n = srunner_ntests_failed(r);
	srunner_free(r);
	return n != 0;
}
#endif

int main(void)
{
#if defined(__AVX512F__)
	if (cpu_has(CPU_AVX2 | CPU_AVX512))
		return run();
#endif
	printf("not on this machine: avx512, which emulating avx512bf16 takes\n");
	return 0;
}
