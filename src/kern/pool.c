#include "kern/pool.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/bug.h"
#include "base/mem.h"

enum {
	MAX_THREAD = 256,
	N_SPIN = 2000, /* pauses before sleeping: 20 to 100 microseconds, about the length of one small matrix product */
};

/* ---- waiting ---- */

/* A counter that others wait to see changed. Waiters announce themselves in n_sleep before they sleep, so that changing it
 * costs no system call while everybody spins. */
struct turn {
	_Alignas(64) _Atomic uint32_t n;
	_Atomic uint32_t n_sleep;
};

static void cpu_pause(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

static void turn_wait(struct turn *t, uint32_t old)
{
	for (int i = 0; i < N_SPIN; i++) {
		if (atomic_load_explicit(&t->n, memory_order_acquire) != old)
			return;
		cpu_pause();
	}
	atomic_fetch_add(&t->n_sleep, 1);
	while (atomic_load(&t->n) == old)
		syscall(SYS_futex, &t->n, FUTEX_WAIT_PRIVATE, old, NULL, NULL, 0);
	atomic_fetch_sub(&t->n_sleep, 1);
}

static void turn_next(struct turn *t)
{
	atomic_fetch_add(&t->n, 1);
	if (atomic_load(&t->n_sleep))
		syscall(SYS_futex, &t->n, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

/* ---- threads ---- */

struct worker {
	struct pool *pool;
	int i_thread;
	pthread_t id;
};

struct pool {
	int n_thread;
	void (*fn)(void *arg, int i_thread, int n_thread); /* NULL asks the workers to leave */
	void *arg;
	struct turn start, barrier;
	_Alignas(64) _Atomic int n_arrived;
	struct worker *workers; /* [n_thread - 1] */
};

static void *worker_main(void *v)
{
	struct worker *w = v;
	struct pool *p = w->pool;
	for (uint32_t seen = 0;; seen++) {
		turn_wait(&p->start, seen);
		if (!p->fn)
			return NULL;
		p->fn(p->arg, w->i_thread, p->n_thread);
		pool_barrier(p);
	}
}

/* Threads that cannot be had are done without. */
struct pool *pool_new(int n_thread)
{
	struct pool *p = mem_try_aligned(64, sizeof *p);
	BUG_ON(!p);
	memset(p, 0, sizeof *p);
	n_thread = n_thread < 1 ? 1 : n_thread > MAX_THREAD ? MAX_THREAD : n_thread;
	p->workers = mem_calloc((size_t)n_thread, sizeof *p->workers);
	sigset_t all, old;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int n = 1;
	for (; n < n_thread; n++) {
		struct worker *w = &p->workers[n - 1];
		*w = (struct worker){.pool = p, .i_thread = n};
		if (pthread_create(&w->id, NULL, worker_main, w))
			break;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	p->n_thread = n; /* the workers read it after the first start */
	return p;
}

void pool_free(struct pool *p)
{
	if (!p)
		return;
	p->fn = NULL;
	turn_next(&p->start);
	for (int i = 0; i < p->n_thread - 1; i++)
		pthread_join(p->workers[i].id, NULL);
	mem_free(p->workers);
	mem_free(p);
}

int pool_size(const struct pool *p)
{
	return p->n_thread;
}

void pool_run(struct pool *p, void (*fn)(void *arg, int i_thread, int n_thread), void *arg)
{
	p->fn = fn;
	p->arg = arg;
	turn_next(&p->start);
	fn(arg, 0, p->n_thread);
	pool_barrier(p);
}

void pool_barrier(struct pool *p)
{
	uint32_t turn = atomic_load_explicit(&p->barrier.n, memory_order_relaxed);
	if (atomic_fetch_add(&p->n_arrived, 1) == p->n_thread - 1) {
		atomic_store_explicit(&p->n_arrived, 0, memory_order_relaxed);
		turn_next(&p->barrier);
	} else {
		turn_wait(&p->barrier, turn);
	}
}

void pool_share(int64_t n, int64_t align, int i_thread, int n_thread, int64_t *r0, int64_t *r1)
{
	int64_t unit = n / align + (n % align != 0);
	int64_t each = unit / n_thread, more = unit % n_thread; /* the first `more` threads take one unit more */
	int64_t u0 = each * i_thread + (i_thread < more ? i_thread : more);
	int64_t u1 = u0 + each + (i_thread < more);
	*r0 = u0 * align < n ? u0 * align : n;
	*r1 = u1 * align < n ? u1 * align : n;
}

/* ---- how many ---- */

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

/* Whole CPUs that a quota allows, rounded up; MAX_THREAD when there is none. */
static int quota_cpus(long long quota, long long period)
{
	if (quota <= 0 || period <= 0)
		return MAX_THREAD;
	long long n = quota / period + (quota % period != 0);
	return n < MAX_THREAD ? (int)n : MAX_THREAD;
}

/* The quota of one cgroup folder: cpu.max (version 2) or cpu.cfs_*_us (version 1). */
static int folder_cpus(const char *dir)
{
	char path[4096 + 32], buf[64];
	long long quota = 0, period = 0;
	snprintf(path, sizeof path, "%s/cpu.max", dir);
	if (read_file(path, buf, sizeof buf))
		return sscanf(buf, "%lld %lld", &quota, &period) == 2 ? quota_cpus(quota, period) : MAX_THREAD;
	snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", dir);
	if (!read_file(path, buf, sizeof buf))
		return MAX_THREAD;
	quota = atoll(buf);
	snprintf(path, sizeof path, "%s/cpu.cfs_period_us", dir);
	return read_file(path, buf, sizeof buf) ? quota_cpus(quota, atoll(buf)) : MAX_THREAD;
}

/* The least quota from a cgroup folder up to its mount point. Inside a container the path may not exist below the mount:
 * folders that cannot be read do not limit, and the mount point itself is always asked. */
static int path_cpus(const char *mount, const char *path)
{
	char dir[4096];
	size_t n_mount = strlen(mount);
	int least = MAX_THREAD;
	if (snprintf(dir, sizeof dir, "%s%s", mount, path) >= (int)sizeof dir)
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

static int cgroup_cpus(void)
{
	char line[4096];
	int least = MAX_THREAD;
	FILE *f = fopen("/proc/self/cgroup", "re");
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
		int n = cpu ? path_cpus(v2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/cpu", path) : MAX_THREAD;
		least = n < least ? n : least;
	}
	if (f)
		fclose(f);
	return least;
}

/* CPUs of the affinity mask that are the first of their core there: hyperthreads share the multipliers. */
static int affinity_cores(void)
{
	cpu_set_t mine, cores;
	CPU_ZERO(&cores);
	if (sched_getaffinity(0, sizeof mine, &mine))
		return 1;
	for (int i = 0; i < CPU_SETSIZE; i++) {
		char path[128], buf[64];
		int first = i;
		if (!CPU_ISSET(i, &mine))
			continue;
		snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", i);
		if (read_file(path, buf, sizeof buf))
			first = atoi(buf);
		CPU_SET(first >= 0 && first < CPU_SETSIZE ? first : i, &cores);
	}
	return CPU_COUNT(&cores);
}

int pool_n_threads(int n_want)
{
	if (n_want > 0)
		return n_want < MAX_THREAD ? n_want : MAX_THREAD;
	int n = affinity_cores(), quota = cgroup_cpus();
	n = n < quota ? n : quota;
	return n > 0 ? n : 1;
}
