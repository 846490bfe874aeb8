/* cli_tar: reading and writing the few kinds of tar entries that a bundle has: plain files (POSIX ustar; sizes from 8 GiB in
 * base 256 and long names as GNU tar writes them). Sequential, so that pipes do. */
#ifndef CRIA_CLI_TAR_H
#define CRIA_CLI_TAR_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"
#include "base/str.h"

enum { TAR_BLOCK = 512, TAR_NAME_MAX = 1024 };

/* The header of a file entry; its bytes and cli_tar_pad follow. */
int cli_tar_header(FILE *f, const char *name, int64_t size_bytes, struct err *err);
int cli_tar_pad(FILE *f, int64_t size_bytes, struct err *err);
int cli_tar_finish(FILE *f, struct err *err);

struct cli_tar_entry {
	char name[TAR_NAME_MAX];
	int64_t size_bytes;
	bool file; /* else a folder, without bytes */
};
/* The next entry: 1, 0 at the end of the archive, negative on errors. Its bytes and cli_tar_skip_pad follow. */
int cli_tar_next(FILE *f, struct cli_tar_entry *ret, struct err *err);
/* Reads n bytes and drops them. */
int cli_tar_skip(FILE *f, int64_t n, struct err *err);
int cli_tar_skip_pad(FILE *f, int64_t size_bytes, struct err *err);

#endif
