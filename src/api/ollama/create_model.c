#include "api/ollama/create_model.h"

#include <stdlib.h>
#include <string.h>

#include "base/bug.h"
#include "base/log.h"
#include "base/mem.h"

void create_model_init(struct create_model *c, struct api_ctx *ctx)
{
	*c = (struct create_model){.ctx = ctx, .config = json_object(), .facts = json_object()};
}

void create_model_release(struct create_model *c)
{
	for (size_t i = 0; i < c->layers.n; i++)
		mem_free(c->layers.data[i].from);
	vec_release(&c->layers);
	json_decref(c->config);
	json_decref(c->facts);
}

/* ---- layers ---- */

/* Layers that a new model takes over, as literals, so that a layer's media type needs no owner. */
static const char *const media_types[] = {
	MEDIA("model"), MEDIA("projector"), MEDIA("adapter"), MEDIA("draft"), MEDIA("template"), MEDIA("prompt"), MEDIA("system"),
	MEDIA("params"), MEDIA("messages"), MEDIA("license"),
};

static const char *known_media(const char *media_type)
{
	for (size_t i = 0; i < ARRAY_LEN(media_types); i++)
		if (!strcmp(media_types[i], media_type))
			return media_types[i];
	return NULL;
}

bool create_has(const struct create_model *c, const char *media_type)
{
	for (size_t i = 0; i < c->layers.n; i++)
		if (!strcmp(c->layers.data[i].media_type, media_type))
			return true;
	return false;
}

static void remove_layers(struct create_model *c, const char *media_type)
{
	size_t kept = 0;
	for (size_t i = 0; i < c->layers.n; i++) {
		if (!strcmp(c->layers.data[i].media_type, media_type))
			mem_free(c->layers.data[i].from);
		else
			c->layers.data[kept++] = c->layers.data[i];
	}
	c->layers.n = kept;
}

static int add_bytes(struct create_model *c, const char *media_type, const void *data, size_t n, struct err *err)
{
	struct create_layer l = {.media_type = media_type, .size_bytes = (int64_t)n};
	int rc = store_blob_put(c->ctx->store, data, n, l.digest, &l.existed, err);
	if (!rc)
		vec_push(&c->layers, l);
	return rc;
}

int create_set_text(struct create_model *c, const char *media_type, const char *text, struct err *err)
{
	if (!text || !*text)
		return 0;
	remove_layers(c, media_type);
	if (!strcmp(media_type, MEDIA("template")))
		remove_layers(c, MEDIA("prompt"));
	return add_bytes(c, media_type, text, strlen(text), err);
}

int create_add_license(struct create_model *c, const char *text, struct err *err)
{
	return add_bytes(c, MEDIA("license"), text, strlen(text), err);
}

/* ---- where it comes from ---- */

static void hand_down(json_t *config, const json_t *base)
{
	static const char *const keys[] = {"renderer", "parser", "requires", "capabilities", "model_format"};
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		json_t *v = json_get_nonnull(base, keys[i]);
		if (v)
			json_object_set(config, keys[i], v);
	}
}

int create_from_model(struct create_model *c, const struct store_model *base, struct err *err)
{
	struct str name = {0};
	json_t *facts;
	int rc = api_model_facts(c->ctx, base, false, &facts, err);
	if (rc)
		return rc;
	json_decref(c->facts);
	c->facts = facts;
	store_name_short(&base->name, &name);
	for (size_t i = 0; i < base->n_layer; i++) {
		const struct store_layer *l = &base->layers[i];
		const char *media = known_media(l->media_type);
		if (!media)
			continue;
		struct create_layer n = {.media_type = media, .size_bytes = l->size_bytes, .existed = true};
		snprintf(n.digest, sizeof n.digest, "%s", l->digest);
		n.from = !strcmp(media, MEDIA("model")) ? mem_strdup(name.data) : NULL;
		vec_push(&c->layers, n);
	}
	hand_down(c->config, base->config);
	str_release(&name);
	return 0;
}

/* What a GGUF file is to a model: its own metadata tells. */
static const char *gguf_media(const json_t *facts, bool adapter)
{
	const char *type = api_json_text(json_get(facts, "kv"), "general.type");
	bool has_blocks = api_json_int(facts, "block_count") > 0;
	if (adapter || !strcmp(type, "adapter"))
		return MEDIA("adapter");
	if (!strcmp(type, "projector") || !strcmp(type, "mmproj") ||
	    (!has_blocks && (!strcmp(api_json_text(facts, "arch"), "clip") || json_is_true(json_get(facts, "has_vision")))))
		return MEDIA("projector");
	return MEDIA("model");
}

int create_add_gguf(struct create_model *c, const char *digest, bool adapter, struct err *err)
{
	struct create_layer l = {.existed = true};
	struct store *s = c->ctx->store;
	struct str path = {0};
	json_t *facts = NULL;
	if (!store_digest_valid(digest))
		return err_set(err, ERR_INVALID, "invalid digest format");
	store_blob_path(s, digest, &path);
	int rc = 0;
	if (!store_blob_exists(s, digest, &l.size_bytes))
		rc = err_set(err, ERR_INTERNAL, "open %s: no such file or directory", path.data);
	else if ((rc = sched_inspect(c->ctx->sched, path.data, digest, false, &facts, err)) == ERR_FORMAT) {
		err_prefix(err, "supplied file was not in GGUF format");
		err->code = rc = ERR_INVALID;
	}
	str_release(&path);
	if (rc)
		return rc;
	snprintf(l.digest, sizeof l.digest, "sha256:%s", digest + 7);
	l.media_type = gguf_media(facts, adapter);
	if (!strcmp(l.media_type, MEDIA("model"))) {
		json_decref(c->facts);
		c->facts = json_incref(facts);
	}
	json_decref(facts);
	vec_push(&c->layers, l);
	return 0;
}

/* ---- parameters and messages ---- */

static int cmp_key(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* An object with sorted keys and a newline: the form that gives equal parameters equal digests. */
static void params_text(const json_t *params, struct str *out)
{
	size_t n = json_object_size(params), i = 0;
	const char **keys = mem_calloc(n ? n : 1, sizeof *keys);
	struct jsonw w;
	for (void *it = json_object_iter((json_t *)params); it; it = json_object_iter_next((json_t *)params, it))
		keys[i++] = json_object_iter_key(it);
	qsort(keys, n, sizeof *keys, cmp_key);
	jsonw_init(&w, out, JSONW_GO);
	jsonw_obj(&w);
	for (i = 0; i < n; i++) {
		jsonw_key(&w, keys[i]);
		jsonw_value(&w, json_object_get(params, keys[i]));
	}
	jsonw_obj_end(&w);
	str_addc(out, '\n');
	mem_free(keys);
}

static json_t *layer_json(struct create_model *c, const char *media_type)
{
	for (size_t i = 0; i < c->layers.n; i++) {
		if (strcmp(c->layers.data[i].media_type, media_type))
			continue;
		struct err ignored;
		json_t *v = NULL;
		struct str text = {0};
		if (!store_blob_text(c->ctx->store, c->layers.data[i].digest, &text, &ignored))
			json_parse(str_cstr(&text), text.len, &v, &ignored);
		str_release(&text);
		return v;
	}
	return NULL;
}

int create_set_params(struct create_model *c, const json_t *params, struct err *err)
{
	json_t *all = layer_json(c, MEDIA("params"));
	struct str text = {0};
	int rc = 0;
	if (!json_is_object(all)) {
		json_decref(all);
		all = json_object();
	}
	json_object_update(all, (json_t *)params);
	if (json_object_size(all)) {
		remove_layers(c, MEDIA("params"));
		params_text(all, &text);
		rc = add_bytes(c, MEDIA("params"), text.data, text.len, err);
	}
	str_release(&text);
	json_decref(all);
	return rc;
}

int create_set_messages(struct create_model *c, const json_t *messages, struct err *err)
{
	struct str text = {0};
	struct jsonw w;
	if (!json_array_size(messages))
		return 0;
	jsonw_init(&w, &text, JSONW_GO);
	jsonw_arr(&w);
	for (size_t i = 0; i < json_array_size(messages); i++) {
		const json_t *m = json_array_get(messages, i);
		jsonw_obj(&w);
		jsonw_kstr(&w, "role", api_json_text(m, "role"));
		jsonw_kstr(&w, "content", api_json_text(m, "content"));
		jsonw_obj_end(&w);
	}
	jsonw_arr_end(&w);
	str_addc(&text, '\n');
	remove_layers(c, MEDIA("messages"));
	int rc = add_bytes(c, MEDIA("messages"), text.data, text.len, err);
	str_release(&text);
	return rc;
}

int create_autodetect(struct create_model *c, const char **ret_name, struct err *err)
{
	const json_t *known = json_get(c->facts, "detected_template");
	*ret_name = NULL;
	if (!json_is_object(known))
		return 0;
	*ret_name = api_json_text(known, "name");
	int rc = create_set_text(c, MEDIA("template"), api_json_text(known, "text"), err);
	return rc ? rc : create_set_params(c, json_get(known, "params"), err);
}

/* ---- config ---- */

/* Members of "info" and the config keys they set. */
static const struct {
	const char *info, *config;
	bool number;
} info_keys[] = {
	{"model_family", "model_family", false},     {"base_name", "base_name", false},
	{"quantization_level", "file_type", false},  {"parameter_size", "model_type", false},
	{"context_length", "context_length", true},  {"embedding_length", "embedding_length", true},
};

static int apply_info(json_t *config, const json_t *info, struct err *err)
{
	json_t *caps = json_get_nonnull(info, "capabilities");
	for (size_t i = 0; i < ARRAY_LEN(info_keys); i++) {
		const char *key = info_keys[i].info;
		json_t *v = json_get_nonnull(info, key);
		if (!v)
			continue;
		if (!info_keys[i].number && !json_is_string(v))
			return err_set(err, ERR_INVALID, "info field \"%s\" must be a string", key);
		if (info_keys[i].number && !json_is_number(v))
			return err_set(err, ERR_INVALID, "info field \"%s\" must be a number", key);
		if (info_keys[i].number && (!json_is_integer(v) || json_integer_value(v) < 0))
			return err_set(err, ERR_INVALID, "info field \"%s\" must be a non-negative integer", key);
		json_object_set(config, info_keys[i].config, v);
	}
	if (json_is_array(caps))
		json_object_set(config, "capabilities", caps);
	return 0;
}

static void set_default(json_t *config, const char *key, const char *text)
{
	if (*text && !*api_json_text(config, key))
		json_object_set_new(config, key, json_string_nocheck(text));
}

static void set_families(json_t *config, const char *arch)
{
	json_t *list = json_array();
	const char *family = api_json_text(config, "model_family");
	if (*family)
		json_array_append_new(list, json_string(family));
	if (*arch && strcmp(arch, family))
		json_array_append_new(list, json_string_nocheck(arch));
	json_object_set_new(config, "model_families", list);
}

int create_set_config(struct create_model *c, const json_t *info, struct err *err)
{
	static const char *const order[] = {"model_format", "model_family", "model_families", "model_type", "file_type", "renderer",
					    "parser", "requires", "remote_host", "remote_model", "capabilities", "context_length",
					    "embedding_length", "base_name"};
	const char *arch = api_json_text(c->facts, "arch");
	int64_t n_param = api_json_int(c->facts, "parameter_count");
	char size[24] = "";
	int rc = apply_info(c->config, info, err);
	if (rc)
		return rc;
	if (n_param > 0)
		api_param_size_text(n_param, size);
	if (create_has(c, MEDIA("model"))) {
		set_default(c->config, "model_format", "gguf");
		set_default(c->config, "model_family", arch);
		set_families(c->config, arch);
		set_default(c->config, "model_type", size);
		set_default(c->config, "file_type", api_json_text(c->facts, "file_type"));
	}
	json_t *sorted = json_object();
	for (size_t i = 0; i < ARRAY_LEN(order); i++) {
		json_t *v = json_object_get(c->config, order[i]);
		if (v)
			json_object_set(sorted, order[i], v);
	}
	json_object_set_new(sorted, "architecture", json_string("amd64"));
	json_object_set_new(sorted, "os", json_string("linux"));
	json_decref(c->config);
	c->config = sorted;
	return 0;
}

int create_write(struct create_model *c, const struct store_name *name, struct err *err)
{
	struct store_layer *layers = mem_calloc(c->layers.n ? c->layers.n : 1, sizeof *layers);
	for (size_t i = 0; i < c->layers.n; i++) {
		struct create_layer *l = &c->layers.data[i];
		layers[i] = (struct store_layer){.media_type = (char *)l->media_type, .digest = l->digest, .from = l->from,
						 .size_bytes = l->size_bytes};
	}
	int rc = store_manifest_write(c->ctx->store, name, c->config, layers, c->layers.n, !c->ctx->no_prune, err);
	mem_free(layers);
	return rc;
}
