/* arena: memory with one lifetime (a request, a parse). Everything is freed in one call. A cap bounds it: past the cap
 * arena_alloc returns NULL, and the caller reports ERR_NOMEM. Not thread-safe: one owner. */
#ifndef CRIA_BASE_ARENA_H
#define CRIA_BASE_ARENA_H

#include <stddef.h>

struct arena_chunk;
struct arena {
	struct arena_chunk *head;
	size_t used_bytes, cap_bytes; /* used counts what was handed out */
};

void arena_init(struct arena *a, size_t cap_bytes);
void arena_release(struct arena *a);
void *arena_alloc(struct arena *a, size_t n_bytes);  /* 16-byte aligned, uninitialized; NULL past the cap */
void *arena_zalloc(struct arena *a, size_t n_bytes); /* zeroed; NULL past the cap */
char *arena_strndup(struct arena *a, const char *s, size_t n);

#endif
