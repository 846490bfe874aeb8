/* grammar_int: the network that a grammar is, how the compilers (schema, gbnf) build it, and the steps of a state that the
 * mask takes. Shared by the grammar*, schema*, gbnf and mask files alone.
 *
 * Networks are built from their end to their beginning, as grammar_dfa's automata are: each gb_ function takes the node
 * that follows. Rules end in GB_RET. A loop is a split made first and closed with gb_close. */
#ifndef CRIA_ENGINE_GRAMMAR_INT_H
#define CRIA_ENGINE_GRAMMAR_INT_H

#include "engine/grammar.h"
#include "engine/grammar_dfa.h"

enum node_kind {
	NODE_FAIL,  /* no way on */
	NODE_RET,   /* end of a rule or of the body of a repetition */
	NODE_RANGE, /* one byte of [lo, hi] */
	NODE_SPLIT, /* next or arg */
	NODE_CALL,  /* rule arg, then next */
	NODE_DFA,   /* a text that automaton arg accepts, then next */
	NODE_COUNT, /* counts[arg]: characters of an automaton, then next */
	NODE_REP,   /* reps[arg]: repetitions of a body, then next */
};

struct grammar_node {
	uint8_t kind, lo, hi;
	bool tail; /* NODE_CALL: next is NODE_RET, so nothing need be remembered */
	uint16_t height; /* frames that the shortest way from here to the end of the rule needs; HEIGHT_INF: there is none */
	uint32_t next, arg;
};

#define GRAMMAR_INF UINT32_MAX
struct grammar_count {
	uint32_t dfa, min, max; /* no text of the automaton is the beginning of another; max GRAMMAR_INF: no bound */
};
struct grammar_rep {
	uint32_t body, min, max;
};

enum { HEIGHT_INF = 0xFFFF, HEIGHT_MAX = 100, DEPTH_MAX = 256 }; /* DEPTH_MAX: frames above each other */
enum { GB_FAIL = 0, GB_RET = 1 };   /* nodes 0 and 1 of every grammar */
enum { GB_DFA_CHAR = 0 };           /* automaton 0 of every grammar: one character of a JSON string */

struct grammar {
	struct {
		struct grammar_node *data;
		size_t n, cap;
	} nodes;
	VEC(struct dfa) dfas;
	VEC(struct grammar_count) counts;
	VEC(struct grammar_rep) reps;
	VEC(uint32_t) rules;            /* the node where each starts; rule 0 is the whole text */
	struct grammar_budget budget;   /* of its making */
	size_t dfa_bytes;
};
enum { GRAMMAR_NODE_MAX = 200 * 1000, GRAMMAR_RULE_MAX = 4000, GRAMMAR_DFA_BYTES_MAX = 48 * 1000 * 1000 };

struct grammar *gb_new(void);
/* Nodes over the limit give GB_FAIL and overdraw the budget, which gb_finish reports. */
uint32_t gb_range(struct grammar *g, uint8_t lo, uint8_t hi, uint32_t next);
uint32_t gb_bytes(struct grammar *g, const char *s, size_t n, uint32_t next);
uint32_t gb_lit(struct grammar *g, const char *z, uint32_t next);
uint32_t gb_split(struct grammar *g, uint32_t x, uint32_t y); /* GB_FAIL is no branch */
uint32_t gb_loop(struct grammar *g, uint32_t next);           /* a split whose other branch comes later */
void gb_close(struct grammar *g, uint32_t loop, uint32_t body);
uint32_t gb_call(struct grammar *g, uint32_t rule, uint32_t next);
uint32_t gb_dfa(struct grammar *g, uint32_t dfa, uint32_t next);
uint32_t gb_count(struct grammar *g, uint32_t dfa, uint32_t min, uint32_t max, uint32_t next);
/* body ends in GB_RET. */
uint32_t gb_rep(struct grammar *g, uint32_t body, uint32_t min, uint32_t max, uint32_t next);
uint32_t gb_rule(struct grammar *g); /* a new rule without a start */
/* Takes d over; returns its number. ERR_INVALID when tables get too large. */
int gb_add_dfa(struct grammar *g, struct dfa *d, uint32_t *ret, struct err *err);
/* From an automaton under construction, which is released. */
int gb_add_nfa(struct grammar *g, struct nfa *a, uint32_t start, uint32_t *ret, struct err *err);
/* Finds the heights. ERR_INVALID: over a limit, or nothing matches. */
int gb_finish(struct grammar *g, struct err *err);

/* The automaton of one character of a JSON string, escapes included; no text of it begins another. */
int grammar_char_dfa(struct dfa *ret, struct grammar_budget *b, struct err *err);

/* ---- states ---- */

struct grammar_item {
	uint32_t node, frame; /* frame 0: no caller */
	uint32_t state;       /* NODE_DFA, NODE_COUNT: of the automaton */
	uint32_t count;       /* NODE_COUNT: characters so far, at most min when there is no max */
};
struct grammar_set {
	struct grammar_item *items;
	uint32_t n, cap;
	bool can_end;
};
enum { GRAMMAR_ITEM_MAX = 1024, GRAMMAR_PIECE_MAX = 256, GRAMMAR_WALK_ITEMS = 16 * 1024 };

/* All positions after `byte`; false when there are none and the text is not complete either. */
bool grammar_step(struct grammar_state *s, const struct grammar_set *from, uint8_t byte, struct grammar_set *to);
/* All positions from `node` on without reading. */
void grammar_enter(struct grammar_state *s, uint32_t node, uint32_t frame, struct grammar_set *to);
/* Frames made since the mark are dropped; sets that use them are then void. */
uint32_t grammar_mark(const struct grammar_state *s);
void grammar_unwind(struct grammar_state *s, uint32_t mark);
const struct grammar *grammar_state_grammar(const struct grammar_state *s);
const struct grammar_set *grammar_state_set(const struct grammar_state *s);
/* Room for the sets of a walk: [GRAMMAR_WALK_ITEMS]. */
struct grammar_item *grammar_state_room(struct grammar_state *s);
void grammar_state_end(struct grammar_state *s); /* the end was taken: nothing may follow */
/* The bytes of a token; NULL where it has none (*ret_n 0) or is an end of generation (*ret_n 1). */
const uint8_t *grammar_vocab_piece(const struct grammar_vocab *v, int token, size_t *ret_n);

#endif
