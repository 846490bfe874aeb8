#include "runner/bench.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "runner/bench_int.h"

struct bench {
	struct bench_cfg cfg;
	struct runner_load load;
	struct bench_machine machine;
	struct bench_work work;
	struct jsonw *json;     /* NULL: a table */
};

static void print(struct bench *b, const struct bench_result *r)
{
	if (b->json)
		bench_json_row(b->json, r);
	else
		bench_print_row(r);
}

static void report(struct bench *b, struct bench_result *r)
{
	bench_share(b->load.model, &b->machine, &b->work, r);
	print(b, r);
}

static int measure(struct bench *b, struct err *err)
{
	const struct bench_cfg *cfg = &b->cfg;
	int rc = bench_warm(&b->load, err);
	for (int i = 0; i < cfg->prompts.n && !rc; i++) {
		struct bench_result r = {.what = "prefill", .n_tok = cfg->prompts.v[i]};
		rc = bench_prefill(&b->load, cfg->n_repeat, &r, err);
		if (!rc)
			report(b, &r);
	}
	for (int d = 0; d < cfg->depths.n && !rc; d++)
		for (int i = 0; i < cfg->batches.n && !rc; i++) {
			struct bench_result r = {
				.what = "decode", .n_tok = cfg->n_gen, .n_stream = cfg->batches.v[i], .depth = cfg->depths.v[d]};
			rc = bench_decode(&b->load, cfg->n_repeat, &r, err);
			if (!rc)
				report(b, &r);
		}
	if (rc)
		return rc;
	struct bench_result r = {.what = "copy", .n_tok = cfg->n_gen, .n_stream = 1, .read_share = -1, .mul_share = -1};
	rc = bench_copy(&b->load, cfg->n_repeat, &r, err);
	if (!rc)
		print(b, &r);
	return rc;
}

static int load(struct bench *b, int fd, int n_thread, struct err *err)
{
	int rc = runner_load_open(&b->load, fd, NULL, err);
	if (!rc)
		rc = runner_load_compute(&b->load, getenv("CRIA_KERNELS"), getenv("CRIA_CPU"), b->cfg.kv_type, n_thread, err);
	if (!rc)
		rc = bench_machine(b->load.kern, b->load.pool, &b->machine, err);
	if (!rc)
		rc = runner_load_start(&b->load, bench_n_ctx(&b->cfg), 0, NULL, NULL, err);
	if (!rc && model_is_encoder(b->load.model))
		rc = err_set(err, ERR_UNSUPPORTED, "%s is an embedding model; there is nothing to decode", b->cfg.name);
	return rc ? rc : bench_engine(&b->load, &b->cfg, err);
}

/* Everything once, with this many threads. */
static int run(struct bench *b, int fd, int n_thread, struct err *err)
{
	int rc = load(b, fd, n_thread, err);
	if (!rc) {
		bench_work(&b->load, &b->work);
		if (b->json)
			bench_json_head(b->json, &b->load, &b->machine, &b->work);
		else
			bench_print_head(&b->cfg, &b->load, &b->machine, &b->work);
		rc = measure(b, err);
		if (b->json)
			bench_json_tail(b->json);
		else
			bench_print_note(&b->machine, &b->work);
	}
	runner_load_close(&b->load);
	return rc;
}

static int run_all(struct bench *b, int fd, struct err *err)
{
	struct str out = {0};
	struct jsonw w;
	int rc = 0;
	if (b->cfg.json) {
		jsonw_init(&w, &out, JSONW_PLAIN);
		b->json = &w;
		bench_json_open(&w, &b->cfg);
	}
	for (int i = 0; i < b->cfg.threads.n && !rc; i++)
		rc = run(b, fd, b->cfg.threads.v[i], err);
	if (b->json && !rc) {
		bench_json_close(&w);
		puts(str_cstr(&out));
	}
	str_release(&out);
	return rc;
}

int bench_main(int argc, char **argv, bool (*find)(const char *name, char *ret_path, size_t n))
{
	static char path[4096];
	struct bench b = {0};
	struct err err;
	if (!bench_args(argc, argv, &b.cfg)) {
		bench_usage();
		return 2;
	}
	const char *file = find(b.cfg.name, path, sizeof path) ? path : b.cfg.name;
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		fprintf(stderr, "Error: %s cannot be opened: %s; name a file, or a model of the server that is running\n", file,
			strerror(errno));
		return 1;
	}
	log_set_level(LOG_WARN);
	int rc = run_all(&b, fd, &err);
	close(fd);
	if (rc)
		fprintf(stderr, "Error: %s\n", err.msg);
	return rc ? 1 : 0;
}
