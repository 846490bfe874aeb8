/* api_model: which installed model a request means, what kind of model it is, and what it can do (capabilities, details).
 * Facts about the file come from the scheduler's inspect (cached); the model file itself is never read here. */
#ifndef CRIA_API_MODEL_H
#define CRIA_API_MODEL_H

#include "api/api.h"
#include "base/json.h"

/* The installed model a client names. Errors: ERR_INVALID (bad name), ERR_FORBIDDEN (cloud names), ERR_NOT_FOUND with
 * `model 'X' not found`. */
int api_model_open(struct api_ctx *ctx, const char *text, struct store_model **ret, struct err *err);
/* Facts of the model's file (none for models without one), and as "go_template" those of its Go template. Owned result. */
int api_model_facts(struct api_ctx *ctx, const struct store_model *m, bool verbose, json_t **ret, struct err *err);

/* Whether prompts come from the file's own (Jinja) template, not from a Go template layer or a built-in renderer. */
bool api_model_native(const struct store_model *m, const json_t *facts);

enum { API_CAPS_MAX = 24 };
struct api_caps {
	const char *names[API_CAPS_MAX]; /* borrowed from the model's config, or literals */
	size_t n;
};
/* native: whether what the Jinja template can do counts (show and inference: as api_model_native; tags: false). */
void api_model_caps(const struct store_model *m, const json_t *facts, bool native, struct api_caps *ret);
bool api_caps_has(const struct api_caps *c, const char *name);

/* Writes the value of "details"; with_lengths adds context and embedding length. */
void api_details_write(struct jsonw *w, const struct store_model *m, const json_t *facts, bool with_lengths);
/* "630.17M", "3.2B" */
void api_param_size_text(int64_t n, char out[24]);
/* Text or number of a JSON object's member, "" or 0 when absent. */
const char *api_json_text(const json_t *obj, const char *key);
int64_t api_json_int(const json_t *obj, const char *key);

#endif
