#include "api/gen_build.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"
#include "base/mem.h"
#include "modelfile/option.h"

/* ---- options ---- */

/* Where an option lives in struct gen_opts. Options that are known but steer nothing here are not listed. */
static const struct {
	const char *name;
	size_t offset;
} slots[] = {
	{"num_ctx", offsetof(struct gen_opts, num_ctx)},
	{"num_thread", offsetof(struct gen_opts, num_thread)},
	{"num_keep", offsetof(struct gen_opts, num_keep)},
	{"seed", offsetof(struct gen_opts, seed)},
	{"num_predict", offsetof(struct gen_opts, num_predict)},
	{"max_tokens", offsetof(struct gen_opts, num_predict)},
	{"top_k", offsetof(struct gen_opts, top_k)},
	{"top_p", offsetof(struct gen_opts, top_p)},
	{"min_p", offsetof(struct gen_opts, min_p)},
	{"typical_p", offsetof(struct gen_opts, typical_p)},
	{"repeat_last_n", offsetof(struct gen_opts, repeat_last_n)},
	{"temperature", offsetof(struct gen_opts, temperature)},
	{"repeat_penalty", offsetof(struct gen_opts, repeat_penalty)},
	{"presence_penalty", offsetof(struct gen_opts, presence_penalty)},
	{"frequency_penalty", offsetof(struct gen_opts, frequency_penalty)},
};

static int set_stop(struct gen_opts *o, const json_t *v, struct err *err)
{
	size_t n = json_array_size(v);
	for (size_t i = 0; i < n; i++)
		if (!json_is_string(json_array_get(v, i)))
			return err_set(err, ERR_INTERNAL, "option \"stop\" must be of an array of strings");
	for (size_t i = 0; i < o->n_stop; i++)
		mem_free(o->stop[i]);
	mem_free(o->stop);
	o->stop = n ? mem_calloc(n, sizeof *o->stop) : NULL;
	o->n_stop = 0;
	for (size_t i = 0; i < n; i++) {
		const char *z = json_string_value(json_array_get(v, i));
		if (*z) /* an empty stop text would end every answer at once */
			o->stop[o->n_stop++] = mem_strdup(z);
	}
	return 0;
}

static bool type_fits(enum option_type type, const json_t *v)
{
	switch (type) {
	case OPTION_INT: case OPTION_FLOAT: return json_is_number(v);
	case OPTION_BOOL: return json_is_boolean(v);
	case OPTION_STRINGS: return json_is_array(v);
	}
	return false;
}

static int64_t clamp_int(double v)
{
	return v >= 9e18 ? INT64_MAX : v <= -9e18 ? INT64_MIN : (int64_t)v;
}

static int set_option(struct gen_opts *o, const struct option_desc *d, const json_t *v, struct err *err)
{
	static const char *const type_names[] = {"integer", "boolean", "float32", "array"};
	if (!type_fits(d->type, v))
		return err_set(err, ERR_INTERNAL, "option \"%s\" must be of type %s", d->name, type_names[d->type]);
	if (d->type == OPTION_STRINGS)
		return set_stop(o, v, err);
	for (size_t i = 0; i < ARRAY_LEN(slots); i++) {
		char *slot = (char *)o + slots[i].offset;
		if (strcmp(slots[i].name, d->name))
			continue;
		if (d->type == OPTION_FLOAT)
			*(double *)slot = json_number_value(v);
		else
			*(int64_t *)slot = json_is_integer(v) ? json_integer_value(v) : clamp_int(json_real_value(v));
	}
	return 0;
}

int gen_opts_apply(struct gen_opts *o, const json_t *given, struct err *err)
{
	void *it = json_object_iter((json_t *)given);
	for (; it; it = json_object_iter_next((json_t *)given, it)) {
		const struct option_desc *d = option_find(json_object_iter_key(it));
		const json_t *v = json_object_iter_value(it);
		if (!d || json_is_null(v)) /* unknown names are ignored, as clients of other servers send theirs */
			continue;
		int rc = set_option(o, d, v, err);
		if (rc)
			return rc;
	}
	return 0;
}

enum { NUM_CTX_MIN = 4 };

int gen_build_opts(struct api_ctx *ctx, const struct store_model *m, const json_t *given, struct gen_opts *o, struct err *err)
{
	gen_opts_default(o);
	o->num_ctx = ctx->n_ctx_default;
	int rc = gen_opts_apply(o, m->params, err);
	if (!rc)
		rc = gen_opts_apply(o, given, err);
	if (rc)
		return rc;
	if (o->num_ctx != 0 && o->num_ctx < NUM_CTX_MIN)
		o->num_ctx = NUM_CTX_MIN;
	if (o->num_predict == 0) /* Ollama passes 0 on as "not given" */
		o->num_predict = -1;
	return 0;
}

/* ---- messages ---- */

/* A copy with the keys of all objects sorted. */
static json_t *sorted_copy(const json_t *v, int depth)
{
	if (depth > 100)
		return json_null();
	if (json_is_array(v)) {
		json_t *list = json_array();
		for (size_t i = 0; i < json_array_size(v); i++)
			json_array_append_new(list, sorted_copy(json_array_get(v, i), depth + 1));
		return list;
	}
	if (!json_is_object(v))
		return json_incref((json_t *)v);
	size_t n = json_object_size(v), i = 0;
	const char **keys = mem_calloc(n ? n : 1, sizeof *keys);
	for (void *it = json_object_iter((json_t *)v); it; it = json_object_iter_next((json_t *)v, it)) {
		const char *key = json_object_iter_key(it);
		size_t at = i++;
		for (; at > 0 && strcmp(keys[at - 1], key) > 0; at--)
			keys[at] = keys[at - 1];
		keys[at] = key;
	}
	json_t *obj = json_object();
	for (i = 0; i < n; i++)
		json_object_set_new(obj, keys[i], sorted_copy(json_object_get(v, keys[i]), depth + 1));
	mem_free(keys);
	return obj;
}

struct call_fields {
	const char *id;
	json_t *function;
};
static const struct api_field call_table[] = {
	{"id", API_F_STR, offsetof(struct call_fields, id)},
	{"function", API_F_OBJ, offsetof(struct call_fields, function)},
};

struct function_fields {
	int64_t index;
	const char *name;
	json_t *arguments;
};
static const struct api_field function_table[] = {
	{"index", API_F_INT, offsetof(struct function_fields, index)},
	{"name", API_F_STR, offsetof(struct function_fields, name)},
	{"arguments", API_F_OBJ, offsetof(struct function_fields, arguments)},
};

/* The order of a call's arguments is the model's own; deeper objects come sorted, as Ollama's prompts have them. */
static json_t *neutral_arguments(const json_t *arguments)
{
	json_t *obj = json_object();
	void *it = json_object_iter((json_t *)arguments);
	for (; it; it = json_object_iter_next((json_t *)arguments, it))
		json_object_set_new(obj, json_object_iter_key(it), sorted_copy(json_object_iter_value(it), 0));
	return obj;
}

static int neutral_call(struct api_call *call, const json_t *v, const char *type_name, json_t **ret, struct err *err)
{
	struct call_fields c;
	struct function_fields f;
	if (!json_is_object(v))
		return api_type_error(v, type_name, "messages.tool_calls", "api.ToolCall", err);
	int rc = api_decode(call, v, type_name, call_table, ARRAY_LEN(call_table), &c, err);
	if (!rc)
		rc = api_decode(call, c.function, type_name, function_table, ARRAY_LEN(function_table), &f, err);
	if (rc)
		return rc;
	json_t *out = json_object();
	if (*c.id)
		json_object_set_new(out, "id", json_string(c.id));
	json_object_set_new(out, "function", json_pack("{s:s,s:o}", "name", f.name, "arguments", neutral_arguments(f.arguments)));
	*ret = out;
	return 0;
}

struct message_fields {
	const char *role, *content, *thinking, *tool_name, *tool_call_id;
	json_t *images, *tool_calls;
};
static const struct api_field message_table[] = {
	{"role", API_F_STR, offsetof(struct message_fields, role)},
	{"content", API_F_STR, offsetof(struct message_fields, content)},
	{"thinking", API_F_STR, offsetof(struct message_fields, thinking)},
	{"images", API_F_IMAGES, offsetof(struct message_fields, images)},
	{"tool_calls", API_F_ARR, offsetof(struct message_fields, tool_calls)},
	{"tool_name", API_F_STR, offsetof(struct message_fields, tool_name)},
	{"tool_call_id", API_F_STR, offsetof(struct message_fields, tool_call_id)},
};

static void set_text(json_t *obj, const char *key, const char *text)
{
	if (*text)
		json_object_set_new(obj, key, json_string(text));
}

static int neutral_message(struct api_call *call, const json_t *v, const char *type_name, json_t *list, struct err *err)
{
	struct message_fields f;
	struct str role = {0};
	if (!json_is_object(v))
		return api_type_error(v, type_name, "messages", "api.Message", err);
	int rc = api_decode(call, v, type_name, message_table, ARRAY_LEN(message_table), &f, err);
	if (rc)
		return rc;
	json_t *out = json_object();
	json_array_append_new(list, out);
	for (const char *p = f.role; *p; p++)
		str_addc(&role, (char)tolower((unsigned char)*p));
	json_object_set_new(out, "role", json_string(str_cstr(&role)));
	str_release(&role);
	json_object_set_new(out, "content", json_string(f.content));
	set_text(out, "thinking", f.thinking);
	if (json_array_size(f.images))
		json_object_set(out, "images", f.images);
	if (json_array_size(f.tool_calls)) {
		json_t *calls = json_array();
		json_object_set_new(out, "tool_calls", calls);
		for (size_t i = 0; !rc && i < json_array_size(f.tool_calls); i++) {
			json_t *c = NULL;
			rc = neutral_call(call, json_array_get(f.tool_calls, i), type_name, &c, err);
			if (!rc)
				json_array_append_new(calls, c);
		}
	}
	set_text(out, "tool_name", f.tool_name);
	set_text(out, "tool_call_id", f.tool_call_id);
	return rc;
}

int gen_build_messages(struct api_call *call, const json_t *messages, const char *type_name, json_t **ret, struct err *err)
{
	json_t *list = json_array();
	int rc = 0;
	for (size_t i = 0; !rc && i < json_array_size(messages); i++)
		rc = neutral_message(call, json_array_get(messages, i), type_name, list, err);
	if (rc) {
		json_decref(list);
		list = NULL;
	}
	*ret = list;
	return rc;
}

json_t *gen_build_history(const struct store_model *m, const json_t *messages, const char *system)
{
	json_t *list = json_array();
	const char *first = api_json_text(json_array_get(messages, 0), "role");
	if (system && *system && strcmp(first, "system")) {
		json_t *x = json_pack("{s:s}", "role", "system");
		json_object_set_new(x, "content", json_string_nocheck(system)); /* a stored text may be no UTF-8 */
		json_array_append_new(list, x);
	}
	for (size_t i = 0; m && i < json_array_size(m->messages); i++) {
		const json_t *x = json_array_get(m->messages, i);
		json_array_append_new(list, json_pack("{s:s,s:s}", "role", api_json_text(x, "role"), "content",
						      api_json_text(x, "content")));
	}
	json_array_extend(list, (json_t *)messages);
	return list;
}

/* ---- templates ---- */

/* Jinja templates take it that a tool has a schema; Go templates show what the client left out as null. */
static void complete_tool(json_t *tool)
{
	json_t *params = json_get(json_get(tool, "function"), "parameters");
	if (!*api_json_text(params, "type"))
		json_object_set_new(params, "type", json_string("object"));
	if (!json_get(params, "properties"))
		json_object_set_new(params, "properties", json_object());
}

void gen_build_template(struct gen_req *r, const struct store_model *m, const char *custom, bool native)
{
	r->custom_template = *custom != 0;
	if (*custom)
		r->go_template = mem_strdup(custom);
	else if (!native && m->template_text)
		r->go_template = mem_strdup(m->template_text);
	for (size_t i = 0; !r->go_template && i < json_array_size(r->tools); i++)
		complete_tool(json_array_get(r->tools, i));
}

void gen_build_fill(struct gen_req *r, const struct store_model *m, const char *custom, const char *prompt, const char *suffix)
{
	r->kind = GEN_PROMPT;
	r->prompt = mem_strdup(prompt);
	r->suffix = mem_strdup(suffix);
	gen_build_template(r, m, custom, false);
}

/* ---- tools ---- */

static json_t *neutral_property(const json_t *v, int depth);

static json_t *neutral_properties(const json_t *v, int depth)
{
	json_t *obj = json_object();
	for (void *it = json_object_iter((json_t *)v); it; it = json_object_iter_next((json_t *)v, it))
		json_object_set_new(obj, json_object_iter_key(it), neutral_property(json_object_iter_value(it), depth + 1));
	return obj;
}

static json_t *neutral_any_of(const json_t *v, int depth)
{
	json_t *list = json_array();
	for (size_t i = 0; i < json_array_size(v); i++)
		json_array_append_new(list, neutral_property(json_array_get(v, i), depth + 1));
	return list;
}

/* A property's schema: the keys that prompts show, in their order. A list of one type is written as that type. */
static json_t *neutral_property(const json_t *v, int depth)
{
	json_t *out = json_object();
	json_t *type = json_get_nonnull(v, "type"), *x;
	if (depth > 32)
		return out;
	if ((x = json_get_nonnull(v, "anyOf")) && json_is_array(x))
		json_object_set_new(out, "anyOf", neutral_any_of(x, depth));
	if (json_is_array(type) && json_array_size(type) == 1)
		type = json_array_get(type, 0);
	if (type)
		json_object_set(out, "type", type);
	if ((x = json_get_nonnull(v, "items")))
		json_object_set(out, "items", x);
	if (*api_json_text(v, "description"))
		json_object_set(out, "description", json_get(v, "description"));
	if ((x = json_get_nonnull(v, "enum")))
		json_object_set(out, "enum", x);
	if ((x = json_get_nonnull(v, "properties")) && json_is_object(x))
		json_object_set_new(out, "properties", neutral_properties(x, depth));
	if ((x = json_get_nonnull(v, "required")))
		json_object_set(out, "required", x);
	return out;
}

struct tool_fields {
	const char *type;
	json_t *items, *function;
};
static const struct api_field tool_table[] = {
	{"type", API_F_STR, offsetof(struct tool_fields, type)},
	{"items", API_F_ANY, offsetof(struct tool_fields, items)},
	{"function", API_F_OBJ, offsetof(struct tool_fields, function)},
};

struct tool_function_fields {
	const char *name, *description;
	json_t *parameters;
};
static const struct api_field tool_function_table[] = {
	{"name", API_F_STR, offsetof(struct tool_function_fields, name)},
	{"description", API_F_STR, offsetof(struct tool_function_fields, description)},
	{"parameters", API_F_OBJ, offsetof(struct tool_function_fields, parameters)},
};

struct parameters_fields {
	const char *type;
	json_t *defs, *items, *required, *properties;
};
static const struct api_field parameters_table[] = {
	{"type", API_F_STR, offsetof(struct parameters_fields, type)},
	{"$defs", API_F_ANY, offsetof(struct parameters_fields, defs)},
	{"items", API_F_ANY, offsetof(struct parameters_fields, items)},
	{"required", API_F_STRS, offsetof(struct parameters_fields, required)},
	{"properties", API_F_OBJ, offsetof(struct parameters_fields, properties)},
};

static void set_any(json_t *obj, const char *key, json_t *v)
{
	if (v)
		json_object_set(obj, key, v);
}

static int neutral_tool(struct api_call *call, const json_t *v, const char *type_name, json_t *list, struct err *err)
{
	struct tool_fields t;
	struct tool_function_fields f;
	struct parameters_fields p;
	if (!json_is_object(v))
		return api_type_error(v, type_name, "tools", "api.Tool", err);
	int rc = api_decode(call, v, type_name, tool_table, ARRAY_LEN(tool_table), &t, err);
	if (!rc)
		rc = api_decode(call, t.function, type_name, tool_function_table, ARRAY_LEN(tool_function_table), &f, err);
	if (!rc)
		rc = api_decode(call, f.parameters, type_name, parameters_table, ARRAY_LEN(parameters_table), &p, err);
	if (rc)
		return rc;
	json_t *out = json_object(), *function = json_object(), *params = json_object();
	json_object_set_new(out, "type", json_string(t.type));
	set_any(out, "items", t.items);
	json_object_set_new(out, "function", function);
	json_object_set_new(function, "name", json_string(f.name));
	set_text(function, "description", f.description);
	json_object_set_new(function, "parameters", params);
	json_object_set_new(params, "type", json_string(p.type));
	set_any(params, "$defs", p.defs);
	set_any(params, "items", p.items);
	set_any(params, "required", p.required);
	if (p.properties)
		json_object_set_new(params, "properties", neutral_properties(p.properties, 0));
	json_array_append_new(list, out);
	return 0;
}

int gen_build_tools(struct api_call *call, const json_t *tools, const char *type_name, json_t **ret, struct err *err)
{
	json_t *list = json_array();
	int rc = 0;
	*ret = NULL;
	for (size_t i = 0; !rc && i < json_array_size(tools); i++)
		rc = neutral_tool(call, json_array_get(tools, i), type_name, list, err);
	if (rc || !json_array_size(list)) {
		json_decref(list);
		return rc;
	}
	*ret = list;
	return 0;
}

/* ---- the rest ---- */

int gen_build_count_images(const json_t *messages)
{
	size_t n = 0;
	for (size_t i = 0; i < json_array_size(messages); i++)
		n += json_array_size(json_get(json_array_get(messages, i), "images"));
	return n > INT32_MAX ? INT32_MAX : (int)n;
}

int gen_build_format(json_t *format, json_t **ret, struct err *err)
{
	const char *z = json_string_value(format);
	*ret = NULL;
	if (!format || json_is_null(format) || (z && !*z))
		return 0;
	if (json_is_object(format) || (z && !strcmp(z, "json"))) {
		*ret = format;
		return 0;
	}
	struct str raw = {0}, quoted = {0};
	struct jsonw w;
	jsonw_init(&w, &raw, JSONW_PLAIN);
	jsonw_value(&w, format);
	jsonw_init(&w, &quoted, JSONW_PLAIN);
	jsonw_strn(&w, raw.data, raw.len);
	int rc = err_set(err, ERR_INTERNAL, "invalid format: %s; expected \"json\" or a valid JSON Schema object", quoted.data);
	str_release(&raw);
	str_release(&quoted);
	return rc;
}

int gen_build_check(const struct store_model *m, const struct api_caps *caps, const char *model_text, const char *what,
		    const struct gen_needs *needs, struct api_think *think, struct err *err)
{
	bool thinks = api_caps_has(caps, "thinking");
	if (*api_json_text(m->config, "remote_host"))
		return err_set(err, ERR_INVALID, "this server cannot run this remote model");
	if (think->on == 1 && !thinks) {
		if (!needs->relax_think)
			return err_set(err, ERR_INVALID, "\"%s\" does not support thinking", model_text);
		*think = (struct api_think){-1, NULL};
	} else if (think->on < 0 && thinks) {
		think->on = 1;
	}
	if (!api_caps_has(caps, "completion"))
		return err_set(err, ERR_INVALID, "\"%s\" does not support %s", model_text, what);
	if (needs->images && !api_caps_has(caps, "vision") && !api_caps_has(caps, "audio"))
		return err_set(err, ERR_INVALID, "\"%s\" does not support images: take a model with the vision capability", model_text);
	const char *missing[2] = {needs->tools && !api_caps_has(caps, "tools") ? "tools" : NULL,
				  needs->insert && !api_caps_has(caps, "insert") ? "insert" : NULL};
	struct str text = {0}, full = {0};
	store_name_full(&m->name, &full);
	for (size_t i = 0; i < ARRAY_LEN(missing); i++)
		if (missing[i])
			str_printf(&text, "%s%s does not support %s", text.len ? "\n" : "", full.data, missing[i]);
	int rc = text.len ? err_set(err, ERR_INVALID, "%s", text.data) : 0;
	str_release(&text);
	str_release(&full);
	return rc;
}
