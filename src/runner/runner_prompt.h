/* runner_prompt: a request to token ids that fit the context. Runs on the text thread; the model is only read.
 *
 * A conversation that is too long loses its oldest messages (never system messages nor the last one). What is still too long
 * loses its middle: the first num_keep ids stay and the most recent ones, about half a context; a conversation through the
 * model's own (Jinja) template is refused instead. */
#ifndef CRIA_RUNNER_PROMPT_H
#define CRIA_RUNNER_PROMPT_H

#include "base/vec.h"
#include "chat/gotmpl.h"
#include "ipc/ipc_msg.h"
#include "runner/runner_load.h"

enum { RUNNER_PROMPT_BYTES_MAX = 8 << 20, RUNNER_PROMPT_MSG_MAX = 100000 };

struct runner_prompt {
	struct str text;  /* as rendered, after messages were dropped */
	struct ids full;  /* ids of text, context in front, before the middle was cut */
	struct ids ids;   /* what the engine gets */
	int64_t n_keep;   /* ids at the start that a context shift leaves in place */
};

/* go: the request's go_template, parsed, or NULL. n_ctx: the context of the request, at least 4. ERR_TOO_LONG when it does not
 * fit and may not be cut. */
int runner_prompt_build(const struct runner_load *l, const struct gotmpl *go, const struct gen_req *req, int64_t n_ctx,
			struct runner_prompt *ret, struct err *err);
void runner_prompt_release(struct runner_prompt *p);

/* Appends to out the n_keep first ids and the last ones, n_ctx - max((n_ctx - n_keep) / 2, 1) in all. */
void runner_prompt_cut(const int *ids, size_t n, int64_t n_ctx, int64_t n_keep, struct ids *out);
/* The smallest i in [0, n) for which fits(i) > 0, taking it that more dropped means shorter; fits(i) < 0 says i cannot be
 * had (a template may refuse to start there), then its neighbour is tried. n - 1 when none fits. */
size_t runner_prompt_search(size_t n, int (*fits)(void *user, size_t i), void *user);
/* The messages from i on, and the system messages before it. Owned. */
json_t *runner_prompt_tail(json_t *messages, size_t i);

#endif
