/* model_arch: what an architecture is to the loader. The table lives in arch/, one row and one file each. */
#ifndef CRIA_MODEL_ARCH_H
#define CRIA_MODEL_ARCH_H

#include "model/graph.h"
#include "model/model_hp.h"

struct model_arch {
	const char *name; /* general.architecture */
	bool encoder;     /* no generation: the whole text is one span and every row's vector is wanted */
	/* Corrects what the common keys left to the architecture; failures go into the keys. */
	void (*keys)(struct model_hp *hp, struct model_keys *k);
	/* Records the model; failures go into the graph. */
	void (*forward)(struct graph *g);
	/* Tensors that files of this architecture may hold and that are not run; shell patterns, NULL-terminated; may be NULL. */
	const char *const *ignored;
};

extern const struct model_arch *const model_arch_table[]; /* NULL-terminated */

#endif
