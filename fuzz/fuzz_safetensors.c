/* layer: convert
 * The header of a safetensors file: whatever is accepted must lie inside the file. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "convert/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct safetensors s;
	struct err err;
	if (safetensors_read(data, n, &s, &err))
		return 0;
	for (size_t i = 0; i < s.n; i++) {
		const struct st_tensor *t = &s.tensors[i];
		volatile uint8_t sum = 0;
		for (size_t k = 0; k < t->n_bytes; k++)
			sum = (uint8_t)(sum + t->data[k]);
		if (t->data < data || t->data + t->n_bytes > data + n || t->n_elem < 0)
			abort();
	}
	safetensors_release(&s);
	return 0;
}
