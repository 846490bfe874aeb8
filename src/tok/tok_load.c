/* Loading a vocabulary from the metadata of a GGUF file (keys `tokenizer.ggml.*`, GGUF specification). */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/bug.h"
#include "base/log.h"
#include "tok/tok_load.h"

#define KEY "tokenizer.ggml."

/* What holds where a file is silent. */
struct defaults {
	const char *name;
	enum tok_model model;
	int bos, eos, unk, sep;
	bool add_space_prefix, clean_spaces, add_bos, add_sep;
};

static const struct defaults models[] = {
	{"llama", TOK_SPM, 1, 2, 0, -1, .add_space_prefix = true, .add_bos = true},
	{"gpt2", TOK_BPE, 11, 11, -1, -1, .clean_spaces = true},
	{"gemma4", TOK_BPE, 2, 1, 3, -1, .add_bos = true},
	{"bert", TOK_WPM, 101, 102, 100, 102, .clean_spaces = true, .add_bos = true, .add_sep = true},
};

/* A text from the file, made fit for a message. */
struct shown {
	char text[64];
};

static struct shown show(struct gguf_str s)
{
	struct shown r;
	size_t n = s.n < sizeof r.text - 1 ? s.n : sizeof r.text - 1;
	for (size_t i = 0; i < n; i++)
		r.text[i] = (char)(s.s[i] >= 0x20 && s.s[i] < 0x7F ? s.s[i] : '?');
	r.text[n] = '\0';
	return r;
}

/* ---- vocabulary ---- */

static int array_of(const struct gguf *g, const char *key, uint64_t n_want, const struct gguf_kv **ret, struct err *err)
{
	*ret = gguf_find(g, key);
	if (*ret && (*ret)->n < n_want)
		return err_set(err, ERR_FORMAT, "%s has %llu entries, but there are %llu tokens", key, (unsigned long long)(*ret)->n,
			(unsigned long long)n_want);
	return 0;
}

/* Token i's type and score as the file has them. Nearly all files use i32 and f32: one load instead of a call. */
static int type_at(const struct gguf_kv *kv, int i, int64_t *ret, struct err *err)
{
	if (kv->elem_type != GGUF_KV_I32)
		return gguf_arr_i64(kv, (uint64_t)i, ret, err);
	int32_t v;
	memcpy(&v, kv->p + (size_t)i * sizeof v, sizeof v);
	*ret = v;
	return 0;
}

static int score_at(const struct gguf_kv *kv, int i, double *ret, struct err *err)
{
	if (kv->elem_type != GGUF_KV_F32)
		return gguf_arr_f64(kv, (uint64_t)i, ret, err);
	float v;
	memcpy(&v, kv->p + (size_t)i * sizeof v, sizeof v);
	*ret = v;
	return 0;
}

static int load_types(const struct gguf *g, struct tok *t, struct err *err)
{
	const struct gguf_kv *types;
	int rc = array_of(g, KEY "token_type", (uint64_t)t->n_vocab, &types, err);
	for (int i = 0; i < t->n_vocab && !rc; i++) {
		int64_t type = TOK_NORMAL;
		if (types)
			rc = type_at(types, i, &type, err);
		t->entries[i].attr = (uint8_t)(type >= TOK_NORMAL && type <= TOK_BYTE ? type : TOK_NORMAL);
	}
	return rc;
}

/* Only SentencePiece orders by scores; for the others a glance tells whether the key is sound. */
static int load_scores(const struct gguf *g, struct tok *t, struct err *err)
{
	const struct gguf_kv *scores;
	double score = 0;
	int rc = array_of(g, KEY "scores", (uint64_t)t->n_vocab, &scores, err);
	if (rc || t->model != TOK_SPM)
		return rc || !scores ? rc : score_at(scores, 0, &score, err);
	t->scores = mem_try_alloc((size_t)t->n_vocab * sizeof *t->scores);
	if (!t->scores)
		return err_set(err, ERR_NOMEM, "no memory for the scores of %d tokens", t->n_vocab);
	for (int i = 0; i < t->n_vocab && !rc; i++) {
		if (scores)
			rc = score_at(scores, i, &score, err);
		t->scores[i] = isnan(score) ? -INFINITY : (float)score;
	}
	return rc;
}

static int load_vocab(const struct gguf *g, struct tok *t, struct err *err)
{
	const struct gguf_kv *kv = gguf_find(g, KEY "tokens");
	if (!kv || kv->n == 0)
		return err_set(err, ERR_FORMAT, "the file has no vocabulary (" KEY "tokens is missing or empty)");
	int rc = tok_table_init(&t->texts, kv, "token", err);
	if (rc)
		return rc;
	t->n_vocab = t->texts.n;
	t->entries = mem_calloc((size_t)t->n_vocab, sizeof *t->entries);
	rc = load_types(g, t, err);
	if (!rc)
		rc = load_scores(g, t, err);
	for (int i = 0; i < 256 && !rc; i++) {
		char name[8];
		snprintf(name, sizeof name, "<0x%02X>", i);
		t->byte_id[i] = tok_find(t, name, 6);
	}
	return rc;
}

/* ---- single ids and flags ---- */

struct id_key {
	const char *key, *old_key; /* old_key: what is asked first and gives way; may be NULL */
	size_t field;
};

static const struct id_key id_keys[] = {
	{KEY "bos_token_id", KEY "cls_token_id", offsetof(struct tok, bos)},
	{KEY "eos_token_id", NULL, offsetof(struct tok, eos)},
	{KEY "eot_token_id", NULL, offsetof(struct tok, eot)},
	{KEY "eom_token_id", NULL, offsetof(struct tok, eom)},
	{KEY "unknown_token_id", NULL, offsetof(struct tok, unk)},
	{KEY "seperator_token_id", NULL, offsetof(struct tok, sep)}, /* spelled so in the format */
	{KEY "fim_pre_token_id", KEY "prefix_token_id", offsetof(struct tok, fim_pre)},
	{KEY "fim_suf_token_id", KEY "suffix_token_id", offsetof(struct tok, fim_suf)},
	{KEY "fim_mid_token_id", KEY "middle_token_id", offsetof(struct tok, fim_mid)},
	{KEY "fim_pad_token_id", NULL, offsetof(struct tok, fim_pad)},
	{KEY "fim_rep_token_id", NULL, offsetof(struct tok, fim_rep)},
	{KEY "fim_sep_token_id", NULL, offsetof(struct tok, fim_sep)},
};

/* Values that are no number of a token mean "none"; so do those that some files use on purpose, minus one of 32 bits. */
static void load_id(const struct gguf *g, const char *key, struct tok *t, int *field)
{
	int64_t id;
	int rc = gguf_get_i64(g, key, &id, NULL);
	if (rc == 0)
		return;
	if (rc > 0 && id >= 0 && id < t->n_vocab) {
		*field = (int)id;
		return;
	}
	if (rc > 0 && id != -1 && id != UINT32_MAX)
		log_warn("tokenizer key=%s value=%lld ignored: there are %d tokens", key, (long long)id, t->n_vocab);
	*field = -1;
}

static void load_ids(const struct gguf *g, struct tok *t)
{
	for (size_t i = 0; i < ARRAY_LEN(id_keys); i++) {
		int *field = (int *)((char *)t + id_keys[i].field);
		if (id_keys[i].old_key)
			load_id(g, id_keys[i].old_key, t, field);
		load_id(g, id_keys[i].key, t, field);
	}
}

static int load_flags(const struct gguf *g, struct tok *t, struct err *err)
{
	const struct {
		const char *key;
		bool *field;
	} flags[] = {
		{KEY "add_bos_token", &t->add_bos},
		{KEY "add_eos_token", &t->add_eos},
		{KEY "add_sep_token", &t->add_sep},
		{KEY "add_space_prefix", &t->add_space_prefix},
		{"normalizer.lowercase", &t->lowercase},
		{"normalizer.strip_accents", &t->strip_accents},
		{KEY "normalizer.lowercase", &t->lowercase},
		{KEY "normalizer.strip_accents", &t->strip_accents},
	};
	for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
		int rc = gguf_get_bool(g, flags[i].key, flags[i].field, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int default_id(const struct tok *t, int id)
{
	return id >= 0 && id < t->n_vocab ? id : -1;
}

static void set_defaults(struct tok *t, const struct defaults *d)
{
	t->bos = default_id(t, d->bos);
	t->eos = default_id(t, d->eos);
	t->unk = default_id(t, d->unk);
	t->sep = default_id(t, d->sep);
	t->eot = t->eom = t->fim_pre = t->fim_suf = t->fim_mid = t->fim_pad = t->fim_rep = t->fim_sep = -1;
	/* GPT-2's 11 is a guess; where it is an ordinary word it must not end every text. */
	if (t->model == TOK_BPE && t->eos >= 0 && t->entries[t->eos].attr != TOK_CONTROL)
		t->bos = t->eos = -1;
	t->add_space_prefix = d->add_space_prefix;
	t->clean_spaces = d->clean_spaces;
	t->add_bos = d->add_bos;
	t->add_sep = d->add_sep;
	t->lowercase = t->strip_accents = true;
}

/* ---- BPE ---- */

/* The row of the table; unknown names fall back to the default one. */
static int load_pre(const struct gguf *g, struct tok *t, bool plain_text, struct err *err)
{
	struct gguf_str name = {"", 0};
	const char *fallback = plain_text ? "gemma4" : "default";
	int rc = gguf_get_str(g, KEY "pre", &name, err);
	if (rc < 0)
		return rc;
	t->pre = pretok_find(name.s, name.n);
	if (plain_text && (!t->pre || !(t->pre->flags & PRE_NO_BYTE_MAP)))
		t->pre = pretok_find(fallback, strlen(fallback));
	if (!t->pre) {
		log_warn("tokenizer pre=\"%s\" unknown, using \"%s\": texts may be cut in other places than the model has learned",
			show(name).text, fallback);
		t->pre = pretok_find(fallback, strlen(fallback));
	}
	if (t->pre->flags & PRE_ADD_BOS)
		t->add_bos = true;
	if (t->pre->flags & PRE_ADD_SEP)
		t->add_sep = true;
	if (t->pre->flags & PRE_KEEP_SPACES)
		t->clean_spaces = false;
	return 0;
}

/* ---- white space that belongs to special tokens ---- */

static void set_strips(const struct gguf *g, struct tok *t)
{
	static const char *const masks[] = {"<mask>", "[MASK]"}, *const kept[] = {"<unk>", "<s>", "<|endoftext|>"};
	struct gguf_str name = {"", 0};
	if (t->pre && (t->pre->flags & PRE_LSTRIP_MASK))
		for (size_t i = 0; i < 2; i++) {
			int id = tok_find(t, masks[i], strlen(masks[i]));
			if (id >= 0)
				t->entries[id].lstrip = true;
		}
	if (gguf_get_str(g, "general.name", &name, NULL) <= 0)
		return;
	char lower[256];
	size_t n = name.n < sizeof lower - 1 ? name.n : sizeof lower - 1;
	for (size_t i = 0; i < n; i++)
		lower[i] = (char)(name.s[i] >= 'A' && name.s[i] <= 'Z' ? name.s[i] + 32 : name.s[i] ? name.s[i] : ' ');
	lower[n] = '\0';
	if (!strstr(lower, "phi-3") && !strstr(lower, "phi3"))
		return;
	for (int i = 0; i < t->n_vocab; i++) {
		uint8_t a = t->entries[i].attr;
		t->entries[i].rstrip = a == TOK_CONTROL || a == TOK_UNKNOWN || a == TOK_USER;
	}
	for (size_t i = 0; i < 3; i++) {
		int id = tok_find(t, kept[i], strlen(kept[i]));
		if (id >= 0)
			t->entries[id].rstrip = false;
	}
}

/* ---- all of it ---- */

int tok_load(const struct gguf *g, struct tok *t, struct err *err)
{
	struct gguf_str name = {"", 0};
	const struct defaults *d = NULL;
	int rc = gguf_get_str(g, KEY "model", &name, err);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < ARRAY_LEN(models); i++)
		if (strlen(models[i].name) == name.n && !memcmp(models[i].name, name.s, name.n))
			d = &models[i];
	if (!d)
		return err_set(err, ERR_UNSUPPORTED,
			"the tokenizer model \"%s\" is not supported; supported are llama (SentencePiece), gpt2 and gemma4 (BPE) and bert "
			"(WordPiece)", show(name).text);
	t->model = d->model;
	rc = load_vocab(g, t, err);
	if (rc)
		return rc;
	set_defaults(t, d);
	bool plain_text = !strcmp(d->name, "gemma4");
	if (t->model == TOK_BPE && (rc = load_pre(g, t, plain_text, err)) < 0)
		return rc;
	load_ids(g, t);
	if ((rc = load_flags(g, t, err)) < 0)
		return rc;
	if (t->pre && (t->pre->flags & PRE_NO_BOS)) {
		t->bos = -1;
		t->add_bos = false;
	}
	if (plain_text)
		t->add_bos = true; /* converters of this family wrote the wrong flag */
	tok_eog_build(t);
	set_strips(g, t);
	if (t->model != TOK_BPE)
		return 0;
	rc = pretok_new(t->pre, &t->pretok, err);
	return rc ? rc : tok_bpe_new(g, t, &t->bpe, err);
}
