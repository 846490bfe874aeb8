/* The tree of kept pages against a model: random sequences write what an item depends on into its place of a page, and read
 * it back through whatever pages they were given; holders are counted from outside. */
#include "engine/kv.h"
#include "engine/prefix.h"
#include "model/model_int.h"
#include "rig.h"

enum { N_SEQ = 7, N_ITEM = 400, N_OP = 2000, N_PAGE_MAX = 4096 };

struct mock_seq {
	bool on;
	int ids[N_ITEM];
	uint64_t want[N_ITEM]; /* what the place of each item must hold */
	int64_t n_ids, n_done;
	struct prefix_at at;
	struct seq_mem mem;
};

struct mock {
	struct model m;
	struct kv *kv;
	struct prefix *p;
	struct mock_seq seqs[N_SEQ];
	uint64_t rand;
	int64_t n_reused, n_copied, n_evicted;
};

struct groups {
	const char *name;
	int n;
	int64_t window[3];
	size_t block_bytes[3];
	int n_page; /* budget, in pages of the first group */
};

static const struct groups kinds[] = {
	{"full", 1, {0}, {4096}, 40},
	{"two full", 2, {0, 0}, {4096, 8192}, 100},
	{"full and window", 2, {0, 50}, {4096, 12288}, 90},
	{"window first, small", 2, {16, 0}, {8192, 4096}, 60},
	{"two windows", 3, {100, 0, 20}, {4096, 4096, 8192}, 140},
	{"window only", 1, {40}, {4096}, 30},
	{"narrow window only", 1, {8}, {4096}, 20},
	{"plenty", 2, {0, 64}, {4096, 4096}, 2000},
};

static uint64_t rnd(struct mock *t, uint64_t n)
{
	t->rand ^= t->rand << 13;
	t->rand ^= t->rand >> 7;
	t->rand ^= t->rand << 17;
	return t->rand % n;
}

static void mock_open(struct mock *t, const struct groups *g, uint64_t seed)
{
	struct err err;
	memset(t, 0, sizeof *t);
	t->rand = seed * 7919 + 88172645463325252u;
	for (int i = 0; i < g->n; i++)
		vec_push(&t->m.graph.groups, ((struct graph_mem_group){g->window[i], g->block_bytes[i]}));
	ck_assert_int_eq(kv_new(&t->m, g->block_bytes[0] * (size_t)g->n_page, &t->kv, &err), 0);
	ck_assert_int_eq(prefix_new(t->kv, false, &t->p, &err), 0);
	for (int i = 0; i < N_SEQ; i++)
		ck_assert(seq_mem_init(&t->seqs[i].mem, g->n, N_ITEM));
}

static void drop(struct mock *t, struct mock_seq *s)
{
	if (s->on && rnd(t, 4))
		prefix_put_rest(t->p, &s->at, &s->mem, s->ids, s->n_done);
	prefix_leave(t->p, &s->at);
	seq_mem_drop(&s->mem, t->kv);
	s->on = false;
}

static void mock_close(struct mock *t)
{
	for (int i = 0; i < N_SEQ; i++)
		drop(t, &t->seqs[i]);
	ck_assert_uint_eq(kv_used_bytes(t->kv), prefix_bytes(t->p));
	prefix_shrink(t->p, 0);
	ck_assert_uint_eq(prefix_bytes(t->p), 0);
	ck_assert_uint_eq(prefix_n_node(t->p), 0);
	ck_assert_uint_eq(kv_used_bytes(t->kv), 0);
	ck_assert(!prefix_evict(t->p));
	for (int i = 0; i < N_SEQ; i++)
		seq_mem_release(&t->seqs[i].mem);
	prefix_free(t->p);
	kv_free(t->kv);
	vec_release(&t->m.graph.groups);
}

/* One of three texts in one of two domains, with a token changed here and there. */
static void start(struct mock *t, struct mock_seq *s)
{
	uint64_t base = rnd(t, 3), h;
	s->n_ids = 1 + (int64_t)rnd(t, N_ITEM);
	for (int i = 0; i < s->n_ids; i++)
		s->ids[i] = (int)(base * 1000 + (uint64_t)i % 50);
	for (uint64_t n = rnd(t, 3); n; n--)
		s->ids[rnd(t, (uint64_t)s->n_ids)] ^= 1;
	s->at = (struct prefix_at){.domain = rnd(t, 8) == 0};
	h = s->at.domain + 1;
	for (int i = 0; i < s->n_ids; i++)
		s->want[i] = h = (h ^ (uint64_t)s->ids[i]) * 0x9e3779b97f4a7c15u + 12345;
	s->n_done = 0;
	s->on = true;
}

static uint64_t *place(const struct mock *t, const struct mock_seq *s, int g, int64_t item)
{
	uint32_t page = s->mem.tables[g].pages[item / KERN_PAGE_TOK];
	return (uint64_t *)(void *)(kv_base(t->kv, g) + page * kv_block_bytes(t->kv, g)) + item % KERN_PAGE_TOK;
}

/* Somebody else gives way when nothing can be evicted. */
static void reserve(struct mock *t, struct mock_seq *s, int64_t n_tok)
{
	while (!seq_mem_reserve(&s->mem, t->kv, s->n_done, n_tok)) {
		if (prefix_evict(t->p)) {
			t->n_evicted++;
			continue;
		}
		struct mock_seq *v = NULL;
		for (int i = 0; i < N_SEQ; i++)
			if (&t->seqs[i] != s && t->seqs[i].on)
				v = &t->seqs[i];
		if (!v) {
			drop(t, s);
			return;
		}
		drop(t, v);
	}
}

static void advance(struct mock *t, struct mock_seq *s)
{
	int64_t n = prefix_extend(t->p, &s->at, &s->mem, s->ids, s->n_done, s->n_ids - 1);
	ck_assert_int_ge(n, s->n_done);
	ck_assert_int_lt(n, s->n_ids);
	ck_assert(n == s->n_done || n % KERN_PAGE_TOK == 0);
	t->n_reused += n - s->n_done;
	if (rnd(t, 4)) {
		s->n_done = prefix_copy(t->p, &s->at, &s->mem, s->ids, n, s->n_ids - 1);
		ck_assert(s->n_done >= n && s->n_done < s->n_ids && s->n_done - n < KERN_PAGE_TOK);
		t->n_copied += s->n_done - n;
		n = s->n_done;
	}
	s->n_done = n;
	int64_t end = s->n_done + 1 + (int64_t)rnd(t, 70);
	if (end > s->n_ids)
		end = s->n_ids;
	reserve(t, s, end);
	if (!s->on)
		return;
	for (; s->n_done < end; s->n_done++)
		for (int g = 0; g < s->mem.n_group; g++) {
			BUG_ON(kv_n_holder(t->kv, g, s->mem.tables[g].pages[s->n_done / KERN_PAGE_TOK]) != 1);
			*place(t, s, g, s->n_done) = s->want[s->n_done];
		}
	prefix_put(t->p, &s->at, &s->mem, s->ids, s->n_done);
	if (s->n_done == s->n_ids)
		drop(t, s);
}

/* Every item that the next one sees is where it should be. (The assertions of libcheck write to a pipe; BUG_ON is quick.) */
static void check_contents(const struct mock *t, const struct mock_seq *s)
{
	for (int g = 0; g < s->mem.n_group; g++) {
		int64_t window = kv_window(t->kv, g), first = window && s->n_done >= window ? s->n_done - window + 1 : 0;
		const struct seq_table *table = &s->mem.tables[g];
		BUG_ON(s->n_done && (first / KERN_PAGE_TOK < table->n_begin || (s->n_done - 1) / KERN_PAGE_TOK >= table->n_end));
		for (int64_t i = first; i < s->n_done; i++)
			BUG_ON(*place(t, s, g, i) != s->want[i]);
	}
}

/* Each page has as many holders as sequences have it in their tables, and one more if the tree keeps it; the tree's are as
 * many as it says. */
static void check_holders(const struct mock *t, const struct groups *kind)
{
	static uint32_t held[N_PAGE_MAX];
	size_t kept = 0, used = 0;
	for (int g = 0; g < kind->n; g++) {
		size_t block = kv_block_bytes(t->kv, g), n_page = kv_budget_bytes(t->kv) / block;
		ck_assert_uint_le(n_page, N_PAGE_MAX);
		memset(held, 0, sizeof held);
		for (int i = 0; i < N_SEQ; i++) {
			const struct seq_table *table = &t->seqs[i].mem.tables[g];
			for (uint32_t j = table->n_begin; j < table->n_end; j++)
				held[table->pages[j]]++;
		}
		for (uint32_t i = 0; i < n_page; i++) {
			uint32_t n = kv_n_holder(t->kv, g, i);
			BUG_ON(n != held[i] && n != held[i] + 1);
			kept += n == held[i] + 1 ? block : 0;
			used += n ? block : 0;
		}
	}
	ck_assert_uint_eq(kept, prefix_bytes(t->p));
	ck_assert_uint_eq(used, kv_used_bytes(t->kv));
	ck_assert_uint_le(used, kv_budget_bytes(t->kv));
}

START_TEST(test_random)
{
	const struct groups *kind = &kinds[_i];
	for (uint64_t seed = 1; seed <= 3; seed++) {
		static struct mock t;
		mock_open(&t, kind, seed);
		for (int op = 0; op < N_OP; op++) {
			struct mock_seq *s = &t.seqs[rnd(&t, N_SEQ)];
			uint64_t what = rnd(&t, 100);
			if (what == 0)
				prefix_shrink(t.p, prefix_bytes(t.p) / 2);
			else if (what < 3)
				prefix_evict(t.p);
			else if (what < 6 && s->on)
				drop(&t, s);
			else if (!s->on)
				start(&t, s);
			else
				advance(&t, s);
			check_holders(&t, kind);
			for (int i = 0; i < N_SEQ; i++)
				if (t.seqs[i].on)
					check_contents(&t, &t.seqs[i]);
		}
		ck_assert_msg(t.n_reused > 1000, "%s: only %lld items reused", kind->name, (long long)t.n_reused);
		ck_assert_msg(t.n_copied > 100, "%s: only %lld items copied", kind->name, (long long)t.n_copied);
		ck_assert_msg(t.n_evicted > 10 || !strcmp(kind->name, "plenty"), "%s: nothing evicted", kind->name);
		mock_close(&t);
	}
}
END_TEST

/* Runs a text of n items in one go, n_skip of which it is expected to find. */
static void run_text(struct mock *t, int text, int64_t n, int64_t n_skip)
{
	struct mock_seq *s = &t->seqs[0];
	for (int i = 0; i < n; i++)
		s->ids[i] = text * 1000 + i;
	s->n_ids = n;
	s->on = true;
	s->n_done = prefix_extend(t->p, &s->at, &s->mem, s->ids, 0, n - 1);
	ck_assert_int_eq(s->n_done, n_skip);
	reserve(t, s, n);
	ck_assert(s->on);
	prefix_put(t->p, &s->at, &s->mem, s->ids, n);
	s->on = false; /* nothing is left of an unfinished page */
	drop(t, s);
}

/* What was used last stays, whole texts go from their ends, and a beginning that another text needs outlives its own. */
START_TEST(test_lru)
{
	static struct mock t;
	mock_open(&t, &(struct groups){"lru", 1, {0}, {4096}, 12}, 1);
	run_text(&t, 1, 128, 0);
	run_text(&t, 2, 128, 0);
	run_text(&t, 3, 128, 0);
	ck_assert_uint_eq(prefix_n_node(t.p), 12);
	run_text(&t, 1, 128, 96); /* the last page is computed again, in place of the kept one */
	ck_assert_uint_eq(prefix_n_node(t.p), 12);
	run_text(&t, 4, 64, 0); /* for which text 2 loses its end */
	run_text(&t, 1, 129, 128);
	run_text(&t, 3, 129, 128);
	run_text(&t, 2, 129, 32);
	mock_close(&t);
}
END_TEST

/* A window that has passed is given up before what it belongs to. */
START_TEST(test_window_lru)
{
	static struct mock t;
	mock_open(&t, &(struct groups){"window", 2, {0, 32}, {4096, 4096}, 24}, 1);
	run_text(&t, 1, 320, 0);
	ck_assert_uint_eq(prefix_bytes(t.p), 4096 * 20);
	prefix_shrink(t.p, 4096 * 12);
	ck_assert_uint_eq(prefix_n_node(t.p), 10);
	run_text(&t, 1, 330, 320);
	run_text(&t, 1, 300, 288);
	run_text(&t, 1, 100, 0); /* nobody could go on there */
	mock_close(&t);
}
END_TEST

/* A text of n items, n_same of them as in text 1; n_copy of its items are expected to be found inside a page, behind n_skip
 * in whole pages. The rest is kept. */
static void run_rest(struct mock *t, int64_t n, int64_t n_same, int64_t n_skip, int64_t n_copy)
{
	struct mock_seq *s = &t->seqs[0];
	for (int i = 0; i < n; i++)
		s->ids[i] = i < n_same ? 1000 + i : (int)(2000 + n * 3 + i);
	s->n_ids = n;
	s->on = true;
	s->n_done = prefix_extend(t->p, &s->at, &s->mem, s->ids, 0, n - 1);
	ck_assert_int_eq(s->n_done, n_skip);
	s->n_done = prefix_copy(t->p, &s->at, &s->mem, s->ids, s->n_done, n - 1);
	ck_assert_int_eq(s->n_done, n_skip + n_copy);
	reserve(t, s, n);
	ck_assert(s->on);
	prefix_put(t->p, &s->at, &s->mem, s->ids, n);
	prefix_put_rest(t->p, &s->at, &s->mem, s->ids, n);
	s->on = false;
	drop(t, s);
}

START_TEST(test_inside_page)
{
	static struct mock t;
	mock_open(&t, &(struct groups){"inside", 2, {0, 40}, {4096, 4096}, 40}, 1);
	run_rest(&t, 100, 100, 0, 0);
	ck_assert_uint_eq(prefix_n_node(t.p), 4);
	run_rest(&t, 100, 100, 96, 3); /* the same again: all but the last item, and nothing new is kept */
	ck_assert_uint_eq(prefix_n_node(t.p), 4);
	run_rest(&t, 98, 98, 96, 1);
	ck_assert_uint_eq(prefix_n_node(t.p), 4);
	run_rest(&t, 110, 110, 96, 4); /* longer: its rest takes the place of the shorter one */
	ck_assert_uint_eq(prefix_n_node(t.p), 4);
	run_rest(&t, 128, 128, 96, 14); /* and so does the full page */
	ck_assert_uint_eq(prefix_n_node(t.p), 4);
	run_rest(&t, 128, 128, 96, 31);
	ck_assert_uint_eq(prefix_n_node(t.p), 4);
	run_rest(&t, 120, 105, 96, 9); /* parts from it inside */
	ck_assert_uint_eq(prefix_n_node(t.p), 5);
	run_rest(&t, 90, 70, 64, 6);
	ck_assert_uint_eq(prefix_n_node(t.p), 6);
	run_rest(&t, 20, 10, 0, 10);
	run_rest(&t, 20, 10, 0, 19);
	run_rest(&t, 20, 5, 0, 5);
	run_rest(&t, 1, 1, 0, 0);
	mock_close(&t);
	/* No memory but what is kept: something else goes, not what is copied. */
	mock_open(&t, &(struct groups){"tight", 1, {0}, {4096}, 4}, 1);
	run_rest(&t, 33, 33, 0, 0);
	run_text(&t, 5, 64, 0);
	ck_assert_uint_eq(prefix_bytes(t.p), kv_budget_bytes(t.kv));
	run_rest(&t, 40, 30, 0, 30);
	mock_close(&t);
}
END_TEST

START_TEST(test_off)
{
	struct groups g = {"off", 1, {0}, {4096}, 12};
	static struct mock t;
	struct err err;
	mock_open(&t, &g, 1);
	prefix_free(t.p);
	ck_assert_int_eq(prefix_new(t.kv, true, &t.p, &err), 0);
	ck_assert(prefix_is_off(t.p));
	run_text(&t, 1, 128, 0);
	run_text(&t, 1, 128, 0);
	ck_assert_uint_eq(kv_used_bytes(t.kv), 0);
	mock_close(&t);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("prefix_tree");
	TCase *t = tcase_create("prefix_tree");
	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, test_random, 0, ARRAY_LEN(kinds));
	tcase_add_test(t, test_lru);
	tcase_add_test(t, test_window_lru);
	tcase_add_test(t, test_inside_page);
	tcase_add_test(t, test_off);
	suite_add_tcase(s, t);
	return rig_main(s);
}
