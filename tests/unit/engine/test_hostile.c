/* Model files that are not what they say: each must be refused with the right class of error and a message that names the
 * key or tensor; none may crash. One small llama is written with one thing changed at a time. */
#include <check.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"
#include "base/mem.h"
#include "engine/engine_sync.h"
#include "gguf/gguf.h"
#include "kern/kern.h"
#include "kern/pool.h"
#include "model/model.h"

struct file {
	uint8_t *b;
	size_t n;
};

enum { FILE_MAX = 1 << 16 };

static void put(struct file *f, const void *p, size_t n)
{
	ck_assert(f->n + n <= FILE_MAX);
	memcpy(f->b + f->n, p, n);
	f->n += n;
}

static void u32(struct file *f, uint32_t v)
{
	put(f, &v, sizeof v);
}

static void u64(struct file *f, uint64_t v)
{
	put(f, &v, sizeof v);
}

static void text(struct file *f, const char *s)
{
	u64(f, strlen(s));
	put(f, s, strlen(s));
}

enum kind { INT, F32, STR };

struct key {
	const char *name;
	enum kind kind;
	int64_t i;
	double f;
	const char *s;
};

struct tensor {
	const char *name;
	int64_t ne[3];
	int type; /* F32 or Q8_0 */
};

struct model_file {
	struct key keys[32];
	struct tensor tensors[32];
	size_t n_key, n_tensor;
};

static void good(struct model_file *m)
{
	static const struct key keys[] = {
		{"general.architecture", STR, 0, 0, "llama"},
		{"llama.context_length", INT, 32, 0, NULL},
		{"llama.embedding_length", INT, 8, 0, NULL},
		{"llama.block_count", INT, 1, 0, NULL},
		{"llama.feed_forward_length", INT, 16, 0, NULL},
		{"llama.attention.head_count", INT, 4, 0, NULL},
		{"llama.attention.head_count_kv", INT, 2, 0, NULL},
		{"llama.attention.layer_norm_rms_epsilon", F32, 0, 1e-5, NULL},
	};
	static const struct tensor tensors[] = {
		{"token_embd.weight", {8, 12, 1}, GGUF_F32},	  {"output_norm.weight", {8, 1, 1}, GGUF_F32},
		{"blk.0.attn_norm.weight", {8, 1, 1}, GGUF_F32},  {"blk.0.attn_q.weight", {8, 8, 1}, GGUF_F32},
		{"blk.0.attn_k.weight", {8, 4, 1}, GGUF_F32},	  {"blk.0.attn_v.weight", {8, 4, 1}, GGUF_F32},
		{"blk.0.attn_output.weight", {8, 8, 1}, GGUF_F32}, {"blk.0.ffn_norm.weight", {8, 1, 1}, GGUF_F32},
		{"blk.0.ffn_gate.weight", {8, 16, 1}, GGUF_F32},  {"blk.0.ffn_up.weight", {8, 16, 1}, GGUF_F32},
		{"blk.0.ffn_down.weight", {16, 8, 1}, GGUF_F32},
	};
	memset(m, 0, sizeof *m);
	memcpy(m->keys, keys, sizeof keys);
	memcpy(m->tensors, tensors, sizeof tensors);
	m->n_key = ARRAY_LEN(keys);
	m->n_tensor = ARRAY_LEN(tensors);
}

static void set_key(struct model_file *m, struct key k)
{
	size_t i = 0;
	while (i < m->n_key && strcmp(m->keys[i].name, k.name))
		i++;
	m->n_key += i == m->n_key;
	m->keys[i] = k;
}

static void set_tensor(struct model_file *m, struct tensor t)
{
	size_t i = 0;
	while (i < m->n_tensor && strcmp(m->tensors[i].name, t.name))
		i++;
	m->n_tensor += i == m->n_tensor;
	m->tensors[i] = t;
}

static void drop(struct model_file *m, const char *name)
{
	for (size_t i = 0; i < m->n_key; i++)
		if (!strcmp(m->keys[i].name, name))
			m->keys[i] = m->keys[--m->n_key];
	for (size_t i = 0; i < m->n_tensor; i++)
		if (!strcmp(m->tensors[i].name, name))
			m->tensors[i] = m->tensors[--m->n_tensor];
}

static size_t tensor_bytes(const struct tensor *t)
{
	const struct gguf_type_info *info = gguf_type_info(t->type);
	return (size_t)(t->ne[0] * t->ne[1] * t->ne[2]) / (size_t)info->block * (size_t)info->bytes;
}

static void write_key(struct file *f, const struct key *k)
{
	float v = (float)k->f;
	text(f, k->name);
	u32(f, k->kind == INT ? GGUF_KV_I64 : k->kind == F32 ? GGUF_KV_F32 : GGUF_KV_STR);
	if (k->kind == INT)
		u64(f, (uint64_t)k->i);
	else if (k->kind == F32)
		put(f, &v, sizeof v);
	else
		text(f, k->s);
}

static void write_file(const struct model_file *m, struct file *f)
{
	static const uint8_t zero[32];
	size_t off = 0;
	f->b = mem_try_aligned(64, FILE_MAX);
	f->n = 0;
	put(f, "GGUF", 4);
	u32(f, 3);
	u64(f, m->n_tensor);
	u64(f, m->n_key);
	for (size_t i = 0; i < m->n_key; i++)
		write_key(f, &m->keys[i]);
	for (size_t i = 0; i < m->n_tensor; i++) {
		text(f, m->tensors[i].name);
		u32(f, 3);
		for (int j = 0; j < 3; j++)
			u64(f, (uint64_t)m->tensors[i].ne[j]);
		u32(f, (uint32_t)m->tensors[i].type);
		u64(f, off);
		off += (tensor_bytes(&m->tensors[i]) + 31) / 32 * 32;
	}
	put(f, zero, (32 - f->n % 32) % 32);
	ck_assert(f->n + off <= FILE_MAX);
	for (size_t i = 0; i < off; i += 4) {
		float v = (float)(i % 28) / 28 - 0.5f;
		put(f, &v, sizeof v);
	}
}

/* Loads the file and, if it loads, generates a few tokens. */
static int load(const struct model_file *mf, struct err *err)
{
	struct file f;
	struct gguf *g;
	struct model *m;
	const struct kern *k;
	write_file(mf, &f);
	int rc = gguf_open_mem(f.b, f.n, &g, err);
	ck_assert_msg(rc == 0, "%s", err->msg);
	ck_assert_int_eq(kern_choose("ref", NULL, &k, err), 0);
	struct pool *pool = pool_new(1);
	rc = model_new(g, k, k->kv_type, pool, 0, NULL, NULL, &m, err);
	if (!rc) {
		struct engine *e;
		struct engine_cfg ec = {.pool = pool};
		rc = engine_new(m, &ec, &e, err);
		struct seq_cfg c = {.ids = (int[]){1, 2}, .n_ids = 2, .n_predict = 4, .sampler = sampler_cfg_default};
		if (!rc) {
			rc = engine_sync_run(e, &c, NULL, NULL, err);
			engine_free(e);
		}
		model_free(m);
	}
	pool_free(pool);
	gguf_close(g);
	mem_free(f.b);
	return rc;
}

static void expect(const struct model_file *m, int code, const char *word, const char *what)
{
	struct err err = {0};
	int rc = load(m, &err);
	ck_assert_msg(rc == code, "%s: %s (%s), expected %s", what, err_name(rc), err.msg, err_name(code));
	ck_assert_msg(!word || strstr(err.msg, word), "%s: the message \"%s\" does not name %s", what, err.msg, word);
}

START_TEST(test_good)
{
	struct model_file m;
	struct err err;
	good(&m);
	int rc = load(&m, &err);
	ck_assert_msg(rc == 0, "%s", err.msg);
}
END_TEST

START_TEST(test_missing)
{
	static const char *const needed[] = {"llama.context_length", "llama.embedding_length", "llama.block_count",
					     "llama.attention.head_count", "llama.attention.layer_norm_rms_epsilon",
					     "general.architecture"};
	struct model_file m, full;
	good(&full);
	for (size_t i = 0; i < ARRAY_LEN(needed); i++) {
		good(&m);
		drop(&m, needed[i]);
		expect(&m, ERR_FORMAT, needed[i], needed[i]);
	}
	for (size_t i = 0; i < full.n_tensor; i++) {
		good(&m);
		drop(&m, full.tensors[i].name);
		expect(&m, ERR_FORMAT, full.tensors[i].name, full.tensors[i].name);
	}
	good(&m);
	drop(&m, "llama.feed_forward_length");
	expect(&m, ERR_FORMAT, "feed_forward_length", "no feed_forward_length");
}
END_TEST

/* Every tensor with each of its sides one longer, one shorter, and a third side. */
START_TEST(test_shapes)
{
	struct model_file m, full;
	good(&full);
	for (size_t i = 0; i < full.n_tensor; i++)
		for (int side = 0; side < 3; side++)
			for (int delta = -1; delta <= 1; delta += 2) {
				good(&m);
				m.tensors[i].ne[side] += delta;
				if (m.tensors[i].ne[side] < 1)
					continue;
				/* The embedding says how many tokens there are. */
				if (i == 0 && side == 1)
					continue;
				expect(&m, ERR_FORMAT, full.tensors[i].name, full.tensors[i].name);
			}
}
END_TEST

START_TEST(test_keys)
{
	static const struct {
		struct key key;
		int code;
		const char *word;
	} bad[] = {
		{{"llama.block_count", INT, 0, 0, NULL}, ERR_FORMAT, "block_count"},
		{{"llama.block_count", INT, 2, 0, NULL}, ERR_FORMAT, "blk.1."},
		{{"llama.block_count", INT, 512, 0, NULL}, ERR_FORMAT, "blk.1."},
		{{"llama.block_count", INT, 513, 0, NULL}, ERR_FORMAT, "block_count"},
		{{"llama.block_count", INT, -1, 0, NULL}, ERR_FORMAT, "block_count"},
		{{"llama.block_count", INT, INT64_MAX, 0, NULL}, ERR_FORMAT, "block_count"},
		{{"llama.block_count", STR, 0, 0, "many"}, ERR_FORMAT, "block_count"},
		{{"llama.embedding_length", INT, 1 << 30, 0, NULL}, ERR_FORMAT, "embedding_length"},
		{{"llama.embedding_length", INT, 16, 0, NULL}, ERR_FORMAT, "token_embd"},
		{{"llama.context_length", INT, 0, 0, NULL}, ERR_FORMAT, "context_length"},
		{{"llama.context_length", INT, INT64_MIN, 0, NULL}, ERR_FORMAT, "context_length"},
		{{"llama.attention.head_count", INT, 3, 0, NULL}, ERR_FORMAT, "head_count"},
		{{"llama.attention.head_count", INT, 0, 0, NULL}, ERR_FORMAT, NULL},
		{{"llama.attention.head_count", INT, 1 << 20, 0, NULL}, ERR_FORMAT, "head_count"},
		{{"llama.attention.head_count_kv", INT, 3, 0, NULL}, ERR_FORMAT, "head_count_kv"},
		{{"llama.attention.head_count_kv", INT, 0, 0, NULL}, ERR_FORMAT, NULL},
		{{"llama.attention.head_count_kv", INT, 8, 0, NULL}, ERR_FORMAT, "head_count_kv"},
		{{"llama.attention.key_length", INT, 0, 0, NULL}, ERR_FORMAT, "key_length"},
		{{"llama.attention.key_length", INT, 5, 0, NULL}, ERR_FORMAT, NULL},
		{{"llama.attention.value_length", INT, 4, 0, NULL}, ERR_FORMAT, "attn_v"},
		{{"llama.attention.value_length", INT, 1 << 30, 0, NULL}, ERR_FORMAT, "value_length"},
		{{"llama.rope.dimension_count", INT, 3, 0, NULL}, ERR_FORMAT, "dimension_count"},
		{{"llama.rope.dimension_count", INT, 4, 0, NULL}, ERR_FORMAT, "dimension_count"},
		{{"llama.rope.freq_base", F32, 0, 0, NULL}, ERR_FORMAT, "freq_base"},
		{{"llama.rope.freq_base", F32, 0, (double)__builtin_nanf(""), NULL}, ERR_FORMAT, "freq_base"},
		{{"llama.rope.scaling.type", STR, 0, 0, "spiral"}, ERR_UNSUPPORTED, "spiral"},
		{{"llama.attention.layer_norm_rms_epsilon", F32, 0, -1, NULL}, ERR_FORMAT, "rms_epsilon"},
		{{"llama.expert_count", INT, 4, 0, NULL}, ERR_FORMAT, "expert_used_count"},
		{{"llama.expert_count", INT, 513, 0, NULL}, ERR_FORMAT, "expert_count"},
		{{"llama.feed_forward_length", INT, 32, 0, NULL}, ERR_FORMAT, "ffn_gate"},
		{{"general.architecture", STR, 0, 0, "gpt9"}, ERR_UNSUPPORTED, "llama qwen2 gemma3 bert"},
		{{"general.architecture", STR, 0, 0, ""}, ERR_UNSUPPORTED, "supported"},
		{{"general.architecture", INT, 5, 0, NULL}, ERR_FORMAT, "general.architecture"},
	};
	struct model_file m;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		good(&m);
		set_key(&m, bad[i].key);
		expect(&m, bad[i].code, bad[i].word, bad[i].key.name);
	}
}
END_TEST

/* Odd, but a model all the same. */
START_TEST(test_odd)
{
	static const struct key odd[] = {
		{"llama.rope.dimension_count", INT, 0, 0, NULL},
		{"llama.context_length", INT, 1 << 20, 0, NULL},
		{"llama.rope.freq_base", F32, 0, 1, NULL},
		{"llama.attention.layer_norm_rms_epsilon", F32, 0, 0, NULL},
	};
	struct model_file m;
	for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
		good(&m);
		set_key(&m, odd[i]);
		expect(&m, 0, NULL, odd[i].name);
	}
}
END_TEST

START_TEST(test_left_over)
{
	struct model_file m;
	good(&m);
	set_tensor(&m, (struct tensor){"blk.0.attn_gate.weight", {8, 8, 1}, GGUF_F32});
	expect(&m, ERR_UNSUPPORTED, "blk.0.attn_gate.weight", "left-over tensor");
	good(&m);
	set_tensor(&m, (struct tensor){"blk.1.attn_q.weight", {8, 8, 1}, GGUF_F32});
	expect(&m, ERR_UNSUPPORTED, "blk.1.attn_q.weight", "tensor of another layer");
	good(&m);
	set_tensor(&m, (struct tensor){"blk.0.attn_q.bias", {9, 1, 1}, GGUF_F32});
	expect(&m, ERR_FORMAT, "blk.0.attn_q.bias", "bias of another length");
}
END_TEST

START_TEST(test_types)
{
	struct model_file m;
	good(&m);
	m.tensors[3].type = GGUF_I32;
	expect(&m, ERR_UNSUPPORTED, m.tensors[3].name, "matrix of integers");
	good(&m);
	m.tensors[1].type = GGUF_I32;
	expect(&m, ERR_UNSUPPORTED, m.tensors[1].name, "norm of integers");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("hostile");
	TCase *t = tcase_create("hostile");
	tcase_set_timeout(t, 60);
	tcase_add_test(t, test_good);
	tcase_add_test(t, test_missing);
	tcase_add_test(t, test_shapes);
	tcase_add_test(t, test_keys);
	tcase_add_test(t, test_odd);
	tcase_add_test(t, test_left_over);
	tcase_add_test(t, test_types);
	suite_add_tcase(s, t);
	SRunner *sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	int n = srunner_ntests_failed(sr);
	srunner_free(sr);
	return n != 0;
}
