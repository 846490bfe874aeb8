/* Grammars: which texts schemas and GBNF take, that whatever is begun can be ended and parses, masks against token by token
 * tests, clones, limits.
 *
 * test_grammar --walk FILE SEED N prints N random texts of the schema in FILE, one JSON value a line (tests/schema_walk.py
 * checks them with an independent validator), or the error. */
#include <check.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/mem.h"
#include "engine/grammar.h"
#include "tok/tok.h"

#define GOLDEN "../shared/golden/arch/"

static uint32_t rng = 1;

static uint32_t random_below(uint32_t n)
{
	rng = rng * 1664525u + 1013904223u;
	return (rng >> 8) % n;
}

static int from_schema(const char *text, struct grammar **ret, struct err *err)
{
	json_t *j;
	int rc = json_parse_all(text, strlen(text), &j, err);
	ck_assert_msg(!rc, "%s: %s", text, rc ? err->msg : "");
	rc = grammar_from_schema(j, ret, err);
	json_decref(j);
	return rc;
}

static struct grammar *schema(const char *text)
{
	struct grammar *g;
	struct err err;
	int rc = from_schema(text, &g, &err);
	ck_assert_msg(!rc, "%s: %s", text, rc ? err.msg : "");
	return g;
}

static struct grammar *gbnf(const char *text)
{
	struct grammar *g;
	struct err err;
	int rc = grammar_from_gbnf(text, strlen(text), &g, &err);
	ck_assert_msg(!rc, "%s: %s", text, rc ? err.msg : "");
	return g;
}

static bool takes(const struct grammar *g, const char *text)
{
	struct grammar_state *s = grammar_state_new(g);
	bool yes = true;
	for (const char *p = text; *p && yes; p++)
		yes = grammar_state_accept_bytes(s, p, 1);
	yes = yes && grammar_state_can_end(s);
	grammar_state_free(s);
	return yes;
}

/* ---- random walks ---- */

/* One more byte, ending where that can be when `hurry`. False at the end. */
static bool walk_on(struct grammar_state *s, struct str *out, bool hurry)
{
	static const char closers[] = "\"]}_i0:,\\n/tfasler u8";
	if (grammar_state_done(s) || (grammar_state_can_end(s) && (hurry || random_below(8) == 0)))
		return false;
	if (hurry ? random_below(4) != 0 : random_below(6) == 0) {
		uint32_t first = hurry ? random_below(6) : 0;
		for (uint32_t i = 0; i + 1 < sizeof closers; i++) {
			const char *c = &closers[(first + i) % (sizeof closers - 1)];
			if (grammar_state_accept_bytes(s, c, 1)) {
				str_addc(out, *c);
				return true;
			}
		}
	}
	uint32_t from = random_below(256), range = random_below(2) ? 128 : 256;
	for (uint32_t i = 0; i < 512; i++) {
		char c = (char)((from + i) % (i < 256 ? range : 256));
		if (grammar_state_accept_bytes(s, &c, 1)) {
			str_addc(out, c);
			return true;
		}
	}
	ck_abort_msg("no byte can follow: %s", str_cstr(out));
	return false;
}

static void walk(const struct grammar *g, int n_free, struct str *out)
{
	struct grammar_state *s = grammar_state_new(g);
	str_clear(out);
	for (int i = 0; walk_on(s, out, i > n_free); i++)
		if (i > n_free + 100000)
			ck_abort_msg("no end: %.200s", str_cstr(out));
	grammar_state_free(s);
}

static void walk_json(const struct grammar *g, int n)
{
	struct str text = {0};
	for (int i = 0; i < n; i++) {
		json_error_t e;
		walk(g, 20 + (int)random_below(300), &text);
		json_t *j = json_loadb(text.data, text.len, JSON_DECODE_ANY, &e);
		ck_assert_msg(j != NULL, "%s: %s", e.text, text.data);
		json_decref(j);
	}
	str_release(&text);
}

/* ---- schemas ---- */

/* A schema, texts that it takes (after "+") and texts that it does not (after "-"). */
struct schema_case {
	const char *schema;
	const char *texts[16];
};

static const struct schema_case cases[] = {
	{"{\"type\":\"string\"}", {"+\"\"", "+\"a\"", "+\"\\u00e9\\n\"", "+\"\xC3\xA9\"", "+\"\\ud83d\\ude00\"", "-\"\\ud83d\"", "-\"\\ude00\"",
		"-\"\x01\"", "-\"\xC3\"", "-\"\xED\xA0\x80\"", "-\"\\u0000\"", "-1", "-\"a", "+\"\\u0001\\uD7ff\\ue000\\u1000\\u0100\""}},
	{"{\"type\":\"string\",\"minLength\":2,\"maxLength\":3}", {"-\"a\"", "+\"ab\"", "+\"a\xC3\xA9\\n\"", "-\"abcd\"", "+\"\\ud83d\\ude00x\""}},
	{"{\"type\":\"string\",\"minLength\":2}", {"-\"a\"", "+\"ab\"", "+\"abcdef\""}},
	{"{\"type\":\"string\",\"maxLength\":0}", {"+\"\"", "-\"a\""}},
	{"{\"type\":\"integer\"}", {"+0", "+-1", "+42", "-01", "-1.0", "-1e3", "-+1", "--", "-", "+123456789012345678"}},
	{"{\"type\":\"number\"}", {"+0", "+-0.5", "+1e9", "+1.25E-3", "-.5", "-1.", "-01", "-1e", "-Infinity", "-1e999"}},
	{"{\"type\":\"boolean\"}", {"+true", "+false", "-null", "-True"}},
	{"{\"type\":\"null\"}", {"+null", "-\"null\""}},
	{"{\"type\":[\"string\",\"null\"]}", {"+null", "+\"a\"", "-1"}},
	{"{\"type\":\"string\",\"nullable\":true}", {"+null", "+\"a\"", "-1"}},
	{"{\"enum\":[\"a\",\"ab\",1,null,{\"x\":[1]}]}", {"+\"a\"", "+\"ab\"", "+1", "+null", "+{\"x\":[1]}", "-\"b\"", "-{\"x\":[2]}", "-2"}},
	{"{\"type\":\"string\",\"enum\":[\"a\",1]}", {"+\"a\"", "-1"}},
	{"{\"const\":\"q\\\"\\n\"}", {"+\"q\\\"\\n\"", "-\"q\""}},
	{"{\"const\":0.1}", {"+0.1", "-0.10000000000000001"}},
	{"true", {"+1", "+{\"a\":[true,null]}", "+[]", "+\"x\"", "-", "-{]"}},
	{"{}", {"+1", "+{}", "+[[[]]]", "-[[]"}},
	/* numbers */
	{"{\"type\":\"integer\",\"minimum\":3,\"maximum\":120}", {"-2", "+3", "+9", "+10", "+99", "+100", "+120", "-121", "-999", "-0",
		"--5", "-3.5"}},
	{"{\"type\":\"integer\",\"minimum\":-5,\"maximum\":5}", {"+-5", "-6", "+0", "+5", "--6", "--0", "-7", "--10"}},
	{"{\"type\":\"integer\",\"minimum\":-100,\"exclusiveMaximum\":-9}", {"+-100", "+-10", "--9", "--101", "-0", "-10"}},
	{"{\"type\":\"integer\",\"exclusiveMinimum\":0}", {"-0", "+1", "+10", "--1"}},
	{"{\"type\":\"integer\",\"minimum\":0,\"exclusiveMinimum\":true}", {"-0", "+1"}},
	{"{\"type\":\"integer\",\"minimum\":1.5,\"maximum\":3.5}", {"-1", "+2", "+3", "-4"}},
	{"{\"type\":\"integer\",\"maximum\":1e30}", {"+999999999999999999", "+-1"}},
	{"{\"type\":\"number\",\"minimum\":0,\"maximum\":1}", {"+0", "+1", "+0.5", "+1.0", "-1.01", "--0.1", "-2", "+0.0"}},
	{"{\"type\":\"number\",\"exclusiveMinimum\":0,\"exclusiveMaximum\":1}", {"-0", "-0.0", "+0.001", "+0.999", "-1", "-1.0"}},
	{"{\"type\":\"number\",\"minimum\":-1.25,\"maximum\":10.5}", {"+-1.25", "--1.26", "+-1.2", "+10.5", "+10.50", "-10.51", "+9.99",
		"+0", "-11", "+10.499", "-1e1"}},
	{"{\"type\":\"number\",\"minimum\":0.1}", {"-0.09", "+0.1", "+0.10", "+1", "+10", "-0"}},
	{"{\"type\":\"integer\",\"multipleOf\":7}", {"+0", "+7", "+-14", "-8", "+700"}},
	{"{\"type\":\"integer\",\"multipleOf\":5,\"minimum\":12,\"maximum\":21}", {"-10", "+15", "+20", "-25", "-13"}},
	{"{\"type\":\"number\",\"multipleOf\":0.25}", {"+0.25", "+1.5", "-1.3", "+2", "-0.255", "+-0.75"}},
	{"{\"type\":\"number\",\"multipleOf\":0.01}", {"+0.01", "+12.34", "-1.234"}},
	/* patterns */
	{"{\"type\":\"string\",\"pattern\":\"^[a-c]{2,3}$\"}", {"+\"ab\"", "+\"abc\"", "-\"a\"", "-\"abca\"", "-\"xab\""}},
	{"{\"type\":\"string\",\"pattern\":\"b+\"}", {"+\"b\"", "+\"aabbc\"", "-\"\"", "-\"ac\""}},
	{"{\"type\":\"string\",\"pattern\":\"^a|b$\"}", {"+\"ax\"", "+\"xb\"", "-\"xa\"", "-\"bx\""}},
	{"{\"type\":\"string\",\"pattern\":\"^(\\\\([0-9]{3}\\\\))?[0-9]{3}-[0-9]{4}$\"}", {"+\"555-1212\"", "+\"(888)555-1212\"",
		"-\"(888)555-121\""}},
	{"{\"type\":\"string\",\"pattern\":\"^\\\"\\\\\\\\$\"}", {"+\"\\\"\\\\\"", "-\"\\\"\""}},
	{"{\"type\":\"string\",\"pattern\":\"^\\\\d+\\\\.\\\\w*\\\\s?$\"}", {"+\"1.a_\"", "+\"12.\\t\"", "-\".a\""}},
	{"{\"type\":\"string\",\"pattern\":\"^[^a-z]$\"}", {"+\"A\"", "+\"\xE2\x82\xAC\"", "-\"a\"", "-\"\""}},
	{"{\"type\":\"string\",\"pattern\":\"^.*$\",\"maxLength\":2}", {"+\"\"", "+\"ab\"", "-\"abc\"", "-\"\\n\""}},
	{"{\"type\":\"string\",\"pattern\":\"^x*$\",\"minLength\":2}", {"-\"x\"", "+\"xx\"", "+\"xxxx\""}},
	{"{\"type\":\"string\",\"pattern\":\"^a{2}$|^\\\\u0041$\"}", {"+\"aa\"", "+\"A\"", "-\"a\""}},
	{"{\"type\":\"string\",\"format\":\"date\"}", {"+\"2024-02-29\"", "-\"2023-02-29\"", "-\"2100-02-29\"", "+\"2000-02-29\"",
		"-\"2024-13-01\"", "-\"2024-04-31\""}},
	{"{\"type\":\"string\",\"format\":\"time\"}", {"+\"23:59:59Z\"", "+\"00:00:00.123+01:00\"", "-\"24:00:00Z\"", "-\"12:00:00\""}},
	{"{\"type\":\"string\",\"format\":\"date-time\"}", {"+\"2024-02-29T12:00:00Z\"", "-\"2024-02-30T12:00:00Z\"", "-\"2024-02-29\""}},
	{"{\"type\":\"string\",\"format\":\"uuid\"}", {"+\"123e4567-e89b-12d3-a456-426614174000\"", "-\"123e4567\""}},
	{"{\"type\":\"string\",\"format\":\"ipv4\"}", {"+\"192.168.0.255\"", "-\"256.1.1.1\"", "-\"01.1.1.1\""}},
	{"{\"type\":\"string\",\"format\":\"unheard-of\"}", {"+\"x\""}},
	/* arrays */
	{"{\"type\":\"array\",\"items\":{\"type\":\"integer\"}}", {"+[]", "+[1]", "+[1,2, 3]", "+[\n  1,\n  2\n]", "-[1,]", "-[,1]",
		"-[\"a\"]", "-[1  ]", "-[1\n\n]"}},
	{"{\"type\":\"array\",\"items\":{\"type\":\"integer\"},\"minItems\":2,\"maxItems\":3}", {"-[1]", "+[1,2]", "+[1,2,3]", "-[1,2,3,4]", "-[]"}},
	{"{\"type\":\"array\",\"items\":{\"type\":\"integer\"},\"minItems\":3}", {"-[1,2]", "+[1,2,3]", "+[1,2,3,4,5,6,7]"}},
	{"{\"type\":\"array\",\"maxItems\":0}", {"+[]", "-[1]"}},
	{"{\"type\":\"array\",\"maxItems\":1}", {"+[]", "+[{}]", "-[1,2]"}},
	{"{\"type\":\"array\",\"prefixItems\":[{\"type\":\"integer\"},{\"type\":\"string\"}],\"minItems\":2}", {"+[1,\"a\"]", "-[1]",
		"-[1,\"a\",2]", "-[\"a\",1]"}},
	{"{\"prefixItems\":[{\"type\":\"integer\"}],\"items\":{\"type\":\"string\"}}", {"+[]", "+[1]", "+[1,\"a\",\"b\"]", "-[1,2]"}},
	{"{\"items\":[{\"type\":\"integer\"},{\"type\":\"null\"}],\"additionalItems\":false}", {"+[1,null]", "+[1]", "-[1,null,1]"}},
	/* objects */
	{"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{\"type\":\"string\"}},\"required\":[\"a\"]}",
		{"+{\"a\":1}", "+{\"a\": 1, \"b\": \"x\"}", "-{}", "-{\"b\":\"x\"}", "-{\"b\":\"x\",\"a\":1}", "-{\"a\":1,\"c\":1}",
		"-{\"a\":1,}", "+{\n  \"a\": 1\n}", "-{\"a\":1,\"a\":1}"}},
	{"{\"properties\":{\"a\":{\"type\":\"null\"},\"b\":{\"type\":\"null\"},\"c\":{\"type\":\"null\"}}}",
		{"+{}", "+{\"a\":null}", "+{\"b\":null}", "+{\"a\":null,\"c\":null}", "-{\"c\":null,\"a\":null}", "-{,\"a\":null}"}},
	{"{\"properties\":{\"ab\":{\"type\":\"null\"}},\"additionalProperties\":{\"type\":\"integer\"}}",
		{"+{\"ab\":null}", "+{\"a\":1}", "+{\"abc\":1}", "+{\"ab\":null,\"x\":1,\"y\":2}", "-{\"ab\":1}", "-{\"x\":null}",
		"+{\"\":1}", "-{\"a\\u0062\":1}"}},
	{"{\"type\":\"object\"}", {"+{}", "+{\"a\":{\"b\":[]}}", "-[]"}},
	{"{\"type\":\"object\",\"additionalProperties\":{\"type\":\"boolean\"}}", {"+{}", "+{\"a\":true}", "-{\"a\":1}"}},
	{"{\"type\":\"object\",\"additionalProperties\":false}", {"+{}", "-{\"a\":1}"}},
	{"{\"type\":\"object\",\"required\":[\"z\"]}", {"+{\"z\":1}", "+{\"z\":1,\"a\":2}", "-{}", "-{\"a\":1}"}},
	{"{\"patternProperties\":{\"^s_\":{\"type\":\"string\"},\"_i$\":{\"minLength\":2,\"type\":[\"string\",\"integer\"]}},"
	 "\"additionalProperties\":false}",
		{"+{}", "+{\"s_a\":\"x\"}", "-{\"s_a\":1}", "+{\"a_i\":1}", "-{\"s_i\":1}", "-{\"s_i\":\"x\"}", "+{\"s_i\":\"xy\"}", "-{\"q\":1}"}},
	{"{\"properties\":{\"s_a\":{\"minLength\":1}},\"patternProperties\":{\"^s_\":{\"type\":\"string\"}},\"additionalProperties\":true}",
		{"+{\"s_a\":\"x\"}", "-{\"s_a\":\"\"}", "-{\"s_a\":1}", "+{\"q\":1}", "-{\"s_b\":1}"}},
	{"{\"type\":\"object\",\"propertyNames\":{\"pattern\":\"^[a-z]+$\"},\"maxProperties\":2,\"minProperties\":1}", {"-{}", "+{\"a\":1}",
		"-{\"A\":1}", "+{\"a\":1,\"b\":2}", "-{\"a\":1,\"b\":1,\"c\":1}"}},
	{"{\"type\":\"object\",\"propertyNames\":{\"enum\":[\"x\",\"y\"]},\"additionalProperties\":{\"type\":\"integer\"}}", {"+{\"x\":1}",
		"-{\"z\":1}"}},
	{"{\"properties\":{\"a\":{},\"b\":{}},\"minProperties\":1}", {"-{}", "+{\"b\":1}"}},
	{"{\"properties\":{\"a\":{},\"b\":{}},\"minProperties\":2}", {"-{\"a\":1}", "+{\"a\":1,\"b\":1}"}},
	{"{\"properties\":{\"a\":{},\"b\":false}}", {"+{\"a\":1}", "-{\"b\":1}"}},
	/* combinations */
	{"{\"anyOf\":[{\"type\":\"integer\"},{\"type\":\"string\",\"maxLength\":1}]}", {"+1", "+\"a\"", "-\"ab\"", "-null"}},
	{"{\"oneOf\":[{\"const\":1},{\"const\":2}]}", {"+1", "+2", "-3"}},
	{"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{\"type\":\"integer\"}},"
	 "\"oneOf\":[{\"required\":[\"a\"]},{\"required\":[\"b\"]}]}",
		{"+{\"a\":1}", "+{\"b\":1}", "-{}", "+{\"a\":1,\"b\":2}"}},
	{"{\"allOf\":[{\"properties\":{\"a\":{\"type\":\"number\",\"minimum\":2}},\"required\":[\"a\"]},"
	 "{\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{}}}]}",
		{"+{\"a\":2}", "-{\"a\":1}", "-{\"a\":2.5}", "+{\"a\":3,\"b\":null}", "-{\"b\":null}"}},
	{"{\"allOf\":[{\"type\":[\"integer\",\"string\"]},{\"type\":[\"number\",\"null\"]}]}", {"+1", "-1.5", "-\"a\"", "-null"}},
	{"{\"allOf\":[{\"enum\":[1,2,3]},{\"enum\":[2,3,4]}],\"not\":false}", {"-1", "+2", "+3", "-4"}},
	{"{\"allOf\":[{\"anyOf\":[{\"type\":\"integer\"},{\"type\":\"string\"}]},{\"anyOf\":[{\"minimum\":5},{\"maxLength\":1}]}]}", {"+5",
		"+\"a\"", "+\"abc\"", "+1"}},
	{"{\"allOf\":[{\"pattern\":\"^a\"},{\"pattern\":\"b$\"}],\"type\":\"string\"}", {"+\"ab\"", "+\"axb\"", "-\"a\"", "-\"b\""}},
	{"{\"allOf\":[{\"properties\":{\"a\":{}},\"additionalProperties\":{\"type\":\"integer\"}},{\"properties\":{\"b\":{}}}]}",
		{"+{\"b\":1}", "-{\"b\":null}", "+{\"a\":null}"}},
	{"{\"$defs\":{\"p\":{\"type\":\"integer\"}},\"properties\":{\"x\":{\"$ref\":\"#/$defs/p\"},\"y\":{\"$ref\":\"#/$defs/p\","
	 "\"minimum\":5}},\"required\":[\"x\",\"y\"]}",
		{"+{\"x\":1,\"y\":5}", "-{\"x\":1,\"y\":4}", "-{\"x\":\"a\",\"y\":5}"}},
	{"{\"definitions\":{\"a/b~c d\":{\"const\":1}},\"$ref\":\"#/definitions/a~1b~0c%20d\"}", {"+1", "-2"}},
	{"{\"type\":\"object\",\"properties\":{\"v\":{\"type\":\"integer\"},\"next\":{\"anyOf\":[{\"type\":\"null\"},"
	 "{\"$ref\":\"#\"}]}},\"required\":[\"v\",\"next\"]}",
		{"+{\"v\":1,\"next\":null}", "+{\"v\":1,\"next\":{\"v\":2,\"next\":null}}", "-{\"v\":1,\"next\":{}}"}},
	{"{\"$ref\":\"#/$defs/n\",\"$defs\":{\"n\":{\"type\":\"object\",\"properties\":{\"kids\":{\"type\":\"array\","
	 "\"items\":{\"$ref\":\"#/$defs/n\"}}},\"required\":[\"kids\"]}}}",
		{"+{\"kids\":[]}", "+{\"kids\":[{\"kids\":[]},{\"kids\":[]}]}", "-{\"kids\":[{}]}"}},
	{"{\"$defs\":{\"a\":{\"allOf\":[{\"$ref\":\"#/$defs/b\"},{\"properties\":{\"k\":{\"$ref\":\"#/$defs/a\"}}}]},"
	 "\"b\":{\"properties\":{\"x\":{}}}},\"$ref\":\"#/$defs/a\"}",
		{"+{}", "+{\"x\":1,\"k\":{\"k\":{}}}"}},
};

START_TEST(test_schema_cases)
{
	const struct schema_case *c = &cases[_i];
	struct grammar *g = schema(c->schema);
	for (int i = 0; c->texts[i]; i++)
		ck_assert_msg(takes(g, c->texts[i] + 1) == (c->texts[i][0] == '+'), "%s: %s", c->schema, c->texts[i]);
	rng = (uint32_t)_i + 7;
	walk_json(g, 40);
	grammar_free(g);
}
END_TEST

/* Schemas that are refused, and what the message must name. */
static const char *const refused[][2] = {
	{"{\"properties\":{\"a\":{\"type\":\"strin\"}}}", "#/properties/a/type"},
	{"{\"type\":5}", "#/type"},
	{"{\"type\":\"string\",\"pattern\":\"(?=a)\"}", "#/pattern: at character 3"},
	{"{\"type\":\"string\",\"pattern\":\"\\\\bword\"}", "boundaries"},
	{"{\"type\":\"string\",\"pattern\":\"(a)\\\\1\"}", "back references"},
	{"{\"type\":\"string\",\"pattern\":\"a**\"}", "repetition"},
	{"{\"type\":\"string\",\"pattern\":\"(\"}", "not closed"},
	{"{\"type\":\"string\",\"pattern\":\"[b-a]\"}", "out of order"},
	{"{\"type\":\"string\",\"pattern\":\"a{3,2}\"}", "m larger than n"},
	{"{\"type\":\"string\",\"pattern\":\"\\\\p{L}\"}", "properties"},
	{"{\"items\":{\"not\":{\"type\":\"string\"}}}", "#/items/not"},
	{"{\"properties\":{\"x\":{\"uniqueItems\":true}}}", "#/properties/x/uniqueItems"},
	{"{\"if\":{},\"then\":{}}", "#/if"},
	{"{\"$ref\":\"other.json\"}", "#/$ref"},
	{"{\"$ref\":\"#/$defs/none\"}", "no \"#/$defs/none\""},
	{"{\"$ref\":\"#\"}", "nothing can satisfy"},
	{"{\"allOf\":[{\"$ref\":\"#\"}]}", "deep, or have no end"},
	{"{\"enum\":[]}", "nothing can satisfy"},
	{"{\"type\":\"integer\",\"minimum\":5,\"maximum\":4}", "nothing can satisfy"},
	{"{\"type\":\"integer\",\"minimum\":\"5\"}", "minimum"},
	{"{\"type\":\"integer\",\"multipleOf\":0}", "larger than 0"},
	{"{\"type\":\"integer\",\"multipleOf\":123456789}", "multiples of 123456789"},
	{"{\"type\":\"string\",\"minLength\":-1}", "#/minLength"},
	{"{\"properties\":{\"a\":{\"$ref\":\"#\"}},\"required\":[\"a\"]}", "nothing can satisfy"},
	{"{\"properties\":{\"a\":{}},\"additionalProperties\":false,\"required\":[\"b\"]}", "nothing can satisfy"},
	{"{\"properties\":[]}", "#/properties"},
	{"{\"anyOf\":{}}", "#/anyOf"},
	{"{\"required\":[1]}", "#/required"},
	{"5", "must be an object, true or false"},
	{"{\"type\":\"string\",\"pattern\":\"^(a?){100}{100}\"}", "repetition"},
	{"{\"type\":\"string\",\"pattern\":\"(((((.{90}){90}){90}){90}){90})\"}", "too complex"},
	{"{\"type\":\"string\",\"pattern\":\"^(.*a.{40})$\"}", "too complex"},
	{"{\"patternProperties\":{\"a\":{},\"b\":{},\"c\":{},\"d\":{},\"e\":{},\"f\":{}}}", "patternProperties"},
	{"{\"additionalProperties\":{},\"minProperties\":3}", "minProperties"},
};

START_TEST(test_schema_refused)
{
	struct grammar *g;
	struct err err;
	int rc = from_schema(refused[_i][0], &g, &err);
	ck_assert_msg(rc == ERR_INVALID, "%s is taken", refused[_i][0]);
	ck_assert_msg(strstr(err.msg, refused[_i][1]) != NULL, "%s: \"%s\" lacks \"%s\"", refused[_i][0], err.msg, refused[_i][1]);
}
END_TEST

/* Nesting, width, and combinations that multiply: an answer or an error, soon. */
START_TEST(test_schema_hostile)
{
	struct str t = {0};
	struct grammar *g = NULL;
	struct err err;
	for (int i = 0; i < 500; i++)
		str_adds(&t, "{\"type\":\"array\",\"items\":");
	str_adds(&t, "{}");
	for (int i = 0; i < 500; i++)
		str_addc(&t, '}');
	ck_assert_int_eq(from_schema(t.data, &g, &err), ERR_INVALID);

	g = schema("{\"type\":\"string\",\"pattern\":\"^(((((((x{0}){9000}){9000}){9000}){9000}){9000}){9000})y$\"}");
	ck_assert(takes(g, "\"y\""));
	grammar_free(g);

	str_clear(&t);
	str_adds(&t, "{\"allOf\":[");
	for (int i = 0; i < 24; i++)
		str_printf(&t, "%s{\"anyOf\":[{\"title\":\"a\",\"properties\":{\"a%d\":{}}},{\"properties\":{\"b%d\":{}}}]}", i ? "," : "", i, i);
	str_adds(&t, "]}");
	ck_assert_int_eq(from_schema(t.data, &g, &err), ERR_INVALID);
	ck_assert_msg(strstr(err.msg, "too complex") != NULL, "%s", err.msg);

	str_clear(&t);
	str_adds(&t, "{\"properties\":{");
	for (int i = 0; i < 3000; i++)
		str_printf(&t, "%s\"p%d\":{\"type\":\"integer\"}", i ? "," : "", i);
	str_adds(&t, "}}");
	ck_assert_int_eq(from_schema(t.data, &g, &err), 0);
	ck_assert(takes(g, "{\"p1\":1,\"p2\":2,\"p900\":3}"));
	rng = 5;
	walk_json(g, 3);
	grammar_free(g);
	str_release(&t);
}
END_TEST

/* Recursion stops where the stack of callers ends, and the text can still be completed. */
START_TEST(test_depth_limit)
{
	static const char *const schemas[] = {
		"{}",
		("{\"$defs\":{\"t\":{\"anyOf\":[{\"$ref\":\"#\"},{\"type\":\"null\"}]}},"
		 "\"properties\":{\"l\":{\"$ref\":\"#/$defs/t\"},\"r\":{\"$ref\":\"#/$defs/t\"}},\"required\":[\"l\",\"r\"]}"),
		"{\"type\":\"array\",\"items\":{\"$ref\":\"#\"},\"minItems\":0,\"maxItems\":3}",
	};
	for (size_t i = 0; i < ARRAY_LEN(schemas); i++) {
		struct grammar *g = schema(schemas[i]);
		struct grammar_state *s = grammar_state_new(g);
		struct str out = {0};
		int n = 0;
		const char *open = i == 1 ? "{\"l\":" : "[";
		while (grammar_state_accept_bytes(s, open, strlen(open)) && ++n < 5000)
			str_adds(&out, open);
		ck_assert_msg(n > 50 && n < 5000, "%d levels", n);
		while (walk_on(s, &out, true))
			ck_assert(out.len < 100000);
		json_t *j = json_loads(out.data, JSON_DECODE_ANY, NULL);
		ck_assert_msg(j != NULL, "%s", out.data);
		json_decref(j);
		str_release(&out);
		grammar_state_free(s);
		grammar_free(g);
	}
}
END_TEST

START_TEST(test_any_object)
{
	struct grammar *g;
	struct err err;
	ck_assert_int_eq(grammar_from_json(&g, &err), 0);
	ck_assert(takes(g, "{\"a\": [1, {\"b\": null}], \"c\": \"x\"}"));
	ck_assert(!takes(g, "[1]"));
	ck_assert(!takes(g, "{} "));
	struct grammar_state *s = grammar_state_new(g);
	ck_assert(grammar_state_accept_bytes(s, "{}", 2));
	ck_assert(grammar_state_done(s));
	ck_assert(!grammar_state_accept_bytes(s, "\n", 1));
	grammar_state_free(s);
	walk_json(g, 300);
	grammar_free(g);
}
END_TEST

/* ---- GBNF ---- */

static const struct schema_case gbnf_cases[] = {
	{"root ::= \"a\"", {"+a", "-b", "-", "-aa"}},
	{"# c\nroot ::= greet \" \" [A-Z] [a-z]* # x\ngreet ::= \"hi\" | \"hello\"", {"+hi Bob", "+hello B", "-hi bob", "-hey Bob"}},
	{"root ::= (\"a\" |\n \"b\")+ \"c\"?", {"+a", "+abab", "+abc", "-c", "-abcc"}},
	{"root ::= [^a-c\\n]{2,3}", {"+xy", "+x\xC3\xA9z", "-ax", "-x", "-wxyz"}},
	{"root ::= (\"ab\"){2}", {"+abab", "-ab", "-ababab"}},
	{"root ::= \"ab\"{1,2} .", {"+abx", "+ababx", "-abab", "-ab"}},
	{"root ::= (\"a\" | \"b\" root){2,}", {"+aa", "+aaa", "-a", "+abaa"}},
	{"root ::= expr\nexpr ::= term ((\"+\" | \"-\") term)*\nterm ::= num | \"(\" expr \")\"\nnum ::= [0-9]+", {"+1+2", "+(1-2)+3", "-1+", "-(1"}},
	{"root ::= \"\\x41\\u00e9\\U0001F600\\n\\\"\\\\\"", {"+A\xC3\xA9\xF0\x9F\x98\x80\n\"\\"}},
	{"root ::= list\nlist ::= \"x\" | \"x,\" list", {"+x", "+x,x,x", "-x,"}},
	{"root ::= (\"a\"?){0,50} (\"b\"*)*", {"+", "+aab", "+bb", "-c"}},
	{"root ::=\n  \"a\"\n\n  | \"b\"\n", {"+a"}},
	{"root ::= \"\" | \"a\"", {"+", "+a"}},
};

START_TEST(test_gbnf_cases)
{
	const struct schema_case *c = &gbnf_cases[_i];
	struct err err;
	struct grammar *g;
	struct str out = {0};
	if (grammar_from_gbnf(c->schema, strlen(c->schema), &g, &err)) {
		/* A line that begins with | belongs to no rule: the text before it was one. */
		ck_assert_msg(strstr(c->schema, "\n  |") != NULL, "%s: %s", c->schema, err.msg);
		return;
	}
	for (int i = 0; c->texts[i]; i++)
		ck_assert_msg(takes(g, c->texts[i] + 1) == (c->texts[i][0] == '+'), "%s: %s", c->schema, c->texts[i]);
	for (int i = 0; i < 50; i++)
		walk(g, 50, &out);
	str_release(&out);
	grammar_free(g);
}
END_TEST

static const char *const gbnf_refused[][2] = {
	{"", "\"root\" is not defined"},
	{"root ::= a", "\"a\" is not defined"},
	{"root ::= root \"a\" | \"b\"", "left recursive"},
	{"root ::= \"x\" a\na ::= b? c\nb ::= \"q\"\nc ::= a", "left recursive"},
	{"root ::= \"a", "not closed"},
	{"root ::= [a", "not closed"},
	{"root ::= (\"a\"", "not closed"},
	{"root ::= \"a\" )", "end of the line"},
	{"root = \"a\"", "::="},
	{"root ::= *", "nothing to repeat"},
	{"root ::= \"a\"{3,1}", "m larger than n"},
	{"root ::= \"a\"{9999999999}", "too large"},
	{"root ::= <think>", "tokens"},
	{"root ::= \"\\q\"", "line 1: an unknown escape"},
	{"root ::= \"a\"\nroot ::= \"b\"", "line 2: rule \"root\" is defined twice"},
	{"root ::= \"a\" root", "nothing can satisfy"},
	{"root ::= [\\U00110000]", "no code point"},
};

START_TEST(test_gbnf_refused)
{
	struct grammar *g;
	struct err err;
	int rc = grammar_from_gbnf(gbnf_refused[_i][0], strlen(gbnf_refused[_i][0]), &g, &err);
	ck_assert_msg(rc == ERR_INVALID, "%s is taken", gbnf_refused[_i][0]);
	ck_assert_msg(strstr(err.msg, gbnf_refused[_i][1]) != NULL, "%s: \"%s\" lacks \"%s\"", gbnf_refused[_i][0], err.msg, gbnf_refused[_i][1]);
}
END_TEST

START_TEST(test_gbnf_hostile)
{
	struct str t = {0};
	struct grammar *g;
	struct err err;
	str_adds(&t, "root ::= ");
	for (int i = 0; i < 100000; i++)
		str_addc(&t, '(');
	ck_assert_int_eq(grammar_from_gbnf(t.data, t.len, &g, &err), ERR_INVALID);
	str_clear(&t);
	/* Each of the a's may be any of many alternatives: as many stacks as words. */
	str_adds(&t, "root ::= s\ns ::= \"a\" s \"x\" | \"a\" s \"y\" | \"a\" s \"z\" | \"b\"\n");
	ck_assert_int_eq(grammar_from_gbnf(t.data, t.len, &g, &err), 0);
	struct grammar_state *s = grammar_state_new(g);
	for (int i = 0; i < 60; i++)
		ck_assert(grammar_state_accept_bytes(s, "a", 1));
	ck_assert(grammar_state_accept_bytes(s, "b", 1));
	str_clear(&t);
	while (walk_on(s, &t, true))
		ck_assert(t.len < 1000);
	ck_assert_uint_eq(t.len, 60);
	grammar_state_free(s);
	grammar_free(g);
	g = gbnf("root ::= ((\"a\"?){0,1000}){0,1000}");
	ck_assert(takes(g, "aaa"));
	grammar_free(g);
	g = gbnf("root ::= ((((\"a\"*)*)*)*)* \"b\"");
	ck_assert(takes(g, "aaab"));
	grammar_free(g);
	str_clear(&t);
	for (int i = 0; i < 3000; i++)
		str_printf(&t, "%s%d ::= \"(\" r%d \")\"\n", i ? "r" : "root #", i, i + 1);
	ck_assert_int_eq(grammar_from_gbnf(t.data, t.len, &g, &err), ERR_INVALID);
	str_release(&t);
}
END_TEST

/* ---- masks ---- */

static struct grammar_vocab *small_vocab(void)
{
	static const char *const pieces[] = {"a", "ab", "abc", "\"", "\"a", "a\"", "\":", "{", "{\"", "}", "\"}", "[", "]", "1", "12", ", ", ",", " ",
		"\n", "\n  ", "true", "tr", "ue", "null", "\\", "\\n", "n", ": ", ":", "\xC3", "\xA9", "\xC3\xA9", "x\",\"", "[[", "]]", "",
		"ab", "</s>"};
	uint32_t offs[ARRAY_LEN(pieces) + 1] = {0};
	bool eog[ARRAY_LEN(pieces)] = {false};
	struct str bytes = {0};
	for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
		str_adds(&bytes, pieces[i]);
		offs[i + 1] = (uint32_t)bytes.len;
	}
	eog[ARRAY_LEN(pieces) - 1] = true;
	struct grammar_vocab *v = grammar_vocab_from_pieces((const uint8_t *)bytes.data, offs, eog, (int)ARRAY_LEN(pieces));
	str_release(&bytes);
	return v;
}

/* The mask of a state against a test of each token on a copy; takes a random allowed token. False at the end. */
static bool check_mask(struct grammar_state *s, struct grammar_state *copy, const struct grammar_vocab *v, int n_vocab, uint32_t *bits)
{
	int n = grammar_state_mask(s, v, bits), seen = 0, pick = n ? (int)random_below((uint32_t)n) : -1, chosen = -1;
	for (int i = 0; i < n_vocab; i++) {
		bool in = bits[i / 32] >> (i % 32) & 1;
		grammar_state_copy(copy, s);
		bool yes = grammar_state_accept(copy, v, i);
		ck_assert_msg(yes == in, "token %d: mask %d, test %d", i, in, yes);
		if (in && seen++ == pick)
			chosen = i;
	}
	ck_assert_int_eq(seen, n);
	return chosen >= 0 && grammar_state_accept(s, v, chosen);
}

static const char *const mask_schemas[] = {
	"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"},\"ab\":{\"type\":\"array\",\"items\":{\"type\":\"integer\"}}}}",
	"{\"type\":\"array\",\"items\":{\"type\":\"string\",\"minLength\":2,\"maxLength\":5}}",
	"{}",
	"{\"type\":\"string\",\"pattern\":\"^a(b|n)*\"}",
	"{\"anyOf\":[{\"type\":\"string\",\"maxLength\":4},{\"type\":\"string\",\"minLength\":3},{\"enum\":[\"abc\",\"a\"]}]}",
	"{\"type\":\"object\",\"additionalProperties\":{\"type\":\"string\",\"maxLength\":1}}",
};

static void check_masks(const struct grammar_vocab *v, int n_vocab, int n_walk, int n_step)
{
	uint32_t *bits = mem_calloc(grammar_vocab_n_words(v), sizeof *bits);
	for (size_t i = 0; i < ARRAY_LEN(mask_schemas); i++) {
		struct grammar *g = schema(mask_schemas[i]);
		struct grammar_state *copy = grammar_state_new(g);
		for (int k = 0; k < n_walk; k++) {
			struct grammar_state *s = grammar_state_new(g);
			for (int j = 0; j < n_step && check_mask(s, copy, v, n_vocab, bits); j++)
				;
			grammar_state_free(s);
		}
		grammar_state_free(copy);
		grammar_free(g);
	}
	mem_free(bits);
}

START_TEST(test_mask_small)
{
	struct grammar_vocab *v = small_vocab();
	rng = 3;
	check_masks(v, 38, 60, 30);
	grammar_vocab_free(v);
}
END_TEST

static const char *const models[] = {"llama.gguf", "qwen2.gguf"};

START_TEST(test_mask_models)
{
	char path[200];
	struct gguf *g;
	struct tok *t;
	struct err err;
	snprintf(path, sizeof path, GOLDEN "%s", models[_i]);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		printf("skipped: no file %s\n", path);
		return;
	}
	ck_assert_int_eq(gguf_open(fd, &g, &err), 0);
	close(fd);
	ck_assert_int_eq(tok_new(g, &t, &err), 0);
	struct grammar_vocab *v = grammar_vocab_new(t);
	rng = 11;
	check_masks(v, tok_n_vocab(t), 6, 25);
	grammar_vocab_free(v);
	tok_free(t);
	gguf_close(g);
}
END_TEST

START_TEST(test_tokens)
{
	struct grammar_vocab *v = small_vocab();
	struct grammar *g = schema("{\"type\":\"string\"}");
	struct grammar_state *s = grammar_state_new(g);
	uint32_t bits[2];
	float logits[40] = {0}, masked[40];
	logits[3] = 2;
	ck_assert_int_eq(grammar_state_mask(s, v, bits), 4); /* what begins with a quote and stays a string */
	grammar_mask_apply(v, bits, logits, 40, masked);
	for (int i = 0; i < 40; i++)
		ck_assert(i == 3 || i == 4 || i == 6 || i == 10 || isinf(masked[i]));
	ck_assert(masked[3] == 2 && masked[4] == 0);
	ck_assert(!grammar_state_accept(s, v, -1));
	ck_assert(!grammar_state_accept(s, v, 38));
	ck_assert(!grammar_state_accept(s, v, 37)); /* the end comes too soon */
	ck_assert(!grammar_state_accept(s, v, 35)); /* a token without bytes */
	ck_assert(grammar_state_accept(s, v, 4));
	ck_assert(!grammar_state_accept(s, v, 10)); /* "} : its first byte fits, its second does not */
	struct grammar_state *c = grammar_state_clone(s);
	ck_assert(grammar_state_accept(c, v, 5));
	ck_assert(grammar_state_done(c));
	ck_assert(!grammar_state_can_end(s));
	ck_assert(grammar_state_accept(s, v, 2));
	ck_assert(grammar_state_accept(s, v, 3));
	ck_assert(grammar_state_done(s));
	ck_assert(grammar_state_accept(s, v, 37));
	ck_assert(!grammar_state_accept(s, v, 37));
	ck_assert(!grammar_state_done(s));
	grammar_state_free(s);
	grammar_state_free(c);
	grammar_free(g);
	grammar_vocab_free(v);
}
END_TEST

/* A clone goes its own way, and gives what the original would have given. */
START_TEST(test_clone)
{
	struct grammar *g = schema("{}");
	struct grammar_state *s = grammar_state_new(g);
	const char *text = "{\"a\":[{\"b\":[1,[2,{\"c\":\"d\"}]]},[]]}";
	for (const char *p = text; *p; p++) {
		struct grammar_state *c = grammar_state_clone(s);
		ck_assert(grammar_state_accept_bytes(c, p, strlen(p)));
		ck_assert(grammar_state_done(c));
		grammar_state_free(c);
		ck_assert(grammar_state_accept_bytes(s, p, 1));
	}
	grammar_state_free(s);
	grammar_free(g);
}
END_TEST

/* ---- the walker of tests/schema_walk.py ---- */

static int walk_main(const char *path, uint32_t seed, int n)
{
	struct str out = {0};
	struct grammar *g;
	struct err err;
	json_t *j = json_load_file(path, JSON_DECODE_ANY, NULL);
	if (!j || grammar_from_schema(j, &g, &err)) {
		int rc = j ? 3 : 2;
		printf("error: %s\n", j ? err.msg : "no JSON");
		json_decref(j);
		return rc;
	}
	rng = seed;
	for (int i = 0; i < n; i++) {
		json_error_t e;
		walk(g, 20 + (int)random_below(200), &out);
		json_t *v = json_loadb(out.data, out.len, JSON_DECODE_ANY, &e);
		if (!v) {
			printf("%s: %s\n", e.text, out.data);
			return 1;
		}
		json_decref(v);
		for (size_t k = 0; k < out.len; k++)
			out.data[k] = out.data[k] == '\n' ? ' ' : out.data[k];
		printf("%s\n", out.data);
	}
	json_decref(j);
	grammar_free(g);
	str_release(&out);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 5 && !strcmp(argv[1], "--walk"))
		return walk_main(argv[2], (uint32_t)strtoul(argv[3], NULL, 10), (int)strtol(argv[4], NULL, 10));
	Suite *s = suite_create("grammar");
	TCase *t = tcase_create("grammar");
	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, test_schema_cases, 0, (int)ARRAY_LEN(cases));
	tcase_add_loop_test(t, test_schema_refused, 0, (int)ARRAY_LEN(refused));
	tcase_add_test(t, test_schema_hostile);
	tcase_add_test(t, test_depth_limit);
	tcase_add_test(t, test_any_object);
	tcase_add_loop_test(t, test_gbnf_cases, 0, (int)ARRAY_LEN(gbnf_cases));
	tcase_add_loop_test(t, test_gbnf_refused, 0, (int)ARRAY_LEN(gbnf_refused));
	tcase_add_test(t, test_gbnf_hostile);
	tcase_add_test(t, test_mask_small);
	tcase_add_loop_test(t, test_mask_models, 0, (int)ARRAY_LEN(models));
	tcase_add_test(t, test_tokens);
	tcase_add_test(t, test_clone);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? 1 : 0;
}
