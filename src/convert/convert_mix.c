/* Which tensor gets which type. A mix's name is a promise about size and quality that users know from GGUF files all over the
 * web, so the choice per tensor is that of the tools that write those. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/bug.h"
#include "convert/convert_model.h"

/* Which tensors of a kind get the better type: by their position among the layers that have one. */
enum rule {
	NONE,
	ALL,
	MORE,      /* the first and the last eighth, and every third between */
	FIRST_2,
	FIRST_4,
	EIGHTH,    /* the first n / 8 */
	SIXTEENTH,
	SHARED_4   /* all, when four or more query heads share a key head */
};

struct choice {
	enum rule rule;
	int better, other; /* types */
};

struct convert_mix {
	const char *name;
	int file_type;       /* general.file_type */
	int base;            /* type of most matrices */
	struct choice v, down, out;
	bool out_q5_moe;     /* attention outputs of models with 8 experts: Q5_K */
};

#define ONLY(t) {NONE, t, t}
#define PLAIN(name, id, type) {name, id, GGUF_##type, ONLY(GGUF_##type), ONLY(GGUF_##type), ONLY(GGUF_##type), false}

static const struct convert_mix mixes[] = {
	PLAIN("F32", 0, F32),
	PLAIN("F16", 1, F16),
	PLAIN("BF16", 32, BF16),
	PLAIN("Q4_0", 2, Q4_0),
	PLAIN("Q4_1", 3, Q4_1),
	PLAIN("Q5_0", 8, Q5_0),
	PLAIN("Q5_1", 9, Q5_1),
	PLAIN("Q8_0", 7, Q8_0),
	{"Q2_K", 10, GGUF_Q2_K, {SHARED_4, GGUF_Q4_K, GGUF_Q3_K}, ONLY(GGUF_Q3_K), ONLY(GGUF_Q3_K), true},
	{"Q3_K_S", 11, GGUF_Q3_K, ONLY(GGUF_Q3_K), ONLY(GGUF_Q3_K), ONLY(GGUF_Q3_K), true},
	{"Q3_K_M", 12, GGUF_Q3_K, {FIRST_2, GGUF_Q5_K, GGUF_Q4_K}, {SIXTEENTH, GGUF_Q5_K, GGUF_Q4_K}, ONLY(GGUF_Q4_K), true},
	{"Q3_K_L", 13, GGUF_Q3_K, ONLY(GGUF_Q5_K), ONLY(GGUF_Q5_K), ONLY(GGUF_Q5_K), false},
	{"Q4_K_S", 14, GGUF_Q4_K, {FIRST_4, GGUF_Q5_K, GGUF_Q4_K}, {EIGHTH, GGUF_Q5_K, GGUF_Q4_K}, ONLY(GGUF_Q4_K), true},
	{"Q4_K_M", 15, GGUF_Q4_K, {MORE, GGUF_Q6_K, GGUF_Q4_K}, {MORE, GGUF_Q6_K, GGUF_Q4_K}, ONLY(GGUF_Q4_K), true},
	{"Q5_K_S", 16, GGUF_Q5_K, ONLY(GGUF_Q5_K), ONLY(GGUF_Q5_K), ONLY(GGUF_Q5_K), false},
	{"Q5_K_M", 17, GGUF_Q5_K, {MORE, GGUF_Q6_K, GGUF_Q5_K}, {MORE, GGUF_Q6_K, GGUF_Q5_K}, ONLY(GGUF_Q5_K), false},
	{"Q6_K", 18, GGUF_Q6_K, ONLY(GGUF_Q6_K), ONLY(GGUF_Q6_K), ONLY(GGUF_Q6_K), false},
};

/* Short names that people use. */
static const char *const aliases[][2] = {{"Q3_K", "Q3_K_M"}, {"Q4_K", "Q4_K_M"}, {"Q5_K", "Q5_K_M"}};

const struct convert_mix *convert_mix_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(aliases); i++)
		if (!strcasecmp(aliases[i][0], name))
			name = aliases[i][1];
	for (size_t i = 0; i < ARRAY_LEN(mixes); i++)
		if (!strcasecmp(mixes[i].name, name))
			return &mixes[i];
	return NULL;
}

const char *convert_mix_names(void)
{
	return "F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K_S, Q3_K_M, Q3_K_L, Q4_K_S, Q4_K_M, Q5_K_S, Q5_K_M, Q6_K";
}

/* ---- kinds of tensors ---- */

/* Parts of names of tensors that are small or that everything depends on: they keep their type. */
static const char *const kept[] = {
	"_norm.weight", "ffn_gate_inp.weight", "position_embd", "token_types", "ssm_conv1d", "shortconv.conv", "altup", "laurel",
	"per_layer_model_proj", "attn_rel_b", "patch_embd", "time_mix_",
};

bool convert_may_change(const struct convert_tensor *t)
{
	int n_dims = t->n_dims;
	size_t n = strlen(t->name);
	while (n_dims > 1 && t->ne[n_dims - 1] == 1)
		n_dims--;
	if (n_dims < 2 || n < 6 || strcmp(t->name + n - 6, "weight"))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(kept); i++)
		if (strstr(t->name, kept[i]))
			return false;
	return true;
}

enum kind { KIND_EMBD, KIND_V, KIND_K, KIND_OUT, KIND_DOWN, KIND_HEAD, KIND_OTHER };

static const struct {
	const char *part;
	enum kind kind;
} kinds[] = {
	{"token_embd.weight", KIND_EMBD}, {"attn_qkv.weight", KIND_V},     {"attn_kv_b.weight", KIND_V}, {"attn_v.weight", KIND_V},
	{"attn_k.weight", KIND_K},        {"attn_output.weight", KIND_OUT}, {"ffn_down", KIND_DOWN},
};

static enum kind kind_of(const char *name)
{
	if (!strcmp(name, "output.weight"))
		return KIND_HEAD;
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (strstr(name, kinds[i].part))
			return kinds[i].kind;
	return KIND_OTHER;
}

static long layer_of(const char *name)
{
	return strncmp(name, "blk.", 4) ? -1 : strtol(name + 4, NULL, 10);
}

/* How many layers have a matrix of the kind, and how many of them come before `layer`. */
static void count_layers(const struct convert_model *m, enum kind kind, long layer, long *ret_before, long *ret_all)
{
	long last = -1;
	*ret_before = *ret_all = 0;
	for (size_t i = 0; i < m->tensors.n; i++) {
		const char *name = m->tensors.data[i].name;
		long k = layer_of(name);
		if (kind_of(name) != kind || k == last || !convert_may_change(&m->tensors.data[i]))
			continue;
		last = k; /* the experts of old files are tensors of their own, side by side */
		++*ret_all;
		*ret_before += k < layer;
	}
}

static int choose(const struct choice *c, const struct convert_model *m, enum kind kind, const char *name)
{
	long i, n;
	if (c->rule == NONE || c->rule == ALL)
		return c->better;
	if (c->rule == SHARED_4)
		return m->n_head_kv > 0 && m->n_head / m->n_head_kv >= 4 ? c->better : c->other;
	count_layers(m, kind, layer_of(name), &i, &n);
	bool better = c->rule == FIRST_2 ? i < 2 : c->rule == FIRST_4 ? i < 4 : c->rule == EIGHTH ? i < n / 8 :
		      c->rule == SIXTEENTH ? i < n / 16 : i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2;
	return better ? c->better : c->other;
}

static int choose_v(const struct convert_mix *mix, const struct convert_model *m, const char *name)
{
	int type = choose(&mix->v, m, KIND_V, name);
	/* Models of 70B share a value head among 8 query heads: more bits there cost little. */
	if (m->n_layer == 80 && m->n_head != m->n_head_kv && (type == GGUF_Q3_K || type == GGUF_Q4_K))
		type = GGUF_Q5_K;
	return m->n_expert == 8 ? GGUF_Q8_0 : type;
}

/* A row that is no whole number of blocks takes a type with smaller ones. */
static int fit_row(int type, int64_t n_row)
{
	static const struct {
		int type, smaller;
	} table[] = {{GGUF_Q2_K, GGUF_Q4_0}, {GGUF_Q3_K, GGUF_Q4_0}, {GGUF_Q4_K, GGUF_Q5_0}, {GGUF_Q5_K, GGUF_Q5_1},
		     {GGUF_Q6_K, GGUF_Q8_0}};
	if (n_row % gguf_type_info(type)->block == 0)
		return type;
	for (size_t i = 0; i < ARRAY_LEN(table); i++)
		if (table[i].type == type)
			type = table[i].smaller;
	return n_row % gguf_type_info(type)->block == 0 ? type : GGUF_F16;
}

static int type_for(const struct convert_mix *mix, const struct convert_model *m, const struct convert_tensor *t, bool tied)
{
	bool floats = gguf_type_info(mix->base)->block == 1;
	enum kind kind = kind_of(t->name);
	int type = mix->base;
	if (floats)
		return type;
	if (kind == KIND_HEAD || (kind == KIND_EMBD && tied))
		type = mix->base == GGUF_Q8_0 || t->ne[0] % gguf_type_info(mix->base)->block ? GGUF_Q8_0 : GGUF_Q6_K;
	else if (kind == KIND_V)
		type = choose_v(mix, m, t->name);
	else if (kind == KIND_K && m->n_expert == 8)
		type = GGUF_Q8_0;
	else if (kind == KIND_DOWN)
		type = choose(&mix->down, m, KIND_DOWN, t->name);
	else if (kind == KIND_OUT && m->n_expert == 8)
		type = mix->out_q5_moe ? GGUF_Q5_K : mix->base;
	else if (kind == KIND_OUT)
		type = choose(&mix->out, m, KIND_OUT, t->name);
	return fit_row(type, t->ne[0]);
}

void convert_mix_apply(const struct convert_mix *mix, struct convert_model *m)
{
	bool tied = true;
	if (!mix)
		return;
	for (size_t i = 0; i < m->tensors.n; i++)
		tied &= strcmp(m->tensors.data[i].name, "output.weight") != 0;
	for (size_t i = 0; i < m->tensors.n; i++)
		if (convert_may_change(&m->tensors.data[i]))
			m->tensors.data[i].type = type_for(mix, m, &m->tensors.data[i], tied);
	m->file_type = mix->file_type;
}
