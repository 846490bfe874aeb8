/* gemma3: Gemma 3, 270M to 27B (arXiv:2503.19786). Norms before and after each half of a layer (their stored weights
 * include the one that the model code adds), embeddings scaled by sqrt(n_embd), five windowed layers with an unscaled
 * rope of base 10000 to each full one, q and k normed per head. */
#include <math.h>

#include "arch/arch.h"
#include "model/block.h"

static void keys(struct model_hp *hp, struct model_keys *k)
{
	arch_need_rms_eps(hp, k);
	if (!model_key_has(k, "rope.freq_base_swa"))
		hp->rope_swa.base = 10000;
	hp->rope_swa.scaling = MODEL_ROPE_PLAIN;
	model_hp_window(hp, k, 6);
}

static void forward(struct graph *g)
{
	const struct model_hp *hp = g->hp;
	struct model_rope full = arch_rope(g, KERN_ROPE_NEOX), local = hp->rope_swa;
	local.kind = KERN_ROPE_NEOX;
	int i_full = graph_rope_table(g, &full), i_local = graph_rope_table(g, &local);
	/* The 27B, which has 62 layers, scales attention by the width per head instead of the head's size. */
	float scale = hp->n_layer == 62 ? 1 / sqrtf((float)hp->n_embd / (float)hp->layers[0].n_head) : 0;

	struct val x = graph_scale(g, block_embed(g), sqrtf((float)hp->n_embd));
	for (int il = 0; il < hp->n_layer; il++) {
		struct block_attn attn = {
			.il = il,
			.i_rope = hp->layers[il].window > 0 ? i_local : i_full,
			.scale = scale,
			.causal = true,
			.qk_norm = true,
		};
		struct val h = block_attn(g, &attn, block_norm_rms(g, il, "attn_norm", x));
		x = graph_add(g, x, block_norm_rms(g, il, "post_attention_norm", h));
		h = block_ffn(g, il, ACT_GEGLU, BIAS_NONE, block_norm_rms(g, il, "ffn_norm", x));
		x = graph_add(g, x, block_norm_rms(g, il, "post_ffw_norm", h));
	}
	block_head_rms(g, x);
}

const struct model_arch arch_gemma3 = {.name = "gemma3", .keys = keys, .forward = forward};
