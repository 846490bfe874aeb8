/* Settings from a made-up environment. */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "serve/serve_config.h"

static const char *const *env_list; /* name, value, ..., NULL */

static const char *env(const char *name)
{
	for (size_t i = 0; env_list[i]; i += 2)
		if (!strcmp(env_list[i], name))
			return env_list[i + 1];
	return NULL;
}

static struct serve_config c;

static void load(const char *const *list)
{
	serve_config_release(&c);
	env_list = list;
	log_set_level(LOG_ERROR + 1);
	serve_config_load(&c, env);
}
#define LOAD(...) load((const char *const[]){__VA_ARGS__, NULL, NULL})

START_TEST(defaults)
{
	LOAD("HOME", "/nowhere");
	ck_assert_str_eq(c.addr.name, "127.0.0.1");
	ck_assert_int_eq(c.addr.port, 11434);
	ck_assert_int_eq(c.keep_alive_ns, 300 * NS_PER_S);
	ck_assert_int_eq(c.load_timeout_ns, 300 * NS_PER_S);
	ck_assert_int_eq(c.grace_ns, 5 * NS_PER_S);
	ck_assert_int_eq(c.n_ctx, 0);
	ck_assert_int_eq(c.max_queue, 512);
	ck_assert_int_eq(c.stream, API_STREAM_AUTO);
	ck_assert(!c.debug && c.speculation);
	ck_assert_str_eq(c.cache_dir, "/nowhere/.cache/cria");
	ck_assert_str_eq(c.origins, "");
	ck_assert_str_eq(c.kv_type, "f16");
	serve_config_release(&c);
}
END_TEST

START_TEST(values)
{
	LOAD("OLLAMA_HOST", " '0.0.0.0:80' ", "OLLAMA_KEEP_ALIVE", "90", "OLLAMA_CONTEXT_LENGTH", "4096", "OLLAMA_DEBUG", "yes",
	     "OLLAMA_MAX_QUEUE", "7", "OLLAMA_MODELS", "/m", "CRIA_CACHE", "/c", "CRIA_STREAM_DEFAULT", "OFF", "CRIA_KERNELS", "ref",
	     "OLLAMA_ORIGINS", "a,b", "OLLAMA_LOAD_TIMEOUT", "1m30s", "CRIA_GRACE", "-1", "CRIA_SPECULATION", "Off",
	     "OLLAMA_KV_CACHE_TYPE", "Q8_0");
	ck_assert(!c.speculation);
	ck_assert_str_eq(c.addr.name, "0.0.0.0");
	ck_assert_int_eq(c.addr.port, 80);
	ck_assert_int_eq(c.keep_alive_ns, 90 * NS_PER_S);
	ck_assert_int_eq(c.n_ctx, 4096);
	ck_assert(c.debug);
	ck_assert_int_eq(c.max_queue, 7);
	ck_assert_str_eq(c.models_dir, "/m");
	ck_assert_str_eq(c.cache_dir, "/c");
	ck_assert_int_eq(c.stream, API_STREAM_OFF);
	ck_assert_str_eq(c.kernels, "ref");
	ck_assert_str_eq(c.kv_type, "q8_0");
	ck_assert_str_eq(c.origins, "a,b");
	ck_assert_int_eq(c.load_timeout_ns, 90 * NS_PER_S);
	ck_assert_int_eq(c.grace_ns, 0);
	serve_config_release(&c);
}
END_TEST

START_TEST(twins)
{
	LOAD("OLLAMA_HOST", "127.0.0.1:1", "CRIA_HOST", "127.0.0.1:2", "CRIA_MAX_QUEUE", "  ", "OLLAMA_MAX_QUEUE", "3", "OLLAMA_KERNELS",
	     "ref", "OLLAMA_DEBUG", "false");
	ck_assert_int_eq(c.addr.port, 2);
	ck_assert_int_eq(c.max_queue, 3); /* a blank value is none */
	ck_assert_str_eq(c.kernels, "");  /* ours has no OLLAMA_ twin */
	ck_assert(!c.debug);
	serve_config_release(&c);
}
END_TEST

START_TEST(bad_values)
{
	LOAD("OLLAMA_HOST", "127.0.0.1:99999", "OLLAMA_KEEP_ALIVE", "soon", "OLLAMA_CONTEXT_LENGTH", "-4", "OLLAMA_MAX_QUEUE", "5x",
	     "CRIA_STREAM_DEFAULT", "perhaps", "CRIA_NUM_THREADS", "99999999999999999999", "CRIA_SPECULATION", "a bit",
	     "OLLAMA_KV_CACHE_TYPE", "q4_0");
	ck_assert(c.speculation);
	ck_assert_int_eq(c.addr.port, 11434);
	ck_assert_int_eq(c.keep_alive_ns, 300 * NS_PER_S);
	ck_assert_int_eq(c.n_ctx, 0);
	ck_assert_int_eq(c.max_queue, 512);
	ck_assert_int_eq(c.stream, API_STREAM_AUTO);
	ck_assert_int_eq(c.n_thread, 0);
	ck_assert_str_eq(c.kv_type, "f16");
	LOAD("OLLAMA_KEEP_ALIVE", "-1", "OLLAMA_LOAD_TIMEOUT", "0");
	ck_assert_int_eq(c.keep_alive_ns, INT64_MAX);
	ck_assert_int_gt(c.load_timeout_ns, 1000000 * NS_PER_S);
	LOAD("OLLAMA_KEEP_ALIVE", "0");
	ck_assert_int_eq(c.keep_alive_ns, 0);
	LOAD("OLLAMA_KEEP_ALIVE", "9223372036854775807");
	ck_assert_int_gt(c.keep_alive_ns, 0);
	serve_config_release(&c);
}
END_TEST

START_TEST(hosts)
{
	static const struct {
		const char *text, *name;
		int port;
	} t[] = {
		{"", "127.0.0.1", 11434},
		{"1.2.3.4", "1.2.3.4", 11434},
		{"1.2.3.4:0", "1.2.3.4", 0},
		{":1234", "0.0.0.0", 1234},
		{"example.com:1/", "example.com", 1},
		{"http://1.2.3.4", "1.2.3.4", 80},
		{"https://x", "x", 443},
		{"https://x:5/p/", "x", 5},
		{"[::1]", "::1", 11434},
		{"[::1]:9", "::1", 9},
		{"::", "::", 11434},
		{"x:-1", "x", 11434},
		{"x:abc", "x", 11434},
	};
	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		LOAD("OLLAMA_HOST", t[i].text);
		ck_assert_msg(!strcmp(c.addr.name, t[i].name) && c.addr.port == t[i].port, "%s gave %s %d", t[i].text, c.addr.name,
			      c.addr.port);
	}
	serve_config_release(&c);
}
END_TEST

START_TEST(folders)
{
	char home[] = "/tmp/cria-home-XXXXXX", want[100];
	ck_assert_ptr_nonnull(mkdtemp(home));
	snprintf(want, sizeof want, "%s/.ollama", home);
	mkdir(want, 0700);
	snprintf(want, sizeof want, "%s/.ollama/models", home);
	mkdir(want, 0700);
	LOAD("HOME", home, "XDG_CACHE_HOME", "/x");
	ck_assert_str_eq(c.models_dir, want);
	ck_assert_str_eq(c.cache_dir, "/x/cria");
	LOAD("HOME", home, "XDG_CACHE_HOME", "relative");
	ck_assert_str_ne(c.cache_dir, "relative/cria");
	serve_config_release(&c);
	rmdir(want);
	want[strlen(want) - strlen("/models")] = '\0';
	rmdir(want);
	rmdir(home);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("serve_config");
	TCase *t = tcase_create("all");
	tcase_add_test(t, defaults);
	tcase_add_test(t, values);
	tcase_add_test(t, twins);
	tcase_add_test(t, bad_values);
	tcase_add_test(t, hosts);
	tcase_add_test(t, folders);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int n = srunner_ntests_failed(r);
	srunner_free(r);
	return n != 0;
}
