#include "ipc/ipc_msg.h"

#include <limits.h>
#include <string.h>

#include "base/bug.h"
#include "base/json.h"
#include "base/mem.h"
#include "ipc/ipc_field.h"

/* ---- tables: one row a member ---- */

#define AT(s, m) .key = #m, .at = offsetof(struct s, m)
#define STR(s, m) {AT(s, m), .type = F_STR}
#define I64(s, m, lo, hi) {AT(s, m), .type = F_I64, .must = true, .min = (lo), .max = (hi)}
#define INT(s, m, lo, hi) {AT(s, m), .type = F_INT, .must = true, .min = (lo), .max = (hi)}
#define F64(s, m) {AT(s, m), .type = F_F64, .must = true}
#define BOOL(s, m) {AT(s, m), .type = F_BOOL, .must = true}
#define JSON(s, m, mask) {AT(s, m), .type = F_JSON, .json_mask = (mask)}
#define IDS(s, m) {AT(s, m), .type = F_IDS}
#define SUB(s, m, table) {AT(s, m), .type = F_SUB, .must = true, .sub = (table)}
#define ENUM(s, m, words) {AT(s, m), .type = F_ENUM, .must = true, .names = (words)}
#define END {.key = NULL}

#define BIG INT64_MAX
#define ARRAY JSON_BIT(JSON_ARRAY)
#define OBJECT JSON_BIT(JSON_OBJECT)

_Static_assert(offsetof(struct gen_opts, n_stop) == offsetof(struct gen_opts, stop) + sizeof(char **),
	       "F_STRS: the count follows the list");
_Static_assert(sizeof(enum gen_kind) == sizeof(unsigned) && sizeof(enum done_reason) == sizeof(unsigned), "F_ENUM reads unsigned");

static const struct ipc_field load_req_table[] = {
	STR(load_req, name),
	I64(load_req, n_ctx_max, 0, BIG),
	I64(load_req, kv_bytes, 0, BIG),
	INT(load_req, n_thread, 0, 1 << 16),
	BOOL(load_req, speculation),
	STR(load_req, kernels),
	STR(load_req, cpu),
	STR(load_req, kv_type),
	STR(load_req, template_text),
	END,
};

static const struct ipc_field loaded_info_table[] = {
	STR(loaded_info, arch),
	I64(loaded_info, n_ctx_train, 0, BIG),
	I64(loaded_info, n_ctx_max, 0, BIG),
	INT(loaded_info, n_vocab, 0, INT_MAX),
	INT(loaded_info, n_embd, 0, INT_MAX),
	INT(loaded_info, pooling, INT_MIN, INT_MAX),
	BOOL(loaded_info, is_encoder),
	BOOL(loaded_info, has_template),
	I64(loaded_info, weights_bytes, 0, BIG),
	I64(loaded_info, kv_bytes, 0, BIG),
	I64(loaded_info, other_bytes, 0, BIG),
	I64(loaded_info, kv_bytes_per_tok, 0, BIG),
	STR(loaded_info, kernels),
	INT(loaded_info, n_thread, 0, INT_MAX),
	END,
};

static const struct ipc_field opts_table[] = {
	I64(gen_opts, num_ctx, 0, BIG),
	I64(gen_opts, num_predict, INT64_MIN, BIG),
	I64(gen_opts, num_keep, INT64_MIN, BIG),
	I64(gen_opts, seed, INT64_MIN, BIG),
	F64(gen_opts, temperature),
	F64(gen_opts, top_p),
	F64(gen_opts, min_p),
	F64(gen_opts, typical_p),
	F64(gen_opts, repeat_penalty),
	F64(gen_opts, presence_penalty),
	F64(gen_opts, frequency_penalty),
	I64(gen_opts, top_k, INT64_MIN, BIG),
	I64(gen_opts, repeat_last_n, INT64_MIN, BIG),
	{AT(gen_opts, stop), .type = F_STRS},
	BOOL(gen_opts, ignore_eos),
	END,
};

static const char *const kind_words[] = {"chat", "prompt", "embed", NULL};

static const struct ipc_field gen_req_table[] = {
	ENUM(gen_req, kind, kind_words),
	STR(gen_req, req_id),
	JSON(gen_req, messages, ARRAY),
	JSON(gen_req, tools, ARRAY),
	JSON(gen_req, template_kwargs, OBJECT),
	STR(gen_req, go_template),
	BOOL(gen_req, custom_template),
	STR(gen_req, prompt),
	STR(gen_req, suffix),
	IDS(gen_req, context),
	JSON(gen_req, inputs, ARRAY),
	I64(gen_req, dimensions, 0, BIG),
	BOOL(gen_req, normalize),
	BOOL(gen_req, truncate),
	BOOL(gen_req, shift),
	JSON(gen_req, format, OBJECT | JSON_BIT(JSON_STRING)),
	INT(gen_req, think, -1, 1),
	STR(gen_req, think_level),
	BOOL(gen_req, logprobs),
	INT(gen_req, top_logprobs, 0, 20),
	BOOL(gen_req, want_context),
	BOOL(gen_req, render_only),
	SUB(gen_req, opts, opts_table),
	END,
};

/* Read after the table above: what gen_req_set_num_ctx appended. */
static const struct ipc_field num_ctx_row[] = {
	{.key = "num_ctx", .at = offsetof(struct gen_req, opts.num_ctx), .type = F_I64, .min = 1, .max = BIG},
	END,
};

static const struct ipc_field stats_table[] = {
	I64(gen_stats, n_prompt, 0, BIG),
	I64(gen_stats, n_cached, 0, BIG),
	I64(gen_stats, n_generated, 0, BIG),
	I64(gen_stats, n_drafted, 0, BIG),
	I64(gen_stats, n_accepted, 0, BIG),
	I64(gen_stats, prefill_ns, 0, BIG),
	I64(gen_stats, decode_ns, 0, BIG),
	I64(gen_stats, queued_ns, 0, BIG),
	END,
};

static const char *const event_words[] = {"text", "tool_call", "rendered", "embedding", "done", "error", NULL};
static const char *const reason_words[] = {"stop", "length", "canceled", NULL};

static const struct ipc_field event_kind_row[] = {ENUM(gen_event, kind, event_words), END};
static const struct ipc_field event_text_table[] = {
	STR(gen_event, text), STR(gen_event, thinking), JSON(gen_event, logprobs, ARRAY), END,
};
static const struct ipc_field event_tool_table[] = {JSON(gen_event, tool_call, OBJECT), END};
static const struct ipc_field event_rendered_table[] = {STR(gen_event, text), END};
static const struct ipc_field event_done_table[] = {
	ENUM(gen_event, reason, reason_words), SUB(gen_event, stats, stats_table), IDS(gen_event, context), END,
};
static const struct ipc_field event_error_table[] = {
	{AT(gen_event, code), .type = F_CODE, .must = true}, STR(gen_event, text), END,
};

/* The members that an event of each kind has; EV_EMBEDDING travels raw. */
static const struct ipc_field *const event_tables[] = {
	[EV_TEXT] = event_text_table,
	[EV_TOOL_CALL] = event_tool_table,
	[EV_RENDERED] = event_rendered_table,
	[EV_EMBEDDING] = NULL,
	[EV_DONE] = event_done_table,
	[EV_ERROR] = event_error_table,
};

static const struct ipc_field runner_stats_table[] = {
	INT(runner_stats, n_active, 0, INT_MAX),
	INT(runner_stats, n_queued, 0, INT_MAX),
	I64(runner_stats, kv_used_bytes, 0, BIG),
	I64(runner_stats, kv_budget_bytes, 0, BIG),
	I64(runner_stats, n_step, 0, BIG),
	I64(runner_stats, step_age_ns, 0, BIG),
	I64(runner_stats, major_faults, 0, BIG),
	I64(runner_stats, rss_bytes, 0, BIG),
	END,
};

struct failed {
	int code;
	char *msg;
};

static const struct ipc_field failed_table[] = {
	{AT(failed, code), .type = F_CODE, .must = true}, {AT(failed, msg), .type = F_STR, .must = true}, END,
};

struct progress {
	double share;
};

static const struct ipc_field progress_table[] = {F64(progress, share), END};

/* ---- whole messages ---- */

static void encode(const struct ipc_field *table, const void *base, struct str *out)
{
	struct jsonw w;
	jsonw_init(&w, out, JSONW_PLAIN);
	jsonw_obj(&w);
	ipc_field_write(&w, table, base);
	jsonw_obj_end(&w);
}

/* The payload as an object. Read by jansson directly and not through json_parse: our own writer made it, so nothing needs
 * repair, and 19-digit integers (seeds) stay exact. */
static int parse_object(const char *data, size_t n, json_t **ret, struct err *err)
{
	json_error_t e;
	*ret = json_loadb(n ? data : "", n, JSON_ALLOW_NUL, &e);
	if (!*ret)
		return err_set(err, ERR_INVALID, "message is not JSON: %s near byte %d", e.text, e.position);
	if (json_is_object(*ret))
		return 0;
	json_decref(*ret);
	*ret = NULL;
	return err_set(err, ERR_INVALID, "message is not a JSON object");
}

static int decode(const char *data, size_t n, const struct ipc_field *table, void *ret, struct err *err)
{
	json_t *obj;
	int rc = parse_object(data, n, &obj, err);
	if (rc)
		return rc;
	rc = ipc_field_read(obj, table, ret, err);
	if (rc)
		ipc_field_release(table, ret);
	json_decref(obj);
	return rc;
}

/* ---- loading ---- */

void load_req_release(struct load_req *r)
{
	ipc_field_release(load_req_table, r);
}

void load_req_encode(const struct load_req *r, struct str *out)
{
	encode(load_req_table, r, out);
}

int load_req_decode(const char *data, size_t n, struct load_req *ret, struct err *err)
{
	*ret = (struct load_req){0};
	return decode(data, n, load_req_table, ret, err);
}

void loaded_info_release(struct loaded_info *i)
{
	ipc_field_release(loaded_info_table, i);
}

void loaded_info_encode(const struct loaded_info *i, struct str *out)
{
	encode(loaded_info_table, i, out);
}

int loaded_info_decode(const char *data, size_t n, struct loaded_info *ret, struct err *err)
{
	*ret = (struct loaded_info){0};
	return decode(data, n, loaded_info_table, ret, err);
}

void load_progress_encode(double share, struct str *out)
{
	encode(progress_table, &(struct progress){share}, out);
}

int load_progress_decode(const char *data, size_t n, double *ret_share, struct err *err)
{
	struct progress p = {0};
	int rc = decode(data, n, progress_table, &p, err);
	if (!rc && !(p.share >= 0 && p.share <= 1))
		rc = err_set(err, ERR_INVALID, "field \"share\" is %g, it must be from 0 to 1", p.share);
	*ret_share = rc ? 0 : p.share;
	return rc;
}

void load_failed_encode(const struct err *failed, struct str *out)
{
	encode(failed_table, &(struct failed){failed->code, (char *)failed->msg}, out);
}

int load_failed_decode(const char *data, size_t n, struct err *ret_failed, struct err *err)
{
	struct failed f = {0};
	int rc = decode(data, n, failed_table, &f, err);
	if (rc)
		return rc;
	err_set(ret_failed, f.code, "%s", f.msg);
	ipc_field_release(failed_table, &f);
	return 0;
}

/* ---- requests ---- */

void gen_opts_default(struct gen_opts *o)
{
	*o = (struct gen_opts){
		.num_predict = -1,
		.num_keep = 4,
		.seed = -1,
		.temperature = 0.8,
		.top_k = 40,
		.top_p = 0.9,
		.typical_p = 1.0,
		.repeat_last_n = 64,
		.repeat_penalty = 1.0,
	};
}

void gen_req_init(struct gen_req *r)
{
	*r = (struct gen_req){.normalize = true, .truncate = true, .shift = true, .think = -1};
	gen_opts_default(&r->opts);
}

void gen_req_release(struct gen_req *r)
{
	ipc_field_release(gen_req_table, r);
}

void gen_req_encode(const struct gen_req *r, struct str *out)
{
	encode(gen_req_table, r, out);
}

void gen_req_set_num_ctx(struct str *encoded, int64_t num_ctx)
{
	BUG_ON(!encoded->len || encoded->data[encoded->len - 1] != '}');
	str_truncate(encoded, encoded->len - 1);
	str_printf(encoded, ",\"num_ctx\":%lld}", (long long)num_ctx);
}

/* What each kind needs besides the table's checks. */
static int check_kind(const struct gen_req *r, struct err *err)
{
	if (r->kind == GEN_CHAT && !r->messages)
		return err_set(err, ERR_INVALID, "field \"messages\" is missing");
	if (r->kind == GEN_EMBED && !r->inputs)
		return err_set(err, ERR_INVALID, "field \"inputs\" is missing");
	if (r->suffix && !(r->kind == GEN_PROMPT && r->go_template && r->prompt))
		return err_set(err, ERR_INVALID, "field \"suffix\" needs the fields \"prompt\" and \"go_template\"");
	for (size_t i = 0; i < json_array_size(r->inputs); i++)
		if (!json_is_string(json_array_get(r->inputs, i)))
			return err_set(err, ERR_INVALID, "field \"inputs\" must be a list of strings");
	for (size_t i = 0; i < json_array_size(r->messages); i++)
		if (!json_is_object(json_array_get(r->messages, i)))
			return err_set(err, ERR_INVALID, "field \"messages\" must be a list of objects");
	return 0;
}

int gen_req_decode(const char *data, size_t n, struct gen_req *ret, struct err *err)
{
	json_t *obj;
	gen_req_init(ret);
	int rc = parse_object(data, n, &obj, err);
	if (rc)
		return rc;
	rc = ipc_field_read(obj, gen_req_table, ret, err);
	if (!rc)
		rc = ipc_field_read(obj, num_ctx_row, ret, err);
	if (!rc)
		rc = check_kind(ret, err);
	if (rc)
		gen_req_release(ret);
	json_decref(obj);
	return rc;
}

/* ---- events ---- */

void gen_event_release(struct gen_event *e)
{
	if (event_tables[e->kind])
		ipc_field_release(event_tables[e->kind], e);
}

void gen_event_encode(const struct gen_event *e, struct str *out)
{
	struct jsonw w;
	BUG_ON(!event_tables[e->kind]);
	jsonw_init(&w, out, JSONW_PLAIN);
	jsonw_obj(&w);
	ipc_field_write(&w, event_kind_row, e);
	ipc_field_write(&w, event_tables[e->kind], e);
	jsonw_obj_end(&w);
}

int gen_event_decode(const char *data, size_t n, struct gen_event *ret, struct err *err)
{
	json_t *obj;
	*ret = (struct gen_event){0};
	int rc = parse_object(data, n, &obj, err);
	if (rc)
		return rc;
	rc = ipc_field_read(obj, event_kind_row, ret, err);
	if (!rc && !event_tables[ret->kind])
		rc = err_set(err, ERR_INVALID, "an embedding must come as a raw frame");
	else if (!rc)
		rc = ipc_field_read(obj, event_tables[ret->kind], ret, err);
	if (!rc && ret->kind == EV_TOOL_CALL && !ret->tool_call)
		rc = err_set(err, ERR_INVALID, "field \"tool_call\" is missing");
	if (!rc && (ret->kind == EV_ERROR || ret->kind == EV_RENDERED) && !ret->text)
		rc = err_set(err, ERR_INVALID, "field \"text\" is missing");
	if (rc)
		gen_event_release(ret);
	json_decref(obj);
	return rc;
}

void gen_event_encode_embedding(const struct gen_event *e, struct str *out)
{
	struct ipc_embedding_head h = {
		.i_input = (uint32_t)e->i_input, .n_values = (uint32_t)e->n_values, .n_input_tok = (uint64_t)e->n_input_tok};
	str_add(out, &h, sizeof h);
	str_add(out, e->values, e->n_values * sizeof *e->values);
}

int gen_event_decode_embedding(const char *data, size_t n, struct gen_event *ret, struct err *err)
{
	struct ipc_embedding_head h;
	*ret = (struct gen_event){.kind = EV_EMBEDDING};
	if (n < sizeof h)
		return err_set(err, ERR_INVALID, "embedding frame of %zu bytes is too short", n);
	memcpy(&h, data, sizeof h);
	n -= sizeof h;
	if (h.i_input > INT_MAX || h.n_input_tok > INT64_MAX || n / sizeof(float) != h.n_values || n % sizeof(float))
		return err_set(err, ERR_INVALID, "embedding frame with %zu bytes of values does not hold its %u values", n, h.n_values);
	BUG_ON((uintptr_t)data % _Alignof(float));
	ret->i_input = (int)h.i_input;
	ret->n_input_tok = (int64_t)h.n_input_tok;
	ret->values = (const float *)(const void *)(data + sizeof h);
	ret->n_values = h.n_values;
	return 0;
}

void runner_stats_encode(const struct runner_stats *s, struct str *out)
{
	encode(runner_stats_table, s, out);
}

int runner_stats_decode(const char *data, size_t n, struct runner_stats *ret, struct err *err)
{
	*ret = (struct runner_stats){0};
	return decode(data, n, runner_stats_table, ret, err);
}
