#include "chat/jinja.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/bug.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "chat/jinja_run.h"

enum { CLOCK_STEPS = 2048 }; /* steps between looks at the clock */

const struct jinja_limits jinja_limits_default = {
	.steps = 6000000,
	.depth = 2400,
	.output_bytes = 32u << 20,
	.memory_bytes = 128u << 20,
	.time_ns = 5 * NS_PER_S,
};

/* ---- parsing ---- */

struct jstr *jinja_tstr(struct jinja *t, const char *p, size_t n)
{
	struct jstr *s = arena_alloc(&t->arena, sizeof *s);
	char *copy = s ? arena_strndup(&t->arena, p, n) : NULL;
	if (!copy)
		return NULL;
	*s = (struct jstr){.p = copy, .n = n, .n_cp = utf8_count(copy, n)};
	return s;
}

struct jstr *jinja_intern(struct jinja *t, const char *p, size_t n)
{
	union map_val *slot = map_get(&t->names, p, n);
	if (slot)
		return slot->p;
	struct jstr *s = jinja_tstr(t, p, n);
	if (s)
		map_put_ref(&t->names, s->p, s->n)->p = s;
	return s;
}

void jinja_mark(struct jinja *t, const struct jstr *s)
{
	enum { NAME_BYTES_MAX = 64 }; /* longer strings are text, no names */
	if (s->n <= NAME_BYTES_MAX)
		map_put_ref(&t->used, s->p, s->n)->i = 1;
}

/* The source with line ends made \n, invalid UTF-8 replaced and the last line end dropped. NULL past the memory limit. */
static char *normalize(struct jinja *t, const char *source, size_t n, size_t *ret_n)
{
	char *out = arena_alloc(&t->arena, n * 3 + 1); /* an invalid byte becomes three */
	size_t k = 0;
	if (!out)
		return NULL;
	for (size_t i = 0; i < n;) {
		uint32_t cp;
		size_t len = utf8_next(source + i, n - i, &cp);
		i += len;
		if (cp == '\r') {
			i += i < n && source[i] == '\n';
			cp = '\n';
		}
		k += utf8_encode(cp, out + k);
	}
	*ret_n = k - (k && out[k - 1] == '\n');
	return out;
}

static int parse_into(struct jinja *t, const char *source, size_t n, struct err *err)
{
	size_t n_norm;
	char *norm = normalize(t, source, n, &n_norm);
	t->name_loop = jinja_intern(t, "loop", 4);
	t->name_caller = jinja_intern(t, "caller", 6);
	t->name_varargs = jinja_intern(t, "varargs", 7);
	t->name_kwargs = jinja_intern(t, "kwargs", 6);
	if (!norm || !t->name_kwargs)
		return err_set(err, ERR_LIMIT, "the chat template is too large");
	struct jparse *p = mem_zalloc(sizeof *p);
	p->t = t;
	p->err = err;
	jlex_init(&p->lex, t, norm, n_norm, err);
	bool ok = jparse_template(p, &t->body);
	mem_free(p);
	return ok ? 0 : ERR_INVALID;
}

int jinja_parse(const char *source, size_t n, struct jinja **ret, struct err *err)
{
	struct err local;
	*ret = NULL;
	if (!err)
		err = &local;
	if (n > JINJA_SOURCE_BYTES_MAX)
		return err_set(err, ERR_LIMIT, "the chat template has %zu bytes; the limit is %d", n, JINJA_SOURCE_BYTES_MAX);
	struct jinja *t = mem_zalloc(sizeof *t);
	arena_init(&t->arena, JINJA_PARSE_BYTES_MAX);
	int rc = parse_into(t, source, n, err);
	if (rc) {
		jinja_free(t);
		return rc;
	}
	*ret = t;
	return 0;
}

void jinja_free(struct jinja *t)
{
	if (!t)
		return;
	map_release(&t->names);
	map_release(&t->used);
	map_release(&t->blocks);
	arena_release(&t->arena);
	mem_free(t);
}

bool jinja_uses(const struct jinja *t, const char *name)
{
	return map_get(&t->used, name, strlen(name)) != NULL;
}

/* ---- failing ---- */

static bool fail_with(struct jrun *r, int code, const char *fmt, va_list ap)
{
	char what[700];
	if (r->failed)
		return false;
	r->failed = true;
	vsnprintf(what, sizeof what, fmt, ap);
	err_set(r->err, code, "chat template, line %d: %s", r->line, what);
	return false;
}

bool jr_fail(struct jrun *r, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	fail_with(r, ERR_INVALID, fmt, ap);
	va_end(ap);
	return false;
}

bool jr_limit(struct jrun *r, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	fail_with(r, ERR_LIMIT, fmt, ap);
	va_end(ap);
	return false;
}

bool jr_raise(struct jrun *r, const struct jstr *text)
{
	if (!r->failed)
		err_set(r->err, ERR_INVALID, "%.*s", (int)(text->n < 1000 ? text->n : 1000), text->p);
	r->failed = true;
	return false;
}

bool jr_fail_undef(struct jrun *r, const struct jval *u)
{
	if (!u->s)
		return jr_fail(r, "an undefined value was used");
	int n = (int)(u->s->n < 100 ? u->s->n : 100);
	if (!u->of)
		return jr_fail(r, "'%.*s' is undefined", n, u->s->p);
	struct jval owner = {.kind = u->of};
	const char *type = u->of == J_VIEW || u->of == J_ITER ? "iterator" : jv_type(&owner);
	return jr_fail(r, "'%s object' has no attribute '%.*s'", type, n, u->s->p);
}

bool jr_fail_op(struct jrun *r, const char *op, const struct jval *a, const struct jval *b)
{
	if (a->kind == J_UNDEF || b->kind == J_UNDEF)
		return jr_fail_undef(r, a->kind == J_UNDEF ? a : b);
	return jr_fail(r, "'%s' not supported between '%s' and '%s'", op, jv_type(a), jv_type(b));
}

bool jr_too_deep(struct jrun *r)
{
	return jr_limit(r, "recursion is too deep (more than %d levels)", r->lim.depth);
}

bool jr_clock(struct jrun *r)
{
	if (r->failed)
		return false;
	if (r->steps > r->lim.steps)
		return jr_limit(r, "rendering takes too many steps (more than %llu)", (unsigned long long)r->lim.steps);
	if (clock_now_ns() > r->deadline_ns)
		return jr_limit(r, "rendering takes longer than %lld ms", (long long)(r->lim.time_ns / NS_PER_MS));
	r->next_clock = r->steps + CLOCK_STEPS;
	if (r->next_clock > r->lim.steps + 1)
		r->next_clock = r->lim.steps + 1;
	return true;
}

void *jr_alloc(struct jrun *r, size_t n)
{
	void *p = arena_alloc(&r->arena, n);
	if (!p)
		jr_limit(r, "rendering needs more than %zu MiB of memory", r->lim.memory_bytes >> 20);
	return p;
}

void *jr_alloc_n(struct jrun *r, size_t n, size_t size)
{
	size_t total;
	return jr_alloc(r, size_mul(n, size, &total) ? total : SIZE_MAX);
}

/* ---- rendering ---- */

static bool run(struct jrun *r, json_t *vars)
{
	struct jval v;
	r->stack = jr_alloc_n(r, JINJA_STACK, sizeof *r->stack);
	if (!r->stack || !jv_from_json(r, vars, r->lim.depth < 200 ? r->lim.depth : 200, &v))
		return false;
	if (v.kind != J_DICT)
		return jr_fail(r, "the variables are no object");
	r->vars = v.dict;
	return jx_render(r);
}

int jinja_render(const struct jinja *t, json_t *vars, int64_t now_s, const struct jinja_limits *limits, struct str *out,
		 struct err *err)
{
	struct err local;
	struct jrun r = {.t = t, .lim = limits ? *limits : jinja_limits_default, .err = err ? err : &local, .now_s = now_s};
	struct jb b = {.r = &r, .ext = out, .ext_base = out->len};
	r.deadline_ns = clock_now_ns() + r.lim.time_ns;
	r.out = &b;
	r.rng = (uint64_t)now_s;
	arena_init(&r.arena, r.lim.memory_bytes);
	bool ok = run(&r, vars);
	BUG_ON(ok == r.failed);
	arena_release(&r.arena);
	if (ok)
		return 0;
	if (out->data)
		str_truncate(out, b.ext_base);
	return r.err->code;
}
