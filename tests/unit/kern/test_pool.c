/* The pool: shares cover everything once, barriers order steps, runs follow each other without losing a thread. */
#include <check.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "kern/pool.h"

START_TEST(test_share)
{
	for (int64_t n = 0; n < 100; n++)
		for (int64_t align = 1; align <= 16; align += 5)
			for (int n_thread = 1; n_thread < 9; n_thread++) {
				int64_t at = 0, r0, r1;
				for (int i = 0; i < n_thread; i++) {
					pool_share(n, align, i, n_thread, &r0, &r1);
					ck_assert(r0 == at && r1 >= r0 && (r0 % align == 0 || r0 == n));
					at = r1;
				}
				ck_assert_int_eq(at, n);
			}
	int64_t r0, r1;
	pool_share(INT64_MAX / 2, 16, 255, 256, &r0, &r1);
	ck_assert(r1 == INT64_MAX / 2 && r0 < r1);
}
END_TEST

struct steps {
	struct pool *pool;
	_Atomic int n_done[64];
	_Atomic int n_bad;
	int n_step, slow;
};

/* After the barrier of a step every thread must see all threads' work of that step. */
static void run_steps(void *arg, int i_thread, int n_thread)
{
	struct steps *s = arg;
	for (int i = 0; i < s->n_step; i++) {
		if (s->slow && i_thread == i % n_thread)
			usleep(3000); /* the others go to sleep */
		atomic_fetch_add(&s->n_done[i], 1);
		pool_barrier(s->pool);
		if (atomic_load(&s->n_done[i]) != n_thread)
			atomic_fetch_add(&s->n_bad, 1);
		pool_barrier(s->pool);
	}
}

START_TEST(test_barrier)
{
	for (int n = 1; n <= 8; n++) { /* on most test machines also more than there are CPUs */
		struct pool *p = pool_new(n);
		ck_assert_int_eq(pool_size(p), n);
		for (int round = 0; round < 20; round++) {
			struct steps s = {.pool = p, .n_step = 20, .slow = round == 0};
			pool_run(p, run_steps, &s);
			ck_assert_int_eq(s.n_bad, 0);
			for (int i = 0; i < s.n_step; i++)
				ck_assert_int_eq(s.n_done[i], n);
			if (round == 10)
				usleep(5000); /* workers sleep between runs */
		}
		pool_free(p);
	}
}
END_TEST

/* Threads that take turns on one CPU. */
START_TEST(test_one_cpu)
{
	cpu_set_t old, one;
	ck_assert_int_eq(sched_getaffinity(0, sizeof old, &old), 0);
	CPU_ZERO(&one);
	for (int i = 0; i < CPU_SETSIZE && !CPU_COUNT(&one); i++)
		if (CPU_ISSET(i, &old))
			CPU_SET(i, &one);
	ck_assert_int_eq(sched_setaffinity(0, sizeof one, &one), 0);
	ck_assert_int_eq(pool_n_threads(0), 1);
	struct pool *p = pool_new(4);
	struct steps s = {.pool = p, .n_step = 60, .slow = 1};
	pool_run(p, run_steps, &s);
	ck_assert_int_eq(s.n_bad, 0);
	pool_free(p);
	ck_assert_int_eq(sched_setaffinity(0, sizeof old, &old), 0);
}
END_TEST

START_TEST(test_n_threads)
{
	ck_assert_int_eq(pool_n_threads(3), 3);
	ck_assert_int_eq(pool_n_threads(1 << 20), 256);
	int n = pool_n_threads(0);
	ck_assert(n >= 1 && n <= sysconf(_SC_NPROCESSORS_ONLN));
	pool_free(NULL);
	pool_free(pool_new(0));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("pool");
	TCase *t = tcase_create("all");
	tcase_set_timeout(t, 60);
	tcase_add_test(t, test_share);
	tcase_add_test(t, test_barrier);
	tcase_add_test(t, test_one_cpu);
	tcase_add_test(t, test_n_threads);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int n = srunner_ntests_failed(r);
	srunner_free(r);
	return n != 0;
}
