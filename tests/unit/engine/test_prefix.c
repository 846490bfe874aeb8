/* Reuse of kept pages by the engine: what a sequence gives is the same to the bit, whatever was kept. */
#include "rig.h"

enum { N_PROMPT = 100, N_NEW = 20, N_CTX = 512 };

static const char *path_of(const char *name)
{
	static char path[256];
	snprintf(path, sizeof path, GOLDEN "arch/%s.gguf", name);
	return path;
}

static size_t bytes_of(const char *name, size_t n_tok)
{
	struct rig rig;
	rig_open(&rig, path_of(name), &(struct rig_cfg){.n_ctx = 32});
	size_t n = engine_kv_bytes_per_tok(rig.e) * n_tok;
	rig_close(&rig);
	return n;
}

static void text(int which, int n, int *ids)
{
	for (int i = 0; i < n; i++)
		ids[i] = (i * 7919 + which * 104729 + 3) % 251;
}

struct ask {
	const int *ids;
	size_t n;
	int n_new;
	uint64_t domain;
	bool sample;
};

static void ask_start(const struct rig *rig, struct run *r, const struct ask *a, uint64_t *ret_id)
{
	struct err err;
	struct seq_cfg c = run_greedy_cfg(r, rig, a->ids, a->n, a->n_new);
	c.domain = a->domain;
	if (a->sample) {
		c.sampler.temperature = 0.8f;
		c.sampler.seed = 42;
	}
	r->keep_all = true;
	int rc = engine_submit(rig->e, &c, ret_id, &err);
	ck_assert_msg(rc == 0, "%s", err.msg);
}

static void ask(const struct rig *rig, struct run *r, const struct ask *a)
{
	uint64_t id;
	ask_start(rig, r, a, &id);
	run_wait(r);
	ck_assert_int_eq(r->end, SEQ_END_LENGTH);
	ck_assert_int_eq(r->n, a->n_new);
	ck_assert_int_eq(r->stats.n_prompt, (int64_t)a->n);
}

static void check_same(const struct run *a, const struct run *b)
{
	ck_assert_int_eq(a->n, b->n);
	ck_assert(!memcmp(a->ids, b->ids, (size_t)a->n * sizeof *a->ids));
	ck_assert_msg(!memcmp(a->all, b->all, (size_t)a->n * (size_t)a->n_vocab * sizeof(float)), "other logits");
}

/* The answer of an engine that keeps nothing. */
static void ask_cold(const char *name, const struct rig_cfg *cfg, struct run *r, const struct ask *a)
{
	struct rig rig;
	struct rig_cfg c = *cfg;
	struct engine_stats st;
	c.prefix_off = true;
	rig_open(&rig, path_of(name), &c);
	ask(&rig, r, a);
	ck_assert_int_eq(r->stats.n_cached, 0);
	engine_stats(rig.e, &st);
	ck_assert_int_eq(st.n_kept_page, 0);
	rig_close(&rig);
}

/* Asks a warm engine and holds it to the cold answer. */
static void ask_both(const struct rig *rig, const char *name, const struct rig_cfg *cfg, const struct ask *a, int64_t n_cached)
{
	static struct run cold, warm;
	ask_cold(name, cfg, &cold, a);
	ask(rig, &warm, a);
	check_same(&warm, &cold);
	ck_assert_int_eq(warm.stats.n_cached, n_cached);
	run_release(&cold);
	run_release(&warm);
}

static void wait_kept(const struct rig *rig, size_t most)
{
	struct engine_stats st;
	for (int i = 0; i < 50000; i++) {
		engine_stats(rig->e, &st);
		if (!st.n_active && st.kv_used_bytes == st.kv_kept_bytes && st.kv_kept_bytes <= most)
			return;
		usleep(100);
	}
	ck_abort_msg("%zu bytes are used, %zu kept", st.kv_used_bytes, st.kv_kept_bytes);
}

/* ---- one answer ---- */

static const struct {
	const char *model, *kernels;
	int n_step_tok;
	bool sample;
} ways[] = {
	{"llama", "ref", 1, false},   {"llama", "ref", 7, true},    {"llama", "fast", 7, false},  {"llama", "fast", 64, true},
	{"gemma3", "ref", 1, true},   {"gemma3", "ref", 64, false}, {"gemma3", "fast", 7, true},  {"gemma3", "fast", 64, false},
	{"mixtral", "fast", 7, true}, {"qwen2", "fast", 64, true},
};

/* A conversation: the same prompt again, then with the answer and more behind it, then a change far back. */
START_TEST(test_turns)
{
	static struct run first;
	const char *name = ways[_i].model;
	struct rig_cfg cfg = {.kernels = ways[_i].kernels, .n_ctx = N_CTX, .n_step_tok = ways[_i].n_step_tok};
	struct rig rig;
	int ids[N_PROMPT + N_NEW + 90];
	if (!rig_have(path_of(name)))
		return;
	text(1, N_PROMPT, ids);
	struct ask a = {.ids = ids, .n = N_PROMPT, .n_new = N_NEW, .sample = ways[_i].sample};
	cfg.kv_bytes = bytes_of(name, 3000);
	rig_open(&rig, path_of(name), &cfg);
	ask_both(&rig, name, &cfg, &a, 0);
	ask_both(&rig, name, &cfg, &a, 99); /* the last item is computed for its logits */
	ask(&rig, &first, &a);
	memcpy(ids + N_PROMPT, first.ids, sizeof *ids * N_NEW);
	text(2, 90, ids + N_PROMPT + N_NEW);
	a.n = N_PROMPT + N_NEW + 70;
	/* 119 items of the first turn were stored: its last token never went in. */
	ask_both(&rig, name, &cfg, &a, 119);
	ask_both(&rig, name, &cfg, &a, 189);
	a.n += 20; /* page 5 is there, but with an answer where this text goes on */
	ask_both(&rig, name, &cfg, &a, 190);
	ids[40] ^= 1;
	ask_both(&rig, name, &cfg, &a, 40);
	ids[5] ^= 1;
	ask_both(&rig, name, &cfg, &a, 5);
	ids[5] ^= 1;
	ids[40] ^= 1;
	ask_both(&rig, name, &cfg, &a, 209);
	a.n = 97;
	ask_both(&rig, name, &cfg, &a, 96);
	a.n = 96;
	ask_both(&rig, name, &cfg, &a, 95);
	a.n = 1;
	ask_both(&rig, name, &cfg, &a, 0);
	run_release(&first);
	wait_kept(&rig, SIZE_MAX);
	rig_close(&rig);
}
END_TEST

START_TEST(test_domains)
{
	struct rig_cfg cfg = {.n_ctx = N_CTX};
	struct rig rig;
	int ids[N_PROMPT];
	if (!rig_have(path_of("llama")))
		return;
	text(1, N_PROMPT, ids);
	rig_open(&rig, path_of("llama"), &cfg);
	for (int round = 0; round < 2; round++)
		for (uint64_t d = 0; d < 3; d++)
			ask_both(&rig, "llama", &cfg,
				 &(struct ask){.ids = ids, .n = N_PROMPT, .n_new = 3, .domain = d * UINT64_C(0x100000001)},
				 round ? 99 : 0);
	rig_close(&rig);
}
END_TEST

/* Memory for about one and a half of ten prompts that share a beginning, asked over and over. */
START_TEST(test_little_memory)
{
	static struct run cold[10], warm;
	const char *name = _i ? "gemma3" : "llama";
	struct rig_cfg cfg = {.kernels = "fast", .n_ctx = 256, .n_step_tok = 64};
	struct rig rig;
	struct engine_stats st;
	int64_t n_cached = 0;
	int ids[10][N_PROMPT];
	if (!rig_have(path_of(name)))
		return;
	cfg.kv_bytes = bytes_of(name, 192);
	rig_open(&rig, path_of(name), &cfg);
	for (int i = 0; i < 10; i++) {
		text(1, 40, ids[i]);
		text(i, N_PROMPT - 40, ids[i] + 40);
		ask_cold(name, &cfg, &cold[i], &(struct ask){.ids = ids[i], .n = N_PROMPT, .n_new = N_NEW});
	}
	for (int k = 0; k < 60; k++) {
		int i = k * 7 % 13 % 10;
		ask(&rig, &warm, &(struct ask){.ids = ids[i], .n = N_PROMPT, .n_new = N_NEW});
		check_same(&warm, &cold[i]);
		n_cached += warm.stats.n_cached;
		run_release(&warm);
		engine_stats(rig.e, &st);
		ck_assert_uint_le(st.kv_used_bytes, st.kv_budget_bytes);
	}
	ck_assert_int_ge(n_cached, 59 * 32);
	ck_assert_int_eq(st.n_tok_reused, n_cached);
	for (int i = 0; i < 10; i++)
		run_release(&cold[i]);
	rig_close(&rig);
}
END_TEST

/* ---- at once ---- */

struct gate {
	atomic_bool reached, go, ended;
};

static bool gate_on_token(void *user, const struct seq_token *tok)
{
	struct gate *g = user;
	(void)tok;
	atomic_store(&g->reached, true);
	while (!atomic_load(&g->go))
		usleep(50);
	return true;
}

static void gate_on_end(void *user, enum seq_end end, const struct seq_stats *stats, const struct err *err)
{
	(void)end, (void)stats, (void)err;
	atomic_store(&((struct gate *)user)->ended, true);
}

/* A sequence that makes the engine stand still until `go`, so that others come all at once. */
static void gate_close(struct gate *g, const struct rig *rig)
{
	uint64_t id;
	struct err err;
	struct seq_cfg c = {.ids = (int[]){250, 249}, .n_ids = 2, .n_predict = 1, .user = g, .sampler = sampler_cfg_default,
			    .on_token = gate_on_token, .on_end = gate_on_end};
	memset(g, 0, sizeof *g);
	ck_assert_int_eq(engine_submit(rig->e, &c, &id, &err), 0);
	while (!atomic_load(&g->reached))
		usleep(50);
}

/* Eight that share 200 tokens come to a cold engine; the oldest, which computes for all, is canceled in some rounds. */
START_TEST(test_at_once)
{
	enum { N = 8, N_SHARED = 200, N_OWN = 20 };
	static struct run cold[N], warm[N];
	const char *name = _i & 1 ? "gemma3" : "llama";
	struct rig_cfg cfg = {.kernels = "fast", .n_ctx = N_CTX, .n_step_tok = 7};
	struct gate gate;
	int ids[N][N_SHARED + N_OWN];
	uint64_t id[N];
	if (!rig_have(path_of(name)))
		return;
	for (int i = 0; i < N; i++) {
		text(1, N_SHARED, ids[i]);
		text(i + 2, N_OWN, ids[i] + N_SHARED);
		ask_cold(name, &cfg, &cold[i], &(struct ask){.ids = ids[i], .n = N_SHARED + N_OWN, .n_new = N_NEW});
	}
	for (int n_cancel = 0; n_cancel < 3; n_cancel++) {
		struct rig rig;
		struct engine_stats st;
		int64_t n_cached = 0;
		rig_open(&rig, path_of(name), &cfg);
		gate_close(&gate, &rig);
		for (int i = 0; i < N; i++)
			ask_start(&rig, &warm[i], &(struct ask){.ids = ids[i], .n = N_SHARED + N_OWN, .n_new = N_NEW}, &id[i]);
		atomic_store(&gate.go, true);
		for (int i = 0; i < n_cancel; i++) {
			usleep(3000);
			engine_cancel(rig.e, id[i]);
		}
		for (int i = 0; i < N; i++) {
			run_wait(&warm[i]);
			if (warm[i].end == SEQ_END_LENGTH)
				check_same(&warm[i], &cold[i]);
			else
				ck_assert(i < n_cancel && warm[i].end == SEQ_END_CANCELED);
			n_cached += warm[i].stats.n_cached;
			run_release(&warm[i]);
		}
		while (!atomic_load(&gate.ended))
			usleep(50);
		wait_kept(&rig, SIZE_MAX);
		engine_stats(rig.e, &st);
		if (!n_cancel) {
			/* The last eight items that they share are in a page that may be full in time for some. */
			ck_assert_int_ge(n_cached, (N - 1) * 192);
			ck_assert_int_le(n_cached, (N - 1) * N_SHARED);
			ck_assert_int_eq(st.n_tok_prefill + n_cached, 2 + N * (N_SHARED + N_OWN));
		}
		rig_close(&rig);
	}
	for (int i = 0; i < N; i++)
		run_release(&cold[i]);
}
END_TEST

/* Many at once with memory for few: pages are taken away, and found again. */
START_TEST(test_preempted)
{
	enum { N = 10 };
	static struct run cold[N], warm[N];
	const char *name = _i ? "gemma3" : "llama";
	struct rig_cfg cfg = {.kernels = "fast", .n_ctx = 256, .n_step_tok = 33};
	struct gate gate;
	struct rig rig;
	int ids[N][N_PROMPT];
	uint64_t id;
	if (!rig_have(path_of(name)))
		return;
	cfg.kv_bytes = bytes_of(name, 256);
	for (int i = 0; i < N; i++) {
		text(i % 3, 64, ids[i]);
		text(i, N_PROMPT - 64, ids[i] + 64);
		ask_cold(name, &cfg, &cold[i], &(struct ask){.ids = ids[i], .n = N_PROMPT - 60 + (size_t)i * 6, .n_new = 60});
	}
	rig_open(&rig, path_of(name), &cfg);
	gate_close(&gate, &rig);
	for (int i = 0; i < N; i++)
		ask_start(&rig, &warm[i], &(struct ask){.ids = ids[i], .n = N_PROMPT - 60 + (size_t)i * 6, .n_new = 60}, &id);
	atomic_store(&gate.go, true);
	for (int i = 0; i < N; i++) {
		run_wait(&warm[i]);
		check_same(&warm[i], &cold[i]);
		ck_assert_int_lt(warm[i].stats.n_cached, warm[i].stats.n_prompt);
		run_release(&warm[i]);
		run_release(&cold[i]);
	}
	wait_kept(&rig, SIZE_MAX);
	rig_close(&rig);
}
END_TEST

/* ---- who comes first ---- */

/* Memory for one at a time: those whose beginning is kept pass one that has nothing, eight times. */
START_TEST(test_longest_first)
{
	enum { N = 12 };
	static struct run known[N], new, first;
	struct gate gate;
	struct rig rig;
	struct rig_cfg cfg = {.kernels = "fast", .n_ctx = 128};
	int ids[N_PROMPT], n_passed = 0;
	uint64_t id;
	if (!rig_have(path_of("llama")))
		return;
	cfg.kv_bytes = bytes_of("llama", 192);
	rig_open(&rig, path_of("llama"), &cfg);
	text(1, N_PROMPT, ids);
	ask(&rig, &first, &(struct ask){.ids = ids, .n = N_PROMPT, .n_new = 3});
	gate_close(&gate, &rig);
	text(2, N_PROMPT, ids);
	ask_start(&rig, &new, &(struct ask){.ids = ids, .n = N_PROMPT, .n_new = 3}, &id);
	text(1, N_PROMPT, ids);
	for (int i = 0; i < N; i++) {
		ids[70] = i;
		ask_start(&rig, &known[i], &(struct ask){.ids = ids, .n = N_PROMPT, .n_new = 3}, &id);
	}
	atomic_store(&gate.go, true);
	run_wait(&new);
	for (int i = 0; i < N; i++) {
		run_wait(&known[i]);
		ck_assert_int_eq(known[i].end, SEQ_END_LENGTH);
		n_passed += known[i].stats.queued_ns < new.stats.queued_ns;
		run_release(&known[i]);
	}
	ck_assert_int_eq(n_passed, 8);
	while (!atomic_load(&gate.ended))
		usleep(50);
	run_release(&new);
	run_release(&first);
	rig_close(&rig);
}
END_TEST

/* ---- what must be computed in any case, and what is not kept ---- */

struct rows {
	int64_t n;
	float last[512];
	float *embd;
};

static void on_prompt_logits(void *user, int64_t pos, const float *logits, int n_vocab)
{
	struct rows *r = user;
	ck_assert_int_eq(pos, r->n++);
	memcpy(r->last, logits, (size_t)n_vocab * sizeof *logits);
}

static void on_embedding(void *user, const float *rows, int64_t n_tok, int n_embd)
{
	struct rows *r = user;
	size_t n = (size_t)n_tok * (size_t)n_embd * sizeof *rows;
	r->embd = memcpy(mem_alloc(n), rows, n);
}

START_TEST(test_all_positions)
{
	static struct run r;
	struct rows warm = {0}, cold = {0};
	struct rig rig, off;
	struct engine_stats st;
	struct seq_stats stats;
	struct err err;
	int ids[N_PROMPT];
	if (!rig_have(path_of("llama")))
		return;
	text(1, N_PROMPT, ids);
	rig_open(&rig, path_of("llama"), &(struct rig_cfg){.n_ctx = N_CTX});
	rig_open(&off, path_of("llama"), &(struct rig_cfg){.n_ctx = N_CTX, .prefix_off = true});
	ask(&rig, &r, &(struct ask){.ids = ids, .n = N_PROMPT, .n_new = 1});
	struct seq_cfg c = {.ids = ids, .n_ids = N_PROMPT, .user = &warm, .on_prompt_logits = on_prompt_logits};
	ck_assert_int_eq(engine_sync_run(rig.e, &c, NULL, &stats, &err), 0);
	ck_assert_int_eq(warm.n, N_PROMPT);
	ck_assert_int_eq(stats.n_cached, 0);
	ck_assert(!memcmp(warm.last, r.first, (size_t)r.n_vocab * sizeof(float)));
	wait_kept(&rig, SIZE_MAX);
	engine_stats(rig.e, &st);
	ck_assert_int_eq(st.n_kept_page, 4); /* the last one not full */
	ids[0] ^= 1; /* vectors of a new text leave nothing behind */
	c = (struct seq_cfg){.ids = ids, .n_ids = N_PROMPT, .embed = true, .user = &warm, .on_embedding = on_embedding};
	ck_assert_int_eq(engine_sync_run(rig.e, &c, NULL, &stats, &err), 0);
	c.user = &cold;
	ck_assert_int_eq(engine_sync_run(off.e, &c, NULL, NULL, &err), 0);
	ck_assert(!memcmp(warm.embd, cold.embd, N_PROMPT * (size_t)model_n_embd(rig.m) * sizeof(float)));
	wait_kept(&rig, SIZE_MAX);
	engine_stats(rig.e, &st);
	ck_assert_int_eq(st.n_kept_page, 4);
	mem_free(warm.embd);
	mem_free(cold.embd);
	run_release(&r);
	rig_close(&rig);
	rig_close(&off);
}
END_TEST

/* An engine that stands idle lets go of most, from the end, and what is left is still good. */
START_TEST(test_idle)
{
	struct rig_cfg cfg = {.n_ctx = N_CTX, .idle_ns = 1};
	struct rig rig;
	struct engine_stats st;
	int ids[400];
	if (!rig_have(path_of("llama")))
		return;
	text(1, 400, ids);
	rig_open(&rig, path_of("llama"), &cfg);
	engine_stats(rig.e, &st);
	for (int round = 0; round < 2; round++) {
		ask_both(&rig, "llama", &cfg, &(struct ask){.ids = ids, .n = 400, .n_new = 3}, round ? 128 : 0);
		wait_kept(&rig, st.kv_budget_bytes / 4);
	}
	rig_close(&rig);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("prefix");
	TCase *t = tcase_create("prefix");
	tcase_set_timeout(t, 300);
	tcase_add_loop_test(t, test_turns, 0, ARRAY_LEN(ways));
	tcase_add_test(t, test_domains);
	tcase_add_loop_test(t, test_little_memory, 0, 2);
	tcase_add_loop_test(t, test_at_once, 0, 2);
	tcase_add_loop_test(t, test_preempted, 0, 2);
	tcase_add_test(t, test_longest_first);
	tcase_add_test(t, test_all_positions);
	tcase_add_test(t, test_idle);
	suite_add_tcase(s, t);
	return rig_main(s);
}
