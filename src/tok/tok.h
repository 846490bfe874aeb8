/* tok: text to token ids and back, from a model's own vocabulary (GGUF keys `tokenizer.ggml.*`). Models: `gpt2` and `gemma4`
 * (BPE), `llama` (SentencePiece), `bert` (WordPiece).
 *
 * Owner: the caller of tok_new frees it; the texts stay in the gguf, which must live longer. After tok_new everything is constant and any
 * thread may use it (PCRE2 match data is per call). All inputs are hostile: text of any bytes, ids of any value. */
#ifndef CRIA_TOK_H
#define CRIA_TOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "base/vec.h"
#include "gguf/gguf.h"

enum tok_attr { TOK_NORMAL = 1, TOK_UNKNOWN, TOK_CONTROL, TOK_USER, TOK_UNUSED, TOK_BYTE };

struct tok;

/* ERR_UNSUPPORTED names the tokenizer model and what is supported; ERR_FORMAT for bad data. An unknown pre-tokenizer falls
 * back to the default one with a warning in the log. */
int tok_new(const struct gguf *g, struct tok **ret, struct err *err);
void tok_free(struct tok *t);

int tok_n_vocab(const struct tok *t);
/* -1 where the model has none. */
int tok_bos(const struct tok *t);
int tok_eos(const struct tok *t);
int tok_eot(const struct tok *t);
bool tok_add_bos(const struct tok *t);
bool tok_add_eos(const struct tok *t); /* EOS or separator */
/* FIM ids, -1 where the model has none. */
int tok_fim_pre(const struct tok *t);
int tok_fim_suf(const struct tok *t);
int tok_fim_mid(const struct tok *t);
bool tok_is_eog(const struct tok *t, int id); /* end of generation */
enum tok_attr tok_attr(const struct tok *t, int id);
/* Token text as the file has it; NULL for an id out of range. */
const char *tok_text(const struct tok *t, int id, size_t *ret_n);
/* The id whose stored text this is, or -1. */
int tok_find(const struct tok *t, const char *text, size_t n);

enum tok_flags { TOK_ADD_SPECIAL = 1, TOK_PARSE_SPECIAL = 2 };
/* Appends the ids of text to out. ERR_LIMIT for regex limits; otherwise never fails for any bytes. */
int tok_encode(const struct tok *t, const char *text, size_t n, unsigned flags, struct ids *out, struct err *err);
/* Appends the bytes one token stands for (nothing for control and unknown tokens unless `special`). */
void tok_piece(const struct tok *t, int id, bool special, struct str *out);
/* Whole-sequence text of ids, control tokens left out unless `special`; may hold invalid UTF-8. Where the model puts a space
 * before every text, that space is dropped; where its words are stored with spaces, those before punctuation are. */
void tok_decode(const struct tok *t, const int *ids, size_t n, bool special, struct str *out);

/* Streaming detokenizer: never emits half a character. Invalid bytes come out as U+FFFD. detok_init is for a text that starts
 * with the first token; set first = false when the tokens continue a text (generation after a prompt), else models that put
 * a space before every text lose the space of the first word. */
struct detok {
	const struct tok *t;
	struct str held; /* bytes of an unfinished character */
	bool first;      /* the next token starts the text: its leading space is dropped by the rule of tok_decode */
	bool special;
};
void detok_init(struct detok *d, const struct tok *t, bool special);
void detok_release(struct detok *d);
void detok_push(struct detok *d, int id, struct str *out); /* appends complete characters */
void detok_flush(struct detok *d, struct str *out);        /* the held rest, as U+FFFD */

#endif
