/* The choice of types, and whole GGUF files through convert_run: written, read again, compared. */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bug.h"
#include "convert/convert_model.h"
#include "kern/quant/quant.h"

static struct err err;

/* ---- types ---- */

static struct convert_model model;

static void add(const char *name, int64_t n_in, int64_t n_out)
{
	struct convert_tensor t = {.name = strdup(name), .n_dims = n_out ? 2 : 1, .ne = {n_in, n_out ? n_out : 1, 1, 1}, .row = n_in,
				   .src_type = GGUF_F16, .type = n_out ? GGUF_F16 : GGUF_F32};
	vec_push(&model.tensors, t);
}

static void build(int n_layer, int64_t width, bool output)
{
	char name[64];
	memset(&model, 0, sizeof model);
	model.n_layer = n_layer;
	model.n_head = 8;
	model.n_head_kv = 2;
	add("token_embd.weight", width, 1000);
	for (int i = 0; i < n_layer; i++) {
		static const char *const parts[] = {"attn_q", "attn_k", "attn_v", "attn_output", "ffn_up", "ffn_down"};
		for (size_t k = 0; k < ARRAY_LEN(parts); k++) {
			snprintf(name, sizeof name, "blk.%d.%s.weight", i, parts[k]);
			add(name, width, 64);
		}
		snprintf(name, sizeof name, "blk.%d.attn_norm.weight", i);
		add(name, width, 0);
		snprintf(name, sizeof name, "blk.%d.ffn_gate_inp.weight", i);
		add(name, width, 8);
	}
	if (output)
		add("output.weight", width, 1000);
}

static void drop(void)
{
	for (size_t i = 0; i < model.tensors.n; i++)
		free((char *)model.tensors.data[i].name);
	vec_release(&model.tensors);
}

static const char *type_of(const char *name)
{
	for (size_t i = 0; i < model.tensors.n; i++)
		if (!strcmp(model.tensors.data[i].name, name))
			return gguf_type_info(model.tensors.data[i].type)->name;
	return "absent";
}

/* The types of one part in all layers, one letter each: the digit of the type. */
static const char *row_of(const char *part)
{
	static char row[65];
	char name[64];
	int i = 0;
	for (; i < model.n_layer && i < 64; i++) {
		snprintf(name, sizeof name, "blk.%d.%s.weight", i, part);
		row[i] = type_of(name)[1];
	}
	row[i] = '\0';
	return row;
}

START_TEST(test_mixes)
{
	static const struct {
		const char *mix, *q, *v, *down, *out, *head, *embd;
	} cases[] = {
		{"q4_k_m", "4444444444444444", "6644644644644666", "6644644644644666", "4444444444444444", "Q6_K", "Q4_K"},
		{"Q4_K_S", "4444444444444444", "5555444444444444", "5544444444444444", "4444444444444444", "Q6_K", "Q4_K"},
		{"Q5_K_M", "5555555555555555", "6655655655655666", "6655655655655666", "5555555555555555", "Q6_K", "Q5_K"},
		{"Q3_K_M", "3333333333333333", "5544444444444444", "5444444444444444", "4444444444444444", "Q6_K", "Q3_K"},
		{"Q3_K_L", "3333333333333333", "5555555555555555", "5555555555555555", "5555555555555555", "Q6_K", "Q3_K"},
		{"Q2_K", "2222222222222222", "4444444444444444", "3333333333333333", "3333333333333333", "Q6_K", "Q2_K"},
		{"Q8_0", "8888888888888888", "8888888888888888", "8888888888888888", "8888888888888888", "Q8_0", "Q8_0"},
		{"Q4_0", "4444444444444444", "4444444444444444", "4444444444444444", "4444444444444444", "Q6_K", "Q4_0"},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		build(16, 512, true);
		convert_mix_apply(convert_mix_find(cases[i].mix), &model);
		ck_assert_str_eq(row_of("attn_q"), cases[i].q);
		ck_assert_str_eq(row_of("attn_v"), cases[i].v);
		ck_assert_str_eq(row_of("ffn_down"), cases[i].down);
		ck_assert_str_eq(row_of("attn_output"), cases[i].out);
		ck_assert_str_eq(type_of("output.weight"), cases[i].head);
		ck_assert_str_eq(type_of("token_embd.weight"), cases[i].embd);
		ck_assert_str_eq(type_of("blk.3.attn_norm.weight"), "F32");
		ck_assert_str_eq(type_of("blk.3.ffn_gate_inp.weight"), "F16");
		drop();
	}
}
END_TEST

/* Rows that are no multiple of 256, or of 32; heads shared with the embeddings; models with experts or of 70B. */
START_TEST(test_exceptions)
{
	build(2, 576, false);
	convert_mix_apply(convert_mix_find("Q4_K"), &model);
	ck_assert_str_eq(type_of("token_embd.weight"), "Q8_0");
	ck_assert_str_eq(type_of("blk.0.attn_q.weight"), "Q5_0");
	ck_assert_int_eq(model.file_type, 15);
	drop();
	build(2, 48, true);
	convert_mix_apply(convert_mix_find("Q5_K_S"), &model);
	ck_assert_str_eq(type_of("blk.0.attn_q.weight"), "F16");
	drop();
	build(8, 512, false);
	convert_mix_apply(convert_mix_find("Q5_0"), &model);
	ck_assert_str_eq(type_of("token_embd.weight"), "Q6_K");
	drop();
	build(80, 512, true);
	convert_mix_apply(convert_mix_find("Q3_K_S"), &model);
	ck_assert_str_eq(type_of("blk.40.attn_v.weight"), "Q5_K");
	drop();
	build(4, 512, true);
	model.n_expert = 8;
	convert_mix_apply(convert_mix_find("Q4_K_M"), &model);
	ck_assert_str_eq(type_of("blk.1.attn_v.weight"), "Q8_0");
	ck_assert_str_eq(type_of("blk.1.attn_k.weight"), "Q8_0");
	ck_assert_str_eq(type_of("blk.1.attn_output.weight"), "Q5_K");
	drop();
	ck_assert_ptr_null(convert_mix_find("Q9"));
}
END_TEST

/* ---- files ---- */

enum { N_IN = 256, N_OUT = 40 };

/* A file with part i of n of a model: a norm in part 0, a matrix in every one. */
static int make_file(int i, int n, bool spoiled)
{
	struct gguf_writer w = {0};
	struct str head = {0};
	struct gguf_str words[] = {{"a", 1}, {"b\0c", 3}};
	uint64_t total;
	uint32_t parts = (uint32_t)n;
	char name[32];
	snprintf(name, sizeof name, "blk.%d.ffn_up.weight", i);
	gguf_write_str(&w, "general.architecture", "llama", 5);
	gguf_write_u32(&w, "llama.block_count", parts);
	gguf_write_u32(&w, "general.file_type", 0);
	gguf_write_strings(&w, "words", words, 2);
	gguf_write_array(&w, "numbers", GGUF_KV_U32, &parts, 1);
	gguf_write_bool(&w, "yes", true);
	if (n > 1) {
		gguf_write_u32(&w, "split.no", (uint32_t)i);
		gguf_write_u32(&w, "split.count", parts);
		gguf_write_u32(&w, "split.tensors.count", parts + 1);
	}
	if (i == 0)
		gguf_write_tensor(&w, "output_norm.weight", GGUF_F32, 1, (int64_t[4]){N_IN, 1, 1, 1});
	gguf_write_tensor(&w, name, GGUF_F32, 2, (int64_t[4]){N_IN, N_OUT, 1, 1});
	ck_assert_int_eq(gguf_write_end(&w, &head, &total, &err), 0);
	while (head.len < total) {
		float v = (float)((head.len / 4 * 2654435761u) >> 8 & 0xffff) / 65536 - 0.5f;
		if (spoiled && head.len + 4 >= total)
			v = 1.0f / 0.0f;
		str_add(&head, &v, sizeof v);
	}
	int fd = memfd_create("part", 0);
	ck_assert_int_eq(write(fd, head.data, head.len), (ssize_t)head.len);
	gguf_writer_release(&w);
	str_release(&head);
	return fd;
}

static int run(const int *fds, size_t n, const char *type, int n_thread, int *ret_fd)
{
	struct convert_file files[4];
	for (size_t i = 0; i < n; i++)
		files[i] = (struct convert_file){"x.gguf", fds[i]};
	*ret_fd = memfd_create("out", 0);
	struct convert_job job = {.files = files, .n_file = n, .fd_out = *ret_fd, .type = type, .n_thread = n_thread};
	return convert_run(&job, &err);
}

START_TEST(test_copy)
{
	struct gguf *a, *b;
	int fd = make_file(0, 1, false), out;
	ck_assert_int_eq(run(&fd, 1, "", 1, &out), 0);
	ck_assert_int_eq(gguf_open(fd, &a, &err), 0);
	ck_assert_msg(!gguf_open(out, &b, &err), "%s", err.msg);
	ck_assert_uint_eq(gguf_n_kv(b), gguf_n_kv(a) + 1); /* general.quantization_version */
	ck_assert_uint_eq(gguf_n_tensor(b), 2);
	for (size_t i = 0; i < 2; i++) {
		const struct gguf_tensor *x = gguf_tensor_at(a, i), *y = gguf_tensor(b, x->name);
		ck_assert(y && y->type == x->type && y->n_bytes == x->n_bytes && !memcmp(x->data, y->data, x->n_bytes));
	}
	struct gguf_str_iter it = {0};
	struct gguf_str s;
	const struct gguf_kv *words = gguf_find(b, "words");
	ck_assert_int_ge(gguf_arr_next_str(words, &it, &s, &err), 0);
	ck_assert_int_ge(gguf_arr_next_str(words, &it, &s, &err), 0);
	ck_assert(s.n == 3 && !memcmp(s.s, "b\0c", 3));
	gguf_close(a);
	gguf_close(b);
	close(fd);
	close(out);
}
END_TEST

/* One thread or three, one file or three parts: the same bytes as encoding each row alone. */
START_TEST(test_parts_and_types)
{
	static const char *const types[] = {"Q4_K_M", "q8_0", "BF16"};
	int fds[3] = {make_file(0, 3, false), make_file(1, 3, false), make_file(2, 3, false)};
	int order[3] = {fds[2], fds[0], fds[1]};
	for (size_t k = 0; k < ARRAY_LEN(types); k++) {
		struct gguf *in, *out[2];
		int fd[2];
		static uint8_t row[N_IN * 4];
		ck_assert_msg(!run(order, 3, types[k], 1, &fd[0]), "%s", err.msg);
		ck_assert_int_eq(run(fds, 3, types[k], 3, &fd[1]), 0);
		ck_assert_int_eq(gguf_open(fd[0], &out[0], &err), 0);
		ck_assert_int_eq(gguf_open(fd[1], &out[1], &err), 0);
		ck_assert_int_eq(gguf_open(fds[1], &in, &err), 0);
		ck_assert_uint_eq(gguf_n_tensor(out[0]), 4);
		ck_assert_ptr_null(gguf_find(out[0], "split.no"));
		const struct gguf_tensor *src = gguf_tensor(in, "blk.1.ffn_up.weight"), *t = gguf_tensor(out[0], src->name);
		size_t stride = t->n_bytes / N_OUT;
		for (int r = 0; r < N_OUT; r++) {
			quant_encoder(t->type)((const float *)(const void *)src->data + r * N_IN, row, N_IN);
			ck_assert(!memcmp(row, t->data + (size_t)r * stride, stride));
		}
		for (size_t i = 0; i < 4; i++) {
			const struct gguf_tensor *x = gguf_tensor_at(out[0], i), *y = gguf_tensor(out[1], x->name);
			ck_assert(x->type == y->type && !memcmp(x->data, y->data, x->n_bytes));
		}
		gguf_close(in);
		for (int i = 0; i < 2; i++) {
			gguf_close(out[i]);
			close(fd[i]);
		}
	}
	for (int i = 0; i < 3; i++)
		close(fds[i]);
}
END_TEST

START_TEST(test_refused)
{
	int parts[] = {make_file(0, 2, false), make_file(1, 2, false), make_file(0, 1, true)}, out;
	ck_assert_int_eq(run(parts, 1, "", 1, &out), ERR_FORMAT);
	ck_assert(strstr(err.msg, "split into 2 files"));
	ck_assert_int_eq(run((int[]){parts[0], parts[0]}, 2, "", 1, &out), ERR_FORMAT);
	ck_assert(strstr(err.msg, "given twice"));
	ck_assert_int_eq(run(&parts[2], 1, "Q8_0", 1, &out), ERR_FORMAT);
	ck_assert_msg(strstr(err.msg, "blk.0.ffn_up.weight has values that are infinite") != NULL, "%s", err.msg);
	ck_assert_int_eq(run(&parts[2], 1, "Q8_1", 1, &out), ERR_INVALID);
	ck_assert_int_eq(run(&parts[2], 0, "", 1, &out), ERR_INVALID);
	ck_assert_int_eq(run(&out, 1, "", 1, &out), ERR_FORMAT); /* no GGUF at all */
	out = open("/dev/full", O_WRONLY);
	struct convert_file file = {"x.gguf", parts[2]};
	struct convert_job job = {.files = &file, .n_file = 1, .fd_out = out, .type = ""};
	ck_assert_int_eq(convert_run(&job, &err), ERR_IO);
	for (int i = 0; i < 3; i++)
		close(parts[i]);
}
END_TEST

/* Rows (i, i + half) of a head become neighbours. */
START_TEST(test_rows)
{
	struct convert_tensor t = {.ne = {8, 12, 1, 1}, .row = 8, .n_head = 2};
	static const int want[] = {0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11};
	ck_assert_int_eq(convert_n_row(&t), 12);
	for (int r = 0; r < 12; r++)
		ck_assert_int_eq(convert_source_row(&t, r), want[r]);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("convert");
	TCase *t = tcase_create("all");
	tcase_set_timeout(t, 60);
	tcase_add_test(t, test_mixes);
	tcase_add_test(t, test_exceptions);
	tcase_add_test(t, test_copy);
	tcase_add_test(t, test_parts_and_types);
	tcase_add_test(t, test_refused);
	tcase_add_test(t, test_rows);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int n = srunner_ntests_failed(r);
	srunner_free(r);
	return n != 0;
}
