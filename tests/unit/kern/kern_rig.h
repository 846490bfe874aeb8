/* kern_rig: what the kernel tests share: guarded buffers, reproducible numbers, the levels under test. Each program sets levels. */
#ifndef TESTS_KERN_RIG_H
#define TESTS_KERN_RIG_H

#include <check.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kern/kern.h"

/* ---- buffers that end at a page nobody may touch ---- */

struct guarded {
	uint8_t *p; /* n bytes; p + n is the first forbidden byte */
	uint8_t *map;
	size_t n_map;
};

static struct guarded guarded_new(size_t n)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), room = (n + page - 1) / page * page;
	struct guarded g = {.n_map = room + page};
	g.map = mmap(NULL, g.n_map, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(g.map, MAP_FAILED);
	ck_assert_int_eq(mprotect(g.map + room, page, PROT_NONE), 0);
	memset(g.map, 0xff, room); /* NaNs where nothing was written */
	g.p = g.map + room - n;
	return g;
}

static void guarded_free(struct guarded *g)
{
	munmap(g->map, g->n_map);
}

static uint32_t rng_state = 1;

static uint32_t rng(void)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 17;
	rng_state ^= rng_state << 5;
	return rng_state;
}

static float uniform(void) /* -1 .. 1 */
{
	return (float)(int32_t)rng() * 0x1p-31f;
}

static const struct kern *const *levels;
static size_t n_level;

static const struct kern *ref(void)
{
	return levels[0];
}

static inline float *floats_new(size_t n)
{
	void *p = NULL;
	ck_assert_int_eq(posix_memalign(&p, 64, n * sizeof(float) + 64), 0);
	return p;
}

#endif
