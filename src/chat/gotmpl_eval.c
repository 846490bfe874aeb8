/* Pipelines, fields, function calls. */
#include "chat/gotmpl_run.h"

/* ---- variables ---- */

static struct gvar *find_var(struct grun *r, struct gstr name)
{
	for (size_t i = r->vars.n; i-- > r->vars_base;) {
		if (gstr_eq(r->vars.data[i].name, name))
			return &r->vars.data[i];
		if (!gr_step(r))
			return NULL;
	}
	gr_fail(r, "undefined variable: %.*s", (int)(name.n < 100 ? name.n : 100), name.p);
	return NULL;
}

bool ge_push(struct grun *r, struct gstr name, struct gval v)
{
	if (r->vars.n >= GOTMPL_VARS_MAX)
		return gr_limit(r, "more than %d variables", GOTMPL_VARS_MAX);
	vec_push(&r->vars, ((struct gvar){name, v}));
	return true;
}

bool ge_set(struct grun *r, struct gstr name, struct gval v)
{
	struct gvar *var = find_var(r, name);
	if (var)
		var->val = v;
	return var != NULL;
}

/* ---- fields ---- */

static const struct gval *struct_field(const struct gval *v, struct gstr name)
{
	for (size_t i = 0; i < v->type->n_fields; i++)
		if (gstr_eqz(name, v->type->fields[i].name))
			return &v->fields[i];
	return NULL;
}

/* The types of a conversation have these methods; false: no such method. */
static bool method(struct grun *r, const struct gval *v, struct gstr name, struct gval *ret)
{
	if (!v->type || v->kind == GV_NIL)
		return false;
	if (gstr_eqz(name, "String") && v->type->print != GPRINT_PLAIN) {
		struct str s;
		struct gbuf b = gb_scratch(r, &s);
		gp_stringer(&b, v);
		return gb_take(&b, ret);
	}
	if (gstr_eqz(name, "ToTypeScriptType") && v->kind == GV_STRUCT && struct_field(v, (struct gstr){"AnyOf", 5})) {
		const char *text = gf_typescript(r, v);
		*ret = gv_strz(text ? text : "");
		return text != NULL;
	}
	return false;
}

static bool field(struct grun *r, struct gval from, struct gstr name, bool has_args, struct gval *ret)
{
	int n = (int)(name.n < 100 ? name.n : 100);
	*ret = gv_none();
	if (!gr_step(r))
		return false;
	if (from.kind == GV_INVALID)
		return true; /* of no value comes no value */
	if (from.kind == GV_NIL)
		return gr_fail(r, "nil pointer evaluating %s.%.*s", gv_static_type(&from), n, name.p);
	if (method(r, &from, name, ret))
		return !has_args || gr_fail(r, "wrong number of args for %.*s: want 0", n, name.p);
	if (r->failed)
		return false;
	if (from.kind == GV_STRUCT) {
		const struct gval *f = struct_field(&from, name);
		if (f && has_args)
			return gr_fail(r, "%.*s has arguments but cannot be invoked as function", n, name.p);
		if (f) {
			*ret = *f;
			return true;
		}
	}
	if (from.kind == GV_MAP) {
		if (has_args)
			return gr_fail(r, "%.*s is not a method but has arguments", n, name.p);
		struct gentry *e = gv_find(from.map, name);
		if (e) {
			*ret = e->val;
			return true;
		}
		return gr_zero(r, from.type->elem_kind, from.type->elem, ret);
	}
	return gr_fail(r, "can't evaluate field %.*s in type %s", n, name.p, gv_static_type(&from));
}

static bool fields(struct grun *r, struct gval from, const struct gnode *n, uint32_t first, bool has_args, struct gval *ret)
{
	*ret = from;
	for (uint32_t i = first; i < n->n; i++)
		if (!field(r, *ret, n->names[i], has_args && i + 1 == n->n, ret))
			return false;
	return true;
}

/* ---- values ---- */

static bool number(struct grun *r, const struct gnode *n, struct gval *ret)
{
	switch ((enum gnum)n->num) {
	case GNUM_INT:
		*ret = gv_int(n->i);
		return true;
	case GNUM_FLOAT:
		*ret = gv_float(n->re);
		return true;
	case GNUM_COMPLEX:
		*ret = (struct gval){.kind = GV_COMPLEX, .re = n->re, .im = n->im};
		return true;
	case GNUM_TOO_BIG:
		break;
	}
	return gr_fail(r, "%.*s overflows int", (int)(n->src.n < 60 ? n->src.n : 60), n->src.p);
}

static bool call(struct grun *r, struct gval dot, const struct gnode *name, const struct gnode *at, struct gnode *const *args,
		 uint32_t n_args, const struct gval *final, struct gval *ret);

/* One operand, as it stands. */
static bool operand(struct grun *r, struct gval dot, const struct gnode *n, struct gval *ret)
{
	r->at = n;
	switch ((enum gnode_type)n->type) {
	case GN_DOT:
		*ret = dot;
		return true;
	case GN_NIL:
		*ret = gv_none();
		return true;
	case GN_BOOL:
		*ret = gv_bool(n->truth);
		return true;
	case GN_NUMBER:
		return number(r, n, ret);
	case GN_STRING:
		*ret = gv_str(n->text);
		return true;
	case GN_FIELD:
		return fields(r, dot, n, 0, false, ret);
	case GN_VARIABLE: {
		struct gvar *v = find_var(r, n->names[0]);
		return v && fields(r, v->val, n, 1, false, ret);
	}
	case GN_CHAIN:
		return operand(r, dot, n->base, ret) && fields(r, *ret, n, 0, false, ret);
	case GN_IDENT:
		return call(r, dot, n, n, NULL, 0, NULL, ret);
	case GN_PIPE:
		return ge_pipeline(r, dot, n, ret);
	default:
		return gr_fail(r, "can't handle this operand");
	}
}

static bool is_string_arg(const struct gfunc *f, size_t i)
{
	return f->args == GARG_STRING || (f->args == GARG_FORMAT && i == 0);
}

/* Checks a value against the parameter's type. */
static bool check_arg(struct grun *r, const struct gfunc *f, size_t i, struct gval *v)
{
	if (is_string_arg(f, i) && v->kind != GV_STR)
		return v->kind == GV_INVALID ? gr_fail(r, "invalid value; expected string")
					     : gr_fail(r, "wrong type for value; expected string; got %s", gv_type(v));
	if (f->args != GARG_BOXED)
		*v = gv_unbox(*v);
	return true;
}

static bool found_instead(struct grun *r, const struct gnode *n)
{
	struct str s = {0};
	gnode_print(&s, n);
	gr_fail(r, "expected string; found %s", str_cstr(&s));
	str_release(&s);
	return false;
}

static bool eval_arg(struct grun *r, const struct gfunc *f, size_t i, struct gval dot, const struct gnode *n, struct gval *ret)
{
	r->at = n;
	if (is_string_arg(f, i)) {
		if (n->type == GN_NIL)
			return gr_fail(r, "cannot assign nil to string");
		if (n->type == GN_BOOL || n->type == GN_NUMBER)
			return found_instead(r, n);
	}
	return operand(r, dot, n, ret) && check_arg(r, f, i, ret);
}

static bool count_args(struct grun *r, const struct gfunc *f, uint32_t n_args, bool has_final)
{
	size_t n = n_args + has_final;
	if (f->n_max < 0 && n < (size_t)f->n_min)
		return gr_fail(r, "wrong number of args for %s: want at least %d got %u", f->name, f->n_min, n_args);
	if (f->n_max >= 0 && n != (size_t)f->n_max)
		return gr_fail(r, "wrong number of args for %s: want %d got %zu", f->name, f->n_max, n);
	return true;
}

/* and, or: evaluates arguments until one decides. */
static bool short_circuit(struct grun *r, const struct gfunc *f, struct gval dot, struct gnode *const *args, uint32_t n_args,
			  const struct gval *final, struct gval *ret)
{
	bool stop_at = f->name[0] == 'o';
	for (uint32_t i = 0; i < n_args; i++) {
		if (!eval_arg(r, f, i, dot, args[i], ret))
			return false;
		if (gv_truth(ret) == stop_at)
			return true;
	}
	if (final)
		*ret = gv_unbox(*final);
	return true;
}

static bool call(struct grun *r, struct gval dot, const struct gnode *name, const struct gnode *at, struct gnode *const *args,
		 uint32_t n_args, const struct gval *final, struct gval *ret)
{
	const struct gfunc *f = name->fn;
	r->at = name;
	if (!gr_step(r) || !count_args(r, f, n_args, final != NULL))
		return false;
	if (!f->fn)
		return short_circuit(r, f, dot, args, n_args, final, ret);
	struct gval few[8], *v = n_args < 8 ? few : gr_alloc(r, n_args + 1, sizeof *v);
	if (!v)
		return false;
	for (uint32_t i = 0; i < n_args; i++)
		if (!eval_arg(r, f, i, dot, args[i], &v[i]))
			return false;
	if (final) {
		v[n_args] = *final;
		if (!check_arg(r, f, n_args, &v[n_args]))
			return false;
	}
	const struct gnode *last = r->at;
	r->at = at; /* what the function's failures show */
	*ret = gv_none();
	if (!f->fn(r, v, n_args + (final != NULL), ret) || r->failed)
		return false;
	r->at = last;
	return true;
}

/* ---- commands and pipelines ---- */

static bool plain(struct grun *r, const struct gnode *cmd, const struct gval *final)
{
	struct str s = {0};
	if (cmd->n == 1 && !final)
		return true;
	gnode_print(&s, cmd->kids[0]);
	gr_fail(r, "can't give argument to non-function %s", str_cstr(&s));
	str_release(&s);
	return false;
}

static bool eval_command(struct grun *r, struct gval dot, const struct gnode *cmd, const struct gval *final, struct gval *ret)
{
	const struct gnode *word = cmd->kids[0];
	bool has_args = cmd->n > 1 || final;
	if (word->type != GN_PIPE)
		r->at = word;
	switch ((enum gnode_type)word->type) {
	case GN_IDENT:
		return call(r, dot, word, cmd, cmd->kids + 1, cmd->n - 1, final, ret);
	case GN_FIELD:
		return fields(r, dot, word, 0, has_args, ret);
	case GN_CHAIN:
		return operand(r, dot, word->base, ret) && fields(r, *ret, word, 0, has_args, ret);
	case GN_VARIABLE: {
		struct gvar *v = find_var(r, word->names[0]);
		if (!v || (word->n == 1 && !plain(r, cmd, final)))
			return false;
		return fields(r, v->val, word, 1, has_args, ret);
	}
	case GN_NIL:
		return plain(r, cmd, final) && gr_fail(r, "nil is not a command");
	default:
		return plain(r, cmd, final) && operand(r, dot, word, ret);
	}
}

static bool declare(struct grun *r, const struct gnode *pipe, struct gval v)
{
	for (uint32_t i = 0; i < pipe->n_decl; i++) {
		struct gstr name = pipe->kids[i]->names[0];
		if (pipe->is_assign ? !ge_set(r, name, v) : !ge_push(r, name, v))
			return false;
	}
	return true;
}

bool ge_pipeline(struct grun *r, struct gval dot, const struct gnode *pipe, struct gval *ret)
{
	struct gval v = gv_none(), out;
	if (!gr_enter(r))
		return false;
	r->at = pipe;
	for (uint32_t i = pipe->n_decl; i < pipe->n; i++) {
		if (!gr_step(r) || !eval_command(r, dot, pipe->kids[i], i > pipe->n_decl ? &v : NULL, &out))
			return false;
		v = gv_unbox(out);
	}
	r->depth--;
	*ret = v;
	return declare(r, pipe, v);
}
