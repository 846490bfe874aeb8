/* probe_int: what probe.c (lines in, lines out, the model) and probe_ops.c (the operations) share. One thread, besides the
 * engine's own. */
#ifndef CRIA_RUNNER_PROBE_INT_H
#define CRIA_RUNNER_PROBE_INT_H

#include "base/json.h"
#include "runner/runner_load.h"

enum { PROBE_N_CTX_DEFAULT = 8192, PROBE_LINE_MAX = 256 << 20 };

struct probe {
	int fd;                  /* the model file, -1: none */
	struct runner_load load;
	bool opened;             /* file, tokenizer, template */
	int64_t n_ctx;           /* of the running engine */
};

enum probe_need { PROBE_NEEDS_NOTHING, PROBE_NEEDS_FILE, PROBE_NEEDS_ENGINE };

/* Adds the members of the answer to the open object. */
typedef int probe_op_fn(struct probe *p, const json_t *req, struct jsonw *w, struct err *err);

struct probe_op {
	const char *name;
	enum probe_need need;
	probe_op_fn *fn;
};

/* Brings the model as far as an operation needs it. An engine with another n_ctx than the one asked for is made anew. */
int probe_provide(struct probe *p, enum probe_need need, const json_t *req, struct err *err);
/* NULL when there is no such operation. */
const struct probe_op *probe_op_find(const char *name);
/* "tokenize detokenize ...", for messages. */
void probe_op_names(struct str *out);

#endif
