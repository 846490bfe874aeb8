/* Renders the golden cases of Go templates and compares with what Go and Ollama give. Skipped when the data is not there. */
#include <check.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/str.h"
#include "chat/collate.h"
#include "chat/detect.h"
#include "chat/gotmpl.h"

#define DIR "../shared/golden/templates/"

static int64_t now_s(void)
{
	struct tm tm = {.tm_year = 126, .tm_mon = 2, .tm_mday = 5, .tm_hour = 14, .tm_min = 30, .tm_sec = 45, .tm_isdst = -1};
	return mktime(&tm);
}

static bool read_file(const char *name, struct str *ret)
{
	char buf[65536], path[300];
	size_t n;
	snprintf(path, sizeof path, DIR "%s", name);
	FILE *f = fopen(path, "rb");
	*ret = (struct str){0};
	if (!f) {
		printf("skipped: %s is not there\n", path);
		return false;
	}
	while ((n = fread(buf, 1, sizeof buf, f)))
		str_add(ret, buf, n);
	fclose(f);
	return true;
}

static json_t *read_json(const char *name)
{
	struct str text;
	json_error_t e;
	if (!read_file(name, &text))
		return NULL;
	json_t *j = json_loads(str_cstr(&text), JSON_ALLOW_NUL, &e);
	ck_assert_msg(j != NULL, "%s: %s", name, e.text);
	str_release(&text);
	return j;
}

/* The objects of a .jsonl file; NULL when it is absent. */
static json_t *read_lines(const char *name)
{
	struct str text;
	json_t *all = json_array();
	if (!read_file(name, &text)) {
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

static const char *text_at(const json_t *j, const char *key)
{
	const char *z = json_string_value(json_object_get(j, key));
	return z ? z : "";
}

static void source_of(const json_t *c, struct str *ret)
{
	json_t *parts = json_object_get(c, "template_parts"), *t = json_object_get(c, "template");
	*ret = (struct str){0};
	if (!parts)
		str_add(ret, json_string_value(t), json_string_length(t));
	for (size_t i = 0; i < json_array_size(parts); i++) {
		const json_t *p = json_array_get(parts, i);
		json_int_t times = json_integer_value(json_array_get(p, 1));
		while (times-- > 0)
			str_adds(ret, json_string_value(json_array_get(p, 0)));
	}
}

static int n_bad;

/* `want` NULL: it must fail. */
static void compare(const char *what, const json_t *want, int rc, const struct str *got, const struct err *err)
{
	bool ok = want ? !rc && got->len == json_string_length(want) && !memcmp(str_cstr(got), json_string_value(want), got->len) : rc;
	if (ok)
		return;
	n_bad++;
	if (!want)
		printf("%s: rendered, where it must fail: %.200s\n", what, str_cstr(got));
	else if (rc)
		printf("%s: error: %s\n", what, err->msg);
	else
		printf("%s:\n got %.400s\nwant %.400s\n", what, str_cstr(got), json_string_value(want));
}

START_TEST(units)
{
	json_t *all = read_lines("go_units.jsonl"), *data = read_json("go_unit_data.json"), *c;
	size_t i;
	n_bad = 0;
	json_array_foreach(all, i, c) {
		struct str src, out = {0};
		struct err err = {0};
		struct gotmpl *t;
		source_of(c, &src);
		int rc = gotmpl_parse(str_cstr(&src), src.len, &t, &err);
		const char *stage = rc ? "parse" : "exec";
		if (!rc)
			rc = gotmpl_render(t, data, now_s(), NULL, &out, &err);
		compare(text_at(c, "id"), json_object_get(c, "output"), rc, &out, &err);
		json_t *e = json_object_get(c, "error");
		if (e && rc && strcmp(text_at(e, "stage"), stage) != 0) {
			n_bad++;
			printf("%s: fails in %s, not in %s: %s\n", text_at(c, "id"), stage, text_at(e, "stage"), err.msg);
		}
		if (e && rc && strcmp(text_at(e, "message"), err.msg) != 0)
			printf("%s: message\n got %s\nwant %s\n", text_at(c, "id"), err.msg, text_at(e, "message"));
		gotmpl_free(t);
		str_release(&src);
		str_release(&out);
	}
	printf("go_units: %zu cases, %d bad\n", json_array_size(all), n_bad);
	ck_assert_int_eq(n_bad, 0);
	json_decref(all);
	json_decref(data);
}
END_TEST

START_TEST(hostile)
{
	json_t *all = read_lines("go_hostile.jsonl"), *data = json_object(), *c;
	size_t i;
	json_array_foreach(all, i, c) {
		struct str src, out = {0};
		struct err err = {0};
		struct gotmpl *t;
		source_of(c, &src);
		int64_t from = clock_now_ns();
		int rc = gotmpl_parse(str_cstr(&src), src.len, &t, &err);
		if (!rc)
			rc = gotmpl_render(t, data, now_s(), NULL, &out, &err);
		printf("%s: %d ms, %s\n", text_at(c, "id"), (int)((clock_now_ns() - from) / NS_PER_MS), rc ? err.msg : "rendered");
		gotmpl_free(t);
		str_release(&src);
		str_release(&out);
	}
	json_decref(all);
	json_decref(data);
}
END_TEST

static struct gotmpl *named_template(const char *name)
{
	char path[200];
	struct str src;
	struct err err;
	struct gotmpl *t;
	snprintf(path, sizeof path, "gotmpl/%s.gotmpl", name);
	ck_assert(read_file(path, &src));
	int rc = gotmpl_parse(str_cstr(&src), src.len, &t, &err);
	ck_assert_msg(!rc, "%s: %s", name, err.msg);
	str_release(&src);
	return t;
}

static const json_t *by_id(const json_t *all, const char *id)
{
	size_t i;
	json_t *c;
	json_array_foreach(all, i, c)
		if (!strcmp(text_at(c, "id"), id))
			return c;
	return NULL;
}

static void conversation_case(const json_t *c, const json_t *convs)
{
	struct str out = {0};
	struct err err = {0};
	char what[200];
	const char *conv = text_at(c, "conversation"), *think = text_at(c, "think");
	const json_t *v = by_id(convs, conv);
	struct gotmpl *t = named_template(text_at(c, "template"));
	struct collate_req req = {.messages = json_object_get(v, "messages"), .tools = json_object_get(v, "tools"), .now_s = now_s(),
				  .think = -1, .tag_images = true, .prompt = text_at(c, "prompt"), .suffix = text_at(c, "suffix")};
	if (!strcmp(think, "true") || !strcmp(think, "false"))
		req.think = think[0] == 't';
	else if (*think && strcmp(think, "unset") != 0) {
		req.think = 1;
		req.think_level = think;
	}
	int rc = collate_render(t, &req, NULL, &out, &err);
	json_t *want = json_object_get(c, "output_function_as_json");
	snprintf(what, sizeof what, "%s %s %s", text_at(c, "template"), conv, think);
	if (!json_object_get(c, "reference_panics"))
		compare(what, want ? want : json_object_get(c, "output"), rc, &out, &err);
	gotmpl_free(t);
	str_release(&out);
}

START_TEST(templates)
{
	json_t *all = read_lines("gotmpl_templates.jsonl"), *convs = read_lines("ollama_conversations.jsonl"), *c;
	size_t i;
	n_bad = 0;
	json_array_foreach(all, i, c)
		conversation_case(c, convs);
	printf("gotmpl_templates: %zu cases, %d bad\n", json_array_size(all), n_bad);
	ck_assert_int_eq(n_bad, 0);
	json_decref(all);
	json_decref(convs);
}
END_TEST

START_TEST(inferred)
{
	json_t *all = read_lines("gotmpl_inferred.jsonl"), *c;
	size_t i;
	json_array_foreach(all, i, c) {
		struct gotmpl *t = named_template(text_at(c, "template"));
		const struct gotmpl_tags *tags = gotmpl_infer(t);
		size_t n;
		const char *const *vars = gotmpl_vars(t, &n);
		json_t *want = json_object_get(c, "vars");
		ck_assert_str_eq(tags->think_open, text_at(c, "think_open"));
		ck_assert_str_eq(tags->think_close, text_at(c, "think_close"));
		ck_assert_str_eq(tags->tool_tag, text_at(c, "tool_tag"));
		ck_assert_uint_eq(n, json_array_size(want));
		for (size_t k = 0; k < n; k++) {
			ck_assert_str_eq(vars[k], json_string_value(json_array_get(want, k)));
			ck_assert(gotmpl_uses(t, vars[k]));
		}
		ck_assert(!gotmpl_uses(t, "no such name"));
		gotmpl_free(t);
	}
	printf("gotmpl_inferred: %zu cases\n", json_array_size(all));
	json_decref(all);
}
END_TEST

START_TEST(named)
{
	json_t *all = read_lines("gotmpl_named.jsonl"), *index = all ? read_json("gotmpl/index.json") : NULL, *c;
	size_t i;
	n_bad = 0;
	json_array_foreach(all, i, c) {
		const char *kind = text_at(c, "kind"), *ref = text_at(c, "ref");
		struct str text = {0};
		char path[200];
		if (!strncmp(kind, "index", 5)) {
			str_adds(&text, text_at(json_array_get(index, (size_t)strtol(ref, NULL, 10)), "template"));
		} else if (!strcmp(kind, "jinja")) {
			snprintf(path, sizeof path, "jinja/%s.jinja", ref);
			ck_assert(read_file(path, &text));
		} else {
			str_adds(&text, text_at(c, "text"));
		}
		json_t *append = json_object_get(c, "append");
		for (json_int_t k = json_integer_value(json_array_get(append, 1)); k > 0; k--)
			str_adds(&text, json_string_value(json_array_get(append, 0)));
		const struct detect_row *row = detect_template(str_cstr(&text), text.len);
		if (strcmp(row ? row->name : "", text_at(c, "name")) != 0) {
			n_bad++;
			printf("%s %s: got %s, want %s\n", kind, ref, row ? row->name : "none", text_at(c, "name"));
		}
		str_release(&text);
	}
	printf("gotmpl_named: %zu cases, %d bad\n", json_array_size(all), n_bad);
	ck_assert_int_eq(n_bad, 0);
	json_decref(all);
	json_decref(index);
}
END_TEST

START_TEST(embedded_texts)
{
	size_t n;
	const struct detect_row *rows = detect_table(&n);
	ck_assert_uint_eq(n, 20);
	for (size_t i = 0; i < n; i++) {
		char path[200];
		struct str text;
		snprintf(path, sizeof path, "gotmpl/%s.gotmpl", rows[i].name);
		if (!read_file(path, &text))
			return;
		ck_assert_str_eq(rows[i].text, str_cstr(&text));
		str_release(&text);
	}
}
END_TEST

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	Suite *s = suite_create("gotmpl_golden");
	TCase *c = tcase_create("golden");
	tcase_set_timeout(c, 60);
	tcase_add_test(c, units);
	tcase_add_test(c, hostile);
	tcase_add_test(c, templates);
	tcase_add_test(c, inferred);
	tcase_add_test(c, named);
	tcase_add_test(c, embedded_texts);
	suite_add_tcase(s, c);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? 1 : 0;
}
