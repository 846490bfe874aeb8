#include <stdarg.h>
#include <stdio.h>

#include "base/utf8.h"
#include "chat/gotmpl_ast.h"

/* ---- failing: the first message stays ---- */

static void *fail_at(struct gparse *p, uint32_t pos, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void *fail_at(struct gparse *p, uint32_t pos, const char *fmt, ...)
{
	char what[400];
	va_list ap;
	if (p->failed)
		return NULL;
	p->failed = true;
	va_start(ap, fmt);
	vsnprintf(what, sizeof what, fmt, ap);
	va_end(ap);
	err_set(p->err, ERR_INVALID, "template: :%d: %s", glex_line(p->t->source, pos), what);
	return NULL;
}
#define fail(p, ...) fail_at(p, (p)->last.pos, __VA_ARGS__)

static void *limit(struct gparse *p, const char *what)
{
	if (!p->failed)
		err_set(p->err, ERR_LIMIT, "template: :%d: %s", glex_line(p->t->source, p->last.pos), what);
	p->failed = true;
	return NULL;
}

static void *alloc(struct gparse *p, size_t n)
{
	void *m = arena_zalloc(&p->t->arena, n);
	return m ? m : limit(p, "the template is too large");
}

static void *unexpected(struct gparse *p, struct gtok t, const char *context)
{
	int n = (int)(t.text.n < 200 ? t.text.n : 200);
	if (t.type == GT_ERROR) {
		int line = glex_line(p->t->source, p->action_pos);
		char where[64] = "";
		if (p->lex.in_action && line != glex_line(p->t->source, t.pos)) {
			bool says = t.text.n > 7 && memcmp(t.text.p + t.text.n - 7, " action", 7) == 0;
			snprintf(where, sizeof where, "%s started at :%d", says ? "" : " in action", line);
		}
		return fail_at(p, t.pos, "%.*s%s", n, t.text.p, where);
	}
	if (t.type == GT_EOF)
		return fail_at(p, t.pos, "unexpected EOF");
	if (t.type > GT_KEYWORD_)
		return fail_at(p, t.pos, "unexpected <%.*s> in %s", n, t.text.p, context);
	struct str q = {0};
	bool cut = utf8_count(t.text.p, t.text.n) > 10;
	for (size_t i = 0, k = 0; i < t.text.n && (!cut || k < 10); k++) { /* as %q, for the characters that matter here */
		uint32_t cp;
		size_t len = utf8_next(t.text.p + i, t.text.n - i, &cp);
		if (cp == '"' || cp == '\\')
			str_addc(&q, '\\');
		if (cp == '\n')
			str_adds(&q, "\\n");
		else
			str_add(&q, t.text.p + i, len);
		i += len;
	}
	fail_at(p, t.pos, "unexpected \"%s\"%s in %s", str_cstr(&q), cut ? "..." : "", context);
	str_release(&q);
	return NULL;
}

/* ---- tokens ---- */

static struct gtok next(struct gparse *p)
{
	if (p->n_back)
		p->last = p->back[--p->n_back];
	else
		p->last = glex_next(&p->lex);
	if (p->last.type == GT_LEFT)
		p->action_pos = p->last.pos;
	return p->last;
}

static void back(struct gparse *p, struct gtok t)
{
	BUG_ON(p->n_back >= 3);
	p->back[p->n_back++] = t;
}

static struct gtok peek(struct gparse *p)
{
	struct gtok t = next(p);
	back(p, t);
	return t;
}

static struct gtok next_solid(struct gparse *p)
{
	struct gtok t;
	do
		t = next(p);
	while (t.type == GT_SPACE);
	return t;
}

static struct gtok peek_solid(struct gparse *p)
{
	struct gtok t = next_solid(p);
	back(p, t);
	return t;
}

static bool expect(struct gparse *p, enum gtok_type type, const char *context)
{
	struct gtok t = next_solid(p);
	return t.type == type || unexpected(p, t, context);
}

/* ---- nodes ---- */

static struct gnode *node(struct gparse *p, enum gnode_type type, uint32_t pos)
{
	struct gnode *n = alloc(p, sizeof *n);
	if (n) {
		n->type = (uint8_t)type;
		n->pos = pos;
	}
	return n;
}

/* Moves the pending nodes from `mark` on into n. */
static struct gnode *adopt(struct gparse *p, struct gnode *n, size_t mark)
{
	size_t k = p->pending.n - mark;
	n->kids = k ? alloc(p, k * sizeof(struct gnode *)) : NULL;
	n->n = (uint32_t)k;
	if (n->kids)
		memcpy(n->kids, p->pending.data + mark, k * sizeof(struct gnode *));
	p->pending.n = mark;
	return p->failed ? NULL : n;
}

/* A node with names: `first` and then those of the field tokens that follow directly. */
static struct gnode *names(struct gparse *p, struct gnode *n, const struct gstr *first)
{
	VEC(struct gstr) v = {0};
	if (first)
		vec_push(&v, *first);
	while (peek(p).type == GT_FIELD) {
		struct gtok t = next(p);
		struct gstr name = {t.text.p + 1, t.text.n - 1};
		if (n->pos == UINT32_MAX || (first && v.n == 1))
			n->pos = t.pos; /* Go's place of a chain */
		vec_push(&v, name);
	}
	n->n = (uint32_t)v.n;
	n->names = alloc(p, (v.n ? v.n : 1) * sizeof *n->names);
	if (n->names && v.n)
		memcpy(n->names, v.data, v.n * sizeof *v.data);
	vec_release(&v);
	return p->failed ? NULL : n;
}

static struct gnode *identifier(struct gparse *p, struct gtok t)
{
	struct gnode *n = node(p, GN_IDENT, t.pos);
	if (!n)
		return NULL;
	n->text = t.text;
	n->fn = gfunc_find(t.text);
	if (n->fn)
		return n;
	return fail(p, "function \"%.*s\" not defined", (int)(t.text.n < 200 ? t.text.n : 200), t.text.p);
}

static bool in_scope(const struct gparse *p, struct gstr name)
{
	for (size_t i = p->vars.n; i-- > 0;)
		if (gstr_eq(p->vars.data[i], name))
			return true;
	return false;
}

static struct gnode *variable(struct gparse *p, struct gtok t)
{
	if (in_scope(p, t.text)) {
		struct gnode *n = node(p, GN_VARIABLE, t.pos);
		return n ? names(p, n, &t.text) : NULL;
	}
	return fail(p, "undefined variable \"%.*s\"", (int)(t.text.n < 200 ? t.text.n : 200), t.text.p);
}

static struct gnode *literal(struct gparse *p, struct gtok t)
{
	struct gnode *n = node(p, t.type == GT_STRING || t.type == GT_RAW ? GN_STRING : GN_NUMBER, t.pos);
	char msg[128];
	if (!n)
		return NULL;
	n->src = t.text;
	if (n->type == GN_NUMBER)
		return gparse_number(t, n, msg) ? n : fail(p, "%s", msg);
	return gparse_unquote(&p->t->arena, t.text, &n->text) ? n : fail(p, "invalid syntax");
}

static struct gnode *pipeline(struct gparse *p, const char *context, enum gtok_type end);

/* A value without the fields after it. NULL without failing: there is none here. */
static struct gnode *term(struct gparse *p)
{
	struct gtok t = next_solid(p);
	struct gnode *n;
	switch (t.type) {
	case GT_IDENT:
		return identifier(p, t);
	case GT_DOT:
		return node(p, GN_DOT, t.pos);
	case GT_NIL:
		return node(p, GN_NIL, t.pos);
	case GT_BOOL:
		n = node(p, GN_BOOL, t.pos);
		if (n)
			n->truth = t.text.n == 4;
		return n;
	case GT_VARIABLE:
		return variable(p, t);
	case GT_FIELD:
		n = node(p, GN_FIELD, t.pos);
		return n ? names(p, n, &(struct gstr){t.text.p + 1, t.text.n - 1}) : NULL;
	case GT_STRING:
	case GT_RAW:
	case GT_CHARCONST:
	case GT_NUMBER:
	case GT_COMPLEX:
		return literal(p, t);
	case GT_LPAREN:
		return pipeline(p, "parenthesized pipeline", GT_RPAREN);
	default:
		back(p, t);
		return NULL;
	}
}

static struct gnode *operand(struct gparse *p)
{
	struct gnode *n = term(p);
	if (!n || peek(p).type != GT_FIELD)
		return n;
	if (n->type == GN_BOOL || n->type == GN_STRING || n->type == GN_NUMBER || n->type == GN_NIL || n->type == GN_DOT) {
		struct str s = {0};
		gnode_print(&s, n);
		fail(p, "unexpected . after term \"%s\"", str_cstr(&s));
		str_release(&s);
		return NULL;
	}
	struct gnode *chain = node(p, GN_CHAIN, UINT32_MAX);
	if (!chain)
		return NULL;
	chain->base = n;
	return names(p, chain, NULL);
}

static struct gnode *command(struct gparse *p)
{
	size_t mark = p->pending.n;
	struct gnode *n = node(p, GN_COMMAND, peek_solid(p).pos);
	while (n) {
		peek_solid(p); /* drops the blanks */
		struct gnode *arg = operand(p);
		if (p->failed)
			return NULL;
		if (arg)
			vec_push(&p->pending, arg);
		struct gtok t = next(p);
		if (t.type == GT_SPACE)
			continue;
		if (t.type == GT_RIGHT || t.type == GT_RPAREN)
			back(p, t);
		else if (t.type != GT_PIPE)
			return unexpected(p, t, "operand");
		if (p->pending.n == mark)
			return fail(p, "empty command");
		return adopt(p, n, mark);
	}
	return NULL;
}

static bool declare(struct gparse *p, struct gtok v)
{
	struct gnode *n = node(p, GN_VARIABLE, v.pos);
	if (!n)
		return false;
	n->names = alloc(p, sizeof *n->names);
	if (!n->names)
		return false;
	n->names[0] = v.text;
	n->n = 1;
	vec_push(&p->pending, n);
	if (in_scope(p, v.text))
		return true;
	if (p->vars.n >= GOTMPL_NAMES_MAX)
		return limit(p, "there are too many variables");
	vec_push(&p->vars, v.text);
	return true;
}

/* `$x :=`, `$x =`, and in a range `$i, $x :=`. A variable that starts no such clause is given back. */
static bool declarations(struct gparse *p, struct gnode *pipe, const char *context)
{
	for (;;) {
		struct gtok v = peek_solid(p);
		if (v.type != GT_VARIABLE)
			return true;
		next(p);
		struct gtok after = peek(p), t = peek_solid(p);
		bool comma = t.type == GT_CHAR && t.text.p[0] == ',';
		if (t.type != GT_ASSIGN && t.type != GT_DECLARE && !comma) {
			if (after.type == GT_SPACE)
				back(p, after);
			back(p, v);
			return true;
		}
		next_solid(p);
		if (!declare(p, v))
			return false;
		pipe->n_decl++;
		if (!comma) {
			pipe->is_assign = t.type == GT_ASSIGN;
			return true;
		}
		if (strcmp(context, "range") != 0 || pipe->n_decl >= 2)
			return fail(p, "too many declarations in %s", context);
		enum gtok_type follows = peek_solid(p).type;
		if (follows != GT_VARIABLE && follows != GT_RIGHT && follows != GT_RPAREN)
			return fail(p, "range can only initialize variables");
	}
}

static bool starts_command(enum gtok_type t)
{
	return (t >= GT_LPAREN && t <= GT_BOOL && t != GT_RPAREN && t != GT_CHAR) || t == GT_DOT || t == GT_NIL;
}

/* Only the first command of a pipeline may be a plain value. */
static bool check_pipeline(struct gparse *p, const struct gnode *n, const char *context)
{
	if (n->n == n->n_decl)
		return fail(p, "missing value for %s", context);
	for (uint32_t i = n->n_decl + 1; i < n->n; i++) {
		enum gnode_type t = n->kids[i]->kids[0]->type;
		if (t == GN_BOOL || t == GN_DOT || t == GN_NIL || t == GN_NUMBER || t == GN_STRING)
			return fail(p, "non executable command in pipeline stage %u", i - n->n_decl + 1);
	}
	return true;
}

static struct gnode *pipeline_body(struct gparse *p, const char *context, enum gtok_type end)
{
	size_t mark = p->pending.n;
	struct gnode *n = node(p, GN_PIPE, peek_solid(p).pos);
	if (!n || !declarations(p, n, context))
		return NULL;
	for (;;) {
		struct gtok t = next_solid(p);
		if (t.type == end) {
			if (!adopt(p, n, mark) || !check_pipeline(p, n, context))
				return NULL;
			return n;
		}
		if (!starts_command(t.type))
			return unexpected(p, t, context);
		back(p, t);
		struct gnode *c = command(p);
		if (!c)
			return NULL;
		vec_push(&p->pending, c);
	}
}

static struct gnode *pipeline(struct gparse *p, const char *context, enum gtok_type end)
{
	if (++p->depth > GOTMPL_PARSE_DEPTH_MAX)
		return limit(p, "expressions or blocks are nested too deeply");
	struct gnode *n = pipeline_body(p, context, end);
	p->depth--;
	return n;
}

/* ---- statements ---- */

/* What ended a list of nodes. */
enum gend { GEND_EOF, GEND_END, GEND_ELSE, GEND_ELSE_IF, GEND_ELSE_WITH, GEND_FAILED };
static const char *const end_names[] = {"EOF", "{{end}}", "{{else}}", "{{else}}", "{{else}}", ""};

static struct gnode *list(struct gparse *p, enum gend *ret_end);

static struct gnode *branch_body(struct gparse *p, enum gtok_type key)
{
	const char *context = key == GT_IF ? "if" : key == GT_WITH ? "with" : "range";
	enum gend end;
	struct gnode *n = node(p, key == GT_IF ? GN_IF : key == GT_WITH ? GN_WITH : GN_RANGE, p->last.pos);
	if (!n || !(n->pipe = pipeline(p, context, GT_RIGHT)))
		return NULL;
	p->range_depth += key == GT_RANGE;
	n->list = list(p, &end);
	p->range_depth -= key == GT_RANGE;
	if (!n->list)
		return NULL;
	if (end == GEND_EOF)
		return fail(p, "unexpected EOF");
	if (end == GEND_END)
		return n;
	if ((key == GT_IF && end == GEND_ELSE_IF) || (key == GT_WITH && end == GEND_ELSE_WITH)) {
		/* one {{end}} closes the whole chain */
		size_t mark = p->pending.n;
		n->else_list = node(p, GN_LIST, p->last.pos);
		struct gtok word = next_solid(p);
		BUG_ON(word.type != key);
		if (++p->depth > GOTMPL_PARSE_DEPTH_MAX)
			return limit(p, "expressions or blocks are nested too deeply");
		struct gnode *inner = n->else_list ? branch_body(p, key) : NULL;
		p->depth--;
		if (!inner)
			return NULL;
		vec_push(&p->pending, inner);
		return adopt(p, n->else_list, mark) ? n : NULL;
	}
	n->else_list = list(p, &end);
	if (!n->else_list)
		return NULL;
	return end == GEND_END ? n : end == GEND_EOF ? fail(p, "unexpected EOF") : fail(p, "expected end; found %s", end_names[end]);
}

static struct gnode *branch(struct gparse *p, enum gtok_type key)
{
	size_t mark = p->vars.n;
	if (++p->depth > GOTMPL_PARSE_DEPTH_MAX)
		return limit(p, "expressions or blocks are nested too deeply");
	struct gnode *n = branch_body(p, key);
	p->depth--;
	p->vars.n = mark;
	return n;
}

static bool template_name(struct gparse *p, const char *context, struct gstr *ret, uint32_t *ret_pos)
{
	struct gtok t = next_solid(p);
	*ret_pos = t.pos;
	if (t.type != GT_STRING && t.type != GT_RAW)
		return unexpected(p, t, context);
	return gparse_unquote(&p->t->arena, t.text, ret) || fail(p, "invalid syntax");
}

const struct gnode *gdef_find(const struct gotmpl *t, struct gstr name)
{
	for (size_t i = 0; i < t->defs.n; i++)
		if (gstr_eq(t->defs.data[i].name, name))
			return t->defs.data[i].root;
	return NULL;
}

/* An empty template never replaces one with content, and two with content clash. */
static bool define(struct gparse *p, struct gstr name, struct gnode *root)
{
	struct gdef d = {name, root};
	for (size_t i = 0; i < p->t->defs.n; i++) {
		struct gdef *old = &p->t->defs.data[i];
		if (!gstr_eq(old->name, name))
			continue;
		if (gtree_empty(old->root))
			old->root = root;
		else if (!gtree_empty(root))
			return fail(p, "template: multiple definition of template \"%.*s\"", (int)(name.n < 100 ? name.n : 100), name.p);
		return true;
	}
	if (p->t->defs.n >= GOTMPL_DEFS_MAX)
		return limit(p, "the template defines too many templates");
	vec_push(&p->t->defs, d);
	return true;
}

/* The body of a define or block clause: a template of its own, with variables of its own. */
static bool definition_body(struct gparse *p, struct gstr name, const char *context)
{
	enum gend end;
	int ranges = p->range_depth;
	size_t n_vars = p->vars.n;
	VEC(struct gstr) outer = {0};
	for (size_t i = 1; i < n_vars; i++)
		vec_push(&outer, p->vars.data[i]);
	p->vars.n = 1;
	p->range_depth = 0;
	struct gnode *root = list(p, &end);
	p->range_depth = ranges;
	p->vars.n = 1;
	for (size_t i = 0; i < outer.n; i++)
		vec_push(&p->vars, outer.data[i]);
	vec_release(&outer);
	if (!root)
		return false;
	if (end == GEND_EOF)
		return fail(p, "unexpected EOF");
	if (end != GEND_END)
		return fail(p, "unexpected %s in %s", end_names[end], context);
	return define(p, name, root);
}

static bool definition(struct gparse *p)
{
	struct gstr name;
	uint32_t pos;
	return template_name(p, "define clause", &name, &pos) && expect(p, GT_RIGHT, "define clause") &&
	       definition_body(p, name, "define clause");
}

static struct gnode *block(struct gparse *p)
{
	struct gnode *n = node(p, GN_TEMPLATE, p->last.pos);
	if (!n || !template_name(p, "block clause", &n->text, &n->pos) || !(n->pipe = pipeline(p, "block clause", GT_RIGHT)))
		return NULL;
	if (++p->depth > GOTMPL_PARSE_DEPTH_MAX)
		return limit(p, "expressions or blocks are nested too deeply");
	bool ok = definition_body(p, n->text, "block clause");
	p->depth--;
	return ok ? n : NULL;
}

static struct gnode *template_clause(struct gparse *p)
{
	struct gnode *n = node(p, GN_TEMPLATE, p->last.pos);
	if (!n || !template_name(p, "template clause", &n->text, &n->pos))
		return NULL;
	struct gtok t = next_solid(p);
	if (t.type == GT_RIGHT)
		return n;
	back(p, t);
	n->pipe = pipeline(p, "template clause", GT_RIGHT);
	return n->pipe ? n : NULL;
}

static struct gnode *jump(struct gparse *p, enum gtok_type key)
{
	const char *word = key == GT_BREAK ? "{{break}}" : "{{continue}}";
	struct gnode *n = node(p, key == GT_BREAK ? GN_BREAK : GN_CONTINUE, p->last.pos);
	struct gtok t = next_solid(p);
	if (t.type != GT_RIGHT)
		return unexpected(p, t, word);
	if (!p->range_depth)
		return fail(p, "%s outside {{range}}", word);
	return n;
}

/* After `else`: a chained condition's word stays for the caller. */
static enum gend after_else(struct gparse *p)
{
	enum gtok_type t = peek_solid(p).type;
	if (t == GT_IF)
		return GEND_ELSE_IF;
	if (t == GT_WITH)
		return GEND_ELSE_WITH;
	return expect(p, GT_RIGHT, "else") ? GEND_ELSE : GEND_FAILED;
}

/* What stands between braces; NULL without failing when it ends a list (*ret_end) or defines a template. */
static struct gnode *action(struct gparse *p, enum gend *ret_end, bool top)
{
	struct gtok t = next_solid(p);
	switch (t.type) {
	case GT_IF:
	case GT_WITH:
	case GT_RANGE:
		return branch(p, t.type);
	case GT_BLOCK:
		return block(p);
	case GT_TEMPLATE:
		return template_clause(p);
	case GT_BREAK:
	case GT_CONTINUE:
		return jump(p, t.type);
	case GT_END:
		*ret_end = expect(p, GT_RIGHT, "end") ? GEND_END : GEND_FAILED;
		return NULL;
	case GT_ELSE:
		*ret_end = after_else(p);
		return NULL;
	case GT_DEFINE:
		if (top) {
			definition(p);
			return NULL;
		}
		break;
	default:
		break;
	}
	back(p, t);
	struct gnode *n = node(p, GN_ACTION, t.pos);
	if (!n || !(n->pipe = pipeline(p, "command", GT_RIGHT)))
		return NULL;
	return n;
}

static struct gnode *list_of(struct gparse *p, enum gend *ret_end, bool top)
{
	size_t mark = p->pending.n;
	struct gnode *n = node(p, GN_LIST, p->lex.n ? (uint32_t)p->lex.pos : 0);
	enum gend end = GEND_EOF;
	while (n && !p->failed) {
		struct gnode *kid = NULL;
		bool more = false;
		struct gtok t = next(p);
		if (t.type == GT_EOF)
			break;
		if (t.type == GT_TEXT) {
			kid = node(p, GN_TEXT, t.pos);
			if (kid)
				kid->text = t.text;
		} else if (t.type == GT_LEFT) {
			end = GEND_EOF;
			kid = action(p, &end, top);
			more = !kid && end == GEND_EOF;
		} else {
			unexpected(p, t, "input");
		}
		if (kid)
			vec_push(&p->pending, kid);
		else if (!more)
			break;
	}
	*ret_end = p->failed ? GEND_FAILED : end;
	return n && !p->failed ? adopt(p, n, mark) : NULL;
}

static struct gnode *list(struct gparse *p, enum gend *ret_end)
{
	return list_of(p, ret_end, false);
}

static bool parse_root(struct gparse *p)
{
	enum gend end;
	struct gstr dollar = {"$", 1};
	vec_push(&p->vars, dollar);
	p->t->root = list_of(p, &end, true);
	if (!p->t->root)
		return false;
	if (end != GEND_EOF)
		return fail(p, "unexpected %s", end_names[end]);
	return define(p, (struct gstr){"", 0}, p->t->root);
}

bool gparse_template(struct gotmpl *t, struct err *err)
{
	struct gparse *p = mem_zalloc(sizeof *p);
	p->t = t;
	p->err = err;
	glex_init(&p->lex, t->source, t->n_source);
	bool ok = parse_root(p);
	t->root = (struct gnode *)gdef_find(t, (struct gstr){"", 0});
	vec_release(&p->vars);
	vec_release(&p->pending);
	mem_free(p);
	return ok;
}
