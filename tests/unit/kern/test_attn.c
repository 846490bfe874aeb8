/* Attention of every level and KV type against a plain computation in double from the same stored values: GQA, windows, both
 * masks, soft caps, sinks, odd head sizes; equal bits for every cut of the queries and for tiles computed apart; unstored and
 * unused page contents never matter; nothing is touched beyond the buffers. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

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
	enum kern_kv_type type;
};

enum { MAX_POS = 1024, N_PAGE = MAX_POS / KERN_PAGE_TOK + 1 };

struct world {
	struct setup s;
	struct kern_kv kv;
	struct kern_attn a;
	uint32_t pages[N_PAGE];
	float *k, *v, *q, *sinks; /* [kv_len][n_head_kv][hd] as stored, q [kv_len][n_head][hd_k] */
};

static size_t up64(size_t n)
{
	return (n + 63) / 64 * 64;
}

enum { GUARD = 4096 };

/* n zeroed bytes that end, rounded up to 64, at a page that cannot be touched. */
static void *zalloc64(size_t n)
{
	size_t len = (up64(n) + GUARD - 1) / GUARD * GUARD + GUARD;
	uint8_t *p = mmap(NULL, len + GUARD, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ck_assert(p != MAP_FAILED);
	ck_assert_int_eq(mprotect(p + len, GUARD, PROT_NONE), 0);
	return p + len - up64(n);
}

static void zfree(void *p, size_t n)
{
	uint8_t *base = (uint8_t *)p + up64(n);
	size_t len = (up64(n) + GUARD - 1) / GUARD * GUARD + GUARD;
	ck_assert_int_eq(munmap(base - len, len + GUARD), 0);
}

/* What a page gives back for n values of one head. */
static void as_stored(enum kern_kv_type type, float *x, int n)
{
	for (int i = 0; i < n; i += KERN_KV_BLOCK) {
		int m = n - i < KERN_KV_BLOCK ? n - i : KERN_KV_BLOCK;
		float top = 0.0f;
		for (int j = i; j < i + m; j++)
			top = fmaxf(top, fabsf(x[j]));
		float scale = f16_to_f32(f32_to_f16(top / 127.0f));
		for (int j = i; j < i + m; j++) {
			uint32_t bits;
			memcpy(&bits, x + j, sizeof bits);
			if (type == KERN_KV_F16)
				x[j] = f16_to_f32(f32_to_f16(x[j]));
			else if (type == KERN_KV_BF16)
				x[j] = bf16_to_f32((uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16));
			else if (type == KERN_KV_Q8_0)
				x[j] = scale > 0.0f ? scale * fmaxf(-127.0f, fminf(127.0f, nearbyintf(x[j] * (1.0f / scale)))) : 0.0f;
		}
	}
}

static void world_init(struct world *w, const struct kern *k, struct setup s)
{
	size_t nk = (size_t)(s.n_head_kv * s.hd_k), nv = (size_t)(s.n_head_kv * s.hd_v);
	memset(w, 0, sizeof *w);
	w->s = s;
	w->kv = (struct kern_kv){.type = s.type, .n_head_kv = s.n_head_kv, .hd_k = s.hd_k, .hd_v = s.hd_v};
	w->kv.k_page_bytes = up64(kern_kv_head_bytes(s.type, s.hd_k) * (size_t)s.n_head_kv);
	w->kv.v_page_bytes = up64(kern_kv_head_bytes(s.type, s.hd_v) * (size_t)s.n_head_kv);
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
	for (int64_t p = 0; p < s.kv_len; p++) {
		float *kt = w->k + (size_t)p * nk, *vt = w->v + (size_t)p * nv;
		k->kv_store(&w->kv, w->pages[p / KERN_PAGE_TOK], p, kt, vt);
		for (int h = 0; h < s.n_head_kv; h++) {
			as_stored(s.type, kt + h * s.hd_k, s.hd_k);
			as_stored(s.type, vt + h * s.hd_v, s.hd_v);
		}
	}
}

static void world_release(struct world *w)
{
	size_t nk = (size_t)(w->s.n_head_kv * w->s.hd_k), nv = (size_t)(w->s.n_head_kv * w->s.hd_v);
	zfree(w->kv.k, w->kv.k_page_bytes * N_PAGE), zfree(w->kv.v, w->kv.v_page_bytes * N_PAGE);
	zfree(w->k, (size_t)w->s.kv_len * nk * 4), zfree(w->v, (size_t)w->s.kv_len * nv * 4);
	zfree(w->q, (size_t)(w->s.kv_len * w->s.n_head * w->s.hd_k) * 4), zfree(w->sinks, (size_t)w->s.n_head * 4);
}

static struct kern_attn_job job_at(const struct world *w, int64_t pos, int n_q, int64_t kv_len, int i_head_kv, float *out)
{
	size_t nq = (size_t)(w->s.n_head * w->s.hd_k), no = (size_t)(w->s.n_head * w->s.hd_v);
	return (struct kern_attn_job){.q = w->q + (size_t)pos * nq, .out = out + (size_t)pos * no, .q_stride = nq, .out_stride = no,
				      .pos = pos, .n_q = n_q, .kv_len = kv_len, .pages = w->pages, .i_head_kv = i_head_kv};
}

/* Queries p0 .. p0 + n of all heads in calls of at most `cut` tokens; out [kv_len][n_head][hd_v]. */
static void run(const struct kern *k, const struct world *w, int64_t p0, int64_t n, int cut, int64_t kv_len, float *out)
{
	size_t n_scratch = k->attn_scratch(&w->a, cut) * sizeof(float);
	float *scratch = zalloc64(n_scratch);
	for (int64_t p = p0; p < p0 + n; p += cut)
		for (int h = 0; h < w->s.n_head_kv; h++) {
			memset(scratch, 0xff, n_scratch);
			struct kern_attn_job job = job_at(w, p, (int)(p0 + n - p < cut ? p0 + n - p : cut), kv_len, h, out);
			job.scratch = scratch;
			k->attn(&w->a, &job);
		}
	zfree(scratch, n_scratch);
}

/* The same for one call, from parts of tiles that are computed last tile first. */
static void run_parts(const struct kern *k, const struct world *w, int64_t pos, int n_q, int64_t kv_len, float *out)
{
	size_t n_scratch = k->attn_scratch(&w->a, n_q) * sizeof(float);
	float *scratch = zalloc64(n_scratch);
	for (int h = 0; h < w->s.n_head_kv; h++) {
		struct kern_attn_job job = job_at(w, pos, n_q, kv_len, h, out);
		int64_t i0, i1, n_part = n_q * (w->s.n_head / w->s.n_head_kv) * kern_attn_part(&w->a);
		job.scratch = scratch;
		kern_attn_tiles(&w->a, &job, &i0, &i1);
		size_t n = (size_t)((i1 - i0) * n_part) * sizeof(float);
		float *parts = zalloc64(n);
		memset(parts, 0xff, n);
		for (int64_t i = i1; i-- > i0;) {
			memset(scratch, 0xff, n_scratch);
			k->attn_tile(&w->a, &job, i, parts + (i - i0) * n_part);
		}
		memset(scratch, 0xff, n_scratch);
		k->attn_merge(&w->a, &job, parts);
		zfree(parts, n);
	}
	zfree(scratch, n_scratch);
}

static bool visible(const struct setup *s, int64_t p0, int64_t p1)
{
	if (s->causal)
		return p0 <= p1 && (!s->window || p1 - p0 < s->window);
	return !s->window || llabs(p1 - p0) < s->window;
}

/* One head of one query, in double, without any tricks. */
static void plain(const struct world *w, int64_t pos, int head, double *out)
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
			dot += (double)w->q[(pos * s->n_head + head) * s->hd_k + d] * (double)w->k[(p * s->n_head_kv + kvh) * s->hd_k + d];
		dot *= w->a.scale;
		if (s->softcap != 0.0f)
			dot = s->softcap * tanh(dot / s->softcap);
		double e = exp(dot);
		sum += e;
		for (int d = 0; d < s->hd_v; d++)
			out[d] += e * (double)w->v[(p * s->n_head_kv + kvh) * s->hd_v + d];
	}
	for (int d = 0; d < s->hd_v; d++)
		out[d] = sum > 0.0 ? out[d] / sum : 0.0;
}

/* The types that a level stores: all but f32, which is ref's. */
static enum kern_kv_type first_type(const struct kern *k)
{
	return k->kv_type == KERN_KV_F32 ? KERN_KV_F32 : KERN_KV_F16;
}

static void check_type(const struct kern *k, struct setup s)
{
	struct world w;
	double want[512];
	world_init(&w, k, s);
	size_t n_out = (size_t)(s.kv_len * s.n_head * s.hd_v);
	float *out = zalloc64(n_out * 4);
	run(k, &w, 0, s.kv_len, 16, s.kv_len, out);
	for (int64_t p = 0; p < s.kv_len; p += s.kv_len > 200 ? 41 : s.kv_len > 40 ? 7 : 1)
		for (int h = 0; h < s.n_head; h++) {
			plain(&w, p, h, want);
			for (int d = 0; d < s.hd_v; d++) {
				double got = out[(p * s.n_head + h) * s.hd_v + d];
				ck_assert_msg(fabs(got - want[d]) < 1e-5,
					      "%s %s heads %d/%d hd %d/%d kv %lld window %lld causal %d cap %g: pos %lld head %d dim %d: "
					      "%g, not %g",
					      k->name, kern_kv_type_name(s.type), s.n_head, s.n_head_kv, s.hd_k, s.hd_v, (long long)s.kv_len,
					      (long long)s.window, s.causal, (double)s.softcap, (long long)p, h, d, got, want[d]);
			}
		}
	zfree(out, n_out * 4);
	world_release(&w);
}

static void check(const struct kern *k, struct setup s)
{
	for (s.type = first_type(k); s.type <= KERN_KV_Q8_0; s.type++)
		check_type(k, s);
}

START_TEST(test_lengths)
{
	for (size_t l = 0; l < n_level; l++)
		for (int64_t n = 1; n <= 600; n += n < 70 ? 3 : 83)
			check(levels[l], (struct setup){.n_head = 2, .n_head_kv = 1, .hd_k = 32, .hd_v = 32, .kv_len = n, .causal = true});
}
END_TEST

START_TEST(test_heads)
{
	static const int dims[][2] = {{64, 64}, {80, 80}, {96, 96}, {128, 128}, {256, 256}, {24, 40}, {72, 8}, {1, 1}, {192, 128}, {33, 65}};
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

/* Longer than a tile, so that parts are merged. */
START_TEST(test_tiles)
{
	static const int64_t windows[] = {0, 20, 256, 257, 300};
	for (size_t l = 0; l < n_level; l++)
		for (size_t i = 0; i < ARRAY_LEN(windows); i++)
			for (int variant = 0; variant < 4; variant++)
				check(levels[l], (struct setup){.n_head = 4, .n_head_kv = 2, .hd_k = 32, .hd_v = 32, .kv_len = 600,
								.window = windows[i], .causal = variant & 1, .sinks = variant & 2,
								.softcap = variant == 3 ? 5.0f : 0.0f});
}
END_TEST

static void check_same(const struct world *w, const struct kern *k, const float *all, const float *got, int64_t pos, int64_t n,
		       const char *what)
{
	size_t no = (size_t)(w->s.n_head * w->s.hd_v);
	ck_assert_msg(!memcmp(all + (size_t)pos * no, got + (size_t)pos * no, (size_t)n * no * sizeof *all),
		      "%s %s: position %lld, %lld queries, %s: bits differ", k->name, kern_kv_type_name(w->s.type), (long long)pos,
		      (long long)n, what);
}

/* Any cut of the queries, a KV cache that ends at the query instead of later, and tiles computed apart give the same bits. */
static void check_cuts(const struct kern *k, struct setup s)
{
	static const int cuts[] = {1, 2, 3, 5, 8, 16, 33, 64};
	struct world w;
	world_init(&w, k, s);
	size_t n_out = (size_t)(s.kv_len * s.n_head * s.hd_v) * sizeof(float);
	float *all = zalloc64(n_out), *part = zalloc64(n_out);
	run(k, &w, 0, s.kv_len, (int)s.kv_len, s.kv_len, all);
	for (size_t i = s.kv_len > 200 ? 4 : 0; i < ARRAY_LEN(cuts); i++) { /* long ones are slow in small cuts */
		memset(part, 0xff, n_out);
		run(k, &w, 0, s.kv_len, cuts[i], s.kv_len, part);
		check_same(&w, k, all, part, 0, s.kv_len, "cut");
	}
	for (int64_t p = 0; p < s.kv_len; p += s.kv_len > 200 ? 19 : 1) {
		memset(part, 0xff, n_out);
		run(k, &w, p, 1, 1, p + 1, part);
		check_same(&w, k, all, part, p, 1, "alone");
		memset(part, 0xff, n_out);
		run_parts(k, &w, p, 1, p + 1, part);
		check_same(&w, k, all, part, p, 1, "in parts");
		int n = (int)(s.kv_len - p < 7 ? s.kv_len - p : 7);
		run_parts(k, &w, p, n, p + n, part);
		check_same(&w, k, all, part, p, n, "in parts");
	}
	zfree(all, n_out), zfree(part, n_out);
	world_release(&w);
}

START_TEST(test_cuts)
{
	for (size_t l = 0; l < n_level; l++)
		for (int variant = 0; variant < 12; variant++) {
			struct setup s = {.n_head = variant & 4 ? 9 : 4, .n_head_kv = variant & 4 ? 3 : 2, .hd_k = 64,
					  .hd_v = variant & 2 ? 64 : 40, .kv_len = variant < 8 ? 150 : 600, .causal = true,
					  .window = variant & 1 ? variant < 8 ? 40 : 300 : 0, .sinks = variant & 1};
			for (s.type = first_type(levels[l]); s.type <= KERN_KV_Q8_0; s.type++)
				check_cuts(levels[l], s);
		}
}
END_TEST

/* Scores and values near the limits of the types and of exp. */
START_TEST(test_extreme)
{
	static const float most[] = {1e30f, 65504.0f, 1e30f, 127.0f * 65504.0f};
	for (size_t l = 0; l < n_level; l++)
		for (enum kern_kv_type type = first_type(levels[l]); type <= KERN_KV_Q8_0; type++) {
			struct world w;
			struct setup s = {.n_head = 2, .n_head_kv = 1, .hd_k = 32, .hd_v = 32, .kv_len = 70, .causal = true, .type = type};
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
				float want = i / 64 < 35 ? -6e4f : most[type];
				ck_assert_msg(fabsf(out[i] - want) <= fabsf(want) * 4e-3f, "%s %s: position %lld: %g, not %g", levels[l]->name,
					      kern_kv_type_name(type), (long long)(i / 64), (double)out[i], (double)want);
			}
			zfree(out, 70 * 2 * 32 * 4);
			world_release(&w);
		}
}
END_TEST

/* What no type can hold: infinities become the largest value, NaN stays where it was put. */
START_TEST(test_not_finite)
{
	for (size_t l = 0; l < n_level; l++)
		for (enum kern_kv_type type = KERN_KV_F16; type <= KERN_KV_Q8_0; type++) {
			struct world w;
			struct setup s = {.n_head = 1, .n_head_kv = 1, .hd_k = 64, .hd_v = 64, .kv_len = 2, .causal = true, .type = type};
			world_init(&w, levels[l], s);
			float k[64] = {0}, v[64] = {0}, *out = zalloc64(2 * 64 * 4);
			v[0] = INFINITY, v[1] = -INFINITY, v[40] = NAN;
			levels[l]->kv_store(&w.kv, w.pages[0], 0, k, v);
			run(levels[l], &w, 0, 1, 1, 1, out);
			for (int d = 0; d < 64; d++)
				ck_assert_msg(d == 40 || (type == KERN_KV_Q8_0 && d >= 32) ? isnan(out[d]) : isfinite(out[d]),
					      "%s %s: value %d is %g", levels[l]->name, kern_kv_type_name(type), d, (double)out[d]);
			ck_assert(out[0] >= 65504.0f && out[1] <= -65504.0f && out[2] == 0.0f);
			zfree(out, 2 * 64 * 4);
			world_release(&w);
		}
}
END_TEST

START_TEST(test_types)
{
	enum kern_kv_type type;
	struct err err;
	for (size_t l = 0; l < n_level; l++) {
		ck_assert(!kern_kv_choose(levels[l], NULL, &type, &err) && type == levels[l]->kv_type);
		ck_assert(!kern_kv_choose(levels[l], "f16", &type, &err) && type == levels[l]->kv_type);
		ck_assert(!kern_kv_choose(levels[l], "bf16", &type, &err) && type == KERN_KV_BF16);
		ck_assert(!kern_kv_choose(levels[l], "q8_0", &type, &err) && type == KERN_KV_Q8_0);
		ck_assert_int_eq(kern_kv_choose(levels[l], "q4_0", &type, &err), ERR_INVALID);
		ck_assert(type == levels[l]->kv_type && strstr(err.msg, "f16, bf16 or q8_0"));
	}
	ck_assert_uint_eq(kern_kv_head_bytes(KERN_KV_F16, 64), 64 * 32 * 2);
	ck_assert_uint_eq(kern_kv_head_bytes(KERN_KV_Q8_0, 80), 32 * (80 + 3 * 2));
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
	tcase_add_test(t, test_tiles);
	tcase_add_test(t, test_cuts);
	tcase_add_test(t, test_extreme);
	tcase_add_test(t, test_not_finite);
	tcase_add_test(t, test_types);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int n = srunner_ntests_failed(r);
	srunner_free(r);
	return n != 0;
}
