/* tok_table: the strings of one array of the model file, found by number and by text. The strings stay in the file; the
 * table keeps their offsets and a hash table of their numbers, so that building it is one pass without an allocation per
 * string, and what it holds is small: 4 bytes a string and 7 to 14 for finding.
 *
 * Owner: struct tok; the texts are borrowed from the gguf. Constant after tok_table_init: any thread may read. */
#ifndef CRIA_TOK_TABLE_H
#define CRIA_TOK_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "gguf/gguf.h"

/* Most strings: a number and one more fit the low bits of a slot. Longest string: no vocabulary needs longer ones. */
#define TOK_TABLE_MAX (((uint64_t)1 << 24) - 1)
#define TOK_TABLE_TEXT_MAX ((size_t)1 << 29)

struct tok_table {
	const char *base; /* the array in the file; each text follows its length */
	int n;
	uint32_t *offs;   /* [n + 1] where the texts' lengths lie in base: a text ends where the next length begins */
	uint32_t *slots;  /* [n_slot] number + 1 in the low 24 bits (0: empty), above them bits of the hash */
	size_t n_slot;    /* a power of two */
	size_t max_bytes; /* of the longest text */
};

/* kv is an array of strings, `what` one of them ("token"), for messages. ERR_FORMAT, ERR_NOMEM; release it also then. */
int tok_table_init(struct tok_table *t, const struct gguf_kv *kv, const char *what, struct err *err);
void tok_table_release(struct tok_table *t);
/* The text of number i, which must be one of the table; not terminated. */
const char *tok_table_text(const struct tok_table *t, int i, size_t *ret_n);
/* The least number with this text, or -1; the empty text is never found. */
int tok_table_find(const struct tok_table *t, const char *s, size_t n);

#endif
