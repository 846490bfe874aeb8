#include "engine/kv.h"

#include <string.h>
#include <sys/mman.h>

#include "base/bug.h"
#include "base/mem.h"

/* Memory is made usable in steps of this size. */
enum { SLAB_BYTES = 4 << 20, OS_PAGE_BYTES = 4096 };

struct kv_group {
	uint8_t *base;       /* reserved addresses */
	size_t block_bytes;  /* a multiple of OS_PAGE_BYTES */
	int64_t window;
	uint32_t n_page;     /* pages that fit the budget */
	uint32_t n_usable;   /* made usable so far: pages [0, n_usable) */
	uint32_t n_fresh;    /* never taken: pages [n_fresh, n_page) */
	uint32_t *ref;       /* [n_page] holders */
	uint32_t *free;      /* [n_page] stack of pages that were taken before and are free now */
	uint32_t n_free, n_clean; /* free[0 .. n_clean) have given their memory back */
};

struct kv {
	int n_group;
	struct kv_group *groups;
	size_t budget_bytes, used_bytes;
};

size_t kv_block_size(const struct model *m, int group)
{
	size_t n = model_group_block_bytes(m, group);
	return (n + OS_PAGE_BYTES - 1) / OS_PAGE_BYTES * OS_PAGE_BYTES;
}

size_t kv_bytes_for(const struct model *m, int64_t n_tok, int64_t n_step)
{
	size_t total = 0, n;
	for (int i = 0; i < model_n_group(m); i++) {
		int64_t window = model_group_window(m, i), held = n_tok;
		/* The window itself, the tokens of a step, and a page cut at either end. */
		if (window > 0 && held > window + n_step + 2 * KERN_PAGE_TOK)
			held = window + n_step + 2 * KERN_PAGE_TOK;
		size_t pages = (size_t)(held + KERN_PAGE_TOK - 1) / KERN_PAGE_TOK;
		if (!size_mul(pages, kv_block_size(m, i), &n) || !size_add(total, n, &total))
			return SIZE_MAX;
	}
	return total;
}

static int init_group(struct kv_group *g, const struct model *m, int i, size_t budget_bytes, struct err *err)
{
	g->block_bytes = kv_block_size(m, i);
	g->window = model_group_window(m, i);
	size_t n = budget_bytes / g->block_bytes;
	g->n_page = n > UINT32_MAX / 2 ? UINT32_MAX / 2 : (uint32_t)n;
	if (!g->n_page)
		return err_set(err, ERR_NOMEM, "the KV memory budget of %zu bytes holds no page; a page takes %zu bytes",
			       budget_bytes, g->block_bytes);
	g->ref = mem_try_alloc((size_t)g->n_page * sizeof *g->ref);
	g->free = mem_try_alloc((size_t)g->n_page * sizeof *g->free);
	void *p = mmap(NULL, g->n_page * g->block_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	g->base = p == MAP_FAILED ? NULL : p;
	if (!g->ref || !g->free || !g->base)
		return err_set(err, ERR_NOMEM, "cannot reserve %zu MiB of addresses for the KV cache; use a smaller context",
			       (g->n_page * g->block_bytes) >> 20);
	return 0;
}

int kv_new(const struct model *m, size_t budget_bytes, struct kv **ret, struct err *err)
{
	struct kv *kv = mem_zalloc(sizeof *kv);
	kv->n_group = model_n_group(m);
	kv->groups = mem_calloc((size_t)kv->n_group + 1, sizeof *kv->groups);
	kv->budget_bytes = budget_bytes;
	for (int i = 0; i < kv->n_group; i++) {
		int rc = init_group(&kv->groups[i], m, i, budget_bytes, err);
		if (rc) {
			kv_free(kv);
			return rc;
		}
	}
	*ret = kv;
	return 0;
}

void kv_free(struct kv *kv)
{
	if (!kv)
		return;
	for (int i = 0; i < kv->n_group; i++) {
		struct kv_group *g = &kv->groups[i];
		if (g->base)
			munmap(g->base, g->n_page * g->block_bytes);
		mem_free(g->ref);
		mem_free(g->free);
	}
	mem_free(kv->groups);
	mem_free(kv);
}

int kv_n_group(const struct kv *kv)
{
	return kv->n_group;
}

int64_t kv_window(const struct kv *kv, int group)
{
	return kv->groups[group].window;
}

uint8_t *kv_base(const struct kv *kv, int group)
{
	return kv->groups[group].base;
}

size_t kv_block_bytes(const struct kv *kv, int group)
{
	return kv->groups[group].block_bytes;
}

size_t kv_budget_bytes(const struct kv *kv)
{
	return kv->budget_bytes;
}

size_t kv_used_bytes(const struct kv *kv)
{
	return kv->used_bytes;
}

/* Makes the next slab usable. */
static bool grow(struct kv_group *g)
{
	uint32_t n = (uint32_t)(SLAB_BYTES / g->block_bytes) + 1;
	if (n > g->n_page - g->n_usable)
		n = g->n_page - g->n_usable;
	if (!n || mprotect(g->base + g->n_usable * g->block_bytes, n * g->block_bytes, PROT_READ | PROT_WRITE))
		return false;
	g->n_usable += n;
	return true;
}

bool kv_take(struct kv *kv, int group, uint32_t *ret_page)
{
	struct kv_group *g = &kv->groups[group];
	if (g->block_bytes > kv->budget_bytes - kv->used_bytes)
		return false;
	if (g->n_free) {
		*ret_page = g->free[--g->n_free];
		if (g->n_clean > g->n_free)
			g->n_clean = g->n_free;
	} else if (g->n_fresh < g->n_usable || grow(g)) {
		*ret_page = g->n_fresh++;
	} else {
		return false;
	}
	g->ref[*ret_page] = 1;
	kv->used_bytes += g->block_bytes;
	return true;
}

void kv_share(struct kv *kv, int group, uint32_t page)
{
	struct kv_group *g = &kv->groups[group];
	BUG_ON(page >= g->n_fresh || !g->ref[page]);
	g->ref[page]++;
}

void kv_drop(struct kv *kv, int group, uint32_t page)
{
	struct kv_group *g = &kv->groups[group];
	BUG_ON(page >= g->n_fresh || !g->ref[page]);
	if (--g->ref[page])
		return;
	g->free[g->n_free++] = page;
	kv->used_bytes -= g->block_bytes;
}

uint32_t kv_n_holder(const struct kv *kv, int group, uint32_t page)
{
	const struct kv_group *g = &kv->groups[group];
	return page < g->n_fresh ? g->ref[page] : 0;
}

void kv_trim(struct kv *kv)
{
	for (int i = 0; i < kv->n_group; i++) {
		struct kv_group *g = &kv->groups[i];
		for (; g->n_clean < g->n_free; g->n_clean++)
			madvise(g->base + g->free[g->n_clean] * g->block_bytes, g->block_bytes, MADV_DONTNEED);
	}
}
