/* inspect: `cria inspect [--verbose] [FILE]` prints the facts of a model file as one JSON object, or {"error": text} with exit
 * status 1; `cria inspect --template [FILE]` those of a Go template. Without FILE it is open on descriptor 3. The process is
 * sandboxed before it looks at the bytes. */
#ifndef CRIA_RUNNER_INSPECT_H
#define CRIA_RUNNER_INSPECT_H

#include <stdbool.h>

#include "base/err.h"
#include "base/json.h"
#include "gguf/gguf.h"

int inspect_main(int argc, char **argv);
/* Writes the object to w. Keys are sorted, tensors by block and name. Array values are null unless verbose; empty arrays are
 * written always. */
void inspect_write(const struct gguf *g, bool verbose, struct jsonw *w);
/* What a Go template can do. ERR_INVALID with Go's words when it cannot be parsed; then nothing is written. */
int inspect_write_go(const char *text, size_t n, struct jsonw *w, struct err *err);

#endif
