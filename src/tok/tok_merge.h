/* tok_merge: the merge loop that BPE and SentencePiece share: repeatedly join the adjacent pair of symbols with the lowest
 * key (of equal ones the leftmost) until no pair is left. A linked list and a heap: O(n log n) for n symbols.
 *
 * It does not know what keys and symbols mean: the caller's function does. Not thread-safe: one owner. */
#ifndef CRIA_TOK_MERGE_H
#define CRIA_TOK_MERGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/vec.h"

enum { MERGE_NONE = -1 };

struct merge_sym {
	uint32_t off, n;    /* bytes in the text; n = 0: joined to the one before */
	int32_t prev, next; /* neighbours, MERGE_NONE at the ends */
	int32_t id;         /* the caller's name of the symbol */
};

struct merge_pair {
	uint32_t key;
	int32_t left, right;
	uint32_t n; /* bytes of both: a pair that no longer fits is stale */
	int32_t id; /* of the joined symbol */
};

struct merge {
	VEC(struct merge_sym) syms; /* syms[0] starts the list and stays in it */
	VEC(struct merge_pair) heap;
};

/* True when the two adjacent symbols may be joined; then key and id of the joined symbol. */
typedef bool merge_rank_fn(void *ctx, const struct merge_sym *left, const struct merge_sym *right, uint32_t *ret_key,
	int32_t *ret_id);

void merge_release(struct merge *m);
void merge_clear(struct merge *m);
/* Appends a symbol behind the last one; its text follows the last one's. */
void merge_add(struct merge *m, size_t n_bytes, int32_t id);
void merge_run(struct merge *m, merge_rank_fn *rank, void *ctx);

#endif
