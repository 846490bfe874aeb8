/* cria: one program. `serve` is the server; `runner`, `inspect`, `probe` and `bench` are the processes that touch model bytes;
 * all other words are commands that talk to a server over HTTP. */
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "cli/cli.h"
#include "runner/bench.h"
#include "runner/inspect.h"
#include "runner/probe.h"
#include "runner/runner.h"
#include "serve/serve.h"

/* The name of a model is looked up on the server, a file is taken as it is. */
static int bench(int argc, char **argv)
{
	return bench_main(argc, argv, cli_model_file);
}

static const struct {
	const char *word;
	int (*fn)(int argc, char **argv);
} programs[] = {
	{"serve", serve_main}, {"start", serve_main},     {"runner", runner_main},
	{"inspect", inspect_main}, {"probe", probe_main}, {"bench", bench},
};

int main(int argc, char **argv)
{
	for (size_t i = 0; argc > 1 && i < sizeof programs / sizeof *programs; i++)
		if (!strcmp(argv[1], programs[i].word))
			return programs[i].fn(argc - 1, argv + 1);
	return cli_main(argc, argv);
}
