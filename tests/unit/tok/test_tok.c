/* Small vocabularies: edge cases, hostile inputs, and properties against naive implementations. */
#include <check.h>
#include <stdlib.h>

#include "base/log.h"
#include "vocab_build.h"

enum { N_KIND = 4 };

static struct tok *build(int kind)
{
	struct vb v = {0};
	struct err err = {0};
	if (kind == 0)
		vb_bpe(&v, "tekken");
	else if (kind == 1)
		vb_spm(&v);
	else if (kind == 2)
		vb_wpm(&v);
	else
		vb_plain_bpe(&v);
	struct tok *t = vb_tok(&v, &err);
	ck_assert_msg(t != NULL, "%s", err.msg);
	return t;
}

static struct ids encode(const struct tok *t, const char *s, size_t n, unsigned flags)
{
	struct ids out = {0};
	struct err err = {0};
	ck_assert_msg(tok_encode(t, s, n, flags, &out, &err) == 0, "%s", err.msg);
	return out;
}

/* Encodes z and compares with a list that -1 ends. */
static void check_ids(const struct tok *t, const char *z, unsigned flags, const int *want)
{
	struct ids got = encode(t, z, strlen(z), flags);
	size_t n = 0;
	while (want[n] != -1)
		n++;
	for (size_t i = 0; i < got.n && i < n; i++)
		ck_assert_msg(got.data[i] == want[i], "'%s': id %zu is %d, want %d", z, i, got.data[i], want[i]);
	ck_assert_msg(got.n == n, "'%s': %zu ids, want %zu", z, got.n, n);
	vec_release(&got);
}
#define CHECK_IDS(t, z, flags, ...) check_ids(t, z, flags, (const int[]){__VA_ARGS__, -1})

static void check_text(const struct tok *t, const int *ids, size_t n, const void *want, size_t n_want)
{
	struct str got = {0};
	tok_decode(t, ids, n, false, &got);
	ck_assert_uint_eq(got.len, n_want);
	ck_assert_int_eq(memcmp(str_cstr(&got), want, n_want), 0);
	str_release(&got);
}

START_TEST(test_empty)
{
	struct tok *t = build(_i);
	struct ids ids = encode(t, NULL, 0, 0);
	ck_assert_uint_eq(ids.n, 0);
	ids = encode(t, "", 0, TOK_ADD_SPECIAL | TOK_PARSE_SPECIAL);
	ck_assert_uint_eq(ids.n, (size_t)tok_add_bos(t) + tok_add_eos(t));
	check_text(t, ids.data, 0, "", 0);
	vec_release(&ids);
	vb_free(t);
}
END_TEST

START_TEST(test_out_of_range)
{
	static const int bad[] = {-1, INT32_MIN, INT32_MAX, 1 << 24};
	struct tok *t = build(_i);
	struct str out = {0};
	struct detok d;
	size_t n;
	detok_init(&d, t, true);
	for (size_t i = 0; i < 4; i++) {
		tok_piece(t, bad[i], true, &out);
		detok_push(&d, bad[i], &out);
		ck_assert_ptr_null(tok_text(t, bad[i], &n));
		ck_assert(!tok_is_eog(t, bad[i]));
		ck_assert_int_eq(tok_attr(t, bad[i]), TOK_UNUSED);
	}
	tok_piece(t, tok_n_vocab(t), true, &out);
	tok_decode(t, bad, 4, true, &out);
	detok_flush(&d, &out);
	ck_assert_uint_eq(out.len, 0);
	ck_assert_int_eq(tok_find(t, "no such token", 13), -1);
	ck_assert_int_eq(tok_find(t, "", 0), -1);
	detok_release(&d);
	str_release(&out);
	vb_free(t);
}
END_TEST

/* Any bytes come back as they were. WordPiece is lossy by design and only must not fail; SentencePiece puts a space behind
 * special tokens. */
START_TEST(test_random_bytes)
{
	struct tok *t = build(_i);
	srand(7);
	for (int k = 0; k < 3000; k++) {
		static const char common[] = "aaathe  \n0\xC3\xA9\xE4\xB8\xAD<|x|>u";
		char s[80];
		size_t n = (size_t)rand() % sizeof s;
		for (size_t i = 0; i < n; i++)
			s[i] = rand() % 4 ? common[(size_t)rand() % (sizeof common - 1)] : (char)rand();
		struct ids ids = encode(t, s, n, 0);
		if (_i != 2 && !(_i == 1 && memmem(s, n, "<u>", 3)))
			check_text(t, ids.data, ids.n, s, n);
		vec_release(&ids);
		ids = encode(t, s, n, TOK_ADD_SPECIAL | TOK_PARSE_SPECIAL);
		vec_release(&ids);
	}
	vb_free(t);
}
END_TEST

/* What the streaming detokenizer gives is the whole text with every invalid byte replaced, and valid at every step. */
START_TEST(test_streaming)
{
	struct tok *t = build(_i);
	srand(11);
	for (int k = 0; k < 2000; k++) {
		int ids[40], n = rand() % 40;
		struct str whole = {0}, want = {0}, got = {0}, part = {0};
		struct detok d;
		uint32_t cp;
		for (int i = 0; i < n; i++) {
			ids[i] = rand() % (tok_n_vocab(t) + 2) - 1;
			tok_piece(t, ids[i], true, &whole);
		}
		for (size_t i = 0; i < whole.len; i += utf8_next(whole.data + i, whole.len - i, &cp)) {
			utf8_next(whole.data + i, whole.len - i, &cp);
			str_add_cp(&want, cp);
		}
		detok_init(&d, t, true);
		d.first = false;
		for (int i = 0; i < n; i++) {
			str_clear(&part);
			detok_push(&d, ids[i], &part);
			ck_assert(utf8_valid(str_cstr(&part), part.len));
			ck_assert_uint_le(d.held.len, 3);
			str_add(&got, str_cstr(&part), part.len);
		}
		detok_flush(&d, &got);
		ck_assert_uint_eq(got.len, want.len);
		ck_assert_int_eq(memcmp(str_cstr(&got), str_cstr(&want), want.len), 0);
		detok_release(&d);
		str_release(&whole);
		str_release(&want);
		str_release(&got);
		str_release(&part);
	}
	vb_free(t);
}
END_TEST

START_TEST(test_leading_space)
{
	struct tok *t = build(1);
	struct ids ids = encode(t, "the the", 7, TOK_ADD_SPECIAL);
	struct str out = {0};
	struct detok d;
	check_text(t, ids.data, ids.n, "the the", 7);
	detok_init(&d, t, false);
	for (size_t i = 0; i < ids.n; i++)
		detok_push(&d, ids.data[i], &out);
	ck_assert(str_eq(&out, "the the"));
	detok_release(&d);
	str_clear(&out);
	detok_init(&d, t, false);
	d.first = false; /* a text that goes on keeps its space */
	detok_push(&d, ids.data[1], &out);
	ck_assert(str_eq(&out, " the"));
	detok_release(&d);
	str_release(&out);
	vec_release(&ids);
	vb_free(t);
}
END_TEST

/* A megabyte of one character: every kind must come through, in less than the time limit of this test. */
START_TEST(test_long_runs)
{
	static const char *const runs[] = {"a", " ", "\n", "0", "\xFF", "\xE4\xB8\xAD", "<", "'", "a ", "\xCC\x81", "<u>"};
	enum { N = 1 << 20 };
	struct tok *t = build(_i);
	char *s = mem_alloc(N);
	for (size_t k = 0; k < sizeof runs / sizeof *runs; k++) {
		size_t n_run = strlen(runs[k]), n = N / n_run * n_run;
		for (size_t i = 0; i < n; i++)
			s[i] = runs[k][i % n_run];
		struct ids ids = encode(t, s, n, 0);
		if (_i != 2 && !(_i == 1 && runs[k][0] == '<' && n_run > 1))
			check_text(t, ids.data, ids.n, s, n);
		vec_release(&ids);
	}
	mem_free(s);
	vb_free(t);
}
END_TEST

START_TEST(test_special_partition)
{
	struct tok *t = build(0);
	CHECK_IDS(t, "<|x|>", TOK_PARSE_SPECIAL, 266);
	CHECK_IDS(t, "<|x|>y<|x|>", TOK_PARSE_SPECIAL, 267, 266); /* the longest at a place */
	CHECK_IDS(t, "a<u>the", 0, 'a', 268, 257);
	CHECK_IDS(t, "<|x|>", 0, '<', '|', 'x', '|', '>');
	CHECK_IDS(t, "<|x", TOK_PARSE_SPECIAL, '<', '|', 'x');
	CHECK_IDS(t, "b", TOK_ADD_SPECIAL, 266, 'b');
	/* A name that always ends a generation is control, whatever its type in the file. */
	ck_assert_int_eq(tok_attr(t, 269), TOK_CONTROL);
	ck_assert(tok_is_eog(t, 269) && tok_is_eog(t, 267) && !tok_is_eog(t, 266));
	ck_assert_int_eq(tok_eot(t), 269);
	vb_free(t);
}
END_TEST

START_TEST(test_spm)
{
	struct tok *t = build(1);
	/* "th" comes before "he" by score, although both could be joined */
	CHECK_IDS(t, "the", TOK_ADD_SPECIAL, 1, 269);
	CHECK_IDS(t, "bthe", 0, 259, 261, 268);
	CHECK_IDS(t, "aaaaaaa", 0, 259, 266, 265, 260);
	CHECK_IDS(t, "z\xC3\xA9", 0, 259, 3 + 'z', 272);
	CHECK_IDS(t, "<s>the", TOK_PARSE_SPECIAL, 1, 269);
	CHECK_IDS(t, "<u>the", 0, 273, 269);
	vb_free(t);
}
END_TEST

START_TEST(test_wordpiece)
{
	struct tok *t = build(2);
	char word[102];
	CHECK_IDS(t, "Hello, PLAYing", TOK_ADD_SPECIAL, 2, 5, 12, 11, 10, 3);
	CHECK_IDS(t, "ab aaz a", 0, 6, 9, 1, 6);
	CHECK_IDS(t, "a\xE4\xB8\xAD" "b", 0, 6, 13, 7);                 /* ideographs stand alone */
	CHECK_IDS(t, "caf\xC3\xA9 cafe\xCC\x81", 0, 14, 14);            /* accents, composed or not */
	CHECK_IDS(t, "\xEA\xB0\x80", 0, 15, 16);                         /* a Hangul syllable is decomposed wholly */
	CHECK_IDS(t, "a\xC2\xAD\x01\xFF\xEF\xBF\xBD" "b", 0, 6, 9);      /* soft hyphen, control, invalid, U+FFFD vanish */
	CHECK_IDS(t, "a\xE2\x96\x81" "b", 0, 1);                        /* the mark inside a word starts no word */
	CHECK_IDS(t, "a[MASK]", TOK_PARSE_SPECIAL, 6, 4);
	memset(word, 'a', sizeof word);
	word[101] = '\0';
	CHECK_IDS(t, word, 0, 1); /* 101 characters */
	word[100] = '\0';
	struct ids ids = encode(t, word, 100, 0);
	ck_assert_uint_eq(ids.n, 100);
	vec_release(&ids);
	vb_free(t);
}
END_TEST

START_TEST(test_plain_bpe)
{
	struct tok *t = build(3);
	CHECK_IDS(t, " the\n\n\xC3\xA9", TOK_ADD_SPECIAL, 2, 267, 269, 4 + 0xC3, 4 + 0xA9);
	CHECK_IDS(t, "\n\n\n", 0, 268, 268, 268); /* a run that is a token is taken whole; no merge makes shorter ones */
	vb_free(t);
}
END_TEST

/* The loop of the definition: join the pair of lowest rank, leftmost first, until none is left. */
static void naive_bpe(struct str *parts, size_t *n, const char (*merges)[8], size_t n_merge)
{
	for (;;) {
		size_t best = n_merge, at = 0;
		for (size_t i = 0; i + 1 < *n; i++)
			for (size_t m = 0; m < best; m++) {
				char line[64];
				snprintf(line, sizeof line, "%s %s", parts[i].data, parts[i + 1].data);
				if (!strcmp(line, merges[m])) {
					best = m;
					at = i;
				}
			}
		if (best == n_merge)
			return;
		str_adds(&parts[at], parts[at + 1].data);
		str_release(&parts[at + 1]);
		memmove(&parts[at + 1], &parts[at + 2], (*n - at - 2) * sizeof *parts);
		--*n;
	}
}

START_TEST(test_bpe_is_greedy)
{
	static const char merges[][8] = {"b a", "a b", "ab ab", "a a", "ba b", "c ab", "aa a", "b c", "abab c", "bc bc"};
	struct vb v = {0};
	struct err err = {0};
	vb_str(&v, "tokenizer.ggml.model", "gpt2");
	vb_str(&v, "tokenizer.ggml.pre", "gpt-2");
	vb_mapped_bytes(&v);
	for (size_t i = 0; i < 10; i++) {
		char word[8];
		size_t n = 0;
		for (const char *p = merges[i]; *p; p++)
			if (*p != ' ')
				word[n++] = *p;
		vb_merge(&v, merges[i]);
		if (i != 2) /* "abab" is in merges only: it comes out as bytes unless it is joined further */
			vb_token(&v, word, n, 0, TOK_NORMAL);
	}
	struct tok *t = vb_tok(&v, &err);
	ck_assert_msg(t != NULL, "%s", err.msg);
	srand(3);
	for (int k = 0; k < 3000; k++) {
		char s[33] = {0};
		size_t n = 1 + (size_t)rand() % 32, n_part = n;
		struct str parts[33] = {0};
		for (size_t i = 0; i < n; i++) {
			s[i] = (char)("abc"[rand() % 3]);
			str_add(&parts[i], s + i, 1);
		}
		naive_bpe(parts, &n_part, merges, 10);
		struct ids want = {0};
		for (size_t i = 0; i < n_part; i++) {
			int id = tok_find(t, parts[i].data, parts[i].len);
			for (size_t b = 0; id < 0 && b < parts[i].len; b++)
				vec_push(&want, parts[i].data[b]);
			if (id >= 0)
				vec_push(&want, id);
			str_release(&parts[i]);
		}
		vec_push(&want, -1);
		check_ids(t, s, 0, want.data);
		vec_release(&want);
	}
	vb_free(t);
}
END_TEST

/* Without a merge list a token's id is its rank. */
START_TEST(test_bpe_without_merges)
{
	struct vb v = {0};
	struct err err = {0};
	vb_str(&v, "tokenizer.ggml.model", "gpt2");
	vb_str(&v, "tokenizer.ggml.pre", "kimi-k2");
	vb_mapped_bytes(&v);
	vb_word(&v, "he", 0);
	vb_word(&v, "th", 0);
	vb_word(&v, "the", 0);
	vb_word(&v, "\xC4\xA0the", 0);
	struct tok *t = vb_tok(&v, &err);
	ck_assert_msg(t != NULL, "%s", err.msg);
	CHECK_IDS(t, "the the", 0, 258, 259);
	CHECK_IDS(t, "hxth \xC3", 0, 'h', 'x', 257, ' ', 0xC3);
	vb_free(t);
}
END_TEST

START_TEST(test_strips)
{
	struct vb v = {0};
	struct err err = {0};
	vb_bpe(&v, "llama-bpe");
	vb_str(&v, "general.name", "Phi-3 mini");
	struct tok *t = vb_tok(&v, &err);
	ck_assert_msg(t != NULL, "%s", err.msg);
	CHECK_IDS(t, "b <|x|> \n\tb", TOK_PARSE_SPECIAL, 'b', ' ', 266, 'b');
	vb_free(t);
	vb_bpe(&v, "modern-bert");
	vb_token(&v, "[MASK]", 6, 0, TOK_CONTROL);
	t = vb_tok(&v, &err);
	ck_assert_msg(t != NULL, "%s", err.msg);
	CHECK_IDS(t, "b  [MASK] b", TOK_PARSE_SPECIAL, 'b', 270, ' ', 'b');
	CHECK_IDS(t, "  [MASK]", TOK_PARSE_SPECIAL, 270);
	vb_free(t);
}
END_TEST

START_TEST(test_eog_exceptions)
{
	struct vb v = {0};
	struct err err = {0};
	vb_bpe(&v, "gpt-4o");
	int end = vb_token(&v, "<|end|>", 7, 0, TOK_CONTROL), ret = vb_token(&v, "<|return|>", 10, 0, TOK_CONTROL);
	vb_token(&v, "<|call|>", 8, 0, TOK_CONTROL);
	int channel = vb_token(&v, "<|channel|>", 11, 0, TOK_CONTROL);
	int fim = vb_token(&v, "<|fim_prefix|>", 14, 0, TOK_NORMAL);
	struct tok *t = vb_tok(&v, &err);
	ck_assert_msg(t != NULL, "%s", err.msg);
	ck_assert(!tok_is_eog(t, end) && tok_is_eog(t, ret));
	ck_assert_int_eq(tok_attr(t, channel), TOK_USER);
	ck_assert_int_eq(tok_fim_pre(t), fim);
	ck_assert_int_eq(tok_attr(t, fim), TOK_CONTROL);
	ck_assert_int_eq(tok_fim_suf(t), -1);
	vb_free(t);
}
END_TEST

START_TEST(test_bad_files)
{
	struct vb v = {0};
	struct err err = {0};
	vb_str(&v, "tokenizer.ggml.model", "t5");
	vb_word(&v, "a", 0);
	ck_assert_ptr_null(vb_tok(&v, &err));
	ck_assert_int_eq(err.code, ERR_UNSUPPORTED);
	ck_assert_ptr_nonnull(strstr(err.msg, "t5"));

	vb_word(&v, "a", 0); /* no model at all */
	ck_assert_ptr_null(vb_tok(&v, &err));
	ck_assert_int_eq(err.code, ERR_UNSUPPORTED);

	vb_str(&v, "tokenizer.ggml.model", "llama"); /* no tokens */
	ck_assert_ptr_null(vb_tok(&v, &err));
	ck_assert_int_eq(err.code, ERR_FORMAT);

	vb_str(&v, "tokenizer.ggml.model", "llama");
	vb_int(&v, "tokenizer.ggml.tokens", 3);
	ck_assert_ptr_null(vb_tok(&v, &err));
	ck_assert_int_eq(err.code, ERR_FORMAT);

	vb_str(&v, "tokenizer.ggml.model", "llama");
	vb_word(&v, "a", 0);
	vb_word(&v, "b", 0);
	str_truncate(&v.scores, 0);
	struct str texts = {0};
	vb_bytes(&texts, "a", 1);
	vb_bytes(&texts, "b", 1);
	vb_array(&v, "tokenizer.ggml.tokens", 8, 2, &texts);
	vb_u32(&v.scores, 0);
	vb_array(&v, "tokenizer.ggml.scores", 6, 1, &v.scores); /* one score for two tokens */
	v.n_tok = 0;
	ck_assert_ptr_null(vb_tok(&v, &err));
	ck_assert_int_eq(err.code, ERR_FORMAT);
	str_release(&texts);
}
END_TEST

/* Odd files that load all the same. */
START_TEST(test_odd_files)
{
	struct vb v = {0};
	struct err err = {0};
	log_set_level(LOG_ERROR);
	vb_bpe(&v, "a name from the future");
	vb_int(&v, "tokenizer.ggml.eot_token_id", 100000);
	vb_token(&v, "", 0, 0, TOK_NORMAL);
	vb_token(&v, "", 0, 0, TOK_CONTROL);
	vb_token(&v, "the", 3, 0, TOK_NORMAL); /* a second one of this text */
	vb_merge(&v, "");
	vb_merge(&v, " ");
	vb_merge(&v, "nogap");
	vb_merge(&v, " x");
	vb_merge(&v, "x ");
	struct tok *t = vb_tok(&v, &err);
	ck_assert_msg(t != NULL, "%s", err.msg);
	ck_assert_int_eq(tok_find(t, "the", 3), 257);
	CHECK_IDS(t, "the x", 0, 257, ' ', 'x');
	vb_free(t);
	vb_str(&v, "tokenizer.ggml.model", "llama"); /* default ids out of range, no byte tokens, no unknown token */
	vb_word(&v, "a", 0);
	t = vb_tok(&v, &err);
	ck_assert_msg(t != NULL, "%s", err.msg);
	ck_assert_int_eq(tok_bos(t), -1);
	ck_assert(!tok_add_bos(t));
	CHECK_IDS(t, "aba", TOK_ADD_SPECIAL, 0, 0, 0, 0); /* the prefix and "b" are unknown: id 0 */
	vb_free(t);
}
END_TEST

START_TEST(test_clean_spaces)
{
	struct vb v = {0};
	struct err err = {0};
	vb_str(&v, "tokenizer.ggml.model", "bert");
	static const char *const words[] = {"a", "?", ".", "'", "s", "t", "re", "ve", "m", ","};
	for (size_t i = 0; i < 10; i++) {
		char w[8];
		snprintf(w, sizeof w, "\xE2\x96\x81%s", words[i]);
		vb_word(&v, w, 0);
	}
	vb_word(&v, "\xE2\x96\x81's", 0);
	vb_word(&v, "\xE2\x96\x81't", 0);
	vb_word(&v, "\xE2\x96\x81've", 0);
	struct tok *t = vb_tok(&v, &err);
	ck_assert_msg(t != NULL, "%s", err.msg);
	check_text(t, (const int[]){0, 1, 0, 2, 9}, 5, " a? a.,", 7);
	check_text(t, (const int[]){0, 3, 4}, 3, " a's", 4);
	check_text(t, (const int[]){3, 3, 3, 3}, 4, "''''", 4);
	check_text(t, (const int[]){0, 10, 11, 12}, 4, " a's 't've", 10);
	vb_free(t);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("tok");
	TCase *c = tcase_create("tok");
	tcase_set_timeout(c, 60);
	tcase_add_loop_test(c, test_empty, 0, N_KIND);
	tcase_add_loop_test(c, test_out_of_range, 0, N_KIND);
	tcase_add_loop_test(c, test_random_bytes, 0, N_KIND);
	tcase_add_loop_test(c, test_streaming, 0, N_KIND);
	tcase_add_loop_test(c, test_long_runs, 0, N_KIND);
	tcase_add_test(c, test_leading_space);
	tcase_add_test(c, test_special_partition);
	tcase_add_test(c, test_spm);
	tcase_add_test(c, test_wordpiece);
	tcase_add_test(c, test_plain_bpe);
	tcase_add_test(c, test_bpe_is_greedy);
	tcase_add_test(c, test_bpe_without_merges);
	tcase_add_test(c, test_strips);
	tcase_add_test(c, test_eog_exceptions);
	tcase_add_test(c, test_bad_files);
	tcase_add_test(c, test_odd_files);
	tcase_add_test(c, test_clean_spaces);
	suite_add_tcase(s, c);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int n_failed = srunner_ntests_failed(r);
	srunner_free(r);
	return n_failed != 0;
}
