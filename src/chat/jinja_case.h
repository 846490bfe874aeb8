/* jinja_case: what Python's str methods know about characters: case mapping with the special cases of Unicode, classes,
 * white space. */
#ifndef CRIA_CHAT_JINJA_CASE_H
#define CRIA_CHAT_JINJA_CASE_H

#include "chat/jinja_value.h"

enum jcase { JCASE_UPPER, JCASE_LOWER, JCASE_TITLE, JCASE_CAPITALIZE, JCASE_SWAP, JCASE_FOLD };
enum jclass { JCLASS_ALPHA, JCLASS_DIGIT, JCLASS_DECIMAL, JCLASS_NUMERIC, JCLASS_ALNUM, JCLASS_SPACE, JCLASS_PRINTABLE };

bool jcase_map(struct jrun *r, const struct jstr *s, enum jcase how, struct jval *ret);
bool jcase_is(uint32_t cp, enum jclass c);
bool jcase_is_lower(const struct jstr *s); /* str.islower and so on */
bool jcase_is_upper(const struct jstr *s);
bool jcase_is_title(const struct jstr *s);
bool jcase_is_space(uint32_t cp);
bool jcase_word(uint32_t cp); /* \w of Python's re */
/* Length without the white space (or the characters of `chars`) at the ends; *ret_from is the start. */
size_t jcase_strip(const char *p, size_t n, const struct jstr *chars, bool left, bool right, size_t *ret_from);

#endif
