#include "chat/jinja_big.h"

#include <math.h>
#include <string.h>

#include "base/map.h"
#include "chat/jinja_run.h"

enum { LIMBS_MAX = JBIG_BITS_MAX / 32 + 1, INT_LIMBS = 2 };

/* A number taken apart: sign and limbs, on the stack of the caller. */
struct num {
	bool neg;
	uint32_t n;
	uint32_t w[2 * LIMBS_MAX + 2]; /* products of two fit */
};

static void trim(struct num *x)
{
	while (x->n && !x->w[x->n - 1])
		x->n--;
	if (!x->n)
		x->neg = false;
}

static void load(struct num *x, const struct jval *v)
{
	if (v->kind == J_BIG) {
		x->neg = v->big->neg;
		x->n = v->big->n;
		memcpy(x->w, v->big->w, x->n * sizeof *x->w);
		return;
	}
	int64_t i = jv_as_int(v);
	uint64_t u = i < 0 ? -(uint64_t)i : (uint64_t)i;
	x->neg = i < 0;
	x->n = INT_LIMBS;
	x->w[0] = (uint32_t)u;
	x->w[1] = (uint32_t)(u >> 32);
	trim(x);
}

/* The value of x: J_INT when it fits. False when it is too long or the arena is full. */
static bool store(struct arena *a, struct num *x, struct jval *ret)
{
	trim(x);
	if (x->n <= INT_LIMBS) {
		uint64_t u = (x->n > 0 ? x->w[0] : 0) | (uint64_t)(x->n > 1 ? x->w[1] : 0) << 32;
		if (u <= (uint64_t)INT64_MAX + x->neg) {
			*ret = jv_int(x->neg ? (int64_t)-u : (int64_t)u);
			return true;
		}
	}
	if (x->n > LIMBS_MAX)
		return false;
	struct jbig *big = arena_alloc(a, sizeof *big + x->n * sizeof *big->w);
	if (!big)
		return false;
	big->neg = x->neg;
	big->n = x->n;
	memcpy(big->w, x->w, x->n * sizeof *big->w);
	*ret = (struct jval){.kind = J_BIG, .big = big};
	return true;
}

static bool store_run(struct jrun *r, struct num *x, struct jval *ret)
{
	return store(&r->arena, x, ret) ? true : jr_limit(r, "an integer has more than %d bits", JBIG_BITS_MAX);
}

static int cmp_abs(const struct num *a, const struct num *b)
{
	if (a->n != b->n)
		return a->n < b->n ? -1 : 1;
	for (uint32_t i = a->n; i-- > 0;)
		if (a->w[i] != b->w[i])
			return a->w[i] < b->w[i] ? -1 : 1;
	return 0;
}

static void add_abs(struct num *x, const struct num *b)
{
	uint64_t carry = 0;
	uint32_t n = x->n > b->n ? x->n : b->n;
	for (uint32_t i = 0; i < n; i++) {
		carry += (uint64_t)(i < x->n ? x->w[i] : 0) + (i < b->n ? b->w[i] : 0);
		x->w[i] = (uint32_t)carry;
		carry >>= 32;
	}
	x->n = n;
	if (carry)
		x->w[x->n++] = (uint32_t)carry;
}

/* x = big - small, where |big| >= |small|; x may be either. */
static void sub_abs(struct num *x, const struct num *big, const struct num *small)
{
	int64_t borrow = 0;
	uint32_t n = big->n;
	for (uint32_t i = 0; i < n; i++) {
		int64_t d = (int64_t)big->w[i] - (i < small->n ? small->w[i] : 0) + borrow;
		x->w[i] = (uint32_t)d;
		borrow = d < 0 ? -1 : 0;
	}
	x->n = n;
}

static void add(struct num *x, const struct num *b)
{
	if (x->neg == b->neg) {
		add_abs(x, b);
	} else if (cmp_abs(x, b) >= 0) {
		sub_abs(x, x, b);
	} else {
		sub_abs(x, b, x);
		x->neg = b->neg;
	}
	trim(x);
}

/* False when the product is too long. */
static bool mul(struct num *x, const struct num *b)
{
	struct num p = {.neg = x->neg != b->neg, .n = x->n + b->n};
	if (p.n > LIMBS_MAX + 1)
		return false;
	for (uint32_t i = 0; i < x->n; i++) {
		uint64_t carry = 0;
		for (uint32_t k = 0; k < b->n || carry; k++) {
			carry += p.w[i + k] + (uint64_t)x->w[i] * (k < b->n ? b->w[k] : 0);
			p.w[i + k] = (uint32_t)carry;
			carry >>= 32;
		}
	}
	trim(&p);
	*x = p;
	return x->n <= LIMBS_MAX;
}

/* Divides |x| by a small number; returns the rest. */
static uint32_t div_small(struct num *x, uint32_t d)
{
	uint64_t rest = 0;
	for (uint32_t i = x->n; i-- > 0;) {
		rest = rest << 32 | x->w[i];
		x->w[i] = (uint32_t)(rest / d);
		rest %= d;
	}
	trim(x);
	return (uint32_t)rest;
}

/* |q| = |x| / |d|, |x| becomes the rest: bit by bit, since the numbers are short. */
static void div_abs(struct num *x, const struct num *d, struct num *q)
{
	struct num rest = {0};
	q->n = x->n;
	q->neg = false;
	memset(q->w, 0, x->n * sizeof *q->w);
	for (uint32_t bit = x->n * 32; bit-- > 0;) {
		uint32_t carry = x->w[bit / 32] >> bit % 32 & 1;
		for (uint32_t i = 0; i < rest.n; i++) {
			uint32_t top = rest.w[i] >> 31;
			rest.w[i] = rest.w[i] << 1 | carry;
			carry = top;
		}
		if (carry)
			rest.w[rest.n++] = carry;
		if (cmp_abs(&rest, d) >= 0) {
			sub_abs(&rest, &rest, d);
			trim(&rest);
			q->w[bit / 32] |= 1u << bit % 32;
		}
	}
	trim(q);
	*x = rest;
}

/* Python's floor division: the quotient rounds down, the rest has the divisor's sign. */
static bool div_floor(struct jrun *r, struct num *x, const struct num *d, bool want_rest, struct jval *ret)
{
	struct num q, one = {.n = 1, .w = {1}};
	bool neg = x->neg != d->neg;
	div_abs(x, d, &q);
	q.neg = neg && q.n;
	if (neg && x->n) {
		sub_abs(x, d, x);
		one.neg = true;
		add(&q, &one);
	}
	x->neg = d->neg;
	trim(x);
	return store_run(r, want_rest ? x : &q, ret);
}

static bool power(struct jrun *r, const struct num *x, const struct jval *exp, struct jval *ret)
{
	struct num base = *x, p = {.n = 1, .w = {1}};
	bool tiny = x->n == 0 || (x->n == 1 && x->w[0] == 1);
	if (!tiny && (exp->kind == J_BIG || jv_as_int(exp) > JBIG_BITS_MAX))
		return jr_limit(r, "an integer has more than %d bits", JBIG_BITS_MAX);
	uint64_t e = exp->kind == J_BIG ? (exp->big->w[0] & 1) + 2 : (uint64_t)jv_as_int(exp);
	for (; e; e >>= 1) {
		if (e & 1 && !mul(&p, &base))
			return jr_limit(r, "an integer has more than %d bits", JBIG_BITS_MAX);
		if (e > 1 && !mul(&base, &base))
			return jr_limit(r, "an integer has more than %d bits", JBIG_BITS_MAX);
		r->steps += base.n * (uint64_t)base.n / 8;
		if (!jr_step(r))
			return false;
	}
	return store_run(r, &p, ret);
}

bool jbig_binary(struct jrun *r, int op, const struct jval *a, const struct jval *b, struct jval *ret)
{
	struct num x, y;
	load(&x, a);
	load(&y, b);
	r->steps += (uint64_t)x.n * (op == T_FLOORDIV || op == T_MOD ? x.n * 16 : y.n) / 8;
	if (!jr_step(r))
		return false;
	switch (op) {
	case T_SUB: y.neg = !y.neg && y.n; /* fall through */
	case T_ADD: add(&x, &y); return store_run(r, &x, ret);
	case T_MUL: return mul(&x, &y) ? store_run(r, &x, ret) : jr_limit(r, "an integer has more than %d bits", JBIG_BITS_MAX);
	case T_POW: return power(r, &x, b, ret);
	default: return div_floor(r, &x, &y, op == T_MOD, ret);
	}
}

bool jbig_negate(struct jrun *r, const struct jval *a, struct jval *ret)
{
	struct num x;
	load(&x, a);
	x.neg = !x.neg;
	return store_run(r, &x, ret);
}

/* The largest power of base below 2^32, and its exponent. */
static uint32_t chunk_of(int base, int *ret_digits)
{
	uint64_t chunk = (uint64_t)base;
	for (*ret_digits = 1; chunk * (uint64_t)base <= UINT32_MAX; (*ret_digits)++)
		chunk *= (uint64_t)base;
	return (uint32_t)chunk;
}

static uint32_t digit_of(char c)
{
	return (uint32_t)(c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
}

bool jbig_parse(struct arena *a, const char *digits, size_t n, int base, bool neg, struct jval *ret)
{
	struct num x = {.neg = neg};
	int per_chunk;
	chunk_of(base, &per_chunk);
	if (n > (base == 10 ? JBIG_DIGITS_MAX : JBIG_BITS_MAX))
		return false;
	for (size_t i = 0; i < n;) {
		uint64_t carry = 0, times = 1;
		for (int k = 0; k < per_chunk && i < n; k++, i++) {
			carry = carry * (uint64_t)base + digit_of(digits[i]);
			times *= (uint64_t)base;
		}
		for (uint32_t k = 0; k < x.n; k++) {
			carry += x.w[k] * times;
			x.w[k] = (uint32_t)carry;
			carry >>= 32;
		}
		if (carry)
			x.w[x.n++] = (uint32_t)carry;
		if (x.n > LIMBS_MAX)
			return false;
	}
	return store(a, &x, ret);
}

bool jbig_from_double(struct jrun *r, double f, struct jval *ret)
{
	f = trunc(f);
	if (f >= -9.2e18 && f <= 9.2e18) {
		*ret = jv_int((int64_t)f);
		return true;
	}
	struct num x = {.neg = f < 0};
	int exp;
	uint64_t m = (uint64_t)ldexp(frexp(fabs(f), &exp), 53);
	uint32_t shift = (uint32_t)(exp - 53), at = shift / 32;
	x.n = at + 3;
	for (int i = 0; i < 3; i++) {
		int bit = i * 32 - (int)(shift % 32);
		x.w[at + (uint32_t)i] = (uint32_t)(bit < 0 ? m << -bit : bit < 64 ? m >> bit : 0);
	}
	return store_run(r, &x, ret);
}

int jbig_sign(const struct jval *a)
{
	if (a->kind == J_BIG)
		return a->big->neg ? -1 : 1;
	int64_t i = jv_as_int(a);
	return i < 0 ? -1 : i > 0;
}

int jbig_cmp(const struct jval *a, const struct jval *b)
{
	if (a->kind != J_BIG && b->kind != J_BIG) {
		int64_t i = jv_as_int(a), k = jv_as_int(b);
		return i < k ? -1 : i > k;
	}
	int sa = jbig_sign(a), sb = jbig_sign(b);
	if (sa != sb)
		return sa < sb ? -1 : 1;
	struct num x, y;
	load(&x, a);
	load(&y, b);
	return cmp_abs(&x, &y) * (sa < 0 ? -1 : 1);
}

double jbig_double(const struct jval *a)
{
	if (a->kind != J_BIG)
		return (double)jv_as_int(a);
	/* the top 64 bits, with a sticky bit for all below, round correctly in the conversion */
	const struct jbig *x = a->big;
	uint32_t top = (uint32_t)__builtin_clz(x->w[x->n - 1]), bits = x->n * 32 - top;
	if (bits > 1024)
		return x->neg ? -INFINITY : INFINITY;
	uint64_t m = 0;
	for (uint32_t i = 0; i < 64; i++) {
		uint32_t bit = bits - 1 - i;
		m = m << 1 | (x->w[bit / 32] >> bit % 32 & 1);
	}
	bool sticky = false;
	for (uint32_t bit = 0; bit + 64 < bits && !sticky; bit++)
		sticky = x->w[bit / 32] >> bit % 32 & 1;
	double f = ldexp((double)(m | sticky), (int)bits - 64);
	return x->neg ? -f : f;
}

uint64_t jbig_hash(const struct jval *a)
{
	return map_hash(a->big->w, a->big->n * sizeof *a->big->w) ^ a->big->neg;
}

char *jbig_text(struct jrun *r, const struct jval *v, int base)
{
	struct num x;
	load(&x, v);
	bool neg = x.neg;
	int per_chunk;
	uint32_t chunk = chunk_of(base, &per_chunk);
	size_t cap = (size_t)x.n * 32 + 40, i = cap - 1; /* base 2 is the longest */
	r->steps += (uint64_t)x.n * x.n / 4;
	char *out = jr_alloc(r, cap);
	if (!out || !jr_step(r))
		return NULL;
	out[i] = '\0';
	do {
		uint32_t part = div_small(&x, chunk);
		for (int k = 0; k < per_chunk && (x.n || part || out[i] == '\0'); k++, part /= (uint32_t)base) {
			uint32_t d = part % (uint32_t)base;
			out[--i] = (char)(d < 10 ? '0' + d : 'a' + d - 10);
		}
	} while (x.n);
	if (neg)
		out[--i] = '-';
	return out + i;
}
