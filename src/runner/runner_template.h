/* runner_template: the Go templates that requests bring, parsed, the latest few kept: nearly all requests for a model bring
 * the same one. Not the file's own Jinja template, which runner_load holds. Text thread only. The struct begins zeroed. */
#ifndef CRIA_RUNNER_TEMPLATE_H
#define CRIA_RUNNER_TEMPLATE_H

#include "base/err.h"
#include "chat/gotmpl.h"

enum { RUNNER_TEMPLATE_MAX = 8 };

struct runner_templates {
	struct runner_template {
		char *text;
		struct gotmpl *t;
	} list[RUNNER_TEMPLATE_MAX]; /* latest used first */
	size_t n;
};

/* The template of that text, valid until the next call. ERR_INVALID with Go's words when it cannot be parsed. */
int runner_template_get(struct runner_templates *c, const char *text, const struct gotmpl **ret, struct err *err);

#endif
