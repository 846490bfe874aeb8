/* gguf_write: builds the head of a GGUF file (version 3) in memory: metadata, tensor directory, padding. The tensors' bytes
 * are written by the caller at the offsets that gguf_write_end returns. One owner, no threads. */
#ifndef CRIA_GGUF_WRITE_H
#define CRIA_GGUF_WRITE_H

#include "base/str.h"
#include "base/vec.h"
#include "gguf/gguf.h"

struct gguf_write_tensor {
	const char *name; /* borrowed; under 64 bytes */
	int type, n_dims;
	int64_t ne[4];
	uint64_t offset;  /* in the file; set by gguf_write_end */
	size_t n_bytes;   /* set by gguf_write_tensor */
};

struct gguf_writer {
	struct str kv;
	uint64_t n_kv;
	VEC(struct gguf_write_tensor) tensors;
};

void gguf_writer_release(struct gguf_writer *w);

/* Metadata. The caller sees to it that no key comes twice. */
void gguf_write_u32(struct gguf_writer *w, const char *key, uint32_t v);
void gguf_write_f32(struct gguf_writer *w, const char *key, float v);
void gguf_write_bool(struct gguf_writer *w, const char *key, bool v);
void gguf_write_str(struct gguf_writer *w, const char *key, const char *s, size_t n);
/* An array of n elements of a fixed size (never strings), as they are in memory. */
void gguf_write_array(struct gguf_writer *w, const char *key, enum gguf_kv_type elem, const void *p, uint64_t n);
void gguf_write_strings(struct gguf_writer *w, const char *key, const struct gguf_str *s, uint64_t n);
/* A value as another file has it. */
void gguf_write_copy(struct gguf_writer *w, const struct gguf_kv *kv);

/* Adds a tensor; its type and shape are valid (rows are whole blocks). */
void gguf_write_tensor(struct gguf_writer *w, const char *name, int type, int n_dims, const int64_t ne[4]);
/* Places the tensors and appends the head to out; data follow it. *ret_total: bytes of the whole file. */
int gguf_write_end(struct gguf_writer *w, struct str *out, uint64_t *ret_total, struct err *err);

#endif
