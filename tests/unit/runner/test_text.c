/* Truncation, log-probabilities, pooling: the arithmetic of the runner, without a model. */
#include <check.h>
#include <math.h>
#include <stdlib.h>

#include "base/json.h"
#include "runner/runner_embed.h"
#include "runner/runner_logprob.h"
#include "runner/runner_prompt.h"

static void check_cut(size_t n, int64_t n_ctx, int64_t n_keep, int64_t want_keep, size_t want_n)
{
	struct ids in = {0}, out = {0};
	for (size_t i = 0; i < n; i++)
		vec_push(&in, (int)i);
	runner_prompt_cut(in.data, n, n_ctx, n_keep, &out);
	ck_assert_uint_eq(out.n, want_n);
	for (size_t i = 0; i < out.n; i++)
		ck_assert_int_eq(out.data[i], (int64_t)i < want_keep ? (int)i : (int)(n - out.n + i));
	vec_release(&in);
	vec_release(&out);
}

START_TEST(cut_keeps_start_and_end)
{
	check_cut(400, 128, 4, 4, 66); /* as Ollama counts */
	check_cut(10, 4, 4, 3, 3);
	check_cut(400, 128, 0, 0, 64);
	check_cut(128, 128, 500, 127, 127);
	check_cut(5, 4, 0, 0, 2);
}
END_TEST

struct fake {
	size_t n_fit; /* i fits from here on */
	bool odd_fails;
	int n_call;
};

static int fake_fits(void *user, size_t i)
{
	struct fake *f = user;
	f->n_call++;
	return f->odd_fails && i % 2 ? -1 : i >= f->n_fit;
}

START_TEST(search_finds_the_first_that_fits)
{
	for (size_t n = 1; n < 40; n++)
		for (size_t fit = 0; fit <= n; fit++) {
			struct fake f = {.n_fit = fit};
			ck_assert_uint_eq(runner_prompt_search(n, fake_fits, &f), fit < n ? fit : n - 1);
			ck_assert_int_lt(f.n_call, 10);
			f = (struct fake){.n_fit = fit, .odd_fails = true};
			size_t got = runner_prompt_search(n, fake_fits, &f);
			ck_assert_uint_ge(got, fit < n ? fit : n - 1);
			ck_assert_uint_le(got, fit + 2);
		}
}
END_TEST

START_TEST(tail_keeps_system)
{
	json_t *m;
	static const size_t want[] = {5, 5, 4, 4, 3};
	const char text[] = "[{\"role\":\"system\"},{\"role\":\"user\"},{\"role\":\"system\"},{\"role\":\"user\"},{\"role\":\"assistant\"}]";
	ck_assert_int_eq(json_parse_all(text, sizeof text - 1, &m, NULL), 0);
	for (size_t i = 0; i < 5; i++) {
		json_t *t = runner_prompt_tail(m, i);
		ck_assert_uint_eq(json_array_size(t), want[i]);
		ck_assert_ptr_eq(json_array_get(t, 0), json_array_get(m, 0));
		json_decref(t);
	}
	json_decref(m);
}
END_TEST

START_TEST(logprobs)
{
	const float logits[] = {1, 3, NAN, 3, -INFINITY, 2};
	struct runner_logprob lp;
	runner_logprob_of(logits, 6, 5, 3, &lp);
	double norm = log(exp(1) + 2 * exp(3) + exp(2));
	ck_assert_double_eq_tol(lp.chosen.logprob, 2 - norm, 1e-12);
	ck_assert_int_eq(lp.n_top, 3);
	ck_assert_int_eq(lp.top[0].id, 1);
	ck_assert_int_eq(lp.top[1].id, 3);
	ck_assert_int_eq(lp.top[2].id, 5);
	ck_assert_double_eq_tol(lp.top[0].logprob, 3 - norm, 1e-12);
	struct runner_logprob_item all[8];
	ck_assert_int_eq(runner_logprob_top(logits, 6, 8, 0, all), 5);
	ck_assert_int_eq(all[4].id, 4);
	ck_assert_int_eq(runner_logprob_top(logits, 6, 0, 0, all), 0);
	const float huge[] = {1e38f, 1e38f};
	ck_assert_double_eq_tol(runner_logprob_norm(huge, 2) - 1e38f, log(2), 1e30);
	const float none[] = {NAN, NAN};
	ck_assert(isinf(runner_logprob_norm(none, 2)));
}
END_TEST

START_TEST(pooling)
{
	const float rows[] = {1, 2, 3, 4, 5, 9};
	float v[2];
	runner_embed_pool(RUNNER_POOL_MEAN, rows, 3, 2, v);
	ck_assert_float_eq(v[0], 3);
	ck_assert_float_eq(v[1], 5);
	runner_embed_pool(RUNNER_POOL_CLS, rows, 3, 2, v);
	ck_assert_float_eq(v[1], 2);
	runner_embed_pool(RUNNER_POOL_LAST, rows, 3, 2, v);
	ck_assert_float_eq(v[0], 5);
	v[0] = 3;
	v[1] = 4;
	runner_embed_normalize(v, 2);
	ck_assert_float_eq_tol(v[0], 0.6f, 1e-7);
	v[0] = v[1] = 0;
	runner_embed_normalize(v, 2);
	ck_assert_float_eq(v[0], 0);
	struct err err;
	ck_assert_int_eq(runner_embed_check(-1, &err), ERR_UNSUPPORTED);
	ck_assert_int_eq(runner_embed_check(RUNNER_POOL_RANK, &err), ERR_UNSUPPORTED);
	ck_assert_int_eq(runner_embed_check(RUNNER_POOL_CLS, &err), 0);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("text");
	tcase_add_test(tc, cut_keeps_start_and_end);
	tcase_add_test(tc, search_finds_the_first_that_fits);
	tcase_add_test(tc, tail_keeps_system);
	tcase_add_test(tc, logprobs);
	tcase_add_test(tc, pooling);
	Suite *s = suite_create("runner_text");
	suite_add_tcase(s, tc);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? 1 : 0;
}
