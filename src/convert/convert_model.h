/* convert_model: a model between reading and writing: metadata, and for every tensor of the new file where its values come
 * from. The sources are borrowed mappings; names live in the arena. */
#ifndef CRIA_CONVERT_MODEL_H
#define CRIA_CONVERT_MODEL_H

#include <stdbool.h>

#include "base/arena.h"
#include "convert/convert.h"
#include "gguf/gguf_write.h"

struct convert_tensor {
	const char *name;
	int n_dims;
	int64_t ne[4];       /* ne[0] contiguous */
	int src_type;        /* enum gguf_type */
	const uint8_t *src;  /* rows in the order of the source */
	int64_t row;         /* values that stay together when rows change places: ne[0], 1 for vectors whose values do */
	int n_head;          /* > 0: the halves of each head's rows are interleaved, see convert_source_row */
	float add;           /* to every value: 1 for norms that are stored less one */
	int type;            /* enum gguf_type in the new file */
};

struct convert_model {
	struct gguf_writer w;        /* metadata so far, without file type */
	struct arena names;
	VEC(struct convert_tensor) tensors;
	int64_t n_layer, n_head, n_head_kv, n_expert;
	int file_type;               /* of the tensors as they are; -1: unknown */
};

/* The row of the source that becomes row r: Hugging Face's checkpoints rotate the halves of a head against each other, GGUF's
 * llama family its neighbours, so rows (i, i + half) become rows (2 i, 2 i + 1). */
int64_t convert_source_row(const struct convert_tensor *t, int64_t r);
/* Values of one row of the source. */
int64_t convert_n_row(const struct convert_tensor *t);

/* ---- convert_gguf.c ---- */
struct gguf;
/* One file, or all parts of one; the model borrows from them. */
int convert_gguf_read(struct gguf *const *parts, size_t n_part, struct convert_model *m, struct err *err);

/* ---- convert_mix.c ---- */
struct convert_mix;
/* By name, any case; NULL when unknown. */
const struct convert_mix *convert_mix_find(const char *name);
/* "F32 F16 ..." */
const char *convert_mix_names(void);
/* Whether a mix may choose the type: matrices, but for small and delicate ones. */
bool convert_may_change(const struct convert_tensor *t);
/* Gives every tensor the type that the mix has for it; with NULL the type it has. Sets m->file_type. */
void convert_mix_apply(const struct convert_mix *mix, struct convert_model *m);

/* ---- convert_write.c ---- */
/* Writes the file: m's metadata and tensors. */
int convert_write(struct convert_model *m, const struct convert_job *job, struct err *err);

#endif
