/* bug: assertions that stay on in release builds. For our own mistakes only, never for bad input. */
#ifndef CRIA_BASE_BUG_H
#define CRIA_BASE_BUG_H

#include <stdio.h>
#include <stdlib.h>

#define BUG(...)                                                                                                       \
	do {                                                                                                           \
		fprintf(stderr, "cria: bug at %s:%d: ", __FILE__, __LINE__);                                           \
		fprintf(stderr, __VA_ARGS__);                                                                          \
		fputc('\n', stderr);                                                                                   \
		abort();                                                                                               \
	} while (0)
#define BUG_ON(cond)                                                                                                   \
	do {                                                                                                           \
		if (__builtin_expect(!!(cond), 0))                                                                     \
			BUG("%s", #cond);                                                                              \
	} while (0)

#define ARRAY_LEN(a) (sizeof(a) / sizeof *(a))

#endif
