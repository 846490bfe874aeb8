#include "kern/cores.h"

#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_BYTES = 4096 };

static bool read_file(const char *path, char *buf, size_t n)
{
	FILE *f = fopen(path, "re");
	if (!f)
		return false;
	size_t got = fread(buf, 1, n - 1, f);
	fclose(f);
	buf[got] = '\0';
	return got > 0;
}

/* Whole CPUs that a quota allows, rounded up; CORES_MAX when there is none. */
static int quota_cpus(long long quota, long long period)
{
	if (quota <= 0 || period <= 0)
		return CORES_MAX;
	long long n = quota / period + (quota % period != 0);
	return n < CORES_MAX ? (int)n : CORES_MAX;
}

/* The quota of one cgroup folder: cpu.max (version 2) or cpu.cfs_*_us (version 1). */
static int folder_cpus(const char *dir)
{
	char path[PATH_BYTES + 32], buf[64];
	long long quota = 0, period = 0;
	snprintf(path, sizeof path, "%s/cpu.max", dir);
	if (read_file(path, buf, sizeof buf))
		return sscanf(buf, "%lld %lld", &quota, &period) == 2 ? quota_cpus(quota, period) : CORES_MAX;
	snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", dir);
	if (!read_file(path, buf, sizeof buf))
		return CORES_MAX;
	quota = atoll(buf);
	snprintf(path, sizeof path, "%s/cpu.cfs_period_us", dir);
	return read_file(path, buf, sizeof buf) ? quota_cpus(quota, atoll(buf)) : CORES_MAX;
}

/* The least quota from a cgroup folder up to its mount point. Inside a container the path may not exist below the mount:
 * folders that cannot be read do not limit, and the mount point itself is always asked. */
static int path_cpus(const char *root, const char *mount, const char *path)
{
	char dir[PATH_BYTES];
	size_t n_mount = strlen(root) + strlen(mount);
	int least = CORES_MAX;
	if (snprintf(dir, sizeof dir, "%s%s%s", root, mount, path) >= (int)sizeof dir)
		return least;
	for (;;) {
		int n = folder_cpus(dir);
		least = n < least ? n : least;
		char *slash = strrchr(dir, '/');
		if (!slash || (size_t)(slash - dir) < n_mount)
			return least;
		*slash = '\0';
	}
}

static int cgroup_cpus(const char *root)
{
	char line[PATH_BYTES];
	int least = CORES_MAX;
	snprintf(line, sizeof line, "%s/proc/self/cgroup", root);
	FILE *f = fopen(line, "re");
	while (f && fgets(line, sizeof line, f)) {
		line[strcspn(line, "\n")] = '\0';
		char *names = strchr(line, ':'), *path = names ? strchr(names + 1, ':') : NULL;
		if (!path)
			continue;
		*path++ = '\0';
		names++;
		bool v2 = *names == '\0', cpu = v2;
		for (char *save, *s = strtok_r(names, ",", &save); s; s = strtok_r(NULL, ",", &save))
			cpu |= !strcmp(s, "cpu");
		int n = cpu ? path_cpus(root, v2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/cpu", path) : CORES_MAX;
		least = n < least ? n : least;
	}
	if (f)
		fclose(f);
	return least;
}

static void affinity(const char *root, struct cores *ret)
{
	cpu_set_t mine, cores;
	CPU_ZERO(&cores);
	ret->n_cpu = ret->n_core = 1;
	if (sched_getaffinity(0, sizeof mine, &mine))
		return;
	for (int i = 0; i < CPU_SETSIZE; i++) {
		char path[PATH_BYTES], buf[64];
		int first = i;
		if (!CPU_ISSET(i, &mine))
			continue;
		snprintf(path, sizeof path, "%s/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", root, i);
		if (read_file(path, buf, sizeof buf))
			first = atoi(buf);
		CPU_SET(first >= 0 && first < CPU_SETSIZE ? first : i, &cores);
	}
	ret->n_cpu = CPU_COUNT(&mine);
	ret->n_core = CPU_COUNT(&cores);
}

void cores_read(const char *root, struct cores *ret)
{
	affinity(root, ret);
	ret->n_quota = cgroup_cpus(root);
}

