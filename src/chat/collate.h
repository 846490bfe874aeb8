/* collate: a conversation to prompt text by a Go template, as Ollama lays it out (docs/template.md there): consecutive
 * messages of a role are merged, templates over .Messages get the whole conversation, older ones over .Prompt, .System and
 * .Response run once per turn and stop where the model's answer goes. It neither truncates nor tokenizes. */
#ifndef CRIA_CHAT_COLLATE_H
#define CRIA_CHAT_COLLATE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "chat/gotmpl.h"

struct collate_req {
	const json_t *messages; /* array as in chat.h, also with "images": [any]; or NULL */
	const json_t *tools;    /* array, or NULL: none were sent */
	int think;              /* -1 unset, 0 false, 1 true */
	const char *think_level; /* "low", "medium", "high", "max", or NULL */
	const char *prompt, *suffix; /* both set: fill in the middle, messages do not count; or NULL */
	bool tag_images;        /* put [img-N] in front of the text of messages with images, or where it says [img] */
	int64_t now_s;
};

/* Appends the prompt; nothing is appended on failure. */
int collate_render(const struct gotmpl *t, const struct collate_req *req, const struct gotmpl_limits *limits, struct str *out,
		   struct err *err);

#endif
