/* pool: the compute threads of one process. pool_run calls fn on every thread (the caller is thread 0) and returns when
 * all are done; inside, pool_barrier separates dependent steps: spin briefly, then futex, so that waiting is cheap both
 * when work is dense and when a machine is shared. */
#ifndef CRIA_KERN_POOL_H
#define CRIA_KERN_POOL_H

#include <stdint.h>

struct pool;

/* Threads to use: n_want, or when 0 the least of affinity, cgroup CPU quota (v1 and v2) and physical cores. */
int pool_n_threads(int n_want);
struct pool *pool_new(int n_thread);
void pool_free(struct pool *p);
int pool_size(const struct pool *p);
void pool_run(struct pool *p, void (*fn)(void *arg, int i_thread, int n_thread), void *arg);
void pool_barrier(struct pool *p);
/* The share [*r0, *r1) of n rows for thread i of n_thread, cut at multiples of align; deterministic. */
void pool_share(int64_t n, int64_t align, int i_thread, int n_thread, int64_t *r0, int64_t *r1);

#endif
