/* bench_kern: matrix products of every level on this machine. Usage: bench_kern [N_IN N_OUT [TYPE [LEVEL]]]. Prints GMAC/s for several
 * token counts and, at one token, the bytes read per second. One thread. Build: cc -O2 -Isrc bench/bench_kern.c kern.a gguf.a base.a */
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
	if (panel) {
		w.panel = mem_try_aligned(64, panel);
		w.ops->pack(&w, w.panel, 0, n_out);
	}
	float *x = mem_try_aligned(64, (size_t)n_in * 4), *y = mem_try_aligned(64, (size_t)(n_out * max) * 4);
	uint8_t *act = mem_try_aligned(64, stride * (size_t)max);
	for (int64_t t = 0; t < max; t++) {
		for (int64_t i = 0; i < n_in; i++)
			x[i] = (float)(rand() % 2001 - 1000) * 1e-3f;
		w.ops->act_row(x, act + (size_t)t * stride, n_in);
	}
	printf("%-22s", w.ops->name);
	for (size_t i = 0; i < ARRAY_LEN(n_toks); i++) {
		double s = seconds(&w, act, stride, n_toks[i], y);
		printf("  %lld: %.1f", (long long)n_toks[i], (double)(n_in * n_out * n_toks[i]) / s * 1e-9);
		if (n_toks[i] == 1)
			printf(" (%.1f GB/s)", (double)(panel ? panel : n_bytes) / s * 1e-9);
		fflush(stdout);
	}
	printf("  panel %.3f of file\n", (double)panel / (double)n_bytes);
	mem_free(data), mem_free(w.panel), mem_free(x), mem_free(y), mem_free(act);
}

int main(int argc, char **argv)
{
	int64_t n_in = argc > 2 ? atoll(argv[1]) : 2048, n_out = argc > 2 ? atoll(argv[2]) : 2048;
	const struct gguf_type_info *only = argc > 3 ? gguf_type_by_name(argv[3]) : NULL;
	const struct kern *const *levels;
	size_t n_level = kern_levels(&levels);
	printf("%s, %lld x %lld, GMAC/s by token count\n", kern_cpu_name(), (long long)n_in, (long long)n_out);
	for (size_t l = 0; l < n_level; l++)
		for (int type = 0; type < 64; type++)
			if ((argc < 5 || !strcmp(argv[4], levels[l]->name)) && quant_for(type) && (!only || only->id == type) && levels[l]->mat_ops(type))
				bench(levels[l], type, n_in, n_out);
	return 0;
}
