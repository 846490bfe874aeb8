/* chat: a conversation to prompt text, by the model's own template. Input is the neutral message form of gen_req
 * (ipc/ipc_msg.h): [{"role","content", "thinking"?, "tool_calls"?:[{"function":{"name","arguments":{}}, "id"?}],
 * "tool_name"?, "tool_call_id"?}]. chat_template_vars turns it into what templates expect (null content to "", arguments
 * as objects, thinking also as reasoning_content; spec/formats.md 5.4-5.5). */
#ifndef CRIA_CHAT_H
#define CRIA_CHAT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

struct chat;

struct chat_cfg {
	const char *template_text; /* NULL or empty: ChatML is NOT assumed; chat_render then joins contents (base models) */
	const char *bos_text, *eos_text; /* "" where the model has none */
};

struct chat_req {
	json_t *messages;       /* array, borrowed */
	json_t *tools;          /* array or NULL */
	json_t *kwargs;         /* extra template variables, object or NULL */
	int think;              /* -1 unset, 0 false, 1 true */
	const char *think_level; /* "low", "medium", "high" or NULL */
	bool add_generation_prompt;
	int64_t now_s;
};

int chat_new(const struct chat_cfg *cfg, struct chat **ret, struct err *err); /* copies the texts */
void chat_free(struct chat *c);
bool chat_has_template(const struct chat *c);
/* Appends the prompt. A BOS text at its very start is left in place: the tokenizer call decides about doubling. */
int chat_render(const struct chat *c, const struct chat_req *req, struct str *out, struct err *err);

#endif
