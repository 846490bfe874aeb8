#include "engine/schema_regex.h"

#include <string.h>

#include "base/utf8.h"
#include "engine/grammar_ast.h"

struct parser {
	const char *s;
	size_t i, n;
	int depth;
	struct arena arena;
	struct err *err;
	int rc;
};

static struct ast *parse_alt(struct parser *p);

static struct ast *refuse(struct parser *p, const char *what)
{
	if (!p->rc)
		p->rc = err_set(p->err, ERR_INVALID, "at character %zu of the pattern: %s", utf8_count(p->s, p->i) + 1, what);
	return NULL;
}

static struct ast *made(struct parser *p, struct ast *t)
{
	return t ? t : refuse(p, "the pattern is too long");
}

static bool at(const struct parser *p, const char *z)
{
	size_t n = strlen(z);
	return p->n - p->i >= n && !memcmp(p->s + p->i, z, n);
}

static bool eat(struct parser *p, const char *z)
{
	bool yes = at(p, z);
	p->i += yes ? strlen(z) : 0;
	return yes;
}

static uint32_t take_cp(struct parser *p)
{
	uint32_t cp;
	p->i += utf8_next(p->s + p->i, p->n - p->i, &cp);
	return cp;
}

/* ---- escapes ---- */

static void add_digit(struct cpset *s)
{
	cpset_add(s, '0', '9');
}

static void add_word(struct cpset *s)
{
	cpset_add(s, '0', '9');
	cpset_add(s, 'A', 'Z');
	cpset_add(s, 'a', 'z');
	cpset_add(s, '_', '_');
}

/* WhiteSpace and LineTerminator of ECMA-262. */
static void add_space(struct cpset *s)
{
	static const struct cprange ranges[] = {
		{9, 13}, {' ', ' '}, {0xA0, 0xA0}, {0x1680, 0x1680}, {0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F},
		{0x205F, 0x205F}, {0x3000, 0x3000}, {0xFEFF, 0xFEFF},
	};
	for (size_t i = 0; i < ARRAY_LEN(ranges); i++)
		cpset_add(s, ranges[i].lo, ranges[i].hi);
}

/* \d \w \s and their opposites: true when c names a class, which is added. */
static bool add_class(struct cpset *s, char c)
{
	struct cpset one = {0};
	switch (c | 0x20) {
	case 'd':
		add_digit(&one);
		break;
	case 'w':
		add_word(&one);
		break;
	case 's':
		add_space(&one);
		break;
	default:
		return false;
	}
	cpset_normalize(&one);
	if (!(c & 0x20))
		cpset_invert(&one);
	for (size_t i = 0; i < one.n; i++)
		cpset_add(s, one.data[i].lo, one.data[i].hi);
	cpset_release(&one);
	return true;
}

/* The value of n hex digits, or refused. */
static uint32_t take_hex(struct parser *p, int n)
{
	uint32_t v = 0;
	for (int i = 0; i < n; i++) {
		int c = p->i < p->n ? p->s[p->i] : 0;
		int d = c >= '0' && c <= '9' ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
		if (d < 0) {
			refuse(p, "an escape lacks hex digits");
			return 0;
		}
		v = v << 4 | (uint32_t)d;
		p->i++;
	}
	return v;
}

static uint32_t take_u(struct parser *p)
{
	if (eat(p, "{")) {
		size_t n = 0;
		while (p->i + n < p->n && p->s[p->i + n] != '}')
			n++;
		uint32_t cp = n >= 1 && n <= 6 ? take_hex(p, (int)n) : CP_MAX + 1;
		if (!eat(p, "}") || cp > CP_MAX)
			refuse(p, "\\u{...} is no code point");
		return cp;
	}
	uint32_t hi = take_hex(p, 4);
	if (hi >= 0xD800 && hi < 0xDC00 && eat(p, "\\u")) {
		uint32_t lo = take_hex(p, 4);
		if (lo < 0xDC00 || lo > 0xDFFF)
			refuse(p, "half a surrogate pair");
		return 0x10000 + ((hi - 0xD800) << 10) + (lo - 0xDC00);
	}
	return hi;
}

/* An escape that stands for one character, after its backslash. */
static uint32_t take_escape(struct parser *p, bool in_class)
{
	static const char plain[] = "n\nr\rt\tv\vf\f";
	char c = p->i < p->n ? p->s[p->i] : '\0';
	for (const char *q = plain; *q && c; q += 2) {
		if (c == *q) {
			p->i++;
			return (uint8_t)q[1];
		}
	}
	if (c == 'x' || c == 'u') {
		p->i++;
		return c == 'x' ? take_hex(p, 2) : take_u(p);
	}
	if (c == 'b' && in_class) {
		p->i++;
		return '\b';
	}
	if (c == 'c' && p->i + 1 < p->n && (p->s[p->i + 1] | 0x20) >= 'a' && (p->s[p->i + 1] | 0x20) <= 'z') {
		p->i += 2;
		return p->s[p->i - 1] & 31;
	}
	if (p->i >= p->n)
		refuse(p, "it ends in a backslash");
	else if (c == 'b' || c == 'B')
		refuse(p, "word boundaries are not supported");
	else if (c == 'p' || c == 'P')
		refuse(p, "Unicode properties (\\p) are not supported; list the ranges instead");
	else if (c == 'k' || (c >= '0' && c <= '9'))
		refuse(p, "back references are not supported");
	else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'z')
		refuse(p, "an unknown escape");
	return p->rc ? 0 : take_cp(p);
}

/* ---- classes ---- */

/* One end of a range in a class; true when it was a class of its own (\d), which is added. */
static bool class_atom(struct parser *p, struct cpset *set, uint32_t *ret_cp)
{
	if (!eat(p, "\\")) {
		*ret_cp = take_cp(p);
		return false;
	}
	if (p->i < p->n && add_class(set, p->s[p->i])) {
		p->i++;
		return true;
	}
	*ret_cp = take_escape(p, true);
	return false;
}

static struct ast *parse_class(struct parser *p)
{
	struct cpset set = {0};
	bool invert = eat(p, "^");
	while (!p->rc && p->i < p->n && p->s[p->i] != ']') {
		uint32_t lo = 0, hi = 0;
		bool whole = class_atom(p, &set, &lo);
		bool range = at(p, "-") && p->i + 1 < p->n && p->s[p->i + 1] != ']';
		if (whole || !range) {
			if (!whole)
				cpset_add(&set, lo, lo);
			continue;
		}
		p->i++;
		if (class_atom(p, &set, &hi)) {
			cpset_add(&set, lo, lo);
			cpset_add(&set, '-', '-');
		} else if (hi < lo) {
			refuse(p, "a range in a class is out of order");
		} else {
			cpset_add(&set, lo, hi);
		}
	}
	if (!p->rc && !eat(p, "]"))
		refuse(p, "a class [ is not closed");
	cpset_normalize(&set);
	if (invert)
		cpset_invert(&set);
	struct ast *t = made(p, ast_set(&p->arena, &set));
	return p->rc ? NULL : t;
}

/* Any character but the ends of lines. */
static struct ast *parse_dot(struct parser *p)
{
	struct cpset set = {0};
	cpset_add(&set, '\n', '\n');
	cpset_add(&set, '\r', '\r');
	cpset_add(&set, 0x2028, 0x2029);
	cpset_normalize(&set);
	cpset_invert(&set);
	return made(p, ast_set(&p->arena, &set));
}

/* ---- terms ---- */

static struct ast *parse_group(struct parser *p)
{
	if (eat(p, "?")) {
		if (at(p, "=") || at(p, "!") || at(p, "<=") || at(p, "<!"))
			return refuse(p, "look-around (?= ?! ?<= ?<!) is not supported");
		if (eat(p, "<")) {
			while (p->i < p->n && p->s[p->i] != '>')
				p->i++;
			if (!eat(p, ">"))
				return refuse(p, "the name of a group is not closed");
		} else if (!eat(p, ":")) {
			return refuse(p, "flags in a group are not supported");
		}
	}
	if (++p->depth > AST_DEPTH_MAX)
		return refuse(p, "groups are nested too deep");
	struct ast *t = parse_alt(p);
	p->depth--;
	if (!p->rc && !eat(p, ")"))
		return refuse(p, "a group ( is not closed");
	return t;
}

static struct ast *parse_atom(struct parser *p)
{
	if (eat(p, "("))
		return parse_group(p);
	if (eat(p, "["))
		return parse_class(p);
	if (eat(p, "."))
		return parse_dot(p);
	if (eat(p, "^"))
		return made(p, ast_new(&p->arena, AST_BEGIN));
	if (eat(p, "$"))
		return made(p, ast_new(&p->arena, AST_END));
	if (at(p, "*") || at(p, "+") || at(p, "?"))
		return refuse(p, "there is nothing to repeat");
	if (eat(p, "\\")) {
		struct cpset set = {0};
		if (p->i < p->n && add_class(&set, p->s[p->i])) {
			p->i++;
			return made(p, ast_set(&p->arena, &set));
		}
		uint32_t cp = take_escape(p, false);
		return p->rc ? NULL : made(p, ast_char(&p->arena, cp));
	}
	return made(p, ast_char(&p->arena, take_cp(p)));
}

static bool take_number(struct parser *p, uint32_t *ret)
{
	size_t from = p->i;
	*ret = 0;
	for (; p->i < p->n && p->s[p->i] >= '0' && p->s[p->i] <= '9'; p->i++)
		*ret = *ret > AST_REP_MAX ? *ret : *ret * 10 + (uint32_t)(p->s[p->i] - '0');
	return p->i > from;
}

/* {m}, {m,}, {m,n}; anything else is an ordinary brace, and nothing is taken. */
static bool take_braces(struct parser *p, uint32_t *min, uint32_t *max)
{
	size_t from = p->i;
	if (eat(p, "{") && take_number(p, min)) {
		*max = *min;
		if (eat(p, ",") && !take_number(p, max))
			*max = GRAMMAR_INF;
		if (eat(p, "}"))
			return true;
	}
	p->i = from;
	return false;
}

static struct ast *parse_term(struct parser *p)
{
	struct ast *atom = parse_atom(p);
	uint32_t min = 0, max = GRAMMAR_INF;
	if (p->rc)
		return NULL;
	if (eat(p, "+"))
		min = 1;
	else if (eat(p, "?"))
		max = 1;
	else if (!eat(p, "*") && !take_braces(p, &min, &max))
		return atom;
	eat(p, "?"); /* which match is found first makes no difference to which texts match */
	uint32_t again[2];
	if (at(p, "*") || at(p, "+") || at(p, "?") || take_braces(p, &again[0], &again[1]))
		return refuse(p, "a repetition of a repetition");
	if (min > max)
		return refuse(p, "a repetition {m,n} has m larger than n");
	if (min > AST_REP_MAX || (max != GRAMMAR_INF && max > AST_REP_MAX))
		return refuse(p, "a repetition count is too large");
	struct ast *t = made(p, ast_new(&p->arena, AST_REP));
	if (!t)
		return NULL;
	t->min = min;
	t->max = max;
	t->kid = atom;
	return t;
}

static struct ast *parse_alt(struct parser *p)
{
	struct ast *alt = made(p, ast_new(&p->arena, AST_ALT));
	do {
		struct ast *cat = made(p, ast_new(&p->arena, AST_CAT));
		while (!p->rc && p->i < p->n && !at(p, "|") && !at(p, ")")) {
			struct ast *t = parse_term(p);
			if (t)
				ast_push(cat, t);
		}
		if (!p->rc)
			ast_push(alt, cat);
	} while (!p->rc && eat(p, "|"));
	return p->rc ? NULL : alt;
}

/* ---- automata ---- */

/* A node at which any number of characters may be read before `next`. */
static uint32_t any_chars(struct nfa *a, uint32_t next)
{
	struct cprange all = {1, CP_MAX};
	struct cpset set = {.data = &all, .n = 1};
	uint32_t loop = nfa_split(a, next, next);
	uint32_t body = nfa_cpset_json(a, &set, loop);
	if (!a->full)
		a->data[loop].alt = body;
	return loop;
}

int regex_to_dfa(const char *pattern, size_t n, struct grammar_budget *b, struct dfa *ret, struct err *err)
{
	struct parser p = {.s = pattern, .n = n, .err = err};
	struct nfa a;
	arena_init(&p.arena, AST_BYTES_MAX);
	struct ast *t = parse_alt(&p);
	if (!p.rc && p.i < p.n)
		refuse(&p, "a ) without a group");
	if (!p.rc) {
		nfa_init(&a);
		p.rc = nfa_to_dfa(&a, any_chars(&a, ast_to_nfa(&a, t, any_chars(&a, 0))), b, ret, err);
		nfa_release(&a);
	}
	arena_release(&p.arena);
	return p.rc;
}

int regex_length_dfa(uint32_t min, uint32_t max, struct grammar_budget *b, struct dfa *ret, struct err *err)
{
	struct cprange all = {1, CP_MAX};
	struct ast set = {.kind = AST_SET, .set = {.data = &all, .n = 1}};
	struct ast rep = {.kind = AST_REP, .kid = &set, .min = min, .max = max};
	struct nfa a;
	nfa_init(&a);
	uint32_t start = ast_to_nfa(&a, &rep, 0);
	int rc = nfa_to_dfa(&a, start, b, ret, err);
	nfa_release(&a);
	return rc;
}
