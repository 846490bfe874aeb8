/* chat_text: text between three quotes, put together from the lines a user types. Pure; one owner. */
#ifndef CRIA_CLI_CHAT_TEXT_H
#define CRIA_CLI_CHAT_TEXT_H

#include <stdbool.h>

#include "base/str.h"

struct chat_text {
	struct str text; /* what has come so far, without the quotes */
};

/* Starts with the first line; true when further lines are needed. A line without quotes in front is the whole text. */
bool chat_text_begin(struct chat_text *t, const char *line);
/* Adds a further line; true while the closing quotes are missing. */
bool chat_text_add(struct chat_text *t, const char *line);
void chat_text_release(struct chat_text *t);

#endif
