/* cli: the command line. Every command is one file and one line in commands.def; it talks to a server over HTTP
 * (cli_http.h) and prints for people: results on stdout, progress and errors on stderr, escape codes only on terminals. */
#ifndef CRIA_CLI_H
#define CRIA_CLI_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/version.h"

enum cli_flag_kind { FLAG_BOOL, FLAG_TEXT, FLAG_TEXT_OPT /* --x or --x=value, never --x value */ };

struct cli_flag {
	const char *name;
	char letter; /* 0: none */
	enum cli_flag_kind kind;
	const char *help;
};

struct cli_args {
	const char **words; /* arguments that are no flags */
	int n_word;
	const struct cli_flag *flags;
	const char **values; /* parallel to flags; NULL: not given; "true" for FLAG_BOOL */
};

/* Value of a flag, NULL when it was not given. */
const char *cli_flag_value(const struct cli_args *a, const char *name);
bool cli_flag_set(const struct cli_args *a, const char *name); /* given and not "false" */

/* Runs the program with the whole command line; returns the exit status. */
int cli_main(int argc, char **argv);
/* The weights file of a model on the server, from its FROM line; false when name is an existing file, or no such model is
 * known (then the caller uses the name as it is). */
bool cli_model_file(const char *name, char *ret_path, size_t n);
/* Prints "Error: text" to stderr; returns 1. */
int cli_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* The commands: 0 or an exit status. */
#define COMMAND(fn, word, alias, usage, min, max, help, flags) int fn(const struct cli_args *a);
#include "cli/commands.def"
#undef COMMAND

#endif
