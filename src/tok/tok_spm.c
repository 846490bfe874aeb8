/* SentencePiece's greedy merging by score (Kudo and Richardson 2018, the "BPE" model type): of all adjacent pairs whose
 * joined text is a token, the one with the highest score is joined first. */
#include <string.h>

#include "base/utf8.h"
#include "tok/tok_priv.h"

struct coding {
	const struct tok *t;
	const char *text;
};

/* Order of floats as unsigned integers, highest first. */
static uint32_t key_of(float score)
{
	uint32_t u;
	score += 0.0f; /* both zeros are one */
	memcpy(&u, &score, sizeof u);
	return u & 0x80000000u ? u : ~(u | 0x80000000u);
}

static bool rank_by_score(void *ctx, const struct merge_sym *left, const struct merge_sym *right, uint32_t *ret_key,
	int32_t *ret_id)
{
	const struct coding *c = ctx;
	int id = tok_table_find(&c->t->texts, c->text + left->off, left->n + right->n);
	if (id < 0)
		return false;
	*ret_key = key_of(c->t->scores[id]);
	*ret_id = id;
	return true;
}

void tok_byte_fallback(const struct tok *t, const char *s, size_t n, struct ids *out)
{
	bool covered = true;
	for (size_t i = 0; i < n; i++)
		covered = covered && t->byte_id[(unsigned char)s[i]] >= 0;
	if (!covered) {
		if (t->unk >= 0)
			vec_push(out, t->unk);
		return;
	}
	for (size_t i = 0; i < n; i++)
		vec_push(out, t->byte_id[(unsigned char)s[i]]);
}

static void spell(const struct tok *t, const char *s, size_t n, struct str *out)
{
	str_clear(out);
	if (t->add_space_prefix) /* a stretch starts the text or follows a special token */
		str_add(out, TOK_SPACE, TOK_SPACE_BYTES);
	for (size_t at = 0; at < n;) {
		const char *gap = memchr(s + at, ' ', n - at);
		size_t len = gap ? (size_t)(gap - s) - at : n - at;
		str_add(out, s + at, len);
		if (gap)
			str_add(out, TOK_SPACE, TOK_SPACE_BYTES);
		at += len + (gap != NULL);
	}
}

void tok_spm_encode(const struct tok *t, const char *s, size_t n, struct tok_scratch *sc, struct ids *out)
{
	struct merge *m = &sc->merge;
	uint32_t cp;
	spell(t, s, n, &sc->text);
	merge_clear(m);
	for (size_t i = 0, len; i < sc->text.len; i += len) {
		len = utf8_next(sc->text.data + i, sc->text.len - i, &cp);
		merge_add(m, len, -1);
	}
	struct coding c = {t, sc->text.data};
	merge_run(m, rank_by_score, &c);
	for (int32_t i = m->syms.n ? 0 : MERGE_NONE; i != MERGE_NONE; i = m->syms.data[i].next) {
		const struct merge_sym *sym = &m->syms.data[i];
		int id = sym->id >= 0 ? sym->id : tok_table_find(&t->texts, c.text + sym->off, sym->n);
		if (id >= 0)
			vec_push(out, id);
		else
			tok_byte_fallback(t, c.text + sym->off, sym->n, out);
	}
}
