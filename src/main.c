/* cria: one program. `serve` is the server; `runner`, `inspect` and `probe` are the processes that touch model bytes; all
 * other words are commands that talk to a server over HTTP. */
#include <stddef.h>
#include <string.h>

#include "cli/cli.h"
#include "runner/inspect.h"
#include "runner/probe.h"
#include "runner/runner.h"
#include "serve/serve.h"

static const struct {
	const char *word;
	int (*fn)(int argc, char **argv);
} programs[] = {
	{"serve", serve_main}, {"start", serve_main},     {"runner", runner_main},
	{"inspect", inspect_main}, {"probe", probe_main},
};

int main(int argc, char **argv)
{
	for (size_t i = 0; argc > 1 && i < sizeof programs / sizeof *programs; i++)
		if (!strcmp(argv[1], programs[i].word))
			return programs[i].fn(argc - 1, argv + 1);
	return cli_main(argc, argv);
}
