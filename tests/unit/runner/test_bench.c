/* bench: its command line, its statistics, and the shares of the limits. */
#include <check.h>
#include <math.h>
#include <stdlib.h>

#include "base/bug.h"
#include "runner/bench_int.h"

static bool parse(char *const *words, struct bench_cfg *ret)
{
	char *argv[16] = {(char *)"bench"};
	int argc = 1;
	for (; *words; words++)
		argv[argc++] = *words;
	return bench_args(argc, argv, ret);
}

#define ARGS(...) (char *[]){__VA_ARGS__, NULL}

START_TEST(arguments)
{
	struct bench_cfg c;
	ck_assert(parse(ARGS("m"), &c));
	ck_assert_str_eq(c.name, "m");
	ck_assert(!c.json && c.n_gen == 128 && c.n_repeat == 3 && c.prompts.n == 1 && c.prompts.v[0] == 512 && c.batches.n == 6);
	ck_assert(c.depths.n == 1 && c.depths.v[0] == 0 && c.threads.n == 1 && c.threads.v[0] == 0);
	ck_assert(parse(ARGS("--json", "m", "--prompt", "1,2,1048576", "--depth", "0,4096", "--threads", "1,2", "--gen", "2"), &c));
	ck_assert(c.json && c.prompts.n == 3 && c.prompts.v[2] == 1 << 20 && c.depths.v[1] == 4096 && c.threads.v[1] == 2 && c.n_gen == 2);
}
END_TEST

static char *const wrong[][4] = {
	{NULL},                       {(char *)"--json"},
	{(char *)"m", (char *)"n"},   {(char *)"m", (char *)"--prompt"},
	{(char *)"m", (char *)"--prompt", (char *)""},     {(char *)"m", (char *)"--prompt", (char *)"1,"},
	{(char *)"m", (char *)"--prompt", (char *)",1"},   {(char *)"m", (char *)"--prompt", (char *)"1x"},
	{(char *)"m", (char *)"--prompt", (char *)"0"},    {(char *)"m", (char *)"--prompt", (char *)"99999999999999999999"},
	{(char *)"m", (char *)"--batch", (char *)"257"},   {(char *)"m", (char *)"--gen", (char *)"4,5"},
	{(char *)"m", (char *)"--repeat", (char *)"101"},  {(char *)"m", (char *)"--depth", (char *)"-1"},
	{(char *)"m", (char *)"--batch", (char *)"1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1"},
};

START_TEST(wrong_arguments)
{
	struct bench_cfg c;
	ck_assert(!parse(wrong[_i], &c));
}
END_TEST

START_TEST(statistics)
{
	struct bench_result r = {.n = 3, .v = {2, 4, 9}};
	struct bench_stat s;
	bench_stat(&r, &s);
	ck_assert(s.mean == 5 && s.min == 2 && s.max == 9 && fabs(s.sd - sqrt(13)) < 1e-12);
	r.n = 1;
	bench_stat(&r, &s);
	ck_assert(s.mean == 2 && s.min == 2 && s.max == 2 && s.sd == 0);
}
END_TEST

/* 1000 tokens a second with 10 int8 and 1 float products each; a prompt is not held to the memory. */
START_TEST(shares)
{
	struct bench_machine m = {.read = 1e9, .mul_i8 = 1e5, .mul_f32 = 1e4};
	struct bench_work w = {.weight_bytes = 5e5, .i8 = 10, .f32 = 1};
	struct bench_result r = {.what = "prefill", .n_tok = 512, .n = 1, .v = {1000}};
	bench_share(NULL, &m, &w, &r);
	ck_assert(fabs(r.mul_share - 0.2) < 1e-12 && r.read_share < 0);
	m.mul_i8 = 0;
	bench_share(NULL, &m, &w, &r);
	ck_assert(r.mul_share < 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("bench");
	TCase *t = tcase_create("all");
	tcase_add_test(t, arguments);
	tcase_add_loop_test(t, wrong_arguments, 0, (int)ARRAY_LEN(wrong));
	tcase_add_test(t, statistics);
	tcase_add_test(t, shares);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int n = srunner_ntests_failed(r);
	srunner_free(r);
	return n != 0;
}
