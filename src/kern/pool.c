#include "kern/pool.h"

#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/bug.h"
#include "base/mem.h"
#include "kern/cores.h"

/* Pauses before sleeping: 20 to 100 microseconds, about the length of one small matrix product. */
enum { N_SPIN = 2000 };

/* ---- waiting ---- */

/* A counter that others wait to see changed. Waiters announce themselves in n_sleep before they sleep, so that changing it
 * costs no system call while everybody spins. */
struct turn {
	_Alignas(64) _Atomic uint32_t n;
	_Atomic uint32_t n_sleep;
	int n_spin;
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
	for (int i = 0; i < t->n_spin; i++) {
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

/* Where threads take turns on a CPU, whoever spins keeps the one it waits for from running: then all sleep at once. */
static int spins_for(int n_thread)
{
	struct cores c;
	cores_read("", &c);
	return n_thread <= c.n_cpu && n_thread <= c.n_quota ? N_SPIN : 0;
}

/* Threads that cannot be had are done without. */
struct pool *pool_new(int n_thread)
{
	struct pool *p = mem_try_aligned(64, sizeof *p);
	BUG_ON(!p);
	memset(p, 0, sizeof *p);
	n_thread = n_thread < 1 ? 1 : n_thread > CORES_MAX ? CORES_MAX : n_thread;
	p->start.n_spin = p->barrier.n_spin = spins_for(n_thread);
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

int pool_n_threads(int n_want)
{
	struct cores c;
	if (n_want > 0)
		return n_want < CORES_MAX ? n_want : CORES_MAX;
	cores_read("", &c);
	return c.n_core < c.n_quota ? c.n_core : c.n_quota;
}
