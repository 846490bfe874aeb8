#include "engine/grammar_ast.h"

#include <string.h>

struct ast *ast_new(struct arena *a, enum ast_kind kind)
{
	struct ast *t = arena_zalloc(a, sizeof *t);
	if (t)
		t->kind = kind;
	return t;
}

struct ast *ast_set(struct arena *a, struct cpset *set)
{
	struct ast *t = ast_new(a, AST_SET);
	cpset_normalize(set);
	if (t) {
		t->set.data = arena_alloc(a, set->n * sizeof *set->data);
		t->set.n = set->n;
		if (!t->set.data)
			t = NULL;
		else if (set->n)
			memcpy(t->set.data, set->data, set->n * sizeof *set->data);
	}
	cpset_release(set);
	return t;
}

struct ast *ast_char(struct arena *a, uint32_t cp)
{
	struct cpset set = {0};
	cpset_add(&set, cp, cp);
	return ast_set(a, &set);
}

static uint32_t rep_to_nfa(struct nfa *n, const struct ast *t, uint32_t next)
{
	uint32_t r = next;
	if (t->max == GRAMMAR_INF) {
		r = nfa_split(n, next, next);
		uint32_t body = ast_to_nfa(n, t->kid, r);
		if (!n->full)
			n->data[r].alt = body;
	} else {
		for (uint32_t i = t->min; i < t->max && !n->full; i++)
			r = nfa_split(n, ast_to_nfa(n, t->kid, r), next);
	}
	for (uint32_t i = 0; i < t->min && !n->full; i++) {
		uint32_t body = ast_to_nfa(n, t->kid, r);
		if (body == r)
			break; /* nothing, any number of times; counts of it may multiply */
		r = body;
	}
	return r;
}

uint32_t ast_to_nfa(struct nfa *n, const struct ast *t, uint32_t next)
{
	uint32_t r;
	switch (t->kind) {
	case AST_EMPTY:
		return next;
	case AST_SET:
		return nfa_cpset_json(n, &t->set, next);
	case AST_CAT:
		for (const struct ast *k = t->kid; k && !n->full; k = k->sib)
			next = ast_to_nfa(n, k, next);
		return next;
	case AST_ALT:
		r = ast_to_nfa(n, t->kid, next);
		for (const struct ast *k = t->kid->sib; k && !n->full; k = k->sib)
			r = nfa_split(n, ast_to_nfa(n, k, next), r);
		return r;
	case AST_REP:
		return rep_to_nfa(n, t, next);
	case AST_BEGIN:
		return nfa_anchor(n, NFA_BEGIN, next);
	case AST_END:
		return nfa_anchor(n, NFA_END, next);
	case AST_REF:
		break;
	}
	BUG("a rule in a regular expression");
}

/* The automaton of one character; single ASCII ranges need none. */
static uint32_t set_dfa(struct grammar *g, const struct cpset *s, struct err *err)
{
	struct nfa a;
	uint32_t dfa = 0;
	nfa_init(&a);
	if (gb_add_nfa(g, &a, nfa_cpset(&a, s, 0), &dfa, err))
		g->budget.left = -1;
	return dfa;
}

static bool is_ascii_range(const struct cpset *s)
{
	return s->n == 1 && s->data[0].hi < 0x80;
}

static uint32_t rep_to_grammar(struct grammar *g, const struct ast *t, uint32_t next, struct err *err)
{
	uint32_t loop;
	if (t->kid->kind == AST_SET) {
		uint32_t dfa = set_dfa(g, &t->kid->set, err);
		return g->budget.left < 0 ? GB_FAIL : gb_count(g, dfa, t->min, t->max, next);
	}
	if (t->min == 0 && t->max == 1)
		return gb_split(g, ast_to_grammar(g, t->kid, next, err), next);
	if (t->min > 1 || t->max != GRAMMAR_INF)
		return gb_rep(g, ast_to_grammar(g, t->kid, GB_RET, err), t->min, t->max, next);
	loop = gb_loop(g, next);
	uint32_t body = ast_to_grammar(g, t->kid, loop, err);
	gb_close(g, loop, body);
	return t->min ? body : loop;
}

uint32_t ast_to_grammar(struct grammar *g, const struct ast *t, uint32_t next, struct err *err)
{
	uint32_t r = GB_FAIL;
	switch (t->kind) {
	case AST_EMPTY:
		return next;
	case AST_SET:
		if (is_ascii_range(&t->set))
			return gb_range(g, (uint8_t)t->set.data[0].lo, (uint8_t)t->set.data[0].hi, next);
		r = set_dfa(g, &t->set, err);
		return g->budget.left < 0 ? GB_FAIL : gb_dfa(g, r, next);
	case AST_CAT:
		for (const struct ast *k = t->kid; k; k = k->sib)
			next = ast_to_grammar(g, k, next, err);
		return next;
	case AST_ALT:
		for (const struct ast *k = t->kid; k; k = k->sib)
			r = gb_split(g, ast_to_grammar(g, k, next, err), r);
		return r;
	case AST_REP:
		return rep_to_grammar(g, t, next, err);
	case AST_REF:
		return gb_call(g, t->ref, next);
	case AST_BEGIN:
	case AST_END:
		break;
	}
	BUG("an anchor in a grammar");
}
