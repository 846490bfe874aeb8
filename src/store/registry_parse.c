#include "store/registry_parse.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "base/bug.h"
#include "base/json.h"
#include "base/map.h"
#include "base/mem.h"
#include "store/store_priv.h"

/* ---- manifests ---- */

void reg_layers_free(struct store_layer *layers, size_t n)
{
	store_layers_free(layers, n);
}

/* What is read leniently from our own disk, but not from a registry: each size must be there, as an integer. */
static bool sizes_given(const json_t *root)
{
	size_t i;
	json_t *layer;
	const json_t *config = json_get_nonnull(root, "config");
	json_array_foreach (json_get(root, "layers"), i, layer)
		if (!json_is_integer(json_get(layer, "size")))
			return false;
	return !config || json_is_integer(json_get(config, "size"));
}

/* Drops repeated digests in place: a model may name one blob twice. */
static int unique_layers(struct store_layer *layers, size_t *n, struct err *err)
{
	struct map seen = {0};
	size_t kept = 0;
	int rc = 0;
	for (size_t i = 0; i < *n; i++) {
		struct store_layer *l = &layers[i];
		size_t len = strlen(l->digest);
		union map_val *v = map_get(&seen, l->digest, len);
		if (v && v->i != l->size_bytes)
			rc = err_set(err, ERR_FORMAT, "the manifest gives %s two sizes", l->digest);
		if (l->size_bytes > REG_BLOB_BYTES_MAX)
			rc = err_set(err, ERR_FORMAT, "the manifest says that %s has %lld bytes, which no model has", l->digest,
				     (long long)l->size_bytes);
		if (!v) {
			map_put(&seen, l->digest, len)->i = l->size_bytes;
			struct store_layer t = layers[kept];
			layers[kept++] = *l;
			*l = t;
		}
	}
	map_release(&seen);
	for (size_t i = kept; i < *n; i++) {
		mem_free(layers[i].media_type);
		mem_free(layers[i].digest);
		mem_free(layers[i].from);
	}
	*n = kept;
	return rc;
}

int reg_manifest_parse(const char *text, size_t n, struct store_layer **ret, size_t *ret_n, struct err *err)
{
	json_t *root = NULL;
	*ret = NULL;
	*ret_n = 0;
	if (n > MANIFEST_BYTES_MAX)
		return err_set(err, ERR_FORMAT, "the manifest has over %d bytes", MANIFEST_BYTES_MAX);
	int rc = json_parse_all(text, n, &root, err);
	if (rc) {
		rc = err_set(err, ERR_FORMAT, "the registry's answer is no manifest: it is not JSON");
	} else if (json_array_size(json_get(root, "layers")) > REG_LAYERS_MAX) {
		rc = err_set(err, ERR_FORMAT, "the manifest has over %d layers", REG_LAYERS_MAX);
	} else if (!json_is_array(json_get(root, "layers")) && !json_is_object(json_get(root, "config"))) {
		rc = err_set(err, ERR_FORMAT, "the registry's answer is no manifest of a model: it has no layers");
	} else if (!sizes_given(root)) {
		rc = err_set(err, ERR_FORMAT, "the manifest has a layer without a size");
	} else {
		rc = store_layers_parse(root, ret, ret_n, err);
	}
	json_decref(root);
	if (!rc && (rc = unique_layers(*ret, ret_n, err))) {
		store_layers_free(*ret, *ret_n);
		*ret = NULL;
		*ret_n = 0;
	}
	return rc;
}

/* ---- headers ---- */

void reg_headers_init(struct reg_headers *h)
{
	*h = (struct reg_headers){.length_bytes = -1, .first = -1, .last = -1, .total_bytes = -1};
}

void reg_headers_release(struct reg_headers *h)
{
	char *texts[] = {h->location, h->upload_location, h->authenticate, h->digest, h->encoding};
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		mem_free(texts[i]);
	reg_headers_init(h);
}

/* Digits at *p up to 18 of them; -1 when there are none. */
static int64_t number(const char **p)
{
	int64_t v = 0;
	size_t n = strspn(*p, "0123456789");
	if (n == 0 || n > 18)
		return -1;
	for (const char *end = *p + n; *p < end; (*p)++)
		v = v * 10 + (**p - '0');
	return v;
}

static void content_range(struct reg_headers *h, const char *p)
{
	h->first = h->last = h->total_bytes = -1;
	if (strncasecmp(p, "bytes ", 6))
		return;
	p += 6;
	int64_t first = number(&p);
	if (first < 0 || *p++ != '-')
		return;
	int64_t last = number(&p);
	if (last < first || *p++ != '/')
		return;
	h->first = first;
	h->last = last;
	h->total_bytes = *p == '*' ? -1 : number(&p);
}

static bool printable(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			return false;
	return true;
}

void reg_header_line(struct reg_headers *h, const char *line, size_t n)
{
	char text[REG_HEADER_MAX];
	while (n && isspace((unsigned char)line[n - 1]))
		n--;
	if (n > 5 && !strncasecmp(line, "HTTP/", 5)) {
		reg_headers_release(h);
		return;
	}
	const char *colon = memchr(line, ':', n);
	if (!colon || n >= sizeof text || memchr(line, '\0', n))
		return;
	size_t n_name = (size_t)(colon - line);
	const char *v = colon + 1;
	while (v < line + n && (*v == ' ' || *v == '\t'))
		v++;
	memcpy(text, v, (size_t)(line + n - v));
	text[line + n - v] = '\0';
	if (!printable(text))
		return;
	const struct {
		const char *name;
		char **slot;
	} table[] = {{"Location", &h->location}, {"Docker-Upload-Location", &h->upload_location},
		     {"WWW-Authenticate", &h->authenticate}, {"Docker-Content-Digest", &h->digest},
		     {"Content-Encoding", &h->encoding}};
	for (size_t i = 0; i < ARRAY_LEN(table); i++)
		if (strlen(table[i].name) == n_name && !strncasecmp(line, table[i].name, n_name)) {
			mem_free(*table[i].slot);
			*table[i].slot = mem_strdup(text);
			return;
		}
	const char *p = text;
	if (n_name == 14 && !strncasecmp(line, "Content-Length", 14))
		h->length_bytes = number(&p);
	else if (n_name == 13 && !strncasecmp(line, "Content-Range", 13))
		content_range(h, text);
}

/* ---- challenges ---- */

void reg_challenge_release(struct reg_challenge *c)
{
	mem_free(c->realm);
	mem_free(c->service);
	mem_free(c->scope);
	*c = (struct reg_challenge){0};
}

static const char *skip_blank(const char *p)
{
	return p + strspn(p, " \t,");
}

/* One `name=value` or `name="value"`; NULL when there is none at p. */
static const char *take_param(const char *p, struct str *name, struct str *value)
{
	size_t n = strcspn(p, "=, \t\"");
	str_clear(name);
	str_clear(value);
	if (n == 0 || p[n] != '=')
		return NULL;
	str_add(name, p, n);
	p += n + 1;
	if (*p != '"') {
		n = strcspn(p, ", \t");
		str_add(value, p, n);
		return p + n;
	}
	for (p++; *p && *p != '"'; p++) {
		if (*p == '\\' && p[1])
			p++;
		str_addc(value, *p);
	}
	return *p ? p + 1 : p;
}

static void set_param(struct reg_challenge *c, const struct str *name, const struct str *value)
{
	const struct {
		const char *name;
		char **slot;
	} table[] = {{"realm", &c->realm}, {"service", &c->service}, {"scope", &c->scope}};
	for (size_t i = 0; i < ARRAY_LEN(table); i++)
		if (!strcasecmp(str_cstr(name), table[i].name)) {
			mem_free(*table[i].slot);
			*table[i].slot = mem_strdup(str_cstr(value));
		}
}

void reg_challenge_parse(const char *text, struct reg_challenge *ret)
{
	struct str name = {0}, value = {0};
	*ret = (struct reg_challenge){.realm = mem_strdup(""), .service = mem_strdup(""), .scope = mem_strdup("")};
	for (const char *p = skip_blank(text); *p; p = skip_blank(p)) {
		const char *next = take_param(p, &name, &value);
		if (next) {
			if (ret->bearer || ret->basic)
				set_param(ret, &name, &value);
			p = next;
			continue;
		}
		if (ret->bearer || ret->basic) /* the next challenge */
			break;
		size_t n = strcspn(p, " \t,");
		ret->bearer = n == 6 && !strncasecmp(p, "Bearer", 6);
		ret->basic = n == 5 && !strncasecmp(p, "Basic", 5);
		p += n;
	}
	str_release(&name);
	str_release(&value);
}

/* ---- tokens ---- */

int reg_token_parse(const char *text, size_t n, char **ret, struct err *err)
{
	json_t *root = NULL;
	*ret = NULL;
	int rc = json_parse_all(text, n, &root, err);
	if (rc)
		return err_set(err, ERR_FORMAT, "the registry's token answer is not JSON");
	json_t *v = json_get_nonnull(root, "token");
	if (!json_is_string(v) || !json_string_length(v))
		v = json_get_nonnull(root, "access_token");
	const char *token = json_string_value(v);
	size_t len = json_string_length(v);
	if (!token || !len || len > REG_TOKEN_MAX || strlen(token) != len || !printable(token))
		rc = err_set(err, ERR_FORMAT, "the registry's token answer holds no usable token");
	else
		*ret = mem_strdup(token);
	json_decref(root);
	return rc;
}
