/* One step: who takes part with how many tokens, the forward pass, and handing out what it gave.
 *
 * Sequences are served in turns. Each that decodes takes one token; the rest of the budget is shared by those that
 * prefill. Memory is given oldest first; when pages run out the youngest loses its own and computes them again later, so
 * the oldest always gets on. */
#include <string.h>

#include "base/bug.h"
#include "base/clock.h"
#include "base/mem.h"
#include "engine/engine_int.h"

/* Prompt tokens that a sequence takes at least when its turn comes, if it may: attention serves so many at once. */
enum { GRAIN_TOK = 16 };

/* How often others are admitted before an older sequence, and how many of the waiting are considered. */
enum { PASSED_MAX = 8, ADMIT_SCAN_MAX = 64 };

int step_new(struct step *st, struct engine *e, int n_step_tok, struct err *err)
{
	int n = n_step_tok;
	if (model_is_encoder(e->model) && e->n_ctx_max > n)
		n = (int)e->n_ctx_max;
	st->n_budget = n_step_tok;
	pace_init(&st->pace, n_step_tok);
	st->draw = (struct draw_ctx){
		.pool = e->pool, .n_vocab = model_n_vocab(e->model), .is_eog = e->is_eog, .eog_user = e->eog_user};
	st->n_tok_max = n;
	st->ids = mem_calloc((size_t)n, sizeof *st->ids);
	st->pos = mem_calloc((size_t)n, sizeof *st->pos);
	st->row_seg = mem_calloc((size_t)n, sizeof *st->row_seg);
	st->segs = mem_calloc((size_t)n, sizeof *st->segs);
	st->seqs = mem_calloc((size_t)n, sizeof *st->seqs);
	st->out_rows = mem_calloc((size_t)n, sizeof *st->out_rows);
	return model_exec_new(e->model, e->pool, n, &st->exec, err);
}

void step_release(struct step *st)
{
	model_exec_free(st->exec);
	mem_free(st->ids);
	mem_free(st->pos);
	mem_free(st->row_seg);
	mem_free(st->segs);
	mem_free(st->seqs);
	mem_free(st->out_rows);
}

/* ---- who takes part ---- */

static bool ready(const struct seq *s)
{
	return s->admitted && !s->starved && !s->waits && !atomic_load(&s->parked);
}

static int64_t left(const struct seq *s)
{
	return s->n_ids - s->n_done;
}

static size_t need_bytes(const struct engine *e, const struct seq *s)
{
	return kv_bytes_for(e->model, s->n_ids + 1, e->step.n_tok_max);
}

static size_t held_bytes(const struct engine *e, const struct seq *s)
{
	size_t n = 0;
	for (int i = 0; i < s->mem.n_group; i++)
		n += (size_t)(s->mem.tables[i].n_end - s->mem.tables[i].n_begin) * kv_block_bytes(e->kv, i);
	return n;
}

/* Who waits to be admitted and fits into `room` bytes, the longest stored beginning first; but who was passed over by others
 * PASSED_MAX times comes before all younger, and nobody passes while it does not fit. NULL: none. */
static struct seq *next_admitted(const struct engine *e, size_t room)
{
	struct seq *best = NULL;
	int64_t most = -1;
	int n_seen = 0;
	for (struct seq *s = e->active; s && n_seen < ADMIT_SCAN_MAX; s = s->next) {
		if (s->admitted)
			continue;
		bool fits = need_bytes(e, s) <= room;
		if (s->n_passed >= PASSED_MAX)
			return best ? best : fits ? s : NULL;
		n_seen++;
		int64_t n = fits ? prefix_n_stored(e->prefix, s->at.domain, s->ids, seq_n_reusable(s)) : -1;
		if (n > most) {
			most = n;
			best = s;
		}
	}
	return best;
}

static void admit_seq(struct engine *e, struct seq *s)
{
	for (struct seq *o = e->active; o != s; o = o->next)
		o->n_passed += !o->admitted;
	s->admitted = true;
	s->turn = e->step.i_step;
}

/* Admits while what the admitted will hold for the items they have now fits the budget; one is always admitted. A sequence
 * is not started into memory that others are about to need. */
static void admit(struct engine *e)
{
	size_t budget = kv_budget_bytes(e->kv), promised = 0, wanted = 0;
	bool any = false;
	struct seq *s;
	for (s = e->active; s; s = s->next) {
		size_t need = need_bytes(e, s), held = held_bytes(e, s);
		need = need > held ? need : held;
		any |= s->admitted;
		if (!size_add(s->admitted ? promised : wanted, need, s->admitted ? &promised : &wanted))
			break;
	}
	if (promised <= budget && wanted <= budget - promised) { /* the order does not matter */
		for (s = e->active; s; s = s->next)
			if (!s->admitted)
				admit_seq(e, s);
		return;
	}
	while (promised <= budget && (s = next_admitted(e, any ? budget - promised : SIZE_MAX))) {
		admit_seq(e, s);
		promised += need_bytes(e, s);
		any = true;
	}
}

/* Goes on after stored items where there are any. */
static void reuse(struct engine *e, struct seq *s)
{
	int64_t n_max = seq_n_reusable(s), n = prefix_extend(e->prefix, &s->at, &s->mem, s->ids, s->n_done, n_max);
	n = prefix_copy(e->prefix, &s->at, &s->mem, s->ids, n, n_max);
	int64_t known = s->n_done > s->n_far ? s->n_done : s->n_far, prompt = n < s->n_prompt ? n : s->n_prompt;
	if (n == s->n_done)
		return;
	if (prompt > known)
		s->stats.n_cached += prompt - known;
	pthread_mutex_lock(&e->lock);
	e->stats.n_tok_reused += n - s->n_done;
	pthread_mutex_unlock(&e->lock);
	s->n_done = n;
}

static void reuse_all(struct engine *e)
{
	for (struct seq *s = e->active; s; s = s->next)
		if (ready(s) && left(s) > 1)
			reuse(e, s);
}

/* True when an older sequence stores the page that s needs next, in this step or soon. */
static bool follows(const struct engine *e, const struct seq *s)
{
	int64_t begin = (int64_t)s->at.n_page * KERN_PAGE_TOK, end = begin + KERN_PAGE_TOK;
	if (s->n_done < begin || s->n_done >= end || seq_n_reusable(s) < end)
		return false;
	for (const struct seq *o = e->active; o != s; o = o->next)
		if (ready(o) && !o->cfg.embed && o->n_done >= s->n_done && o->n_done < end && o->n_ids >= end &&
		    o->at.n_page == s->at.n_page && o->at.i_node == s->at.i_node && o->at.domain == s->at.domain &&
		    !memcmp(o->ids + begin, s->ids + begin, KERN_PAGE_TOK * sizeof *s->ids))
			return true;
	return false;
}

/* Sequences that begin the same way let the oldest of them compute the beginning. */
static void set_waits(struct engine *e)
{
	for (struct seq *s = e->active; s; s = s->next)
		s->waits = false;
	for (struct seq *s = e->active; s && !prefix_is_off(e->prefix); s = s->next)
		s->waits = ready(s) && follows(e, s);
}

static void count_ready(const struct engine *e, int *ret_decode, int *ret_prefill)
{
	*ret_decode = *ret_prefill = 0;
	for (struct seq *s = e->active; s; s = s->next)
		if (ready(s))
			*(seq_decodes(s) ? ret_decode : ret_prefill) += 1;
}

/* Of those that decode or those that do not: the one whose last turn is longest ago, if any has no share of this step. */
static struct seq *next_turn(const struct engine *e, bool decodes)
{
	struct seq *first = NULL;
	for (struct seq *s = e->active; s; s = s->next)
		if (!s->n_take && ready(s) && seq_decodes(s) == decodes && (!first || s->turn < first->turn))
			first = s;
	return first;
}

/* Shares out `budget` tokens, at most `share` a sequence; returns what is left. */
static int serve(struct engine *e, bool decodes, int budget, int share)
{
	struct seq *s;
	while (budget > 0 && (s = next_turn(e, decodes))) {
		int64_t n = left(s) < share ? left(s) : share;
		s->n_take = n < budget ? (int)n : budget;
		s->turn = e->step.i_step;
		budget -= s->n_take;
	}
	return budget;
}

/* What was not taken goes to those that can take more. */
static int serve_rest(struct engine *e, int budget)
{
	for (struct seq *s = e->active; s && budget > 0; s = s->next) {
		if (!s->n_take || seq_decodes(s))
			continue;
		int64_t more = left(s) - s->n_take;
		int n = more < budget ? (int)more : budget;
		s->n_take += n;
		budget -= n;
	}
	return budget;
}

/* Prompt tokens that this step has room for: where those that decode fill the budget, every other step has some. */
static int prompt_room(const struct step *st, int n_decode)
{
	int room = st->n_budget - n_decode, least = PACE_MIN < st->n_budget ? PACE_MIN : st->n_budget;
	return room >= least ? room : st->i_step & 1 ? least : room > 0 ? room : 0;
}

static void share_budget(struct engine *e)
{
	struct step *st = &e->step;
	int n_decode, n_prefill, prompt = 0;
	count_ready(e, &n_decode, &n_prefill);
	st->n_prompt_max = pace_allow(&st->pace, n_decode, n_prefill);
	if (n_prefill) {
		int room = prompt_room(st, n_decode);
		prompt = st->n_prompt_max < room ? st->n_prompt_max : room;
		int share = prompt / n_prefill > GRAIN_TOK ? prompt / n_prefill : GRAIN_TOK;
		prompt -= serve_rest(e, serve(e, false, prompt, share));
	}
	serve(e, true, st->n_budget - prompt, 1);
	if (!n_prefill)
		spec_plan(e, n_decode);
}

/* An encoder sees its whole text at once. */
static void share_spans(struct engine *e)
{
	int room = e->step.n_budget;
	bool any = false;
	for (struct seq *s = e->active; s; s = s->next) {
		if (!ready(s) || (any && left(s) > room))
			continue;
		s->n_take = (int)left(s);
		room -= s->n_take;
		any = true;
	}
}

static void give_up_pages(struct engine *e, struct seq *s)
{
	engine_drop_pages(e, s);
	s->n_far = s->n_done > s->n_far ? s->n_done : s->n_far;
	s->n_done = 0;
	s->n_take = 0;
	s->admitted = false;
}

/* The youngest that holds pages, if it is younger than s. */
static struct seq *victim(const struct seq *s)
{
	struct seq *v = NULL;
	for (struct seq *o = s->next; o; o = o->next)
		if (!seq_mem_empty(&o->mem))
			v = o;
	return v;
}

static bool others_hold(const struct engine *e, const struct seq *s)
{
	for (const struct seq *o = e->active; o; o = o->next)
		if (o != s && !seq_mem_empty(&o->mem))
			return true;
	return false;
}

/* Pages for what s takes in this step. False when it gets none: it waits, or has ended because it can never get them. */
static bool reserve(struct engine *e, struct seq *s)
{
	struct seq *v;
	while (!seq_mem_reserve(&s->mem, e->kv, s->n_done, s->n_done + s->n_take)) {
		if (s->n_draft) { /* nobody loses pages to a guess */
			s->n_take -= s->n_draft;
			s->n_draft = 0;
			continue;
		}
		if (prefix_evict(e->prefix))
			continue;
		if ((v = victim(s))) {
			give_up_pages(e, v);
			continue;
		}
		if (others_hold(e, s)) {
			s->n_take = 0;
			s->starved = true;
			return false;
		}
		struct err err;
		err_set(&err, ERR_LIMIT,
			"the sequence of %lld tokens does not fit the KV memory of %zu MiB; use a shorter context or grant more "
			"memory",
			(long long)s->n_ids, kv_budget_bytes(e->kv) >> 20);
		engine_end_seq(e, s, SEQ_END_ERROR, &err);
		return false;
	}
	return true;
}

/* ---- the batch ---- */

/* Which results of its part s wants: rows from *ret_from of the batch's part on. */
static int64_t first_wanted(const struct seq *s)
{
	int64_t end = s->n_done + s->n_take;
	if (s->cfg.embed || (s->cfg.on_prompt_logits && s->n_prompt_out < s->n_prompt))
		return s->n_prompt_out > s->n_done ? (s->n_prompt_out < end ? s->n_prompt_out : end) : s->n_done;
	return end - s->n_draft == s->n_ids && s->n_max > s->n_ids ? s->n_ids - 1 : end;
}

static void add_seg(struct step *st, struct seq *s)
{
	st->segs[st->n_seg] = (struct model_seg){.row0 = st->n_tok, .n = s->n_take, .index = s->n_done, .pages = s->mem.page_lists};
	st->seqs[st->n_seg] = s;
	int64_t wanted = first_wanted(s);
	for (int i = 0; i < s->n_take; i++) {
		int64_t index = s->n_done + i;
		st->ids[st->n_tok] = s->ids[index];
		st->pos[st->n_tok] = (int)index;
		st->row_seg[st->n_tok] = st->n_seg;
		if (index >= wanted)
			st->out_rows[st->n_out++] = st->n_tok;
		st->n_tok++;
	}
	st->n_seg++;
}

static void build(struct engine *e)
{
	struct step *st = &e->step;
	int64_t now = clock_now_ns();
	st->n_tok = st->n_seg = st->n_out = 0;
	for (struct seq *s = e->active; s; s = s->next) {
		if (!s->n_take)
			continue;
		if (!s->started_ns)
			s->started_ns = now;
		add_seg(st, s);
	}
}

/* ---- what it gave ---- */

/* A sequence that generated a token: tells it, and ends the sequence where it ends. True while it goes on. */
static bool take_token(struct engine *e, struct seq *s, const struct seq_token *tok)
{
	if (tok->id < 0) {
		engine_end_seq(e, s, SEQ_END_STOP, NULL);
		return false;
	}
	if (!s->first_ns)
		s->first_ns = clock_now_ns();
	s->ids[s->n_ids++] = tok->id;
	s->stats.n_generated++;
	bool more = !s->cfg.on_token || s->cfg.on_token(s->cfg.user, tok);
	if (tok->eog)
		engine_end_seq(e, s, SEQ_END_STOP, NULL);
	else if (!more)
		engine_end_seq(e, s, SEQ_END_HOOK, NULL);
	else if (s->n_ids == s->n_max)
		engine_end_seq(e, s, SEQ_END_LENGTH, NULL);
	else
		return true;
	return false;
}

/* Result i of the head run belongs to item `index` of s. */
static void hand_out(struct engine *e, struct seq *s, int64_t index, int i)
{
	struct step *st = &e->step;
	size_t n_embd = (size_t)model_n_embd(e->model);
	if (s->cfg.embed) {
		memcpy(s->rows + (size_t)index * n_embd, model_exec_embd(st->exec, i), n_embd * sizeof(float));
		s->n_prompt_out = index + 1;
		return;
	}
	if (s->cfg.on_prompt_logits && index < s->n_prompt && index >= s->n_prompt_out) {
		s->cfg.on_prompt_logits(s->cfg.user, index, model_exec_logits(st->exec, i), model_n_vocab(e->model));
		s->n_prompt_out = index + 1;
	}
}

/* Ends a sequence that wants no token and has nothing left to compute. */
static void finish_prompt(struct engine *e, struct seq *s)
{
	if (!s->first_ns)
		s->first_ns = clock_now_ns();
	if (s->cfg.embed && s->cfg.on_embedding)
		s->cfg.on_embedding(s->cfg.user, s->rows, s->n_prompt, model_n_embd(e->model));
	engine_end_seq(e, s, s->cfg.embed ? SEQ_END_STOP : SEQ_END_LENGTH, NULL);
}

/* The item that a row of the batch is. */
static int64_t index_of(const struct step *st, int row)
{
	const struct model_seg *g = &st->segs[st->row_seg[row]];
	return g->index + (row - g->row0);
}

/* Draws the next token of each sequence for whose last item there is a result: results behind a wrong guess are not of its
 * text. False when there is none. */
static bool draw_round(struct engine *e, int at, int n)
{
	struct step *st = &e->step;
	int n_draw = 0;
	for (int i = 0; i < n; i++) {
		int row = st->out_rows[at + i], i_seg = st->row_seg[row];
		struct seq *s = st->seqs[i_seg];
		if (s && index_of(st, row) == s->n_ids - 1 && s->n_done == s->n_ids && s->n_max > s->n_ids)
			st->draws[n_draw++] = (struct draw){.seq = s, .logits = model_exec_logits(st->exec, i), .i_seg = i_seg};
	}
	draw_all(&st->draw, st->draws, n_draw);
	if (n_draw)
		st->draws[n_draw - 1].tok.last = true;
	for (int i = 0; i < n_draw; i++) {
		const struct draw *d = &st->draws[i];
		bool guessed = spec_guess(d->seq) == d->tok.id;
		if (!take_token(e, d->seq, &d->tok))
			st->seqs[d->i_seg] = NULL;
		else if (guessed)
			spec_accept(e, d->seq);
	}
	return n_draw > 0;
}

/* Results of out_rows[at .. at + n), which the last head run computed. */
static void deliver(struct engine *e, int at, int n)
{
	const struct step *st = &e->step;
	for (int i = 0; i < n; i++) {
		int row = st->out_rows[at + i];
		hand_out(e, st->seqs[st->row_seg[row]], index_of(st, row), i);
	}
	while (draw_round(e, at, n))
		;
}

static bool wants_logits(const struct step *st, int at, int n)
{
	for (int i = at; i < at + n; i++)
		if (!st->seqs[st->row_seg[st->out_rows[i]]]->cfg.embed)
			return true;
	return false;
}

static int count_decoding(const struct step *st)
{
	int n = 0;
	for (int i = 0; i < st->n_seg; i++)
		n += seq_decodes(st->seqs[i]);
	return n;
}

static int count_drafted(const struct step *st)
{
	int n = 0;
	for (int i = 0; i < st->n_seg; i++)
		n += st->seqs[i]->n_draft;
	return n;
}

static void count_tokens(struct engine *e, int n_decode, int n_draft)
{
	const struct step *st = &e->step;
	pthread_mutex_lock(&e->lock);
	e->stats.n_step++;
	e->stats.n_tok_decode += n_decode;
	e->stats.n_tok_prefill += st->n_tok - n_decode - n_draft;
	e->stats.n_drafted += n_draft;
	pthread_mutex_unlock(&e->lock);
}

/* Afterwards: the time a step took, by what was in it. */
static void learn(struct step *st, int n_decode, int n_draft, int64_t took_ns)
{
	int n_prompt = st->n_tok - n_decode - n_draft;
	if (!n_draft) {
		pace_learn(&st->pace, n_decode, n_prompt, n_prompt >= st->n_prompt_max, took_ns);
	} else {
		spec_learn(&st->spec, pace_decode_ns(&st->pace, n_decode), n_draft, took_ns);
		pace_pass(&st->pace);
	}
}

/* Texts that only become vectors do not come again. */
static void store(struct engine *e, struct seq *s)
{
	s->n_done += s->n_take - s->n_draft;
	s->stats.n_drafted += s->n_draft;
	if (!s->cfg.embed)
		prefix_put(e->prefix, &s->at, &s->mem, s->ids, s->n_done);
}

static void compute(struct engine *e)
{
	struct step *st = &e->step;
	struct model_batch b = {
		.n_tok = st->n_tok, .ids = st->ids, .pos = st->pos, .row_seg = st->row_seg, .n_seg = st->n_seg, .segs = st->segs};
	for (int at = 0; at == 0 || at < st->n_out; at += MODEL_HEAD_ROWS) {
		int n = st->n_out - at < MODEL_HEAD_ROWS ? st->n_out - at : MODEL_HEAD_ROWS;
		mem_freeze(true);
		bool logits = wants_logits(st, at, n);
		if (at == 0) {
			model_exec_step(st->exec, &b, st->out_rows, n, logits);
			/* The pages hold this step's items now; a token drawn from it is the next item. */
			for (int i = 0; i < st->n_seg; i++)
				store(e, st->seqs[i]);
		} else {
			model_exec_head(st->exec, st->out_rows + at, n, logits);
		}
		mem_freeze(false);
		deliver(e, at, n);
	}
}

/* Chooses who takes part and holds the pages for it. False when a sequence was refused pages: its share of the budget is
 * for others then. */
static bool plan(struct engine *e)
{
	bool refused = false;
	set_waits(e);
	for (struct seq *s = e->active; s; s = s->next)
		s->n_take = s->n_draft = s->n_right = 0;
	if (model_is_encoder(e->model))
		share_spans(e);
	else
		share_budget(e);
	for (struct seq *s = e->active, *next; s; s = next) {
		next = s->next;
		if (!s->n_take)
			continue;
		refused |= !reserve(e, s);
	}
	return !refused;
}

bool step_run(struct engine *e)
{
	struct step *st = &e->step;
	for (struct seq *s = e->active; s; s = s->next)
		s->starved = s->waits = false;
	admit(e);
	reuse_all(e);
	while (!plan(e))
		;
	build(e);
	if (!st->n_tok)
		return false;
	int n_decode = count_decoding(st), n_draft = count_drafted(st);
	int64_t began_ns = clock_now_ns();
	count_tokens(e, n_decode, n_draft);
	st->i_step++;
	compute(e);
	learn(st, n_decode, n_draft, clock_now_ns() - began_ns);
	for (int i = 0; i < st->n_seg; i++) {
		struct seq *s = st->seqs[i];
		if (s)
			spec_settle(e, s);
		if (s && s->n_done == s->n_ids && s->n_max == s->n_ids)
			finish_prompt(e, s);
	}
	return true;
}
