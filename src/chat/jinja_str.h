/* jinja_str: Python's str methods, of which filters use some too. Results keep no mark as HTML; callers set it. */
#ifndef CRIA_CHAT_JINJA_STR_H
#define CRIA_CHAT_JINJA_STR_H

#include "chat/jinja_run.h"

/* count -1: all */
bool jstr_replace(struct jrun *r, const struct jstr *s, const struct jstr *old, const struct jstr *new, int64_t count,
		  struct jval *ret);
bool jstr_strip(struct jrun *r, const struct jstr *s, const struct jval *chars, bool left, bool right, struct jval *ret);
bool jstr_splitlines(struct jrun *r, const struct jval *s, bool keep_ends, struct jval *ret);
bool jstr_split(struct jrun *r, const struct jval *s, const struct jstr *sep, int64_t max, bool from_right, struct jval *ret);
bool jstr_center(struct jrun *r, struct jstr *s, size_t width, const struct jstr *fill, struct jval *ret);

#endif
