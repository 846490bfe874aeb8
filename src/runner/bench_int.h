/* bench_int: what the files of bench share. */
#ifndef CRIA_RUNNER_BENCH_INT_H
#define CRIA_RUNNER_BENCH_INT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/json.h"
#include "runner/runner_load.h"

enum { BENCH_LIST_MAX = 16, BENCH_STREAMS_MAX = 256, BENCH_REPEAT_MAX = 100 };
/* A stream begins behind a prompt of this many tokens when no depth is asked for. */
enum { BENCH_SHORT_TOK = 16 };
/* Copying: a passage of half as many tokens, twice; models mostly go on with it. */
enum { BENCH_COPY_TOK = 256 };

struct bench_list {
	int v[BENCH_LIST_MAX], n;
};

struct bench_cfg {
	const char *name;       /* as given: a file or the name of a model */
	const char *kv_type;    /* NULL: the kernels' default */
	struct bench_list prompts, batches, depths, threads;
	int n_gen, n_repeat;
	bool json;
};

/* Rates of all threads together, in units per second; 0: not known. */
struct bench_machine {
	double read, mul_i8, mul_f32;
	int64_t cache_bytes;    /* of the last level */
};

/* What one token costs. */
struct bench_work {
	double weight_bytes;    /* read for one step, however many tokens it has */
	double i8, f32;         /* products with the weights of the layers, by the kind of arithmetic that the kernels use */
};

struct bench_result {
	const char *what;       /* "prefill", "decode", "copy" */
	int n_tok, n_stream, depth, n_thread;
	int n;                  /* measured values, tokens per second, all streams together */
	double v[BENCH_REPEAT_MAX];
	int64_t n_drafted, n_accepted; /* "copy": as in seq_stats, of all times */
	double read_share, mul_share; /* of the machine's limits, for the mean; negative: not known or no limit here */
};

struct bench_stat {
	double mean, min, max, sd;
};

bool bench_args(int argc, char **argv, struct bench_cfg *ret);
void bench_usage(void);

int bench_machine(const struct kern *k, struct pool *pool, struct bench_machine *ret, struct err *err);

void bench_work(const struct runner_load *l, struct bench_work *ret);
/* Bytes of keys and values that a token at this position reads. */
double bench_kv_bytes(const struct model *m, double pos);

/* Makes l's engine one that can hold what cfg asks for. */
int bench_engine(struct runner_load *l, const struct bench_cfg *cfg, struct err *err);
int64_t bench_n_ctx(const struct bench_cfg *cfg);
int bench_warm(struct runner_load *l, struct err *err);
/* These fill in r->v from the other fields. */
int bench_prefill(struct runner_load *l, int n_repeat, struct bench_result *r, struct err *err);
int bench_decode(struct runner_load *l, int n_repeat, struct bench_result *r, struct err *err);
/* One stream that repeats itself, with speculation. */
int bench_copy(struct runner_load *l, int n_repeat, struct bench_result *r, struct err *err);

void bench_stat(const struct bench_result *r, struct bench_stat *ret);
/* The shares of r's mean. */
void bench_share(const struct model *m, const struct bench_machine *machine, const struct bench_work *work, struct bench_result *r);

void bench_print_head(const struct bench_cfg *cfg, const struct runner_load *l, const struct bench_machine *machine,
		      const struct bench_work *work);
void bench_print_row(const struct bench_result *r);
void bench_print_note(const struct bench_machine *machine, const struct bench_work *work);
/* The same as members of a JSON document: one object per number of threads. */
void bench_json_open(struct jsonw *w, const struct bench_cfg *cfg);
void bench_json_head(struct jsonw *w, const struct runner_load *l, const struct bench_machine *machine, const struct bench_work *work);
void bench_json_row(struct jsonw *w, const struct bench_result *r);
void bench_json_tail(struct jsonw *w);
void bench_json_close(struct jsonw *w);

#endif
