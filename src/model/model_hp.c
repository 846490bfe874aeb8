#include "model/model_hp.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/bug.h"

enum { KEY_BYTES = 160 };

static void key_name(const struct model_keys *k, const char *name, char out[KEY_BYTES])
{
	snprintf(out, KEY_BYTES, "%s.%s", k->arch, name);
}

void model_key_fail(struct model_keys *k, const char *name, const char *fmt, ...)
{
	if (k->code)
		return;
	char text[512];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	k->code = err_set(k->err, ERR_FORMAT, "model key %s.%s %s", k->arch, name, text);
}

static const struct gguf_kv *find(const struct model_keys *k, const char *name)
{
	char key[KEY_BYTES];
	key_name(k, name, key);
	return gguf_find(k->g, key);
}

bool model_key_has(const struct model_keys *k, const char *name)
{
	return find(k, name) != NULL;
}

static bool in_range(struct model_keys *k, const char *name, int64_t v, int64_t lo, int64_t hi)
{
	if (v >= lo && v <= hi)
		return true;
	model_key_fail(k, name, "is %lld; it must be between %lld and %lld", (long long)v, (long long)lo, (long long)hi);
	return false;
}

int64_t model_key_int(struct model_keys *k, const char *name, int64_t def, int64_t lo, int64_t hi)
{
	int64_t fallback = def == MODEL_KEY_NEEDED ? lo : def, v;
	if (k->code)
		return fallback;
	char key[KEY_BYTES];
	key_name(k, name, key);
	int rc = gguf_get_i64(k->g, key, &v, k->err);
	if (rc < 0)
		k->code = rc;
	if (rc == 0 && def == MODEL_KEY_NEEDED)
		model_key_fail(k, name, "is missing; the file is not a complete model");
	if (rc <= 0 || !in_range(k, name, v, lo, hi))
		return fallback;
	return v;
}

float model_key_f32(struct model_keys *k, const char *name, float def, float lo, float hi)
{
	double v;
	if (k->code)
		return def;
	char key[KEY_BYTES];
	key_name(k, name, key);
	int rc = gguf_get_f64(k->g, key, &v, k->err);
	if (rc < 0)
		k->code = rc;
	if (rc <= 0)
		return def;
	if (!(v >= lo && v <= hi)) {
		model_key_fail(k, name, "is %g; it must be between %g and %g", v, (double)lo, (double)hi);
		return def;
	}
	return (float)v;
}

bool model_key_bool(struct model_keys *k, const char *name, bool def)
{
	bool v = def;
	if (k->code)
		return def;
	char key[KEY_BYTES];
	key_name(k, name, key);
	int rc = gguf_get_bool(k->g, key, &v, k->err);
	if (rc < 0)
		k->code = rc;
	return rc > 0 ? v : def;
}

void model_key_per_layer(struct model_keys *k, const char *name, int n, int64_t def, int64_t lo, int64_t hi, int *ret)
{
	const struct gguf_kv *kv = find(k, name);
	bool array = kv && kv->type == GGUF_KV_ARR;
	if (!array) {
		int v = (int)model_key_int(k, name, def, lo, hi);
		for (int i = 0; i < n; i++)
			ret[i] = v;
		return;
	}
	if (kv->n < (uint64_t)n)
		model_key_fail(k, name, "has %llu values for %d layers", (unsigned long long)kv->n, n);
	for (int i = 0; i < n; i++) {
		int64_t v = lo;
		ret[i] = (int)lo;
		if (k->code)
			continue;
		int rc = gguf_arr_i64(kv, (uint64_t)i, &v, k->err);
		if (rc < 0)
			k->code = rc;
		else if (in_range(k, name, v, lo, hi))
			ret[i] = (int)v;
	}
}

static void read_layers(struct model_hp *hp, struct model_keys *k)
{
	int v[MODEL_LAYER_MAX];
	model_key_per_layer(k, "attention.head_count", hp->n_layer, MODEL_KEY_NEEDED, 0, MODEL_HEAD_MAX, v);
	for (int i = 0; i < hp->n_layer; i++)
		hp->layers[i].n_head = hp->layers[i].n_head_kv = v[i];
	if (model_key_has(k, "attention.head_count_kv")) {
		model_key_per_layer(k, "attention.head_count_kv", hp->n_layer, 0, 0, MODEL_HEAD_MAX, v);
		for (int i = 0; i < hp->n_layer; i++)
			hp->layers[i].n_head_kv = v[i];
	}
	model_key_per_layer(k, "feed_forward_length", hp->n_layer, 0, 0, MODEL_WIDTH_MAX, v);
	for (int i = 0; i < hp->n_layer; i++) {
		struct model_layer_hp *l = &hp->layers[i];
		l->n_ff = v[i];
		if (l->n_head_kv > 0 && l->n_head % l->n_head_kv)
			model_key_fail(k, "attention.head_count_kv", "is %d in layer %d, which does not divide its %d heads",
				       l->n_head_kv, i, l->n_head);
	}
}

static void read_heads(struct model_hp *hp, struct model_keys *k)
{
	int n_head = 0, def = 0;
	for (int i = 0; i < hp->n_layer && !n_head; i++)
		n_head = hp->layers[i].n_head;
	bool needed = !model_key_has(k, "attention.key_length") || !model_key_has(k, "attention.value_length");
	if (n_head > 0 && needed) {
		if (hp->n_embd % n_head)
			model_key_fail(k, "attention.head_count", "is %d, which does not divide embedding_length %d", n_head,
				       hp->n_embd);
		def = hp->n_embd / n_head;
	}
	hp->hd_k = (int)model_key_int(k, "attention.key_length", def, 1, 8192);
	hp->hd_v = (int)model_key_int(k, "attention.value_length", def, 1, 8192);
	hp->rope.n_rot = (int)model_key_int(k, "rope.dimension_count", hp->hd_k, 0, hp->hd_k > 0 ? hp->hd_k : 8192);
	if (hp->rope.n_rot % 2)
		model_key_fail(k, "rope.dimension_count", "is %d; it must be even", hp->rope.n_rot);
}

static void read_rope(struct model_hp *hp, struct model_keys *k)
{
	static const struct {
		const char *name;
		enum model_rope_scaling scaling;
	} kinds[] = {{"none", MODEL_ROPE_PLAIN}, {"linear", MODEL_ROPE_LINEAR}, {"yarn", MODEL_ROPE_YARN}};
	struct model_rope *r = &hp->rope;
	r->base = model_key_f32(k, "rope.freq_base", 10000, 1e-3f, 1e15f);
	float factor = model_key_f32(k, "rope.scale_linear", 1, 0, 1e6f);
	factor = model_key_f32(k, "rope.scaling.factor", factor, 0, 1e6f);
	r->factor = factor > 0 ? factor : 1;
	r->n_orig = model_key_int(k, "rope.scaling.original_context_length", hp->n_ctx_train, 1, 1 << 30);

	char key[KEY_BYTES];
	struct gguf_str type;
	key_name(k, "rope.scaling.type", key);
	int rc = k->code ? 0 : gguf_get_str(k->g, key, &type, k->err);
	r->scaling = r->factor == 1 ? MODEL_ROPE_PLAIN : MODEL_ROPE_LINEAR;
	if (rc < 0)
		k->code = rc;
	if (rc > 0) {
		size_t i = 0;
		while (i < ARRAY_LEN(kinds) && (type.n != strlen(kinds[i].name) || memcmp(type.s, kinds[i].name, type.n)))
			i++;
		if (i == ARRAY_LEN(kinds))
			k->code = err_set(k->err, ERR_UNSUPPORTED,
					  "model key %s is \"%.*s\"; supported rope scaling: none, linear, yarn", key,
					  (int)(type.n > 40 ? 40 : type.n), type.s);
		else
			r->scaling = kinds[i].scaling;
	}
	r->attn_factor = model_key_f32(k, "rope.scaling.attn_factor", 1, 0, 1e6f);
	r->ext_factor = model_key_f32(k, "rope.scaling.yarn_ext_factor", 1, 0, 1e6f);
	r->beta_fast = model_key_f32(k, "rope.scaling.yarn_beta_fast", 32, 1e-3f, 1e6f);
	r->beta_slow = model_key_f32(k, "rope.scaling.yarn_beta_slow", 1, 1e-3f, 1e6f);
	hp->rope_swa = *r;
	hp->rope_swa.base = model_key_f32(k, "rope.freq_base_swa", r->base, 1e-3f, 1e15f);
}

static void read_experts(struct model_hp *hp, struct model_keys *k)
{
	hp->n_expert = (int)model_key_int(k, "expert_count", 0, 0, MODEL_EXPERT_MAX);
	hp->n_expert_used = (int)model_key_int(k, "expert_used_count", 0, 0, MODEL_EXPERT_MAX);
	if (hp->n_expert > 0 && (hp->n_expert_used < 1 || hp->n_expert_used > hp->n_expert))
		model_key_fail(k, "expert_used_count", "is %d; the model has %d experts", hp->n_expert_used, hp->n_expert);
	hp->n_ff_exp = (int)model_key_int(k, "expert_feed_forward_length", hp->layers[0].n_ff, 0, MODEL_WIDTH_MAX);
	hp->gating = (enum model_gating)model_key_int(k, "expert_gating_func", MODEL_GATE_SOFTMAX, 1, 3);
	hp->expert_norm = model_key_bool(k, "expert_weights_norm", true);
	hp->expert_scale = model_key_f32(k, "expert_weights_scale", 1, -1e6f, 1e6f);
}

int model_hp_read(struct model_hp *hp, struct model_keys *k, int64_t n_ctx)
{
	memset(hp, 0, sizeof *hp);
	hp->n_layer = (int)model_key_int(k, "block_count", MODEL_KEY_NEEDED, 1, MODEL_LAYER_MAX);
	hp->n_embd = (int)model_key_int(k, "embedding_length", MODEL_KEY_NEEDED, 1, MODEL_WIDTH_MAX);
	hp->n_ctx_train = model_key_int(k, "context_length", MODEL_KEY_NEEDED, 1, 1 << 30);
	hp->n_ctx = n_ctx > 0 ? n_ctx : hp->n_ctx_train;
	if (k->code)
		return k->code;
	read_layers(hp, k);
	read_heads(hp, k);
	read_rope(hp, k);
	read_experts(hp, k);
	hp->rms_eps = model_key_f32(k, "attention.layer_norm_rms_epsilon", -1, 0, 1);
	hp->norm_eps = model_key_f32(k, "attention.layer_norm_epsilon", -1, 0, 1);
	hp->attn_scale = model_key_f32(k, "attention.scale", 0, 0, 1e6f);
	hp->logit_softcap = model_key_f32(k, "final_logit_softcapping", 0, 0, 1e6f);
	hp->window = model_key_int(k, "attention.sliding_window", 0, 0, 1 << 30);
	hp->causal = model_key_bool(k, "attention.causal", true);
	hp->pooling = (int)model_key_int(k, "pooling_type", -1, -1, 4);
	return k->code;
}

void model_hp_window(struct model_hp *hp, struct model_keys *k, int period)
{
	static const char name[] = "attention.sliding_window_pattern";
	const struct gguf_kv *kv = find(k, name);
	if (kv && kv->type == GGUF_KV_ARR) {
		if (kv->n < (uint64_t)hp->n_layer)
			model_key_fail(k, name, "has %llu values for %d layers", (unsigned long long)kv->n, hp->n_layer);
		for (int i = 0; i < hp->n_layer && !k->code; i++) {
			bool windowed = false;
			int rc = gguf_arr_bool(kv, (uint64_t)i, &windowed, k->err);
			if (rc < 0)
				k->code = rc;
			hp->layers[i].window = windowed ? hp->window : 0;
		}
		return;
	}
	int64_t p = model_key_int(k, name, period, 0, MODEL_LAYER_MAX);
	for (int i = 0; i < hp->n_layer; i++)
		hp->layers[i].window = p == 0 || i % p < p - 1 ? hp->window : 0;
}
