/* The pace against a machine whose steps cost what a formula says: it must find the tokens that keep a step short, follow
 * changes, outlive disturbances, and never stop a prompt. */
#include <check.h>

#include "base/bug.h"
#include "base/clock.h"
#include "engine/pace.h"

enum { BUDGET = 512 };

/* A step costs so much alone for each number of generating sequences, and so much more for having prompt tokens and for
 * each of them. */
struct machine {
	double decode_ms, each_ms, prompt_ms, tok_ms;
};

static double cost_ms(const struct machine *m, int n_decode, int n_prompt)
{
	return m->decode_ms + m->each_ms * n_decode + (n_prompt ? m->prompt_ms : 0) + m->tok_ms * n_prompt;
}

static int step(struct pace *p, const struct machine *m, int n_decode, int n_prefill, double noise)
{
	int n = pace_allow(p, n_decode, n_prefill);
	ck_assert_int_le(n, BUDGET);
	pace_learn(p, n_decode, n, true, (int64_t)(cost_ms(m, n_decode, n) * noise * NS_PER_MS));
	return n;
}

static const struct machine machines[] = {
	{4, 0.7, 0.5, 0.75}, /* a small model on two cores */
	{25, 2, 1, 4},       /* a larger one */
	{0.4, 0.1, 0.1, 0.03},
	{300, 10, 0, 30},    /* steps longer than anybody wants */
};

/* One prompt beside eight streams. */
START_TEST(test_beside)
{
	const struct machine *m = &machines[_i];
	struct pace p;
	int64_t done = 0;
	double base = cost_ms(m, 8, 0), spent = 0;
	pace_init(&p, BUDGET);
	for (int i = 0; i < 20; i++)
		step(&p, m, 8, 0, 1);
	for (int i = 0; i < 500; i++) {
		int n = step(&p, m, 8, 1, 1);
		double ms = cost_ms(m, 8, n);
		done += n;
		spent += ms;
		if (i > 20 && n > PACE_MIN)
			ck_assert_msg(ms <= base * 1.7, "step %d: %g ms, %g alone", i, ms, base);
	}
	/* A prompt that had all the time would have done so many. */
	double alone = spent / (m->tok_ms + m->prompt_ms / PACE_MIN);
	ck_assert_msg((double)done > alone * 0.3 || done >= 490 * PACE_MIN, "%ld of %g", (long)done, alone);
}
END_TEST

/* Every fourth measurement is longer, one in fifty much longer. */
START_TEST(test_noise)
{
	const struct machine *m = &machines[0];
	struct pace p;
	int64_t late = 0, done = 0;
	pace_init(&p, BUDGET);
	for (int i = 0; i < 1000; i++) {
		int n = step(&p, m, 8, 1, i % 50 == 49 ? 5 : i % 4 ? 1 : 1.2);
		done += n;
		late += i > 50 && cost_ms(m, 8, n) > cost_ms(m, 8, 0) * 1.9;
	}
	ck_assert_int_eq(late, 0);
	ck_assert_int_gt(done, 1000 * PACE_MIN);
}
END_TEST

/* Steps get slower as texts get longer: measured again from time to time, and prompts go on all the while. */
START_TEST(test_drift)
{
	struct machine m = machines[0];
	struct pace p;
	int n_none = 0;
	pace_init(&p, BUDGET);
	for (int i = 0; i < 2000; i++) {
		m.each_ms += 0.001;
		int n = step(&p, &m, 8, 1, 1);
		n_none += n == 0;
		if (i > 100)
			ck_assert(cost_ms(&m, 8, n) < cost_ms(&m, 8, 0) * 1.9);
	}
	ck_assert_int_le(n_none, 2000 / 64 + 1);
	ck_assert_int_ge(n_none, 2000 / 80);
}
END_TEST

/* However the number of sequences changes, most steps move a prompt on. */
START_TEST(test_changing)
{
	struct pace p;
	int n_none = 0;
	pace_init(&p, BUDGET);
	for (int i = 0; i < 1000; i++)
		n_none += step(&p, &machines[0], 1 + i * 37 % 150, 1 + i % 3, 1) == 0;
	ck_assert_int_le(n_none, 1000 / 8 + 1);
}
END_TEST

/* Many prompts beside one stream get their share, in steps that are still short for a person. */
START_TEST(test_many_prompts)
{
	struct pace p;
	int n = 0;
	pace_init(&p, BUDGET);
	for (int i = 0; i < 100; i++)
		n = step(&p, &machines[0], 1, 15, 1);
	n = n ? n : step(&p, &machines[0], 1, 15, 1);
	ck_assert(cost_ms(&machines[0], 1, n) > 10 * cost_ms(&machines[0], 1, 0));
	for (int i = 0; i < 100; i++)
		n = step(&p, &machines[0], 1, 200, 1);
	n = n ? n : step(&p, &machines[0], 1, 200, 1);
	ck_assert(cost_ms(&machines[0], 1, n) < 280);
	ck_assert(cost_ms(&machines[0], 1, n) > 150);
}
END_TEST

/* While nobody generates, a step takes about a second at most. */
START_TEST(test_alone)
{
	struct pace p;
	pace_init(&p, BUDGET);
	ck_assert_int_eq(pace_allow(&p, 0, 1), BUDGET);
	for (int i = 0; i < 50; i++)
		step(&p, &machines[1], 0, 1, 1);
	ck_assert_int_le(pace_allow(&p, 0, 1), 300);
	ck_assert_int_ge(pace_allow(&p, 0, 1), 100);
	for (int i = 0; i < 50; i++)
		step(&p, &machines[2], 0, 1, 1);
	ck_assert_int_eq(pace_allow(&p, 0, 1), BUDGET);
	pace_init(&p, 1);
	ck_assert_int_eq(pace_allow(&p, 0, 1), 1);
	pace_allow(&p, 3, 1);
	ck_assert_int_eq(pace_allow(&p, 3, 1), 1);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("pace");
	TCase *t = tcase_create("pace");
	tcase_add_loop_test(t, test_beside, 0, ARRAY_LEN(machines));
	tcase_add_test(t, test_noise);
	tcase_add_test(t, test_drift);
	tcase_add_test(t, test_changing);
	tcase_add_test(t, test_many_prompts);
	tcase_add_test(t, test_alone);
	suite_add_tcase(s, t);
	SRunner *sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	int n = srunner_ntests_failed(sr);
	srunner_free(sr);
	return n != 0;
}
