/* model_exec_int: shared by model_exec.c and model_ops.c. */
#ifndef CRIA_MODEL_EXEC_INT_H
#define CRIA_MODEL_EXEC_INT_H

#include <stdatomic.h>

#include "model/model_exec.h"
#include "model/model_int.h"

/* A unit of attention work should have EXEC_RUN_ROWS rows of query heads, so that reading and widening a KV page counts for
 * little. EXEC_PART_TOK: token rows of parts that there is room for. EXEC_LOOKUPS_KEPT: embedding rows looked up until the file's
 * pages that they lie in are let go. */
enum { EXEC_RUN_ROWS = 128, EXEC_RUN_TOK_MAX = 64, EXEC_PART_TOK = 1024, EXEC_LOOKUPS_KEPT = 128 };

/* Consecutive tokens of one segment that attend together. */
struct exec_run {
	int seg, row0, n;
};

/* For each KV head: what is computed together, a whole run or one of its tiles. The thread that computes the last tile of a
 * run merges them. */
struct exec_unit {
	int run, i_tile, n_tile; /* n_tile 0: all tiles */
	int i_cut;               /* which of the runs that are cut into tiles */
	int part0;               /* the run's place among the parts, in token rows */
};

/* The units of a step for layers that see the same positions with as many KV heads. */
struct exec_units {
	struct kern_attn attn;   /* of one of these layers */
	int group, n_head_kv;
	int n;
	struct exec_unit *units; /* [n_tok_max + EXEC_PART_TOK] */
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
	int n_run, n_run_tok;   /* n_run_tok: most tokens of a run */
	struct exec_units *unit_lists;
	int n_unit_list;
	int *op_units;          /* [graph.ops.n] index into unit_lists, for attention */
	float *parts;           /* of runs that are cut, behind mems in their mapping */
	atomic_int *n_arrived;  /* [EXEC_PART_TOK][KV heads] tiles computed of each run that is cut */

	/* Mixture of experts, one layer at a time. Slots are sorted by expert. The next layer's sort comes after the last use
	 * of these: it depends on what GRAPH_COMBINE gave through matrices, which are behind barriers. */
	int *slot_tok;          /* [slots] token of a slot */
	int *tok_slot;          /* [n_tok][n_slot] slot of a token's j-th expert */
	int expert_at[MODEL_EXPERT_MAX + 1]; /* slots of expert e: expert_at[e] .. expert_at[e + 1] */

	_Atomic uint32_t n_looked_up; /* embedding rows, ever */

	const struct model_batch *batch;
	const int *out_rows;
	int n_out;
	int op_from, op_to;     /* what the running pool job walks */
};

/* Thread i_thread's share of operation i_op and of those before `end` that are computed together with it; returns the
 * first one that is not. */
int model_ops_run(struct model_exec *x, int i_op, int end, int i_thread, int n_thread);

#endif
