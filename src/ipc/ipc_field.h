/* ipc_field: structs to JSON objects and back, by table. One row describes one member of a struct; the same row writes it,
 * checks it and reads it. Used by ipc_msg alone.
 *
 * Writing leaves out members that are NULL (strings, JSON, lists of nothing); reading leaves such members as they are, so
 * the caller sets defaults first. A row marked `must` has to be present. Values are owned by the struct. */
#ifndef CRIA_IPC_FIELD_H
#define CRIA_IPC_FIELD_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/json.h"

enum ipc_field_type {
	F_STR,     /* char *, no NUL inside */
	F_I64,     /* int64_t in [min, max] */
	F_INT,     /* int in [min, max] */
	F_F64,     /* double, finite */
	F_BOOL,    /* bool */
	F_ENUM,    /* an enum of int size by its names */
	F_CODE,    /* int: enum err_code by its name */
	F_JSON,    /* json_t *, of a type in the mask */
	F_STRS,    /* char ** followed by size_t: list of strings */
	F_IDS,     /* struct ids */
	F_SUB      /* an embedded struct with a table of its own */
};

#define JSON_BIT(type) (1u << (type))

struct ipc_field {
	const char *key;
	enum ipc_field_type type;
	bool must;
	size_t at;                    /* offset in the struct */
	int64_t min, max;             /* F_I64, F_INT */
	unsigned json_mask;           /* F_JSON: JSON_BIT of the allowed types */
	const char *const *names;     /* F_ENUM: NULL-terminated, in enum order */
	const struct ipc_field *sub;  /* F_SUB: ended by a row without key */
};

/* Writes the members of table (ended by a row without key) into the open object of w. */
void ipc_field_write(struct jsonw *w, const struct ipc_field *table, const void *base);
/* Reads the members from obj. On failure what was read so far is owned by the struct: release it. */
int ipc_field_read(const json_t *obj, const struct ipc_field *table, void *base, struct err *err);
/* Frees what the rows own and sets it to NULL. */
void ipc_field_release(const struct ipc_field *table, void *base);

#endif
