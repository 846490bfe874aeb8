/* Statements of the tree: output, scopes, assignments. */
#include <string.h>

#include "base/bug.h"
#include "chat/jinja_run.h"

struct jscope *jx_scope(struct jrun *r, struct jscope *parent)
{
	struct jscope *s = jr_alloc(r, sizeof *s);
	if (s)
		*s = (struct jscope){.parent = parent};
	return s;
}

bool jx_set(struct jrun *r, struct jscope *s, struct jstr *name, struct jval v)
{
	r->steps += s->n / 16;
	for (size_t i = 0; i < s->n; i++) {
		if (s->vars[i].name == name) {
			s->vars[i].val = v;
			return true;
		}
	}
	if (s->n == s->cap) {
		size_t cap = s->cap * 2 + 4;
		struct jvar *more = jr_alloc_n(r, cap, sizeof *more);
		if (!more)
			return false;
		if (s->n)
			memcpy(more, s->vars, s->n * sizeof *more);
		s->vars = more;
		s->cap = cap;
	}
	s->vars[s->n++] = (struct jvar){.name = name, .val = v};
	return true;
}

static bool assign_ns(struct jrun *r, const struct jnode *target, const struct jval *v)
{
	struct jval ns;
	if (!je_lookup(r, target->name, &ns))
		return false;
	if (ns.kind != J_NS)
		return jr_fail(r, "cannot assign attribute on non-namespace object");
	return jv_dict_put(r, ns.dict, (struct jval){.kind = J_STR, .s = target->name2}, *v);
}

static bool assign_tuple(struct jrun *r, const struct jnode *target, const struct jval *v)
{
	struct jiter it;
	struct jval items, item;
	int got;
	if (!ji_open(r, v, &it) || !jv_list(r, J_LIST, target->n_list, &items))
		return false;
	while (items.list->n <= target->n_list && (got = ji_next(r, &it, &item)))
		if (got < 0 || !jv_push(r, items.list, item))
			return false;
	if (items.list->n > target->n_list)
		return jr_fail(r, "too many values to unpack (expected %zu)", target->n_list);
	if (items.list->n < target->n_list)
		return jr_fail(r, "not enough values to unpack (expected %zu, got %zu)", target->n_list, items.list->n);
	for (size_t i = 0; i < target->n_list; i++)
		if (!jx_assign(r, target->list[i], &items.list->v[i]))
			return false;
	return true;
}

bool jx_assign(struct jrun *r, const struct jnode *target, const struct jval *v)
{
	switch (target->kind) {
	case E_NAME: return jx_set(r, r->scope, target->name, *v);
	case E_NSREF: return assign_ns(r, target, v);
	default: return assign_tuple(r, target, v);
	}
}

static bool output(struct jrun *r, const struct jval *v)
{
	struct jval s;
	if (!r->autoescape || (v->kind == J_STR && v->safe))
		return jp_str(r->out, v);
	return jp_escape(r, v, &s) && jp_str(r->out, &s);
}

static bool exec_output(struct jrun *r, const struct jnode *n)
{
	struct jval v;
	for (size_t i = 0; i < n->n_list; i++) {
		const struct jnode *part = n->list[i];
		r->line = part->line;
		bool ok = part->kind == S_DATA ? jr_step(r) && jb_add(r->out, part->val.s->p, part->val.s->n)
					       : je_eval(r, part, &v) && output(r, &v);
		if (!ok)
			return false;
	}
	return true;
}

static enum jx_result exec_in(struct jrun *r, const struct jnode *body, struct jscope *scope)
{
	struct jscope *saved = r->scope;
	if (!scope)
		return JX_FAIL;
	r->scope = scope;
	enum jx_result res = jx_exec(r, body);
	r->scope = saved;
	return res;
}

enum jx_result jx_capture(struct jrun *r, const struct jnode *body, struct jscope *scope, struct jval *ret)
{
	struct jb b, *saved = r->out;
	jb_init(&b, r);
	r->out = &b;
	enum jx_result res = exec_in(r, body, scope);
	r->out = saved;
	if (res != JX_OK)
		return res;
	if (!jb_take(&b, ret))
		return JX_FAIL;
	ret->safe = r->autoescape;
	return JX_OK;
}

static enum jx_result exec_if(struct jrun *r, const struct jnode *n)
{
	struct jval test;
	for (size_t i = 0; i + 1 < n->n_list; i += 2) {
		if (!je_eval(r, n->list[i], &test))
			return JX_FAIL;
		if (jv_truth(&test))
			return jx_exec(r, n->list[i + 1]);
	}
	return n->a ? jx_exec(r, n->a) : JX_OK;
}

static enum jx_result exec_set(struct jrun *r, const struct jnode *n)
{
	struct jval v;
	if (n->kind == S_SETBLOCK) {
		enum jx_result res = jx_capture(r, n->d, jx_scope(r, r->scope), &v);
		if (res != JX_OK)
			return res;
		if (n->b && !je_filter_text(r, n->b, &v, &v))
			return JX_FAIL;
	} else if (!je_eval(r, n->b, &v)) {
		return JX_FAIL;
	}
	return jx_assign(r, n->a, &v) ? JX_OK : JX_FAIL;
}

static enum jx_result exec_filter_block(struct jrun *r, const struct jnode *n)
{
	struct jval v;
	enum jx_result res = jx_capture(r, n->d, jx_scope(r, r->scope), &v);
	if (res != JX_OK)
		return res;
	return je_filter_text(r, n->b, &v, &v) && output(r, &v) ? JX_OK : JX_FAIL;
}

static enum jx_result exec_with(struct jrun *r, const struct jnode *n)
{
	struct jscope *scope = jx_scope(r, r->scope), *saved = r->scope;
	struct jval v;
	if (!scope)
		return JX_FAIL;
	for (size_t i = 0; i + 1 < n->n_list; i += 2) {
		if (!je_eval(r, n->list[i + 1], &v)) /* in the scope outside */
			return JX_FAIL;
		r->scope = scope;
		bool ok = jx_assign(r, n->list[i], &v);
		r->scope = saved;
		if (!ok)
			return JX_FAIL;
	}
	return exec_in(r, n->d, scope);
}

static enum jx_result exec_autoescape(struct jrun *r, const struct jnode *n)
{
	struct jval v;
	bool saved = r->autoescape;
	if (!je_eval(r, n->a, &v))
		return JX_FAIL;
	r->autoescape = jv_truth(&v);
	enum jx_result res = exec_in(r, n->d, jx_scope(r, r->scope));
	r->autoescape = saved;
	return res;
}

static enum jx_result exec_for(struct jrun *r, const struct jnode *n)
{
	struct jval v;
	return je_eval(r, n->b, &v) ? jx_for(r, n, &v, r->scope, 0) : JX_FAIL;
}

static enum jx_result exec_macro(struct jrun *r, const struct jnode *n)
{
	struct jval v;
	return jx_macro(r, n, &v) && jx_set(r, r->scope, n->name, v) ? JX_OK : JX_FAIL;
}

static enum jx_result exec_call_block(struct jrun *r, const struct jnode *n)
{
	struct jval caller, v;
	return jx_macro(r, n->b, &caller) && je_call_node(r, n->a, &caller, &v) && output(r, &v) ? JX_OK : JX_FAIL;
}

static enum jx_result exec_body(struct jrun *r, const struct jnode *n)
{
	enum jx_result res = JX_OK;
	for (size_t i = 0; res == JX_OK && i < n->n_list; i++)
		res = jx_exec(r, n->list[i]);
	return res;
}

static enum jx_result exec_node(struct jrun *r, const struct jnode *n)
{
	switch (n->kind) {
	case S_BODY: return exec_body(r, n);
	case S_OUTPUT: return exec_output(r, n) ? JX_OK : JX_FAIL;
	case S_IF: return exec_if(r, n);
	case S_FOR: return exec_for(r, n);
	case S_SET:
	case S_SETBLOCK: return exec_set(r, n);
	case S_MACRO: return exec_macro(r, n);
	case S_CALLBLOCK: return exec_call_block(r, n);
	case S_FILTERBLOCK: return exec_filter_block(r, n);
	case S_WITH: return exec_with(r, n);
	case S_AUTOESCAPE: return exec_autoescape(r, n);
	case S_BLOCK: return exec_in(r, n->d, jx_scope(r, n->flags & JF_SCOPED ? r->scope : r->root));
	case S_SCOPE: return exec_in(r, n->d, jx_scope(r, r->scope));
	case S_BREAK: return JX_BREAK;
	case S_CONTINUE: return JX_CONTINUE;
	case S_NOLOADER:
		jr_fail(r, "'%.20s' needs another template, and there is none", n->name->p);
		return JX_FAIL;
	default: BUG("node kind %d in a statement", n->kind);
	}
}

enum jx_result jx_exec(struct jrun *r, const struct jnode *n)
{
	r->line = n->line;
	if (!jr_step(r) || !jr_enter(r))
		return JX_FAIL;
	enum jx_result res = exec_node(r, n);
	jr_leave(r);
	return res;
}

bool jx_render(struct jrun *r)
{
	r->root = r->scope = jx_scope(r, NULL);
	return r->root && jx_exec(r, r->t->body) == JX_OK;
}
