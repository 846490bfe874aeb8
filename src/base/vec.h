/* vec: a growable array of any type. Declare `VEC(int) v = {0};`, then vec_push(&v, x), v.data[i], v.n, vec_release(&v). */
#ifndef CRIA_BASE_VEC_H
#define CRIA_BASE_VEC_H

#include <stddef.h>

#include "base/bug.h"
#include "base/mem.h"

#define VEC(type)                                                                                                      \
	struct {                                                                                                       \
		type *data;                                                                                            \
		size_t n, cap;                                                                                         \
	}

/* Room for n_more further elements. */
#define vec_reserve(v, n_more)                                                                                         \
	do {                                                                                                           \
		size_t need_;                                                                                          \
		BUG_ON(!size_add((v)->n, (n_more), &need_));                                                           \
		if (need_ > (v)->cap) {                                                                                \
			size_t cap_ = (v)->cap + (v)->cap / 2 + 8, bytes_;                                             \
			if (cap_ < need_)                                                                              \
				cap_ = need_;                                                                          \
			BUG_ON(!size_mul(cap_, sizeof *(v)->data, &bytes_));                                           \
			(v)->data = mem_realloc((v)->data, bytes_);                                                    \
			(v)->cap = cap_;                                                                               \
		}                                                                                                      \
	} while (0)

#define vec_push(v, x)                                                                                                 \
	do {                                                                                                           \
		vec_reserve(v, 1);                                                                                     \
		(v)->data[(v)->n++] = (x);                                                                             \
	} while (0)

#define vec_release(v)                                                                                                 \
	do {                                                                                                           \
		mem_free((v)->data);                                                                                   \
		(v)->data = NULL;                                                                                      \
		(v)->n = (v)->cap = 0;                                                                                 \
	} while (0)

/* The id lists that tokenizers and engine pass around. */
struct ids {
	int *data;
	size_t n, cap;
};

#endif
