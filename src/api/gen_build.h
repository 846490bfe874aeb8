/* gen_build: from a dialect's decoded fields and an installed model's layers to a struct gen_req: options (built-in default,
 * then the model's PARAMETERs, then the request's), neutral messages (chat/chat.h in the runner), tools, format. */
#ifndef CRIA_API_GEN_BUILD_H
#define CRIA_API_GEN_BUILD_H

#include "api/api.h"
#include "api/api_decode.h"
#include "api/api_model.h"

/* Applies an "options" object over *o. ERR_INTERNAL `option "x" must be of type ...`: what Ollama answers with status 500. */
int gen_opts_apply(struct gen_opts *o, const json_t *options, struct err *err);
/* Default, model PARAMETERs, request options, in this order. */
int gen_build_opts(struct api_ctx *ctx, const struct store_model *m, const json_t *options, struct gen_opts *o, struct err *err);

/* Checks a request's native "messages" array and returns it in neutral form. Owned result. ERR_INVALID. */
int gen_build_messages(struct api_call *call, const json_t *messages, const char *type_name, json_t **ret, struct err *err);
/* Model MESSAGEs first, then `messages`; SYSTEM in front unless `messages` begins with one. Owned result. */
json_t *gen_build_history(const struct store_model *m, const json_t *messages, const char *system);
/* Chooses the template of r, when its tools are known: `custom`, the text that came with the request ("" none), else the model's Go template unless
 * native (api_model_native). */
void gen_build_template(struct gen_req *r, const struct store_model *m, const char *custom, bool native);
/* A prompt for the text between prompt and suffix, by the request's template or the model's Go template. */
void gen_build_fill(struct gen_req *r, const struct store_model *m, const char *custom, const char *prompt, const char *suffix);
/* Tools in the form prompts show them: known keys only, in a fixed order. Owned result, NULL for an empty list. */
int gen_build_tools(struct api_call *call, const json_t *tools, const char *type_name, json_t **ret, struct err *err);
/* Number of images in neutral messages. */
int gen_build_count_images(const json_t *messages);
/* absent, null and "" give NULL; "json" and objects are taken (borrowed); else ERR_INTERNAL as Ollama words it. */
int gen_build_format(json_t *format, json_t **ret, struct err *err);

/* Everything a generation asks of a model, checked in Ollama's order: "X does not support chat" and the like. `what` is
 * "generate" or "chat". think may be changed: unset becomes on for models that think. */
struct gen_needs {
	bool tools, insert, images;
	bool relax_think; /* think on a model without it is dropped instead of refused */
};
int gen_build_check(const struct store_model *m, const struct api_caps *caps, const char *model_text, const char *what,
		    const struct gen_needs *needs, struct api_think *think, struct err *err);

#endif
