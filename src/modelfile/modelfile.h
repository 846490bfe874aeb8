/* modelfile: the text form of a model's recipe (FROM, PARAMETER, TEMPLATE, ...), read into a list of commands and written
 * back. It resolves no paths and knows no models; used by the server (show) and the command line (create).
 *
 * Thread rule: no state; a struct modelfile has one owner. */
#ifndef CRIA_MODELFILE_H
#define CRIA_MODELFILE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/str.h"
#include "base/vec.h"

enum modelfile_kind {
	MODELFILE_FROM,
	MODELFILE_LICENSE,
	MODELFILE_TEMPLATE,
	MODELFILE_SYSTEM,
	MODELFILE_ADAPTER,
	MODELFILE_DRAFT,
	MODELFILE_RENDERER,
	MODELFILE_PARSER,
	MODELFILE_PARAMETER,
	MODELFILE_MESSAGE,
	MODELFILE_REQUIRES
};

struct modelfile_cmd {
	enum modelfile_kind kind;
	char *key;   /* PARAMETER: its name; MESSAGE: the role in lower case; else "" */
	char *value; /* outer quotes removed */
};

struct modelfile {
	VEC(struct modelfile_cmd) cmds; /* in file order */
};

/* Parses UTF-8 (a byte order mark selects UTF-16). ERR_INVALID with the line number. At least one FROM is required. */
int modelfile_parse(const char *text, size_t n, struct modelfile *ret, struct err *err);
void modelfile_release(struct modelfile *m);

/* Appends one command as a line, its value quoted where it needs to be. */
void modelfile_write(struct str *out, enum modelfile_kind kind, const char *key, const char *value);
/* Appends a PARAMETER line for each value (arrays give one per element). */
void modelfile_write_params(struct str *out, const json_t *params);
/* All PARAMETER commands as the typed object that /api/create takes; ERR_INVALID names the parameter. Owned result; NULL in
 * *ret when there are none. */
int modelfile_params(const struct modelfile *m, json_t **ret, struct err *err);

#endif
