/* mul_check: matrix products of every level in `levels` (kern_rig.h) against ref: odd shapes, forbidden pages right behind
 * every buffer, equal bits however the work is cut, values at the limits of each step. mul_check_case makes the test case. */
#ifndef TESTS_MUL_CHECK_H
#define TESTS_MUL_CHECK_H

#include <math.h>

#include "base/bug.h"
#include "gguf/gguf_type.h"
#include "kern/panel.h"
#include "kern/quant/quant.h"
#include "kern_rig.h"

/* ---- weights ---- */

static const int types[] = {GGUF_F32, GGUF_F16, GGUF_BF16, GGUF_Q4_0, GGUF_Q4_1, GGUF_Q5_0, GGUF_Q5_1,
			    GGUF_Q8_0, GGUF_Q2_K, GGUF_Q3_K, GGUF_Q4_K, GGUF_Q5_K, GGUF_Q6_K};

/* Offsets of the f16 fields of a block; -1 ends. */
static const struct {
	int type, at[2];
} f16_fields[] = {
	{GGUF_Q4_0, {0, -1}}, {GGUF_Q4_1, {0, 2}}, {GGUF_Q5_0, {0, -1}}, {GGUF_Q5_1, {0, 2}}, {GGUF_Q8_0, {0, -1}},
	{GGUF_Q2_K, {80, 82}}, {GGUF_Q3_K, {108, -1}}, {GGUF_Q4_K, {0, 2}}, {GGUF_Q5_K, {0, 2}}, {GGUF_Q6_K, {208, -1}},
};

static void put_f16(uint8_t *p, float f)
{
	uint16_t h = f32_to_f16(f);
	memcpy(p, &h, 2);
}

/* Random bytes with scales of about `size`; float types get values. One block in eight is all zeros. */
static void fill_weights(uint8_t *p, size_t n_bytes, int type, float size)
{
	const struct gguf_type_info *info = gguf_type_info(type);
	for (size_t i = 0; i < n_bytes; i++)
		p[i] = (uint8_t)rng();
	for (size_t b = 0; b < n_bytes / (size_t)info->bytes; b++) {
		uint8_t *blk = p + b * (size_t)info->bytes;
		float v = uniform() * size;
		uint32_t bits;
		memcpy(&bits, &v, 4);
		if (type == GGUF_F32)
			memcpy(blk, &v, 4);
		else if (type == GGUF_F16)
			put_f16(blk, v);
		else if (type == GGUF_BF16)
			memcpy(blk, (uint8_t *)&bits + 2, 2);
		else if (rng() % 8 == 0)
			memset(blk, 0, (size_t)info->bytes);
		for (size_t i = 0; i < ARRAY_LEN(f16_fields); i++)
			for (int k = 0; k < 2 && f16_fields[i].type == type && f16_fields[i].at[k] >= 0; k++)
				put_f16(blk + f16_fields[i].at[k], uniform() * size);
	}
}

struct mat {
	struct kern_mat w;
	struct guarded data, panel;
};

static void mat_init(struct mat *m, const struct kern *k, int type, int64_t n_in, int64_t n_out, float size, uint32_t seed)
{
	const struct gguf_type_info *info = gguf_type_info(type);
	size_t n = (size_t)(n_in / info->block) * (size_t)info->bytes * (size_t)n_out;
	struct err err;
	memset(m, 0, sizeof *m);
	m->data = guarded_new(n);
	rng_state = seed;
	fill_weights(m->data.p, n, type, size);
	ck_assert_int_eq(kern_mat_init(k, &m->w, type, n_in, n_out, m->data.p, &err), 0);
	size_t n_panel = m->w.ops->panel_bytes(n_in, n_out);
	if (!n_panel)
		return;
	m->panel = guarded_new(n_panel);
	m->w.panel = m->panel.p;
	int64_t cut = n_out / 2 / m->w.ops->row_align * m->w.ops->row_align; /* threads pack parts */
	m->w.ops->pack(&m->w, m->w.panel, cut, n_out);
	m->w.ops->pack(&m->w, m->w.panel, 0, cut);
}

static void mat_release(struct mat *m)
{
	guarded_free(&m->data);
	if (m->panel.map)
		guarded_free(&m->panel);
}

struct act {
	struct guarded g;
	size_t stride;
};

static struct act act_new(const struct kern_mat *w, const float *x, int64_t n_tok)
{
	struct act a = {.stride = w->ops->act_bytes(w->n_in)};
	ck_assert_uint_eq(a.stride % 64, 0);
	a.g = guarded_new(a.stride * (size_t)n_tok);
	for (int64_t t = 0; t < n_tok; t++)
		w->ops->act_row(x + t * w->n_in, a.g.p + a.stride * (size_t)t, w->n_in);
	return a;
}

/* sum |w x| for each output: what the error of a product is measured against. */
static double magnitude(const struct kern_mat *w, int64_t row, const float *x)
{
	float *f = floats_new((size_t)w->n_in);
	double sum = 0.0;
	ref()->row_f32(w, row, f);
	for (int64_t i = 0; i < w->n_in; i++)
		sum += fabs((double)f[i] * x[i]);
	free(f);
	return sum;
}

/* Replaces x by what its int8 form stands for; rounding must have been to the nearest step. */
static void through_i8(float *x, const struct act *a, int64_t n_in, int64_t n_tok)
{
	for (int64_t i = 0; i < n_in * n_tok; i++) {
		const struct act_blk *blk = (const struct act_blk *)(void *)(a->g.p + a->stride * (size_t)(i / n_in)) + i % n_in / 32;
		float v = blk->d * (float)blk->q[i % 32];
		ck_assert_msg(fabsf(v - x[i]) <= blk->d * 0.5001f + 1e-30f && abs(blk->q[i % 32]) <= 127, "%g became %g", (double)x[i], (double)v);
		x[i] = v;
	}
}

/* The same for bf16, where F16 weights are rounded too; what bf16 keeps of them is exact in F16. */
static void through_bf16(float *x, const struct act *a, int64_t n_in, int64_t n_tok, struct mat *r)
{
	for (int64_t i = 0; i < n_in * n_tok; i++) {
		uint16_t h;
		memcpy(&h, a->g.p + a->stride * (size_t)(i / n_in) + 2 * (i % n_in), sizeof h);
		float v = bf16_to_f32(h);
		ck_assert_msg(fabsf(v - x[i]) <= fabsf(x[i]) * 0x1p-8f, "%g became %g", (double)x[i], (double)v);
		x[i] = v;
	}
	for (size_t i = 0; r->w.type == GGUF_F16 && i < r->w.row_bytes * (size_t)r->w.n_out; i += 2)
		put_f16(r->data.p + i, bf16_to_f32(f32_to_bf16(quant_f16(r->data.p + i))));
}

/* Level k against ref: y from one call for all rows and tokens. Where the level rounds activations or weights, ref gets the
 * rounded ones: what remains is the order and rounding of float steps. */
static void check_mul(const struct kern *k, int type, int64_t n_in, int64_t n_out, int64_t n_tok, float w_size, float x_size)
{
	struct mat m, r;
	uint32_t seed = (uint32_t)(type * 7919 + n_in * 31 + n_out * 17 + n_tok + 1);
	mat_init(&m, k, type, n_in, n_out, w_size, seed);
	mat_init(&r, ref(), type, n_in, n_out, w_size, seed);
	float *x = floats_new((size_t)(n_in * n_tok)), *want = floats_new((size_t)(n_out * n_tok)), *bias = floats_new((size_t)n_out);
	for (int64_t i = 0; i < n_in * n_tok; i++)
		x[i] = uniform() * x_size * (i / 32 % 5 == 3 ? 0.0f : 1.0f);
	for (int64_t i = 0; i < n_out; i++)
		bias[i] = uniform() * x_size;
	struct act am = act_new(&m.w, x, n_tok);
	if (m.w.ops->act_kind == KERN_ACT_I8)
		through_i8(x, &am, n_in, n_tok);
	if (m.w.ops->act_kind == KERN_ACT_BF16)
		through_bf16(x, &am, n_in, n_tok, &r);
	struct act ar = act_new(&r.w, x, n_tok);
	struct guarded y = guarded_new((size_t)(n_out * n_tok) * sizeof(float));
	float *got = (float *)(void *)y.p;
	m.w.ops->mul(&m.w, 0, n_out, am.g.p, am.stride, n_tok, got, (size_t)n_out, bias);
	r.w.ops->mul(&r.w, 0, n_out, ar.g.p, ar.stride, n_tok, want, (size_t)n_out, bias);
	for (int64_t t = 0; t < n_tok; t++)
		for (int64_t o = 0; o < n_out; o++) {
			double a = got[t * n_out + o], b = want[t * n_out + o];
			double lim = 2e-6 * (magnitude(&r.w, o, x + t * n_in) + fabs((double)bias[o])) + 1e-30;
			ck_assert_msg(fabs(a - b) <= lim, "%s %lldx%lld token %lld row %lld: %g, ref %g, limit %g", m.w.ops->name,
				      (long long)n_in, (long long)n_out, (long long)t, (long long)o, a, b, lim);
		}
	guarded_free(&y), guarded_free(&am.g), guarded_free(&ar.g);
	free(x), free(want), free(bias);
	mat_release(&m), mat_release(&r);
}

START_TEST(test_mul)
{
	static const int64_t n_ins[2][3] = {{32, 256, 288}, {31, 257, 530}};
	int type = types[_i];
	int64_t block = gguf_type_info(type)->block;
	for (size_t l = 0; l < n_level; l++) {
		for (int64_t n_tok = 1; n_tok <= 33; n_tok++)
			check_mul(levels[l], type, block < 32 ? 33 : 3 * block, 21, n_tok, 0.1f, 1.0f);
		for (size_t i = 0; i < 3; i++)
			check_mul(levels[l], type, block > 32 ? block * ((int64_t)i + 1) : n_ins[block < 32][i], 19, 71, 0.1f, 1.0f);
		for (int64_t n_out = 1; n_out < 51; n_out += 3)
			check_mul(levels[l], type, block * (1 + n_out % 3), n_out, 1 + n_out % 5, 0.1f, 1.0f);
		check_mul(levels[l], type, 2560, 16, 5, 0.1f, 1.0f);
	}
}
END_TEST

/* A call writes its rows and no others. */
START_TEST(test_mul_ranges)
{
	enum { N_OUT = 75, N_TOK = 35 };
	int type = types[_i];
	int64_t n_in = gguf_type_info(type)->block < 32 ? 37 : 256;
	float *x = floats_new((size_t)n_in * N_TOK), *y = floats_new(N_OUT * N_TOK);
	for (int64_t i = 0; i < n_in * N_TOK; i++)
		x[i] = uniform();
	for (size_t l = 0; l < n_level; l++) {
		struct mat m;
		mat_init(&m, levels[l], type, n_in, N_OUT, 0.1f, 3);
		struct act a = act_new(&m.w, x, N_TOK);
		int64_t align = m.w.ops->row_align;
		for (int64_t r0 = 0; r0 < N_OUT; r0 += align * (1 + 15 / align))
			for (int64_t r1 = r0 + 1; r1 <= N_OUT; r1 += 9)
				for (int64_t n_tok = 1; n_tok <= N_TOK; n_tok += N_TOK - 1) {
					for (int i = 0; i < N_OUT * N_TOK; i++)
						y[i] = 1e35f;
					m.w.ops->mul(&m.w, r0, r1, a.g.p, a.stride, n_tok, y, N_OUT, NULL);
					for (int i = 0; i < N_OUT * N_TOK; i++) {
						bool in = i % N_OUT >= r0 && i % N_OUT < r1 && i / N_OUT < n_tok;
						ck_assert_msg((y[i] < 1e34f) == in, "%s rows %lld to %lld, %lld tokens: token %d row %d", m.w.ops->name,
							      (long long)r0, (long long)r1, (long long)n_tok, i / N_OUT, i % N_OUT);
					}
				}
		guarded_free(&a.g);
		mat_release(&m);
	}
	free(x), free(y);
}
END_TEST

/* Weights and activations so large or small that sloppy intermediate steps overflow or vanish. */
START_TEST(test_mul_extreme)
{
	int type = types[_i];
	int64_t n_in = gguf_type_info(type)->block < 32 ? 45 : 512;
	for (size_t l = 0; l < n_level; l++) {
		check_mul(levels[l], type, n_in, 17, 3, 1.0f, 1e30f);
		check_mul(levels[l], type, n_in, 17, 3, 1.0f, 1e-20f);
		check_mul(levels[l], type, n_in, 17, 3, 30000.0f, 1.0f);
		check_mul(levels[l], type, n_in, 17, 3, 1.0f, 0.0f);
	}
}
END_TEST

/* Activations in which every value is +-127 steps and weights at their extremes: sums of byte products must not saturate. */
START_TEST(test_mul_saturation)
{
	int type = types[_i];
	const struct gguf_type_info *info = gguf_type_info(type);
	if (info->block < 32)
		return;
	for (size_t l = 0; l < n_level; l++)
		for (int pattern = 0; pattern < 9; pattern++) {
			struct mat m, r;
			_Alignas(64) float x[512], got[16], want[16];
			mat_init(&m, levels[l], type, 512, 16, 1.0f, 5);
			mat_init(&r, ref(), type, 512, 16, 1.0f, 5);
			for (size_t b = 0; b < r.w.row_bytes * 16 / (size_t)info->bytes; b++) {
				uint8_t *blk = r.data.p + b * (size_t)info->bytes;
				memset(blk, pattern % 3 == 0 ? 0xff : pattern % 3 == 1 ? 0x00 : 0x80, (size_t)info->bytes);
				for (size_t i = 0; i < ARRAY_LEN(f16_fields); i++)
					for (int k = 0; k < 2 && f16_fields[i].type == type && f16_fields[i].at[k] >= 0; k++)
						put_f16(blk + f16_fields[i].at[k], k == 0 ? 1.0f : 0.5f);
			}
			memcpy(m.data.p, r.data.p, r.w.row_bytes * 16);
			if (m.w.panel)
				m.w.ops->pack(&m.w, m.w.panel, 0, 16);
			for (int i = 0; i < 512; i++)
				x[i] = pattern / 3 == 1 || (pattern / 3 == 2 && i / 7 % 2) ? -127.0f : 127.0f; /* exact in int8 */
			struct act am = act_new(&m.w, x, 1), ar = act_new(&r.w, x, 1);
			m.w.ops->mul(&m.w, 0, 16, am.g.p, am.stride, 1, got, 16, NULL);
			r.w.ops->mul(&r.w, 0, 16, ar.g.p, ar.stride, 1, want, 16, NULL);
			for (int o = 0; o < 16; o++)
				ck_assert_msg(fabsf(got[o] - want[o]) <= 1e-6f * (float)magnitude(&r.w, o, x), "%s pattern %d: %g, ref %g",
					      m.w.ops->name, pattern, (double)got[o], (double)want[o]);
			guarded_free(&am.g), guarded_free(&ar.g);
			mat_release(&m), mat_release(&r);
		}
}
END_TEST

/* One answer: rows and tokens computed alone, in any cut, have the bits of the whole. */
START_TEST(test_mul_cuts)
{
	enum { N_OUT = 70, N_TOK = 120 };
	int type = types[_i];
	int64_t n_in = gguf_type_info(type)->block < 32 ? 701 : 768;
	float *x = floats_new((size_t)(n_in * N_TOK)), *all = floats_new(N_OUT * N_TOK), *part = floats_new(N_OUT * N_TOK);
	for (size_t l = 0; l < n_level; l++) {
		struct mat m;
		mat_init(&m, levels[l], type, n_in, N_OUT, 0.1f, 99);
		for (int64_t i = 0; i < n_in * N_TOK; i++)
			x[i] = uniform();
		struct act a = act_new(&m.w, x, N_TOK);
		m.w.ops->mul(&m.w, 0, N_OUT, a.g.p, a.stride, N_TOK, all, N_OUT, NULL);
		for (int64_t n = 1; n <= N_TOK; n += n < 9 ? 1 : n < 33 ? 6 : 45)
			for (int64_t rows = m.w.ops->row_align; rows <= N_OUT + 15; rows += 3 * m.w.ops->row_align) {
				memset(part, 0, N_OUT * N_TOK * sizeof *part);
				for (int64_t r = 0; r < N_OUT; r += rows)
					for (int64_t t = 0; t < N_TOK; t += n)
						m.w.ops->mul(&m.w, r, r + rows < N_OUT ? r + rows : N_OUT, a.g.p + (size_t)t * a.stride,
							     a.stride, t + n < N_TOK ? n : N_TOK - t, part + t * N_OUT, N_OUT, NULL);
				ck_assert_msg(!memcmp(all, part, N_OUT * N_TOK * sizeof *part), "%s: %lld tokens, %lld rows a call differ",
					      m.w.ops->name, (long long)n, (long long)rows);
			}
		guarded_free(&a.g);
		mat_release(&m);
	}
	free(x), free(all), free(part);
}
END_TEST

/* Levels that share panels and the form of activations give the same bits: their integer sums are exact and their float steps
 * the same. Not bf16: how its one instruction rounds inside is for each maker to say, and ref holds it to a tolerance. */
START_TEST(test_mul_levels_agree)
{
	int type = types[_i];
	int64_t n_in = 512, n_out = 33;
	_Alignas(64) float x[2 * 512], first[KERN_N_ACT][2 * 33], y[2 * 33];
	bool seen[KERN_N_ACT] = {0};
	for (size_t l = 0; l < n_level; l++) {
		struct mat m;
		mat_init(&m, levels[l], type, n_in, n_out, 0.1f, 4);
		for (int64_t i = 0; i < 2 * n_in; i++)
			x[i] = uniform();
		int kind = m.w.ops->act_kind;
		if (m.w.panel && kind != KERN_ACT_BF16) {
			struct act a = act_new(&m.w, x, 2);
			m.w.ops->mul(&m.w, 0, n_out, a.g.p, a.stride, 2, y, (size_t)n_out, NULL);
			guarded_free(&a.g);
			if (!seen[kind])
				memcpy(first[kind], y, sizeof y);
			seen[kind] = true;
			ck_assert_msg(!memcmp(first[kind], y, sizeof y), "%s differs", m.w.ops->name);
		}
		mat_release(&m);
	}
}
END_TEST

/* What is not finite must show. */
START_TEST(test_mul_nan)
{
	int type = types[_i];
	const float bad[] = {NAN, INFINITY, -INFINITY};
	for (size_t l = 0; l < n_level; l++)
		for (size_t b = 0; b < ARRAY_LEN(bad); b++) {
			struct mat m;
			_Alignas(64) float x[256], y[16];
			mat_init(&m, levels[l], type, 256, 16, 0.1f, 8);
			for (int i = 0; i < 256; i++)
				x[i] = uniform();
			x[77] = bad[b];
			struct act a = act_new(&m.w, x, 1);
			m.w.ops->mul(&m.w, 0, 16, a.g.p, a.stride, 1, y, 16, NULL);
			for (int o = 0; o < 16; o++)
				ck_assert_msg(!isfinite(y[o]), "%s hides %g", m.w.ops->name, (double)bad[b]);
			guarded_free(&a.g);
			mat_release(&m);
		}
}
END_TEST

static inline TCase *mul_check_case(void)
{
	TCase *t = tcase_create("products");
	tcase_set_timeout(t, 300);
	tcase_add_loop_test(t, test_mul, 0, (int)ARRAY_LEN(types));
	tcase_add_loop_test(t, test_mul_ranges, 0, (int)ARRAY_LEN(types));
	tcase_add_loop_test(t, test_mul_extreme, 0, (int)ARRAY_LEN(types));
	tcase_add_loop_test(t, test_mul_saturation, 0, (int)ARRAY_LEN(types));
	tcase_add_loop_test(t, test_mul_cuts, 0, (int)ARRAY_LEN(types));
	tcase_add_loop_test(t, test_mul_levels_agree, 0, (int)ARRAY_LEN(types));
	tcase_add_loop_test(t, test_mul_nan, 0, (int)ARRAY_LEN(types));
	return t;
}

#endif
