/* Building of nondeterministic automata, and the sets of code points that they read. */
#include <stdlib.h>

#include "engine/grammar_dfa.h"

/* ---- sets of code points ---- */

void cpset_add(struct cpset *s, uint32_t lo, uint32_t hi)
{
	if (lo <= hi)
		vec_push(s, ((struct cprange){lo, hi}));
}

static int by_lo(const void *a, const void *b)
{
	const struct cprange *x = a, *y = b;
	return x->lo < y->lo ? -1 : x->lo > y->lo;
}

void cpset_normalize(struct cpset *s)
{
	size_t to = 0;
	if (!s->n)
		return;
	qsort(s->data, s->n, sizeof *s->data, by_lo);
	for (size_t i = 1; i < s->n; i++) {
		if (s->data[i].lo <= s->data[to].hi + 1) {
			if (s->data[i].hi > s->data[to].hi)
				s->data[to].hi = s->data[i].hi;
		} else {
			s->data[++to] = s->data[i];
		}
	}
	s->n = to + 1;
}

void cpset_invert(struct cpset *s)
{
	struct cpset out = {0};
	uint32_t lo = 0;
	for (size_t i = 0; i < s->n; i++) {
		if (s->data[i].lo > lo)
			cpset_add(&out, lo, s->data[i].lo - 1);
		lo = s->data[i].hi + 1;
	}
	if (lo <= CP_MAX)
		cpset_add(&out, lo, CP_MAX);
	vec_release(s);
	*s = out;
}

void cpset_release(struct cpset *s)
{
	vec_release(s);
}

/* ---- nodes ---- */

static uint32_t add(struct nfa *a, struct nfa_node n)
{
	if (a->n >= NFA_NODE_MAX) {
		a->full = true;
		return 0;
	}
	vec_push(a, n);
	return (uint32_t)a->n - 1;
}

void nfa_init(struct nfa *a)
{
	*a = (struct nfa){0};
	add(a, (struct nfa_node){.kind = NFA_MATCH});
}

void nfa_release(struct nfa *a)
{
	vec_release(a);
}

uint32_t nfa_range(struct nfa *a, uint8_t lo, uint8_t hi, uint32_t next)
{
	return add(a, (struct nfa_node){.kind = NFA_RANGE, .lo = lo, .hi = hi, .next = next});
}

uint32_t nfa_split(struct nfa *a, uint32_t x, uint32_t y)
{
	return add(a, (struct nfa_node){.kind = NFA_SPLIT, .next = x, .alt = y});
}

uint32_t nfa_anchor(struct nfa *a, enum nfa_kind kind, uint32_t next)
{
	return add(a, (struct nfa_node){.kind = (uint8_t)kind, .next = next});
}

uint32_t nfa_bytes(struct nfa *a, const char *s, size_t n, uint32_t next)
{
	while (n--)
		next = nfa_range(a, (uint8_t)s[n], (uint8_t)s[n], next);
	return next;
}

/* ---- characters ---- */

/* One character under construction: alternatives are gathered in `head`; tails of continuation bytes are shared. */
struct chars {
	struct nfa *a;
	uint32_t next, head;
	uint32_t tail[4]; /* [k]: k continuation bytes of any value, then next; 0 not made yet */
	bool any;
};

static void alternative(struct chars *c, uint32_t node)
{
	c->head = c->any ? nfa_split(c->a, node, c->head) : node;
	c->any = true;
}

static uint32_t tail_of(struct chars *c, int k)
{
	if (k == 0)
		return c->next;
	if (!c->tail[k])
		c->tail[k] = nfa_range(c->a, 0x80, 0xBF, tail_of(c, k - 1));
	return c->tail[k];
}

static int encode(uint32_t cp, uint8_t out[4])
{
	int n = cp < 0x80 ? 1 : cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
	static const uint8_t lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
	for (int i = n - 1; i > 0; i--, cp >>= 6)
		out[i] = 0x80 | (cp & 0x3F);
	out[0] = (uint8_t)(lead[n] | cp);
	return n;
}

/* [lo, hi] have the same length in UTF-8; cut until each byte position is a range of its own (RFC 3629). */
static void add_utf8(struct chars *c, uint32_t lo, uint32_t hi)
{
	uint8_t x[4], y[4];
	int n = encode(lo, x);
	for (int i = 1; i < n; i++) {
		uint32_t m = (1u << (6 * i)) - 1;
		if ((lo & ~m) == (hi & ~m))
			continue;
		if (lo & m) {
			add_utf8(c, lo, lo | m);
			add_utf8(c, (lo | m) + 1, hi);
			return;
		}
		if ((hi & m) != m) {
			add_utf8(c, lo, (hi & ~m) - 1);
			add_utf8(c, hi & ~m, hi);
			return;
		}
	}
	encode(hi, y);
	int i = n - 1, k = 0;
	while (i > 0 && x[i] == 0x80 && y[i] == 0xBF) {
		i--;
		k++;
	}
	uint32_t node = tail_of(c, k);
	for (; i >= 0; i--)
		node = nfa_range(c->a, x[i], y[i], node);
	alternative(c, node);
}

/* What [lo, hi] has in common with [from, to]. */
static void add_part(struct chars *c, struct cprange r, uint32_t from, uint32_t to)
{
	uint32_t lo = r.lo > from ? r.lo : from, hi = r.hi < to ? r.hi : to;
	if (lo <= hi)
		add_utf8(c, lo, hi);
}

static void add_raw(struct chars *c, struct cprange r)
{
	static const struct cprange parts[] = {{0x80, 0x7FF}, {0x800, 0xD7FF}, {0xE000, 0xFFFF}, {0x10000, CP_MAX}};
	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		add_part(c, r, parts[i].lo, parts[i].hi);
}

uint32_t nfa_cpset(struct nfa *a, const struct cpset *s, uint32_t next)
{
	struct chars c = {.a = a, .next = next};
	for (size_t i = 0; i < s->n; i++) {
		add_part(&c, s->data[i], 0, 0x7F);
		add_raw(&c, s->data[i]);
	}
	/* An empty set matches nothing: a range without bytes. */
	return c.any ? c.head : nfa_range(a, 1, 0, next);
}

/* The characters that have an escape: both ways to write the hex digits are taken. */
static void add_escape(struct chars *c, uint8_t ch)
{
	static const char shorts[] = "\bb\tt\nn\ff\rr\"\"\\\\";
	for (const char *p = shorts; *p; p += 2) {
		if ((uint8_t)*p != ch)
			continue;
		alternative(c, nfa_bytes(c->a, (char[]){'\\', p[1]}, 2, c->next));
		return;
	}
	uint8_t low = ch & 15;
	uint32_t node = low < 10 ? nfa_range(c->a, '0' + low, '0' + low, c->next)
	                         : nfa_split(c->a, nfa_range(c->a, 'a' + low - 10, 'a' + low - 10, c->next),
	                                     nfa_range(c->a, 'A' + low - 10, 'A' + low - 10, c->next));
	node = nfa_range(c->a, '0' + (ch >> 4), '0' + (ch >> 4), node);
	alternative(c, nfa_bytes(c->a, "\\u00", 4, node));
}

uint32_t nfa_cpset_json(struct nfa *a, const struct cpset *s, uint32_t next)
{
	struct chars c = {.a = a, .next = next};
	for (size_t i = 0; i < s->n; i++) {
		struct cprange r = s->data[i];
		add_part(&c, r, 0x20, '"' - 1);
		add_part(&c, r, '"' + 1, '\\' - 1);
		add_part(&c, r, '\\' + 1, 0x7F);
		add_raw(&c, r);
		for (uint32_t cp = r.lo > 1 ? r.lo : 1; cp < 0x20 && cp <= r.hi; cp++)
			add_escape(&c, (uint8_t)cp);
		if (r.lo <= '"' && r.hi >= '"')
			add_escape(&c, '"');
		if (r.lo <= '\\' && r.hi >= '\\')
			add_escape(&c, '\\');
	}
	return c.any ? c.head : nfa_range(a, 1, 0, next);
}
