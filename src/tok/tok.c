#include "tok/tok.h"

#include "tok/tok_load.h"

int tok_new(const struct gguf *g, struct tok **ret, struct err *err)
{
	struct tok *t = mem_zalloc(sizeof *t);
	int rc = tok_load(g, t, err);
	if (!rc)
		rc = tok_special_new(t, &t->special, err);
	if (rc) {
		tok_free(t);
		return rc;
	}
	*ret = t;
	return 0;
}

void tok_free(struct tok *t)
{
	if (!t)
		return;
	tok_special_free(t->special);
	tok_bpe_free(t->bpe);
	pretok_free(t->pretok);
	tok_table_release(&t->texts);
	mem_free(t->entries);
	mem_free(t->scores);
	mem_free(t);
}

int tok_n_vocab(const struct tok *t)
{
	return t->n_vocab;
}

int tok_bos(const struct tok *t)
{
	return t->bos;
}

int tok_eos(const struct tok *t)
{
	return t->eos;
}

int tok_eot(const struct tok *t)
{
	return t->eot;
}

bool tok_add_bos(const struct tok *t)
{
	return t->add_bos && t->bos >= 0;
}

/* The separator goes last; it is left out where it would repeat the EOS. */
static bool adds_sep(const struct tok *t)
{
	return t->add_sep && t->sep >= 0 && !(t->add_eos && t->eos == t->sep);
}

bool tok_add_eos(const struct tok *t)
{
	return (t->add_eos && t->eos >= 0) || adds_sep(t);
}

int tok_fim_pre(const struct tok *t)
{
	return t->fim_pre;
}

int tok_fim_suf(const struct tok *t)
{
	return t->fim_suf;
}

int tok_fim_mid(const struct tok *t)
{
	return t->fim_mid;
}

bool tok_is_eog(const struct tok *t, int id)
{
	return id >= 0 && id < t->n_vocab && t->entries[id].eog;
}

enum tok_attr tok_attr(const struct tok *t, int id)
{
	return id >= 0 && id < t->n_vocab ? (enum tok_attr)t->entries[id].attr : TOK_UNUSED;
}

const char *tok_text(const struct tok *t, int id, size_t *ret_n)
{
	*ret_n = 0;
	if (id < 0 || id >= t->n_vocab)
		return NULL;
	return tok_table_text(&t->texts, id, ret_n);
}

int tok_find(const struct tok *t, const char *text, size_t n)
{
	return tok_table_find(&t->texts, text, n);
}

/* ---- encoding ---- */

static int encode_stretch(const struct tok *t, const char *s, size_t n, struct tok_scratch *sc, struct ids *out,
	struct err *err)
{
	switch (t->model) {
	case TOK_BPE:
		return tok_bpe_encode(t, s, n, sc, out, err);
	case TOK_SPM:
		tok_spm_encode(t, s, n, sc, out);
		break;
	case TOK_WPM:
		tok_wordpiece_encode(t, s, n, sc, out);
		break;
	}
	return 0;
}

static bool is_ascii_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* The text without the tokens around it. */
static int encode_text(const struct tok *t, const char *s, size_t n, bool parse, struct tok_scratch *sc, struct ids *out,
	struct err *err)
{
	int rc = 0;
	for (size_t at = 0; at < n && !rc;) {
		size_t end = n, n_special = 0, i_special = n;
		int id = tok_special_find(t, s, n, at, parse, &i_special, &n_special);
		if (id >= 0)
			end = i_special;
		while (id >= 0 && t->entries[id].lstrip && end > at && is_ascii_space(s[end - 1]))
			end--;
		if (end > at)
			rc = encode_stretch(t, s + at, end - at, sc, out, err);
		if (rc || id < 0)
			break;
		vec_push(out, id);
		at = i_special + n_special;
		while (t->entries[id].rstrip && at < n && is_ascii_space(s[at]))
			at++;
	}
	return rc;
}

int tok_encode(const struct tok *t, const char *text, size_t n, unsigned flags, struct ids *out, struct err *err)
{
	struct tok_scratch sc = {0};
	size_t n_before = out->n;
	if (n > TOK_TEXT_MAX_BYTES)
		return err_set(err, ERR_LIMIT, "the text has %zu bytes; at most %zu can be tokenized at once", n, TOK_TEXT_MAX_BYTES);
	if ((flags & TOK_ADD_SPECIAL) && tok_add_bos(t))
		vec_push(out, t->bos);
	int rc = encode_text(t, text, n, flags & TOK_PARSE_SPECIAL, &sc, out, err);
	if ((flags & TOK_ADD_SPECIAL) && t->add_eos && t->eos >= 0)
		vec_push(out, t->eos);
	if ((flags & TOK_ADD_SPECIAL) && adds_sep(t))
		vec_push(out, t->sep);
	if (rc)
		out->n = n_before;
	merge_release(&sc.merge);
	str_release(&sc.text);
	str_release(&sc.line);
	pretok_cuts_release(&sc.cuts);
	return rc;
}
