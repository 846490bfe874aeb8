/* Stop strings: what comes out never depends on where the stream is cut. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "runner/runner_stop.h"

/* Feeds text in pieces of 1 .. max bytes (max 0: whole). */
static bool feed(char *const *stops, size_t n_stop, const char *text, size_t max, unsigned seed, struct str *out)
{
	struct runner_stop s;
	struct err err;
	bool stopped = false;
	ck_assert_int_eq(runner_stop_init(&s, stops, n_stop, &err), 0);
	for (size_t i = 0, n = strlen(text); i < n;) {
		seed = seed * 1103515245u + 12345u;
		size_t k = max ? 1 + (seed >> 16) % max : n;
		if (k > n - i)
			k = n - i;
		stopped = runner_stop_push(&s, text + i, k, out);
		i += k;
	}
	runner_stop_flush(&s, out);
	runner_stop_release(&s);
	return stopped;
}

static const struct {
	const char *stops[4];
	const char *text, *want;
	bool stopped;
} cases[] = {
	{{NULL}, "abc", "abc", false},
	{{""}, "abc", "abc", false},
	{{"b"}, "abc", "a", true},
	{{"abc"}, "ababab", "ababab", false},
	{{"abc"}, "abababcab", "abab", true},
	{{"aab"}, "aaab", "a", true},
	{{"abcd", "bc"}, "abcd", "a", true},     /* ends first */
	{{"c", "abc"}, "xabc", "x", true},       /* same end: longest */
	{{"\n\nUser:"}, "hi\n\nUse", "hi\n\nUse", false},
	{{"m n"}, " i j k l m n o", " i j k l ", true},
	{{"\xe6\x97\xa5"}, "\xe6\x97\xa6\xe6\x97\xa5x", "\xe6\x97\xa6", true},
	{{"aaaa"}, "aaabaaaab", "aaab", true},
};

START_TEST(any_cut_gives_the_same)
{
	size_t n_stop = 0;
	while (n_stop < 4 && cases[_i].stops[n_stop])
		n_stop++;
	for (size_t max = 0; max < 6; max++)
		for (unsigned seed = 0; seed < 20; seed++) {
			struct str out = {0};
			bool stopped = feed((char *const *)cases[_i].stops, n_stop, cases[_i].text, max, seed, &out);
			ck_assert_int_eq(stopped, cases[_i].stopped);
			ck_assert_str_eq(str_cstr(&out), cases[_i].want);
			str_release(&out);
		}
}
END_TEST

/* Random texts over two letters against a search that looks at every prefix. */
START_TEST(agrees_with_plain_search)
{
	unsigned x = 7;
	for (int round = 0; round < 3000; round++) {
		char text[24], a[6], b[6];
		char *bufs[] = {text, a, b};
		size_t n[3];
		for (int k = 0; k < 3; k++) {
			x = x * 1103515245u + 12345u;
			n[k] = k ? 1 + (x >> 16) % 5 : (x >> 16) % 23;
			for (size_t i = 0; i < n[k]; i++) {
				x = x * 1103515245u + 12345u;
				bufs[k][i] = "ab"[(x >> 20) & 1];
			}
			bufs[k][n[k]] = '\0';
		}
		size_t cut = n[0];
		for (size_t end = 1; end <= n[0] && cut == n[0]; end++)
			for (int k = 1; k < 3; k++)
				if (n[k] <= end && !memcmp(text + end - n[k], bufs[k], n[k]) && end - n[k] < cut)
					cut = end - n[k];
		char *stops[] = {a, b};
		struct str out = {0};
		feed(stops, 2, text, 3, x, &out);
		ck_assert_msg(out.len == cut && !memcmp(str_cstr(&out), text, cut), "%s | %s %s: %s", text, a, b, str_cstr(&out));
		str_release(&out);
	}
}
END_TEST

START_TEST(never_releases_what_may_be_a_stop)
{
	struct runner_stop s;
	struct str out = {0};
	char *stops[] = {"<end>"};
	ck_assert_int_eq(runner_stop_init(&s, stops, 1, NULL), 0);
	ck_assert(!runner_stop_push(&s, "hello <en", 9, &out));
	ck_assert_str_eq(str_cstr(&out), "hello ");
	ck_assert(!runner_stop_push(&s, "", 0, &out));
	ck_assert_str_eq(str_cstr(&out), "hello ");
	ck_assert(!runner_stop_push(&s, "x", 1, &out));
	ck_assert_str_eq(str_cstr(&out), "hello <enx");
	ck_assert(runner_stop_push(&s, "<end>more", 9, &out));
	ck_assert(runner_stop_push(&s, "more", 4, &out));
	runner_stop_flush(&s, &out);
	ck_assert_str_eq(str_cstr(&out), "hello <enx");
	str_release(&out);
	runner_stop_release(&s);
}
END_TEST

START_TEST(limits)
{
	struct runner_stop s;
	struct err err;
	char *many[RUNNER_STOP_MAX + 1];
	for (size_t i = 0; i < RUNNER_STOP_MAX + 1; i++)
		many[i] = "x";
	ck_assert_int_eq(runner_stop_init(&s, many, RUNNER_STOP_MAX + 1, &err), ERR_INVALID);
	runner_stop_release(&s);
	char *big = malloc(RUNNER_STOP_BYTES_MAX + 2);
	memset(big, 'a', RUNNER_STOP_BYTES_MAX + 1);
	big[RUNNER_STOP_BYTES_MAX + 1] = '\0';
	ck_assert_int_eq(runner_stop_init(&s, &big, 1, &err), ERR_INVALID);
	runner_stop_release(&s);
	free(big);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("stop");
	tcase_add_loop_test(tc, any_cut_gives_the_same, 0, sizeof cases / sizeof *cases);
	tcase_add_test(tc, agrees_with_plain_search);
	tcase_add_test(tc, never_releases_what_may_be_a_stop);
	tcase_add_test(tc, limits);
	Suite *s = suite_create("runner_stop");
	suite_add_tcase(s, tc);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? 1 : 0;
}
