#include "runner/inspect.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "chat/detect.h"
#include "chat/gotmpl.h"
#include "chat/jinja.h"
#include "kern/quant/quant.h"
#include "model/model.h"
#include "runner/runner.h"
#include "runner/runner_sandbox.h"
#include "tok/tok.h"

/* ---- metadata ---- */

static void write_u64(struct jsonw *w, uint64_t v)
{
	char text[24];
	jsonw_raw(w, text, (size_t)snprintf(text, sizeof text, "%" PRIu64, v));
}

/* Element i of a number or boolean value, by the exact type in the file. */
static void write_number(struct jsonw *w, int type, const uint8_t *p, uint64_t i)
{
	union {
		uint8_t u8;
		int8_t i8;
		uint16_t u16;
		int16_t i16;
		uint32_t u32;
		int32_t i32;
		uint64_t u64;
		int64_t i64;
		float f32;
		double f64;
	} v;
#define LOAD(member) memcpy(&v.member, p + i * sizeof v.member, sizeof v.member)
	switch (type) {
	case GGUF_KV_U8: LOAD(u8); jsonw_int(w, v.u8); break;
	case GGUF_KV_I8: LOAD(i8); jsonw_int(w, v.i8); break;
	case GGUF_KV_U16: LOAD(u16); jsonw_int(w, v.u16); break;
	case GGUF_KV_I16: LOAD(i16); jsonw_int(w, v.i16); break;
	case GGUF_KV_U32: LOAD(u32); jsonw_int(w, v.u32); break;
	case GGUF_KV_I32: LOAD(i32); jsonw_int(w, v.i32); break;
	case GGUF_KV_U64: LOAD(u64); write_u64(w, v.u64); break;
	case GGUF_KV_I64: LOAD(i64); jsonw_int(w, v.i64); break;
	case GGUF_KV_F32: LOAD(f32); jsonw_f32(w, v.f32); break;
	case GGUF_KV_F64: LOAD(f64); jsonw_f64(w, v.f64); break;
	case GGUF_KV_BOOL: LOAD(u8); jsonw_bool(w, v.u8 != 0); break;
	default: jsonw_null(w);
	}
#undef LOAD
}

static void write_array(struct jsonw *w, const struct gguf_kv *kv)
{
	struct gguf_str_iter it = {0};
	struct gguf_str s;
	jsonw_arr(w);
	for (uint64_t i = 0; i < kv->n; i++) {
		if (kv->elem_type != GGUF_KV_STR)
			write_number(w, kv->elem_type, kv->p, i);
		else if (!gguf_arr_next_str(kv, &it, &s, NULL))
			jsonw_strn(w, s.s, s.n);
		else
			jsonw_null(w);
	}
	jsonw_arr_end(w);
}

static void write_kv(struct jsonw *w, const struct gguf *g, const struct gguf_kv *kv, bool verbose)
{
	struct gguf_str s;
	jsonw_key(w, kv->key);
	if (kv->type == GGUF_KV_ARR && kv->n && !verbose)
		jsonw_null(w);
	else if (kv->type == GGUF_KV_ARR)
		write_array(w, kv);
	else if (kv->type != GGUF_KV_STR)
		write_number(w, kv->type, kv->p, 0);
	else if (gguf_get_str(g, kv->key, &s, NULL) > 0)
		jsonw_strn(w, s.s, s.n);
	else
		jsonw_null(w);
}

static int by_key(const void *a, const void *b)
{
	return strcmp((*(const struct gguf_kv *const *)a)->key, (*(const struct gguf_kv *const *)b)->key);
}

static void write_kvs(struct jsonw *w, const struct gguf *g, bool verbose)
{
	size_t n = gguf_n_kv(g);
	const struct gguf_kv **sorted = mem_calloc(n, sizeof *sorted);
	for (size_t i = 0; i < n; i++)
		sorted[i] = gguf_kv_at(g, i);
	qsort(sorted, n, sizeof *sorted, by_key);
	jsonw_key(w, "kv");
	jsonw_obj(w);
	for (size_t i = 0; i < n; i++)
		write_kv(w, g, sorted[i], verbose);
	jsonw_obj_end(w);
	mem_free(sorted);
}

/* The N of "blk.N.", -1 for tensors outside the blocks. */
static long block_of(const struct gguf_tensor *t)
{
	return starts_with(t->name, "blk.") ? strtol(t->name + 4, NULL, 10) : -1;
}

static int by_block_and_name(const void *a, const void *b)
{
	const struct gguf_tensor *x = *(const struct gguf_tensor *const *)a, *y = *(const struct gguf_tensor *const *)b;
	long i = block_of(x), k = block_of(y);
	return i != k ? (i > k) - (i < k) : strcmp(x->name, y->name);
}

static void write_tensor(struct jsonw *w, const struct gguf_tensor *t)
{
	const struct gguf_type_info *info = gguf_type_info(t->type);
	jsonw_obj(w);
	jsonw_kstr(w, "name", t->name);
	jsonw_kstr(w, "type", info ? info->name : "?");
	jsonw_key(w, "shape");
	jsonw_arr(w);
	for (int k = 0; k < t->n_dims; k++)
		jsonw_int(w, t->ne[k]);
	jsonw_arr_end(w);
	jsonw_obj_end(w);
}

static void write_tensors(struct jsonw *w, const struct gguf *g)
{
	size_t n = gguf_n_tensor(g);
	const struct gguf_tensor **sorted = mem_calloc(n, sizeof *sorted);
	for (size_t i = 0; i < n; i++)
		sorted[i] = gguf_tensor_at(g, i);
	qsort(sorted, n, sizeof *sorted, by_block_and_name);
	jsonw_key(w, "tensors");
	jsonw_arr(w);
	for (size_t i = 0; i < n; i++)
		write_tensor(w, sorted[i]);
	jsonw_arr_end(w);
	mem_free(sorted);
}

/* ---- what cria makes of it ---- */

/* The text of a string key, "" when absent or of another kind. Owned. */
static char *get_text(const struct gguf *g, const char *key)
{
	struct gguf_str s;
	return gguf_get_str(g, key, &s, NULL) > 0 ? mem_strndup(s.s, s.n) : mem_strdup("");
}

/* <arch>.<name>; false when absent or no integer. */
static bool get_arch_int(const struct gguf *g, const char *arch, const char *name, int64_t *ret)
{
	struct str key = {0};
	str_printf(&key, "%s.%s", arch, name);
	bool found = gguf_get_i64(g, str_cstr(&key), ret, NULL) > 0;
	str_release(&key);
	return found;
}

static void write_arch_int(struct jsonw *w, const struct gguf *g, const char *arch, const char *name, const char *as)
{
	int64_t v;
	if (get_arch_int(g, arch, name, &v))
		jsonw_kint(w, as, v);
}

/* 0, or why the model cannot be run, in words that name what can. */
static int check_supported(const struct gguf *g, const char *arch, struct err *err)
{
	if (!model_arch_supported(arch))
		return err_set(err, ERR_UNSUPPORTED, "the architecture \"%s\" is not supported; supported are: %s", arch,
			       model_arch_names());
	for (size_t i = 0; i < gguf_n_tensor(g); i++) {
		const struct gguf_tensor *t = gguf_tensor_at(g, i);
		const struct gguf_type_info *info = gguf_type_info(t->type);
		if (!quant_for(t->type))
			return err_set(err, ERR_UNSUPPORTED,
				       "the tensor %s has type %s, which is not supported; supported are: %s", t->name,
				       info ? info->name : "?", quant_names());
	}
	struct tok *t;
	int rc = tok_new(g, &t, err);
	if (!rc)
		tok_free(t);
	return rc;
}

/* The Go template that a Jinja template amounts to, when it is one that is known. */
static void write_detected(struct jsonw *w, const struct gguf_str *jinja)
{
	const struct detect_row *row = detect_template(jinja->s, jinja->n);
	if (!row)
		return;
	jsonw_key(w, "detected_template");
	jsonw_obj(w);
	jsonw_kstr(w, "name", row->name);
	jsonw_kstr(w, "text", row->text);
	jsonw_key(w, "params");
	jsonw_raw(w, row->params, strlen(row->params));
	jsonw_obj_end(w);
}

static void write_template(struct jsonw *w, const struct gguf *g)
{
	struct gguf_str s;
	struct jinja *t;
	struct err err;
	bool tools = false, thinking = false;
	if (gguf_get_str(g, "tokenizer.chat_template", &s, NULL) > 0 && s.n) {
		jsonw_key(w, "chat_template");
		jsonw_strn(w, s.s, s.n);
		thinking = memmem(s.s, s.n, "<think>", 7) && memmem(s.s, s.n, "</think>", 8);
		if (!jinja_parse(s.s, s.n, &t, &err)) {
			tools = jinja_uses(t, "tools") || jinja_uses(t, "tool_calls");
			thinking |= jinja_uses(t, "enable_thinking");
			jinja_free(t);
		} else {
			jsonw_kstr(w, "template_error", err.msg);
		}
		write_detected(w, &s);
	}
	jsonw_kbool(w, "template_tools", tools);
	jsonw_kbool(w, "template_thinking", thinking);
}

static void write_counts(struct jsonw *w, const struct gguf *g, const char *arch)
{
	int64_t ftype, n_elem = 0, pooling;
	jsonw_kstr(w, "file_type", gguf_ftype_name(gguf_get_i64(g, "general.file_type", &ftype, NULL) > 0 ? ftype : -1));
	for (size_t i = 0; i < gguf_n_tensor(g); i++)
		if (__builtin_add_overflow(n_elem, gguf_tensor_at(g, i)->n_elem, &n_elem))
			n_elem = INT64_MAX;
	jsonw_kint(w, "parameter_count", n_elem);
	write_arch_int(w, g, arch, "context_length", "context_length");
	write_arch_int(w, g, arch, "embedding_length", "embedding_length");
	write_arch_int(w, g, arch, "block_count", "block_count");
	if (get_arch_int(g, arch, "pooling_type", &pooling))
		jsonw_kint(w, "pooling_type", pooling);
}

void inspect_write(const struct gguf *g, bool verbose, struct jsonw *w)
{
	char *arch = get_text(g, "general.architecture");
	int64_t n;
	struct err err;
	jsonw_obj(w);
	jsonw_kstr(w, "arch", arch);
	jsonw_kbool(w, "architecture_supported", model_arch_supported(arch));
	int rc = check_supported(g, arch, &err);
	jsonw_kbool(w, "supported", !rc);
	if (rc)
		jsonw_kstr(w, "unsupported_reason", err.msg);
	write_counts(w, g, arch);
	write_template(w, g);
	jsonw_kbool(w, "has_vision", !strcmp(arch, "clip") || get_arch_int(g, arch, "vision.block_count", &n));
	write_kvs(w, g, verbose);
	write_tensors(w, g);
	jsonw_obj_end(w);
	mem_free(arch);
}

/* ---- Go templates ---- */

static bool has_text(const char *text, size_t n, const char *what)
{
	return memmem(text, n, what, strlen(what));
}

int inspect_write_go(const char *text, size_t n, struct jsonw *w, struct err *err)
{
	struct gotmpl *t;
	int rc = gotmpl_parse(text, n, &t, err);
	if (rc)
		return rc;
	const struct gotmpl_tags *tags = gotmpl_infer(t);
	bool answers = has_text(text, n, "eq .Role \"tool\"") || has_text(text, n, "tool_response") || has_text(text, n, "TOOL_RESULTS");
	jsonw_obj(w);
	jsonw_kbool(w, "tools", gotmpl_uses(t, "tools"));
	jsonw_kbool(w, "insert", gotmpl_uses(t, "suffix"));
	jsonw_kbool(w, "thinking", *tags->think_open && *tags->think_close);
	jsonw_kbool(w, "tool_round_trip", gotmpl_uses(t, "toolcalls") && answers);
	jsonw_obj_end(w);
	gotmpl_free(t);
	return 0;
}

/* ---- the program ---- */

static int fail(struct str *out, const struct err *err)
{
	struct jsonw w;
	jsonw_init(&w, out, JSONW_PLAIN);
	jsonw_obj(&w);
	jsonw_kstr(&w, "error", err->msg);
	jsonw_obj_end(&w);
	return 1;
}

/* Reads a template's text to its end. */
static int read_text(int fd, struct str *out, struct err *err)
{
	enum { TEXT_MAX_BYTES = 4 << 20, STEP = 64 << 10 };
	ssize_t n;
	do {
		str_reserve(out, STEP);
		n = read(fd, out->data + out->len, STEP);
		out->len += n > 0 ? (size_t)n : 0;
	} while ((n > 0 && out->len <= TEXT_MAX_BYTES) || (n < 0 && errno == EINTR));
	if (n < 0)
		return err_set(err, ERR_IO, "the template cannot be read: %s", strerror(errno));
	if (out->len > TEXT_MAX_BYTES)
		return err_set(err, ERR_LIMIT, "the template is longer than %d MiB", TEXT_MAX_BYTES >> 20);
	return 0;
}

static int inspect_template(int fd, struct str *out)
{
	struct str text = {0};
	struct err err;
	struct jsonw w;
	jsonw_init(&w, out, JSONW_PLAIN);
	int rc = read_text(fd, &text, &err);
	if (!rc)
		rc = inspect_write_go(str_cstr(&text), text.len, &w, &err);
	str_release(&text);
	return rc ? fail(out, &err) : 0;
}

static int inspect(int fd, bool verbose, struct str *out)
{
	struct gguf *g;
	struct err err;
	struct jsonw w;
	if (gguf_open(fd, &g, &err))
		return fail(out, &err);
	jsonw_init(&w, out, JSONW_PLAIN);
	inspect_write(g, verbose, &w);
	gguf_close(g);
	return 0;
}

int inspect_main(int argc, char **argv)
{
	bool verbose = false, template_text = false;
	const char *path = NULL;
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--verbose"))
			verbose = true;
		else if (!strcmp(argv[i], "--template"))
			template_text = true;
		else if (!path && *argv[i] != '-')
			path = argv[i];
		else {
			fprintf(stderr, "usage: cria inspect [--verbose | --template] [FILE]\n");
			return 2;
		}
	}
	struct str out = {0};
	struct err err;
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : RUNNER_FD, status;
	if (fd < 0) {
		err_set(&err, ERR_IO, "%s cannot be opened: %s", path, strerror(errno));
		status = fail(&out, &err);
	} else {
		runner_sandbox_files();
		runner_sandbox_calls();
		status = template_text ? inspect_template(fd, &out) : inspect(fd, verbose, &out);
	}
	str_addc(&out, '\n');
	size_t n = fwrite(out.data, 1, out.len, stdout);
	if (n != out.len || fflush(stdout))
		status = 1;
	str_release(&out);
	return status;
}
