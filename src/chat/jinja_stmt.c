/* Statements: everything between {% and %}, and the text around it. */
#include <string.h>

#include "base/bug.h"
#include "base/str.h"
#include "chat/jinja_ast.h"

static bool parse_body(struct jparse *p, const char *const *ends, struct jnode **ret);

/* Whether the current token is one of these names (a NULL-terminated list). */
static bool at_any(const struct jparse *p, const char *const *names)
{
	for (; *names; names++)
		if (jparse_is_name(p, *names))
			return true;
	return false;
}

static bool fail_tag(struct jparse *p, const char *const *ends)
{
	struct str want = {0};
	for (; ends && *ends; ends++)
		str_printf(&want, "%s'%s'", want.len ? " or " : "", *ends);
	bool eof = p->cur.type == T_EOF;
	if (want.len)
		jparse_fail(p, p->cur.line, "%s%.60s%s; expected %.200s", eof ? "the template ends too early" : "unknown tag '",
			    eof ? "" : p->cur.s->p, eof ? "" : "'", want.data);
	else
		jparse_fail(p, p->cur.line, "unknown tag '%.60s'", eof ? "" : p->cur.s->p);
	str_release(&want);
	return false;
}

/* The statements up to one of the tags in ends, which becomes the current token. The tag before ends here. */
static bool parse_statements(struct jparse *p, const char *const *ends, bool drop, struct jnode **ret)
{
	bool colon;
	if (!jparse_skip(p, T_COLON, &colon) || !jparse_expect(p, T_BLOCK_END) || !parse_body(p, ends, ret))
		return false;
	if (p->cur.type == T_EOF)
		return fail_tag(p, ends);
	return !drop || jparse_next(p);
}

/* As parse_statements for bodies that are functions of their own: loop control does not reach out of them. */
static bool parse_function(struct jparse *p, const char *const *ends, struct jnode **ret)
{
	int loops = p->loop_depth;
	bool soft = p->soft;
	p->loop_depth = 0;
	p->soft = false;
	bool ok = parse_statements(p, ends, true, ret);
	p->loop_depth = loops;
	p->soft = soft;
	return ok;
}

static bool check_target(struct jparse *p, const struct jnode *n)
{
	if (n->kind == E_TUPLE) {
		for (size_t i = 0; i < n->n_list; i++)
			if (!check_target(p, n->list[i]))
				return false;
		return true;
	}
	if (n->kind == E_NAME && p->for_depth && n->name == p->t->name_loop)
		return jparse_fail(p, n->line, "can't assign to the special variable loop inside a loop");
	if (n->kind == E_NAME || n->kind == E_NSREF)
		return true;
	return jparse_fail(p, n->line, "can't assign to '%s'", jparse_kind_name(n->kind));
}

static bool parse_target(struct jparse *p, bool with_ns, struct jnode **ret)
{
	return jparse_tuple(p, JTUPLE_SIMPLE | (with_ns ? JTUPLE_NS : 0), ret) && check_target(p, *ret);
}

static bool parse_target_name(struct jparse *p, struct jstr **ret)
{
	if (p->cur.type != T_NAME)
		return jparse_expect(p, T_NAME);
	*ret = p->cur.s;
	return jparse_next(p);
}

static bool parse_set(struct jparse *p, struct jnode **ret)
{
	static const char *const ends[] = {"endset", NULL};
	struct jnode *n = *ret = jparse_node(p, S_SET, p->cur.line);
	bool assign;
	if (!n || !jparse_next(p) || !parse_target(p, true, &n->a) || !jparse_skip(p, T_ASSIGN, &assign))
		return false;
	if (assign)
		return jparse_tuple(p, 0, &n->b);
	n->kind = S_SETBLOCK;
	return jparse_filter(p, NULL, false, &n->b) && parse_statements(p, ends, true, &n->d);
}

static bool parse_for(struct jparse *p, struct jnode **ret)
{
	static const char *const body_ends[] = {"endfor", "else", NULL}, *const else_ends[] = {"endfor", NULL};
	struct jnode *n = *ret = jparse_node(p, S_FOR, p->cur.line);
	bool found, soft = p->soft;
	p->for_depth++;
	if (!n || !jparse_next(p) || !parse_target(p, false, &n->a))
		return false;
	if (!jparse_is_name(p, "in"))
		return jparse_fail(p, p->cur.line, "expected 'in', got '%s'", jlex_describe(&p->cur));
	if (!jparse_next(p) || !jparse_tuple(p, JTUPLE_NO_COND, &n->b) || !jparse_skip_name(p, "if", &found) ||
	    (found && !jparse_expr(p, true, &n->c)) || !jparse_skip_name(p, "recursive", &found))
		return false;
	if (found)
		n->flags |= JF_RECURSIVE;
	p->soft = false;
	p->loop_depth++;
	bool ok = parse_statements(p, body_ends, false, &n->d);
	p->loop_depth--;
	if (ok) {
		bool has_else = jparse_is_name(p, "else");
		ok = jparse_next(p) && (!has_else || parse_statements(p, else_ends, true, &n->e));
	}
	p->for_depth--;
	p->soft = soft;
	return ok;
}

static bool parse_if(struct jparse *p, struct jnode **ret)
{
	static const char *const ends[] = {"elif", "else", "endif", NULL}, *const else_ends[] = {"endif", NULL};
	struct jnode *n = *ret = jparse_node(p, S_IF, p->cur.line);
	struct jnodes parts = {0};
	bool soft = p->soft, ok = false;
	if (!n)
		return false;
	p->soft = true;
	for (;;) {
		struct jnode *test, *body;
		if (!jparse_next(p) || !jparse_tuple(p, JTUPLE_NO_COND, &test) ||
		    !parse_statements(p, ends, false, &body) || !jparse_add(p, &parts, test) || !jparse_add(p, &parts, body))
			break;
		if (jparse_is_name(p, "elif"))
			continue;
		bool has_else = jparse_is_name(p, "else");
		ok = jparse_next(p) && (!has_else || parse_statements(p, else_ends, true, &n->a));
		break;
	}
	p->soft = soft;
	n->list = parts.v;
	n->n_list = parts.n;
	return ok;
}

static bool parse_with(struct jparse *p, struct jnode **ret)
{
	static const char *const ends[] = {"endwith", NULL};
	struct jnode *n = *ret = jparse_node(p, S_WITH, p->cur.line);
	struct jnodes parts = {0};
	if (!n || !jparse_next(p))
		return false;
	while (p->cur.type != T_BLOCK_END) {
		struct jnode *target, *val;
		if (parts.n && !jparse_expect(p, T_COMMA))
			return false;
		if (!jparse_primary(p, JTUPLE_SIMPLE, &target) || !check_target(p, target) || !jparse_expect(p, T_ASSIGN) ||
		    !jparse_expr(p, true, &val) || !jparse_add(p, &parts, target) || !jparse_add(p, &parts, val))
			return false;
	}
	n->list = parts.v;
	n->n_list = parts.n;
	return parse_statements(p, ends, true, &n->d);
}

static bool parse_signature(struct jparse *p, struct jnode *n)
{
	struct jnodes params = {0}, defaults = {0};
	if (!jparse_expect(p, T_LPAREN))
		return false;
	while (p->cur.type != T_RPAREN) {
		struct jnode *param = jparse_node(p, E_NAME, p->cur.line), *val;
		bool assign;
		if (!param || (params.n && !jparse_expect(p, T_COMMA)) || !parse_target_name(p, &param->name) ||
		    !jparse_skip(p, T_ASSIGN, &assign))
			return false;
		if (assign && (!jparse_expr(p, true, &val) || !jparse_add(p, &defaults, val)))
			return false;
		if (!assign && param->name == p->t->name_caller)
			return jparse_fail(p, param->line, "the special parameter caller needs a default");
		if (!assign && defaults.n)
			return jparse_fail(p, param->line, "a parameter without default follows one with a default");
		if (params.n >= JINJA_ARGS_MAX)
			return jparse_fail(p, param->line, "more than %d parameters", JINJA_ARGS_MAX);
		for (size_t i = 0; i < params.n; i++)
			if (params.v[i]->name == param->name)
				return jparse_fail(p, param->line, "duplicate parameter '%.60s'", param->name->p);
		if (!jparse_add(p, &params, param))
			return false;
	}
	n->list = params.v;
	n->n_list = params.n;
	n->kw = defaults.v;
	n->n_kw = defaults.n;
	return jparse_expect(p, T_RPAREN);
}

static bool parse_macro_body(struct jparse *p, struct jnode *n, const char *const *ends)
{
	p->macros[p->n_macro++] = n; /* bounded by the block depth */
	bool ok = parse_function(p, ends, &n->d);
	p->n_macro--;
	return ok;
}

static bool parse_macro(struct jparse *p, struct jnode **ret)
{
	static const char *const ends[] = {"endmacro", NULL};
	struct jnode *n = *ret = jparse_node(p, S_MACRO, p->cur.line);
	return n && jparse_next(p) && parse_target_name(p, &n->name) && parse_signature(p, n) && parse_macro_body(p, n, ends);
}

static bool parse_call_block(struct jparse *p, struct jnode **ret)
{
	static const char *const ends[] = {"endcall", NULL};
	struct jnode *n = *ret = jparse_node(p, S_CALLBLOCK, p->cur.line);
	if (!n || !(n->b = jparse_node(p, S_MACRO, p->cur.line)) || !jparse_next(p))
		return false;
	if (p->cur.type == T_LPAREN && !parse_signature(p, n->b))
		return false;
	if (!jparse_expr(p, true, &n->a))
		return false;
	if (n->a->kind != E_CALL)
		return jparse_fail(p, n->line, "expected a call");
	return parse_macro_body(p, n->b, ends);
}

static bool parse_filter_block(struct jparse *p, struct jnode **ret)
{
	static const char *const ends[] = {"endfilter", NULL};
	struct jnode *n = *ret = jparse_node(p, S_FILTERBLOCK, p->cur.line);
	return n && jparse_next(p) && jparse_filter(p, NULL, true, &n->b) && parse_statements(p, ends, true, &n->d);
}

static bool parse_print(struct jparse *p, struct jnode **ret)
{
	struct jnode *n = *ret = jparse_node(p, S_OUTPUT, p->cur.line), *part;
	struct jnodes parts = {0};
	if (!n || !jparse_next(p))
		return false;
	while (p->cur.type != T_BLOCK_END) {
		if (parts.n && !jparse_expect(p, T_COMMA))
			return false;
		if (!jparse_expr(p, true, &part) || !jparse_add(p, &parts, part))
			return false;
	}
	n->list = parts.v;
	n->n_list = parts.n;
	return true;
}

static bool parse_autoescape(struct jparse *p, struct jnode **ret)
{
	static const char *const ends[] = {"endautoescape", NULL};
	struct jnode *n = *ret = jparse_node(p, S_AUTOESCAPE, p->cur.line);
	return n && jparse_next(p) && jparse_expr(p, true, &n->a) && parse_statements(p, ends, true, &n->d);
}

static bool parse_block(struct jparse *p, struct jnode **ret)
{
	static const char *const ends[] = {"endblock", NULL};
	struct jnode *n = *ret = jparse_node(p, S_BLOCK, p->cur.line);
	bool scoped, required, named;
	if (!n || !jparse_next(p) || !parse_target_name(p, &n->name) || !jparse_skip_name(p, "scoped", &scoped) ||
	    !jparse_skip_name(p, "required", &required))
		return false;
	if (scoped)
		n->flags |= JF_SCOPED;
	union map_val *slot = map_get(&p->t->blocks, n->name->p, n->name->n);
	if (slot)
		return jparse_fail(p, n->line, "block '%.60s' defined twice", n->name->p);
	map_put_ref(&p->t->blocks, n->name->p, n->name->n)->p = n;
	return parse_function(p, ends, &n->d) && jparse_skip_name(p, n->name->p, &named);
}

/* Hugging Face's tag around what the assistant says; its body is rendered like any other. */
static bool parse_generation(struct jparse *p, struct jnode **ret)
{
	static const char *const ends[] = {"endgeneration", NULL};
	struct jnode *n = *ret = jparse_node(p, S_SCOPE, p->cur.line);
	return n && jparse_next(p) && parse_statements(p, ends, true, &n->d);
}

static bool parse_loop_control(struct jparse *p, struct jnode **ret)
{
	struct jnode *n = *ret = jparse_node(p, jparse_is_name(p, "break") ? S_BREAK : S_CONTINUE, p->cur.line);
	if (n && !p->loop_depth)
		return jparse_fail(p, n->line, "'%s' outside loop", p->cur.s->p);
	return n && jparse_next(p);
}

/* Tags that need other templates. There are none, so the rest of the tag only has to be well-formed enough to be skipped. */
static bool parse_no_loader(struct jparse *p, struct jnode **ret)
{
	struct jnode *n = *ret = jparse_node(p, S_NOLOADER, p->cur.line);
	if (!n)
		return false;
	n->name = p->cur.s;
	if (!jparse_next(p) || !jparse_expr(p, true, &n->a))
		return false;
	while (p->cur.type != T_BLOCK_END) {
		if (p->cur.type != T_NAME && p->cur.type != T_COMMA)
			return jparse_fail(p, p->cur.line, "unexpected '%s'", jlex_describe(&p->cur));
		if (!jparse_next(p))
			return false;
	}
	return true;
}

static const struct {
	const char *name;
	bool (*parse)(struct jparse *p, struct jnode **ret);
} tags[] = {
	{"for", parse_for},
	{"if", parse_if},
	{"set", parse_set},
	{"macro", parse_macro},
	{"call", parse_call_block},
	{"filter", parse_filter_block},
	{"with", parse_with},
	{"print", parse_print},
	{"block", parse_block},
	{"autoescape", parse_autoescape},
	{"generation", parse_generation},
	{"break", parse_loop_control},
	{"continue", parse_loop_control},
	{"include", parse_no_loader},
	{"import", parse_no_loader},
	{"from", parse_no_loader},
	{"extends", parse_no_loader},
};

static bool parse_statement(struct jparse *p, const char *const *ends, struct jnode **ret)
{
	if (p->cur.type != T_NAME)
		return jparse_fail(p, p->cur.line, "tag name expected, got '%s'", jlex_describe(&p->cur));
	if (++p->block_depth > JINJA_PARSE_DEPTH_MAX)
		return jparse_fail(p, p->cur.line, "blocks are nested too deeply");
	for (size_t i = 0; i < ARRAY_LEN(tags); i++) {
		if (!jparse_is_name(p, tags[i].name))
			continue;
		bool ok = tags[i].parse(p, ret);
		p->block_depth--;
		return ok;
	}
	return fail_tag(p, ends);
}

/* Puts the texts and expressions collected so far into one output node. */
static bool flush(struct jparse *p, struct jnodes *texts, struct jnodes *body)
{
	if (!texts->n)
		return true;
	struct jnode *n = jparse_node(p, S_OUTPUT, texts->v[0]->line);
	if (!n)
		return false;
	n->list = texts->v;
	n->n_list = texts->n;
	*texts = (struct jnodes){0};
	return jparse_add(p, body, n);
}

static bool add_data(struct jparse *p, struct jnodes *texts)
{
	struct jnode *n = jparse_node(p, S_DATA, p->cur.line);
	if (!n)
		return false;
	n->val = (struct jval){.kind = J_STR, .s = p->cur.s};
	return jparse_add(p, texts, n) && jparse_next(p);
}

static bool add_print(struct jparse *p, struct jnodes *texts)
{
	struct jnode *n;
	return jparse_next(p) && jparse_tuple(p, 0, &n) && jparse_add(p, texts, n) && jparse_expect(p, T_VAR_END);
}

/* Text, expressions and statements up to a tag in ends or the end of the template. */
static bool parse_body(struct jparse *p, const char *const *ends, struct jnode **ret)
{
	struct jnodes texts = {0}, body = {0};
	struct jnode *all = jparse_node(p, S_BODY, p->cur.line), *n;
	bool ok = all != NULL, end = false;
	while (ok && !end) {
		switch (p->cur.type) {
		case T_DATA: ok = add_data(p, &texts); break;
		case T_VAR_BEGIN: ok = add_print(p, &texts); break;
		case T_BLOCK_BEGIN:
			ok = flush(p, &texts, &body) && jparse_next(p);
			if (ok && ends && at_any(p, ends))
				end = true;
			else
				ok = ok && parse_statement(p, ends, &n) && jparse_add(p, &body, n) && jparse_expect(p, T_BLOCK_END);
			break;
		default: ok = flush(p, &texts, &body); end = true; break;
		}
	}
	if (!ok)
		return false;
	all->list = body.v;
	all->n_list = body.n;
	*ret = all;
	return true;
}

bool jparse_template(struct jparse *p, struct jnode **ret)
{
	if (!jparse_next(p) || !parse_body(p, NULL, ret))
		return false;
	if (p->cur.type != T_EOF)
		return jparse_fail(p, p->cur.line, "unexpected '%s'", jlex_describe(&p->cur));
	for (size_t i = 0; i < p->n_unknown; i++)
		if (!p->unknown[i].soft)
			return jparse_fail(p, p->unknown[i].node->line, "no %s named '%.60s'",
					   p->unknown[i].node->kind == E_FILTER ? "filter" : "test", p->unknown[i].node->name->p);
	return true;
}
