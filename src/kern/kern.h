/* kern: the arithmetic. A level (struct kern) is one complete set of operations: `ref` computes on dequantized weights in
 * f32 and is the meaning of every operation; faster levels overlay slots, weakest to strongest, and are held to ref by
 * tests. Nothing here knows models, sequences or files.
 *
 * One answer: for one level, a result never depends on how many rows, tokens or threads a call covers or where a batch
 * was cut. Work is split only over output rows, tokens and heads, never inside a sum.
 *
 * Thread rule: all functions are pure on their arguments; callers give disjoint outputs to different threads.
 * Alignment: float rows and activation rows handed in are 64-byte aligned, strides are multiples of 64 bytes. */
#ifndef CRIA_KERN_H
#define CRIA_KERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* ---- weight matrices ---- */

struct kern;
struct kern_mat_ops;

/* W, row-major, n_out rows of n_in values in a GGUF tensor type. y[o] = sum_i W[o][i] x[i]. */
struct kern_mat {
	int type;              /* enum gguf_type */
	int64_t n_in, n_out;
	const uint8_t *data;   /* file rows, row_bytes apart; borrowed. May be gone (NULL) when only the panel is kept */
	size_t row_bytes;
	const struct kern_mat_ops *ops;
	uint8_t *panel;        /* rearranged form, owned by whoever called kern_mat_pack; NULL when ops works on file rows */
};

enum kern_act {
	KERN_ACT_F32,  /* the row itself, zeros to a multiple of 16 */
	KERN_ACT_I8,   /* blocks of 32 int8 with an f32 scale and sums */
	KERN_ACT_BF16, /* the row in bf16, zeros to a multiple of 32 */
};

/* How one level multiplies by one weight type. Every call covers rows [r0, r1) of W; r0 is a multiple of row_align. */
struct kern_mat_ops {
	const char *name;      /* "q4_k/avx512vnni" */
	int act_kind;          /* enum kern_act: matrices of equal kind and n_in share prepared activation rows */
	int row_align;
	/* Bytes of the panel for this shape, 0 when the ops read file rows directly. */
	size_t (*panel_bytes)(int64_t n_in, int64_t n_out);
	void (*pack)(const struct kern_mat *w, uint8_t *panel, int64_t r0, int64_t r1);
	/* Activation rows: f32 in, the level's own form out (plain f32 copy for ref). */
	size_t (*act_bytes)(int64_t n_in); /* multiple of 64 */
	void (*act_row)(const float *x, uint8_t *act, int64_t n_in);
	/* y[t * y_stride + r] = W[r] . act[t] (+ bias[r] when bias) for r in [r0, r1), t in [0, n_tok). Strides: act in bytes,
	 * y in floats. */
	void (*mul)(const struct kern_mat *w, int64_t r0, int64_t r1, const uint8_t *act, size_t act_stride, int64_t n_tok,
		    float *y, size_t y_stride, const float *bias);
};

/* ---- attention over paged KV ---- */

/* F32 is ref's own; Q8_0: int8 with an f16 scale for each position and KERN_KV_BLOCK values along the head. */
enum kern_kv_type { KERN_KV_F32, KERN_KV_F16, KERN_KV_BF16, KERN_KV_Q8_0 };

/* KV page: KERN_PAGE_TOK consecutive positions of one sequence, for one layer; K and V in separate areas. Within a page, for
 * each KV head: K as [hd_k][KERN_PAGE_TOK] (a position is a column, so that a page's scores come out as vectors), V as
 * [KERN_PAGE_TOK][hd_v]; behind each head's int8 values their scales, K's as [blocks][KERN_PAGE_TOK], V's as
 * [KERN_PAGE_TOK][blocks]. Position p is column or row p % KERN_PAGE_TOK of page p / KERN_PAGE_TOK. Only kv_store and attn
 * look inside; pages may be copied whole. Page areas are 64-byte aligned. */
enum { KERN_PAGE_TOK = 32, KERN_KV_BLOCK = 32 };

/* Bytes of one head's K or V in a page. */
size_t kern_kv_head_bytes(enum kern_kv_type type, int hd);
const char *kern_kv_type_name(enum kern_kv_type type);
/* The type to store: `want` is CRIA_KV_CACHE_TYPE ("f16", "bf16", "q8_0", NULL = f16, for which ref has f32). ERR_INVALID
 * names the possible words. */
int kern_kv_choose(const struct kern *k, const char *want, enum kern_kv_type *ret, struct err *err);

struct kern_kv {
	enum kern_kv_type type;
	int n_head_kv, hd_k, hd_v;
	uint8_t *k, *v;                       /* this layer's areas: page i starts at k + i * k_page_bytes */
	size_t k_page_bytes, v_page_bytes;
};

struct kern_attn {
	const struct kern_kv *kv;
	int n_head;           /* query heads; n_head / n_head_kv share a KV head (GQA) */
	float scale;          /* on q.k */
	float softcap;        /* 0: none; cap * tanh(s / cap) before the mask */
	int64_t window;       /* 0: none; position p0 is hidden from p1 when p1 - p0 >= window (not causal: |p1 - p0| >= window) */
	bool causal;          /* false: positions after the query are visible too, up to kv_len */
	const float *sinks;   /* [n_head] or NULL: an extra logit in the denominator */
};

/* One unit of work: n_q query tokens at consecutive positions of one sequence, all query heads of one KV head. */
struct kern_attn_job {
	const float *q;         /* first token's row [n_head][hd_k]; next token q_stride floats on */
	float *out;             /* first token's row [n_head][hd_v] */
	size_t q_stride, out_stride;
	int64_t pos;            /* position of the first query token */
	int n_q;
	int64_t kv_len;         /* positions [0, kv_len) are stored */
	const uint32_t *pages;  /* page index of positions 32i .. 32i+31, for i < ceil(kv_len / 32) */
	int i_head_kv;
	float *scratch;         /* attn_scratch(a, n_q_max) floats, private to the thread */
};

/* Attention is summed up in tiles of KERN_ATTN_TILE positions at absolute multiples: each tile gives a row (a query token's
 * query head) a part, and parts are merged in ascending order. Attention over all positions does exactly that too, so it
 * does not matter who computes the parts. */
enum { KERN_ATTN_TILE = 256 };

/* Floats of one row's part: [hd_v rounded up to 16] sums of weights . V, the greatest score, the sum of weights, padding.
 * Rows of a job are ordered by token, then by head. */
int64_t kern_attn_part(const struct kern_attn *a);
/* The tiles [*ret_i0, *ret_i1) that some query of the job sees. */
void kern_attn_tiles(const struct kern_attn *a, const struct kern_attn_job *job, int64_t *ret_i0, int64_t *ret_i1);

/* The positions [*ret_lo, *ret_hi) that a query at pos sees; empty when lo >= hi. */
void kern_attn_range(const struct kern_attn *a, const struct kern_attn_job *job, int64_t pos, int64_t *ret_lo, int64_t *ret_hi);

/* ---- the level ---- */

/* What a level's instructions can do at most, one thread each, for benches. The multipliers work in registers for n_turn turns and
 * return how many products that were. */
struct kern_peak {
	int64_t (*mul_i8)(int64_t n_turn);
	int64_t (*mul_f32)(int64_t n_turn);
	/* Reads all but the last few hundred bytes once, as fast as it can, and may prefetch some KiB behind the end. p is
	 * 64-byte aligned; the result means nothing, but keeps the reads from being optimized away. */
	uint64_t (*read)(const uint8_t *p, size_t n_bytes);
};

enum kern_rope { KERN_ROPE_NORM, KERN_ROPE_NEOX };

struct kern {
	const char *name; /* "ref", "generic", "avx2" and so on: the words of CRIA_CPU */
	enum kern_kv_type kv_type; /* the default */

	/* NULL when this level has nothing better than ref for the type (then kern_mat_ops_for falls back). */
	const struct kern_mat_ops *(*mat_ops)(int type);

	/* y may equal x in all row operations. n values. */
	void (*rms_norm)(const float *x, const float *w, float *y, int64_t n, float eps);                   /* w NULL: ones */
	void (*layer_norm)(const float *x, const float *w, const float *b, float *y, int64_t n, float eps); /* w, b may be NULL */
	void (*add)(const float *a, const float *b, float *y, int64_t n);
	void (*mul)(const float *a, const float *b, float *y, int64_t n);
	void (*scale)(const float *x, float s, float *y, int64_t n);
	void (*axpy)(float a, const float *x, float *y, int64_t n);                       /* y += a x */
	void (*softcap)(const float *x, float cap, float *y, int64_t n);                  /* cap tanh(x / cap) */
	void (*silu)(const float *x, float *y, int64_t n);
	void (*gelu)(const float *x, float *y, int64_t n);                                /* tanh form */
	void (*relu_sqr)(const float *x, float *y, int64_t n);
	void (*silu_mul)(const float *gate, const float *up, float *y, int64_t n);        /* silu(gate) * up */
	void (*gelu_mul)(const float *gate, const float *up, float *y, int64_t n);
	void (*softmax)(const float *x, float *y, int64_t n);                             /* max subtracted */
	float (*max)(const float *x, int64_t n); /* the largest; NaN counts as -inf, which is also what no value at all gives */
	/* Rotates n_head heads of hd values in place by cos_sin = [n_rot / 2][2] (cos, sin already times the magnitude scale);
	 * values past n_rot stay. */
	void (*rope)(float *x, const float *cos_sin, enum kern_rope kind, int n_head, int hd, int n_rot);
	/* One dequantized row of W to f32 (embedding lookup). */
	void (*row_f32)(const struct kern_mat *w, int64_t row, float *y);

	/* Stores one token's K [n_head_kv][hd_k] and V [n_head_kv][hd_v] at row `pos % KERN_PAGE_TOK` of page. */
	void (*kv_store)(const struct kern_kv *kv, uint32_t page, int64_t pos, const float *k, const float *v);
	size_t (*attn_scratch)(const struct kern_attn *a, int n_q); /* floats */
	/* All tiles. The result of a query does not depend on n_q. */
	void (*attn)(const struct kern_attn *a, const struct kern_attn_job *job);
	/* The parts [rows][kern_attn_part] of one tile; then out from the parts [n_tile][rows][kern_attn_part] of all tiles of the
	 * job, which are used up. */
	void (*attn_tile)(const struct kern_attn *a, const struct kern_attn_job *job, int64_t i_tile, float *part);
	void (*attn_merge)(const struct kern_attn *a, const struct kern_attn_job *job, float *parts);

	const struct kern_peak *peak; /* NULL: this level has no arithmetic of its own */
};

/* The level to use: `want` is CRIA_KERNELS ("ref", "fast", NULL = fast). `cap` is CRIA_CPU, the name of a level: the
 * strongest one that this machine has and that is not above it in the order ref, generic, avx2, avx2vnni, avx512, avx512vnni,
 * avx512bf16; NULL: the strongest. ERR_INVALID names the possible words. */
int kern_choose(const char *want, const char *cap, const struct kern **ret, struct err *err);
/* All levels this machine can run, weakest first, ref at 0. For tests and benches. */
size_t kern_levels(const struct kern *const **ret);
/* Names of those it cannot run, comma-separated; "" when it can run all. */
const char *kern_levels_missing(void);
/* Ops for a weight type: the level's own, else ref's; NULL when no level computes with the type. */
const struct kern_mat_ops *kern_mat_ops_for(const struct kern *k, int type);

/* Fills *w for a tensor (type, shape, rows at data). ERR_UNSUPPORTED when the type cannot be computed with: the message
 * names it and the types that can. */
int kern_mat_init(const struct kern *k, struct kern_mat *w, int type, int64_t n_in, int64_t n_out, const uint8_t *data,
		  struct err *err);

/* Kernel feature words of this machine for logs ("avx512vnni: 2 cores, ..."). */
const char *kern_cpu_name(void);

#endif
