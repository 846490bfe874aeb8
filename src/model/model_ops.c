/* What each recorded operation does. Operations by rows are functions of one row, and each thread takes its share of the
 * rows; the others split their own work. graph_plan.c relies on exactly this split. */
#include <math.h>
#include <string.h>

#include "base/bug.h"
#include "model/model_exec_int.h"

static uint8_t *row_bytes_of(const struct model_exec *x, int buf, int r)
{
	const struct graph_buf *b = &x->graph->bufs.data[buf];
	return x->mems[b->mem] + (size_t)r * b->row_bytes;
}

static float *row_of(const struct model_exec *x, int buf, int r)
{
	return (float *)(void *)row_bytes_of(x, buf, r);
}

static float *dst_of(const struct model_exec *x, const struct graph_op *op, int r)
{
	return row_of(x, op->dst, r);
}

static const float *src_of(const struct model_exec *x, const struct graph_op *op, int i_src, int r)
{
	return row_of(x, op->src[i_src], r);
}

static size_t stride_of(const struct model_exec *x, int buf)
{
	return x->graph->bufs.data[buf].row_bytes;
}

/* ---- by rows ---- */

static void do_EMBED(struct model_exec *x, const struct graph_op *op, int r)
{
	x->k->row_f32(&op->mat->w, x->batch->ids[r], dst_of(x, op, r));
	/* A row brings 64 KiB of the file with it, and the vocabulary's tail is seldom needed twice. */
	if (atomic_fetch_add_explicit(&x->n_looked_up, 1, memory_order_relaxed) % EXEC_LOOKUPS_KEPT == EXEC_LOOKUPS_KEPT - 1)
		model_drop_rows(x->m, op->mat);
}

static void do_EMBED_POS(struct model_exec *x, const struct graph_op *op, int r)
{
	x->k->row_f32(&op->mat->w, x->batch->pos[r], dst_of(x, op, r));
}

static void do_ROPE_TABLE(struct model_exec *x, const struct graph_op *op, int r)
{
	const struct exec_rope *rope = &x->ropes[op->i_rope];
	float *cos_sin = dst_of(x, op, r);
	for (int i = 0; i < op->n / 2; i++) {
		double angle = x->batch->pos[r] * rope->freq[i];
		cos_sin[2 * i] = (float)cos(angle) * rope->mscale;
		cos_sin[2 * i + 1] = (float)sin(angle) * rope->mscale;
	}
}

static void do_ROPE(struct model_exec *x, const struct graph_op *op, int r)
{
	const struct model_rope *rope = &x->graph->ropes.data[op->i_rope];
	const float *from = src_of(x, op, 0, r);
	float *to = dst_of(x, op, r);
	if (to != from)
		memcpy(to, from, (size_t)op->n * (size_t)op->n_head * sizeof *to);
	x->k->rope(to, src_of(x, op, 1, r), rope->kind, op->n_head, op->n, rope->n_rot);
}

static void do_NORM_RMS(struct model_exec *x, const struct graph_op *op, int r)
{
	const float *from = src_of(x, op, 0, r);
	float *to = dst_of(x, op, r);
	for (int h = 0; h < op->n_head; h++)
		x->k->rms_norm(from + (size_t)h * (size_t)op->n, op->w, to + (size_t)h * (size_t)op->n, op->n, op->f);
}

static void do_NORM_LAYER(struct model_exec *x, const struct graph_op *op, int r)
{
	x->k->layer_norm(src_of(x, op, 0, r), op->w, op->bias, dst_of(x, op, r), op->n, op->f);
}

static void do_ADD(struct model_exec *x, const struct graph_op *op, int r)
{
	x->k->add(src_of(x, op, 0, r), src_of(x, op, 1, r), dst_of(x, op, r), op->n);
}

static void do_ADD_VEC(struct model_exec *x, const struct graph_op *op, int r)
{
	x->k->add(src_of(x, op, 0, r), op->w, dst_of(x, op, r), op->n);
}

static void do_SCALE(struct model_exec *x, const struct graph_op *op, int r)
{
	x->k->scale(src_of(x, op, 0, r), op->f, dst_of(x, op, r), op->n);
}

static void do_SOFTCAP(struct model_exec *x, const struct graph_op *op, int r)
{
	x->k->softcap(src_of(x, op, 0, r), op->f, dst_of(x, op, r), op->n);
}

static void do_GELU(struct model_exec *x, const struct graph_op *op, int r)
{
	x->k->gelu(src_of(x, op, 0, r), dst_of(x, op, r), op->n);
}

static void do_SILU_MUL(struct model_exec *x, const struct graph_op *op, int r)
{
	x->k->silu_mul(src_of(x, op, 0, r), src_of(x, op, 1, r), dst_of(x, op, r), op->n);
}

static void do_GELU_MUL(struct model_exec *x, const struct graph_op *op, int r)
{
	x->k->gelu_mul(src_of(x, op, 0, r), src_of(x, op, 1, r), dst_of(x, op, r), op->n);
}

static void do_QUANT(struct model_exec *x, const struct graph_op *op, int r)
{
	op->mat_ops->act_row(src_of(x, op, 0, r), row_bytes_of(x, op->dst, r), op->n);
}

static void do_KV_STORE(struct model_exec *x, const struct graph_op *op, int r)
{
	const struct model_seg *s = &x->batch->segs[x->batch->row_seg[r]];
	const uint32_t *pages = s->pages[x->graph->kvs.data[op->i_kv].group];
	int64_t index = s->index + (r - s->row0);
	x->k->kv_store(&x->kvs[op->i_kv], pages[index / KERN_PAGE_TOK], index, src_of(x, op, 0, r), src_of(x, op, 1, r));
}

static void do_GATHER(struct model_exec *x, const struct graph_op *op, int r)
{
	memcpy(dst_of(x, op, r), src_of(x, op, 0, x->out_rows[r]), (size_t)op->n * sizeof(float));
}

/* Gate values of all experts from the router's logits, in p. */
static void gate(const struct model_exec *x, const struct graph_route *route, const float *logits, float *p)
{
	int n = route->n_expert;
	if (route->gating == MODEL_GATE_SOFTMAX)
		x->k->softmax(logits, p, n);
	else if (route->gating == MODEL_GATE_SIGMOID)
		for (int i = 0; i < n; i++)
			p[i] = 1 / (1 + expf(-logits[i]));
	else
		memcpy(p, logits, (size_t)n * sizeof *p);
}

static void do_ROUTE(struct model_exec *x, const struct graph_op *op, int r)
{
	const struct graph_route *route = &op->route;
	int n_used = route->n_used;
	_Alignas(64) float p[MODEL_EXPERT_MAX];
	bool taken[MODEL_EXPERT_MAX] = {false};
	float *weight = dst_of(x, op, r), sum = 0;
	int32_t chosen[MODEL_EXPERT_MAX];
	gate(x, route, src_of(x, op, 0, r), p);
	for (int j = 0; j < n_used; j++) {
		int best = -1;
		for (int i = 0; i < route->n_expert; i++)
			if (!taken[i] && (best < 0 || p[i] > p[best]))
				best = i;
		taken[best] = true;
		chosen[j] = best;
		weight[j] = p[best];
	}
	if (route->gating == MODEL_GATE_SOFTMAX_CHOSEN)
		x->k->softmax(weight, weight, n_used);
	for (int j = 0; j < n_used; j++)
		sum += weight[j];
	/* The least divisor is 2^-14, the smallest normal half-precision number. */
	float factor = route->norm ? route->scale / fmaxf(sum, 6.103515625e-5f) : route->scale;
	for (int j = 0; j < n_used; j++)
		weight[j] *= factor;
	memcpy(weight + n_used, chosen, (size_t)n_used * sizeof *chosen);
}

static void do_SLOT_QUANT(struct model_exec *x, const struct graph_op *op, int r)
{
	op->mat_ops->act_row(src_of(x, op, 0, x->slot_tok[r]), row_bytes_of(x, op->dst, r), op->n);
}

static void do_COMBINE(struct model_exec *x, const struct graph_op *op, int r)
{
	int n_used = op->route.n_used;
	const float *weight = src_of(x, op, 2, r);
	const int *slots = x->tok_slot + (size_t)r * (size_t)n_used;
	float *to = dst_of(x, op, r);
	x->k->scale(src_of(x, op, 0, slots[0]), weight[0], to, op->n);
	for (int j = 1; j < n_used; j++)
		x->k->axpy(weight[j], src_of(x, op, 0, slots[j]), to, op->n);
}

/* ---- split otherwise ---- */

static void all_MUL_MAT(struct model_exec *x, const struct graph_op *op, int n_row, int i_thread, int n_thread)
{
	const struct kern_mat *w = &op->mat->w;
	int64_t r0, r1;
	pool_share(w->n_out, w->ops->row_align, i_thread, n_thread, &r0, &r1);
	if (r0 < r1 && n_row > 0)
		w->ops->mul(w, r0, r1, row_bytes_of(x, op->src[0], 0), stride_of(x, op->src[0]), n_row, row_of(x, op->dst, 0),
			    stride_of(x, op->dst) / sizeof(float), op->bias);
}

/* One thread orders the slots by expert, tokens in order within an expert. */
static void all_SORT(struct model_exec *x, const struct graph_op *op, int n_row, int i_thread, int n_thread)
{
	(void)n_row;
	(void)n_thread;
	if (i_thread)
		return;
	int n_used = op->route.n_used, n_expert = op->route.n_expert, n_tok = x->batch->n_tok;
	int at[MODEL_EXPERT_MAX + 1] = {0};
	int32_t chosen[MODEL_EXPERT_MAX];
	for (int t = 0; t < n_tok; t++) {
		memcpy(chosen, src_of(x, op, 0, t) + n_used, (size_t)n_used * sizeof *chosen);
		for (int j = 0; j < n_used; j++)
			at[chosen[j] + 1]++;
	}
	for (int e = 0; e < n_expert; e++)
		at[e + 1] += at[e];
	memcpy(x->expert_at, at, sizeof at);
	for (int t = 0; t < n_tok; t++) {
		memcpy(chosen, src_of(x, op, 0, t) + n_used, (size_t)n_used * sizeof *chosen);
		for (int j = 0; j < n_used; j++) {
			int slot = at[chosen[j]]++;
			x->slot_tok[slot] = t;
			x->tok_slot[t * n_used + j] = slot;
		}
	}
}

static void all_SLOT_MUL(struct model_exec *x, const struct graph_op *op, int n_row, int i_thread, int n_thread)
{
	(void)n_row;
	for (int e = 0; e < op->experts->n; e++) {
		const struct kern_mat *w = &op->experts->mats[e]->w;
		int s0 = x->expert_at[e], n = x->expert_at[e + 1] - s0;
		int64_t r0, r1;
		pool_share(w->n_out, w->ops->row_align, i_thread, n_thread, &r0, &r1);
		if (r0 < r1 && n > 0)
			w->ops->mul(w, r0, r1, row_bytes_of(x, op->src[0], s0), stride_of(x, op->src[0]), n,
				    row_of(x, op->dst, s0), stride_of(x, op->dst) / sizeof(float), NULL);
	}
}

/* One tile of a run that is cut, and the merge when it is the last one that was missing. */
static void attend_tile(struct model_exec *x, const struct kern_attn *a, const struct exec_unit *u, const struct kern_attn_job *job)
{
	int64_t i0, i1, n_part = kern_attn_part(a), n_head_kv = a->kv->n_head_kv;
	int64_t n_tile_part = (int64_t)job->n_q * (a->n_head / n_head_kv) * n_part;
	float *parts = x->parts + u->part0 * a->n_head * n_part + job->i_head_kv * u->n_tile * n_tile_part;
	atomic_int *n_arrived = &x->n_arrived[u->i_cut * n_head_kv + job->i_head_kv];
	kern_attn_tiles(a, job, &i0, &i1);
	x->k->attn_tile(a, job, i0 + u->i_tile, parts + u->i_tile * n_tile_part);
	if (atomic_fetch_add_explicit(n_arrived, 1, memory_order_acq_rel) < u->n_tile - 1)
		return;
	atomic_store_explicit(n_arrived, 0, memory_order_relaxed); /* for the next layer, behind a barrier */
	x->k->attn_merge(a, job, parts);
}

static void attend(struct model_exec *x, const struct graph_op *op, const struct kern_attn *a, const struct exec_unit *u,
		   int i_head_kv, int i_thread)
{
	const struct exec_run *run = &x->runs[u->run];
	const struct model_seg *s = &x->batch->segs[run->seg];
	struct kern_attn_job job = {
		.q = src_of(x, op, 0, run->row0),
		.out = dst_of(x, op, run->row0),
		.q_stride = stride_of(x, op->src[0]) / sizeof(float),
		.out_stride = stride_of(x, op->dst) / sizeof(float),
		.pos = s->index + (run->row0 - s->row0),
		.n_q = run->n,
		.pages = s->pages[x->graph->kvs.data[op->i_kv].group],
		.i_head_kv = i_head_kv,
		.scratch = x->scratch[i_thread],
	};
	job.kv_len = a->causal ? job.pos + run->n : s->index + s->n;
	if (u->n_tile)
		attend_tile(x, a, u, &job);
	else
		x->k->attn(a, &job);
}

/* Units of unequal size are taken as threads become free; who computes one does not matter for its result. */
static void all_ATTN(struct model_exec *x, const struct graph_op *op, int n_row, int i_thread, int n_thread)
{
	(void)n_row;
	(void)n_thread;
	struct kern_attn a = op->attn;
	a.kv = &x->kvs[op->i_kv];
	atomic_int *next = &x->next_job[op - x->graph->ops.data];
	const struct exec_units *u = &x->unit_lists[x->op_units[op - x->graph->ops.data]];
	int n_head_kv = a.kv->n_head_kv, i;
	while ((i = atomic_fetch_add_explicit(next, 1, memory_order_relaxed)) < u->n * n_head_kv)
		attend(x, op, &a, &u->units[i / n_head_kv], i % n_head_kv, i_thread);
}

static const struct {
	void (*by_row)(struct model_exec *x, const struct graph_op *op, int r);
	void (*all)(struct model_exec *x, const struct graph_op *op, int n_row, int i_thread, int n_thread);
} table[GRAPH_OP_N] = {
#define ROW(name) [GRAPH_##name] = {.by_row = do_##name},
#define ALL(name) [GRAPH_##name] = {.all = all_##name},
	ROW(EMBED) ROW(EMBED_POS) ROW(ROPE_TABLE) ROW(ROPE) ROW(NORM_RMS) ROW(NORM_LAYER) ROW(ADD) ROW(ADD_VEC) ROW(SCALE)
	ROW(SOFTCAP) ROW(GELU) ROW(SILU_MUL) ROW(GELU_MUL) ROW(QUANT) ROW(KV_STORE) ROW(GATHER) ROW(ROUTE) ROW(SLOT_QUANT)
	ROW(COMBINE)
	ALL(MUL_MAT) ALL(SORT) ALL(SLOT_MUL) ALL(ATTN)
#undef ROW
#undef ALL
};

static int n_rows(const struct model_exec *x, enum graph_rows rows)
{
	switch (rows) {
	case GRAPH_TOK:
		return x->batch->n_tok;
	case GRAPH_SLOT:
		return x->batch->n_tok * x->graph->n_slot;
	default:
		return x->n_out;
	}
}

/* Operations by rows that follow each other without a barrier, for rows of one kind, are one chain: a row goes through
 * all of them while it is in the nearest cache. */
static int chain_end(const struct model_exec *x, int i_op, int end)
{
	const struct graph_op *ops = x->graph->ops.data;
	enum graph_rows rows = x->graph->bufs.data[ops[i_op].dst].rows;
	int i = i_op + 1;
	while (i < end && table[ops[i].kind].by_row && !ops[i].barrier && x->graph->bufs.data[ops[i].dst].rows == rows)
		i++;
	return i;
}

int model_ops_run(struct model_exec *x, int i_op, int end, int i_thread, int n_thread)
{
	const struct graph_op *op = &x->graph->ops.data[i_op];
	int n = n_rows(x, x->graph->bufs.data[op->dst].rows);
	if (table[op->kind].all) {
		table[op->kind].all(x, op, n, i_thread, n_thread);
		return i_op + 1;
	}
	const struct graph_op *last = &x->graph->ops.data[chain_end(x, i_op, end)];
	int64_t r0, r1;
	pool_share(n, 1, i_thread, n_thread, &r0, &r1);
	for (int64_t r = r0; r < r1; r++)
		for (const struct graph_op *o = op; o < last; o++)
			table[o->kind].by_row(x, o, (int)r);
	return (int)(last - x->graph->ops.data);
}
