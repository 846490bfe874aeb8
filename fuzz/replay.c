/* Runs a fuzzer's entry point over every file of the folders named on the command line: the corpora as regression tests,
 * without libFuzzer. A missing or empty folder is an error, so that a lost corpus cannot pass silently. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int run_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	if (!f)
		return -1;
	fseek(f, 0, SEEK_END);
	long n = ftell(f);
	rewind(f);
	uint8_t *data = malloc(n > 0 ? (size_t)n : 1); /* exact size: ASan sees reads past the end */
	size_t got = n > 0 ? fread(data, 1, (size_t)n, f) : 0;
	fclose(f);
	LLVMFuzzerTestOneInput(data, got);
	free(data);
	return 0;
}

int main(int argc, char **argv)
{
	int n_run = 0;
	for (int i = 1; i < argc; i++) {
		DIR *d = opendir(argv[i]);
		struct dirent *e;
		while (d && (e = readdir(d))) {
			char path[4096];
			if (e->d_name[0] == '.')
				continue;
			snprintf(path, sizeof path, "%s/%s", argv[i], e->d_name);
			n_run += run_file(path) == 0;
		}
		if (d)
			closedir(d);
	}
	printf("%s: %d inputs\n", argc > 1 ? strrchr(argv[0], '/') + 1 : "?", n_run);
	return n_run > 0 ? 0 : 1;
}
