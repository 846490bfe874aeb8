/* The plan of a recording: memory for buffers by their lives, and barriers at dependencies.
 *
 * How an operation's work is split decides what must wait. Row operations give each thread a fixed share of the rows of one
 * kind, so a chain of them over the same rows needs no barrier: every thread reads only what it wrote. Everything else
 * (matrices split by output rows, attention by heads, gathering) touches what other threads wrote. */
#include <string.h>

#include "base/bug.h"
#include "model/graph.h"

/* The row kinds, and SPLIT_OTHER for every access that is not "my share of the rows". */
enum { SPLIT_OTHER = GRAPH_SLOT + 1 };

/* How many of its first operands an operation reads only where it writes: the result may take over their memory. */
static int n_in_place(enum graph_op_kind kind)
{
	switch (kind) {
	case GRAPH_ROPE:
	case GRAPH_NORM_RMS:
	case GRAPH_NORM_LAYER:
	case GRAPH_ADD_VEC:
	case GRAPH_SCALE:
	case GRAPH_SOFTCAP:
	case GRAPH_GELU:
		return 1;
	case GRAPH_ADD:
	case GRAPH_SILU_MUL:
	case GRAPH_GELU_MUL:
		return 2;
	default:
		return 0;
	}
}

static int split_of(const struct graph *g, const struct graph_op *op)
{
	switch (op->kind) {
	case GRAPH_MUL_MAT:
	case GRAPH_SLOT_MUL:
	case GRAPH_ATTN:
	case GRAPH_SORT:
		return SPLIT_OTHER;
	default:
		return (int)g->bufs.data[op->dst].rows;
	}
}

static void find_lives(struct graph *g)
{
	for (int i = 0; i < (int)g->ops.n; i++) {
		const struct graph_op *op = &g->ops.data[i];
		g->bufs.data[op->dst].first = g->bufs.data[op->dst].last = i;
		for (int j = 0; j < 3; j++)
			if (op->src[j] >= 0)
				g->bufs.data[op->src[j]].last = i;
	}
	/* The head runs once for every chunk of rows, so what it gathers from lives to the end; so do the results. */
	int keep[] = {g->i_head >= 0 ? g->ops.data[g->i_head].src[0] : -1, g->embd.buf, g->logits.buf};
	for (size_t i = 0; i < ARRAY_LEN(keep); i++)
		if (keep[i] >= 0)
			g->bufs.data[keep[i]].last = (int)g->ops.n;
}

static void place(struct graph *g, struct graph_buf *b, bool *busy)
{
	if (!b->row_bytes)
		return;
	size_t i = 0;
	while (i < g->mems.n && (busy[i] || g->mems.data[i].rows != b->rows || g->mems.data[i].row_bytes != b->row_bytes))
		i++;
	if (i == g->mems.n) {
		struct graph_mem m = {b->rows, b->row_bytes};
		vec_push(&g->mems, m);
	}
	busy[i] = true;
	b->mem = (int)i;
}

/* Frees the memory of operands [j0, j1) that are not needed after this operation. */
static void free_dead(struct graph *g, const struct graph_op *op, int i_op, int j0, int j1, bool *busy)
{
	for (int j = j0; j < j1; j++)
		if (op->src[j] >= 0 && g->bufs.data[op->src[j]].last == i_op && g->bufs.data[op->src[j]].mem >= 0)
			busy[g->bufs.data[op->src[j]].mem] = false;
}

static void place_all(struct graph *g)
{
	bool *busy = mem_calloc(g->ops.n + g->bufs.n + 1, sizeof *busy);
	for (int i = 0; i < (int)g->ops.n; i++) {
		const struct graph_op *op = &g->ops.data[i];
		struct graph_buf *dst = &g->bufs.data[op->dst];
		int n = n_in_place(op->kind);
		free_dead(g, op, i, 0, n, busy);
		place(g, dst, busy);
		free_dead(g, op, i, n, 3, busy);
		if (dst->last == i && dst->mem >= 0)
			busy[dst->mem] = false;
	}
	mem_free(busy);
}

/* Which splits have read and written a memory (or marker) since the last barrier, as bit sets. */
struct touched {
	uint8_t read, written;
};

static size_t resource(const struct graph *g, int buf)
{
	int mem = g->bufs.data[buf].mem;
	return mem >= 0 ? (size_t)mem : g->mems.n + (size_t)buf;
}

static bool others(unsigned set, int split)
{
	return split == SPLIT_OTHER ? set != 0 : (set & ~(1u << split)) != 0;
}

static int access_split(const struct graph *g, int buf, int split)
{
	return split == (int)g->bufs.data[buf].rows ? split : SPLIT_OTHER;
}

static bool must_wait(const struct graph *g, const struct graph_op *op, const struct touched *t)
{
	int split = split_of(g, op);
	for (int j = 0; j < 3; j++)
		if (op->src[j] >= 0 && others(t[resource(g, op->src[j])].written, access_split(g, op->src[j], split)))
			return true;
	const struct touched *d = &t[resource(g, op->dst)];
	return others(d->read | d->written, access_split(g, op->dst, split));
}

static void mark_barriers(struct graph *g)
{
	size_t n = g->mems.n + g->bufs.n;
	struct touched *t = mem_calloc(n + 1, sizeof *t);
	for (size_t i = 0; i < g->ops.n; i++) {
		struct graph_op *op = &g->ops.data[i];
		int split = split_of(g, op);
		op->barrier = must_wait(g, op, t);
		if (op->barrier)
			memset(t, 0, n * sizeof *t);
		for (int j = 0; j < 3; j++)
			if (op->src[j] >= 0)
				t[resource(g, op->src[j])].read |= (uint8_t)(1u << access_split(g, op->src[j], split));
		t[resource(g, op->dst)].written |= (uint8_t)(1u << access_split(g, op->dst, split));
	}
	mem_free(t);
}

void graph_plan(struct graph *g)
{
	find_lives(g);
	place_all(g);
	mark_barriers(g);
}
