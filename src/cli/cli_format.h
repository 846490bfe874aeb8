/* cli_format: numbers, times and tables as people read them. */
#ifndef CRIA_CLI_FORMAT_H
#define CRIA_CLI_FORMAT_H

#include <stdbool.h>
#include <stdint.h>

enum { CLI_TEXT_BYTES = 64 };

void cli_size_text(int64_t n_bytes, char out[CLI_TEXT_BYTES]);              /* "98 MB", "1.3 GB" */
void cli_count_text(double n, char out[CLI_TEXT_BYTES]);                    /* "134.52M", "3.2B" */
/* Distance between then and now: "14 minutes ago", "4 minutes from now". */
void cli_age_text(int64_t then_s, int64_t now_s, char out[CLI_TEXT_BYTES]);
/* Nanoseconds as Go prints durations: "5.288038473s", "750.609µs", "1m2.5s". */
void cli_duration_text(int64_t ns, char out[CLI_TEXT_BYTES]);
/* Parses RFC 3339 to seconds since 1970; -1 when it is not one. */
int64_t cli_parse_time(const char *text);

/* A table: header may be NULL (then rows only); cells[row * n_col + col]. Columns are padded to the widest cell and four
 * blanks; `indent` blanks in front of each row. */
void cli_table(const char *const *header, const char *const *cells, int n_row, int n_col, int indent);

#endif
