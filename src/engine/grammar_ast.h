/* grammar_ast: a pattern as a tree, which the parsers of regular expressions and of GBNF make, and its translation to an
 * automaton or to nodes of a grammar. */
#ifndef CRIA_ENGINE_GRAMMAR_AST_H
#define CRIA_ENGINE_GRAMMAR_AST_H

#include "base/arena.h"
#include "engine/grammar_int.h"

enum ast_kind {
	AST_EMPTY,
	AST_SET,  /* one code point of set */
	AST_CAT,  /* the kids, the last first */
	AST_ALT,  /* one of the kids */
	AST_REP,  /* the kid, min to max times */
	AST_REF,  /* rule ref */
	AST_BEGIN, AST_END,
};

struct ast {
	enum ast_kind kind;
	struct ast *kid, *sib; /* first kid; next kid of the same parent */
	uint32_t min, max;     /* AST_REP; max GRAMMAR_INF: no bound */
	uint32_t ref;
	struct cpset set;      /* data in the arena */
};

enum { AST_DEPTH_MAX = 100, AST_REP_MAX = 100 * 1000, AST_BYTES_MAX = 16 * 1000 * 1000 };

/* NULL when the arena is full. */
struct ast *ast_new(struct arena *a, enum ast_kind kind);
/* Normalizes and copies the set, which is released. */
struct ast *ast_set(struct arena *a, struct cpset *set);
struct ast *ast_char(struct arena *a, uint32_t cp);
/* Puts kid in front of the kids of parent. */
static inline void ast_push(struct ast *parent, struct ast *kid)
{
	kid->sib = parent->kid;
	parent->kid = kid;
}

/* Characters as they are written in JSON strings. There may be no AST_REF. */
uint32_t ast_to_nfa(struct nfa *n, const struct ast *t, uint32_t next);
/* Characters as UTF-8. There may be no anchors. */
uint32_t ast_to_grammar(struct grammar *g, const struct ast *t, uint32_t next, struct err *err);

#endif
