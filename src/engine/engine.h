/* engine: runs sequences through a model. One engine thread alone owns sequences and KV pages; it takes all active
 * sequences each step (continuous batching): one token for each that decodes, and chunks of the prompts that are still
 * being prefilled, up to a token budget. No fixed slots.
 *
 * Thread rule: engine_submit, engine_cancel and engine_stats may be called from any thread; hooks run on the engine
 * thread, must be quick and must not call back into the engine except engine_cancel.
 *
 * Pages of earlier sequences are kept, within the KV budget, for those that begin the same way (prefix.h).
 *
 * One answer: what a sequence gives does not depend on what else runs, nor on what ran before. */
#ifndef CRIA_ENGINE_H
#define CRIA_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "engine/grammar.h"
#include "engine/sampler.h"
#include "model/model.h"

enum seq_end { SEQ_END_STOP, SEQ_END_LENGTH, SEQ_END_HOOK, SEQ_END_CANCELED, SEQ_END_ERROR };

struct seq_token {
	int id;
	bool eog;                 /* an end-of-generation token: not to be shown */
	const float *logits;      /* [n_vocab] raw, before the sampler, or NULL unless want_logits */
	int64_t pos;              /* index among generated tokens, 0-based */
	bool last;                /* for on_token: no other sequence's token is about to follow */
};

struct seq_stats {
	int64_t n_prompt, n_cached, n_generated; /* tokens; n_cached: prompt tokens whose KV was reused */
	/* Guessed tokens that steps checked, and those that came true: each saved a step. */
	int64_t n_drafted, n_accepted;
	int64_t prefill_ns, decode_ns;
	int64_t queued_ns;
};

/* Whether a sequence's next tokens are guessed from its text, so that one step may give several (spec.h). The answer is the
 * same. ALWAYS: also where it is slower, for tests. */
enum seq_draft { SEQ_DRAFT_OFF, SEQ_DRAFT_PAYS, SEQ_DRAFT_ALWAYS };

/* What a sequence should do. Pointers are copied by engine_submit; `user` is handed to the hooks. */
struct seq_cfg {
	const int *ids;           /* prompt, n_ids >= 1, every id in range (checked) */
	size_t n_ids;
	int64_t n_ctx;            /* prompt + generated may not exceed this; 0: the engine's limit */
	int64_t n_predict;        /* at most this many tokens; negative: until n_ctx; 0 with on_prompt_logits only: none */
	struct sampler_cfg sampler;
	enum seq_draft draft;
	/* What the answer must conform to, or NULL; both are borrowed and outlive the sequence. The tokens of `held` (borrowed
	 * for the call) were generated before: the grammar goes on behind them. */
	const struct grammar *grammar;
	const struct grammar_vocab *vocab;
	const int *held;
	size_t n_held;
	bool ignore_eog;          /* end-of-generation tokens are ordinary tokens: drawn, reported, generation goes on */
	bool want_logits;         /* give hooks the raw logits of each generated position */
	bool embed;               /* no generation: on_embedding gets the final rows */
	uint64_t domain;          /* sequences of different domains never share pages, whatever their tokens */

	void *user;
	/* Raw logits of prompt position pos (predicting pos + 1); set only for probes and nll: logits of every prompt
	 * position are then computed. */
	void (*on_prompt_logits)(void *user, int64_t pos, const float *logits, int n_vocab);
	/* Final hidden rows of all prompt tokens: [n_ids][n_embd]. */
	void (*on_embedding)(void *user, const float *rows, int64_t n_tok, int n_embd);
	/* A token was drawn; called before on_token, on any compute thread, at the same time as those of other sequences: for
	 * what takes long. */
	void (*on_drawn)(void *user, const struct seq_token *tok);
	/* Return false to end the sequence after this token (stop string found). */
	bool (*on_token)(void *user, const struct seq_token *tok);
	/* Always called exactly once; err is set for SEQ_END_ERROR. The sequence is gone afterwards. */
	void (*on_end)(void *user, enum seq_end end, const struct seq_stats *stats, const struct err *err);
};

struct engine_cfg {
	struct pool *pool;        /* compute threads, borrowed; only the engine thread runs them */
	int64_t n_ctx_max;        /* longest sequence; 0: the model's trained length */
	size_t kv_bytes;          /* budget for KV pages; 0: enough for n_ctx_max */
	int n_step_tok;           /* token budget of a step; 0: default */
	bool prefix_off;          /* every sequence computes its whole prompt; pages are not kept */
	int64_t idle_ns;          /* after being idle so long, all but a small share of the kept pages goes; 0: default */
	/* Says whether a token ends generation; NULL: none does. Called on any compute thread. */
	bool (*is_eog)(const void *user, int id);
	const void *eog_user;
};

struct engine_stats {
	int n_active, n_queued;
	size_t kv_used_bytes, kv_budget_bytes;
	/* Kept for later sequences; part of kv_used_bytes, and some may be in use now. All others belong to sequences. */
	size_t kv_kept_bytes;
	int64_t n_kept_page;
	int64_t n_step, n_tok_prefill, n_tok_decode, n_tok_reused; /* n_tok_decode: guessed tokens that came true included */
	int64_t n_drafted, n_accepted; /* as in seq_stats, of all sequences */
	int64_t step_started_ns;  /* 0 when idle; clock_now_ns when the running step began */
};

struct engine;

/* The model is borrowed and must outlive the engine. Everything a step needs is allocated here. */
int engine_new(struct model *m, const struct engine_cfg *cfg, struct engine **ret, struct err *err);
void engine_free(struct engine *e); /* ends all sequences as canceled, joins the thread */
int64_t engine_n_ctx_max(const struct engine *e);
/* Bytes of KV per token over all layers. */
size_t engine_kv_bytes_per_tok(const struct engine *e);

/* Queues a sequence; *ret_id > 0. ERR_INVALID (bad ids), ERR_TOO_LONG (longer than n_ctx or the engine's limit), ERR_BUSY. */
int engine_submit(struct engine *e, const struct seq_cfg *cfg, uint64_t *ret_id, struct err *err);
/* Takes effect within one step (also while queued or in prefill); on_end comes with SEQ_END_CANCELED unless it already ended. */
void engine_cancel(struct engine *e, uint64_t id);
/* Leaves a sequence out of the steps, its pages kept (slow reader), and takes it back in. */
void engine_park(struct engine *e, uint64_t id, bool parked);
void engine_stats(struct engine *e, struct engine_stats *ret);

#endif
