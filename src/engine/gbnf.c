#include "engine/gbnf.h"

#include <string.h>

#include "base/map.h"
#include "base/utf8.h"
#include "engine/grammar_ast.h"

struct rule {
	const char *name; /* in the text */
	size_t n_name, line;
	struct ast *body; /* NULL: not defined yet */
	bool nullable;
	uint8_t mark;     /* search for left recursion: 0 not seen, 1 under way, 2 done */
};

struct parser {
	const char *s;
	size_t i, n, line;
	int depth;
	struct arena arena;
	struct grammar *g;
	struct map names; /* to index in rules */
	VEC(struct rule) rules; /* rule i of the grammar is rules[i]; 0 is root */
	struct err *err;
	int rc;
};

static struct ast *parse_alt(struct parser *p, bool nested);

static void *refuse(struct parser *p, const char *what)
{
	if (!p->rc)
		p->rc = err_set(p->err, ERR_INVALID, "grammar, line %zu: %s", p->line, what);
	return NULL;
}

static struct ast *made(struct parser *p, struct ast *t)
{
	return t ? t : refuse(p, "the grammar is too long");
}

/* ---- characters ---- */

static char peek(const struct parser *p)
{
	return p->i < p->n ? p->s[p->i] : '\0';
}

static bool eat(struct parser *p, const char *z)
{
	size_t n = strlen(z);
	bool yes = p->n - p->i >= n && !memcmp(p->s + p->i, z, n);
	p->i += yes ? n : 0;
	return yes;
}

static void skip_space(struct parser *p, bool newline_ok)
{
	while (p->i < p->n) {
		char c = p->s[p->i];
		if (c == '#') {
			while (p->i < p->n && p->s[p->i] != '\n' && p->s[p->i] != '\r')
				p->i++;
			continue;
		}
		bool line = c == '\n' || c == '\r';
		if (!(c == ' ' || c == '\t' || (line && newline_ok)))
			return;
		p->line += c == '\n';
		p->i++;
	}
}

static bool is_name(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

static uint32_t take_hex(struct parser *p, int n)
{
	uint32_t v = 0;
	for (int i = 0; i < n; i++) {
		char c = peek(p);
		int d = c >= '0' && c <= '9' ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
		if (d < 0) {
			refuse(p, "an escape lacks hex digits");
			return 0;
		}
		v = v << 4 | (uint32_t)d;
		p->i++;
	}
	if (v > CP_MAX)
		refuse(p, "an escape is no code point");
	return v;
}

/* One character of a literal or a class, escapes resolved. */
static uint32_t take_char(struct parser *p)
{
	static const char plain[] = "n\nr\rt\t\\\\\"\"[[]]";
	uint32_t cp;
	if (!eat(p, "\\")) {
		p->line += peek(p) == '\n';
		p->i += utf8_next(p->s + p->i, p->n - p->i, &cp);
		return cp;
	}
	char c = peek(p);
	for (const char *q = plain; *q && c; q += 2) {
		if (c == *q) {
			p->i++;
			return (uint8_t)q[1];
		}
	}
	if (c == 'x' || c == 'u' || c == 'U') {
		p->i++;
		return take_hex(p, c == 'x' ? 2 : c == 'u' ? 4 : 8);
	}
	refuse(p, "an unknown escape; known are \\n \\r \\t \\\\ \\\" \\[ \\] \\xHH \\uHHHH \\UHHHHHHHH");
	return 0;
}

/* ---- terms ---- */

static struct ast *parse_literal(struct parser *p)
{
	struct ast *cat = made(p, ast_new(&p->arena, AST_CAT));
	while (!p->rc && p->i < p->n && peek(p) != '"') {
		uint32_t cp = take_char(p);
		struct ast *c = p->rc ? NULL : made(p, ast_char(&p->arena, cp));
		if (c)
			ast_push(cat, c);
	}
	if (!p->rc && !eat(p, "\""))
		refuse(p, "a literal \" is not closed");
	return cat;
}

static struct ast *parse_class(struct parser *p)
{
	struct cpset set = {0};
	bool invert = eat(p, "^");
	while (!p->rc && p->i < p->n && peek(p) != ']') {
		uint32_t lo = take_char(p), hi = lo;
		if (!p->rc && peek(p) == '-' && p->i + 1 < p->n && p->s[p->i + 1] != ']') {
			p->i++;
			hi = take_char(p);
		}
		if (hi < lo)
			refuse(p, "a range in a class is out of order");
		cpset_add(&set, lo, hi);
	}
	if (!p->rc && !eat(p, "]"))
		refuse(p, "a class [ is not closed");
	cpset_normalize(&set);
	if (invert)
		cpset_invert(&set);
	return made(p, ast_set(&p->arena, &set));
}

static struct ast *parse_group(struct parser *p)
{
	if (++p->depth > AST_DEPTH_MAX)
		return refuse(p, "groups are nested too deep");
	skip_space(p, true);
	struct ast *t = parse_alt(p, true);
	p->depth--;
	skip_space(p, true);
	if (!p->rc && !eat(p, ")"))
		refuse(p, "a group ( is not closed");
	return t;
}

/* The index of the rule with the name that stands here; a new one has no body yet. */
static size_t take_name(struct parser *p)
{
	size_t from = p->i;
	while (p->i < p->n && is_name(p->s[p->i]))
		p->i++;
	union map_val *at = map_put_ref(&p->names, p->s + from, p->i - from);
	if (!at->i) {
		uint32_t rule = p->rules.n ? gb_rule(p->g) : 0;
		if (p->g->budget.left < 0)
			refuse(p, "there are too many rules");
		else
			BUG_ON(rule != p->rules.n);
		vec_push(&p->rules, ((struct rule){.name = p->s + from, .n_name = p->i - from, .line = p->line}));
		at->i = (int64_t)p->rules.n;
	}
	return (size_t)at->i - 1;
}

/* A term without its repetition; NULL, without an error, where none begins. */
static struct ast *parse_atom(struct parser *p)
{
	char c = peek(p);
	if (is_name(c)) {
		size_t rule = take_name(p);
		struct ast *t = made(p, ast_new(&p->arena, AST_REF));
		if (t)
			t->ref = (uint32_t)rule;
		return t;
	}
	if (c == '<' || c == '!')
		return refuse(p, "references to tokens (<...>) are not supported; write the text as a literal");
	if (eat(p, "\""))
		return parse_literal(p);
	if (eat(p, "["))
		return parse_class(p);
	if (eat(p, "("))
		return parse_group(p);
	if (eat(p, ".")) {
		struct cpset set = {0};
		cpset_add(&set, 0, CP_MAX);
		return made(p, ast_set(&p->arena, &set));
	}
	if (c == '*' || c == '+' || c == '?' || c == '{')
		return refuse(p, "there is nothing to repeat");
	return NULL;
}

static bool take_number(struct parser *p, uint32_t *ret)
{
	size_t from = p->i;
	*ret = 0;
	for (; peek(p) >= '0' && peek(p) <= '9'; p->i++)
		*ret = *ret > AST_REP_MAX ? *ret : *ret * 10 + (uint32_t)(peek(p) - '0');
	return p->i > from;
}

static void take_braces(struct parser *p, uint32_t *min, uint32_t *max)
{
	skip_space(p, false);
	bool good = take_number(p, min);
	skip_space(p, false);
	*max = *min;
	if (good && eat(p, ",")) {
		skip_space(p, false);
		if (!take_number(p, max))
			*max = GRAMMAR_INF;
		skip_space(p, false);
	}
	if (!good || !eat(p, "}"))
		refuse(p, "a repetition must be {m}, {m,} or {m,n}");
	else if (*min > *max)
		refuse(p, "a repetition {m,n} has m larger than n");
	else if (*min > AST_REP_MAX || (*max != GRAMMAR_INF && *max > AST_REP_MAX))
		refuse(p, "a repetition count is too large");
}

static struct ast *parse_term(struct parser *p, bool nested)
{
	struct ast *t = parse_atom(p);
	for (int n = 0; t && !p->rc; n++) {
		uint32_t min = 0, max = GRAMMAR_INF;
		skip_space(p, nested);
		if (eat(p, "+"))
			min = 1;
		else if (eat(p, "?"))
			max = 1;
		else if (eat(p, "{"))
			take_braces(p, &min, &max);
		else if (!eat(p, "*"))
			break;
		if (n >= 4)
			return refuse(p, "too many repetitions of repetitions");
		struct ast *rep = p->rc ? NULL : made(p, ast_new(&p->arena, AST_REP));
		if (!rep)
			return NULL;
		*rep = (struct ast){.kind = AST_REP, .kid = t, .min = min, .max = max};
		t = rep;
	}
	return p->rc ? NULL : t;
}

static struct ast *parse_alt(struct parser *p, bool nested)
{
	struct ast *alt = made(p, ast_new(&p->arena, AST_ALT));
	do {
		struct ast *cat = made(p, ast_new(&p->arena, AST_CAT)), *t;
		skip_space(p, true);
		while (!p->rc && (t = parse_term(p, nested)))
			ast_push(cat, t);
		if (!p->rc)
			ast_push(alt, cat);
	} while (!p->rc && eat(p, "|"));
	return p->rc ? NULL : alt;
}

/* ---- rules ---- */

static void parse_rule(struct parser *p)
{
	if (!is_name(peek(p))) {
		refuse(p, "a rule must begin with its name");
		return;
	}
	size_t i = take_name(p);
	skip_space(p, false);
	if (!p->rc && !eat(p, "::=")) {
		refuse(p, "::= must follow the name of a rule");
		return;
	}
	skip_space(p, true);
	struct ast *body = p->rc ? NULL : parse_alt(p, false);
	if (p->rc)
		return;
	if (p->i < p->n && peek(p) != '\n' && peek(p) != '\r') {
		refuse(p, "the end of the line was expected here");
		return;
	}
	if (p->rules.data[i].body)
		p->rc = err_set(p->err, ERR_INVALID, "grammar, line %zu: rule \"%.*s\" is defined twice", p->line,
			(int)p->rules.data[i].n_name, p->rules.data[i].name);
	p->rules.data[i].body = body;
	skip_space(p, true);
}

static bool is_nullable(const struct parser *p, const struct ast *t)
{
	switch (t->kind) {
	case AST_EMPTY:
	case AST_BEGIN:
	case AST_END:
		return true;
	case AST_SET:
		return false;
	case AST_CAT:
		for (const struct ast *k = t->kid; k; k = k->sib)
			if (!is_nullable(p, k))
				return false;
		return true;
	case AST_ALT:
		for (const struct ast *k = t->kid; k; k = k->sib)
			if (is_nullable(p, k))
				return true;
		return false;
	case AST_REP:
		return t->min == 0 || is_nullable(p, t->kid);
	case AST_REF:
		return p->rules.data[t->ref].nullable;
	}
	return false;
}

static bool find_nullable(struct parser *p)
{
	for (bool changed = true; changed;) {
		changed = false;
		for (size_t i = 0; i < p->rules.n; i++) {
			struct rule *r = &p->rules.data[i];
			if (!grammar_spend(&p->g->budget, 10 + (int64_t)(p->n / p->rules.n)))
				return false;
			if (r->nullable || !is_nullable(p, r->body))
				continue;
			r->nullable = changed = true;
		}
	}
	return true;
}

/* Appends the rules that t may begin with before anything is read. */
static void left_refs(const struct parser *p, const struct ast *t, struct ids *out)
{
	const struct ast *first = t->kid;
	switch (t->kind) {
	case AST_REF:
		vec_push(out, (int)t->ref);
		return;
	case AST_REP:
		left_refs(p, t->kid, out);
		return;
	case AST_ALT:
		for (const struct ast *k = t->kid; k; k = k->sib)
			left_refs(p, k, out);
		return;
	case AST_CAT:
		/* The last kid stands first in the list: all from the first that must be read, and those before it. */
		for (const struct ast *k = t->kid; k; k = k->sib)
			if (!is_nullable(p, k))
				first = k;
		for (const struct ast *k = first; k; k = k->sib)
			left_refs(p, k, out);
		return;
	case AST_EMPTY:
	case AST_SET:
	case AST_BEGIN:
	case AST_END:
		return;
	}
}

struct visit {
	size_t rule;
	size_t i_ref, end; /* of `refs` */
};

/* Depth-first search with an own stack: a rule that is reached while under way is left recursive. */
static void check_left_recursion(struct parser *p)
{
	VEC(struct visit) stack = {0};
	struct ids refs = {0};
	for (size_t root = 0; root < p->rules.n && !p->rc; root++) {
		size_t next = root;
		bool enter = !p->rules.data[root].mark;
		while (enter || stack.n) {
			if (enter) {
				size_t from = refs.n;
				p->rules.data[next].mark = 1;
				left_refs(p, p->rules.data[next].body, &refs);
				vec_push(&stack, ((struct visit){next, from, refs.n}));
			}
			struct visit *v = &stack.data[stack.n - 1];
			enter = false;
			if (v->i_ref == v->end) {
				p->rules.data[v->rule].mark = 2;
				stack.n--;
				refs.n = stack.n ? stack.data[stack.n - 1].end : 0;
				continue;
			}
			next = (size_t)refs.data[v->i_ref++];
			enter = p->rules.data[next].mark == 0;
			if (p->rules.data[next].mark == 1) {
				struct rule *r = &p->rules.data[next];
				p->rc = err_set(p->err, ERR_INVALID, "grammar, line %zu: rule \"%.*s\" is left recursive: it can begin "
					"with itself; write the repetition with * or +", r->line, (int)r->n_name, r->name);
				break;
			}
		}
		stack.n = 0;
	}
	vec_release(&stack);
	vec_release(&refs);
}

static void check_defined(struct parser *p)
{
	for (size_t i = 0; i < p->rules.n && !p->rc; i++) {
		const struct rule *r = &p->rules.data[i];
		if (!r->body)
			p->rc = err_set(p->err, ERR_INVALID, "grammar, line %zu: rule \"%.*s\" is not defined", r->line,
				(int)r->n_name, r->name);
	}
}

static void compile(struct parser *p)
{
	check_defined(p);
	if (!p->rc && !find_nullable(p))
		p->rc = grammar_budget_err(p->err);
	if (!p->rc)
		check_left_recursion(p);
	for (size_t i = 0; i < p->rules.n && !p->rc && p->g->budget.left >= 0; i++) {
		uint32_t start = ast_to_grammar(p->g, p->rules.data[i].body, GB_RET, p->err);
		p->g->rules.data[i] = start;
	}
	if (!p->rc && (p->rc = gb_finish(p->g, p->err)))
		err_prefix(p->err, "grammar");
}

int grammar_from_gbnf(const char *text, size_t n, struct grammar **ret, struct err *err)
{
	struct parser p = {.s = text, .n = n, .line = 1, .err = err};
	if (n > GBNF_BYTES_MAX)
		return err_set(err, ERR_INVALID, "grammar: %zu bytes, and %d is the limit", n, GBNF_BYTES_MAX);
	p.g = gb_new();
	arena_init(&p.arena, AST_BYTES_MAX);
	map_put_ref(&p.names, "root", 4)->i = 1;
	vec_push(&p.rules, ((struct rule){.name = "root", .n_name = 4, .line = 1}));
	skip_space(&p, true);
	while (p.i < p.n && !p.rc)
		parse_rule(&p);
	if (!p.rc)
		compile(&p);
	arena_release(&p.arena);
	map_release(&p.names);
	vec_release(&p.rules);
	if (p.rc)
		grammar_free(p.g);
	else
		*ret = p.g;
	return p.rc;
}
