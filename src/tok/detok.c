/* Tokens to bytes and text. */
#include <string.h>

#include "base/utf8.h"
#include "tok/tok_priv.h"

static void add_unspelled(const char *s, size_t n, struct str *out)
{
	for (size_t i = 0; i < n;) {
		if (n - i >= TOK_SPACE_BYTES && !memcmp(s + i, TOK_SPACE, TOK_SPACE_BYTES)) {
			str_addc(out, ' ');
			i += TOK_SPACE_BYTES;
		} else {
			str_addc(out, s[i++]);
		}
	}
}

static int hex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "<0x0A>" */
static void add_byte(const char *s, size_t n, struct str *out)
{
	int hi = n == 6 ? hex(s[3]) : -1, lo = n == 6 ? hex(s[4]) : -1;
	if (hi < 0 || lo < 0 || memcmp(s, "<0x", 3) || s[5] != '>')
		str_add(out, s, n);
	else
		str_addc(out, (char)(hi << 4 | lo));
}

void tok_piece(const struct tok *t, int id, bool special, struct str *out)
{
	if (id < 0 || id >= t->n_vocab)
		return;
	size_t n;
	const char *s = tok_table_text(&t->texts, id, &n);
	switch ((enum tok_attr)t->entries[id].attr) {
	case TOK_UNKNOWN:
	case TOK_CONTROL:
	case TOK_UNUSED:
		if (special)
			str_add(out, s, n);
		break;
	case TOK_USER:
		str_add(out, s, n);
		break;
	case TOK_BYTE:
		add_byte(s, n, out);
		break;
	case TOK_NORMAL:
		if (t->model == TOK_BPE && !(t->pre->flags & PRE_NO_BYTE_MAP))
			tok_bpe_unmap(s, n, out);
		else
			add_unspelled(s, n, out);
		break;
	}
}

void tok_piece_at(const struct tok *t, int id, bool special, bool *first, struct str *out)
{
	size_t at = out->len;
	if (*first && !special && t->add_bos && id == t->bos)
		return;
	tok_piece(t, id, special, out);
	if (*first && t->add_space_prefix && out->len > at && out->data[at] == ' ') {
		memmove(out->data + at, out->data + at + 1, out->len - at - 1);
		str_truncate(out, out->len - 1);
	}
	*first = false;
}

/* ---- cleaning up the spaces that vocabularies of words leave around punctuation ---- */

typedef bool glue_fn(const char *s, size_t i, size_t n);

/* A space before these is dropped. */
static bool is_closing(const char *s, size_t i, size_t n)
{
	(void)n;
	return s[i] == '?' || s[i] == '!' || s[i] == '.' || s[i] == ',';
}

static bool is_contraction(const char *s, size_t i, size_t n)
{
	if (s[i] != '\'' || i + 1 >= n)
		return false;
	if (s[i + 1] == 's' || s[i + 1] == 'm')
		return true;
	return i + 2 < n && (s[i + 1] == 'r' || s[i + 1] == 'v') && s[i + 2] == 'e';
}

/* Drops every space that stands directly before a place where glue is true; returns the new length. */
static size_t drop_spaces(char *s, size_t n, glue_fn *glue)
{
	size_t to = 0;
	for (size_t i = 0; i < n; i++) {
		bool space_before = i > 0 && s[i - 1] == ' '; /* never overwritten with another byte: to <= i */
		if (space_before && glue(s, i, n))
			to--;
		s[to++] = s[i];
	}
	return to;
}

/* Drops the spaces on both sides of an apostrophe between spaces. */
static size_t join_apostrophes(char *s, size_t n)
{
	size_t to = 0;
	bool used = true; /* the space before was dropped with an earlier apostrophe, or there is none */
	for (size_t i = 0; i < n; i++) {
		bool lone = !used && s[i] == '\'' && s[i - 1] == ' ' && i + 1 < n && s[i + 1] == ' ';
		if (lone)
			to--;
		s[to++] = s[i];
		i += lone;
		used = lone;
	}
	return to;
}

static void clean_spaces(struct str *out, size_t from)
{
	if (out->len == from)
		return;
	char *s = out->data + from;
	size_t n = drop_spaces(s, out->len - from, is_closing);
	n = join_apostrophes(s, n);
	n = drop_spaces(s, n, is_contraction);
	str_truncate(out, from + n);
}

void tok_decode(const struct tok *t, const int *ids, size_t n, bool special, struct str *out)
{
	size_t from = out->len;
	bool first = true;
	for (size_t i = 0; i < n; i++)
		tok_piece_at(t, ids[i], special, &first, out);
	if (t->clean_spaces)
		clean_spaces(out, from);
}

/* ---- streaming ---- */

void detok_init(struct detok *d, const struct tok *t, bool special)
{
	*d = (struct detok){.t = t, .first = true, .special = special};
}

void detok_release(struct detok *d)
{
	str_release(&d->held);
}

/* Moves the first n held bytes to out; what is not valid becomes U+FFFD. */
static void give(struct detok *d, size_t n, struct str *out)
{
	uint32_t cp;
	for (size_t i = 0, len; i < n; i += len) {
		len = utf8_next(d->held.data + i, n - i, &cp);
		str_add_cp(out, cp);
	}
	str_cut_front(&d->held, n);
}

void detok_push(struct detok *d, int id, struct str *out)
{
	tok_piece_at(d->t, id, d->special, &d->first, &d->held);
	if (d->held.len)
		give(d, utf8_whole(d->held.data, d->held.len), out);
}

void detok_flush(struct detok *d, struct str *out)
{
	if (d->held.len)
		give(d, d->held.len, out);
}
