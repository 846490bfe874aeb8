/* cli_term: what the terminal can do: width, word wrap while text streams in, a spinner while the server works. On pipes
 * all of it is plain text or nothing. */
#ifndef CRIA_CLI_TERM_H
#define CRIA_CLI_TERM_H

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

/* Prints streamed text, breaking lines between words at the terminal's width. */
struct cli_wrap {
	int width;       /* 0: no wrapping */
	int column;
	struct str word; /* the unfinished word */
};
void cli_wrap_init(struct cli_wrap *w, bool enabled);
void cli_wrap_text(struct cli_wrap *w, const char *text);
void cli_wrap_end(struct cli_wrap *w);

/* A spinner on stderr, drawn by a thread of its own; nothing when stderr is no terminal. */
void cli_spin_start(const char *label);
void cli_spin_stop(void);

/* "label:  45%  12 MB/98 MB" on stderr, redrawn in place; on pipes nothing until done. */
void cli_progress(const char *label, long long done, long long total);

#endif
