#include "api/gen_pull.h"

#include <string.h>

#include "api/api_job.h"
#include "base/log.h"
#include "base/mem.h"

enum { CONNECT_S = 5 /* a wrong name should not wait long for its 404 where there is no network */ };

/* One pull on the way to an answer. */
struct gen_pull {
	struct gen_job *gen; /* of the request's first run: it has the dialect */
	struct api_job *job;
	struct store_name name;
	struct err why;      /* what the request fails with when the pull does */
};

/* Once bytes flow the model exists: from then on the client of a stream is told. */
static void report(void *user, const char *status, const char *digest, int64_t total, int64_t completed)
{
	struct gen_pull *p = user;
	struct gen_job *j = p->gen;
	struct api_header h = {"Content-Type", j->dialect->stream_type};
	if (!j->narrate || !j->dialect->status || !digest)
		return;
	str_clear(&j->out);
	j->dialect->status(j, status, digest, total, completed, &j->out);
	if (!j->began)
		j->call->ops->stream_begin(j->call, 200, &h, 1);
	j->began = j->call->streaming = true;
	api_job_write(p->job, j->out.data, j->out.len);
}

static bool canceled(void *user)
{
	struct gen_pull *p = user;
	return api_job_gone(p->job);
}

static void run(struct api_job *job, struct api_call *call, void *user)
{
	struct gen_pull *p = user;
	struct registry_sink sink = {.progress = report, .canceled = canceled, .user = p, .connect_s = CONNECT_S};
	struct err err;
	p->job = job;
	log_info("pulling a model that is not installed req=%s model=\"%s\"", call->id, p->gen->model);
	int rc = registry_pull(call->ctx->registry, &p->name, false, &sink, &err);
	call->pulled = true;
	if (!rc) {
		gen_job_unref(p->gen);
		call->handler(call->ctx, call);
	} else {
		log_info("the pull failed req=%s error=%s: %s", call->id, err_name(rc), err.msg);
		if (rc != ERR_CANCELED)
			registry_note_failure(call->ctx->registry, &p->name, rc == ERR_NOT_FOUND);
		gen_job_fail(p->gen, p->gen->began ? &err : &p->why);
	}
	mem_free(p);
}

bool gen_pull_start(struct gen_job *j, const struct err *why)
{
	struct api_call *call = j->call;
	struct store_name name;
	struct err err;
	if (why->code != ERR_NOT_FOUND || !j->may_pull || !call->handler || call->pulled || !call->ctx->auto_pull ||
	    !store_name_parse(j->model, &name) || store_has(call->ctx->store, &name) ||
	    registry_failed_lately(call->ctx->registry, &name))
		return false;
	struct gen_pull *p = mem_zalloc(sizeof *p);
	*p = (struct gen_pull){.gen = j, .name = name, .why = *why};
	if (!api_job_start(call, run, p, &err))
		return true;
	mem_free(p);
	return false;
}
