#include "chat/collate.h"

#include <stdio.h>

#include "base/json.h"
#include "chat/gotmpl_run.h"

enum { DATA_DEPTH = 100 };

/* ---- the types that templates see; names of fields are what templates write ---- */

#define STRUCT_TYPE(var, type_name, how, is_pointer, field_table)                                                      \
	static const struct gtype var = {                                                                              \
		.name = type_name, .print = how, .pointer = is_pointer, .fields = field_table, .n_fields = ARRAY_LEN(field_table)}

static const struct gtype args_type = {.name = "template.templateArgs", .print = GPRINT_JSON, .elem_kind = GV_NIL};
static const struct gtype images_type = {.name = "[]api.ImageData", .elem_kind = GV_STR};

static const struct gfield call_fn_fields[] = {
	{"Index", "Index", false, GV_INT, NULL},
	{"Name", "Name", false, GV_STR, NULL},
	{"Arguments", "Arguments", false, GV_MAP, &args_type},
};
STRUCT_TYPE(call_fn_type, "template.templateToolCallFunction", GPRINT_PLAIN, false, call_fn_fields);
static const struct gfield call_fields[] = {
	{"ID", "ID", false, GV_STR, NULL},
	{"Function", "Function", false, GV_STRUCT, &call_fn_type},
};
STRUCT_TYPE(call_type, "template.templateToolCall", GPRINT_PLAIN, false, call_fields);
static const struct gtype calls_type = {.name = "[]template.templateToolCall", .elem_kind = GV_STRUCT, .elem = &call_type};

static const struct gfield message_fields[] = {
	{"Role", "Role", false, GV_STR, NULL},
	{"Content", "Content", false, GV_STR, NULL},
	{"Thinking", "Thinking", false, GV_STR, NULL},
	{"Images", "Images", false, GV_SLICE, &images_type},
	{"ToolCalls", "ToolCalls", false, GV_SLICE, &calls_type},
	{"ToolName", "ToolName", false, GV_STR, NULL},
	{"ToolCallID", "ToolCallID", false, GV_STR, NULL},
};
STRUCT_TYPE(message_type, "*template.templateMessage", GPRINT_PLAIN, true, message_fields);
static const struct gtype messages_type = {.name = "[]*template.templateMessage", .elem_kind = GV_STRUCT, .elem = &message_type};

static const struct gtype prop_type, prop_list_type = {.name = "[]api.ToolProperty", .elem_kind = GV_STRUCT, .elem = &prop_type};
static const struct gtype words_type = {
	.name = "api.PropertyType", .print = GPRINT_WORDS, .json_words = true, .elem_kind = GV_STR};
static const struct gtype inner_props_type = {
	.name = "*api.ToolPropertiesMap", .print = GPRINT_JSON, .pointer = true, .elem_kind = GV_STRUCT, .elem = &prop_type};
static const struct gfield prop_fields[] = {
	{"AnyOf", "anyOf", true, GV_SLICE, &prop_list_type},
	{"Type", "type", true, GV_SLICE, &words_type},
	{"Items", "items", true, GV_NIL, NULL},
	{"Description", "description", true, GV_STR, NULL},
	{"Enum", "enum", true, GV_SLICE, &gtype_any_slice},
	{"Properties", "properties", true, GV_NIL, &inner_props_type},
	{"Required", "required", true, GV_SLICE, &gtype_strings},
};
STRUCT_TYPE(prop_type, "api.ToolProperty", GPRINT_PLAIN, false, prop_fields);

static const struct gtype props_type = {
	.name = "template.templateProperties", .print = GPRINT_JSON, .elem_kind = GV_STRUCT, .elem = &prop_type};
static const struct gfield params_fields[] = {
	{"Type", "type", false, GV_STR, NULL},
	{"Defs", "$defs", true, GV_NIL, NULL},
	{"Items", "items", true, GV_NIL, NULL},
	{"Required", "required", true, GV_SLICE, &gtype_strings},
	{"Properties", "properties", false, GV_MAP, &props_type},
};
/* Function and parameters print as JSON: library templates count on it, although Ollama prints Go structs these days. */
STRUCT_TYPE(params_type, "template.templateToolFunctionParameters", GPRINT_JSON, false, params_fields);
static const struct gfield tool_fn_fields[] = {
	{"Name", "name", false, GV_STR, NULL},
	{"Description", "description", false, GV_STR, NULL},
	{"Parameters", "parameters", false, GV_STRUCT, &params_type},
};
STRUCT_TYPE(tool_fn_type, "template.templateToolFunction", GPRINT_JSON, false, tool_fn_fields);
static const struct gfield tool_fields[] = {
	{"Type", "type", false, GV_STR, NULL},
	{"Items", "items", true, GV_NIL, NULL},
	{"Function", "function", false, GV_STRUCT, &tool_fn_type},
};
STRUCT_TYPE(tool_type, "template.templateTool", GPRINT_JSON, false, tool_fields);
static const struct gtype tools_type = {
	.name = "template.templateTools", .print = GPRINT_JSON, .elem_kind = GV_STRUCT, .elem = &tool_type};

/* ---- JSON to those types: members of the wrong type count as absent ---- */

static bool typed(struct grun *r, enum gkind kind, const struct gtype *type, const json_t *j, int depth, struct gval *ret);

static bool typed_slice(struct grun *r, const struct gtype *type, const json_t *j, int depth, struct gval *ret)
{
	bool one = type->json_words && json_is_string(j);
	size_t n = one ? 1 : json_array_size(j);
	if (!one && !json_is_array(j))
		return gr_zero(r, GV_SLICE, type, ret);
	*ret = (struct gval){.kind = GV_SLICE, .type = type, .v = gr_alloc(r, n, sizeof(struct gval)), .n = n};
	for (size_t i = 0; ret->v && i < n; i++)
		if (!typed(r, type->elem_kind, type->elem, one ? j : json_array_get(j, i), depth - 1, &ret->v[i]))
			return false;
	return ret->v != NULL;
}

/* A map's entries come sorted; `order` remembers how they stood. */
static bool keep_order(struct grun *r, struct gmap *m, const json_t *j)
{
	const char *key;
	json_t *v;
	size_t i = 0;
	m->order = gr_alloc(r, m->n, sizeof *m->order);
	if (!m->order)
		return false;
	json_object_foreach((json_t *)j, key, v)
		m->order[i++] = (uint32_t)(gv_find(m, (struct gstr){key, strlen(key)}) - m->e);
	return true;
}

static bool typed_map(struct grun *r, const struct gtype *type, const json_t *j, int depth, struct gval *ret)
{
	const char *key;
	json_t *v;
	if (!json_is_object(j))
		return gr_zero(r, type->pointer ? GV_NIL : GV_MAP, type, ret);
	struct gmap *m = gr_alloc(r, 1, sizeof *m);
	if (!m || !(m->e = gr_alloc(r, json_object_size(j), sizeof *m->e)))
		return false;
	json_object_foreach((json_t *)j, key, v) {
		struct gentry *e = &m->e[m->n++];
		e->key = (struct gstr){key, strlen(key)};
		if (!typed(r, type->elem_kind, type->elem, v, depth - 1, &e->val))
			return false;
	}
	gv_sort(m);
	*ret = (struct gval){.kind = GV_MAP, .type = type, .map = m};
	return !type->pointer || keep_order(r, m, j);
}

static bool typed_struct(struct grun *r, const struct gtype *type, const json_t *j, int depth, struct gval *ret)
{
	*ret = (struct gval){.kind = GV_STRUCT, .type = type, .fields = gr_alloc(r, type->n_fields, sizeof(struct gval))};
	for (size_t i = 0; ret->fields && i < type->n_fields; i++) {
		const struct gfield *f = &type->fields[i];
		if (!typed(r, f->kind, f->type, json_get(j, f->json), depth - 1, &ret->fields[i]))
			return false;
	}
	return ret->fields != NULL;
}

static bool typed(struct grun *r, enum gkind kind, const struct gtype *type, const json_t *j, int depth, struct gval *ret)
{
	if (!gr_step(r))
		return false;
	if (depth <= 0)
		return gr_limit(r, "the data is nested too deeply");
	if (kind == GV_STRUCT)
		return typed_struct(r, type, j, depth, ret);
	if (kind == GV_SLICE)
		return typed_slice(r, type, j, depth, ret);
	if (kind == GV_MAP || type)
		return typed_map(r, type, j, depth, ret);
	if (kind == GV_NIL)
		return gr_value(r, j, depth, ret);
	if (!gr_zero(r, kind, type, ret))
		return false;
	if (kind == GV_STR && json_is_string(j))
		ret->s = (struct gstr){json_string_value(j), json_string_length(j)};
	if (kind == GV_INT && json_is_integer(j))
		ret->i = json_integer_value(j);
	return true;
}

/* ---- messages ---- */

struct turn {
	struct gstr role, content;
	const json_t *src; /* the first message: calls, thinking and the rest are its own */
};

struct conversation {
	struct grun *r;
	const struct collate_req *req;
	VEC(struct turn) turns;
	struct str system; /* all system texts */
};

static struct gstr text_of(const json_t *j, const char *key)
{
	const json_t *v = json_get(j, key);
	return (struct gstr){json_is_string(v) ? json_string_value(v) : "", json_string_length(v)};
}

static bool keep(struct conversation *c, const char *p, size_t n, struct gstr *ret)
{
	char *copy = gr_alloc(c->r, n + 1, 1);
	if (copy)
		memcpy(copy, p, n);
	*ret = (struct gstr){copy, n};
	return copy != NULL;
}

/* The text with a mark for each image, numbered over the whole conversation. */
static bool tag_images(struct conversation *c, size_t n_image, size_t *i_image, struct gstr *text)
{
	struct str front = {0}, body = {0}, swap = {0};
	str_add(&body, text->p, text->n);
	for (size_t i = 0; i < n_image; i++) {
		char tag[32];
		const char *at = body.data ? memmem(body.data, body.len, "[img]", 5) : NULL;
		snprintf(tag, sizeof tag, "[img-%zu]", (*i_image)++);
		if (!at) {
			str_adds(&front, tag);
			continue;
		}
		str_clear(&swap);
		str_add(&swap, body.data, (size_t)(at - body.data));
		str_adds(&swap, tag);
		str_add(&swap, at + 5, body.len - (size_t)(at - body.data) - 5);
		str_clear(&body);
		str_add(&body, swap.data, swap.len);
	}
	str_add(&front, str_cstr(&body), body.len);
	bool ok = keep(c, str_cstr(&front), front.len, text);
	str_release(&front);
	str_release(&body);
	str_release(&swap);
	return ok;
}

static bool add_message(struct conversation *c, const json_t *m, size_t *i_image)
{
	struct turn t = {text_of(m, "role"), text_of(m, "content"), m}, *last = c->turns.n ? &c->turns.data[c->turns.n - 1] : NULL;
	size_t n_image = json_array_size(json_get(m, "images"));
	if (!gr_step(c->r) || (n_image && c->req->tag_images && !tag_images(c, n_image, i_image, &t.content)))
		return false;
	if (gstr_eqz(t.role, "system")) {
		str_adds(&c->system, c->system.data ? "\n\n" : "");
		str_add(&c->system, t.content.p, t.content.n);
	}
	if (!last || !gstr_eq(last->role, t.role) || gstr_eqz(t.role, "tool")) {
		vec_push(&c->turns, t);
		return true;
	}
	struct str both = {0};
	str_add(&both, last->content.p, last->content.n);
	str_adds(&both, "\n\n");
	str_add(&both, t.content.p, t.content.n);
	bool ok = keep(c, str_cstr(&both), both.len, &last->content);
	str_release(&both);
	return ok;
}

static bool collate(struct conversation *c)
{
	size_t i, i_image = 0;
	json_t *m;
	json_array_foreach((json_t *)c->req->messages, i, m)
		if (!add_message(c, m, &i_image))
			return false;
	return true;
}

static bool call_value(struct grun *r, const json_t *j, struct gval *ret)
{
	const json_t *f = json_get(j, "function");
	struct gval *fn;
	if (!gr_zero(r, GV_STRUCT, &call_type, ret))
		return false;
	ret->fields[0] = gv_str(text_of(j, "id"));
	fn = ret->fields[1].fields;
	fn[0] = gv_int(json_integer_value(json_get(f, "index")));
	fn[1] = gv_str(text_of(f, "name"));
	return typed(r, GV_MAP, &args_type, json_get(f, "arguments"), DATA_DEPTH, &fn[2]);
}

static bool message_value(struct grun *r, const struct turn *t, struct gval *ret)
{
	const json_t *calls = json_get(t->src, "tool_calls");
	if (!gr_zero(r, GV_STRUCT, &message_type, ret))
		return false;
	struct gval *f = ret->fields;
	f[0] = gv_str(t->role);
	f[1] = gv_str(t->content);
	f[2] = gv_str(text_of(t->src, "thinking"));
	f[5] = gv_str(text_of(t->src, "tool_name"));
	f[6] = gv_str(text_of(t->src, "tool_call_id"));
	if (!typed(r, GV_SLICE, &images_type, json_get(t->src, "images"), DATA_DEPTH, &f[3]))
		return false;
	size_t n = json_array_size(calls);
	if (!n)
		return true;
	f[4] = (struct gval){.kind = GV_SLICE, .type = &calls_type, .v = gr_alloc(r, n, sizeof(struct gval)), .n = n};
	for (size_t i = 0; f[4].v && i < n; i++)
		if (!call_value(r, json_array_get(calls, i), &f[4].v[i]))
			return false;
	return f[4].v != NULL;
}

static bool messages_value(struct conversation *c, struct gval *ret)
{
	size_t n = c->turns.n;
	if (!n)
		return gr_zero(c->r, GV_SLICE, &messages_type, ret);
	*ret = (struct gval){.kind = GV_SLICE, .type = &messages_type, .v = gr_alloc(c->r, n, sizeof(struct gval)), .n = n};
	for (size_t i = 0; ret->v && i < n; i++)
		if (!message_value(c->r, &c->turns.data[i], &ret->v[i]))
			return false;
	return ret->v != NULL;
}

/* ---- what the template gets ---- */

enum { DOT_MAX = 10 };
struct dot {
	struct gentry e[DOT_MAX];
	struct gmap map;
};

static void dot_put(struct dot *d, const char *key, struct gval v)
{
	BUG_ON(d->map.n >= DOT_MAX);
	d->map.e = d->e;
	d->e[d->map.n++] = (struct gentry){{key, strlen(key)}, gv_boxed(v)};
}

static bool run(struct conversation *c, struct dot *d, const struct gnode *root, struct gbuf *out)
{
	const struct collate_req *q = c->req;
	dot_put(d, "Think", gv_bool(q->think > 0));
	dot_put(d, "ThinkLevel", gv_strz(q->think <= 0 ? "" : q->think_level ? q->think_level : "medium"));
	dot_put(d, "IsThinkSet", gv_bool(q->think >= 0));
	gv_sort(&d->map);
	return gr_exec(c->r, root, (struct gval){.kind = GV_MAP, .type = &gtype_any_map, .map = &d->map}, out);
}

static bool run_fim(struct conversation *c, struct gbuf *out)
{
	struct dot d = {0};
	dot_put(&d, "Prompt", gv_strz(c->req->prompt));
	dot_put(&d, "Suffix", gv_strz(c->req->suffix));
	dot_put(&d, "Response", gv_strz(""));
	return run(c, &d, c->r->t->root, out);
}

static bool run_messages(struct conversation *c, struct gbuf *out)
{
	struct dot d = {0};
	struct gval messages, tools;
	if (!messages_value(c, &messages) || !typed(c->r, GV_SLICE, &tools_type, c->req->tools, DATA_DEPTH, &tools))
		return false;
	dot_put(&d, "System", gv_str((struct gstr){str_cstr(&c->system), c->system.len}));
	dot_put(&d, "Messages", messages);
	dot_put(&d, "Tools", tools);
	dot_put(&d, "Response", gv_strz(""));
	return run(c, &d, c->r->t->root, out);
}

/* ---- templates over one turn ---- */

struct legacy {
	struct gstr system, prompt, response;
};
static const struct legacy no_turn = {{"", 0}, {"", 0}, {"", 0}};

/* The last turn is cut after the model's answer, so that generation goes on there. A template that does not place the
 * answer gets it at its end. */
static bool run_turn(struct conversation *c, struct legacy *l, bool last, struct gbuf *out)
{
	static const struct gnode nothing = {.type = GN_LIST};
	const struct gotmpl *t = c->r->t;
	struct dot d = {0};
	dot_put(&d, "System", gv_str(l->system));
	dot_put(&d, "Prompt", gv_str(l->prompt));
	dot_put(&d, "Response", gv_str(l->response));
	if (!run(c, &d, !last ? t->root : t->cut ? t->cut : &nothing, out))
		return false;
	if (t->adds_answer)
		gb_add(out, l->response.p, l->response.n);
	*l = no_turn;
	return !c->r->failed;
}

static bool run_legacy(struct conversation *c, struct gbuf *out)
{
	struct legacy l = no_turn;
	for (size_t i = 0; i < c->turns.n; i++) {
		const struct turn *t = &c->turns.data[i];
		bool system = gstr_eqz(t->role, "system"), user = gstr_eqz(t->role, "user");
		bool complete = (system && l.prompt.n) || ((system || user) && l.response.n);
		if (complete && !run_turn(c, &l, false, out))
			return false;
		if (system)
			l.system = t->content;
		else if (user)
			l.prompt = t->content;
		else if (gstr_eqz(t->role, "assistant"))
			l.response = t->content;
	}
	return run_turn(c, &l, true, out);
}

static bool render(struct conversation *c, struct gbuf *out)
{
	const struct collate_req *q = c->req;
	if (!collate(c))
		return false;
	if (q->prompt && *q->prompt && q->suffix && *q->suffix)
		return run_fim(c, out);
	return gotmpl_uses(c->r->t, "messages") ? run_messages(c, out) : run_legacy(c, out);
}

int collate_render(const struct gotmpl *t, const struct collate_req *req, const struct gotmpl_limits *limits, struct str *out,
		   struct err *err)
{
	struct grun r;
	struct err local;
	struct conversation c = {.r = &r, .req = req};
	size_t before = out->len;
	gr_init(&r, t, req->now_s, limits, err ? err : &local);
	r.floats_only = true;
	struct gbuf b = {&r, out, before + r.lim.output_bytes};
	bool ok = render(&c, &b);
	BUG_ON(ok == r.failed);
	vec_release(&c.turns);
	str_release(&c.system);
	gr_release(&r);
	if (ok)
		return 0;
	if (out->data)
		str_truncate(out, before);
	return r.err->code;
}
