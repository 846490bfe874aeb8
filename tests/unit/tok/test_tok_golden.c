/* Real vocabularies against reference token ids. The golden files lie beside the repository in ../shared/golden; the four
 * real models are looked for in the folder that CRIA_TEST_MODELS names, the tiny ones beside their golden files. What is
 * absent is skipped with a message. */
#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "tok/tok.h"

#define GOLDEN "../shared/golden"

static struct gguf *opened; /* the file of the one tokenizer that is open */

static struct tok *open_model(const char *path)
{
	struct gguf *g = NULL;
	struct tok *t = NULL;
	struct err err = {0};
	int fd = open(path, O_RDONLY);
	if (fd < 0)
		return NULL;
	ck_assert_msg(gguf_open(fd, &g, &err) == 0, "%s: %s", path, err.msg);
	close(fd);
	ck_assert_msg(tok_new(g, &t, &err) == 0, "%s: %s", path, err.msg);
	ck_assert_ptr_null(opened);
	opened = g;
	return t;
}

static void close_model(struct tok *t)
{
	tok_free(t);
	gguf_close(opened);
	opened = NULL;
}

static bool same_ids(const struct ids *got, size_t from, size_t n, const json_t *want)
{
	if (n != json_array_size(want))
		return false;
	for (size_t i = 0; i < n; i++)
		if (got->data[from + i] != (int)json_integer_value(json_array_get(want, i)))
			return false;
	return true;
}

static void print_ids(const char *what, const struct ids *ids)
{
	printf("  %s:", what);
	for (size_t i = 0; i < ids->n && i < 40; i++)
		printf(" %d", ids->data[i]);
	printf("\n");
}

/* want, or pre + want + suf when add is asked and the case has no list of its own. */
static bool matches(const struct ids *got, const json_t *want, bool add, const json_t *header)
{
	const json_t *pre = json_object_get(header, "add_prefix"), *suf = json_object_get(header, "add_suffix");
	size_t n_pre = add ? json_array_size(pre) : 0, n_suf = add ? json_array_size(suf) : 0;
	if (!want || got->n < n_pre + n_suf)
		return false;
	return (!add || (same_ids(got, 0, n_pre, pre) && same_ids(got, got->n - n_suf, n_suf, suf))) &&
		same_ids(got, n_pre, got->n - n_pre - n_suf, want);
}

static int check_setting(const struct tok *t, const json_t *c, const json_t *header, bool add, bool parse)
{
	const json_t *text = json_object_get(c, "text"), *plain = json_object_get(c, "ids");
	const json_t *parsed = json_object_get(c, "ids_parse"), *hf = json_object_get(c, "ids_hf");
	const json_t *own = json_object_get(c, parse ? "ids_add_parse" : "ids_add");
	struct ids got = {0};
	struct err err = {0};
	unsigned flags = (add ? TOK_ADD_SPECIAL : 0) | (parse ? TOK_PARSE_SPECIAL : 0);
	int rc = tok_encode(t, json_string_value(text), json_string_length(text), flags, &got, &err);
	bool ok = rc == 0;
	if (ok && add && own)
		ok = same_ids(&got, 0, got.n, own);
	else if (ok)
		ok = matches(&got, parse && parsed ? parsed : plain, add, header) || matches(&got, hf, add, header);
	if (!ok) {
		printf("%s add=%d parse=%d %s\n", json_string_value(json_object_get(c, "id")), add, parse, rc ? err.msg : "");
		print_ids("got", &got);
	}
	vec_release(&got);
	return !ok;
}

static void ids_of(const json_t *a, struct ids *out)
{
	for (size_t i = 0; i < json_array_size(a); i++)
		vec_push(out, (int)json_integer_value(json_array_get(a, i)));
}

static bool text_equals(const struct str *got, const json_t *want)
{
	const char *hex = json_string_value(json_object_get(want, "hex"));
	if (!hex)
		return got->len == json_string_length(want) && !memcmp(str_cstr(got), json_string_value(want), got->len);
	bool ok = strlen(hex) == got->len * 2;
	for (size_t i = 0; ok && i < got->len; i++) {
		unsigned b;
		ok = sscanf(hex + 2 * i, "%2x", &b) == 1 && (unsigned char)got->data[i] == b;
	}
	return ok;
}

static int check_decode(const struct tok *t, const json_t *c, const char *key, const json_t *ids, bool special)
{
	const json_t *want = json_object_get(c, key);
	struct ids in = {0};
	struct str got = {0};
	if (!want && strcmp(key, "detok"))
		return 0;
	ids_of(ids, &in);
	tok_decode(t, in.data, in.n, special, &got);
	bool ok = text_equals(&got, want ? want : json_object_get(c, "text"));
	if (!ok)
		printf("%s %s: got '%s'\n", json_string_value(json_object_get(c, "id")), key, str_cstr(&got));
	vec_release(&in);
	str_release(&got);
	return !ok;
}

static int check_pieces(const struct tok *t, const json_t *c, const json_t *ids)
{
	const json_t *pieces = json_object_get(c, "pieces");
	int n_bad = 0;
	for (size_t i = 0; i < json_array_size(pieces); i++) {
		json_t *want = json_pack("{s:O}", "hex", json_array_get(pieces, i));
		struct str got = {0};
		tok_piece(t, (int)json_integer_value(json_array_get(ids, i)), true, &got);
		if (!text_equals(&got, want)) {
			printf("%s piece %zu: got '%s'\n", json_string_value(json_object_get(c, "id")), i, str_cstr(&got));
			n_bad++;
		}
		str_release(&got);
		json_decref(want);
	}
	return n_bad;
}

static int check_case(const struct tok *t, const json_t *c, const json_t *header)
{
	const json_t *plain = json_object_get(c, "ids"), *parsed = json_object_get(c, "ids_parse");
	int n_bad = 0;
	for (int k = 0; k < 4; k++)
		n_bad += check_setting(t, c, header, k & 1, k & 2);
	n_bad += check_decode(t, c, "detok", plain, false);
	n_bad += check_decode(t, c, "detok_parse", parsed, false);
	n_bad += check_decode(t, c, "detok_parse_unparsed", parsed, true);
	return n_bad + check_pieces(t, c, parsed ? parsed : plain);
}

static int check_header(const struct tok *t, const json_t *h)
{
	const json_t *eog = json_object_get(h, "eog_ids");
	size_t n_eog = 0;
	int n_bad = 0;
	for (int id = 0; id < tok_n_vocab(t); id++)
		n_eog += tok_is_eog(t, id);
	for (size_t i = 0; i < json_array_size(eog); i++)
		n_bad += !tok_is_eog(t, (int)json_integer_value(json_array_get(eog, i)));
	n_bad += n_eog != json_array_size(eog);
	n_bad += tok_n_vocab(t) != json_integer_value(json_object_get(h, "n_vocab"));
	n_bad += tok_bos(t) != json_integer_value(json_object_get(h, "bos_id"));
	n_bad += tok_eos(t) != json_integer_value(json_object_get(h, "eos_id"));
	n_bad += tok_add_bos(t) != json_is_true(json_object_get(h, "add_bos"));
	n_bad += tok_add_eos(t) != json_is_true(json_object_get(h, "add_eos"));
	if (n_bad)
		printf("header: bos %d eos %d add %d %d, %zu eog\n", tok_bos(t), tok_eos(t), tok_add_bos(t), tok_add_eos(t), n_eog);
	return n_bad;
}

static const char *const real_models[] = {"smollm2", "gemma3-270m", "qwen2.5-coder-0.5b", "minilm"};

START_TEST(test_real_model)
{
	const char *dir = getenv("CRIA_TEST_MODELS"), *name = real_models[_i];
	char path[4096];
	json_error_t je;
	snprintf(path, sizeof path, GOLDEN "/tokens-%s.json", name);
	json_t *g = json_load_file(path, JSON_ALLOW_NUL, &je);
	if (!dir || !g) {
		printf("skipped %s: %s\n", name, !dir ? "CRIA_TEST_MODELS names no folder" : "no golden file");
		json_decref(g);
		return;
	}
	const json_t *h = json_object_get(g, "header"), *cases = json_object_get(g, "cases");
	snprintf(path, sizeof path, "%s/%s", dir, json_string_value(json_object_get(h, "model_file")));
	struct tok *t = open_model(path);
	if (!t) {
		printf("skipped %s: no file %s\n", name, path);
		json_decref(g);
		return;
	}
	int n_bad = check_header(t, h);
	for (size_t i = 0; i < json_array_size(cases); i++)
		n_bad += check_case(t, json_array_get(cases, i), h);
	printf("%s: %zu cases, %d differences\n", name, json_array_size(cases), n_bad);
	ck_assert_int_eq(n_bad, 0);
	close_model(t);
	json_decref(g);
}
END_TEST

static int check_arch(const char *file, size_t *n_case)
{
	char path[4096];
	json_error_t je;
	snprintf(path, sizeof path, GOLDEN "/arch/%s", file);
	json_t *g = json_load_file(path, JSON_ALLOW_NUL, &je);
	const json_t *cases = json_object_get(g, "tokenize");
	int n_bad = 0;
	if (json_array_size(cases)) {
		snprintf(path, sizeof path, GOLDEN "/arch/%s", json_string_value(json_object_get(g, "file")));
		struct tok *t = open_model(path);
		ck_assert_msg(t != NULL, "no file %s", path);
		for (size_t i = 0; i < json_array_size(cases); i++, ++*n_case) {
			const json_t *c = json_array_get(cases, i), *text = json_object_get(c, "text");
			struct ids got = {0};
			struct err err = {0};
			int rc = tok_encode(t, json_string_value(text), json_string_length(text), TOK_ADD_SPECIAL | TOK_PARSE_SPECIAL, &got,
				&err);
			if (rc || !same_ids(&got, 0, got.n, json_object_get(c, "ids"))) {
				printf("%s '%s' %s\n", file, json_string_value(text), rc ? err.msg : "");
				print_ids("got", &got);
				n_bad++;
			}
			vec_release(&got);
		}
		close_model(t);
	}
	json_decref(g);
	return n_bad;
}

START_TEST(test_arch)
{
	DIR *d = opendir(GOLDEN "/arch");
	struct dirent *e;
	size_t n_case = 0;
	int n_bad = 0;
	if (!d) {
		printf("skipped the tiny models: no folder " GOLDEN "/arch\n");
		return;
	}
	while ((e = readdir(d)))
		if (strlen(e->d_name) > 5 && !strcmp(e->d_name + strlen(e->d_name) - 5, ".json"))
			n_bad += check_arch(e->d_name, &n_case);
	closedir(d);
	printf("tiny models: %zu cases, %d differences\n", n_case, n_bad);
	ck_assert_int_eq(n_bad, 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("tok_golden");
	TCase *c = tcase_create("golden");
	tcase_set_timeout(c, 300);
	tcase_add_loop_test(c, test_real_model, 0, (int)(sizeof real_models / sizeof *real_models));
	tcase_add_test(c, test_arch);
	suite_add_tcase(s, c);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int n_failed = srunner_ntests_failed(r);
	srunner_free(r);
	return n_failed != 0;
}
