/* Renders the golden template cases and compares with what Jinja2 gives. Skipped when the data is not there. */
#include <check.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/str.h"
#include "chat/jinja.h"

#define DIR "../shared/golden/templates/"

static int64_t now_s(void)
{
	struct tm tm = {.tm_year = 126, .tm_mon = 2, .tm_mday = 5, .tm_hour = 14, .tm_min = 30, .tm_sec = 45, .tm_isdst = -1};
	return mktime(&tm);
}

static bool read_file(const char *path, struct str *ret)
{
	char buf[65536];
	size_t n;
	FILE *f = fopen(path, "rb");
	*ret = (struct str){0};
	if (!f)
		return false;
	while ((n = fread(buf, 1, sizeof buf, f)))
		str_add(ret, buf, n);
	fclose(f);
	return true;
}

/* The objects of a .jsonl file; NULL with a message when it is absent. */
static json_t *read_lines(const char *name)
{
	char path[256];
	struct str text;
	json_t *all = json_array();
	snprintf(path, sizeof path, DIR "%s", name);
	if (!read_file(path, &text)) {
		printf("skipped: %s is not there\n", path);
		json_decref(all);
		return NULL;
	}
	for (char *line = strtok(text.data, "\n"); line; line = strtok(NULL, "\n")) {
		json_error_t e;
		json_t *j = json_loads(line, JSON_ALLOW_NUL, &e);
		ck_assert_msg(j != NULL, "%s: %s", name, e.text);
		json_array_append_new(all, j);
	}
	str_release(&text);
	return all;
}

static void source_of(const json_t *c, struct str *ret)
{
	json_t *parts = json_object_get(c, "template_parts"), *t = json_object_get(c, "template");
	*ret = (struct str){0};
	if (!parts) {
		str_add(ret, json_string_value(t), json_string_length(t));
		return;
	}
	for (size_t i = 0; i < json_array_size(parts); i++) {
		const json_t *p = json_array_get(parts, i);
		json_int_t times = json_integer_value(json_array_get(p, 1));
		while (times-- > 0)
			str_adds(ret, json_string_value(json_array_get(p, 0)));
	}
}

/* Parses and renders; *out is the prompt or the error's text. */
static int render(const char *src, size_t n, json_t *vars, struct str *out, struct err *err)
{
	struct jinja *t;
	*out = (struct str){0};
	int rc = jinja_parse(src, n, &t, err);
	if (!rc) {
		rc = jinja_render(t, vars, now_s(), NULL, out, err);
		jinja_free(t);
	}
	return rc;
}

/* Compares with the wanted output or error; prints and returns 1 on a difference. */
static int judge(const char *id, int rc, const struct str *out, const struct err *err, const json_t *want, const json_t *want_err,
		 bool binding)
{
	if (want) {
		size_t n = json_string_length(want), at = 0;
		const char *w = json_string_value(want);
		if (rc) {
			printf("%s: error: %s\n", id, err->msg);
			return 1;
		}
		if (out->len == n && memcmp(str_cstr(out), w, n) == 0)
			return 0;
		while (at < n && at < out->len && out->data[at] == w[at])
			at++;
		printf("%s: differs at byte %zu: got \"%.60s\", want \"%.60s\"\n", id, at, str_cstr(out) + at, w + at);
		return 1;
	}
	if (!rc) {
		printf("%s: rendered, where it must fail: \"%.80s\"\n", id, str_cstr(out));
		return 1;
	}
	const char *message = json_string_value(json_object_get(want_err, "message"));
	if (binding && !strstr(err->msg, message)) {
		printf("%s: error text \"%s\" lacks \"%s\"\n", id, err->msg, message);
		return 1;
	}
	return 0;
}

static json_t *either(const json_t *c, const char *first, const char *second)
{
	json_t *v = json_object_get(c, first);
	return v ? v : json_object_get(c, second);
}

START_TEST(units)
{
	struct str text, src, out;
	struct err err;
	size_t n_bad = 0;
	json_t *cases = read_lines("jinja_units.jsonl");
	if (!cases)
		return;
	ck_assert(read_file(DIR "jinja_unit_vars.json", &text));
	json_t *vars = json_loads(str_cstr(&text), 0, NULL);
	for (size_t i = 0; i < json_array_size(cases); i++) {
		json_t *c = json_array_get(cases, i), *own = json_object_get(c, "variables");
		source_of(c, &src);
		int rc = render(str_cstr(&src), src.len, own ? own : vars, &out, &err);
		n_bad += (size_t)judge(json_string_value(json_object_get(c, "id")), rc, &out, &err,
				       either(c, "output_mutable", "output"), json_object_get(c, "error"), false);
		str_release(&src);
		str_release(&out);
	}
	printf("jinja_units: %zu of %zu\n", json_array_size(cases) - n_bad, json_array_size(cases));
	json_decref(vars);
	json_decref(cases);
	str_release(&text);
	ck_assert_uint_eq(n_bad, 0);
}
END_TEST

START_TEST(hostile)
{
	json_t *cases = read_lines("jinja_hostile.jsonl"), *vars = json_object();
	for (size_t i = 0; i < json_array_size(cases); i++) {
		json_t *c = json_array_get(cases, i);
		struct str src, out;
		struct err err;
		source_of(c, &src);
		/* reaching the next line is the test; limits are in steps and bytes, so no clock is needed */
		render(str_cstr(&src), src.len, vars, &out, &err);
		str_release(&src);
		str_release(&out);
	}
	printf("jinja_hostile: %zu\n", json_array_size(cases));
	json_decref(vars);
	json_decref(cases);
}
END_TEST

static json_t *find_id(json_t *all, const char *id)
{
	for (size_t i = 0; i < json_array_size(all); i++)
		if (strcmp(json_string_value(json_object_get(json_array_get(all, i), "id")), id) == 0)
			return json_array_get(all, i);
	ck_abort_msg("no conversation %s", id);
	return NULL;
}

/* The variables of a conversation, as golden data describes them. */
static json_t *conversation_vars(const json_t *c, json_t *conv)
{
	json_t *vars = json_object(), *tools = json_object_get(conv, "tools");
	json_object_set(vars, "messages", json_object_get(conv, "messages"));
	json_object_set(vars, "add_generation_prompt", json_object_get(conv, "add_generation_prompt"));
	json_object_set_new(vars, "bos_token", json_string("<s>"));
	json_object_set_new(vars, "eos_token", json_string("</s>"));
	if (json_array_size(tools))
		json_object_set(vars, "tools", tools);
	if (json_object_get(c, "output_lenient")) {
		char *text = json_array_size(tools) ? json_dumps(tools, JSON_INDENT(2)) : strdup("[]");
		json_object_set_new(vars, "functions", json_string(text));
		json_object_set_new(vars, "datetime", json_string("Mar 05 2026 14:30:45 GMT"));
		free(text);
	}
	json_object_update(vars, json_object_get(conv, "variables"));
	return vars;
}

START_TEST(templates)
{
	json_t *cases = read_lines("jinja_templates.jsonl"), *convs = read_lines("jinja_conversations.jsonl");
	size_t n_bad = 0;
	for (size_t i = 0; i < json_array_size(cases); i++) {
		json_t *c = json_array_get(cases, i), *error = json_object_get(c, "error");
		const char *name = json_string_value(json_object_get(c, "template"));
		const char *conv_id = json_string_value(json_object_get(c, "conversation"));
		char path[300], id[300];
		struct str src, out;
		struct err err;
		snprintf(path, sizeof path, DIR "jinja/%s.jinja", name);
		snprintf(id, sizeof id, "%s %s", name, conv_id);
		ck_assert(read_file(path, &src));
		json_t *vars = conversation_vars(c, find_id(convs, conv_id));
		int rc = render(str_cstr(&src), src.len, vars, &out, &err);
		n_bad += (size_t)judge(id, rc, &out, &err, either(c, "output_lenient", "output"), error,
				       json_is_true(json_object_get(error, "raised_by_template")));
		json_decref(vars);
		str_release(&src);
		str_release(&out);
	}
	printf("jinja_templates: %zu of %zu\n", json_array_size(cases) - n_bad, json_array_size(cases));
	json_decref(cases);
	json_decref(convs);
	ck_assert_uint_eq(n_bad, 0);
}
END_TEST

int main(void)
{
	setenv("TZ", "UTC", 1);
	setvbuf(stdout, NULL, _IONBF, 0); /* tests run in child processes */
	Suite *s = suite_create("jinja_golden");
	TCase *tc = tcase_create("golden");
	tcase_set_timeout(tc, 600);
	tcase_add_test(tc, units);
	tcase_add_test(tc, hostile);
	tcase_add_test(tc, templates);
	suite_add_tcase(s, tc);
	SRunner *sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
