#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bug.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "store/store_priv.h"

#define MEDIA_MANIFEST "application/vnd.docker.distribution.manifest.v2+json"
#define MEDIA_CONFIG "application/vnd.docker.container.image.v1+json"
#define MEDIA_IMAGE "application/vnd.ollama.image."

/* ---- reading a manifest ---- */

void store_layers_free(struct store_layer *layers, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		mem_free(layers[i].media_type);
		mem_free(layers[i].digest);
		mem_free(layers[i].from);
	}
	mem_free(layers);
}

static const char *text_of(const json_t *obj, const char *key)
{
	const char *z = json_string_value(json_get(obj, key));
	return z ? z : "";
}

static int read_layer(const json_t *v, struct store_layer *ret, struct err *err)
{
	const char *digest = text_of(v, "digest"), *from = text_of(v, "from");
	json_int_t size = json_integer_value(json_get(v, "size"));
	if (!store_digest_valid(digest))
		return err_set(err, ERR_FORMAT, "a layer has the digest \"%.100s\", which is no SHA-256", digest);
	if (size < 0)
		return err_set(err, ERR_FORMAT, "layer %s has a negative size", digest);
	ret->media_type = mem_strdup(text_of(v, "mediaType"));
	ret->digest = mem_strdup(digest);
	ret->digest[6] = ':';
	for (char *c = ret->digest; *c; c++)
		*c = (char)tolower((unsigned char)*c);
	ret->from = *from ? mem_strdup(from) : NULL;
	ret->size_bytes = size;
	return 0;
}

int store_layers_parse(const json_t *root, struct store_layer **ret, size_t *ret_n, struct err *err)
{
	const json_t *list = json_get(root, "layers"), *config = json_get_nonnull(root, "config");
	size_t n = json_array_size(list), i = 0;
	int rc = 0;
	if (!json_is_object(root) || (list && !json_is_array(list) && !json_is_null(list)))
		return err_set(err, ERR_FORMAT, "the file is not an image manifest");
	struct store_layer *layers = mem_calloc(n + 1, sizeof *layers);
	for (; !rc && i < n; i++)
		rc = read_layer(json_array_get(list, i), &layers[i], err);
	if (!rc && config && *text_of(config, "digest"))
		rc = read_layer(config, &layers[i++], err);
	if (rc) {
		store_layers_free(layers, i);
		return rc;
	}
	*ret = layers;
	*ret_n = i;
	return 0;
}

int store_manifest_layers(const struct store *s, const struct store_name *name, struct store_layer **ret, size_t *ret_n,
			  char ret_digest[65], struct err *err)
{
	struct str path = {0}, text = {0};
	json_t *root = NULL;
	*ret = NULL;
	*ret_n = 0;
	store_manifest_path(s, name, &path);
	int rc = store_file_read(path.data, MANIFEST_BYTES_MAX, &text, err);
	if (!rc) {
		store_sha256_hex(str_cstr(&text), text.len, ret_digest);
		rc = json_parse(str_cstr(&text), text.len, &root, err);
		if (rc)
			rc = err_set(err, ERR_FORMAT, "manifest %s is not JSON", path.data);
		else if ((rc = store_layers_parse(root, ret, ret_n, err)))
			err_prefix(err, "manifest %s", path.data);
	}
	json_decref(root);
	str_release(&path);
	str_release(&text);
	return rc;
}

/* ---- one model ---- */

void store_model_free(struct store_model *m)
{
	if (!m)
		return;
	store_layers_free(m->layers, m->n_layer);
	json_decref(m->config);
	json_decref(m->params);
	json_decref(m->messages);
	for (size_t i = 0; i < m->n_license; i++)
		mem_free(m->licenses[i]);
	mem_free(m->licenses);
	char *texts[] = {m->digest, m->model_digest, m->model_path, m->projector_path, m->adapter_path, m->template_text, m->system,
			 m->parent_model};
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		mem_free(texts[i]);
	mem_free(m);
}

int store_blob_text(const struct store *s, const char *digest, struct str *out, struct err *err)
{
	struct str path = {0};
	store_blob_path(s, digest, &path);
	int rc = store_file_read(path.data, TEXT_LAYER_BYTES_MAX, out, err);
	str_release(&path);
	return rc;
}

static int blob_text(const struct store *s, const char *digest, char **ret, struct err *err)
{
	struct str text = {0};
	int rc = store_blob_text(s, digest, &text, err);
	if (rc) {
		str_release(&text);
		return rc;
	}
	mem_free(*ret);
	*ret = text.data ? str_take(&text) : mem_strdup("");
	return 0;
}

static int blob_json(const struct store *s, const char *digest, json_t **ret, struct err *err)
{
	struct str text = {0};
	json_t *v = NULL;
	int rc = store_blob_text(s, digest, &text, err);
	if (!rc && (rc = json_parse(str_cstr(&text), text.len, &v, err)))
		rc = err_set(err, ERR_FORMAT, "layer %s is not JSON", digest);
	str_release(&text);
	if (rc)
		return rc;
	json_decref(*ret);
	*ret = v;
	return 0;
}

static void keep_path(const struct store *s, const char *digest, char **slot)
{
	struct str path = {0};
	if (*slot) /* only the first projector and adapter count */
		return;
	store_blob_path(s, digest, &path);
	*slot = str_take(&path);
}

/* Takes up one layer by its media type; unknown types are kept in the list only. */
static int apply_layer(const struct store *s, struct store_model *m, const struct store_layer *l, struct err *err)
{
	const char *kind = starts_with(l->media_type, MEDIA_IMAGE) ? l->media_type + sizeof MEDIA_IMAGE - 1 : "";
	if (!strcmp(kind, "model")) {
		keep_path(s, l->digest, &m->model_path);
		if (!m->model_digest) {
			m->model_digest = mem_strdup(l->digest);
			mem_free(m->parent_model);
			m->parent_model = mem_strdup(l->from ? l->from : "");
		}
	} else if (!strcmp(kind, "projector")) {
		keep_path(s, l->digest, &m->projector_path);
	} else if (!strcmp(kind, "adapter")) {
		keep_path(s, l->digest, &m->adapter_path);
	} else if (!strcmp(kind, "template") || !strcmp(kind, "prompt")) {
		return blob_text(s, l->digest, &m->template_text, err);
	} else if (!strcmp(kind, "system")) {
		return blob_text(s, l->digest, &m->system, err);
	} else if (!strcmp(kind, "params")) {
		return blob_json(s, l->digest, &m->params, err);
	} else if (!strcmp(kind, "messages")) {
		return blob_json(s, l->digest, &m->messages, err);
	} else if (!strcmp(kind, "license")) {
		char *text = NULL;
		int rc = blob_text(s, l->digest, &text, err);
		if (rc)
			return rc;
		m->licenses = mem_realloc(m->licenses, (m->n_license + 1) * sizeof *m->licenses);
		m->licenses[m->n_license++] = text;
	}
	return 0;
}

static int load_model(const struct store *s, struct store_model *m, struct err *err)
{
	for (size_t i = 0; i < m->n_layer; i++) {
		const struct store_layer *l = &m->layers[i];
		int rc = !strcmp(l->media_type, MEDIA_CONFIG) ? blob_json(s, l->digest, &m->config, err) : apply_layer(s, m, l, err);
		if (rc) {
			err->code = ERR_FORMAT; /* a missing layer is no missing model */
			return err->code;
		}
		if (__builtin_add_overflow(m->size_bytes, l->size_bytes, &m->size_bytes))
			return err_set(err, ERR_FORMAT, "the sizes of the layers add up to more than 2^63");
	}
	if (!json_is_object(m->config)) {
		json_decref(m->config);
		m->config = json_object();
	}
	if (m->params && !json_is_object(m->params)) {
		json_decref(m->params);
		m->params = NULL;
	}
	if (m->messages && !json_is_array(m->messages)) {
		json_decref(m->messages);
		m->messages = NULL;
	}
	return 0;
}

bool store_has(const struct store *s, const struct store_name *name)
{
	struct store_name n = *name;
	return store_name_on_disk(s, &n);
}

int store_resolve(struct store *s, const struct store_name *name, struct store_model **ret, struct err *err)
{
	struct store_model *m = mem_zalloc(sizeof *m);
	struct str path = {0};
	struct stat st;
	char digest[65];
	*ret = NULL;
	m->name = *name;
	m->parent_model = mem_strdup("");
	int rc = 0;
	if (!store_name_on_disk(s, &m->name)) {
		str_release(&path);
		store_name_short(name, &path);
		rc = err_set(err, ERR_NOT_FOUND, "model '%s' not found", path.data);
	} else {
		store_manifest_path(s, &m->name, &path);
		rc = store_manifest_layers(s, &m->name, &m->layers, &m->n_layer, digest, err);
		if (!rc) {
			m->digest = mem_strdup(digest);
			if (!stat(path.data, &st))
				m->modified_wall_ns = (int64_t)st.st_mtim.tv_sec * NS_PER_S + st.st_mtim.tv_nsec;
			rc = load_model(s, m, err);
		}
	}
	str_release(&path);
	if (rc) {
		store_model_free(m);
		return rc;
	}
	*ret = m;
	return 0;
}

/* ---- changing ---- */

/* Where a name is to be written: an installed model equal without case keeps its spelling. */
static struct store_name target_name(const struct store *s, const struct store_name *name)
{
	struct store_name n = *name;
	store_name_on_disk(s, &n);
	return n;
}

int store_copy(struct store *s, const struct store_name *from, const struct store_name *to, struct err *err)
{
	struct store_name src = *from;
	struct str path = {0}, text = {0};
	store_lock(s);
	int rc = 0;
	if (!store_name_on_disk(s, &src)) {
		store_name_short(from, &text);
		rc = err_set(err, ERR_NOT_FOUND, "model \"%s\" not found", text.data);
	} else if (!store_name_equal(&src, to)) {
		struct store_name dst = target_name(s, to);
		store_manifest_path(s, &src, &path);
		rc = store_file_read(path.data, MANIFEST_BYTES_MAX, &text, err);
		if (!rc) {
			str_clear(&path);
			store_manifest_path(s, &dst, &path);
			rc = store_file_write(path.data, str_cstr(&text), text.len, err);
		}
	}
	store_unlock(s);
	str_release(&path);
	str_release(&text);
	return rc;
}

/* Removes the folders above a manifest as far as they are empty. */
static void remove_empty_above(struct str *path)
{
	for (int level = 0; level < 3; level++) {
		char *slash = strrchr(path->data, '/');
		str_truncate(path, (size_t)(slash - path->data));
		if (rmdir(path->data))
			break;
	}
}

int store_delete(struct store *s, const struct store_name *name, struct err *err)
{
	struct store_name n = *name;
	struct str path = {0};
	struct store_layer *layers = NULL;
	size_t n_layer = 0;
	char digest[65];
	struct err ignored;
	int rc = 0;
	store_lock(s);
	if (!store_name_on_disk(s, &n)) {
		store_name_short(name, &path);
		rc = err_set(err, ERR_NOT_FOUND, "model '%s' not found", path.data);
	} else {
		/* A broken manifest can be deleted too; its blobs are then left to the clean-up. */
		if (store_manifest_layers(s, &n, &layers, &n_layer, digest, &ignored))
			n_layer = 0;
		store_manifest_path(s, &n, &path);
		if (unlink(path.data)) {
			rc = err_set(err, ERR_IO, "cannot remove %s: %s", path.data, strerror(errno));
		} else {
			remove_empty_above(&path);
			store_remove_unused(s, layers, n_layer);
		}
	}
	store_unlock(s);
	store_layers_free(layers, n_layer);
	str_release(&path);
	return rc;
}

static void write_layer(struct jsonw *w, const struct store_layer *l)
{
	jsonw_obj(w);
	jsonw_kstr(w, "mediaType", l->media_type);
	jsonw_kstr(w, "digest", l->digest);
	jsonw_kint(w, "size", l->size_bytes);
	if (l->from)
		jsonw_kstr(w, "from", l->from);
	jsonw_obj_end(w);
}

static void manifest_text(const struct store_layer *config, const struct store_layer *layers, size_t n_layer, struct str *out)
{
	struct jsonw w;
	jsonw_init(&w, out, JSONW_GO);
	jsonw_obj(&w);
	jsonw_kint(&w, "schemaVersion", 2);
	jsonw_kstr(&w, "mediaType", MEDIA_MANIFEST);
	jsonw_key(&w, "config");
	write_layer(&w, config);
	jsonw_key(&w, "layers");
	jsonw_arr(&w);
	for (size_t i = 0; i < n_layer; i++)
		write_layer(&w, &layers[i]);
	jsonw_arr_end(&w);
	jsonw_obj_end(&w);
	str_addc(out, '\n');
}

static int replace_manifest(struct store *s, const struct store_name *name, const struct str *text, const struct store_layer *layers,
			    size_t n_layer, bool prune, struct err *err)
{
	struct store_name dst = target_name(s, name);
	struct store_layer *old = NULL;
	size_t n_old = 0;
	char digest[65];
	struct err ignored;
	struct str path = {0};
	for (size_t i = 0; i < n_layer; i++)
		if (!store_blob_exists(s, layers[i].digest, NULL))
			return err_set(err, ERR_NOT_FOUND, "blob %s is gone: a model that used it was deleted meanwhile; try again",
				       layers[i].digest);
	if (prune && store_manifest_layers(s, &dst, &old, &n_old, digest, &ignored))
		n_old = 0;
	store_manifest_path(s, &dst, &path);
	int rc = store_file_write(path.data, text->data, text->len, err);
	if (!rc && n_old)
		store_remove_unused(s, old, n_old);
	store_layers_free(old, n_old);
	str_release(&path);
	return rc;
}

int store_manifest_write(struct store *s, const struct store_name *name, const json_t *config, const struct store_layer *layers,
			 size_t n_layer, bool prune, struct err *err)
{
	struct str text = {0};
	struct jsonw w;
	char digest[72];
	jsonw_init(&w, &text, JSONW_GO);
	jsonw_value(&w, config);
	str_addc(&text, '\n');
	int64_t size = (int64_t)text.len;
	int rc = store_blob_put(s, text.data, text.len, digest, NULL, err);
	str_clear(&text);
	if (!rc) {
		char media[] = MEDIA_CONFIG;
		struct store_layer c = {.media_type = media, .digest = digest, .size_bytes = size};
		manifest_text(&c, layers, n_layer, &text);
		store_lock(s);
		rc = replace_manifest(s, name, &text, layers, n_layer, prune, err);
		store_unlock(s);
	}
	str_release(&text);
	return rc;
}

int store_manifest_get(struct store *s, struct store_name *name, struct str *out, struct err *err)
{
	struct str path = {0};
	int rc = 0;
	if (!store_name_on_disk(s, name)) {
		store_name_short(name, &path);
		rc = err_set(err, ERR_NOT_FOUND, "model '%s' not found", path.data);
	} else {
		store_manifest_path(s, name, &path);
		rc = store_file_read(path.data, MANIFEST_BYTES_MAX, out, err);
	}
	str_release(&path);
	return rc;
}

int store_manifest_put(struct store *s, const struct store_name *name, const struct str *text, const struct store_layer *layers,
		       size_t n_layer, bool prune, struct err *err)
{
	store_lock(s);
	int rc = replace_manifest(s, name, text, layers, n_layer, prune, err);
	store_unlock(s);
	return rc;
}
