/* Field decoding, durations, base64. */
#include "fake.h"

#include "api/api_decode.h"

START_TEST(durations)
{
	static const struct {
		const char *text;
		int64_t ns;
		const char *error;
	} cases[] = {
		{"0", 0, NULL}, {"5s", 5 * NS_PER_S, NULL}, {"1h30m", 5400 * NS_PER_S, NULL}, {"1.5m", 90 * NS_PER_S, NULL},
		{"-1s", -NS_PER_S, NULL}, {"+2ms", 2 * NS_PER_MS, NULL}, {"3us", 3000, NULL}, {"3\xC2\xB5s", 3000, NULL}, {"7ns", 7, NULL},
		{".5s", NS_PER_S / 2, NULL},
		{"", 0, "time: invalid duration \"\""}, {"abc", 0, "time: invalid duration \"abc\""}, {"-", 0, "time: invalid duration \"-\""},
		{"5", 0, "time: missing unit in duration \"5\""}, {"5x", 0, "time: unknown unit \"x\" in duration \"5x\""},
		{"1s 2s", 0, "time: unknown unit \"s \" in duration \"1s 2s\""}, {"99999999999h", 0, "time: invalid duration \"99999999999h\""},
		{".s", 0, "time: invalid duration \".s\""},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct err err;
		int64_t ns;
		int rc = api_duration(cases[i].text, &ns, &err);
		if (cases[i].error)
			ck_assert_msg(rc == ERR_INVALID && !strcmp(err.msg, cases[i].error), "%s: %s", cases[i].text, rc ? err.msg : "no error");
		else
			ck_assert_msg(!rc && ns == cases[i].ns, "%s: %lld", cases[i].text, (long long)ns);
	}
}
END_TEST

START_TEST(base64)
{
	static const struct {
		const char *text, *data; /* data NULL: the byte at which it is refused is in `at` */
		int at;
	} cases[] = {{"", "", 0}, {"aA==", "h", 0}, {"aGk=", "hi", 0}, {"aGlq", "hij", 0}, {"aG\nlq", "hij", 0}, {"aGlqaA==", "hijh", 0},
		     {"aA=", NULL, 3}, {"aA", NULL, 2}, {"=", NULL, 0}, {"a===", NULL, 1}, {"data:x", NULL, 4}, {"aA==aA==", NULL, 4},
		     {"aA=a", NULL, 3}, {"a_k=", NULL, 1}};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct str out = {0}, back = {0};
		struct err err;
		char want[60];
		int rc = api_base64_decode(cases[i].text, strlen(cases[i].text), &out, &err);
		snprintf(want, sizeof want, "illegal base64 data at input byte %d", cases[i].at);
		if (cases[i].data)
			ck_assert_msg(!rc && str_eq(&out, cases[i].data), "%s", cases[i].text);
		else
			ck_assert_msg(rc && !strcmp(err.msg, want), "%s: %s", cases[i].text, rc ? err.msg : "no error");
		str_release(&out);
		str_release(&back);
	}
	for (size_t n = 0; n < 40; n++) {
		struct str text = {0}, out = {0};
		struct err err;
		char data[40];
		for (size_t k = 0; k < n; k++)
			data[k] = (char)(k * 37 + n * 11);
		api_base64_encode(data, n, &text);
		ck_assert(!api_base64_decode(str_cstr(&text), text.len, &out, &err));
		ck_assert(out.len == n && !memcmp(str_cstr(&out), data, n));
		str_release(&text);
		str_release(&out);
	}
}
END_TEST

struct rec {
	const char *s;
	int b;
	int64_t i;
	json_t *n, *o, *a, *strs, *map, *ints, *any;
	int64_t keep;
	struct api_think think;
};
static const struct api_field table[] = {
	{"s", API_F_STR, offsetof(struct rec, s)},         {"b", API_F_BOOL, offsetof(struct rec, b)},
	{"i", API_F_INT, offsetof(struct rec, i)},         {"n", API_F_NUM, offsetof(struct rec, n)},
	{"o", API_F_OBJ, offsetof(struct rec, o)},         {"a", API_F_ARR, offsetof(struct rec, a)},
	{"strs", API_F_STRS, offsetof(struct rec, strs)},  {"map", API_F_STR_MAP, offsetof(struct rec, map)},
	{"ints", API_F_INTS, offsetof(struct rec, ints)},  {"any", API_F_ANY, offsetof(struct rec, any)},
	{"keep", API_F_KEEP_ALIVE, offsetof(struct rec, keep)}, {"think", API_F_THINK, offsetof(struct rec, think)},
};

static int decode(const char *text, struct rec *r, json_t **ret_body, struct err *err)
{
	request(api_root, text, NULL);
	ck_assert_int_eq(api_body(&fake.call, "T", "blank", ret_body, err), 0);
	return api_decode(&fake.call, *ret_body, "T", table, ARRAY_LEN(table), r, err);
}

START_TEST(fields)
{
	struct rec r;
	struct err err;
	json_t *body;
	ck_assert_int_eq(decode("{}", &r, &body, &err), 0);
	ck_assert(!*r.s && r.b == -1 && r.i == 0 && !r.n && !r.o && !r.any && r.keep == SCHED_KEEP_DEFAULT && r.think.on == -1);
	json_decref(body);
	ck_assert_int_eq(decode("{\"S\":\"a\\u0000b\",\"B\":false,\"i\":-3,\"n\":1.5,\"o\":{},\"a\":[1],\"strs\":[\"x\",null],\"map\":{\"k\":\"v\"},"
				"\"ints\":[1],\"any\":false,\"keep\":-0.5,\"think\":\"max\",\"s\":null} trailing", &r, &body, &err), 0);
	ck_assert(r.b == 0 && r.i == -3 && r.keep == INT64_MAX && r.think.on == 1 && !strcmp(r.think.level, "max") && json_is_false(r.any));
	json_decref(body);
	ck_assert_int_eq(decode("{\"s\":\"a\\u0000b\"}", &r, &body, &err), 0);
	ck_assert_str_eq(r.s, "a\xEF\xBF\xBD" "b");
	json_decref(body);
	static const char *const bad[] = {"{\"s\":1}", "{\"b\":0}", "{\"i\":1.5}", "{\"i\":\"1\"}", "{\"i\":99999999999999999999}", "{\"n\":\"1\"}",
					  "{\"o\":[]}", "{\"a\":{}}", "{\"strs\":[1]}", "{\"map\":{\"k\":1}}", "{\"ints\":[1.5]}", "{\"keep\":[]}",
					  "{\"keep\":\"x\"}", "{\"think\":\"much\"}"};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		ck_assert_msg(decode(bad[i], &r, &body, &err) == ERR_INVALID, "%s", bad[i]);
		json_decref(body);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("api-decode");
	TCase *tc = tcase_create("decode");
	tcase_add_checked_fixture(tc, fake_setup, fake_teardown);
	tcase_add_test(tc, durations);
	tcase_add_test(tc, base64);
	tcase_add_test(tc, fields);
	suite_add_tcase(s, tc);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
