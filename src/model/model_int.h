/* model_int: the inside of a model, for model/ and engine/ only. */
#ifndef CRIA_MODEL_INT_H
#define CRIA_MODEL_INT_H

#include "base/arena.h"
#include "model/graph.h"
#include "model/model.h"
#include "model/model_arch.h"

struct model {
	const struct gguf *gguf; /* borrowed */
	const struct kern *kern;
	enum kern_kv_type kv_type;
	const struct model_arch *arch;
	struct model_hp hp;
	struct arena arena;      /* vectors, matrices, names */
	struct graph graph;
	uint8_t *panels;         /* one mapping for all packed matrices, NULL when the level reads file rows */
	size_t panels_bytes;
};

/* Lets go of the file pages of a matrix whose rows are looked up, unless it is multiplied straight from the file. */
void model_drop_rows(const struct model *m, const struct graph_mat *mat);

#endif
