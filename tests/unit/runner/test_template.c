/* Go templates on the runner's side: the cache of parsed ones, and what inspect says about one. */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "runner/inspect.h"
#include "runner/runner_template.h"

static struct runner_templates cache;
static struct err err;

static const struct gotmpl *get(int i)
{
	const struct gotmpl *t = NULL;
	char text[64];
	snprintf(text, sizeof text, "{{ .Prompt }} %d", i);
	ck_assert_int_eq(runner_template_get(&cache, text, &t, &err), 0);
	return t;
}

START_TEST(keeps_the_latest)
{
	const struct gotmpl *bad = NULL, *first = get(0);
	for (int i = 0; i < 100; i++) {
		ck_assert_ptr_eq(get(0), first);
		get(1 + i % (RUNNER_TEMPLATE_MAX - 1));
	}
	ck_assert_uint_eq(cache.n, RUNNER_TEMPLATE_MAX);
	for (int i = 0; i < 3 * RUNNER_TEMPLATE_MAX; i++)
		get(100 + i);
	ck_assert_uint_eq(cache.n, RUNNER_TEMPLATE_MAX);
	ck_assert_int_eq(runner_template_get(&cache, "{{ .Prompt", &bad, &err), ERR_INVALID);
	ck_assert_str_eq(err.msg, "template: :1: unclosed action");
	ck_assert_ptr_null(bad);
	ck_assert_str_eq(cache.list[0].text, "{{ .Prompt }} 123");
}
END_TEST

static const struct {
	const char *text, *facts;
} texts[] = {
	{"", "{\"tools\":false,\"insert\":false,\"thinking\":false,\"tool_round_trip\":false}"},
	{".Tools {{ .System }}", "{\"tools\":false,\"insert\":false,\"thinking\":false,\"tool_round_trip\":false}"},
	{"{{ if .Suffix }}{{ .Prompt }}{{ end }}{{ .Tools }}",
	 "{\"tools\":true,\"insert\":true,\"thinking\":false,\"tool_round_trip\":false}"},
	{"{{ range .Messages }}{{ if .Thinking }}<think>{{ .Thinking }}</think>{{ end }}{{ if eq .Role \"tool\" }}{{ .ToolCalls }}{{ end }}"
	 "{{ end }}",
	 "{\"tools\":false,\"insert\":false,\"thinking\":true,\"tool_round_trip\":true}"},
};

START_TEST(facts)
{
	struct str out = {0};
	struct jsonw w;
	jsonw_init(&w, &out, JSONW_PLAIN);
	ck_assert_int_eq(inspect_write_go(texts[_i].text, strlen(texts[_i].text), &w, &err), 0);
	ck_assert_str_eq(str_cstr(&out), texts[_i].facts);
	str_release(&out);
}
END_TEST

START_TEST(broken)
{
	struct str out = {0};
	struct jsonw w;
	jsonw_init(&w, &out, JSONW_PLAIN);
	ck_assert_int_eq(inspect_write_go("a\n{{ end }}", 11, &w, &err), ERR_INVALID);
	ck_assert_str_eq(err.msg, "template: :2: unexpected {{end}}");
	ck_assert_uint_eq(out.len, 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("runner_template");
	TCase *t = tcase_create("all");
	tcase_add_test(t, keeps_the_latest);
	tcase_add_loop_test(t, facts, 0, sizeof texts / sizeof *texts);
	tcase_add_test(t, broken);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
