/* vocab_build: small vocabularies as GGUF files in memory, for the tests and the fuzzer of tok. Call vb_start, add keys,
 * then vb_tok loads the tokenizer, and vb_free ends it and its file. */
#ifndef VOCAB_BUILD_H
#define VOCAB_BUILD_H

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "base/utf8.h"
#include "tok/tok.h"

struct vb {
	struct str kv;                 /* the metadata so far */
	uint64_t n_kv;
	struct str texts, scores, types; /* elements of the three arrays */
	uint64_t n_tok;
	struct str merges;
	uint64_t n_merge;
};

static inline void vb_u32(struct str *s, uint32_t v)
{
	str_add(s, &v, 4);
}

static inline void vb_u64(struct str *s, uint64_t v)
{
	str_add(s, &v, 8);
}

static inline void vb_bytes(struct str *s, const void *p, size_t n)
{
	vb_u64(s, n);
	str_add(s, p, n);
}

static inline void vb_key(struct vb *v, const char *key, uint32_t type)
{
	vb_bytes(&v->kv, key, strlen(key));
	vb_u32(&v->kv, type);
	v->n_kv++;
}

static inline void vb_str(struct vb *v, const char *key, const char *val)
{
	vb_key(v, key, 8);
	vb_bytes(&v->kv, val, strlen(val));
}

static inline void vb_int(struct vb *v, const char *key, int32_t val)
{
	vb_key(v, key, 5);
	vb_u32(&v->kv, (uint32_t)val);
}

static inline void vb_bool(struct vb *v, const char *key, bool val)
{
	vb_key(v, key, 7);
	str_addc(&v->kv, val);
}

static inline void vb_array(struct vb *v, const char *key, uint32_t elem_type, uint64_t n, const struct str *elems)
{
	vb_key(v, key, 9);
	vb_u32(&v->kv, elem_type);
	vb_u64(&v->kv, n);
	str_add(&v->kv, str_cstr(elems), elems->len);
}

/* Returns the new token's id. */
static inline int vb_token(struct vb *v, const void *text, size_t n, float score, enum tok_attr type)
{
	vb_bytes(&v->texts, text, n);
	str_add(&v->scores, &score, 4);
	vb_u32(&v->types, type);
	return (int)v->n_tok++;
}

static inline int vb_word(struct vb *v, const char *text, float score)
{
	return vb_token(v, text, strlen(text), score, TOK_NORMAL);
}

static inline void vb_merge(struct vb *v, const char *line)
{
	vb_bytes(&v->merges, line, strlen(line));
	v->n_merge++;
}

/* What tokenizers that are not freed yet borrow their texts from. */
struct vb_file {
	struct tok *t; /* NULL: free place */
	struct gguf *g;
	void *data;
};

static struct vb_file vb_files[16];

static inline void vb_drop(struct vb_file *f)
{
	tok_free(f->t);
	gguf_close(f->g);
	mem_free(f->data);
	*f = (struct vb_file){0};
}

/* Takes the file over; one without a tokenizer goes at once. */
static inline void vb_keep(struct vb_file f)
{
	struct vb_file *to = vb_files;
	while (f.t && to->t)
		to++;
	if (f.t)
		*to = f;
	else
		vb_drop(&f);
}

static inline void vb_free(struct tok *t)
{
	for (size_t i = 0; t && i < sizeof vb_files / sizeof *vb_files; i++)
		if (vb_files[i].t == t)
			vb_drop(&vb_files[i]);
}

/* Closes the arrays and returns the tokenizer, or NULL with err set. The builder is empty afterwards. */
static inline struct tok *vb_tok(struct vb *v, struct err *err)
{
	struct str file = {0};
	struct gguf *g = NULL;
	struct tok *t = NULL;
	if (v->n_tok) {
		vb_array(v, "tokenizer.ggml.tokens", 8, v->n_tok, &v->texts);
		vb_array(v, "tokenizer.ggml.scores", 6, v->n_tok, &v->scores);
		vb_array(v, "tokenizer.ggml.token_type", 5, v->n_tok, &v->types);
	}
	if (v->n_merge)
		vb_array(v, "tokenizer.ggml.merges", 8, v->n_merge, &v->merges);
	str_adds(&file, "GGUF");
	vb_u32(&file, 3);
	vb_u64(&file, 0);
	vb_u64(&file, v->n_kv);
	str_add(&file, str_cstr(&v->kv), v->kv.len);
	while (file.len % 64)
		str_addc(&file, 0);
	void *data = mem_try_aligned(64, file.len);
	memcpy(data, file.data, file.len);
	if (gguf_open_mem(data, file.len, &g, err) == 0 && tok_new(g, &t, err) != 0)
		t = NULL;
	vb_keep((struct vb_file){t, g, data});
	str_release(&file);
	str_release(&v->kv);
	str_release(&v->texts);
	str_release(&v->scores);
	str_release(&v->types);
	str_release(&v->merges);
	memset(v, 0, sizeof *v);
	return t;
}

/* The printable character that byte-level BPE writes for a byte. */
static inline size_t vb_mapped(int byte, char out[4])
{
	uint32_t next = 256, cp = 0;
	for (int b = 0; b <= byte; b++) {
		bool plain = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
		cp = plain ? (uint32_t)b : next++;
	}
	return utf8_encode(cp, out);
}

/* Ids 0-255 are the bytes in order. */
static inline void vb_mapped_bytes(struct vb *v)
{
	char buf[4];
	for (int b = 0; b < 256; b++)
		vb_token(v, buf, vb_mapped(b, buf), 0, TOK_NORMAL);
}

static inline void vb_byte_tokens(struct vb *v)
{
	char buf[8];
	for (int b = 0; b < 256; b++)
		vb_token(v, buf, (size_t)snprintf(buf, sizeof buf, "<0x%02X>", (unsigned)b), 0, TOK_BYTE);
}

/* Byte-level BPE: bytes, ten merged words, then control, user-defined and end tokens. */
static inline void vb_bpe(struct vb *v, const char *pre)
{
	static const char *const merges[] = {"t h", "th e", "\xC4\xA0 the", "a a", "aa aa", "i n", "in g", "0 0", "\xC4\xA0 \xC4\xA0",
		"\xC4\x8A \xC4\x8A"};
	vb_str(v, "tokenizer.ggml.model", "gpt2");
	if (pre)
		vb_str(v, "tokenizer.ggml.pre", pre);
	vb_mapped_bytes(v);
	for (size_t i = 0; i < sizeof merges / sizeof *merges; i++) {
		char word[16];
		size_t n = 0;
		for (const char *p = merges[i]; *p; p++)
			if (*p != ' ')
				word[n++] = *p;
		vb_token(v, word, n, 0, TOK_NORMAL);
		vb_merge(v, merges[i]);
	}
	vb_token(v, "<|x|>", 5, 0, TOK_CONTROL);        /* 266 */
	vb_token(v, "<|x|>y", 6, 0, TOK_CONTROL);       /* 267 */
	vb_token(v, "<u>", 3, 0, TOK_USER);             /* 268 */
	vb_token(v, "<|im_end|>", 10, 0, TOK_NORMAL);   /* 269 */
	vb_int(v, "tokenizer.ggml.bos_token_id", 266);
	vb_int(v, "tokenizer.ggml.eos_token_id", 267);
}

/* SentencePiece: <unk> <s> </s>, bytes from id 3, pieces from 259. */
static inline void vb_spm(struct vb *v)
{
	static const char *const pieces[] = {"\xE2\x96\x81", "a", "b", "t", "h", "e", "aa", "aaaa", "th", "the", "\xE2\x96\x81the",
		"\xE2\x96\x81\xE2\x96\x81", "he", "\xC3\xA9"};
	vb_str(v, "tokenizer.ggml.model", "llama");
	vb_token(v, "<unk>", 5, 0, TOK_UNKNOWN);
	vb_token(v, "<s>", 3, 0, TOK_CONTROL);
	vb_token(v, "</s>", 4, 0, TOK_CONTROL);
	vb_byte_tokens(v);
	for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++)
		vb_word(v, pieces[i], -(float)i);
	vb_token(v, "<u>", 3, 0, TOK_USER);
}

/* WordPiece: the five special tokens, then word starts and continuations. */
static inline void vb_wpm(struct vb *v)
{
	static const char *const specials[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
	static const char *const words[] = {"\xE2\x96\x81hello", "\xE2\x96\x81" "a", "\xE2\x96\x81" "b", "a", "b", "ing",
		"\xE2\x96\x81play",
		"\xE2\x96\x81,", "\xE2\x96\x81\xE4\xB8\xAD", "\xE2\x96\x81" "cafe", "\xE2\x96\x81\xE1\x84\x80", "\xE1\x85\xA1"};
	vb_str(v, "tokenizer.ggml.model", "bert");
	for (size_t i = 0; i < 5; i++)
		vb_token(v, specials[i], 5 + (i == 4), 0, i == 1 ? TOK_UNKNOWN : TOK_CONTROL);
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		vb_word(v, words[i], 0);
	vb_int(v, "tokenizer.ggml.cls_token_id", 2);
	vb_int(v, "tokenizer.ggml.seperator_token_id", 3);
	vb_int(v, "tokenizer.ggml.eos_token_id", 3);
	vb_int(v, "tokenizer.ggml.unknown_token_id", 1);
	vb_int(v, "tokenizer.ggml.padding_token_id", 0);
}

/* BPE without byte map: <pad> <eos> <bos> <unk>, bytes from id 4, then pieces. */
static inline void vb_plain_bpe(struct vb *v)
{
	static const char *const pieces[] = {"\xE2\x96\x81", "a", "t", "h", "e", "th", "the", "\xE2\x96\x81the", "\n", "\n\n"};
	vb_str(v, "tokenizer.ggml.model", "gemma4");
	vb_token(v, "<pad>", 5, 0, TOK_CONTROL);
	vb_token(v, "<eos>", 5, 0, TOK_CONTROL);
	vb_token(v, "<bos>", 5, 0, TOK_CONTROL);
	vb_token(v, "<unk>", 5, 0, TOK_UNKNOWN);
	vb_byte_tokens(v);
	for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++)
		vb_word(v, pieces[i], 0);
	vb_merge(v, "t h");
	vb_merge(v, "th e");
	vb_merge(v, "\xE2\x96\x81 the");
}

#endif
