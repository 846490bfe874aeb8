/* model_hp: the hyperparameters of a model, read from its metadata (the `<arch>.` keys of the GGUF format), and the typed
 * getters that an architecture uses for keys of its own.
 *
 * Getters are lenient about the stored kind and strict about the range. The first failure sticks in struct model_keys and
 * later getters return their defaults, so a list of them needs one check at its end. */
#ifndef CRIA_MODEL_HP_H
#define CRIA_MODEL_HP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "gguf/gguf.h"
#include "kern/kern.h"

enum { MODEL_LAYER_MAX = 512, MODEL_EXPERT_MAX = 512, MODEL_HEAD_MAX = 4096, MODEL_WIDTH_MAX = 1 << 20 };

enum model_rope_scaling { MODEL_ROPE_PLAIN, MODEL_ROPE_LINEAR, MODEL_ROPE_YARN };

/* How positions become angles (RoPE, arXiv:2104.09864; YaRN, arXiv:2309.00071). */
struct model_rope {
	enum kern_rope kind;
	int n_rot;                 /* rotated values per head, even */
	enum model_rope_scaling scaling;
	float base, factor;        /* factor: how much longer than trained; 1: not scaled */
	int64_t n_orig;            /* trained length before scaling */
	float attn_factor, ext_factor, beta_fast, beta_slow;
	const float *freq_factors; /* [n_rot / 2] divisors of the frequencies, or NULL; owned by the model */
};

enum model_gating { MODEL_GATE_SOFTMAX = 1, MODEL_GATE_SIGMOID = 2, MODEL_GATE_SOFTMAX_CHOSEN = 3 };

struct model_layer_hp {
	int n_head, n_head_kv, n_ff;
	int64_t window; /* 0: full attention */
};

struct model_hp {
	int n_layer, n_embd, n_vocab;
	int64_t n_ctx_train;
	int64_t n_ctx;           /* configured context length */
	int64_t n_pos;           /* learned positions: no longer sequence can run; 0: any length can */
	int hd_k, hd_v;          /* values per head */
	struct model_layer_hp layers[MODEL_LAYER_MAX];
	float rms_eps, norm_eps; /* of RMS and layer norms; negative: no key */
	float attn_scale;        /* attention.scale; 0: no key */
	float logit_softcap;     /* final_logit_softcapping; 0: none */
	int64_t window;          /* attention.sliding_window; 0: none */
	bool causal;
	struct model_rope rope;
	struct model_rope rope_swa; /* of windowed layers: rope with rope.freq_base_swa; an architecture may change it */
	int n_expert, n_expert_used, n_ff_exp;
	enum model_gating gating;
	bool expert_norm;
	float expert_scale;
	int pooling;             /* -1: no key */
};

struct model_keys {
	const struct gguf *g;
	const char *arch;
	int code;        /* first failure, 0 while all is well */
	struct err *err; /* filled by the first failure */
};

#define MODEL_KEY_NEEDED INT64_MIN

/* `<arch>.name` as an integer in [lo, hi]; def when absent, or ERR_FORMAT when def is MODEL_KEY_NEEDED. */
int64_t model_key_int(struct model_keys *k, const char *name, int64_t def, int64_t lo, int64_t hi);
/* A finite float in [lo, hi]. */
float model_key_f32(struct model_keys *k, const char *name, float def, float lo, float hi);
bool model_key_bool(struct model_keys *k, const char *name, bool def);
bool model_key_has(const struct model_keys *k, const char *name);
/* One value per layer into ret[0 .. n): an array of at least n, or a scalar for all. */
void model_key_per_layer(struct model_keys *k, const char *name, int n, int64_t def, int64_t lo, int64_t hi, int *ret);
/* Fails with a message about `<arch>.name`. */
void model_key_fail(struct model_keys *k, const char *name, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* All keys that are common to architectures. n_ctx 0: trained length. n_vocab is left 0: the loader takes it from the
 * embedding's shape. */
int model_hp_read(struct model_hp *hp, struct model_keys *k, int64_t n_ctx);
/* Sets layers[i].window from attention.sliding_window and attention.sliding_window_pattern (a period, or one bool per
 * layer); without the pattern key layer i is windowed unless i % period == period - 1. */
void model_hp_window(struct model_hp *hp, struct model_keys *k, int period);

#endif
