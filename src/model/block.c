#include "model/block.h"

#include <math.h>
#include <stdio.h>

struct val block_norm_rms(struct graph *g, int il, const char *name, struct val x)
{
	return graph_norm_rms(g, x, graph_vec(g, g->hp->n_embd, "blk.%d.%s.weight", il, name), g->hp->rms_eps, 0);
}

struct val block_norm_layer(struct graph *g, int il, const char *name, struct val x)
{
	const float *w = graph_vec(g, g->hp->n_embd, "blk.%d.%s.weight", il, name);
	const float *b = graph_vec(g, g->hp->n_embd, "blk.%d.%s.bias", il, name);
	return graph_norm_layer(g, x, w, b, g->hp->norm_eps);
}

static const float *bias_of(struct graph *g, enum block_bias bias, int64_t n, int il, const char *name)
{
	switch (bias) {
	case BIAS_OPTIONAL:
		return graph_vec_opt(g, n, "blk.%d.%s.bias", il, name);
	case BIAS_NEEDED:
		return graph_vec(g, n, "blk.%d.%s.bias", il, name);
	default:
		return NULL;
	}
}

static struct val linear(struct graph *g, int il, const char *name, int n_out, enum block_bias bias, struct val x)
{
	struct graph_mat *m = graph_mat(g, x.n, n_out, "blk.%d.%s.weight", il, name);
	return graph_mul_mat(g, m, bias_of(g, bias, n_out, il, name), x);
}

/* q, k and v, from three matrices or from one whose rows are q's, then k's, then v's. */
static void project_qkv(struct graph *g, const struct block_attn *p, struct val x, const int n[3], struct val ret[3])
{
	static const char *const names[] = {"attn_q", "attn_k", "attn_v"};
	bool fused = graph_has(g, "blk.%d.attn_qkv.weight", p->il);
	int n_all = n[0] + n[1] + n[2], at = 0;
	for (int i = 0; i < 3; i++) {
		if (!fused) {
			ret[i] = linear(g, p->il, names[i], n[i], p->qkv_bias, x);
			continue;
		}
		struct graph_mat *m = graph_mat_part(g, x.n, n_all, at, n[i], "blk.%d.attn_qkv.weight", p->il);
		const float *bias = NULL;
		if (p->qkv_bias != BIAS_NONE)
			bias = graph_vec_part_opt(g, n_all, at, n[i], "blk.%d.attn_qkv.bias", p->il);
		if (p->qkv_bias == BIAS_NEEDED && !bias)
			graph_fail(g, ERR_FORMAT, "the model has no tensor blk.%d.attn_qkv.bias", p->il);
		ret[i] = graph_mul_mat(g, m, bias, x);
		at += n[i];
	}
}

struct val block_attn(struct graph *g, const struct block_attn *p, struct val x)
{
	const struct model_hp *hp = g->hp;
	const struct model_layer_hp *l = &hp->layers[p->il];
	struct val qkv[3];
	if (l->n_head < 1 || l->n_head_kv < 1) {
		graph_fail(g, ERR_FORMAT, "layer %d has %d attention heads and %d key/value heads; both must be positive",
			   p->il, l->n_head, l->n_head_kv);
		return x;
	}
	int n[3] = {l->n_head * hp->hd_k, l->n_head_kv * hp->hd_k, l->n_head_kv * hp->hd_v};
	project_qkv(g, p, x, n, qkv);
	if (p->qk_norm) {
		const float *wq = graph_vec(g, hp->hd_k, "blk.%d.attn_q_norm.weight", p->il);
		const float *wk = graph_vec(g, hp->hd_k, "blk.%d.attn_k_norm.weight", p->il);
		qkv[0] = graph_norm_rms(g, qkv[0], wq, hp->rms_eps, l->n_head);
		qkv[1] = graph_norm_rms(g, qkv[1], wk, hp->rms_eps, l->n_head_kv);
	}
	if (p->i_rope >= 0) {
		qkv[0] = graph_rope(g, p->i_rope, qkv[0], l->n_head);
		qkv[1] = graph_rope(g, p->i_rope, qkv[1], l->n_head_kv);
	}
	struct kern_attn a = {
		.n_head = l->n_head,
		.scale = p->scale > 0 ? p->scale : 1 / sqrtf((float)hp->hd_k),
		.softcap = p->softcap,
		.window = l->window,
		.causal = p->causal,
	};
	struct val out = graph_attn(g, &a, qkv[0], qkv[1], qkv[2], l->n_head_kv);
	return linear(g, p->il, "attn_output", hp->n_embd, p->out_bias, out);
}

static struct val activate(struct graph *g, enum block_act act, struct val gate, struct val up)
{
	return act == ACT_SWIGLU ? graph_silu_mul(g, gate, up) : graph_gelu_mul(g, gate, up);
}

struct val block_ffn(struct graph *g, int il, enum block_act act, enum block_bias bias, struct val x)
{
	int n_ff = g->hp->layers[il].n_ff;
	if (n_ff < 1) {
		graph_fail(g, ERR_FORMAT, "layer %d has no feed_forward_length", il);
		return x;
	}
	struct val h;
	if (act == ACT_GELU) {
		h = graph_gelu(g, linear(g, il, "ffn_up", n_ff, bias, x));
	} else {
		struct val gate = linear(g, il, "ffn_gate", n_ff, bias, x);
		struct val up = linear(g, il, "ffn_up", n_ff, bias, x);
		h = activate(g, act, gate, up);
	}
	return linear(g, il, "ffn_down", g->hp->n_embd, bias, h);
}

struct val block_moe(struct graph *g, int il, enum block_act act, const struct graph_route *r, int n_ff, struct val x)
{
	if (n_ff < 1) {
		graph_fail(g, ERR_FORMAT, "layer %d has experts but no feed_forward_length", il);
		return x;
	}
	struct val logits = linear(g, il, "ffn_gate_inp", r->n_expert, BIAS_NONE, x);
	struct graph_moe moe = graph_route(g, logits, r);
	const struct graph_experts *w_gate = graph_experts(g, x.n, n_ff, r->n_expert, "blk.%d.ffn_gate", il);
	const struct graph_experts *w_up = graph_experts(g, x.n, n_ff, r->n_expert, "blk.%d.ffn_up", il);
	const struct graph_experts *w_down = graph_experts(g, n_ff, x.n, r->n_expert, "blk.%d.ffn_down", il);
	struct val gate = graph_slot_mul(g, &moe, w_gate, x);
	struct val up = graph_slot_mul(g, &moe, w_up, x);
	struct val down = graph_slot_mul(g, &moe, w_down, activate(g, act, gate, up));
	return graph_combine(g, &moe, down);
}

struct val block_embed(struct graph *g)
{
	return graph_embed(g, graph_mat(g, g->hp->n_embd, g->hp->n_vocab, "token_embd.weight"));
}

void block_head_rms(struct graph *g, struct val x)
{
	const struct model_hp *hp = g->hp;
	x = graph_gather(g, x);
	x = graph_norm_rms(g, x, graph_vec(g, hp->n_embd, "output_norm.weight"), hp->rms_eps, 0);
	graph_set_embd(g, x);
	const char *name = graph_has(g, "output.weight") ? "output.weight" : "token_embd.weight";
	struct val logits = graph_mul_mat(g, graph_mat(g, hp->n_embd, hp->n_vocab, "%s", name), NULL, x);
	if (hp->logit_softcap > 0)
		logits = graph_softcap(g, logits, hp->logit_softcap);
	graph_set_logits(g, logits);
}
