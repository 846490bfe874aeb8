/* bert: BERT encoders and the embedding models built on them, such as MiniLM, BGE and E5 (arXiv:1810.04805). Learned
 * positions, layer norm after each residual addition, attention both ways. GELU is the tanh form. */
#include "arch/arch.h"
#include "model/block.h"

static int64_t n_position(const struct gguf *g)
{
	const struct gguf_tensor *t = gguf_tensor(g, "position_embd.weight");
	return t ? t->ne[1] : 0;
}

static void keys(struct model_hp *hp, struct model_keys *k)
{
	if (hp->norm_eps < 0)
		model_key_fail(k, "attention.layer_norm_epsilon", "is missing");
	/* There is no position past the learned ones. */
	hp->n_pos = n_position(k->g);
	if (hp->n_pos > 0 && hp->n_pos < hp->n_ctx_train)
		hp->n_ctx_train = hp->n_pos;
}

static struct val norm(struct graph *g, const char *name, struct val x)
{
	const float *w = graph_vec(g, g->hp->n_embd, "%s.weight", name);
	const float *b = graph_vec(g, g->hp->n_embd, "%s.bias", name);
	return graph_norm_layer(g, x, w, b, g->hp->norm_eps);
}

static void forward(struct graph *g)
{
	const struct model_hp *hp = g->hp;
	const struct gguf_tensor *types = gguf_tensor(g->g, "token_types.weight");
	struct val x = block_embed(g);
	x = graph_add(g, x, graph_embed_pos(g, graph_mat(g, hp->n_embd, hp->n_pos, "position_embd.weight")));
	if (types)
		x = graph_add_vec(g, x, graph_row(g, hp->n_embd, types->ne[1], 0, "token_types.weight"));
	x = norm(g, "token_embd_norm", x);
	for (int il = 0; il < hp->n_layer; il++) {
		struct block_attn attn = {
			.il = il, .i_rope = -1, .causal = false, .qkv_bias = BIAS_NEEDED, .out_bias = BIAS_NEEDED};
		x = block_norm_layer(g, il, "attn_output_norm", graph_add(g, x, block_attn(g, &attn, x)));
		x = block_norm_layer(g, il, "layer_output_norm", graph_add(g, x, block_ffn(g, il, ACT_GELU, BIAS_NEEDED, x)));
	}
	graph_set_embd(g, graph_gather(g, x));
}

const struct model_arch arch_bert = {.name = "bert", .encoder = true, .keys = keys, .forward = forward};
