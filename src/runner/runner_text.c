/* Text generation: the prompt, then tokens to text with stop strings, log-probabilities and context shifts. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "runner/runner_int.h"
#include "runner/runner_logprob.h"
#include "runner/runner_prompt.h"
#include "runner/runner_stop.h"

/* A generated token and the length of all text before it. */
struct text_token {
	int id;
	size_t start;
};

struct text_logprob {
	struct runner_logprob lp;
	size_t start;
};

/* Owner: the text thread before a sequence is submitted and after it ended; in between the token thread, but for `drawn`. */
struct runner_text {
	struct runner_lane lane;   /* first: a lane is cast back to its text */
	struct runner_gen *gen;
	struct runner_prompt prompt;
	int64_t window, n_predict; /* longest sequence; tokens to generate in all */
	struct detok detok;
	struct runner_stop stop;
	struct grammar *grammar;   /* what the answer must conform to, or NULL */
	bool stopped;              /* a stop string was found */
	size_t n_text, n_sent;     /* bytes detokenized; released so far */
	VEC(struct text_token) tokens;
	VEC(struct text_logprob) logprobs; /* not yet sent */
	VEC(struct runner_logprob *) drawn; /* of tokens that are not in the lane yet; the engine's threads, one at a time */
	struct str piece, out;     /* scratch */
};

void runner_text_free(struct runner_text *t)
{
	runner_prompt_release(&t->prompt);
	detok_release(&t->detok);
	runner_stop_release(&t->stop);
	grammar_free(t->grammar);
	vec_release(&t->tokens);
	vec_release(&t->logprobs);
	vec_release(&t->drawn);
	str_release(&t->piece);
	str_release(&t->out);
	mem_free(t);
}

/* Takes the log-probabilities of tokens that begin before byte `end` of the text; NULL when there are none. */
static json_t *take_logprobs(struct runner_gen *g, size_t end)
{
	struct runner_text *t = g->text;
	size_t n = 0;
	while (n < t->logprobs.n && t->logprobs.data[n].start < end)
		n++;
	if (!n)
		return NULL;
	json_t *out = json_array();
	for (size_t i = 0; i < n; i++)
		json_array_append_new(out, runner_logprob_json(&t->logprobs.data[i].lp, g->r->load.tok));
	t->logprobs.n -= n;
	memmove(t->logprobs.data, t->logprobs.data + n, t->logprobs.n * sizeof *t->logprobs.data);
	return out;
}

/* Sends what is in t->out, with the log-probabilities of tokens that begin before byte `end`. */
static void send_text(struct runner_gen *g, size_t end)
{
	struct runner_text *t = g->text;
	struct gen_event e = {.kind = EV_TEXT, .logprobs = take_logprobs(g, end)};
	if (t->out.len || e.logprobs) {
		char *text = mem_strndup(str_cstr(&t->out), t->out.len);
		e.text = text;
		runner_queue_event(g->r, g->stream, &e);
		mem_free(text);
		json_decref(e.logprobs);
	}
	str_clear(&t->out);
}

/* ---- the engine's threads ---- */

static void on_drawn(void *user, const struct seq_token *tok)
{
	struct runner_gen *g = ((struct runner_slot *)user)->gen;
	if (tok->eog)
		return;
	struct runner_logprob *lp = mem_alloc(sizeof *lp);
	runner_logprob_of(tok->logits, model_n_vocab(g->r->load.model), tok->id, g->req.top_logprobs, lp);
	vec_push(&g->text->drawn, lp);
}

/* Whether the text has ended is found out by the token thread, which then cancels the sequence. */
static bool on_token(void *user, const struct seq_token *tok)
{
	struct runner_gen *g = ((struct runner_slot *)user)->gen;
	struct runner_text *t = g->text;
	struct runner_token out = {.id = tok->id, .eog = tok->eog};
	if (t->drawn.n) {
		out.logprob = t->drawn.data[0];
		memmove(t->drawn.data, t->drawn.data + 1, --t->drawn.n * sizeof *t->drawn.data);
	}
	runner_tokens_push(&g->r->tokens, &t->lane, &out, tok->last);
	return true;
}

static void on_end(void *user, enum seq_end end, const struct seq_stats *stats, const struct err *err)
{
	struct runner_slot *slot = user;
	runner_gen_set_end(slot, end, stats, err);
	runner_tokens_end(&slot->gen->r->tokens, &slot->gen->text->lane);
}

/* ---- the token thread ---- */

static void take_token(struct runner_gen *g, const struct runner_token *tok)
{
	struct runner_text *t = g->text;
	if (t->stopped)
		return; /* the sequence was a step ahead */
	vec_push(&t->tokens, ((struct text_token){tok->id, t->n_text}));
	if (tok->eog)
		return;
	if (tok->logprob)
		vec_push(&t->logprobs, ((struct text_logprob){.lp = *tok->logprob, .start = t->n_text}));
	str_clear(&t->piece);
	detok_push(&t->detok, tok->id, &t->piece);
	t->n_text += t->piece.len;
	t->stopped = runner_stop_push(&t->stop, str_cstr(&t->piece), t->piece.len, &t->out);
	if (t->out.len) {
		t->n_sent += t->out.len;
		send_text(g, t->n_sent);
	}
	if (t->stopped)
		runner_gen_enough(&g->slots[0]);
}

static void take_tokens(struct runner_lane *lane, const struct runner_token *tokens, int n, bool ended)
{
	struct runner_gen *g = ((struct runner_text *)lane)->gen;
	for (int i = 0; i < n; i++) {
		take_token(g, &tokens[i]);
		mem_free(tokens[i].logprob);
	}
	if (ended)
		runner_job_push(g->r, &g->slots[0].job);
}

/* ---- the text thread ---- */

static void end_job(struct runner_job *job);

static int submit(struct runner_gen *g, const struct ids *ids, struct err *err)
{
	const struct gen_opts *o = &g->req.opts;
	struct runner_slot *slot = &g->slots[0];
	int64_t n_done = (int64_t)g->text->tokens.n;
	struct seq_cfg cfg = {
		.ids = ids->data,
		.n_ids = ids->n,
		.n_ctx = g->text->window,
		.n_predict = g->text->n_predict - n_done,
		.ignore_eog = o->ignore_eos,
		.want_logits = g->req.logprobs,
		.draft = g->r->load_req.speculation ? SEQ_DRAFT_PAYS : SEQ_DRAFT_OFF,
		.user = slot,
		.on_drawn = g->req.logprobs ? on_drawn : NULL,
		.on_token = on_token,
		.on_end = on_end,
		.sampler = {.seed = o->seed < 0 ? -1 : (int64_t)((uint64_t)(o->seed + n_done) & INT64_MAX),
			    .temperature = (float)o->temperature,
			    .top_k = o->top_k > INT32_MAX ? 0 : o->top_k < 0 ? 0 : (int)o->top_k,
			    .top_p = (float)o->top_p,
			    .min_p = (float)o->min_p,
			    .typical_p = (float)o->typical_p,
			    .repeat_last_n = o->repeat_last_n > INT32_MAX ? -1 : o->repeat_last_n < 0 ? -1 : (int)o->repeat_last_n,
			    .repeat_penalty = (float)o->repeat_penalty,
			    .presence_penalty = (float)o->presence_penalty,
			    .frequency_penalty = (float)o->frequency_penalty},
	};
	struct ids held = {0}; /* a grammar goes on behind what was generated before the context was shifted */
	if (g->text->grammar) {
		cfg.grammar = g->text->grammar;
		cfg.vocab = runner_load_vocab(&g->r->load);
		for (size_t i = 0; i < g->text->tokens.n; i++)
			vec_push(&held, g->text->tokens.data[i].id);
		cfg.held = held.data;
		cfg.n_held = held.n;
	}
	slot->job.fn = end_job;
	int rc = runner_gen_submit(slot, &cfg, err);
	vec_release(&held);
	return rc;
}

/* The context is full: goes on with the kept start and the later half of the rest as a new prompt. */
static int shift(struct runner_gen *g, struct err *err)
{
	struct runner_text *t = g->text;
	struct ids all = {0}, next = {0};
	vec_reserve(&all, t->prompt.ids.n + t->tokens.n);
	for (size_t i = 0; i < t->prompt.ids.n; i++)
		vec_push(&all, t->prompt.ids.data[i]);
	for (size_t i = 0; i < t->tokens.n; i++)
		vec_push(&all, t->tokens.data[i].id);
	int64_t n_keep = t->prompt.n_keep < (int64_t)t->prompt.ids.n ? t->prompt.n_keep : (int64_t)t->prompt.ids.n;
	/* Ids dropped by an earlier shift are still in `all`; cutting to the window drops them again. */
	bool full = (int64_t)all.n >= t->window - 1;
	if (full)
		runner_prompt_cut(all.data, all.n, t->window, n_keep, &next);
	int rc = submit(g, full ? &next : &all, err);
	vec_release(&all);
	vec_release(&next);
	return rc;
}

/* Ids of prompt and answer; tokens that begin behind the released text and the end token are no part of it. */
static void context_ids(const struct runner_gen *g, enum seq_end end, struct ids *out)
{
	const struct runner_text *t = g->text;
	size_t n = t->tokens.n;
	if (end == SEQ_END_STOP && n && !g->req.opts.ignore_eos && tok_is_eog(g->r->load.tok, t->tokens.data[n - 1].id))
		n--;
	while (t->stopped && n && t->tokens.data[n - 1].start >= t->n_sent)
		n--;
	for (size_t i = 0; i < t->prompt.full.n; i++)
		vec_push(out, t->prompt.full.data[i]);
	for (size_t i = 0; i < n; i++)
		vec_push(out, t->tokens.data[i].id);
}

static void finish(struct runner_gen *g, enum seq_end end)
{
	struct runner_text *t = g->text;
	bool canceled = end == SEQ_END_CANCELED && !t->stopped;
	if (!t->stopped) {
		str_clear(&t->piece);
		detok_flush(&t->detok, &t->piece);
		t->stopped = runner_stop_push(&t->stop, str_cstr(&t->piece), t->piece.len, &t->out);
		runner_stop_flush(&t->stop, &t->out);
		t->n_sent += t->out.len;
		send_text(g, t->stopped ? t->n_sent : SIZE_MAX);
	}
	struct ids context = {0};
	if (g->req.want_context)
		context_ids(g, end, &context);
	enum done_reason reason = canceled ? DONE_CANCELED : end == SEQ_END_LENGTH && !t->stopped ? DONE_LENGTH : DONE_STOP;
	runner_gen_done(g, reason, g->req.want_context ? &context : NULL);
	vec_release(&context);
}

static void end_job(struct runner_job *job)
{
	struct runner_slot *slot = (struct runner_slot *)job;
	struct runner_gen *g = slot->gen;
	struct runner_text *t = g->text;
	struct err err = slot->err;
	if (!g->stats.n_prompt) {
		g->stats.n_prompt = slot->stats.n_prompt;
		g->stats.n_cached = slot->stats.n_cached;
	}
	runner_gen_add_stats(g, &slot->stats);
	g->stats.n_generated = (int64_t)t->tokens.n; /* what came behind the end of the text is not counted */
	pthread_mutex_lock(&g->r->lock);
	slot->seq = 0;
	pthread_mutex_unlock(&g->r->lock);
	if (t->stopped) {
		finish(g, slot->end);
	} else if (slot->end == SEQ_END_ERROR) {
		runner_gen_fail(g, err.code ? err.code : ERR_INTERNAL, err.code ? err.msg : "the engine failed");
	} else if (slot->end == SEQ_END_LENGTH && (int64_t)t->tokens.n < t->n_predict && slot->stats.n_generated && g->req.shift) {
		if (shift(g, &err))
			runner_gen_fail(g, err.code, err.msg);
	} else {
		finish(g, slot->end);
	}
}

/* *ret NULL: the request brings no Go template. */
static int get_template(struct runner_gen *g, const struct gotmpl **ret, struct err *err)
{
	*ret = NULL;
	if (!g->req.go_template)
		return 0;
	int rc = runner_template_get(&g->r->templates, g->req.go_template, ret, err);
	if (rc == ERR_INVALID && g->req.custom_template)
		err->code = rc = ERR_INTERNAL; /* clients know a bad template by status 500 */
	return rc;
}

static int prepare(struct runner_gen *g, struct err *err)
{
	struct runner_text *t = g->text;
	const struct gen_opts *o = &g->req.opts;
	int64_t n_ctx = runner_gen_n_ctx(g), max = engine_n_ctx_max(g->r->load.engine);
	if (model_is_encoder(g->r->load.model) && !g->req.render_only)
		return err_set(err, ERR_UNSUPPORTED, "this model turns text into embeddings; it cannot generate");
	const struct gotmpl *go;
	int rc = runner_stop_init(&t->stop, o->stop, o->n_stop, err);
	if (!rc && g->req.format && !g->req.render_only)
		rc = json_is_string(g->req.format) ? grammar_from_json(&t->grammar, err)
						   : grammar_from_schema(g->req.format, &t->grammar, err);
	if (!rc)
		rc = get_template(g, &go, err);
	if (!rc)
		rc = runner_prompt_build(&g->r->load, go, &g->req, n_ctx, &t->prompt, err);
	if (rc)
		return rc;
	t->window = n_ctx > RUNNER_WINDOW_MIN ? n_ctx : RUNNER_WINDOW_MIN;
	if (t->window > max)
		t->window = max;
	/* 0 is no limit, as in Ollama; nothing runs for ever. */
	t->n_predict = o->num_predict > 0 && o->num_predict < 10 * n_ctx ? o->num_predict : 10 * n_ctx;
	detok_init(&t->detok, g->r->load.tok, false);
	t->detok.first = false; /* the prompt precedes: a leading space is part of the answer */
	return 0;
}

void runner_text_start(struct runner_gen *g)
{
	struct err err;
	g->text = mem_zalloc(sizeof *g->text);
	g->text->gen = g;
	g->text->lane.take = take_tokens;
	int rc = prepare(g, &err);
	if (rc) {
		runner_gen_fail(g, rc, err.msg);
	} else if (g->req.render_only) {
		struct gen_event e = {.kind = EV_RENDERED, .text = (char *)str_cstr(&g->text->prompt.text)};
		runner_push_event(g->r, g->stream, &e);
		runner_gen_done(g, DONE_STOP, NULL);
	} else if (runner_gen_is_canceled(g)) {
		runner_gen_done(g, DONE_CANCELED, NULL);
	} else if ((rc = submit(g, &g->text->prompt.ids, &err))) {
		runner_gen_fail(g, rc, err.msg);
	}
}
