#include "model/model_exec.h"

#include <string.h>
#include <sys/mman.h>

#include "base/bug.h"
#include "base/mem.h"
#include "model/model_exec_int.h"
#include "model/model_rope.h"

int model_n_group(const struct model *m)
{
	return (int)m->graph.groups.n;
}

int64_t model_group_window(const struct model *m, int group)
{
	return m->graph.groups.data[group].window;
}

size_t model_group_block_bytes(const struct model *m, int group)
{
	return m->graph.groups.data[group].block_bytes;
}

static size_t rows_max(const struct model_exec *x, enum graph_rows rows)
{
	switch (rows) {
	case GRAPH_TOK:
		return (size_t)x->n_tok_max;
	case GRAPH_SLOT:
		return (size_t)x->n_tok_max * (size_t)x->graph->n_slot;
	default:
		return MODEL_HEAD_ROWS;
	}
}

/* Floats of all heads' parts of one token, for the layer that needs the most. */
static size_t part_floats(const struct model_exec *x)
{
	size_t most = 0;
	for (size_t i = 0; i < x->graph->ops.n; i++) {
		const struct graph_op *op = &x->graph->ops.data[i];
		if (op->kind != GRAPH_ATTN)
			continue;
		struct kern_attn a = op->attn;
		a.kv = &x->kvs[op->i_kv];
		size_t n = (size_t)a.n_head * (size_t)kern_attn_part(&a);
		most = n > most ? n : most;
	}
	return most;
}

/* All buffers in one mapping whose pages become real when a step of that size first touches them. */
static int map_buffers(struct model_exec *x, struct err *err)
{
	size_t total = 0, n;
	for (size_t i = 0; i < x->graph->mems.n; i++) {
		const struct graph_mem *m = &x->graph->mems.data[i];
		if (!size_mul(rows_max(x, m->rows), m->row_bytes, &n) || !size_add(total, n, &total))
			return err_set(err, ERR_NOMEM, "the model's buffers do not fit the address space");
	}
	if (!size_mul(part_floats(x), EXEC_PART_TOK * sizeof(float), &n) || !size_add(total, n, &total))
		return err_set(err, ERR_NOMEM, "the model's buffers do not fit the address space");
	x->map_bytes = total;
	x->map = mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (x->map == MAP_FAILED) {
		x->map = NULL;
		return err_set(err, ERR_NOMEM, "not enough memory for the model's buffers: %zu MiB needed", total >> 20);
	}
	madvise(x->map, total, MADV_HUGEPAGE);
	size_t at = 0;
	for (size_t i = 0; i < x->graph->mems.n; i++) {
		x->mems[i] = x->map + at;
		at += rows_max(x, x->graph->mems.data[i].rows) * x->graph->mems.data[i].row_bytes;
	}
	x->parts = (float *)(void *)(x->map + at);
	return 0;
}

static int new_scratch(struct model_exec *x, struct err *err)
{
	size_t n = 16;
	for (size_t i = 0; i < x->graph->ops.n; i++) {
		const struct graph_op *op = &x->graph->ops.data[i];
		if (op->kind != GRAPH_ATTN)
			continue;
		struct kern_attn a = op->attn;
		a.kv = &x->kvs[op->i_kv];
		size_t want = x->k->attn_scratch(&a, x->n_run_tok);
		n = want > n ? want : n;
	}
	for (int i = 0; i < pool_size(x->pool); i++) {
		x->scratch[i] = mem_try_aligned(64, n * sizeof(float));
		if (!x->scratch[i])
			return err_set(err, ERR_NOMEM, "not enough memory for attention: %zu bytes a thread", n * sizeof(float));
	}
	return 0;
}

static void init_kvs(struct model_exec *x)
{
	for (size_t i = 0; i < x->graph->kvs.n; i++) {
		const struct graph_kv *kv = &x->graph->kvs.data[i];
		x->kvs[i] = (struct kern_kv){
			.type = x->m->kv_type, .n_head_kv = kv->n_head_kv, .hd_k = kv->hd_k, .hd_v = kv->hd_v};
	}
}

static void init_ropes(struct model_exec *x)
{
	for (size_t i = 0; i < x->graph->ropes.n; i++) {
		const struct model_rope *r = &x->graph->ropes.data[i];
		x->ropes[i].freq = mem_calloc((size_t)r->n_rot / 2, sizeof(double));
		x->ropes[i].mscale = model_rope_freqs(r, x->ropes[i].freq);
	}
}

static int units_for(struct model_exec *x, const struct graph_op *op)
{
	const struct graph_kv *kv = &x->graph->kvs.data[op->i_kv];
	int i = 0;
	for (; i < x->n_unit_list; i++) {
		const struct exec_units *u = &x->unit_lists[i];
		if (u->group == kv->group && u->n_head_kv == kv->n_head_kv && u->attn.causal == op->attn.causal)
			return i;
	}
	x->unit_lists[x->n_unit_list++] = (struct exec_units){
		.attn = op->attn, .group = kv->group, .n_head_kv = kv->n_head_kv,
		.units = mem_calloc((size_t)x->n_tok_max + EXEC_PART_TOK, sizeof *x->unit_lists->units)};
	return i;
}

static void init_attention(struct model_exec *x)
{
	int ratio = 1, n_head_kv = 1;
	x->op_units = mem_calloc(x->graph->ops.n + 1, sizeof *x->op_units);
	x->unit_lists = mem_calloc(x->graph->kvs.n + 1, sizeof *x->unit_lists);
	for (size_t i = 0; i < x->graph->ops.n; i++) {
		const struct graph_op *op = &x->graph->ops.data[i];
		if (op->kind != GRAPH_ATTN)
			continue;
		int n = x->kvs[op->i_kv].n_head_kv;
		x->op_units[i] = units_for(x, op);
		ratio = op->attn.n_head / n > ratio ? op->attn.n_head / n : ratio;
		n_head_kv = n > n_head_kv ? n : n_head_kv;
	}
	int n = EXEC_RUN_ROWS / ratio;
	x->n_run_tok = n < 1 ? 1 : n > EXEC_RUN_TOK_MAX ? EXEC_RUN_TOK_MAX : n;
	x->n_arrived = mem_calloc((size_t)n_head_kv * EXEC_PART_TOK, sizeof *x->n_arrived);
}

int model_exec_new(const struct model *m, struct pool *pool, int n_tok_max, struct model_exec **ret, struct err *err)
{
	struct model_exec *x = mem_zalloc(sizeof *x);
	const struct graph *g = &m->graph;
	size_t n_slot = (size_t)n_tok_max * (size_t)g->n_slot + 1;
	x->m = m;
	x->graph = g;
	x->k = m->kern;
	x->pool = pool;
	x->n_tok_max = n_tok_max;
	x->mems = mem_calloc(g->mems.n + 1, sizeof *x->mems);
	x->scratch = mem_calloc((size_t)pool_size(pool), sizeof *x->scratch);
	x->kvs = mem_calloc(g->kvs.n + 1, sizeof *x->kvs);
	x->ropes = mem_calloc(g->ropes.n + 1, sizeof *x->ropes);
	x->next_job = mem_calloc(g->ops.n + 1, sizeof *x->next_job);
	x->runs = mem_calloc((size_t)n_tok_max, sizeof *x->runs);
	x->slot_tok = mem_calloc(n_slot, sizeof *x->slot_tok);
	x->tok_slot = mem_calloc(n_slot, sizeof *x->tok_slot);
	init_kvs(x);
	init_attention(x);
	init_ropes(x);
	int rc = map_buffers(x, err);
	if (!rc)
		rc = new_scratch(x, err);
	if (rc) {
		model_exec_free(x);
		return rc;
	}
	*ret = x;
	return 0;
}

void model_exec_free(struct model_exec *x)
{
	if (!x)
		return;
	if (x->map)
		munmap(x->map, x->map_bytes);
	for (int i = 0; i < pool_size(x->pool); i++)
		mem_free(x->scratch[i]);
	for (size_t i = 0; i < x->graph->ropes.n; i++)
		mem_free(x->ropes[i].freq);
	mem_free(x->mems);
	mem_free(x->scratch);
	mem_free(x->kvs);
	mem_free(x->ropes);
	mem_free(x->next_job);
	mem_free(x->runs);
	for (int i = 0; i < x->n_unit_list; i++)
		mem_free(x->unit_lists[i].units);
	mem_free(x->unit_lists);
	mem_free(x->op_units);
	mem_free(x->n_arrived);
	mem_free(x->slot_tok);
	mem_free(x->tok_slot);
	mem_free(x);
}

void model_exec_set_pages(struct model_exec *x, int group, uint8_t *base, size_t block_bytes)
{
	for (size_t i = 0; i < x->graph->kvs.n; i++) {
		const struct graph_kv *kv = &x->graph->kvs.data[i];
		if (kv->group != group)
			continue;
		x->kvs[i].k = base + kv->k_off;
		x->kvs[i].v = base + kv->v_off;
		x->kvs[i].k_page_bytes = x->kvs[i].v_page_bytes = block_bytes;
	}
}

static void walk(void *arg, int i_thread, int n_thread)
{
	struct model_exec *x = arg;
	for (int i = x->op_from; i < x->op_to;) {
		if (x->graph->ops.data[i].barrier)
			pool_barrier(x->pool);
		i = model_ops_run(x, i, x->op_to, i_thread, n_thread);
	}
}

static void run_ops(struct model_exec *x, int from, int to)
{
	for (int i = from; i < to; i++)
		atomic_store_explicit(&x->next_job[i], 0, memory_order_relaxed);
	x->op_from = from;
	x->op_to = to;
	pool_run(x->pool, walk, x);
}

static void cut_runs(struct model_exec *x)
{
	x->n_run = 0;
	for (int i = 0; i < x->batch->n_seg; i++) {
		const struct model_seg *s = &x->batch->segs[i];
		for (int at = 0; at < s->n; at += x->n_run_tok) {
			int n = s->n - at < x->n_run_tok ? s->n - at : x->n_run_tok;
			x->runs[x->n_run++] = (struct exec_run){i, s->row0 + at, n};
		}
	}
}

/* The tiles of a run. */
static int n_tile(const struct model_exec *x, const struct exec_units *u, const struct exec_run *run)
{
	const struct model_seg *s = &x->batch->segs[run->seg];
	struct kern_attn_job job = {.pos = s->index + (run->row0 - s->row0), .n_q = run->n};
	int64_t i0, i1;
	job.kv_len = u->attn.causal ? job.pos + run->n : s->index + s->n;
	kern_attn_tiles(&u->attn, &job, &i0, &i1);
	return (int)(i1 - i0);
}

/* Large units first, as far as one can tell: later tokens see more. A run is cut into its tiles when one KV head of it is more
 * than a quarter of a thread's share. */
static void list_units(struct model_exec *x, struct exec_units *u)
{
	int64_t total = 0;
	int n_thread = pool_size(x->pool), part0 = 0, n_cut = 0;
	for (int i = 0; i < x->n_run; i++)
		total += (int64_t)x->runs[i].n * n_tile(x, u, &x->runs[i]);
	u->n = 0;
	for (int i = x->n_run - 1; i >= 0; i--) {
		int n = n_tile(x, u, &x->runs[i]);
		int64_t work = (int64_t)x->runs[i].n * n;
		bool cut = n_thread > 1 && n > 1 && work * n_thread * 4 > total * u->n_head_kv && part0 + work <= EXEC_PART_TOK;
		for (int t = 0; t < (cut ? n : 1); t++)
			u->units[u->n++] = (struct exec_unit){i, t, cut ? n : 0, n_cut, part0};
		if (cut) {
			part0 += (int)work;
			n_cut++;
		}
	}
}

static int head_end(const struct model_exec *x, bool want_logits)
{
	return want_logits ? (int)x->graph->ops.n : x->graph->i_logits;
}

static void set_out(struct model_exec *x, const int *out_rows, int n_out)
{
	BUG_ON(n_out < 0 || n_out > MODEL_HEAD_ROWS);
	x->out_rows = out_rows;
	x->n_out = n_out;
}

void model_exec_step(struct model_exec *x, const struct model_batch *b, const int *out_rows, int n_out, bool want_logits)
{
	BUG_ON(b->n_tok < 1 || b->n_tok > x->n_tok_max);
	x->batch = b;
	cut_runs(x);
	for (int i = 0; i < x->n_unit_list; i++)
		list_units(x, &x->unit_lists[i]);
	set_out(x, out_rows, n_out);
	run_ops(x, 0, n_out ? head_end(x, want_logits) : x->graph->i_head);
}

void model_exec_head(struct model_exec *x, const int *out_rows, int n_out, bool want_logits)
{
	set_out(x, out_rows, n_out);
	run_ops(x, x->graph->i_head, head_end(x, want_logits));
}

static float *out_row(const struct model_exec *x, struct val v, int i)
{
	const struct graph_buf *b = &x->graph->bufs.data[v.buf];
	return (float *)(void *)(x->mems[b->mem] + (size_t)i * b->row_bytes);
}

float *model_exec_logits(const struct model_exec *x, int i)
{
	return out_row(x, x->graph->logits, i);
}

const float *model_exec_embd(const struct model_exec *x, int i)
{
	return out_row(x, x->graph->embd, i);
}
