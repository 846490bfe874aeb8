#include "engine/prefix.h"

#include <string.h>

#include "base/bug.h"
#include "base/clock.h"
#include "base/mem.h"

/* Page numbers end below kv's UINT32_MAX / 2. */
static const uint32_t NO_PAGE = UINT32_MAX;

/* Children of a node that are looked at for a common beginning, the latest first. */
enum { SCAN_MAX = 256 };

/* LEAVES: nodes without children that nobody stands on. WINDOWS: nodes that hold windowed pages. Oldest first. */
enum list { LEAVES, WINDOWS, N_LIST };

/* Times are ticks of a counter, not of a clock. */
struct node {
	uint64_t hash, domain;
	uint64_t used[N_LIST];       /* when it was last of use, as a place to stand, and its windowed pages */
	struct {
		uint32_t prev, next;
	} links[N_LIST];
	uint32_t parent;             /* 0: the first page */
	uint32_t child;              /* the latest; 0: none */
	uint32_t sib_prev, sib_next; /* children of the same parent, the latest first */
	uint32_t next;               /* in its bucket, or among the free */
	uint32_t n_child, n_user;    /* n_user: sequences that stand on it */
	uint32_t n_tok;              /* items; fewer than a page has: a last page, in no bucket */
	bool listed[N_LIST];
};

/* Node 0 is nobody: no parent, nowhere, both ends of each list; its children are the first pages of all domains. */
struct prefix {
	struct kv *kv;
	int n_group;
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

static void *try_alloc(size_t n, size_t size)
{
	size_t n_bytes;
	return size_mul(n, size, &n_bytes) ? mem_try_alloc(n_bytes) : NULL;
}

int prefix_new(struct kv *kv, bool off, struct prefix **ret, struct err *err)
{
	struct prefix *p = mem_zalloc(sizeof *p);
	size_t n = off ? 1 : most_nodes(kv) + 1, n_bucket = 1;
	while (n_bucket < n)
		n_bucket *= 2;
	p->kv = kv;
	p->n_group = kv_n_group(kv);
	p->n_max = (uint32_t)n;
	p->n_fresh = 1;
	p->mask = (uint32_t)(n_bucket - 1);
	p->seed = (uint64_t)clock_now_ns();
	p->nodes = try_alloc(n, sizeof *p->nodes);
	p->ids = try_alloc(n, KERN_PAGE_TOK * sizeof *p->ids);
	p->pages = try_alloc(n, (size_t)p->n_group * sizeof *p->pages);
	p->buckets = try_alloc(n_bucket, sizeof *p->buckets);
	p->run = mem_calloc((size_t)p->n_group + 1, sizeof *p->run);
	if (!p->nodes || !p->ids || !p->pages || !p->buckets) {
		prefix_free(p);
		return err_set(err, ERR_NOMEM, "not enough memory for the index of %zu KV pages; grant less KV memory", n);
	}
	p->nodes[0] = (struct node){0};
	memset(p->buckets, 0, n_bucket * sizeof *p->buckets);
	*ret = p;
	return 0;
}

void prefix_free(struct prefix *p)
{
	if (!p)
		return;
	prefix_shrink(p, 0);
	BUG_ON(p->n_live);
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

bool prefix_is_off(const struct prefix *p)
{
	return p->n_max == 1;
}

uint32_t prefix_n_node(const struct prefix *p)
{
	return p->n_live;
}

/* ---- lists ---- */

static void list_remove(struct prefix *p, enum list l, uint32_t i)
{
	struct node *n = &p->nodes[i];
	if (!n->listed[l])
		return;
	p->nodes[n->links[l].prev].links[l].next = n->links[l].next;
	p->nodes[n->links[l].next].links[l].prev = n->links[l].prev;
	n->listed[l] = false;
}

/* Puts i before `at`; 0: at the end. */
static void list_insert(struct prefix *p, enum list l, uint32_t i, uint32_t at)
{
	struct node *n = &p->nodes[i];
	list_remove(p, l, i);
	n->links[l].next = at;
	n->links[l].prev = p->nodes[at].links[l].prev;
	p->nodes[n->links[l].prev].links[l].next = i;
	p->nodes[at].links[l].prev = i;
	n->listed[l] = true;
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

static void unlink_sibling(struct prefix *p, uint32_t i)
{
	const struct node *n = &p->nodes[i];
	if (n->sib_prev)
		p->nodes[n->sib_prev].sib_next = n->sib_next;
	else
		p->nodes[n->parent].child = n->sib_next;
	if (n->sib_next)
		p->nodes[n->sib_next].sib_prev = n->sib_prev;
}

static void remove_leaf(struct prefix *p, uint32_t i)
{
	struct node *n = &p->nodes[i];
	struct node *parent = &p->nodes[n->parent];
	BUG_ON(n->n_child || n->n_user);
	for (int g = 0; g < p->n_group; g++)
		let_go(p, i, g);
	if (n->n_tok == KERN_PAGE_TOK)
		unlink_bucket(p, i);
	unlink_sibling(p, i);
	list_remove(p, LEAVES, i);
	list_remove(p, WINDOWS, i);
	if (n->parent && !--parent->n_child && !parent->n_user) {
		uint32_t at = p->nodes[0].links[LEAVES].next;
		while (at && p->nodes[at].used[LEAVES] < parent->used[LEAVES])
			at = p->nodes[at].links[LEAVES].next;
		list_insert(p, LEAVES, n->parent, at);
	}
	n->next = p->free;
	p->free = i;
	p->n_live--;
}

/* The node whose windowed pages were not needed for longest, of those where that frees memory; 0: none. */
static uint32_t oldest_window(const struct prefix *p)
{
	uint32_t i = p->nodes[0].links[WINDOWS].next;
	for (; i; i = p->nodes[i].links[WINDOWS].next)
		for (int g = 0; g < p->n_group; g++) {
			uint32_t page = pages_of(p, i)[g];
			if (kv_window(p->kv, g) && page != NO_PAGE && kv_n_holder(p->kv, g, page) == 1)
				return i;
		}
	return 0;
}

bool prefix_evict(struct prefix *p)
{
	uint32_t leaf = p->nodes[0].links[LEAVES].next, i = oldest_window(p);
	if (leaf && (!i || p->nodes[leaf].used[LEAVES] <= p->nodes[i].used[WINDOWS])) {
		remove_leaf(p, leaf);
		return true;
	}
	for (int g = 0; i && g < p->n_group; g++)
		if (kv_window(p->kv, g))
			let_go(p, i, g);
	list_remove(p, WINDOWS, i);
	return i != 0;
}

void prefix_shrink(struct prefix *p, size_t n_bytes)
{
	while (p->n_live && (p->n_bytes > n_bytes || !n_bytes) && prefix_evict(p))
		;
}

/* ---- sequences ---- */

/* Steps down the tree, from a node to one below it. */
static void stand_on(struct prefix *p, struct prefix_at *at, uint32_t i_node, uint32_t n_page)
{
	if (at->i_node)
		p->nodes[at->i_node].n_user--;
	p->nodes[i_node].n_user++;
	list_remove(p, LEAVES, i_node);
	at->i_node = i_node;
	at->n_page = n_page;
}

void prefix_leave(struct prefix *p, struct prefix_at *at)
{
	struct node *n = &p->nodes[at->i_node];
	if (at->i_node && !--n->n_user && !n->n_child) {
		n->used[LEAVES] = ++p->tick;
		list_insert(p, LEAVES, at->i_node, 0);
	}
	at->i_node = at->n_page = 0;
}

/* The windowed pages of node i are needed. */
static void use_window(struct prefix *p, uint32_t i, uint64_t now)
{
	p->nodes[i].used[WINDOWS] = now;
	list_insert(p, WINDOWS, i, 0);
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
	uint64_t now = ++p->tick;
	for (uint32_t n = n_new, i = last; n-- > n_old; i = p->nodes[i].parent) {
		bool windowed = false;
		for (int g = 0; g < p->n_group; g++) {
			if (n < mem->tables[g].n_begin)
				continue;
			mem->tables[g].pages[n] = pages_of(p, i)[g];
			kv_share(p->kv, g, pages_of(p, i)[g]);
			windowed |= kv_window(p->kv, g) > 0;
		}
		p->nodes[i].used[LEAVES] = now;
		if (windowed)
			use_window(p, i, now);
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
	if (!p->free && p->n_fresh == p->n_max && (i = p->nodes[0].links[LEAVES].next))
		remove_leaf(p, i);
	if ((i = p->free)) {
		p->free = p->nodes[i].next;
		return i;
	}
	return p->n_fresh < p->n_max ? p->n_fresh++ : 0;
}

/* Items that node i and ids[0 .. n) begin with alike. */
static uint32_t common(const struct prefix *p, uint32_t i, const int *ids, int64_t n)
{
	const int *own = p->ids + (size_t)i * KERN_PAGE_TOK;
	uint32_t most = n < p->nodes[i].n_tok ? (uint32_t)n : p->nodes[i].n_tok, k = 0;
	while (k < most && own[k] == ids[k])
		k++;
	return k;
}

/* A last page that a longer one begins with is of no use any more. */
static void remove_covered(struct prefix *p, uint32_t parent, uint64_t domain, const int *ids, uint32_t n_tok)
{
	int n_seen = 0;
	for (uint32_t i = p->nodes[parent].child, next; i && n_seen < SCAN_MAX; i = next, n_seen++) {
		const struct node *n = &p->nodes[i];
		next = n->sib_next;
		if (n->n_tok < n_tok && n->domain == domain && common(p, i, ids, n_tok) == n->n_tok)
			remove_leaf(p, i);
	}
}

/* A node behind `at` without pages, in no bucket; 0: there is no room. */
static uint32_t new_node(struct prefix *p, const struct prefix_at *at, const int *ids, uint32_t n_tok)
{
	remove_covered(p, at->i_node, at->domain, ids, n_tok);
	uint32_t i = take_node(p);
	if (!i)
		return 0;
	struct node *parent = &p->nodes[at->i_node];
	p->nodes[i] = (struct node){.domain = at->domain, .parent = at->i_node, .sib_next = parent->child, .n_tok = n_tok};
	if (parent->child)
		p->nodes[parent->child].sib_prev = i;
	parent->child = i;
	memcpy(p->ids + (size_t)i * KERN_PAGE_TOK, ids, n_tok * sizeof *ids);
	for (int g = 0; g < p->n_group; g++)
		pages_of(p, i)[g] = NO_PAGE;
	if (at->i_node)
		parent->n_child++;
	p->n_live++;
	return i;
}

static uint32_t new_page(struct prefix *p, const struct prefix_at *at, const int *ids, uint64_t hash)
{
	uint32_t i = new_node(p, at, ids, KERN_PAGE_TOK), *bucket = &p->buckets[hash & p->mask];
	if (!i)
		return 0;
	p->nodes[i].hash = hash;
	p->nodes[i].next = *bucket;
	*bucket = i;
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
		if (!i && !(i = new_page(p, at, page_ids, hash)))
			return;
		bool windowed = false;
		for (int g = 0; g < p->n_group; g++) {
			if (n < mem->tables[g].n_begin)
				continue;
			merge(p, i, g, &mem->tables[g].pages[n]);
			windowed |= kv_window(p->kv, g) > 0;
		}
		p->nodes[i].used[LEAVES] = ++p->tick;
		if (windowed)
			use_window(p, i, p->tick);
		stand_on(p, at, i, n + 1);
	}
}

static bool has_all_pages(const struct prefix *p, uint32_t i)
{
	for (int g = 0; g < p->n_group; g++)
		if (pages_of(p, i)[g] == NO_PAGE)
			return false;
	return true;
}

/* The child of at's node that has most in common with ids[0 .. n); *ret_n is how much. 0: none has anything. */
static uint32_t best_child(const struct prefix *p, const struct prefix_at *at, const int *ids, int64_t n, uint32_t *ret_n)
{
	uint32_t best = 0;
	int n_seen = 0;
	*ret_n = 0;
	for (uint32_t i = p->nodes[at->i_node].child; i && n_seen < SCAN_MAX; i = p->nodes[i].sib_next, n_seen++) {
		uint32_t k = common(p, i, ids, n);
		if (k > *ret_n && p->nodes[i].domain == at->domain && has_all_pages(p, i)) {
			best = i;
			*ret_n = k;
		}
	}
	return best;
}

/* It was of use just now, but nobody stands on it. */
static void touch(struct prefix *p, uint32_t i)
{
	struct node *n = &p->nodes[i];
	n->used[LEAVES] = ++p->tick;
	if (!n->n_child && !n->n_user)
		list_insert(p, LEAVES, i, 0);
	if (n->listed[WINDOWS])
		use_window(p, i, p->tick);
}

/* Keeps a node and its pages from being evicted, and lets them go again. */
static void pin(struct prefix *p, uint32_t i)
{
	p->nodes[i].n_user++;
	list_remove(p, LEAVES, i);
	for (int g = 0; g < p->n_group; g++)
		kv_share(p->kv, g, pages_of(p, i)[g]);
}

static void unpin(struct prefix *p, uint32_t i)
{
	p->nodes[i].n_user--;
	for (int g = 0; g < p->n_group; g++)
		kv_drop(p->kv, g, pages_of(p, i)[g]);
	touch(p, i);
}

int64_t prefix_copy(struct prefix *p, const struct prefix_at *at, struct seq_mem *mem, const int *ids, int64_t n_done,
		    int64_t n_max)
{
	uint32_t n_same, i;
	if (n_done != (int64_t)at->n_page * KERN_PAGE_TOK || n_max <= n_done)
		return n_done;
	i = best_child(p, at, ids + n_done, n_max - n_done, &n_same);
	if (!i)
		return n_done;
	bool room;
	pin(p, i);
	while (!(room = seq_mem_reserve(mem, p->kv, n_done, n_done + n_same)) && prefix_evict(p))
		;
	for (int g = 0; room && g < p->n_group; g++) {
		size_t n_bytes = kv_block_bytes(p->kv, g);
		uint8_t *base = kv_base(p->kv, g);
		memcpy(base + mem->tables[g].pages[at->n_page] * n_bytes, base + pages_of(p, i)[g] * n_bytes, n_bytes);
	}
	unpin(p, i);
	return room ? n_done + n_same : n_done;
}

int64_t prefix_n_stored(const struct prefix *p, uint64_t domain, const int *ids, int64_t n_max)
{
	uint32_t n_page = 0;
	find(p, &(struct prefix_at){.domain = domain}, ids, (uint32_t)(n_max / KERN_PAGE_TOK), &n_page);
	return (int64_t)n_page * KERN_PAGE_TOK;
}

void prefix_put_rest(struct prefix *p, const struct prefix_at *at, const struct seq_mem *mem, const int *ids, int64_t n_done)
{
	int64_t begin = (int64_t)at->n_page * KERN_PAGE_TOK;
	uint32_t n_tok = (uint32_t)(n_done - begin), n_same, i;
	if (n_done <= begin || n_done - begin >= KERN_PAGE_TOK)
		return;
	i = best_child(p, at, ids + begin, n_tok, &n_same);
	if (i && n_same == n_tok) {
		touch(p, i);
		return;
	}
	if (!(i = new_node(p, at, ids + begin, n_tok)))
		return;
	for (int g = 0; g < p->n_group; g++) {
		hold(p, i, g, mem->tables[g].pages[at->n_page]);
		if (kv_window(p->kv, g))
			use_window(p, i, p->tick);
	}
	touch(p, i);
}
