/* Guesses from earlier text: found where a plain search finds them, within their bounds, and learned from. */
#include "engine/draft.h"
#include "rig.h"

enum { N_MAX = 2000 };

static int ids[N_MAX];

/* The longest match by trying every place; 0 below three tokens. */
static int longest(int n)
{
	int best = 0;
	for (int i = 1; i < n; i++) {
		int len = 0;
		while (len < 32 && len < i && ids[i - 1 - len] == ids[n - 1 - len])
			len++;
		best = len > best ? len : best;
	}
	return best >= 3 ? best : 0;
}

/* A proposal continues some place with a match of len tokens. */
static bool continues(int n, int n_got, int len)
{
	for (int i = 1; i < n; i++)
		if (i >= len && !memcmp(ids + i - len, ids + n - len, (size_t)len * sizeof *ids) &&
		    !memcmp(ids + i, ids + n, (size_t)n_got * sizeof *ids))
			return true;
	return false;
}

static uint32_t next(uint32_t *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 16;
}

/* Random text of few words with copies of earlier parts: every lookup finds the longest match that there is. */
START_TEST(test_longest)
{
	uint32_t seed = 7 + (uint32_t)_i;
	struct draft *d = draft_new(N_MAX);
	int n = 0, n_found = 0;
	while (n < 1500) {
		int from = n > 60 ? (int)(next(&seed) % (uint32_t)(n - 50)) : 0, copy = n > 60 && next(&seed) % 3 == 0;
		for (int k = 0, m = 1 + (int)(next(&seed) % 40); k < m; k++, n++)
			ids[n] = copy ? ids[from + k] : (int)(next(&seed) % 5000);
		int len = longest(n), got = draft_find(d, ids, n, 4);
		ck_assert_int_eq(got, len ? 4 : 0);
		ck_assert(!got || continues(n, got, len));
		n_found += got > 0;
	}
	ck_assert_int_gt(n_found, 10);
	draft_free(d);
}
END_TEST

/* A loop is unrolled beyond the end of the text. */
START_TEST(test_loop)
{
	struct draft *d = draft_new(N_MAX);
	for (int i = 0; i < 9; i++)
		ids[i] = i % 3;
	ck_assert_int_eq(draft_find(d, ids, 9, 15), 15);
	for (int i = 9; i < 24; i++)
		ck_assert_int_eq(ids[i], i % 3);
	draft_free(d);
}
END_TEST

/* Too short, nothing to repeat, no room. */
START_TEST(test_bounds)
{
	struct draft *d = draft_new(12);
	for (int i = 0; i < 12; i++)
		ids[i] = 7;
	ids[12] = -1;
	for (int n = 1; n <= 3; n++)
		ck_assert_int_eq(draft_find(d, ids, n, 4), 0);
	ck_assert_int_eq(draft_find(d, ids, 8, 0), 0);
	ck_assert_int_eq(draft_find(d, ids, 10, 15), 2);
	ck_assert_int_eq(draft_find(d, ids, 12, 15), 0);
	ck_assert_int_eq(ids[12], -1);
	draft_free(d);
	d = draft_new(N_MAX);
	for (int i = 0; i < 500; i++)
		ids[i] = i;
	for (int n = 1; n <= 500; n++)
		ck_assert_int_eq(draft_find(d, ids, n, 4), 0);
	draft_free(d);
	draft_free(NULL);
}
END_TEST

/* A copy of something far away is followed although what it says stands in hundreds of nearer places. */
START_TEST(test_follows)
{
	struct draft *d = draft_new(N_MAX);
	int n = 0, at;
	for (at = 0; n < 60; n++)
		ids[n] = n < 40 ? 1000 + n : 1;
	for (int i = 0; i < 100; i++)
		for (int k = 0; k < 5; k++)
			ids[n++] = k < 4 ? 1 : 2000 + i;
	for (int k = 0; k < 20; k++)
		ids[n++] = 1020 + k;
	for (at = 40; at < 50; at++, n++) {
		ck_assert_int_eq(draft_find(d, ids, n, 10), 10);
		for (int k = 0; k < 10; k++)
			ck_assert_int_eq(ids[n + k], 1);
	}
	draft_free(d);
}
END_TEST

START_TEST(test_chance)
{
	struct draft *d = draft_new(N_MAX);
	for (int i = 0; i < 40; i++)
		ids[i] = i % 20;
	ck_assert_int_eq(draft_find(d, ids, 40, 8), 8);
	double first = draft_chance(d), p;
	ck_assert(first > 0.4 && first < 1);
	draft_learn(d, 8, 8);
	ck_assert((p = draft_chance(d)) > first && p <= 1);
	draft_learn(d, 8, 0); /* one wrong token was seen, not eight */
	ck_assert(draft_chance(d) > p * 0.8);
	for (int i = 0; i < 60; i++)
		draft_learn(d, 1, 0);
	ck_assert((p = draft_chance(d)) < 0.01);
	for (int i = 0; i < 500; i++)
		draft_learn(d, 0, 0);
	ck_assert(draft_chance(d) > p + 0.3);
	ck_assert(draft_chance(d) <= first);
	/* Another length of match has its own chance. */
	for (int i = 0; i < 4; i++)
		ids[40 + i] = 100 + i;
	for (int i = 0; i < 4; i++)
		ids[44 + i] = i < 3 ? i + 3 : 0;
	for (int i = 0; i < 60; i++)
		draft_learn(d, 1, 0);
	ck_assert_int_eq(draft_find(d, ids, 47, 1), 1);
	ck_assert_int_eq(ids[47], 6);
	ck_assert(draft_chance(d) > 0.4);
	draft_free(d);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("draft");
	TCase *t = tcase_create("draft");
	tcase_add_loop_test(t, test_longest, 0, 5);
	tcase_add_test(t, test_loop);
	tcase_add_test(t, test_bounds);
	tcase_add_test(t, test_follows);
	tcase_add_test(t, test_chance);
	suite_add_tcase(s, t);
	return rig_main(s);
}
