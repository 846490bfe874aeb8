/* json: reading JSON (on libjansson) the way Go's encoding/json does where clients depend on it, and a streaming writer.
 *
 * Reading: the first value in the text counts, what follows is ignored; invalid UTF-8 and lone surrogate escapes become
 * U+FFFD; NUL inside strings is allowed; integers outside int64 become reals; nesting is limited; objects keep their order.
 * Lookups ignore case and the last matching key wins. A reference returned by json_get is borrowed. */
#ifndef CRIA_BASE_JSON_H
#define CRIA_BASE_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

/* Parses the first JSON value. ERR_INVALID with Go's wording where it is simple ("unexpected EOF", "invalid character
 * 'x' looking for beginning of value", "exceeded max depth"). Owned result: json_decref. */
int json_parse(const char *text, size_t n, json_t **ret, struct err *err);
/* As json_parse, but anything but white space after the value is an error. */
int json_parse_all(const char *text, size_t n, json_t **ret, struct err *err);
/* True when the text is empty or white space only. */
bool json_is_blank(const char *text, size_t n);

/* Member by name: an exact match wins, else the last key equal without case; NULL when absent or obj is no object. */
json_t *json_get(const json_t *obj, const char *key);
/* As json_get, but JSON null counts as absent. */
json_t *json_get_nonnull(const json_t *obj, const char *key);

/* ---- writer ----
 * Appends to a str. Commas and colons are placed by the writer; nesting is the caller's duty (a mismatch is a bug). */
enum jsonw_style {
	JSONW_GO = 0,    /* < > & U+2028 U+2029 escaped, no blanks: Ollama's wire form */
	JSONW_PLAIN = 1, /* no HTML escapes */
	JSONW_SPACED = 2 /* no HTML escapes, ", " and ": " between things (Python's json.dumps) */
};

struct jsonw {
	struct str *out;
	enum jsonw_style style;
	int depth;
	bool comma; /* a value precedes on this level */
	bool after_key;
};

void jsonw_init(struct jsonw *w, struct str *out, enum jsonw_style style);
void jsonw_obj(struct jsonw *w);      /* { */
void jsonw_obj_end(struct jsonw *w);
void jsonw_arr(struct jsonw *w);      /* [ */
void jsonw_arr_end(struct jsonw *w);
void jsonw_key(struct jsonw *w, const char *key);
void jsonw_str(struct jsonw *w, const char *z);                 /* NULL writes null; invalid UTF-8 becomes U+FFFD */
void jsonw_strn(struct jsonw *w, const char *s, size_t n);
void jsonw_int(struct jsonw *w, int64_t v);
void jsonw_f64(struct jsonw *w, double v);                      /* shortest form as Go writes it; not finite: null */
void jsonw_f32(struct jsonw *w, float v);                       /* shortest form that reads back as this float */
void jsonw_bool(struct jsonw *w, bool v);
void jsonw_null(struct jsonw *w);
void jsonw_raw(struct jsonw *w, const char *json, size_t n);    /* a value already in JSON */
void jsonw_value(struct jsonw *w, const json_t *v);             /* NULL writes null */
/* key and value in one call */
void jsonw_kstr(struct jsonw *w, const char *key, const char *z);
void jsonw_kint(struct jsonw *w, const char *key, int64_t v);
void jsonw_kbool(struct jsonw *w, const char *key, bool v);

/* Shortest decimal text that reads back as v, in Go's json form (1e-07 is written 1e-7, 1e21 as 1e+21). Not finite: "null". */
void json_f64_text(double v, char out[40]);
void json_f32_text(float v, char out[40]);

#endif
