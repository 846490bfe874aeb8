/* Calling things: arguments to parameters, and the tables of what can be called. */
#include <string.h>

#include "base/bug.h"
#include "chat/jinja_run.h"

const struct jval *jr_kwarg(const struct jcall *c, const char *name)
{
	for (size_t i = 0; i < c->n_kw; i++)
		if (jv_str_eqz(c->kw_names[i], name))
			return &c->kw_vals[i];
	return NULL;
}

/* Takes one parameter name off *params: its length; *optional tells of the "?" after it. */
static size_t param_name(const char **params, const char **name, bool *optional)
{
	*name = *params;
	size_t n = strcspn(*params, " ");
	*params += n + ((*params)[n] == ' ');
	*optional = n && (*name)[n - 1] == '?';
	return n - *optional;
}

static bool bind(struct jrun *r, const struct jbuiltin *fn, const struct jcall *c, struct jargs *a)
{
	const char *params = fn->params, *name;
	bool no_keywords = params[0] == '/', optional;
	size_t n_used = 0, i = 0;
	if (no_keywords)
		params += 1 + (params[1] == ' ');
	if (no_keywords && c->n_kw)
		return jr_fail(r, "%s() takes no keyword arguments", fn->name);
	for (; *params; i++) {
		size_t n = param_name(&params, &name, &optional);
		struct jval *v = &a->v[i + 1];
		v->kind = J_MISSING;
		r->steps += c->n_kw / 8;
		for (size_t k = 0; k < c->n_kw; k++) {
			if (c->kw_names[k]->n != n || memcmp(c->kw_names[k]->p, name, n) != 0)
				continue;
			if (i < c->n_args)
				return jr_fail(r, "%s() got multiple values for argument '%.*s'", fn->name, (int)n, name);
			*v = c->kw_vals[k];
			n_used++;
		}
		if (i < c->n_args)
			*v = c->args[i];
		else if (v->kind == J_MISSING && !optional)
			return jr_fail(r, "%s() misses its argument '%.*s'", fn->name, (int)n, name);
	}
	if (c->n_args > i)
		return jr_fail(r, "%s() takes at most %zu arguments, got %zu", fn->name, i, c->n_args);
	if (n_used < c->n_kw)
		return jr_fail(r, "%s() got an unexpected keyword argument", fn->name);
	return true;
}

bool jr_call_builtin(struct jrun *r, const struct jbuiltin *fn, struct jval self, const struct jcall *c, struct jval *ret)
{
	struct jargs a;
	a.v[0] = self;
	a.call = c;
	a.fn = fn;
	if (fn->params[0] != '*' && !bind(r, fn, c, &a))
		return false;
	struct jval result = jv_none(); /* ret may be one of the arguments */
	if (!jr_step(r) || !fn->fn(r, &a, &result))
		return false;
	*ret = result;
	return true;
}

bool jr_call(struct jrun *r, const struct jval *callee, const struct jcall *c, struct jval *ret)
{
	switch (callee->kind) {
	case J_FUNC: return jr_call_builtin(r, callee->func->fn, callee->func->self, c, ret);
	case J_MACRO: return jx_call_macro(r, callee->macro, c, ret);
	case J_LOOP: return jx_call_loop(r, callee->loop, c, ret);
	case J_UNDEF: return jr_fail_undef(r, callee);
	case J_JOINER:
		if (c->n_args || c->n_kw)
			return jr_fail(r, "a joiner takes no arguments");
		if (callee->cycler->used) {
			*ret = callee->cycler->sep;
			return true;
		}
		callee->cycler->used = true;
		return jv_strz(r, "", ret);
	default: return jr_fail(r, "'%s' object is not callable", jv_type(callee));
	}
}

bool jr_func(struct jrun *r, const struct jbuiltin *fn, struct jval self, struct jval *ret)
{
	struct jfunc *f = jr_alloc(r, sizeof *f);
	if (!f)
		return false;
	*f = (struct jfunc){.fn = fn, .self = self};
	*ret = (struct jval){.kind = J_FUNC, .func = f};
	return true;
}

/* ---- arguments ---- */

bool ja_int(struct jrun *r, const struct jval *v, int64_t def, int64_t *ret)
{
	*ret = def;
	if (v->kind == J_MISSING)
		return true;
	if (v->kind == J_BIG)
		return jr_limit(r, "an integer argument is too large");
	if (v->kind == J_UNDEF)
		return jr_fail_undef(r, v);
	if (!jv_is_int(v))
		return jr_fail(r, "'%s' object cannot be interpreted as an integer", jv_type(v));
	*ret = jv_as_int(v);
	return true;
}

bool ja_size(struct jrun *r, const struct jval *v, size_t def, size_t *ret)
{
	int64_t i;
	if (!ja_int(r, v, def > INT64_MAX ? INT64_MAX : (int64_t)def, &i))
		return false;
	*ret = i < 0 ? 0 : (size_t)i;
	return true;
}

bool ja_bool(const struct jval *v, bool def)
{
	return v->kind == J_MISSING ? def : jv_truth(v);
}

bool ja_str(struct jrun *r, const struct jval *v, struct jstr **ret)
{
	if (v->kind == J_UNDEF)
		return jr_fail_undef(r, v);
	if (v->kind != J_STR)
		return jr_fail(r, "a string is needed here, not %s", jv_type(v));
	*ret = v->s;
	return true;
}

/* ---- tables ---- */

const struct jbuiltin *jinja_table_find(const struct jbuiltin *table, size_t n, const char *p, size_t n_name)
{
	for (size_t i = 0; i < n; i++)
		if (strlen(table[i].name) == n_name && memcmp(table[i].name, p, n_name) == 0)
			return &table[i];
	return NULL;
}

const struct jbuiltin *jinja_find_filter(const char *p, size_t n)
{
	const struct jbuiltin *f = jinja_table_find(jinja_text_filters, jinja_n_text_filters, p, n);
	return f ? f : jinja_table_find(jinja_seq_filters, jinja_n_seq_filters, p, n);
}
