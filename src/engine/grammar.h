/* grammar: holds what a sequence writes to a language. A grammar is made from a JSON schema, from "any JSON object" or from
 * GBNF text; a state follows one text through it byte by byte and says which tokens may come next.
 *
 * It is not a parser: no tree comes out, only yes or no. It knows tokens as the bytes they stand for.
 *
 * A grammar is a recursive network over bytes: ranges, finite automata, calls of rules and counted repetitions. A state is
 * the set of all positions that the text may be at, each with its stack of callers.
 *
 * 1. Whatever a state accepted can be completed: branches that cannot end are removed when the grammar is made, and a call
 *    is refused where its shortest completion would nest too deep.
 * 2. Everything is bounded: compiling by a work budget (ERR_INVALID names the limit), a state by fixed arrays. Where they
 *    are full, further alternatives are refused.
 *
 * Owner: grammars and vocabularies are constant once made and shared by any thread; both outlive the states that use them.
 * A state belongs to one thread at a time and allocates nothing after grammar_state_new. */
#ifndef CRIA_ENGINE_GRAMMAR_H
#define CRIA_ENGINE_GRAMMAR_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct tok;
struct grammar;
struct grammar_vocab;
struct grammar_state;

/* A value that conforms to the schema, its properties in the order of the schema. ERR_INVALID names the keyword that cannot
 * be honoured by its path ("#/properties/age/multipleOf: ..."). */
int grammar_from_schema(const json_t *schema, struct grammar **ret, struct err *err);
/* Any JSON object. */
int grammar_from_json(struct grammar **ret, struct err *err);
/* A grammar in GBNF, start rule "root". ERR_INVALID names the line. */
int grammar_from_gbnf(const char *text, size_t n, struct grammar **ret, struct err *err);
void grammar_free(struct grammar *g);

/* The token pieces of a model as a tree; made once per model. tok is not kept. */
struct grammar_vocab *grammar_vocab_new(const struct tok *tok);
/* The same from pieces: token i has the bytes bytes[offs[i] .. offs[i + 1]); eog[i] marks the ends of generation. */
struct grammar_vocab *grammar_vocab_from_pieces(const uint8_t *bytes, const uint32_t *offs, const bool *eog, int n_vocab);
void grammar_vocab_free(struct grammar_vocab *v);
/* 32-bit words of a mask. */
size_t grammar_vocab_n_words(const struct grammar_vocab *v);

/* NULL when there is not enough memory. */
struct grammar_state *grammar_state_new(const struct grammar *g);
void grammar_state_free(struct grammar_state *s);
struct grammar_state *grammar_state_clone(const struct grammar_state *s);
/* dst and src are states of the same grammar; allocates nothing. */
void grammar_state_copy(struct grammar_state *dst, const struct grammar_state *src);

/* Sets bit i of bits[grammar_vocab_n_words] where token i may come next. Returns the number of such tokens; 0 when the
 * text cannot go on (the vocabulary lacks the bytes, or the end was taken). */
int grammar_state_mask(struct grammar_state *s, const struct grammar_vocab *v, uint32_t *bits);
/* Raw logits of n_logit tokens with all but the allowed ones at -inf. Tokens that the vocabulary does not have are not
 * allowed: a model may have more rows than tokens. */
void grammar_mask_apply(const struct grammar_vocab *v, const uint32_t *bits, const float *logits, int n_logit, float *out);
/* Takes a token. False, with the state unchanged, when it may not come next. An end of generation may come where the text
 * can end; nothing may come after it. */
bool grammar_state_accept(struct grammar_state *s, const struct grammar_vocab *v, int token);
/* The same for bytes: all or nothing. */
bool grammar_state_accept_bytes(struct grammar_state *s, const void *p, size_t n);
/* The text so far is complete. */
bool grammar_state_can_end(const struct grammar_state *s);
/* The text is complete and nothing can follow. */
bool grammar_state_done(const struct grammar_state *s);

#endif
