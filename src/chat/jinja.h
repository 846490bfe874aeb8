/* jinja: the template language of GGUF chat templates, as Hugging Face runs it (spec/formats.md 5.2, 5.3), with the
 * lenient readings named in the golden data: lists and dicts may be changed in place, tojson takes iterators, from_json
 * exists.
 *
 * Templates and their inputs are hostile: every render has limits on steps, depth, output, memory and time; a breach is
 * ERR_LIMIT. A parsed template is constant and may be rendered by several threads at once. */
#ifndef CRIA_CHAT_JINJA_H
#define CRIA_CHAT_JINJA_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

struct jinja;

struct jinja_limits {
	uint64_t steps;       /* evaluated nodes and loop turns */
	int depth;            /* nested calls, blocks and values; 1000 of them take up to 0.5 MiB of stack */
	size_t output_bytes;
	size_t memory_bytes;  /* values alive or dead in the render's arena */
	int64_t time_ns;      /* wall clock */
};
extern const struct jinja_limits jinja_limits_default;

/* ERR_INVALID with line number for syntax errors. */
int jinja_parse(const char *source, size_t n, struct jinja **ret, struct err *err);
void jinja_free(struct jinja *t);

/* Renders with the members of `vars` (a JSON object) as globals; `now` is seconds since 1970 for strftime_now, in local
 * time. Appends to out. raise_exception(text) gives ERR_INVALID with exactly that text. */
int jinja_render(const struct jinja *t, json_t *vars, int64_t now_s, const struct jinja_limits *limits, struct str *out,
		 struct err *err);

/* What a template can do, found by looking at its text and names: used for capabilities. */
bool jinja_uses(const struct jinja *t, const char *name); /* name is read as a variable, attribute or string key */

#endif
