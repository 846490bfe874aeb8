#include "arch/arch.h"

#include <stddef.h>

#include "model/model.h"

const struct model_arch *const model_arch_table[] = {
#define ARCH(name) &arch_##name,
#include "arch/arch.def"
#undef ARCH
	NULL,
};

const char *model_arch_names(void)
{
	static const char names[] =
#define ARCH(name) " " #name
#include "arch/arch.def"
#undef ARCH
		;
	return names + 1;
}

void arch_need_rms_eps(struct model_hp *hp, struct model_keys *k)
{
	if (hp->rms_eps < 0)
		model_key_fail(k, "attention.layer_norm_rms_epsilon", "is missing");
}

struct model_rope arch_rope(struct graph *g, enum kern_rope kind)
{
	struct model_rope r = g->hp->rope;
	r.kind = kind;
	r.freq_factors = r.n_rot > 0 ? graph_vec_opt(g, r.n_rot / 2, "rope_freqs.weight") : NULL;
	return r;
}
