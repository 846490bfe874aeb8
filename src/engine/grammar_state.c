/* Running a grammar: the set of positions after each byte. Callers are frames, each pointing to the frame of its own
 * caller; equal frames are the same frame, so that positions can be compared. */
#include "engine/grammar_int.h"

#include <string.h>

struct frame {
	uint32_t parent;
	uint32_t node;  /* a call: where it goes on; a repetition: the repetition */
	uint32_t count; /* a repetition: bodies done before this one; at most min when there is no max */
	uint32_t depth; /* frames up to and with this one */
};

/* A position that this round of closing has been at. */
struct seen {
	uint32_t round;
	struct grammar_item at;
};

enum { FRAME_MAX = 4096, SLOT_MAX = 2 * FRAME_MAX, SEEN_MAX = 4096, TODO_MAX = 4096 };

struct grammar_state {
	const struct grammar *g;
	struct grammar_set set;
	uint32_t n_frame;               /* frame 0 stands for no caller */
	struct grammar_item items[GRAMMAR_ITEM_MAX];
	struct frame frames[FRAME_MAX];
	uint16_t slots[SLOT_MAX];       /* hash of frames, 0: free */
	/* Working room; holds nothing between calls. */
	uint32_t round, round_mark, n_seen, n_todo; /* round_mark: frames that there were before the round */
	struct seen seen[SEEN_MAX];
	struct grammar_item todo[TODO_MAX];
	struct grammar_item other[2][GRAMMAR_ITEM_MAX];
	struct grammar_item room[GRAMMAR_WALK_ITEMS];
	uint16_t moved[FRAME_MAX];
};

/* ---- frames ---- */

static uint32_t frame_hash(uint32_t node, uint32_t parent, uint32_t count)
{
	uint64_t h = (node * UINT64_C(0x9E3779B97F4A7C15)) ^ (parent * UINT64_C(0xC2B2AE3D27D4EB4F)) ^
		(count * UINT64_C(0x165667B19E3779F9));
	return (uint32_t)((h ^ h >> 29) * UINT64_C(0xBF58476D1CE4E5B9) >> 40) & (SLOT_MAX - 1);
}

/* False when there is no room. */
static bool push_frame(struct grammar_state *s, uint32_t node, uint32_t parent, uint32_t count, uint32_t *ret)
{
	uint32_t depth = s->frames[parent].depth + 1, h = frame_hash(node, parent, count);
	for (; s->slots[h]; h = (h + 1) & (SLOT_MAX - 1)) {
		const struct frame *f = &s->frames[s->slots[h]];
		if (f->node == node && f->parent == parent && f->count == count) {
			*ret = s->slots[h];
			return true;
		}
	}
	if (s->n_frame >= FRAME_MAX)
		return false;
	s->frames[s->n_frame] = (struct frame){parent, node, count, depth};
	s->slots[h] = (uint16_t)s->n_frame;
	*ret = s->n_frame++;
	return true;
}

uint32_t grammar_mark(const struct grammar_state *s)
{
	return s->n_frame;
}

/* Frames leave the table in the reverse order of their coming, so that no probe chain breaks. */
void grammar_unwind(struct grammar_state *s, uint32_t mark)
{
	while (s->n_frame > mark) {
		const struct frame *f = &s->frames[--s->n_frame];
		uint32_t h = frame_hash(f->node, f->parent, f->count);
		while (s->slots[h] != s->n_frame)
			h = (h + 1) & (SLOT_MAX - 1);
		s->slots[h] = 0;
	}
}

/* Keeps the frames that the items stand on, in their order. */
static void collect_frames(struct grammar_state *s)
{
	uint32_t n = 1;
	memset(s->moved, 0, s->n_frame * sizeof *s->moved);
	for (uint32_t i = 0; i < s->set.n; i++)
		for (uint32_t f = s->items[i].frame; f && !s->moved[f]; f = s->frames[f].parent)
			s->moved[f] = 1;
	memset(s->slots, 0, sizeof s->slots);
	for (uint32_t i = 1; i < s->n_frame; i++) {
		if (!s->moved[i])
			continue;
		struct frame f = s->frames[i];
		f.parent = s->moved[f.parent];
		s->moved[i] = (uint16_t)n;
		s->frames[n] = f;
		uint32_t h = frame_hash(f.node, f.parent, f.count);
		while (s->slots[h])
			h = (h + 1) & (SLOT_MAX - 1);
		s->slots[h] = (uint16_t)n++;
	}
	s->n_frame = n;
	for (uint32_t i = 0; i < s->set.n; i++)
		s->items[i].frame = s->moved[s->items[i].frame];
}

/* ---- closing over what reads nothing ---- */

static void new_round(struct grammar_state *s)
{
	if (++s->round == 0) {
		memset(s->seen, 0, sizeof s->seen);
		s->round = 1;
	}
	s->n_seen = s->n_todo = 0;
	s->round_mark = s->n_frame;
}

/* True the first time of the round; false also when the table is full. */
static bool first_time(struct grammar_state *s, const struct grammar_item *at)
{
	uint32_t h = frame_hash(at->node, at->frame, at->state * 31 + at->count) & (SEEN_MAX - 1);
	for (; s->seen[h].round == s->round; h = (h + 1) & (SEEN_MAX - 1)) {
		const struct grammar_item *x = &s->seen[h].at;
		if (x->node == at->node && x->frame == at->frame && x->state == at->state && x->count == at->count)
			return false;
	}
	if (s->n_seen >= SEEN_MAX * 3 / 4)
		return false;
	s->n_seen++;
	s->seen[h] = (struct seen){s->round, *at};
	return true;
}

static void add_item(struct grammar_state *s, struct grammar_set *to, uint32_t node, uint32_t frame, uint32_t state, uint32_t count)
{
	struct grammar_item it = {node, frame, state, count};
	if (to->n < to->cap && first_time(s, &it))
		to->items[to->n++] = it;
}

static void later(struct grammar_state *s, uint32_t node, uint32_t frame)
{
	if (s->n_todo < TODO_MAX)
		s->todo[s->n_todo++] = (struct grammar_item){.node = node, .frame = frame};
}

/* A repetition with `count` bodies done. */
static void at_rep(struct grammar_state *s, uint32_t node, uint32_t parent, uint32_t count)
{
	const struct grammar_node *n = &s->g->nodes.data[node];
	const struct grammar_rep *r = &s->g->reps.data[n->arg];
	uint32_t frame;
	if (count >= r->min)
		later(s, n->next, parent);
	if (r->max == GRAMMAR_INF && count > r->min)
		count = r->min;
	if (count < r->max && push_frame(s, node, parent, count, &frame))
		later(s, r->body, frame);
}

static void at_ret(struct grammar_state *s, uint32_t frame, struct grammar_set *to)
{
	if (!frame) {
		to->can_end = true;
		return;
	}
	const struct frame f = s->frames[frame];
	if (s->g->nodes.data[f.node].kind != NODE_REP)
		later(s, s->g->nodes.data[f.node].next, f.parent);
	else if (frame < s->round_mark)
		at_rep(s, f.node, f.parent, f.count + 1);
	else /* the body was empty: so may be all that are still due, and none that reads comes after an empty one */
		later(s, s->g->nodes.data[f.node].next, f.parent);
}

static void at_call(struct grammar_state *s, uint32_t node, uint32_t frame)
{
	const struct grammar_node *n = &s->g->nodes.data[node];
	if (n->tail || push_frame(s, node, frame, 0, &frame))
		later(s, s->g->rules.data[n->arg], frame);
}

static void at_count(struct grammar_state *s, uint32_t node, uint32_t frame, uint32_t count, struct grammar_set *to)
{
	const struct grammar_node *n = &s->g->nodes.data[node];
	const struct grammar_count *c = &s->g->counts.data[n->arg];
	if (count >= c->min)
		later(s, n->next, frame);
	if (c->max == GRAMMAR_INF && count > c->min)
		count = c->min;
	if (count < c->max)
		add_item(s, to, node, frame, 0, count);
}

/* Goes on from everything in `todo` until bytes are needed. */
static void close_over(struct grammar_state *s, struct grammar_set *to)
{
	while (s->n_todo) {
		struct grammar_item at = s->todo[--s->n_todo];
		const struct grammar_node *n = &s->g->nodes.data[at.node];
		/* Where the way to the end would nest too deep, another branch has to be taken: there always is one. */
		if (s->frames[at.frame].depth + n->height > DEPTH_MAX)
			continue;
		if (n->kind == NODE_RANGE) {
			add_item(s, to, at.node, at.frame, 0, 0);
			continue;
		}
		/* States and counts of items are below; an all-ones state marks a node that was passed, not one that waits. */
		at.state = UINT32_MAX;
		if (!first_time(s, &at))
			continue;
		switch ((enum node_kind)n->kind) {
		case NODE_FAIL:
		case NODE_RANGE:
			break;
		case NODE_RET:
			at_ret(s, at.frame, to);
			break;
		case NODE_SPLIT:
			later(s, n->arg, at.frame);
			later(s, n->next, at.frame);
			break;
		case NODE_CALL:
			at_call(s, at.node, at.frame);
			break;
		case NODE_DFA:
			if (s->g->dfas.data[n->arg].flags[0] & DFA_ACCEPT)
				later(s, n->next, at.frame);
			add_item(s, to, at.node, at.frame, 0, 0);
			break;
		case NODE_COUNT:
			at_count(s, at.node, at.frame, 0, to);
			break;
		case NODE_REP:
			at_rep(s, at.node, at.frame, 0);
			break;
		}
	}
}

void grammar_enter(struct grammar_state *s, uint32_t node, uint32_t frame, struct grammar_set *to)
{
	to->n = 0;
	to->can_end = false;
	new_round(s);
	later(s, node, frame);
	close_over(s, to);
}

/* ---- reading ---- */

static void step_item(struct grammar_state *s, const struct grammar_item *it, uint8_t byte, struct grammar_set *to)
{
	const struct grammar_node *n = &s->g->nodes.data[it->node];
	const struct dfa *d;
	uint32_t state;
	switch ((enum node_kind)n->kind) {
	case NODE_RANGE:
		if (byte >= n->lo && byte <= n->hi)
			later(s, n->next, it->frame);
		return;
	case NODE_DFA:
		d = &s->g->dfas.data[n->arg];
		state = dfa_step(d, it->state, byte);
		if (state == DFA_DEAD)
			return;
		if (d->flags[state] & DFA_ACCEPT)
			later(s, n->next, it->frame);
		if (d->flags[state] & DFA_MORE)
			add_item(s, to, it->node, it->frame, state, 0);
		return;
	case NODE_COUNT:
		d = &s->g->dfas.data[s->g->counts.data[n->arg].dfa];
		state = dfa_step(d, it->state, byte);
		if (state == DFA_DEAD)
			return;
		if (d->flags[state] & DFA_ACCEPT)
			at_count(s, it->node, it->frame, it->count + 1, to);
		else
			add_item(s, to, it->node, it->frame, state, it->count);
		return;
	default:
		BUG("an item at a node of kind %d", n->kind);
	}
}

static bool may_read(const struct grammar_state *s, const struct grammar_item *it, uint8_t byte)
{
	const struct grammar_node *n = &s->g->nodes.data[it->node];
	return n->kind != NODE_RANGE || (byte >= n->lo && byte <= n->hi);
}

/* The step of one item, where its outcome needs no closing; false when it does. Most steps of a walk are of this kind. */
static bool step_alone(struct grammar_state *s, const struct grammar_item *it, uint8_t byte, struct grammar_set *to)
{
	const struct grammar_node *nodes = s->g->nodes.data, *n = &nodes[it->node];
	const bool range_next = nodes[n->next].kind == NODE_RANGE;
	const struct grammar_item after = {.node = n->next, .frame = it->frame};
	if (to->cap < 2)
		return false;
	if (n->kind == NODE_RANGE) {
		if (range_next)
			to->items[to->n++] = after;
		return range_next;
	}
	const struct grammar_count *c = n->kind == NODE_COUNT ? &s->g->counts.data[n->arg] : NULL;
	const struct dfa *d = &s->g->dfas.data[c ? c->dfa : n->arg];
	uint32_t state = dfa_step(d, it->state, byte);
	if (state == DFA_DEAD)
		return true;
	bool ends = d->flags[state] & DFA_ACCEPT, more = d->flags[state] & DFA_MORE;
	uint32_t count = it->count;
	if (ends && !range_next)
		return false;
	if (c && ends) {
		count++;
		ends = count >= c->min;
		count = c->max == GRAMMAR_INF && count > c->min ? c->min : count;
		more = count < c->max;
		state = 0;
	}
	if (more)
		to->items[to->n++] = (struct grammar_item){it->node, it->frame, state, count};
	if (ends)
		to->items[to->n++] = after;
	return true;
}

bool grammar_step(struct grammar_state *s, const struct grammar_set *from, uint8_t byte, struct grammar_set *to)
{
	uint32_t first = 0, end;
	to->n = 0;
	to->can_end = false;
	while (first < from->n && !may_read(s, &from->items[first], byte))
		first++;
	for (end = first + 1; end < from->n && !may_read(s, &from->items[end], byte);)
		end++;
	if (first >= from->n)
		return false;
	if (end >= from->n && step_alone(s, &from->items[first], byte, to))
		return to->n > 0;
	new_round(s);
	for (uint32_t i = first; i < from->n; i++) {
		step_item(s, &from->items[i], byte, to);
		if (s->n_todo)
			close_over(s, to);
	}
	return to->n || to->can_end;
}

static bool accept_bytes(struct grammar_state *s, const uint8_t *p, size_t n)
{
	struct grammar_set a = s->set, b = {.cap = GRAMMAR_ITEM_MAX};
	uint32_t mark = s->n_frame;
	for (size_t i = 0; i < n; i++) {
		b.items = s->other[i & 1];
		if (!grammar_step(s, &a, p[i], &b)) {
			grammar_unwind(s, mark);
			return false;
		}
		a = b;
	}
	memmove(s->items, a.items, a.n * sizeof *a.items);
	s->set = (struct grammar_set){s->items, a.n, GRAMMAR_ITEM_MAX, a.can_end};
	if (s->n_frame > mark || mark > 1)
		collect_frames(s);
	return true;
}

/* ---- life ---- */

static void clear(struct grammar_state *s, const struct grammar *g)
{
	s->g = g;
	s->n_frame = 1;
	s->frames[0] = (struct frame){0};
	s->round = 0;
	memset(s->slots, 0, sizeof s->slots);
	memset(s->seen, 0, sizeof s->seen);
}

struct grammar_state *grammar_state_new(const struct grammar *g)
{
	struct grammar_state *s = mem_try_alloc(sizeof *s);
	if (!s)
		return NULL;
	clear(s, g);
	s->set = (struct grammar_set){.items = s->items, .cap = GRAMMAR_ITEM_MAX};
	grammar_enter(s, g->rules.data[0], 0, &s->set);
	collect_frames(s);
	return s;
}

void grammar_state_free(struct grammar_state *s)
{
	mem_free(s);
}

void grammar_state_copy(struct grammar_state *dst, const struct grammar_state *src)
{
	BUG_ON(dst->g != src->g);
	memcpy(dst->items, src->items, src->set.n * sizeof *src->items);
	memcpy(dst->frames, src->frames, src->n_frame * sizeof *src->frames);
	memcpy(dst->slots, src->slots, sizeof src->slots);
	dst->n_frame = src->n_frame;
	dst->set = (struct grammar_set){dst->items, src->set.n, GRAMMAR_ITEM_MAX, src->set.can_end};
}

struct grammar_state *grammar_state_clone(const struct grammar_state *s)
{
	struct grammar_state *c = mem_try_alloc(sizeof *c);
	if (!c)
		return NULL;
	clear(c, s->g);
	grammar_state_copy(c, s);
	return c;
}

bool grammar_state_accept_bytes(struct grammar_state *s, const void *p, size_t n)
{
	return accept_bytes(s, p, n);
}

bool grammar_state_accept(struct grammar_state *s, const struct grammar_vocab *v, int token)
{
	size_t n;
	const uint8_t *p = grammar_vocab_piece(v, token, &n);
	if (p)
		return accept_bytes(s, p, n);
	if (!n || !s->set.can_end)
		return false;
	grammar_state_end(s);
	return true;
}

void grammar_state_end(struct grammar_state *s)
{
	s->set.n = 0;
	s->set.can_end = false;
	collect_frames(s);
}

bool grammar_state_can_end(const struct grammar_state *s)
{
	return s->set.can_end;
}

bool grammar_state_done(const struct grammar_state *s)
{
	return s->set.can_end && !s->set.n;
}

const struct grammar *grammar_state_grammar(const struct grammar_state *s)
{
	return s->g;
}

const struct grammar_set *grammar_state_set(const struct grammar_state *s)
{
	return &s->set;
}

struct grammar_item *grammar_state_room(struct grammar_state *s)
{
	return s->room;
}
