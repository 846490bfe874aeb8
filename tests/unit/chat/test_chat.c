/* Conversations to prompts: what chat.c does around the template. */
#include <check.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "chat/chat.h"

/* ChatML as SmolLM2 and early Qwen models have it */
static const char chatml[] =
	"{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
	"{{ '<|im_start|>system\nBe nice.<|im_end|>\n' }}{% endif %}"
	"{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
	"{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/* refuses system messages, as Gemma does */
static const char no_system[] =
	"{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('System role not supported') }}"
	"{% endif %}<{{ m.role }}>{{ m.content }}{% endfor %}";

static const char drops_system[] = "{% for m in messages if m.role != 'system' %}<{{ m.role }}>{{ m.content }}{% endfor %}";
static const char parts_only[] =
	"{% for m in messages %}<{{ m.role }}>{% for p in m.content %}{% if p.type == 'text' %}{{ p.text }}{% endif %}{% endfor %}"
	"{% endfor %}";
static const char with_calls[] =
	"{% for m in messages %}<{{ m.role }}>{{ m.content }}{% if m.reasoning_content %}[{{ m.reasoning_content }}]{% endif %}"
	"{% for c in m.tool_calls or [] %}{{ c.type }}:{{ c.function.name }}:"
	"{% for k, v in c.function.arguments.items() %}{{ k }}={{ v }};{% endfor %}{% endfor %}{{ m.name or '' }}{% endfor %}"
	"{% if tools is defined %}{{ tools | length }}{% endif %}";
static const char needs_ids[] =
	"{% for m in messages %}{{ m.content }}{% for c in m.tool_calls or [] %}"
	"{% if c.id is not defined or c.id | length != 9 %}{{ raise_exception('ids of 9 letters') }}{% endif %}{{ c.id }}{% endfor %}"
	"{{ m.tool_call_id or '' }} {% endfor %}";
static const char thinking[] =
	"{{ messages[0].content }} {{ enable_thinking is defined }} {{ enable_thinking }} {{ reasoning_effort }} {{ extra }}";

struct out {
	int rc;
	struct str text;
	struct err err;
};

static struct out render(const char *template_text, const char *messages, struct chat_req req)
{
	struct out o = {0};
	struct chat *c;
	struct chat_cfg cfg = {.template_text = template_text, .bos_text = "<bos>", .eos_text = "<eos>"};
	ck_assert_msg(chat_new(&cfg, &c, &o.err) == 0, "%s", o.err.msg);
	req.messages = json_loads(messages, 0, NULL);
	ck_assert_ptr_nonnull(req.messages);
	o.rc = chat_render(c, &req, &o.text, &o.err);
	json_decref(req.messages);
	chat_free(c);
	return o;
}

static void expect(const char *template_text, const char *messages, struct chat_req req, const char *want)
{
	struct out o = render(template_text, messages, req);
	ck_assert_msg(o.rc == 0, "%s", o.err.msg);
	ck_assert_str_eq(str_cstr(&o.text), want);
	str_release(&o.text);
}

static const struct chat_req plain = {.think = -1};

START_TEST(renders_chatml)
{
	struct chat_req req = {.think = -1, .add_generation_prompt = true};
	expect(chatml, "[{\"role\":\"user\",\"content\":\"Hi\"}]", req,
	       "<|im_start|>system\nBe nice.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
	expect(chatml, "[{\"role\":\"system\",\"content\":\"S\"},{\"role\":\"assistant\",\"content\":null}]", plain,
	       "<|im_start|>system\nS<|im_end|>\n<|im_start|>assistant\n<|im_end|>\n");
	/* developer becomes system where the template does not know it */
	expect(chatml, "[{\"role\":\"developer\",\"content\":\"S\"}]", plain, "<|im_start|>system\nS<|im_end|>\n");
}
END_TEST

START_TEST(merges_system_text)
{
	const char *both = "[{\"role\":\"system\",\"content\":\"S\"},{\"role\":\"user\",\"content\":\"U\"}]";
	expect(no_system, both, plain, "<bos><user>S\nU");
	expect(drops_system, both, plain, "<user>S\nU");
	expect(no_system, "[{\"role\":\"system\",\"content\":\"S\"}]", plain, "<bos><user>S");
	expect(no_system,
	       "[{\"role\":\"system\",\"content\":\"A\"},{\"role\":\"system\",\"content\":\"B\"},{\"role\":\"assistant\",\"content\":\"x\"},"
	       "{\"role\":\"user\",\"content\":\"\"}]",
	       plain, "<bos><assistant>x<user>A\nB");
}
END_TEST

START_TEST(gives_parts_where_needed)
{
	expect(parts_only, "[{\"role\":\"user\",\"content\":\"U\"}]", plain, "<user>U");
	expect(parts_only, "[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"U\"}]}]", plain, "<user>U");
}
END_TEST

START_TEST(prepares_tool_calls)
{
	expect(with_calls,
	       "[{\"role\":\"assistant\",\"content\":null,\"thinking\":\"hm\",\"tool_calls\":[{\"function\":{\"name\":\"f\","
	       "\"arguments\":\"{\\\"a\\\":1}\"}}]},{\"role\":\"tool\",\"tool_name\":\"f\",\"content\":\"r\"}]",
	       plain, "<assistant>[hm]function:f:a=1;<tool>rf");
	/* text that is no object stays text, and the template's own error comes through */
	struct out o = render(with_calls,
			      "[{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":\"x\"}}]}]",
			      plain);
	ck_assert_int_eq(o.rc, ERR_INVALID);
	ck_assert_uint_eq(o.text.len, 0);
	str_release(&o.text);
	json_t *tools = json_pack("[{}, {}]"), *none = json_array();
	struct chat_req req = {.think = -1, .tools = tools};
	expect(with_calls, "[{\"role\":\"user\",\"content\":\"u\"}]", req, "<user>u2");
	req.tools = none;
	expect(with_calls, "[{\"role\":\"user\",\"content\":\"u\"}]", req, "<user>u");
	json_decref(tools);
	json_decref(none);
}
END_TEST

START_TEST(makes_up_ids)
{
	expect(needs_ids,
	       "[{\"role\":\"assistant\",\"content\":\"a\",\"tool_calls\":[{\"function\":{\"name\":\"f\"}},{\"function\":{\"name\":\"g\"}}]},"
	       "{\"role\":\"tool\",\"content\":\"r\"},{\"role\":\"tool\",\"content\":\"s\"}]",
	       plain, "acall00000call00001 rcall00000 scall00001 ");
	expect(needs_ids,
	       "[{\"role\":\"assistant\",\"content\":\"a\",\"tool_calls\":[{\"id\":\"abcdefghi\",\"function\":{\"name\":\"f\"}}]},"
	       "{\"role\":\"tool\",\"content\":\"r\"}]",
	       plain, "aabcdefghi r ");
}
END_TEST

START_TEST(passes_thinking)
{
	const char *u = "[{\"role\":\"user\",\"content\":\"u\"}]";
	json_t *kwargs = json_pack("{s:s}", "extra", "E");
	expect(thinking, u, plain, "u False   ");
	expect(thinking, u, (struct chat_req){.think = 0}, "u True False  ");
	expect(thinking, u, (struct chat_req){.think = 1, .think_level = "low", .kwargs = kwargs}, "u True True low E");
	json_decref(kwargs);
	kwargs = json_pack("{s:b}", "enable_thinking", 0);
	expect(thinking, u, (struct chat_req){.think = 1, .kwargs = kwargs}, "u True False  ");
	json_decref(kwargs);
}
END_TEST

START_TEST(works_without_template)
{
	expect(NULL, "[{\"role\":\"system\",\"content\":\"S\"},{\"role\":\"user\",\"content\":\"U\"}]", plain, "S\nU");
	expect("", "[{\"role\":\"user\",\"content\":null}]", plain, "");
}
END_TEST

START_TEST(reports_errors)
{
	struct chat *c;
	struct err err;
	struct chat_cfg cfg = {.template_text = "a\n{% if %}"};
	ck_assert_int_eq(chat_new(&cfg, &c, &err), ERR_INVALID);
	ck_assert_ptr_null(c);
	ck_assert_ptr_nonnull(strstr(err.msg, "line 2"));
	struct out o = render("{{ raise_exception('Roles must alternate') }}", "[{\"role\":\"user\",\"content\":\"u\"}]", plain);
	ck_assert_int_eq(o.rc, ERR_INVALID);
	ck_assert_str_eq(o.err.msg, "Roles must alternate");
	str_release(&o.text);
	o = render(chatml, "[1]", plain);
	ck_assert_int_eq(o.rc, ERR_INVALID);
	o = render(chatml, "{}", plain);
	ck_assert_int_eq(o.rc, ERR_INVALID);
}
END_TEST

int main(void)
{
	setenv("TZ", "UTC", 1);
	Suite *s = suite_create("chat");
	TCase *tc = tcase_create("chat");
	tcase_add_test(tc, renders_chatml);
	tcase_add_test(tc, merges_system_text);
	tcase_add_test(tc, gives_parts_where_needed);
	tcase_add_test(tc, prepares_tool_calls);
	tcase_add_test(tc, makes_up_ids);
	tcase_add_test(tc, passes_thinking);
	tcase_add_test(tc, works_without_template);
	tcase_add_test(tc, reports_errors);
	suite_add_tcase(s, tc);
	SRunner *sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
