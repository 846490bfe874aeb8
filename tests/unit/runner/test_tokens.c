/* Tokens on their way from the engine thread to the token thread: all arrive, in order, the end last, and never more are on
 * the way than a lane holds. */
#include <check.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/bug.h"
#include "runner/runner_tokens.h"

enum { N_LANE = 5, N_TOKEN = 2000 };

/* One sequence after the other uses a lane. */
struct end {
	struct runner_lane lane; /* first: a lane is cast back */
	int n, n_end, n_call;
	atomic_int n_taken;
};

static struct end ends[N_LANE];
static struct runner_tokens queue;
static int n_ended;
static bool slow;

static void take(struct runner_lane *lane, const struct runner_token *tokens, int n, bool ended)
{
	struct end *e = (struct end *)lane;
	ck_assert_int_le(n, RUNNER_LANE_MAX);
	for (int i = 0; i < n; i++) {
		ck_assert_int_eq(tokens[i].id, e->n++);
		ck_assert_int_eq(tokens[i].eog, tokens[i].id == N_TOKEN - 1);
	}
	if (slow)
		usleep(100);
	e->n_call++;
	atomic_store(&e->n_taken, e->n);
	if (ended) {
		ck_assert_int_eq(e->n, N_TOKEN);
		e->n_end++;
		n_ended++;
	}
}

static void *serve(void *arg)
{
	(void)arg;
	while (n_ended < N_LANE)
		runner_tokens_serve(&queue);
	return NULL;
}

static void push_all(int n_per_step)
{
	for (int at = 0; at < N_TOKEN; at += n_per_step)
		for (int i = 0; i < N_LANE; i++)
			for (int k = 0; k < n_per_step; k++) {
				struct runner_token t = {.id = at + k, .eog = at + k == N_TOKEN - 1};
				bool last = i == N_LANE - 1 && k == n_per_step - 1;
				runner_tokens_push(&queue, &ends[i].lane, &t, last);
				/* What the lane holds, and what is being taken from it. */
				ck_assert_int_le(at + k + 1 - atomic_load(&ends[i].n_taken), 2 * RUNNER_LANE_MAX);
			}
}

START_TEST(test_all_arrive)
{
	pthread_t thread;
	static const int per_step[] = {1, RUNNER_LANE_MAX, 20};
	slow = _i & 1;
	n_ended = 0;
	runner_tokens_init(&queue);
	for (int i = 0; i < N_LANE; i++)
		ends[i] = (struct end){.lane.take = take};
	ck_assert_int_eq(pthread_create(&thread, NULL, serve, NULL), 0);
	push_all(per_step[_i / 2]);
	for (int i = 0; i < N_LANE; i++)
		runner_tokens_end(&queue, &ends[i].lane);
	pthread_join(thread, NULL);
	for (int i = 0; i < N_LANE; i++)
		ck_assert_int_eq(ends[i].n_end, 1);
}
END_TEST

/* An end without a token, and the lane once more. */
START_TEST(test_again)
{
	struct end *e = &ends[0];
	*e = (struct end){.lane.take = take};
	slow = false;
	runner_tokens_init(&queue);
	for (int round = 1; round <= 3; round++) {
		e->n = N_TOKEN;
		runner_tokens_end(&queue, &e->lane);
		runner_tokens_serve(&queue);
		ck_assert_int_eq(e->n_end, round);
		ck_assert_int_eq(e->n_call, round);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("tokens");
	TCase *t = tcase_create("tokens");
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, test_all_arrive, 0, 6);
	tcase_add_test(t, test_again);
	suite_add_tcase(s, t);
	SRunner *sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	int n = srunner_ntests_failed(sr);
	srunner_free(sr);
	return n != 0;
}
