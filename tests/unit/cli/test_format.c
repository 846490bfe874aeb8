/* Numbers, times and tables as the command line prints them; expected texts are those seen of ollama 0.x where it prints the
 * same thing. */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "base/bug.h"
#include "cli/cli_format.h"

START_TEST(sizes)
{
	static const struct {
		int64_t n;
		const char *text;
	} cases[] = {{0, "0 B"},          {999, "999 B"},        {1000, "1 KB"},       {1500, "1.5 KB"},
		     {9990, "10.0 KB"},   {10999, "10 KB"},      {45960996, "45 MB"},  {98405678, "98 MB"},
		     {491400032, "491 MB"}, {1000000000, "1 GB"}, {1321098329, "1.3 GB"}, {20000000000, "20 GB"},
		     {5000000000000, "5 TB"}, {5000000000000000, "5000 TB"}};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char out[CLI_TEXT_BYTES];
		cli_size_text(cases[i].n, out);
		ck_assert_str_eq(out, cases[i].text);
	}
}
END_TEST

START_TEST(counts)
{
	static const struct {
		double n;
		const char *text;
	} cases[] = {{0, "0"},           {999, "999"},           {12000, "12K"},         {134515008, "134.52M"}, {22565376, "22.57M"},
		     {268098176, "268.10M"}, {137000000, "137M"}, {3000000000, "3B"},     {3212749888, "3.2B"},   {8030261248, "8.0B"}};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char out[CLI_TEXT_BYTES];
		cli_count_text(cases[i].n, out);
		ck_assert_str_eq(out, cases[i].text);
	}
}
END_TEST

START_TEST(ages)
{
	enum { NOW = 2000000000, MIN = 60, HOUR = 3600, DAY = 86400 };
	static const struct {
		int64_t ago_s;
		const char *text;
	} cases[] = {{0, "Less than a second ago"}, {1, "1 second ago"},      {2, "2 seconds ago"},       {59, "59 seconds ago"},
		     {60, "About a minute ago"},    {119, "About a minute ago"}, {120, "2 minutes ago"},     {14 * MIN + 59, "14 minutes ago"},
		     {HOUR, "About an hour ago"},   {2 * HOUR, "2 hours ago"}, {48 * HOUR - 1, "47 hours ago"}, {2 * DAY, "2 days ago"},
		     {14 * DAY, "2 weeks ago"},     {59 * DAY, "8 weeks ago"}, {60 * DAY, "2 months ago"},  {729 * DAY, "24 months ago"},
		     {730 * DAY, "2 years ago"},    {-299, "4 minutes from now"}, {-3 * HOUR, "3 hours from now"}};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char out[CLI_TEXT_BYTES];
		cli_age_text(NOW - cases[i].ago_s, NOW, out);
		ck_assert_str_eq(out, cases[i].text);
	}
}
END_TEST

START_TEST(durations)
{
	static const struct {
		int64_t ns;
		const char *text;
	} cases[] = {{0, "0s"},
		     {999, "999ns"},
		     {1000, "1µs"},
		     {750609, "750.609µs"},
		     {86396000, "86.396ms"},
		     {100000000, "100ms"},
		     {943987000, "943.987ms"},
		     {1000000000, "1s"},
		     {5288038473, "5.288038473s"},
		     {60000000000, "1m0s"},
		     {62500000000, "1m2.5s"},
		     {3600000000000, "1h0m0s"},
		     {90061000000001, "25h1m1.000000001s"}};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char out[CLI_TEXT_BYTES];
		cli_duration_text(cases[i].ns, out);
		ck_assert_str_eq(out, cases[i].text);
	}
}
END_TEST

START_TEST(times)
{
	ck_assert_int_eq(cli_parse_time("1970-01-01T00:00:10Z"), 10);
	ck_assert_int_eq(cli_parse_time("2026-11-24T15:43:35.596718791Z"), 1795535015);
	ck_assert_int_eq(cli_parse_time("2026-11-24T16:43:35.596718791+01:00"), 1795535015);
	ck_assert_int_eq(cli_parse_time("2026-11-24T10:13:35-05:30"), 1795535015);
	ck_assert_int_eq(cli_parse_time("yesterday"), -1);
	ck_assert_int_eq(cli_parse_time(""), -1);
	ck_assert_int_eq(cli_parse_time(NULL), -1);
}
END_TEST

/* What cli_table prints. mem_free is free here. */
static char *table_text(const char *const *header, const char *const *cells, int n_row, int n_col, int indent)
{
	char *text;
	size_t n;
	FILE *real = stdout;
	stdout = open_memstream(&text, &n);
	cli_table(header, cells, n_row, n_col, indent);
	fclose(stdout);
	stdout = real;
	return text;
}

START_TEST(tables)
{
	static const char *const header[] = {"NAME", "ID", "SIZE", "MODIFIED"};
	static const char *const row[] = {"smollm2:latest", "fd5f44c0b5af", "98 MB", "16 minutes ago"};
	static const char *const wide[] = {"日本", "x", "é", "y"};
	static const struct {
		const char *const *header, *const *cells;
		int n_row, n_col, indent;
		const char *text;
	} cases[] = {
		{header, NULL, 0, 4, 0, "NAME    ID    SIZE    MODIFIED \n"},
		{header, row, 1, 4, 0,
		 "NAME              ID              SIZE     MODIFIED       \n"
		 "smollm2:latest    fd5f44c0b5af    98 MB    16 minutes ago    \n"},
		{NULL, wide, 2, 2, 2, "  日本    x    \n  é       y    \n"},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char *text = table_text(cases[i].header, cases[i].cells, cases[i].n_row, cases[i].n_col, cases[i].indent);
		ck_assert_str_eq(text, cases[i].text);
		free(text);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("cli_format");
	TCase *t = tcase_create("all");
	tcase_add_test(t, sizes);
	tcase_add_test(t, counts);
	tcase_add_test(t, ages);
	tcase_add_test(t, durations);
	tcase_add_test(t, times);
	tcase_add_test(t, tables);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed;
}
