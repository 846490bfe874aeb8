#include "engine/schema_num.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

enum {
	INT_DIGITS = 18,      /* always an int64 */
	FRAC_DIGITS = 15,     /* with one digit before them less than the 17 that a double holds */
	BOUND_FRAC_DIGITS = 22,
	MULTIPLE_STATES = 16384,
};

/* A number without sign: its digits before and after the point, no zeros at the outer ends but a single "0" in front. */
struct decimal {
	bool neg;
	char ip[24], fp[24];
	bool more; /* digits after the point were left out that are not all 0 */
};

static bool is_zero(const struct decimal *d)
{
	return d->ip[0] == '0' && !d->fp[0];
}

/* Places the point after `point` of the digits. */
static void place(const char *digits, long point, struct decimal *d)
{
	long n = (long)strlen(digits), k = 0;
	if (point > INT_DIGITS + 1)
		point = INT_DIGITS + 1; /* larger than any number that is written: the digits do not matter */
	for (long i = 0; i < point; i++)
		d->ip[k++] = i < n ? digits[i] : '0';
	if (point <= 0)
		d->ip[k++] = '0';
	d->ip[k] = '\0';
	k = 0;
	for (long i = point; i < n && k < BOUND_FRAC_DIGITS; i++)
		d->fp[k++] = i < 0 ? '0' : digits[i];
	d->more = n - point > k;
	while (k && d->fp[k - 1] == '0')
		k--;
	d->fp[k] = '\0';
}

/* Cuts the digits after the point to n. */
static void cut(struct decimal *d, int n)
{
	if ((int)strlen(d->fp) <= n)
		return;
	d->fp[n] = '\0';
	d->more = true;
	while (n && d->fp[n - 1] == '0')
		d->fp[--n] = '\0';
}

static int decimal_of(const json_t *v, struct decimal *d, struct err *err)
{
	char text[40], digits[48];
	if (json_is_integer(v))
		snprintf(text, sizeof text, "%lld", (long long)json_integer_value(v));
	else if (json_is_real(v))
		json_f64_text(json_real_value(v), text);
	else
		return err_set(err, ERR_INVALID, "must be a number");
	const char *p = text;
	long n = 0, point = 0, lead = 0;
	bool dot = false;
	*d = (struct decimal){.neg = *p == '-'};
	for (p += d->neg; *p && *p != 'e'; p++) {
		if (*p == '.') {
			dot = true;
			continue;
		}
		digits[n++] = *p;
		point += !dot;
	}
	if (*p == 'e')
		point += strtol(p + 1, NULL, 10);
	while (n && digits[n - 1] == '0')
		n--;
	while (lead < n && digits[lead] == '0')
		lead++;
	digits[n] = '\0';
	if (lead == n) {
		*d = (struct decimal){.ip = "0"};
		return 0;
	}
	place(digits + lead, point - lead, d);
	return 0;
}

static int compare_size(const struct decimal *a, const struct decimal *b)
{
	size_t n = strlen(a->ip), m = strlen(b->ip);
	int c = n != m ? (n < m ? -1 : 1) : strcmp(a->ip, b->ip);
	return c ? c : strcmp(a->fp, b->fp);
}

/* ---- digits ---- */

struct num {
	struct nfa a;
	int n_frac; /* digits allowed after the point */
};

/* min to max digits, then next. */
static uint32_t digits_to(struct num *m, int min, int max, uint32_t next)
{
	uint32_t r = next;
	for (int i = min; i < max; i++)
		r = nfa_split(&m->a, nfa_range(&m->a, '0', '9', r), next);
	for (int i = 0; i < min; i++)
		r = nfa_range(&m->a, '0', '9', r);
	return r;
}

static uint32_t lit(struct num *m, const char *s, long n, uint32_t next)
{
	return nfa_bytes(&m->a, s, (size_t)n, next);
}

/* The first n bytes of s, a digit from lo to hi, then next. */
static uint32_t branch(struct num *m, const char *s, int n, char lo, char hi, uint32_t next)
{
	return lit(m, s, n, nfa_range(&m->a, (uint8_t)lo, (uint8_t)hi, next));
}

/* A point and digits, or nothing. */
static uint32_t any_frac(struct num *m)
{
	return m->n_frac ? nfa_split(&m->a, 0, lit(m, ".", 1, digits_to(m, 1, m->n_frac, 0))) : 0;
}

/* Whole numbers of min to max digits, then frac. */
static uint32_t whole(struct num *m, int min, int max, uint32_t frac)
{
	uint32_t r = nfa_range(&m->a, '1', '9', digits_to(m, min - 1, max - 1, frac));
	return min == 1 ? nfa_split(&m->a, r, lit(m, "0", 1, frac)) : r;
}

/* Up to n digits of which one is not 0. */
static uint32_t not_zero(struct num *m, int n)
{
	uint32_t r = nfa_range(&m->a, 1, 0, 0);
	for (int i = 0; i < n; i++)
		r = nfa_split(&m->a, nfa_range(&m->a, '1', '9', digits_to(m, 0, i, 0)), nfa_range(&m->a, '0', '0', r));
	return r;
}

/* What comes after the point of a number larger than d, or not smaller. */
static uint32_t frac_from(struct num *m, const struct decimal *d, bool or_equal)
{
	int n = (int)strlen(d->fp);
	uint32_t r = or_equal ? digits_to(m, n ? 0 : 1, m->n_frac - n, 0) : not_zero(m, m->n_frac - n);
	r = lit(m, d->fp, n, r);
	for (int i = 0; i < n; i++)
		if (d->fp[i] < '9')
			r = nfa_split(&m->a, r, branch(m, d->fp, i, (char)(d->fp[i] + 1), '9', digits_to(m, 0, m->n_frac - i - 1, 0)));
	return lit(m, ".", 1, r);
}

/* Numbers without sign that are larger than d, or not smaller. */
static uint32_t from(struct num *m, const struct decimal *d, bool or_equal)
{
	int n = (int)strlen(d->ip), n_frac = (int)strlen(d->fp);
	uint32_t frac = any_frac(m), r = nfa_range(&m->a, 1, 0, 0);
	if (n < INT_DIGITS)
		r = nfa_split(&m->a, r, whole(m, n + 1, INT_DIGITS, frac));
	for (int i = 0; i < n && n <= INT_DIGITS; i++)
		if (d->ip[i] < '9')
			r = nfa_split(&m->a, r, branch(m, d->ip, i, (char)(d->ip[i] + 1), '9', digits_to(m, n - 1 - i, n - 1 - i, frac)));
	if (n <= INT_DIGITS && m->n_frac && n_frac <= m->n_frac)
		r = nfa_split(&m->a, r, lit(m, d->ip, n, frac_from(m, d, or_equal)));
	if (n <= INT_DIGITS && !n_frac && or_equal)
		r = nfa_split(&m->a, r, lit(m, d->ip, n, 0));
	return r;
}

/* What comes after the whole part of a number smaller than d, or not larger. */
static uint32_t frac_to(struct num *m, const struct decimal *d, bool or_equal)
{
	int n = (int)strlen(d->fp);
	uint32_t r = nfa_range(&m->a, 1, 0, 0);
	if (n)
		r = nfa_split(&m->a, r, 0);
	if (or_equal) {
		uint32_t zeros = 0;
		for (int i = n; i < m->n_frac; i++)
			zeros = nfa_split(&m->a, 0, nfa_range(&m->a, '0', '0', zeros));
		if (n)
			r = nfa_split(&m->a, r, lit(m, ".", 1, lit(m, d->fp, n, zeros)));
		else
			r = nfa_split(&m->a, 0, m->n_frac ? lit(m, ".0", 2, zeros) : 0);
	}
	for (int i = 0; i < n; i++) {
		if (i > 0)
			r = nfa_split(&m->a, r, lit(m, ".", 1, lit(m, d->fp, i, 0)));
		if (d->fp[i] == '0')
			continue;
		uint32_t less = branch(m, d->fp, i, '0', (char)(d->fp[i] - 1), digits_to(m, 0, m->n_frac - i - 1, 0));
		r = nfa_split(&m->a, r, lit(m, ".", 1, less));
	}
	return r;
}

/* Numbers without sign that are smaller than d, or not larger. */
static uint32_t to(struct num *m, const struct decimal *d, bool or_equal)
{
	int n = (int)strlen(d->ip);
	uint32_t frac = any_frac(m);
	if (n > INT_DIGITS)
		return whole(m, 1, INT_DIGITS, frac);
	uint32_t r = nfa_range(&m->a, 1, 0, 0);
	if (n > 1)
		r = nfa_split(&m->a, r, whole(m, 1, n - 1, frac));
	for (int i = 0; i < n; i++) {
		char lo = i == 0 && n > 1 ? '1' : '0';
		if (d->ip[i] > lo)
			r = nfa_split(&m->a, r, branch(m, d->ip, i, lo, (char)(d->ip[i] - 1), digits_to(m, n - 1 - i, n - 1 - i, frac)));
	}
	return nfa_split(&m->a, r, lit(m, d->ip, n, frac_to(m, d, or_equal)));
}

/* ---- multiples ---- */

/* Digits of a divisor as one whole number, over the limit when it has too many. */
static uint32_t whole_value(const struct decimal *d)
{
	uint32_t n = 0;
	for (int part = 0; part < 2; part++)
		for (const char *p = part ? d->fp : d->ip; *p && n <= MULTIPLE_STATES; p++)
			n = n * 10 + (uint32_t)(*p - '0');
	return n;
}

/* One row of the automaton: block i < k + 1 holds the remainders after i digits behind the point, block k + 1 those right
 * behind it. */
static void multiple_row(struct dfa *d, uint32_t n, uint32_t k, uint32_t state)
{
	uint32_t block = state / n, rem = state % n, scaled = rem, n_digit = block == k + 1 ? 0 : block;
	bool behind = block > 0;
	for (uint32_t i = n_digit; i < k; i++)
		scaled = scaled * 10 % n;
	d->flags[state] = block <= k && scaled == 0 ? DFA_ACCEPT : 0;
	for (uint32_t c = 0; c < 10 && (!behind || n_digit < k); c++)
		d->next[state * 12 + c] = (uint16_t)((rem * 10 + c) % n + n * (behind ? n_digit + 1 : 0));
	if (k && !behind)
		d->next[state * 12 + 10] = (uint16_t)(n * (k + 1) + rem);
}

/* All digits are read as one whole number, of which the remainder by n is kept; n is the divisor with its k digits after
 * the point as a whole number. The number is a multiple when the remainder is 0 once k digits behind the point are made up. */
static int multiple_dfa(const json_t *multiple, struct grammar_budget *b, struct dfa *ret, struct err *err)
{
	struct decimal div;
	int rc = decimal_of(multiple, &div, err);
	if (rc)
		return rc;
	if (div.neg || is_zero(&div))
		return err_set(err, ERR_INVALID, "must be larger than 0");
	uint32_t k = (uint32_t)strlen(div.fp), n = whole_value(&div), n_state = n * (k ? k + 2 : 1);
	if (div.more || n > MULTIPLE_STATES || n_state > MULTIPLE_STATES)
		return err_set(err, ERR_INVALID, "multiples of %s%s%s are not supported: too many digits", div.ip, k ? "." : "", div.fp);
	*ret = (struct dfa){.n_cls = 12, .n_state = (int)n_state};
	ret->next = mem_calloc((size_t)n_state * 12, sizeof *ret->next);
	ret->flags = mem_calloc(n_state, 1);
	memset(ret->next, 0xFF, (size_t)n_state * 12 * sizeof *ret->next); /* DFA_DEAD */
	memset(ret->cls, 11, sizeof ret->cls);
	for (int c = 0; c < 10; c++)
		ret->cls['0' + c] = (uint8_t)c;
	ret->cls['.'] = 10;
	for (uint32_t s = 0; s < n_state; s++)
		multiple_row(ret, n, k, s);
	return dfa_trim(ret, b, err);
}

/* ---- putting it together ---- */

struct bounds {
	struct decimal lo, hi;
	bool has_lo, has_hi, lo_equal, hi_equal;
};

/* -1, 0, 1 by value. */
static int compare(const struct decimal *a, const struct decimal *b)
{
	if (a->neg != b->neg)
		return a->neg ? -1 : 1;
	return a->neg ? -compare_size(a, b) : compare_size(a, b);
}

static int narrow(const json_t *v, bool lower, bool equal, struct bounds *b, struct err *err)
{
	struct decimal d, *at = lower ? &b->lo : &b->hi;
	bool *has = lower ? &b->has_lo : &b->has_hi, *or_equal = lower ? &b->lo_equal : &b->hi_equal;
	if (!v)
		return 0;
	int rc = decimal_of(v, &d, err);
	if (rc)
		return rc;
	int c = *has ? compare(&d, at) * (lower ? 1 : -1) : 1;
	if (c > 0 || (c == 0 && !equal)) {
		*at = d;
		*or_equal = equal;
	}
	*has = true;
	return 0;
}

static int read_bounds(const struct num_range *r, struct bounds *b, struct err *err)
{
	const struct {
		const json_t *v;
		const char *name;
		bool lower, equal;
	} all[] = {{r->min, "minimum", true, true}, {r->above, "exclusiveMinimum", true, false},
	           {r->max, "maximum", false, true}, {r->below, "exclusiveMaximum", false, false}};
	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		if (narrow(all[i].v, all[i].lower, all[i].equal, b, err))
			return err_prefix(err, "%s", all[i].name);
	return 0;
}

/* Narrows *d to what also satisfies another automaton, which is released. */
static int narrow_dfa(struct grammar *g, struct dfa *d, struct dfa *by, struct err *err)
{
	struct dfa both;
	int rc = dfa_product(d, by, false, &g->budget, &both, err);
	dfa_release(d);
	dfa_release(by);
	*d = both;
	return rc;
}

enum part { PART_ALL, PART_FROM, PART_TO };

static int part_dfa(struct grammar *g, int n_frac, enum part part, const struct decimal *d, bool equal, struct dfa *ret,
	struct err *err)
{
	struct num m = {.n_frac = n_frac};
	uint32_t start;
	nfa_init(&m.a);
	if (part == PART_ALL)
		start = whole(&m, 1, INT_DIGITS, any_frac(&m));
	else
		start = part == PART_FROM ? from(&m, d, equal) : to(&m, d, equal);
	int rc = nfa_to_dfa(&m.a, start, &g->budget, ret, err);
	nfa_release(&m.a);
	return rc;
}

/* Narrows *d to the side of a bound. A bound with more digits than are written is cut: what is larger than the rest is larger
 * than the bound, and what is not larger than the rest is smaller than the bound. */
static int narrow_to(struct grammar *g, struct dfa *d, int n_frac, enum part part, const struct decimal *bound, bool equal,
	struct err *err)
{
	struct decimal b = *bound;
	struct dfa by;
	cut(&b, n_frac);
	if (b.more)
		equal = part == PART_TO;
	int rc = part_dfa(g, n_frac, part, &b, equal, &by, err);
	return rc ? rc : narrow_dfa(g, d, &by, err);
}

/* Numbers without sign between lo and hi (either may be NULL) that are multiples. */
static int sized_dfa(struct grammar *g, const struct num_range *r, int n_frac, const struct decimal *lo, bool lo_equal,
	const struct decimal *hi, bool hi_equal, uint32_t *ret, struct err *err)
{
	struct dfa d, more;
	int rc = part_dfa(g, n_frac, PART_ALL, NULL, false, &d, err);
	if (!rc && lo)
		rc = narrow_to(g, &d, n_frac, PART_FROM, lo, lo_equal, err);
	if (!rc && hi)
		rc = narrow_to(g, &d, n_frac, PART_TO, hi, hi_equal, err);
	if (!rc && r->multiple) {
		rc = multiple_dfa(r->multiple, &g->budget, &more, err);
		if (!rc)
			rc = narrow_dfa(g, &d, &more, err);
		if (rc)
			err_prefix(err, "multipleOf");
	}
	if (rc) {
		dfa_release(&d);
		return rc;
	}
	return gb_add_dfa(g, &d, ret, err);
}

/* So few that no number near a bound rounds to the other side of it. */
static int digits_after_point(const struct num_range *r, const struct bounds *b)
{
	size_t n = 1;
	if (b->has_lo)
		n = strlen(b->lo.ip);
	if (b->has_hi && strlen(b->hi.ip) > n)
		n = strlen(b->hi.ip);
	return r->integer || n > FRAC_DIGITS ? 0 : (int)(FRAC_DIGITS + 1 - n);
}

static int unbounded(struct grammar *g, bool integer, uint32_t *ret, struct err *err)
{
	struct num m = {.n_frac = integer ? 0 : FRAC_DIGITS};
	nfa_init(&m.a);
	uint32_t tail = 0;
	if (!integer) {
		/* Two digits: the value stays a finite double whatever comes before. */
		uint32_t e = digits_to(&m, 1, 2, 0);
		e = nfa_split(&m.a, e, nfa_split(&m.a, lit(&m, "+", 1, e), lit(&m, "-", 1, e)));
		tail = nfa_split(&m.a, 0, nfa_split(&m.a, lit(&m, "e", 1, e), lit(&m, "E", 1, e)));
		tail = nfa_split(&m.a, tail, lit(&m, ".", 1, digits_to(&m, 1, FRAC_DIGITS, tail)));
	}
	uint32_t start = nfa_range(&m.a, '1', '9', digits_to(&m, 0, INT_DIGITS - 1, tail));
	uint32_t zero = lit(&m, "0", 1, tail);
	if (integer)
		start = nfa_split(&m.a, nfa_split(&m.a, zero, start), lit(&m, "-", 1, start));
	else
		start = nfa_split(&m.a, nfa_split(&m.a, zero, start), lit(&m, "-", 1, nfa_split(&m.a, zero, start)));
	return gb_add_nfa(g, &m.a, start, ret, err);
}

int num_compile(struct grammar *g, const struct num_range *r, uint32_t next, uint32_t *ret, struct err *err)
{
	static const struct decimal zero = {.ip = "0"};
	struct bounds b = {0};
	uint32_t dfa = 0;
	int rc = read_bounds(r, &b, err);
	*ret = GB_FAIL;
	if (rc)
		return rc;
	if (!b.has_lo && !b.has_hi && !r->multiple) {
		rc = unbounded(g, r->integer, &dfa, err);
		*ret = rc ? GB_FAIL : gb_dfa(g, dfa, next);
		return rc;
	}
	int n_frac = digits_after_point(r, &b);
	if (!b.has_hi || !b.hi.neg) {
		bool lo = b.has_lo && !b.lo.neg;
		rc = sized_dfa(g, r, n_frac, lo ? &b.lo : NULL, b.lo_equal, b.has_hi ? &b.hi : NULL, b.hi_equal, &dfa, err);
		if (rc)
			return rc;
		*ret = gb_dfa(g, dfa, next);
	}
	if (!b.has_lo || b.lo.neg) {
		bool hi = b.has_hi && b.hi.neg;
		rc = sized_dfa(g, r, n_frac, hi ? &b.hi : &zero, hi && b.hi_equal, b.has_lo ? &b.lo : NULL, b.lo_equal, &dfa, err);
		if (rc)
			return rc;
		*ret = gb_split(g, *ret, gb_lit(g, "-", gb_dfa(g, dfa, next)));
	}
	return 0;
}
