/* Expressions of the tree to values. */
#include <string.h>

#include "base/bug.h"
#include "chat/jinja_run.h"

bool je_lookup(struct jrun *r, struct jstr *name, struct jval *ret)
{
	for (const struct jscope *s = r->scope; s; s = s->parent) {
		r->steps += s->n / 16; /* so that thousands of variables have their price */
		for (size_t i = 0; i < s->n; i++) {
			if (s->vars[i].name == name) {
				*ret = s->vars[i].val;
				return true;
			}
		}
	}
	struct jval *found = jv_dict_gets(r->vars, name->p, name->n);
	if (found) {
		*ret = *found;
		return true;
	}
	if (!jinja_global(r, name, ret))
		return false;
	if (ret->kind == J_MISSING)
		*ret = jv_undef(name, 0);
	return true;
}

/* ---- arguments ---- */

static bool push(struct jrun *r, struct jval v)
{
	if (r->sp >= JINJA_STACK)
		return jr_limit(r, "too many arguments");
	r->stack[r->sp++] = v;
	return true;
}

static bool push_all(struct jrun *r, const struct jnode *n)
{
	struct jval v;
	struct jiter it;
	int got;
	if (!je_eval(r, n, &v) || !ji_open(r, &v, &it))
		return false;
	while ((got = ji_next(r, &it, &v)))
		if (got < 0 || !push(r, v))
			return false;
	return true;
}

/* Keyword arguments beyond those in the tree: **kwargs and the caller of a call block. */
static bool push_more_kw(struct jrun *r, const struct jnode *n, const struct jval *caller, struct jcall *c)
{
	struct jval d = {0};
	if (n->c && !je_eval(r, n->c, &d))
		return false;
	if (n->c && d.kind != J_DICT)
		return jr_fail(r, "argument after ** must be a mapping, not %s", jv_type(&d));
	size_t n_more = n->c ? d.dict->n : 0;
	struct jstr **names = jr_alloc_n(r, n->n_kw + n_more + 1, sizeof *names);
	if (!names)
		return false;
	if (n->n_kw)
		memcpy(names, n->kw_names, n->n_kw * sizeof *names);
	for (size_t i = 0; i < n_more; i++) {
		const struct jentry *e = &d.dict->e[i];
		if (e->key.kind != J_STR)
			return jr_fail(r, "keywords must be strings");
		r->steps += n->n_kw;
		for (size_t k = 0; k < n->n_kw; k++)
			if (jv_str_cmp(names[k], e->key.s) == 0)
				return jr_fail(r, "got multiple values for keyword argument '%.*s'", (int)e->key.s->n, e->key.s->p);
		names[c->n_kw++] = e->key.s;
		if (!push(r, e->val))
			return false;
	}
	if (caller) {
		names[c->n_kw++] = r->t->name_caller;
		if (!push(r, *caller))
			return false;
	}
	c->kw_names = names;
	return true;
}

/* Evaluates the arguments of a call, filter or test onto the stack; the caller resets r->sp. */
static bool eval_args(struct jrun *r, const struct jnode *n, const struct jval *caller, struct jcall *c)
{
	size_t base = r->sp;
	struct jval v;
	for (size_t i = 0; i < n->n_list; i++)
		if (!je_eval(r, n->list[i], &v) || !push(r, v))
			return false;
	if (n->b && !push_all(r, n->b))
		return false;
	*c = (struct jcall){.args = r->stack + base, .n_args = r->sp - base, .kw_names = n->kw_names, .n_kw = n->n_kw};
	c->kw_vals = r->stack + r->sp;
	for (size_t i = 0; i < n->n_kw; i++)
		if (!je_eval(r, n->kw[i], &v) || !push(r, v))
			return false;
	return (!n->c && !caller) || push_more_kw(r, n, caller, c);
}

bool je_call_node(struct jrun *r, const struct jnode *n, const struct jval *caller, struct jval *ret)
{
	struct jval callee;
	struct jcall c;
	size_t sp = r->sp;
	int line = n->line;
	if (!je_eval(r, n->a, &callee) || !eval_args(r, n, caller, &c))
		return false;
	r->line = line;
	bool ok = jr_call(r, &callee, &c, ret);
	r->sp = sp;
	return ok;
}

/* A filter; text is the input of the innermost one of a block's chain. */
static bool eval_filter(struct jrun *r, const struct jnode *n, const struct jval *text, struct jval *ret)
{
	struct jval in;
	struct jcall c;
	size_t sp = r->sp;
	bool ok = true;
	if (!jr_enter(r))
		return false;
	if (!n->a)
		in = *text;
	else
		ok = text && n->a->kind == E_FILTER ? eval_filter(r, n->a, text, &in) : je_eval(r, n->a, &in);
	if (!ok || !eval_args(r, n, NULL, &c))
		return false;
	r->line = n->line;
	if (!n->fn)
		return jr_fail(r, "no filter named '%.60s'", n->name->p);
	ok = jr_call_builtin(r, n->fn, in, &c, ret);
	r->sp = sp;
	jr_leave(r);
	return ok;
}

bool je_filter_text(struct jrun *r, const struct jnode *chain, const struct jval *text, struct jval *ret)
{
	return eval_filter(r, chain, text, ret);
}

static bool eval_test(struct jrun *r, const struct jnode *n, struct jval *ret)
{
	struct jval in;
	struct jcall c;
	size_t sp = r->sp;
	if (!je_eval(r, n->a, &in) || !eval_args(r, n, NULL, &c))
		return false;
	r->line = n->line;
	if (!n->fn)
		return jr_fail(r, "no test named '%.60s'", n->name->p);
	bool ok = jr_call_builtin(r, n->fn, in, &c, ret);
	r->sp = sp;
	return ok;
}

/* ---- operators ---- */

static bool eval_items(struct jrun *r, const struct jnode *n, uint8_t kind, struct jval *ret)
{
	struct jval l, v;
	if (!jv_list(r, kind, n->n_list, &l))
		return false;
	for (size_t i = 0; i < n->n_list; i++)
		if (!je_eval(r, n->list[i], &v) || !jv_push(r, l.list, v))
			return false;
	*ret = l;
	return true;
}

static bool eval_dict(struct jrun *r, const struct jnode *n, struct jval *ret)
{
	struct jval d, key, val;
	if (!jv_dict(r, &d))
		return false;
	for (size_t i = 0; i + 1 < n->n_list; i += 2)
		if (!je_eval(r, n->list[i], &key) || !je_eval(r, n->list[i + 1], &val) || !jv_dict_put(r, d.dict, key, val))
			return false;
	*ret = d;
	return true;
}

static bool eval_item(struct jrun *r, const struct jnode *n, struct jval *ret)
{
	struct jval of, key, part[3] = {0};
	if (!je_eval(r, n->a, &of))
		return false;
	if (n->b->kind != E_SLICE)
		return je_eval(r, n->b, &key) && jo_getitem(r, &of, &key, ret);
	const struct jnode *parts[3] = {n->b->a, n->b->b, n->b->c};
	for (int i = 0; i < 3; i++)
		if (parts[i] && !je_eval(r, parts[i], &part[i]))
			return false;
	return jo_slice(r, &of, part, ret);
}

static bool eval_compare(struct jrun *r, const struct jnode *n, struct jval *ret)
{
	struct jval left, right;
	bool ok = true;
	if (!je_eval(r, n->a, &left))
		return false;
	for (size_t i = 0; ok && i < n->n_list; i++) {
		if (!je_eval(r, n->list[i], &right) || !jo_compare(r, n->ops[i], &left, &right, &ok))
			return false;
		left = right;
	}
	*ret = jv_bool(ok);
	return true;
}

/* Under autoescape a marked part makes the whole marked, and the others escaped. */
static bool escape_parts(struct jrun *r, struct jlist *parts, bool *ret_safe)
{
	*ret_safe = false;
	for (size_t i = 0; r->autoescape && i < parts->n; i++)
		*ret_safe |= parts->v[i].kind == J_STR && parts->v[i].safe;
	for (size_t i = 0; *ret_safe && i < parts->n; i++)
		if (!jp_escape(r, &parts->v[i], &parts->v[i]))
			return false;
	return true;
}

static bool eval_concat(struct jrun *r, const struct jnode *n, struct jval *ret)
{
	struct jval all, parts, part;
	bool safe;
	if (!eval_items(r, n, J_LIST, &parts) || !escape_parts(r, parts.list, &safe) || !jp_to_str(r, &parts.list->v[0], &all))
		return false;
	for (size_t i = 1; i < n->n_list; i++)
		if (!jp_to_str(r, &parts.list->v[i], &part) || !jv_concat(r, all.s, part.s, &all))
			return false;
	all.safe = safe;
	*ret = all;
	return true;
}

static bool eval_logic(struct jrun *r, const struct jnode *n, struct jval *ret)
{
	if (!je_eval(r, n->a, ret))
		return false;
	if (n->kind == E_NOT) {
		*ret = jv_bool(!jv_truth(ret));
		return true;
	}
	return jv_truth(ret) == (n->kind == E_OR) || je_eval(r, n->b, ret);
}

static bool eval_cond(struct jrun *r, const struct jnode *n, struct jval *ret)
{
	struct jval test;
	if (!je_eval(r, n->b, &test))
		return false;
	if (jv_truth(&test))
		return je_eval(r, n->a, ret);
	if (n->c)
		return je_eval(r, n->c, ret);
	*ret = jv_undef(NULL, 0);
	return true;
}

static bool eval_node(struct jrun *r, const struct jnode *n, struct jval *ret)
{
	struct jval a, b;
	switch (n->kind) {
	case E_TUPLE: return eval_items(r, n, J_TUPLE, ret);
	case E_LIST: return eval_items(r, n, J_LIST, ret);
	case E_DICT: return eval_dict(r, n, ret);
	case E_GETATTR: return je_eval(r, n->a, &a) && jo_getattr(r, &a, n->name, ret);
	case E_GETITEM: return eval_item(r, n, ret);
	case E_SLICE: return jr_fail(r, "a slice is not allowed here");
	case E_CALL: return je_call_node(r, n, NULL, ret);
	case E_FILTER: return eval_filter(r, n, NULL, ret);
	case E_TEST: return eval_test(r, n, ret);
	case E_COND: return eval_cond(r, n, ret);
	case E_OR:
	case E_AND:
	case E_NOT: return eval_logic(r, n, ret);
	case E_COMPARE: return eval_compare(r, n, ret);
	case E_BINARY: return je_eval(r, n->a, &a) && je_eval(r, n->b, &b) && jo_binary(r, n->op, &a, &b, ret);
	case E_CONCAT: return eval_concat(r, n, ret);
	case E_NEG:
	case E_POS: return je_eval(r, n->a, &a) && jo_negate(r, &a, n->kind == E_NEG, ret);
	default: BUG("node kind %d in an expression", n->kind);
	}
}

bool je_eval(struct jrun *r, const struct jnode *n, struct jval *ret)
{
	if (!jr_step(r))
		return false;
	if (n->kind == E_CONST) {
		*ret = n->val;
		return true;
	}
	if (n->kind == E_NAME)
		return je_lookup(r, n->name, ret);
	if (!jr_enter(r))
		return false;
	bool ok = eval_node(r, n, ret);
	jr_leave(r);
	return ok;
}
