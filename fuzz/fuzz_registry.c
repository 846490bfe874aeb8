/* layer: store */
/* What registries answer: the first byte picks the reader. Accepted manifests have usable digests and bounded sizes; accepted
 * ranges are ordered; accepted tokens fit into a header line; joined URLs are http or https without a user name. */
#include <stdint.h>
#include <string.h>

#include "base/bug.h"
#include "base/mem.h"
#include "store/registry_parse.h"
#include "store/registry_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void manifest(const char *text, size_t n)
{
	struct store_layer *layers;
	size_t n_layer;
	struct err err;
	if (reg_manifest_parse(text, n, &layers, &n_layer, &err))
		return;
	for (size_t i = 0; i < n_layer; i++) {
		BUG_ON(!store_digest_valid(layers[i].digest) || strchr(layers[i].digest, '/'));
		BUG_ON(layers[i].size_bytes < 0 || layers[i].size_bytes > REG_BLOB_BYTES_MAX);
		for (size_t k = 0; k < i && i < 64; k++)
			BUG_ON(!strcmp(layers[i].digest, layers[k].digest));
	}
	reg_layers_free(layers, n_layer);
}

static void headers(const char *text, size_t n)
{
	struct reg_headers h;
	reg_headers_init(&h);
	for (const char *end = text + n; text < end;) {
		const char *nl = memchr(text, '\n', (size_t)(end - text));
		size_t len = nl ? (size_t)(nl + 1 - text) : (size_t)(end - text);
		reg_header_line(&h, text, len);
		text += len;
	}
	BUG_ON(h.length_bytes < -1 || h.total_bytes < -1 || h.last < h.first);
	BUG_ON(h.location && strpbrk(h.location, "\r\n"));
	if (h.authenticate) {
		struct reg_challenge c;
		reg_challenge_parse(h.authenticate, &c);
		BUG_ON(c.basic && c.bearer);
		reg_challenge_release(&c);
	}
	reg_headers_release(&h);
}

static void token(const char *text, size_t n)
{
	char *t;
	struct err err;
	if (!reg_token_parse(text, n, &t, &err))
		BUG_ON(!*t || strlen(t) > REG_TOKEN_MAX || strpbrk(t, "\r\n"));
	mem_free(t);
}

static void location(const char *text)
{
	struct str out = {0}, origin = {0};
	if (reg_url_join("https://registry.example/v2/a/b/blobs/x?y=1", text, &out)) {
		BUG_ON(!starts_with(out.data, "http"));
		BUG_ON(!reg_url_origin(out.data, &origin));
	}
	reg_host_private(text);
	str_release(&out);
	str_release(&origin);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	if (!n)
		return 0;
	char *text = mem_strndup((const char *)data + 1, n - 1);
	switch (data[0]) {
	case 'm': manifest(text, n - 1); break;
	case 'h': headers(text, n - 1); break;
	case 't': token(text, n - 1); break;
	default: location(text);
	}
	mem_free(text);
	return 0;
}
