/* runner_load: a model file as everything that is needed to run it, from the descriptor up to the engine. Shared by runner
 * and probe. After runner_load_start everything but the engine is constant.
 *
 * The struct begins zeroed. Order: open (file, tokenizer, template) and compute (kernels, threads), either first, then start
 * (weights, engine); stop undoes start, close undoes all. A step that fails leaves what the steps before it made. */
#ifndef CRIA_RUNNER_LOAD_H
#define CRIA_RUNNER_LOAD_H

#include <stdbool.h>

#include "chat/chat.h"
#include "engine/engine.h"
#include "gguf/gguf.h"
#include "ipc/ipc_msg.h"
#include "kern/kern.h"
#include "kern/pool.h"
#include "model/model.h"
#include "tok/tok.h"

struct runner_load {
	struct gguf *gguf;
	struct tok *tok;
	struct chat *chat;       /* NULL when the template is broken: template_err says how */
	struct err template_err;
	bool has_template;       /* the file or the caller gave one */
	const struct kern *kern;
	enum kern_kv_type kv_type;
	struct pool *pool;
	struct model *model;     /* NULL until started */
	struct engine *engine;
	struct grammar_vocab *vocab; /* made by the first request with a format; text thread */
};

/* The descriptor must be a regular file, open for reading, not empty; it stays the caller's. template_text NULL: the file's
 * own chat template; a model without any gets ChatML. A broken template is no failure here: only chat needs it. */
int runner_load_open(struct runner_load *l, int fd, const char *template_text, struct err *err);
/* The words of kern_choose and kern_kv_choose; NULL: the best, and the default. */
int runner_load_compute(struct runner_load *l, const char *kernels, const char *cpu, const char *kv_type, int n_thread, struct err *err);
/* n_ctx 0, or more than the model was trained with: the trained length. */
int runner_load_start(struct runner_load *l, int64_t n_ctx, size_t kv_bytes, void (*progress)(void *user, float share), void *user,
		      struct err *err);
void runner_load_stop(struct runner_load *l);
void runner_load_close(struct runner_load *l);
/* Renders and gives a clear error when the template is broken. */
int runner_load_render(const struct runner_load *l, const struct chat_req *req, struct str *out, struct err *err);
/* The token pieces for grammars; made once. One thread only. */
const struct grammar_vocab *runner_load_vocab(struct runner_load *l);
/* Facts for the server. Owned strings: loaded_info_release. */
void runner_load_info(const struct runner_load *l, struct loaded_info *ret);

#endif
