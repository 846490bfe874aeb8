/* engine_int: shared by engine.c (thread, queue, life of sequences) and step.c (what one step does). */
#ifndef CRIA_ENGINE_INT_H
#define CRIA_ENGINE_INT_H

#include <pthread.h>
#include <stdatomic.h>

#include "engine/draw.h"
#include "engine/engine.h"
#include "engine/kv.h"
#include "engine/pace.h"
#include "engine/prefix.h"
#include "engine/seq.h"
#include "engine/spec.h"
#include "model/model_exec.h"

/* The batch being built and what is wanted from it. All arrays are allocated by step_new. */
struct step {
	struct model_exec *exec;
	int n_tok_max;         /* rows there is room for */
	int n_budget;          /* tokens of a step, but for an encoder's span, which goes in whole */
	int n_tok, n_seg, n_out;
	int *ids, *pos, *row_seg;
	struct model_seg *segs;
	struct seq **seqs;     /* [n_seg] whose segment it is */
	int *out_rows;         /* [n_out] rows whose results are wanted, ascending */
	struct pace pace;
	struct spec spec;
	int n_prompt_max;      /* prompt tokens that the pace allows in this step */
	int64_t i_step;
	struct draw_ctx draw;
	struct draw draws[MODEL_HEAD_ROWS];
};

struct engine {
	struct model *model;
	struct pool *pool;
	int64_t n_ctx_max;
	bool (*is_eog)(const void *user, int id);
	const void *eog_user;
	struct kv *kv;
	struct prefix *prefix;
	int64_t idle_ns;
	struct step step;

	pthread_t thread;
	pthread_mutex_t lock;      /* the fields down to `stats`, and the links of both lists */
	pthread_cond_t wake;
	bool started, stop, news;  /* news: something changed since the engine thread last looked */
	uint64_t last_id;
	struct seq *queue, **queue_end; /* submitted, not seen by the engine thread yet */
	int n_queue;
	struct engine_stats stats; /* copied out after each step */

	struct seq *active;        /* oldest first; changed by the engine thread under the lock, read by it without */
	atomic_llong step_started_ns;
};

int step_new(struct step *st, struct engine *e, int n_step_tok, struct err *err);
void step_release(struct step *st);
/* Runs one step; false when no sequence could take part (all are parked or wait for memory). */
bool step_run(struct engine *e);

/* The sequence gives back its pages; those that are kept for others stay. */
void engine_drop_pages(struct engine *e, struct seq *s);
/* Takes a sequence out of the active list, drops its pages, calls on_end. */
void engine_end_seq(struct engine *e, struct seq *s, enum seq_end end, const struct err *err);

#endif
