/* api_job: work that takes long (registry transfers, sending a model's file), on a thread of its own, so that the workers stay
 * free for short requests. Knows when the client has gone, and waits for clients that read slowly.
 *
 * The job owns a reference to its call until its function has returned; the function answers as any handler does. */
#ifndef CRIA_API_JOB_H
#define CRIA_API_JOB_H

#include "api/api.h"

struct api_job;
/* Runs on the job's thread; user is what was given to api_job_start. */
typedef void api_job_fn(struct api_job *j, struct api_call *call, void *user);

/* Starts fn. ERR_BUSY when too many jobs run already; then nothing was started and the caller answers. */
int api_job_start(struct api_call *call, api_job_fn *fn, void *user, struct err *err);
bool api_job_gone(struct api_job *j);
/* Writes to the stream, and waits while the client is far behind. False when the client has gone. */
bool api_job_write(struct api_job *j, const void *data, size_t n);

#endif
