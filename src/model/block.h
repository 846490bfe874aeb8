/* block: the pieces most architectures are built from, recorded from weights with the usual names. A block takes the
 * normed or raw input its paper says and returns its output; residual additions stay visible in the forward. */
#ifndef CRIA_MODEL_BLOCK_H
#define CRIA_MODEL_BLOCK_H

#include "model/graph.h"

/* Whether a layer's matrices have bias vectors; a bias the architecture does not know makes the file refused. */
enum block_bias { BIAS_NONE, BIAS_OPTIONAL, BIAS_NEEDED };

struct block_attn {
	int il;
	int i_rope;               /* from graph_rope_table; -1: positions are not rotated */
	float scale;              /* 0: 1 / sqrt(head size) */
	float softcap;
	bool qk_norm;             /* RMS norm of each head of q and k before rope */
	bool causal;
	enum block_bias qkv_bias, out_bias;
};

/* x -> attn_q, attn_k, attn_v (or attn_qkv) -> rope -> attention over the sequence -> attn_output. */
struct val block_attn(struct graph *g, const struct block_attn *p, struct val x);

enum block_act { ACT_SWIGLU, ACT_GEGLU, ACT_GELU };

/* Gated: ffn_down(act(ffn_gate x) * ffn_up x); ACT_GELU: ffn_down(gelu(ffn_up x)). */
struct val block_ffn(struct graph *g, int il, enum block_act act, enum block_bias bias, struct val x);

/* Gated experts chosen by ffn_gate_inp. */
struct val block_moe(struct graph *g, int il, enum block_act act, const struct graph_route *r, int n_ff, struct val x);

/* token_embd row of each token. */
struct val block_embed(struct graph *g);
/* Final norm of the rows asked for, then logits by `output` or, where the file has none, by token_embd. */
void block_head_rms(struct graph *g, struct val x);

/* RMS norm with weights `blk.il.name.weight`. */
struct val block_norm_rms(struct graph *g, int il, const char *name, struct val x);
/* Layer norm with `blk.il.name.weight` and `.bias`. */
struct val block_norm_layer(struct graph *g, int il, const char *name, struct val x);

#endif
