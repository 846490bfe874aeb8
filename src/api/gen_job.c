#include "api/gen_job.h"

#include <gnutls/crypto.h>
#include <string.h>

#include "api/api_model.h"
#include "api/gen_pull.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

/* A client that leaves this much unread has its sequence parked; on_low takes it back. */
enum { PENDING_MAX_BYTES = 256 * 1024 };
/* Bound of an answer that is collected instead of streamed. */
enum { COLLECT_MAX_BYTES = 64 << 20 };
enum { VECTOR_MAX = 1 << 20 };

struct gen_job *gen_job_new(const struct gen_dialect *d, struct api_call *call, json_t *body, const char *model)
{
	struct gen_job *j = mem_zalloc(sizeof *j);
	j->dialect = d;
	j->call = call;
	j->body = body;
	j->model = model;
	j->n_ref = 1;
	j->may_pull = true;
	j->began = call->streaming;
	j->keep_alive_ns = SCHED_KEEP_DEFAULT;
	pthread_mutex_init(&j->lock, NULL);
	gen_req_init(&j->req);
	j->req.req_id = mem_strdup(call->id ? call->id : "");
	api_call_ref(call);
	return j;
}

static void ref(struct gen_job *j)
{
	pthread_mutex_lock(&j->lock);
	j->n_ref++;
	pthread_mutex_unlock(&j->lock);
}

void gen_job_unref(struct gen_job *j)
{
	pthread_mutex_lock(&j->lock);
	int left = --j->n_ref;
	pthread_mutex_unlock(&j->lock);
	if (left)
		return;
	gen_req_release(&j->req);
	json_decref(j->body);
	json_decref(j->logprobs);
	json_decref(j->tool_calls);
	str_release(&j->text);
	str_release(&j->thinking);
	str_release(&j->out);
	mem_free(j->rendered);
	for (size_t i = 0; i < j->n_vector; i++)
		str_release(&j->vectors[i]);
	mem_free(j->vectors);
	pthread_mutex_destroy(&j->lock);
	api_call_unref(j->call);
	mem_free(j);
}

bool gen_job_wants_stream(const struct api_ctx *ctx, const struct api_call *call, int asked)
{
	if (asked >= 0)
		return asked;
	if (ctx->stream_default != API_STREAM_AUTO)
		return ctx->stream_default == API_STREAM_ON;
	const char *accept = api_header(call, "Accept");
	return accept && strcasestr(accept, "application/x-ndjson");
}

/* ---- answering ---- */

static void reply(struct gen_job *j, const char *type, const struct str *body)
{
	struct api_header h = {"Content-Type", type};
	j->call->ops->reply(j->call, 200, &h, 1, str_cstr(body), body->len);
}

/* Sends what the printers left in j->out; parks the sequence of a client that does not read. */
static void flush(struct gen_job *j)
{
	if (!j->out.len)
		return;
	if (!j->began) {
		struct api_header h = {"Content-Type", j->dialect->stream_type};
		j->began = true;
		j->call->ops->stream_begin(j->call, 200, &h, 1);
	}
	size_t pending = j->call->ops->stream_write(j->call, j->out.data, j->out.len);
	str_clear(&j->out);
	if (pending <= PENDING_MAX_BYTES)
		return;
	pthread_mutex_lock(&j->lock);
	bool park = !j->parked && !j->gone && !j->finished;
	uint64_t id = j->id;
	j->parked |= park;
	pthread_mutex_unlock(&j->lock);
	if (park && id)
		sched_park(j->call->ctx->sched, id, true);
}

static void fail(struct gen_job *j, const struct err *err)
{
	log_info("request failed req=%s model=\"%s\" error=%s: %s", j->req.req_id, j->model, err_name(err->code), err->msg);
	if (!j->began) {
		j->dialect->fail(j->call, err);
		return;
	}
	str_clear(&j->out);
	j->dialect->late_error(j, err->msg, &j->out);
	flush(j);
	j->call->ops->stream_end(j->call);
}

/* ---- events ---- */

static void random_id(char *out, size_t n)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789";
	unsigned char raw[32];
	gnutls_rnd(GNUTLS_RND_NONCE, raw, n);
	for (size_t i = 0; i < n; i++)
		out[i] = letters[raw[i] % 36];
	out[n] = '\0';
}

static void on_text(struct gen_job *j, const struct gen_event *ev)
{
	bool text = ev->text && *ev->text, thinking = ev->thinking && *ev->thinking;
	if (!text && !thinking && !json_array_size(ev->logprobs))
		return;
	if (j->stream) {
		j->dialect->text(j, ev, &j->out);
		j->sent_any = true;
		flush(j);
		return;
	}
	if (j->text.len + j->thinking.len > COLLECT_MAX_BYTES)
		return;
	if (text)
		str_adds(&j->text, ev->text);
	if (thinking)
		str_adds(&j->thinking, ev->thinking);
	if (json_array_size(ev->logprobs)) {
		if (!j->logprobs)
			j->logprobs = json_array();
		json_array_extend(j->logprobs, ev->logprobs);
	}
}

static void on_tool_call(struct gen_job *j, const struct gen_event *ev)
{
	char id[16] = "call_";
	const json_t *args = json_get(ev->tool_call, "arguments");
	random_id(id + 5, 8);
	if (!j->tool_calls)
		j->tool_calls = json_array();
	json_t *call = json_pack("{s:s,s:{s:I,s:s,s:o}}", "id", id, "function", "index", (json_int_t)json_array_size(j->tool_calls),
				 "name", api_json_text(ev->tool_call, "name"), "arguments",
				 json_is_object(args) ? json_incref((json_t *)args) : json_object());
	json_array_append_new(j->tool_calls, call);
	if (!j->stream)
		return;
	j->dialect->tool_call(j, call, &j->out);
	j->sent_any = j->sent_calls = true;
	flush(j);
}

static void on_embedding(struct gen_job *j, const struct gen_event *ev)
{
	size_t n = json_array_size(j->req.inputs);
	if (!j->vectors) {
		j->vectors = mem_calloc(n ? n : 1, sizeof *j->vectors);
		j->n_vector = n;
	}
	if (ev->i_input < 0 || (size_t)ev->i_input >= n || ev->n_values > VECTOR_MAX)
		return;
	str_clear(&j->vectors[ev->i_input]);
	j->dialect->vector(j, ev->values, ev->n_values, &j->vectors[ev->i_input]);
	j->n_input_tok += ev->n_input_tok;
}

/* Whether each input of an embedding request got its vector. */
static bool vectors_complete(const struct gen_job *j)
{
	if (j->load_only || j->req.kind != GEN_EMBED)
		return true;
	for (size_t i = 0; i < j->n_vector; i++)
		if (!j->vectors[i].len)
			return false;
	return j->n_vector == json_array_size(j->req.inputs);
}

/* What a request took, once in the log: the answers of the dialects do not tell it all. */
static void log_done(const struct gen_job *j, const struct gen_stats *s)
{
	log_info("generated req=%s model=\"%s\" prompt=%lld cached=%lld tokens=%lld drafted=%lld accepted=%lld prefill_ms=%.1f "
		 "decode_ms=%.1f",
		 j->req.req_id, j->model, (long long)s->n_prompt, (long long)s->n_cached, (long long)s->n_generated,
		 (long long)s->n_drafted, (long long)s->n_accepted, (double)s->prefill_ns / 1e6, (double)s->decode_ns / 1e6);
}

static void on_done(struct gen_job *j, const struct gen_event *ev)
{
	str_clear(&j->out);
	if (ev->stats.n_generated)
		log_done(j, &ev->stats);
	if (!vectors_complete(j)) {
		struct err err;
		err_set(&err, ERR_INTERNAL, "the model runner returned fewer vectors than there were inputs");
		fail(j, &err);
		return;
	}
	if (j->stream && !j->load_only && !j->rendered) {
		j->dialect->done(j, ev, &j->out);
		flush(j);
		j->call->ops->stream_end(j->call);
		return;
	}
	j->dialect->whole(j, ev, &j->out);
	reply(j, j->dialect->whole_type, &j->out);
}

static void on_event(void *user, const struct gen_event *ev, int64_t load_ns)
{
	struct gen_job *j = user;
	bool last = ev->kind == EV_DONE || ev->kind == EV_ERROR;
	pthread_mutex_lock(&j->lock);
	bool gone = j->gone;
	j->finished |= last;
	pthread_mutex_unlock(&j->lock);
	if (!gone || last) { /* the last event is answered in any case: http/ swallows what nobody reads */
		j->load_ns = load_ns + j->submit_ns - j->call->t0_ns;
		switch (ev->kind) {
		case EV_TEXT: on_text(j, ev); break;
		case EV_TOOL_CALL: on_tool_call(j, ev); break;
		case EV_EMBEDDING: on_embedding(j, ev); break;
		case EV_RENDERED:
			mem_free(j->rendered);
			j->rendered = mem_strdup(ev->text ? ev->text : "");
			break;
		case EV_DONE: on_done(j, ev); break;
		case EV_ERROR: {
			struct err err;
			err_set(&err, ev->code ? ev->code : ERR_INTERNAL, "%s", ev->text ? ev->text : err_text(ev->code));
			fail(j, &err);
			break;
		}
		}
	}
	if (last)
		gen_job_unref(j);
}

/* ---- the client's side ---- */

/* Takes the request out of the scheduler and drops the hook's reference, unless the last event came first. Not called from
 * a hook. */
static void cancel(struct gen_job *j, uint64_t id)
{
	sched_cancel(j->call->ctx->sched, id);
	pthread_mutex_lock(&j->lock);
	bool drop = !j->finished;
	j->finished = true;
	pthread_mutex_unlock(&j->lock);
	if (drop)
		gen_job_unref(j);
}

static void on_end(void *user, bool gone)
{
	struct gen_job *j = user;
	pthread_mutex_lock(&j->lock);
	j->gone |= gone;
	uint64_t id = gone && !j->finished ? j->id : 0;
	pthread_mutex_unlock(&j->lock);
	if (id) {
		log_info("client has gone req=%s model=\"%s\"", j->req.req_id, j->model);
		cancel(j, id);
	}
	gen_job_unref(j);
}

static void on_low(void *user)
{
	struct gen_job *j = user;
	pthread_mutex_lock(&j->lock);
	bool take_back = j->parked && !j->finished;
	uint64_t id = j->id;
	j->parked = false;
	pthread_mutex_unlock(&j->lock);
	if (take_back && id)
		sched_park(j->call->ctx->sched, id, false);
}

void gen_job_fail(struct gen_job *j, const struct err *err)
{
	if (gen_pull_start(j, err))
		return;
	fail(j, err);
	gen_job_unref(j);
}

void gen_job_start(struct gen_job *j, const struct store_model *m)
{
	struct sched *s = j->call->ctx->sched;
	struct err err;
	uint64_t id = 0;
	struct sched_req req = {.model = m, .gen = j->load_only ? NULL : &j->req,
				.num_ctx = j->req.opts.num_ctx, .num_thread = j->req.opts.num_thread,
				.keep_alive_ns = j->keep_alive_ns, .user = j,
				.on_event = on_event};
	j->submit_ns = clock_now_ns();
	ref(j); /* the watch */
	j->call->ops->watch(j->call, on_end, on_low, j);
	ref(j); /* the hook */
	if (sched_submit(s, &req, &id, &err)) {
		gen_job_unref(j);
		gen_job_fail(j, &err);
		return;
	}
	pthread_mutex_lock(&j->lock);
	bool gone = j->gone && !j->finished, parked = j->parked && !j->finished;
	j->id = id;
	pthread_mutex_unlock(&j->lock);
	if (gone) /* left before the id was known */
		cancel(j, id);
	else if (parked)
		sched_park(s, id, true);
	gen_job_unref(j);
}
