/* The life of a request: from the frame to its last event. What it generates is in runner_text.c and runner_embed.c. */
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "runner/runner_int.h"

static void start_job(struct runner_job *job);

void runner_gen_new(struct runner *r, uint64_t stream, char *payload, size_t n)
{
	struct runner_gen *g = mem_zalloc(sizeof *g);
	*g = (struct runner_gen){.r = r, .stream = stream, .payload = payload, .n_payload = n};
	gen_req_init(&g->req);
	for (int i = 0; i < RUNNER_SLOT_MAX; i++)
		g->slots[i].gen = g;
	g->slots[0].job.fn = start_job;
	pthread_mutex_lock(&r->lock);
	g->next = r->gens;
	g->at = &r->gens;
	if (g->next)
		g->next->at = &g->next;
	r->gens = g;
	pthread_mutex_unlock(&r->lock);
	runner_job_push(r, &g->slots[0].job);
}

static void gen_free(struct runner_gen *g)
{
	struct runner *r = g->r;
	pthread_mutex_lock(&r->lock);
	*g->at = g->next;
	if (g->next)
		g->next->at = g->at;
	pthread_mutex_unlock(&r->lock);
	if (g->text)
		runner_text_free(g->text);
	for (int i = 0; i < RUNNER_SLOT_MAX; i++)
		mem_free(g->slots[i].vec);
	gen_req_release(&g->req);
	mem_free(g->payload);
	mem_free(g);
}

/* `lock` is held. */
static void cancel_locked(struct runner_gen *g)
{
	g->canceled = true;
	for (int i = 0; i < RUNNER_SLOT_MAX; i++)
		if (g->slots[i].seq)
			engine_cancel(g->r->load.engine, g->slots[i].seq);
}

void runner_gen_cancel(struct runner *r, uint64_t stream)
{
	pthread_mutex_lock(&r->lock);
	for (struct runner_gen *g = r->gens; g; g = g->next)
		if (!stream || g->stream == stream)
			cancel_locked(g);
	pthread_mutex_unlock(&r->lock);
}

/* `lock` is held. Brings the engine in line with the server's wish and the output queue. */
static void park_locked(struct runner_gen *g)
{
	bool out = g->parked || g->r->throttled;
	if (out == (g->parked_ns != 0))
		return;
	g->parked_ns = out ? clock_now_ns() : 0;
	for (int i = 0; i < RUNNER_SLOT_MAX; i++)
		if (g->slots[i].seq)
			engine_park(g->r->load.engine, g->slots[i].seq, out);
}

void runner_gen_park(struct runner *r, uint64_t stream, bool parked)
{
	pthread_mutex_lock(&r->lock);
	for (struct runner_gen *g = r->gens; g; g = g->next)
		if (g->stream == stream) {
			g->parked = parked;
			park_locked(g);
		}
	pthread_mutex_unlock(&r->lock);
}

bool runner_gen_flow(struct runner *r, size_t n_pending_bytes, int64_t now_ns)
{
	bool any = false;
	pthread_mutex_lock(&r->lock);
	if (n_pending_bytes > RUNNER_OUT_HIGH_BYTES)
		r->throttled = true;
	else if (n_pending_bytes < RUNNER_OUT_LOW_BYTES)
		r->throttled = false;
	for (struct runner_gen *g = r->gens; g; g = g->next) {
		park_locked(g);
		any |= g->parked_ns != 0;
		if (g->parked_ns && now_ns - g->parked_ns > RUNNER_PARKED_MAX_NS && !g->canceled) {
			log_warn("request parked too long, canceled stream=%llu", (unsigned long long)g->stream);
			g->late = true;
			cancel_locked(g);
		}
	}
	pthread_mutex_unlock(&r->lock);
	return any;
}

bool runner_gen_any(struct runner *r)
{
	pthread_mutex_lock(&r->lock);
	bool any = r->gens != NULL;
	pthread_mutex_unlock(&r->lock);
	return any;
}

int runner_gen_submit(struct runner_slot *slot, const struct seq_cfg *cfg, struct err *err)
{
	struct runner_gen *g = slot->gen;
	uint64_t id;
	int rc = engine_submit(g->r->load.engine, cfg, &id, err);
	if (rc)
		return rc;
	pthread_mutex_lock(&g->r->lock);
	slot->seq = id;
	if (g->canceled || slot->enough)
		engine_cancel(g->r->load.engine, id);
	else if (g->parked_ns)
		engine_park(g->r->load.engine, id, true);
	pthread_mutex_unlock(&g->r->lock);
	return 0;
}

void runner_gen_set_end(struct runner_slot *slot, enum seq_end end, const struct seq_stats *stats, const struct err *err)
{
	slot->end = end;
	slot->stats = *stats;
	slot->err = end == SEQ_END_ERROR && err ? *err : (struct err){0};
}

void runner_gen_on_end(void *user, enum seq_end end, const struct seq_stats *stats, const struct err *err)
{
	struct runner_slot *slot = user;
	runner_gen_set_end(slot, end, stats, err);
	runner_job_push(slot->gen->r, &slot->job);
}

void runner_gen_enough(struct runner_slot *slot)
{
	struct runner *r = slot->gen->r;
	pthread_mutex_lock(&r->lock);
	slot->enough = true;
	if (slot->seq)
		engine_cancel(r->load.engine, slot->seq);
	pthread_mutex_unlock(&r->lock);
}

bool runner_gen_is_canceled(struct runner_gen *g)
{
	pthread_mutex_lock(&g->r->lock);
	bool canceled = g->canceled;
	pthread_mutex_unlock(&g->r->lock);
	return canceled;
}

void runner_gen_add_stats(struct runner_gen *g, const struct seq_stats *s)
{
	g->stats.prefill_ns += s->prefill_ns;
	g->stats.decode_ns += s->decode_ns;
	g->stats.queued_ns += s->queued_ns;
	g->stats.n_generated += s->n_generated;
	g->stats.n_drafted += s->n_drafted;
	g->stats.n_accepted += s->n_accepted;
}

void runner_gen_done(struct runner_gen *g, enum done_reason reason, struct ids *context)
{
	pthread_mutex_lock(&g->r->lock);
	bool late = g->late;
	pthread_mutex_unlock(&g->r->lock);
	if (late) {
		runner_gen_fail(g, ERR_TIMEOUT, "the answer was not read for over a minute; the request was ended");
		return;
	}
	struct gen_event e = {.kind = EV_DONE, .reason = reason, .stats = g->stats};
	if (context)
		e.context = *context;
	runner_push_event(g->r, g->stream, &e);
	gen_free(g);
}

void runner_gen_fail(struct runner_gen *g, int code, const char *msg)
{
	runner_push_error(g->r, g->stream, code, msg);
	gen_free(g);
}

int64_t runner_gen_n_ctx(const struct runner_gen *g)
{
	int64_t max = engine_n_ctx_max(g->r->load.engine), n = g->req.opts.num_ctx;
	if (n <= 0 || n > max)
		return max;
	return n < RUNNER_N_CTX_MIN ? RUNNER_N_CTX_MIN : n;
}

static void start_job(struct runner_job *job)
{
	struct runner_gen *g = ((struct runner_slot *)job)->gen;
	if (runner_gen_is_canceled(g)) {
		runner_gen_done(g, DONE_CANCELED, NULL);
		return;
	}
	struct err err;
	gen_req_release(&g->req);
	int rc = gen_req_decode(g->payload, g->n_payload, &g->req, &err);
	mem_free(g->payload);
	g->payload = NULL;
	if (rc) {
		gen_req_init(&g->req);
		runner_gen_fail(g, rc, err.msg);
	} else if (g->req.kind == GEN_EMBED) {
		runner_embed_start(g);
	} else {
		runner_text_start(g);
	}
}
