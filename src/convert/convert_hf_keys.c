/* config.json to GGUF keys. */
#include <math.h>
#include <string.h>

#include "base/bug.h"
#include "convert/convert_hf.h"

enum { PAIRS_MAX = 4096 };

/* Architectures a row is for, as bits. */
enum {
	LLAMA = 1, QWEN2 = 2, QWEN3 = 4, GEMMA2 = 8, GEMMA3 = 16, PHI3 = 32, BERT = 64,
	GEMMA = GEMMA2 | GEMMA3,
	DECODER = 63,
	ALL = DECODER | BERT
};

static const struct {
	const char *name;
	unsigned bit;
} archs[] = {{"llama", LLAMA},   {"qwen2", QWEN2}, {"qwen3", QWEN3}, {"gemma2", GEMMA2},
	     {"gemma3", GEMMA3}, {"phi3", PHI3},   {"bert", BERT}};

/* Integers and numbers that go over as they are. The first row that is for the architecture counts; def < 0: needed, 0: left
 * out when absent. */
static const struct {
	const char *gguf, *hf;
	unsigned archs;
	double def;
	bool number;
} rows[] = {
	{"context_length", "max_position_embeddings", GEMMA3, 131072, false},
	{"context_length", "max_position_embeddings", ALL, -1, false},
	{"embedding_length", "hidden_size", ALL, -1, false},
	{"block_count", "num_hidden_layers", ALL, -1, false},
	{"feed_forward_length", "intermediate_size", ALL, -1, false},
	{"attention.head_count", "num_attention_heads", GEMMA3, 8, false},
	{"attention.head_count", "num_attention_heads", ALL, -1, false},
	{"attention.head_count_kv", "num_key_value_heads", GEMMA3, 4, false},
	{"attention.head_count_kv", "num_key_value_heads", DECODER, 0, false},
	{"attention.key_length", "head_dim", GEMMA, 256, false},
	{"attention.key_length", "head_dim", DECODER, 0, false},
	{"attention.value_length", "head_dim", GEMMA, 256, false},
	{"attention.value_length", "head_dim", DECODER, 0, false},
	{"attention.sliding_window", "sliding_window", GEMMA | PHI3, 0, false},
	{"attention.sliding_window_pattern", "sliding_window_pattern", GEMMA3, 0, false},
	{"vocab_size", "vocab_size", DECODER, 0, false},
	{"attention.layer_norm_rms_epsilon", "rms_norm_eps", DECODER, 1e-6, true},
	{"attention.layer_norm_epsilon", "layer_norm_eps", BERT, 1e-12, true},
	{"attn_logit_softcapping", "attn_logit_softcapping", GEMMA2, 50, true},
	{"final_logit_softcapping", "final_logit_softcapping", GEMMA2, 30, true},
	{"final_logit_softcapping", "final_logit_softcapping", GEMMA3, 0, true},
};

/* A prefixed key. */
struct key {
	char s[128];
};

static struct key key_of(const char *arch, const char *name)
{
	struct key k;
	snprintf(k.s, sizeof k.s, "%s.%s", arch, name);
	return k;
}

static const json_t *get(const struct convert_hf *h, const char *name)
{
	const json_t *v = json_object_get(h->text, name);
	return json_is_null(v) ? NULL : v;
}

int convert_hf_int(const struct convert_hf *h, const char *name, int64_t def, int64_t *ret, struct err *err)
{
	const json_t *v = get(h, name);
	*ret = v ? json_integer_value(v) : def;
	if (v && (!json_is_integer(v) || *ret < 0 || *ret > INT32_MAX))
		return err_set(err, ERR_FORMAT, "config.json: \"%s\" is no number from 0 to %d", name, INT32_MAX);
	return *ret < 0 ? err_set(err, ERR_FORMAT, "config.json has no \"%s\"", name) : 0;
}

static double number(const json_t *obj, const char *name, double def)
{
	const json_t *v = json_object_get(obj, name);
	return json_is_number(v) && isfinite(json_number_value(v)) ? json_number_value(v) : def;
}

static int write_rows(const struct convert_hf *h, const char *arch, unsigned bit, struct convert_model *m, struct err *err)
{
	const char *last = "";
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int64_t n;
		if (!(rows[i].archs & bit) || !strcmp(last, rows[i].gguf))
			continue;
		last = rows[i].gguf;
		struct key k = key_of(arch, rows[i].gguf);
		if (rows[i].number) {
			double v = number(h->text, rows[i].hf, rows[i].def);
			if (v != 0)
				gguf_write_f32(&m->w, k.s, (float)v);
			continue;
		}
		int rc = convert_hf_int(h, rows[i].hf, (int64_t)rows[i].def, &n, err);
		if (rc)
			return rc;
		if (n)
			gguf_write_u32(&m->w, k.s, (uint32_t)n);
	}
	return 0;
}

/* ---- rope ---- */

static float *add_vector(struct convert_model *m, const char *name, int64_t n)
{
	float *v = arena_zalloc(&m->names, (size_t)n * sizeof *v);
	struct convert_tensor t = {.name = name, .n_dims = 1, .ne = {n, 1, 1, 1}, .src_type = GGUF_F32, .type = GGUF_F32,
				   .src = (const uint8_t *)v, .row = n};
	if (v)
		vec_push(&m->tensors, t);
	return v;
}

/* Llama 3.1's scaling as a divisor for each pair: slow pairs are slowed further, those between are blended. */
static int llama3_freqs(const json_t *s, double base, int64_t n_rot, struct convert_model *m, struct err *err)
{
	double factor = number(s, "factor", 8), low = number(s, "low_freq_factor", 1), high = number(s, "high_freq_factor", 4);
	double n_orig = number(s, "original_max_position_embeddings", 8192);
	if (!(factor > 0 && low > 0 && high > low && n_orig > 0))
		return err_set(err, ERR_FORMAT, "config.json: the numbers of \"rope_scaling\" are impossible");
	float *v = add_vector(m, "rope_freqs.weight", n_rot / 2);
	for (int64_t i = 0; v && i < n_rot / 2; i++) {
		double wave = 2 * M_PI * pow(base, 2 * (double)i / (double)n_rot);
		double blend = (n_orig / wave - low) / (high - low);
		v[i] = (float)(wave < n_orig / high ? 1 : wave > n_orig / low ? factor : 1 / ((1 - blend) / factor + blend));
	}
	return v ? 0 : err_set(err, ERR_NOMEM, "not enough memory to convert the model");
}

/* Phi's long rope: a divisor for each pair, for short texts and for long ones. */
static int long_factors(const json_t *s, const char *arch, int64_t n_rot, int64_t n_ctx, int64_t n_orig,
			struct convert_model *m, struct err *err)
{
	static const char *const names[][2] = {{"long_factor", "rope_factors_long.weight"}, {"short_factor", "rope_factors_short.weight"}};
	for (int k = 0; k < 2; k++) {
		const json_t *list = json_object_get(s, names[k][0]);
		if (!json_is_array(list) || json_array_size(list) != (size_t)(n_rot / 2))
			return err_set(err, ERR_FORMAT, "config.json: \"%s\" has not one number for each of %lld pairs", names[k][0],
				       (long long)(n_rot / 2));
		float *v = add_vector(m, names[k][1], n_rot / 2);
		for (int64_t i = 0; v && i < n_rot / 2; i++)
			v[i] = (float)json_number_value(json_array_get(list, (size_t)i));
		if (!v)
			return err_set(err, ERR_NOMEM, "not enough memory to convert the model");
	}
	double scale = (double)n_ctx / (double)n_orig;
	gguf_write_u32(&m->w, key_of(arch, "rope.scaling.original_context_length").s, (uint32_t)n_orig);
	gguf_write_f32(&m->w, key_of(arch, "rope.scaling.attn_factor").s,
		       (float)(scale > 1 && n_orig > 1 ? sqrt(1 + log(scale) / log((double)n_orig)) : 1));
	return 0;
}

static int write_scaling(const struct convert_hf *h, const json_t *s, const char *arch, double base, int64_t n_rot,
			 struct convert_model *m, struct err *err)
{
	const char *type = json_string_value(json_object_get(s, "rope_type"));
	int64_t n_ctx, n_orig;
	if (!type)
		type = json_string_value(json_object_get(s, "type"));
	if (!type || !strcmp(type, "default"))
		return 0;
	if (!strcmp(type, "llama3"))
		return llama3_freqs(s, base, n_rot, m, err);
	int rc = convert_hf_int(h, "max_position_embeddings", 131072, &n_ctx, err);
	if (!rc)
		rc = convert_hf_int(h, "original_max_position_embeddings", n_ctx, &n_orig, err);
	if (rc)
		return rc;
	if (!strcmp(type, "longrope") || !strcmp(type, "su"))
		return long_factors(s, arch, n_rot, n_ctx, n_orig > 0 ? n_orig : 4096, m, err);
	if (strcmp(type, "linear") && strcmp(type, "yarn"))
		return err_set(err, ERR_UNSUPPORTED, "config.json: the rope scaling \"%.40s\" is not known; known are linear, yarn, "
						     "llama3 and longrope", type);
	gguf_write_str(&m->w, key_of(arch, "rope.scaling.type").s, type, strlen(type));
	gguf_write_f32(&m->w, key_of(arch, "rope.scaling.factor").s, (float)number(s, "factor", 1));
	double orig = number(s, "original_max_position_embeddings", 0);
	if (orig > 0 && orig < INT32_MAX)
		gguf_write_u32(&m->w, key_of(arch, "rope.scaling.original_context_length").s, (uint32_t)orig);
	return 0;
}

static int write_rope(const struct convert_hf *h, const char *arch, unsigned bit, struct convert_model *m, struct err *err)
{
	const json_t *s = get(h, "rope_scaling"), *p = get(h, "rope_parameters");
	int64_t n_head, n_embd, n_rot;
	if (json_is_object(json_object_get(p, "full_attention")))
		p = json_object_get(p, "full_attention");
	if (!s)
		s = p;
	double base = number(h->text, "rope_theta", number(p, "rope_theta", bit & GEMMA3 ? 1e6 : 10000));
	int rc = convert_hf_int(h, "hidden_size", -1, &n_embd, err);
	if (!rc)
		rc = convert_hf_int(h, "num_attention_heads", 8, &n_head, err);
	if (!rc)
		rc = convert_hf_int(h, "head_dim", bit & GEMMA ? 256 : n_head ? n_embd / n_head : 0, &n_rot, err);
	if (rc)
		return rc;
	double part = number(h->text, "partial_rotary_factor", number(p, "partial_rotary_factor", 1));
	n_rot = part > 0 && part <= 1 ? (int64_t)((double)n_rot * part) : n_rot;
	if (n_rot < 2 || n_rot % 2 || n_rot / 2 > PAIRS_MAX || !(base > 0))
		return err_set(err, ERR_FORMAT, "config.json: a head of %lld rotated values is impossible", (long long)n_rot);
	gguf_write_f32(&m->w, key_of(arch, "rope.freq_base").s, (float)base);
	gguf_write_u32(&m->w, key_of(arch, "rope.dimension_count").s, (uint32_t)n_rot);
	return write_scaling(h, s, arch, base, n_rot, m, err);
}

/* ---- all ---- */

/* How the vectors of a text become one: sentence-transformers keep it beside the model; most of them take the mean. */
static uint32_t pooling_of(const struct convert_hf *h)
{
	bool cls = json_is_true(json_object_get(h->pooling, "pooling_mode_cls_token"));
	return cls ? 2 : 1;
}

int convert_hf_keys(const struct convert_hf *h, const char *arch, struct convert_model *m, struct err *err)
{
	const char *name = json_string_value(json_object_get(h->config, "_name_or_path"));
	unsigned bit = 0;
	for (size_t i = 0; i < ARRAY_LEN(archs); i++)
		bit |= !strcmp(archs[i].name, arch) ? archs[i].bit : 0;
	gguf_write_str(&m->w, "general.architecture", arch, strlen(arch));
	gguf_write_str(&m->w, "general.type", "model", 5);
	if (name && *name && *name != '/')
		gguf_write_str(&m->w, "general.name", name, strlen(name));
	int rc = write_rows(h, arch, bit, m, err);
	if (!rc)
		rc = convert_hf_int(h, "num_hidden_layers", -1, &m->n_layer, err);
	if (!rc)
		rc = convert_hf_int(h, "num_attention_heads", 8, &m->n_head, err);
	if (!rc)
		rc = convert_hf_int(h, "num_key_value_heads", bit & GEMMA3 ? 4 : m->n_head, &m->n_head_kv, err);
	if (rc)
		return rc;
	if (bit & BERT) {
		gguf_write_bool(&m->w, "bert.attention.causal", false);
		gguf_write_u32(&m->w, "bert.pooling_type", pooling_of(h));
		return 0;
	}
	return write_rope(h, arch, bit, m, err);
}
