#include "runner/runner_template.h"

#include <string.h>

#include "base/mem.h"

int runner_template_get(struct runner_templates *c, const char *text, const struct gotmpl **ret, struct err *err)
{
	struct runner_template found = {0};
	size_t i = 0;
	while (i < c->n && strcmp(c->list[i].text, text))
		i++;
	if (i < c->n) {
		found = c->list[i];
	} else {
		int rc = gotmpl_parse(text, strlen(text), &found.t, err);
		if (rc)
			return rc;
		found.text = mem_strdup(text);
		if (c->n == RUNNER_TEMPLATE_MAX) {
			gotmpl_free(c->list[--c->n].t);
			mem_free(c->list[c->n].text);
		}
		i = c->n++;
	}
	memmove(c->list + 1, c->list, i * sizeof *c->list);
	c->list[0] = found;
	*ret = found.t;
	return 0;
}
