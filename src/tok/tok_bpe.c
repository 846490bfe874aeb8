/* Byte-pair encoding with ranked merges (Sennrich et al. 2016; the byte map is GPT-2's). Symbols are numbered: a token's
 * id, or n_vocab and up for texts that occur in merges only. */
#include <string.h>

#include "base/utf8.h"
#include "tok/tok_priv.h"

/* More merges than any vocabulary has; symbol numbers then fit 31 bits. */
#define MERGES_MAX ((uint64_t)1 << 26)

struct pair {
	int32_t left, right; /* left < 0: empty slot */
	uint32_t rank;
	int32_t joined;
};

struct tok_bpe {
	struct pair *pairs; /* [n_slot], open addressing, n_slot a power of two; NULL: a token's id is its rank */
	size_t n_slot;
	struct map extra;      /* texts in merges that are no tokens, to their symbols */
	int32_t byte_sym[256]; /* symbol of a byte's mapped character; -1: in no token and no merge */
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

static int32_t symbol_of(const struct tok *t, const struct tok_bpe *b, const char *s, size_t n)
{
	union map_val *v = map_get(&t->ids, s, n);
	if (!v)
		v = map_get(&b->extra, s, n);
	return v ? (int32_t)v->i : -1;
}

static int32_t symbol_add(const struct tok *t, struct tok_bpe *b, const char *s, size_t n)
{
	int32_t sym = symbol_of(t, b, s, n);
	if (sym < 0) {
		sym = t->n_vocab + (int32_t)b->extra.n;
		map_put(&b->extra, s, n)->i = sym;
	}
	return sym;
}

/* The slot where the pair is or would go. */
static struct pair *slot_of(const struct tok_bpe *b, int32_t left, int32_t right)
{
	int32_t key[2] = {left, right};
	size_t i = (size_t)map_hash(key, sizeof key) & (b->n_slot - 1);
	while (b->pairs[i].left >= 0 && (b->pairs[i].left != left || b->pairs[i].right != right))
		i = (i + 1) & (b->n_slot - 1);
	return &b->pairs[i];
}

/* One line "left right" of the list; left may itself start with a space. Lines without a second part merge nothing. */
static void add_merge(const struct tok *t, struct tok_bpe *b, struct gguf_str line, uint32_t rank, struct str *joined)
{
	const char *gap = line.n > 1 ? memchr(line.s + 1, ' ', line.n - 1) : NULL;
	size_t n_left = gap ? (size_t)(gap - line.s) : 0, n_right = gap ? line.n - n_left - 1 : 0;
	if (!n_left || !n_right)
		return;
	int32_t left = symbol_add(t, b, line.s, n_left), right = symbol_add(t, b, gap + 1, n_right);
	struct pair *p = slot_of(b, left, right);
	if (p->left >= 0)
		return;
	str_clear(joined);
	str_add(joined, line.s, n_left);
	str_add(joined, gap + 1, n_right);
	*p = (struct pair){left, right, rank, symbol_add(t, b, joined->data, joined->len)};
}

static int load_merges(const struct gguf_kv *kv, const struct tok *t, struct tok_bpe *b, struct err *err)
{
	struct gguf_str_iter it = {0};
	struct gguf_str line;
	struct str joined = {0};
	int rc = 0;
	if (kv->n > MERGES_MAX)
		return err_set(err, ERR_FORMAT, "tokenizer.ggml.merges has %llu entries; at most %llu make sense",
			(unsigned long long)kv->n, (unsigned long long)MERGES_MAX);
	b->n_slot = 64;
	while (b->n_slot < kv->n * 2)
		b->n_slot *= 2;
	b->pairs = mem_try_alloc(b->n_slot * sizeof *b->pairs);
	if (!b->pairs)
		return err_set(err, ERR_NOMEM, "no memory for the %llu merges of the tokenizer", (unsigned long long)kv->n);
	for (size_t i = 0; i < b->n_slot; i++)
		b->pairs[i].left = -1;
	for (uint64_t i = 0; i < kv->n && !rc; i++) {
		rc = gguf_arr_next_str(kv, &it, &line, err);
		if (!rc)
			add_merge(t, b, line, (uint32_t)i, &joined);
	}
	str_release(&joined);
	return rc < 0 ? rc : 0;
}

int tok_bpe_new(const struct gguf *g, const struct tok *t, struct tok_bpe **ret, struct err *err)
{
	struct tok_bpe *b = mem_zalloc(sizeof *b);
	const struct gguf_kv *kv = gguf_find(g, "tokenizer.ggml.merges");
	b->byte_map = !(t->pre->flags & PRE_NO_BYTE_MAP);
	int rc = kv ? load_merges(kv, t, b, err) : 0;
	if (rc) {
		tok_bpe_free(b);
		return rc;
	}
	for (int i = 0; i < 256; i++) {
		char buf[4];
		b->byte_sym[i] = symbol_of(t, b, buf, utf8_encode(mapped_cp((unsigned char)i), buf));
	}
	*ret = b;
	return 0;
}

void tok_bpe_free(struct tok_bpe *b)
{
	if (!b)
		return;
	mem_free(b->pairs);
	map_release(&b->extra);
	mem_free(b);
}

/* ---- encoding ---- */

struct coding {
	const struct tok *t;
	const struct tok_bpe *b;
	const char *text; /* what the symbols' offsets count in */
};

static bool rank_by_table(void *ctx, const struct merge_sym *left, const struct merge_sym *right, uint32_t *ret_key,
	int32_t *ret_id)
{
	const struct coding *c = ctx;
	if (left->id < 0 || right->id < 0)
		return false;
	const struct pair *p = slot_of(c->b, left->id, right->id);
	if (p->left < 0)
		return false;
	*ret_key = p->rank;
	*ret_id = p->joined;
	return true;
}

/* Vocabularies without a merge list (tiktoken): a pair that is a token may be joined, lower ids first. */
static bool rank_by_id(void *ctx, const struct merge_sym *left, const struct merge_sym *right, uint32_t *ret_key,
	int32_t *ret_id)
{
	const struct coding *c = ctx;
	size_t n = left->n + right->n;
	union map_val *v = n <= c->t->max_token_bytes ? map_get(&c->t->ids, c->text + left->off, n) : NULL;
	if (!v)
		return false;
	*ret_key = (uint32_t)v->i;
	*ret_id = (int32_t)v->i;
	return true;
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

static void emit(const struct coding *c, const struct merge_sym *sym, struct ids *out)
{
	if (sym->id >= 0 && sym->id < c->t->n_vocab) {
		vec_push(out, sym->id);
	} else if (!c->b->byte_map) {
		tok_byte_fallback(c->t, c->text + sym->off, sym->n, out);
	} else if (sym->id >= 0) {
		/* Joined to something that is no token: its bytes. Bytes without a token are dropped, as every engine does. */
		for (size_t i = 0; i < sym->n; i++) {
			int32_t id = c->b->byte_sym[(unsigned char)c->text[sym->off + i]];
			if (id >= 0 && id < c->t->n_vocab)
				vec_push(out, id);
		}
	}
}

/* Byte-mapped symbols count raw bytes where merges go by number, and spelled ones where they go by text. */
static void add_symbols(struct merge *m, const struct coding *c, const char *s, size_t n, const struct str *spelled)
{
	const struct tok_bpe *b = c->b;
	uint32_t cp;
	if (b->byte_map) {
		for (size_t i = 0; i < n; i++)
			merge_add(m, b->pairs || mapped_cp((unsigned char)s[i]) < 0x80 ? 1 : 2, b->byte_sym[(unsigned char)s[i]]);
		return;
	}
	for (size_t i = 0, len; i < spelled->len; i += len) {
		len = utf8_next(spelled->data + i, spelled->len - i, &cp);
		merge_add(m, len, symbol_of(c->t, b, spelled->data + i, len));
	}
}

static void encode_piece(const struct tok *t, const char *s, size_t n, struct tok_scratch *sc, struct ids *out)
{
	const struct tok_bpe *b = t->bpe;
	unsigned flags = t->pre->flags;
	bool whole = (flags & PRE_IGNORE_MERGES) || ((flags & PRE_NEWLINE_WHOLE) && s[0] == '\n');
	bool spelled = whole || !b->byte_map || !b->pairs;
	if (spelled)
		spell(b, s, n, &sc->text);
	union map_val *v = whole ? map_get(&t->ids, sc->text.data, sc->text.len) : NULL;
	if (v) {
		vec_push(out, (int)v->i);
		return;
	}
	struct coding c = {t, b, b->byte_map && b->pairs ? s : sc->text.data};
	merge_clear(&sc->merge);
	add_symbols(&sc->merge, &c, s, n, &sc->text);
	merge_run(&sc->merge, b->pairs ? rank_by_table : rank_by_id, &c);
	for (int32_t i = 0; i != MERGE_NONE; i = sc->merge.syms.data[i].next)
		emit(&c, &sc->merge.syms.data[i], out);
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
