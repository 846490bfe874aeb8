/* store_name: model names `[scheme://][host[:port]/][namespace/]model[:tag]`, their parts and spellings. */
#ifndef CRIA_STORE_NAME_H
#define CRIA_STORE_NAME_H

#include <stdbool.h>

#include "base/str.h"

struct store_name {
	char host[352], ns[84], model[84], tag[84];
};

/* Parses and fills defaults (registry.ollama.ai, library, latest); surrounding blanks are trimmed. False: not a valid name. */
bool store_name_parse(const char *text, struct store_name *ret);
/* Shortest spelling with the tag: "llama3.2:latest", "user/x:tag", "host/ns/x:tag". */
void store_name_short(const struct store_name *n, struct str *out);
/* "host/ns/model:tag" */
void store_name_full(const struct store_name *n, struct str *out);
bool store_name_equal(const struct store_name *a, const struct store_name *b); /* case ignored */

#endif
