/* WordPiece as BERT uses it (Devlin et al. 2018): clean, decompose, drop accents, lowercase, cut at white space and around
 * punctuation and Chinese characters, then the longest token from the left. Vocabularies mark the start of a word with
 * U+2581 instead of marking continuations with "##". Where engines differ, the original Python rules hold. */
#include <string.h>
#include <utf8proc.h>

#include "base/utf8.h"
#include "tok/tok_priv.h"

/* Longer words are one unknown token. */
enum { WORD_MAX_CHARS = 100 };

static bool is_space(uint32_t cp)
{
	return (cp >= 9 && cp <= 13) || cp == 32 || cp == 0x85 || cp == 0xA0 || cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200A) ||
		cp == 0x2028 || cp == 0x2029 || cp == 0x202F || cp == 0x205F || cp == 0x3000;
}

/* Characters that cleaning removes. */
static bool is_dropped(uint32_t cp)
{
	if (cp == '\t' || cp == '\n' || cp == '\r')
		return false;
	utf8proc_category_t c = utf8proc_category((utf8proc_int32_t)cp);
	return cp == 0 || cp == UTF8_REPLACEMENT || c == UTF8PROC_CATEGORY_CC || c == UTF8PROC_CATEGORY_CF ||
		c == UTF8PROC_CATEGORY_CO || c == UTF8PROC_CATEGORY_CS;
}

/* The blocks of CJK ideographs that BERT's code lists. */
static bool is_ideograph(uint32_t cp)
{
	return (cp >= 0x4E00 && cp <= 0x9FFF) || (cp >= 0x3400 && cp <= 0x4DBF) || (cp >= 0x20000 && cp <= 0x2A6DF) ||
		(cp >= 0x2A700 && cp <= 0x2B73F) || (cp >= 0x2B740 && cp <= 0x2B81F) || (cp >= 0x2B920 && cp <= 0x2CEAF) ||
		(cp >= 0xF900 && cp <= 0xFAFF) || (cp >= 0x2F800 && cp <= 0x2FA1F);
}

static bool is_punct(uint32_t cp)
{
	if (cp < 0x80)
		return (cp >= 33 && cp <= 47) || (cp >= 58 && cp <= 64) || (cp >= 91 && cp <= 96) || (cp >= 123 && cp <= 126);
	utf8proc_category_t c = utf8proc_category((utf8proc_int32_t)cp);
	return c >= UTF8PROC_CATEGORY_PC && c <= UTF8PROC_CATEGORY_PO;
}

struct words {
	const struct tok *t;
	struct str *word; /* U+2581 and the characters so far */
	size_t n_char;    /* without U+2581 */
	struct ids *out;
};

/* Length and id of the longest token at s[at..]; 0 when none fits. */
static size_t longest(const struct tok *t, const struct str *word, size_t at, int *ret_id)
{
	size_t least = at ? 1 : TOK_SPACE_BYTES + 1; /* the mark alone is no piece of a word */
	size_t n = word->len - at < t->texts.max_bytes ? word->len - at : t->texts.max_bytes;
	const char *s = word->data + at;
	/* What starts with the mark starts a word and cannot continue one. */
	if (at && n >= TOK_SPACE_BYTES && !memcmp(s, TOK_SPACE, TOK_SPACE_BYTES))
		return 0;
	for (; n >= least; n--) {
		if (at + n < word->len && ((unsigned char)s[n] & 0xC0) == 0x80)
			continue; /* inside a character */
		*ret_id = tok_table_find(&t->texts, s, n);
		if (*ret_id >= 0)
			return n;
	}
	return 0;
}

static void end_word(struct words *w)
{
	const struct tok *t = w->t;
	size_t before = w->out->n, at = 0, len = 1;
	if (!w->n_char)
		return;
	while (w->n_char <= WORD_MAX_CHARS && len && at < w->word->len) {
		int id;
		len = longest(t, w->word, at, &id);
		if (len)
			vec_push(w->out, id);
		at += len;
	}
	if (at < w->word->len) {
		w->out->n = before;
		if (t->unk >= 0)
			vec_push(w->out, t->unk);
	}
	str_truncate(w->word, TOK_SPACE_BYTES);
	w->n_char = 0;
}

/* A normalized character. */
static void add_char(struct words *w, uint32_t cp, bool alone)
{
	if (alone)
		end_word(w);
	if (w->n_char <= WORD_MAX_CHARS) /* what is past the limit no longer matters */
		str_add_cp(w->word, cp);
	w->n_char++;
	if (alone)
		end_word(w);
}

static void add_cleaned(struct words *w, uint32_t cp)
{
	const struct tok *t = w->t;
	utf8proc_int32_t parts[32];
	int bound = UTF8PROC_BOUNDCLASS_START;
	utf8proc_ssize_t n = 1;
	bool alone = is_ideograph(cp);
	parts[0] = (utf8proc_int32_t)cp;
	if (t->strip_accents && cp >= 0x80)
		n = utf8proc_decompose_char((utf8proc_int32_t)cp, parts, 32, UTF8PROC_DECOMPOSE, &bound);
	for (utf8proc_ssize_t i = 0; i < n && i < 32; i++) {
		utf8proc_int32_t c = parts[i];
		if (t->strip_accents && utf8proc_category(c) == UTF8PROC_CATEGORY_MN)
			continue;
		if (t->lowercase)
			c = utf8proc_tolower(c);
		add_char(w, (uint32_t)c, alone || is_punct((uint32_t)c));
	}
}

void tok_wordpiece_encode(const struct tok *t, const char *s, size_t n, struct tok_scratch *sc, struct ids *out)
{
	struct words w = {.t = t, .word = &sc->text, .out = out};
	uint32_t cp;
	str_clear(w.word);
	str_add(w.word, TOK_SPACE, TOK_SPACE_BYTES);
	for (size_t i = 0; i < n; i += utf8_next(s + i, n - i, &cp)) {
		utf8_next(s + i, n - i, &cp);
		if (is_dropped(cp))
			continue;
		if (is_space(cp))
			end_word(&w);
		else
			add_cleaned(&w, cp);
	}
	end_word(&w);
}
