#include "engine/grammar_dfa.h"

#include <stdlib.h>
#include <string.h>

#include "base/map.h"

bool grammar_spend(struct grammar_budget *b, int64_t n)
{
	b->left -= n;
	return b->left >= 0;
}

int grammar_budget_err(struct err *err)
{
	return err_set(err, ERR_INVALID, "too complex: it would take too many states; shorten patterns, counts or alternatives");
}

/* ---- tables of states ---- */

void dfa_release(struct dfa *d)
{
	mem_free(d->next);
	mem_free(d->flags);
	*d = (struct dfa){0};
}

bool dfa_matches(const struct dfa *d, const char *s, size_t n)
{
	uint32_t state = d->n_state ? 0 : DFA_DEAD;
	for (size_t i = 0; i < n && state != DFA_DEAD; i++)
		state = dfa_step(d, state, (uint8_t)s[i]);
	return state != DFA_DEAD && (d->flags[state] & DFA_ACCEPT);
}

size_t dfa_bytes(const struct dfa *d)
{
	return (size_t)d->n_state * ((size_t)d->n_cls * sizeof *d->next + 1);
}

/* Marks the states from which an accepting one can be reached: edges are followed backwards, listed by their target. */
static void mark_live(const struct dfa *d, uint8_t *live)
{
	size_t n = (size_t)d->n_state, n_cls = (size_t)d->n_cls, n_todo = 0;
	uint32_t *at = mem_calloc(n + 2, sizeof *at), *todo = mem_calloc(n, sizeof *todo);
	for (size_t i = 0; i < n * n_cls; i++)
		if (d->next[i] != DFA_DEAD)
			at[d->next[i] + 2]++;
	for (size_t i = 2; i < n + 2; i++)
		at[i] += at[i - 1];
	uint32_t *from = mem_calloc(at[n + 1] + 1, sizeof *from);
	for (size_t i = 0; i < n * n_cls; i++)
		if (d->next[i] != DFA_DEAD)
			from[at[d->next[i] + 1]++] = (uint32_t)(i / n_cls);
	for (size_t i = 0; i < n; i++) {
		live[i] = (d->flags[i] & DFA_ACCEPT) != 0;
		if (live[i])
			todo[n_todo++] = (uint32_t)i;
	}
	while (n_todo) {
		uint32_t s = todo[--n_todo];
		for (uint32_t i = at[s]; i < at[s + 1]; i++) {
			if (live[from[i]])
				continue;
			live[from[i]] = 1;
			todo[n_todo++] = from[i];
		}
	}
	mem_free(at);
	mem_free(todo);
	mem_free(from);
}

int dfa_trim(struct dfa *d, struct grammar_budget *b, struct err *err)
{
	size_t n = (size_t)d->n_state, n_cls = (size_t)d->n_cls, to = 0;
	if (!grammar_spend(b, (int64_t)(n * n_cls))) {
		dfa_release(d);
		return grammar_budget_err(err);
	}
	if (!n)
		return 0;
	uint8_t *live = mem_zalloc(n);
	uint16_t *id = mem_calloc(n, sizeof *id);
	mark_live(d, live);
	for (size_t i = 0; i < n && live[0]; i++)
		id[i] = live[i] ? (uint16_t)to++ : DFA_DEAD;
	for (size_t i = 0, k = 0; i < n && live[0]; i++) {
		uint8_t flags = d->flags[i] & DFA_ACCEPT;
		if (!live[i])
			continue;
		for (size_t c = 0; c < n_cls; c++) {
			uint16_t t = d->next[i * n_cls + c];
			t = t == DFA_DEAD ? t : id[t];
			d->next[k * n_cls + c] = t;
			flags |= t != DFA_DEAD ? DFA_MORE : 0;
		}
		d->flags[k++] = flags;
	}
	d->n_state = (int)to;
	mem_free(live);
	mem_free(id);
	return 0;
}

/* ---- nondeterministic to deterministic ---- */

/* An element of a state: node << 2 | ELEM_*. */
enum { ELEM_READ = 1, ELEM_ENDED = 2 }; /* something was read; an end anchor was passed */

struct subset {
	const struct nfa *nfa;
	struct grammar_budget *budget;
	struct dfa *d;
	uint32_t *stamp, now;      /* [n_node * 4] */
	uint8_t *alive;            /* [n_node] the match can be reached from here once something was read */
	uint32_t *after;           /* [n_node * 4] state + 1 of what one element leads to alone; 0 not found yet */
	VEC(uint32_t) todo, work;  /* nodes of the closure under way; its elements that count */
	VEC(uint32_t) elems;       /* of all states */
	VEC(uint32_t) offs;        /* [n_state + 1] into elems */
	uint32_t *slots;           /* hash of states, index + 1 */
	size_t n_slot;
	VEC(uint16_t) next;
	VEC(uint8_t) flags;
};

static void visit(struct subset *s, uint32_t elem)
{
	if (s->stamp[elem] == s->now || ((elem & ELEM_READ) && !s->alive[elem >> 2]))
		return;
	s->stamp[elem] = s->now;
	vec_push(&s->todo, elem);
}

static void close_over(struct subset *s)
{
	while (s->todo.n) {
		uint32_t elem = s->todo.data[--s->todo.n], bits = elem & 3;
		const struct nfa_node *n = &s->nfa->data[elem >> 2];
		grammar_spend(s->budget, 1);
		switch ((enum nfa_kind)n->kind) {
		case NFA_SPLIT:
			visit(s, n->alt << 2 | bits);
			visit(s, n->next << 2 | bits);
			break;
		case NFA_BEGIN:
			if (!(bits & ELEM_READ))
				visit(s, n->next << 2 | bits);
			break;
		case NFA_END:
			visit(s, n->next << 2 | bits | ELEM_ENDED);
			break;
		case NFA_RANGE:
			if (!(bits & ELEM_ENDED))
				vec_push(&s->work, elem);
			break;
		case NFA_MATCH:
			vec_push(&s->work, elem);
			break;
		}
	}
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return x < y ? -1 : x > y;
}

static void grow_slots(struct subset *s)
{
	size_t n = s->n_slot ? s->n_slot * 2 : 256;
	mem_free(s->slots);
	s->slots = mem_calloc(n, sizeof *s->slots);
	s->n_slot = n;
	for (size_t i = 0; i + 1 < s->offs.n; i++) {
		uint32_t at = s->offs.data[i];
		size_t h = map_hash(s->elems.data + at, (s->offs.data[i + 1] - at) * sizeof(uint32_t)) & (n - 1);
		while (s->slots[h])
			h = (h + 1) & (n - 1);
		s->slots[h] = (uint32_t)i + 1;
	}
}

/* The state with the elements of `work`, which is made when there is none; DFA_DEAD for no elements or too many states. */
static uint32_t state_of_work(struct subset *s)
{
	size_t n = s->work.n, n_state = s->offs.n - 1;
	if (!n)
		return DFA_DEAD;
	qsort(s->work.data, n, sizeof *s->work.data, by_value);
	grammar_spend(s->budget, (int64_t)n);
	if (n_state * 2 >= s->n_slot)
		grow_slots(s);
	size_t h = map_hash(s->work.data, n * sizeof(uint32_t)) & (s->n_slot - 1);
	for (; s->slots[h]; h = (h + 1) & (s->n_slot - 1)) {
		uint32_t i = s->slots[h] - 1, at = s->offs.data[i];
		if (s->offs.data[i + 1] - at == n && !memcmp(s->elems.data + at, s->work.data, n * sizeof(uint32_t)))
			return i;
	}
	if (n_state >= DFA_STATE_MAX || !grammar_spend(s->budget, (int64_t)(n + (size_t)s->d->n_cls))) {
		s->budget->left = -1;
		return DFA_DEAD;
	}
	uint8_t flags = 0;
	vec_reserve(&s->elems, n);
	memcpy(s->elems.data + s->elems.n, s->work.data, n * sizeof(uint32_t));
	s->elems.n += n;
	for (size_t i = 0; i < n; i++)
		if (s->nfa->data[s->work.data[i] >> 2].kind == NFA_MATCH)
			flags = DFA_ACCEPT;
	vec_push(&s->offs, (uint32_t)s->elems.n);
	vec_push(&s->flags, flags);
	s->slots[h] = (uint32_t)n_state + 1;
	return (uint32_t)n_state;
}

/* A pattern that begins with an anchor is looked for at every place all the same: what cannot pass the anchor any more is
 * left out here. */
static void find_alive(struct subset *s)
{
	const struct nfa *a = s->nfa;
	bool changed = true;
	while (changed && grammar_spend(s->budget, (int64_t)a->n / 2)) {
		changed = false;
		for (size_t i = 0; i < a->n; i++) {
			const struct nfa_node *n = &a->data[i];
			bool is = n->kind == NFA_MATCH || (n->kind != NFA_BEGIN && s->alive[n->next]);
			is |= n->kind == NFA_SPLIT && s->alive[n->alt];
			changed |= is != s->alive[i];
			s->alive[i] = is;
		}
	}
}

static void begin_closure(struct subset *s)
{
	s->now++;
	s->work.n = 0;
}

/* Bytes that no range tells apart share a column. */
static void find_classes(const struct nfa *a, struct dfa *d, uint8_t *ret_sample)
{
	bool cut[257] = {false};
	for (size_t i = 0; i < a->n; i++)
		if (a->data[i].kind == NFA_RANGE)
			cut[a->data[i].lo] = cut[a->data[i].hi + 1] = true;
	d->n_cls = 0;
	for (int c = 0; c < 256; c++) {
		if (c == 0 || cut[c])
			ret_sample[d->n_cls++] = (uint8_t)c;
		d->cls[c] = (uint8_t)(d->n_cls - 1);
	}
}

/* Where a state goes with one byte. */
static uint32_t target(struct subset *s, uint32_t state, uint8_t byte)
{
	uint32_t from = s->offs.data[state], to = s->offs.data[state + 1];
	begin_closure(s);
	grammar_spend(s->budget, to - from + 1);
	for (uint32_t i = from; i < to; i++) {
		const struct nfa_node *n = &s->nfa->data[s->elems.data[i] >> 2];
		if (n->kind == NFA_RANGE && byte >= n->lo && byte <= n->hi)
			visit(s, n->next << 2 | ELEM_READ);
	}
	uint32_t *alone = s->todo.n == 1 ? &s->after[s->todo.data[0]] : NULL;
	if (alone && *alone) {
		s->todo.n = 0;
		return *alone - 1;
	}
	close_over(s);
	uint32_t t = state_of_work(s);
	if (alone)
		*alone = t + 1;
	return t;
}

static void add_row(struct subset *s, uint32_t state, const uint8_t *sample)
{
	for (int c = 0; c < s->d->n_cls; c++)
		vec_push(&s->next, (uint16_t)target(s, state, sample[c]));
}

int nfa_to_dfa(const struct nfa *a, uint32_t start, struct grammar_budget *b, struct dfa *ret, struct err *err)
{
	struct subset s = {.nfa = a, .budget = b, .d = ret};
	uint8_t sample[256];
	*ret = (struct dfa){0};
	if (a->full || !grammar_spend(b, (int64_t)a->n))
		return grammar_budget_err(err);
	find_classes(a, ret, sample);
	s.stamp = mem_calloc(a->n * 4, sizeof *s.stamp);
	s.after = mem_calloc(a->n * 4, sizeof *s.after);
	s.alive = mem_zalloc(a->n);
	find_alive(&s);
	vec_push(&s.offs, 0);
	begin_closure(&s);
	visit(&s, start << 2);
	close_over(&s);
	state_of_work(&s);
	for (uint32_t i = 0; i + 1 < s.offs.n && b->left >= 0; i++)
		add_row(&s, i, sample);
	ret->n_state = (int)s.offs.n - 1;
	ret->next = s.next.data;
	ret->flags = s.flags.data;
	mem_free(s.stamp);
	mem_free(s.after);
	mem_free(s.alive);
	mem_free(s.slots);
	vec_release(&s.todo);
	vec_release(&s.work);
	vec_release(&s.elems);
	vec_release(&s.offs);
	if (b->left < 0) {
		dfa_release(ret);
		return grammar_budget_err(err);
	}
	return dfa_trim(ret, b, err);
}

/* ---- two automata at once ---- */

struct product {
	const struct dfa *a, *b;
	bool minus;
	struct dfa *d;
	VEC(uint32_t) pairs; /* state of a << 16 | state of b, which may be DFA_DEAD */
	uint32_t *slots;
	size_t n_slot;
};

static size_t pair_hash(uint32_t pair, size_t n_slot)
{
	return (size_t)((pair * UINT64_C(0x9E3779B97F4A7C15)) >> 32) & (n_slot - 1);
}

/* DFA_DEAD when there are too many. */
static uint32_t pair_state(struct product *p, uint32_t pair)
{
	if (p->pairs.n * 2 >= p->n_slot) {
		p->n_slot = p->n_slot ? p->n_slot * 2 : 256;
		mem_free(p->slots);
		p->slots = mem_calloc(p->n_slot, sizeof *p->slots);
		for (size_t i = 0; i < p->pairs.n; i++) {
			size_t h = pair_hash(p->pairs.data[i], p->n_slot);
			while (p->slots[h])
				h = (h + 1) & (p->n_slot - 1);
			p->slots[h] = (uint32_t)i + 1;
		}
	}
	size_t h = pair_hash(pair, p->n_slot);
	for (; p->slots[h]; h = (h + 1) & (p->n_slot - 1))
		if (p->pairs.data[p->slots[h] - 1] == pair)
			return p->slots[h] - 1;
	if (p->pairs.n >= DFA_STATE_MAX)
		return DFA_DEAD;
	vec_push(&p->pairs, pair);
	p->slots[h] = (uint32_t)p->pairs.n;
	return (uint32_t)p->pairs.n - 1;
}

static void product_classes(struct product *p, uint8_t *ret_sample)
{
	struct dfa *d = p->d;
	d->n_cls = 0;
	for (int c = 0; c < 256; c++) {
		int k = 0;
		while (k < d->n_cls && (p->a->cls[ret_sample[k]] != p->a->cls[c] || p->b->cls[ret_sample[k]] != p->b->cls[c]))
			k++;
		if (k == d->n_cls)
			ret_sample[d->n_cls++] = (uint8_t)c;
		d->cls[c] = (uint8_t)k;
	}
}

int dfa_product(const struct dfa *a, const struct dfa *b, bool minus, struct grammar_budget *bud, struct dfa *ret, struct err *err)
{
	struct product p = {.a = a, .b = b, .minus = minus, .d = ret};
	VEC(uint16_t) next = {0};
	VEC(uint8_t) flags = {0};
	uint8_t sample[256];
	bool over = !grammar_spend(bud, 65536);
	*ret = (struct dfa){0};
	product_classes(&p, sample);
	if (a->n_state && (b->n_state || minus))
		pair_state(&p, b->n_state ? 0 : DFA_DEAD);
	for (size_t i = 0; i < p.pairs.n && !over; i++) {
		uint32_t x = p.pairs.data[i] >> 16, y = p.pairs.data[i] & 0xFFFF;
		bool in_b = y != DFA_DEAD && (b->flags[y] & DFA_ACCEPT);
		vec_push(&flags, (a->flags[x] & DFA_ACCEPT) && in_b != minus ? DFA_ACCEPT : 0);
		over = !grammar_spend(bud, ret->n_cls * 4);
		for (int c = 0; c < ret->n_cls; c++) {
			uint32_t s = dfa_step(a, x, sample[c]), t = y == DFA_DEAD ? y : dfa_step(b, y, sample[c]), to = DFA_DEAD;
			if (s != DFA_DEAD && (minus || t != DFA_DEAD)) {
				to = pair_state(&p, s << 16 | t);
				over |= to == DFA_DEAD;
			}
			vec_push(&next, (uint16_t)to);
		}
	}
	ret->n_state = (int)flags.n;
	ret->next = next.data;
	ret->flags = flags.data;
	mem_free(p.slots);
	vec_release(&p.pairs);
	if (over) {
		dfa_release(ret);
		return grammar_budget_err(err);
	}
	return dfa_trim(ret, bud, err);
}
