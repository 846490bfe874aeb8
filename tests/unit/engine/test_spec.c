/* Guessing tokens changes how fast an answer comes and nothing else: text, logits, ends, counts and kept pages are the same
 * with it and without it, whatever the sampler does. */
#include "engine/spec.h"
#include "rig.h"

enum { N_PROMPT = 70, N_NEW = 110, N_CTX = 256, N_VOCAB_MAX = 512 };

static const char *path_of(const char *name)
{
	static char path[256];
	snprintf(path, sizeof path, GOLDEN "arch/%s.gguf", name);
	return path;
}

/* Prompt `which`: a passage that repeats with small changes. */
static void text(int which, int n, int *ids)
{
	for (int i = 0; i < n; i++)
		ids[i] = i % 23 == 22 ? i : (i % 23 * 7919 + which * 104729 + 3) % 251;
}

/* ---- sampler settings: the tiny models say random things, so most of them favour what was said before ---- */

static void set_greedy(struct sampler_cfg *s)
{
	s->temperature = 0;
}

static void set_loop(struct sampler_cfg *s)
{
	s->temperature = 0;
	s->presence_penalty = -8;
	s->repeat_last_n = 12;
}

static void set_warm(struct sampler_cfg *s)
{
	s->temperature = 1;
	s->seed = 5;
	s->presence_penalty = -6;
	s->frequency_penalty = -0.5f;
	s->repeat_last_n = 10;
}

static void set_nucleus(struct sampler_cfg *s)
{
	s->temperature = 0.7f;
	s->seed = 77;
	s->top_k = 0;
	s->top_p = 0.8f;
	s->min_p = 0.02f;
	s->repeat_penalty = 0.5f;
	s->frequency_penalty = -2;
}

static void set_typical(struct sampler_cfg *s)
{
	s->temperature = 1;
	s->seed = 9;
	s->typical_p = 0.9f;
	s->repeat_penalty = 1.1f;
	s->presence_penalty = -7;
	s->repeat_last_n = 30;
}

static void (*const settings[])(struct sampler_cfg *s) = {set_greedy, set_loop, set_warm, set_nucleus, set_typical};

/* A grammar whose answers repeat, over a vocabulary of letters. */
static struct grammar *grammar;
static struct grammar_vocab *vocab;

static void make_grammar(int n_vocab)
{
	static const char gbnf[] = "root ::= line{30}\nline ::= \"ab\" [cd] \"efgh\" [c-h] \"ij\"\n";
	static uint8_t bytes[N_VOCAB_MAX];
	static uint32_t offs[N_VOCAB_MAX + 1];
	static bool eog[N_VOCAB_MAX];
	struct err err;
	for (int i = 0; i < n_vocab; i++) {
		bytes[i] = (uint8_t)('a' + i % 26);
		offs[i + 1] = (uint32_t)i + 1;
	}
	ck_assert_int_eq(grammar_from_gbnf(gbnf, sizeof gbnf - 1, &grammar, &err), 0);
	vocab = grammar_vocab_from_pieces(bytes, offs, eog, n_vocab);
}

static void free_grammar(void)
{
	grammar_free(grammar);
	grammar_vocab_free(vocab);
	grammar = NULL;
	vocab = NULL;
}

struct ask {
	const int *ids;
	size_t n;
	int n_new;
	void (*set)(struct sampler_cfg *s);
	bool held;     /* to the grammar */
	enum seq_draft draft;
	bool (*on_token)(void *user, const struct seq_token *tok);
};

static uint64_t ask_start(const struct rig *rig, struct run *r, const struct ask *a)
{
	struct err err;
	uint64_t id;
	struct seq_cfg c = run_greedy_cfg(r, rig, a->ids, a->n, a->n_new);
	if (a->set)
		a->set(&c.sampler);
	if (a->on_token)
		c.on_token = a->on_token;
	c.grammar = a->held ? grammar : NULL;
	c.vocab = a->held ? vocab : NULL;
	c.draft = a->draft;
	r->keep_all = true;
	int rc = engine_submit(rig->e, &c, &id, &err);
	ck_assert_msg(rc == 0, "%s", err.msg);
	return id;
}

static void ask(const struct rig *rig, struct run *r, struct ask a, enum seq_draft draft)
{
	a.draft = draft;
	ask_start(rig, r, &a);
	run_wait(r);
	ck_assert_int_eq(r->stats.n_generated, r->n);
	ck_assert_int_le(r->stats.n_accepted, r->stats.n_drafted);
	if (draft == SEQ_DRAFT_OFF)
		ck_assert_int_eq(r->stats.n_drafted, 0);
}

static void check_same(const struct run *a, const struct run *b)
{
	ck_assert_int_eq(a->end, b->end);
	ck_assert_int_eq(a->n, b->n);
	ck_assert_msg(!memcmp(a->ids, b->ids, (size_t)a->n * sizeof *a->ids), "other tokens");
	ck_assert_msg(!memcmp(a->all, b->all, (size_t)a->n * (size_t)a->n_vocab * sizeof(float)), "other logits");
}

/* ---- one sequence ---- */

static const struct {
	const char *model, *kernels;
} rigs[] = {
	{"llama", "ref"}, {"llama", "fast"}, {"gemma3", "ref"}, {"gemma3", "fast"}, {"mixtral", "fast"}, {"qwen2", "fast"},
};

START_TEST(test_same)
{
	static struct run off, on;
	struct rig rig;
	struct engine_stats st;
	int ids[N_PROMPT];
	int64_t n_accepted = 0, n_drafted = 0;
	if (!rig_have(path_of(rigs[_i].model)))
		return;
	rig_open(&rig, path_of(rigs[_i].model), &(struct rig_cfg){.kernels = rigs[_i].kernels, .n_ctx = N_CTX, .prefix_off = true});
	make_grammar(model_n_vocab(rig.m));
	for (size_t i = 0; i < 2 * ARRAY_LEN(settings); i++) {
		struct ask a = {.ids = ids, .n = N_PROMPT, .n_new = N_NEW, .set = settings[i / 2], .held = i & 1};
		text((int)i, N_PROMPT, ids);
		ask(&rig, &off, a, SEQ_DRAFT_OFF);
		for (int way = SEQ_DRAFT_PAYS; way <= SEQ_DRAFT_ALWAYS; way++) {
			ask(&rig, &on, a, (enum seq_draft)way);
			check_same(&on, &off);
			/* A held answer repeats for sure, and so does one that is rewarded for it. */
			if (way == SEQ_DRAFT_ALWAYS && i > 0)
				ck_assert_int_gt(on.stats.n_accepted, 0);
			n_accepted += on.stats.n_accepted;
			n_drafted += on.stats.n_drafted;
			run_release(&on);
		}
		run_release(&off);
	}
	printf("%-8s %-4s: %lld of %lld guesses came true\n", rigs[_i].model, rigs[_i].kernels, (long long)n_accepted,
	       (long long)n_drafted);
	ck_assert_int_lt(n_accepted, n_drafted); /* wrong ones were taken back */
	engine_stats(rig.e, &st);
	ck_assert_int_eq(st.n_drafted, n_drafted);
	ck_assert_int_eq(st.n_accepted, n_accepted);
	free_grammar();
	rig_close(&rig);
}
END_TEST

/* ---- company ---- */

enum { N_SEQ = 12 };

static void ask_of(int i, int n_new, int *ids, struct ask *ret)
{
	size_t n = (size_t)(i * 37 % N_PROMPT) + 1;
	text(i, (int)n, ids);
	*ret = (struct ask){.ids = ids, .n = n, .n_new = n_new, .set = settings[(size_t)i % ARRAY_LEN(settings)], .held = i % 4 == 1};
}

static void check_together(const char *name, const struct rig_cfg *cfg, int n_new, const struct run *want)
{
	static struct run r[N_SEQ];
	struct rig rig;
	struct ask a;
	int ids[N_PROMPT];
	rig_open(&rig, path_of(name), cfg);
	for (int i = 0; i < N_SEQ; i++) {
		ask_of(i, n_new, ids, &a);
		a.draft = i % 5 == 4 ? SEQ_DRAFT_OFF : SEQ_DRAFT_ALWAYS;
		ask_start(&rig, &r[i], &a);
	}
	for (int i = 0; i < N_SEQ; i++) {
		run_wait(&r[i]);
		check_same(&r[i], &want[i]);
		run_release(&r[i]);
	}
	rig_close(&rig);
}

/* Several sequences in one batch, budgets that leave little room for guesses, memory that runs out. */
START_TEST(test_together)
{
	static const char *const models[] = {"llama", "gemma3", "mixtral"};
	static const struct {
		int n_thread, n_step_tok, kv_tok;
	} ways[] = {{2, 512, 0}, {1, 14, 0}, {3, 5, 0}, {2, 64, N_CTX * 5 / 2}};
	static struct run want[N_SEQ];
	const char *name = models[_i];
	struct rig rig;
	struct ask a;
	int ids[N_PROMPT], n_new = 60;
	if (!rig_have(path_of(name)))
		return;
	rig_open(&rig, path_of(name), &(struct rig_cfg){.kernels = "fast", .n_ctx = N_CTX, .prefix_off = true});
	size_t per_tok = engine_kv_bytes_per_tok(rig.e);
	make_grammar(model_n_vocab(rig.m));
	for (int i = 0; i < N_SEQ; i++) {
		ask_of(i, n_new, ids, &a);
		ask(&rig, &want[i], a, SEQ_DRAFT_OFF);
	}
	rig_close(&rig);
	for (size_t w = 0; w < ARRAY_LEN(ways); w++)
		check_together(name,
			       &(struct rig_cfg){.kernels = "fast", .n_thread = ways[w].n_thread, .n_ctx = N_CTX,
						 .n_step_tok = ways[w].n_step_tok, .kv_bytes = per_tok * (size_t)ways[w].kv_tok},
			       n_new, want);
	for (int i = 0; i < N_SEQ; i++)
		run_release(&want[i]);
	free_grammar();
}
END_TEST

/* ---- ends ---- */

static int stop_after;

static bool stop_early(void *user, const struct seq_token *tok)
{
	run_on_token(user, tok);
	return tok->pos + 1 < stop_after;
}

/* The hook ends a sequence at each of its tokens in turn, some of them amid guesses that came true; limits do the same. */
START_TEST(test_stop)
{
	static struct run off, on;
	struct rig rig;
	int ids[N_PROMPT];
	int64_t n_accepted = 0;
	if (!rig_have(path_of("gemma3")))
		return;
	rig_open(&rig, path_of("gemma3"), &(struct rig_cfg){.kernels = "fast", .n_ctx = N_CTX});
	text(3, N_PROMPT, ids);
	struct ask a = {.ids = ids, .n = N_PROMPT, .n_new = N_NEW, .set = set_loop};
	ask(&rig, &off, a, SEQ_DRAFT_OFF);
	for (stop_after = 1; stop_after <= N_NEW; stop_after++) {
		a.on_token = stop_early;
		a.n_new = N_NEW;
		ask(&rig, &on, a, SEQ_DRAFT_ALWAYS);
		ck_assert_int_eq(on.end, SEQ_END_HOOK);
		ck_assert_int_eq(on.n, stop_after);
		ck_assert(!memcmp(on.ids, off.ids, (size_t)on.n * sizeof *on.ids));
		n_accepted += on.stats.n_accepted;
		run_release(&on);
		a.on_token = NULL;
		a.n_new = stop_after;
		ask(&rig, &on, a, SEQ_DRAFT_ALWAYS);
		ck_assert_int_eq(on.end, SEQ_END_LENGTH);
		ck_assert_int_eq(on.n, stop_after);
		ck_assert(!memcmp(on.ids, off.ids, (size_t)on.n * sizeof *on.ids));
		run_release(&on);
	}
	ck_assert_int_gt(n_accepted, 0);
	run_release(&off);
	rig_close(&rig);
}
END_TEST

static bool is_eog(const void *user, int id)
{
	return id == *(const int *)user;
}

START_TEST(test_eog)
{
	static struct run off, on;
	struct rig rig;
	struct engine_cfg ec;
	struct err err;
	int ids[N_PROMPT], eog = -1;
	if (!rig_have(path_of("llama")))
		return;
	rig_open(&rig, path_of("llama"), &(struct rig_cfg){.n_ctx = N_CTX});
	engine_free(rig.e);
	ec = (struct engine_cfg){.pool = rig.pool, .n_ctx_max = N_CTX, .is_eog = is_eog, .eog_user = &eog};
	ck_assert_int_eq(engine_new(rig.m, &ec, &rig.e, &err), 0);
	text(1, N_PROMPT, ids);
	struct ask a = {.ids = ids, .n = N_PROMPT, .n_new = N_NEW, .set = set_warm};
	ask(&rig, &off, a, SEQ_DRAFT_OFF);
	for (int i = 0; i < N_NEW; i += 7) {
		eog = off.ids[i];
		int n = 1;
		while (off.ids[n - 1] != eog)
			n++;
		ask(&rig, &on, a, SEQ_DRAFT_ALWAYS);
		ck_assert_int_eq(on.end, SEQ_END_STOP);
		ck_assert_int_eq(on.n, n);
		ck_assert(!memcmp(on.ids, off.ids, (size_t)n * sizeof *on.ids));
		run_release(&on);
		eog = -1;
	}
	run_release(&off);
	rig_close(&rig);
}
END_TEST

/* A sequence runs into the end of its context. */
START_TEST(test_full)
{
	static struct run off, on;
	struct rig rig;
	int ids[N_PROMPT];
	if (!rig_have(path_of("llama")))
		return;
	rig_open(&rig, path_of("llama"), &(struct rig_cfg){.n_ctx = 128});
	text(2, N_PROMPT, ids);
	struct ask a = {.ids = ids, .n = N_PROMPT, .n_new = -1, .set = set_loop};
	ask(&rig, &off, a, SEQ_DRAFT_OFF);
	ask(&rig, &on, a, SEQ_DRAFT_ALWAYS);
	ck_assert_int_eq(on.end, SEQ_END_LENGTH);
	ck_assert_int_eq(on.n, 128 - N_PROMPT);
	ck_assert_int_gt(on.stats.n_accepted, 0);
	check_same(&on, &off);
	run_release(&off);
	run_release(&on);
	rig_close(&rig);
}
END_TEST

/* ---- what is kept ---- */

/* A conversation goes on behind an answer that was guessed: the kept pages hold what was said, no guess, and as many of
 * them are found as without guesses. */
START_TEST(test_kept)
{
	static const char *const models[] = {"llama", "gemma3"};
	static struct run first, warm, cold;
	int64_t n_cached[2] = {0};
	int ids[N_PROMPT + N_NEW + 20];
	if (!rig_have(path_of(models[_i])))
		return;
	for (int way = 0; way < 2; way++) {
		struct rig rig;
		rig_open(&rig, path_of(models[_i]), &(struct rig_cfg){.kernels = "fast", .n_ctx = N_CTX, .kv_bytes = 64 << 20});
		text(5, N_PROMPT, ids);
		struct ask a = {.ids = ids, .n = N_PROMPT, .n_new = N_NEW, .set = set_warm};
		ask(&rig, &first, a, way ? SEQ_DRAFT_ALWAYS : SEQ_DRAFT_OFF);
		memcpy(ids + N_PROMPT, first.ids, N_NEW * sizeof *ids);
		text(6, 20, ids + N_PROMPT + N_NEW);
		a.n = N_PROMPT + N_NEW + 20;
		a.n_new = 30;
		ask(&rig, &warm, a, way ? SEQ_DRAFT_ALWAYS : SEQ_DRAFT_OFF);
		n_cached[way] = warm.stats.n_cached;
		rig_close(&rig);
		rig_open(&rig, path_of(models[_i]), &(struct rig_cfg){.kernels = "fast", .n_ctx = N_CTX, .prefix_off = true});
		ask(&rig, &cold, a, SEQ_DRAFT_OFF);
		check_same(&warm, &cold);
		run_release(&first);
		run_release(&warm);
		run_release(&cold);
		rig_close(&rig);
	}
	ck_assert_int_gt(n_cached[0], N_PROMPT);
	ck_assert_int_eq(n_cached[0], n_cached[1]);
}
END_TEST

/* Canceled and parked at any moment; the engine counts its pages when it is freed. */
START_TEST(test_disturbed)
{
	static struct run r[N_SEQ];
	struct rig rig;
	struct ask a;
	uint64_t id[N_SEQ];
	int ids[N_PROMPT];
	if (!rig_have(path_of("gemma3")))
		return;
	rig_open(&rig, path_of("gemma3"), &(struct rig_cfg){.kernels = "fast", .n_ctx = N_CTX});
	for (int i = 0; i < N_SEQ; i++) {
		ask_of(i, 150, ids, &a);
		a.held = false;
		a.draft = SEQ_DRAFT_ALWAYS;
		id[i] = ask_start(&rig, &r[i], &a);
	}
	for (int i = 0; i < 3 * N_SEQ; i++) {
		engine_park(rig.e, id[i % N_SEQ], i < N_SEQ);
		usleep(500);
		if (i % 3 == 1)
			engine_cancel(rig.e, id[i % N_SEQ]);
	}
	for (int i = 0; i < N_SEQ; i++) {
		run_wait(&r[i]);
		ck_assert(r[i].end == SEQ_END_LENGTH ? r[i].n == 150 : r[i].end == SEQ_END_CANCELED);
		run_release(&r[i]);
	}
	rig_close(&rig);
}
END_TEST

/* ---- the price of a row ---- */

START_TEST(test_price)
{
	struct spec sp = {0};
	spec_learn(&sp, 0, 3, 1000);
	ck_assert(sp.row_ns == 0); /* without a base nothing is learnt */
	for (int i = 0; i < 200; i++)
		spec_learn(&sp, 1e6, 4, (int64_t)1.2e6);
	ck_assert(fabs(sp.row_ns - 0.05e6) < 1e3);
	spec_learn(&sp, 1e6, 1, (int64_t)500e6); /* a disturbance */
	ck_assert(sp.row_ns > 0.05e6 && sp.row_ns < 0.15e6);
	for (int i = 0; i < 300; i++)
		spec_learn(&sp, 1e6, 2, (int64_t)0.5e6);
	ck_assert(sp.row_ns >= 0 && sp.row_ns < 1e3);
	for (int i = 0; i < 300; i++)
		spec_learn(&sp, 1e6, 2, (int64_t)9e6);
	ck_assert(sp.row_ns <= 1e6 && sp.row_ns > 0.9e6);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("spec");
	TCase *t = tcase_create("spec");
	tcase_set_timeout(t, 300);
	tcase_add_loop_test(t, test_same, 0, ARRAY_LEN(rigs));
	tcase_add_loop_test(t, test_together, 0, 3);
	tcase_add_test(t, test_stop);
	tcase_add_test(t, test_eog);
	tcase_add_test(t, test_full);
	tcase_add_loop_test(t, test_kept, 0, 2);
	tcase_add_test(t, test_disturbed);
	tcase_add_test(t, test_price);
	suite_add_tcase(s, t);
	return rig_main(s);
}
