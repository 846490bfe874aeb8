/* Loops and macros: the bodies that run more than once, with the objects templates see of them. */
#include <string.h>

#include "base/bug.h"
#include "chat/jinja_run.h"

/* The `loop` of a for block. */
struct jloop {
	struct jiter it;
	struct jval src; /* for its length */
	struct jval cur, prev, after; /* after: read ahead, J_MISSING if not */
	struct jval changed; /* what changed() saw last */
	int64_t index0, length; /* length -1: not known yet */
	int64_t depth0;
	const struct jnode *node;
	struct jscope *outer;
};

/* ---- loop object ---- */

static int loop_next(struct jrun *r, struct jloop *l, struct jval *ret)
{
	if (l->after.kind == J_MISSING)
		return ji_next(r, &l->it, ret);
	*ret = l->after;
	l->after.kind = J_MISSING;
	return 1;
}

/* Reads one item ahead; *ret is J_MISSING at the end. */
static bool loop_peek(struct jrun *r, struct jloop *l, struct jval *ret)
{
	if (l->after.kind == J_MISSING) {
		int got = ji_next(r, &l->it, &l->after);
		if (got < 0)
			return false;
		if (got == 0)
			l->after.kind = J_MISSING;
	}
	*ret = l->after;
	return true;
}

bool jx_loop_len(struct jrun *r, struct jloop *l, int64_t *ret)
{
	if (l->length < 0) {
		size_t n;
		if (l->src.kind != J_MISSING && jv_has_len(&l->src)) {
			if (!jv_len(r, &l->src, &n))
				return false;
			l->length = (int64_t)n;
		} else {
			/* a generator: what is left becomes a list */
			struct jval rest, left;
			if (!ji_make(r, &l->it, &left) || !ji_list(r, &left, &rest) || !ji_open(r, &rest, &l->it))
				return false;
			l->length = (int64_t)rest.list->n + l->index0 + 1 + (l->after.kind != J_MISSING);
		}
	}
	*ret = l->length;
	return true;
}

enum loop_attr { LOOP_INDEX, LOOP_INDEX0, LOOP_REVINDEX, LOOP_REVINDEX0, LOOP_FIRST, LOOP_LAST, LOOP_LENGTH, LOOP_DEPTH,
		 LOOP_DEPTH0, LOOP_PREV, LOOP_NEXT, LOOP_N };

static bool loop_value(struct jrun *r, struct jloop *l, enum loop_attr which, struct jval *ret)
{
	int64_t n = 0;
	if ((which == LOOP_REVINDEX || which == LOOP_REVINDEX0 || which == LOOP_LENGTH) && !jx_loop_len(r, l, &n))
		return false;
	switch (which) {
	case LOOP_INDEX: *ret = jv_int(l->index0 + 1); return true;
	case LOOP_INDEX0: *ret = jv_int(l->index0); return true;
	case LOOP_REVINDEX: *ret = jv_int(n - l->index0); return true;
	case LOOP_REVINDEX0: *ret = jv_int(n - l->index0 - 1); return true;
	case LOOP_LENGTH: *ret = jv_int(n); return true;
	case LOOP_FIRST: *ret = jv_bool(l->index0 == 0); return true;
	case LOOP_DEPTH: *ret = jv_int(l->depth0 + 1); return true;
	case LOOP_DEPTH0: *ret = jv_int(l->depth0); return true;
	case LOOP_PREV: *ret = l->index0 == 0 ? jv_undef(NULL, 0) : l->prev; return true;
	default: break;
	}
	if (!loop_peek(r, l, ret))
		return false;
	if (which == LOOP_LAST)
		*ret = jv_bool(ret->kind == J_MISSING);
	else if (ret->kind == J_MISSING)
		*ret = jv_undef(NULL, 0);
	return true;
}

bool jx_loop_attr(struct jrun *r, struct jloop *l, const struct jstr *name, struct jval *ret)
{
	static const char *const names[LOOP_N] = {
		[LOOP_INDEX] = "index",   [LOOP_INDEX0] = "index0", [LOOP_REVINDEX] = "revindex", [LOOP_REVINDEX0] = "revindex0",
		[LOOP_FIRST] = "first",   [LOOP_LAST] = "last",     [LOOP_LENGTH] = "length",     [LOOP_DEPTH] = "depth",
		[LOOP_DEPTH0] = "depth0", [LOOP_PREV] = "previtem", [LOOP_NEXT] = "nextitem",
	};
	ret->kind = J_MISSING;
	for (int i = 0; i < LOOP_N; i++)
		if (jv_str_eqz(name, names[i]))
			return loop_value(r, l, i, ret);
	return true;
}

static bool loop_cycle(struct jrun *r, struct jargs *a, struct jval *ret)
{
	const struct jcall *c = a->call;
	if (!c->n_args || c->n_kw)
		return jr_fail(r, "loop.cycle needs items");
	*ret = c->args[(size_t)a->v[0].loop->index0 % c->n_args];
	return true;
}

static bool loop_changed(struct jrun *r, struct jargs *a, struct jval *ret)
{
	struct jloop *l = a->v[0].loop;
	struct jval now;
	bool same = false;
	if (!jv_list(r, J_TUPLE, a->call->n_args, &now))
		return false;
	for (size_t i = 0; i < a->call->n_args; i++)
		now.list->v[now.list->n++] = a->call->args[i];
	if (l->changed.kind != J_MISSING && !jv_eq(r, &l->changed, &now, &same))
		return false;
	l->changed = now;
	*ret = jv_bool(!same);
	return true;
}

const struct jbuiltin jx_loop_methods[] = {{"cycle", "*", loop_cycle}, {"changed", "*", loop_changed}};
const size_t jx_n_loop_methods = ARRAY_LEN(jx_loop_methods);

/* ---- for ---- */

/* The items for which the loop's own condition holds. */
struct filtered {
	struct jiter base;
	const struct jnode *node;
	struct jscope *scope;
};

static int next_filtered(struct jrun *r, struct jiter *it, struct jval *ret)
{
	struct filtered *f = it->state;
	struct jscope *saved = r->scope;
	struct jval test;
	int got;
	while ((got = ji_next(r, &f->base, ret)) > 0) {
		f->scope->n = 0;
		r->scope = f->scope;
		bool ok = jx_assign(r, f->node->a, ret) && je_eval(r, f->node->c, &test);
		r->scope = saved;
		if (!ok)
			return -1;
		if (jv_truth(&test))
			return 1;
	}
	return got;
}

static bool loop_open(struct jrun *r, struct jloop *l, const struct jval *iterable)
{
	if (!ji_open(r, iterable, &l->it))
		return false;
	l->src = *iterable;
	if (!l->node->c)
		return true;
	struct filtered *f = jr_alloc(r, sizeof *f);
	if (!f)
		return false;
	*f = (struct filtered){.base = l->it, .node = l->node, .scope = jx_scope(r, l->outer)};
	l->it = (struct jiter){.next = next_filtered, .state = f};
	l->src.kind = J_MISSING;
	return f->scope != NULL;
}

/* One turn: variables, then the body. */
static enum jx_result loop_turn(struct jrun *r, struct jloop *l, struct jscope **scope, const struct jval *item)
{
	if (!*scope || (*scope)->captured) {
		*scope = jx_scope(r, l->outer);
		if (!*scope)
			return JX_FAIL;
	}
	(*scope)->n = 0;
	l->index0++;
	l->prev = l->cur;
	l->cur = *item;
	r->scope = *scope;
	if (!jx_set(r, *scope, r->t->name_loop, (struct jval){.kind = J_LOOP, .loop = l}) || !jx_assign(r, l->node->a, item))
		return JX_FAIL;
	return jx_exec(r, l->node->d);
}

enum jx_result jx_for(struct jrun *r, const struct jnode *n, const struct jval *iterable, struct jscope *outer, int64_t depth0)
{
	struct jloop *l = jr_alloc(r, sizeof *l);
	struct jscope *scope = NULL, *saved = r->scope;
	struct jval item;
	enum jx_result res = JX_OK;
	bool completed = false; /* a turn that break or continue ends early does not keep the else part away */
	int got;
	if (!l)
		return JX_FAIL;
	*l = (struct jloop){.index0 = -1, .length = -1, .depth0 = depth0, .node = n, .outer = outer};
	if (!loop_open(r, l, iterable))
		return JX_FAIL;
	while (res != JX_BREAK && (got = loop_next(r, l, &item))) {
		res = got < 0 ? JX_FAIL : loop_turn(r, l, &scope, &item);
		r->scope = saved;
		if (res == JX_FAIL)
			return res;
		completed |= res == JX_OK;
	}
	if (completed || !n->e)
		return JX_OK;
	r->scope = jx_scope(r, outer);
	res = r->scope ? jx_exec(r, n->e) : JX_FAIL;
	r->scope = saved;
	return res;
}

bool jx_call_loop(struct jrun *r, struct jloop *l, const struct jcall *c, struct jval *ret)
{
	struct jb b, *saved = r->out;
	if (!(l->node->flags & JF_RECURSIVE))
		return jr_fail(r, "the loop must have the 'recursive' marker to be called recursively");
	if (c->n_args != 1 || c->n_kw)
		return jr_fail(r, "loop() takes one argument");
	struct jval iterable = c->args[0];
	if (!jr_enter(r))
		return false;
	jb_init(&b, r);
	r->out = &b;
	enum jx_result res = jx_for(r, l->node, &iterable, l->outer, l->depth0 + 1);
	r->out = saved;
	jr_leave(r);
	if (res == JX_FAIL || !jb_take(&b, ret))
		return false;
	ret->safe = r->autoescape;
	return true;
}

/* ---- macros ---- */

bool jx_macro(struct jrun *r, const struct jnode *n, struct jval *ret)
{
	struct jmacro *m = jr_alloc(r, sizeof *m);
	if (!m)
		return false;
	*m = (struct jmacro){.node = n, .scope = r->scope, .name = n->name};
	for (struct jscope *s = r->scope; s && !s->captured; s = s->parent)
		s->captured = true;
	*ret = (struct jval){.kind = J_MACRO, .macro = m};
	return true;
}

/* Parameters by position, then by name; *used marks the keyword arguments taken. */
static bool bind_params(struct jrun *r, const struct jnode *n, const struct jcall *c, struct jscope *scope, bool *used)
{
	for (size_t i = 0; i < n->n_list; i++) {
		struct jstr *name = n->list[i]->name;
		struct jval v = {0};
		if (i < c->n_args)
			v = c->args[i];
		r->steps += c->n_kw / 8;
		for (size_t k = 0; i >= c->n_args && k < c->n_kw; k++) {
			if (!used[k] && jv_str_cmp(c->kw_names[k], name) == 0) {
				v = c->kw_vals[k];
				used[k] = true;
				break;
			}
		}
		if (!jx_set(r, scope, name, v))
			return false;
	}
	return true;
}

/* Defaults see the parameters before them. A parameter without value and default is undefined. */
static bool bind_defaults(struct jrun *r, const struct jnode *n, struct jscope *scope)
{
	size_t first = n->n_list - n->n_kw;
	for (size_t i = 0; i < n->n_list; i++) {
		if (scope->vars[i].val.kind != J_MISSING)
			continue;
		struct jval v = jv_undef(n->list[i]->name, 0);
		scope->vars[i].val = v;
		if (i >= first && !je_eval(r, n->kw[i - first], &v))
			return false;
		scope->vars[i].val = v;
	}
	return true;
}

static bool bind_kwargs(struct jrun *r, const struct jmacro *m, const struct jcall *c, struct jscope *scope, bool *used)
{
	const struct jnode *n = m->node;
	struct jval d;
	if (n->flags & JF_CALLER) {
		struct jval caller = jv_undef(r->t->name_caller, 0);
		bool explicit = false;
		for (size_t i = 0; i < n->n_list; i++)
			explicit |= n->list[i]->name == r->t->name_caller;
		for (size_t k = 0; !explicit && k < c->n_kw; k++) {
			if (!used[k] && jv_str_eqz(c->kw_names[k], "caller")) {
				caller = c->kw_vals[k];
				used[k] = true;
			}
		}
		if (!explicit && !jx_set(r, scope, r->t->name_caller, caller))
			return false;
	}
	if (!jv_dict(r, &d))
		return false;
	for (size_t k = 0; k < c->n_kw; k++) {
		struct jval key = {.kind = J_STR, .s = c->kw_names[k]};
		if (used[k])
			continue;
		if (!(n->flags & JF_KWARGS))
			return jr_fail(r, "macro '%.60s' takes no keyword argument '%.*s'", m->name ? m->name->p : "caller",
				       (int)key.s->n, key.s->p);
		if (!jv_dict_put(r, d.dict, key, c->kw_vals[k]))
			return false;
	}
	return !(n->flags & JF_KWARGS) || jx_set(r, scope, r->t->name_kwargs, d);
}

static bool bind_varargs(struct jrun *r, const struct jmacro *m, const struct jcall *c, struct jscope *scope)
{
	const struct jnode *n = m->node;
	struct jval rest;
	if (!(n->flags & JF_VARARGS)) {
		if (c->n_args > n->n_list)
			return jr_fail(r, "macro '%.60s' takes not more than %zu argument(s)",
				       m->name ? m->name->p : "caller", n->n_list);
		return true;
	}
	if (!jv_list(r, J_TUPLE, c->n_args, &rest))
		return false;
	for (size_t i = n->n_list; i < c->n_args; i++)
		rest.list->v[rest.list->n++] = c->args[i];
	return jx_set(r, scope, r->t->name_varargs, rest);
}

bool jx_call_macro(struct jrun *r, const struct jmacro *m, const struct jcall *c, struct jval *ret)
{
	struct jscope *scope = jx_scope(r, m->scope), *saved = r->scope;
	bool *used = jr_alloc(r, c->n_kw);
	int line = r->line;
	if (!scope || !used || !jr_enter(r))
		return false;
	memset(used, 0, c->n_kw);
	if (m->node->kind == S_MACRO) {
		if (!bind_params(r, m->node, c, scope, used) || !bind_kwargs(r, m, c, scope, used) ||
		    !bind_varargs(r, m, c, scope))
			return false;
		r->scope = scope;
		bool ok = bind_defaults(r, m->node, scope);
		r->scope = saved;
		if (!ok)
			return false;
	} else if (c->n_args || c->n_kw) {
		return jr_fail(r, "a block takes no arguments");
	}
	enum jx_result res = jx_capture(r, m->node->d, scope, ret);
	jr_leave(r);
	r->line = line;
	return res != JX_FAIL;
}
