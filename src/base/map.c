#include "base/map.h"

#include <string.h>
#include <sys/random.h>

#include "base/bug.h"
#include "base/mem.h"

static uint64_t seed(void)
{
	static _Atomic uint64_t s;
	uint64_t v = s;
	if (v == 0) {
		if (getrandom(&v, sizeof v, GRND_NONBLOCK) != sizeof v)
			v = (uint64_t)(uintptr_t)&s * 0x9E3779B97F4A7C15u;
		uint64_t none = 0;
		v |= 1;
		if (!__atomic_compare_exchange_n((uint64_t *)&s, &none, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
			v = none;
	}
	return v;
}

static uint64_t mix(uint64_t a, uint64_t b)
{
	unsigned __int128 r = (unsigned __int128)a * b;
	return (uint64_t)r ^ (uint64_t)(r >> 64);
}

static uint64_t load_8(const unsigned char *s)
{
	uint64_t w;
	memcpy(&w, s, sizeof w);
	return w;
}

static uint64_t load_4(const unsigned char *s)
{
	uint32_t w;
	memcpy(&w, s, sizeof w);
	return w;
}

/* All n < 8 bytes as one word, without a loop: for equal n, different bytes give different words. */
static uint64_t load_few(const unsigned char *s, size_t n)
{
	if (n >= 4)
		return load_4(s) | load_4(s + n - 4) << 32;
	return n ? (uint64_t)s[0] | (uint64_t)s[n / 2] << 8 | (uint64_t)s[n - 1] << 16 : 0;
}

/* Multiply-and-fold over 8-byte words, after wyhash (public domain). */
uint64_t map_hash(const void *p, size_t n)
{
	const unsigned char *s = p;
	uint64_t h = seed() ^ (n * 0xA0761D6478BD642Fu);
	for (; n >= 8; s += 8, n -= 8)
		h = mix(h ^ load_8(s), 0xE7037ED1A0B428DBu);
	h = mix(h ^ load_few(s, n), 0x8EBC6AF09C88C6E3u);
	return mix(h, 0x589965CC75374CC3u);
}

void map_release(struct map *m)
{
	for (size_t i = 0; i < m->n; i++)
		if (m->entries[i].owned)
			mem_free((void *)m->entries[i].key);
	mem_free(m->entries);
	mem_free(m->slots);
	*m = (struct map){0};
}

/* The slot where key is or would go; n_slot must be > 0. */
static size_t probe(const struct map *m, const char *key, size_t n_key, uint64_t hash)
{
	size_t i = (size_t)hash & (m->n_slot - 1);
	while (m->slots[i]) {
		const struct map_entry *e = &m->entries[m->slots[i] - 1];
		if (e->hash == hash && e->n_key == n_key && !memcmp(e->key, key, n_key))
			break;
		i = (i + 1) & (m->n_slot - 1);
	}
	return i;
}

union map_val *map_get(const struct map *m, const char *key, size_t n_key)
{
	if (!m->n)
		return NULL;
	size_t i = probe(m, key, n_key, map_hash(key, n_key));
	return m->slots[i] ? &m->entries[m->slots[i] - 1].val : NULL;
}

static void grow(struct map *m)
{
	if (m->n == m->cap) {
		m->cap = m->cap ? m->cap * 2 : 16;
		m->entries = mem_realloc(m->entries, m->cap * sizeof *m->entries);
	}
	if ((m->n + 1) * 3 < m->n_slot * 2)
		return;
	BUG_ON(m->n >= UINT32_MAX / 4);
	mem_free(m->slots);
	m->n_slot = m->n_slot ? m->n_slot * 2 : 32;
	m->slots = mem_calloc(m->n_slot, sizeof *m->slots);
	for (size_t k = 0; k < m->n; k++) {
		size_t i = (size_t)m->entries[k].hash & (m->n_slot - 1);
		while (m->slots[i])
			i = (i + 1) & (m->n_slot - 1);
		m->slots[i] = (uint32_t)(k + 1);
	}
}

static union map_val *put(struct map *m, const char *key, size_t n_key, bool copy)
{
	grow(m);
	uint64_t hash = map_hash(key, n_key);
	size_t i = probe(m, key, n_key, hash);
	if (!m->slots[i]) {
		m->entries[m->n] = (struct map_entry){
			.key = copy ? mem_strndup(key, n_key) : key, .n_key = n_key, .hash = hash, .owned = copy};
		m->slots[i] = (uint32_t)++m->n;
	}
	return &m->entries[m->slots[i] - 1].val;
}

union map_val *map_put(struct map *m, const char *key, size_t n_key)
{
	return put(m, key, n_key, true);
}

union map_val *map_put_ref(struct map *m, const char *key, size_t n_key)
{
	return put(m, key, n_key, false);
}
