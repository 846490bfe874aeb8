/* utf8: decode, encode and check UTF-8 (RFC 3629: no surrogates, no overlong forms, at most U+10FFFF). */
#ifndef CRIA_BASE_UTF8_H
#define CRIA_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UTF8_REPLACEMENT 0xFFFDu

/* Decodes the character at s (n > 0 bytes left). Returns its length 1-4, or 0 when the bytes are not valid there. */
size_t utf8_decode(const char *s, size_t n, uint32_t *ret_cp);
/* Decodes as Go does: an invalid byte gives U+FFFD and length 1. */
size_t utf8_next(const char *s, size_t n, uint32_t *ret_cp);
/* Writes 1-4 bytes; surrogates and values over U+10FFFF are written as U+FFFD. */
size_t utf8_encode(uint32_t cp, char out[4]);
bool utf8_valid(const char *s, size_t n);
/* Length of the longest prefix that does not end inside a character that more bytes could complete. */
size_t utf8_whole(const char *s, size_t n);
/* Number of code points, invalid bytes counted as one each. */
size_t utf8_count(const char *s, size_t n);

#endif
