/* Files built in memory: one case for every check of the reader with the error it must give, and the accessors. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bug.h"
#include "gguf/gguf.h"

/* ---- a small writer ---- */

struct file {
	_Alignas(64) uint8_t b[8192];
	size_t n;
};

static void put(struct file *f, const void *p, size_t n)
{
	ck_assert(f->n + n <= sizeof f->b);
	memcpy(f->b + f->n, p, n);
	f->n += n;
}

static void u8(struct file *f, uint8_t v) { put(f, &v, 1); }
static void u32(struct file *f, uint32_t v) { put(f, &v, 4); }
static void u64(struct file *f, uint64_t v) { put(f, &v, 8); }

static void strn(struct file *f, const char *s, size_t n)
{
	u64(f, n);
	put(f, s, n);
}

static void str(struct file *f, const char *s) { strn(f, s, strlen(s)); }

static void head(struct file *f, uint64_t n_tensor, uint64_t n_kv)
{
	put(f, "GGUF", 4);
	u32(f, 3);
	u64(f, n_tensor);
	u64(f, n_kv);
}

static void kv_u32(struct file *f, const char *key, uint32_t v)
{
	str(f, key);
	u32(f, GGUF_KV_U32);
	u32(f, v);
}

static void tensor(struct file *f, const char *name, uint32_t n_dims, const int64_t *ne, uint32_t type, uint64_t off)
{
	str(f, name);
	u32(f, n_dims);
	for (uint32_t i = 0; i < n_dims; i++)
		u64(f, (uint64_t)ne[i]);
	u32(f, type);
	u64(f, off);
}

static void pad(struct file *f, size_t align)
{
	while (f->n % align)
		u8(f, 0);
}

static void data(struct file *f, size_t n)
{
	pad(f, 32);
	for (size_t i = 0; i < n; i++)
		u8(f, (uint8_t)i);
}

/* An exact copy, so that a sanitizer sees any read past the end. */
static uint8_t *copy(const struct file *f, size_t n)
{
	void *p = NULL;
	ck_assert_int_eq(posix_memalign(&p, 64, n ? n : 1), 0);
	return memcpy(p, f->b, n);
}

/* ---- broken files ---- */

static void b_empty(struct file *f) { (void)f; }
static void b_magic(struct file *f) { put(f, "GGML", 4); u32(f, 3); u64(f, 0); u64(f, 0); }
static void b_cut_version(struct file *f) { put(f, "GGUF\3", 5); }
static void b_version0(struct file *f) { put(f, "GGUF", 4); u32(f, 0); u64(f, 0); u64(f, 0); }
static void b_version1(struct file *f) { put(f, "GGUF", 4); u32(f, 1); u64(f, 0); u64(f, 0); }
static void b_version4(struct file *f) { put(f, "GGUF", 4); u32(f, 4); u64(f, 0); u64(f, 0); }
static void b_big_endian(struct file *f) { put(f, "GGUF\0\0\0\3", 8); u64(f, 0); u64(f, 0); }
static void b_cut_counts(struct file *f) { put(f, "GGUF", 4); u32(f, 3); u64(f, 0); u32(f, 0); }
static void b_neg_tensors(struct file *f) { head(f, (uint64_t)-1, 0); }
static void b_neg_kv(struct file *f) { head(f, 0, (uint64_t)-5); }
static void b_huge_tensors(struct file *f) { head(f, UINT64_C(1) << 40, 0); }
static void b_huge_kv(struct file *f) { head(f, 0, UINT64_C(1) << 62); }
static void b_many_kv(struct file *f) { head(f, 0, 100000); kv_u32(f, "a", 1); }
static void b_many_tensors(struct file *f) { head(f, 100000, 0); data(f, 64); }
static void b_cut_key(struct file *f) { head(f, 0, 1); u64(f, 100); put(f, "general.name", 12); }
static void b_key_wraps(struct file *f) { head(f, 0, 1); u64(f, UINT64_MAX); put(f, "general.name", 12); }
static void b_empty_key(struct file *f) { head(f, 0, 1); kv_u32(f, "", 1); u64(f, 0); }
static void b_nul_key(struct file *f) { head(f, 0, 1); strn(f, "a\0b", 3); u32(f, GGUF_KV_U32); u32(f, 0); }
static void b_double_key(struct file *f) { head(f, 0, 2); kv_u32(f, "a.b", 1); kv_u32(f, "a.b", 2); }
static void b_kv_type(struct file *f) { head(f, 0, 1); str(f, "a"); u32(f, 13); u64(f, 0); }
static void b_kv_type_neg(struct file *f) { head(f, 0, 1); str(f, "a"); u32(f, (uint32_t)-1); u64(f, 0); }
static void b_cut_type(struct file *f) { head(f, 0, 1); str(f, "abcdefgh"); u8(f, 4); }
static void b_cut_value(struct file *f) { head(f, 0, 1); str(f, "abcdefgh"); u32(f, GGUF_KV_U64); u32(f, 0); }
static void b_cut_string(struct file *f) { head(f, 0, 1); str(f, "a"); u32(f, GGUF_KV_STR); u64(f, 9); u32(f, 0); }
static void b_string_1g(struct file *f) { head(f, 0, 1); str(f, "a"); u32(f, GGUF_KV_STR); u64(f, (1u << 30) + 1u); }

static void arr(struct file *f, uint32_t elem, uint64_t n)
{
	head(f, 0, 1);
	str(f, "list");
	u32(f, GGUF_KV_ARR);
	u32(f, elem);
	u64(f, n);
}

static void b_arr_arr(struct file *f) { arr(f, GGUF_KV_ARR, 1); u64(f, 0); }
static void b_arr_type(struct file *f) { arr(f, 77, 1); u64(f, 0); }
static void b_arr_long(struct file *f) { arr(f, GGUF_KV_U32, 3); u64(f, 0); }
static void b_arr_wraps(struct file *f) { arr(f, GGUF_KV_U64, (UINT64_C(1) << 61) + 1); u64(f, 0); }
static void b_arr_str_long(struct file *f) { arr(f, GGUF_KV_STR, 2); str(f, "abcdefgh"); u8(f, 0); }
static void b_arr_str_cut(struct file *f) { arr(f, GGUF_KV_STR, 2); str(f, "a"); u64(f, 2); u8(f, 'x'); }
static void b_cut_arr(struct file *f) { head(f, 0, 1); str(f, "list"); u32(f, GGUF_KV_ARR); u32(f, 4); u8(f, 1); }

static void b_align0(struct file *f) { head(f, 0, 1); kv_u32(f, "general.alignment", 0); }
static void b_align3(struct file *f) { head(f, 0, 1); kv_u32(f, "general.alignment", 48); }
static void b_align_huge(struct file *f) { head(f, 0, 1); kv_u32(f, "general.alignment", 1u << 31); }
static void b_align_str(struct file *f) { head(f, 0, 1); str(f, "general.alignment"); u32(f, GGUF_KV_STR); str(f, "32"); }

static const int64_t d32[4] = {32, 1, 1, 1};

static void b_name_empty(struct file *f) { head(f, 1, 0); tensor(f, "", 1, d32, GGUF_F32, 0); data(f, 128); }
static void b_name_long(struct file *f)
{
	char name[65];
	memset(name, 'x', 64);
	name[64] = '\0';
	head(f, 1, 0);
	tensor(f, name, 1, d32, GGUF_F32, 0);
	data(f, 128);
}
static void b_name_double(struct file *f)
{
	head(f, 2, 0);
	tensor(f, "w", 1, d32, GGUF_F32, 0);
	tensor(f, "w", 1, d32, GGUF_F32, 128);
	data(f, 256);
}
static void b_dims5(struct file *f)
{
	head(f, 1, 0);
	tensor(f, "w", 5, (int64_t[]){32, 1, 1, 1, 1}, GGUF_F32, 0);
	data(f, 128);
}
static void b_dim0(struct file *f) { head(f, 1, 0); tensor(f, "w", 2, (int64_t[]){32, 0}, GGUF_F32, 0); data(f, 128); }
static void b_dim_neg(struct file *f) { head(f, 1, 0); tensor(f, "w", 2, (int64_t[]){32, -1}, GGUF_F32, 0); data(f, 128); }
static void b_dim_wraps(struct file *f)
{
	head(f, 1, 0);
	tensor(f, "w", 3, (int64_t[]){INT64_C(1) << 31, INT64_C(1) << 31, 4}, GGUF_F32, 0);
	data(f, 128);
}
static void b_bytes_wrap(struct file *f)
{
	head(f, 1, 0);
	tensor(f, "w", 2, (int64_t[]){INT64_C(1) << 31, INT64_C(1) << 31}, GGUF_F32, 0);
	data(f, 128);
}
static void b_block(struct file *f) { head(f, 1, 0); tensor(f, "w", 1, (int64_t[]){48}, GGUF_Q4_0, 0); data(f, 128); }
static void b_type_removed(struct file *f) { head(f, 1, 0); tensor(f, "w", 1, d32, 31, 0); data(f, 128); }
static void b_type_hole(struct file *f) { head(f, 1, 0); tensor(f, "w", 1, d32, 4, 0); data(f, 128); }
static void b_type_high(struct file *f) { head(f, 1, 0); tensor(f, "w", 1, d32, 1000, 0); data(f, 128); }
static void b_type_neg(struct file *f) { head(f, 1, 0); tensor(f, "w", 1, d32, (uint32_t)-2, 0); data(f, 128); }
static void b_offset_odd(struct file *f) { head(f, 1, 0); tensor(f, "w", 1, d32, GGUF_F32, 4); data(f, 256); }
static void b_offset_gap(struct file *f) { head(f, 1, 0); tensor(f, "w", 1, d32, GGUF_F32, 32); data(f, 256); }
static void b_offset_same(struct file *f)
{
	head(f, 2, 0);
	tensor(f, "a", 1, d32, GGUF_F32, 0);
	tensor(f, "b", 1, d32, GGUF_F32, 0);
	data(f, 256);
}
static void b_data_short(struct file *f) { head(f, 1, 0); tensor(f, "w", 1, d32, GGUF_F32, 0); data(f, 127); }
static void b_data_none(struct file *f) { head(f, 1, 0); tensor(f, "w", 1, d32, GGUF_F32, 0); }
static void b_cut_dims(struct file *f) { head(f, 1, 0); str(f, "weight"); u32(f, 2); u64(f, 32); u32(f, 1); }
static void b_cut_name(struct file *f) { head(f, 1, 0); u64(f, 50); data(f, 32); }

static const struct {
	const char *name;
	void (*build)(struct file *f);
	int code;
	const char *says;
} broken[] = {
	{"empty", b_empty, ERR_FORMAT, "does not begin with"},
	{"magic", b_magic, ERR_FORMAT, "does not begin with"},
	{"cut_version", b_cut_version, ERR_FORMAT, "ends inside its header"},
	{"version0", b_version0, ERR_FORMAT, "version 0"},
	{"version1", b_version1, ERR_UNSUPPORTED, "version 1"},
	{"version4", b_version4, ERR_UNSUPPORTED, "version 4"},
	{"big_endian", b_big_endian, ERR_UNSUPPORTED, "big-endian"},
	{"cut_counts", b_cut_counts, ERR_FORMAT, "ends inside its header"},
	{"neg_tensors", b_neg_tensors, ERR_FORMAT, "-1 tensors"},
	{"neg_kv", b_neg_kv, ERR_FORMAT, "-5 metadata keys"},
	{"huge_tensors", b_huge_tensors, ERR_FORMAT, "1099511627776 tensors"},
	{"huge_kv", b_huge_kv, ERR_FORMAT, "metadata keys"},
	{"many_kv", b_many_kv, ERR_FORMAT, "100000 metadata keys"},
	{"many_tensors", b_many_tensors, ERR_FORMAT, "100000 tensors"},
	{"cut_key", b_cut_key, ERR_FORMAT, "ends inside metadata key 0"},
	{"key_wraps", b_key_wraps, ERR_FORMAT, "ends inside metadata key 0"},
	{"empty_key", b_empty_key, ERR_FORMAT, "empty name"},
	{"nul_key", b_nul_key, ERR_FORMAT, "NUL byte"},
	{"double_key", b_double_key, ERR_FORMAT, "two metadata keys named \"a.b\""},
	{"kv_type", b_kv_type, ERR_FORMAT, "unknown type 13"},
	{"kv_type_neg", b_kv_type_neg, ERR_FORMAT, "unknown type -1"},
	{"cut_type", b_cut_type, ERR_FORMAT, "ends inside metadata key 0"},
	{"cut_value", b_cut_value, ERR_FORMAT, "value of \"abcdefgh\""},
	{"cut_string", b_cut_string, ERR_FORMAT, "value of \"a\""},
	{"string_1g", b_string_1g, ERR_FORMAT, "value of \"a\""},
	{"arr_arr", b_arr_arr, ERR_FORMAT, "array of arrays"},
	{"arr_type", b_arr_type, ERR_FORMAT, "unknown type 77"},
	{"arr_long", b_arr_long, ERR_FORMAT, "3 elements"},
	{"arr_wraps", b_arr_wraps, ERR_FORMAT, "elements, more than"},
	{"arr_str_long", b_arr_str_long, ERR_FORMAT, "string 1 of the array \"list\""},
	{"arr_str_cut", b_arr_str_cut, ERR_FORMAT, "string 1 of the array \"list\""},
	{"cut_arr", b_cut_arr, ERR_FORMAT, "ends inside the array"},
	{"align0", b_align0, ERR_FORMAT, "general.alignment is 0"},
	{"align3", b_align3, ERR_FORMAT, "general.alignment is 48"},
	{"align_huge", b_align_huge, ERR_FORMAT, "general.alignment is 2147483648"},
	{"align_str", b_align_str, ERR_FORMAT, "\"general.alignment\" is of type string"},
	{"name_empty", b_name_empty, ERR_FORMAT, "empty name"},
	{"name_long", b_name_long, ERR_FORMAT, "64 bytes"},
	{"name_double", b_name_double, ERR_FORMAT, "two tensors named \"w\""},
	{"dims5", b_dims5, ERR_FORMAT, "more than 4 dimensions (5)"},
	{"dim0", b_dim0, ERR_FORMAT, "dimension below 1 (0)"},
	{"dim_neg", b_dim_neg, ERR_FORMAT, "dimension below 1 (-1)"},
	{"dim_wraps", b_dim_wraps, ERR_FORMAT, "more elements than"},
	{"bytes_wrap", b_bytes_wrap, ERR_FORMAT, "more bytes than"},
	{"block", b_block, ERR_FORMAT, "no whole number of quantization blocks (48)"},
	{"type_removed", b_type_removed, ERR_UNSUPPORTED, "type that is unknown or was removed from the format (31)"},
	{"type_hole", b_type_hole, ERR_UNSUPPORTED, "(4)"},
	{"type_high", b_type_high, ERR_UNSUPPORTED, "(1000)"},
	{"type_neg", b_type_neg, ERR_UNSUPPORTED, "(-2)"},
	{"offset_odd", b_offset_odd, ERR_FORMAT, "breaks general.alignment (4)"},
	{"offset_gap", b_offset_gap, ERR_FORMAT, "does not start where"},
	{"offset_same", b_offset_same, ERR_FORMAT, "does not start where"},
	{"data_short", b_data_short, ERR_FORMAT, "past the end of the file"},
	{"data_none", b_data_none, ERR_FORMAT, "past the end of the file"},
	{"cut_dims", b_cut_dims, ERR_FORMAT, "ends inside tensor 0"},
	{"cut_name", b_cut_name, ERR_FORMAT, "ends inside tensor 0"},
};

START_TEST(test_broken)
{
	static struct file f;
	struct gguf *g;
	struct err err;
	f.n = 0;
	broken[_i].build(&f);
	uint8_t *p = copy(&f, f.n);
	int rc = gguf_open_mem(p, f.n, &g, &err);
	free(p);
	ck_assert_msg(rc == broken[_i].code && strstr(err.msg, broken[_i].says), "%s: %d \"%s\"", broken[_i].name, rc, err.msg);
}
END_TEST

/* ---- good files ---- */

static void good(struct file *f, uint32_t version)
{
	put(f, "GGUF", 4);
	u32(f, version);
	u64(f, 3);
	u64(f, 9);
	str(f, "general.name"), u32(f, GGUF_KV_STR), strn(f, "a\0b\xff", 4);
	kv_u32(f, "n", 7);
	str(f, "i8"), u32(f, GGUF_KV_I8), u8(f, (uint8_t)-3);
	str(f, "big"), u32(f, GGUF_KV_U64), u64(f, UINT64_MAX);
	float x = 0.5f;
	str(f, "f32"), u32(f, GGUF_KV_F32), put(f, &x, 4);
	double y = -2.25;
	str(f, "f64"), u32(f, GGUF_KV_F64), put(f, &y, 8);
	str(f, "yes"), u32(f, GGUF_KV_BOOL), u8(f, 2);
	str(f, "strs"), u32(f, GGUF_KV_ARR), u32(f, GGUF_KV_STR), u64(f, 3), str(f, "one"), str(f, ""), str(f, "three");
	str(f, "i16s"), u32(f, GGUF_KV_ARR), u32(f, GGUF_KV_I16), u64(f, 2), put(f, "\xff\xff\x01\x02", 4);
	tensor(f, "a", 2, (int64_t[]){32, 3}, GGUF_Q4_0, 0);
	tensor(f, "b", 0, NULL, GGUF_F32, 64);
	tensor(f, "c", 4, (int64_t[]){2, 3, 4, 5}, GGUF_F16, 96);
	data(f, 96 + 240);
}

START_TEST(test_good)
{
	static struct file f;
	struct gguf *g;
	struct err err;
	f.n = 0;
	good(&f, (uint32_t)_i);
	uint8_t *p = copy(&f, f.n);
	ck_assert_msg(gguf_open_mem(p, f.n, &g, &err) == 0, "%s", err.msg);
	const struct gguf_tensor *a = gguf_tensor(g, "a"), *b = gguf_tensor(g, "b"), *c = gguf_tensor(g, "c");
	ck_assert_int_eq(gguf_version(g), _i);
	ck_assert_uint_eq(gguf_n_kv(g), 9);
	ck_assert_uint_eq(gguf_n_tensor(g), 3);
	ck_assert_uint_eq(gguf_file_bytes(g), f.n);
	ck_assert(a && b && c && !gguf_tensor(g, "d") && gguf_tensor_at(g, 2) == c);
	ck_assert(a->n_elem == 96 && a->n_bytes == 54 && a->ne[1] == 3 && a->ne[3] == 1 && a->data[5] == 5);
	ck_assert(b->n_elem == 1 && b->n_bytes == 4 && b->n_dims == 0 && b->data[0] == 64);
	ck_assert(c->n_elem == 120 && c->n_bytes == 240 && c->data[0] == 96 && (uintptr_t)c->data % 32 == 0);
	gguf_close(g);
	free(p);
}
END_TEST

START_TEST(test_access)
{
	static struct file f;
	struct gguf *g;
	struct err err;
	struct gguf_str s;
	int64_t i = -1;
	double d;
	bool yes;
	f.n = 0;
	good(&f, 3);
	ck_assert_int_eq(gguf_open_mem(f.b, f.n, &g, &err), 0);
	ck_assert(gguf_get_str(g, "general.name", &s, &err) == 1 && s.n == 4 && !memcmp(s.s, "a\0b\xff", 4));
	ck_assert(gguf_get_i64(g, "n", &i, &err) == 1 && i == 7);
	ck_assert(gguf_get_i64(g, "i8", &i, &err) == 1 && i == -3);
	ck_assert(gguf_get_i64(g, "absent", &i, &err) == 0 && i == -3);
	ck_assert(gguf_get_i64(g, "big", &i, &err) == ERR_FORMAT && strstr(err.msg, "18446744073709551615"));
	ck_assert(gguf_get_i64(g, "f32", &i, &err) == ERR_FORMAT && strstr(err.msg, "\"f32\" is of type f32"));
	ck_assert(gguf_get_i64(g, "i16s", &i, &err) == ERR_FORMAT && strstr(err.msg, "array of i16"));
	ck_assert(gguf_get_f64(g, "f32", &d, &err) == 1 && d == 0.5);
	ck_assert(gguf_get_f64(g, "f64", &d, &err) == 1 && d == -2.25);
	ck_assert(gguf_get_f64(g, "n", &d, &err) == 1 && d == 7.0);
	ck_assert(gguf_get_f64(g, "yes", &d, &err) == ERR_FORMAT);
	ck_assert(gguf_get_bool(g, "yes", &yes, &err) == 1 && yes);
	ck_assert(gguf_get_bool(g, "n", &yes, &err) == 1 && yes);
	ck_assert(gguf_get_bool(g, "general.name", &yes, &err) == ERR_FORMAT);
	ck_assert(gguf_get_str(g, "n", &s, &err) == ERR_FORMAT);
	const struct gguf_kv *kv = gguf_find(g, "i16s");
	ck_assert(kv && kv->n == 2 && kv == gguf_kv_at(g, 8));
	ck_assert(gguf_arr_i64(kv, 0, &i, &err) == 0 && i == -1);
	ck_assert(gguf_arr_f64(kv, 1, &d, &err) == 0 && d == 513.0);
	ck_assert(gguf_arr_bool(kv, 1, &yes, &err) == 0 && yes);
	ck_assert(gguf_arr_i64(gguf_find(g, "n"), 0, &i, &err) == 0 && i == 7);
	kv = gguf_find(g, "strs");
	struct gguf_str_iter it = {0};
	static const char *const want[] = {"one", "", "three"};
	for (uint64_t k = 0; k < kv->n; k++) {
		ck_assert_int_eq(gguf_arr_next_str(kv, &it, &s, &err), 0);
		ck_assert(s.n == strlen(want[k]) && !memcmp(s.s, want[k], s.n));
	}
	ck_assert(gguf_arr_i64(kv, 0, &i, &err) == ERR_FORMAT);
	gguf_close(g);
}
END_TEST

/* Every prefix of a good file is refused, and no byte changed in it makes the reader misbehave. */
START_TEST(test_prefixes_and_flips)
{
	static struct file f, part;
	struct gguf *g;
	struct err err;
	f.n = 0;
	good(&f, 3);
	for (size_t n = 0; n < f.n; n++) {
		uint8_t *p = copy(&f, n);
		ck_assert_msg(gguf_open_mem(p, n, &g, &err) < 0, "prefix of %zu bytes was accepted", n);
		free(p);
	}
	for (size_t i = 0; i < f.n; i++)
		for (int bit = 0; bit < 8; bit++) {
			part = f;
			part.b[i] ^= (uint8_t)(1 << bit);
			if (gguf_open_mem(part.b, part.n, &g, &err) == 0)
				gguf_close(g);
		}
}
END_TEST

START_TEST(test_open_fd)
{
	static struct file f;
	struct gguf *g;
	struct err err;
	char path[] = "/tmp/cria-test-gguf-XXXXXX";
	int fd = mkstemp(path);
	ck_assert(fd >= 0);
	unlink(path);
	ck_assert(gguf_open(fd, &g, &err) == ERR_FORMAT && strstr(err.msg, "empty"));
	f.n = 0;
	good(&f, 3);
	ck_assert(write(fd, f.b, f.n) == (ssize_t)f.n);
	ck_assert_msg(gguf_open(fd, &g, &err) == 0, "%s", err.msg);
	ck_assert(gguf_tensor(g, "c")->data[1] == 97);
	gguf_close(g);
	close(fd);
	ck_assert(gguf_open(fd, &g, &err) == ERR_IO);
}
END_TEST

START_TEST(test_types)
{
	ck_assert_ptr_null(gguf_type_info(-1));
	ck_assert_ptr_null(gguf_type_info(4));
	ck_assert_ptr_null(gguf_type_info(36));
	ck_assert_ptr_null(gguf_type_info(1 << 30));
	ck_assert_int_eq(gguf_type_info(GGUF_Q6_K)->bytes, 210);
	ck_assert_int_eq(gguf_type_by_name("q4_k")->id, GGUF_Q4_K);
	ck_assert_ptr_null(gguf_type_by_name("Q4_2"));
	ck_assert_str_eq(gguf_ftype_name(15), "Q4_K_M");
	ck_assert_str_eq(gguf_ftype_name(1024 + 7), "Q8_0");
	ck_assert_str_eq(gguf_ftype_name(5), "unknown");
	ck_assert_str_eq(gguf_ftype_name(-1), "unknown");
	ck_assert_str_eq(gguf_ftype_name(INT64_MAX), "unknown");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("gguf");
	TCase *t = tcase_create("all");
	tcase_add_loop_test(t, test_broken, 0, (int)ARRAY_LEN(broken));
	tcase_add_loop_test(t, test_good, 2, 4);
	tcase_add_test(t, test_access);
	tcase_add_test(t, test_prefixes_and_flips);
	tcase_add_test(t, test_open_fd);
	tcase_add_test(t, test_types);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int n = srunner_ntests_failed(r);
	srunner_free(r);
	return n != 0;
}
