/* Pages and the memory of sequences: budgets, sharing, windows, going back. */
#include "engine/kv.h"
#include "engine/seq_mem.h"
#include "rig.h"

/* gemma3: group of the windowed layers (16 positions) and group of the full ones. */
static bool open_gemma(struct rig *r)
{
	if (!rig_have(GOLDEN "arch/gemma3.gguf"))
		return false;
	rig_open(r, GOLDEN "arch/gemma3.gguf", &(struct rig_cfg){.n_ctx = 64});
	ck_assert_int_eq(model_n_group(r->m), 2);
	return true;
}

static int group_with(const struct model *m, bool windowed)
{
	return (model_group_window(m, 0) > 0) == windowed ? 0 : 1;
}

START_TEST(test_pages)
{
	struct rig r;
	struct kv *kv;
	struct err err;
	uint32_t pages[64], p;
	if (!open_gemma(&r))
		return;
	size_t block = kv_block_size(r.m, 0);
	ck_assert_int_eq(kv_new(r.m, 1, &kv, &err), ERR_NOMEM);
	ck_assert_int_eq(kv_new(r.m, block * 10, &kv, &err), 0);
	ck_assert_uint_eq(block % 4096, 0);
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 10; i++) {
			ck_assert(kv_take(kv, 0, &pages[i]));
			uint8_t *at = kv_base(kv, 0) + pages[i] * block;
			memset(at, i, block);
			for (int j = 0; j < i; j++)
				ck_assert_uint_ne(pages[i], pages[j]);
		}
		ck_assert(!kv_take(kv, 0, &p));
		ck_assert(!kv_take(kv, 1, &p)); /* one budget for all groups */
		ck_assert_uint_eq(kv_used_bytes(kv), block * 10);
		kv_share(kv, 0, pages[3]);
		for (int i = 0; i < 10; i++) {
			ck_assert_uint_eq(kv_base(kv, 0)[pages[i] * block + block - 1], (uint8_t)i);
			kv_drop(kv, 0, pages[i]);
		}
		ck_assert_uint_eq(kv_used_bytes(kv), block); /* the second holder's */
		kv_drop(kv, 0, pages[3]);
		ck_assert_uint_eq(kv_used_bytes(kv), 0);
		if (round == 1)
			kv_trim(kv);
	}
	kv_free(kv);
	rig_close(&r);
}
END_TEST

static uint32_t held(const struct seq_mem *s, int group)
{
	return s->tables[group].n_end - s->tables[group].n_begin;
}

START_TEST(test_window)
{
	struct rig r;
	struct kv *kv;
	struct err err;
	struct seq_mem s;
	if (!open_gemma(&r))
		return;
	int win = group_with(r.m, true), full = group_with(r.m, false);
	int64_t window = model_group_window(r.m, win);
	ck_assert_int_eq(window, 16);
	ck_assert_int_eq(kv_new(r.m, 64 << 20, &kv, &err), 0);
	ck_assert(seq_mem_init(&s, kv_n_group(kv), 2000));
	for (int64_t n = 0; n < 2000; n++) {
		ck_assert(seq_mem_reserve(&s, kv, n, n + 1));
		ck_assert_uint_eq(held(&s, full), (uint32_t)(n / 32 + 1));
		/* Every position that the token sees is held, and no page more than needed. */
		int64_t first = n - window + 1 > 0 ? n - window + 1 : 0;
		ck_assert_uint_eq(s.tables[win].n_begin, (uint32_t)(first / 32));
		ck_assert_uint_eq(s.tables[win].n_end, (uint32_t)(n / 32 + 1));
	}
	/* Back to where the last step began always works, far back does not. */
	ck_assert(seq_mem_rollback(&s, kv, 1999));
	ck_assert(!seq_mem_rollback(&s, kv, 100));
	ck_assert_uint_eq(held(&s, full), 63);
	seq_mem_drop(&s, kv);
	ck_assert(seq_mem_empty(&s));
	ck_assert_uint_eq(kv_used_bytes(kv), 0);
	/* A chunk at once holds its window and the chunk. */
	ck_assert(seq_mem_reserve(&s, kv, 0, 500));
	ck_assert(seq_mem_reserve(&s, kv, 500, 1000));
	ck_assert_uint_eq(s.tables[win].n_begin, 485 / 32);
	ck_assert(seq_mem_rollback(&s, kv, 510));
	ck_assert_uint_eq(s.tables[full].n_end, 16);
	seq_mem_drop(&s, kv);
	ck_assert_uint_eq(kv_used_bytes(kv), 0);
	seq_mem_release(&s);
	kv_free(kv);
	rig_close(&r);
}
END_TEST

/* What kv_bytes_for promises is enough for one sequence, and a refusal changes nothing. */
START_TEST(test_budget)
{
	struct rig r;
	struct kv *kv;
	struct err err;
	struct seq_mem s, other;
	if (!open_gemma(&r))
		return;
	for (int64_t n_step = 1; n_step <= 100; n_step += 33) {
		ck_assert_int_eq(kv_new(r.m, kv_bytes_for(r.m, 1000, n_step), &kv, &err), 0);
		ck_assert(seq_mem_init(&s, kv_n_group(kv), 1000) && seq_mem_init(&other, kv_n_group(kv), 1000));
		for (int64_t n = 0; n + n_step <= 1000; n += n_step)
			ck_assert(seq_mem_reserve(&s, kv, n, n + n_step));
		size_t used = kv_used_bytes(kv);
		ck_assert(!seq_mem_reserve(&other, kv, 0, 1000));
		ck_assert(seq_mem_empty(&other));
		ck_assert_uint_eq(kv_used_bytes(kv), used);
		seq_mem_drop(&s, kv);
		ck_assert(seq_mem_reserve(&other, kv, 0, 64));
		seq_mem_drop(&other, kv);
		seq_mem_release(&s);
		seq_mem_release(&other);
		kv_free(kv);
	}
	ck_assert_uint_eq(kv_bytes_for(r.m, INT64_MAX / 2, 1), SIZE_MAX);
	rig_close(&r);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("kv");
	TCase *t = tcase_create("kv");
	tcase_add_test(t, test_pages);
	tcase_add_test(t, test_window);
	tcase_add_test(t, test_budget);
	suite_add_tcase(s, t);
	return rig_main(s);
}
