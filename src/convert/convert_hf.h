/* convert_hf: a folder in Hugging Face's layout as a source: config.json, tokenizer.json, tokenizer_config.json and
 * model*.safetensors. Mappings and JSON are kept until convert_hf_release; the model borrows from them. */
#ifndef CRIA_CONVERT_HF_H
#define CRIA_CONVERT_HF_H

#include "base/json.h"
#include "base/map.h"
#include "convert/convert_model.h"
#include "convert/safetensors.h"

struct convert_hf {
	struct {
		void *data;
		size_t n_bytes;
	} *maps;                  /* of all files */
	size_t n_map;
	struct safetensors *parts;
	size_t n_part;
	json_t *config, *tokenizer, *tokenizer_config, *generation, *pooling, *index; /* NULL when absent */
	const json_t *text;       /* the part of config that describes the language model */
	struct gguf_str template; /* chat_template.jinja */
};

int convert_hf_open(const struct convert_job *job, struct convert_hf *h, struct err *err);
/* Fills the model from the files. */
int convert_hf_read(struct convert_hf *h, struct convert_model *m, struct err *err);
void convert_hf_release(struct convert_hf *h);

/* ---- convert_hf_keys.c ---- */
/* Metadata from config.json for the architecture with this GGUF name, and tensors that follow from it alone. */
int convert_hf_keys(const struct convert_hf *h, const char *arch, struct convert_model *m, struct err *err);
/* An integer of config.json, def when absent; ERR_FORMAT unless it is from 0 to 2^31. */
int convert_hf_int(const struct convert_hf *h, const char *name, int64_t def, int64_t *ret, struct err *err);

/* ---- convert_hf_tok.c ---- */
/* Metadata of the vocabulary; n_vocab: rows of the embedding. */
int convert_hf_tok(const struct convert_hf *h, int64_t n_vocab, struct convert_model *m, struct err *err);

#endif
