/* Statements. */
#include "chat/gotmpl_run.h"

enum gflow { GF_OK, GF_FAIL, GF_BREAK, GF_CONTINUE };

static enum gflow exec(struct grun *r, struct gval dot, const struct gnode *n);

static enum gflow exec_list(struct grun *r, struct gval dot, const struct gnode *list)
{
	enum gflow f = GF_OK;
	for (uint32_t i = 0; list && i < list->n && f == GF_OK; i++)
		f = exec(r, dot, list->kids[i]);
	return f;
}

static enum gflow exec_action(struct grun *r, struct gval dot, const struct gnode *n)
{
	struct gval v;
	if (!ge_pipeline(r, dot, n->pipe, &v))
		return GF_FAIL;
	r->at = n;
	if (!n->pipe->n_decl)
		gp_value(r->out, &v);
	return r->failed ? GF_FAIL : GF_OK;
}

static enum gflow exec_cond(struct grun *r, struct gval dot, const struct gnode *n)
{
	struct gval v;
	size_t mark = r->vars.n;
	if (!ge_pipeline(r, dot, n->pipe, &v))
		return GF_FAIL;
	enum gflow f = gv_truth(&v) ? exec_list(r, n->type == GN_WITH ? v : dot, n->list) : exec_list(r, dot, n->else_list);
	r->vars.n = mark;
	return f;
}

/* Sets the loop variables; `first` is the first variable that the clause declared. */
static bool loop_vars(struct grun *r, const struct gnode *pipe, size_t first, struct gval index, struct gval elem)
{
	if (!pipe->n_decl)
		return true;
	bool two = pipe->n_decl > 1;
	if (pipe->is_assign)
		return ge_set(r, pipe->kids[0]->names[0], two ? index : elem) && (!two || ge_set(r, pipe->kids[1]->names[0], elem));
	r->vars.data[first].val = two ? index : elem;
	if (two)
		r->vars.data[first + 1].val = elem;
	return true;
}

/* One item of what is ranged over. Elements keep standing in their interface. */
static void item(const struct gval *v, int64_t i, struct gval *ret_index, struct gval *ret_elem)
{
	*ret_index = gv_int(i);
	if (v->kind == GV_SLICE) {
		*ret_elem = v->v[i];
	} else if (v->kind == GV_MAP) {
		*ret_index = gv_str(v->map->e[i].key);
		*ret_elem = v->map->e[i].val;
	} else {
		*ret_index = gv_none();
		*ret_elem = gv_int(i);
	}
}

static bool range_len(struct grun *r, const struct gnode *n, const struct gval *v, int64_t *ret)
{
	*ret = 0;
	switch ((enum gkind)v->kind) {
	case GV_SLICE:
	case GV_MAP:
		*ret = (int64_t)gv_len(v);
		return true;
	case GV_INT:
	case GV_UINT8:
		if (n->pipe->n_decl > 1)
			return gr_fail(r, "can't use %lld to iterate over more than one variable", (long long)v->i);
		*ret = v->i;
		return true;
	case GV_INVALID:
	case GV_NIL:
		return true;
	default: {
		struct str s;
		struct gbuf b = gb_scratch(r, &s);
		gp_value(&b, v);
		gr_fail(r, "range can't iterate over %s", str_cstr(&s));
		str_release(&s);
		return false;
	}
	}
}

static enum gflow exec_range(struct grun *r, struct gval dot, const struct gnode *n)
{
	struct gval v, index, elem;
	size_t mark = r->vars.n;
	int64_t len;
	if (!ge_pipeline(r, dot, n->pipe, &v))
		return GF_FAIL;
	if (!range_len(r, n, &v, &len))
		return GF_FAIL;
	size_t body = r->vars.n;
	enum gflow f = GF_OK;
	for (int64_t i = 0; i < len && f != GF_BREAK && f != GF_FAIL; i++) {
		item(&v, i, &index, &elem);
		if (!gr_step(r) || !loop_vars(r, n->pipe, body - n->pipe->n_decl, index, elem))
			return GF_FAIL;
		f = exec_list(r, elem, n->list);
		r->vars.n = body;
	}
	if (len <= 0)
		f = exec_list(r, dot, n->else_list);
	else if (f != GF_FAIL)
		f = GF_OK;
	r->vars.n = mark;
	return f;
}

static enum gflow exec_template(struct grun *r, struct gval dot, const struct gnode *n)
{
	const struct gnode *root = gdef_find(r->t, n->text);
	struct gval v;
	r->at = n;
	r->steps += r->t->defs.n / 16; /* the search */
	if (!root) {
		gr_fail(r, "template \"%.*s\" not defined", (int)(n->text.n < 100 ? n->text.n : 100), n->text.p);
		return GF_FAIL;
	}
	if (!ge_pipeline(r, dot, n->pipe, &v))
		return GF_FAIL;
	size_t base = r->vars_base, mark = r->vars.n;
	struct gstr name = r->name;
	r->vars_base = mark;
	r->name = n->text;
	enum gflow f = ge_push(r, (struct gstr){"$", 1}, v) ? exec_list(r, v, root) : GF_FAIL;
	r->vars.n = mark;
	r->vars_base = base;
	r->name = name;
	return f;
}

static enum gflow exec_block(struct grun *r, struct gval dot, const struct gnode *n)
{
	switch ((enum gnode_type)n->type) {
	case GN_IF:
	case GN_WITH:
		return exec_cond(r, dot, n);
	case GN_RANGE:
		return exec_range(r, dot, n);
	case GN_TEMPLATE:
		return exec_template(r, dot, n);
	default:
		return exec_list(r, dot, n);
	}
}

static enum gflow exec(struct grun *r, struct gval dot, const struct gnode *n)
{
	enum gflow f;
	if (!gr_step(r))
		return GF_FAIL;
	switch ((enum gnode_type)n->type) {
	case GN_TEXT:
		r->at = n;
		gb_add(r->out, n->text.p, n->text.n);
		return r->failed ? GF_FAIL : GF_OK;
	case GN_ACTION:
		return exec_action(r, dot, n);
	case GN_BREAK:
		return GF_BREAK;
	case GN_CONTINUE:
		return GF_CONTINUE;
	default:
		if (!gr_enter(r))
			return GF_FAIL;
		f = exec_block(r, dot, n);
		r->depth--;
		return f;
	}
}

bool gr_exec(struct grun *r, const struct gnode *root, struct gval dot, struct gbuf *out)
{
	r->out = out;
	r->vars.n = 0;
	r->vars_base = 0;
	r->depth = 0;
	return ge_push(r, (struct gstr){"$", 1}, dot) && exec_list(r, dot, root) != GF_FAIL && !r->failed;
}
