#include "tok/tok_merge.h"

void merge_release(struct merge *m)
{
	vec_release(&m->syms);
	vec_release(&m->heap);
}

void merge_clear(struct merge *m)
{
	m->syms.n = m->heap.n = 0;
}

void merge_add(struct merge *m, size_t n_bytes, int32_t id)
{
	int32_t i = (int32_t)m->syms.n;
	uint32_t off = 0;
	if (i > 0) {
		struct merge_sym *last = &m->syms.data[i - 1];
		last->next = i;
		off = last->off + last->n;
	}
	struct merge_sym s = {.off = off, .n = (uint32_t)n_bytes, .prev = i - 1, .next = MERGE_NONE, .id = id};
	vec_push(&m->syms, s);
}

static bool before(const struct merge_pair *a, const struct merge_pair *b)
{
	return a->key != b->key ? a->key < b->key : a->left < b->left;
}

static void heap_push(struct merge *m, struct merge_pair p)
{
	vec_push(&m->heap, p);
	struct merge_pair *h = m->heap.data;
	size_t i = m->heap.n - 1;
	while (i > 0 && before(&p, &h[(i - 1) / 2])) {
		h[i] = h[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	h[i] = p;
}

static struct merge_pair heap_pop(struct merge *m)
{
	struct merge_pair *h = m->heap.data, top = h[0];
	size_t n = --m->heap.n, i = 0;
	struct merge_pair p = h[n];
	for (;;) {
		size_t child = 2 * i + 1;
		if (child >= n)
			break;
		if (child + 1 < n && before(&h[child + 1], &h[child]))
			child++;
		if (!before(&h[child], &p))
			break;
		h[i] = h[child];
		i = child;
	}
	h[i] = p;
	return top;
}

static void consider(struct merge *m, int32_t left, int32_t right, merge_rank_fn *rank, void *ctx)
{
	if (left == MERGE_NONE || right == MERGE_NONE)
		return;
	const struct merge_sym *a = &m->syms.data[left], *b = &m->syms.data[right];
	struct merge_pair p = {.left = left, .right = right, .n = a->n + b->n};
	if (rank(ctx, a, b, &p.key, &p.id))
		heap_push(m, p);
}

void merge_run(struct merge *m, merge_rank_fn *rank, void *ctx)
{
	struct merge_sym *s = m->syms.data;
	for (size_t i = 1; i < m->syms.n; i++)
		consider(m, (int32_t)i - 1, (int32_t)i, rank, ctx);
	while (m->heap.n) {
		struct merge_pair p = heap_pop(m);
		struct merge_sym *a = &s[p.left], *b = &s[p.right];
		/* A symbol's start never moves, so equal neighbours and equal length mean that nothing changed. */
		if (a->n == 0 || b->n == 0 || a->next != p.right || a->n + b->n != p.n)
			continue;
		a->n = p.n;
		a->id = p.id;
		a->next = b->next;
		b->n = 0;
		if (b->next != MERGE_NONE)
			s[b->next].prev = p.left;
		consider(m, a->prev, p.left, rank, ctx);
		consider(m, p.left, a->next, rank, ctx);
	}
}
