/* grammar_dfa: finite automata over bytes: sets of code points, nondeterministic automata with anchors, and the
 * deterministic ones that a grammar runs. All building is charged to a budget, so that hostile patterns end in an error.
 *
 * A nondeterministic automaton is built from its end to its beginning: each function takes the node that follows and
 * returns the node that leads there; node 0 is the match. A deterministic one is trimmed: from each of its states the end
 * can be reached. */
#ifndef CRIA_ENGINE_GRAMMAR_DFA_H
#define CRIA_ENGINE_GRAMMAR_DFA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/vec.h"

/* Steps of work that may still be done; a step is some nanoseconds. Below zero: over the limit. */
struct grammar_budget {
	int64_t left;
};
enum { GRAMMAR_BUDGET = 40 * 1000 * 1000 };
bool grammar_spend(struct grammar_budget *b, int64_t n);
/* ERR_INVALID: too complex. */
int grammar_budget_err(struct err *err);

#define CP_MAX 0x10FFFFu
struct cprange {
	uint32_t lo, hi;
};
/* Sorted, disjoint, not adjacent after cpset_normalize. */
struct cpset {
	struct cprange *data;
	size_t n, cap;
};
void cpset_add(struct cpset *s, uint32_t lo, uint32_t hi);
void cpset_normalize(struct cpset *s);
void cpset_invert(struct cpset *s); /* of a normalized set */
void cpset_release(struct cpset *s);

enum nfa_kind { NFA_MATCH, NFA_RANGE, NFA_SPLIT, NFA_BEGIN, NFA_END };
struct nfa_node {
	uint8_t kind, lo, hi;
	uint32_t next, alt;
};
struct nfa {
	struct nfa_node *data;
	size_t n, cap;
	bool full; /* a node was refused; what was built is useless */
};
enum { NFA_NODE_MAX = 400 * 1000 };

void nfa_init(struct nfa *a);
void nfa_release(struct nfa *a);
uint32_t nfa_range(struct nfa *a, uint8_t lo, uint8_t hi, uint32_t next);
uint32_t nfa_split(struct nfa *a, uint32_t x, uint32_t y);
/* Matches only where nothing was read yet (NFA_BEGIN) or where nothing follows (NFA_END). */
uint32_t nfa_anchor(struct nfa *a, enum nfa_kind kind, uint32_t next);
uint32_t nfa_bytes(struct nfa *a, const char *s, size_t n, uint32_t next);
/* One code point of the set as UTF-8 (surrogates left out). */
uint32_t nfa_cpset(struct nfa *a, const struct cpset *s, uint32_t next);
/* One code point of the set as it is written inside a JSON string: quote, backslash and control characters by their one
 * usual escape, all others as UTF-8. U+0000 is left out. */
uint32_t nfa_cpset_json(struct nfa *a, const struct cpset *s, uint32_t next);

enum { DFA_ACCEPT = 1, DFA_MORE = 2 }; /* the text may end here; it may go on */
enum { DFA_DEAD = 0xFFFF, DFA_STATE_MAX = 0xF000 };
struct dfa {
	uint8_t cls[256]; /* byte to column */
	int n_cls, n_state; /* state 0 is the start; no states: matches nothing */
	uint16_t *next;   /* [n_state][n_cls], DFA_DEAD: no way on */
	uint8_t *flags;   /* [n_state] */
};
void dfa_release(struct dfa *d);
static inline uint32_t dfa_step(const struct dfa *d, uint32_t state, uint8_t byte)
{
	return d->next[state * (uint32_t)d->n_cls + d->cls[byte]];
}
bool dfa_matches(const struct dfa *d, const char *s, size_t n);
size_t dfa_bytes(const struct dfa *d);

int nfa_to_dfa(const struct nfa *a, uint32_t start, struct grammar_budget *b, struct dfa *ret, struct err *err);
/* What both accept, or what a accepts and b does not (minus). */
int dfa_product(const struct dfa *a, const struct dfa *b, bool minus, struct grammar_budget *bud, struct dfa *ret, struct err *err);
/* Takes a finished table: drops states that do not lead to the end. Owns next and flags of `d`. */
int dfa_trim(struct dfa *d, struct grammar_budget *b, struct err *err);

#endif
