/* Loading: metadata to hyperparameters, forward to a recording, matrices to panels. */
#include <fnmatch.h>
#include <stdatomic.h>
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

/* What a thread takes at a time: long enough that taking costs nothing, short enough that all threads end together. */
enum { CHUNK_BYTES = 2 << 20, CHUNKS_A_REPORT = 4 };

/* One matrix to pack, cut into chunks of rows. */
struct pack_mat {
	struct kern_mat *w;
	int64_t chunk_rows;
	uint32_t n_chunk;
	_Atomic uint32_t n_taken;
};

struct pack {
	struct pack_mat *mats;
	size_t n;
	bool mapped; /* the rows lie in a file */
	_Atomic size_t n_done_bytes;
	size_t total_bytes;
	void (*progress)(void *, float);
	void *user;
};

/* Tells the kernel about the file pages that [p, p + n) touches. They are clean: whoever else needs one gets it back. */
static void advise_file(const uint8_t *p, size_t n, int advice)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	uintptr_t from = (uintptr_t)p / page * page, to = ((uintptr_t)p + n + page - 1) / page * page;
	madvise((void *)from, to - from, advice);
}

/* The file pages are mapped at once instead of by a fault for every few of them (older kernels refuse, and it goes the long
 * way), and let go of when the panel has their content: resident memory stays about the file's size at all times. */
static void pack_chunk(const struct pack *p, struct kern_mat *w, int64_t r0, int64_t r1)
{
	const uint8_t *rows = w->data + (size_t)r0 * w->row_bytes;
	size_t n = (size_t)(r1 - r0) * w->row_bytes;
	if (p->mapped)
		advise_file(rows, n, MADV_POPULATE_READ);
	w->ops->pack(w, w->panel, r0, r1);
	if (p->mapped)
		advise_file(rows, n, MADV_DONTNEED);
}

/* Every thread goes through the matrices in order and takes chunks until none is left. Nobody waits for anybody. */
static void pack_share(void *arg, int i_thread, int n_thread)
{
	struct pack *p = arg;
	unsigned n_mine = 0;
	(void)n_thread;
	for (size_t i = 0; i < p->n; i++) {
		struct pack_mat *m = &p->mats[i];
		uint32_t k;
		while ((k = atomic_fetch_add(&m->n_taken, 1)) < m->n_chunk) {
			int64_t r0 = k * m->chunk_rows, r1 = r0 + m->chunk_rows;
			r1 = r1 < m->w->n_out ? r1 : m->w->n_out;
			pack_chunk(p, m->w, r0, r1);
			size_t n = m->w->row_bytes * (size_t)(r1 - r0);
			n += atomic_fetch_add(&p->n_done_bytes, n);
			if (p->progress && i_thread == 0 && n_mine++ % CHUNKS_A_REPORT == 0)
				p->progress(p->user, (float)n / (float)p->total_bytes);
		}
	}
}

static size_t panel_bytes(const struct graph_mat *m)
{
	return m->multiplied ? (m->w.ops->panel_bytes(m->w.n_in, m->w.n_out) + 63) & ~(size_t)63 : 0;
}

static int map_panels(struct model *m, struct err *err)
{
	size_t total = 0;
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
	return 0;
}

static int pack_all(struct model *m, struct pool *pool, void (*progress)(void *, float), void *user, struct err *err)
{
	struct pack p = {.mapped = gguf_is_mapped(m->gguf), .progress = progress, .user = user};
	size_t at = 0;
	int rc = map_panels(m, err);
	if (rc || !m->panels)
		return rc;
	p.mats = mem_calloc(m->graph.mats.n, sizeof *p.mats);
	for (size_t i = 0; i < m->graph.mats.n; i++) {
		struct graph_mat *mat = m->graph.mats.data[i];
		size_t n = panel_bytes(mat);
		if (!n)
			continue;
		struct kern_mat *w = &mat->w;
		w->panel = m->panels + at;
		at += n;
		int64_t align = w->ops->row_align, rows = (int64_t)(CHUNK_BYTES / w->row_bytes) / align * align;
		rows = rows < align ? align : rows;
		p.mats[p.n++] = (struct pack_mat){.w = w, .chunk_rows = rows, .n_chunk = (uint32_t)((w->n_out + rows - 1) / rows)};
		p.total_bytes += w->row_bytes * (size_t)w->n_out;
	}
	pool_run(pool, pack_share, &p);
	/* A fault at the edge of a chunk brings neighbours back that were let go. */
	for (size_t i = 0; p.mapped && i < p.n; i++)
		advise_file(p.mats[i].w->data, p.mats[i].w->row_bytes * (size_t)p.mats[i].w->n_out, MADV_DONTNEED);
	mem_free(p.mats);
	if (progress)
		progress(user, 1.0f);
	return 0;
}

void model_drop_rows(const struct model *m, const struct graph_mat *mat)
{
	const struct kern_mat *w = &mat->w;
	if (gguf_is_mapped(m->gguf) && (w->panel || !mat->multiplied))
		advise_file(w->data, w->row_bytes * (size_t)w->n_out, MADV_DONTNEED);
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
