#include "runner/runner_template.h"

#include <string.h>

#include "base/mem.h"

static void entry_release(struct runner_template *e)
{
	gotmpl_free(e->t);
	mem_free(e->text);
}

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
		if (c->n == RUNNER_TEMPLATE_MAX)
			entry_release(&c->list[--c->n]);
		i = c->n++;
	}
	memmove(c->list + 1, c->list, i * sizeof *c->list);
	c->list[0] = found;
	*ret = found.t;
	return 0;
}

void runner_templates_release(struct runner_templates *c)
{
	for (size_t i = 0; i < c->n; i++)
		entry_release(&c->list[i]);
	c->n = 0;
}
