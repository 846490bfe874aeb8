#include "kern/kern.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/bug.h"
#include "base/mem.h"
#include "gguf/gguf_type.h"
#include "kern/cpu.h"
#include "kern/quant/quant.h"
#include "kern/ref/ref.h"
#include "kern/x86/x86.h"

/* Weakest first. One level exists in two encodings, because no CPU must have both: the same name and the same bits. */
static const struct {
	const struct kern *kern;
	unsigned needs;       /* set of enum cpu_feature that the CPU must have */
	const char *encoding; /* "": there is but one */
} levels[] = {
	{&kern_ref, 0, ""},
	{&kern_generic, 0, ""},
#if defined(__x86_64__)
	{&kern_avx2, CPU_AVX2, ""},
	{&kern_avx2vnni, CPU_AVX2 | CPU_AVXVNNI, " (VEX)"},
	{&kern_avx2evex, CPU_AVX2 | CPU_AVX512 | CPU_AVX512VNNI, " (EVEX)"},
	{&kern_avx512, CPU_AVX2 | CPU_AVX512, ""},
	{&kern_avx512vnni, CPU_AVX2 | CPU_AVX512 | CPU_AVX512VNNI, ""},
	{&kern_avx512bf16, CPU_AVX2 | CPU_AVX512 | CPU_AVX512VNNI | CPU_AVX512BF16, ""},
#endif
};

/* What is found out once: the levels of this machine, and lists of words for people. */
static const struct kern *usable[ARRAY_LEN(levels)];
static size_t n_usable;
static char words[128], missing[128], cpu_text[160];

static void add_word(char *list, size_t size, const char *word, const char *suffix)
{
	size_t n = strlen(list);
	snprintf(list + n, size - n, "%s%s%s", n ? ", " : "", word, suffix);
}

static void look(void)
{
	for (size_t i = 0; i < ARRAY_LEN(levels); i++) {
		const struct kern *k = levels[i].kern;
		if (!i || strcmp(k->name, levels[i - 1].kern->name))
			add_word(words, sizeof words, k->name, "");
		if (cpu_has(levels[i].needs))
			usable[n_usable++] = k;
		else
			add_word(missing, sizeof missing, k->name, levels[i].encoding);
	}
	snprintf(cpu_text, sizeof cpu_text, "%s: %ld CPUs, %s", usable[n_usable - 1]->name, sysconf(_SC_NPROCESSORS_ONLN),
		 *cpu_brand() ? cpu_brand() : "unknown model");
}

static void look_once(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, look);
}

size_t kern_levels(const struct kern *const **ret)
{
	look_once();
	*ret = usable;
	return n_usable;
}

const char *kern_levels_missing(void)
{
	look_once();
	return missing;
}

int kern_choose(const char *want, const char *cap, const struct kern **ret, struct err *err)
{
	look_once();
	if (want && strcmp(want, "ref") && strcmp(want, "fast"))
		return err_set(err, ERR_INVALID, "unknown kernels \"%s\": use \"ref\" or \"fast\"", want);
	size_t most = ARRAY_LEN(levels) - 1;
	while (cap && most && strcmp(cap, levels[most].kern->name))
		most--;
	if (cap && strcmp(cap, levels[most].kern->name))
		return err_set(err, ERR_INVALID, "unknown CPU level \"%s\": use one of %s", cap, words);
	if (want && !strcmp(want, "ref"))
		most = 0;
	while (!cpu_has(levels[most].needs))
		most--;
	*ret = levels[most].kern;
	return 0;
}

const struct kern_mat_ops *kern_mat_ops_for(const struct kern *k, int type)
{
	const struct kern_mat_ops *ops = k->mat_ops(type);
	return ops ? ops : ref_mat_ops(type);
}

int kern_mat_init(const struct kern *k, struct kern_mat *w, int type, int64_t n_in, int64_t n_out, const uint8_t *data,
		  struct err *err)
{
	const struct gguf_type_info *info = gguf_type_info(type);
	const struct kern_mat_ops *ops = kern_mat_ops_for(k, type);
	if (!ops)
		return err_set(err, ERR_UNSUPPORTED, "weights of type %s cannot be computed with; these can: %s",
			       info ? info->name : "unknown", quant_names());
	if (n_in < 1 || n_out < 1 || n_in % info->block)
		return err_set(err, ERR_FORMAT, "a %s matrix of %lld columns and %lld rows is not possible", info->name,
			       (long long)n_in, (long long)n_out);
	size_t row_bytes = 0, all;
	if (!size_mul((size_t)(n_in / info->block), (size_t)info->bytes, &row_bytes) || !size_mul(row_bytes, (size_t)n_out, &all))
		return err_set(err, ERR_FORMAT, "a matrix of %lld columns and %lld rows is too large", (long long)n_in,
			       (long long)n_out);
	*w = (struct kern_mat){.type = type, .n_in = n_in, .n_out = n_out, .data = data, .row_bytes = row_bytes, .ops = ops};
	return 0;
}

void kern_attn_range(const struct kern_attn *a, const struct kern_attn_job *job, int64_t pos, int64_t *ret_lo, int64_t *ret_hi)
{
	int64_t lo = a->window ? pos - a->window + 1 : 0, hi = job->kv_len;
	if (a->causal)
		hi = pos + 1 < hi ? pos + 1 : hi;
	else if (a->window)
		hi = pos + a->window < hi ? pos + a->window : hi;
	*ret_lo = lo > 0 ? lo : 0;
	*ret_hi = hi;
}

void kern_attn_tiles(const struct kern_attn *a, const struct kern_attn_job *job, int64_t *ret_i0, int64_t *ret_i1)
{
	int64_t lo, hi, ignored;
	kern_attn_range(a, job, job->pos, &lo, &ignored);
	kern_attn_range(a, job, job->pos + job->n_q - 1, &ignored, &hi);
	*ret_i0 = lo / KERN_ATTN_TILE;
	*ret_i1 = lo < hi ? (hi + KERN_ATTN_TILE - 1) / KERN_ATTN_TILE : *ret_i0;
}

int64_t kern_attn_part(const struct kern_attn *a)
{
	return (a->kv->hd_v + 15) / 16 * 16 + 16;
}

static const struct {
	const char *name;
	size_t value_bytes; /* scales not counted */
} kv_types[] = {
	[KERN_KV_F32] = {"f32", 4},
	[KERN_KV_F16] = {"f16", 2},
	[KERN_KV_BF16] = {"bf16", 2},
	[KERN_KV_Q8_0] = {"q8_0", 1},
};

size_t kern_kv_head_bytes(enum kern_kv_type type, int hd)
{
	size_t n = (size_t)hd, n_block = (n + KERN_KV_BLOCK - 1) / KERN_KV_BLOCK;
	return KERN_PAGE_TOK * (n * kv_types[type].value_bytes + (type == KERN_KV_Q8_0 ? n_block * sizeof(uint16_t) : 0));
}

const char *kern_kv_type_name(enum kern_kv_type type)
{
	return kv_types[type].name;
}

int kern_kv_choose(const struct kern *k, const char *want, enum kern_kv_type *ret, struct err *err)
{
	*ret = k->kv_type;
	if (!want || !strcmp(want, kv_types[KERN_KV_F16].name))
		return 0;
	for (enum kern_kv_type t = KERN_KV_BF16; t <= KERN_KV_Q8_0; t++)
		if (!strcmp(want, kv_types[t].name)) {
			*ret = t;
			return 0;
		}
	return err_set(err, ERR_INVALID, "the KV cache cannot be of type \"%.32s\": use f16, bf16 or q8_0", want);
}

const char *kern_cpu_name(void)
{
	look_once();
	return cpu_text;
}
