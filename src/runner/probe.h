/* probe: `cria probe [--model FILE]` answers JSON lines: one line out for every line in, in order, {"error": text} for a case
 * that fails. It shows what each layer does with given input, for people and for golden tests. CRIA_KERNELS and CRIA_CPU
 * choose the kernels, CRIA_KV_CACHE_TYPE what K and V are stored as. */
#ifndef CRIA_RUNNER_PROBE_H
#define CRIA_RUNNER_PROBE_H

int probe_main(int argc, char **argv);

#endif
