/* chat: a conversation to prompt text, by the model's own template. Input is the neutral message form of gen_req
 * (ipc/ipc_msg.h): [{"role","content", "thinking"?, "tool_calls"?:[{"function":{"name","arguments":{}}, "id"?}],
 * "tool_name"?, "tool_call_id"?}]. It becomes what templates expect: null content is "", arguments are objects, thinking is
 * also reasoning_content, a tool result's tool_name is also name, developer is system unless the template knows that role.
 *
 * Templates differ in what they take, so chat_new renders small conversations and looks: system text goes in front of the
 * next user message where a template drops it, content becomes a list of parts where a template reads only that. Tool-call
 * ids are made up when a template refuses calls without them.
 *
 * A struct chat is constant after chat_new and may be used by several threads. */
#ifndef CRIA_CHAT_H
#define CRIA_CHAT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

struct chat;

struct chat_cfg {
	const char *template_text; /* NULL or empty: ChatML, as a model without one gets elsewhere too */
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
