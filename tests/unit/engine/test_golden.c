/* Tiny models of every architecture and tensor type, and real models where they are at hand (CRIA_TEST_MODELS), against
 * logits, greedy ids and vectors of an independent implementation, with exact arithmetic. */
#include "rig.h"

/* Bound on every logit: arithmetic in another order moves them by less than a quarter of this. */
static double tolerance(const char *name)
{
	return !strcmp(name, "gemma3-27b") ? 5e-4 : 2e-4;
}

static void check_greedy(const char *what, const struct run *r, const json_t *want, const json_t *margins, double tol)
{
	for (size_t i = 0; i < json_array_size(want); i++) {
		if (rig_num(margins, i) < 10 * tol)
			break;
		ck_assert_msg(r->ids[i] == (int)rig_num(want, i), "%s: greedy step %zu: %d, not %d", what, i, r->ids[i],
			      (int)rig_num(want, i));
	}
}

static double worst_diff(const float *got, const json_t *want)
{
	double worst = 0;
	for (size_t i = 0; i < json_array_size(want); i++) {
		double d = fabs(got[i] - rig_num(want, i));
		worst = d > worst || isnan(d) ? d : worst;
	}
	return worst;
}

static void check_decoder(const struct rig *rig, const char *name, const json_t *p, double tol)
{
	size_t n_ids;
	int *ids = rig_ids(json_object_get(p, "ids"), &n_ids);
	const char *exact = json_object_get(p, "greedy") ? "" : "_exact";
	char names[3][32];
	snprintf(names[0], sizeof names[0], "logits%s", exact);
	snprintf(names[1], sizeof names[1], "greedy%s", exact);
	snprintf(names[2], sizeof names[2], "margins%s", exact);
	json_t *logits = json_object_get(p, names[0]);
	struct run r;
	run_greedy(&r, rig, ids, n_ids, 16);
	ck_assert_uint_eq(json_array_size(logits), (size_t)r.n_vocab);
	double worst = worst_diff(r.first, logits);
	printf("%-16s %3zu ids: logits off by %.2g\n", name, n_ids, worst);
	ck_assert_msg(worst <= tol, "%s, %zu ids: logits off by %g", name, n_ids, worst);
	check_greedy(name, &r, json_object_get(p, names[1]), json_object_get(p, names[2]), tol);
	run_release(&r);
	mem_free(ids);
}

struct vectors {
	float *rows;
	int64_t n_tok;
	int n_embd;
};

static void on_embedding(void *user, const float *rows, int64_t n_tok, int n_embd)
{
	struct vectors *v = user;
	size_t n = (size_t)n_tok * (size_t)n_embd * sizeof *rows;
	v->rows = memcpy(mem_alloc(n), rows, n);
	v->n_tok = n_tok;
	v->n_embd = n_embd;
}

static void check_encoder(const struct rig *rig, const char *name, const json_t *p, double tol)
{
	struct vectors v = {0};
	struct err err;
	size_t n_ids;
	int *ids = rig_ids(json_object_get(p, "ids"), &n_ids);
	struct seq_cfg c = {.ids = ids, .n_ids = n_ids, .embed = true, .user = &v, .on_embedding = on_embedding};
	ck_assert_int_eq(engine_sync_run(rig->e, &c, NULL, NULL, &err), 0);
	json_t *tokens = json_object_get(p, "tokens");
	ck_assert_int_eq(v.n_tok, (int64_t)n_ids);
	ck_assert_uint_eq(json_array_size(tokens), n_ids);
	double worst = 0;
	for (size_t i = 0; i < n_ids; i++)
		worst = fmax(worst, worst_diff(v.rows + i * (size_t)v.n_embd, json_array_get(tokens, i)));
	printf("%-16s %3zu ids: vectors off by %.2g\n", name, n_ids, worst);
	ck_assert_msg(worst <= tol, "%s, %zu ids: vectors off by %g", name, n_ids, worst);
	mem_free(v.rows);
	mem_free(ids);
}

static void check_model(const char *dir, const char *name)
{
	char path[256];
	struct rig rig;
	snprintf(path, sizeof path, GOLDEN "%s%s.json", dir, name);
	if (!rig_have(path))
		return;
	json_t *j = rig_json(path), *p;
	size_t i;
	snprintf(path, sizeof path, GOLDEN "%s%s.gguf", dir, name);
	rig_open(&rig, path, &(struct rig_cfg){.n_ctx = 128});
	const char *kind = json_string_value(json_object_get(j, "kind"));
	json_array_foreach(json_object_get(j, "prompts"), i, p) {
		if (kind && !strcmp(kind, "encoder"))
			check_encoder(&rig, name, p, tolerance(name));
		else
			check_decoder(&rig, name, p, tolerance(name));
	}
	rig_close(&rig);
	json_decref(j);
}

static const char *const archs[] = {"llama", "llama-bias", "llama-fusedqkv", "llama-headdim", "llama-linear", "llama-yarn",
				    "llama3-freqs", "mixtral", "qwen2", "gemma3", "gemma3-27b", "bert"};
static const char *const types[] = {"F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K",
				    "Q6_K"};

START_TEST(test_arch)
{
	check_model("arch/", archs[_i]);
}
END_TEST

START_TEST(test_type)
{
	check_model("arch/quant/", types[_i]);
}
END_TEST

/* ---- real models ---- */

static const struct {
	const char *golden, *file;
} real[] = {
	{"smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"},
	{"gemma3-270m", "gemma-3-270m-q4_k_m.gguf"},
	{"qwen2.5-coder-0.5b", "qwen2.5-coder-0.5b-instruct.gguf"},
};

static void check_real_case(const struct rig *rig, const json_t *c)
{
	const char *id = json_string_value(json_object_get(c, "id"));
	const json_t *f32 = json_object_get(c, "f32"), *steps = json_object_get(f32, "steps"), *top;
	size_t n_ids, i;
	struct run r;
	int *ids = rig_ids(json_object_get(c, "tokens"), &n_ids);
	double worst = 0;
	run_greedy(&r, rig, ids, n_ids, 12);
	json_array_foreach(json_object_get(f32, "top20"), i, top)
		worst = fmax(worst, fabs(r.first[(int)rig_num(top, 0)] - rig_num(top, 1)));
	printf("  %-20s %4zu ids: top logits off by %.2g\n", id, n_ids, worst);
	ck_assert_msg(worst < (n_ids <= 700 ? 2e-3 : 5e-3), "%s: logits off by %g", id, worst);
	for (i = 0; i < 12; i++) {
		if (json_number_value(json_object_get(json_array_get(steps, i), "margin")) < 0.02)
			break;
		ck_assert_int_eq(r.ids[i], (int)rig_num(json_object_get(f32, "greedy"), i));
	}
	run_release(&r);
	mem_free(ids);
}

START_TEST(test_real)
{
	const char *dir = getenv("CRIA_TEST_MODELS");
	char path[512], json[256];
	struct rig rig;
	snprintf(json, sizeof json, GOLDEN "logits-%s.json", real[_i].golden);
	snprintf(path, sizeof path, "%s/%s", dir ? dir : "models", real[_i].file);
	if (!rig_have(json) || !rig_have(path))
		return;
	json_t *j = rig_json(json), *c;
	size_t i;
	printf("%s\n", real[_i].golden);
	rig_open(&rig, path, &(struct rig_cfg){.n_ctx = 2048});
	json_array_foreach(json_object_get(j, "cases"), i, c)
		check_real_case(&rig, c);
	rig_close(&rig);
	json_decref(j);
}
END_TEST

/* Mean of a text's vectors, at length 1. */
static double embed_diff(const struct rig *rig, const json_t *c)
{
	struct vectors v = {0};
	struct err err;
	size_t n_ids;
	int *ids = rig_ids(json_object_get(c, "tokens"), &n_ids);
	struct seq_cfg cfg = {.ids = ids, .n_ids = n_ids, .embed = true, .user = &v, .on_embedding = on_embedding};
	ck_assert_int_eq(engine_sync_run(rig->e, &cfg, NULL, NULL, &err), 0);
	double norm = 0, worst = 0, *mean = mem_calloc((size_t)v.n_embd, sizeof *mean);
	for (size_t i = 0; i < n_ids * (size_t)v.n_embd; i++)
		mean[i % (size_t)v.n_embd] += (double)v.rows[i] / (double)n_ids;
	for (int i = 0; i < v.n_embd; i++)
		norm += mean[i] * mean[i];
	for (int i = 0; i < v.n_embd; i++)
		worst = fmax(worst, fabs(mean[i] / sqrt(norm) - rig_num(json_object_get(c, "hf"), (size_t)i)));
	mem_free(mean);
	mem_free(v.rows);
	mem_free(ids);
	return worst;
}

START_TEST(test_real_embed)
{
	const char *dir = getenv("CRIA_TEST_MODELS");
	char path[512];
	struct rig rig;
	snprintf(path, sizeof path, "%s/all-MiniLM-L6-v2.f16.gguf", dir ? dir : "models");
	if (!rig_have(GOLDEN "embeddings-minilm.json") || !rig_have(path))
		return;
	json_t *j = rig_json(GOLDEN "embeddings-minilm.json"), *c;
	size_t i;
	double worst = 0;
	rig_open(&rig, path, &(struct rig_cfg){0});
	json_array_foreach(json_object_get(j, "cases"), i, c)
		worst = fmax(worst, embed_diff(&rig, c));
	printf("minilm: %zu texts, vectors off by %.2g\n", i, worst);
	/* Weights in half precision and the tanh form of GELU, where the reference has single precision and erf. */
	ck_assert_msg(worst < 1e-3, "vectors off by %g", worst);
	rig_close(&rig);
	json_decref(j);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("golden");
	TCase *t = tcase_create("tiny");
	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, test_arch, 0, ARRAY_LEN(archs));
	tcase_add_loop_test(t, test_type, 0, ARRAY_LEN(types));
	suite_add_tcase(s, t);
	t = tcase_create("real");
	tcase_set_timeout(t, 3600);
	tcase_add_loop_test(t, test_real, 0, ARRAY_LEN(real));
	tcase_add_test(t, test_real_embed);
	suite_add_tcase(s, t);
	return rig_main(s);
}
