/* Tables over the strings of a file: every string is found under its least number, nothing else is found, bad arrays are
 * refused. */
#include <check.h>
#include <stdio.h>

#include "tok/tok_table.h"
#include "tok/vocab_build.h"

struct rig {
	struct str file;
	void *data;
	struct gguf *g;
	struct tok_table t;
};

/* A file with one array "x" of n elements of a type; elems are its bytes. */
static int rig_open(struct rig *r, uint32_t type, uint64_t n, const struct str *elems, struct err *err)
{
	struct vb v = {0};
	*r = (struct rig){0};
	vb_array(&v, "x", type, n, elems);
	str_adds(&r->file, "GGUF");
	vb_u32(&r->file, 3);
	vb_u64(&r->file, 0);
	vb_u64(&r->file, v.n_kv);
	str_add(&r->file, v.kv.data, v.kv.len);
	r->data = mem_try_aligned(64, r->file.len);
	memcpy(r->data, r->file.data, r->file.len);
	str_release(&v.kv);
	ck_assert_int_eq(gguf_open_mem(r->data, r->file.len, &r->g, err), 0);
	return tok_table_init(&r->t, gguf_find(r->g, "x"), "word", err);
}

static void rig_close(struct rig *r)
{
	tok_table_release(&r->t);
	gguf_close(r->g);
	mem_free(r->data);
	str_release(&r->file);
}

/* Word i of 0 .. 6999: each text of 5000 different ones, some of them twice; lengths 0 to 40. */
static size_t word(int i, char *out)
{
	int k = i % 5000, n = k % 41;
	memset(out, 'a' + k % 3, (size_t)n);
	int len = snprintf(out + n, 16, "%d", k);
	return k == 17 ? 0 : (size_t)(n + len);
}

START_TEST(test_find)
{
	struct str elems = {0};
	struct err err;
	struct rig r;
	char text[80];
	size_t n;
	for (int i = 0; i < 7000; i++) {
		n = word(i, text);
		vb_bytes(&elems, text, n);
	}
	ck_assert_int_eq(rig_open(&r, GGUF_KV_STR, 7000, &elems, &err), 0);
	for (int i = 0; i < 7000; i++) {
		n = word(i, text);
		size_t n_got;
		const char *got = tok_table_text(&r.t, i, &n_got);
		ck_assert(n_got == n && !memcmp(got, text, n));
		ck_assert_int_eq(tok_table_find(&r.t, text, n), n ? i % 5000 : -1);
		text[n] = 'x';
		ck_assert_int_eq(tok_table_find(&r.t, text, n + 1), -1);
	}
	ck_assert_int_eq(tok_table_find(&r.t, "", 0), -1);
	memset(text, 'a', sizeof text);
	ck_assert_int_eq(tok_table_find(&r.t, text, sizeof text), -1);
	ck_assert(r.t.max_bytes >= 40 && r.t.max_bytes <= 44);
	rig_close(&r);
	str_release(&elems);
}
END_TEST

START_TEST(test_odd_arrays)
{
	struct str elems = {0};
	struct err err;
	struct rig r;
	ck_assert_int_eq(rig_open(&r, GGUF_KV_STR, 0, &elems, &err), 0);
	ck_assert_int_eq(tok_table_find(&r.t, "a", 1), -1);
	rig_close(&r);
	vb_u32(&elems, 7);
	ck_assert_int_eq(rig_open(&r, GGUF_KV_I32, 1, &elems, &err), ERR_FORMAT);
	ck_assert_ptr_nonnull(strstr(err.msg, "x is not an array of strings"));
	rig_close(&r);
	str_release(&elems);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("tok_table");
	TCase *t = tcase_create("all");
	tcase_add_test(t, test_find);
	tcase_add_test(t, test_odd_arrays);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int n = srunner_ntests_failed(r);
	srunner_free(r);
	return n != 0;
}
