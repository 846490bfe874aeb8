#include "api/ollama/progress.h"

#include <string.h>

#include "api/ollama/ollama_print.h"
#include "base/json.h"

void progress_line(const char *status, const char *digest, int64_t total, int64_t completed, struct str *out)
{
	struct jsonw w;
	jsonw_init(&w, out, JSONW_GO);
	jsonw_obj(&w);
	ollama_status(&w, status, digest, total, completed);
	jsonw_obj_end(&w);
	str_addc(out, '\n');
}

static void error_object(const char *msg, struct str *out)
{
	struct jsonw w;
	jsonw_init(&w, out, JSONW_GO);
	jsonw_obj(&w);
	jsonw_kstr(&w, "error", msg);
	jsonw_obj_end(&w);
}

static void begin(struct progress *p)
{
	struct api_header h = {"Content-Type", OLLAMA_NDJSON};
	if (!p->began)
		p->call->ops->stream_begin(p->call, 200, &h, 1);
	p->began = true;
}

void progress_report(void *user, const char *status, const char *digest, int64_t total, int64_t completed)
{
	struct progress *p = user;
	struct str out = {0};
	if (!p->stream)
		return;
	begin(p);
	progress_line(status, digest, total, completed, &out);
	api_job_write(p->job, out.data, out.len);
	str_release(&out);
}

bool progress_canceled(void *user)
{
	struct progress *p = user;
	return api_job_gone(p->job);
}

void progress_finish(struct progress *p, int rc, const struct err *err)
{
	struct str out = {0};
	if (rc)
		error_object(err->msg, &out);
	if (p->stream) {
		begin(p);
		if (rc) {
			str_addc(&out, '\n');
			api_job_write(p->job, out.data, out.len);
		}
		p->call->ops->stream_end(p->call);
	} else {
		api_reply_text(p->call, rc ? 500 : 200, "application/json", rc ? out.data : "{\"status\":\"success\"}");
	}
	str_release(&out);
}
