/* bench_kern: attention, matrix products, packing and activation rows of every level on this machine.
 * Usage: bench_kern [N_IN N_OUT [TYPE [LEVEL]]]. Prints GMAC/s for several token counts: at one token with the bytes read per
 * second, else as a share of what the instructions allow. One thread. Build: cc -O2 -Isrc bench/bench_kern.c kern.a gguf.a base.a */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/bug.h"
#include "base/mem.h"
#include "gguf/gguf_type.h"
#include "kern/kern.h"
#include "kern/quant/quant.h"

/* CPU time of the thread: a shared machine distorts it less than wall time. */
static double cpu_s(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

/* Products per second of the level's peak loop, in 1e9. */
static double rate(int64_t (*peak)(int64_t n_turn))
{
	double best = 0.0;
	for (int i = 0; peak && i < 20; i++) {
		double t = cpu_s();
		int64_t n = peak(100000);
		t = cpu_s() - t;
		best = (double)n / t > best ? (double)n / t : best;
	}
	return best * 1e-9;
}

static double seconds(const struct kern_mat *w, const uint8_t *act, size_t stride, int64_t n_tok, float *y)
{
	double best = 1e9;
	double start = cpu_s(), now = start;
	do {
		w->ops->mul(w, 0, w->n_out, act, stride, n_tok, y, (size_t)w->n_out, NULL);
		double t = cpu_s();
		best = t - now < best ? t - now : best;
		now = t;
	} while (now - start < 0.3);
	return best;
}

static void bench(const struct kern *k, int type, int64_t n_in, int64_t n_out)
{
	static const int64_t n_toks[] = {1, 2, 4, 8, 32, 512};
	const int64_t max = 512;
	const struct gguf_type_info *info = gguf_type_info(type);
	size_t row = (size_t)(n_in / info->block) * (size_t)info->bytes, n_bytes = row * (size_t)n_out;
	uint8_t *data = mem_try_aligned(64, n_bytes);
	for (size_t i = 0; i < n_bytes; i++)
		data[i] = (uint8_t)(0x20 + (rand() & 0x1f)); /* every float in it is normal and small */
	struct kern_mat w;
	struct err err;
	if (kern_mat_init(k, &w, type, n_in, n_out, data, &err))
		BUG("%s", err.msg);
	size_t panel = w.ops->panel_bytes(n_in, n_out), stride = w.ops->act_bytes(n_in);
	double t_pack = 0.0, t_act = 0.0;
	if (panel) {
		w.panel = mem_try_aligned(64, panel);
		memset(w.panel, 0, panel);
		t_pack = cpu_s();
		w.ops->pack(&w, w.panel, 0, n_out);
		t_pack = cpu_s() - t_pack;
	}
	float *x = mem_try_aligned(64, (size_t)n_in * 4), *y = mem_try_aligned(64, (size_t)(n_out * max) * 4);
	uint8_t *act = mem_try_aligned(64, stride * (size_t)max);
	for (int64_t t = 0; t < max; t++) {
		for (int64_t i = 0; i < n_in; i++)
			x[i] = (float)(rand() % 2001 - 1000) * 1e-3f;
		w.ops->act_row(x, act + (size_t)t * stride, n_in);
	}
	t_act = cpu_s();
	for (int64_t t = 0; t < max; t++)
		w.ops->act_row(x, act + (size_t)t * stride, n_in);
	t_act = cpu_s() - t_act;
	double peak = !k->peak ? 0.0 : rate(w.ops->act_kind == KERN_ACT_I8 ? k->peak->mul_i8 : k->peak->mul_f32);
	printf("%-22s", w.ops->name);
	for (size_t i = 0; i < ARRAY_LEN(n_toks); i++) {
		double s = seconds(&w, act, stride, n_toks[i], y);
		printf("  %lld: %.1f", (long long)n_toks[i], (double)(n_in * n_out * n_toks[i]) / s * 1e-9);
		if (n_toks[i] == 1)
			printf(" (%.1f GB/s)", (double)(panel ? panel : n_bytes) / s * 1e-9);
		else if (peak > 0.0)
			printf(" (%.0f%%)", (double)(n_in * n_out * n_toks[i]) / s * 1e-7 / peak);
		fflush(stdout);
	}
	printf("  panel %.3f of file, packed at %.2f GB/s, act row %.2f us\n", (double)panel / (double)n_bytes,
	       t_pack > 0.0 ? (double)n_bytes / t_pack * 1e-9 : 0.0, t_act / (double)max * 1e6);
	mem_free(data), mem_free(w.panel), mem_free(x), mem_free(y), mem_free(act);
}

struct heads {
	int hd, ratio;
};

/* Query counts in one call, one KV head, at the end of LEN positions. */
static void bench_attn(const struct kern *k, enum kern_kv_type type, struct heads h)
{
	enum { LEN = 4096, N_Q = 128, MIN_S = 4 }; /* MIN_S: twentieths of a second per figure */
	static const int n_qs[] = {1, 16, 32, 64, N_Q};
	size_t page = (kern_kv_head_bytes(type, h.hd) + 63) / 64 * 64, n_page = LEN / KERN_PAGE_TOK, n = (size_t)(N_Q * h.ratio * h.hd);
	struct kern_kv kv = {.type = type, .n_head_kv = 1, .hd_k = h.hd, .hd_v = h.hd, .k_page_bytes = page, .v_page_bytes = page};
	struct kern_attn a = {.kv = &kv, .n_head = h.ratio, .scale = 0.125f, .causal = true};
	uint32_t pages[LEN / KERN_PAGE_TOK];
	float *row = mem_try_aligned(64, (size_t)h.hd * 4), *q = mem_try_aligned(64, n * 4), *out = mem_try_aligned(64, n * 4);
	kv.k = mem_try_aligned(64, page * n_page);
	kv.v = mem_try_aligned(64, page * n_page);
	for (uint32_t i = 0; i < n_page; i++)
		pages[i] = i;
	for (size_t i = 0; i < n; i++)
		q[i] = (float)(rand() % 2001 - 1000) * 1e-3f;
	double t0 = cpu_s();
	for (int64_t p = 0; p < LEN; p++) {
		for (int d = 0; d < h.hd; d++)
			row[d] = (float)(rand() % 2001 - 1000) * 1e-3f;
		k->kv_store(&kv, pages[p / KERN_PAGE_TOK], p, row, row);
	}
	printf("attn/%-10s %-4s %d x %-3d store %.2f us", k->name, kern_kv_type_name(type), h.ratio, h.hd, (cpu_s() - t0) / LEN * 1e6);
	for (size_t i = 0; i < ARRAY_LEN(n_qs); i++) {
		int n_q = n_qs[i];
		struct kern_attn_job job = {.q = q, .out = out, .q_stride = (size_t)(h.ratio * h.hd), .out_stride = (size_t)(h.ratio * h.hd),
					    .pos = LEN - n_q, .n_q = n_q, .kv_len = LEN, .pages = pages,
					    .scratch = mem_try_aligned(64, k->attn_scratch(&a, n_q) * 4)};
		double best = 1e9, start = cpu_s(), now = start;
		do {
			k->attn(&a, &job);
			double t = cpu_s();
			best = t - now < best ? t - now : best;
			now = t;
		} while (now - start < MIN_S * 0.05);
		printf("  %d: %.1f GMAC/s", n_q, 2.0 * h.hd * h.ratio * LEN * n_q / best * 1e-9);
		if (n_q == 1)
			printf(" (%.1f GB/s)", (double)(2 * page * n_page) / best * 1e-9);
		fflush(stdout);
		mem_free(job.scratch);
	}
	printf("\n");
	mem_free(q), mem_free(out), mem_free(row), mem_free(kv.k), mem_free(kv.v);
}

static void bench_attns(const struct kern *k)
{
	static const struct heads heads[] = {{64, 3}, {64, 4}, {128, 4}, {256, 4}};
	for (enum kern_kv_type type = k->kv_type; type <= KERN_KV_Q8_0; type++)
		for (size_t i = 0; i < ARRAY_LEN(heads); i++)
			bench_attn(k, type, heads[i]);
}

int main(int argc, char **argv)
{
	int64_t n_in = argc > 2 ? atoll(argv[1]) : 2048, n_out = argc > 2 ? atoll(argv[2]) : 2048;
	const struct gguf_type_info *only = argc > 3 ? gguf_type_by_name(argv[3]) : NULL;
	const struct kern *const *levels;
	size_t n_level = kern_levels(&levels);
	printf("%s, %lld x %lld, GMAC/s by token count\n", kern_cpu_name(), (long long)n_in, (long long)n_out);
	for (size_t l = 0; l < n_level; l++)
		if (argc < 5 || !strcmp(argv[4], levels[l]->name))
			bench_attns(levels[l]);
	for (size_t l = 0; l < n_level; l++)
		for (int type = 0; type < 64; type++)
			if ((argc < 5 || !strcmp(argv[4], levels[l]->name)) && quant_for(type) && (!only || only->id == type) && levels[l]->mat_ops(type))
				bench(levels[l], type, n_in, n_out);
	return 0;
}
