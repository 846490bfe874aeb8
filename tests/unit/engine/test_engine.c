/* What the engine promises: one answer whatever else runs, ends in every state, memory that runs out and comes back. */
#include <unistd.h>

#include "rig.h"

enum { N_SEQ = 32, N_NEW = 20 };

static const char *const models[] = {"llama", "mixtral", "gemma3", "qwen2"};

static const char *model_path(const char *name)
{
	static char path[256];
	snprintf(path, sizeof path, GOLDEN "arch/%s.gguf", name);
	return path;
}

/* Prompt i: 1 to 100 ids. */
static size_t prompt(int i, int n_vocab, int *ids)
{
	size_t n = (size_t)(i * 37 % 100) + 1;
	for (size_t j = 0; j < n; j++)
		ids[j] = (int)((j * 7919 + (size_t)i * 104729 + 3) % (size_t)n_vocab);
	return n;
}

static void submit(struct rig *rig, struct run *r, int i, uint64_t *ret_id)
{
	int ids[128];
	struct err err;
	size_t n = prompt(i, model_n_vocab(rig->m), ids);
	struct seq_cfg c = run_greedy_cfg(r, rig, ids, n, N_NEW);
	r->keep_all = true;
	int rc = engine_submit(rig->e, &c, ret_id, &err);
	ck_assert_msg(rc == 0, "%s", err.msg);
}

/* Each prompt by itself: the answers that the rest is held to. */
static void run_alone(const char *name, const struct rig_cfg *cfg, struct run *r)
{
	for (int i = 0; i < N_SEQ; i++) {
		struct rig rig;
		uint64_t id;
		rig_open(&rig, model_path(name), cfg);
		submit(&rig, &r[i], i, &id);
		run_wait(&r[i]);
		rig_close(&rig);
	}
}

static void check_same(const struct run *a, const struct run *b, const char *what)
{
	ck_assert_int_eq(a->end, SEQ_END_LENGTH);
	ck_assert_int_eq(a->n, N_NEW);
	ck_assert_msg(!memcmp(a->ids, b->ids, N_NEW * sizeof *a->ids), "%s: other tokens", what);
	size_t n = (size_t)N_NEW * (size_t)a->n_vocab * sizeof(float);
	ck_assert_msg(!memcmp(a->all, b->all, n), "%s: other logits", what);
}

/* All at once, twice: cold, and from the pages that the first time left. Returns how many tokens were taken from these. */
static int64_t run_together(const char *name, const struct rig_cfg *cfg, int n_seq, const struct run *want, const char *what)
{
	static struct run r[N_SEQ];
	struct rig rig;
	uint64_t id;
	struct engine_stats st;
	rig_open(&rig, model_path(name), cfg);
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < n_seq; i++)
			submit(&rig, &r[i], i, &id);
		for (int i = 0; i < n_seq; i++)
			run_wait(&r[i]);
		for (int i = 0; i < n_seq; i++) {
			check_same(&r[i], &want[i], what);
			run_release(&r[i]);
		}
	}
	engine_stats(rig.e, &st);
	ck_assert_int_gt(st.n_step, 0);
	rig_close(&rig);
	return st.n_tok_reused;
}

static void check_invariance(const char *name, const char *kernels)
{
	static struct run want[N_SEQ];
	static const struct {
		int n_thread, n_step_tok, n_seq;
		const char *what;
	} ways[] = {{2, 512, N_SEQ, "512 tokens a step"}, {1, 64, N_SEQ, "64 tokens a step, one thread"},
		    {2, 7, 8, "7 tokens a step"}, {3, 1, 4, "one token a step, three threads"},
		    {4, 33, 16, "33 tokens a step, four threads"}};
	if (!rig_have(model_path(name)))
		return;
	struct rig rig;
	rig_open(&rig, model_path(name), &(struct rig_cfg){.kernels = kernels, .n_ctx = 160});
	size_t bytes = engine_kv_bytes_per_tok(rig.e) * 160;
	rig_close(&rig);
	run_alone(name, &(struct rig_cfg){.kernels = kernels, .n_ctx = 160}, want);
	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		struct rig_cfg cfg = {.kernels = kernels, .n_thread = ways[i].n_thread, .n_ctx = 160,
				      .n_step_tok = ways[i].n_step_tok, .kv_bytes = bytes * (size_t)ways[i].n_seq};
		ck_assert_int_gt(run_together(name, &cfg, ways[i].n_seq, want, ways[i].what), 0);
	}
	/* Memory for about three of them: the others wait, or lose their pages and compute them again. */
	run_together(name, &(struct rig_cfg){.kernels = kernels, .n_ctx = 160, .n_step_tok = 64, .kv_bytes = bytes * 5 / 2}, 16, want,
		     "little memory");
	for (int i = 0; i < N_SEQ; i++)
		run_release(&want[i]);
}

START_TEST(test_invariance_ref)
{
	check_invariance(models[_i], "ref");
}
END_TEST

START_TEST(test_invariance_fast)
{
	check_invariance(models[_i], "fast");
}
END_TEST

/* Contexts of several attention tiles, in every KV type: alone the threads share the tiles of one sequence, with others they
 * do not; and a chunk of a prompt sees what a single token sees. */
static void check_long(const char *name, const char *kernels, const char *kv_type)
{
	static struct run want, got[3];
	static const struct rig_cfg ways[] = {{.n_thread = 1, .n_step_tok = 512}, {.n_thread = 4, .n_step_tok = 512},
					      {.n_thread = 2, .n_step_tok = 33}};
	enum { N_PROMPT = 1400 };
	int ids[N_PROMPT];
	if (!rig_have(model_path(name)))
		return;
	for (size_t i = 0; i < ARRAY_LEN(ways) * 2; i++) {
		struct rig_cfg cfg = ways[i / 2];
		struct rig rig;
		uint64_t id;
		struct err err;
		cfg.kernels = kernels;
		cfg.kv_type = kv_type;
		cfg.n_ctx = N_PROMPT + N_NEW + 1;
		cfg.kv_bytes = 64 << 20;
		rig_open(&rig, model_path(name), &cfg);
		int n_seq = i % 2 ? ARRAY_LEN(got) : 1;
		for (int j = 0; j < n_seq; j++) {
			for (int k = 0; k < N_PROMPT; k++) /* the first is the same each time */
				ids[k] = (k * 7919 + j * 31 + 5) % model_n_vocab(rig.m);
			struct seq_cfg c = run_greedy_cfg(&got[j], &rig, ids, (size_t)(N_PROMPT - j * 300), N_NEW);
			got[j].keep_all = true;
			ck_assert_int_eq(engine_submit(rig.e, &c, &id, &err), 0);
		}
		for (int j = 0; j < n_seq; j++)
			run_wait(&got[j]);
		if (i)
			check_same(&got[0], &want, kv_type);
		else
			want = got[0];
		for (int j = !i; j < n_seq; j++)
			run_release(&got[j]);
		rig_close(&rig);
	}
	run_release(&want);
}

START_TEST(test_long)
{
	static const char *const types[] = {"f16", "bf16", "q8_0"};
	check_long(models[_i], "fast", types[_i % 3]);
	check_long(models[_i], "fast", types[(_i + 1) % 3]);
}
END_TEST

/* ---- ends ---- */

static void open_llama(struct rig *rig, struct rig_cfg cfg)
{
	cfg.n_ctx = cfg.n_ctx ? cfg.n_ctx : 256;
	rig_open(rig, model_path("llama"), &cfg);
}

/* Nobody runs, and no page is held but those that are kept. */
static void wait_idle(struct rig *rig)
{
	struct engine_stats st;
	for (int i = 0; i < 20000; i++) {
		engine_stats(rig->e, &st);
		if (!st.n_active && !st.n_queued && st.kv_used_bytes == st.kv_kept_bytes && !st.step_started_ns)
			return;
		usleep(100);
	}
	ck_abort_msg("the engine does not become idle: %d active, %d queued, %zu bytes", st.n_active, st.n_queued,
		     st.kv_used_bytes);
}

/* A first sequence whose hook waits for `go`, so that the engine stands still in a known state. */
struct gate {
	struct run run;
	atomic_bool reached, go;
	struct engine *e;
	uint64_t cancel_id;
};

static bool gate_on_token(void *user, const struct seq_token *tok)
{
	struct gate *g = user;
	(void)tok;
	atomic_store(&g->reached, true);
	while (!atomic_load(&g->go))
		usleep(50);
	g->run.n++;
	return true;
}

static void gate_on_end(void *user, enum seq_end end, const struct seq_stats *stats, const struct err *err)
{
	run_on_end(&((struct gate *)user)->run, end, stats, err);
}

static uint64_t gate_open(struct gate *g, struct rig *rig, size_t n_prompt, int n_predict)
{
	int ids[256] = {1};
	struct err err;
	uint64_t id;
	struct seq_cfg c = run_greedy_cfg(&g->run, rig, ids, n_prompt, n_predict);
	atomic_store(&g->reached, false);
	atomic_store(&g->go, false);
	c.user = g;
	c.on_token = gate_on_token;
	c.on_end = gate_on_end;
	ck_assert_int_eq(engine_submit(rig->e, &c, &id, &err), 0);
	while (!atomic_load(&g->reached))
		usleep(50);
	return id;
}

START_TEST(test_cancel)
{
	static struct gate g;
	static struct run queued, prefill;
	struct rig rig;
	uint64_t id, id2;
	struct err err;
	int ids[256];
	if (!rig_have(model_path("llama")))
		return;
	open_llama(&rig, (struct rig_cfg){.n_step_tok = 4});
	uint64_t id_gate = gate_open(&g, &rig, 3, 200);
	/* While the hook holds the engine, one is canceled before the engine saw it, */
	struct seq_cfg c = run_greedy_cfg(&queued, &rig, (int[]){1, 2, 3}, 3, 5);
	ck_assert_int_eq(engine_submit(rig.e, &c, &id, &err), 0);
	engine_cancel(rig.e, id);
	/* one is left to be canceled amid its prompt of 250 tokens, */
	for (int i = 0; i < 250; i++)
		ids[i] = i;
	c = run_greedy_cfg(&prefill, &rig, ids, 250, 5);
	ck_assert_int_eq(engine_submit(rig.e, &c, &id2, &err), 0);
	atomic_store(&g.go, true);
	run_wait(&queued);
	engine_cancel(rig.e, id2);
	run_wait(&prefill);
	/* and the first one while it generates. */
	engine_cancel(rig.e, id_gate);
	run_wait(&g.run);
	ck_assert_int_eq(queued.end, SEQ_END_CANCELED);
	ck_assert_int_eq(queued.n, 0);
	ck_assert(prefill.end == SEQ_END_CANCELED || prefill.n == 5);
	ck_assert_int_eq(g.run.end, SEQ_END_CANCELED);
	engine_cancel(rig.e, id_gate); /* unknown by now: nothing happens */
	wait_idle(&rig);
	rig_close(&rig);
}
END_TEST

START_TEST(test_park)
{
	static struct gate g;
	static struct run other;
	struct rig rig;
	if (!rig_have(model_path("llama")))
		return;
	open_llama(&rig, (struct rig_cfg){0});
	uint64_t id = gate_open(&g, &rig, 3, 50);
	engine_park(rig.e, id, true);
	atomic_store(&g.go, true);
	run_greedy(&other, &rig, (int[]){5, 6}, 2, 40);
	run_release(&other);
	usleep(20000);
	int n = __atomic_load_n(&g.run.n, __ATOMIC_RELAXED);
	ck_assert_int_le(n, 2);
	engine_park(rig.e, id, false);
	run_wait(&g.run);
	ck_assert_int_eq(g.run.end, SEQ_END_LENGTH);
	ck_assert_int_eq(g.run.n, 50);
	rig_close(&rig);
}
END_TEST

/* Freeing the engine ends what runs, waits and is parked. */
START_TEST(test_free)
{
	static struct run r[3];
	struct rig rig;
	uint64_t id;
	if (!rig_have(model_path("llama")))
		return;
	open_llama(&rig, (struct rig_cfg){0});
	for (int i = 0; i < 3; i++)
		submit(&rig, &r[i], i, &id);
	engine_park(rig.e, id, true);
	rig_close(&rig);
	for (int i = 0; i < 3; i++) {
		ck_assert(r[i].ended);
		ck_assert(r[i].end == SEQ_END_CANCELED || r[i].end == SEQ_END_LENGTH);
		run_release(&r[i]);
	}
}
END_TEST

static bool stop_at_3(void *user, const struct seq_token *tok)
{
	run_on_token(user, tok);
	return tok->pos < 2;
}

static bool eog_is_stop(const void *user, int id)
{
	return id == *(const int *)user;
}

START_TEST(test_ends)
{
	static struct run r;
	struct rig rig;
	struct err err;
	enum seq_end end;
	struct seq_stats st;
	int ids[16] = {9, 8, 7};
	if (!rig_have(model_path("llama")))
		return;
	open_llama(&rig, (struct rig_cfg){.n_ctx = 16});
	struct seq_cfg c = run_greedy_cfg(&r, &rig, ids, 3, -1);
	ck_assert_int_eq(engine_sync_run(rig.e, &c, &end, &st, &err), 0);
	ck_assert_int_eq(end, SEQ_END_LENGTH); /* the context is full */
	ck_assert_int_eq(r.n, 13);
	ck_assert_int_eq(st.n_generated, 13);
	ck_assert_int_eq(st.n_prompt, 3);
	ck_assert(st.prefill_ns > 0 && st.decode_ns > 0);
	int third = r.ids[2];
	run_release(&r);

	c = run_greedy_cfg(&r, &rig, ids, 3, 10);
	c.on_token = stop_at_3;
	ck_assert_int_eq(engine_sync_run(rig.e, &c, &end, NULL, &err), 0);
	ck_assert_int_eq(end, SEQ_END_HOOK);
	ck_assert_int_eq(r.n, 3);
	run_release(&r);

	c = run_greedy_cfg(&r, &rig, ids, 16, -1); /* the prompt fills the context */
	ck_assert_int_eq(engine_sync_run(rig.e, &c, &end, NULL, &err), 0);
	ck_assert_int_eq(end, SEQ_END_LENGTH);
	ck_assert_int_eq(r.n, 0);
	run_release(&r);

	c = run_greedy_cfg(&r, &rig, ids, 3, 10);
	c.n_ctx = 5;
	ck_assert_int_eq(engine_sync_run(rig.e, &c, &end, NULL, &err), 0);
	ck_assert_int_eq(r.n, 2);
	run_release(&r);

	struct engine *e;
	struct engine_cfg ec = {.pool = rig.pool, .is_eog = eog_is_stop, .eog_user = &third};
	engine_free(rig.e);
	rig.e = NULL;
	ck_assert_int_eq(engine_new(rig.m, &ec, &e, &err), 0);
	rig.e = e;
	c = run_greedy_cfg(&r, &rig, ids, 3, 10);
	ck_assert_int_eq(engine_sync_run(e, &c, &end, &st, &err), 0);
	ck_assert_int_eq(end, SEQ_END_STOP);
	ck_assert_int_eq(r.ids[r.n - 1], third);
	ck_assert_int_le(r.n, 3);
	run_release(&r);
	c = run_greedy_cfg(&r, &rig, ids, 3, 10);
	c.ignore_eog = true;
	ck_assert_int_eq(engine_sync_run(e, &c, &end, &st, &err), 0);
	ck_assert_int_eq(r.n, 10);
	run_release(&r);
	rig_close(&rig);
}
END_TEST

START_TEST(test_refused)
{
	struct rig rig;
	struct err err;
	uint64_t id;
	int ids[64] = {0};
	struct seq_cfg c = {.ids = ids};
	if (!rig_have(model_path("llama")))
		return;
	open_llama(&rig, (struct rig_cfg){.n_ctx = 32});
	ck_assert_int_eq(engine_submit(rig.e, &c, &id, &err), ERR_INVALID);
	c.n_ids = 33;
	ck_assert_int_eq(engine_submit(rig.e, &c, &id, &err), ERR_TOO_LONG);
	c.n_ids = 3;
	c.n_ctx = 2;
	ck_assert_int_eq(engine_submit(rig.e, &c, &id, &err), ERR_TOO_LONG);
	c.n_ctx = 0;
	ids[1] = -1;
	ck_assert_int_eq(engine_submit(rig.e, &c, &id, &err), ERR_INVALID);
	ids[1] = model_n_vocab(rig.m);
	ck_assert_int_eq(engine_submit(rig.e, &c, &id, &err), ERR_INVALID);
	rig_close(&rig);
}
END_TEST

/* One that needs more memory than there is ends with an error; the others do not notice. */
START_TEST(test_no_room)
{
	static struct run big, small;
	struct rig rig;
	struct err err;
	uint64_t id;
	int ids[200] = {0};
	if (!rig_have(model_path("llama")))
		return;
	open_llama(&rig, (struct rig_cfg){0});
	size_t per_tok = engine_kv_bytes_per_tok(rig.e);
	rig_close(&rig);
	open_llama(&rig, (struct rig_cfg){.kv_bytes = per_tok * 128});
	struct seq_cfg c = run_greedy_cfg(&big, &rig, ids, 200, 5);
	ck_assert_int_eq(engine_submit(rig.e, &c, &id, &err), 0);
	c = run_greedy_cfg(&small, &rig, ids, 20, 5);
	ck_assert_int_eq(engine_submit(rig.e, &c, &id, &err), 0);
	run_wait(&big);
	run_wait(&small);
	ck_assert_int_eq(big.end, SEQ_END_ERROR);
	ck_assert_int_eq(big.err.code, ERR_LIMIT);
	ck_assert_int_eq(small.end, SEQ_END_LENGTH);
	ck_assert_int_eq(small.n, 5);
	wait_idle(&rig);
	run_release(&small);
	rig_close(&rig);
}
END_TEST

/* ---- logits of the prompt, vectors ---- */

struct prompt_rows {
	int64_t next;
	double nll;
	const int *ids;
	size_t n_ids;
	float last[512];
};

static void on_prompt_logits(void *user, int64_t pos, const float *logits, int n_vocab)
{
	struct prompt_rows *p = user;
	ck_assert_int_eq(pos, p->next++);
	double sum = 0;
	for (int i = 0; i < n_vocab; i++)
		sum += exp(logits[i]);
	if ((size_t)pos + 1 < p->n_ids)
		p->nll += log(sum) - logits[p->ids[pos + 1]];
	memcpy(p->last, logits, (size_t)n_vocab * sizeof *logits);
}

START_TEST(test_prompt_logits)
{
	struct rig rig;
	struct err err;
	enum seq_end end;
	static struct run r;
	int ids[100];
	double nll = 0;
	if (!rig_have(model_path("llama")))
		return;
	for (int i = 0; i < 100; i++)
		ids[i] = i * 3 % 288;
	/* More rows than the head takes at once, and budgets that cut them. */
	for (int budget = 512; budget; budget = budget == 512 ? 33 : budget == 33 ? 5 : 0) {
		struct prompt_rows p = {.ids = ids, .n_ids = 100};
		open_llama(&rig, (struct rig_cfg){.n_step_tok = budget});
		struct seq_cfg c = {.ids = ids, .n_ids = 100, .user = &p, .on_prompt_logits = on_prompt_logits};
		ck_assert_int_eq(engine_sync_run(rig.e, &c, &end, NULL, &err), 0);
		ck_assert_int_eq(end, SEQ_END_LENGTH);
		ck_assert_int_eq(p.next, 100);
		ck_assert(nll == 0 || nll == p.nll);
		nll = p.nll;
		run_greedy(&r, &rig, ids, 100, 1);
		ck_assert(!memcmp(r.first, p.last, (size_t)r.n_vocab * sizeof(float)));
		run_release(&r);
		rig_close(&rig);
	}
}
END_TEST

static void on_embedding(void *user, const float *rows, int64_t n_tok, int n_embd)
{
	float **copy = user;
	size_t n = (size_t)n_tok * (size_t)n_embd * sizeof *rows;
	*copy = memcpy(mem_alloc(n), rows, n);
}

/* Vectors do not depend on the company either; a generating model gives them too. */
START_TEST(test_embed)
{
	static const char *const names[] = {"bert", "llama"};
	for (size_t m = 0; m < ARRAY_LEN(names); m++) {
		struct rig rig;
		struct err err;
		float *alone = NULL, *many[8] = {0};
		uint64_t id;
		static struct run r[8];
		int ids[90];
		if (!rig_have(model_path(names[m])))
			return;
		for (int i = 0; i < 90; i++)
			ids[i] = i + 1;
		rig_open(&rig, model_path(names[m]), &(struct rig_cfg){.n_ctx = 128, .n_step_tok = 64});
		struct seq_cfg c = {.ids = ids, .n_ids = 90, .embed = true, .user = &alone, .on_embedding = on_embedding};
		ck_assert_int_eq(engine_sync_run(rig.e, &c, NULL, NULL, &err), 0);
		for (int i = 0; i < 8; i++) {
			struct seq_cfg other = c;
			other.user = &many[i];
			ck_assert_int_eq(engine_submit(rig.e, &other, &id, &err), 0);
		}
		c = run_greedy_cfg(&r[0], &rig, ids, 20, 3);
		c.embed = !strcmp(names[m], "bert");
		ck_assert_int_eq(engine_sync_run(rig.e, &c, NULL, NULL, &err), 0);
		for (int i = 0; i < 8; i++)
			while (!__atomic_load_n(&many[i], __ATOMIC_ACQUIRE))
				usleep(100);
		for (int i = 0; i < 8; i++) {
			ck_assert(!memcmp(alone, many[i], 90 * (size_t)model_n_embd(rig.m) * sizeof(float)));
			mem_free(many[i]);
		}
		c = (struct seq_cfg){.ids = ids, .n_ids = 3, .n_predict = 3};
		if (!strcmp(names[m], "bert"))
			ck_assert_int_eq(engine_submit(rig.e, &c, &id, &err), ERR_INVALID);
		mem_free(alone);
		run_release(&r[0]);
		rig_close(&rig);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("engine");
	TCase *t = tcase_create("engine");
	tcase_set_timeout(t, 300);
	tcase_add_loop_test(t, test_invariance_ref, 0, ARRAY_LEN(models));
	tcase_add_loop_test(t, test_invariance_fast, 0, ARRAY_LEN(models));
	tcase_add_loop_test(t, test_long, 0, ARRAY_LEN(models));
	tcase_add_test(t, test_cancel);
	tcase_add_test(t, test_park);
	tcase_add_test(t, test_free);
	tcase_add_test(t, test_ends);
	tcase_add_test(t, test_refused);
	tcase_add_test(t, test_no_room);
	tcase_add_test(t, test_prompt_logits);
	tcase_add_test(t, test_embed);
	suite_add_tcase(s, t);
	return rig_main(s);
}
