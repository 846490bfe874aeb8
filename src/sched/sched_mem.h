/* sched_mem: how much memory there is, and what a model needs of it. Estimates come from the facts of the model file, before
 * anything is loaded; they decide whether a model may start and how long its context may become.
 *
 * Weights are mapped files: the kernel counts their pages as available although a loaded model wants to keep them, so
 * whoever adds up memory subtracts sched_mem_mapped of every runner. KV pages are committed as they fill: a budget is an
 * upper bound, not a reservation. All functions are pure or read /proc; any thread. */
#ifndef CRIA_SCHED_MEM_H
#define CRIA_SCHED_MEM_H

#include <jansson.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

enum {
	SCHED_MEM_N_CTX_AUTO = 32768,  /* longest context that is given without being asked for */
	SCHED_MEM_N_CTX_LEAST = 2048,  /* a model that cannot have this much does not fit */
	SCHED_MEM_N_CTX_WANT = 8192    /* other models are unloaded to reach this much */
};

struct sched_mem_model {
	int64_t weights_bytes;
	int64_t n_ctx_train;
	int64_t kv_bytes_per_tok;
};

struct sched_mem_plan {
	int64_t n_ctx_max, n_ctx_default; /* longest sequence, and the length when a request names none */
	int64_t kv_bytes;                 /* budget for the runner */
	int64_t want_bytes;               /* weights, buffers, and KV for a usual context */
};

/* facts as `cria inspect` prints them; missing ones are guessed high. kv_type as in struct sched_cfg. */
void sched_mem_model(const json_t *facts, int64_t file_bytes, const char *kv_type, struct sched_mem_model *ret);
/* What to make room for, before it is known how much there is, and the least that lets the model run. n_ctx_cfg: configured
 * default context, 0 automatic. */
int64_t sched_mem_want(const struct sched_mem_model *m, int64_t n_ctx_cfg);
int64_t sched_mem_least(const struct sched_mem_model *m);
/* The plan for this much free memory, which is at least sched_mem_least. */
void sched_mem_plan(const struct sched_mem_model *m, int64_t n_ctx_cfg, int64_t avail_bytes, struct sched_mem_plan *ret);

/* Free memory: the least of MemAvailable and what every control group above this process leaves. root is put in front of
 * /proc and /sys (tests); "" for the machine. INT64_MAX when nothing can be read. */
int64_t sched_mem_available(const char *root);
/* Resident pages of a process in bytes: its own ones, and those that belong to mapped files. 0 when it is gone. */
void sched_mem_resident(pid_t pid, int64_t *ret_own, int64_t *ret_mapped);

/* "1.5 GiB", "300 MiB" */
enum { SCHED_MEM_TEXT_BYTES = 32 };
void sched_mem_text(int64_t bytes, char out[SCHED_MEM_TEXT_BYTES]);

#endif
