/* mem: allocation. mem_alloc and friends never return NULL: sizes there are ours, and running out ends the process with
 * a message. Sizes that come from a file or a client go through size_add / size_mul first and through mem_try_alloc.
 *
 * mem_freeze(true) forbids allocation on the calling thread: the engine thread runs its steps frozen. */
#ifndef CRIA_BASE_MEM_H
#define CRIA_BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Checked arithmetic: true when *ret holds the exact result, false on overflow (then *ret is SIZE_MAX). */
bool size_add(size_t a, size_t b, size_t *ret);
bool size_mul(size_t a, size_t b, size_t *ret);

void *mem_alloc(size_t n_bytes);             /* uninitialized; n_bytes 0 gives a valid pointer */
void *mem_zalloc(size_t n_bytes);            /* zeroed */
void *mem_calloc(size_t n, size_t size);     /* zeroed, product checked (overflow is a bug) */
void *mem_realloc(void *p, size_t n_bytes);
void *mem_try_alloc(size_t n_bytes);         /* NULL when there is not enough */
char *mem_strdup(const char *s);
char *mem_strndup(const char *s, size_t n);  /* copies n bytes and adds a NUL */
void mem_free(void *p);                      /* NULL is fine */
/* n_bytes rounded up, aligned to `align` (a power of two); free with mem_free. NULL when there is not enough. */
void *mem_try_aligned(size_t align, size_t n_bytes);

void mem_freeze(bool on);

/* Once, at the start of a process that serves: blocks of a MiB and more go back to the kernel when they are freed (the C
 * library would otherwise raise that threshold to 32 MiB after the first large block, and keep what lies below). */
void mem_return_large(void);
/* Gives free pages back to the kernel; milliseconds. For after a piece of work that needed far more than usual. */
void mem_trim(void);

#endif
