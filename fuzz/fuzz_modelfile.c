/* layer: modelfile */
/* Any bytes as a Modelfile; what parses is written and must parse to the same commands again. */
#include <stdint.h>
#include <string.h>

#include "base/bug.h"
#include "modelfile/modelfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Values that no quoting can carry: blanks at the ends are trimmed, an inner """ ends the quote, NULs end C text. */
static bool writable(const struct modelfile_cmd *c)
{
	const char *v = c->value;
	size_t n = strlen(v);
	if (strstr(v, "\"\"\"") || strpbrk(v, "\r\t") || (n && (v[0] == '"' || v[n - 1] == '"')))
		return false;
	return c->kind != MODELFILE_FROM || !(strchr(v, '\n') || *v == ' ' || (n && v[n - 1] == ' '));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct modelfile a, b;
	struct err err;
	struct str s = {0};
	json_t *params;
	bool ok = true;
	if (modelfile_parse((const char *)data, n, &a, &err))
		return 0;
	for (size_t i = 0; i < a.cmds.n; i++) {
		ok &= writable(&a.cmds.data[i]);
		modelfile_write(&s, a.cmds.data[i].kind, a.cmds.data[i].key, a.cmds.data[i].value);
	}
	if (ok) {
		BUG_ON(modelfile_parse(s.data, s.len, &b, &err));
		BUG_ON(a.cmds.n != b.cmds.n);
		for (size_t i = 0; i < a.cmds.n; i++)
			BUG_ON(a.cmds.data[i].kind != b.cmds.data[i].kind || strcmp(a.cmds.data[i].key, b.cmds.data[i].key) ||
			       strcmp(a.cmds.data[i].value, b.cmds.data[i].value));
		modelfile_release(&b);
	}
	if (!modelfile_params(&a, &params, &err)) {
		str_clear(&s);
		modelfile_write_params(&s, params);
		json_decref(params);
	}
	modelfile_release(&a);
	str_release(&s);
	return 0;
}
