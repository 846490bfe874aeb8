#include "chat/chat.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/json.h"
#include "base/mem.h"
#include "chat/jinja.h"

struct chat {
	struct jinja *jinja; /* NULL: no template */
	char *bos, *eos;
	/* What a trial render showed: the template drops system messages or refuses them; it reads content as parts only. */
	bool merges_system, needs_parts;
};

/* ---- messages ---- */

static const char *role_of(const json_t *m)
{
	const char *role = json_string_value(json_object_get(m, "role"));
	return role ? role : "";
}

static bool has(const json_t *obj, const char *key)
{
	const json_t *v = json_object_get(obj, key);
	return v && !json_is_null(v);
}

/* Templates read arguments member by member, so JSON text becomes an object where it is one. */
static json_t *arguments_of(json_t *args)
{
	json_t *parsed;
	struct err err;
	if (!json_is_string(args))
		return args ? json_incref(args) : json_object();
	if (json_parse_all(json_string_value(args), json_string_length(args), &parsed, &err))
		return json_incref(args);
	if (json_is_object(parsed))
		return parsed;
	json_decref(parsed);
	return json_incref(args);
}

/* One call in the form of the OpenAI API: {"type","id"?,"function":{"name","arguments":{}}}. */
static json_t *tool_call(json_t *call)
{
	json_t *function = json_object_get(call, "function"), *out, *f;
	if (!json_is_object(call))
		return json_incref(call);
	out = json_copy(call);
	f = json_is_object(function) ? json_copy(function) : json_object();
	json_object_set_new(f, "arguments", arguments_of(json_object_get(f, "arguments")));
	json_object_set_new(out, "function", f);
	if (!has(out, "type"))
		json_object_set_new(out, "type", json_string("function"));
	return out;
}

static json_t *text_parts(json_t *content)
{
	return json_pack("[{s:s, s:O}]", "type", "text", "text", content);
}

/* A message as templates expect it. */
static json_t *message(const struct chat *c, json_t *m)
{
	json_t *out = json_copy(m), *calls = json_object_get(m, "tool_calls");
	if (!has(out, "content"))
		json_object_set_new(out, "content", json_string(""));
	if (c->needs_parts && json_is_string(json_object_get(out, "content")))
		json_object_set_new(out, "content", text_parts(json_object_get(out, "content")));
	if (has(out, "thinking") && !has(out, "reasoning_content"))
		json_object_set(out, "reasoning_content", json_object_get(out, "thinking"));
	if (has(out, "tool_name") && !has(out, "name"))
		json_object_set(out, "name", json_object_get(out, "tool_name"));
	if (strcmp(role_of(out), "developer") == 0 && !jinja_uses(c->jinja, "developer"))
		json_object_set_new(out, "role", json_string("system"));
	if (json_array_size(calls) == 0) {
		json_object_del(out, "tool_calls");
		return out;
	}
	json_t *own = json_array();
	for (size_t i = 0; i < json_array_size(calls); i++)
		json_array_append_new(own, tool_call(json_array_get(calls, i)));
	json_object_set_new(out, "tool_calls", own);
	return out;
}

/* Puts held-back system text in front of a user message. */
static void prepend(json_t *m, const struct str *text)
{
	json_t *content = json_object_get(m, "content");
	struct str all = {0};
	if (json_is_array(content)) {
		json_t *part = json_pack("{s:s, s:s%}", "type", "text", "text", str_cstr(text), text->len);
		json_t *parts = json_copy(content);
		json_array_insert_new(parts, 0, part);
		json_object_set_new(m, "content", parts);
		return;
	}
	str_add(&all, str_cstr(text), text->len);
	if (json_string_length(content)) {
		str_addc(&all, '\n');
		str_add(&all, json_string_value(content), json_string_length(content));
	}
	json_object_set_new(m, "content", json_stringn(str_cstr(&all), all.len));
	str_release(&all);
}

static void hold_back(struct str *held, const json_t *m)
{
	const json_t *content = json_object_get(m, "content");
	if (json_is_array(content))
		content = json_object_get(json_array_get(content, 0), "text");
	if (held->len && json_string_length(content))
		str_addc(held, '\n');
	if (json_is_string(content))
		str_add(held, json_string_value(content), json_string_length(content));
}

static json_t *messages_of(const struct chat *c, const json_t *in)
{
	json_t *out = json_array();
	struct str held = {0};
	for (size_t i = 0; i < json_array_size(in); i++) {
		json_t *m = message(c, json_array_get(in, i));
		if (c->merges_system && strcmp(role_of(m), "system") == 0) {
			hold_back(&held, m);
			json_decref(m);
			continue;
		}
		if (held.len && strcmp(role_of(m), "user") == 0) {
			prepend(m, &held);
			str_clear(&held);
		}
		json_array_append_new(out, m);
	}
	if (held.len)
		json_array_append_new(out, json_pack("{s:s, s:s%}", "role", "user", "content", str_cstr(&held), held.len));
	str_release(&held);
	return out;
}

/* Some templates insist on ids of nine letters and digits (Mistral's): gives one to each call without, and to the results
 * in the same order. */
static void add_ids(json_t *messages)
{
	int n_call = 0, n_result = 0;
	char id[16];
	for (size_t i = 0; i < json_array_size(messages); i++) {
		json_t *m = json_array_get(messages, i), *calls = json_object_get(m, "tool_calls");
		for (size_t k = 0; k < json_array_size(calls); k++, n_call++) {
			json_t *call = json_array_get(calls, k);
			snprintf(id, sizeof id, "call%05d", n_call % 100000);
			if (json_is_object(call) && !has(call, "id"))
				json_object_set_new(call, "id", json_string(id));
		}
		if (strcmp(role_of(m), "tool") != 0)
			continue;
		snprintf(id, sizeof id, "call%05d", n_result++ % 100000);
		if (!has(m, "tool_call_id"))
			json_object_set_new(m, "tool_call_id", json_string(id));
	}
}

/* ---- variables ---- */

static void add_thinking(json_t *vars, const struct chat_req *req)
{
	bool set = req->think >= 0 || req->think_level;
	if (set) {
		json_object_set_new(vars, "enable_thinking", json_boolean(req->think != 0));
		json_object_set_new(vars, "thinking", json_boolean(req->think != 0));
	}
	if (req->think_level)
		json_object_set_new(vars, "reasoning_effort", json_string(req->think_level));
}

/* The two variables that firefunction wants: tools as text, and the time. */
static void add_texts(const struct chat *c, json_t *vars, const struct chat_req *req)
{
	if (jinja_uses(c->jinja, "functions")) {
		char *text = json_array_size(req->tools) ? json_dumps(req->tools, JSON_INDENT(2)) : NULL;
		json_object_set_new(vars, "functions", json_string(text ? text : "[]"));
		free(text);
	}
	if (jinja_uses(c->jinja, "datetime")) {
		char text[64];
		time_t now = (time_t)req->now_s;
		struct tm tm;
		gmtime_r(&now, &tm);
		strftime(text, sizeof text, "%b %d %Y %H:%M:%S GMT", &tm);
		json_object_set_new(vars, "datetime", json_string(text));
	}
}

static json_t *vars_of(const struct chat *c, const struct chat_req *req)
{
	json_t *vars = json_object();
	json_object_set_new(vars, "messages", messages_of(c, req->messages));
	json_object_set_new(vars, "add_generation_prompt", json_boolean(req->add_generation_prompt));
	json_object_set_new(vars, "bos_token", json_string(c->bos));
	json_object_set_new(vars, "eos_token", json_string(c->eos));
	if (json_array_size(req->tools)) /* absent tools stay undefined */
		json_object_set(vars, "tools", req->tools);
	add_thinking(vars, req);
	add_texts(c, vars, req);
	if (req->kwargs)
		json_object_update(vars, req->kwargs);
	return vars;
}

/* ---- rendering ---- */

static int render(const struct chat *c, const struct chat_req *req, struct str *out, struct err *err)
{
	json_t *vars = vars_of(c, req);
	int rc = jinja_render(c->jinja, vars, req->now_s, NULL, out, err);
	if (rc == ERR_INVALID && jinja_uses(c->jinja, "tool_calls")) {
		struct err again;
		add_ids(json_object_get(vars, "messages"));
		if (!jinja_render(c->jinja, vars, req->now_s, NULL, out, &again))
			rc = 0; /* otherwise the first error is the better one */
	}
	json_decref(vars);
	return rc;
}

/* Without a template: the contents, one after the other. */
static void join_contents(const json_t *messages, struct str *out)
{
	bool first = true;
	for (size_t i = 0; i < json_array_size(messages); i++) {
		const json_t *content = json_object_get(json_array_get(messages, i), "content");
		if (!json_string_length(content))
			continue;
		if (!first)
			str_addc(out, '\n');
		str_add(out, json_string_value(content), json_string_length(content));
		first = false;
	}
}

int chat_render(const struct chat *c, const struct chat_req *req, struct str *out, struct err *err)
{
	if (!json_is_array(req->messages))
		return err_set(err, ERR_INVALID, "messages must be an array");
	for (size_t i = 0; i < json_array_size(req->messages); i++)
		if (!json_is_object(json_array_get(req->messages, i)))
			return err_set(err, ERR_INVALID, "message %zu is not an object", i);
	if (c->jinja)
		return render(c, req, out, err);
	join_contents(req->messages, out);
	return 0;
}

/* ---- trial renders ---- */

static const char needle[] = "qzx7needle";

/* Whether the needle comes out when these messages are rendered. */
static bool shows(const struct chat *c, json_t *messages)
{
	struct chat_req req = {.messages = messages, .think = -1, .add_generation_prompt = true};
	struct str out = {0};
	struct err err;
	bool yes = !chat_render(c, &req, &out, &err) && strstr(str_cstr(&out), needle);
	str_release(&out);
	json_decref(messages);
	return yes;
}

static json_t *user_trial(void)
{
	return json_pack("[{s:s, s:s}]", "role", "user", "content", needle);
}

static void look_at(struct chat *c)
{
	if (!shows(c, user_trial())) {
		c->needs_parts = true;
		c->needs_parts = shows(c, user_trial());
	}
	c->merges_system = !shows(c, json_pack("[{s:s, s:s}, {s:s, s:s}]", "role", "system", "content", needle, "role", "user",
					       "content", "hello"));
	/* a template that shows nothing at all is left alone */
	if (c->merges_system && !shows(c, user_trial()))
		c->merges_system = false;
}

int chat_new(const struct chat_cfg *cfg, struct chat **ret, struct err *err)
{
	struct chat *c = mem_zalloc(sizeof *c);
	const char *text = cfg->template_text ? cfg->template_text : "";
	*ret = NULL;
	if (*text) {
		int rc = jinja_parse(text, strlen(text), &c->jinja, err);
		if (rc) {
			mem_free(c);
			return rc;
		}
	}
	c->bos = mem_strdup(cfg->bos_text ? cfg->bos_text : "");
	c->eos = mem_strdup(cfg->eos_text ? cfg->eos_text : "");
	if (c->jinja)
		look_at(c);
	*ret = c;
	return 0;
}

void chat_free(struct chat *c)
{
	if (!c)
		return;
	jinja_free(c->jinja);
	mem_free(c->bos);
	mem_free(c->eos);
	mem_free(c);
}

bool chat_has_template(const struct chat *c)
{
	return c->jinja != NULL;
}
