/* mask: which tokens may come next. The pieces of all tokens form a tree, stored as one array in depth-first order: a
 * branch that the grammar refuses is skipped with one jump, and shared beginnings are walked once.
 *
 * Inside a JSON string nearly all tokens may come, and which do not depends only on the string. For these the answer is
 * found once per vocabulary: the tokens that stay inside, with their number of characters, and the places in the tree where
 * a quote ends the string; only what follows those quotes is walked. */
#include "engine/grammar_int.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "tok/tok.h"

/* A place in the tree where a quote follows n_char characters. */
struct string_end {
	uint32_t node;
	uint32_t n_char;
};

enum { OUTSIDE = 0xFFFF };

struct grammar_vocab {
	int n_vocab;
	size_t n_words;
	uint8_t *bytes;
	uint32_t *offs;      /* [n_vocab + 1] */
	bool *eog;           /* [n_vocab] */
	VEC(int) ends;       /* ids of the ends of generation */

	uint32_t n_node;     /* nodes of the tree, the root not counted */
	uint8_t *node_byte;  /* [n_node] */
	uint32_t *node_skip; /* [n_node] the first node that is not below this one */
	int32_t *node_token; /* [n_node] a token that ends here, or -1 */
	int32_t *same;       /* [n_vocab] the next token with the same bytes, or -1 */

	uint16_t *n_char;    /* [n_vocab] characters of a token that stays inside a string, an unfinished one counted; OUTSIDE */
	uint32_t n_char_max;
	uint32_t *inside;    /* [n_words] the tokens that stay inside */
	VEC(struct string_end) string_ends;
};

static void set_bit(uint32_t *bits, uint32_t i)
{
	bits[i >> 5] |= 1u << (i & 31);
}

/* ---- the tree ---- */

static size_t piece_len(const struct grammar_vocab *v, int id)
{
	return v->offs[id + 1] - v->offs[id];
}

static bool has_piece(const struct grammar_vocab *v, int id)
{
	return !v->eog[id] && piece_len(v, id) > 0 && piece_len(v, id) <= GRAMMAR_PIECE_MAX;
}

const uint8_t *grammar_vocab_piece(const struct grammar_vocab *v, int token, size_t *ret_n)
{
	*ret_n = 0;
	if (token < 0 || token >= v->n_vocab)
		return NULL;
	if (!has_piece(v, token)) {
		*ret_n = v->eog[token];
		return NULL;
	}
	*ret_n = piece_len(v, token);
	return v->bytes + v->offs[token];
}

static int by_bytes(const void *a, const void *b, void *ctx)
{
	const struct grammar_vocab *v = ctx;
	int x = *(const int *)a, y = *(const int *)b;
	size_t n = piece_len(v, x), m = piece_len(v, y);
	int c = memcmp(v->bytes + v->offs[x], v->bytes + v->offs[y], n < m ? n : m);
	return c ? c : n != m ? (n < m ? -1 : 1) : x - y;
}

static size_t common(const uint8_t *a, size_t n, const uint8_t *b, size_t m)
{
	size_t i = 0;
	while (i < n && i < m && a[i] == b[i])
		i++;
	return i;
}

static void build_tree(struct grammar_vocab *v)
{
	VEC(int) ids = {0};
	VEC(uint8_t) bytes = {0};
	VEC(uint32_t) skips = {0};
	VEC(int32_t) tokens = {0};
	uint32_t path[GRAMMAR_PIECE_MAX];
	size_t depth = 0;
	const uint8_t *last = NULL;
	for (int i = 0; i < v->n_vocab; i++)
		if (has_piece(v, i))
			vec_push(&ids, i);
	if (ids.n)
		qsort_r(ids.data, ids.n, sizeof *ids.data, by_bytes, v);
	for (size_t i = 0; i < ids.n; i++) {
		int id = ids.data[i];
		const uint8_t *p = v->bytes + v->offs[id];
		size_t n = piece_len(v, id), shared = common(last, depth, p, n);
		while (depth > shared)
			skips.data[path[--depth]] = (uint32_t)bytes.n;
		for (; depth < n; depth++) {
			path[depth] = (uint32_t)bytes.n;
			vec_push(&bytes, p[depth]);
			vec_push(&skips, 0);
			vec_push(&tokens, -1);
		}
		v->same[id] = tokens.data[path[n - 1]];
		tokens.data[path[n - 1]] = id;
		last = p;
	}
	while (depth)
		skips.data[path[--depth]] = (uint32_t)bytes.n;
	v->n_node = (uint32_t)bytes.n;
	v->node_byte = bytes.data;
	v->node_skip = skips.data;
	v->node_token = tokens.data;
	vec_release(&ids);
}

static void set_tokens(const struct grammar_vocab *v, uint32_t node, uint32_t *bits)
{
	for (int32_t t = v->node_token[node]; t >= 0; t = v->same[t])
		set_bit(bits, (uint32_t)t);
}

/* ---- strings ---- */

struct string_level {
	uint32_t end, state, n_char; /* n_char: whole characters */
};

static void mark_inside(struct grammar_vocab *v, uint32_t node, const struct string_level *l)
{
	uint32_t n = l->n_char + (l->state != 0);
	for (int32_t t = v->node_token[node]; t >= 0; t = v->same[t]) {
		v->n_char[t] = (uint16_t)n;
		set_bit(v->inside, (uint32_t)t);
	}
	if (v->node_token[node] >= 0 && n > v->n_char_max)
		v->n_char_max = n;
}

static void build_strings(struct grammar_vocab *v)
{
	struct string_level levels[GRAMMAR_PIECE_MAX + 1] = {{.end = v->n_node}};
	struct grammar_budget budget = {GRAMMAR_BUDGET};
	struct dfa d;
	struct err err;
	int depth = 0;
	BUG_ON(grammar_char_dfa(&d, &budget, &err));
	for (uint32_t i = 0; i < v->n_node;) {
		while (i >= levels[depth].end)
			depth--;
		struct string_level *l = &levels[depth];
		uint32_t state = dfa_step(&d, l->state, v->node_byte[i]);
		if (state == DFA_DEAD) {
			if (depth && !l->state && v->node_byte[i] == '"')
				vec_push(&v->string_ends, ((struct string_end){i, l->n_char}));
			i = v->node_skip[i];
			continue;
		}
		bool whole = d.flags[state] & DFA_ACCEPT;
		levels[++depth] = (struct string_level){v->node_skip[i], whole ? 0 : state, l->n_char + whole};
		mark_inside(v, i, &levels[depth]);
		i++;
	}
	dfa_release(&d);
}

/* ---- life ---- */

struct grammar_vocab *grammar_vocab_from_pieces(const uint8_t *bytes, const uint32_t *offs, const bool *eog, int n_vocab)
{
	struct grammar_vocab *v = mem_zalloc(sizeof *v);
	size_t n = (size_t)n_vocab;
	v->n_vocab = n_vocab;
	v->n_words = (n + 31) / 32;
	v->bytes = mem_alloc(offs[n]);
	v->offs = mem_calloc(n + 1, sizeof *v->offs);
	v->eog = mem_calloc(n, sizeof *v->eog);
	v->same = mem_calloc(n, sizeof *v->same);
	v->n_char = mem_calloc(n, sizeof *v->n_char);
	v->inside = mem_calloc(v->n_words, sizeof *v->inside);
	if (offs[n])
		memcpy(v->bytes, bytes, offs[n]);
	memcpy(v->offs, offs, (n + 1) * sizeof *offs);
	for (int i = 0; i < n_vocab; i++) {
		v->n_char[i] = OUTSIDE;
		v->eog[i] = eog[i];
		if (eog[i])
			vec_push(&v->ends, i);
	}
	build_tree(v);
	build_strings(v);
	return v;
}

struct grammar_vocab *grammar_vocab_new(const struct tok *tok)
{
	struct str bytes = {0};
	int n = tok_n_vocab(tok);
	uint32_t *offs = mem_calloc((size_t)n + 1, sizeof *offs);
	bool *eog = mem_calloc((size_t)n, sizeof *eog);
	for (int i = 0; i < n; i++) {
		tok_piece(tok, i, false, &bytes);
		eog[i] = tok_is_eog(tok, i);
		BUG_ON(bytes.len > UINT32_MAX); /* a vocabulary is a part of a file's header, which is bounded */
		offs[i + 1] = (uint32_t)bytes.len;
	}
	struct grammar_vocab *v = grammar_vocab_from_pieces((const uint8_t *)str_cstr(&bytes), offs, eog, n);
	mem_free(offs);
	mem_free(eog);
	str_release(&bytes);
	return v;
}

void grammar_vocab_free(struct grammar_vocab *v)
{
	if (!v)
		return;
	mem_free(v->bytes);
	mem_free(v->offs);
	mem_free(v->eog);
	mem_free(v->same);
	mem_free(v->n_char);
	mem_free(v->inside);
	mem_free(v->node_byte);
	mem_free(v->node_skip);
	mem_free(v->node_token);
	vec_release(&v->ends);
	vec_release(&v->string_ends);
	mem_free(v);
}

size_t grammar_vocab_n_words(const struct grammar_vocab *v)
{
	return v->n_words;
}

/* ---- the mask ---- */

/* A node of the tree that the walk is below of, with the positions after its byte. */
struct level {
	uint32_t end, mark; /* mark: frames to keep while here */
	struct grammar_set set;
};

struct walk {
	struct grammar_state *s;
	const struct grammar_vocab *v;
	uint32_t *bits;
	struct level levels[GRAMMAR_PIECE_MAX + 1];
};

/* Allows what may be written from `set` on, out of the nodes [from, to), which are siblings with all below them. */
static void walk_tree(struct walk *w, const struct grammar_set *set, uint32_t from, uint32_t to)
{
	const struct grammar_vocab *v = w->v;
	struct grammar_item *room = grammar_state_room(w->s), *room_end = room + GRAMMAR_WALK_ITEMS;
	int depth = 0;
	w->levels[0] = (struct level){to, grammar_mark(w->s), *set};
	for (uint32_t i = from; i < to;) {
		while (i >= w->levels[depth].end)
			depth--;
		struct level *l = &w->levels[depth], *next = l + 1;
		grammar_unwind(w->s, l->mark);
		next->set.items = depth ? l->set.items + l->set.n : room;
		size_t left = (size_t)(room_end - next->set.items);
		next->set.cap = left < GRAMMAR_ITEM_MAX ? (uint32_t)left : GRAMMAR_ITEM_MAX;
		if (!grammar_step(w->s, &l->set, v->node_byte[i], &next->set)) {
			i = v->node_skip[i];
			continue;
		}
		set_tokens(v, i, w->bits);
		next->end = v->node_skip[i];
		next->mark = grammar_mark(w->s);
		if (next->set.n && next->end > i + 1) {
			depth++;
			i++;
		} else {
			i = v->node_skip[i];
		}
	}
	grammar_unwind(w->s, w->levels[0].mark);
}

/* An item between two characters of a JSON string whose quote is the next node: what the vocabulary knows applies. */
static bool in_string(const struct grammar *g, const struct grammar_item *it)
{
	const struct grammar_node *n = &g->nodes.data[it->node];
	if (n->kind != NODE_COUNT || it->state != 0 || g->counts.data[n->arg].dfa != GB_DFA_CHAR)
		return false;
	n = &g->nodes.data[n->next];
	return n->kind == NODE_RANGE && n->lo == '"' && n->hi == '"';
}

static void mask_string(struct walk *w, const struct grammar_item *it)
{
	const struct grammar *g = grammar_state_grammar(w->s);
	const struct grammar_vocab *v = w->v;
	const struct grammar_node *n = &g->nodes.data[it->node];
	const struct grammar_count *c = &g->counts.data[n->arg];
	struct grammar_item items[GRAMMAR_ITEM_MAX];
	struct grammar_set after = {.items = items, .cap = GRAMMAR_ITEM_MAX};
	uint32_t left = c->max == GRAMMAR_INF ? GRAMMAR_INF : c->max - it->count, mark = grammar_mark(w->s);
	if (left >= v->n_char_max) {
		for (size_t i = 0; i < v->n_words; i++)
			w->bits[i] |= v->inside[i];
	} else {
		for (int i = 0; i < v->n_vocab; i++)
			if (v->n_char[i] <= left)
				set_bit(w->bits, (uint32_t)i);
	}
	grammar_enter(w->s, g->nodes.data[n->next].next, it->frame, &after);
	for (size_t i = 0; i < v->string_ends.n && (after.n || after.can_end); i++) {
		struct string_end e = v->string_ends.data[i];
		if (e.n_char > left || it->count + e.n_char < c->min)
			continue;
		set_tokens(v, e.node, w->bits);
		walk_tree(w, &after, e.node + 1, v->node_skip[e.node]);
	}
	grammar_unwind(w->s, mark);
}

int grammar_state_mask(struct grammar_state *s, const struct grammar_vocab *v, uint32_t *bits)
{
	struct walk w = {.s = s, .v = v, .bits = bits};
	const struct grammar *g = grammar_state_grammar(s);
	const struct grammar_set *set = grammar_state_set(s);
	struct grammar_item items[GRAMMAR_ITEM_MAX];
	struct grammar_set rest = {.items = items, .cap = GRAMMAR_ITEM_MAX};
	int n = 0;
	memset(bits, 0, v->n_words * sizeof *bits);
	for (uint32_t i = 0; i < set->n; i++) {
		if (in_string(g, &set->items[i]))
			mask_string(&w, &set->items[i]);
		else
			items[rest.n++] = set->items[i];
	}
	if (rest.n)
		walk_tree(&w, &rest, 0, v->n_node);
	if (set->can_end)
		for (size_t i = 0; i < v->ends.n; i++)
			set_bit(bits, (uint32_t)v->ends.data[i]);
	for (size_t i = 0; i < v->n_words; i++)
		n += __builtin_popcount(bits[i]);
	return n;
}

void grammar_mask_apply(const struct grammar_vocab *v, const uint32_t *bits, const float *logits, int n_logit, float *out)
{
	int n = n_logit < v->n_vocab ? n_logit : v->n_vocab;
	for (int i = 0; i < n; i++)
		out[i] = bits[i >> 5] >> (i & 31) & 1 ? logits[i] : -INFINITY;
	for (int i = n; i < n_logit; i++)
		out[i] = -INFINITY;
}
