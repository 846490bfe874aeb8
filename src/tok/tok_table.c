#include "tok/tok_table.h"

#include <string.h>

#include "base/bug.h"
#include "base/map.h"
#include "base/mem.h"

enum { LENGTH_BYTES = 8, NUMBER_BITS = 24, SLOT_MIN = 64, BATCH = 32 };

#define NUMBER_MASK (((uint32_t)1 << NUMBER_BITS) - 1)

static int read_offs(struct tok_table *t, const struct gguf_kv *kv, const char *what, struct err *err)
{
	struct gguf_str_iter it = {0};
	struct gguf_str s;
	for (int i = 0; i < t->n; i++) {
		t->offs[i] = (uint32_t)it.off;
		int rc = gguf_arr_next_str(kv, &it, &s, err);
		if (rc)
			return rc;
		if (s.n > TOK_TABLE_TEXT_MAX || it.off > UINT32_MAX)
			return err_set(err, ERR_FORMAT, "%s %d has %zu bytes of text, which no vocabulary needs", what, i, s.n);
		if (s.n > t->max_bytes)
			t->max_bytes = s.n;
	}
	t->offs[t->n] = (uint32_t)it.off;
	return 0;
}

/* The slot of the text, or the empty one where it would go. */
static uint32_t *slot_of(const struct tok_table *t, const char *s, size_t n, uint64_t hash)
{
	uint32_t tag = (uint32_t)(hash >> 32) & ~NUMBER_MASK;
	size_t i = (size_t)hash & (t->n_slot - 1), n_found;
	for (; t->slots[i]; i = (i + 1) & (t->n_slot - 1)) {
		if ((t->slots[i] & ~NUMBER_MASK) != tag)
			continue;
		const char *found = tok_table_text(t, (int)(t->slots[i] & NUMBER_MASK) - 1, &n_found);
		if (n_found == n && !memcmp(found, s, n))
			break;
	}
	return &t->slots[i];
}

static void put(struct tok_table *t, int i, uint64_t hash)
{
	size_t n;
	const char *s = tok_table_text(t, i, &n);
	uint32_t *slot = n ? slot_of(t, s, n, hash) : NULL;
	if (slot && !*slot)
		*slot = ((uint32_t)(hash >> 32) & ~NUMBER_MASK) | (uint32_t)(i + 1);
}

/* Slots lie anywhere in megabytes: a batch of them is asked for before the first is looked at, so that the waits overlap. */
static void fill(struct tok_table *t)
{
	uint64_t hashes[BATCH];
	for (int i0 = 0; i0 < t->n; i0 += BATCH) {
		int n_batch = t->n - i0 < BATCH ? t->n - i0 : BATCH;
		for (int k = 0; k < n_batch; k++) {
			size_t n;
			const char *s = tok_table_text(t, i0 + k, &n);
			hashes[k] = map_hash(s, n);
			__builtin_prefetch(&t->slots[(size_t)hashes[k] & (t->n_slot - 1)], 1);
		}
		for (int k = 0; k < n_batch; k++)
			put(t, i0 + k, hashes[k]);
	}
}

int tok_table_init(struct tok_table *t, const struct gguf_kv *kv, const char *what, struct err *err)
{
	*t = (struct tok_table){0};
	if (kv->type != GGUF_KV_ARR || kv->elem_type != GGUF_KV_STR)
		return err_set(err, ERR_FORMAT, "%s is not an array of strings", kv->key);
	if (kv->n > TOK_TABLE_MAX)
		return err_set(err, ERR_FORMAT, "%s has %llu entries; at most %llu are possible", kv->key, (unsigned long long)kv->n,
			(unsigned long long)TOK_TABLE_MAX);
	t->base = (const char *)kv->p;
	t->n = (int)kv->n;
	t->n_slot = SLOT_MIN;
	while (t->n_slot < (size_t)t->n + (size_t)t->n / 2)
		t->n_slot *= 2;
	t->offs = mem_try_alloc(((size_t)t->n + 1) * sizeof *t->offs);
	t->slots = mem_try_alloc(t->n_slot * sizeof *t->slots);
	if (!t->offs || !t->slots)
		return err_set(err, ERR_NOMEM, "no memory for the %d entries of %s", t->n, kv->key);
	memset(t->slots, 0, t->n_slot * sizeof *t->slots);
	int rc = read_offs(t, kv, what, err);
	if (!rc)
		fill(t);
	return rc;
}

void tok_table_release(struct tok_table *t)
{
	mem_free(t->offs);
	mem_free(t->slots);
	*t = (struct tok_table){0};
}

const char *tok_table_text(const struct tok_table *t, int i, size_t *ret_n)
{
	*ret_n = (size_t)(t->offs[i + 1] - t->offs[i]) - LENGTH_BYTES;
	return t->base + t->offs[i] + LENGTH_BYTES;
}

int tok_table_find(const struct tok_table *t, const char *s, size_t n)
{
	if (!n || n > t->max_bytes)
		return -1;
	return (int)(*slot_of(t, s, n, map_hash(s, n)) & NUMBER_MASK) - 1;
}
