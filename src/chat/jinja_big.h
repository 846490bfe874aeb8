/* jinja_big: integers of templates beyond int64, up to JBIG_BITS_MAX bits. Values that fit int64 are always J_INT. */
#ifndef CRIA_CHAT_JINJA_BIG_H
#define CRIA_CHAT_JINJA_BIG_H

#include "base/arena.h"
#include "chat/jinja_value.h"

enum { JBIG_BITS_MAX = 16384, JBIG_DIGITS_MAX = 4300 /* to read, as in Python */ };

struct jbig {
	bool neg;
	uint32_t n;   /* limbs, the last one not zero */
	uint32_t w[]; /* least significant first */
};

/* Digits of this base (2-36), no sign; false when it is too long or the arena is full. */
bool jbig_parse(struct arena *a, const char *digits, size_t n, int base, bool neg, struct jval *ret);
/* a op b for integers of any size; op is one of + - * // % ** (enum jtok). Division by zero is the caller's to check. */
bool jbig_binary(struct jrun *r, int op, const struct jval *a, const struct jval *b, struct jval *ret);
bool jbig_negate(struct jrun *r, const struct jval *a, struct jval *ret);
bool jbig_from_double(struct jrun *r, double f, struct jval *ret); /* cut toward zero; f is finite */
int jbig_cmp(const struct jval *a, const struct jval *b);
double jbig_double(const struct jval *a); /* infinite when it is too large */
int jbig_sign(const struct jval *a);
uint64_t jbig_hash(const struct jval *a);
/* The digits in base 2, 8, 10 or 16, with a minus in front; NULL after a limit was hit. */
char *jbig_text(struct jrun *r, const struct jval *v, int base);

#endif
