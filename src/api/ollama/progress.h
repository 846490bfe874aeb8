/* progress: the status lines of pull and push, and how such an answer ends. */
#ifndef CRIA_API_OLLAMA_PROGRESS_H
#define CRIA_API_OLLAMA_PROGRESS_H

#include "api/api_job.h"
#include "store/registry.h"

struct progress {
	struct api_call *call;
	struct api_job *job;
	bool stream, began;
};

/* {"status":..., "digest":..., "total":..., "completed":...} and a newline; digest may be NULL; what is 0 is left out. */
void progress_line(const char *status, const char *digest, int64_t total, int64_t completed, struct str *out);
/* A registry_sink's functions; user is the progress. */
void progress_report(void *user, const char *status, const char *digest, int64_t total, int64_t completed);
bool progress_canceled(void *user);
/* The end: an error line or status, or the whole answer when nothing is streamed. "success" has been reported. */
void progress_finish(struct progress *p, int rc, const struct err *err);

#endif
