/* cli_term: what the terminal can do: width, word wrap while text streams in, a spinner while the server works. On pipes
 * all of it is plain text or nothing. */
#ifndef CRIA_CLI_TERM_H
#define CRIA_CLI_TERM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/str.h"

/* Whether the terminal behind a descriptor understands escape codes; false on pipes and with TERM=dumb. */
bool cli_term_codes(int fd);

/* Columns that text takes on a terminal; wide characters count two, combining ones none. */
int cli_columns(const char *text, size_t n);

/* Prints streamed text, breaking lines between words (and beside wide characters) at the terminal's width. */
struct cli_wrap {
	FILE *out;
	bool follow;      /* width is taken from the terminal before each piece of text */
	int width;        /* 0: no wrapping */
	int column;       /* of the cursor, words held back not counted */
	int word_columns; /* of the unfinished word */
	bool glued;       /* the word's beginning is printed already: no break before the rest */
	struct str word;  /* the unfinished word */
};
/* Wraps to stdout's width when stdout is a terminal and wrapping is wanted. */
void cli_wrap_init(struct cli_wrap *w, bool enabled);
void cli_wrap_text(struct cli_wrap *w, const char *text);
/* Prints the unfinished word. */
void cli_wrap_flush(struct cli_wrap *w);
void cli_wrap_release(struct cli_wrap *w);

/* A spinner on stderr, drawn by a thread of its own; nothing when stderr is no terminal with escape codes. */
void cli_spin_start(const char *label);
void cli_spin_stop(void);

/* "label:  45%  12 MB/98 MB" on stderr, redrawn in place; on pipes nothing until done. */
void cli_progress(const char *label, long long done, long long total);

#endif
