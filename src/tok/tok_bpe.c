/* Byte-pair encoding with ranked merges (Sennrich et al. 2016; the byte map is GPT-2's). Two symbols merge when "left right"
 * is a line of the file's list, and the line's number is the rank: pairs are found by their texts, straight in the list. */
#include <string.h>

#include "base/utf8.h"
#include "tok/tok_priv.h"

struct tok_bpe {
	struct tok_table merges; /* by rank */
	bool has_merges;         /* false: a token's id is its rank */
	bool byte_map;
};

/* ---- GPT-2's byte map: 188 bytes stand for themselves, 0-32, 127-160 and 173 for U+0100 and up ---- */

#define CP_LOW 256u
#define CP_HIGH (CP_LOW + 33)
#define CP_173 (CP_HIGH + 34)

static bool is_plain(uint32_t b)
{
	return (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || (b >= 174 && b <= 255);
}

static uint32_t mapped_cp(unsigned char b)
{
	uint32_t cp = b < 33 ? CP_LOW + b : b < 161 ? CP_HIGH + b - 127u : CP_173;
	return is_plain(b) ? b : cp;
}

void tok_bpe_unmap(const char *s, size_t n, struct str *out)
{
	uint32_t cp;
	for (size_t i = 0, len; i < n; i += len) {
		len = utf8_next(s + i, n - i, &cp);
		if (is_plain(cp))
			str_addc(out, (char)cp);
		else if (cp >= CP_LOW && cp < CP_HIGH)
			str_addc(out, (char)(cp - CP_LOW));
		else if (cp >= CP_HIGH && cp < CP_173)
			str_addc(out, (char)(cp - CP_HIGH + 127));
		else if (cp == CP_173)
			str_addc(out, (char)173);
		else
			str_add(out, s + i, len); /* not of the map: a token stored as plain text */
	}
}

/* ---- building ---- */

int tok_bpe_new(const struct gguf *g, const struct tok *t, struct tok_bpe **ret, struct err *err)
{
	struct tok_bpe *b = mem_zalloc(sizeof *b);
	const struct gguf_kv *kv = gguf_find(g, "tokenizer.ggml.merges");
	b->byte_map = !(t->pre->flags & PRE_NO_BYTE_MAP);
	int rc = kv ? tok_table_init(&b->merges, kv, "merge", err) : 0;
	if (rc) {
		tok_bpe_free(b);
		return rc;
	}
	b->has_merges = kv != NULL;
	*ret = b;
	return 0;
}

void tok_bpe_free(struct tok_bpe *b)
{
	if (!b)
		return;
	tok_table_release(&b->merges);
	mem_free(b);
}

/* ---- encoding ---- */

struct coding {
	const struct tok *t;
	const struct tok_bpe *b;
	const char *text; /* what the symbols' offsets count in */
	struct str *line; /* scratch */
};

/* A left part with a space would be cut elsewhere in the list, but no symbol has one: both spellings replace spaces. */
static bool rank_by_table(void *ctx, const struct merge_sym *left, const struct merge_sym *right, uint32_t *ret_key,
	int32_t *ret_id)
{
	const struct coding *c = ctx;
	if ((size_t)left->n + right->n + 1 > c->b->merges.max_bytes)
		return false;
	str_clear(c->line);
	str_add(c->line, c->text + left->off, left->n);
	str_addc(c->line, ' ');
	str_add(c->line, c->text + right->off, right->n);
	int rank = tok_table_find(&c->b->merges, c->line->data, c->line->len);
	if (rank < 0)
		return false;
	*ret_key = (uint32_t)rank;
	*ret_id = -1;
	return true;
}

static bool rank_by_id(void *ctx, const struct merge_sym *left, const struct merge_sym *right, uint32_t *ret_key,
	int32_t *ret_id)
{
	const struct coding *c = ctx;
	*ret_id = tok_table_find(&c->t->texts, c->text + left->off, left->n + right->n);
	*ret_key = (uint32_t)*ret_id;
	return *ret_id >= 0;
}

/* The piece in the vocabulary's spelling. */
static void spell(const struct tok_bpe *b, const char *s, size_t n, struct str *out)
{
	str_clear(out);
	for (size_t i = 0; i < n; i++) {
		if (b->byte_map)
			str_add_cp(out, mapped_cp((unsigned char)s[i]));
		else if (s[i] == ' ')
			str_add(out, TOK_SPACE, TOK_SPACE_BYTES);
		else
			str_addc(out, s[i]);
	}
}

/* What merged to a text that is no token: its bytes. Bytes without a token are dropped, as every engine does. */
static void emit_bytes(const struct coding *c, const char *s, size_t n, struct ids *out)
{
	uint32_t cp;
	if (!c->b->byte_map) {
		tok_byte_fallback(c->t, s, n, out);
		return;
	}
	for (size_t i = 0, len; i < n; i += len) {
		len = utf8_next(s + i, n - i, &cp);
		int id = tok_table_find(&c->t->texts, s + i, len);
		if (id >= 0)
			vec_push(out, id);
	}
}

static void encode_piece(const struct tok *t, const char *s, size_t n, struct tok_scratch *sc, struct ids *out)
{
	const struct tok_bpe *b = t->bpe;
	unsigned flags = t->pre->flags;
	bool whole = (flags & PRE_IGNORE_MERGES) || ((flags & PRE_NEWLINE_WHOLE) && s[0] == '\n');
	uint32_t cp;
	spell(b, s, n, &sc->text);
	int id = whole ? tok_table_find(&t->texts, sc->text.data, sc->text.len) : -1;
	if (id >= 0) {
		vec_push(out, id);
		return;
	}
	struct coding c = {t, b, sc->text.data, &sc->line};
	merge_clear(&sc->merge);
	for (size_t i = 0, len; i < sc->text.len; i += len) {
		len = utf8_next(sc->text.data + i, sc->text.len - i, &cp);
		merge_add(&sc->merge, len, -1);
	}
	merge_run(&sc->merge, b->has_merges ? rank_by_table : rank_by_id, &c);
	for (int32_t i = 0; i != MERGE_NONE; i = sc->merge.syms.data[i].next) {
		const struct merge_sym *sym = &sc->merge.syms.data[i];
		id = tok_table_find(&t->texts, c.text + sym->off, sym->n);
		if (id >= 0)
			vec_push(out, id);
		else
			emit_bytes(&c, c.text + sym->off, sym->n, out);
	}
}

int tok_bpe_encode(const struct tok *t, const char *s, size_t n, struct tok_scratch *sc, struct ids *out, struct err *err)
{
	int rc = pretok_split(t->pretok, s, n, &sc->cuts, err);
	for (size_t i = 0, at = 0; !rc && i < sc->cuts.ends.n; i++) {
		size_t end = sc->cuts.ends.data[i];
		encode_piece(t, s + at, end - at, sc, out);
		at = end;
	}
	return rc;
}
