/* gotmpl: Go's text/template language as Ollama's TEMPLATE layers use it: option missingkey=zero and the functions json,
 * currentDate, yesterdayDate and toTypeScriptType (https://pkg.go.dev/text/template, Ollama's docs/template.md). It knows
 * the language and plain JSON data; what a conversation looks like to a template is collate.h's business.
 *
 * Templates and their data are hostile: parsing has limits on size and nesting, every render has limits on steps, depth,
 * output, memory and time; a breach is ERR_LIMIT. A parsed template is constant and may be rendered by several threads at
 * once. Failures carry Go's wording: "template: :1: unclosed action" from parsing, "template: :1:5: executing ..." from
 * rendering; both are ERR_INVALID. */
#ifndef CRIA_CHAT_GOTMPL_H
#define CRIA_CHAT_GOTMPL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

struct gotmpl;

struct gotmpl_limits {
	uint64_t steps; /* evaluated nodes, loop turns, and 64-byte pieces of text made */
	int depth;      /* nested blocks, parentheses and template calls */
	size_t output_bytes;
	size_t memory_bytes; /* values alive or dead in the render's arena */
	int64_t time_ns;     /* wall clock */
};
extern const struct gotmpl_limits gotmpl_limits_default;

/* The text is copied. A `template` clause without data is an error here, as it is in Ollama. */
int gotmpl_parse(const char *source, size_t n, struct gotmpl **ret, struct err *err);
void gotmpl_free(struct gotmpl *t);

/* Renders with `data` as dot: integers are int, reals float64, objects map[string]any. `now_s` is seconds since 1970 for
 * the dates, in local time. Appends to out; nothing is appended on failure. */
int gotmpl_render(const struct gotmpl *t, json_t *data, int64_t now_s, const struct gotmpl_limits *limits, struct str *out,
		  struct err *err);

/* Names of the fields and variables the template reads, in lower case, sorted, each once. Owned by t. */
const char *const *gotmpl_vars(const struct gotmpl *t, size_t *ret_n);
bool gotmpl_uses(const struct gotmpl *t, const char *lower_name);

/* What the template's text says about the model's output. */
struct gotmpl_tags {
	const char *think_open, *think_close; /* "" when it shows none */
	const char *tool_tag;                 /* what a tool call starts with; "{" when it shows none */
};
const struct gotmpl_tags *gotmpl_infer(const struct gotmpl *t);

#endif
