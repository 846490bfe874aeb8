/* create_model: a model in the making: its layers in order with the status line of each, and its config. Knows the store
 * and facts about files, not HTTP. */
#ifndef CRIA_API_CREATE_MODEL_H
#define CRIA_API_CREATE_MODEL_H

#include "api/api_model.h"

struct create_layer {
	const char *media_type; /* literal */
	char digest[72];
	char *from;             /* or NULL */
	int64_t size_bytes;
	bool existed;           /* "using existing layer", else "creating new layer" */
};

struct create_model {
	struct api_ctx *ctx;
	VEC(struct create_layer) layers;
	json_t *config;  /* object */
	json_t *facts;   /* of the model file, {} when there is none */
};

void create_model_init(struct create_model *c, struct api_ctx *ctx);
void create_model_release(struct create_model *c);

/* Starts from an installed model: its layers, and what its config hands down. */
int create_from_model(struct create_model *c, const struct store_model *base, struct err *err);
/* Adds an uploaded GGUF file as model, projector or adapter, whichever it is. */
int create_add_gguf(struct create_model *c, const char *digest, bool adapter, struct err *err);
/* Work that takes a while. */
struct create_work {
	const char *type; /* "Q4_K_M"; "": as the files have it */
	bool (*progress)(void *user, int64_t done, int64_t total); /* as in struct sched_convert */
	void *user;
};
/* Adds the model that the uploaded files (an object of names and digests) are together: parts of a split GGUF, or safetensors
 * files with their configuration. */
int create_add_converted(struct create_model *c, const json_t *files, const struct create_work *work, struct err *err);
/* Puts the model's weights into another type. */
int create_quantize(struct create_model *c, const struct create_work *work, struct err *err);
/* Edits: text NULL or "" leaves a layer as it is. */
int create_set_text(struct create_model *c, const char *media_type, const char *text, struct err *err);
int create_add_license(struct create_model *c, const char *text, struct err *err);
/* Merges over the parameters that are there. */
int create_set_params(struct create_model *c, const json_t *params, struct err *err);
int create_set_messages(struct create_model *c, const json_t *messages, struct err *err);
/* Adds the known Go template that a file's chat template amounts to, with its parameters; *ret_name NULL when none does. */
int create_autodetect(struct create_model *c, const char **ret_name, struct err *err);
/* Applies "info", then fills config from the facts of the file. */
int create_set_config(struct create_model *c, const json_t *info, struct err *err);
bool create_has(const struct create_model *c, const char *media_type);
int create_write(struct create_model *c, const struct store_name *name, struct err *err);

#define MEDIA(kind) "application/vnd.ollama.image." kind

#endif
