#include "base/str.h"

#include <stdio.h>
#include <string.h>

#include "base/bug.h"
#include "base/mem.h"
#include "base/utf8.h"

void str_release(struct str *s)
{
	mem_free(s->data);
	*s = (struct str){0};
}

void str_clear(struct str *s)
{
	str_truncate(s, 0);
}

void str_reserve(struct str *s, size_t n_more)
{
	size_t need;
	BUG_ON(!size_add(s->len, n_more, &need) || !size_add(need, 1, &need));
	if (need <= s->cap)
		return;
	size_t cap = s->cap < 32 ? 64 : s->cap + s->cap / 2;
	if (cap < need)
		cap = need;
	s->data = mem_realloc(s->data, cap);
	s->cap = cap;
	s->data[s->len] = '\0';
}

void str_add(struct str *s, const void *p, size_t n)
{
	str_reserve(s, n);
	if (n)
		memcpy(s->data + s->len, p, n);
	s->len += n;
	s->data[s->len] = '\0';
}

void str_adds(struct str *s, const char *z)
{
	str_add(s, z, strlen(z));
}

void str_addc(struct str *s, char c)
{
	str_add(s, &c, 1);
}

void str_add_cp(struct str *s, unsigned cp)
{
	char buf[4];
	str_add(s, buf, utf8_encode(cp, buf));
}

void str_vprintf(struct str *s, const char *fmt, va_list ap)
{
	va_list copy;
	va_copy(copy, ap);
	int n = vsnprintf(NULL, 0, fmt, copy);
	va_end(copy);
	BUG_ON(n < 0);
	str_reserve(s, (size_t)n);
	vsnprintf(s->data + s->len, (size_t)n + 1, fmt, ap);
	s->len += (size_t)n;
}

void str_printf(struct str *s, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	str_vprintf(s, fmt, ap);
	va_end(ap);
}

void str_cut_front(struct str *s, size_t n)
{
	BUG_ON(n > s->len);
	if (n) {
		memmove(s->data, s->data + n, s->len - n);
		str_truncate(s, s->len - n);
	}
}

void str_truncate(struct str *s, size_t len)
{
	BUG_ON(len > s->len);
	s->len = len;
	if (s->data)
		s->data[len] = '\0';
}

char *str_take(struct str *s)
{
	str_reserve(s, 0);
	char *p = s->data;
	*s = (struct str){0};
	return p;
}

const char *str_cstr(const struct str *s)
{
	return s->data ? s->data : "";
}

bool str_eq(const struct str *s, const char *z)
{
	return s->len == strlen(z) && !memcmp(str_cstr(s), z, s->len);
}

bool ends_with(const char *s, const char *suffix)
{
	size_t n = strlen(s), m = strlen(suffix);
	return n >= m && !memcmp(s + n - m, suffix, m);
}

bool starts_with(const char *s, const char *prefix)
{
	return !strncmp(s, prefix, strlen(prefix));
}
