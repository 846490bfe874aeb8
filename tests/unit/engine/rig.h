/* rig: a model file with an engine around it, and one sequence run to its end, for the tests of this folder. */
#ifndef RIG_H
#define RIG_H

#include <check.h>
#include <fcntl.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bug.h"
#include "base/json.h"
#include "base/mem.h"
#include "engine/engine.h"
#include "engine/engine_sync.h"
#include "kern/kern.h"
#include "kern/pool.h"
#include "model/model.h"

#define GOLDEN "../shared/golden/"

struct rig {
	struct gguf *g;
	struct pool *pool;
	struct model *m;
	struct engine *e;
};

struct rig_cfg {
	const char *kernels; /* "ref" or "fast"; NULL: ref */
	const char *kv_type; /* NULL: the default */
	int n_thread;        /* 0: 2 */
	int64_t n_ctx;
	size_t kv_bytes;
	int n_step_tok;
	bool prefix_off;
	int64_t idle_ns;
};

static inline bool rig_have(const char *path)
{
	if (access(path, R_OK) == 0)
		return true;
	printf("skipped: no file %s\n", path);
	return false;
}

/* 0, or the error of the model or engine. */
static inline int rig_try_open(struct rig *r, const char *path, const struct rig_cfg *c, struct err *err)
{
	const struct kern *k;
	enum kern_kv_type kv_type;
	memset(r, 0, sizeof *r);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ck_assert_msg(fd >= 0, "cannot open %s", path);
	int rc = gguf_open(fd, &r->g, err);
	close(fd);
	if (!rc)
		rc = kern_choose(c->kernels ? c->kernels : "ref", NULL, &k, err);
	if (!rc)
		rc = kern_kv_choose(k, c->kv_type, &kv_type, err);
	if (rc)
		return rc;
	r->pool = pool_new(c->n_thread ? c->n_thread : 2);
	rc = model_new(r->g, k, kv_type, r->pool, c->n_ctx, NULL, NULL, &r->m, err);
	struct engine_cfg ec = {.pool = r->pool, .n_ctx_max = c->n_ctx, .kv_bytes = c->kv_bytes, .n_step_tok = c->n_step_tok,
				.prefix_off = c->prefix_off, .idle_ns = c->idle_ns};
	return rc ? rc : engine_new(r->m, &ec, &r->e, err);
}

static inline void rig_open(struct rig *r, const char *path, const struct rig_cfg *c)
{
	struct err err;
	int rc = rig_try_open(r, path, c, &err);
	ck_assert_msg(rc == 0, "%s: %s", path, err.msg);
}

static inline void rig_close(struct rig *r)
{
	engine_free(r->e);
	model_free(r->m);
	if (r->pool)
		pool_free(r->pool);
	gguf_close(r->g);
}

/* What one sequence gave. */
struct run {
	int ids[4096];
	int n;
	int n_vocab;
	float *first; /* [n_vocab] logits of the first generated position */
	float *all;   /* [n][n_vocab] of every generated position when keep_all */
	bool keep_all;
	enum seq_end end;
	bool ended;
	struct seq_stats stats;
	struct err err;
};

static inline bool run_on_token(void *user, const struct seq_token *tok)
{
	struct run *r = user;
	size_t n = (size_t)r->n_vocab * sizeof(float);
	if (tok->logits && r->n == 0) {
		r->first = mem_alloc(n);
		memcpy(r->first, tok->logits, n);
	}
	if (tok->logits && r->keep_all) {
		r->all = mem_realloc(r->all, n * (size_t)(r->n + 1));
		memcpy(r->all + (size_t)r->n * (size_t)r->n_vocab, tok->logits, n);
	}
	if (r->n < (int)ARRAY_LEN(r->ids))
		r->ids[r->n++] = tok->id;
	return true;
}

static inline void run_on_end(void *user, enum seq_end end, const struct seq_stats *stats, const struct err *err)
{
	struct run *r = user;
	r->end = end;
	r->stats = *stats;
	if (err)
		r->err = *err;
	__atomic_store_n(&r->ended, true, __ATOMIC_RELEASE);
}

static inline void run_wait(struct run *r)
{
	for (int i = 0; !__atomic_load_n(&r->ended, __ATOMIC_ACQUIRE); i++) {
		ck_assert_msg(i < 200000, "a sequence does not end");
		usleep(100);
	}
}

static inline struct seq_cfg run_greedy_cfg(struct run *r, const struct rig *rig, const int *ids, size_t n_ids, int n_predict)
{
	memset(r, 0, sizeof *r);
	r->n_vocab = model_n_vocab(rig->m);
	struct seq_cfg c = {.ids = ids, .n_ids = n_ids, .n_predict = n_predict, .sampler = sampler_cfg_default, .want_logits = true};
	c.sampler.temperature = 0;
	c.user = r;
	c.on_token = run_on_token;
	c.on_end = run_on_end;
	return c;
}

static inline void run_release(struct run *r)
{
	mem_free(r->first);
	mem_free(r->all);
}

/* Greedy continuation of ids by n_predict tokens. */
static inline void run_greedy(struct run *r, const struct rig *rig, const int *ids, size_t n_ids, int n_predict)
{
	struct err err;
	struct seq_cfg c = run_greedy_cfg(r, rig, ids, n_ids, n_predict);
	int rc = engine_sync_run(rig->e, &c, NULL, NULL, &err);
	ck_assert_msg(rc == 0, "%s", err.msg);
	ck_assert_int_eq(r->n, n_predict);
}

static inline json_t *rig_json(const char *path)
{
	json_error_t e;
	json_t *j = json_load_file(path, 0, &e);
	ck_assert_msg(j != NULL, "%s: %s", path, e.text);
	return j;
}

static inline int *rig_ids(const json_t *a, size_t *ret_n)
{
	*ret_n = json_array_size(a);
	int *ids = mem_calloc(*ret_n + 1, sizeof *ids);
	for (size_t i = 0; i < *ret_n; i++)
		ids[i] = (int)json_integer_value(json_array_get(a, i));
	return ids;
}

static inline double rig_num(const json_t *a, size_t i)
{
	return json_number_value(json_array_get(a, i));
}

static inline int rig_main(Suite *s)
{
	SRunner *sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	int n = srunner_ntests_failed(sr);
	srunner_free(sr);
	return n != 0;
}

#endif
