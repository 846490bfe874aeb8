/* chat_history: the file of what was typed in earlier chats, one entry a line, the newest last. A line break inside an entry is
 * written as U+2028, so that the file stays plain text that other programs of this kind read. Several chats may write at once:
 * an entry is added to what the file holds then. Failures are silent: a history that cannot be kept stops no chat. */
#ifndef CRIA_CLI_CHAT_HISTORY_H
#define CRIA_CLI_CHAT_HISTORY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/vec.h"

enum { CHAT_HISTORY_MAX = 100, CHAT_HISTORY_FILE_BYTES = 4 << 20 /* only the last so many are read */ };

struct chat_history {
	VEC(char *) entries;
};

/* Where the history lives (~/.ollama/history), NULL when CRIA_NOHISTORY or OLLAMA_NOHISTORY is on or there is no home.
 * mem_free it. */
char *chat_history_path_new(void);
/* The newest entries of a file, oldest first; none when it cannot be read. */
void chat_history_read(const char *path, struct chat_history *ret);
void chat_history_add(const char *path, const char *entry);
void chat_history_release(struct chat_history *h);

#endif
