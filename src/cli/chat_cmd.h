/* chat_cmd: the slash commands of the chat, as tables in chat_cmd.def. */
#ifndef CRIA_CLI_CHAT_CMD_H
#define CRIA_CLI_CHAT_CMD_H

#include <stdbool.h>

#include "cli/chat.h"

/* Whether the first word of a line is a command. */
bool chat_cmd_known(const char *line);
/* Carries out the command of a line; false when the user leaves the chat. */
bool chat_cmd_run(struct chat *c, const char *line);

#endif
