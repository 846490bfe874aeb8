#include "runner/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "runner/probe_int.h"
#include "runner/runner_sandbox.h"

int probe_provide(struct probe *p, enum probe_need need, const json_t *req, struct err *err)
{
	if (need == PROBE_NEEDS_NOTHING)
		return 0;
	if (p->fd < 0)
		return err_set(err, ERR_INVALID, "this operation needs a model: start with --model FILE");
	if (!p->opened) {
		int rc = runner_load_open(&p->load, p->fd, NULL, err);
		if (rc)
			return rc;
		p->opened = true;
	}
	if (need == PROBE_NEEDS_FILE)
		return 0;
	const json_t *v = json_get_nonnull(req, "n_ctx");
	int64_t n_ctx = v ? json_integer_value(v) : PROBE_N_CTX_DEFAULT;
	if (n_ctx < 1)
		return err_set(err, ERR_INVALID, "n_ctx must be a whole number of at least 1");
	if (p->load.engine && p->n_ctx == n_ctx)
		return 0;
	runner_load_stop(&p->load);
	p->n_ctx = n_ctx;
	return runner_load_start(&p->load, n_ctx, 0, NULL, NULL, err);
}

static int run(struct probe *p, const json_t *req, struct jsonw *w, struct err *err)
{
	const char *name = json_string_value(json_get(req, "op"));
	const struct probe_op *op = name ? probe_op_find(name) : NULL;
	if (!op) {
		struct str names = {0};
		probe_op_names(&names);
		err_set(err, ERR_INVALID, "op must be one of: %s", str_cstr(&names));
		str_release(&names);
		return ERR_INVALID;
	}
	int rc = probe_provide(p, op->need, req, err);
	return rc ? rc : op->fn(p, req, w, err);
}

static void begin(struct jsonw *w, struct str *out, const json_t *req)
{
	str_clear(out);
	jsonw_init(w, out, JSONW_PLAIN);
	jsonw_obj(w);
	const json_t *id = json_get(req, "id");
	if (id) {
		jsonw_key(w, "id");
		jsonw_value(w, id);
	}
}

/* One answer line, without its newline. */
static void answer(struct probe *p, const char *line, size_t n, struct str *out)
{
	struct jsonw w;
	struct err err = {0};
	json_t *req = NULL;
	int rc = n > PROBE_LINE_MAX ? err_set(&err, ERR_LIMIT, "a request line of %zu bytes is too long", n)
				    : json_parse_all(line, n, &req, &err);
	begin(&w, out, req);
	if (!rc)
		rc = run(p, req, &w, &err);
	if (rc) {
		begin(&w, out, req);
		jsonw_kstr(&w, "error", err.msg);
	}
	jsonw_obj_end(&w);
	json_decref(req);
}

static int serve(struct probe *p)
{
	char *line = NULL;
	size_t cap = 0;
	struct str out = {0};
	ssize_t n;
	bool ok = true;
	while (ok && (n = getline(&line, &cap, stdin)) >= 0) {
		answer(p, line, (size_t)n, &out);
		str_addc(&out, '\n');
		ok = fwrite(out.data, 1, out.len, stdout) == out.len && !fflush(stdout);
	}
	free(line);
	str_release(&out);
	return ok ? 0 : 1;
}

int probe_main(int argc, char **argv)
{
	struct probe p = {.fd = -1};
	struct err err;
	if (argc != 1 && !(argc == 3 && !strcmp(argv[1], "--model"))) {
		fprintf(stderr, "usage: cria probe [--model FILE]\n");
		return 2;
	}
	if (argc == 3 && (p.fd = open(argv[2], O_RDONLY | O_CLOEXEC)) < 0) {
		fprintf(stderr, "cria probe: %s cannot be opened: %s\n", argv[2], strerror(errno));
		return 1;
	}
	if (runner_load_compute(&p.load, getenv("CRIA_KERNELS"), getenv("CRIA_CPU"), getenv("CRIA_KV_CACHE_TYPE"), 0, &err)) {
		fprintf(stderr, "cria probe: %s\n", err.msg);
		return 2;
	}
	log_set_level(LOG_WARN);
	tzset();
	runner_sandbox_files();
	runner_sandbox_calls();
	int status = serve(&p);
	runner_load_close(&p.load);
	if (p.fd >= 0)
		close(p.fd);
	return status;
}
