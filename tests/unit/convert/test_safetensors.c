/* The header of safetensors files: what is read, and what is refused with which word. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"
#include "convert/safetensors.h"
#include "gguf/gguf_type.h"

static struct err err;

/* A file with this header and n bytes of data, in memory of its exact size. */
static int read_file(const char *header, size_t n, struct safetensors *ret, uint8_t **ret_bytes)
{
	uint64_t n_header = strlen(header);
	uint8_t *bytes = malloc(8 + n_header + n);
	memcpy(bytes, &n_header, 8);
	memcpy(bytes + 8, header, n_header);
	for (size_t i = 0; i < n; i++)
		bytes[8 + n_header + i] = (uint8_t)i;
	*ret_bytes = bytes;
	return safetensors_read(bytes, 8 + n_header + n, ret, &err);
}

START_TEST(test_good)
{
	struct safetensors s;
	uint8_t *bytes;
	ck_assert_int_eq(read_file("{\"__metadata__\":{\"format\":\"pt\"},\"b\":{\"dtype\":\"BF16\",\"shape\":[3],\"data_offsets\":[16,22]},"
				   "\"a\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[0,16]},"
				   "\"e\":{\"dtype\":\"F16\",\"shape\":[0],\"data_offsets\":[16,16]},"
				   "\"i\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[22,30]}}", 30, &s, &bytes), 0);
	ck_assert_uint_eq(s.n, 4);
	ck_assert_str_eq(s.tensors[0].name, "a");
	ck_assert_int_eq(s.tensors[0].type, GGUF_F32);
	ck_assert_int_eq(s.tensors[0].n_dims, 2);
	ck_assert_int_eq(s.tensors[0].n_elem, 4);
	ck_assert_uint_eq(s.tensors[0].data[1], 1);
	ck_assert_str_eq(s.tensors[2].name, "b");
	ck_assert_uint_eq(s.tensors[2].data[0], 16);
	ck_assert_int_eq(s.tensors[3].type, -1);
	ck_assert_int_eq(s.tensors[3].n_elem, 1);
	safetensors_release(&s);
	free(bytes);
}
END_TEST

START_TEST(test_refused)
{
#define T(dtype, shape, places) "{\"a\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" places "}}"
	static const struct {
		const char *header, *word;
	} cases[] = {
		{"[1]", "no JSON object"},
		{"{", "header"},
		{"{\"a\":5}", "no known type"},
		{T("Q4_0", "[2]", "[0,8]"), "no known type"},
		{T("F32", "[2]", "[0,12]"), "another size"},
		{T("F32", "[2]", "[8,4]"), "outside"},
		{T("F32", "[8]", "[0,32]"), "outside"},
		{T("F32", "[2]", "[-8,0]"), "outside"},
		{T("F32", "[2]", "[0]"), "outside"},
		{T("F32", "[-2]", "[0,8]"), "impossible shape"},
		{T("F32", "[4611686018427387904,4]", "[0,8]"), "impossible shape"},
		{T("F32", "[1073741824,1073741824,4]", "[0,0]"), "another size"},
		{T("F32", "[1,1,1,1,1,1,1,1,2]", "[0,8]"), "too many dimensions"},
		{T("F32", "\"2\"", "[0,8]"), "no shape"},
		{"{\"\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", "impossible length"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}",
		 "overlaps"},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct safetensors s;
		uint8_t *bytes;
		ck_assert_msg(read_file(cases[i].header, 16, &s, &bytes) == ERR_FORMAT, "%s", cases[i].header);
		ck_assert_msg(strstr(err.msg, cases[i].word) != NULL, "%s: %s", cases[i].header, err.msg);
		ck_assert_uint_eq(s.n, 0);
		free(bytes);
	}
}
END_TEST

START_TEST(test_short)
{
	struct safetensors s;
	uint8_t *bytes = calloc(1, 16);
	for (size_t n = 0; n <= 16; n++) {
		memset(bytes, 0xff, 8);
		ck_assert_int_eq(safetensors_read(bytes, n, &s, &err), ERR_FORMAT);
	}
	free(bytes);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("safetensors");
	TCase *t = tcase_create("all");
	tcase_add_test(t, test_good);
	tcase_add_test(t, test_refused);
	tcase_add_test(t, test_short);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int n = srunner_ntests_failed(r);
	srunner_free(r);
	return n != 0;
}
