#include "engine/seq_mem.h"

#include <string.h>

#include "base/bug.h"
#include "base/mem.h"

bool seq_mem_init(struct seq_mem *s, int n_group, int64_t n_tok_max)
{
	size_t n = (size_t)(n_tok_max / KERN_PAGE_TOK) + 1;
	memset(s, 0, sizeof *s);
	s->n_group = n_group;
	s->tables = mem_calloc((size_t)n_group + 1, sizeof *s->tables);
	s->page_lists = mem_calloc((size_t)n_group + 1, sizeof *s->page_lists);
	for (int i = 0; i < n_group; i++) {
		s->tables[i].pages = mem_try_alloc(n * sizeof(uint32_t));
		if (!s->tables[i].pages)
			return false;
		s->page_lists[i] = s->tables[i].pages;
	}
	return true;
}

void seq_mem_release(struct seq_mem *s)
{
	for (int i = 0; i < s->n_group; i++)
		mem_free(s->tables[i].pages);
	mem_free(s->tables);
	mem_free(s->page_lists);
	memset(s, 0, sizeof *s);
}

static uint32_t pages_for(int64_t n_tok)
{
	return (uint32_t)((n_tok + KERN_PAGE_TOK - 1) / KERN_PAGE_TOK);
}

uint32_t seq_mem_first_visible(const struct kv *kv, int group, int64_t next)
{
	int64_t window = kv_window(kv, group), first = next - window + 1;
	return window > 0 && first > 0 ? (uint32_t)(first / KERN_PAGE_TOK) : 0;
}

static void free_passed(struct seq_table *t, struct kv *kv, int group, int64_t next)
{
	uint32_t keep = seq_mem_first_visible(kv, group, next);
	for (; t->n_begin < keep && t->n_begin < t->n_end; t->n_begin++) {
		kv_drop(kv, group, t->pages[t->n_begin]);
		t->pages[t->n_begin] = 0;
	}
}

static void cut(struct seq_table *t, struct kv *kv, int group, uint32_t n_end)
{
	while (t->n_end > n_end && t->n_end > t->n_begin)
		kv_drop(kv, group, t->pages[--t->n_end]);
	if (t->n_end == t->n_begin && t->n_end > n_end)
		t->n_begin = t->n_end = n_end;
}

bool seq_mem_reserve(struct seq_mem *s, struct kv *kv, int64_t next, int64_t n_tok)
{
	int i;
	for (i = 0; i < s->n_group; i++)
		free_passed(&s->tables[i], kv, i, next);
	uint32_t want = pages_for(n_tok), had = pages_for(next);
	for (i = 0; i < s->n_group; i++) {
		struct seq_table *t = &s->tables[i];
		while (t->n_end < want && kv_take(kv, i, &t->pages[t->n_end]))
			t->n_end++;
		if (t->n_end < want)
			break;
	}
	if (i == s->n_group)
		return true;
	for (i = 0; i < s->n_group; i++)
		cut(&s->tables[i], kv, i, had);
	return false;
}

bool seq_mem_rollback(struct seq_mem *s, struct kv *kv, int64_t n_tok)
{
	for (int i = 0; i < s->n_group; i++)
		if (s->tables[i].n_begin > seq_mem_first_visible(kv, i, n_tok))
			return false;
	for (int i = 0; i < s->n_group; i++)
		cut(&s->tables[i], kv, i, pages_for(n_tok));
	return true;
}

void seq_mem_drop(struct seq_mem *s, struct kv *kv)
{
	for (int i = 0; i < s->n_group; i++) {
		cut(&s->tables[i], kv, i, 0);
		s->tables[i].n_begin = s->tables[i].n_end = 0;
	}
}

void seq_mem_jump(struct seq_mem *s, struct kv *kv, uint32_t n_keep, uint32_t n_page)
{
	int64_t next = (int64_t)n_page * KERN_PAGE_TOK;
	for (int i = 0; i < s->n_group; i++) {
		struct seq_table *t = &s->tables[i];
		uint32_t first = seq_mem_first_visible(kv, i, next);
		cut(t, kv, i, n_keep);
		free_passed(t, kv, i, next);
		if (t->n_begin == t->n_end) {
			t->n_begin = first > n_keep ? first : n_keep;
			memset(t->pages, 0, t->n_begin * sizeof *t->pages);
		} else {
			BUG_ON(t->n_end != n_keep);
		}
		t->n_end = n_page;
	}
}

bool seq_mem_empty(const struct seq_mem *s)
{
	for (int i = 0; i < s->n_group; i++)
		if (s->tables[i].n_end > s->tables[i].n_begin)
			return false;
	return true;
}
