#include "kern/ref/ref.h"

#include <math.h>
#include <string.h>

#include "base/bug.h"
#include "gguf/gguf_type.h"
#include "kern/cpu.h"
#include "kern/quant/quant.h"
#include "kern/ref/ref_math.h"

enum {
	N_SUM = 16,
	CHUNK = 512,  /* weights of a row dequantized at a time; a multiple of every block size */
	COL_BLK = 64, /* token columns served by one dequantization */
	ROW_BLK = 4,
};

static const struct ref_core *core(void)
{
#if defined(__x86_64__)
	return cpu_has(CPU_AVX512) ? &ref_core_avx512 : cpu_has(CPU_AVX2) ? &ref_core_avx2 : &ref_core_base;
#else
	return &ref_core_base;
#endif
}

/* ---- matrices ---- */

static size_t no_panel(int64_t n_in, int64_t n_out)
{
	(void)n_in, (void)n_out;
	return 0;
}

static void no_pack(const struct kern_mat *w, uint8_t *panel, int64_t r0, int64_t r1)
{
	(void)w, (void)panel, (void)r0, (void)r1;
}

size_t ref_act_bytes(int64_t n_in)
{
	return ((size_t)n_in * sizeof(float) + 63) & ~(size_t)63;
}

void ref_act_row(const float *x, uint8_t *act, int64_t n_in)
{
	size_t n = (size_t)n_in * sizeof *x;
	memcpy(act, x, n);
	memset(act + n, 0, ref_act_bytes(n_in) - n);
}

static float reduce(const float *s)
{
	float a[N_SUM];
	memcpy(a, s, sizeof a);
	for (int half = N_SUM / 2; half; half /= 2)
		for (int j = 0; j < half; j++)
			a[j] += a[j + half];
	return a[0];
}

/* Up to ROW_BLK rows times up to COL_BLK columns. */
static void mul_block(const struct kern_mat *w, int64_t r0, int n_row, const uint8_t *act, size_t act_stride, int n_col,
		      float *y, size_t y_stride, const float *bias)
{
	_Alignas(64) float wf[ROW_BLK][CHUNK], acc[ROW_BLK][COL_BLK][N_SUM];
	const struct gguf_type_info *info = gguf_type_info(w->type);
	const struct quant *q = quant_for(w->type);
	memset(acc, 0, sizeof acc);
	for (int64_t i = 0; i < w->n_in; i += CHUNK) {
		int64_t n = w->n_in - i < CHUNK ? w->n_in - i : CHUNK, n_pad = (n + N_SUM - 1) / N_SUM * N_SUM;
		for (int r = 0; r < n_row; r++) {
			q->to_f32(w->data + (size_t)(r0 + r) * w->row_bytes + (size_t)(i / info->block) * (size_t)info->bytes, wf[r], n);
			memset(wf[r] + n, 0, (size_t)(n_pad - n) * sizeof(float));
		}
		core()->tile(wf[0], CHUNK, n_row, (const float *)(const void *)act + i, act_stride / sizeof(float), n_col, n_pad,
			     acc[0][0], COL_BLK * N_SUM);
	}
	for (int c = 0; c < n_col; c++)
		for (int r = 0; r < n_row; r++)
			y[(size_t)c * y_stride + (size_t)(r0 + r)] = reduce(acc[r][c]) + (bias ? bias[r0 + r] : 0.0f);
}

static void mul(const struct kern_mat *w, int64_t r0, int64_t r1, const uint8_t *act, size_t act_stride, int64_t n_tok, float *y,
		size_t y_stride, const float *bias)
{
	for (int64_t t = 0; t < n_tok; t += COL_BLK) {
		int n_col = (int)(n_tok - t < COL_BLK ? n_tok - t : COL_BLK);
		for (int64_t r = r0; r < r1; r += ROW_BLK)
			mul_block(w, r, (int)(r1 - r < ROW_BLK ? r1 - r : ROW_BLK), act + (size_t)t * act_stride, act_stride, n_col,
				  y + (size_t)t * y_stride, y_stride, bias);
	}
}

static const struct {
	int type;
	struct kern_mat_ops ops;
} mat_table[] = {
#define QUANT(t) {GGUF_##t, {#t "/ref", KERN_ACT_F32, ROW_BLK, no_panel, no_pack, ref_act_bytes, ref_act_row, mul}},
#include "kern/quant/quant.def"
#undef QUANT
};

const struct kern_mat_ops *ref_mat_ops(int type)
{
	for (size_t i = 0; i < ARRAY_LEN(mat_table); i++)
		if (mat_table[i].type == type)
			return &mat_table[i].ops;
	return NULL;
}

void ref_row_f32(const struct kern_mat *w, int64_t row, float *y)
{
	quant_for(w->type)->to_f32(w->data + (size_t)row * w->row_bytes, y, w->n_in);
}

/* ---- rows ---- */

static void rms_norm(const float *x, const float *w, float *y, int64_t n, float eps)
{
	double sum = 0.0;
	for (int64_t i = 0; i < n; i++)
		sum += (double)x[i] * x[i];
	float s = (float)(1.0 / sqrt(sum / (double)n + eps));
	for (int64_t i = 0; i < n; i++)
		y[i] = x[i] * s * (w ? w[i] : 1.0f);
}

static void layer_norm(const float *x, const float *w, const float *b, float *y, int64_t n, float eps)
{
	double sum = 0.0, sq = 0.0;
	for (int64_t i = 0; i < n; i++)
		sum += x[i];
	double mean = sum / (double)n;
	for (int64_t i = 0; i < n; i++)
		sq += (x[i] - mean) * (x[i] - mean);
	double s = 1.0 / sqrt(sq / (double)n + eps);
	for (int64_t i = 0; i < n; i++)
		y[i] = (float)((x[i] - mean) * s) * (w ? w[i] : 1.0f) + (b ? b[i] : 0.0f);
}

static void add(const float *a, const float *b, float *y, int64_t n)
{
	for (int64_t i = 0; i < n; i++)
		y[i] = a[i] + b[i];
}

static void mul_rows(const float *a, const float *b, float *y, int64_t n)
{
	for (int64_t i = 0; i < n; i++)
		y[i] = a[i] * b[i];
}

static void scale(const float *x, float s, float *y, int64_t n)
{
	for (int64_t i = 0; i < n; i++)
		y[i] = x[i] * s;
}

static void axpy(float a, const float *x, float *y, int64_t n)
{
	for (int64_t i = 0; i < n; i++)
		y[i] += a * x[i];
}

static void softcap(const float *x, float cap, float *y, int64_t n)
{
	for (int64_t i = 0; i < n; i++)
		y[i] = cap * (float)ref_tanh(x[i] / cap);
}

static void silu(const float *x, float *y, int64_t n)
{
	for (int64_t i = 0; i < n; i++)
		y[i] = ref_silu(x[i]);
}

static void gelu(const float *x, float *y, int64_t n)
{
	for (int64_t i = 0; i < n; i++)
		y[i] = ref_gelu(x[i]);
}

static void relu_sqr(const float *x, float *y, int64_t n)
{
	for (int64_t i = 0; i < n; i++)
		y[i] = x[i] > 0.0f ? x[i] * x[i] : 0.0f;
}

static void silu_mul(const float *gate, const float *up, float *y, int64_t n)
{
	for (int64_t i = 0; i < n; i++)
		y[i] = ref_silu(gate[i]) * up[i];
}

static void gelu_mul(const float *gate, const float *up, float *y, int64_t n)
{
	for (int64_t i = 0; i < n; i++)
		y[i] = ref_gelu(gate[i]) * up[i];
}

static void softmax(const float *x, float *y, int64_t n)
{
	float max = -INFINITY;
	double sum = 0.0;
	for (int64_t i = 0; i < n; i++)
		max = x[i] > max ? x[i] : max;
	for (int64_t i = 0; i < n; i++) {
		y[i] = ref_exp(x[i] - max);
		sum += y[i];
	}
	for (int64_t i = 0; i < n; i++)
		y[i] = (float)(y[i] / sum);
}

static float max(const float *x, int64_t n)
{
	float top = -INFINITY;
	for (int64_t i = 0; i < n; i++)
		top = x[i] > top ? x[i] : top;
	return top;
}

static void rope(float *x, const float *cos_sin, enum kern_rope kind, int n_head, int hd, int n_rot)
{
	size_t half = (size_t)n_rot / 2, step = kind == KERN_ROPE_NORM ? 2 : 1, gap = kind == KERN_ROPE_NORM ? 1 : half;
	for (int h = 0; h < n_head; h++, x += hd)
		for (size_t i = 0; i < half; i++) {
			float *a = x + i * step, *b = a + gap, c = cos_sin[2 * i], s = cos_sin[2 * i + 1], a0 = *a, b0 = *b;
			*a = a0 * c - b0 * s;
			*b = a0 * s + b0 * c;
		}
}

/* ---- KV ---- */

static void to_f16(uint8_t *dst, const float *x, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint16_t h = f32_to_f16(x[i] > 65504.0f ? 65504.0f : x[i] < -65504.0f ? -65504.0f : x[i]);
		memcpy(dst + 2 * i, &h, sizeof h);
	}
}

#define KV_F16 to_f16
#include "kern/kv_store_body.h"

static size_t attn_scratch(const struct kern_attn *a, int n_q)
{
	size_t n_row = (size_t)n_q * (size_t)(a->n_head / a->kv->n_head_kv), hd_k = (size_t)a->kv->hd_k, hd_v = (size_t)a->kv->hd_v;
	return (hd_k + hd_v) * KERN_PAGE_TOK + 2 * n_row * (size_t)kern_attn_part(a);
}

static void attn(const struct kern_attn *a, const struct kern_attn_job *job)
{
	core()->attn(a, job);
}

static void attn_tile(const struct kern_attn *a, const struct kern_attn_job *job, int64_t i_tile, float *part)
{
	core()->attn_tile(a, job, i_tile, part);
}

static void attn_merge(const struct kern_attn *a, const struct kern_attn_job *job, float *parts)
{
	core()->attn_merge(a, job, parts);
}

/* ---- the tables ---- */

#define REF_SLOTS \
	.mat_ops = ref_mat_ops, .rms_norm = rms_norm, .layer_norm = layer_norm, .add = add, .mul = mul_rows, .scale = scale, \
	.axpy = axpy, .softcap = softcap, .silu = silu, .gelu = gelu, .relu_sqr = relu_sqr, .silu_mul = silu_mul, \
	.gelu_mul = gelu_mul, .softmax = softmax, .max = max, .rope = rope, .row_f32 = ref_row_f32, .kv_store = kv_store, \
	.attn_scratch = attn_scratch, .attn = attn, \
	.attn_tile = attn_tile, .attn_merge = attn_merge

const struct kern kern_ref = {.name = "ref", .kv_type = KERN_KV_F32, REF_SLOTS};
const struct kern kern_generic = {.name = "generic", .kv_type = KERN_KV_F16, REF_SLOTS};
