/* registry_hash: the SHA-256 of a file that grows, computed on a thread of its own behind the writer, so that the digest is
 * known soon after the last byte. One owner; the file must stay open until reg_hash_end. */
#ifndef CRIA_REGISTRY_HASH_H
#define CRIA_REGISTRY_HASH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct reg_hash;

struct reg_hash *reg_hash_begin(int fd);
/* All bytes below limit are there and stay as they are. */
void reg_hash_advance(struct reg_hash *h, int64_t limit_bytes);
/* Waits for the bytes up to the last limit and gives "sha256:<hex>". ERR_IO when reading failed; ERR_CANCELED when *cancel
 * became true meanwhile (cancel may be NULL). Frees h. */
int reg_hash_end(struct reg_hash *h, const bool *cancel, char ret_digest[72], struct err *err);
/* Of a range of a file, on the calling thread. */
int reg_hash_range(int fd, int64_t offset, int64_t size_bytes, unsigned char ret[32], struct err *err);

#endif
