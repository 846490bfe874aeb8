/* The results as a table and as JSON. */
#include <math.h>
#include <stdio.h>

#include "runner/bench_int.h"

void bench_stat(const struct bench_result *r, struct bench_stat *ret)
{
	*ret = (struct bench_stat){.min = r->v[0], .max = r->v[0]};
	for (int i = 0; i < r->n; i++) {
		ret->mean += r->v[i] / r->n;
		ret->min = r->v[i] < ret->min ? r->v[i] : ret->min;
		ret->max = r->v[i] > ret->max ? r->v[i] : ret->max;
	}
	for (int i = 0; i < r->n; i++)
		ret->sd += (r->v[i] - ret->mean) * (r->v[i] - ret->mean);
	ret->sd = r->n > 1 ? sqrt(ret->sd / (r->n - 1)) : 0;
}

/* ---- table ---- */

void bench_print_head(const struct bench_cfg *cfg, const struct runner_load *l, const struct bench_machine *machine,
		      const struct bench_work *work)
{
	printf("%s\n%s, kernels %s, KV %s, %d threads\nlimits: reads %.1f GB/s", cfg->name, kern_cpu_name(), l->kern->name,
	       kern_kv_type_name(l->kv_type), pool_size(l->pool), machine->read / 1e9);
	if (machine->mul_i8 > 0)
		printf(", multiplies %.0f G bytes/s, %.0f G floats/s", machine->mul_i8 / 1e9, machine->mul_f32 / 1e9);
	printf("\na token: %.1f MB of weights, %.1f M products in the layers\n\n", work->weight_bytes / 1e6, (work->i8 + work->f32) / 1e6);
	printf("%-30s %10s  %-21s %9s %9s\n", "", "tok/s", "min - max", "of reads", "of mult.");
	fflush(stdout);
}

static void print_share(double share)
{
	if (share < 0)
		printf(" %9s", "");
	else
		printf(" %8.0f%%", 100 * share);
}

void bench_print_row(const struct bench_result *r)
{
	char label[64] = "", depth[32] = "";
	struct bench_stat s;
	bench_stat(r, &s);
	if (r->depth)
		snprintf(depth, sizeof depth, " at %d", r->depth);
	if (r->n_stream)
		snprintf(label, sizeof label, "%s %d%s, %d stream%s", r->what, r->n_tok, depth, r->n_stream, r->n_stream > 1 ? "s" : "");
	else
		snprintf(label, sizeof label, "%s %d", r->what, r->n_tok);
	printf("%-30s %10.1f  %9.1f - %-9.1f", label, s.mean, s.min, s.max);
	print_share(r->read_share);
	print_share(r->mul_share);
	if (r->n_drafted)
		printf("   %lld of %lld guessed tokens right", (long long)r->n_accepted, (long long)r->n_drafted);
	printf("\n");
	fflush(stdout);
}

void bench_print_note(const struct bench_machine *machine, const struct bench_work *work)
{
	if (work->weight_bytes < (double)machine->cache_bytes)
		printf("\nThe weights (%.0f MB) fit the last-level cache (%.0f MB): decode may pass the limit of reads from memory.\n",
		       work->weight_bytes / 1e6, (double)machine->cache_bytes / 1e6);
	printf("\n");
}

/* ---- JSON ---- */

static void key_f64(struct jsonw *w, const char *key, double v)
{
	jsonw_key(w, key);
	jsonw_f64(w, v);
}

void bench_json_open(struct jsonw *w, const struct bench_cfg *cfg)
{
	jsonw_obj(w);
	jsonw_kstr(w, "model", cfg->name);
	jsonw_kstr(w, "cpu", kern_cpu_name());
	jsonw_key(w, "runs");
	jsonw_arr(w);
}

void bench_json_head(struct jsonw *w, const struct runner_load *l, const struct bench_machine *machine, const struct bench_work *work)
{
	jsonw_obj(w);
	jsonw_kint(w, "threads", pool_size(l->pool));
	jsonw_kstr(w, "kernels", l->kern->name);
	jsonw_kstr(w, "kv", kern_kv_type_name(l->kv_type));
	key_f64(w, "read_bytes_s", machine->read);
	key_f64(w, "i8_products_s", machine->mul_i8);
	key_f64(w, "f32_products_s", machine->mul_f32);
	jsonw_kint(w, "cache_bytes", machine->cache_bytes);
	key_f64(w, "weight_bytes", work->weight_bytes);
	key_f64(w, "layer_products_i8", work->i8);
	key_f64(w, "layer_products_f32", work->f32);
	jsonw_kbool(w, "fits_cache", work->weight_bytes < (double)machine->cache_bytes);
	jsonw_key(w, "results");
	jsonw_arr(w);
}

void bench_json_row(struct jsonw *w, const struct bench_result *r)
{
	struct bench_stat s;
	bench_stat(r, &s);
	jsonw_obj(w);
	jsonw_kstr(w, "test", r->what);
	jsonw_kint(w, "n_tok", r->n_tok);
	jsonw_kint(w, "streams", r->n_stream ? r->n_stream : 1);
	jsonw_kint(w, "depth", r->depth);
	key_f64(w, "mean", s.mean);
	key_f64(w, "min", s.min);
	key_f64(w, "max", s.max);
	key_f64(w, "sd", s.sd);
	jsonw_key(w, "values");
	jsonw_arr(w);
	for (int i = 0; i < r->n; i++)
		jsonw_f64(w, r->v[i]);
	jsonw_arr_end(w);
	if (r->n_drafted) {
		jsonw_kint(w, "drafted", r->n_drafted);
		jsonw_kint(w, "accepted", r->n_accepted);
	}
	if (r->read_share >= 0)
		key_f64(w, "read_share", r->read_share);
	if (r->mul_share >= 0)
		key_f64(w, "multiply_share", r->mul_share);
	jsonw_obj_end(w);
}

void bench_json_tail(struct jsonw *w)
{
	jsonw_arr_end(w);
	jsonw_obj_end(w);
}

void bench_json_close(struct jsonw *w)
{
	jsonw_arr_end(w);
	jsonw_obj_end(w);
}
