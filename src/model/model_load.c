/* Loading: metadata to hyperparameters, forward to a recording, matrices to panels. */
#include <fnmatch.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bug.h"
#include "base/mem.h"
#include "base/str.h"
#include "model/model_int.h"

static const struct model_arch *find_arch(const char *name, size_t n)
{
	for (const struct model_arch *const *a = model_arch_table; *a; a++)
		if (strlen((*a)->name) == n && !memcmp((*a)->name, name, n))
			return *a;
	return NULL;
}

bool model_arch_supported(const char *name)
{
	return find_arch(name, strlen(name)) != NULL;
}

static int choose_arch(struct model *m, struct err *err)
{
	struct gguf_str name;
	int rc = gguf_get_str(m->gguf, "general.architecture", &name, err);
	if (rc < 0)
		return rc;
	if (rc == 0)
		return err_set(err, ERR_FORMAT, "the file has no general.architecture key; it is not a model");
	m->arch = find_arch(name.s, name.n);
	if (!m->arch)
		return err_set(err, ERR_UNSUPPORTED, "the model architecture \"%.*s\" is not supported; supported: %s",
			       (int)(name.n > 64 ? 64 : name.n), name.s, model_arch_names());
	return 0;
}

static int read_keys(struct model *m, int64_t n_ctx, struct err *err)
{
	struct model_keys keys = {.g = m->gguf, .arch = m->arch->name, .err = err};
	if (model_hp_read(&m->hp, &keys, n_ctx))
		return keys.code;
	const struct gguf_tensor *embd = gguf_tensor(m->gguf, "token_embd.weight");
	if (!embd)
		return err_set(err, ERR_FORMAT, "the model has no tensor token_embd.weight");
	if (embd->ne[1] > (1 << 26))
		return err_set(err, ERR_FORMAT, "the vocabulary has %lld tokens; at most %d are possible",
			       (long long)embd->ne[1], 1 << 26);
	m->hp.n_vocab = (int)embd->ne[1];
	if (m->arch->keys)
		m->arch->keys(&m->hp, &keys);
	return keys.code;
}

static bool ignored(const struct model_arch *a, const char *name)
{
	for (const char *const *p = a->ignored; p && *p; p++)
		if (!fnmatch(*p, name, 0))
			return true;
	return false;
}

/* Every tensor is used or known to be of no use: a left-over one means that the model is not what it says. */
static int check_all_used(const struct model *m, struct err *err)
{
	for (size_t i = 0; i < gguf_n_tensor(m->gguf); i++) {
		const struct gguf_tensor *t = gguf_tensor_at(m->gguf, i);
		if (!m->graph.used[i] && !ignored(m->arch, t->name))
			return err_set(err, ERR_UNSUPPORTED,
				       "the model has a tensor %s that the architecture \"%s\" does not know; running without "
				       "it would give wrong results",
				       t->name, m->arch->name);
	}
	return 0;
}

static int record(struct model *m, struct err *err)
{
	struct graph *g = &m->graph;
	graph_init(g, m->gguf, m->kern, &m->hp, &m->arena, err);
	g->kv_type = m->kv_type;
	m->arch->forward(g);
	if (g->code)
		return g->code;
	BUG_ON(g->i_head < 0 || g->embd.buf < 0);
	int rc = check_all_used(m, err);
	if (!rc)
		graph_plan(g);
	return rc;
}

/* ---- packing ---- */

struct pack {
	struct pool *pool;
	struct kern_mat *w;
};

static void pack_share(void *arg, int i_thread, int n_thread)
{
	struct pack *p = arg;
	int64_t r0, r1;
	pool_share(p->w->n_out, p->w->ops->row_align, i_thread, n_thread, &r0, &r1);
	if (r0 < r1)
		p->w->ops->pack(p->w, p->w->panel, r0, r1);
}

/* Lets go of the file pages wholly inside a packed matrix: the panel replaces them, and resident memory stays about the
 * file's size. Rows that are looked up later come back from the page cache. */
static void drop_file_pages(const struct kern_mat *w)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	uintptr_t from = ((uintptr_t)w->data + page - 1) / page * page;
	uintptr_t to = ((uintptr_t)w->data + w->row_bytes * (size_t)w->n_out) / page * page;
	if (from < to)
		madvise((void *)from, to - from, MADV_DONTNEED);
}

static size_t panel_bytes(const struct graph_mat *m)
{
	return m->multiplied ? (m->w.ops->panel_bytes(m->w.n_in, m->w.n_out) + 63) & ~(size_t)63 : 0;
}

static int pack_all(struct model *m, struct pool *pool, void (*progress)(void *, float), void *user, struct err *err)
{
	size_t total = 0, at = 0;
	for (size_t i = 0; i < m->graph.mats.n; i++)
		if (!size_add(total, panel_bytes(m->graph.mats.data[i]), &total))
			return err_set(err, ERR_NOMEM, "the model's weights do not fit the address space");
	if (!total)
		return 0;
	void *p = mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return err_set(err, ERR_NOMEM, "not enough memory for the model's weights: %zu MiB needed", total >> 20);
	madvise(p, total, MADV_HUGEPAGE);
	m->panels = p;
	m->panels_bytes = total;
	for (size_t i = 0; i < m->graph.mats.n; i++) {
		struct graph_mat *mat = m->graph.mats.data[i];
		size_t n = panel_bytes(mat);
		if (!n)
			continue;
		mat->w.panel = m->panels + at;
		at += n;
		pool_run(pool, pack_share, &(struct pack){pool, &mat->w});
		if (gguf_is_mapped(m->gguf))
			drop_file_pages(&mat->w);
		if (progress)
			progress(user, (float)at / (float)total);
	}
	return 0;
}

int model_new(const struct gguf *g, const struct kern *k, enum kern_kv_type kv_type, struct pool *pool, int64_t n_ctx,
	      void (*progress)(void *user, float share), void *user, struct model **ret, struct err *err)
{
	struct model *m = mem_zalloc(sizeof *m);
	m->gguf = g;
	m->kern = k;
	m->kv_type = kv_type;
	arena_init(&m->arena, SIZE_MAX);
	int rc = choose_arch(m, err);
	if (!rc)
		rc = read_keys(m, n_ctx, err);
	if (!rc)
		rc = record(m, err);
	if (!rc)
		rc = pack_all(m, pool, progress, user, err);
	if (rc) {
		model_free(m);
		return rc;
	}
	*ret = m;
	return 0;
}

void model_free(struct model *m)
{
	if (!m)
		return;
	if (m->panels)
		munmap(m->panels, m->panels_bytes);
	graph_release(&m->graph);
	arena_release(&m->arena);
	mem_free(m);
}

const char *model_arch(const struct model *m)
{
	return m->arch->name;
}

int model_n_vocab(const struct model *m)
{
	return m->hp.n_vocab;
}

int model_n_embd(const struct model *m)
{
	return m->hp.n_embd;
}

int64_t model_n_ctx_train(const struct model *m)
{
	return m->hp.n_ctx_train;
}

bool model_is_encoder(const struct model *m)
{
	return m->arch->encoder;
}

int model_pooling(const struct model *m)
{
	return m->hp.pooling;
}
