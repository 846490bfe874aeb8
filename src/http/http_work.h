/* http_work: a bounded pool of threads for endpoint handlers and upload writes: what may block on disk. Threads are started
 * as the queue needs them. Any thread may push. */
#ifndef CRIA_HTTP_WORK_H
#define CRIA_HTTP_WORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_work;

struct http_work *http_work_start(int max_thread, size_t max_queue);
/* False when the queue is full or the pool stops: fn is then not called. */
bool http_work_push(struct http_work *w, void (*fn)(void *arg), void *arg);
/* Work queued or running. */
size_t http_work_busy(struct http_work *w);
/* Runs what is queued, takes nothing new, joins the threads and frees the pool. False when a job still runs after
 * timeout_ns: the pool then stays allocated, and the process should end. */
bool http_work_stop(struct http_work *w, int64_t timeout_ns);

#endif
