/* tok_load: fills a zeroed struct tok from the metadata of a model file, all but the special-token trie. On failure the
 * caller frees what is there with tok_free. */
#ifndef CRIA_TOK_LOAD_H
#define CRIA_TOK_LOAD_H

#include "tok/tok_priv.h"

int tok_load(const struct gguf *g, struct tok *t, struct err *err);

#endif
