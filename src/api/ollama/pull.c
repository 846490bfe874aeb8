/* POST /api/pull and /api/push: models from and to registries, on a job's thread, reported as status lines. */
#include <string.h>

#include "api/api_decode.h"
#include "api/api_endpoints.h"
#include "api/ollama/progress.h"
#include "base/bug.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

struct transfer_fields {
	const char *model, *name;
	int insecure, stream;
};

static const struct api_field table[] = {
	{"model", API_F_STR, offsetof(struct transfer_fields, model)},
	{"name", API_F_STR, offsetof(struct transfer_fields, name)},
	{"insecure", API_F_BOOL, offsetof(struct transfer_fields, insecure)},
	{"stream", API_F_BOOL, offsetof(struct transfer_fields, stream)},
};

/* What a job needs of its request. */
struct transfer {
	char *text; /* the name as the client wrote it */
	bool push, insecure, stream;
};

static void transfer_free(struct transfer *t)
{
	mem_free(t->text);
	mem_free(t);
}

static void run(struct api_job *job, struct api_call *call, void *user)
{
	struct transfer *t = user;
	struct progress p = {.call = call, .job = job, .stream = t->stream};
	struct registry_sink sink = {.progress = progress_report, .canceled = progress_canceled, .user = &p};
	struct store_name name;
	struct err err;
	int64_t t0 = call->t0_ns;
	BUG_ON(!t->push && !store_name_parse(t->text, &name));
	int rc = t->push ? registry_push(call->ctx->registry, t->text, t->insecure, &sink, &err)
			 : registry_pull(call->ctx->registry, &name, t->insecure, &sink, &err);
	if (rc)
		log_info("%s failed req=%s model=\"%s\" error=%s: %s", t->push ? "push" : "pull", call->id, t->text, err_name(rc), err.msg);
	else
		log_info("%s req=%s model=\"%s\" seconds=%.1f", t->push ? "push" : "pull", call->id, t->text,
			 (double)(clock_now_ns() - t0) / 1e9);
	progress_finish(&p, rc, &err);
	transfer_free(t);
}

/* Reads the request; a job answers it, or this function does when there is nothing to do. */
static void transfer(struct api_call *call, const char *type_name, bool push)
{
	struct transfer_fields f = {"", "", -1, -1};
	struct store_name name;
	struct err err;
	json_t *body;
	int rc = api_body(call, type_name, "missing request body", &body, &err);
	if (!rc)
		rc = api_decode(call, body, type_name, table, ARRAY_LEN(table), &f, &err);
	const char *text = *f.model ? f.model : f.name;
	if (!rc && push && !*text)
		rc = err_set(&err, ERR_INVALID, "model is required");
	if (!rc && !push && !store_name_parse(text, &name))
		rc = err_set(&err, ERR_INVALID, "invalid model name");
	if (!rc) {
		struct transfer *t = mem_zalloc(sizeof *t);
		*t = (struct transfer){.text = mem_strdup(text), .push = push, .insecure = f.insecure == 1, .stream = f.stream != 0};
		rc = api_job_start(call, run, t, &err);
		if (rc)
			transfer_free(t);
	}
	if (rc)
		api_reply_err(call, &err);
	json_decref(body);
}

void api_pull(struct api_ctx *ctx, struct api_call *call)
{
	(void)ctx;
	transfer(call, "PullRequest", false);
}

void api_push(struct api_ctx *ctx, struct api_call *call)
{
	(void)ctx;
	transfer(call, "PushRequest", true);
}
