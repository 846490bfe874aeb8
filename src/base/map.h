/* map: byte-string keys to pointers or integers; open addressing, insertion order kept for iteration; no removal of
 * single keys. Keys are copied unless map_put_ref is used (then they must outlive the map). The hash is seeded per
 * process, so crafted keys cannot make it slow. Not thread-safe for writing. */
#ifndef CRIA_BASE_MAP_H
#define CRIA_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

union map_val {
	void *p;
	int64_t i;
};

struct map_entry {
	const char *key;
	size_t n_key;
	uint64_t hash;
	union map_val val;
	bool owned; /* key belongs to the map */
};

struct map {
	struct map_entry *entries; /* [n], in insertion order */
	uint32_t *slots;           /* [n_slot], index + 1 into entries, 0 = empty */
	size_t n, cap, n_slot;
};

void map_release(struct map *m);
/* The value slot of key, or NULL. Valid until the next put. */
union map_val *map_get(const struct map *m, const char *key, size_t n_key);
/* The value slot of key, which is added with a zero value when absent. */
union map_val *map_put(struct map *m, const char *key, size_t n_key);
union map_val *map_put_ref(struct map *m, const char *key, size_t n_key);

/* Keyed 64-bit hash used by the map; equal within a process. */
uint64_t map_hash(const void *p, size_t n);

#endif
