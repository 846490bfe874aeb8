/* The command line of bench. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"
#include "runner/bench_int.h"

/* `512` or `512,2048`: whole numbers from min to max, separated by commas. */
static bool parse_list(const char *text, int min, int max, struct bench_list *ret)
{
	struct bench_list list = {.n = 0};
	for (char *end;; text = end + 1) {
		long v = strtol(text, &end, 10);
		if (end == text || v < min || v > max || list.n == BENCH_LIST_MAX || (*end && *end != ','))
			return false;
		list.v[list.n++] = (int)v;
		if (!*end)
			break;
	}
	*ret = list;
	return true;
}

bool bench_args(int argc, char **argv, struct bench_cfg *ret)
{
	struct bench_list gen = {{128}, 1}, repeat = {{3}, 1};
	*ret = (struct bench_cfg){.prompts = {{512}, 1}, .batches = {{1, 2, 4, 8, 16, 32}, 6}, .depths = {{0}, 1}, .threads = {{0}, 1}};
	const struct {
		const char *flag;
		struct bench_list *list;
		int n_max, min, max;
	} flags[] = {
		{"--prompt", &ret->prompts, BENCH_LIST_MAX, 1, 1 << 20},
		{"--gen", &gen, 1, 2, 1 << 16},
		{"--batch", &ret->batches, BENCH_LIST_MAX, 1, BENCH_STREAMS_MAX},
		{"--depth", &ret->depths, BENCH_LIST_MAX, 0, 1 << 20},
		{"--threads", &ret->threads, BENCH_LIST_MAX, 0, 1024},
		{"--repeat", &repeat, 1, 1, BENCH_REPEAT_MAX},
	};
	for (int i = 1; i < argc; i++) {
		size_t k = 0;
		if (!strcmp(argv[i], "--json")) {
			ret->json = true;
			continue;
		}
		if (!strcmp(argv[i], "--kv") && i + 1 < argc) {
			ret->kv_type = argv[++i];
			continue;
		}
		if (argv[i][0] != '-' && !ret->name) {
			ret->name = argv[i];
			continue;
		}
		while (k < ARRAY_LEN(flags) && strcmp(argv[i], flags[k].flag))
			k++;
		if (k == ARRAY_LEN(flags) || ++i == argc || !parse_list(argv[i], flags[k].min, flags[k].max, flags[k].list) ||
		    flags[k].list->n > flags[k].n_max)
			return false;
	}
	ret->n_gen = gen.v[0];
	ret->n_repeat = repeat.v[0];
	return ret->name;
}

void bench_usage(void)
{
	fprintf(stderr,
		"usage: cria bench MODEL|FILE.gguf [flags]\n\n"
		"  --prompt LIST    tokens of the prompts whose prefill is measured (512)\n"
		"  --gen N          tokens that each stream generates (128)\n"
		"  --batch LIST     streams that decode at once, at most %d (1,2,4,8,16,32)\n"
		"  --depth LIST     tokens in front of the generated ones (0: a prompt of %d)\n"
		"  --threads LIST   threads (0: one per core that this process may use)\n"
		"  --repeat N       times that each figure is measured (3)\n"
		"  --kv TYPE        what keys and values are stored as: f16, bf16, q8_0\n"
		"  --json           print JSON\n\n"
		"A LIST is numbers with commas, at most %d. CRIA_KERNELS and CRIA_CPU choose the kernels.\n",
		BENCH_STREAMS_MAX, BENCH_SHORT_TOK, BENCH_LIST_MAX);
}
