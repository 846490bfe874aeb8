#include "base/utf8.h"

/* Length a first byte announces, 0 when it cannot start a character. */
static size_t announced(unsigned char b)
{
	return b < 0x80 ? 1 : b < 0xC2 ? 0 : b < 0xE0 ? 2 : b < 0xF0 ? 3 : b < 0xF5 ? 4 : 0;
}

/* True when byte b may stand at index i (1-3) of a character that starts with first. */
static bool fits(unsigned char first, size_t i, unsigned char b)
{
	if ((b & 0xC0) != 0x80)
		return false;
	if (i != 1)
		return true;
	switch (first) {
	case 0xE0: return b >= 0xA0;
	case 0xED: return b < 0xA0;
	case 0xF0: return b >= 0x90;
	case 0xF4: return b < 0x90;
	default: return true;
	}
}

size_t utf8_decode(const char *s, size_t n, uint32_t *ret_cp)
{
	const unsigned char *u = (const unsigned char *)s;
	size_t len = announced(u[0]);
	if (len == 0 || len > n)
		return 0;
	uint32_t cp = len == 1 ? u[0] : u[0] & (0x7Fu >> len);
	for (size_t i = 1; i < len; i++) {
		if (!fits(u[0], i, u[i]))
			return 0;
		cp = cp << 6 | (u[i] & 0x3Fu);
	}
	*ret_cp = cp;
	return len;
}

size_t utf8_next(const char *s, size_t n, uint32_t *ret_cp)
{
	size_t len = utf8_decode(s, n, ret_cp);
	if (len)
		return len;
	*ret_cp = UTF8_REPLACEMENT;
	return 1;
}

size_t utf8_encode(uint32_t cp, char out[4])
{
	if (cp > 0x10FFFF || (cp >= 0xD800 && cp < 0xE000))
		cp = UTF8_REPLACEMENT;
	if (cp < 0x80) {
		out[0] = (char)cp;
		return 1;
	}
	if (cp < 0x800) {
		out[0] = (char)(0xC0 | cp >> 6);
		out[1] = (char)(0x80 | (cp & 0x3F));
		return 2;
	}
	if (cp < 0x10000) {
		out[0] = (char)(0xE0 | cp >> 12);
		out[1] = (char)(0x80 | (cp >> 6 & 0x3F));
		out[2] = (char)(0x80 | (cp & 0x3F));
		return 3;
	}
	out[0] = (char)(0xF0 | cp >> 18);
	out[1] = (char)(0x80 | (cp >> 12 & 0x3F));
	out[2] = (char)(0x80 | (cp >> 6 & 0x3F));
	out[3] = (char)(0x80 | (cp & 0x3F));
	return 4;
}

bool utf8_valid(const char *s, size_t n)
{
	uint32_t cp;
	for (size_t i = 0; i < n;) {
		size_t len = utf8_decode(s + i, n - i, &cp);
		if (!len)
			return false;
		i += len;
	}
	return true;
}

size_t utf8_whole(const char *s, size_t n)
{
	const unsigned char *u = (const unsigned char *)s;
	for (size_t back = 1; back <= 3 && back <= n; back++) {
		unsigned char first = u[n - back];
		if ((first & 0xC0) == 0x80)
			continue;
		size_t len = announced(first);
		if (len <= back)
			return n;
		for (size_t i = 1; i < back; i++)
			if (!fits(first, i, u[n - back + i]))
				return n;
		return n - back;
	}
	return n;
}

size_t utf8_count(const char *s, size_t n)
{
	uint32_t cp;
	size_t count = 0;
	for (size_t i = 0; i < n; count++)
		i += utf8_next(s + i, n - i, &cp);
	return count;
}
