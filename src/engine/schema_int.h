/* schema_int: shared by the files that compile JSON schemas.
 *
 * schema_flat.c turns a schema into its flat form: references and allOf resolved and merged, so that one object holds all
 * that applies to a value, but for alternatives. Flat objects have these keywords:
 *   - those of JSON schema that are understood; annotations are gone, refused keywords are errors;
 *   - const is an enum of one; enum may be empty: no value at all;
 *   - draft 4 forms (items as an array, exclusiveMinimum true) are in their new form;
 *   - pattern and format are arrays of strings;
 *   - FLAT_ANY: an array of arrays of schemas; one of each must apply (anyOf, oneOf).
 * schema.c turns flat forms into nodes; schema_object.c does objects. */
#ifndef CRIA_ENGINE_SCHEMA_INT_H
#define CRIA_ENGINE_SCHEMA_INT_H

#include <jansson.h>

#include "base/map.h"
#include "base/str.h"
#include "engine/grammar_int.h"

#define FLAT_ANY "\001any"

enum { SCHEMA_DEPTH_MAX = 100, SCHEMA_N_MAX = 30 * 1000, SCHEMA_SIDE_MAX = 1000 };

struct schema_job {
	const json_t *schema;
	char *path;
	uint32_t rule;
};

struct schema {
	struct grammar *g;
	const json_t *root;
	struct str path;          /* of the schema under work: "#/properties/age" */
	VEC(json_t *) owned;      /* objects made on the way */
	VEC(struct schema_job) jobs; /* rules, compiled in this order */
	struct map job_of;        /* address of a schema to its index in jobs */
	struct map regexes;       /* "p" pattern to automaton */
	int depth, n;             /* nesting now; schemas seen */
	int n_side;               /* grammars made aside */
	uint32_t dfa_space;       /* 0: not made yet */
	uint32_t rule_value;      /* any value */
	bool value_made;          /* that rule has its nodes, or gets them just now */
	struct err *err;
	int rc;
};

/* Records the first error, with the path and the keyword (may be NULL); returns GB_FAIL. */
uint32_t schema_fail(struct schema *s, const char *keyword, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* The same with a message that is already in *s->err. */
uint32_t schema_fail_err(struct schema *s, const char *keyword);
/* Appends to the path; returns its length before, for schema_pop. */
size_t schema_push(struct schema *s, const char *keyword, const char *name);
void schema_pop(struct schema *s, size_t len);
/* An object that lives as long as s. */
json_t *schema_own(struct schema *s, json_t *v);

/* The flat form of a schema; NULL after an error. */
json_t *schema_flatten(struct schema *s, const json_t *schema);
/* What satisfies both, of flat forms. */
json_t *schema_merge(struct schema *s, json_t *a, json_t *b);
/* The schema that a local reference names, or NULL after an error. */
const json_t *schema_resolve(struct schema *s, const char *ref);
/* True for keywords that say nothing about which values are valid. */
bool schema_is_annotation(const char *keyword);
/* {"allOf": [a, b]}; one of them where the other is NULL. */
json_t *schema_both(struct schema *s, json_t *a, json_t *b);

/* A value of the schema, then next. */
uint32_t schema_compile(struct schema *s, const json_t *schema, uint32_t next);
/* A rule for the schema, made once per schema. */
uint32_t schema_rule(struct schema *s, const json_t *schema, const char *path);
uint32_t schema_object(struct schema *s, json_t *flat, uint32_t next);
uint32_t schema_any_value(struct schema *s, uint32_t next);
uint32_t schema_any_object(struct schema *s, uint32_t next);
/* Optional white space: a blank, or one line break and up to 20 blanks. */
uint32_t schema_space(struct schema *s, uint32_t next);
/* The content of strings that the flat form of a string schema allows; *ret_any, and no automaton, when it allows all. */
int schema_string_dfa(struct schema *s, json_t *flat, struct dfa *ret, bool *ret_any);
/* A JSON string in quotes. */
void schema_quote(const char *p, size_t n, struct str *out);
/* The automaton of a pattern in s->g, made once. -1 after an error. */
int64_t schema_regex(struct schema *s, const char *keyword, const char *pattern);
/* A count (minLength and so on): absent gives fallback. */
uint32_t schema_count(struct schema *s, json_t *flat, const char *keyword, uint32_t fallback);

#endif
