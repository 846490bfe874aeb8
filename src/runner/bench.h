/* bench: `cria bench MODEL` measures one model on this machine: prefill, decode, decode of many streams at once and behind a
 * long prompt, each with its share of what the machine can do at most (bytes read per second, products per second, both
 * measured in the same run). Files: bench_args (command line), bench_machine (limits), bench_work (what a token costs),
 * bench_run (measuring), bench_print (table and JSON), bench (the order of it all). */
#ifndef CRIA_RUNNER_BENCH_H
#define CRIA_RUNNER_BENCH_H

#include <stdbool.h>
#include <stddef.h>

/* find: the file of a model that is no file itself, false when there is none; n bytes at ret_path. */
int bench_main(int argc, char **argv, bool (*find)(const char *name, char *ret_path, size_t n));

#endif
