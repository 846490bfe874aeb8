/* err: one failure, its class and the sentence a person reads.
 *
 * Functions that can fail return 0 or a negative enum err_code and fill *err, which is their last parameter. The message
 * says what happened, with which value, and what to do. A caller may add context in front with err_prefix. */
#ifndef CRIA_BASE_ERR_H
#define CRIA_BASE_ERR_H

enum err_code {
	ERR_OK = 0,
	ERR_BASE_ = -100,
#define ERR(name, text) ERR_##name,
#include "base/err.def"
#undef ERR
	ERR_END_
};

struct err {
	int code;       /* enum err_code */
	char msg[1024]; /* UTF-8, NUL-terminated, cut at a character boundary */
};

/* Fills *err (which may be NULL) and returns code, so that `return err_set(...)` reads well. */
int err_set(struct err *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Puts "prefix: " in front of the message; returns err->code. */
int err_prefix(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The class as an identifier ("NOT_FOUND") and as words; "?" for unknown codes. */
const char *err_name(int code);
const char *err_text(int code);
/* The code with this identifier, or ERR_INTERNAL. */
int err_from_name(const char *name);

#endif
