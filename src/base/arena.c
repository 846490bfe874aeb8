#include "base/arena.h"

#include <string.h>

#include "base/mem.h"

enum { CHUNK_BYTES = 32 * 1024 };

struct arena_chunk {
	struct arena_chunk *next;
	size_t n_bytes, used;
	_Alignas(16) unsigned char data[];
};

void arena_init(struct arena *a, size_t cap_bytes)
{
	*a = (struct arena){.cap_bytes = cap_bytes};
}

void arena_release(struct arena *a)
{
	while (a->head) {
		struct arena_chunk *next = a->head->next;
		mem_free(a->head);
		a->head = next;
	}
	a->used_bytes = 0;
}

void *arena_alloc(struct arena *a, size_t n_bytes)
{
	if (n_bytes > a->cap_bytes || a->used_bytes > a->cap_bytes - n_bytes)
		return NULL;
	size_t n = (n_bytes + 15) & ~(size_t)15;
	if (n == 0)
		n = 16;
	struct arena_chunk *c = a->head;
	if (!c || c->n_bytes - c->used < n) {
		size_t want = n > CHUNK_BYTES ? n : CHUNK_BYTES;
		c = mem_try_alloc(sizeof *c + want);
		if (!c)
			return NULL;
		c->n_bytes = want;
		c->used = 0;
		c->next = a->head;
		a->head = c;
	}
	void *p = c->data + c->used;
	c->used += n;
	a->used_bytes += n;
	return p;
}

void *arena_zalloc(struct arena *a, size_t n_bytes)
{
	void *p = arena_alloc(a, n_bytes);
	return p ? memset(p, 0, n_bytes) : NULL;
}

char *arena_strndup(struct arena *a, const char *s, size_t n)
{
	char *p = arena_alloc(a, n + 1);
	if (p) {
		memcpy(p, s, n);
		p[n] = '\0';
	}
	return p;
}
