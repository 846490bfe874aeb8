/* cria: one program. `serve` is the server; `runner`, `inspect`, `convert`, `probe` and `bench` are the processes that touch
 * model bytes; all other words are commands that talk to a server over HTTP. */
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "cli/cli.h"
#include "runner/bench.h"
#include "runner/convert_main.h"
#include "runner/inspect.h"
#include "runner/probe.h"
#include "runner/runner.h"
#include "serve/serve.h"

static const struct {
	const char *word;
	int (*fn)(int argc, char **argv);
} programs[] = {
	{"serve", serve_main}, {"start", serve_main},     {"runner", runner_main},
	{"inspect", inspect_main}, {"probe", probe_main}, {"convert", convert_main},
};

/* `cria bench NAME`: the name is looked up on the server, a file is taken as it is. */
static int bench(int argc, char **argv)
{
	static char path[4096];
	for (int i = 1; i < argc; i++) {
		bool value = argv[i - 1][0] == '-' && i > 1; /* the word after a flag */
		if (argv[i][0] == '-' || value)
			continue;
		if (cli_model_file(argv[i], path, sizeof path))
			argv[i] = path;
		break;
	}
	return bench_main(argc, argv);
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "bench"))
		return bench(argc - 1, argv + 1);
	for (size_t i = 0; argc > 1 && i < sizeof programs / sizeof *programs; i++)
		if (!strcmp(argv[1], programs[i].word))
			return programs[i].fn(argc - 1, argv + 1);
	return cli_main(argc, argv);
}
