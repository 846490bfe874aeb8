/* Which file is what, and where the tensors of a checkpoint belong in a GGUF file. */
#include "convert/convert_hf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/bug.h"

enum { JSON_MAX_BYTES = 128 << 20, LAYER_MAX = 1024 };

/* ---- files ---- */

static const char *base_name(const char *name)
{
	const char *slash = strrchr(name, '/');
	return slash ? slash + 1 : name;
}

static int map_file(const struct convert_file *f, struct convert_hf *h, struct err *err)
{
	struct stat st;
	if (fstat(f->fd, &st) || !S_ISREG(st.st_mode))
		return err_set(err, ERR_IO, "%s is no file that can be read", f->name);
	void *p = st.st_size ? mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, f->fd, 0) : NULL;
	if (p == MAP_FAILED)
		return err_set(err, ERR_IO, "%s cannot be mapped: %s", f->name, strerror(errno));
	h->maps[h->n_map].data = p;
	h->maps[h->n_map++].n_bytes = (size_t)st.st_size;
	return 0;
}

static int read_json(const char *name, const char *text, size_t n, json_t **ret, struct err *err)
{
	if (n > JSON_MAX_BYTES)
		return err_set(err, ERR_LIMIT, "%s is longer than %d MiB", name, JSON_MAX_BYTES >> 20);
	json_decref(*ret);
	int rc = json_parse_all(text, n, ret, err);
	if (rc) {
		*ret = NULL;
		err_prefix(err, "%s", name);
		err->code = rc = ERR_FORMAT;
	}
	return rc;
}

static int take_file(const struct convert_file *f, struct convert_hf *h, struct err *err)
{
	const struct {
		const char *name;
		json_t **place;
	} known[] = {{"config.json", &h->config}, {"tokenizer.json", &h->tokenizer}, {"tokenizer_config.json", &h->tokenizer_config},
		     {"generation_config.json", &h->generation}, {"model.safetensors.index.json", &h->index},
		     {"1_Pooling/config.json", &h->pooling}};
	int rc = map_file(f, h, err);
	if (rc)
		return rc;
	const char *data = h->maps[h->n_map - 1].data;
	size_t n = h->maps[h->n_map - 1].n_bytes;
	if (ends_with(f->name, ".safetensors")) {
		rc = safetensors_read((const uint8_t *)data, n, &h->parts[h->n_part++], err);
		return rc ? err_prefix(err, "%s", f->name) : 0;
	}
	if (!strcmp(base_name(f->name), "chat_template.jinja"))
		h->template = (struct gguf_str){data, n};
	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (!strcmp(f->name, known[i].name))
			return read_json(f->name, data, n, known[i].place, err);
	return 0;
}

int convert_hf_open(const struct convert_job *job, struct convert_hf *h, struct err *err)
{
	int rc = 0;
	*h = (struct convert_hf){0};
	h->maps = mem_calloc(job->n_file, sizeof *h->maps);
	h->parts = mem_calloc(job->n_file, sizeof *h->parts);
	for (size_t i = 0; !rc && i < job->n_file; i++)
		rc = take_file(&job->files[i], h, err);
	if (!rc && !json_is_object(h->config))
		rc = err_set(err, ERR_FORMAT, "config.json is missing or no object: it belongs to the safetensors files");
	if (!rc && !json_is_object(h->tokenizer))
		rc = err_set(err, ERR_UNSUPPORTED, "tokenizer.json is missing or no object: without it the vocabulary is not known");
	const json_t *text = json_object_get(h->config, "text_config");
	h->text = json_is_object(text) ? text : h->config;
	return rc;
}

void convert_hf_release(struct convert_hf *h)
{
	json_t *all[] = {h->config, h->tokenizer, h->tokenizer_config, h->generation, h->pooling, h->index};
	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		json_decref(all[i]);
	for (size_t i = 0; i < h->n_part; i++)
		safetensors_release(&h->parts[i]);
	for (size_t i = 0; i < h->n_map; i++)
		if (h->maps[i].n_bytes)
			munmap(h->maps[i].data, h->maps[i].n_bytes);
	mem_free(h->parts);
	mem_free(h->maps);
}

/* ---- names ---- */

struct name {
	const char *hf, *gguf;
};

static const struct name decoder_names[] = {
	{"embed_tokens", "token_embd"},      {"norm", "output_norm"},
	{"lm_head", "output"},               {"self_attn.q_proj", "attn_q"},
	{"self_attn.k_proj", "attn_k"},      {"self_attn.v_proj", "attn_v"},
	{"self_attn.o_proj", "attn_output"}, {"self_attn.qkv_proj", "attn_qkv"},
	{"self_attn.q_norm", "attn_q_norm"}, {"self_attn.k_norm", "attn_k_norm"},
	{"mlp.gate_proj", "ffn_gate"},       {"mlp.up_proj", "ffn_up"},
	{"mlp.gate_up_proj", "ffn_up"},      {"mlp.down_proj", "ffn_down"},
	{"input_layernorm", "attn_norm"},    {"post_attention_layernorm", "ffn_norm"},
	{NULL, NULL},
};

/* What Gemma calls otherwise; the rest is above. */
static const struct name gemma_names[] = {
	{"post_attention_layernorm", "post_attention_norm"},
	{"pre_feedforward_layernorm", "ffn_norm"},
	{"post_feedforward_layernorm", "post_ffw_norm"},
	{NULL, NULL},
};

static const struct name bert_names[] = {
	{"embeddings.word_embeddings", "token_embd"},
	{"embeddings.position_embeddings", "position_embd"},
	{"embeddings.token_type_embeddings", "token_types"},
	{"embeddings.LayerNorm", "token_embd_norm"},
	{"attention.self.query", "attn_q"},
	{"attention.self.key", "attn_k"},
	{"attention.self.value", "attn_v"},
	{"attention.output.dense", "attn_output"},
	{"attention.output.LayerNorm", "attn_output_norm"},
	{"intermediate.dense", "ffn_up"},
	{"output.dense", "ffn_down"},
	{"output.LayerNorm", "layer_output_norm"},
	{NULL, NULL},
};

/* Parts of checkpoints that a language model does not need: pictures, training, what follows from the rest. */
static const char *const skipped[] = {
	"rotary_emb.inv_freq", "vision_tower.", "vision_model.", "multi_modal_projector.", "pooler.", "position_ids", "cls.",
};

struct arch {
	const char *hf, *gguf;
	const struct name *names, *more;
	bool interleave; /* rows of q and k, see convert_source_row */
	float norm_add;  /* norms are stored less one */
};

static const struct arch archs[] = {
	{"LlamaForCausalLM", "llama", decoder_names, NULL, true, 0},
	{"MistralForCausalLM", "llama", decoder_names, NULL, true, 0},
	{"Qwen2ForCausalLM", "qwen2", decoder_names, NULL, false, 0},
	{"Qwen3ForCausalLM", "qwen3", decoder_names, NULL, false, 0},
	{"Gemma2ForCausalLM", "gemma2", gemma_names, decoder_names, false, 1},
	{"Gemma3ForCausalLM", "gemma3", gemma_names, decoder_names, false, 1},
	{"Gemma3ForConditionalGeneration", "gemma3", gemma_names, decoder_names, false, 1},
	{"Phi3ForCausalLM", "phi3", decoder_names, NULL, false, 0},
	{"BertModel", "bert", bert_names, NULL, false, 0},
	{"BertForMaskedLM", "bert", bert_names, NULL, false, 0},
};

static const struct arch *find_arch(const struct convert_hf *h, struct err *err)
{
	const char *name = json_string_value(json_array_get(json_object_get(h->config, "architectures"), 0));
	struct str all = {0};
	for (size_t i = 0; name && i < ARRAY_LEN(archs); i++)
		if (!strcmp(archs[i].hf, name))
			return &archs[i];
	for (size_t i = 0; i < ARRAY_LEN(archs); i++)
		str_printf(&all, "%s%s", i ? ", " : "", archs[i].hf);
	if (name)
		err_set(err, ERR_UNSUPPORTED, "unsupported architecture \"%.100s\"; supported are %s", name, all.data);
	else
		err_set(err, ERR_FORMAT, "unknown architecture: config.json has no \"architectures\"");
	str_release(&all);
	return NULL;
}

static const char *look_up(const struct name *names, const char *s, size_t n)
{
	for (; names && names->hf; names++)
		if (strlen(names->hf) == n && !memcmp(names->hf, s, n))
			return names->gguf;
	return NULL;
}

/* The GGUF name, NULL when there is none. *ret_part: what it is called without layer and ending. */
static const char *new_name(struct convert_model *m, const struct arch *a, const char *name, const char **ret_part)
{
	static const char *const fronts[] = {"language_model.", "model.", "bert."};
	struct str out = {0};
	long layer = -1;
	for (size_t i = 0; i < ARRAY_LEN(fronts);)
		if (starts_with(name, fronts[i])) {
			name += strlen(fronts[i]);
			i = 0;
		} else {
			i++;
		}
	const char *number = starts_with(name, "layers.") ? name + 7 : starts_with(name, "encoder.layer.") ? name + 14 : NULL;
	char *end = NULL;
	if (number && *number >= '0' && *number <= '9') {
		layer = strtol(number, &end, 10);
		if (layer >= LAYER_MAX || *end != '.')
			return NULL;
		name = end + 1;
	}
	const char *kind = ends_with(name, ".weight") ? ".weight" : ends_with(name, ".bias") ? ".bias" : NULL;
	if (!kind)
		return NULL;
	size_t n = strlen(name) - strlen(kind);
	*ret_part = look_up(a->names, name, n);
	if (!*ret_part)
		*ret_part = look_up(a->more, name, n);
	if (!*ret_part)
		return NULL;
	if (layer >= 0)
		str_printf(&out, "blk.%ld.", layer);
	str_printf(&out, "%s%s", *ret_part, kind);
	const char *copy = arena_strndup(&m->names, out.data, out.len);
	str_release(&out);
	return copy;
}

static bool is_skipped(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(skipped); i++)
		if (strstr(name, skipped[i]))
			return true;
	return false;
}

/* ---- tensors ---- */

static int set_rows(const struct arch *a, const struct convert_model *m, const char *part, struct convert_tensor *t, struct err *err)
{
	bool q = !strcmp(part, "attn_q"), k = !strcmp(part, "attn_k");
	t->row = t->ne[0];
	if (!a->interleave || (!q && !k))
		return 0;
	t->row = t->n_dims == 1 ? 1 : t->ne[0];
	t->n_head = (int)(q ? m->n_head : m->n_head_kv);
	int64_t n_row = t->ne[0] * t->ne[1] / t->row;
	if (t->n_head < 1 || n_row % t->n_head || n_row / t->n_head % 2)
		return err_set(err, ERR_FORMAT, "the tensor %s has %lld rows, which config.json's %d heads do not share evenly", t->name,
			       (long long)n_row, t->n_head);
	return 0;
}

static int add_tensor(const struct arch *a, const struct st_tensor *s, struct convert_model *m, struct map *seen, struct err *err)
{
	const char *part = NULL, *name = new_name(m, a, s->name, &part);
	if (!name)
		return err_set(err, ERR_UNSUPPORTED, "the tensor \"%.100s\" has no place in the architecture %s", s->name, a->gguf);
	if (strlen(name) > 63 || map_get(seen, name, strlen(name)))
		return err_set(err, ERR_FORMAT, "the tensor %s is there twice", name);
	map_put_ref(seen, name, strlen(name));
	if (s->type < 0)
		return err_set(err, ERR_UNSUPPORTED, "the tensor \"%.100s\" has a type other than F32, F16 and BF16", s->name);
	if (s->n_dims < 1 || s->n_dims > 2 || s->n_elem < 1)
		return err_set(err, ERR_FORMAT, "the tensor \"%.100s\" has a shape that no weight has", s->name);
	struct convert_tensor t = {.name = name, .n_dims = s->n_dims, .ne = {1, 1, 1, 1}, .src_type = s->type, .src = s->data};
	for (int d = 0; d < s->n_dims; d++)
		t.ne[d] = s->shape[s->n_dims - 1 - d];
	if (s->n_dims == 1 && ends_with(name, "norm.weight"))
		t.add = a->norm_add;
	t.type = !convert_may_change(&t) ? GGUF_F32 : s->type == GGUF_BF16 ? GGUF_BF16 : GGUF_F16;
	int rc = set_rows(a, m, part, &t, err);
	if (!rc)
		vec_push(&m->tensors, t);
	return rc;
}

static bool is_tied(const struct convert_hf *h)
{
	const json_t *v = json_object_get(h->config, "tie_word_embeddings");
	return json_is_true(v ? v : json_object_get(h->text, "tie_word_embeddings"));
}

/* Every tensor that the index names must be there: else a file was forgotten. */
static int check_index(const struct convert_hf *h, struct err *err)
{
	struct map all = {0};
	int rc = 0;
	json_t *list = json_object_get(h->index, "weight_map");
	for (size_t p = 0; p < h->n_part; p++)
		for (size_t i = 0; i < h->parts[p].n; i++)
			map_put_ref(&all, h->parts[p].tensors[i].name, strlen(h->parts[p].tensors[i].name));
	for (void *it = json_object_iter(list); !rc && it; it = json_object_iter_next(list, it)) {
		const char *name = json_object_iter_key(it), *file = json_string_value(json_object_iter_value(it));
		if (!map_get(&all, name, strlen(name)))
			rc = err_set(err, ERR_FORMAT, "the tensor \"%.100s\" is missing: the file %.100s is not there or incomplete", name,
				     file ? file : "?");
	}
	map_release(&all);
	return rc;
}

int convert_hf_read(struct convert_hf *h, struct convert_model *m, struct err *err)
{
	const struct arch *a = find_arch(h, err);
	struct map seen = {0};
	int64_t n_vocab = 0;
	int rc = a ? check_index(h, err) : err->code;
	if (!rc)
		rc = convert_hf_keys(h, a->gguf, m, err);
	m->file_type = 1; /* F16 */
	for (size_t p = 0; !rc && p < h->n_part; p++)
		for (size_t i = 0; !rc && i < h->parts[p].n; i++) {
			const struct st_tensor *t = &h->parts[p].tensors[i];
			if (!is_skipped(t->name) && !(is_tied(h) && ends_with(t->name, "lm_head.weight")))
				rc = add_tensor(a, t, m, &seen, err);
		}
	for (size_t i = 0; !rc && i < m->tensors.n; i++)
		if (!strcmp(m->tensors.data[i].name, "token_embd.weight")) {
			n_vocab = m->tensors.data[i].ne[1];
			m->file_type = m->tensors.data[i].type == GGUF_BF16 ? 32 : 1;
		}
	if (!rc && !n_vocab)
		rc = err_set(err, ERR_FORMAT, "the safetensors files have no token embeddings");
	if (!rc)
		rc = convert_hf_tok(h, n_vocab, m, err);
	map_release(&seen);
	return rc;
}
