/* chat: the interactive chat of `cria run MODEL` on a terminal. struct chat is the whole session: its messages live here, in
 * the client, and go to /api/chat with every turn; the server keeps nothing. Slash commands (chat_cmd.h) change the session,
 * chat_input.h reads the keyboard and owns the terminal, cli_answer.h prints what the model says.
 *
 * Thread rule: everything runs on the main thread; Ctrl-C sets the flag that chat_input owns. */
#ifndef CRIA_CLI_CHAT_H
#define CRIA_CLI_CHAT_H

#include <stdbool.h>

#include "base/err.h"
#include "base/json.h"
#include "base/str.h"
#include "cli/chat_input.h"

/* What the command line asked for. Borrowed; the JSON values may be NULL (not given). */
struct chat_setup {
	const char *model;
	bool wrap, hide_thinking, verbose;
	bool think_chosen; /* think comes from a flag, not from what the model can do */
	json_t *think, *format, *keep_alive;
};

struct chat {
	struct str model;
	json_t *show;       /* the server's answer of /api/show for the model; its stored messages are part of it */
	json_t *messages;   /* the turns of this chat; neither the system message nor the model's stored messages */
	json_t *options;    /* set by /set parameter */
	json_t *think;      /* NULL: not sent. The next three as well */
	json_t *format;
	json_t *keep_alive;
	struct str system;  /* set by /set system; empty: the model's own */
	bool think_chosen;  /* by flag or /set: a newly loaded model does not change it */
	bool wrap, hide_thinking, verbose, history;
	struct chat_input *input;
};

/* Runs a chat until the user leaves; returns the exit status. */
int chat_run(const struct chat_setup *setup);

/* Makes `model` the model of the chat and starts an empty conversation: the server loads it and its stored messages are
 * shown. On an error the chat is as before. */
int chat_load(struct chat *c, const char *model, struct err *err);
/* Text that begins with three quotes runs on over further lines until three quotes end one; other text is taken as it is.
 * False when the user canceled. */
bool chat_read_text(struct chat *c, const char *first, struct str *out);

#endif
