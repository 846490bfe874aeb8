/* Dequantizers against blocks whose values an independent implementation computed: equal bits. */
#include <check.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"
#include "gguf/gguf_type.h"
#include "kern/quant/quant.h"

static int check_row(const char *name, const struct quant *q, json_t *row)
{
	const struct gguf_type_info *info = gguf_type_info(q->type);
	const char *hex = json_string_value(json_object_get(row, "hex"));
	json_t *values = json_object_get(row, "values");
	size_t n = json_array_size(values), n_bytes = n / (size_t)info->block * (size_t)info->bytes;
	ck_assert_uint_eq(strlen(hex), 2 * n_bytes);
	uint8_t *src = malloc(n_bytes); /* exact size: a sanitizer sees reads past the end */
	float *dst = malloc(n * sizeof *dst);
	for (size_t i = 0; i < n_bytes; i++) {
		unsigned b;
		ck_assert_int_eq(sscanf(hex + 2 * i, "%2x", &b), 1);
		src[i] = (uint8_t)b;
	}
	q->to_f32(src, dst, (int64_t)n);
	for (size_t i = 0; i < n; i++) {
		float want = (float)json_number_value(json_array_get(values, i));
		ck_assert_msg(!memcmp(&want, &dst[i], sizeof want), "%s value %zu: %.9g, want %.9g", name, i, (double)dst[i],
			      (double)want);
	}
	free(src);
	free(dst);
	return 1;
}

static int check_file(const char *path)
{
	json_error_t je;
	json_t *root = json_load_file(path, 0, &je), *row;
	if (!root)
		return 0;
	int n_row = 0, n_type = 0;
	const char *name;
	json_t *entry;
	json_object_foreach(root, name, entry) {
		const struct gguf_type_info *info = gguf_type_by_name(name);
		const struct quant *q = info ? quant_for(info->id) : NULL;
		size_t i;
		if (!q)
			continue;
		n_type++;
		json_array_foreach(json_object_get(entry, "rows"), i, row)
			n_row += check_row(name, q, row);
	}
	json_decref(root);
	ck_assert_int_eq(n_type, 12);
	return n_row;
}

START_TEST(test_blocks)
{
	ck_assert_int_eq(check_file("tests/golden/quant_blocks.json"), 12);
}
END_TEST

START_TEST(test_blocks_shared)
{
	if (!check_file("../shared/golden/arch/quant/blocks.json"))
		printf("skipped: ../shared/golden/arch/quant/blocks.json is absent\n");
}
END_TEST

/* Every f16 comes back from f32, and values between two f16 round to the nearest, ties to even. */
START_TEST(test_f16)
{
	for (uint32_t h = 0; h < 0x10000; h++) {
		float f = f16_to_f32((uint16_t)h);
		if ((h & 0x7fff) > 0x7c00) {
			ck_assert(isnan(f) && (f32_to_f16(f) & 0x7fff) > 0x7c00);
			continue;
		}
		ck_assert_msg(f32_to_f16(f) == h, "%04x -> %.9g -> %04x", h, (double)f, f32_to_f16(f));
		if ((h & 0x7fff) >= 0x7bff)
			continue;
		float next = f16_to_f32((uint16_t)(h + 1)), mid = f + (next - f) / 2; /* exact in f32 */
		ck_assert_uint_eq(f32_to_f16(mid), h & 1 ? h + 1 : h);
		ck_assert_uint_eq(f32_to_f16(nextafterf(mid, f)), h);
		ck_assert_uint_eq(f32_to_f16(nextafterf(mid, next)), h + 1);
	}
	ck_assert_uint_eq(f32_to_f16(65519.996f), 0x7bff);
	ck_assert_uint_eq(f32_to_f16(65520.0f), 0x7c00);
	ck_assert_uint_eq(f32_to_f16(-1e30f), 0xfc00);
	ck_assert_uint_eq(f32_to_f16(1e-30f), 0);
	ck_assert_float_eq(f16_to_f32(1), 0x1p-24f);
	ck_assert_float_eq(f16_to_f32(0x3c00), 1.0f);
	ck_assert(isinf(f16_to_f32(0x7c00)));
}
END_TEST

START_TEST(test_names)
{
	ck_assert_ptr_null(quant_for(-1));
	ck_assert_ptr_null(quant_for(GGUF_Q8_K));
	ck_assert_int_eq(strncmp(quant_names(), "F32 F16 BF16 Q4_0", 17), 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("quant");
	TCase *t = tcase_create("all");
	tcase_set_timeout(t, 60);
	tcase_add_test(t, test_blocks);
	tcase_add_test(t, test_blocks_shared);
	tcase_add_test(t, test_f16);
	tcase_add_test(t, test_names);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int n = srunner_ntests_failed(r);
	srunner_free(r);
	return n != 0;
}
