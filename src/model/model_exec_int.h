/* model_exec_int: shared by model_exec.c and model_ops.c. */
#ifndef CRIA_MODEL_EXEC_INT_H
#define CRIA_MODEL_EXEC_INT_H

#include <stdatomic.h>

#include "model/model_exec.h"
#include "model/model_int.h"

/* Queries per unit of attention work. */
enum { EXEC_RUN_TOK = 16 };

/* Consecutive tokens of one segment that attend together. */
struct exec_run {
	int seg, row0, n;
};

struct exec_rope {
	double *freq; /* [n_rot / 2] */
	float mscale;
};

struct model_exec {
	const struct model *m;
	const struct graph *graph;
	const struct kern *k;
	struct pool *pool;
	int n_tok_max;

	uint8_t **mems;         /* [graph.mems.n] into one mapping */
	uint8_t *map;
	size_t map_bytes;
	float **scratch;        /* [threads] for attention */
	struct kern_kv *kvs;    /* [graph.kvs.n] */
	struct exec_rope *ropes;
	atomic_int *next_job;   /* [graph.ops.n] attention work handed out */
	struct exec_run *runs;  /* [n_tok_max] */
	int n_run;

	/* Mixture of experts, one layer at a time. Slots are sorted by expert. The next layer's sort comes after the last use
	 * of these: it depends on what GRAPH_COMBINE gave through matrices, which are behind barriers. */
	int *slot_tok;          /* [slots] token of a slot */
	int *tok_slot;          /* [n_tok][n_slot] slot of a token's j-th expert */
	int expert_at[MODEL_EXPERT_MAX + 1]; /* slots of expert e: expert_at[e] .. expert_at[e + 1] */

	const struct model_batch *batch;
	const int *out_rows;
	int n_out;
	int op_from, op_to;     /* what the running pool job walks */
};

/* Thread i_thread's share of operation i_op and of those before `end` that are computed together with it; returns the
 * first one that is not. */
int model_ops_run(struct model_exec *x, int i_op, int end, int i_thread, int n_thread);

#endif
