#include "chat/gotmpl.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "chat/gotmpl_run.h"

enum { CLOCK_STEPS = 2048 }; /* steps between looks at the clock */

const struct gotmpl_limits gotmpl_limits_default = {
	.steps = 3000000,
	.depth = 1500,
	.output_bytes = 32u << 20,
	.memory_bytes = 128u << 20,
	.time_ns = 5 * NS_PER_S,
};

/* ---- parsing ---- */

static bool parse(struct gotmpl *t, const char *source, size_t n, struct err *err)
{
	t->source = arena_strndup(&t->arena, source, n);
	t->n_source = n;
	if (!t->source)
		return err_set(err, ERR_LIMIT, "the template is too large"), false;
	if (!gparse_template(t, err) || !gtree_vars(t, err))
		return false;
	if (!gtree_cut(t) || !gtree_infer(t))
		return err_set(err, ERR_LIMIT, "the template is too large"), false;
	return true;
}

int gotmpl_parse(const char *source, size_t n, struct gotmpl **ret, struct err *err)
{
	struct err local;
	*ret = NULL;
	if (!err)
		err = &local;
	if (n > GOTMPL_SOURCE_BYTES_MAX)
		return err_set(err, ERR_LIMIT, "the template has %zu bytes; the limit is %d", n, GOTMPL_SOURCE_BYTES_MAX);
	struct gotmpl *t = mem_zalloc(sizeof *t);
	arena_init(&t->arena, GOTMPL_PARSE_BYTES_MAX);
	if (!parse(t, source, n, err)) {
		gotmpl_free(t);
		return err->code;
	}
	*ret = t;
	return 0;
}

void gotmpl_free(struct gotmpl *t)
{
	if (!t)
		return;
	vec_release(&t->defs);
	arena_release(&t->arena);
	mem_free(t);
}

const char *const *gotmpl_vars(const struct gotmpl *t, size_t *ret_n)
{
	*ret_n = t->n_vars;
	return (const char *const *)t->vars;
}

static int by_text(const void *key, const void *elem)
{
	return strcmp(key, *(const char *const *)elem);
}

bool gotmpl_uses(const struct gotmpl *t, const char *lower_name)
{
	return t->n_vars && bsearch(lower_name, t->vars, t->n_vars, sizeof *t->vars, by_text);
}

const struct gotmpl_tags *gotmpl_infer(const struct gotmpl *t)
{
	return &t->tags;
}

/* ---- failing ---- */

bool gr_fail(struct grun *r, const char *fmt, ...)
{
	char what[500];
	struct str ctx = {0};
	size_t pos = r->at ? r->at->pos : 0, line_start = pos;
	va_list ap;
	if (r->failed)
		return false;
	r->failed = true;
	va_start(ap, fmt);
	vsnprintf(what, sizeof what, fmt, ap);
	va_end(ap);
	while (line_start > 0 && r->t->source[line_start - 1] != '\n')
		line_start--;
	if (r->at)
		gnode_print(&ctx, r->at);
	int n_name = (int)(r->name.n < 100 ? r->name.n : 100);
	err_set(r->err, ERR_INVALID, "template: :%d:%zu: executing \"%.*s\" at <%s>: %s", glex_line(r->t->source, pos),
		pos - line_start, n_name, r->name.p, str_cstr(&ctx), what);
	str_release(&ctx);
	return false;
}

bool gr_limit(struct grun *r, const char *fmt, ...)
{
	char what[300];
	va_list ap;
	if (r->failed)
		return false;
	r->failed = true;
	va_start(ap, fmt);
	vsnprintf(what, sizeof what, fmt, ap);
	va_end(ap);
	err_set(r->err, ERR_LIMIT, "template: %s", what);
	return false;
}

bool gr_too_deep(struct grun *r)
{
	return gr_limit(r, "exceeded maximum template depth (%d)", r->lim.depth);
}

bool gr_clock(struct grun *r)
{
	if (r->failed)
		return false;
	if (r->steps > r->lim.steps)
		return gr_limit(r, "rendering takes too many steps (more than %llu)", (unsigned long long)r->lim.steps);
	if (clock_now_ns() > r->deadline_ns)
		return gr_limit(r, "rendering takes longer than %lld ms", (long long)(r->lim.time_ns / NS_PER_MS));
	r->next_clock = r->steps + CLOCK_STEPS;
	if (r->next_clock > r->lim.steps + 1)
		r->next_clock = r->lim.steps + 1;
	return true;
}

void *gr_alloc(struct grun *r, size_t n, size_t size)
{
	size_t total;
	void *p = size_mul(n, size, &total) ? arena_zalloc(&r->arena, total) : NULL;
	if (!p)
		gr_limit(r, "rendering needs more than %zu MiB of memory", r->lim.memory_bytes >> 20);
	return p;
}

/* ---- text being built ---- */

static bool room(struct gbuf *b, size_t n)
{
	if (b->r->failed)
		return false;
	b->r->steps += n / 64;
	if (n > b->max || b->s->len > b->max - n)
		return gr_limit(b->r, "the text made is larger than %zu bytes", b->max);
	return gr_step(b->r);
}

void gb_add(struct gbuf *b, const char *p, size_t n)
{
	if (room(b, n))
		str_add(b->s, p, n);
}

void gb_adds(struct gbuf *b, const char *z)
{
	gb_add(b, z, strlen(z));
}

void gb_addc(struct gbuf *b, char c)
{
	gb_add(b, &c, 1);
}

void gb_pad(struct gbuf *b, char c, int64_t n)
{
	if (n <= 0 || !room(b, (size_t)n))
		return;
	str_reserve(b->s, (size_t)n);
	memset(b->s->data + b->s->len, c, (size_t)n);
	b->s->len += (size_t)n;
	b->s->data[b->s->len] = '\0';
}

struct gbuf gb_scratch(struct grun *r, struct str *s)
{
	*s = (struct str){0};
	return (struct gbuf){r, s, r->lim.memory_bytes / 4};
}

bool gb_take(struct gbuf *b, struct gval *ret)
{
	struct grun *r = b->r;
	char *p = r->failed ? NULL : gr_alloc(r, b->s->len + 1, 1);
	if (p) {
		memcpy(p, str_cstr(b->s), b->s->len);
		*ret = gv_str((struct gstr){p, b->s->len});
	}
	str_release(b->s);
	return p != NULL;
}

/* ---- values from JSON ---- */

static bool map_value(struct grun *r, const json_t *j, int depth, struct gval *ret)
{
	const char *key;
	json_t *v;
	struct gmap *m = gr_alloc(r, 1, sizeof *m);
	if (!m || !(m->e = gr_alloc(r, json_object_size(j), sizeof *m->e)))
		return false;
	json_object_foreach((json_t *)j, key, v) {
		struct gentry *e = &m->e[m->n++];
		e->key = (struct gstr){key, strlen(key)};
		if (!gr_value(r, v, depth - 1, &e->val))
			return false;
	}
	gv_sort(m);
	*ret = (struct gval){.kind = GV_MAP, .iface = true, .type = &gtype_any_map, .map = m};
	return true;
}

static bool slice_value(struct grun *r, const json_t *j, int depth, struct gval *ret)
{
	size_t n = json_array_size(j);
	struct gval *v = gr_alloc(r, n, sizeof *v);
	if (!v)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!gr_value(r, json_array_get(j, i), depth - 1, &v[i]))
			return false;
	*ret = (struct gval){.kind = GV_SLICE, .iface = true, .type = &gtype_any_slice, .v = v, .n = n};
	return true;
}

bool gr_value(struct grun *r, const json_t *j, int depth, struct gval *ret)
{
	if (!gr_step(r))
		return false;
	if (depth <= 0)
		return gr_limit(r, "the data is nested too deeply");
	switch (j ? json_typeof(j) : JSON_NULL) {
	case JSON_OBJECT:
		return map_value(r, j, depth, ret);
	case JSON_ARRAY:
		return slice_value(r, j, depth, ret);
	case JSON_STRING:
		*ret = gv_str((struct gstr){json_string_value(j), json_string_length(j)});
		break;
	case JSON_INTEGER:
		*ret = r->floats_only ? gv_float((double)json_integer_value(j)) : gv_int(json_integer_value(j));
		break;
	case JSON_REAL:
		*ret = gv_float(json_real_value(j));
		break;
	case JSON_TRUE:
	case JSON_FALSE:
		*ret = gv_bool(json_is_true(j));
		break;
	case JSON_NULL:
		*ret = gv_nil();
		break;
	}
	ret->iface = true;
	return true;
}

bool gr_zero(struct grun *r, enum gkind kind, const struct gtype *type, struct gval *ret)
{
	*ret = (struct gval){.kind = (uint8_t)kind, .type = type, .iface = kind == GV_NIL && !type};
	if (kind == GV_STR)
		ret->s = (struct gstr){"", 0};
	ret->nil = kind == GV_SLICE || kind == GV_MAP;
	if (kind != GV_STRUCT)
		return true;
	ret->fields = gr_alloc(r, type->n_fields, sizeof *ret->fields);
	for (size_t i = 0; ret->fields && i < type->n_fields; i++)
		if (!gr_zero(r, type->fields[i].kind, type->fields[i].type, &ret->fields[i]))
			return false;
	return ret->fields != NULL;
}

/* ---- rendering ---- */

void gr_init(struct grun *r, const struct gotmpl *t, int64_t now_s, const struct gotmpl_limits *lim, struct err *err)
{
	*r = (struct grun){.t = t, .lim = lim ? *lim : gotmpl_limits_default, .now_s = now_s, .err = err, .name = {"", 0}};
	r->deadline_ns = clock_now_ns() + r->lim.time_ns;
	arena_init(&r->arena, r->lim.memory_bytes);
}

void gr_release(struct grun *r)
{
	vec_release(&r->vars);
	arena_release(&r->arena);
}

int gotmpl_render(const struct gotmpl *t, json_t *data, int64_t now_s, const struct gotmpl_limits *limits, struct str *out,
		  struct err *err)
{
	enum { DATA_DEPTH = 500 };
	struct grun r;
	struct err local;
	struct gval dot;
	size_t before = out->len;
	gr_init(&r, t, now_s, limits, err ? err : &local);
	struct gbuf b = {&r, out, before + r.lim.output_bytes};
	bool ok = gr_value(&r, data, DATA_DEPTH, &dot) && gr_exec(&r, t->root, gv_unbox(dot), &b);
	BUG_ON(ok == r.failed);
	gr_release(&r);
	if (ok)
		return 0;
	if (out->data)
		str_truncate(out, before);
	return r.err->code;
}
