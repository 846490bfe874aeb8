/* The store: names with golden cases, manifests sound and broken, deletion of shared blobs, concurrent change. */
#include <check.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utime.h>

#include "base/bug.h"
#include "base/json.h"
#include "base/mem.h"
#include "store/store.h"

static char root[64];
static struct store *st;

static void setup(void)
{
	struct err err;
	char dir[128], cache[128];
	strcpy(root, "/tmp/cria-store-XXXXXX");
	ck_assert(mkdtemp(root) != NULL);
	snprintf(dir, sizeof dir, "%s/models", root);
	snprintf(cache, sizeof cache, "%s/cache", root);
	ck_assert_int_eq(store_open(dir, cache, &st, &err), 0);
}

static void teardown(void)
{
	char cmd[128];
	store_close(st);
	snprintf(cmd, sizeof cmd, "rm -rf %s", root);
	ck_assert_int_eq(system(cmd), 0);
}

static struct store_name name_of(const char *text)
{
	struct store_name n;
	ck_assert_msg(store_name_parse(text, &n), "%s", text);
	return n;
}

/* A model with one model layer and a system text. */
static void make_model(const char *name, const char *weights, const char *system)
{
	struct err err;
	char d[2][72];
	struct store_name n = name_of(name);
	ck_assert_int_eq(store_blob_put(st, weights, strlen(weights), d[0], NULL, &err), 0);
	ck_assert_int_eq(store_blob_put(st, system, strlen(system), d[1], NULL, &err), 0);
	char model[] = "application/vnd.ollama.image.model", sys[] = "application/vnd.ollama.image.system";
	struct store_layer layers[] = {{.media_type = model, .digest = d[0], .size_bytes = (int64_t)strlen(weights)},
				       {.media_type = sys, .digest = d[1], .size_bytes = (int64_t)strlen(system)}};
	json_t *config = json_pack("{s:s}", "model_format", "gguf");
	ck_assert_msg(!store_manifest_write(st, &n, config, layers, 2, true, &err), "%s", err.msg);
	json_decref(config);
}

static size_t count_files(const char *sub)
{
	char cmd[256];
	size_t n = 0;
	snprintf(cmd, sizeof cmd, "find %s/models/%s -type f | wc -l", root, sub);
	FILE *f = popen(cmd, "r");
	ck_assert_int_eq(fscanf(f, "%zu", &n), 1);
	pclose(f);
	return n;
}

START_TEST(names_valid)
{
	static const struct {
		const char *text, *brief, *full;
	} cases[] = {
		{"llama3.2", "llama3.2:latest", "registry.ollama.ai/library/llama3.2:latest"},
		{" x:1b \n", "x:1b", "registry.ollama.ai/library/x:1b"},
		{"me/x", "me/x:latest", "registry.ollama.ai/me/x:latest"},
		{"example.com:8080/me/mini:v1", "example.com:8080/me/mini:v1", "example.com:8080/me/mini:v1"},
		{"http://h/n/m", "h/n/m:latest", "h/n/m:latest"},
		{"https://h:1/n/m:t", "h:1/n/m:t", "h:1/n/m:t"},
		{"REGISTRY.ollama.ai/Library/a", "a:latest", "REGISTRY.ollama.ai/Library/a:latest"},
		{"hf.co/bart/Some-Model-GGUF:Q4_K_M", "hf.co/bart/Some-Model-GGUF:Q4_K_M", "hf.co/bart/Some-Model-GGUF:Q4_K_M"},
		{"_a.b-c:_", "_a.b-c:_", "registry.ollama.ai/library/_a.b-c:_"},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct store_name n = name_of(cases[i].text), again;
		struct str s = {0};
		store_name_short(&n, &s);
		ck_assert_str_eq(s.data, cases[i].brief);
		ck_assert(store_name_parse(s.data, &again) && store_name_equal(&n, &again));
		str_clear(&s);
		store_name_full(&n, &s);
		ck_assert_str_eq(s.data, cases[i].full);
		str_release(&s);
	}
}
END_TEST

START_TEST(names_hostile)
{
	static const char *const bad[] = {"", " ", "a b", "a b/c:d:e", "..", "../x", "a/..", "../../etc/passwd", "x:", ":x", "/x", "x/",
					  "a//b", "a/b/c/d/e", "ns.dot/m", "x:..", "x:.hidden", ".hidden", "-x", "x@sha256:00", "a\\b",
					  "m:a/b:c:", "\xc3\xa4", "x\x01", "ftp://h/n/m", "http:///n/m", "a/b/c:d:e"};
	struct store_name n;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		ck_assert_msg(!store_name_parse(bad[i], &n), "accepted \"%s\"", bad[i]);
	char text[1000];
	memset(text, 'a', sizeof text);
	text[81] = '\0';
	ck_assert(!store_name_parse(text, &n));
	text[80] = '\0';
	ck_assert(store_name_parse(text, &n));
	strcpy(text + 80, "/m");
	ck_assert(store_name_parse(text, &n));
	memset(text, 'h', 351);
	strcpy(text + 351, "/n/m");
	ck_assert(!store_name_parse(text, &n));
	strcpy(text + 350, "/n/m");
	ck_assert(store_name_parse(text, &n));
}
END_TEST

START_TEST(resolve_and_list)
{
	struct err err;
	struct store_model *m, **list;
	size_t n;
	make_model("Mixed/Case:V1", "weights", "be kind");
	struct store_name name = name_of("mixed/CASE:v1");
	ck_assert_msg(!store_resolve(st, &name, &m, &err), "%s", err.msg);
	ck_assert_str_eq(m->name.model, "Case");
	ck_assert_str_eq(m->name.tag, "V1");
	ck_assert_str_eq(m->system, "be kind");
	ck_assert_ptr_null(m->params);
	ck_assert_str_eq(m->parent_model, "");
	ck_assert_int_eq((int)strlen(m->digest), 64);
	ck_assert_ptr_nonnull(strstr(m->model_path, "/blobs/sha256-"));
	ck_assert_int_eq(m->size_bytes, 7 + 7 + 24);
	store_model_free(m);
	/* a second write under another spelling replaces the first */
	make_model("MIXED/case:v1", "weights", "be short");
	ck_assert_int_eq(store_list(st, &list, &n, &err), 0);
	ck_assert_uint_eq(n, 1);
	ck_assert_str_eq(list[0]->system, "be short");
	store_list_free(list, n);
	name = name_of("mixed/other");
	ck_assert_int_eq(store_resolve(st, &name, &m, &err), ERR_NOT_FOUND);
	ck_assert_ptr_null(m);
}
END_TEST

START_TEST(broken_manifests)
{
	static const char *const texts[] = {
		"", "{", "[]", "null", "{\"layers\":5}", "{\"layers\":[{\"digest\":\"sha256:../../../../etc/passwd\"}]}",
		"{\"layers\":[{\"mediaType\":\"application/vnd.ollama.image.system\","
		"\"digest\":\"sha256:0000000000000000000000000000000000000000000000000000000000000000\",\"size\":1}]}",
		"{\"layers\":[{\"mediaType\":\"x\",\"digest\":\"sha256:0000000000000000000000000000000000000000000000000000000000000000\","
		"\"size\":-5}]}"};
	struct err err;
	char path[256];
	struct store_model *m, **list;
	size_t n;
	make_model("good", "w", "s");
	snprintf(path, sizeof path, "mkdir -p %s/models/manifests/registry.ollama.ai/library/bad", root);
	ck_assert_int_eq(system(path), 0);
	snprintf(path, sizeof path, "%s/models/manifests/registry.ollama.ai/library/bad/latest", root);
	struct store_name name = name_of("bad");
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		FILE *f = fopen(path, "w");
		fputs(texts[i], f);
		fclose(f);
		ck_assert_msg(store_resolve(st, &name, &m, &err) == ERR_FORMAT, "%s: %s", texts[i], err.msg);
		ck_assert_int_eq(store_list(st, &list, &n, &err), 0);
		ck_assert_uint_eq(n, 1);
		store_list_free(list, n);
	}
	/* with an unreadable manifest about, nobody knows what is used: deleting keeps the blobs */
	FILE *f = fopen(path, "w");
	fputs("{", f);
	fclose(f);
	size_t before = count_files("blobs");
	name = name_of("good");
	ck_assert_int_eq(store_delete(st, &name, &err), 0);
	ck_assert_uint_eq(count_files("blobs"), before);
	name = name_of("bad");
	ck_assert_int_eq(store_delete(st, &name, &err), 0);
	ck_assert_uint_eq(count_files("manifests"), 0);
}
END_TEST

START_TEST(copy_delete)
{
	struct err err;
	make_model("one", "w", "s");
	struct store_name one = name_of("one"), two = name_of("h.example:80/me/two:x"), none = name_of("none");
	ck_assert_int_eq(store_copy(st, &none, &two, &err), ERR_NOT_FOUND);
	ck_assert_int_eq(store_copy(st, &one, &one, &err), 0);
	ck_assert_int_eq(store_copy(st, &one, &two, &err), 0);
	ck_assert_uint_eq(count_files("blobs"), 3);
	ck_assert_int_eq(store_delete(st, &one, &err), 0);
	ck_assert_uint_eq(count_files("blobs"), 3);
	ck_assert_int_eq(store_delete(st, &one, &err), ERR_NOT_FOUND);
	ck_assert_int_eq(store_delete(st, &two, &err), 0);
	ck_assert_uint_eq(count_files("blobs"), 0);
	char path[128];
	snprintf(path, sizeof path, "%s/models/manifests/h.example:80", root);
	ck_assert_int_ne(access(path, F_OK), 0);
}
END_TEST

START_TEST(blobs)
{
	struct err err;
	struct store_blob *b;
	char d[72];
	int64_t size;
	const char *want = "sha256-2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
	ck_assert_int_eq(store_blob_begin(st, &b, &err), 0);
	ck_assert_int_eq(store_blob_write(b, "hel", 3, &err), 0);
	ck_assert_int_eq(store_blob_write(b, "lo", 2, &err), 0);
	ck_assert_int_eq(store_blob_finish(b, want, d, &size, &err), 0);
	ck_assert_int_eq(size, 5);
	ck_assert_str_eq(d + 7, want + 7);
	ck_assert(store_blob_exists(st, want, &size));
	ck_assert_int_eq(store_blob_begin(st, &b, &err), 0);
	ck_assert_int_eq(store_blob_finish(b, want, d, &size, &err), ERR_INVALID);
	ck_assert_str_eq(err.msg, "digest mismatch, expected \"sha256-2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824\", "
				  "got \"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"");
	ck_assert_uint_eq(count_files("blobs"), 1);
	ck_assert(!store_digest_valid("sha256:00") && !store_digest_valid("sha512:") && !store_digest_valid(""));
	ck_assert(!store_digest_valid("sha256:../../../../../../../../../../../../../../../../../etc/passwd0000"));
	ck_assert(!store_blob_exists(st, "../x", NULL));
}
END_TEST

START_TEST(pruning)
{
	static const char *const files[] = {"sha256-1111111111111111111111111111111111111111111111111111111111111111",
					    "sha256-1111111111111111111111111111111111111111111111111111111111111111-partial-3",
					    ".cria-tmp-abcdef", "notes.txt"};
	char path[256];
	struct utimbuf old = {1000, 1000};
	make_model("one", "w", "s");
	snprintf(path, sizeof path, "for f in %s/models/blobs/*; do touch -d @1000 $f; done; mkdir -p %s/models/manifests/a/b/c", root, root);
	ck_assert_int_eq(system(path), 0);
	for (int young = 1; young >= 0; young--) {
		for (size_t i = 0; i < ARRAY_LEN(files); i++) {
			snprintf(path, sizeof path, "%s/models/blobs/%s", root, files[i]);
			close(open(path, O_CREAT | O_WRONLY, 0644));
			if (!young)
				utime(path, &old);
		}
		store_prune(st);
		ck_assert_uint_eq(count_files("blobs"), young ? 3 + 4 : 3 + 1); /* notes.txt is not ours */
	}
	snprintf(path, sizeof path, "%s/models/manifests/a", root);
	ck_assert_int_ne(access(path, F_OK), 0);
	struct store_model *m;
	struct err err;
	struct store_name n = name_of("one");
	ck_assert_int_eq(store_resolve(st, &n, &m, &err), 0);
	store_model_free(m);
}
END_TEST

START_TEST(facts)
{
	const char *d = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
	ck_assert_ptr_null(store_fact_get(st, d, "info"));
	json_t *v = json_pack("{s:i,s:s}", "n", 5, "t", "\xe2\x82\xac<b>");
	store_fact_put(st, d, "info", v);
	json_t *back = store_fact_get(st, d, "info");
	ck_assert(json_equal(v, back));
	json_decref(v);
	json_decref(back);
	ck_assert_ptr_null(store_fact_get(st, d, "verbose"));
	ck_assert_ptr_null(store_fact_get(st, "../../x", "info"));
}
END_TEST

static void *churn(void *arg)
{
	struct err err;
	struct store_name src = name_of("base"), mine = name_of(arg);
	for (int i = 0; i < 60; i++) {
		ck_assert_int_eq(store_copy(st, &src, &mine, &err), 0);
		ck_assert_int_eq(store_delete(st, &mine, &err), 0);
	}
	return NULL;
}

START_TEST(concurrent)
{
	static char names[][8] = {"a/x", "a/y", "b/x", "c"};
	pthread_t t[4];
	struct err err;
	make_model("base", "w", "s");
	for (size_t i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, churn, names[i]);
	struct store_name base = name_of("base");
	for (int i = 0; i < 60; i++) {
		struct store_model *m;
		ck_assert_int_eq(store_resolve(st, &base, &m, &err), 0);
		store_model_free(m);
	}
	for (size_t i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	ck_assert_uint_eq(count_files("manifests"), 1);
	ck_assert_uint_eq(count_files("blobs"), 3);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("store");
	TCase *tc = tcase_create("store");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, names_valid);
	tcase_add_test(tc, names_hostile);
	tcase_add_test(tc, resolve_and_list);
	tcase_add_test(tc, broken_manifests);
	tcase_add_test(tc, copy_delete);
	tcase_add_test(tc, blobs);
	tcase_add_test(tc, pruning);
	tcase_add_test(tc, facts);
	tcase_add_test(tc, concurrent);
	tcase_set_timeout(tc, 60);
	suite_add_tcase(s, tc);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
