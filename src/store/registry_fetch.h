/* registry_fetch: the ranges of one blob over parallel connections, on the calling thread (libcurl's multi interface). Knows
 * no digests: what it fetches is the right length and nothing more. */
#ifndef CRIA_REGISTRY_FETCH_H
#define CRIA_REGISTRY_FETCH_H

#include "store/registry_part.h"
#include "store/registry_priv.h"

struct reg_hash;

struct reg_fetch {
	struct reg_session *session;
	const char *digest;
	int fd;                   /* of the partial file */
	struct reg_parts *parts;
	const bool *cancel;
	int64_t *completed;       /* for progress, written atomically */
	struct reg_hash *hash;    /* told how far the file is complete, or NULL */
};

/* Fetches what the parts lack. ERR_NOT_FOUND, ERR_FORBIDDEN, ERR_CANCELED, ERR_IO (`max retries exceeded: ...`). The parts
 * keep what has arrived. */
int reg_fetch_run(struct reg_fetch *f, struct err *err);

#endif
