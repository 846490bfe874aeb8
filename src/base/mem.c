#include "base/mem.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"

static _Thread_local bool frozen;

bool size_add(size_t a, size_t b, size_t *ret)
{
	if (__builtin_add_overflow(a, b, ret)) {
		*ret = SIZE_MAX;
		return false;
	}
	return true;
}

bool size_mul(size_t a, size_t b, size_t *ret)
{
	if (__builtin_mul_overflow(a, b, ret)) {
		*ret = SIZE_MAX;
		return false;
	}
	return true;
}

void *mem_try_alloc(size_t n_bytes)
{
	BUG_ON(frozen);
	return n_bytes > PTRDIFF_MAX ? NULL : malloc(n_bytes ? n_bytes : 1);
}

void *mem_alloc(size_t n_bytes)
{
	void *p = mem_try_alloc(n_bytes);
	if (!p)
		BUG("out of memory for %zu bytes", n_bytes);
	return p;
}

void *mem_zalloc(size_t n_bytes)
{
	return memset(mem_alloc(n_bytes), 0, n_bytes);
}

void *mem_calloc(size_t n, size_t size)
{
	size_t n_bytes;
	BUG_ON(!size_mul(n, size, &n_bytes));
	return mem_zalloc(n_bytes);
}

void *mem_realloc(void *p, size_t n_bytes)
{
	BUG_ON(frozen || n_bytes > PTRDIFF_MAX);
	p = realloc(p, n_bytes ? n_bytes : 1);
	if (!p)
		BUG("out of memory for %zu bytes", n_bytes);
	return p;
}

char *mem_strndup(const char *s, size_t n)
{
	char *p = mem_alloc(n + 1);
	memcpy(p, s, n);
	p[n] = '\0';
	return p;
}

char *mem_strdup(const char *s)
{
	return mem_strndup(s, strlen(s));
}

void mem_free(void *p)
{
	free(p);
}

void *mem_try_aligned(size_t align, size_t n_bytes)
{
	BUG_ON(frozen || align == 0 || (align & (align - 1)));
	if (n_bytes > PTRDIFF_MAX - align)
		return NULL;
	size_t n = (n_bytes + align - 1) & ~(align - 1);
	return aligned_alloc(align, n ? n : align);
}

void mem_freeze(bool on)
{
	frozen = on;
}

void mem_return_large(void)
{
	mallopt(M_MMAP_THRESHOLD, 1 << 20);
	mallopt(M_TRIM_THRESHOLD, 4 << 20);
}

void mem_trim(void)
{
	malloc_trim(0);
}
