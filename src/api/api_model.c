#include "api/api_model.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/bug.h"
#include "base/log.h"

const char *api_json_text(const json_t *obj, const char *key)
{
	const char *z = json_string_value(json_get(obj, key));
	return z ? z : "";
}

int64_t api_json_int(const json_t *obj, const char *key)
{
	const json_t *v = json_get(obj, key);
	return json_is_real(v) ? (int64_t)json_real_value(v) : json_integer_value(v);
}

/* ---- names ---- */

static bool ends_with_nocase(const char *s, size_t n, const char *suffix)
{
	size_t k = strlen(suffix);
	return n >= k && !strncasecmp(s + n - k, suffix, k);
}

/* Cuts ":local" off; ERR_FORBIDDEN for names of cloud models (":cloud", or a tag ending in "-cloud"). */
static int strip_source(const char *text, struct str *out, struct err *err)
{
	size_t n = strlen(text);
	while (n && isspace((unsigned char)*text)) {
		text++;
		n--;
	}
	while (n && isspace((unsigned char)text[n - 1]))
		n--;
	bool local = ends_with_nocase(text, n, ":local");
	if (local)
		n -= strlen(":local");
	const char *colon = memrchr(text, ':', n);
	bool cloud = ends_with_nocase(text, n, ":cloud") ||
		     (colon && !memchr(colon, '/', (size_t)(text + n - colon)) && ends_with_nocase(text, n, "-cloud"));
	if (cloud && (local || ends_with_nocase(text, n - strlen(":cloud"), ":local")))
		return err_set(err, ERR_INVALID, "use either :local or :cloud, not both: \"%s\"", text);
	if (cloud)
		return err_set(err, ERR_FORBIDDEN, "ollama cloud is disabled: remote model is unavailable");
	str_add(out, text, n);
	return 0;
}

int api_model_open(struct api_ctx *ctx, const char *text, struct store_model **ret, struct err *err)
{
	struct str name_text = {0};
	struct store_name name;
	*ret = NULL;
	if (!*text)
		return err_set(err, ERR_NOT_FOUND, "model '' not found");
	int rc = strip_source(text, &name_text, err);
	if (!rc && !store_name_parse(str_cstr(&name_text), &name))
		rc = err_set(err, ERR_INVALID, "invalid model name");
	if (!rc && (rc = store_resolve(ctx->store, &name, ret, err)) == ERR_NOT_FOUND) {
		err_set(err, rc, "model '%s' not found", text);
		log_info("model missing name=\"%s\": add its file with: cria create NAME -f Modelfile", text);
	}
	str_release(&name_text);
	return rc;
}

/* The layer that template_text is read from: the last one. */
static const char *template_digest(const struct store_model *m)
{
	for (size_t i = m->n_layer; i-- > 0;)
		if (ends_with(m->layers[i].media_type, ".template") || ends_with(m->layers[i].media_type, ".prompt"))
			return m->layers[i].digest;
	return "";
}

/* Adds "go_template", what the model's Go template can do. A broken one can do nothing: who uses it is told why. */
static int add_template_facts(struct api_ctx *ctx, const struct store_model *m, json_t *facts, struct err *err)
{
	json_t *go;
	int rc = sched_inspect_template(ctx->sched, m->template_text, template_digest(m), &go, err);
	if (rc && rc != ERR_FORMAT)
		return rc;
	json_object_set_new(facts, "go_template", rc ? json_object() : go);
	return 0;
}

int api_model_facts(struct api_ctx *ctx, const struct store_model *m, bool verbose, json_t **ret, struct err *err)
{
	int rc = 0;
	*ret = NULL;
	if (m->model_path)
		rc = sched_inspect(ctx->sched, m->model_path, m->model_digest, verbose, ret, err);
	else
		*ret = json_object();
	if (!rc && m->template_text && (rc = add_template_facts(ctx, m, *ret, err))) {
		json_decref(*ret);
		*ret = NULL;
	}
	return rc;
}

/* ---- templates ---- */

/* Whether a fact about the Go template holds. */
static bool go_can(const json_t *facts, const char *what)
{
	return json_is_true(json_get(json_get(facts, "go_template"), what));
}

static bool jinja_tool_round_trip(const char *t)
{
	return strstr(t, "tool_calls") &&
	       (strstr(t, "tool_response") || strstr(t, "'tool'") || strstr(t, "\"tool\"") || strstr(t, "ipython"));
}

static bool is_gpt_oss(const struct store_model *m)
{
	const char *family = api_json_text(m->config, "model_family");
	return !strcmp(family, "gptoss") || !strcmp(family, "gpt-oss");
}

bool api_model_native(const struct store_model *m, const json_t *facts)
{
	const char *go = m->template_text, *jinja = api_json_text(facts, "chat_template");
	if (*api_json_text(m->config, "renderer") || *api_json_text(m->config, "parser"))
		return false;
	if (!go)
		return true;
	if (!*jinja || (is_gpt_oss(m) && strstr(go, "<|start|>") && strstr(go, "<|end|>")))
		return false;
	bool go_tools = go_can(facts, "tools"), jinja_tools = json_is_true(json_get(facts, "template_tools"));
	int n_go = go_tools + go_can(facts, "thinking") + go_can(facts, "insert");
	int n_jinja = jinja_tools + json_is_true(json_get(facts, "template_thinking"));
	bool go_trip = go_can(facts, "tool_round_trip"), jinja_trip = jinja_tool_round_trip(jinja);
	if (n_jinja > n_go)
		return !go_trip || jinja_trip;
	return n_jinja == n_go && go_tools && jinja_tools && jinja_trip && !go_trip;
}

/* ---- capabilities ---- */

bool api_caps_has(const struct api_caps *c, const char *name)
{
	for (size_t i = 0; i < c->n; i++)
		if (!strcmp(c->names[i], name))
			return true;
	return false;
}

static void add_cap(struct api_caps *c, bool have, const char *name)
{
	if (have && c->n < API_CAPS_MAX && !api_caps_has(c, name))
		c->names[c->n++] = name;
}

void api_model_caps(const struct store_model *m, const json_t *facts, bool native, struct api_caps *ret)
{
	const json_t *listed = json_get(m->config, "capabilities");
	*ret = (struct api_caps){0};
	for (size_t i = 0; i < json_array_size(listed); i++) {
		const char *name = json_string_value(json_array_get(listed, i));
		if (name)
			add_cap(ret, true, name);
	}
	if (native) {
		add_cap(ret, json_is_true(json_get(facts, "template_tools")), "tools");
		add_cap(ret, json_is_true(json_get(facts, "template_thinking")), "thinking");
	}
	if (m->model_path) {
		bool encoder = json_get_nonnull(facts, "pooling_type");
		add_cap(ret, encoder, "embedding");
		add_cap(ret, !encoder, "completion");
	}
	add_cap(ret, m->projector_path || json_is_true(json_get(facts, "has_vision")), "vision");
	add_cap(ret, go_can(facts, "tools"), "tools");
	add_cap(ret, go_can(facts, "insert"), "insert");
	add_cap(ret, go_can(facts, "thinking"), "thinking");
	add_cap(ret, is_gpt_oss(m), "thinking");
}

/* ---- details ---- */

void api_param_size_text(int64_t n, char out[24])
{
	double v = (double)n;
	if (n >= 1000000000)
		snprintf(out, 24, fmod(v, 1e9) == 0 ? "%.0fB" : "%.1fB", v / 1e9);
	else if (n >= 1000000)
		snprintf(out, 24, fmod(v, 1e6) == 0 ? "%.0fM" : "%.2fM", v / 1e6);
	else if (n >= 1000)
		snprintf(out, 24, "%.0fK", v / 1e3);
	else
		snprintf(out, 24, "%lld", (long long)n);
}

static void write_families(struct jsonw *w, const json_t *families)
{
	jsonw_key(w, "families");
	if (!json_array_size(families)) {
		jsonw_null(w);
		return;
	}
	jsonw_value(w, families);
}

void api_details_write(struct jsonw *w, const struct store_model *m, const json_t *facts, bool with_lengths)
{
	static const char *const lengths[] = {"context_length", "embedding_length"};
	jsonw_obj(w);
	jsonw_kstr(w, "parent_model", m->parent_model);
	jsonw_kstr(w, "format", api_json_text(m->config, "model_format"));
	jsonw_kstr(w, "family", api_json_text(m->config, "model_family"));
	write_families(w, json_get(m->config, "model_families"));
	jsonw_kstr(w, "parameter_size", api_json_text(m->config, "model_type"));
	jsonw_kstr(w, "quantization_level", api_json_text(m->config, "file_type"));
	for (size_t i = 0; with_lengths && i < ARRAY_LEN(lengths); i++) {
		int64_t n = api_json_int(m->config, lengths[i]);
		if (!n)
			n = api_json_int(facts, lengths[i]);
		if (n)
			jsonw_kint(w, lengths[i], n);
	}
	jsonw_obj_end(w);
}
