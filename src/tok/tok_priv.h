/* tok_priv: what the files of this folder share: the loaded vocabulary and the entry points of the algorithms. Nobody
 * outside tok/ includes it.
 *
 * Owner: struct tok owns everything it points to but the texts, which lie in the model file. Constant after tok_new, so that any thread may read it; what an encoding
 * needs for itself is a struct tok_scratch of the call. */
#ifndef CRIA_TOK_PRIV_H
#define CRIA_TOK_PRIV_H

#include "tok/tok.h"
#include "tok/tok_merge.h"
#include "tok/tok_pretok.h"
#include "tok/tok_table.h"

/* U+2581, which stands for a space in SentencePiece and WordPiece vocabularies. */
#define TOK_SPACE "\xE2\x96\x81"
enum { TOK_SPACE_BYTES = 3 };

/* Longest text of one encoding: all offsets then fit 32 bits, also when every space grows to three bytes. */
#define TOK_TEXT_MAX_BYTES ((size_t)1 << 29)

enum tok_model { TOK_SPM, TOK_BPE, TOK_WPM };

struct tok_entry {
	uint8_t attr; /* enum tok_attr */
	bool eog;
	bool lstrip, rstrip; /* white space before or after the token belongs to it */
};

struct tok {
	enum tok_model model;
	int n_vocab;
	struct tok_table texts;    /* of the tokens, by id */
	struct tok_entry *entries; /* [n_vocab] */
	float *scores;             /* [n_vocab], SPM; else NULL */
	int byte_id[256];          /* the token of one byte (SPM, BPE without byte map), or -1 */

	int bos, eos, eot, eom, unk, sep;
	int fim_pre, fim_suf, fim_mid, fim_pad, fim_rep, fim_sep;
	bool add_bos, add_eos, add_sep, add_space_prefix, clean_spaces;
	bool lowercase, strip_accents; /* WPM */

	const struct pretok_row *pre; /* BPE; in the static table */
	struct pretok *pretok;        /* BPE */
	struct tok_bpe *bpe;          /* BPE */
	struct tok_special *special;
};

/* What one tok_encode call needs for itself. */
struct tok_scratch {
	struct merge merge;
	struct str text;       /* the text in the vocabulary's spelling */
	struct str line;       /* a pair as the list of merges spells it */
	struct pretok_cuts cuts;
};

/* ---- tok_eog.c: names of special tokens (found by text where the metadata are silent) and the end-of-generation set ---- */
void tok_eog_build(struct tok *t);

/* ---- tok_special.c: cutting text at special tokens ---- */
struct tok_special;
/* A trie over all control, unknown and user-defined tokens. ERR_NOMEM. */
int tok_special_new(const struct tok *t, struct tok_special **ret, struct err *err);
void tok_special_free(struct tok_special *sp);
/* The first special token at or after from: the longest at that place. User-defined ones only unless parse. Returns the
 * id and where it lies, or -1. */
int tok_special_find(const struct tok *t, const char *s, size_t n, size_t from, bool parse, size_t *ret_at,
	size_t *ret_n);

/* ---- the algorithms: each appends the ids of one stretch without special tokens ---- */
int tok_bpe_new(const struct gguf *g, const struct tok *t, struct tok_bpe **ret, struct err *err);
void tok_bpe_free(struct tok_bpe *b);
int tok_bpe_encode(const struct tok *t, const char *s, size_t n, struct tok_scratch *sc, struct ids *out, struct err *err);
/* The bytes a byte-mapped token text stands for. */
void tok_bpe_unmap(const char *s, size_t n, struct str *out);
void tok_spm_encode(const struct tok *t, const char *s, size_t n, struct tok_scratch *sc, struct ids *out);
void tok_wordpiece_encode(const struct tok *t, const char *s, size_t n, struct tok_scratch *sc, struct ids *out);
/* The tokens of bytes that no token covers: one <0xXX> each, or the unknown token once, or nothing. */
void tok_byte_fallback(const struct tok *t, const char *s, size_t n, struct ids *out);

/* ---- detok.c ---- */
/* As tok_piece, with the leading-space rule of a text that starts with this token while *first. */
void tok_piece_at(const struct tok *t, int id, bool special, bool *first, struct str *out);

#endif
