/* tokenizer.json and tokenizer_config.json to GGUF's vocabulary keys. Three kinds: byte-level BPE (gpt2), BPE with byte tokens,
 * which is what SentencePiece vocabularies become (llama), and WordPiece (bert). */
#include <stdio.h>
#include <string.h>

#include "base/bug.h"
#include "convert/convert_hf.h"
#include "tok/tok.h"

#define KEY "tokenizer.ggml."
#define WORD_MARK "\xe2\x96\x81" /* U+2581, a word's beginning */

enum { VOCAB_MAX = 1 << 22 };

struct vocab {
	const struct convert_hf *h;
	struct convert_model *m;
	const json_t *model; /* tokenizer.json's "model" */
	size_t n;
	struct gguf_str *texts; /* [n] */
	int32_t *types;         /* [n] enum tok_attr */
	struct map ids;         /* by text */
	const char *kind;       /* "gpt2", "llama", "bert" */
};

static const json_t *part(const struct vocab *v, const char *name)
{
	return json_object_get(v->h->tokenizer, name);
}

static const char *text_of(const json_t *obj, const char *key)
{
	const char *s = json_string_value(json_object_get(obj, key));
	return s ? s : "";
}

/* ---- tokens ---- */

static int set_token(struct vocab *v, int64_t id, const char *s, size_t n, enum tok_attr type, struct err *err)
{
	if (id < 0 || (uint64_t)id >= v->n)
		return err_set(err, ERR_FORMAT, "tokenizer.json: the token \"%.60s\" has number %lld, but the model has %zu embeddings", s,
			       (long long)id, v->n);
	char *copy = arena_strndup(&v->m->names, s, n);
	if (!copy)
		return err_set(err, ERR_NOMEM, "not enough memory for the vocabulary");
	v->texts[id] = (struct gguf_str){copy, n};
	v->types[id] = type;
	map_put(&v->ids, s, n)->i = id;
	return 0;
}

static bool is_byte(const char *s, size_t n)
{
	return n == 6 && !memcmp(s, "<0x", 3) && s[5] == '>';
}

static int read_words(struct vocab *v, struct err *err)
{
	json_t *words = json_object_get(v->model, "vocab");
	const char *unk = text_of(v->model, "unk_token");
	int rc = 0;
	if (!json_is_object(words))
		return err_set(err, ERR_FORMAT, "tokenizer.json has no vocabulary");
	for (void *it = json_object_iter(words); !rc && it; it = json_object_iter_next(words, it)) {
		const char *s = json_object_iter_key(it);
		size_t n = strlen(s);
		const json_t *id = json_object_iter_value(it);
		enum tok_attr type = *unk && !strcmp(s, unk) && strcmp(v->kind, "bert") ? TOK_UNKNOWN :
				     is_byte(s, n) && !strcmp(v->kind, "llama") ? TOK_BYTE : TOK_NORMAL;
		rc = json_is_integer(id) ? set_token(v, json_integer_value(id), s, n, type, err) :
		     err_set(err, ERR_FORMAT, "tokenizer.json: the token \"%.60s\" has no number", s);
	}
	return rc;
}

static int read_added(struct vocab *v, struct err *err)
{
	size_t i;
	const json_t *t, *list = part(v, "added_tokens");
	int rc = 0;
	json_array_foreach(list, i, t) {
		const json_t *id = json_object_get(t, "id"), *s = json_object_get(t, "content");
		bool special = json_is_true(json_object_get(t, "special"));
		if (!json_is_integer(id) || !json_is_string(s))
			return err_set(err, ERR_FORMAT, "tokenizer.json: an added token has no number or no text");
		bool unknown = json_integer_value(id) >= 0 && (uint64_t)json_integer_value(id) < v->n &&
			       v->types[json_integer_value(id)] == TOK_UNKNOWN;
		rc = set_token(v, json_integer_value(id), json_string_value(s), json_string_length(s),
			       unknown ? TOK_UNKNOWN : special ? TOK_CONTROL : TOK_USER, err);
		if (rc)
			return rc;
	}
	return 0;
}

/* Embeddings without a token, which padded vocabularies have. */
static int fill_gaps(struct vocab *v, struct err *err)
{
	char name[32];
	int rc = 0;
	for (size_t i = 0; i < v->n && !rc; i++) {
		if (v->texts[i].s)
			continue;
		snprintf(name, sizeof name, "[PAD%zu]", i);
		rc = set_token(v, (int64_t)i, name, strlen(name), TOK_UNUSED, err);
	}
	return rc;
}

/* WordPiece marks the parts that continue a word, GGUF those that begin one. */
static int mark_words(struct vocab *v, struct err *err)
{
	for (size_t i = 0; i < v->n; i++) {
		struct gguf_str *s = &v->texts[i];
		if (v->types[i] != TOK_NORMAL)
			continue;
		if (s->n > 2 && !memcmp(s->s, "##", 2)) {
			*s = (struct gguf_str){s->s + 2, s->n - 2};
			continue;
		}
		char *p = arena_alloc(&v->m->names, s->n + sizeof WORD_MARK);
		if (!p)
			return err_set(err, ERR_NOMEM, "not enough memory for the vocabulary");
		memcpy(p, WORD_MARK, sizeof WORD_MARK - 1);
		memcpy(p + sizeof WORD_MARK - 1, s->s, s->n);
		*s = (struct gguf_str){p, s->n + sizeof WORD_MARK - 1};
	}
	return 0;
}

/* ---- merges ---- */

/* One merge as its two sides; both forms that tokenizer.json has had: "a b" and ["a", "b"]. */
static bool get_merge(const json_t *e, struct gguf_str *a, struct gguf_str *b)
{
	const json_t *x = json_array_get(e, 0), *y = json_array_get(e, 1);
	if (json_is_string(x) && json_is_string(y)) {
		*a = (struct gguf_str){json_string_value(x), json_string_length(x)};
		*b = (struct gguf_str){json_string_value(y), json_string_length(y)};
		return true;
	}
	const char *s = json_string_value(e), *space = s && *s ? strchr(s + 1, ' ') : NULL;
	if (!space)
		return false;
	*a = (struct gguf_str){s, (size_t)(space - s)};
	*b = (struct gguf_str){space + 1, json_string_length(e) - a->n - 1};
	return true;
}

static int write_merges(struct vocab *v, struct err *err)
{
	const json_t *list = json_object_get(v->model, "merges"), *e;
	size_t i, n = json_array_size(list);
	VEC(struct gguf_str) all = {0};
	struct gguf_str a, b;
	int rc = 0;
	json_array_foreach(list, i, e) {
		if (!get_merge(e, &a, &b)) {
			rc = err_set(err, ERR_FORMAT, "tokenizer.json: merge %zu has not two sides", i);
			break;
		}
		char *p = arena_alloc(&v->m->names, a.n + b.n + 1);
		if (!p) {
			rc = err_set(err, ERR_NOMEM, "not enough memory for the vocabulary");
			break;
		}
		memcpy(p, a.s, a.n);
		p[a.n] = ' ';
		memcpy(p + a.n + 1, b.s, b.n);
		vec_push(&all, ((struct gguf_str){p, a.n + b.n + 1}));
	}
	if (!rc)
		gguf_write_strings(&v->m->w, KEY "merges", all.data, n);
	vec_release(&all);
	return rc;
}

/* SentencePiece joins the pair whose result has the greatest score; merges come in that order, so the place of the first one that
 * makes a token is its score. What no merge makes is never joined. */
static int write_scores(struct vocab *v, struct err *err)
{
	const float never = -1e6f;
	const json_t *list = json_object_get(v->model, "merges"), *e;
	float *scores = mem_calloc(v->n, sizeof *scores);
	struct gguf_str a, b;
	struct str joined = {0};
	size_t i;
	int rc = 0;
	for (i = 0; i < v->n; i++)
		scores[i] = v->types[i] == TOK_NORMAL ? never : 0;
	json_array_foreach(list, i, e) {
		if (!get_merge(e, &a, &b)) {
			rc = err_set(err, ERR_FORMAT, "tokenizer.json: merge %zu has not two sides", i);
			break;
		}
		str_clear(&joined);
		str_add(&joined, a.s, a.n);
		str_add(&joined, b.s, b.n);
		const union map_val *id = map_get(&v->ids, joined.data, joined.len);
		if (id && scores[id->i] == never)
			scores[id->i] = -(float)i;
	}
	if (!rc)
		gguf_write_array(&v->m->w, KEY "scores", GGUF_KV_F32, scores, v->n);
	str_release(&joined);
	mem_free(scores);
	return rc;
}

/* ---- kinds ---- */

/* What the pre-tokenizer, the normalizer and the decoder consist of. */
struct steps {
	bool byte_level, digits, space_before;
	const char *regex; /* of the first split, NULL: none */
};

static void look_at(const json_t *step, struct steps *s, int depth)
{
	static const char *const lists[] = {"pretokenizers", "normalizers", "decoders"};
	const char *type = text_of(step, "type"), *scheme = text_of(step, "prepend_scheme");
	const json_t *e, *pattern = json_object_get(step, "pattern");
	size_t i;
	if (!strcmp(type, "ByteLevel"))
		s->byte_level = true;
	if (!strcmp(type, "Digits"))
		s->digits = true;
	if (!strcmp(type, "Prepend") || (!strcmp(type, "Metaspace") && (!strcmp(scheme, "always") || !strcmp(scheme, "first") ||
	    (!*scheme && json_is_true(json_object_get(step, "add_prefix_space"))))))
		s->space_before = true;
	if (!strcmp(type, "Split") && !s->regex)
		s->regex = json_string_value(json_object_get(pattern, "Regex"));
	for (size_t k = 0; k < ARRAY_LEN(lists) && depth < 4; k++)
		json_array_foreach(json_object_get(step, lists[k]), i, e)
			look_at(e, s, depth + 1);
}

/* The pre-tokenizer's name, from what tells its expression from others; the first row that fits. */
static const struct {
	const char *has, *has_too, *name;
	bool whole_first; /* words that are tokens are taken whole ("ignore_merges") */
} pres[] = {
	{"\\p{Lu}", "\\p{N}{1,3}", "gpt-4o", false}, {"\\p{Lu}", "", "tekken", false}, {"\\p{L}\\p{M}", "\\p{N}|", "qwen35", false},
	{"\\p{N}{1,3}", "'s|'t", "llama-bpe", true}, {"\\p{N}{1,3}", "'s|'t", "dbrx", false},
	{"\\p{N}{1,3}", "[sS]", "llama-bpe", true},  {"\\p{N}|", "'s|'t", "qwen2", false},
};

static const char *find_pre(const struct vocab *v, const struct steps *s)
{
	bool whole = json_is_true(json_object_get(v->model, "ignore_merges"));
	for (size_t i = 0; s->regex && i < ARRAY_LEN(pres); i++)
		if (strstr(s->regex, pres[i].has) && strstr(s->regex, pres[i].has_too) && (whole || !pres[i].whole_first))
			return pres[i].name;
	return s->regex ? NULL : s->digits ? "smollm" : "gpt-2";
}

static int find_kind(struct vocab *v, struct steps *s, struct err *err)
{
	const char *type = text_of(v->model, "type");
	look_at(part(v, "pre_tokenizer"), s, 0);
	look_at(part(v, "normalizer"), s, 0);
	bool byte_level = s->byte_level;
	if (!strcmp(type, "WordPiece"))
		v->kind = "bert";
	else if (!strcmp(type, "BPE") && byte_level)
		v->kind = "gpt2";
	else if (!strcmp(type, "BPE") && json_is_true(json_object_get(v->model, "byte_fallback")))
		v->kind = "llama";
	else
		return err_set(err, ERR_UNSUPPORTED, "tokenizer.json: a vocabulary of type \"%.40s\" cannot be converted; "
						     "byte-level BPE, BPE with byte fallback and WordPiece can", type);
	return 0;
}

static int write_tokens(struct vocab *v, const struct steps *s, struct err *err)
{
	struct gguf_writer *w = &v->m->w;
	int rc = 0;
	gguf_write_str(w, KEY "model", v->kind, strlen(v->kind));
	if (!strcmp(v->kind, "gpt2")) {
		const char *pre = find_pre(v, s);
		if (!pre)
			return err_set(err, ERR_UNSUPPORTED, "tokenizer.json: the pre-tokenizer's expression is none that is known");
		gguf_write_str(w, KEY "pre", pre, strlen(pre));
		rc = write_merges(v, err);
	} else if (!strcmp(v->kind, "llama")) {
		gguf_write_bool(w, KEY "add_space_prefix", s->space_before);
		rc = write_scores(v, err);
	} else {
		const json_t *lower = json_object_get(part(v, "normalizer"), "lowercase");
		const json_t *accents = json_object_get(part(v, "normalizer"), "strip_accents");
		bool lowercase = !json_is_false(lower);
		gguf_write_bool(w, KEY "normalizer.lowercase", lowercase);
		gguf_write_bool(w, KEY "normalizer.strip_accents", json_is_boolean(accents) ? json_is_true(accents) : lowercase);
		rc = mark_words(v, err);
	}
	gguf_write_strings(w, KEY "tokens", v->texts, v->n);
	gguf_write_array(w, KEY "token_type", GGUF_KV_I32, v->types, v->n);
	return rc;
}

/* ---- special tokens ---- */

static const struct {
	const char *hf, *hf_id, *gguf;
} specials[] = {
	{"bos_token", "bos_token_id", "bos_token_id"},   {"eos_token", "eos_token_id", "eos_token_id"},
	{"unk_token", NULL, "unknown_token_id"},         {"sep_token", NULL, "seperator_token_id"}, /* spelled so in the format */
	{"pad_token", "pad_token_id", "padding_token_id"}, {"cls_token", NULL, "cls_token_id"},
	{"mask_token", NULL, "mask_token_id"},
};

/* -1 when there is none. */
static int64_t special_id(const struct vocab *v, size_t i)
{
	const json_t *t = json_object_get(v->h->tokenizer_config, specials[i].hf);
	const char *s = json_is_object(t) ? text_of(t, "content") : json_string_value(t);
	const union map_val *id = s ? map_get(&v->ids, s, strlen(s)) : NULL;
	if (id)
		return id->i;
	const json_t *n = specials[i].hf_id ? json_object_get(v->h->text, specials[i].hf_id) : NULL;
	if (json_is_array(n))
		n = json_array_get(n, 0);
	return json_is_integer(n) && json_integer_value(n) >= 0 && (uint64_t)json_integer_value(n) < v->n ? json_integer_value(n) : -1;
}

/* Whether the template for one text puts the token at its beginning (or end). */
static bool template_adds(const json_t *post, const char *text, bool at_end, int depth)
{
	const json_t *single = json_object_get(post, "single"), *e;
	size_t i, n = json_array_size(single);
	if (n && *text) {
		const json_t *edge = json_object_get(json_array_get(single, at_end ? n - 1 : 0), "SpecialToken");
		return !strcmp(text_of(edge, "id"), text);
	}
	json_array_foreach(json_object_get(post, "processors"), i, e)
		if (depth < 4 && template_adds(e, text, at_end, depth + 1))
			return true;
	return false;
}

static void write_add(struct vocab *v, const char *key, const char *gguf, int64_t id, bool at_end)
{
	const json_t *set = json_object_get(v->h->tokenizer_config, key);
	char text[256] = "";
	if (id >= 0)
		snprintf(text, sizeof text, "%.*s", (int)(v->texts[id].n < 255 ? v->texts[id].n : 255), v->texts[id].s);
	bool add = json_is_boolean(set) ? json_is_true(set) : template_adds(part(v, "post_processor"), text, at_end, 0);
	gguf_write_bool(&v->m->w, gguf, add);
}

static void write_specials(struct vocab *v)
{
	char key[64];
	int64_t ids[ARRAY_LEN(specials)];
	bool bert = !strcmp(v->kind, "bert");
	for (size_t i = 0; i < ARRAY_LEN(specials); i++)
		ids[i] = special_id(v, i);
	if (bert) { /* a text is [CLS] text [SEP] */
		ids[0] = ids[5];
		ids[1] = ids[3];
	}
	for (size_t i = 0; i < ARRAY_LEN(specials); i++) {
		snprintf(key, sizeof key, KEY "%s", specials[i].gguf);
		if (ids[i] >= 0)
			gguf_write_u32(&v->m->w, key, (uint32_t)ids[i]);
	}
	if (bert) {
		gguf_write_bool(&v->m->w, KEY "add_bos_token", true);
		gguf_write_bool(&v->m->w, KEY "add_eos_token", true);
		gguf_write_bool(&v->m->w, KEY "add_sep_token", false);
		gguf_write_u32(&v->m->w, KEY "token_type_count", 2);
		return;
	}
	write_add(v, "add_bos_token", KEY "add_bos_token", ids[0], false);
	write_add(v, "add_eos_token", KEY "add_eos_token", ids[1], true);
}

/* ---- chat templates ---- */

static void write_template(struct vocab *v)
{
	const json_t *t = json_object_get(v->h->tokenizer_config, "chat_template"), *e;
	const struct gguf_str *file = &v->h->template;
	static const char *const names[][2] = {{"default", "tokenizer.chat_template"}, {"tool_use", "tokenizer.chat_template.tool_use"}};
	size_t i;
	if (file->s) {
		gguf_write_str(&v->m->w, names[0][1], file->s, file->n);
		return;
	}
	if (json_is_string(t))
		gguf_write_str(&v->m->w, names[0][1], json_string_value(t), json_string_length(t));
	for (size_t k = 0; k < ARRAY_LEN(names); k++)
		json_array_foreach(t, i, e) {
			const json_t *s = json_object_get(e, "template");
			if (strcmp(text_of(e, "name"), names[k][0]) || !json_is_string(s))
				continue;
			gguf_write_str(&v->m->w, names[k][1], json_string_value(s), json_string_length(s));
			break;
		}
}

int convert_hf_tok(const struct convert_hf *h, int64_t n_vocab, struct convert_model *m, struct err *err)
{
	struct vocab v = {.h = h, .m = m, .model = json_object_get(h->tokenizer, "model"), .n = (size_t)n_vocab};
	struct steps s = {0};
	if (n_vocab > VOCAB_MAX)
		return err_set(err, ERR_LIMIT, "a vocabulary of %lld tokens is too large", (long long)n_vocab);
	v.texts = mem_calloc(v.n, sizeof *v.texts);
	v.types = mem_calloc(v.n, sizeof *v.types);
	int rc = find_kind(&v, &s, err);
	if (!rc)
		rc = read_words(&v, err);
	if (!rc)
		rc = read_added(&v, err);
	if (!rc)
		rc = fill_gaps(&v, err);
	if (!rc)
		rc = write_tokens(&v, &s, err);
	if (!rc) {
		write_specials(&v);
		write_template(&v);
	}
	map_release(&v.ids);
	mem_free(v.texts);
	mem_free(v.types);
	return rc;
}
