#define PCRE2_CODE_UNIT_WIDTH 8
#include "tok/tok_pretok.h"

#include <pcre2.h>
#include <string.h>
#include <utf8proc.h>

#include "base/bug.h"
#include "base/mem.h"
#include "base/utf8.h"

/* Backtracking steps and KiB of memory one match may take. Honest text needs a small part; a run of a million letters
 * that must be given back one by one needs a million steps. */
enum { MATCH_STEPS = 20000000, MATCH_KIB = 128 * 1024, STEPS_MAX = 8 };

/* ---- the table ---- */

#define FAMILY(id, ...) static const char *const family_##id[] = {__VA_ARGS__, NULL};
#include "tok/pretok.def"
#undef FAMILY

static const struct pretok_row rows[] = {
#define PRE(name, family, flags) {name, family_##family, flags},
#include "tok/pretok.def"
#undef PRE
};

const struct pretok_row *pretok_find(const char *name, size_t n)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (strlen(rows[i].name) == n && !memcmp(rows[i].name, name, n))
			return &rows[i];
	return NULL;
}

const struct pretok_row *pretok_table(size_t *ret_n)
{
	*ret_n = ARRAY_LEN(rows);
	return rows;
}

/* ---- one step ---- */

struct splitter;
typedef void cut_fn(struct splitter *sp, size_t from, size_t to);

struct step {
	pcre2_code *re; /* NULL: cut */
	cut_fn *cut;
};

struct pretok {
	struct step steps[STEPS_MAX];
	size_t n_step;
	pcre2_match_context *ctx;
};

/* One call of pretok_split. */
struct splitter {
	const struct pretok *p;
	const char *s;
	struct pretok_cuts *cuts;
	pcre2_match_data *md;
};

static void add_end(struct splitter *sp, size_t end)
{
	vec_push(&sp->cuts->next, (uint32_t)end);
}

/* ---- cuts that are functions, because as regular expressions they look ahead over the whole run at every match ---- */

static bool is_digit(uint32_t cp, bool decimal_only)
{
	utf8proc_category_t c = utf8proc_category((utf8proc_int32_t)cp);
	return c == UTF8PROC_CATEGORY_ND || (!decimal_only && (c == UTF8PROC_CATEGORY_NL || c == UTF8PROC_CATEGORY_NO));
}

/* Letters, marks, numbers and connectors: what a word boundary stands between. */
static bool is_word(uint32_t cp)
{
	utf8proc_category_t c = utf8proc_category((utf8proc_int32_t)cp);
	return c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_PC;
}

/* How a run of digits is cut into groups of three that are counted from its end. */
struct digit_rule {
	bool decimal_only;
	bool word_end;  /* only where no word character follows the run */
	bool own_piece; /* the run is cut off from its surroundings, so that an incomplete first group stands alone */
};

/* Cuts the run of n digits at [at, end) of the piece [from, to). */
static void cut_run(struct splitter *sp, size_t from, size_t to, size_t at, size_t end, size_t n,
	const struct digit_rule *rule)
{
	uint32_t cp;
	size_t left = n;
	for (size_t i = at; i < end; i += utf8_next(sp->s + i, end - i, &cp), left--)
		if (i > from && (left % 3 == 0 || (i == at && rule->own_piece)))
			add_end(sp, i);
	if (rule->own_piece && end < to)
		add_end(sp, end);
}

static void cut_digits(struct splitter *sp, size_t from, size_t to, const struct digit_rule *rule)
{
	size_t at = from, n = 0; /* the run so far starts at `at` and has n digits */
	uint32_t cp;
	for (size_t i = from, len; i < to; i += len) {
		len = utf8_next(sp->s + i, to - i, &cp);
		if (is_digit(cp, rule->decimal_only)) {
			n++;
			continue;
		}
		if (n && !(rule->word_end && is_word(cp)))
			cut_run(sp, from, to, at, i, n, rule);
		at = i + len;
		n = 0;
	}
	if (n)
		cut_run(sp, from, to, at, to, n, rule);
	add_end(sp, to);
}

/* Any number characters. */
static void cut_plain(struct splitter *sp, size_t from, size_t to)
{
	static const struct digit_rule rule = {.own_piece = true};
	cut_digits(sp, from, to, &rule);
}

/* \d{1,3}(?=(?:\d{3})*\b) */
static void cut_word(struct splitter *sp, size_t from, size_t to)
{
	static const struct digit_rule rule = {.decimal_only = true, .word_end = true, .own_piece = true};
	cut_digits(sp, from, to, &rule);
}

/* (?=(\d{3})+(?!\d)): places, not stretches */
static void cut_inside(struct splitter *sp, size_t from, size_t to)
{
	static const struct digit_rule rule = {.decimal_only = true};
	cut_digits(sp, from, to, &rule);
}

static const struct {
	const char *name;
	cut_fn *cut;
} cut_fns[] = {
	{"@digits", cut_plain},
	{"@digits_word", cut_word},
	{"@digits_inside", cut_inside},
};

/* ---- building ---- */

static int compile(const char *re, struct step *step, struct err *err)
{
	if (re[0] == '@') {
		for (size_t i = 0; i < ARRAY_LEN(cut_fns); i++)
			if (!strcmp(re, cut_fns[i].name))
				step->cut = cut_fns[i].cut;
		BUG_ON(!step->cut);
		return 0;
	}
	int code;
	PCRE2_SIZE at;
	step->re = pcre2_compile((PCRE2_SPTR)re, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP | PCRE2_DOLLAR_ENDONLY, &code, &at,
		NULL);
	if (!step->re) {
		PCRE2_UCHAR text[200];
		pcre2_get_error_message(code, text, sizeof text);
		return err_set(err, ERR_INTERNAL, "a pre-tokenizer expression does not compile at byte %zu: %s", (size_t)at,
			(char *)text);
	}
	/* Where executable memory is forbidden the interpreter does the work. */
	pcre2_jit_compile(step->re, PCRE2_JIT_COMPLETE);
	return 0;
}

int pretok_new(const struct pretok_row *row, struct pretok **ret, struct err *err)
{
	struct pretok *p = mem_zalloc(sizeof *p);
	p->ctx = pcre2_match_context_create(NULL);
	BUG_ON(!p->ctx);
	pcre2_set_match_limit(p->ctx, MATCH_STEPS);
	pcre2_set_heap_limit(p->ctx, MATCH_KIB);
	for (const char *const *re = row->steps; *re; re++) {
		BUG_ON(p->n_step == STEPS_MAX);
		int rc = compile(*re, &p->steps[p->n_step++], err);
		if (rc) {
			pretok_free(p);
			return rc;
		}
	}
	*ret = p;
	return 0;
}

void pretok_free(struct pretok *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->n_step; i++)
		pcre2_code_free(p->steps[i].re);
	pcre2_match_context_free(p->ctx);
	mem_free(p);
}

/* ---- splitting ---- */

/* The next match at or after `at` of the piece that is s[0..n). 1 found, 0 none, negative on error. */
static int match(struct splitter *sp, const pcre2_code *re, const char *s, size_t n, size_t at, struct err *err)
{
	/* The caller hands over valid UTF-8 only. */
	int rc = pcre2_match(re, (PCRE2_SPTR)s, n, at, PCRE2_NO_UTF_CHECK, sp->md, sp->p->ctx);
	if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
		rc = pcre2_match(re, (PCRE2_SPTR)s, n, at, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, sp->md, sp->p->ctx);
	if (rc >= 0)
		return 1;
	if (rc == PCRE2_ERROR_NOMATCH)
		return 0;
	return err_set(err, ERR_LIMIT, "the text cannot be cut into words: a run of %zu bytes needs too many steps (code %d)", n,
		rc);
}

/* Cuts the piece [from, to) at every match of re. */
static int cut_by_regex(struct splitter *sp, const pcre2_code *re, size_t from, size_t to, struct err *err)
{
	const char *s = sp->s + from;
	size_t n = to - from, done = 0, at = 0;
	while (at < n) {
		int rc = match(sp, re, s, n, at, err);
		if (rc < 0)
			return rc;
		if (rc == 0)
			break;
		const PCRE2_SIZE *v = pcre2_get_ovector_pointer(sp->md);
		size_t start = v[0], end = v[1];
		BUG_ON(start < at || end <= start || end > n);
		if (start > done)
			add_end(sp, from + start);
		add_end(sp, from + end);
		done = at = end;
	}
	if (done < n)
		add_end(sp, to);
	return 0;
}

/* Runs all steps over the valid UTF-8 at [from, to); the piece ends are left in cuts->ends from index i_first on. */
static int split_valid(struct splitter *sp, size_t from, size_t to, struct err *err)
{
	struct pretok_cuts *c = sp->cuts;
	size_t i_first = c->ends.n;
	vec_push(&c->ends, (uint32_t)to);
	for (size_t k = 0; k < sp->p->n_step; k++) {
		const struct step *step = &sp->p->steps[k];
		size_t at = from;
		c->next.n = 0;
		for (size_t i = i_first; i < c->ends.n; i++) {
			size_t end = c->ends.data[i];
			if (step->cut) {
				step->cut(sp, at, end);
			} else {
				int rc = cut_by_regex(sp, step->re, at, end, err);
				if (rc)
					return rc;
			}
			at = end;
		}
		c->ends.n = i_first;
		vec_reserve(&c->ends, c->next.n);
		memcpy(c->ends.data + i_first, c->next.data, c->next.n * sizeof *c->next.data);
		c->ends.n += c->next.n;
	}
	return 0;
}

int pretok_split(const struct pretok *p, const char *s, size_t n, struct pretok_cuts *cuts, struct err *err)
{
	struct splitter sp = {.p = p, .s = s, .cuts = cuts, .md = pcre2_match_data_create(1, NULL)};
	size_t at = 0;
	int rc = 0;
	uint32_t cp;
	cuts->ends.n = 0;
	if (!sp.md)
		return err_set(err, ERR_NOMEM, "no memory for cutting text into words");
	while (at < n && !rc) {
		size_t end = at, len;
		while (end < n && (len = utf8_decode(s + end, n - end, &cp)))
			end += len;
		if (end > at)
			rc = split_valid(&sp, at, end, err);
		at = end;
		while (end < n && !utf8_decode(s + end, n - end, &cp))
			end++;
		if (end > at)
			vec_push(&cuts->ends, (uint32_t)end);
		at = end;
	}
	pcre2_match_data_free(sp.md);
	return rc;
}

void pretok_cuts_release(struct pretok_cuts *cuts)
{
	vec_release(&cuts->ends);
	vec_release(&cuts->next);
}
