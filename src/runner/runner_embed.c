#include "runner/runner_embed.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "runner/runner_int.h"

void runner_embed_pool(int pooling, const float *rows, int64_t n_tok, int n_embd, float *out)
{
	size_t n = (size_t)n_embd;
	if (pooling != RUNNER_POOL_MEAN) {
		memcpy(out, rows + (pooling == RUNNER_POOL_LAST ? (size_t)(n_tok - 1) * n : 0), n * sizeof *out);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		double sum = 0;
		for (int64_t t = 0; t < n_tok; t++)
			sum += rows[(size_t)t * n + i];
		out[i] = (float)(sum / (double)n_tok);
	}
}

void runner_embed_normalize(float *v, int n)
{
	double sum = 0;
	for (int i = 0; i < n; i++)
		sum += (double)v[i] * v[i];
	double norm = sqrt(sum);
	if (norm < 1e-12)
		norm = 1e-12;
	for (int i = 0; i < n; i++)
		v[i] = (float)(v[i] / norm);
}

int runner_embed_check(int pooling, struct err *err)
{
	if (pooling == RUNNER_POOL_MEAN || pooling == RUNNER_POOL_CLS || pooling == RUNNER_POOL_LAST)
		return 0;
	if (pooling < 0)
		return err_set(err, ERR_UNSUPPORTED, "this model does not support embeddings: its file names no pooling type");
	return err_set(err, ERR_UNSUPPORTED,
		       "this model does not support embeddings: its pooling type is %d; supported are 1 (mean), 2 (CLS), 3 (last)",
		       pooling);
}

void runner_embed_cut(const struct tok *t, struct ids *ids, size_t limit)
{
	struct ids special = {0};
	struct err err;
	if (ids->n <= limit)
		return;
	/* An empty text is its special tokens alone: two of them, or one that is not BOS, mean that one stands at the end. */
	if (!tok_encode(t, "", 0, TOK_ADD_SPECIAL, &special, &err) && special.n && limit &&
	    (special.n > 1 || special.data[0] != tok_bos(t)))
		ids->data[limit - 1] = special.data[special.n - 1];
	ids->n = limit;
	vec_release(&special);
}

/* Engine thread. */
static void on_embedding(void *user, const float *rows, int64_t n_tok, int n_embd)
{
	struct runner_slot *slot = user;
	slot->n_vec = n_embd;
	slot->vec = mem_realloc(slot->vec, (size_t)n_embd * sizeof *slot->vec);
	runner_embed_pool(model_pooling(slot->gen->r->load.model), rows, n_tok, n_embd, slot->vec);
}

static void end_job(struct runner_job *job);

static int submit(struct runner_slot *slot, const char *text, size_t n, struct err *err)
{
	struct runner_gen *g = slot->gen;
	struct ids ids = {0};
	int64_t limit = runner_gen_n_ctx(g), trained = model_n_ctx_train(g->r->load.model);
	if (trained > 0 && trained < limit)
		limit = trained;
	int rc = tok_encode(g->r->load.tok, text, n, TOK_ADD_SPECIAL | TOK_PARSE_SPECIAL, &ids, err);
	if (!rc && !ids.n)
		rc = err_set(err, ERR_INVALID, "input %d is empty, and this model has no special tokens to embed", slot->i_input);
	if (!rc && (int64_t)ids.n > limit && !g->req.truncate)
		rc = err_set(err, ERR_TOO_LONG, "the input length exceeds the context length");
	if (!rc) {
		runner_embed_cut(g->r->load.tok, &ids, (size_t)limit);
		slot->n_tok = (int64_t)ids.n;
		slot->n_vec = 0;
		slot->job.fn = end_job;
		struct seq_cfg cfg = {.ids = ids.data,
				      .n_ids = ids.n,
				      .embed = true,
				      .user = slot,
				      .on_embedding = on_embedding,
				      .on_end = runner_gen_on_end};
		rc = runner_gen_submit(slot, &cfg, err);
	}
	vec_release(&ids);
	return rc;
}

/* Fills free slots; ends the request when nothing is left to wait for. */
static void go_on(struct runner_gen *g)
{
	size_t n = json_array_size(g->req.inputs);
	bool canceled = runner_gen_is_canceled(g);
	for (int i = 0; i < RUNNER_SLOT_MAX && g->i_next < n && !g->err.code && !canceled; i++) {
		struct runner_slot *slot = &g->slots[i];
		if (slot->busy)
			continue;
		const json_t *text = json_array_get(g->req.inputs, g->i_next);
		slot->i_input = (int)g->i_next++;
		if (!submit(slot, json_string_value(text), json_string_length(text), &g->err)) {
			slot->busy = true;
			g->n_busy++;
		}
	}
	if (g->n_busy)
		return;
	if (g->err.code && !canceled)
		runner_gen_fail(g, g->err.code, g->err.msg);
	else
		runner_gen_done(g, canceled ? DONE_CANCELED : DONE_STOP, NULL);
}

static void send(struct runner_slot *slot)
{
	struct runner_gen *g = slot->gen;
	int n = slot->n_vec;
	for (int i = 0; i < n; i++)
		if (!isfinite(slot->vec[i])) {
			err_set(&g->err, ERR_INTERNAL, "embedding contains NaN or Inf values");
			return;
		}
	if (g->req.dimensions > 0 && g->req.dimensions < n)
		n = (int)g->req.dimensions;
	if (g->req.normalize || n < slot->n_vec)
		runner_embed_normalize(slot->vec, n);
	struct gen_event e = {
		.kind = EV_EMBEDDING, .values = slot->vec, .n_values = (size_t)n, .i_input = slot->i_input, .n_input_tok = slot->n_tok};
	struct str frame = {0};
	gen_event_encode_embedding(&e, &frame);
	runner_push(g->r, IPC_EMBEDDING, g->stream, frame.data, frame.len);
	str_release(&frame);
}

static void end_job(struct runner_job *job)
{
	struct runner_slot *slot = (struct runner_slot *)job;
	struct runner_gen *g = slot->gen;
	pthread_mutex_lock(&g->r->lock);
	slot->seq = 0;
	pthread_mutex_unlock(&g->r->lock);
	slot->busy = false;
	g->n_busy--;
	g->stats.n_prompt += slot->n_tok;
	runner_gen_add_stats(g, &slot->stats);
	if (slot->end == SEQ_END_ERROR && !g->err.code)
		err_set(&g->err, slot->err.code ? slot->err.code : ERR_INTERNAL, "%s",
			slot->err.code ? slot->err.msg : "the engine failed");
	else if (slot->end != SEQ_END_ERROR && slot->end != SEQ_END_CANCELED && slot->n_vec && !g->err.code)
		send(slot);
	go_on(g);
}

void runner_embed_start(struct runner_gen *g)
{
	for (size_t i = 0; i < json_array_size(g->req.inputs) && !g->err.code; i++)
		if (!json_is_string(json_array_get(g->req.inputs, i)))
			err_set(&g->err, ERR_INVALID, "input %zu is not a string", i);
	if (json_array_size(g->req.inputs) > INT32_MAX)
		err_set(&g->err, ERR_INVALID, "too many inputs");
	if (!g->err.code)
		runner_embed_check(model_pooling(g->r->load.model), &g->err);
	go_on(g);
}
