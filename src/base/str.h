/* str: a growable byte string, always NUL-terminated at data[len] (the content may hold NULs too). A zeroed struct is an
 * empty string with data NULL; str_cstr never returns NULL. */
#ifndef CRIA_BASE_STR_H
#define CRIA_BASE_STR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

struct str {
	char *data;
	size_t len, cap;
};

void str_release(struct str *s);
void str_clear(struct str *s);                        /* keeps the memory */
void str_reserve(struct str *s, size_t n_more);       /* room for n_more bytes and the NUL */
void str_add(struct str *s, const void *p, size_t n);
void str_adds(struct str *s, const char *z);
void str_addc(struct str *s, char c);
void str_add_cp(struct str *s, unsigned cp);          /* one code point as UTF-8 */
void str_printf(struct str *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void str_vprintf(struct str *s, const char *fmt, va_list ap);
void str_cut_front(struct str *s, size_t n);          /* drops the first n bytes */
void str_truncate(struct str *s, size_t len);
char *str_take(struct str *s);                        /* the caller owns the bytes (mem_free); s is empty again */
const char *str_cstr(const struct str *s);
bool str_eq(const struct str *s, const char *z);

bool ends_with(const char *s, const char *suffix);
bool starts_with(const char *s, const char *prefix);

#endif
