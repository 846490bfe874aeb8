/* convert: model files of other forms to one GGUF file: the parts of a split GGUF, a folder of safetensors files in Hugging
 * Face's layout, or one GGUF file with its tensors in other types. It reads hostile files and knows nothing of servers: it runs
 * in a process of its own. Nothing is kept after convert_run; it uses all threads of a pool that lives as long. */
#ifndef CRIA_CONVERT_H
#define CRIA_CONVERT_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct convert_file {
	const char *name; /* "model-00001-of-00002.safetensors", "config.json": tells what the file is */
	int fd;           /* readable and mappable; borrowed */
};

struct convert_job {
	const struct convert_file *files;
	size_t n_file;
	int fd_out;       /* an empty file; it is written with pwrite */
	const char *type; /* "Q4_K_M" and so on, any case; "": the types as they are (safetensors: F16 or BF16) */
	int n_thread;     /* 0: all */
	/* Called from the thread of convert_run: bytes of the new file that are written, and all. */
	void (*progress)(void *user, uint64_t done, uint64_t total);
	void *user;
};

/* ERR_FORMAT: a file is broken; ERR_UNSUPPORTED: it is sound, but cannot be converted; ERR_INVALID: an unknown type. */
int convert_run(const struct convert_job *job, struct err *err);

#endif
