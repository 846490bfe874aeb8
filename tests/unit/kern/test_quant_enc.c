/* Encoders against the decoders: how much is lost, what is on the grid stays, every CPU level writes the same bytes. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"
#include "gguf/gguf_type.h"
#include "kern/cpu.h"
#include "kern/quant/quant.h"
#include "kern/quant/quant_enc.h"

enum { N = 256 * 9 }; /* an odd number of super-blocks; 72 blocks of 32: not a multiple of 16 */

/* Error of the round trip, root mean square, as a share of the values' own: for normally distributed values, measured, with a
 * tenth to spare. Line types: for values around 1 as well. */
static const struct {
	int type;
	int row; /* in quant.def */
	double most;
} types[] = {
	{GGUF_F32, QUANT_ENC_F32, 0},        {GGUF_F16, QUANT_ENC_F16, 3e-4},     {GGUF_BF16, QUANT_ENC_BF16, 2.5e-3},
	{GGUF_Q4_0, QUANT_ENC_Q4_0, 0.092},  {GGUF_Q4_1, QUANT_ENC_Q4_1, 0.080},  {GGUF_Q5_0, QUANT_ENC_Q5_0, 0.046},
	{GGUF_Q5_1, QUANT_ENC_Q5_1, 0.039},  {GGUF_Q8_0, QUANT_ENC_Q8_0, 0.0065}, {GGUF_Q2_K, QUANT_ENC_Q2_K, 0.34},
	{GGUF_Q3_K, QUANT_ENC_Q3_K, 0.18},   {GGUF_Q4_K, QUANT_ENC_Q4_K, 0.082},  {GGUF_Q5_K, QUANT_ENC_Q5_K, 0.041},
	{GGUF_Q6_K, QUANT_ENC_Q6_K, 0.020},
};

static uint64_t seed = 1;

static double uniform(void)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (double)(seed >> 11) * 0x1p-53;
}

static void fill(float *x, double spread)
{
	for (int i = 0; i < N; i++) {
		double sum = 0; /* twelve uniforms: as good as normal here */
		for (int k = 0; k < 12; k++)
			sum += uniform();
		x[i] = (float)((sum - 6) * spread);
	}
}

static double lost(int type, const float *x)
{
	static uint8_t bytes[N * 4];
	static float y[N];
	double e = 0, all = 0;
	quant_encoder(type)(x, bytes, N);
	quant_for(type)->to_f32(bytes, y, N);
	for (int i = 0; i < N; i++) {
		ck_assert(isfinite(y[i]));
		e += ((double)x[i] - y[i]) * ((double)x[i] - y[i]);
		all += (double)x[i] * x[i];
	}
	return sqrt(e / all);
}

START_TEST(test_error)
{
	static float x[N];
	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		for (int k = 0; k < 3; k++) {
			fill(x, k == 0 ? 1 : k == 1 ? 0.02 : 300);
			double e = lost(types[i].type, x);
			ck_assert_msg(e <= types[i].most, "%s loses %.5f, at most %.5f", gguf_type_info(types[i].type)->name, e,
				      types[i].most);
			ck_assert_msg(e >= types[i].most * 0.6, "%s loses %.5f, the bound %.5f is too wide",
				      gguf_type_info(types[i].type)->name, e, types[i].most);
		}
}
END_TEST

/* Values that a block can hold exactly: 16 levels of a quarter, and with an offset. */
START_TEST(test_grid)
{
	static const struct {
		int type, lo, n;
		double off;
	} grids[] = {{GGUF_Q4_0, -8, 16, 0}, {GGUF_Q5_0, -16, 32, 0}, {GGUF_Q4_1, 0, 16, -3}, {GGUF_Q5_1, 0, 32, 5}, {GGUF_Q3_K, -4, 8, 0},
		     {GGUF_Q6_K, -32, 64, 0}, {GGUF_Q2_K, 0, 4, 0}, {GGUF_Q4_K, 0, 16, 0}, {GGUF_Q5_K, 0, 32, 0}};
	static float x[N];
	for (size_t k = 0; k < ARRAY_LEN(grids); k++) {
		for (int i = 0; i < N; i++)
			x[i] = (float)(grids[k].off + 0.25 * (grids[k].lo + (i * 7 + i / 64) % grids[k].n));
		double e = lost(grids[k].type, x);
		ck_assert_msg(e < 1e-2, "%s loses %.5f of values it can hold", gguf_type_info(grids[k].type)->name, e);
	}
}
END_TEST

/* A block as bytes: 32 values of which the decoder's formula tells the encoding. */
START_TEST(test_known_blocks)
{
	uint8_t q8[34], q41[20];
	float x[32];
	uint16_t d;
	for (int i = 0; i < 32; i++)
		x[i] = (float)(i - 16) * 0.5f;
	x[0] = 63.5f;
	quant_encoder(GGUF_Q8_0)(x, q8, 32);
	memcpy(&d, q8, 2);
	ck_assert_uint_eq(d, 0x3800); /* 0.5 */
	for (int i = 1; i < 32; i++)
		ck_assert_int_eq((int8_t)q8[2 + i], i - 16);
	ck_assert_int_eq((int8_t)q8[2], 127);
	for (int i = 0; i < 32; i++)
		x[i] = (float)(i % 16) * 0.5f - 1;
	quant_encoder(GGUF_Q4_1)(x, q41, 32);
	ck_assert_int_eq(q41[0] | q41[1] << 8, 0x3800);
	ck_assert_int_eq(q41[2] | q41[3] << 8, 0xbc00); /* -1 */
	for (int i = 0; i < 16; i++)
		ck_assert_int_eq(q41[4 + i], i | i << 4);
}
END_TEST

START_TEST(test_extremes)
{
	static float x[N];
	static uint8_t bytes[N * 4];
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		memset(x, 0, sizeof x);
		quant_encoder(types[i].type)(x, bytes, N);
		quant_for(types[i].type)->to_f32(bytes, x, N);
		for (int k = 0; k < N; k++)
			ck_assert_msg(x[k] == 0, "%s makes %g of 0", gguf_type_info(types[i].type)->name, (double)x[k]);
		for (int k = 0; k < N; k++) /* all in one block: equal values, one outlier, no numbers */
			x[k] = k < 256 ? 0.125f : k == 300 ? 1000 : k == 600 ? NAN : k == 900 ? INFINITY : k == 1200 ? -3e38f : 1e-30f;
		quant_encoder(types[i].type)(x, bytes, N);
		quant_for(types[i].type)->to_f32(bytes, x, N);
		for (int k = 0; k < 256; k++)
			ck_assert_msg(fabsf(x[k] - 0.125f) < 1e-3f, "%s makes %g of 0.125", gguf_type_info(types[i].type)->name, (double)x[k]);
	}
}
END_TEST

START_TEST(test_levels_agree)
{
	static float x[N];
	static uint8_t a[N * 4], b[N * 4];
	const struct quant_enc *all[] = {
		&quant_enc_base,
#if defined(__x86_64__)
		cpu_has(CPU_AVX2) ? &quant_enc_avx2 : NULL, cpu_has(CPU_AVX2 | CPU_AVX512) ? &quant_enc_avx512 : NULL,
#endif
	};
	fill(x, 0.05);
	x[5] = 2;
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		const struct gguf_type_info *info = gguf_type_info(types[i].type);
		size_t n = (size_t)(N / info->block * info->bytes);
		all[0]->fn[types[i].row](x, a, N);
		for (size_t k = 1; k < ARRAY_LEN(all); k++) {
			if (!all[k])
				continue;
			all[k]->fn[types[i].row](x, b, N);
			ck_assert_msg(!memcmp(a, b, n), "%s: level %zu writes other bytes", info->name, k);
		}
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("quant_enc");
	TCase *t = tcase_create("all");
	tcase_set_timeout(t, 60);
	tcase_add_test(t, test_error);
	tcase_add_test(t, test_grid);
	tcase_add_test(t, test_known_blocks);
	tcase_add_test(t, test_extremes);
	tcase_add_test(t, test_levels_agree);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int n = srunner_ntests_failed(r);
	srunner_free(r);
	return n != 0;
}
