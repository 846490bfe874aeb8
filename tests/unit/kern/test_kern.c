/* The row operations of every level this machine can run against ref, ref's own definitions, and the choice of a level. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"
#include "gguf/gguf_type.h"
#include "kern/cpu.h"
#include "kern/kern.h"
#include "kern/ref/ref.h"
#include "kern_rig.h"

/* The copies of ref's inner loops are one definition: equal bits. */
START_TEST(test_ref_copies)
{
#if defined(__x86_64__)
	static const struct ref_core *const cores[] = {&ref_core_base, &ref_core_avx2, &ref_core_avx512};
	size_t n_core = cpu_has(CPU_AVX512) ? 3 : cpu_has(CPU_AVX2) ? 2 : 1;
	_Alignas(64) float w[4 * 64], x[7 * 64], acc[3][4 * 7 * 16];
	memset(acc, 0, sizeof acc);
	for (size_t i = 0; i < ARRAY_LEN(w); i++)
		w[i] = uniform();
	for (size_t i = 0; i < ARRAY_LEN(x); i++)
		x[i] = uniform();
	for (size_t c = 0; c < n_core; c++) {
		for (int n_row = 1; n_row <= 4; n_row++)
			for (int n_col = 1; n_col <= 7; n_col++)
				cores[c]->tile(w, 64, n_row, x, 64, n_col, 64, acc[c], 7 * 16);
		ck_assert_msg(!memcmp(acc[0], acc[c], sizeof acc[0]), "copy %zu differs", c);
	}
#endif
}
END_TEST

/* ---- rows ---- */

struct rows {
	float *a, *b, *c, *want, *got;
	int64_t n;
};

static void compare(const char *what, const struct kern *k, const struct rows *r, double rel, double abs)
{
	for (int64_t i = 0; i < r->n; i++) {
		double g = r->got[i], w = r->want[i];
		ck_assert_msg((isnan(g) && isnan(w)) || g == w || fabs(g - w) <= rel * fabs(w) + abs,
			      "%s/%s n %lld value %lld: %.9g, ref %.9g", what, k->name, (long long)r->n, (long long)i, g, w);
	}
}

/* Calls the slot of ref and of the level and compares what they wrote to y. */
#define CHECK(what, rel, abs, ...)                                                                                     \
	do {                                                                                                           \
		const struct kern *v = ref();                                                                          \
		float *y = r->want;                                                                                    \
		v->__VA_ARGS__;                                                                                        \
		v = k;                                                                                                 \
		y = r->got;                                                                                            \
		v->__VA_ARGS__;                                                                                        \
		compare(what, k, r, rel, abs);                                                                         \
	} while (0)

static void check_rows(const struct kern *k, const struct rows *r, float top)
{
	const float *a = r->a, *b = r->b, *c = r->c;
	int64_t n = r->n;
	double big = top;
	CHECK("rms_norm", 2e-6, 1e-12, rms_norm(a, b, y, n, 1e-6f));
	CHECK("rms_norm", 2e-6, 1e-12, rms_norm(a, NULL, y, n, 1e-6f));
	if (top < 1e3f) {
		CHECK("layer_norm", 1e-4, 1e-5, layer_norm(a, b, c, y, n, 1e-5f));
		CHECK("layer_norm", 1e-4, 1e-5, layer_norm(a, NULL, NULL, y, n, 1e-5f));
	}
	CHECK("add", 0, 0, add(a, b, y, n));
	CHECK("mul", 0, 0, mul(a, b, y, n));
	CHECK("scale", 0, 0, scale(a, 0.37f, y, n));
	CHECK("softcap", 1e-6, 1e-9, softcap(a, 30.0f, y, n));
	CHECK("silu", 2e-6, 1e-30, silu(a, y, n));
	CHECK("gelu", 4e-6, 1e-7, gelu(a, y, n));
	CHECK("relu_sqr", 0, 0, relu_sqr(a, y, n));
	CHECK("silu_mul", 2e-6, 1e-30, silu_mul(a, b, y, n));
	CHECK("gelu_mul", 4e-6, 1e-7 * big, gelu_mul(a, b, y, n));
	CHECK("softmax", 4e-6, 1e-30, softmax(a, y, n));
	memcpy(r->want, b, (size_t)n * sizeof *b);
	memcpy(r->got, b, (size_t)n * sizeof *b);
	CHECK("axpy", 1e-6, 2e-7 * big, axpy(0.7f, a, y, n));
	memcpy(r->got, a, (size_t)n * sizeof *a); /* y may be x */
	ref()->silu(a, r->want, n);
	k->silu(r->got, r->got, n);
	compare("silu in place", k, r, 2e-6, 1e-30);
}

START_TEST(test_rows)
{
	static const int64_t sizes[] = {1, 2, 7, 8, 15, 16, 17, 31, 33, 64, 100, 576};
	static const float tops[] = {1e-3f, 1.0f, 20.0f, 200.0f, 1e15f};
	for (size_t l = 1; l < n_level; l++)
		for (size_t s = 0; s < ARRAY_LEN(sizes); s++)
			for (size_t t = 0; t < ARRAY_LEN(tops); t++) {
				size_t n = (size_t)sizes[s];
				struct guarded g[5];
				for (int i = 0; i < 5; i++)
					g[i] = guarded_new(n * sizeof(float));
				struct rows r = {(void *)g[0].p, (void *)g[1].p, (void *)g[2].p, (void *)g[3].p, (void *)g[4].p, sizes[s]};
				rng_state = 77 + (uint32_t)(s * 10 + t);
				for (size_t i = 0; i < n; i++) {
					r.a[i] = uniform() * tops[t];
					r.b[i] = uniform();
					r.c[i] = uniform();
				}
				check_rows(levels[l], &r, tops[t] > 1.0f ? tops[t] : 1.0f);
				for (int i = 0; i < 5; i++)
					guarded_free(&g[i]);
			}
}
END_TEST

/* The largest is exact on every level, wherever it stands, whatever stands beside it. */
START_TEST(test_max)
{
	static const int64_t sizes[] = {0, 1, 7, 8, 15, 16, 17, 63, 64, 65, 100, 256};
	for (size_t l = 0; l < n_level; l++)
		for (size_t s = 0; s < ARRAY_LEN(sizes); s++) {
			int64_t n = sizes[s];
			struct guarded g = guarded_new((size_t)n * sizeof(float));
			float *x = (void *)g.p;
			for (int64_t i = 0; i < n; i++)
				x[i] = i % 3 ? NAN : -INFINITY;
			ck_assert(levels[l]->max(x, n) == -INFINITY);
			for (int64_t at = 0; at < n; at++) {
				x[at] = -1e30f;
				ck_assert(levels[l]->max(x, n) == -1e30f);
				x[n - 1 - at] = 7;
				ck_assert(levels[l]->max(x, n) == 7);
				x[at] = x[n - 1 - at] = NAN;
			}
			if (n) {
				x[n / 2] = INFINITY;
				ck_assert(levels[l]->max(x, n) == INFINITY);
			}
			guarded_free(&g);
		}
}
END_TEST

/* exp through softmax-like use is within 1e-6; ref itself within half an ulp of libm's double. */
START_TEST(test_ref_math)
{
	float x, y;
	for (int i = -2000; i <= 2000; i++) {
		x = (float)i * 0.0437f;
		ref()->silu(&x, &y, 1);
		double want = x / (1.0 + exp(-(double)x));
		ck_assert_msg(fabs(y - want) <= 6e-8 * fabs(want) + 1e-44, "silu(%g) = %.9g, not %.9g", (double)x, (double)y, want);
		ref()->softcap(&x, 50.0f, &y, 1);
		want = 50.0 * tanh((double)(x / 50.0f));
		ck_assert_msg(fabs(y - want) <= 2.4e-7 * fabs(want), "softcap(%g) = %.9g, not %.9g", (double)x, (double)y, want);
		ref()->gelu(&x, &y, 1);
		want = 0.5 * x * (1.0 + tanh(0.7978845608028654 * (x + 0.044715 * x * (double)x * x)));
		ck_assert_msg(fabs(y - want) <= 6e-8 * fabs(want) + 1e-12, "gelu(%g) = %.9g, not %.9g", (double)x, (double)y, want);
	}
	const float cases[] = {NAN, 1000.0f, -1000.0f};
	for (size_t l = 0; l < n_level; l++) {
		levels[l]->silu(&cases[0], &y, 1);
		ck_assert(isnan(y));
		levels[l]->silu(&cases[1], &y, 1);
		ck_assert_float_eq(y, 1000.0f);
		levels[l]->silu(&cases[2], &y, 1);
		ck_assert(fabsf(y) < 1e-30f);
		levels[l]->gelu(&cases[2], &y, 1);
		ck_assert(fabsf(y) < 1e-30f);
	}
}
END_TEST

START_TEST(test_rope)
{
	for (size_t l = 0; l < n_level; l++) {
		/* head 0: 1 0 0 0 5, head 1: 0 0 1 0 6; rotated by 90 and 180 degrees over 4 of 5 values */
		float cs[4] = {0.0f, 1.0f, -1.0f, 0.0f};
		float x[10] = {1, 2, 3, 4, 5, 0, 0, 1, 0, 6}, y[10];
		const float norm[10] = {-2, 1, -3, -4, 5, 0, 0, -1, 0, 6}, neox[10] = {-3, -2, 1, -4, 5, -1, 0, 0, 0, 6};
		memcpy(y, x, sizeof y);
		levels[l]->rope(y, cs, KERN_ROPE_NORM, 2, 5, 4);
		for (int i = 0; i < 10; i++)
			ck_assert_float_eq(y[i], norm[i]);
		memcpy(y, x, sizeof y);
		levels[l]->rope(y, cs, KERN_ROPE_NEOX, 2, 5, 4);
		for (int i = 0; i < 10; i++)
			ck_assert_float_eq(y[i], neox[i]);
	}
}
END_TEST

START_TEST(test_rope_sizes)
{
	enum { HEADS = 3, MOST = 130 };
	for (size_t l = 1; l < n_level; l++)
		for (int hd = 2; hd <= MOST; hd += hd < 40 ? 2 : 10)
			for (int n_rot = 2; n_rot <= hd; n_rot += hd < 40 ? 2 : 8)
				for (int kind = KERN_ROPE_NORM; kind <= KERN_ROPE_NEOX; kind++) {
					size_t n = (size_t)(HEADS * hd);
					struct guarded gx = guarded_new(n * 4), gc = guarded_new((size_t)n_rot * 4);
					float *x = (void *)gx.p, *cs = (void *)gc.p, want[HEADS * MOST];
					for (int i = 0; i < n_rot; i++)
						cs[i] = uniform();
					for (size_t i = 0; i < n; i++)
						x[i] = want[i] = uniform();
					ref()->rope(want, cs, (enum kern_rope)kind, HEADS, hd, n_rot);
					levels[l]->rope(x, cs, (enum kern_rope)kind, HEADS, hd, n_rot);
					for (size_t i = 0; i < n; i++)
						ck_assert_msg(fabsf(x[i] - want[i]) <= 2e-7f, "%s hd %d n_rot %d kind %d value %zu: %g, ref %g",
							      levels[l]->name, hd, n_rot, kind, i, (double)x[i], (double)want[i]);
					guarded_free(&gx), guarded_free(&gc);
				}
}
END_TEST

/* ---- choice ---- */

START_TEST(test_choose)
{
	const struct kern *k;
	struct err err;
	ck_assert(kern_choose("ref", NULL, &k, &err) == 0 && !strcmp(k->name, "ref"));
	ck_assert(kern_choose(NULL, "generic", &k, &err) == 0 && !strcmp(k->name, "generic"));
	ck_assert(kern_choose("fast", NULL, &k, &err) == 0 && k == levels[n_level - 1]);
	ck_assert(kern_choose("fast", "avx512vnni", &k, &err) == 0 && k == levels[n_level - 1]);
	for (size_t i = 1; i < n_level; i++)
		ck_assert(kern_choose(NULL, levels[i]->name, &k, &err) == 0 && k == levels[i]);
	ck_assert(kern_choose("slow", NULL, &k, &err) == ERR_INVALID && strstr(err.msg, "\"slow\""));
	ck_assert(kern_choose(NULL, "mmx", &k, &err) == ERR_INVALID && strstr(err.msg, "\"mmx\""));
	ck_assert(strlen(kern_cpu_name()) > 8);
	struct kern_mat w;
	ck_assert(kern_mat_init(k, &w, GGUF_IQ1_S, 256, 1, NULL, &err) == ERR_UNSUPPORTED && strstr(err.msg, "IQ1_S") && strstr(err.msg, "Q6_K"));
	ck_assert(kern_mat_init(k, &w, 9999, 256, 1, NULL, &err) == ERR_UNSUPPORTED);
	ck_assert(kern_mat_init(k, &w, GGUF_Q4_K, 128, 1, NULL, &err) == ERR_FORMAT);
	ck_assert(kern_mat_init(k, &w, GGUF_F32, INT64_MAX, INT64_MAX, NULL, &err) == ERR_FORMAT);
}
END_TEST

/* The limits of a level: products are counted, the reader stays inside what it was given. */
START_TEST(test_peak)
{
	for (size_t i = 0; i < n_level; i++) {
		const struct kern_peak *p = levels[i]->peak;
		if (!p)
			continue;
		ck_assert_int_gt(p->mul_i8(2), 2);
		ck_assert_int_eq(p->mul_i8(2), 2 * p->mul_i8(1));
		ck_assert_int_eq(p->mul_f32(2), 2 * p->mul_f32(1));
		for (size_t n = 64; n <= 16384; n *= 2) {
			struct guarded g = guarded_new(n);
			memset(g.p, 1, n);
			uint64_t sum = p->read(g.p, n);
			ck_assert(n < 512 ? sum == 0 : sum != 0);
			guarded_free(&g);
		}
	}
}
END_TEST

int main(void)
{
	n_level = kern_levels(&levels);
	printf("levels:");
	for (size_t i = 0; i < n_level; i++)
		printf(" %s", levels[i]->name);
	printf("\n");
	Suite *s = suite_create("kern");
	TCase *t = tcase_create("all");
	tcase_set_timeout(t, 300);
	tcase_add_test(t, test_rows);
	tcase_add_test(t, test_max);
	tcase_add_test(t, test_ref_math);
	tcase_add_test(t, test_rope);
	tcase_add_test(t, test_rope_sizes);
	tcase_add_test(t, test_ref_copies);
	tcase_add_test(t, test_choose);
	tcase_add_test(t, test_peak);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int n = srunner_ntests_failed(r);
	srunner_free(r);
	return n != 0;
}
