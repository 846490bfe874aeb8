/* cli_bar: the progress of a transfer from its status lines: on terminals a spinner for words and a bar for bytes, drawn in
 * place; on pipes each status once, as plain text. All on stderr. One transfer at a time. */
#ifndef CRIA_CLI_BAR_H
#define CRIA_CLI_BAR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"

struct cli_bar {
	char label[80];          /* of the current line; "" before the first */
	bool bytes;              /* the line is a bar, drawn at least once */
	int64_t total, done;
	int64_t first_done, first_ns; /* where the bar began, for the rate */
	int64_t drawn_ns;
};

/* A cli_sink's line function: takes {"status", "digest", "total", "completed"}; user is the cli_bar, zeroed at first. */
bool cli_bar_line(void *user, const json_t *obj);
/* Progress without a server's lines. */
void cli_bar_bytes(struct cli_bar *b, const char *label, int64_t done, int64_t total);
/* The last line stays as it is. */
void cli_bar_end(struct cli_bar *b);

/* The text of a bar that fits into n_column columns. */
void cli_bar_text(const struct cli_bar *b, int64_t now_ns, int n_column, struct str *out);

#endif
