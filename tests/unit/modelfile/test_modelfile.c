/* Modelfile text: quotes, comments, hostile bytes, and that writing and reading again gives the same commands. */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "base/bug.h"
#include "base/json.h"
#include "base/mem.h"
#include "modelfile/modelfile.h"
#include "modelfile/option.h"

/* "kind|key|value" lines of a text, or "! message". */
static char *dump(const char *text, size_t n)
{
	struct modelfile m;
	struct err err;
	struct str s = {0};
	if (modelfile_parse(text, n, &m, &err)) {
		str_printf(&s, "! %s", err.msg);
		return str_take(&s);
	}
	for (size_t i = 0; i < m.cmds.n; i++)
		str_printf(&s, "%d|%s|%s\n", (int)m.cmds.data[i].kind, m.cmds.data[i].key, m.cmds.data[i].value);
	modelfile_release(&m);
	return s.data ? str_take(&s) : mem_strdup("");
}

START_TEST(parsing)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{"FROM x", "0||x\n"},
		{"from x\r\n# c\n\n  TEMPLATE {{ .Prompt }} \n", "0||x\n2||{{ .Prompt }}\n"},
		{"FROM x # not a comment\n", "0||x # not a comment\n"},
		{"FROM x\nSYSTEM \"\"\"\nYou\nare\n\"\"\"\nPARSER p", "0||x\n3||\nYou\nare\n\n7||p\n"},
		{"FROM x\nSYSTEM \"a\nb\"\n", "0||x\n3||a\nb\n"},
		{"FROM x\nSYSTEM \"abc\" def\nSYSTEM y\"\nPARSER z", "0||x\n3||abc\" def\nSYSTEM y\n7||z\n"},
		{"FROM x\nSYSTEM \"\"\n", "0||x\n3||\n"},
		{"FROM x\nSYSTEM 'a'\n", "0||x\n3||'a'\n"},
		{"FROM x\nPARAMETER stop a b\nparameter  num_ctx\t4\n", "0||x\n8|stop|a b\n8|num_ctx|4\n"},
		{"FROM x\nMESSAGE User hi there\nMESSAGE assistant \"\"\"a\nb\"\"\"", "0||x\n9|user|hi there\n9|assistant|a\nb\n"},
		{"FROM x\nFROM y\nADAPTER z\nDRAFT d\nLICENSE l\nREQUIRES 0.1.0\nRENDERER r", "0||x\n0||y\n4||z\n5||d\n1||l\n10||0.1.0\n6||r\n"},
		{"\xEF\xBB\xBF" "FROM \xC3\xA4\xE2\x80\x8B\xC2\xA0x", "0||\xC3\xA4x\n"},
		{"FROM x\nSYSTEM a\x01\x02" "b", "0||x\n3||ab\n"},
		{"SYSTEM x", "! no FROM line"},
		{"", "! no FROM line"},
		{"FROM", "! unexpected EOF"},
		{"FROM x\nSYSTEM \"\"\"open", "! unexpected EOF"},
		{"FROM x\nSYSTEM \"open\n", "! unexpected EOF"},
		{"FROM x\nPARAMETER num-ctx 4", "! unexpected EOF"},
		{"FROM x\nMESSAGE user", "! unexpected EOF"},
		{"FROM x\nMESSAGE wizard hi", "! (line 2): message role must be one of \"system\", \"user\", or \"assistant\""},
		{"FROM x\nFOO bar", "! (line 2): command must be one of \"from\", \"license\", \"template\", \"system\", \"adapter\", "
				    "\"draft\", \"renderer\", \"parser\", \"parameter\", \"message\", or \"requires\""},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char *got = dump(cases[i].text, strlen(cases[i].text));
		ck_assert_msg(!strcmp(got, cases[i].want), "%s\ngot  %s\nwant %s", cases[i].text, got, cases[i].want);
		mem_free(got);
	}
	char *got = dump("\xFF\xFE" "F\0R\0O\0M\0 \0x\0\x3D\xD8\x00\xDE", 18);
	ck_assert_str_eq(got, "0||x\xF0\x9F\x98\x80\n");
	mem_free(got);
}
END_TEST

START_TEST(round_trip)
{
	static const char *const values[] = {"plain", "two\nlines", " lead", "trail ", "with \"quotes\"", "q \"\nboth", "", "{{ .X }}", "\n"};
	for (size_t i = 0; i < ARRAY_LEN(values); i++) {
		struct str s = {0};
		struct modelfile m;
		struct err err;
		modelfile_write(&s, MODELFILE_FROM, "", "x");
		modelfile_write(&s, MODELFILE_SYSTEM, "", values[i]);
		modelfile_write(&s, MODELFILE_PARAMETER, "stop", values[i]);
		modelfile_write(&s, MODELFILE_MESSAGE, "user", values[i]);
		ck_assert_msg(!modelfile_parse(s.data, s.len, &m, &err), "%s: %s", s.data, err.msg);
		ck_assert_uint_eq(m.cmds.n, 4);
		for (size_t k = 1; k < 4; k++)
			ck_assert_str_eq(m.cmds.data[k].value, values[i]);
		modelfile_release(&m);
		str_release(&s);
	}
}
END_TEST

START_TEST(params)
{
	struct modelfile m;
	struct err err;
	json_t *p;
	const char *text = "FROM x\nPARAMETER temperature 0.5\nPARAMETER num_ctx 4\nPARAMETER num_ctx 8\nPARAMETER stop a\n"
			   "PARAMETER stop b\nPARAMETER use_mmap True\nPARAMETER mirostat 1\n";
	ck_assert_int_eq(modelfile_parse(text, strlen(text), &m, &err), 0);
	ck_assert_int_eq(modelfile_params(&m, &p, &err), 0);
	char *dumped = json_dumps(p, JSON_COMPACT);
	ck_assert_str_eq(dumped, "{\"temperature\":0.5,\"num_ctx\":8,\"stop\":[\"a\",\"b\"],\"use_mmap\":true}");
	free(dumped);
	struct str s = {0};
	modelfile_write_params(&s, p);
	ck_assert_str_eq(s.data, "PARAMETER temperature 0.5\nPARAMETER num_ctx 8\nPARAMETER stop a\nPARAMETER stop b\n"
				 "PARAMETER use_mmap true\n");
	str_release(&s);
	json_decref(p);
	modelfile_release(&m);
	static const struct {
		const char *line, *error;
	} bad[] = {{"nonsense 1", "unknown parameter 'nonsense'"}, {"temperature hot", "invalid float value [hot]"},
		   {"num_ctx 1.5", "invalid int value [1.5]"}, {"num_ctx 0x10", "invalid int value [0x10]"},
		   {"use_mmap maybe", "invalid bool value [maybe]"}};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		char buf[100];
		snprintf(buf, sizeof buf, "FROM x\nPARAMETER %s", bad[i].line);
		ck_assert_int_eq(modelfile_parse(buf, strlen(buf), &m, &err), 0);
		ck_assert_int_eq(modelfile_params(&m, &p, &err), ERR_INVALID);
		ck_assert_str_eq(err.msg, bad[i].error);
		modelfile_release(&m);
	}
}
END_TEST

START_TEST(numbers)
{
	static const struct {
		double v;
		const char *text;
	} cases[] = {{0.7, "0.7"}, {4096, "4096"}, {1e6, "1e+06"}, {123456, "123456"}, {1234567, "1.234567e+06"}, {0.0001, "0.0001"},
		     {0.00001, "1e-05"}, {-1, "-1"}, {0, "0"}, {0.1 + 0.2, "0.30000000000000004"}, {100000, "100000"}, {2.5, "2.5"}};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct str s = {0};
		option_number_text(cases[i].v, &s);
		ck_assert_str_eq(s.data, cases[i].text);
		str_release(&s);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("modelfile");
	TCase *tc = tcase_create("modelfile");
	tcase_add_test(tc, parsing);
	tcase_add_test(tc, round_trip);
	tcase_add_test(tc, params);
	tcase_add_test(tc, numbers);
	suite_add_tcase(s, tc);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
