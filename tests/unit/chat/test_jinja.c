/* The template language: values, statements, limits, errors. Each row is a template and what it gives. */
#include <check.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chat/jinja.h"

struct row {
	const char *source, *want; /* want NULL: must fail */
};

static const char vars_text[] =
	"{\"s\": \"Hello\", \"n\": 7, \"f\": 2.5, \"no\": null, \"l\": [3, 1, 2], \"d\": {\"b\": 1, \"a\": \"x\"},"
	" \"u\": \"h\\u00e9\\u65e5\", \"deep\": {\"a\": [{\"b\": [1, 2]}]}, \"items\": [{\"k\": \"B\", \"v\": 2}, {\"k\": \"a\", \"v\": 1}]}";

static int run(const char *source, size_t n, const struct jinja_limits *lim, struct str *out, struct err *err)
{
	struct jinja *t;
	json_t *vars = json_loads(vars_text, 0, NULL);
	ck_assert_ptr_nonnull(vars);
	*out = (struct str){0};
	int rc = jinja_parse(source, n, &t, err);
	if (!rc) {
		rc = jinja_render(t, vars, 0, lim, out, err);
		jinja_free(t);
	}
	json_decref(vars);
	return rc;
}

static void check_rows(const struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct str out;
		struct err err;
		int rc = run(rows[i].source, strlen(rows[i].source), NULL, &out, &err);
		if (!rows[i].want) {
			ck_assert_msg(rc < 0, "%s rendered: %s", rows[i].source, str_cstr(&out));
			ck_assert_msg(err.msg[0], "%s failed without a message", rows[i].source);
			ck_assert_uint_eq(out.len, 0);
		} else {
			ck_assert_msg(rc == 0, "%s: %s", rows[i].source, err.msg);
			ck_assert_msg(strcmp(str_cstr(&out), rows[i].want) == 0, "%s: got \"%s\", want \"%s\"", rows[i].source,
				      str_cstr(&out), rows[i].want);
		}
		str_release(&out);
	}
}
#define CHECK_ROWS(rows) check_rows(rows, sizeof(rows) / sizeof *(rows))

START_TEST(numbers)
{
	static const struct row rows[] = {
		{"{{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 % -3 }} {{ 7.5 // -2 }}", "3 -4 2 -2 -4.0"},
		{"{{ 2 ** 64 }} {{ 9223372036854775807 + 1 }} {{ -2 ** 63 }} {{ 10 ** 30 // 7 }} {{ -(10 ** 30) % 7 }}",
		 "18446744073709551616 9223372036854775808 -9223372036854775808 142857142857142857142857142857 6"},
		{"{{ -9223372036854775808 // -1 }} {{ -9223372036854775808 % -1 }}", "9223372036854775808 0"},
		{"{{ 10 ** 20 == 1e20 }} {{ 2 ** 53 + 1 == 2.0 ** 53 }} {{ {10 ** 20: 1}[1e20] }}", "True False 1"},
		{"{{ 0.1 }} {{ 1e16 }} {{ 123456.0 }} {{ 1e-5 }} {{ 0.0001 }} {{ -0.0 }} {{ 1e400 }} {{ 5e-324 }}",
		 "0.1 1e+16 123456.0 1e-05 0.0001 -0.0 inf 5e-324"},
		{"{{ 2.5|round }} {{ 25|round(-1) }} {{ 2.675|round(2) }} {{ '3.9'|int }} {{ '0x1A'|int(0, 16) }}", "2.0 20 2.67 3 26"},
		{"{{ 1 // 0 }}", NULL},
		{"{{ 2 ** 100000 }}", NULL},
		{"{{ 1e400|int }}", NULL},
		{"{{ true + true }} {{ 1 == true }} {{ 1 < 2 < 3 }} {{ 3 > 2 > 2 }}", "2 True True False"},
	};
	CHECK_ROWS(rows);
}
END_TEST

START_TEST(texts)
{
	static const struct row rows[] = {
		{"{{ u|length }} {{ u[1] }} {{ u[::-1] }} {{ u[-1:] }} {{ u|upper }}", "3 é 日éh 日 HÉ日"},
		{"{{ 'ß'|upper }} {{ 'ΑΣ'|lower }} {{ 'ǆ'.title() }} {{ 'ﬁ'.capitalize() }}", "SS ας ǅ Fi"},
		{"{{ ['it\\'s', 'a\"b', \"\\u200b\\n\"] }}", "[\"it's\", 'a\"b', '\\u200b\\n']"},
		{"{{ '%5.1f|%-4d|%x|%s' % (2.25, 3, 255, none) }} {{ '{:>5}|{0}'.format(1) }}", NULL},
		{"{{ '%5.1f|%-4d|%x|%s' % (2.25, 3, 255, none) }} {{ '{0:>5}|{a:,}'.format(1, a=12345) }}", "  2.2|3   |ff|None     1|12,345"},
		{"{{ 'a-b-c'.split('-', 1) }} {{ ' a b '.rsplit(none, 1) }} {{ 'xaax'.strip('x') }} {{ 'abc'.find('c') }}",
		 "['a', 'b-c'] [' a', 'b'] aa 2"},
		{"{{ 'a\nb'|indent(2, true) }} {{ 'foo bar baz qux'|truncate(9) }} {{ 'x'|center(5) }}|", "  a\n  b foo...   x  |"},
		{"{{ '<'|e }} {{ ('<'|e) + '>' }} {{ ('<b>'|safe) ~ '<' }} {{ 'a b&é'|urlencode }}", "&lt; &lt;&gt; <b>< a%20b%26%C3%A9"},
		{"{{ [1, none, 'é\"\\n', {'a': 1.0}]|tojson }} {{ d|tojson(indent=1) }}",
		 "[1, null, \"é\\\"\\n\", {\"a\": 1.0}] {\n \"b\": 1,\n \"a\": \"x\"\n}"},
		{"{{ '[1, {\"a\": \"x\"}]'|from_json }}", "[1, {'a': 'x'}]"},
		{"{{ '[1'|from_json }}", NULL},
		{"{{ 'a' + 1 }}", NULL},
	};
	CHECK_ROWS(rows);
}
END_TEST

START_TEST(collections)
{
	static const struct row rows[] = {
		{"{{ l[::-1] }} {{ l[-2:] }} {{ l[5] is defined }} {{ d.b }} {{ d['zz'] }}| {{ d.items() }}",
		 "[2, 1, 3] [1, 2] False 1 | dict_items([('b', 1), ('a', 'x')])"},
		{"{{ l|sort }} {{ items|sort(attribute='k')|map(attribute='v')|list }} {{ d|dictsort }}",
		 "[1, 2, 3] [1, 2] [('a', 'x'), ('b', 1)]"},
		{"{{ [3,1,2]|sort(reverse=true) }} {{ ['b','a','B']|sort }} {{ [1,2,2.0]|unique|list }}", "[3, 2, 1] ['a', 'b', 'B'] [1, 2]"},
		{"{% set x = [1,2]|map('string') %}{{ x|list }}{{ x|list }}", "['1', '2'][]"},
		{"{{ [1,2,3]|select('odd')|list }} {{ items|selectattr('v', '>', 1)|list }}", "[1, 3] [{'k': 'B', 'v': 2}]"},
		{"{{ l.append(4) }}{{ l }} {{ l.pop(0) }} {{ d.update(c=2) }} {{ d.pop('b') }} {{ d }}",
		 "None[3, 1, 2, 4] 3 None 1 {'a': 'x', 'c': 2}"},
		{"{% set a = [] %}{{ a.append(a) }}{{ a }}", "None[[...]]"},
		{"{{ range(10)[2:8:3] }} {{ range(3)|list }} {{ [1,2,3,4,5]|batch(2)|list }}", "range(2, 8, 3) [0, 1, 2] [[1, 2], [3, 4], [5]]"},
		{"{{ {1: 'a', true: 'b', 1.0: 'c'} }}", "{1: 'c'}"},
		{"{{ {[1]: 2} }}", NULL},
		{"{{ [1, 'a']|sort }}", NULL},
		{"{{ undefinedvar.x }}", NULL},
		{"{{ undefinedvar }}|{{ undefinedvar|default('d') }}|{{ no.x is defined }}", "|d|False"},
		{"{% for x in l %}{% set _ = l.append(1) %}{% endfor %}", NULL},
	};
	CHECK_ROWS(rows);
}
END_TEST

START_TEST(statements)
{
	static const struct row rows[] = {
		{"{% for x in l %}{{ loop.index }}{{ loop.last }}{{ loop.previtem }} {% else %}no{% endfor %}", "1False 2False3 3True1 "},
		{"{% for k, v in d|items if v != 1 %}{{ k }}{% endfor %}{% for x in [] %}{% else %}none{% endfor %}", "anone"},
		{"{% for x in [[1, [2]], 3] recursive %}{% if x is iterable %}({{ loop(x) }}){% else %}{{ x }}{{ loop.depth }}{% endif %}{% endfor %}",
		 "(12(23))31"},
		{"{% for x in l %}{% if x == 1 %}{% continue %}{% endif %}{% if x == 2 %}{% break %}{% endif %}{{ x }}{% endfor %}", "3"},
		{"{% set x = 1 %}{% for i in l %}{% set x = x + i %}{{ x }}{% endfor %}{{ x }}", "4231"},
		{"{% set ns = namespace(t=0) %}{% for i in l %}{% set ns.t = ns.t + i %}{% endfor %}{{ ns.t }}", "6"},
		{"{% macro m(a, b=a) %}{{ a }}{{ b }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1) }}{{ m(1, 2, 3, c=4) }}", "11(){}12(3,){'c': 4}"},
		{"{% macro m() %}<{{ caller('x') }}>{% endmacro %}{% call(y) m() %}{{ y }}{% endcall %}", "<x>"},
		{"{% macro m() %}{% endmacro %}{{ m(1) }}", NULL},
		{"{% set x %}a{{ n }}{% endset %}{{ x }}{% filter upper %}b{% endfilter %}{% with y = 1 %}{{ y }}{% endwith %}{{ y }}", "a7B1"},
		{"{% include 'x' %}", NULL},
		{"{% if false %}{% include 'x' %}{{ 1|nosuch }}{% endif %}ok", "ok"},
		{"{{ 1|nosuch }}", NULL},
		{"{% break %}", NULL},
		{"{% set d.x = 1 %}", NULL},
		{"{% raw %}{{ x }}{% endraw %}{# c #}{% generation %}g{% endgeneration %}", "{{ x }}g"},
	};
	CHECK_ROWS(rows);
}
END_TEST

START_TEST(white_space)
{
	static const struct row rows[] = {
		{"  {% if true %}\n  x\n  {% endif %}\ny\n", "  x\ny"},
		{"a  {%- if true -%}  b  {%- endif -%}  c", "abc"},
		{"a\n  {%+ if true %}b{% endif +%}\nc", "a\n  b\nc"},
		{"x\r\n{{ 1 }}\r\n", "x\n1"},
		{"\xc2\xa0{%- if true %}x{% endif %}", "x"},
		{"a\xff{{ 1 }}", "a\xef\xbf\xbd" "1"}, /* broken UTF-8 is replaced */
		{"{#", ""},
		{"{# x", NULL},
		{"{{ {'a': {'b': 1}}['a'] }}", "{'b': 1}"},
	};
	CHECK_ROWS(rows);
}
END_TEST

START_TEST(errors)
{
	struct str out;
	struct err err;
	const char *raise = "{{ raise_exception('Roles must alternate: ' ~ n) }}";
	ck_assert_int_eq(run(raise, strlen(raise), NULL, &out, &err), ERR_INVALID);
	ck_assert_str_eq(err.msg, "Roles must alternate: 7");
	str_release(&out);
	const char *third = "a\nb\n{{ d.x.y }}";
	ck_assert_int_eq(run(third, strlen(third), NULL, &out, &err), ERR_INVALID);
	ck_assert_ptr_nonnull(strstr(err.msg, "line 3"));
	ck_assert_ptr_nonnull(strstr(err.msg, "'x'"));
	str_release(&out);
	const char *open = "a\n{% if x %}";
	ck_assert_int_eq(run(open, strlen(open), NULL, &out, &err), ERR_INVALID);
	ck_assert_ptr_nonnull(strstr(err.msg, "endif"));
	str_release(&out);
}
END_TEST

START_TEST(limits)
{
	static const char *const greedy[] = {
		"{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
		"{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}",
		"{% set ns = namespace(s='x') %}{% for i in range(100) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
		"{{ 'x' * 10 ** 18 }}",
		"{{ [0] * 10 ** 10 }}",
		"{{ '%*d' % (10 ** 9, 1) }}",
		"{{ 'x'.ljust(10 ** 10) }}",
		"{% for i in range(99999) %}{{ 'xxxxxxxxxxxxxxxxxxxx' * 50 }}{% endfor %}",
		"{{ range(10 ** 9) }}",
		"{{ [1, 2, 3]|batch(10 ** 10, 'x')|list }}",
		"{{ ('a' * 500000).rfind('a' * 250000 ~ 'b') }}{{ ('a' * 500000).rfind('b' ~ 'a' * 250000) }}",
	};
	struct jinja_limits lim = jinja_limits_default;
	lim.time_ns = INT64_C(600) * 1000000000; /* steps and bytes alone must do */
	for (size_t i = 0; i < sizeof greedy / sizeof *greedy; i++) {
		struct str out;
		struct err err;
		int rc = run(greedy[i], strlen(greedy[i]), &lim, &out, &err);
		ck_assert_msg(rc == ERR_LIMIT || i == 10, "%s: %d %s", greedy[i], rc, rc ? err.msg : "rendered");
		str_release(&out);
	}
}
END_TEST

/* Nesting of every kind ends in an error or a result, never in a stack overflow. */
START_TEST(nesting)
{
	static const struct {
		const char *head, *part, *tail;
		int n;
	} deep[] = {
		{"{{ ", "(", "", 100000},         {"{{ ", "[", "", 100000},          {"{{ ", "not ", "1 }}", 100000},
		{"{{ ", "-", "1 }}", 100000},     {"{{ a", ".b", " }}", 100000},      {"{{ 'a'", "|trim", " }}", 100000},
		{"{{ ", "1 + ", "1 }}", 50000},   {"{{ ", "1 ~ ", "1 }}", 50000},     {"{{ ", "1 if 0 else ", "1 }}", 50000},
		{"", "{% if 1 %}", "", 50000},    {"", "{% for i in [1] %}", "", 5000}, {"{{ ", "{'a':", "", 50000},
		{"{{ 1", " and 1", " }}", 50000}, {"{{ 1", " == 1", " }}", 50000},    {"", "{% macro m() %}", "", 5000},
		{"{{ a", "[0]", " }}", 50000},    {"{{ a", "()", " }}", 50000},       {"{% if 0 %}", "{% elif 0 %}", "{% endif %}", 50000},
		{"", "{#", "", 50000},            {"", "{% raw %}", "", 20000},       {"{{ ", "1 is none is ", "}}", 1000},
	};
	for (size_t i = 0; i < sizeof deep / sizeof *deep; i++) {
		struct str src = {0}, out;
		struct err err;
		str_adds(&src, deep[i].head);
		for (int k = 0; k < deep[i].n; k++)
			str_adds(&src, deep[i].part);
		str_adds(&src, deep[i].tail);
		run(src.data, src.len, NULL, &out, &err);
		str_release(&src);
		str_release(&out);
	}
}
END_TEST

START_TEST(names_used)
{
	const char *src = "{% if tools %}{{ messages[0].role }}{{ m['tool_calls'] }}{% endif %}{% set unread = 1 %}text_only";
	struct jinja *t;
	struct err err;
	ck_assert_int_eq(jinja_parse(src, strlen(src), &t, &err), 0);
	ck_assert(jinja_uses(t, "tools"));
	ck_assert(jinja_uses(t, "role"));
	ck_assert(jinja_uses(t, "tool_calls"));
	ck_assert(!jinja_uses(t, "unread"));
	ck_assert(!jinja_uses(t, "text_only"));
	jinja_free(t);
	jinja_free(NULL);
}
END_TEST

int main(void)
{
	setenv("TZ", "UTC", 1);
	Suite *s = suite_create("jinja");
	TCase *tc = tcase_create("jinja");
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, numbers);
	tcase_add_test(tc, texts);
	tcase_add_test(tc, collections);
	tcase_add_test(tc, statements);
	tcase_add_test(tc, white_space);
	tcase_add_test(tc, errors);
	tcase_add_test(tc, limits);
	tcase_add_test(tc, nesting);
	tcase_add_test(tc, names_used);
	suite_add_tcase(s, tc);
	SRunner *sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
