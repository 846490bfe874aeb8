#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "chat/collate.h"
#include "chat/gotmpl.h"
#include "chat/jinja.h"
#include "engine/engine_sync.h"
#include "kern/quant/quant.h"
#include "runner/probe_int.h"
#include "runner/runner_embed.h"
#include "runner/runner_logprob.h"

/* ---- arguments and values ---- */

static int get_text(const json_t *req, const char *key, const char **ret, size_t *ret_n, struct err *err)
{
	const json_t *v = json_get(req, key);
	if (!json_is_string(v))
		return err_set(err, ERR_INVALID, "%s must be a string", key);
	*ret = json_string_value(v);
	*ret_n = json_string_length(v);
	return 0;
}

static bool get_bool(const json_t *req, const char *key, bool otherwise)
{
	const json_t *v = json_get(req, key);
	return json_is_boolean(v) ? json_is_true(v) : otherwise;
}

static int get_ids(const json_t *req, int n_vocab, struct ids *ret, struct err *err)
{
	const json_t *list = json_get(req, "ids");
	if (!json_is_array(list))
		return err_set(err, ERR_INVALID, "ids must be an array of token ids");
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *v = json_array_get(list, i);
		json_int_t id = json_is_integer(v) ? json_integer_value(v) : -1;
		if (id < 0 || id >= n_vocab)
			return err_set(err, ERR_INVALID, "ids[%zu] is no token id from 0 to %d", i, n_vocab - 1);
		vec_push(ret, (int)id);
	}
	return 0;
}

static int get_now(const json_t *req, int64_t *ret, struct err *err)
{
	const json_t *v = json_get_nonnull(req, "now");
	*ret = time(NULL);
	if (!v)
		return 0;
	struct tm tm = {.tm_isdst = -1};
	const char *text = json_string_value(v), *end = text ? strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) : NULL;
	if (!end || *end)
		return err_set(err, ERR_INVALID, "now must be a local time such as 2026-03-05T14:30:45");
	*ret = mktime(&tm);
	return 0;
}

static void write_num(struct jsonw *w, double v)
{
	char text[40];
	if (isfinite(v))
		jsonw_raw(w, text, (size_t)snprintf(text, sizeof text, "%.9g", v));
	else
		jsonw_null(w);
}

static void write_nums(struct jsonw *w, const char *key, const float *v, size_t n)
{
	jsonw_key(w, key);
	jsonw_arr(w);
	for (size_t i = 0; i < n; i++)
		write_num(w, v[i]);
	jsonw_arr_end(w);
}

static void write_ids(struct jsonw *w, const char *key, const int *ids, size_t n)
{
	jsonw_key(w, key);
	jsonw_arr(w);
	for (size_t i = 0; i < n; i++)
		jsonw_int(w, ids[i]);
	jsonw_arr_end(w);
}

/* ---- tokens ---- */

static int op_tokenize(struct probe *p, const json_t *req, struct jsonw *w, struct err *err)
{
	const char *text;
	size_t n;
	struct ids ids = {0};
	unsigned flags = get_bool(req, "add_special", false) ? TOK_ADD_SPECIAL : 0;
	flags |= get_bool(req, "parse_special", false) ? TOK_PARSE_SPECIAL : 0;
	int rc = get_text(req, "text", &text, &n, err);
	if (!rc)
		rc = tok_encode(p->load.tok, text, n, flags, &ids, err);
	if (!rc)
		write_ids(w, "ids", ids.data, ids.n);
	vec_release(&ids);
	return rc;
}

static void write_hex(struct jsonw *w, const char *key, const struct str *bytes)
{
	struct str hex = {0};
	for (size_t i = 0; i < bytes->len; i++)
		str_printf(&hex, "%02x", (unsigned char)bytes->data[i]);
	jsonw_kstr(w, key, str_cstr(&hex));
	str_release(&hex);
}

static int op_detokenize(struct probe *p, const json_t *req, struct jsonw *w, struct err *err)
{
	struct ids ids = {0};
	struct str text = {0};
	int rc = get_ids(req, tok_n_vocab(p->load.tok), &ids, err);
	if (!rc) {
		tok_decode(p->load.tok, ids.data, ids.n, false, &text);
		if (utf8_valid(str_cstr(&text), text.len)) {
			jsonw_key(w, "text");
			jsonw_strn(w, str_cstr(&text), text.len);
		} else {
			write_hex(w, "bytes", &text);
		}
	}
	vec_release(&ids);
	str_release(&text);
	return rc;
}

/* ---- sequences ---- */

/* One sequence, and what its hooks gather. */
struct seq_run {
	const struct ids *ids;
	int n_vocab;
	int n_greedy;          /* logits: tokens wanted */
	float *logits;         /* [n_vocab] of the last prompt position */
	struct ids greedy;
	VEC(float) margins;
	double nll;            /* nll: sum over positions */
	int64_t n_nll;
	int pooling;           /* embed */
	VEC(float) embedding;
};

/* Runs cfg to its end. */
static int run_seq(struct probe *p, struct seq_cfg *cfg, struct seq_run *run, struct err *err)
{
	if (!run->ids->n)
		return err_set(err, ERR_INVALID, "ids must not be empty");
	run->n_vocab = model_n_vocab(p->load.model);
	cfg->user = run;
	cfg->ids = run->ids->data;
	cfg->n_ids = run->ids->n;
	return engine_sync_run(p->load.engine, cfg, NULL, NULL, err);
}

static bool on_greedy(void *user, const struct seq_token *tok)
{
	struct seq_run *run = user;
	if (!run->logits) {
		run->logits = mem_calloc((size_t)run->n_vocab, sizeof *run->logits);
		memcpy(run->logits, tok->logits, (size_t)run->n_vocab * sizeof *run->logits);
	}
	if (run->n_greedy > 0) {
		struct runner_logprob_item top[2];
		int n = runner_logprob_top(tok->logits, run->n_vocab, 2, 0, top);
		vec_push(&run->greedy, tok->id);
		vec_push(&run->margins, n == 2 ? (float)(top[0].logprob - top[1].logprob) : NAN);
	}
	return true;
}

static void write_top(struct jsonw *w, const struct seq_run *run, int k)
{
	struct runner_logprob_item *top = mem_calloc((size_t)k, sizeof *top);
	double norm = runner_logprob_norm(run->logits, run->n_vocab);
	int n = runner_logprob_top(run->logits, run->n_vocab, k, norm, top);
	jsonw_key(w, "top");
	jsonw_arr(w);
	for (int i = 0; i < n; i++) {
		jsonw_arr(w);
		jsonw_int(w, top[i].id);
		write_num(w, run->logits[top[i].id]);
		write_num(w, top[i].logprob);
		jsonw_arr_end(w);
	}
	jsonw_arr_end(w);
	mem_free(top);
}

static int op_logits(struct probe *p, const json_t *req, struct jsonw *w, struct err *err)
{
	struct ids ids = {0};
	struct seq_run run = {.ids = &ids};
	json_int_t n_greedy = json_integer_value(json_get(req, "greedy")), top = json_integer_value(json_get(req, "top"));
	if (n_greedy < 0 || n_greedy > INT32_MAX || top < 0)
		return err_set(err, ERR_INVALID, "greedy and top must not be negative");
	if (model_is_encoder(p->load.model))
		return err_set(err, ERR_UNSUPPORTED, "an encoder has no logits");
	run.n_greedy = (int)n_greedy;
	struct seq_cfg cfg = {.n_predict = n_greedy ? n_greedy : 1,
			      .sampler = sampler_cfg_default,
			      .ignore_eog = true,
			      .want_logits = true,
			      .on_token = on_greedy};
	cfg.sampler.temperature = 0;
	cfg.sampler.repeat_penalty = 1;
	int rc = get_ids(req, model_n_vocab(p->load.model), &ids, err);
	if (!rc)
		rc = run_seq(p, &cfg, &run, err);
	if (!rc && (!run.logits || (int)run.greedy.n < run.n_greedy))
		rc = err_set(err, ERR_TOO_LONG, "%zu ids and %d more do not fit the context; give a larger n_ctx", ids.n,
			     (int)cfg.n_predict);
	if (!rc) {
		if (get_bool(req, "all", false))
			write_nums(w, "logits", run.logits, (size_t)run.n_vocab);
		else
			write_top(w, &run, top == 0 ? RUNNER_LOGPROB_TOP_MAX : top < run.n_vocab ? (int)top : run.n_vocab);
		write_ids(w, "greedy", run.greedy.data, run.greedy.n);
		write_nums(w, "margins", run.margins.data, run.margins.n);
	}
	vec_release(&ids);
	vec_release(&run.greedy);
	vec_release(&run.margins);
	mem_free(run.logits);
	return rc;
}

static void on_prompt_logits(void *user, int64_t pos, const float *logits, int n_vocab)
{
	struct seq_run *run = user;
	if ((size_t)pos + 1 >= run->ids->n)
		return;
	run->nll += runner_logprob_norm(logits, n_vocab) - logits[run->ids->data[pos + 1]];
	run->n_nll++;
}

static int op_nll(struct probe *p, const json_t *req, struct jsonw *w, struct err *err)
{
	struct ids ids = {0};
	struct seq_run run = {.ids = &ids};
	struct seq_cfg cfg = {.sampler = sampler_cfg_default, .on_prompt_logits = on_prompt_logits};
	if (model_is_encoder(p->load.model))
		return err_set(err, ERR_UNSUPPORTED, "an encoder has no logits");
	int rc = get_ids(req, model_n_vocab(p->load.model), &ids, err);
	if (!rc && ids.n < 2)
		rc = err_set(err, ERR_INVALID, "nll needs at least two ids");
	if (!rc)
		rc = run_seq(p, &cfg, &run, err);
	if (!rc && run.n_nll != (int64_t)ids.n - 1)
		rc = err_set(err, ERR_INTERNAL, "the engine gave logits for %lld of %zu positions", (long long)run.n_nll,
			     ids.n - 1);
	if (!rc) {
		jsonw_key(w, "nll");
		write_num(w, run.nll / (double)run.n_nll);
	}
	vec_release(&ids);
	return rc;
}

/* ---- embeddings ---- */

static void on_embedding(void *user, const float *rows, int64_t n_tok, int n_embd)
{
	struct seq_run *run = user;
	vec_reserve(&run->embedding, (size_t)n_embd);
	run->embedding.n = (size_t)n_embd;
	runner_embed_pool(run->pooling, rows, n_tok, n_embd, run->embedding.data);
}

static int get_pooling(const struct probe *p, const json_t *req, int *ret, struct err *err)
{
	static const char *const names[] = {[RUNNER_POOL_MEAN] = "mean", [RUNNER_POOL_CLS] = "cls", [RUNNER_POOL_LAST] = "last"};
	const char *want = json_string_value(json_get(req, "pooling"));
	*ret = model_pooling(p->load.model);
	for (int i = 1; want && i < (int)ARRAY_LEN(names); i++)
		if (!strcmp(want, names[i])) {
			*ret = i;
			return 0;
		}
	if (want)
		return err_set(err, ERR_INVALID, "pooling must be mean, cls or last, not %.60s", want);
	return runner_embed_check(*ret, err);
}

static int get_embed_ids(struct probe *p, const json_t *req, struct ids *ids, struct err *err)
{
	const char *text;
	size_t n;
	if (json_get_nonnull(req, "ids"))
		return get_ids(req, model_n_vocab(p->load.model), ids, err);
	int rc = get_text(req, "text", &text, &n, err);
	return rc ? rc : tok_encode(p->load.tok, text, n, TOK_ADD_SPECIAL, ids, err);
}

static int op_embed(struct probe *p, const json_t *req, struct jsonw *w, struct err *err)
{
	struct ids ids = {0};
	struct seq_run run = {.ids = &ids};
	struct seq_cfg cfg = {.embed = true, .sampler = sampler_cfg_default, .on_embedding = on_embedding};
	int rc = get_pooling(p, req, &run.pooling, err);
	if (!rc)
		rc = get_embed_ids(p, req, &ids, err);
	if (!rc)
		rc = run_seq(p, &cfg, &run, err);
	if (!rc) {
		if (get_bool(req, "normalize", true))
			runner_embed_normalize(run.embedding.data, (int)run.embedding.n);
		write_nums(w, "embedding", run.embedding.data, run.embedding.n);
	}
	vec_release(&ids);
	vec_release(&run.embedding);
	return rc;
}

/* ---- templates ---- */

static void write_text(struct jsonw *w, const char *key, const struct str *text)
{
	jsonw_key(w, key);
	jsonw_strn(w, str_cstr(text), text->len);
}

static int template_jinja(const char *source, size_t n, json_t *vars, int64_t now, struct str *out, struct err *err)
{
	struct jinja *t;
	int rc = jinja_parse(source, n, &t, err);
	if (rc)
		return rc;
	rc = jinja_render(t, vars, now, &jinja_limits_default, out, err);
	jinja_free(t);
	return rc;
}

static int template_go(const char *source, size_t n, json_t *vars, int64_t now, struct str *out, struct err *err)
{
	struct gotmpl *t;
	int rc = gotmpl_parse(source, n, &t, err);
	if (rc)
		return rc;
	rc = gotmpl_render(t, vars, now, NULL, out, err);
	gotmpl_free(t);
	return rc;
}

static int op_template(struct probe *p, const json_t *req, struct jsonw *w, struct err *err)
{
	const char *language = json_string_value(json_get(req, "language")), *source;
	size_t n;
	int64_t now;
	struct str out = {0};
	(void)p;
	bool go = language && !strcmp(language, "go");
	if (!go && (!language || strcmp(language, "jinja") != 0))
		return err_set(err, ERR_UNSUPPORTED, "language must be \"jinja\" or \"go\"");
	int rc = get_text(req, "source", &source, &n, err);
	if (!rc)
		rc = get_now(req, &now, err);
	if (rc)
		return rc;
	json_t *own = json_object(), *vars = json_get(req, "variables");
	rc = (go ? template_go : template_jinja)(source, n, json_is_object(vars) ? vars : own, now, &out, err);
	if (!rc)
		write_text(w, "output", &out);
	json_decref(own);
	str_release(&out);
	return rc;
}

/* true, false, or a level. */
static void get_think(const json_t *req, int *ret, const char **ret_level)
{
	const json_t *think = json_get_nonnull(req, "think");
	*ret = think ? json_is_true(think) || json_is_string(think) : -1;
	*ret_level = json_string_value(think);
}

/* A Go template over a conversation, or over prompt and suffix. */
static int render_go(const json_t *req, struct str *out, struct err *err)
{
	struct collate_req c = {.messages = json_get_nonnull(req, "messages"),
				.tools = json_get_nonnull(req, "tools"),
				.prompt = json_string_value(json_get(req, "prompt")),
				.suffix = json_string_value(json_get(req, "suffix")),
				.tag_images = true};
	const char *source;
	struct gotmpl *t;
	size_t n;
	get_think(req, &c.think, &c.think_level);
	int rc = get_text(req, "source", &source, &n, err);
	if (!rc)
		rc = get_now(req, &c.now_s, err);
	if (!rc)
		rc = gotmpl_parse(source, n, &t, err);
	if (rc)
		return rc;
	rc = collate_render(t, &c, NULL, out, err);
	gotmpl_free(t);
	return rc;
}

/* The model's own template over a conversation. */
static int render_own(struct probe *p, const json_t *req, struct str *out, struct err *err)
{
	struct chat_req chat = {.messages = json_get(req, "messages"),
				.tools = json_get_nonnull(req, "tools"),
				.kwargs = json_get_nonnull(req, "kwargs"),
				.add_generation_prompt = get_bool(req, "add_generation_prompt", true)};
	if (!json_is_array(chat.messages))
		return err_set(err, ERR_INVALID, "messages must be an array");
	get_think(req, &chat.think, &chat.think_level);
	int rc = probe_provide(p, PROBE_NEEDS_FILE, req, err);
	if (!rc)
		rc = get_now(req, &chat.now_s, err);
	return rc ? rc : runner_load_render(&p->load, &chat, out, err);
}

static int op_render(struct probe *p, const json_t *req, struct jsonw *w, struct err *err)
{
	const json_t *language = json_get_nonnull(req, "language");
	struct str out = {0};
	bool go = language && json_is_string(language) && !strcmp(json_string_value(language), "go");
	if (json_get_nonnull(req, "renderer"))
		return err_set(err, ERR_UNSUPPORTED, "renderer is not supported: give a Go template or leave it to the model's own");
	if (language && !go)
		return err_set(err, ERR_UNSUPPORTED, "language must be \"go\"; the model's own template needs no language");
	int rc = go ? render_go(req, &out, err) : render_own(p, req, &out, err);
	if (!rc)
		write_text(w, "prompt", &out);
	str_release(&out);
	return rc;
}

/* ---- tensor types ---- */

static int hex_digit(char c)
{
	const char *digits = "0123456789abcdef", *at = c ? strchr(digits, c >= 'A' && c <= 'F' ? c + 32 : c) : NULL;
	return at ? (int)(at - digits) : -1;
}

/* n / 2 bytes, 64-byte aligned; NULL when a digit is wrong. */
static uint8_t *unhex(const char *hex, size_t n)
{
	uint8_t *out = mem_try_aligned(64, n / 2 + 1);
	for (size_t i = 0; out && i + 1 < n; i += 2) {
		int hi = hex_digit(hex[i]), lo = hex_digit(hex[i + 1]);
		if (hi < 0 || lo < 0) {
			mem_free(out);
			return NULL;
		}
		out[i / 2] = (uint8_t)(hi << 4 | lo);
	}
	return out;
}

static int op_dequantize(struct probe *p, const json_t *req, struct jsonw *w, struct err *err)
{
	const char *name, *hex;
	size_t n;
	(void)p;
	int rc = get_text(req, "type", &name, &n, err);
	if (!rc)
		rc = get_text(req, "bytes", &hex, &n, err);
	if (rc)
		return rc;
	const struct gguf_type_info *info = gguf_type_by_name(name);
	const struct quant *q = info ? quant_for(info->id) : NULL;
	if (!q)
		return err_set(err, ERR_UNSUPPORTED, "tensor type %.60s is not supported; supported are: %s", name, quant_names());
	if (n % 2 || (n / 2) % (size_t)info->bytes)
		return err_set(err, ERR_INVALID, "%zu hex digits are no whole number of %d-byte blocks", n, info->bytes);
	uint8_t *raw = unhex(hex, n);
	if (!raw)
		return err_set(err, ERR_INVALID, "bytes must be hex digits");
	size_t n_val = n / 2 / (size_t)info->bytes * (size_t)info->block;
	float *values = mem_calloc(n_val, sizeof *values);
	q->to_f32(raw, values, (int64_t)n_val);
	write_nums(w, "values", values, n_val);
	mem_free(values);
	mem_free(raw);
	return 0;
}

/* ---- table ---- */

static const struct probe_op ops[] = {
	{"tokenize", PROBE_NEEDS_FILE, op_tokenize},       {"detokenize", PROBE_NEEDS_FILE, op_detokenize},
	{"logits", PROBE_NEEDS_ENGINE, op_logits},         {"nll", PROBE_NEEDS_ENGINE, op_nll},
	{"embed", PROBE_NEEDS_ENGINE, op_embed},           {"template", PROBE_NEEDS_NOTHING, op_template},
	{"render", PROBE_NEEDS_NOTHING, op_render},           {"dequantize", PROBE_NEEDS_NOTHING, op_dequantize},
};

const struct probe_op *probe_op_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(ops); i++)
		if (!strcmp(ops[i].name, name))
			return &ops[i];
	return NULL;
}

void probe_op_names(struct str *out)
{
	for (size_t i = 0; i < ARRAY_LEN(ops); i++)
		str_printf(out, "%s%s", i ? " " : "", ops[i].name);
}
