/* gguf_type: the tensor types of the file format, as facts about bytes. */
#ifndef CRIA_GGUF_TYPE_H
#define CRIA_GGUF_TYPE_H

#include <stddef.h>
#include <stdint.h>

enum gguf_type {
#define GGUF_TYPE(id, name, block, bytes) GGUF_##name = id,
#include "gguf/gguf_type.def"
#undef GGUF_TYPE
};

struct gguf_type_info {
	int id;           /* enum gguf_type */
	const char *name; /* "Q4_K" */
	int block;        /* values per block */
	int bytes;        /* bytes per block */
};

/* NULL when the id is not a type of the format. */
const struct gguf_type_info *gguf_type_info(int id);
/* By name, case ignored; NULL when unknown. */
const struct gguf_type_info *gguf_type_by_name(const char *name);
/* Name of a general.file_type value ("Q4_K_M"), "unknown" otherwise. */
const char *gguf_ftype_name(int64_t ftype);

#endif
