#include "model/graph.h"

#include <string.h>

#include "base/bug.h"

static const struct val nothing = {-1, 0};

void graph_init(struct graph *g, const struct gguf *file, const struct kern *k, const struct model_hp *hp,
		struct arena *arena, struct err *err)
{
	memset(g, 0, sizeof *g);
	g->g = file;
	g->k = k;
	g->hp = hp;
	g->arena = arena;
	g->err = err;
	g->used = mem_calloc(gguf_n_tensor(file) + 1, sizeof *g->used);
	g->embd = g->logits = nothing;
	g->i_head = g->i_logits = -1;
}

void graph_release(struct graph *g)
{
	mem_free(g->used);
	vec_release(&g->ops);
	vec_release(&g->bufs);
	vec_release(&g->mems);
	vec_release(&g->mats);
	vec_release(&g->kvs);
	vec_release(&g->groups);
	vec_release(&g->ropes);
	vec_release(&g->rope_tables);
}

const char *graph_op_name(enum graph_op_kind kind)
{
	static const char *const names[] = {
#define X(name) #name,
		GRAPH_OPS(X)
#undef X
	};
	return names[kind];
}

static size_t round64(size_t n)
{
	return (n + 63) & ~(size_t)63;
}

static int new_buf(struct graph *g, enum graph_rows rows, size_t row_bytes)
{
	struct graph_buf b = {.rows = rows, .row_bytes = round64(row_bytes), .first = -1, .last = -1, .mem = -1};
	vec_push(&g->bufs, b);
	return (int)g->bufs.n - 1;
}

static enum graph_rows rows_of(const struct graph *g, struct val v)
{
	return g->bufs.data[v.buf].rows;
}

static struct graph_op op_new(enum graph_op_kind kind, struct val a, struct val b)
{
	struct graph_op op;
	memset(&op, 0, sizeof op);
	op.kind = kind;
	op.dst = -1;
	op.src[0] = a.buf;
	op.src[1] = b.buf;
	op.src[2] = -1;
	op.n = a.n;
	op.i_rope = op.i_kv = -1;
	return op;
}

static struct graph_op op_one(enum graph_op_kind kind, struct val a)
{
	return op_new(kind, a, nothing);
}

/* Records op with a result of n floats per row. */
static struct val emit(struct graph *g, struct graph_op *op, enum graph_rows rows, int n)
{
	struct val v = {new_buf(g, rows, (size_t)n * sizeof(float)), n};
	op->dst = v.buf;
	vec_push(&g->ops, *op);
	return v;
}

struct val graph_embed(struct graph *g, const struct graph_mat *m)
{
	if (g->code)
		return nothing;
	struct graph_op op = op_one(GRAPH_EMBED, nothing);
	op.mat = m;
	op.n = (int)m->w.n_in;
	return emit(g, &op, GRAPH_TOK, op.n);
}

struct val graph_embed_pos(struct graph *g, const struct graph_mat *m)
{
	if (g->code)
		return nothing;
	struct graph_op op = op_one(GRAPH_EMBED_POS, nothing);
	op.mat = m;
	op.n = (int)m->w.n_in;
	return emit(g, &op, GRAPH_TOK, op.n);
}

struct val graph_norm_rms(struct graph *g, struct val x, const float *w, float eps, int n_head)
{
	if (g->code)
		return nothing;
	struct graph_op op = op_one(GRAPH_NORM_RMS, x);
	op.n_head = n_head > 0 ? n_head : 1;
	op.n = x.n / op.n_head;
	op.w = w;
	op.f = eps;
	return emit(g, &op, rows_of(g, x), x.n);
}

struct val graph_norm_layer(struct graph *g, struct val x, const float *w, const float *b, float eps)
{
	if (g->code)
		return nothing;
	struct graph_op op = op_one(GRAPH_NORM_LAYER, x);
	op.w = w;
	op.bias = b;
	op.f = eps;
	return emit(g, &op, rows_of(g, x), x.n);
}

static struct val binary(struct graph *g, enum graph_op_kind kind, struct val a, struct val b)
{
	if (g->code)
		return nothing;
	BUG_ON(a.n != b.n || rows_of(g, a) != rows_of(g, b));
	struct graph_op op = op_new(kind, a, b);
	return emit(g, &op, rows_of(g, a), a.n);
}

static struct val unary(struct graph *g, enum graph_op_kind kind, struct val a, float f)
{
	if (g->code)
		return nothing;
	struct graph_op op = op_one(kind, a);
	op.f = f;
	return emit(g, &op, rows_of(g, a), a.n);
}

struct val graph_add(struct graph *g, struct val a, struct val b)
{
	return binary(g, GRAPH_ADD, a, b);
}

struct val graph_silu_mul(struct graph *g, struct val gate, struct val up)
{
	return binary(g, GRAPH_SILU_MUL, gate, up);
}

struct val graph_gelu_mul(struct graph *g, struct val gate, struct val up)
{
	return binary(g, GRAPH_GELU_MUL, gate, up);
}

struct val graph_add_vec(struct graph *g, struct val a, const float *vec)
{
	if (g->code)
		return nothing;
	struct graph_op op = op_one(GRAPH_ADD_VEC, a);
	op.w = vec;
	return emit(g, &op, rows_of(g, a), a.n);
}

struct val graph_scale(struct graph *g, struct val a, float s)
{
	return unary(g, GRAPH_SCALE, a, s);
}

struct val graph_softcap(struct graph *g, struct val a, float cap)
{
	return unary(g, GRAPH_SOFTCAP, a, cap);
}

struct val graph_gelu(struct graph *g, struct val a)
{
	return unary(g, GRAPH_GELU, a, 0);
}

/* The quantized rows of x in the form m_ops reads; recorded once for each form. */
static int quantized(struct graph *g, enum graph_op_kind kind, enum graph_rows rows, const struct kern_mat_ops *m_ops,
		     struct val x, int order)
{
	for (size_t i = g->ops.n; i-- > 0;) {
		const struct graph_op *op = &g->ops.data[i];
		if (op->kind == kind && op->src[0] == x.buf && op->src[1] == order && op->mat_ops->act_kind == m_ops->act_kind)
			return op->dst;
	}
	struct graph_op op = op_one(kind, x);
	op.src[1] = order;
	op.mat_ops = m_ops;
	op.dst = new_buf(g, rows, m_ops->act_bytes(x.n));
	vec_push(&g->ops, op);
	return op.dst;
}

struct val graph_mul_mat(struct graph *g, struct graph_mat *m, const float *bias, struct val x)
{
	if (g->code)
		return nothing;
	BUG_ON(m->w.n_in != x.n);
	struct graph_op op = op_one(GRAPH_MUL_MAT, x);
	op.src[0] = quantized(g, GRAPH_QUANT, rows_of(g, x), m->w.ops, x, -1);
	op.mat = m;
	op.bias = bias;
	m->multiplied = true;
	return emit(g, &op, rows_of(g, x), (int)m->w.n_out);
}

int graph_rope_table(struct graph *g, const struct model_rope *r)
{
	if (g->code || r->n_rot < 2)
		return -1;
	struct graph_op op = op_one(GRAPH_ROPE_TABLE, nothing);
	vec_push(&g->ropes, *r);
	op.i_rope = (int)g->ropes.n - 1;
	op.n = r->n_rot;
	struct val table = emit(g, &op, GRAPH_TOK, op.n);
	vec_push(&g->rope_tables, table);
	return op.i_rope;
}

struct val graph_rope(struct graph *g, int i_rope, struct val x, int n_head)
{
	if (g->code)
		return nothing;
	BUG_ON(x.n % n_head);
	struct graph_op op = op_new(GRAPH_ROPE, x, g->rope_tables.data[i_rope]);
	op.i_rope = i_rope;
	op.n_head = n_head;
	op.n = x.n / n_head;
	return emit(g, &op, rows_of(g, x), x.n);
}

static int group_of(struct graph *g, int64_t window)
{
	for (size_t i = 0; i < g->groups.n; i++)
		if (g->groups.data[i].window == window)
			return (int)i;
	struct graph_mem_group group = {.window = window};
	vec_push(&g->groups, group);
	return (int)g->groups.n - 1;
}

/* A layer's room in the pages of the group that keeps `window` positions. */
static int new_kv(struct graph *g, int64_t window, int n_head_kv, int hd_k, int hd_v)
{
	struct graph_kv kv = {.group = group_of(g, window), .n_head_kv = n_head_kv, .hd_k = hd_k, .hd_v = hd_v};
	struct graph_mem_group *group = &g->groups.data[kv.group];
	kv.k_off = group->block_bytes;
	kv.v_off = kv.k_off + round64(kern_kv_head_bytes(g->kv_type, hd_k) * (size_t)n_head_kv);
	group->block_bytes = kv.v_off + round64(kern_kv_head_bytes(g->kv_type, hd_v) * (size_t)n_head_kv);
	vec_push(&g->kvs, kv);
	return (int)g->kvs.n - 1;
}

struct val graph_attn(struct graph *g, const struct kern_attn *a, struct val q, struct val k, struct val v, int n_head_kv)
{
	if (g->code)
		return nothing;
	BUG_ON(k.n % n_head_kv || v.n % n_head_kv || q.n != k.n / n_head_kv * a->n_head);
	int i_kv = new_kv(g, a->window, n_head_kv, k.n / n_head_kv, v.n / n_head_kv);
	/* What is stored is no buffer of the graph, so a marker carries the order between storing and reading. */
	struct graph_op store = op_new(GRAPH_KV_STORE, k, v);
	store.i_kv = i_kv;
	store.dst = new_buf(g, GRAPH_TOK, 0);
	vec_push(&g->ops, store);

	struct graph_op op = op_one(GRAPH_ATTN, q);
	op.src[1] = store.dst;
	op.i_kv = i_kv;
	op.attn = *a;
	return emit(g, &op, GRAPH_TOK, v.n / n_head_kv * a->n_head);
}

struct val graph_gather(struct graph *g, struct val x)
{
	if (g->code)
		return nothing;
	BUG_ON(g->i_head >= 0 || rows_of(g, x) != GRAPH_TOK);
	g->i_head = (int)g->ops.n;
	struct graph_op op = op_one(GRAPH_GATHER, x);
	return emit(g, &op, GRAPH_OUT, x.n);
}

void graph_set_embd(struct graph *g, struct val x)
{
	g->embd = x;
	g->i_logits = (int)g->ops.n;
}

void graph_set_logits(struct graph *g, struct val x)
{
	g->logits = x;
}

struct graph_moe graph_route(struct graph *g, struct val router_logits, const struct graph_route *r)
{
	struct graph_moe moe = {nothing, nothing, r->n_used};
	if (g->code)
		return moe;
	struct graph_op op = op_one(GRAPH_ROUTE, router_logits);
	op.route = *r;
	moe.route = emit(g, &op, GRAPH_TOK, 2 * r->n_used);
	struct graph_op sort = op_one(GRAPH_SORT, moe.route);
	sort.route = *r;
	sort.dst = moe.order.buf = new_buf(g, GRAPH_SLOT, 0);
	vec_push(&g->ops, sort);
	BUG_ON(g->n_slot && g->n_slot != r->n_used);
	g->n_slot = r->n_used;
	return moe;
}

struct val graph_slot_mul(struct graph *g, const struct graph_moe *moe, const struct graph_experts *e, struct val x)
{
	if (g->code)
		return nothing;
	const struct kern_mat *w = &e->mats[0]->w;
	enum graph_op_kind kind = rows_of(g, x) == GRAPH_TOK ? GRAPH_SLOT_QUANT : GRAPH_QUANT;
	BUG_ON(w->n_in != x.n);
	struct graph_op op = op_new(GRAPH_SLOT_MUL, x, moe->order);
	op.src[0] = quantized(g, kind, GRAPH_SLOT, w->ops, x, kind == GRAPH_QUANT ? -1 : moe->order.buf);
	op.experts = e;
	return emit(g, &op, GRAPH_SLOT, (int)w->n_out);
}

struct val graph_combine(struct graph *g, const struct graph_moe *moe, struct val x)
{
	if (g->code)
		return nothing;
	struct graph_op op = op_new(GRAPH_COMBINE, x, moe->order);
	op.src[2] = moe->route.buf;
	op.route.n_used = moe->n_used;
	return emit(g, &op, GRAPH_TOK, x.n);
}
