/* The sampler against a plain reference that sorts everything, the generator against known values, and what must hold for
 * any input: seeds repeat, nothing chosen is impossible, hostile logits do no harm. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"
#include "engine/mt19937.h"
#include "engine/sampler.h"

enum { N = 500 };

static const struct kern *kern(void)
{
	const struct kern *k;
	struct err err;
	ck_assert_int_eq(kern_choose("fast", NULL, &k, &err), 0);
	return k;
}

/* ---- plain reference: one candidate list, fully sorted at every step ---- */

struct cand {
	double l, p;
	int id;
};

static int by_l(const void *a, const void *b)
{
	const struct cand *x = a, *y = b;
	return x->l != y->l ? (x->l < y->l ? 1 : -1) : x->id - y->id;
}

static double typical_h;
static int by_surprise(const void *a, const void *b)
{
	const struct cand *x = a, *y = b;
	double dx = fabs(-log(x->p) - typical_h), dy = fabs(-log(y->p) - typical_h);
	return dx < dy ? -1 : dx > dy ? 1 : by_l(a, b);
}

static void soften(struct cand *c, int n)
{
	double max = -INFINITY, sum = 0;
	for (int i = 0; i < n; i++)
		max = fmax(max, c[i].l);
	for (int i = 0; i < n; i++)
		sum += c[i].p = exp(c[i].l - max);
	for (int i = 0; i < n; i++)
		c[i].p /= sum;
}

/* The candidates that are left before the draw, in their order. */
static int reference(const struct sampler_cfg *cfg, const float *logits, const int *last, int n_last, struct cand *c)
{
	int n = N;
	for (int i = 0; i < N; i++) {
		int count = 0;
		c[i] = (struct cand){logits[i], 0, i};
		for (int j = n_last - cfg->repeat_last_n < 0 ? 0 : n_last - cfg->repeat_last_n; j < n_last; j++)
			count += last[j] == i;
		if (!count)
			continue;
		c[i].l = c[i].l <= 0 ? c[i].l * cfg->repeat_penalty : c[i].l / cfg->repeat_penalty;
		c[i].l -= count * (double)cfg->frequency_penalty + cfg->presence_penalty;
	}
	if (cfg->top_k > 0) {
		qsort(c, (size_t)n, sizeof *c, by_l);
		n = cfg->top_k < n ? cfg->top_k : n;
	}
	double sum = 0;
	if (cfg->typical_p < 1) {
		soften(c, n);
		typical_h = 0;
		for (int i = 0; i < n; i++)
			typical_h -= c[i].p * log(c[i].p);
		qsort(c, (size_t)n, sizeof *c, by_surprise);
		for (int i = 0; i < n; i++)
			if ((sum += c[i].p) > cfg->typical_p)
				n = i + 1;
	}
	if (cfg->top_p < 1) {
		soften(c, n);
		qsort(c, (size_t)n, sizeof *c, by_l);
		sum = 0;
		for (int i = 0; i < n; i++)
			if ((sum += c[i].p) >= cfg->top_p)
				n = i + 1;
	}
	if (cfg->min_p > 0) {
		double max = -INFINITY;
		int kept = 0;
		for (int i = 0; i < n; i++)
			max = fmax(max, c[i].l);
		for (int i = 0; i < n; i++)
			if (c[i].l >= max + log(cfg->min_p))
				c[kept++] = c[i];
		n = kept;
	}
	for (int i = 0; i < n; i++)
		c[i].l /= cfg->temperature;
	soften(c, n);
	return n;
}

static int reference_draw(const struct cand *c, int n, double u)
{
	double sum = 0, running = 0;
	for (int i = 0; i < n; i++)
		sum += c[i].p;
	for (int i = 0; i < n; i++)
		if ((running += c[i].p) >= u * sum)
			return c[i].id;
	return c[n - 1].id;
}

static void random_logits(struct mt19937 *rng, float *logits, int n, float spread)
{
	for (int i = 0; i < n; i++)
		logits[i] = (float)(mt19937_unit(rng) * 2 - 1) * spread;
}

static const struct {
	const char *name;
	struct sampler_cfg cfg;
} steps[] = {
	{"temperature", {.temperature = 0.7f, .top_p = 1, .typical_p = 1, .repeat_penalty = 1}},
	{"top_k", {.temperature = 1, .top_k = 7, .top_p = 1, .typical_p = 1, .repeat_penalty = 1}},
	{"top_k of all", {.temperature = 1, .top_k = N, .top_p = 1, .typical_p = 1, .repeat_penalty = 1}},
	{"top_k over all", {.temperature = 1, .top_k = 1 << 30, .top_p = 1, .typical_p = 1, .repeat_penalty = 1}},
	{"top_p", {.temperature = 1, .top_p = 0.6f, .typical_p = 1, .repeat_penalty = 1}},
	{"top_p near 1", {.temperature = 1, .top_p = 0.999f, .typical_p = 1, .repeat_penalty = 1}},
	{"top_p tiny", {.temperature = 1, .top_p = 1e-6f, .typical_p = 1, .repeat_penalty = 1}},
	{"min_p", {.temperature = 1.5f, .top_p = 1, .min_p = 0.2f, .typical_p = 1, .repeat_penalty = 1}},
	{"typical_p", {.temperature = 1, .top_p = 1, .typical_p = 0.5f, .repeat_penalty = 1}},
	{"typical and top_p", {.temperature = 1, .top_p = 0.8f, .typical_p = 0.7f, .repeat_penalty = 1}},
	{"penalties",
	 {.temperature = 1, .top_k = 20, .top_p = 1, .typical_p = 1, .repeat_last_n = 10, .repeat_penalty = 1.7f,
	  .presence_penalty = 0.3f, .frequency_penalty = 0.4f}},
	{"all",
	 {.temperature = 0.8f, .top_k = 40, .top_p = 0.9f, .min_p = 0.05f, .typical_p = 0.9f, .repeat_last_n = 5,
	  .repeat_penalty = 1.1f, .presence_penalty = 0.1f, .frequency_penalty = 0.1f}},
};

START_TEST(test_step)
{
	struct mt19937 rng, same;
	struct sampler_cfg cfg = steps[_i].cfg;
	static float logits[N];
	static struct cand c[N];
	int last[64], n_last = 0;
	cfg.seed = 1234 + _i;
	mt19937_seed(&rng, 99);
	mt19937_seed(&same, (uint32_t)cfg.seed);
	struct sampler *s = sampler_new(&cfg, kern(), N, 4096);
	for (int round = 0; round < 60; round++) {
		random_logits(&rng, logits, N, round % 2 ? 2 : 8);
		int n = reference(&cfg, logits, last, n_last, c);
		static float same_logits[N];
		memcpy(same_logits, logits, sizeof logits);
		int want = reference_draw(c, n, mt19937_unit(&same)), got = sampler_draw(s, logits);
		ck_assert(!memcmp(same_logits, logits, sizeof logits));
		ck_assert_msg(got == want, "%s, round %d: %d, not %d", steps[_i].name, round, got, want);
		last[n_last++] = got;
		sampler_accept(s, got);
	}
	sampler_free(s);
}
END_TEST

/* The 10000th output of std::mt19937 with its default seed is given by the C++ standard (26.5.5). */
START_TEST(test_mt19937)
{
	struct mt19937 m;
	uint32_t v = 0;
	mt19937_seed(&m, 5489);
	for (int i = 0; i < 10000; i++)
		v = mt19937_next(&m);
	ck_assert_uint_eq(v, 4123659995u);
	for (int i = 0; i < 1000; i++) {
		double u = mt19937_unit(&m);
		ck_assert(u >= 0 && u < 1);
	}
}
END_TEST

START_TEST(test_seed)
{
	struct mt19937 rng;
	static float logits[N];
	struct sampler_cfg cfg = sampler_cfg_default;
	int differs = 0;
	mt19937_seed(&rng, 7);
	cfg.seed = 42;
	struct sampler *a = sampler_new(&cfg, kern(), N, 100), *b = sampler_new(&cfg, kern(), N, 100);
	cfg.seed = -1;
	struct sampler *c = sampler_new(&cfg, kern(), N, 100), *d = sampler_new(&cfg, kern(), N, 100);
	for (int i = 0; i < 200; i++) {
		random_logits(&rng, logits, N, 1);
		ck_assert_int_eq(sampler_draw(a, logits), sampler_draw(b, logits));
		differs += sampler_draw(c, logits) != sampler_draw(d, logits);
	}
	ck_assert_int_gt(differs, 0);
	sampler_free(a);
	sampler_free(b);
	sampler_free(c);
	sampler_free(d);
}
END_TEST

START_TEST(test_greedy)
{
	struct mt19937 rng;
	static float logits[N];
	struct sampler_cfg cfg = sampler_cfg_default;
	mt19937_seed(&rng, 7);
	cfg.temperature = 0;
	struct sampler *s = sampler_new(&cfg, kern(), N, 100);
	for (int i = 0; i < 50; i++) {
		random_logits(&rng, logits, N, 1);
		int best = 0;
		for (int j = 0; j < N; j++)
			best = logits[j] > logits[best] ? j : best;
		ck_assert_int_eq(sampler_draw(s, logits), best);
	}
	sampler_free(s);
}
END_TEST

START_TEST(test_hostile)
{
	static const float bad[] = {NAN, INFINITY, -INFINITY, 0, 3e38f, -3e38f};
	static float logits[N];
	const float temps[] = {0, 1, 1e-30f, INFINITY, NAN}, ps[] = {1, 0, -1, 0.5f, NAN};
	for (size_t t = 0; t < ARRAY_LEN(temps); t++)
		for (size_t p = 0; p < ARRAY_LEN(ps); p++)
			for (size_t k = 0; k < 4; k++)
				for (size_t b = 0; b < ARRAY_LEN(bad); b++) {
					struct sampler_cfg cfg = {.seed = 1,
								  .temperature = temps[t],
								  .top_k = (int[]){-5, 0, 1, 40}[k],
								  .top_p = ps[p],
								  .min_p = ps[p],
								  .typical_p = ps[p],
								  .repeat_last_n = -1,
								  .repeat_penalty = ps[p]};
					struct sampler *s = sampler_new(&cfg, kern(), N, 10);
					for (int round = 0; round < 3; round++) {
						for (int i = 0; i < N; i++)
							logits[i] = round == 0 || i % 3 ? bad[b] : (float)i;
						int id = sampler_draw(s, logits);
						ck_assert(id >= 0 && id < N);
						sampler_accept(s, id);
						sampler_accept(s, -1);
						sampler_accept(s, N);
					}
					sampler_free(s);
				}
}
END_TEST

/* A NaN is never chosen while there is a number. */
START_TEST(test_nan)
{
	static float logits[N];
	struct sampler_cfg cfg = sampler_cfg_default;
	for (int k = 0; k < 2; k++) {
		cfg.top_k = k ? 40 : 0;
		cfg.top_p = k ? 0.9f : 1;
		struct sampler *s = sampler_new(&cfg, kern(), N, 10);
		for (int i = 0; i < N; i++)
			logits[i] = i == 321 ? -5 : NAN;
		for (int i = 0; i < 20; i++)
			ck_assert_int_eq(sampler_draw(s, logits), 321);
		sampler_free(s);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("sampler");
	TCase *t = tcase_create("sampler");
	tcase_add_loop_test(t, test_step, 0, ARRAY_LEN(steps));
	tcase_add_test(t, test_mt19937);
	tcase_add_test(t, test_seed);
	tcase_add_test(t, test_greedy);
	tcase_add_test(t, test_hostile);
	tcase_add_test(t, test_nan);
	suite_add_tcase(s, t);
	SRunner *sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	int n = srunner_ntests_failed(sr);
	srunner_free(sr);
	return n != 0;
}
