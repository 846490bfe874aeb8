/* bench: `cria bench FILE` measures one model on this machine: prefill, decode, decode of many streams at once, each with its
 * share of what the machine can do at most (bytes read per second, byte products per second, both measured in the same run). */
#ifndef CRIA_RUNNER_BENCH_H
#define CRIA_RUNNER_BENCH_H

int bench_main(int argc, char **argv);

#endif
