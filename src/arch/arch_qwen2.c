/* qwen2: Qwen2 and Qwen2.5 (arXiv:2407.10671): llama with half-split rope and biases on q, k and v. */
#include "arch/arch.h"
#include "model/block.h"

static void forward(struct graph *g)
{
	struct model_rope rope = arch_rope(g, KERN_ROPE_NEOX);
	int i_rope = graph_rope_table(g, &rope);
	struct val x = block_embed(g);
	for (int il = 0; il < g->hp->n_layer; il++) {
		struct block_attn attn = {
			.il = il, .i_rope = i_rope, .causal = true, .qkv_bias = BIAS_NEEDED, .out_bias = BIAS_OPTIONAL};
		x = graph_add(g, x, block_attn(g, &attn, block_norm_rms(g, il, "attn_norm", x)));
		x = graph_add(g, x, block_ffn(g, il, ACT_SWIGLU, BIAS_NONE, block_norm_rms(g, il, "ffn_norm", x)));
	}
	block_head_rms(g, x);
}

const struct model_arch arch_qwen2 = {.name = "qwen2", .keys = arch_need_rms_eps, .forward = forward};
