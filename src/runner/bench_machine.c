/* What the machine can do at most: bytes read from memory and products in registers, of all threads together. */
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "runner/bench_int.h"

#define MIB ((int64_t)1 << 20)

/* The buffer is a multiple of the last cache, so that little of it is still there when the next pass begins, but no more than
 * a share of the memory that is free. */
enum { BUF_PER_CACHE = 4, MEM_PER_BUF = 4, BUF_MIN_MIB = 256, BUF_MAX_MIB = 4096, HUGE_PAGE = 2 << 20 };
enum { READ_ROUNDS = 12, MUL_ROUNDS = 6, MUL_TURNS = 2 << 20 };

struct job {
	const struct kern_peak *peak; /* NULL: plain reading, no products */
	uint8_t *data;
	int64_t n_bytes;
	_Atomic uint64_t sink;
};

static void fill(void *arg, int i_thread, int n_thread)
{
	struct job *j = arg;
	int64_t r0, r1;
	pool_share(j->n_bytes, HUGE_PAGE, i_thread, n_thread, &r0, &r1);
	memset(j->data + r0, 1, (size_t)(r1 - r0));
}

static uint64_t read_plain(const uint8_t *p, size_t n_bytes)
{
	uint64_t sum[8] = {0}, total = 0, x;
	for (size_t i = 0; i + 64 <= n_bytes; i += 64)
		for (size_t k = 0; k < 8; k++) {
			memcpy(&x, p + i + 8 * k, sizeof x);
			sum[k] += x;
		}
	for (int k = 0; k < 8; k++)
		total += sum[k];
	return total;
}

static void read_share(void *arg, int i_thread, int n_thread)
{
	struct job *j = arg;
	int64_t r0, r1;
	pool_share(j->n_bytes, HUGE_PAGE, i_thread, n_thread, &r0, &r1);
	j->sink += (j->peak ? j->peak->read : read_plain)(j->data + r0, (size_t)(r1 - r0));
}

static void multiply_i8(void *arg, int i_thread, int n_thread)
{
	struct job *j = arg;
	(void)i_thread, (void)n_thread;
	j->sink += (uint64_t)j->peak->mul_i8(MUL_TURNS);
}

static void multiply_f32(void *arg, int i_thread, int n_thread)
{
	struct job *j = arg;
	(void)i_thread, (void)n_thread;
	j->sink += (uint64_t)j->peak->mul_f32(MUL_TURNS);
}

/* Seconds of the fastest of some runs. */
static double best_of(int n, struct pool *pool, void (*fn)(void *arg, int i_thread, int n_thread), void *arg)
{
	double best = 1e30;
	for (int i = 0; i < n; i++) {
		int64_t t = clock_now_ns();
		pool_run(pool, fn, arg);
		double s = (double)(clock_now_ns() - t) / 1e9;
		best = s < best ? s : best;
	}
	return best;
}

static int64_t cache_bytes(void)
{
	long l3 = sysconf(_SC_LEVEL3_CACHE_SIZE), l2 = sysconf(_SC_LEVEL2_CACHE_SIZE);
	return l3 > 0 ? l3 : l2 > 0 ? l2 : 0;
}

static int64_t buf_bytes(int64_t cache)
{
	int64_t n = BUF_PER_CACHE * cache, most = sysconf(_SC_AVPHYS_PAGES) * sysconf(_SC_PAGESIZE) / MEM_PER_BUF;
	n = n > most ? most : n;
	n = n > BUF_MAX_MIB * MIB ? BUF_MAX_MIB * MIB : n;
	n = n < BUF_MIN_MIB * MIB ? BUF_MIN_MIB * MIB : n;
	return n / HUGE_PAGE * HUGE_PAGE;
}

int bench_machine(const struct kern *k, struct pool *pool, struct bench_machine *ret, struct err *err)
{
	*ret = (struct bench_machine){.cache_bytes = cache_bytes()};
	struct job j = {.peak = k->peak, .n_bytes = buf_bytes(ret->cache_bytes)};
	j.data = mem_try_aligned(HUGE_PAGE, (size_t)j.n_bytes);
	if (!j.data)
		return err_set(err, ERR_NOMEM, "there are no %lld MiB to measure memory speed with", (long long)(j.n_bytes / MIB));
	madvise(j.data, (size_t)j.n_bytes, MADV_HUGEPAGE); /* a wish: fewer address translations */
	pool_run(pool, fill, &j);
	ret->read = (double)j.n_bytes / best_of(READ_ROUNDS, pool, read_share, &j);
	mem_free(j.data);
	if (j.peak) {
		double turns = (double)MUL_TURNS * pool_size(pool);
		ret->mul_i8 = (double)j.peak->mul_i8(1) * turns / best_of(MUL_ROUNDS, pool, multiply_i8, &j);
		ret->mul_f32 = (double)j.peak->mul_f32(1) * turns / best_of(MUL_ROUNDS, pool, multiply_f32, &j);
	}
	return 0;
}
