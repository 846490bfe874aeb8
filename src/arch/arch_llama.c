/* llama: Llama 1 to 3 (arXiv:2302.13971, 2407.21783), Mistral, SmolLM2 and all that share the graph; with experts it is
 * Mixtral (arXiv:2401.04088). */
#include "arch/arch.h"
#include "model/block.h"

static void forward(struct graph *g)
{
	const struct model_hp *hp = g->hp;
	struct model_rope rope = arch_rope(g, KERN_ROPE_NORM);
	int i_rope = graph_rope_table(g, &rope);
	struct graph_route route = {
		.n_expert = hp->n_expert,
		.n_used = hp->n_expert_used,
		.gating = hp->gating,
		.norm = hp->expert_norm,
		.scale = hp->expert_scale,
	};
	struct val x = block_embed(g);
	for (int il = 0; il < hp->n_layer; il++) {
		struct block_attn attn = {
			.il = il, .i_rope = i_rope, .causal = true, .qkv_bias = BIAS_OPTIONAL, .out_bias = BIAS_OPTIONAL};
		x = graph_add(g, x, block_attn(g, &attn, block_norm_rms(g, il, "attn_norm", x)));
		struct val h = block_norm_rms(g, il, "ffn_norm", x);
		if (hp->n_expert > 0)
			h = block_moe(g, il, ACT_SWIGLU, &route, hp->n_ff_exp, h);
		else
			h = block_ffn(g, il, ACT_SWIGLU, BIAS_OPTIONAL, h);
		x = graph_add(g, x, h);
	}
	block_head_rms(g, x);
}

/* Old files carry the rope frequencies of each layer, which follow from the keys. */
static const char *const ignored[] = {"blk.*.attn_rot_embd*", NULL};

const struct model_arch arch_llama = {
	.name = "llama", .keys = arch_need_rms_eps, .forward = forward, .ignored = ignored};
