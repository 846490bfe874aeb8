/* sched_mem: numbers from the kernel's files, from a machine made of text; plans, also for hostile facts. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sched/sched_mem.h"

#define MIB (INT64_C(1) << 20)
#define GIB (INT64_C(1) << 30)

static char root[64];

static void put(const char *path, const char *text)
{
	char full[512], cmd[600];
	snprintf(full, sizeof full, "%s%s", root, path);
	*strrchr(full, '/') = '\0';
	snprintf(cmd, sizeof cmd, "mkdir -p '%s'", full);
	ck_assert_int_eq(system(cmd), 0);
	snprintf(full, sizeof full, "%s%s", root, path);
	FILE *f = fopen(full, "w");
	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	fclose(f);
}

static void setup(void)
{
	strcpy(root, "/tmp/cria-mem-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(root));
}

static void teardown(void)
{
	char cmd[128];
	snprintf(cmd, sizeof cmd, "rm -rf %s", root);
	ck_assert_int_eq(system(cmd), 0);
}

START_TEST(available)
{
	ck_assert(sched_mem_available(root) == INT64_MAX); /* nothing can be read */
	put("/proc/meminfo", "MemTotal:       16000000 kB\nMemFree:         1000000 kB\nMemAvailable:    8000000 kB\n");
	ck_assert_int_eq(sched_mem_available(root), 8000000LL * 1024);
	put("/proc/self/cgroup", "0::/a.slice/b.scope\n");
	ck_assert_int_eq(sched_mem_available(root), 8000000LL * 1024);
	put("/sys/fs/cgroup/a.slice/b.scope/memory.max", "max\n");
	put("/sys/fs/cgroup/a.slice/memory.max", "4294967296\n");
	put("/sys/fs/cgroup/a.slice/memory.current", "3221225472\n");
	ck_assert_int_eq(sched_mem_available(root), GIB);
	put("/sys/fs/cgroup/a.slice/memory.stat", "anon 5\nactive_file 1073741824\ninactive_file 536870912\n");
	ck_assert_int_eq(sched_mem_available(root), GIB * 5 / 2);
	put("/sys/fs/cgroup/a.slice/b.scope/memory.max", "1048576\n"); /* over its limit */
	put("/sys/fs/cgroup/a.slice/b.scope/memory.current", "2097152\n");
	ck_assert_int_eq(sched_mem_available(root), 0);
}
END_TEST

START_TEST(available_v1)
{
	put("/proc/meminfo", "MemAvailable:    8000000 kB\n");
	put("/proc/self/cgroup", "9:name=systemd:/\n4:memory:/box/x\n1:cpu:/\n0::/\n");
	put("/sys/fs/cgroup/memory/box/x/memory.limit_in_bytes", "9223372036854771712\n");
	put("/sys/fs/cgroup/memory/box/memory.limit_in_bytes", "1073741824\n");
	put("/sys/fs/cgroup/memory/box/memory.usage_in_bytes", "536870912\n");
	put("/sys/fs/cgroup/memory/box/memory.stat", "cache 1\ntotal_active_file 1\ntotal_inactive_file 268435455\n");
	ck_assert_int_eq(sched_mem_available(root), GIB * 3 / 4);
	put("/proc/self/cgroup", "garbage\n:::\n\n0::\n4:memory:\n"); /* odd lines do no harm */
	ck_assert_int_eq(sched_mem_available(root), 8000000LL * 1024);
}
END_TEST

START_TEST(here)
{
	int64_t own, mapped;
	ck_assert_int_gt(sched_mem_available(""), 0);
	sched_mem_resident(getpid(), &own, &mapped);
	ck_assert(own > 0 && mapped > 0);
	sched_mem_resident(999999999, &own, &mapped);
	ck_assert(own == 0 && mapped == 0);
}
END_TEST

static struct sched_mem_model model_with(const char *text, int64_t bytes, const char *kv_type)
{
	struct sched_mem_model m;
	json_t *v = json_loads(text, 0, NULL);
	sched_mem_model(v, bytes, kv_type, &m);
	json_decref(v);
	return m;
}

static struct sched_mem_model model_of(const char *text, int64_t bytes)
{
	return model_with(text, bytes, NULL);
}

START_TEST(models)
{
	/* 16 layers, 8 KV heads of 64: 2 * 16 * 8 * 64 * 2 bytes */
	struct sched_mem_model m = model_of("{\"arch\":\"llama\",\"context_length\":131072,\"block_count\":16,\"embedding_length\":2048,\"kv\":"
					    "{\"llama.attention.head_count\":32,\"llama.attention.head_count_kv\":8}}", GIB);
	ck_assert_int_eq(m.kv_bytes_per_tok, 32768);
	ck_assert_int_eq(m.n_ctx_train, 131072);
	/* 34 bytes for 32 values */
	m = model_with("{\"arch\":\"llama\",\"block_count\":16,\"embedding_length\":2048,\"kv\":{\"llama.attention.head_count\":32,"
		       "\"llama.attention.head_count_kv\":8}}", GIB, "q8_0");
	ck_assert_int_eq(m.kv_bytes_per_tok, 17408);
	/* explicit head sizes and a list of KV heads */
	m = model_of("{\"arch\":\"g\",\"context_length\":32768,\"block_count\":2,\"embedding_length\":640,\"kv\":{\"g.attention.head_count\":4,"
		     "\"g.attention.head_count_kv\":[1,2],\"g.attention.key_length\":256,\"g.attention.value_length\":128}}", GIB);
	ck_assert_int_eq(m.kv_bytes_per_tok, 2 * 2 * 384 * 2);
	ck_assert_int_gt(model_of("{}", 0).kv_bytes_per_tok, 0);
	ck_assert_int_gt(model_of("{\"arch\":7,\"kv\":[],\"block_count\":-5,\"context_length\":\"x\"}", 0).n_ctx_train, 0);
	m = model_of("{\"arch\":\"x\",\"block_count\":9223372036854775807,\"context_length\":9223372036854775807,\"kv\":"
		     "{\"x.attention.head_count_kv\":9223372036854775807,\"x.attention.key_length\":9223372036854775807}}", INT64_MAX);
	ck_assert_int_gt(m.kv_bytes_per_tok, 0);
	ck_assert(sched_mem_least(&m) == INT64_MAX && sched_mem_want(&m, 0) == INT64_MAX);
}
END_TEST

START_TEST(plans)
{
	struct sched_mem_model m = {.weights_bytes = GIB, .n_ctx_train = 131072, .kv_bytes_per_tok = 32768};
	struct sched_mem_plan p;
	sched_mem_plan(&m, 0, 64 * GIB, &p);
	ck_assert(p.n_ctx_max == 32768 && p.n_ctx_default == 32768 && p.kv_bytes >= 32768 * 32768LL && p.kv_bytes <= 32 * GIB);
	sched_mem_plan(&m, 100000, 64 * GIB, &p);
	ck_assert(p.n_ctx_max == 100000 && p.n_ctx_default == 100000);
	sched_mem_plan(&m, 4096, 64 * GIB, &p);
	ck_assert(p.n_ctx_max == 32768 && p.n_ctx_default == 4096);
	sched_mem_plan(&m, 0, sched_mem_least(&m), &p);
	ck_assert(p.n_ctx_max == SCHED_MEM_N_CTX_LEAST && p.kv_bytes == SCHED_MEM_N_CTX_LEAST * 32768LL);
	sched_mem_plan(&m, 0, 0, &p); /* never asked for, still sane */
	ck_assert_int_eq(p.n_ctx_max, SCHED_MEM_N_CTX_LEAST);
	m.n_ctx_train = 512;
	sched_mem_plan(&m, 1 << 20, INT64_MAX, &p);
	ck_assert(p.n_ctx_max == 512 && p.n_ctx_default == 512);
	/* more memory never gives less context */
	m.n_ctx_train = 131072;
	int64_t before = 0;
	for (int64_t avail = 0; avail < 8 * GIB; avail += 16 * MIB) {
		sched_mem_plan(&m, 0, avail, &p);
		ck_assert(p.n_ctx_max >= before && p.kv_bytes >= p.n_ctx_max * m.kv_bytes_per_tok);
		before = p.n_ctx_max;
	}
}
END_TEST

START_TEST(texts)
{
	char t[SCHED_MEM_TEXT_BYTES];
	sched_mem_text(GIB * 3 / 2, t);
	ck_assert_str_eq(t, "1.5 GiB");
	sched_mem_text(MIB / 2, t);
	ck_assert_str_eq(t, "0.5 MiB");
	sched_mem_text(INT64_MAX, t);
	ck_assert_str_eq(t, "8589934592.0 GiB");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("sched_mem");
	TCase *t = tcase_create("all");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, available);
	tcase_add_test(t, available_v1);
	tcase_add_test(t, here);
	tcase_add_test(t, models);
	tcase_add_test(t, plans);
	tcase_add_test(t, texts);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
