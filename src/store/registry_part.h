/* registry_part: a blob on its way, on disk: `sha256-<hex>-partial` (the bytes, with holes) and `sha256-<hex>-partial-<N>`, a
 * JSON object {"N","Offset","Size","Completed"} for each range. It is Ollama's form: either program goes on with what the
 * other left. The bytes of a range are written before its record says so. */
#ifndef CRIA_REGISTRY_PART_H
#define CRIA_REGISTRY_PART_H

#include "base/vec.h"
#include "store/store_priv.h"

struct reg_part {
	int64_t offset, size_bytes, completed, saved;
	bool suspect;        /* came from disk or over a connection that broke: the first to be fetched again on a wrong digest */
	bool active;         /* a connection works on it */
	int n_try;           /* without progress */
	int64_t retry_ns;    /* not before this time */
};

struct reg_parts {
	char *path;          /* of the -partial file */
	int64_t size_bytes;
	struct reg_part *data; /* [n], in order, without gaps */
	size_t n, cap;
};

/* The ranges that disk knows of, or new ones when it knows none that fit. */
void reg_parts_load(const struct store *s, const char *digest, int64_t size_bytes, struct reg_parts *ret);
void reg_parts_release(struct reg_parts *p);
/* Records what has changed. A failure costs a later resume, nothing else. */
void reg_parts_save(struct reg_parts *p);
/* One range for all, with what is complete from the start: for servers without ranges. */
void reg_parts_join(struct reg_parts *p);
/* Removes the records, not the bytes. */
void reg_parts_forget(const struct reg_parts *p);
int64_t reg_parts_completed(const struct reg_parts *p);
/* Bytes that are there from the beginning without a gap. */
int64_t reg_parts_prefix(const struct reg_parts *p);

#endif
