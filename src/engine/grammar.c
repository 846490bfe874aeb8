#include "engine/grammar_int.h"

#include <string.h>

static uint32_t add(struct grammar *g, struct grammar_node n)
{
	if (g->nodes.n >= GRAMMAR_NODE_MAX || !grammar_spend(&g->budget, 4)) {
		g->budget.left = -1;
		return GB_FAIL;
	}
	vec_push(&g->nodes, n);
	return (uint32_t)g->nodes.n - 1;
}

struct grammar *gb_new(void)
{
	struct grammar *g = mem_zalloc(sizeof *g);
	struct dfa chars;
	struct err err;
	g->budget.left = GRAMMAR_BUDGET;
	add(g, (struct grammar_node){.kind = NODE_FAIL});
	add(g, (struct grammar_node){.kind = NODE_RET});
	BUG_ON(grammar_char_dfa(&chars, &g->budget, &err));
	vec_push(&g->dfas, chars);
	gb_rule(g);
	return g;
}

void grammar_free(struct grammar *g)
{
	if (!g)
		return;
	for (size_t i = 0; i < g->dfas.n; i++)
		dfa_release(&g->dfas.data[i]);
	vec_release(&g->dfas);
	vec_release(&g->nodes);
	vec_release(&g->counts);
	vec_release(&g->reps);
	vec_release(&g->rules);
	mem_free(g);
}

uint32_t gb_range(struct grammar *g, uint8_t lo, uint8_t hi, uint32_t next)
{
	return next == GB_FAIL ? GB_FAIL : add(g, (struct grammar_node){.kind = NODE_RANGE, .lo = lo, .hi = hi, .next = next});
}

uint32_t gb_bytes(struct grammar *g, const char *s, size_t n, uint32_t next)
{
	while (n--)
		next = gb_range(g, (uint8_t)s[n], (uint8_t)s[n], next);
	return next;
}

uint32_t gb_lit(struct grammar *g, const char *z, uint32_t next)
{
	return gb_bytes(g, z, strlen(z), next);
}

uint32_t gb_split(struct grammar *g, uint32_t x, uint32_t y)
{
	if (x == GB_FAIL || y == GB_FAIL || x == y)
		return x == GB_FAIL ? y : x;
	return add(g, (struct grammar_node){.kind = NODE_SPLIT, .next = x, .arg = y});
}

uint32_t gb_loop(struct grammar *g, uint32_t next)
{
	return add(g, (struct grammar_node){.kind = NODE_SPLIT, .next = GB_FAIL, .arg = next});
}

void gb_close(struct grammar *g, uint32_t loop, uint32_t body)
{
	if (loop != GB_FAIL)
		g->nodes.data[loop].next = body;
}

uint32_t gb_call(struct grammar *g, uint32_t rule, uint32_t next)
{
	if (next == GB_FAIL)
		return GB_FAIL;
	return add(g, (struct grammar_node){.kind = NODE_CALL, .arg = rule, .next = next, .tail = next == GB_RET});
}

uint32_t gb_dfa(struct grammar *g, uint32_t dfa, uint32_t next)
{
	if (next == GB_FAIL || !g->dfas.data[dfa].n_state)
		return GB_FAIL;
	return add(g, (struct grammar_node){.kind = NODE_DFA, .arg = dfa, .next = next});
}

uint32_t gb_count(struct grammar *g, uint32_t dfa, uint32_t min, uint32_t max, uint32_t next)
{
	if (min > max || next == GB_FAIL)
		return GB_FAIL;
	if (!g->dfas.data[dfa].n_state)
		return min ? GB_FAIL : next;
	if (max == 0)
		return next;
	vec_push(&g->counts, ((struct grammar_count){dfa, min, max}));
	return add(g, (struct grammar_node){.kind = NODE_COUNT, .arg = (uint32_t)g->counts.n - 1, .next = next});
}

uint32_t gb_rep(struct grammar *g, uint32_t body, uint32_t min, uint32_t max, uint32_t next)
{
	if (min > max || next == GB_FAIL || (min && body == GB_FAIL))
		return GB_FAIL;
	if (max == 0 || body == GB_FAIL)
		return next;
	vec_push(&g->reps, ((struct grammar_rep){.body = body, .min = min, .max = max}));
	return add(g, (struct grammar_node){.kind = NODE_REP, .arg = (uint32_t)g->reps.n - 1, .next = next});
}

uint32_t gb_rule(struct grammar *g)
{
	if (g->rules.n >= GRAMMAR_RULE_MAX) {
		g->budget.left = -1;
		return 0;
	}
	vec_push(&g->rules, GB_FAIL);
	return (uint32_t)g->rules.n - 1;
}

int gb_add_dfa(struct grammar *g, struct dfa *d, uint32_t *ret, struct err *err)
{
	g->dfa_bytes += dfa_bytes(d);
	if (g->dfa_bytes > GRAMMAR_DFA_BYTES_MAX) {
		dfa_release(d);
		return grammar_budget_err(err);
	}
	vec_push(&g->dfas, *d);
	*ret = (uint32_t)g->dfas.n - 1;
	return 0;
}

int gb_add_nfa(struct grammar *g, struct nfa *a, uint32_t start, uint32_t *ret, struct err *err)
{
	struct dfa d;
	int rc = nfa_to_dfa(a, start, &g->budget, &d, err);
	nfa_release(a);
	return rc ? rc : gb_add_dfa(g, &d, ret, err);
}

/* One character: any of U+0020 on but quote and backslash, a short escape, or \u with four digits. Surrogates come in
 * pairs; \u0000 is left out, because many readers refuse it. */
int grammar_char_dfa(struct dfa *ret, struct grammar_budget *b, struct err *err)
{
	struct nfa a;
	struct cpset raw = {0};
	nfa_init(&a);
	cpset_add(&raw, 0x20, '"' - 1);
	cpset_add(&raw, '"' + 1, '\\' - 1);
	cpset_add(&raw, '\\' + 1, CP_MAX);
	uint32_t all = nfa_cpset(&a, &raw, 0);
	for (const char *p = "\"\\/bfnrt"; *p; p++)
		all = nfa_split(&a, nfa_bytes(&a, (char[]){'\\', *p}, 2, 0), all);

	enum { LEN = 4 };
	/* The digits of \u: what each of the four may be, 'h' standing for any; alternatives that together leave out 0000 and
	 * the surrogates. "D" with a following class 8-B or C-F makes the halves of a pair. */
	static const struct {
		const char *set[LEN];
	} plain[] = {
		{{"123456789abcefABCEF", "h", "h", "h"}}, {{"dD", "01234567", "h", "h"}},       {{"0", "123456789abcdefABCDEF", "h", "h"}},
		{{"0", "0", "123456789abcdefABCDEF", "h"}}, {{"0", "0", "0", "123456789abcdefABCDEF"}},
	}, high = {{"dD", "89abAB", "h", "h"}}, low = {{"dD", "cdefCDEF", "h", "h"}};
	const char *hex = "0123456789abcdefABCDEF";
	uint32_t pair = 0;
	for (size_t i = 0; i < ARRAY_LEN(plain) + 2; i++) {
		const char *const *set = i < ARRAY_LEN(plain) ? plain[i].set : i == ARRAY_LEN(plain) ? low.set : high.set;
		uint32_t node = i == ARRAY_LEN(plain) + 1 ? pair : 0;
		for (int k = LEN - 1; k >= 0; k--) {
			struct cpset digits = {0};
			for (const char *p = set[k][0] == 'h' ? hex : set[k]; *p; p++)
				cpset_add(&digits, (uint8_t)*p, (uint8_t)*p);
			node = nfa_cpset(&a, &digits, node);
			cpset_release(&digits);
		}
		node = nfa_bytes(&a, "\\u", 2, node);
		if (i == ARRAY_LEN(plain))
			pair = node;
		else
			all = nfa_split(&a, node, all);
	}
	int rc = nfa_to_dfa(&a, all, b, ret, err);
	nfa_release(&a);
	cpset_release(&raw);
	return rc;
}

/* ---- finishing ---- */

static uint16_t height_max(uint16_t a, uint16_t b)
{
	return a > b ? a : b;
}

static uint16_t height_min(uint16_t a, uint16_t b)
{
	return a < b ? a : b;
}

static uint16_t above(uint16_t h, bool frame)
{
	return h >= HEIGHT_INF - 1 ? HEIGHT_INF : (uint16_t)(h + frame);
}

/* The height of node i from the heights known so far. */
static uint16_t node_height(const struct grammar *g, uint32_t i)
{
	const struct grammar_node *nodes = g->nodes.data, *n = &nodes[i];
	switch ((enum node_kind)n->kind) {
	case NODE_FAIL:
		return HEIGHT_INF;
	case NODE_RET:
		return 0;
	case NODE_RANGE:
	case NODE_DFA:
	case NODE_COUNT:
		return nodes[n->next].height;
	case NODE_SPLIT:
		return height_min(nodes[n->next].height, nodes[n->arg].height);
	case NODE_CALL:
		return height_max(above(nodes[g->rules.data[n->arg]].height, !n->tail), nodes[n->next].height);
	case NODE_REP:
		if (!g->reps.data[n->arg].min)
			return nodes[n->next].height;
		return height_max(above(nodes[g->reps.data[n->arg].body].height, true), nodes[n->next].height);
	}
	return HEIGHT_INF;
}

/* The fixed point, from above. Nodes mostly follow their successors in the array, so few rounds are needed. */
static bool find_heights(struct grammar *g)
{
	bool changed = true;
	for (size_t i = 0; i < g->nodes.n; i++)
		g->nodes.data[i].height = HEIGHT_INF;
	while (changed) {
		changed = false;
		if (!grammar_spend(&g->budget, (int64_t)g->nodes.n / 2))
			return false;
		for (uint32_t i = 0; i < g->nodes.n; i++) {
			uint16_t now = node_height(g, i);
			changed |= now != g->nodes.data[i].height;
			g->nodes.data[i].height = now;
		}
	}
	return true;
}

int gb_finish(struct grammar *g, struct err *err)
{
	if (g->budget.left < 0 || !find_heights(g))
		return grammar_budget_err(err);
	uint16_t h = g->nodes.data[g->rules.data[0]].height;
	if (h == HEIGHT_INF)
		return err_set(err, ERR_INVALID, "nothing can satisfy it: every way through it contradicts itself or never ends");
	if (h > HEIGHT_MAX)
		return err_set(err, ERR_INVALID, "its rules nest %d deep at least, and %d is the limit", h, HEIGHT_MAX);
	return 0;
}
