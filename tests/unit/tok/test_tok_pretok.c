/* The table of pre-tokenizers: every row compiles and loses no byte, known cuts, and hostile runs. */
#include <check.h>
#include <string.h>

#include "base/str.h"
#include "tok/tok_pretok.h"

static struct pretok *build(const char *name)
{
	struct pretok *p = NULL;
	struct err err = {0};
	const struct pretok_row *row = pretok_find(name, strlen(name));
	ck_assert_msg(row != NULL, "no row %s", name);
	ck_assert_msg(pretok_new(row, &p, &err) == 0, "%s: %s", name, err.msg);
	return p;
}

/* Pieces of z joined by '#'. */
static void check_cuts(const char *name, const char *z, const char *want)
{
	struct pretok *p = build(name);
	struct pretok_cuts cuts = {0};
	struct err err = {0};
	struct str got = {0};
	ck_assert_int_eq(pretok_split(p, z, strlen(z), &cuts, &err), 0);
	for (size_t i = 0, at = 0; i < cuts.ends.n; i++) {
		if (i)
			str_addc(&got, '#');
		str_add(&got, z + at, cuts.ends.data[i] - at);
		at = cuts.ends.data[i];
	}
	ck_assert_msg(str_eq(&got, want), "%s: '%s' is cut to '%s', want '%s'", name, z, str_cstr(&got), want);
	str_release(&got);
	pretok_cuts_release(&cuts);
	pretok_free(p);
}

static const char *const cases[][3] = {
	{"gpt-2", "I've 12  dogs\n\n x", "I#'ve# 12# # dogs#\n\n# x"},
	{"gpt-2", "I'VE", "I#'#VE"},
	{"llama-bpe", "I'VE 12345  a\n\n b?!\n", "I#'VE# #123#45# # a#\n\n# b#?!\n"},
	{"llama-bpe", "a\xC2\xA0\xE2\x80\x83 b", "a#\xC2\xA0\xE2\x80\x83# b"},
	{"qwen2", "a12 b_c", "a#1#2# b#_c"},
	{"smollm", " 12a", " #1#2#a"},
	{"default", "a== 1234b", "a#==# #123#4#b"},
	{"falcon", "a`1234", "a#`#123#4"},
	{"deepseek-llm", "ab\n \xE4\xB8\xAD\xE6\x96\x87x12 ", "ab#\n# #\xE4\xB8\xAD\xE6\x96\x87#x#12# "},
	{"deepseek-llm", "x  y  ", "x# # y#  "},
	{"deepseek-coder", "ab, 12", "ab#,# #1#2"},
	{"deepseek-v3", "x1234 \xE3\x81\x82=y!z", "x#123#4# #\xE3\x81\x82#=y#!z"},
	{"tekken", "helloWorld HTTPServer x1", "hello#World# HTTPServer# x#1"},
	{"gpt-4o", "helloWorld's 1234/\n", "hello#World's# #123#4#/\n"},
	{"kimi-k2", "ab\xE4\xB8\xAD\xE6\x96\x87" "Cd", "ab#\xE4\xB8\xAD\xE6\x96\x87#Cd"},
	{"tiny_aya", "1234567 12345a", "1#234#567# #123#45#a"},
	{"superbpe", "a1234567b12", "a#1#234#567#b#12"},
	{"afmoe", "a1234", "a#1#234"},
	{"afmoe", "a123456", "a#123#456"},
	{"viking", "a12,b", "a#1#2#,#b"},
	{"exaone-moe", "a b c1", "a b c#1"},
	{"jais-2", "a       b", "a#    #  # b"},
	{"gemma4", "a b\n\n\nc", "a b#\n\n\n#c"},
	{"whitespace", "a  b", "a#  #b"},
	{"chameleon", "IMGIMGABZ", "IMGIMGABZ"},
	{"gpt-2", "a\xFF\xFE" "b \xE4\xB8", "a#\xFF\xFE#b# #\xE4\xB8"},
	{"gpt-2", "", ""},
};

START_TEST(test_cuts)
{
	check_cuts(cases[_i][0], cases[_i][1], cases[_i][2]);
}
END_TEST

static void check_whole(const struct pretok *p, const char *name, const char *s, size_t n)
{
	struct pretok_cuts cuts = {0};
	struct err err = {0};
	ck_assert_msg(pretok_split(p, s, n, &cuts, &err) == 0, "%s: %s", name, err.msg);
	size_t n_empty = 0;
	for (size_t i = 0; i < cuts.ends.n; i++)
		n_empty += cuts.ends.data[i] <= (i ? cuts.ends.data[i - 1] : 0);
	ck_assert_msg(n_empty == 0, "%s: %zu empty pieces", name, n_empty);
	ck_assert_uint_eq(cuts.ends.n ? cuts.ends.data[cuts.ends.n - 1] : 0, n);
	pretok_cuts_release(&cuts);
}

/* Every row, on runs that expressions with careless repetitions would need hours for. */
START_TEST(test_hostile)
{
	static const char *const runs[] = {"a", "A", "\xC3\x89", " ", "\n", "\n ", "1", "'", "!", " a", "a1", "\xE4\xB8\xAD", "\xCC\x81",
		"IMGIMGA", "\xE2\x80\xA8"};
	enum { N = 200000 };
	size_t n_row;
	const struct pretok_row *rows = pretok_table(&n_row);
	ck_assert_int_lt(_i, (int)n_row);
	struct pretok *p = build(rows[_i].name);
	char *s = mem_alloc(N + 8);
	for (size_t k = 0; k < sizeof runs / sizeof *runs; k++) {
		size_t n_run = strlen(runs[k]), n = N / n_run * n_run;
		for (size_t i = 0; i < n; i++)
			s[i] = runs[k][i % n_run];
		check_whole(p, rows[_i].name, s, n);
		s[n] = 'x'; /* what stood at the end no longer does */
		check_whole(p, rows[_i].name, s, n + 1);
	}
	mem_free(s);
	pretok_free(p);
}
END_TEST

START_TEST(test_names)
{
	size_t n_row;
	const struct pretok_row *rows = pretok_table(&n_row);
	for (size_t i = 0; i < n_row; i++)
		ck_assert_ptr_eq(pretok_find(rows[i].name, strlen(rows[i].name)), &rows[i]); /* no name twice */
	ck_assert_ptr_null(pretok_find("nothing", 7));
	ck_assert_ptr_null(pretok_find("", 0));
}
END_TEST

int main(void)
{
	size_t n_row;
	pretok_table(&n_row);
	Suite *s = suite_create("tok_pretok");
	TCase *c = tcase_create("pretok");
	tcase_set_timeout(c, 60);
	tcase_add_loop_test(c, test_cuts, 0, (int)(sizeof cases / sizeof *cases));
	tcase_add_loop_test(c, test_hostile, 0, (int)n_row);
	tcase_add_test(c, test_names);
	suite_add_tcase(s, c);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int n_failed = srunner_ntests_failed(r);
	srunner_free(r);
	return n_failed != 0;
}
