/* Every slot of every level this machine can run, against ref: odd sizes, pages that must not be touched right behind every
 * buffer, equal bits however the work is cut, values near the limits. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bug.h"
#include "gguf/gguf_type.h"
#include "kern/cpu.h"
#include "kern/kern.h"
#include "kern/panel.h"
#include "kern/quant/quant.h"
#include "kern/ref/ref.h"

/* ---- buffers that end at a page nobody may touch ---- */

struct guarded {
	uint8_t *p; /* n bytes; p + n is the first forbidden byte */
	uint8_t *map;
	size_t n_map;
};

static struct guarded guarded_new(size_t n)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), room = (n + page - 1) / page * page;
	struct guarded g = {.n_map = room + page};
	g.map = mmap(NULL, g.n_map, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(g.map, MAP_FAILED);
	ck_assert_int_eq(mprotect(g.map + room, page, PROT_NONE), 0);
	memset(g.map, 0xff, room); /* NaNs where nothing was written */
	g.p = g.map + room - n;
	return g;
}

static void guarded_free(struct guarded *g)
{
	munmap(g->map, g->n_map);
}

static uint32_t rng_state = 1;

static uint32_t rng(void)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 17;
	rng_state ^= rng_state << 5;
	return rng_state;
}

static float uniform(void) /* -1 .. 1 */
{
	return (float)(int32_t)rng() * 0x1p-31f;
}

static const struct kern *const *levels;
static size_t n_level;

static const struct kern *ref(void)
{
	return levels[0];
}

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

static float *floats_new(size_t n)
{
	void *p = NULL;
	ck_assert_int_eq(posix_memalign(&p, 64, n * sizeof(float) + 64), 0);
	return p;
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

/* Level k against ref: y from one call for all rows and tokens. Where the level rounds activations, ref gets the rounded ones:
 * what remains is the order and rounding of float steps. */
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
	static const int64_t n_toks[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 33, 70};
	int type = types[_i];
	int64_t block = gguf_type_info(type)->block;
	for (size_t l = 0; l < n_level; l++) {
		for (size_t i = 0; i < ARRAY_LEN(n_toks); i++)
			check_mul(levels[l], type, 3 * (block < 32 ? 11 : block), 21, n_toks[i], 0.1f, 1.0f);
		for (int64_t n_out = 1; n_out < 35; n_out += 3)
			check_mul(levels[l], type, block * (1 + n_out % 3), n_out, 1 + n_out % 5, 0.1f, 1.0f);
		check_mul(levels[l], type, 2560, 16, 5, 0.1f, 1.0f);
	}
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
		for (int pattern = 0; pattern < 3; pattern++) {
			struct mat m, r;
			_Alignas(64) float x[512], got[16], want[16];
			mat_init(&m, levels[l], type, 512, 16, 1.0f, 5);
			mat_init(&r, ref(), type, 512, 16, 1.0f, 5);
			for (size_t b = 0; b < r.w.row_bytes * 16 / (size_t)info->bytes; b++) {
				uint8_t *blk = r.data.p + b * (size_t)info->bytes;
				memset(blk, pattern == 0 ? 0xff : pattern == 1 ? 0x00 : 0x80, (size_t)info->bytes);
				for (size_t i = 0; i < ARRAY_LEN(f16_fields); i++)
					for (int k = 0; k < 2 && f16_fields[i].type == type && f16_fields[i].at[k] >= 0; k++)
						put_f16(blk + f16_fields[i].at[k], k == 0 ? 1.0f : 0.5f);
			}
			memcpy(m.data.p, r.data.p, r.w.row_bytes * 16);
			if (m.w.panel)
				m.w.ops->pack(&m.w, m.w.panel, 0, 16);
			for (int i = 0; i < 512; i++)
				x[i] = i / 7 % 2 && pattern == 2 ? -127.0f : 127.0f; /* exact in int8 */
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
	enum { N_OUT = 70, N_TOK = 37 };
	int type = types[_i];
	int64_t n_in = gguf_type_info(type)->block < 32 ? 100 : 768;
	float *x = floats_new((size_t)(n_in * N_TOK)), *all = floats_new(N_OUT * N_TOK), *part = floats_new(N_OUT * N_TOK);
	for (size_t l = 0; l < n_level; l++) {
		struct mat m;
		mat_init(&m, levels[l], type, n_in, N_OUT, 0.1f, 99);
		for (int64_t i = 0; i < n_in * N_TOK; i++)
			x[i] = uniform();
		struct act a = act_new(&m.w, x, N_TOK);
		m.w.ops->mul(&m.w, 0, N_OUT, a.g.p, a.stride, N_TOK, all, N_OUT, NULL);
		for (int64_t n = 1; n <= N_TOK; n += n < 9 ? 1 : 7)
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

/* Levels that share panels give the same bits: their integer sums are exact and their float steps the same. */
START_TEST(test_mul_levels_agree)
{
	int type = types[_i];
	int64_t n_in = 512, n_out = 33;
	_Alignas(64) float x[2 * 512], y[2][2 * 33];
	int n = 0;
	for (size_t l = 0; l < n_level; l++) {
		struct mat m;
		mat_init(&m, levels[l], type, n_in, n_out, 0.1f, 4);
		for (int64_t i = 0; i < 2 * n_in; i++)
			x[i] = uniform();
		if (m.w.panel) {
			struct act a = act_new(&m.w, x, 2);
			m.w.ops->mul(&m.w, 0, n_out, a.g.p, a.stride, 2, y[n > 0], (size_t)n_out, NULL);
			guarded_free(&a.g);
			ck_assert_msg(!n || !memcmp(y[0], y[1], sizeof y[0]), "%s differs", m.w.ops->name);
			n++;
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

/* The copies of ref's inner loops are one definition: equal bits. */
START_TEST(test_ref_copies)
{
#if defined(__x86_64__)
	static const struct ref_core *const cores[] = {&ref_core_base, &ref_core_avx2, &ref_core_avx512};
	size_t n_core = cpu_level() >= CPU_AVX512 ? 3 : cpu_level() >= CPU_AVX2 ? 2 : 1;
	_Alignas(64) float w[4 * 64], x[7 * 64], acc[3][4 * 7 * 16];
	memset(acc, 0, sizeof acc);
	for (size_t i = 0; i < ARRAY_LEN(w); i++)
		w[i] = uniform();
	for (size_t i = 0; i < ARRAY_LEN(x); i++)
		x[i] = uniform();
	for (size_t c = 0; c < n_core; c++) {
		for (int n_row = 1; n_row <= 4; n_row++)
			for (int n_col = 1; n_col <= 7; n_col++)
				cores[c]->tile(w, 64, n_row, x, 64, n_col, 64, acc[c], 7 * 16);
		ck_assert_msg(!memcmp(acc[0], acc[c], sizeof acc[0]), "copy %zu differs", c);
	}
#endif
}
END_TEST

/* ---- rows ---- */

struct rows {
	float *a, *b, *c, *want, *got;
	int64_t n;
};

static void compare(const char *what, const struct kern *k, const struct rows *r, double rel, double abs)
{
	for (int64_t i = 0; i < r->n; i++) {
		double g = r->got[i], w = r->want[i];
		ck_assert_msg((isnan(g) && isnan(w)) || g == w || fabs(g - w) <= rel * fabs(w) + abs,
			      "%s/%s n %lld value %lld: %.9g, ref %.9g", what, k->name, (long long)r->n, (long long)i, g, w);
	}
}

/* Calls the slot of ref and of the level and compares what they wrote to y. */
#define CHECK(what, rel, abs, ...)                                                                                     \
	do {                                                                                                           \
		const struct kern *v = ref();                                                                          \
		float *y = r->want;                                                                                    \
		v->__VA_ARGS__;                                                                                        \
		v = k;                                                                                                 \
		y = r->got;                                                                                            \
		v->__VA_ARGS__;                                                                                        \
		compare(what, k, r, rel, abs);                                                                         \
	} while (0)

static void check_rows(const struct kern *k, const struct rows *r, float top)
{
	const float *a = r->a, *b = r->b, *c = r->c;
	int64_t n = r->n;
	double big = top;
	CHECK("rms_norm", 2e-6, 1e-12, rms_norm(a, b, y, n, 1e-6f));
	CHECK("rms_norm", 2e-6, 1e-12, rms_norm(a, NULL, y, n, 1e-6f));
	if (top < 1e3f) {
		CHECK("layer_norm", 1e-4, 1e-5, layer_norm(a, b, c, y, n, 1e-5f));
		CHECK("layer_norm", 1e-4, 1e-5, layer_norm(a, NULL, NULL, y, n, 1e-5f));
	}
	CHECK("add", 0, 0, add(a, b, y, n));
	CHECK("mul", 0, 0, mul(a, b, y, n));
	CHECK("scale", 0, 0, scale(a, 0.37f, y, n));
	CHECK("softcap", 1e-6, 1e-9, softcap(a, 30.0f, y, n));
	CHECK("silu", 2e-6, 1e-30, silu(a, y, n));
	CHECK("gelu", 4e-6, 1e-7, gelu(a, y, n));
	CHECK("relu_sqr", 0, 0, relu_sqr(a, y, n));
	CHECK("silu_mul", 2e-6, 1e-30, silu_mul(a, b, y, n));
	CHECK("gelu_mul", 4e-6, 1e-7 * big, gelu_mul(a, b, y, n));
	CHECK("softmax", 4e-6, 1e-30, softmax(a, y, n));
	memcpy(r->want, b, (size_t)n * sizeof *b);
	memcpy(r->got, b, (size_t)n * sizeof *b);
	CHECK("axpy", 1e-6, 2e-7 * big, axpy(0.7f, a, y, n));
	memcpy(r->got, a, (size_t)n * sizeof *a); /* y may be x */
	ref()->silu(a, r->want, n);
	k->silu(r->got, r->got, n);
	compare("silu in place", k, r, 2e-6, 1e-30);
}

START_TEST(test_rows)
{
	static const int64_t sizes[] = {1, 2, 7, 8, 15, 16, 17, 31, 33, 64, 100, 576};
	static const float tops[] = {1e-3f, 1.0f, 20.0f, 200.0f, 1e15f};
	for (size_t l = 1; l < n_level; l++)
		for (size_t s = 0; s < ARRAY_LEN(sizes); s++)
			for (size_t t = 0; t < ARRAY_LEN(tops); t++) {
				size_t n = (size_t)sizes[s];
				struct guarded g[5];
				for (int i = 0; i < 5; i++)
					g[i] = guarded_new(n * sizeof(float));
				struct rows r = {(void *)g[0].p, (void *)g[1].p, (void *)g[2].p, (void *)g[3].p, (void *)g[4].p, sizes[s]};
				rng_state = 77 + (uint32_t)(s * 10 + t);
				for (size_t i = 0; i < n; i++) {
					r.a[i] = uniform() * tops[t];
					r.b[i] = uniform();
					r.c[i] = uniform();
				}
				check_rows(levels[l], &r, tops[t] > 1.0f ? tops[t] : 1.0f);
				for (int i = 0; i < 5; i++)
					guarded_free(&g[i]);
			}
}
END_TEST

/* The largest is exact on every level, wherever it stands, whatever stands beside it. */
START_TEST(test_max)
{
	static const int64_t sizes[] = {0, 1, 7, 8, 15, 16, 17, 63, 64, 65, 100, 256};
	for (size_t l = 0; l < n_level; l++)
		for (size_t s = 0; s < ARRAY_LEN(sizes); s++) {
			int64_t n = sizes[s];
			struct guarded g = guarded_new((size_t)n * sizeof(float));
			float *x = (void *)g.p;
			for (int64_t i = 0; i < n; i++)
				x[i] = i % 3 ? NAN : -INFINITY;
			ck_assert(levels[l]->max(x, n) == -INFINITY);
			for (int64_t at = 0; at < n; at++) {
				x[at] = -1e30f;
				ck_assert(levels[l]->max(x, n) == -1e30f);
				x[n - 1 - at] = 7;
				ck_assert(levels[l]->max(x, n) == 7);
				x[at] = x[n - 1 - at] = NAN;
			}
			if (n) {
				x[n / 2] = INFINITY;
				ck_assert(levels[l]->max(x, n) == INFINITY);
			}
			guarded_free(&g);
		}
}
END_TEST

/* exp through softmax-like use is within 1e-6; ref itself within half an ulp of libm's double. */
START_TEST(test_ref_math)
{
	float x, y;
	for (int i = -2000; i <= 2000; i++) {
		x = (float)i * 0.0437f;
		ref()->silu(&x, &y, 1);
		double want = x / (1.0 + exp(-(double)x));
		ck_assert_msg(fabs(y - want) <= 6e-8 * fabs(want) + 1e-44, "silu(%g) = %.9g, not %.9g", (double)x, (double)y, want);
		ref()->softcap(&x, 50.0f, &y, 1);
		want = 50.0 * tanh((double)(x / 50.0f));
		ck_assert_msg(fabs(y - want) <= 2.4e-7 * fabs(want), "softcap(%g) = %.9g, not %.9g", (double)x, (double)y, want);
		ref()->gelu(&x, &y, 1);
		want = 0.5 * x * (1.0 + tanh(0.7978845608028654 * (x + 0.044715 * x * (double)x * x)));
		ck_assert_msg(fabs(y - want) <= 6e-8 * fabs(want) + 1e-12, "gelu(%g) = %.9g, not %.9g", (double)x, (double)y, want);
	}
	const float cases[] = {NAN, 1000.0f, -1000.0f};
	for (size_t l = 0; l < n_level; l++) {
		levels[l]->silu(&cases[0], &y, 1);
		ck_assert(isnan(y));
		levels[l]->silu(&cases[1], &y, 1);
		ck_assert_float_eq(y, 1000.0f);
		levels[l]->silu(&cases[2], &y, 1);
		ck_assert(fabsf(y) < 1e-30f);
		levels[l]->gelu(&cases[2], &y, 1);
		ck_assert(fabsf(y) < 1e-30f);
	}
}
END_TEST

START_TEST(test_rope)
{
	for (size_t l = 0; l < n_level; l++) {
		/* head 0: 1 0 0 0 5, head 1: 0 0 1 0 6; rotated by 90 and 180 degrees over 4 of 5 values */
		float cs[4] = {0.0f, 1.0f, -1.0f, 0.0f};
		float x[10] = {1, 2, 3, 4, 5, 0, 0, 1, 0, 6}, y[10];
		const float norm[10] = {-2, 1, -3, -4, 5, 0, 0, -1, 0, 6}, neox[10] = {-3, -2, 1, -4, 5, -1, 0, 0, 0, 6};
		memcpy(y, x, sizeof y);
		levels[l]->rope(y, cs, KERN_ROPE_NORM, 2, 5, 4);
		for (int i = 0; i < 10; i++)
			ck_assert_float_eq(y[i], norm[i]);
		memcpy(y, x, sizeof y);
		levels[l]->rope(y, cs, KERN_ROPE_NEOX, 2, 5, 4);
		for (int i = 0; i < 10; i++)
			ck_assert_float_eq(y[i], neox[i]);
	}
}
END_TEST

START_TEST(test_rope_sizes)
{
	enum { HEADS = 3, MOST = 130 };
	for (size_t l = 1; l < n_level; l++)
		for (int hd = 2; hd <= MOST; hd += hd < 40 ? 2 : 10)
			for (int n_rot = 2; n_rot <= hd; n_rot += hd < 40 ? 2 : 8)
				for (int kind = KERN_ROPE_NORM; kind <= KERN_ROPE_NEOX; kind++) {
					size_t n = (size_t)(HEADS * hd);
					struct guarded gx = guarded_new(n * 4), gc = guarded_new((size_t)n_rot * 4);
					float *x = (void *)gx.p, *cs = (void *)gc.p, want[HEADS * MOST];
					for (int i = 0; i < n_rot; i++)
						cs[i] = uniform();
					for (size_t i = 0; i < n; i++)
						x[i] = want[i] = uniform();
					ref()->rope(want, cs, (enum kern_rope)kind, HEADS, hd, n_rot);
					levels[l]->rope(x, cs, (enum kern_rope)kind, HEADS, hd, n_rot);
					for (size_t i = 0; i < n; i++)
						ck_assert_msg(fabsf(x[i] - want[i]) <= 2e-7f, "%s hd %d n_rot %d kind %d value %zu: %g, ref %g",
							      levels[l]->name, hd, n_rot, kind, i, (double)x[i], (double)want[i]);
					guarded_free(&gx), guarded_free(&gc);
				}
}
END_TEST

/* ---- choice ---- */

START_TEST(test_choose)
{
	const struct kern *k;
	struct err err;
	ck_assert(kern_choose("ref", NULL, &k, &err) == 0 && !strcmp(k->name, "ref"));
	ck_assert(kern_choose(NULL, "generic", &k, &err) == 0 && !strcmp(k->name, "generic"));
	ck_assert(kern_choose("fast", NULL, &k, &err) == 0 && k == levels[n_level - 1]);
	ck_assert(kern_choose("fast", "avx512vnni", &k, &err) == 0 && k == levels[n_level - 1]);
	for (size_t i = 1; i < n_level; i++)
		ck_assert(kern_choose(NULL, levels[i]->name, &k, &err) == 0 && k == levels[i]);
	ck_assert(kern_choose("slow", NULL, &k, &err) == ERR_INVALID && strstr(err.msg, "\"slow\""));
	ck_assert(kern_choose(NULL, "mmx", &k, &err) == ERR_INVALID && strstr(err.msg, "\"mmx\""));
	ck_assert(strlen(kern_cpu_name()) > 8);
	struct kern_mat w;
	ck_assert(kern_mat_init(k, &w, GGUF_IQ1_S, 256, 1, NULL, &err) == ERR_UNSUPPORTED && strstr(err.msg, "IQ1_S") && strstr(err.msg, "Q6_K"));
	ck_assert(kern_mat_init(k, &w, 9999, 256, 1, NULL, &err) == ERR_UNSUPPORTED);
	ck_assert(kern_mat_init(k, &w, GGUF_Q4_K, 128, 1, NULL, &err) == ERR_FORMAT);
	ck_assert(kern_mat_init(k, &w, GGUF_F32, INT64_MAX, INT64_MAX, NULL, &err) == ERR_FORMAT);
}
END_TEST

/* The limits of a level: products are counted, the reader stays inside what it was given. */
START_TEST(test_peak)
{
	for (size_t i = 0; i < n_level; i++) {
		const struct kern_peak *p = levels[i]->peak;
		if (!p)
			continue;
		ck_assert_int_gt(p->mul_i8(2), 2);
		ck_assert_int_eq(p->mul_i8(2), 2 * p->mul_i8(1));
		ck_assert_int_eq(p->mul_f32(2), 2 * p->mul_f32(1));
		for (size_t n = 64; n <= 16384; n *= 2) {
			struct guarded g = guarded_new(n);
			memset(g.p, 1, n);
			uint64_t sum = p->read(g.p, n);
			ck_assert(n < 512 ? sum == 0 : sum != 0);
			guarded_free(&g);
		}
	}
}
END_TEST

int main(void)
{
	n_level = kern_levels(&levels);
	printf("levels:");
	for (size_t i = 0; i < n_level; i++)
		printf(" %s", levels[i]->name);
	printf("\n");
	Suite *s = suite_create("kern");
	TCase *t = tcase_create("all");
	tcase_set_timeout(t, 300);
	tcase_add_loop_test(t, test_mul, 0, (int)ARRAY_LEN(types));
	tcase_add_loop_test(t, test_mul_extreme, 0, (int)ARRAY_LEN(types));
	tcase_add_loop_test(t, test_mul_saturation, 0, (int)ARRAY_LEN(types));
	tcase_add_loop_test(t, test_mul_cuts, 0, (int)ARRAY_LEN(types));
	tcase_add_loop_test(t, test_mul_levels_agree, 0, (int)ARRAY_LEN(types));
	tcase_add_loop_test(t, test_mul_nan, 0, (int)ARRAY_LEN(types));
	tcase_add_test(t, test_rows);
	tcase_add_test(t, test_max);
	tcase_add_test(t, test_ref_math);
	tcase_add_test(t, test_rope);
	tcase_add_test(t, test_rope_sizes);
	tcase_add_test(t, test_ref_copies);
	tcase_add_test(t, test_choose);
	tcase_add_test(t, test_peak);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int n = srunner_ntests_failed(r);
	srunner_free(r);
	return n != 0;
}
