/* layer: tok */
/* Tokenizers: the first byte picks a fixed small vocabulary of each kind, or one that the input itself describes; the rest
 * is text. Encoding must give ids of the vocabulary, and decoding must take them, whole and streamed. */
#include <stdlib.h>

#include "../tests/unit/tok/vocab_build.h"
#include "base/log.h"
#include "tok/tok_pretok.h"

struct input {
	const uint8_t *p;
	size_t n;
};

static uint8_t take(struct input *in)
{
	if (!in->n)
		return 0;
	in->n--;
	return *in->p++;
}

static struct input take_text(struct input *in)
{
	size_t n = take(in) & 31;
	struct input r = {in->p, n < in->n ? n : in->n};
	in->p += r.n;
	in->n -= r.n;
	return r;
}

/* model, pre-tokenizer, flags, ids; then tokens (type, score, text) and merges. */
static struct tok *described(struct input *in)
{
	static const char *const models[] = {"llama", "gpt2", "bert", "gemma4"};
	static const char *const ids[] = {"bos", "eos", "eot", "unknown", "seperator", "fim_pad"};
	size_t n_row;
	const struct pretok_row *rows = pretok_table(&n_row);
	struct vb v = {0};
	struct err err;
	unsigned model = take(in) & 3, pre = take(in), flags = take(in);
	vb_str(&v, "tokenizer.ggml.model", models[model]);
	if (pre < n_row)
		vb_str(&v, "tokenizer.ggml.pre", rows[pre].name);
	vb_bool(&v, "tokenizer.ggml.add_bos_token", flags & 1);
	vb_bool(&v, "tokenizer.ggml.add_eos_token", flags & 2);
	vb_bool(&v, "tokenizer.ggml.add_space_prefix", flags & 4);
	if (flags & 8)
		vb_str(&v, "general.name", "phi-3");
	for (size_t i = 0; i < 6; i++) {
		char key[64];
		snprintf(key, sizeof key, "tokenizer.ggml.%s_token_id", ids[i]);
		vb_int(&v, key, (int8_t)take(in));
	}
	if (flags & 16)
		vb_mapped_bytes(&v);
	if (flags & 32)
		vb_byte_tokens(&v);
	for (unsigned n = take(in) & 63; n; n--) {
		unsigned type = take(in) % 8;
		float score = (int8_t)take(in);
		struct input text = take_text(in);
		vb_token(&v, text.p, text.n, score, (enum tok_attr)type);
	}
	for (unsigned n = take(in) & 63; n; n--) {
		struct input text = take_text(in);
		vb_bytes(&v.merges, text.p, text.n);
		v.n_merge++;
	}
	return vb_tok(&v, &err);
}

static struct tok *fixed(unsigned kind)
{
	static struct tok *toks[4];
	struct vb v = {0};
	struct err err;
	if (toks[kind])
		return toks[kind];
	if (kind == 0)
		vb_bpe(&v, "tekken");
	else if (kind == 1)
		vb_spm(&v);
	else if (kind == 2)
		vb_wpm(&v);
	else
		vb_plain_bpe(&v);
	toks[kind] = vb_tok(&v, &err);
	return toks[kind];
}

static void run(const struct tok *t, struct input text, unsigned flags)
{
	struct ids ids = {0};
	struct str whole = {0}, streamed = {0};
	struct detok d;
	struct err err;
	int rc = tok_encode(t, (const char *)text.p, text.n, flags, &ids, &err);
	if (rc && rc != ERR_LIMIT)
		abort();
	detok_init(&d, t, flags & 1);
	for (size_t i = 0; i < ids.n; i++) {
		if (ids.data[i] < 0 || ids.data[i] >= tok_n_vocab(t))
			abort();
		detok_push(&d, ids.data[i], &streamed);
		if (d.held.len > 3)
			abort();
	}
	detok_flush(&d, &streamed);
	if (!utf8_valid(str_cstr(&streamed), streamed.len))
		abort();
	tok_decode(t, ids.data, ids.n, false, &whole);
	/* Byte-level vocabularies lose nothing. */
	if (t == fixed(0) && !(flags & (TOK_ADD_SPECIAL | TOK_PARSE_SPECIAL)) &&
		(whole.len != text.n || (text.n && memcmp(whole.data, text.p, text.n))))
		abort();
	detok_release(&d);
	str_release(&whole);
	str_release(&streamed);
	vec_release(&ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	unsigned kind = take(&in) % 6, flags = take(&in) & 3;
	log_set_level(LOG_ERROR);
	struct tok *t = kind < 4 ? fixed(kind) : described(&in);
	if (t)
		run(t, in, flags);
	if (kind >= 4)
		vb_free(t);
	return 0;
}
