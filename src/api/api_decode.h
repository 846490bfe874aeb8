/* api_decode: a request's JSON body into a struct, by a table of fields, as strict about types and as lenient about the
 * rest as Go's encoding/json is: keys match without case, the last of equal keys wins, unknown keys and null are ignored.
 *
 * Decoded strings and JSON values are borrowed from the body (json_t), or live in the call's arena. No state. */
#ifndef CRIA_API_DECODE_H
#define CRIA_API_DECODE_H

#include <jansson.h>
#include <stddef.h>

#include "api/api.h"

enum api_field_type {
	API_F_STR,        /* const char *; "" when absent. NUL characters become U+FFFD */
	API_F_BOOL,       /* int: -1 absent, 0, 1 */
	API_F_INT,        /* int64_t; 0 when absent */
	API_F_NUM,        /* json_t * (a number) or NULL */
	API_F_OBJ,        /* json_t * (an object) or NULL */
	API_F_ARR,        /* json_t * (an array) or NULL */
	API_F_STRS,       /* json_t * (an array of strings) or NULL */
	API_F_STR_MAP,    /* json_t * (an object of strings) or NULL */
	API_F_INTS,       /* json_t * (an array of integers) or NULL */
	API_F_IMAGES,     /* json_t * (an array of base64 strings) or NULL */
	API_F_ANY,        /* json_t * or NULL */
	API_F_KEEP_ALIVE, /* int64_t nanoseconds, SCHED_KEEP_DEFAULT when absent */
	API_F_THINK       /* struct api_think */
};

struct api_field {
	const char *name;
	enum api_field_type type;
	size_t offset; /* in the struct that is filled */
};

struct api_think {
	int on;            /* -1 absent, 0, 1 */
	const char *level; /* "high", "medium", "low", "max", or NULL */
};

/* Parses the body; JSON null gives {}. Owned result. An empty body is ERR_INVALID with the message `blank`. */
int api_body(struct api_call *call, const char *type_name, const char *blank, json_t **ret, struct err *err);
/* Fills *out from obj. type_name ("GenerateRequest") names the struct in messages. ERR_INVALID. */
int api_decode(struct api_call *call, const json_t *obj, const char *type_name, const struct api_field *fields, size_t n_field,
	       void *out, struct err *err);
/* `json: cannot unmarshal number into Go struct field T.name of type string`. */
int api_type_error(const json_t *got, const char *type_name, const char *name, const char *want, struct err *err);
/* A string's text; with NULs replaced by U+FFFD in a copy in the arena. "" for anything but strings. */
const char *api_text(struct api_call *call, const json_t *v);
/* Go's time.ParseDuration; *ret in nanoseconds. */
int api_duration(const char *text, int64_t *ret, struct err *err);
/* Standard base64 with padding. ERR_INVALID `illegal base64 data at input byte N`. out may be NULL: only checks. */
int api_base64_decode(const char *s, size_t n, struct str *out, struct err *err);
void api_base64_encode(const void *data, size_t n, struct str *out);

#endif
