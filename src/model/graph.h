/* graph: the recording builder. An architecture's forward runs once, when the model is loaded, and records a static list
 * of operations over named buffers whose row count is symbolic; it reads like the paper and never touches an activation.
 * graph_plan then gives every buffer its memory (buffers whose lives do not overlap share it) and marks the operations
 * that must wait for others. model_exec walks the list each step.
 *
 * Values are written once: each builder call returns a new one (an operation may still work in place: the plan lets the
 * result take over the memory of an operand that is not needed again).
 *
 * Weights are looked up as they are used, with the shape they must have; a tensor that no call asks for and that the
 * architecture does not ignore makes the file refused. The first failure sticks in the graph: later calls return empty
 * values, so a forward needs no checks.
 *
 * Owner: the model owns its graph; everything here is constant after loading. */
#ifndef CRIA_MODEL_GRAPH_H
#define CRIA_MODEL_GRAPH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/vec.h"
#include "gguf/gguf.h"
#include "kern/kern.h"
#include "model/model_hp.h"

/* What a buffer has one row for: each token of the step, each token whose logits or final vector is wanted, or each
 * (token, chosen expert) pair of the step. */
enum graph_rows { GRAPH_TOK, GRAPH_OUT, GRAPH_SLOT };

/* A value: one row of n floats for each row of its kind. buf is an index into graph.bufs; -1: nothing. */
struct val {
	int buf, n;
};

struct graph_buf {
	enum graph_rows rows;
	size_t row_bytes; /* multiple of 64 */
	int first, last;  /* operations that write it first and read it last */
	int mem;          /* index into graph.mems; -1 for a mere marker of order */
};

/* Memory that buffers of one row kind and size take turns in. */
struct graph_mem {
	enum graph_rows rows;
	size_t row_bytes;
};

/* A matrix of the file, or a range of its rows. */
struct graph_mat {
	struct kern_mat w;
	const struct gguf_tensor *t;
	int64_t row0;     /* first row within the tensor, counted over all its matrices */
	bool multiplied;  /* false: only rows are looked up, no panel is needed */
};

/* The experts of a layer: one matrix each. */
struct graph_experts {
	int n;
	struct graph_mat **mats;
};

/* One attention layer's place in the KV pages of its group. */
struct graph_kv {
	int group;
	int n_head_kv, hd_k, hd_v;
	size_t k_off, v_off; /* bytes from the start of a page's block */
};

/* Layers that keep the same positions share page tables: a page of the group is one block that holds KERN_PAGE_TOK
 * positions of all its layers. */
struct graph_mem_group {
	int64_t window; /* 0: every position is kept */
	size_t block_bytes;
};

struct graph_route {
	int n_expert, n_used;
	enum model_gating gating;
	bool norm;   /* chosen weights are divided by their sum */
	float scale;
};

#define GRAPH_OPS(X)                                                                                                   \
	X(EMBED) X(EMBED_POS) X(ROPE_TABLE) X(ROPE) X(NORM_RMS) X(NORM_LAYER) X(ADD) X(ADD_VEC) X(SCALE) X(SOFTCAP)    \
	X(GELU) X(SILU_MUL) X(GELU_MUL) X(QUANT) X(MUL_MAT) X(KV_STORE) X(ATTN) X(GATHER) X(ROUTE) X(SORT)             \
	X(SLOT_QUANT) X(SLOT_MUL) X(COMBINE)
enum graph_op_kind {
#define X(name) GRAPH_##name,
	GRAPH_OPS(X)
#undef X
	GRAPH_OP_N
};

struct graph_op {
	enum graph_op_kind kind;
	bool barrier;       /* every thread must have finished the operations before this one */
	int dst, src[3];    /* buffers; -1: none */
	int n;              /* floats per row, or per head where n_head > 0 */
	int n_head;
	float f;            /* epsilon, factor or cap */
	const float *w, *bias;
	const struct graph_mat *mat;
	const struct graph_experts *experts;
	const struct kern_mat_ops *mat_ops; /* QUANT and SLOT_QUANT: whose activation form */
	int i_rope, i_kv;
	union {
		struct kern_attn attn; /* its kv is set by model_exec */
		struct graph_route route;
	};
};

struct graph {
	const struct gguf *g;
	const struct kern *k;
	enum kern_kv_type kv_type;
	const struct model_hp *hp;
	struct arena *arena;   /* everything that lives as long as the model */
	bool *used;            /* [n_tensor] */
	int code;              /* first failure */
	struct err *err;

	VEC(struct graph_op) ops;
	VEC(struct graph_buf) bufs;
	VEC(struct graph_mem) mems;
	VEC(struct graph_mat *) mats;
	VEC(struct graph_kv) kvs;
	VEC(struct graph_mem_group) groups;
	VEC(struct model_rope) ropes;
	VEC(struct val) rope_tables; /* one per rope */
	int n_slot;            /* slots per token: experts used by a mixture, the same in all layers; 0: none */
	int i_head;            /* operations from here on work on GRAPH_OUT rows */
	int i_logits;          /* from here on they are needed for logits only */
	struct val embd, logits; /* final vectors, logits (buf -1: the model has none) */
};

/* ---- weights; the name is printf-style ---- */

bool graph_has(const struct graph *g, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* W [n_out][n_in]. */
struct graph_mat *graph_mat(struct graph *g, int64_t n_in, int64_t n_out, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* Rows [r0, r0 + n) of a tensor of n_out rows: one part of a fused matrix. */
struct graph_mat *graph_mat_part(struct graph *g, int64_t n_in, int64_t n_out, int64_t r0, int64_t n, const char *fmt, ...)
	 __attribute__((format(printf, 6, 7)));
/* [n_expert][n_out][n_in]. `stem` is "blk.3.ffn_gate": one tensor `stem`_exps.weight, or `stem`.E.weight for each. */
const struct graph_experts *graph_experts(struct graph *g, int64_t n_in, int64_t n_out, int n_expert, const char *stem_fmt,
					  ...) __attribute__((format(printf, 5, 6)));
/* A vector of n values as aligned f32. */
const float *graph_vec(struct graph *g, int64_t n, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* The same, NULL when the file has no such tensor. */
const float *graph_vec_opt(struct graph *g, int64_t n, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Values [i0, i0 + n) of a vector of n_all; NULL when absent. */
const float *graph_vec_part_opt(struct graph *g, int64_t n_all, int64_t i0, int64_t n, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
/* One row of a matrix [n_row][n] as f32. */
const float *graph_row(struct graph *g, int64_t n, int64_t n_row, int64_t row, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));

/* ---- operations ---- */

struct val graph_embed(struct graph *g, const struct graph_mat *m);     /* row of the token id */
struct val graph_embed_pos(struct graph *g, const struct graph_mat *m); /* row of the position */
/* n_head > 0: each head of x is normed by itself with the same weights (w has x.n / n_head values). w may be NULL. */
struct val graph_norm_rms(struct graph *g, struct val x, const float *w, float eps, int n_head);
struct val graph_norm_layer(struct graph *g, struct val x, const float *w, const float *b, float eps);
struct val graph_add(struct graph *g, struct val a, struct val b);
struct val graph_add_vec(struct graph *g, struct val a, const float *vec);
struct val graph_scale(struct graph *g, struct val a, float s);
struct val graph_softcap(struct graph *g, struct val a, float cap);
struct val graph_gelu(struct graph *g, struct val a);
struct val graph_silu_mul(struct graph *g, struct val gate, struct val up);
struct val graph_gelu_mul(struct graph *g, struct val gate, struct val up);
/* bias may be NULL. The rows of x are quantized once for all matrices that take the same form. */
struct val graph_mul_mat(struct graph *g, struct graph_mat *m, const float *bias, struct val x);
/* Registers a rope setting and records its table; the result is what graph_rope takes, -1 when nothing is rotated. */
int graph_rope_table(struct graph *g, const struct model_rope *r);
struct val graph_rope(struct graph *g, int i_rope, struct val x, int n_head);
/* Attention of q over the positions stored so far and those of k and v, which are stored first. a->kv is ignored;
 * a->window chooses the memory group. */
struct val graph_attn(struct graph *g, const struct kern_attn *a, struct val q, struct val k, struct val v, int n_head_kv);
/* Keeps the rows that are asked for: what follows computes only these. */
struct val graph_gather(struct graph *g, struct val x);
void graph_set_embd(struct graph *g, struct val x);
void graph_set_logits(struct graph *g, struct val x);

/* Mixture of experts: chooses experts by router logits; what graph_slot_mul takes as `order`. */
struct graph_moe {
	struct val route; /* [n_used] weights then [n_used] expert indexes */
	struct val order; /* marker: slots are sorted by expert */
	int n_used;
};
struct graph_moe graph_route(struct graph *g, struct val router_logits, const struct graph_route *r);
/* Each slot's expert matrix times the slot's row: x has token rows (the slot's token is taken) or slot rows. */
struct val graph_slot_mul(struct graph *g, const struct graph_moe *moe, const struct graph_experts *e, struct val x);
/* Weighted sum of each token's slots. */
struct val graph_combine(struct graph *g, const struct graph_moe *moe, struct val x);

/* ---- for the loader ---- */

void graph_init(struct graph *g, const struct gguf *file, const struct kern *k, const struct model_hp *hp,
		struct arena *arena, struct err *err);
void graph_release(struct graph *g);
void graph_fail(struct graph *g, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void graph_plan(struct graph *g);
const char *graph_op_name(enum graph_op_kind kind);

#endif
