/* Expressions. Precedence, low to high: inline if, or, and, not, comparisons, + -, ~, * / // %, **, unary, then
 * subscripts, calls, filters and tests (Jinja2 documentation, "Expressions"). */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/bug.h"
#include "chat/jinja_ast.h"
#include "chat/jinja_run.h"

bool jparse_fail(struct jparse *p, int line, const char *fmt, ...)
{
	char what[600];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(what, sizeof what, fmt, ap);
	va_end(ap);
	err_set(p->err, ERR_INVALID, "chat template, line %d: %s", line, what);
	return false;
}

static bool fail_memory(struct jparse *p)
{
	return jparse_fail(p, p->cur.line, "the template is too large");
}

struct jnode *jparse_node(struct jparse *p, enum jnode_kind kind, int line)
{
	struct jnode *n = arena_zalloc(&p->t->arena, sizeof *n);
	if (!n) {
		fail_memory(p);
		return NULL;
	}
	n->kind = (uint8_t)kind;
	n->line = line;
	return n;
}

/* Grows an array in the arena; the old one is left behind. */
static bool grow(struct jparse *p, void **v, size_t n, size_t *cap, size_t size)
{
	if (n < *cap)
		return true;
	size_t want = *cap ? *cap * 2 : 4;
	void *more = arena_alloc(&p->t->arena, want * size);
	if (!more)
		return fail_memory(p);
	if (n)
		memcpy(more, *v, n * size);
	*v = more;
	*cap = want;
	return true;
}

bool jparse_add(struct jparse *p, struct jnodes *l, struct jnode *n)
{
	void *v = l->v;
	if (!grow(p, &v, l->n, &l->cap, sizeof *l->v))
		return false;
	l->v = v;
	l->v[l->n++] = n;
	return true;
}

bool jparse_next(struct jparse *p)
{
	if (p->has_ahead) {
		p->cur = p->ahead;
		p->has_ahead = false;
		return true;
	}
	return jlex_next(&p->lex, &p->cur);
}

static bool look(struct jparse *p, const struct jtoken **ret)
{
	if (!p->has_ahead && !jlex_next(&p->lex, &p->ahead))
		return false;
	p->has_ahead = true;
	*ret = &p->ahead;
	return true;
}

bool jparse_expect(struct jparse *p, enum jtok type)
{
	if (p->cur.type == type)
		return jparse_next(p);
	struct jtoken want = {.type = type};
	return jparse_fail(p, p->cur.line, "expected '%s', got '%s'", jlex_describe(&want), jlex_describe(&p->cur));
}

bool jparse_is_name(const struct jparse *p, const char *name)
{
	return p->cur.type == T_NAME && jv_str_eqz(p->cur.s, name);
}

bool jparse_skip_name(struct jparse *p, const char *name, bool *ret)
{
	*ret = jparse_is_name(p, name);
	return *ret ? jparse_next(p) : true;
}

bool jparse_skip(struct jparse *p, enum jtok type, bool *ret)
{
	*ret = p->cur.type == type;
	return *ret ? jparse_next(p) : true;
}

const char *jparse_kind_name(enum jnode_kind kind)
{
	static const char *const names[] = {[E_CONST] = "const", [E_NAME] = "name", [E_NSREF] = "nsref", [E_TUPLE] = "tuple",
					    [E_LIST] = "list", [E_DICT] = "dict", [E_CALL] = "call", [E_FILTER] = "filter"};
	return kind < ARRAY_LEN(names) && names[kind] ? names[kind] : "expression";
}

/* What a macro body mentions of the special names; every macro around sees it. */
static void note_name(struct jparse *p, const struct jstr *s)
{
	int flag = jv_str_eqz(s, "caller") ? JF_CALLER
		   : jv_str_eqz(s, "kwargs") ? JF_KWARGS
		   : jv_str_eqz(s, "varargs") ? JF_VARARGS
					      : 0;
	for (size_t i = 0; flag && i < p->n_macro; i++)
		p->macros[i]->flags |= (uint16_t)flag;
	jinja_mark(p->t, s);
}

static bool make_name(struct jparse *p, struct jstr *s, int line, bool is_read, struct jnode **ret)
{
	struct jnode *n = jparse_node(p, E_NAME, line);
	if (!n)
		return false;
	n->name = s;
	if (is_read)
		note_name(p, s);
	*ret = n;
	return true;
}

static bool make_const(struct jparse *p, struct jval v, int line, struct jnode **ret)
{
	struct jnode *n = jparse_node(p, E_CONST, line);
	if (!n)
		return false;
	n->val = v;
	*ret = n;
	return true;
}

static bool parse_name(struct jparse *p, int flags, struct jnode **ret)
{
	static const struct {
		const char *name;
		struct jval val;
	} constants[] = {
		{"true", {.kind = J_BOOL, .b = true}},   {"True", {.kind = J_BOOL, .b = true}}, {"false", {.kind = J_BOOL}},
		{"False", {.kind = J_BOOL}},             {"none", {.kind = J_NONE}},            {"None", {.kind = J_NONE}},
	};
	struct jtoken tok = p->cur;
	if (!jparse_next(p))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(constants); i++)
		if (jv_str_eqz(tok.s, constants[i].name))
			return make_const(p, constants[i].val, tok.line, ret);
	if (!(flags & JTUPLE_NS) || p->cur.type != T_DOT)
		return make_name(p, tok.s, tok.line, !(flags & JTUPLE_SIMPLE), ret);
	struct jnode *n = jparse_node(p, E_NSREF, tok.line);
	if (!n || !jparse_next(p))
		return false;
	if (p->cur.type != T_NAME)
		return jparse_expect(p, T_NAME);
	n->name = tok.s;
	n->name2 = p->cur.s;
	*ret = n;
	return jparse_next(p);
}

/* Adjacent string literals are one string. */
static bool parse_string(struct jparse *p, struct jnode **ret)
{
	struct jtoken tok = p->cur;
	struct str all = {0};
	bool many = false;
	str_add(&all, tok.s->p, tok.s->n);
	while (jparse_next(p)) {
		if (p->cur.type != T_STRING) {
			struct jstr *s = many ? jinja_tstr(p->t, str_cstr(&all), all.len) : tok.s;
			str_release(&all);
			if (!s)
				return fail_memory(p);
			jinja_mark(p->t, s);
			return make_const(p, (struct jval){.kind = J_STR, .s = s}, tok.line, ret);
		}
		str_add(&all, p->cur.s->p, p->cur.s->n);
		many = true;
	}
	str_release(&all);
	return false;
}

static bool parse_list(struct jparse *p, struct jnode **ret)
{
	struct jnode *n = jparse_node(p, E_LIST, p->cur.line);
	struct jnodes items = {0};
	if (!n || !jparse_next(p))
		return false;
	while (p->cur.type != T_RBRACKET) {
		struct jnode *item;
		if (items.n && !jparse_expect(p, T_COMMA))
			return false;
		if (p->cur.type == T_RBRACKET)
			break;
		if (!jparse_expr(p, true, &item) || !jparse_add(p, &items, item))
			return false;
	}
	n->list = items.v;
	n->n_list = items.n;
	*ret = n;
	return jparse_expect(p, T_RBRACKET);
}

static bool parse_dict(struct jparse *p, struct jnode **ret)
{
	struct jnode *n = jparse_node(p, E_DICT, p->cur.line);
	struct jnodes items = {0};
	if (!n || !jparse_next(p))
		return false;
	while (p->cur.type != T_RBRACE) {
		struct jnode *key, *val;
		if (items.n && !jparse_expect(p, T_COMMA))
			return false;
		if (p->cur.type == T_RBRACE)
			break;
		if (!jparse_expr(p, true, &key) || !jparse_expect(p, T_COLON) || !jparse_expr(p, true, &val) ||
		    !jparse_add(p, &items, key) || !jparse_add(p, &items, val))
			return false;
	}
	n->list = items.v;
	n->n_list = items.n;
	*ret = n;
	return jparse_expect(p, T_RBRACE);
}

bool jparse_primary(struct jparse *p, int flags, struct jnode **ret)
{
	struct jtoken tok = p->cur;
	switch (tok.type) {
	case T_NAME: return parse_name(p, flags, ret);
	case T_STRING: return parse_string(p, ret);
	case T_INTEGER:
	case T_FLOAT: return jparse_next(p) && make_const(p, tok.val, tok.line, ret);
	case T_LPAREN:
		return jparse_next(p) && jparse_tuple(p, JTUPLE_PARENS, ret) && jparse_expect(p, T_RPAREN);
	case T_LBRACKET: return parse_list(p, ret);
	case T_LBRACE: return parse_dict(p, ret);
	default: return jparse_fail(p, tok.line, "unexpected '%s'", jlex_describe(&tok));
	}
}

static bool tuple_ends(const struct jparse *p)
{
	enum jtok t = p->cur.type;
	return t == T_VAR_END || t == T_BLOCK_END || t == T_RPAREN;
}

bool jparse_tuple(struct jparse *p, int flags, struct jnode **ret)
{
	struct jnodes items = {0};
	int line = p->cur.line;
	bool is_tuple = false;
	for (;;) {
		struct jnode *item;
		if (items.n && !jparse_expect(p, T_COMMA))
			return false;
		if (tuple_ends(p))
			break;
		bool ok = flags & JTUPLE_SIMPLE ? jparse_primary(p, flags, &item)
						: jparse_expr(p, !(flags & JTUPLE_NO_COND), &item);
		if (!ok || !jparse_add(p, &items, item))
			return false;
		if (p->cur.type != T_COMMA)
			break;
		is_tuple = true;
	}
	if (!is_tuple && items.n) {
		*ret = items.v[0];
		return true;
	}
	if (!is_tuple && !(flags & JTUPLE_PARENS))
		return jparse_fail(p, p->cur.line, "expected an expression, got '%s'", jlex_describe(&p->cur));
	struct jnode *n = jparse_node(p, E_TUPLE, line);
	if (!n)
		return false;
	n->list = items.v;
	n->n_list = items.n;
	*ret = n;
	return true;
}

/* One part between brackets: an expression or a slice. */
static bool parse_subscribed(struct jparse *p, struct jnode **ret)
{
	struct jnode *part[3] = {0};
	int line = p->cur.line;
	if (p->cur.type != T_COLON) {
		if (!jparse_expr(p, true, &part[0]))
			return false;
		if (p->cur.type != T_COLON) {
			*ret = part[0];
			return true;
		}
	}
	for (int i = 1; i < 3 && p->cur.type == T_COLON; i++) {
		if (!jparse_next(p))
			return false;
		enum jtok t = p->cur.type;
		if (t != T_COLON && t != T_RBRACKET && t != T_COMMA && !jparse_expr(p, true, &part[i]))
			return false;
	}
	struct jnode *n = jparse_node(p, E_SLICE, line);
	if (!n)
		return false;
	n->a = part[0];
	n->b = part[1];
	n->c = part[2];
	*ret = n;
	return true;
}

static bool parse_dot(struct jparse *p, struct jnode *of, struct jnode **ret)
{
	int line = p->cur.line;
	if (!jparse_next(p))
		return false;
	struct jtoken tok = p->cur;
	if (tok.type != T_NAME && tok.type != T_INTEGER)
		return jparse_fail(p, tok.line, "expected a name or a number after the dot");
	struct jnode *n = jparse_node(p, tok.type == T_NAME ? E_GETATTR : E_GETITEM, line);
	if (!n || !jparse_next(p))
		return false;
	n->a = of;
	*ret = n;
	if (tok.type == T_INTEGER)
		return make_const(p, tok.val, tok.line, &n->b);
	n->name = tok.s;
	jinja_mark(p->t, tok.s);
	return true;
}

static bool parse_brackets(struct jparse *p, struct jnode *of, struct jnode **ret)
{
	struct jnode *n = jparse_node(p, E_GETITEM, p->cur.line);
	struct jnodes parts = {0};
	if (!n || !jparse_next(p))
		return false;
	while (p->cur.type != T_RBRACKET) {
		struct jnode *part;
		if (parts.n && !jparse_expect(p, T_COMMA))
			return false;
		if (!parse_subscribed(p, &part) || !jparse_add(p, &parts, part))
			return false;
	}
	n->a = of;
	n->b = parts.n == 1 ? parts.v[0] : jparse_node(p, E_TUPLE, n->line);
	if (!n->b)
		return false;
	if (parts.n != 1) {
		n->b->list = parts.v;
		n->b->n_list = parts.n;
	}
	*ret = n;
	return jparse_expect(p, T_RBRACKET);
}

/* One argument of a call; bits of *state: 1 *args seen, 2 **kwargs seen. */
static bool parse_call_arg(struct jparse *p, struct jnode *n, struct jnodes *args, struct jnodes *kw, struct jnodes *names,
			   int *state)
{
	const struct jtoken *ahead;
	struct jnode *val;
	if (p->cur.type == T_MUL || p->cur.type == T_POW) {
		bool pow = p->cur.type == T_POW;
		if (*state & (pow ? 2 : 3))
			return jparse_fail(p, p->cur.line, "invalid syntax for function call expression");
		*state |= pow ? 2 : 1;
		return jparse_next(p) && jparse_expr(p, true, pow ? &n->c : &n->b);
	}
	if (p->cur.type == T_NAME) {
		if (!look(p, &ahead))
			return false;
		if (ahead->type == T_ASSIGN) {
			struct jstr *key = p->cur.s;
			if (*state & 2)
				return jparse_fail(p, p->cur.line, "invalid syntax for function call expression");
			/* the name travels as a node pointer next to its value; both lists have the same length */
			return jparse_next(p) && jparse_next(p) && jparse_expr(p, true, &val) && jparse_add(p, kw, val) &&
			       jparse_add(p, names, (struct jnode *)(void *)key);
		}
	}
	if (*state || kw->n)
		return jparse_fail(p, p->cur.line, "invalid syntax for function call expression");
	return jparse_expr(p, true, &val) && jparse_add(p, args, val);
}

static bool parse_call_args(struct jparse *p, struct jnode *n)
{
	struct jnodes args = {0}, kw = {0}, names = {0};
	int state = 0;
	bool comma = false;
	if (!jparse_expect(p, T_LPAREN))
		return false;
	while (p->cur.type != T_RPAREN) {
		if (comma && !jparse_expect(p, T_COMMA))
			return false;
		if (comma && p->cur.type == T_RPAREN)
			break;
		if (!parse_call_arg(p, n, &args, &kw, &names, &state))
			return false;
		comma = true;
	}
	n->list = args.v;
	n->n_list = args.n;
	n->kw = kw.v;
	n->kw_names = (struct jstr **)(void *)names.v;
	n->n_kw = kw.n;
	if (n->n_kw > JINJA_ARGS_MAX)
		return jparse_fail(p, n->line, "more than %d keyword arguments in a call", JINJA_ARGS_MAX);
	for (size_t i = 0; i < n->n_kw; i++)
		for (size_t k = 0; k < i; k++)
			if (n->kw_names[i] == n->kw_names[k])
				return jparse_fail(p, n->line, "keyword argument repeated: %s", n->kw_names[i]->p);
	return jparse_expect(p, T_RPAREN);
}

static bool parse_call(struct jparse *p, struct jnode *callee, struct jnode **ret)
{
	struct jnode *n = jparse_node(p, E_CALL, p->cur.line);
	if (!n)
		return false;
	n->a = callee;
	*ret = n;
	return parse_call_args(p, n);
}

static bool parse_postfix(struct jparse *p, struct jnode *n, struct jnode **ret)
{
	for (;;) {
		bool ok = true;
		if (p->cur.type == T_DOT)
			ok = parse_dot(p, n, &n);
		else if (p->cur.type == T_LBRACKET)
			ok = parse_brackets(p, n, &n);
		else if (p->cur.type == T_LPAREN)
			ok = parse_call(p, n, &n);
		else
			break;
		if (!ok)
			return false;
	}
	*ret = n;
	return true;
}

/* A filter or test name, which may have dots. */
static bool parse_dotted(struct jparse *p, struct jstr **ret)
{
	if (p->cur.type != T_NAME)
		return jparse_expect(p, T_NAME);
	*ret = p->cur.s;
	if (!jparse_next(p))
		return false;
	while (p->cur.type == T_DOT) {
		char all[256];
		if (!jparse_next(p))
			return false;
		if (p->cur.type != T_NAME)
			return jparse_expect(p, T_NAME);
		int n = snprintf(all, sizeof all, "%.120s.%.120s", (*ret)->p, p->cur.s->p);
		*ret = jinja_intern(p->t, all, (size_t)n);
		if (!*ret)
			return fail_memory(p);
		if (!jparse_next(p))
			return false;
	}
	return true;
}

static bool note_unknown(struct jparse *p, struct jnode *n)
{
	void *v = p->unknown;
	if (!grow(p, &v, p->n_unknown, &p->cap_unknown, sizeof *p->unknown))
		return false;
	p->unknown = v;
	p->unknown[p->n_unknown++] = (struct junknown){.node = n, .soft = p->soft};
	return true;
}

bool jparse_filter(struct jparse *p, struct jnode *of, bool start_inline, struct jnode **ret)
{
	while (p->cur.type == T_PIPE || start_inline) {
		struct jnode *n = jparse_node(p, E_FILTER, p->cur.line);
		if (!n || (!start_inline && !jparse_next(p)) || !parse_dotted(p, &n->name))
			return false;
		n->a = of;
		n->fn = jinja_find_filter(n->name->p, n->name->n);
		if (!n->fn && !note_unknown(p, n))
			return false;
		if (p->cur.type == T_LPAREN && !parse_call_args(p, n))
			return false;
		of = n;
		start_inline = false;
	}
	*ret = of;
	return true;
}

/* Whether the current token begins the argument of a test without parentheses. */
static bool test_arg_follows(const struct jparse *p)
{
	static const char *const not_args[] = {"else", "or", "and"};
	switch (p->cur.type) {
	case T_STRING:
	case T_INTEGER:
	case T_FLOAT:
	case T_LBRACKET:
	case T_LBRACE: return true;
	case T_NAME: break;
	default: return false;
	}
	for (size_t i = 0; i < ARRAY_LEN(not_args); i++)
		if (jparse_is_name(p, not_args[i]))
			return false;
	return true;
}

static bool parse_test(struct jparse *p, struct jnode *of, struct jnode **ret)
{
	struct jnode *n = jparse_node(p, E_TEST, p->cur.line), *arg;
	bool negated;
	if (!n || !jparse_next(p) || !jparse_skip_name(p, "not", &negated) || !parse_dotted(p, &n->name))
		return false;
	n->a = of;
	n->fn = jinja_find_test(n->name->p, n->name->n);
	if (!n->fn && !note_unknown(p, n))
		return false;
	if (p->cur.type == T_LPAREN) {
		if (!parse_call_args(p, n))
			return false;
	} else if (test_arg_follows(p)) {
		struct jnodes args = {0};
		if (jparse_is_name(p, "is"))
			return jparse_fail(p, p->cur.line, "tests cannot be chained with is");
		if (!jparse_primary(p, 0, &arg) || !parse_postfix(p, arg, &arg) || !jparse_add(p, &args, arg))
			return false;
		n->list = args.v;
		n->n_list = args.n;
	}
	*ret = n;
	if (!negated)
		return true;
	struct jnode *not = jparse_node(p, E_NOT, n->line);
	if (!not)
		return false;
	not->a = n;
	*ret = not;
	return true;
}

static bool parse_filter_expr(struct jparse *p, struct jnode *n, struct jnode **ret)
{
	for (;;) {
		bool ok = true;
		if (p->cur.type == T_PIPE)
			ok = jparse_filter(p, n, false, &n);
		else if (jparse_is_name(p, "is"))
			ok = parse_test(p, n, &n);
		else if (p->cur.type == T_LPAREN)
			ok = parse_call(p, n, &n);
		else
			break;
		if (!ok)
			return false;
	}
	*ret = n;
	return true;
}

static bool parse_unary(struct jparse *p, bool with_filter, struct jnode **ret);

static bool parse_sign(struct jparse *p, struct jnode **ret)
{
	struct jnode *n = jparse_node(p, p->cur.type == T_SUB ? E_NEG : E_POS, p->cur.line);
	if (!n || !jparse_next(p))
		return false;
	if (++p->depth > JINJA_PARSE_DEPTH_MAX)
		return jparse_fail(p, p->cur.line, "the expression is nested too deeply");
	*ret = n;
	bool ok = parse_unary(p, false, &n->a);
	p->depth--;
	return ok;
}

static bool parse_unary(struct jparse *p, bool with_filter, struct jnode **ret)
{
	struct jnode *n;
	bool sign = p->cur.type == T_SUB || p->cur.type == T_ADD;
	if (!(sign ? parse_sign(p, &n) : jparse_primary(p, 0, &n)) || !parse_postfix(p, n, &n))
		return false;
	if (with_filter && !parse_filter_expr(p, n, &n))
		return false;
	*ret = n;
	return true;
}

static bool parse_operand(struct jparse *p, struct jnode **ret)
{
	return parse_unary(p, true, ret);
}

static bool parse_concat(struct jparse *p, struct jnode **ret);

/* The levels of left-associative operators, from the tightest. */
enum { LEVEL_POW, LEVEL_PRODUCT, LEVEL_SUM };
static bool parse_level(struct jparse *p, int level, struct jnode **ret)
{
	static const struct {
		enum jtok ops[4];
		int n;
		bool (*operand)(struct jparse *p, struct jnode **ret);
	} levels[] = {
		[LEVEL_POW] = {{T_POW}, 1, parse_operand},
		[LEVEL_PRODUCT] = {{T_MUL, T_DIV, T_FLOORDIV, T_MOD}, 4, NULL},
		[LEVEL_SUM] = {{T_ADD, T_SUB}, 2, parse_concat},
	};
	struct jnode *left, *n;
	if (!(levels[level].operand ? levels[level].operand(p, &left) : parse_level(p, level - 1, &left)))
		return false;
	for (;;) {
		int i = 0;
		while (i < levels[level].n && p->cur.type != levels[level].ops[i])
			i++;
		if (i == levels[level].n)
			break;
		if (!(n = jparse_node(p, E_BINARY, p->cur.line)))
			return false;
		n->op = (uint8_t)p->cur.type;
		n->a = left;
		if (!jparse_next(p) ||
		    !(levels[level].operand ? levels[level].operand(p, &n->b) : parse_level(p, level - 1, &n->b)))
			return false;
		left = n;
	}
	*ret = left;
	return true;
}

static bool parse_concat(struct jparse *p, struct jnode **ret)
{
	struct jnodes parts = {0};
	struct jnode *part, *n;
	int line = p->cur.line;
	if (!parse_level(p, LEVEL_PRODUCT, &part))
		return false;
	if (p->cur.type != T_TILDE) {
		*ret = part;
		return true;
	}
	if (!jparse_add(p, &parts, part))
		return false;
	while (p->cur.type == T_TILDE)
		if (!jparse_next(p) || !parse_level(p, LEVEL_PRODUCT, &part) || !jparse_add(p, &parts, part))
			return false;
	if (!(n = jparse_node(p, E_CONCAT, line)))
		return false;
	n->list = parts.v;
	n->n_list = parts.n;
	*ret = n;
	return true;
}

/* Takes a comparison operator; *ret is false when none is there. */
static bool compare_op(struct jparse *p, uint8_t *op, bool *ret)
{
	static const enum jtok tokens[] = {T_EQ, T_NE, T_LT, T_LE, T_GT, T_GE};
	const struct jtoken *ahead;
	for (size_t i = 0; i < ARRAY_LEN(tokens); i++) {
		if (p->cur.type == tokens[i]) {
			*op = (uint8_t)i; /* enum jcmp_op has the same order */
			*ret = true;
			return jparse_next(p);
		}
	}
	*op = JCMP_IN;
	if (!jparse_skip_name(p, "in", ret))
		return false;
	if (*ret)
		return true;
	if (!jparse_is_name(p, "not"))
		return true;
	if (!look(p, &ahead))
		return false;
	if (ahead->type != T_NAME || !jv_str_eqz(ahead->s, "in"))
		return true;
	*op = JCMP_NOTIN;
	*ret = true;
	return jparse_next(p) && jparse_next(p);
}

static bool parse_compare(struct jparse *p, struct jnode **ret)
{
	struct jnodes operands = {0};
	struct jnode *first, *n, *operand;
	void *ops = NULL;
	size_t cap_ops = 0;
	int line = p->cur.line;
	if (!parse_level(p, LEVEL_SUM, &first))
		return false;
	for (;;) {
		uint8_t op;
		bool is_op = false;
		if (!compare_op(p, &op, &is_op))
			return false;
		if (!is_op)
			break;
		if (!grow(p, &ops, operands.n, &cap_ops, 1))
			return false;
		((uint8_t *)ops)[operands.n] = op;
		if (!parse_level(p, LEVEL_SUM, &operand) || !jparse_add(p, &operands, operand))
			return false;
	}
	*ret = first;
	if (!operands.n)
		return true;
	if (!(n = jparse_node(p, E_COMPARE, line)))
		return false;
	n->a = first;
	n->list = operands.v;
	n->n_list = operands.n;
	n->ops = ops;
	*ret = n;
	return true;
}

static bool parse_not(struct jparse *p, struct jnode **ret)
{
	if (!jparse_is_name(p, "not"))
		return parse_compare(p, ret);
	struct jnode *n = jparse_node(p, E_NOT, p->cur.line);
	if (!n || !jparse_next(p))
		return false;
	if (++p->depth > JINJA_PARSE_DEPTH_MAX)
		return jparse_fail(p, p->cur.line, "the expression is nested too deeply");
	*ret = n;
	bool ok = parse_not(p, &n->a);
	p->depth--;
	return ok;
}

static bool parse_logic(struct jparse *p, enum jnode_kind kind, struct jnode **ret)
{
	const char *word = kind == E_OR ? "or" : "and";
	struct jnode *left, *n;
	if (!(kind == E_OR ? parse_logic(p, E_AND, &left) : parse_not(p, &left)))
		return false;
	while (jparse_is_name(p, word)) {
		if (!(n = jparse_node(p, kind, p->cur.line)) || !jparse_next(p))
			return false;
		n->a = left;
		if (!(kind == E_OR ? parse_logic(p, E_AND, &n->b) : parse_not(p, &n->b)))
			return false;
		left = n;
	}
	*ret = left;
	return true;
}

static bool parse_cond(struct jparse *p, struct jnode **ret)
{
	size_t n_unknown = p->n_unknown;
	struct jnode *left, *n;
	bool more;
	if (!parse_logic(p, E_OR, &left))
		return false;
	for (;;) {
		if (!jparse_skip_name(p, "if", &more))
			return false;
		if (!more)
			break;
		if (!(n = jparse_node(p, E_COND, p->cur.line)))
			return false;
		n->a = left;
		if (!parse_logic(p, E_OR, &n->b) || !jparse_skip_name(p, "else", &more) || (more && !jparse_expr(p, true, &n->c)))
			return false;
		for (size_t i = n_unknown; i < p->n_unknown; i++)
			p->unknown[i].soft = true;
		left = n;
	}
	*ret = left;
	return true;
}

bool jparse_expr(struct jparse *p, bool with_cond, struct jnode **ret)
{
	if (++p->depth > JINJA_PARSE_DEPTH_MAX)
		return jparse_fail(p, p->cur.line, "the expression is nested too deeply");
	bool ok = with_cond ? parse_cond(p, ret) : parse_logic(p, E_OR, ret);
	p->depth--;
	return ok;
}
