/* tok_pretok: the first cut of text for BPE: a list of regular expressions by the name in `tokenizer.ggml.pre`. Each
 * cuts all pieces that the ones before it made; stretches without a match stay pieces. Bytes that are not valid UTF-8
 * are pieces of their own, which no expression sees.
 *
 * Constant after pretok_new: any thread may use it (match data are made per call). Regular expressions run under limits;
 * they are written so that hostile text cannot make them slow, and the limit is the second line of defence. */
#ifndef CRIA_TOK_PRETOK_H
#define CRIA_TOK_PRETOK_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/vec.h"

enum pretok_flags {
	PRE_IGNORE_MERGES = 1, /* a piece that is a token is taken whole */
	PRE_ADD_BOS = 2,
	PRE_ADD_SEP = 4,
	PRE_KEEP_SPACES = 8,    /* detokenizing does not clean up spaces */
	PRE_NO_BOS = 16,        /* the model has no BOS, whatever the metadata say */
	PRE_NO_BYTE_MAP = 32,   /* tokens are plain text, spaces are U+2581 */
	PRE_NEWLINE_WHOLE = 64, /* as PRE_IGNORE_MERGES, for newline runs only */
	PRE_LSTRIP_MASK = 128,  /* the mask token swallows the white space before it */
};

struct pretok_row {
	const char *name;
	const char *const *steps; /* NULL-terminated: regular expressions, or "@name" for a cut that is a function */
	unsigned flags;
};

struct pretok;

struct pretok_cuts {
	VEC(uint32_t) ends; /* where each piece ends; the first starts at 0 */
	VEC(uint32_t) next; /* scratch */
};

/* NULL for unknown names. */
const struct pretok_row *pretok_find(const char *name, size_t n);
int pretok_new(const struct pretok_row *row, struct pretok **ret, struct err *err);
void pretok_free(struct pretok *p);
/* Cuts text into pieces (n below 4 GiB). ERR_LIMIT when an expression needs too much. */
int pretok_split(const struct pretok *p, const char *s, size_t n, struct pretok_cuts *cuts, struct err *err);
void pretok_cuts_release(struct pretok_cuts *cuts);

/* All rows of the table, for tests. */
const struct pretok_row *pretok_table(size_t *ret_n);

#endif
