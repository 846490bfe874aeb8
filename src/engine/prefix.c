#include "engine/prefix.h"

#include <string.h>

#include "base/bug.h"
#include "base/clock.h"
#include "base/mem.h"

/* Page numbers end below kv's UINT32_MAX / 2. */
static const uint32_t NO_PAGE = UINT32_MAX;

/* Times are ticks of a counter, not of a clock. */
struct node {
	uint64_t hash, domain;
	uint64_t used;        /* when a sequence last came by */
	uint64_t window_used; /* when its windowed pages were last needed */
	uint32_t parent;      /* 0: the first page */
	uint32_t next;        /* in its bucket, or among the free */
	uint32_t n_child;
	uint32_t n_user : 31; /* sequences that stand on it */
	uint32_t live : 1;
};

/* Node 0 is nobody: no parent, nowhere, end of a list. */
struct prefix {
	struct kv *kv;
	int n_group;
	bool windowed;            /* some group has a window */
	uint32_t n_max, n_fresh;  /* nodes [1, n_max) may be used; [n_fresh, n_max) never were */
	uint32_t n_live, free;
	struct node *nodes;       /* [n_max] */
	int *ids;                 /* [n_max][KERN_PAGE_TOK] */
	uint32_t *pages;          /* [n_max][n_group] */
	uint32_t *buckets, mask;  /* [mask + 1] */
	uint32_t *run;            /* [n_group] scratch of find */
	uint64_t tick, seed;
	size_t n_bytes;
};

/* Nodes that can be full at once. A node has a page of every full group for as long as it lives. */
static size_t most_nodes(const struct kv *kv)
{
	size_t full = 0, all = 0;
	for (int i = 0; i < kv_n_group(kv); i++) {
		all += kv_block_bytes(kv, i);
		full += kv_window(kv, i) ? 0 : kv_block_bytes(kv, i);
	}
	size_t n = all ? kv_budget_bytes(kv) / (full ? full : all) : 0;
	return n < UINT32_MAX / 4 ? n : UINT32_MAX / 4;
}

static void *try_zalloc(size_t n, size_t size)
{
	size_t n_bytes;
	void *p = size_mul(n, size, &n_bytes) ? mem_try_alloc(n_bytes) : NULL;
	if (p)
		memset(p, 0, n_bytes);
	return p;
}

int prefix_new(struct kv *kv, bool off, struct prefix **ret, struct err *err)
{
	struct prefix *p = mem_zalloc(sizeof *p);
	size_t n = off ? 1 : most_nodes(kv) + 1, n_bucket = 1;
	while (n_bucket < n)
		n_bucket *= 2;
	p->kv = kv;
	p->n_group = kv_n_group(kv);
	for (int i = 0; i < p->n_group; i++)
		p->windowed |= kv_window(kv, i) > 0;
	p->n_max = (uint32_t)n;
	p->n_fresh = 1;
	p->mask = (uint32_t)(n_bucket - 1);
	p->seed = (uint64_t)clock_now_ns();
	p->nodes = try_zalloc(n, sizeof *p->nodes);
	p->ids = try_zalloc(n, KERN_PAGE_TOK * sizeof *p->ids);
	p->pages = try_zalloc(n, (size_t)p->n_group * sizeof *p->pages);
	p->buckets = try_zalloc(n_bucket, sizeof *p->buckets);
	p->run = mem_calloc((size_t)p->n_group + 1, sizeof *p->run);
	if (!p->nodes || !p->ids || !p->pages || !p->buckets) {
		prefix_free(p);
		return err_set(err, ERR_NOMEM, "not enough memory for the index of %zu KV pages; grant less KV memory", n);
	}
	*ret = p;
	return 0;
}

void prefix_free(struct prefix *p)
{
	if (!p)
		return;
	prefix_shrink(p, 0);
	BUG_ON(p->n_live && p->nodes);
	mem_free(p->nodes);
	mem_free(p->ids);
	mem_free(p->pages);
	mem_free(p->buckets);
	mem_free(p->run);
	mem_free(p);
}

size_t prefix_bytes(const struct prefix *p)
{
	return p->n_bytes;
}

uint32_t prefix_n_node(const struct prefix *p)
{
	return p->n_live;
}

/* ---- nodes ---- */

static uint32_t *pages_of(const struct prefix *p, uint32_t i)
{
	return p->pages + (size_t)i * (size_t)p->n_group;
}

static void hold(struct prefix *p, uint32_t i, int group, uint32_t page)
{
	kv_share(p->kv, group, page);
	pages_of(p, i)[group] = page;
	p->n_bytes += kv_block_bytes(p->kv, group);
}

static void let_go(struct prefix *p, uint32_t i, int group)
{
	uint32_t *page = &pages_of(p, i)[group];
	if (*page == NO_PAGE)
		return;
	kv_drop(p->kv, group, *page);
	p->n_bytes -= kv_block_bytes(p->kv, group);
	*page = NO_PAGE;
}

static uint64_t mix(uint64_t h, uint64_t x)
{
	h = (h ^ x) * UINT64_C(0x9e3779b97f4a7c15);
	return h ^ h >> 29;
}

static uint64_t hash_of(const struct prefix *p, uint64_t domain, uint32_t parent, const int *ids)
{
	uint64_t h = parent ? p->nodes[parent].hash : mix(p->seed, domain);
	for (int i = 0; i < KERN_PAGE_TOK; i++)
		h = mix(h, (uint32_t)ids[i]);
	return h;
}

/* The node of a page of ids behind `parent`, or 0. Parents are compared by number, so that equal nodes mean equal texts
 * from the start. */
static uint32_t child_of(const struct prefix *p, uint64_t domain, uint32_t parent, const int *ids, uint64_t hash)
{
	uint32_t i = p->buckets[hash & p->mask];
	for (; i; i = p->nodes[i].next) {
		const struct node *n = &p->nodes[i];
		if (n->hash == hash && n->parent == parent && n->domain == domain &&
		    !memcmp(p->ids + (size_t)i * KERN_PAGE_TOK, ids, KERN_PAGE_TOK * sizeof *ids))
			return i;
	}
	return 0;
}

static void unlink_bucket(struct prefix *p, uint32_t i)
{
	uint32_t *link = &p->buckets[p->nodes[i].hash & p->mask];
	while (*link != i)
		link = &p->nodes[*link].next;
	*link = p->nodes[i].next;
}

static void remove_leaf(struct prefix *p, uint32_t i)
{
	struct node *n = &p->nodes[i];
	BUG_ON(n->n_child || n->n_user);
	for (int g = 0; g < p->n_group; g++)
		let_go(p, i, g);
	unlink_bucket(p, i);
	if (n->parent)
		p->nodes[n->parent].n_child--;
	n->live = 0;
	n->next = p->free;
	p->free = i;
	p->n_live--;
}

/* The unused node without children that was used least recently, or 0. */
static uint32_t oldest_leaf(const struct prefix *p)
{
	uint32_t best = 0;
	for (uint32_t i = 1; i < p->n_fresh; i++) {
		const struct node *n = &p->nodes[i];
		if (n->live && !n->n_child && !n->n_user && (!best || n->used < p->nodes[best].used))
			best = i;
	}
	return best;
}

/* True when giving up the windowed pages of node i frees one. */
static bool window_frees(const struct prefix *p, uint32_t i)
{
	for (int g = 0; g < p->n_group; g++)
		if (kv_window(p->kv, g) && pages_of(p, i)[g] != NO_PAGE && kv_n_holder(p->kv, g, pages_of(p, i)[g]) == 1)
			return true;
	return false;
}

/* The node with the least recently needed windowed pages that nobody else holds, or 0. */
static uint32_t oldest_window(const struct prefix *p)
{
	uint32_t best = 0;
	for (uint32_t i = 1; p->windowed && i < p->n_fresh; i++) {
		const struct node *n = &p->nodes[i];
		if (n->live && (!best || n->window_used < p->nodes[best].window_used) && window_frees(p, i))
			best = i;
	}
	return best;
}

bool prefix_evict(struct prefix *p)
{
	uint32_t leaf = oldest_leaf(p), window = oldest_window(p);
	if (!leaf && !window)
		return false;
	if (!window || (leaf && p->nodes[leaf].used <= p->nodes[window].window_used)) {
		remove_leaf(p, leaf);
		return true;
	}
	for (int g = 0; g < p->n_group; g++)
		if (kv_window(p->kv, g))
			let_go(p, window, g);
	return true;
}

void prefix_shrink(struct prefix *p, size_t n_bytes)
{
	while (p->n_live && (p->n_bytes > n_bytes || !n_bytes) && prefix_evict(p))
		;
}

/* ---- sequences ---- */

static void stand_on(struct prefix *p, struct prefix_at *at, uint32_t i_node, uint32_t n_page)
{
	if (at->i_node)
		p->nodes[at->i_node].n_user--;
	if (i_node)
		p->nodes[i_node].n_user++;
	at->i_node = i_node;
	at->n_page = n_page;
}

void prefix_leave(struct prefix *p, struct prefix_at *at)
{
	stand_on(p, at, 0, 0);
}

/* The last node behind `at` that a sequence can go on after, at most n_most pages from the start; *ret_n_page is its number
 * of pages. p->run[g] is the first page from which on all have a page of group g. */
static uint32_t find(const struct prefix *p, const struct prefix_at *at, const int *ids, uint32_t n_most, uint32_t *ret_n_page)
{
	uint32_t best = 0, i = at->i_node;
	for (int g = 0; g < p->n_group; g++)
		p->run[g] = at->n_page;
	for (uint32_t n = at->n_page; n < n_most; n++) {
		const int *page_ids = ids + (size_t)n * KERN_PAGE_TOK;
		i = child_of(p, at->domain, i, page_ids, hash_of(p, at->domain, i, page_ids));
		if (!i)
			break;
		bool whole = true;
		for (int g = 0; g < p->n_group; g++) {
			if (pages_of(p, i)[g] == NO_PAGE)
				p->run[g] = n + 1;
			uint32_t first = seq_mem_first_visible(p->kv, g, (int64_t)(n + 1) * KERN_PAGE_TOK);
			whole &= p->run[g] <= (first > at->n_page ? first : at->n_page);
		}
		if (whole) {
			best = i;
			*ret_n_page = n + 1;
		}
	}
	return best;
}

/* Puts the pages of the path to `last` into the tables, which seq_mem_jump made ready. */
static void adopt(struct prefix *p, uint32_t last, uint32_t n_old, uint32_t n_new, struct seq_mem *mem)
{
	uint64_t now = p->tick += n_new - n_old; /* the end is the most recent: it goes last */
	for (uint32_t n = n_new, i = last; n > n_old; i = p->nodes[i].parent) {
		n--;
		p->nodes[i].used = now;
		for (int g = 0; g < p->n_group; g++) {
			if (n < mem->tables[g].n_begin)
				continue;
			mem->tables[g].pages[n] = pages_of(p, i)[g];
			kv_share(p->kv, g, pages_of(p, i)[g]);
			if (kv_window(p->kv, g))
				p->nodes[i].window_used = now;
		}
		now--;
	}
}

int64_t prefix_extend(struct prefix *p, struct prefix_at *at, struct seq_mem *mem, const int *ids, int64_t n_done, int64_t n_max)
{
	uint32_t n_page, last;
	if (n_max / KERN_PAGE_TOK <= at->n_page)
		return n_done;
	last = find(p, at, ids, (uint32_t)(n_max / KERN_PAGE_TOK), &n_page);
	if (!last || (int64_t)n_page * KERN_PAGE_TOK <= n_done)
		return n_done;
	seq_mem_jump(mem, p->kv, at->n_page, n_page);
	adopt(p, last, at->n_page, n_page, mem);
	stand_on(p, at, last, n_page);
	return (int64_t)n_page * KERN_PAGE_TOK;
}

static uint32_t take_node(struct prefix *p)
{
	uint32_t i;
	if (!p->free && p->n_fresh == p->n_max && (i = oldest_leaf(p)))
		remove_leaf(p, i);
	if ((i = p->free)) {
		p->free = p->nodes[i].next;
		return i;
	}
	return p->n_fresh < p->n_max ? p->n_fresh++ : 0;
}

static uint32_t new_node(struct prefix *p, const struct prefix_at *at, const int *ids, uint64_t hash)
{
	uint32_t i = take_node(p), *bucket = &p->buckets[hash & p->mask];
	if (!i)
		return 0;
	p->nodes[i] = (struct node){.hash = hash, .domain = at->domain, .parent = at->i_node, .next = *bucket, .live = 1};
	*bucket = i;
	memcpy(p->ids + (size_t)i * KERN_PAGE_TOK, ids, KERN_PAGE_TOK * sizeof *ids);
	for (int g = 0; g < p->n_group; g++)
		pages_of(p, i)[g] = NO_PAGE;
	if (at->i_node)
		p->nodes[at->i_node].n_child++;
	p->n_live++;
	return i;
}

/* The node and the sequence share one page: the node's if it has one. */
static void merge(struct prefix *p, uint32_t i, int group, uint32_t *page)
{
	uint32_t known = pages_of(p, i)[group];
	if (known == NO_PAGE) {
		hold(p, i, group, *page);
	} else if (known != *page) {
		kv_share(p->kv, group, known);
		kv_drop(p->kv, group, *page);
		*page = known;
	}
}

void prefix_put(struct prefix *p, struct prefix_at *at, struct seq_mem *mem, const int *ids, int64_t n_done)
{
	while ((int64_t)(at->n_page + 1) * KERN_PAGE_TOK <= n_done) {
		uint32_t n = at->n_page;
		const int *page_ids = ids + (size_t)n * KERN_PAGE_TOK;
		uint64_t hash = hash_of(p, at->domain, at->i_node, page_ids);
		uint32_t i = child_of(p, at->domain, at->i_node, page_ids, hash);
		if (!i && !(i = new_node(p, at, page_ids, hash)))
			return;
		p->nodes[i].used = p->nodes[i].window_used = ++p->tick;
		for (int g = 0; g < p->n_group; g++)
			if (n >= mem->tables[g].n_begin)
				merge(p, i, g, &mem->tables[g].pages[n]);
		stand_on(p, at, i, n + 1);
	}
}
