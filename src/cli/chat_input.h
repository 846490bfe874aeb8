/* chat_input: the keyboard of the chat, on libedit. It owns the terminal from chat_input_new to chat_input_free: its modes (also
 * while an answer is printed: nothing typed is echoed then, and it is there at the next prompt), the signals SIGINT and
 * SIGWINCH, and the history. One at a time. */
#ifndef CRIA_CLI_CHAT_INPUT_H
#define CRIA_CLI_CHAT_INPUT_H

#include <signal.h>
#include <stdbool.h>

#include "base/str.h"

enum chat_input_result { CHAT_INPUT_LINE, CHAT_INPUT_CANCELED /* Ctrl-C */, CHAT_INPUT_END /* Ctrl-D, or the terminal is gone */ };

struct chat_input *chat_input_new(void);
void chat_input_free(struct chat_input *in);
/* Lets the user write a line, which may hold line breaks (Ctrl-J, pasted text); `more` asks for the rest of a text. out is
 * UTF-8 without the break that ended it. */
enum chat_input_result chat_input_read(struct chat_input *in, bool more, struct str *out);
/* Adds a line to the history, in memory and in the file. */
void chat_input_remember(struct chat_input *in, const char *line);

/* Set by Ctrl-C while nothing is being read. */
const volatile sig_atomic_t *chat_input_cancel_flag(void);
void chat_input_clear_cancel(void);

#endif
