/* How many CPUs there are to use: trees of control groups and of CPUs as the kernel shows them, made up in a folder. */
#include <check.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kern/cores.h"

static char root[64];

static void setup(void)
{
	strcpy(root, "/tmp/cria-cores-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(root));
}

static void teardown(void)
{
	char cmd[128];
	snprintf(cmd, sizeof cmd, "rm -rf %s", root);
	ck_assert_int_eq(system(cmd), 0);
}

/* Writes a file below the root; its folders are made. */
static void put(const char *path, const char *text)
{
	char full[512];
	snprintf(full, sizeof full, "%s/%s", root, path);
	for (char *p = full + strlen(root) + 1; (p = strchr(p, '/')); p++) {
		*p = '\0';
		mkdir(full, 0700);
		*p = '/';
	}
	FILE *f = fopen(full, "w");
	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	fclose(f);
}

static int quota(void)
{
	struct cores c;
	cores_read(root, &c);
	ck_assert(c.n_cpu >= 1 && c.n_core >= 1 && c.n_core <= c.n_cpu);
	return c.n_quota;
}

START_TEST(test_v2)
{
	ck_assert_int_eq(quota(), CORES_MAX); /* no tree at all */
	put("proc/self/cgroup", "0::/a/b\n");
	ck_assert_int_eq(quota(), CORES_MAX);
	put("sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
	ck_assert_int_eq(quota(), CORES_MAX);
	put("sys/fs/cgroup/a/b/cpu.max", "50000 100000\n"); /* half a core is one thread */
	ck_assert_int_eq(quota(), 1);
	put("sys/fs/cgroup/a/b/cpu.max", "250000 100000\n");
	ck_assert_int_eq(quota(), 3);
	put("sys/fs/cgroup/a/cpu.max", "200000 100000\n"); /* the least of the nested ones */
	ck_assert_int_eq(quota(), 2);
	put("sys/fs/cgroup/cpu.max", "100000 100000\n");
	ck_assert_int_eq(quota(), 1);
	put("sys/fs/cgroup/cpu.max", "99999999999999 1\n");
	ck_assert_int_eq(quota(), 2);
}
END_TEST

START_TEST(test_v1)
{
	put("proc/self/cgroup", "5:memory:/m\n4:cpuacct,cpu:/a/b\n1:name=systemd:/x\n0::/\n");
	put("sys/fs/cgroup/cpu/a/b/cpu.cfs_quota_us", "-1\n");
	put("sys/fs/cgroup/cpu/a/b/cpu.cfs_period_us", "100000\n");
	ck_assert_int_eq(quota(), CORES_MAX);
	put("sys/fs/cgroup/cpu/a/cpu.cfs_quota_us", "350000\n");
	ck_assert_int_eq(quota(), CORES_MAX); /* a quota without a period says nothing */
	put("sys/fs/cgroup/cpu/a/cpu.cfs_period_us", "100000\n");
	ck_assert_int_eq(quota(), 4);
	put("sys/fs/cgroup/memory/m/cpu.cfs_quota_us", "100000\n"); /* another controller's tree */
	put("sys/fs/cgroup/memory/m/cpu.cfs_period_us", "100000\n");
	ck_assert_int_eq(quota(), 4);
}
END_TEST

/* In a container the path is the host's, and only the mount point can be read. */
START_TEST(test_container)
{
	put("proc/self/cgroup", "0::/docker/0123456789abcdef/../x\n");
	put("sys/fs/cgroup/cpu.max", "200000 100000\n");
	ck_assert_int_eq(quota(), 2);
}
END_TEST

START_TEST(test_garbage)
{
	static const char *const texts[] = {"", "\n", "max", "100000", "-5 100000", "100000 0", "100000 -1", "x y", "0 0"};
	put("proc/self/cgroup", "\n:\n::\n0:\nno colon\n0::\n0::/a\n");
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		put("sys/fs/cgroup/a/cpu.max", texts[i]);
		ck_assert_int_eq(quota(), CORES_MAX);
	}
}
END_TEST

/* All CPUs that this process may use are one core's hyperthreads. */
START_TEST(test_hyperthreads)
{
	cpu_set_t mine;
	struct cores c;
	int first = -1;
	ck_assert_int_eq(sched_getaffinity(0, sizeof mine, &mine), 0);
	for (int i = CPU_SETSIZE - 1; i >= 0; i--)
		if (CPU_ISSET(i, &mine))
			first = i;
	cores_read(root, &c);
	ck_assert_int_eq(c.n_core, CPU_COUNT(&mine));
	for (int i = 0; i < CPU_SETSIZE; i++) {
		char path[128], text[32];
		snprintf(path, sizeof path, "sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", i);
		snprintf(text, sizeof text, "%d-%d\n", first, first + CPU_COUNT(&mine));
		if (CPU_ISSET(i, &mine))
			put(path, text);
	}
	cores_read(root, &c);
	ck_assert_int_eq(c.n_core, 1);
	ck_assert_int_eq(c.n_cpu, CPU_COUNT(&mine));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("cores");
	TCase *t = tcase_create("all");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, test_v2);
	tcase_add_test(t, test_v1);
	tcase_add_test(t, test_container);
	tcase_add_test(t, test_garbage);
	tcase_add_test(t, test_hyperthreads);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int n = srunner_ntests_failed(r);
	srunner_free(r);
	return n != 0;
}
