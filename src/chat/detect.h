/* detect: which of the Go templates that Ollama ships belongs to a model whose file has only a Jinja template: the one whose
 * reference text differs in fewer than 100 characters (Levenshtein distance). `create` then adds the Go template and its
 * parameters to the model. The texts are Ollama's (https://github.com/ollama/ollama, folder template, MIT licence). */
#ifndef CRIA_CHAT_DETECT_H
#define CRIA_CHAT_DETECT_H

#include <stddef.h>

struct detect_row {
	const char *name;
	const char *text;   /* the Go template */
	const char *params; /* default parameters as a JSON object: "stop", sometimes "temperature" */
};

/* The best row, or NULL: no known template is near enough. */
const struct detect_row *detect_template(const char *jinja, size_t n);
const struct detect_row *detect_table(size_t *ret_n);

#endif
