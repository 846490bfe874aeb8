/* Go templates: the language case by case, its limits, and conversations beyond the golden data. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "chat/collate.h"
#include "chat/detect.h"
#include "chat/gotmpl.h"
#include "gotmpl_cases.h"

static const char data_text[] =
	"{\"s\":\"hello\",\"n\":7,\"f\":1.5,\"big\":1e21,\"t\":true,\"nil\":null,\"l\":[3,1,2],\"e\":[],\"m\":{\"b\":2,\"a\":\"x\"},"
	"\"users\":[{\"Name\":\"Ann\"},{\"Name\":\"Bob\",\"Tags\":[\"x\"]}],\"u\":\"\303\251\346\227\245\346\234\254\",\"nulls\":[null,1],"
	"\"e1\":1000000.0}";

static json_t *parsed(const char *text)
{
	json_t *j;
	struct err err;
	ck_assert_msg(!json_parse_all(text, strlen(text), &j, &err), "%s", err.msg);
	return j;
}

static int render(const char *src, const struct gotmpl_limits *lim, struct str *out, struct err *err)
{
	struct gotmpl *t;
	json_t *data = parsed(data_text);
	*out = (struct str){0};
	int rc = gotmpl_parse(src, strlen(src), &t, err);
	if (!rc)
		rc = gotmpl_render(t, data, 1772721045, lim, out, err);
	gotmpl_free(t);
	json_decref(data);
	return rc;
}

START_TEST(prints_as_go)
{
	struct str out;
	struct err err;
	int bad = 0;
	for (size_t i = 0; i < sizeof prints / sizeof *prints; i++) {
		int rc = render(prints[i].source, NULL, &out, &err);
		if (rc || strcmp(str_cstr(&out), prints[i].want) != 0) {
			printf("%s\n got %s\nwant %s\n", prints[i].source, rc ? err.msg : str_cstr(&out), prints[i].want);
			bad++;
		}
		str_release(&out);
	}
	ck_assert_int_eq(bad, 0);
}
END_TEST

START_TEST(fails_as_go)
{
	struct str out;
	struct err err;
	int bad = 0;
	for (size_t i = 0; i < sizeof failures / sizeof *failures; i++) {
		int rc = render(failures[i].source, NULL, &out, &err);
		if (rc != ERR_INVALID || strcmp(err.msg, failures[i].want) != 0 || out.len) {
			printf("%s\n got %s\nwant %s\n", failures[i].source, rc ? err.msg : str_cstr(&out), failures[i].want);
			bad++;
		}
		ck_assert(!rc || failures[i].parsing == !strstr(err.msg, "executing"));
		str_release(&out);
	}
	ck_assert_int_eq(bad, 0);
}
END_TEST

/* Each input breaks one limit. */
START_TEST(limits_hold)
{
	static const char *const sources[] = {
		"{{ range 1000000000 }}{{ end }}",
		"{{ define \"R\" }}{{ template \"R\" . }}{{ end }}{{ template \"R\" . }}",
		"{{ $x := \"xxxxxxxxxxxxxxxx\" }}{{ range 100 }}{{ $x = print $x $x }}{{ end }}{{ len $x }}",
		"{{ range 100 }}{{ printf \"%999999d\" 1 }}{{ end }}",
		"{{ range 100 }}{{ printf \"%.999999f\" 1.0 }}{{ end }}",
		"{{ $x := .s }}{{ range 1000000 }}{{ $x = printf \"%q\" $x }}{{ end }}",
	};
	for (size_t i = 0; i < sizeof sources / sizeof *sources; i++) {
		struct str out;
		struct err err;
		int64_t from = clock_now_ns();
		ck_assert_int_eq(render(sources[i], NULL, &out, &err), ERR_LIMIT);
		ck_assert_uint_eq(out.len, 0);
		ck_assert_msg(clock_now_ns() - from < 20 * NS_PER_S, "%s", sources[i]);
		str_release(&out);
	}
}
END_TEST

START_TEST(own_limits_count)
{
	struct gotmpl_limits lim = gotmpl_limits_default;
	struct str out;
	struct err err;
	lim.output_bytes = 5;
	ck_assert_int_eq(render("{{ .s }}", &lim, &out, &err), 0);
	str_release(&out);
	ck_assert_int_eq(render("{{ .s }}!", &lim, &out, &err), ERR_LIMIT);
	str_release(&out);
	lim = gotmpl_limits_default;
	lim.memory_bytes = 1 << 16;
	ck_assert_int_eq(render("{{ range 10000 }}{{ $x := print $.s \"!\" }}{{ end }}", &lim, &out, &err), ERR_LIMIT);
	str_release(&out);
}
END_TEST

/* n times `open`, then `mid`, then n times `close` */
static void nested(struct str *s, int n, const char *open, const char *mid, const char *close)
{
	*s = (struct str){0};
	for (int i = 0; i < n; i++)
		str_adds(s, open);
	str_adds(s, mid);
	for (int i = 0; i < n; i++)
		str_adds(s, close);
}

START_TEST(nesting)
{
	static const struct {
		const char *open, *mid, *close;
	} forms[] = {
		{"{{ if 1 }}", "x", "{{ end }}"},
		{"{{ range 1 }}", "x", "{{ end }}"},
		{"{{ block \"a\" 1 }}", "x", "{{ end }}"},
		{"{{ print ", "1 }}", ""},
		{"{{ if 0 }}{{ else }}", "x", "{{ end }}"},
	};
	struct str src, out;
	struct err err;
	for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
		nested(&src, 100000, forms[i].open, forms[i].mid, forms[i].close);
		ck_assert_int_lt(render(str_cstr(&src), NULL, &out, &err), 0);
		str_release(&src);
		str_release(&out);
	}
	nested(&src, 200, "{{ if 1 }}", "x", "{{ end }}");
	ck_assert_int_eq(render(str_cstr(&src), NULL, &out, &err), 0);
	ck_assert_str_eq(str_cstr(&out), "x");
	str_release(&src);
	str_release(&out);
	str_adds(&src, "{{ print ");
	nested(&out, 400, "(", "1", ")");
	str_adds(&src, str_cstr(&out));
	str_adds(&src, " }}");
	str_release(&out);
	ck_assert_int_eq(render(str_cstr(&src), NULL, &out, &err), 0);
	ck_assert_str_eq(str_cstr(&out), "1");
	str_release(&src);
	str_release(&out);
}
END_TEST

START_TEST(bad_bytes_and_nul)
{
	static const char src[] = "a\0b\xff{{ \"\xff\\xff\\u0000\" }}{{ printf \"%q\" \"\\xff\" }}";
	struct gotmpl *t;
	struct err err;
	struct str out = {0};
	json_t *data = json_null();
	ck_assert_int_eq(gotmpl_parse(src, sizeof src - 1, &t, &err), 0);
	ck_assert_int_eq(gotmpl_render(t, data, 0, NULL, &out, &err), 0);
	ck_assert_uint_eq(out.len, sizeof "a\0b\xff\xef\xbf\xbd\xff\0\"\\xff\"" - 1);
	ck_assert_mem_eq(out.data, "a\0b\xff\xef\xbf\xbd\xff\0\"\\xff\"", out.len);
	str_release(&out);
	gotmpl_free(t);
	ck_assert_int_eq(gotmpl_parse("{{ template \"T\" }}", 18, &t, &err), ERR_INVALID);
	ck_assert_str_eq(err.msg, "undefined template specified");
}
END_TEST

/* ---- conversations ---- */

static void prompt(const char *src, struct collate_req *req, const char *messages, const char *tools, const char *want)
{
	struct gotmpl *t;
	struct err err;
	struct str out = {0};
	json_t *m = parsed(messages), *f = tools ? parsed(tools) : NULL;
	ck_assert_msg(!gotmpl_parse(src, strlen(src), &t, &err), "%s", err.msg);
	req->messages = m;
	req->tools = f;
	ck_assert_msg(!collate_render(t, req, NULL, &out, &err), "%s", err.msg);
	ck_assert_str_eq(str_cstr(&out), want);
	str_release(&out);
	gotmpl_free(t);
	json_decref(m);
	json_decref(f);
}

static const char chat[] = "[{\"role\":\"system\",\"content\":\"S\"},{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"user\",\"content\":\"b\"},"
			   "{\"role\":\"assistant\",\"content\":\"c\"},{\"role\":\"system\",\"content\":\"T\"},{\"role\":\"user\",\"content\":\"d\"}]";

START_TEST(messages_merge)
{
	struct collate_req req = {.think = -1};
	prompt("{{ .System }}|{{ range .Messages }}{{ .Role }}:{{ .Content }};{{ end }}", &req, chat, NULL,
	       "S\n\nT|system:S;user:a\n\nb;assistant:c;system:T;user:d;");
}
END_TEST

START_TEST(legacy_turns)
{
	struct collate_req req = {.think = -1};
	prompt("<{{ .System }}|{{ .Prompt }}>{{ .Response }}#", &req, chat, NULL, "<S|a\n\nb>c#<T|d>");
	/* a first answer inside an if with an else: the else's text is cut as well */
	prompt("{{ .Prompt }}{{ if .System }}[{{ .Response }}]{{ else }}({{ .Response }}){{ end }}#", &req, chat, NULL, "a\n\nb[c]#d[");
	prompt("{{ .Prompt }}{{ if .Response }}{{ .Response }}.{{ else }}no{{ end }}#", &req, chat, NULL, "a\n\nbc.#d");
	/* no place for the answer: it goes to the end */
	prompt("{{ .Prompt }}:", &req, chat, NULL, "a\n\nb:cd:");
	/* functions and definitions work in the last turn too */
	prompt("{{ define \"p\" }}{{ json . }}{{ end }}{{ template \"p\" .Prompt }}{{ .Response }}!", &req, chat, NULL,
	       "\"a\\n\\nb\"c!\"d\"");
	prompt("{{ .Prompt }}{{ .Response }}!", &req, "[]", NULL, "");
	prompt("{{ .Response }}", &req, "[{\"role\":\"user\",\"content\":null}]", NULL, "");
}
END_TEST

START_TEST(think_values)
{
	struct collate_req req = {.think = -1};
	const char *src = "{{ .Think }} {{ .ThinkLevel }} {{ .IsThinkSet }}{{ range .Messages }}{{ end }}";
	prompt(src, &req, "[]", NULL, "false  false");
	req.think = 0;
	prompt(src, &req, "[]", NULL, "false  true");
	req.think = 1;
	prompt(src, &req, "[]", NULL, "true medium true");
	req.think_level = "high";
	prompt(src, &req, "[]", NULL, "true high true");
}
END_TEST

START_TEST(images_are_tagged)
{
	struct collate_req req = {.think = -1, .tag_images = true};
	const char *m = "[{\"role\":\"user\",\"content\":\"see [img] and\",\"images\":[\"x\",\"y\"]},{\"role\":\"assistant\",\"content\":\"ok\"},"
			"{\"role\":\"user\",\"content\":\"z\",\"images\":[\"x\"]}]";
	prompt("{{ range .Messages }}{{ .Content }};{{ len .Images }};{{ end }}", &req, m, NULL,
	       "[img-1]see [img-0] and;2;ok;0;[img-2]z;1;");
	req.tag_images = false;
	prompt("{{ range .Messages }}{{ .Content }};{{ end }}", &req, m, NULL, "see [img] and;ok;z;");
}
END_TEST

static const char tool[] =
	"[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"type\":\"object\",\"properties\":{\"z\":{\"type\":[\"string\","
	"\"null\"],\"enum\":[1,\"<\"],\"default\":1},\"a\":{\"type\":\"array\",\"items\":{\"type\":\"string\"},\"properties\":{\"y\":{},\"b\":{}}}}}}}]";

START_TEST(tools_print)
{
	struct collate_req req = {.think = -1};
	const char *props = "{\"a\":{\"type\":\"array\",\"items\":{\"type\":\"string\"},\"properties\":{\"y\":{},\"b\":{}}},"
			    "\"z\":{\"type\":[\"string\",\"null\"],\"enum\":[1,\"\\u003c\"]}}";
	char want[600];
	prompt("{{ range .Tools }}{{ .Function.Parameters.Properties }}{{ end }}{{ range .Messages }}{{ end }}", &req, "[]", tool, props);
	snprintf(want, sizeof want, "[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"description\":\"\",\"parameters\":"
		 "{\"type\":\"object\",\"properties\":%s}}}]", props);
	prompt("{{ .Tools }}{{ range .Messages }}{{ end }}", &req, "[]", tool, want);
	prompt("{{ range .Tools }}{{ range $k, $v := .Function.Parameters.Properties }}{{ $k }}:{{ $v.Type }}:{{ toTypeScriptType $v }} "
	       "{{ end }}{{ end }}{{ range .Messages }}{{ end }}", &req, "[]", tool, "a:array:any[] z:[string null]:string | null ");
	prompt("{{ .Tools }}{{ if .Tools }}x{{ end }}{{ range .Messages }}{{ end }}", &req, "[]", NULL, "null");
	prompt("{{ .Tools }}{{ range .Messages }}{{ end }}", &req, "[]", "[]", "[]");
}
END_TEST

START_TEST(calls_print)
{
	struct collate_req req = {.think = -1};
	const char *m = "[{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"id\":\"i\",\"function\":{\"index\":1,\"name\":\"f\","
			"\"arguments\":{\"z\":{\"d\":1,\"c\":\"<\"},\"a\":1234567}}},{\"function\":{\"name\":\"g\"}}]}]";
	prompt("{{ range .Messages }}{{ range .ToolCalls }}{{ .ID }} {{ .Function.Index }} {{ .Function.Name }} {{ .Function.Arguments }};"
	       "{{ range $k, $v := .Function.Arguments }}{{ $k }}={{ $v }},{{ end }}{{ end }}{{ end }}", &req, m, NULL,
	       "i 1 f {\"a\":1234567,\"z\":{\"c\":\"\\u003c\",\"d\":1}};a=1.234567e+06,z=map[c:< d:1], 0 g {};");
}
END_TEST

START_TEST(fill_in_the_middle)
{
	struct collate_req req = {.think = -1, .prompt = "p", .suffix = "s"};
	prompt("{{ if .Suffix }}{{ .Prompt }}^{{ .Suffix }}{{ end }}{{ .Messages }}", &req, chat, NULL, "p^s<no value>");
	req.suffix = "";
	prompt("{{ .Suffix }}{{ .Prompt }}{{ .Response }}", &req, "[{\"role\":\"user\",\"content\":\"u\"}]", NULL, "<no value>u");
}
END_TEST

START_TEST(detect_distance)
{
	size_t n;
	const struct detect_row *rows = detect_table(&n);
	struct str s = {0};
	ck_assert_ptr_null(detect_template("", 0));
	for (int i = 0; i < 100000; i++)
		str_adds(&s, "{% x %}");
	ck_assert_ptr_null(detect_template(s.data, s.len));
	str_release(&s);
	for (size_t i = 0; i < n; i++) {
		json_t *p = parsed(rows[i].params);
		struct gotmpl *t;
		struct err err;
		ck_assert(json_array_size(json_object_get(p, "stop")) > 0);
		ck_assert_msg(!gotmpl_parse(rows[i].text, strlen(rows[i].text), &t, &err), "%s: %s", rows[i].name, err.msg);
		ck_assert(gotmpl_uses(t, "messages"));
		gotmpl_free(t);
		json_decref(p);
	}
}
END_TEST

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	Suite *s = suite_create("gotmpl");
	TCase *c = tcase_create("all");
	tcase_set_timeout(c, 60);
	tcase_add_test(c, prints_as_go);
	tcase_add_test(c, fails_as_go);
	tcase_add_test(c, limits_hold);
	tcase_add_test(c, own_limits_count);
	tcase_add_test(c, nesting);
	tcase_add_test(c, bad_bytes_and_nul);
	tcase_add_test(c, messages_merge);
	tcase_add_test(c, legacy_turns);
	tcase_add_test(c, think_values);
	tcase_add_test(c, images_are_tagged);
	tcase_add_test(c, tools_print);
	tcase_add_test(c, calls_print);
	tcase_add_test(c, fill_in_the_middle);
	tcase_add_test(c, detect_distance);
	suite_add_tcase(s, c);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? 1 : 0;
}
