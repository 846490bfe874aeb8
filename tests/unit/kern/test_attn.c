/* Attention of every level against a plain computation in double from the same stored values: GQA, windows, both masks, soft
 * caps, sinks, odd head sizes; equal bits for every cut of the queries; unstored and unused page contents never matter. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"
#include "kern/kern.h"
#include "kern/quant/quant.h"

static const struct kern *const *levels;
static size_t n_level;
static uint32_t rng_state = 1;

static float uniform(void)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 17;
	rng_state ^= rng_state << 5;
	return (float)(int32_t)rng_state * 0x1p-31f;
}

struct setup {
	int n_head, n_head_kv, hd_k, hd_v;
	int64_t kv_len, window;
	bool causal, sinks;
	float softcap;
};

enum { MAX_POS = 512, N_PAGE = MAX_POS / KERN_PAGE_TOK + 1 };

struct world {
	struct setup s;
	struct kern_kv kv;
	struct kern_attn a;
	uint32_t pages[N_PAGE];
	float *k, *v, *q, *sinks; /* [kv_len][n_head_kv][hd], q [kv_len][n_head][hd_k] */
};

static void *zalloc64(size_t n)
{
	void *p = NULL;
	ck_assert_int_eq(posix_memalign(&p, 64, n + 64), 0);
	return memset(p, 0, n);
}

static void world_init(struct world *w, const struct kern *k, struct setup s)
{
	size_t e = k->kv_type == KERN_KV_F16 ? 2 : 4, nk = (size_t)(s.n_head_kv * s.hd_k), nv = (size_t)(s.n_head_kv * s.hd_v);
	memset(w, 0, sizeof *w);
	w->s = s;
	w->kv = (struct kern_kv){.type = k->kv_type, .n_head_kv = s.n_head_kv, .hd_k = s.hd_k, .hd_v = s.hd_v};
	w->kv.k_page_bytes = nk * KERN_PAGE_TOK * e;
	w->kv.v_page_bytes = nv * KERN_PAGE_TOK * e;
	w->kv.k = zalloc64(w->kv.k_page_bytes * N_PAGE);
	w->kv.v = zalloc64(w->kv.v_page_bytes * N_PAGE);
	memset(w->kv.k, 0xff, w->kv.k_page_bytes * N_PAGE); /* NaN wherever nothing gets stored */
	memset(w->kv.v, 0xff, w->kv.v_page_bytes * N_PAGE);
	w->k = zalloc64((size_t)s.kv_len * nk * 4);
	w->v = zalloc64((size_t)s.kv_len * nv * 4);
	w->q = zalloc64((size_t)(s.kv_len * s.n_head * s.hd_k) * 4);
	w->sinks = zalloc64((size_t)s.n_head * 4);
	w->a = (struct kern_attn){.kv = &w->kv, .n_head = s.n_head, .scale = 1.0f / sqrtf((float)s.hd_k), .softcap = s.softcap,
				  .window = s.window, .causal = s.causal, .sinks = s.sinks ? w->sinks : NULL};
	rng_state = 12345;
	for (size_t i = 0; i < (size_t)s.kv_len * nk; i++)
		w->k[i] = uniform() * 3;
	for (size_t i = 0; i < (size_t)s.kv_len * nv; i++)
		w->v[i] = uniform();
	for (int64_t i = 0; i < s.kv_len * s.n_head * s.hd_k; i++)
		w->q[i] = uniform() * 3;
	for (int i = 0; i < s.n_head; i++)
		w->sinks[i] = uniform() * 2;
	for (uint32_t i = 0; i < N_PAGE; i++)
		w->pages[i] = (i * 5 + 3) % N_PAGE;
	float *kt = zalloc64(nk * 4), *vt = zalloc64(nv * 4);
	for (int64_t p = 0; p < s.kv_len; p++) {
		memcpy(kt, w->k + (size_t)p * nk, nk * 4);
		memcpy(vt, w->v + (size_t)p * nv, nv * 4);
		k->kv_store(&w->kv, w->pages[p / KERN_PAGE_TOK], p, kt, vt);
	}
	free(kt), free(vt);
}

static void world_release(struct world *w)
{
	free(w->kv.k), free(w->kv.v), free(w->k), free(w->v), free(w->q), free(w->sinks);
}

/* Queries p0 .. p0 + n of all heads in calls of at most `cut` tokens; out [kv_len][n_head][hd_v]. */
static void run(const struct kern *k, const struct world *w, int64_t p0, int64_t n, int cut, int64_t kv_len, float *out)
{
	size_t nq = (size_t)(w->s.n_head * w->s.hd_k), no = (size_t)(w->s.n_head * w->s.hd_v);
	size_t n_scratch = k->attn_scratch(&w->a, cut);
	float *scratch = malloc(n_scratch * sizeof *scratch); /* exact size: a sanitizer sees overruns */
	for (int64_t p = p0; p < p0 + n; p += cut)
		for (int h = 0; h < w->s.n_head_kv; h++) {
			memset(scratch, 0xff, n_scratch * sizeof *scratch);
			struct kern_attn_job job = {.q = w->q + (size_t)p * nq, .out = out + (size_t)p * no, .q_stride = nq,
						    .out_stride = no, .pos = p, .n_q = (int)(p0 + n - p < cut ? p0 + n - p : cut),
						    .kv_len = kv_len, .pages = w->pages, .i_head_kv = h, .scratch = scratch};
			k->attn(&w->a, &job);
		}
	free(scratch);
}

static double stored(const struct kern *k, float x)
{
	return k->kv_type == KERN_KV_F16 ? (double)f16_to_f32(f32_to_f16(x)) : (double)x;
}

static bool visible(const struct setup *s, int64_t p0, int64_t p1)
{
	if (s->causal)
		return p0 <= p1 && (!s->window || p1 - p0 < s->window);
	return !s->window || llabs(p1 - p0) < s->window;
}

/* One head of one query, in double, without any tricks. */
static void plain(const struct kern *k, const struct world *w, int64_t pos, int head, double *out)
{
	const struct setup *s = &w->s;
	int kvh = head / (s->n_head / s->n_head_kv);
	double sum = s->sinks ? exp((double)w->sinks[head]) : 0.0;
	memset(out, 0, (size_t)s->hd_v * sizeof *out);
	for (int64_t p = 0; p < s->kv_len; p++) {
		if (!visible(s, p, pos))
			continue;
		double dot = 0.0;
		for (int d = 0; d < s->hd_k; d++)
			dot += (double)w->q[(pos * s->n_head + head) * s->hd_k + d] * stored(k, w->k[(p * s->n_head_kv + kvh) * s->hd_k + d]);
		dot *= w->a.scale;
		if (s->softcap != 0.0f)
			dot = s->softcap * tanh(dot / s->softcap);
		double e = exp(dot);
		sum += e;
		for (int d = 0; d < s->hd_v; d++)
			out[d] += e * stored(k, w->v[(p * s->n_head_kv + kvh) * s->hd_v + d]);
	}
	for (int d = 0; d < s->hd_v; d++)
		out[d] = sum > 0.0 ? out[d] / sum : 0.0;
}

static void check(const struct kern *k, struct setup s)
{
	struct world w;
	double want[512];
	world_init(&w, k, s);
	size_t n_out = (size_t)(s.kv_len * s.n_head * s.hd_v);
	float *out = zalloc64(n_out * 4);
	run(k, &w, 0, s.kv_len, 16, s.kv_len, out);
	for (int64_t p = 0; p < s.kv_len; p += s.kv_len > 40 ? 7 : 1)
		for (int h = 0; h < s.n_head; h++) {
			plain(k, &w, p, h, want);
			for (int d = 0; d < s.hd_v; d++) {
				double got = out[(p * s.n_head + h) * s.hd_v + d];
				ck_assert_msg(fabs(got - want[d]) < 1e-5,
					      "%s heads %d/%d hd %d/%d kv %lld window %lld causal %d cap %g: pos %lld head %d dim %d: %g, not %g",
					      k->name, s.n_head, s.n_head_kv, s.hd_k, s.hd_v, (long long)s.kv_len, (long long)s.window, s.causal,
					      (double)s.softcap, (long long)p, h, d, got, want[d]);
			}
		}
	free(out);
	world_release(&w);
}

START_TEST(test_lengths)
{
	for (size_t l = 0; l < n_level; l++)
		for (int64_t n = 1; n <= 200; n += n < 70 ? 1 : 13)
			check(levels[l], (struct setup){.n_head = 2, .n_head_kv = 1, .hd_k = 32, .hd_v = 32, .kv_len = n, .causal = true});
}
END_TEST

START_TEST(test_heads)
{
	static const int dims[][2] = {{64, 64}, {80, 80}, {96, 96}, {128, 128}, {256, 256}, {24, 40}, {72, 8}, {1, 1}, {192, 128}};
	for (size_t l = 0; l < n_level; l++) {
		for (int ratio = 1; ratio <= 9; ratio++)
			check(levels[l], (struct setup){.n_head = 2 * ratio, .n_head_kv = 2, .hd_k = 64, .hd_v = 64, .kv_len = 45, .causal = true});
		for (size_t i = 0; i < ARRAY_LEN(dims); i++)
			check(levels[l], (struct setup){.n_head = 3, .n_head_kv = 3, .hd_k = dims[i][0], .hd_v = dims[i][1], .kv_len = 37,
							.causal = true});
	}
}
END_TEST

START_TEST(test_masks)
{
	static const int64_t windows[] = {0, 1, 2, 31, 32, 33, 50, 64, 1000};
	for (size_t l = 0; l < n_level; l++)
		for (size_t i = 0; i < ARRAY_LEN(windows); i++)
			for (int variant = 0; variant < 8; variant++)
				check(levels[l], (struct setup){.n_head = 4, .n_head_kv = 2, .hd_k = 16, .hd_v = 32, .kv_len = 131,
								.window = windows[i], .causal = variant & 1, .sinks = variant & 2,
								.softcap = variant & 4 ? 5.0f : 0.0f});
}
END_TEST

/* Any cut of the queries, and a KV cache that ends at the query instead of later, give the same bits. */
START_TEST(test_cuts)
{
	static const int cuts[] = {1, 2, 3, 5, 8, 16, 33, 64};
	for (size_t l = 0; l < n_level; l++)
		for (int variant = 0; variant < 8; variant++) {
			struct world w;
			struct setup s = {.n_head = variant & 4 ? 9 : 4, .n_head_kv = variant & 4 ? 3 : 2, .hd_k = 64, .hd_v = variant & 2 ? 64 : 40,
					  .kv_len = 150, .window = variant & 1 ? 40 : 0, .causal = true, .sinks = variant & 1};
			world_init(&w, levels[l], s);
			size_t n_out = (size_t)(s.kv_len * s.n_head * s.hd_v), no = (size_t)(s.n_head * s.hd_v);
			float *all = zalloc64(n_out * 4), *part = zalloc64(n_out * 4);
			run(levels[l], &w, 0, s.kv_len, (int)s.kv_len, s.kv_len, all);
			for (size_t i = 0; i < ARRAY_LEN(cuts); i++) {
				memset(part, 0xff, n_out * 4);
				run(levels[l], &w, 0, s.kv_len, cuts[i], s.kv_len, part);
				ck_assert_msg(!memcmp(all, part, n_out * 4), "%s: %d queries a call differ", levels[l]->name, cuts[i]);
			}
			for (int64_t p = 0; p < s.kv_len; p++) {
				run(levels[l], &w, p, 1, 1, p + 1, part);
				ck_assert_msg(!memcmp(all + (size_t)p * no, part + (size_t)p * no, no * 4), "%s: position %lld alone differs",
					      levels[l]->name, (long long)p);
			}
			free(all), free(part);
			world_release(&w);
		}
}
END_TEST

/* Scores and values near the limits of f16 and of exp. */
START_TEST(test_extreme)
{
	for (size_t l = 0; l < n_level; l++) {
		struct world w;
		struct setup s = {.n_head = 2, .n_head_kv = 1, .hd_k = 32, .hd_v = 32, .kv_len = 70, .causal = true};
		world_init(&w, levels[l], s);
		float k[32], v[32], *out = zalloc64(70 * 2 * 32 * 4);
		for (int64_t p = 0; p < 70; p++) {
			for (int d = 0; d < 32; d++) {
				k[d] = p == 35 ? 6e4f : p == 36 ? -1e30f : -6e4f;
				v[d] = p == 35 ? 1e30f : -6e4f;
			}
			levels[l]->kv_store(&w.kv, w.pages[p / 32], p, k, v);
		}
		for (int64_t i = 0; i < 70 * 2 * 32; i++)
			w.q[i] = 1000.0f;
		run(levels[l], &w, 0, 70, 16, 70, out);
		for (int64_t i = 0; i < 70 * 2 * 32; i++) {
			float want = i / 64 < 35 ? -6e4f : levels[l]->kv_type == KERN_KV_F16 ? 65504.0f : 1e30f;
			ck_assert_msg(fabsf(out[i] - want) <= fabsf(want) * 1e-3f, "%s: position %lld: %g, not %g", levels[l]->name,
				      (long long)(i / 64), (double)out[i], (double)want);
		}
		free(out);
		world_release(&w);
	}
}
END_TEST

int main(void)
{
	n_level = kern_levels(&levels);
	Suite *s = suite_create("attn");
	TCase *t = tcase_create("all");
	tcase_set_timeout(t, 300);
	tcase_add_test(t, test_lengths);
	tcase_add_test(t, test_heads);
	tcase_add_test(t, test_masks);
	tcase_add_test(t, test_cuts);
	tcase_add_test(t, test_extreme);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int n = srunner_ntests_failed(r);
	srunner_free(r);
	return n != 0;
}
