#include "api/openai/openai.h"

#include <gnutls/crypto.h>
#include <stdio.h>
#include <string.h>

#include "api/api_model.h"
#include "base/bug.h"
#include "base/clock.h"

static void error_body(const char *msg, int status, struct str *out)
{
	struct jsonw w;
	jsonw_init(&w, out, JSONW_GO);
	jsonw_obj(&w);
	jsonw_key(&w, "error");
	jsonw_obj(&w);
	jsonw_kstr(&w, "message", msg);
	jsonw_kstr(&w, "type", status == 400 ? "invalid_request_error" : status == 404 ? "not_found_error" : "api_error");
	jsonw_key(&w, "param");
	jsonw_null(&w);
	jsonw_key(&w, "code");
	jsonw_null(&w);
	jsonw_obj_end(&w);
	jsonw_obj_end(&w);
}

void openai_reply(struct api_call *call, int status, struct str *body)
{
	str_addc(body, '\n');
	api_reply_text(call, status, OPENAI_JSON, body->data);
}

void openai_reply_err(struct api_call *call, const struct err *err)
{
	struct str body = {0};
	int status = api_status_of(err->code);
	error_body(err->msg, status, &body);
	openai_reply(call, status, &body);
	str_release(&body);
}

void openai_reply_early(struct api_call *call, const struct err *err)
{
	struct str body = {0};
	int status = api_status_of(err->code);
	error_body(err->msg, status, &body);
	api_reply_json(call, status, &body);
	str_release(&body);
}

void openai_late_error(struct gen_job *j, const char *msg, struct str *out)
{
	(void)j;
	str_adds(out, "data: ");
	error_body(msg, 500, out);
	str_adds(out, "\n\n");
}

void openai_status(struct gen_job *j, const char *status, const char *digest, int64_t total, int64_t completed, struct str *out)
{
	(void)j;
	(void)digest;
	str_printf(out, ": %s %lld/%lld\n\n", status, (long long)completed, (long long)total);
}

void openai_new_id(struct gen_job *j, const char *prefix)
{
	uint32_t n;
	gnutls_rnd(GNUTLS_RND_NONCE, &n, sizeof n);
	snprintf(j->reply_id, sizeof j->reply_id, "%s-%u", prefix, n);
	j->created_s = clock_wall_ns() / NS_PER_S;
}

/* From how many reused tokens on a usage tells them: every two chats share their template's first words, and clients that
 * compare an answer's members with Ollama's see those of Ollama. */
enum { CACHED_FROM_TOK = 128 };

void openai_usage(struct jsonw *w, const struct gen_stats *s)
{
	jsonw_key(w, "usage");
	jsonw_obj(w);
	jsonw_kint(w, "prompt_tokens", s->n_prompt);
	jsonw_kint(w, "completion_tokens", s->n_generated);
	jsonw_kint(w, "total_tokens", s->n_prompt + s->n_generated);
	if (s->n_cached >= CACHED_FROM_TOK) {
		jsonw_key(w, "prompt_tokens_details");
		jsonw_obj(w);
		jsonw_kint(w, "cached_tokens", s->n_cached);
		jsonw_obj_end(w);
	}
	jsonw_obj_end(w);
}

/* ---- options ---- */

static int stop_texts(json_t *stop, bool strict, json_t *options, struct err *err)
{
	if (!stop)
		return 0;
	json_t *list = json_array();
	json_object_set_new(options, "stop", list);
	if (json_is_string(stop))
		json_array_append(list, stop);
	for (size_t i = 0; i < json_array_size(stop); i++) {
		json_t *v = json_array_get(stop, i);
		if (json_is_string(v))
			json_array_append(list, v);
		else if (strict)
			return err_set(err, ERR_INVALID, "invalid type for 'stop' field: %s",
				       json_is_number(v) ? "float64" : json_is_boolean(v) ? "bool" : "object");
	}
	return 0;
}

int openai_options(const struct openai_sampling *s, bool strict_stop, json_t **ret, struct err *err)
{
	json_t *o = json_object();
	const struct {
		const char *name;
		json_t *v;
	} given[] = {{"num_predict", s->max_completion_tokens ? s->max_completion_tokens : s->max_tokens},
		     {"seed", s->seed},
		     {"frequency_penalty", s->frequency_penalty},
		     {"presence_penalty", s->presence_penalty}};
	json_object_set_new(o, "temperature", s->temperature ? json_incref(s->temperature) : json_real(1.0));
	json_object_set_new(o, "top_p", s->top_p ? json_incref(s->top_p) : json_real(1.0));
	for (size_t i = 0; i < ARRAY_LEN(given); i++)
		if (given[i].v)
			json_object_set(o, given[i].name, given[i].v);
	int rc = stop_texts(s->stop, strict_stop, o, err);
	if (rc) {
		json_decref(o);
		o = NULL;
	}
	*ret = o;
	return rc;
}

int openai_think(struct api_call *call, const json_t *reasoning, const char *effort, struct api_think *ret, struct err *err)
{
	static const struct {
		const char *effort;
		struct api_think think;
	} efforts[] = {{"", {-1, NULL}},        {"none", {0, NULL}},    {"minimal", {1, "low"}}, {"low", {1, "low"}},
		       {"medium", {1, "medium"}}, {"high", {1, "high"}}, {"xhigh", {1, "max"}},   {"ultra", {1, "max"}},
		       {"max", {1, "max"}}};
	const json_t *inner = json_get_nonnull(reasoning, "effort");
	if (json_is_string(inner) && *api_text(call, inner))
		effort = api_text(call, inner);
	for (size_t i = 0; i < ARRAY_LEN(efforts); i++) {
		if (strcmp(efforts[i].effort, effort))
			continue;
		*ret = efforts[i].think;
		return 0;
	}
	return err_set(err, ERR_INVALID,
		       "invalid reasoning value: \"%s\" (must be \"minimal\", \"low\", \"medium\", \"high\", \"xhigh\", \"ultra\", "
		       "\"max\", or \"none\")", effort);
}

/* ---- messages ---- */

static int image_part(const json_t *part, json_t *msg, struct err *err)
{
	static const char *const prefixes[] = {"data:image/jpeg;base64,", "data:image/jpg;base64,", "data:image/png;base64,",
					       "data:image/webp;base64,", "data:;base64,"};
	const json_t *v = json_get_nonnull(part, "image_url");
	const char *url = json_string_value(json_is_object(v) ? json_get(v, "url") : v);
	struct err ignored;
	if (!url)
		return err_set(err, ERR_INVALID, "invalid message format");
	if (starts_with(url, "http://") || starts_with(url, "https://"))
		return err_set(err, ERR_INVALID, "image URLs are not currently supported, please use base64 encoded data instead");
	for (size_t i = 0; i < ARRAY_LEN(prefixes); i++) {
		if (!starts_with(url, prefixes[i]))
			continue;
		const char *data = url + strlen(prefixes[i]);
		if (api_base64_decode(data, strlen(data), NULL, &ignored))
			break;
		json_object_set_new(msg, "images", json_pack("[s]", data));
		return 0;
	}
	return err_set(err, ERR_INVALID, "invalid image input");
}

static int audio_part(const json_t *part, json_t *msg, struct err *err)
{
	const json_t *v = json_get_nonnull(part, "input_audio");
	struct err why;
	if (!json_is_object(v))
		return err_set(err, ERR_INVALID, "invalid input_audio format");
	const char *data = json_string_value(json_get(v, "data"));
	if (!data || !*data)
		return err_set(err, ERR_INVALID, "invalid input_audio format: missing data");
	if (api_base64_decode(data, strlen(data), NULL, &why))
		return err_set(err, ERR_INVALID, "invalid input_audio base64 data: %s", why.msg);
	json_object_set_new(msg, "images", json_pack("[s]", data));
	return 0;
}

/* One part of a content list as a message of its own. */
static int part_message(const char *role, const json_t *part, json_t *list, struct err *err)
{
	const char *type = api_json_text(part, "type");
	json_t *msg = json_pack("{s:s,s:s}", "role", role, "content", ""), *text = json_get(part, "text");
	json_array_append_new(list, msg);
	if (!strcmp(type, "image_url"))
		return image_part(part, msg, err);
	if (!strcmp(type, "input_audio"))
		return audio_part(part, msg, err);
	if (strcmp(type, "text") || !json_is_string(text))
		return err_set(err, ERR_INVALID, "invalid message format");
	json_object_set(msg, "content", text);
	return 0;
}

static int native_calls(const json_t *calls, json_t **ret, struct err *err)
{
	*ret = json_array();
	for (size_t i = 0; i < json_array_size(calls); i++) {
		const json_t *c = json_array_get(calls, i), *f = json_get(c, "function"), *args = json_get_nonnull(f, "arguments");
		json_t *parsed = NULL;
		struct err ignored;
		const char *text = json_string_value(args);
		if (text && json_parse_all(text, json_string_length(args), &parsed, &ignored) == 0 && !json_is_object(parsed)) {
			json_decref(parsed);
			parsed = NULL;
		}
		if (!parsed)
			return err_set(err, ERR_INVALID, "invalid tool call arguments");
		json_t *call = json_pack("{s:{s:s,s:o}}", "function", "name", api_json_text(f, "name"), "arguments", parsed);
		if (*api_json_text(c, "id"))
			json_object_set(call, "id", json_get(c, "id"));
		json_array_append_new(*ret, call);
	}
	return 0;
}

/* The name of the function that a tool message answers: given, or found by the id of an earlier call (the last counts). */
static const char *tool_name(const json_t *messages, size_t i_until, const json_t *msg)
{
	const char *name = api_json_text(msg, "name"), *id = api_json_text(msg, "tool_call_id");
	if (*name || !*id)
		return name;
	for (size_t i = 0; i < i_until; i++) {
		const json_t *calls = json_get(json_array_get(messages, i), "tool_calls");
		for (size_t k = 0; k < json_array_size(calls); k++)
			if (!strcmp(api_json_text(json_array_get(calls, k), "id"), id))
				name = api_json_text(json_get(json_array_get(calls, k), "function"), "name");
	}
	return name;
}

static const char *go_type(const json_t *v)
{
	return !v || json_is_null(v) ? "<nil>" : json_is_number(v) ? "float64" : json_is_boolean(v) ? "bool" : "map[string]interface {}";
}

/* What belongs to the whole message goes to its last native message. */
static void set_extras(json_t *last, json_t *calls, const json_t *msg, const char *name)
{
	if (json_array_size(calls))
		json_object_set(last, "tool_calls", calls);
	if (*api_json_text(msg, "reasoning"))
		json_object_set(last, "thinking", json_get(msg, "reasoning"));
	if (*api_json_text(msg, "tool_call_id"))
		json_object_set(last, "tool_call_id", json_get(msg, "tool_call_id"));
	if (*name)
		json_object_set_new(last, "tool_name", json_string(name));
}

static int add_message(const json_t *messages, size_t i, json_t *list, struct err *err)
{
	const json_t *msg = json_array_get(messages, i), *content = json_get_nonnull(msg, "content");
	const char *role = api_json_text(msg, "role");
	json_t *calls = NULL;
	int rc = native_calls(json_get_nonnull(msg, "tool_calls"), &calls, err);
	if (!rc && json_is_array(content)) {
		for (size_t k = 0; !rc && k < json_array_size(content); k++)
			rc = part_message(role, json_array_get(content, k), list, err);
	} else if (!rc && !json_is_string(content) && (content || !json_array_size(calls))) {
		rc = err_set(err, ERR_INVALID, "invalid message content type: %s", go_type(content));
	} else if (!rc) {
		json_t *m = json_pack("{s:s}", "role", role);
		json_object_set_new(m, "content", content ? json_incref((json_t *)content) : json_string(""));
		json_array_append_new(list, m);
	}
	if (!rc && json_array_size(list))
		set_extras(json_array_get(list, json_array_size(list) - 1), calls, msg,
			   !strcmp(role, "tool") ? tool_name(messages, i, msg) : "");
	json_decref(calls);
	return rc;
}

int openai_messages(struct api_call *call, const json_t *messages, json_t **ret, struct err *err)
{
	json_t *list = json_array();
	int rc = 0;
	(void)call;
	for (size_t i = 0; !rc && i < json_array_size(messages); i++) {
		const json_t *m = json_array_get(messages, i);
		rc = json_is_object(m) ? add_message(messages, i, list, err)
				       : api_type_error(m, "ChatCompletionRequest", "messages", "openai.Message", err);
	}
	if (rc) {
		json_decref(list);
		list = NULL;
	}
	*ret = list;
	return rc;
}
