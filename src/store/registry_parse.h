/* registry_parse: what registries say, read with suspicion: manifests, header lines, challenges, token replies. Pure functions
 * over bytes; their fuzzer is fuzz/fuzz_registry.c. */
#ifndef CRIA_REGISTRY_PARSE_H
#define CRIA_REGISTRY_PARSE_H

#include <stdbool.h>
#include <stdint.h>

#include "store/store.h"

enum {
	REG_LAYERS_MAX = 8192,
	REG_HEADER_MAX = 8192,
	REG_TOKEN_MAX = 16384
};
#define REG_BLOB_BYTES_MAX (INT64_C(1) << 44) /* no model is larger; sums stay far below 2^63 */

/* The layers of a manifest, each digest once, the config last. ERR_FORMAT. Free with reg_layers_free. */
int reg_manifest_parse(const char *text, size_t n, struct store_layer **ret, size_t *ret_n, struct err *err);
void reg_layers_free(struct store_layer *layers, size_t n);

/* Headers that matter, of the last header block; NULL or -1 when absent. */
struct reg_headers {
	char *location, *upload_location, *authenticate, *digest, *encoding;
	int64_t length_bytes;                /* Content-Length */
	int64_t first, last, total_bytes;    /* Content-Range: bytes first-last/total; -1 where unknown */
};
void reg_headers_init(struct reg_headers *h);
void reg_headers_release(struct reg_headers *h);
/* One header line with its line end; a status line starts a new block. */
void reg_header_line(struct reg_headers *h, const char *line, size_t n);

/* WWW-Authenticate: the first challenge whose scheme is known. */
struct reg_challenge {
	bool basic, bearer;
	char *realm, *service, *scope;       /* "" when absent; NULL before parsing */
};
void reg_challenge_parse(const char *text, struct reg_challenge *ret);
void reg_challenge_release(struct reg_challenge *c);

/* The token of {"token": ...} or {"access_token": ...}: printable and bounded. Owned. */
int reg_token_parse(const char *text, size_t n, char **ret, struct err *err);

#endif
