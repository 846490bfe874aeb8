/* gguf: reads a GGUF file (versions 2 and 3): metadata and tensor directory, every length checked against the bytes that
 * are there before it is believed. It computes nothing, and it knows no key but general.alignment: values that index other
 * things (token ids, layer counts, split.*) are checked by those who use them.
 *
 * Owner: gguf_open maps the descriptor read-only and keeps the mapping until gguf_close; all pointers returned here are
 * borrowed from it. The descriptor stays the caller's. After opening, everything is constant: any thread may read.
 *
 * Invariants after a successful open:
 *  1. Keys and tensor names are unique and not empty; names are NUL-terminated copies, tensor names shorter than 64 bytes.
 *  2. Every tensor's type is in gguf_type.def, ne[i] >= 1, ne[0] divides into whole blocks, data .. data + n_bytes lies in
 *     the mapping, data is aligned to general.alignment (8 to 65536; in memory at most to a page).
 *  3. Element counts fit int64, byte sizes fit size_t.
 *
 * A file cut short while mapped gives SIGBUS on access: processes that read tensors expect to die of it. */
#ifndef CRIA_GGUF_H
#define CRIA_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "gguf/gguf_type.h"

enum gguf_kv_type {
	GGUF_KV_U8, GGUF_KV_I8, GGUF_KV_U16, GGUF_KV_I16, GGUF_KV_U32, GGUF_KV_I32, GGUF_KV_F32, GGUF_KV_BOOL, GGUF_KV_STR,
	GGUF_KV_ARR, GGUF_KV_U64, GGUF_KV_I64, GGUF_KV_F64
};

/* Bytes of one value of a type; 0 for strings and arrays. */
size_t gguf_kv_bytes(int type);

struct gguf_str {
	const char *s; /* n bytes, no terminator, may hold anything */
	size_t n;
};

struct gguf_kv {
	const char *key;  /* NUL-terminated copy */
	int type;         /* enum gguf_kv_type */
	int elem_type;    /* of arrays; never GGUF_KV_ARR */
	uint64_t n;       /* elements; 1 for scalars */
	const uint8_t *p; /* the value's bytes in the file, unaligned; for string arrays the first length field */
};

struct gguf_tensor {
	const char *name;
	int type; /* enum gguf_type */
	int n_dims;
	int64_t ne[4]; /* ne[0] contiguous; 1 where missing */
	const uint8_t *data;
	size_t n_bytes;
	int64_t n_elem;
};

struct gguf;

/* Opens one file; of a split model every part is a file of its own. ERR_FORMAT / ERR_UNSUPPORTED / ERR_IO / ERR_NOMEM. */
int gguf_open(int fd, struct gguf **ret, struct err *err);
/* The same from memory that the caller keeps alive (tests, fuzzers); data must be 64-byte aligned. */
int gguf_open_mem(const void *data, size_t n, struct gguf **ret, struct err *err);
void gguf_close(struct gguf *g);

int gguf_version(const struct gguf *g);
size_t gguf_file_bytes(const struct gguf *g);
bool gguf_is_mapped(const struct gguf *g); /* opened from a file, not from the caller's memory */
size_t gguf_n_kv(const struct gguf *g);
const struct gguf_kv *gguf_kv_at(const struct gguf *g, size_t i);     /* file order */
const struct gguf_kv *gguf_find(const struct gguf *g, const char *key); /* NULL when absent */
size_t gguf_n_tensor(const struct gguf *g);
const struct gguf_tensor *gguf_tensor_at(const struct gguf *g, size_t i);
const struct gguf_tensor *gguf_tensor(const struct gguf *g, const char *name); /* NULL when absent */

/* Lenient scalars: any integer kind that fits, F32/F64 (or integers) for floats, integers for booleans. 1 found, 0 absent,
 * negative on a wrong kind or a value out of range (ERR_FORMAT, the message names key and value). *ret is written only
 * when found. */
int gguf_get_i64(const struct gguf *g, const char *key, int64_t *ret, struct err *err);
int gguf_get_f64(const struct gguf *g, const char *key, double *ret, struct err *err);
int gguf_get_bool(const struct gguf *g, const char *key, bool *ret, struct err *err);
int gguf_get_str(const struct gguf *g, const char *key, struct gguf_str *ret, struct err *err);

/* Array elements (i < kv->n, else a bug); scalars count as arrays of one. Wrong kinds: ERR_FORMAT. */
int gguf_arr_i64(const struct gguf_kv *kv, uint64_t i, int64_t *ret, struct err *err);
int gguf_arr_f64(const struct gguf_kv *kv, uint64_t i, double *ret, struct err *err);
int gguf_arr_bool(const struct gguf_kv *kv, uint64_t i, bool *ret, struct err *err);
/* Strings have no random access in the file: start with it = {0} and call once per element in order. */
struct gguf_str_iter {
	uint64_t i;
	size_t off;
};
int gguf_arr_next_str(const struct gguf_kv *kv, struct gguf_str_iter *it, struct gguf_str *ret, struct err *err);

#endif
