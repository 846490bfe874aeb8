/* safetensors: the header of a safetensors file (8 bytes of length, a JSON object of names, types, shapes and places, then the
 * data), checked before it is believed. Source: the format's description in its repository, huggingface/safetensors.
 *
 * The data are the caller's and must stay; names are owned by the struct. After a successful open: names are unique, sizes
 * follow from shapes and types, places lie inside the file and do not overlap. Data are not aligned. */
#ifndef CRIA_CONVERT_SAFETENSORS_H
#define CRIA_CONVERT_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { ST_DIMS_MAX = 8 };

struct st_tensor {
	char *name;
	int type; /* enum gguf_type for F32, F16 and BF16, else -1 */
	int n_dims;
	int64_t shape[ST_DIMS_MAX]; /* outermost first */
	int64_t n_elem;
	const uint8_t *data;
	size_t n_bytes;
};

struct safetensors {
	struct st_tensor *tensors; /* in the order of their places */
	size_t n;
};

int safetensors_read(const uint8_t *data, size_t n_bytes, struct safetensors *ret, struct err *err);
void safetensors_release(struct safetensors *s);

#endif
