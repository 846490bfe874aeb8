/* gotmpl_run: the state of one render: limits, output, variables. Everything it makes lies in its arena, which goes with
 * the render. One thread. Functions that can fail return false after a gr_ function has recorded why. */
#ifndef CRIA_CHAT_GOTMPL_RUN_H
#define CRIA_CHAT_GOTMPL_RUN_H

#include "chat/gotmpl_value.h"

struct gvar {
	struct gstr name;
	struct gval val;
};

struct grun {
	const struct gotmpl *t;
	struct arena arena;
	struct gotmpl_limits lim;
	uint64_t steps, next_clock; /* step at which the time is looked at */
	int64_t deadline_ns, now_s;
	int depth;
	bool failed;
	struct err *err;
	const struct gnode *at;     /* what is being evaluated, for messages */
	struct gstr name;           /* of the template under way */
	VEC(struct gvar) vars;
	size_t vars_base;           /* first variable of the template under way */
	struct gbuf *out;
	bool floats_only;           /* JSON integers become float64, as encoding/json reads into interface {} */
};

/* Text being built: checked against a limit, so that adding never fails by itself; r->failed tells. */
struct gbuf {
	struct grun *r;
	struct str *s;
	size_t max; /* of s->len */
};
void gb_add(struct gbuf *b, const char *p, size_t n);
void gb_adds(struct gbuf *b, const char *z);
void gb_addc(struct gbuf *b, char c);
void gb_pad(struct gbuf *b, char c, int64_t n);
struct gbuf gb_scratch(struct grun *r, struct str *s); /* limited by the memory limit */
bool gb_take(struct gbuf *b, struct gval *ret);        /* as a string value; releases the text */

/* ---- life ---- */
void gr_init(struct grun *r, const struct gotmpl *t, int64_t now_s, const struct gotmpl_limits *lim, struct err *err);
void gr_release(struct grun *r);
bool gr_value(struct grun *r, const json_t *j, int depth, struct gval *ret); /* strings refer to j; boxed */
/* Go's zero value of a kind (and type, where the kind has types). */
bool gr_zero(struct grun *r, enum gkind kind, const struct gtype *type, struct gval *ret);
/* Runs a tree with `dot`; $ is dot. */
bool gr_exec(struct grun *r, const struct gnode *root, struct gval dot, struct gbuf *out);

/* ---- failing: always false ---- */
bool gr_fail(struct grun *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool gr_limit(struct grun *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool gr_clock(struct grun *r);
void *gr_alloc(struct grun *r, size_t n, size_t size); /* NULL after gr_limit */

static inline bool gr_step(struct grun *r)
{
	return ++r->steps < r->next_clock || gr_clock(r);
}
bool gr_too_deep(struct grun *r);
static inline bool gr_enter(struct grun *r)
{
	return ++r->depth <= r->lim.depth || gr_too_deep(r);
}

/* ---- evaluation (gotmpl_eval.c) ---- */
bool ge_pipeline(struct grun *r, struct gval dot, const struct gnode *pipe, struct gval *ret);
bool ge_push(struct grun *r, struct gstr name, struct gval v); /* a new variable */
bool ge_set(struct grun *r, struct gstr name, struct gval v);

/* ---- functions (gotmpl_func.c); arguments are unboxed, nil is GV_INVALID ---- */
struct gfunc {
	const char *name;
	int n_min, n_max; /* arguments; n_max -1: any number */
	enum { GARG_ANY, GARG_STRING, GARG_FORMAT, GARG_BOXED } args; /* FORMAT: a string, then anything; BOXED: as they are */
	bool (*fn)(struct grun *r, const struct gval *args, size_t n, struct gval *ret);
};
const char *gf_typescript(struct grun *r, const struct gval *prop); /* "any" when it is no schema property */

/* ---- printing (gotmpl_print.c, gotmpl_format.c) ---- */
void gp_value(struct gbuf *b, const struct gval *v);                          /* as an action prints */
void gp_sprint(struct gbuf *b, const struct gval *args, size_t n, bool line); /* fmt.Sprint, Sprintln */
void gp_printf(struct gbuf *b, struct gstr format, const struct gval *args, size_t n);
void gp_quote(struct gbuf *b, struct gstr s, char quote, bool ascii);
bool gp_printable(uint32_t cp);
void gp_json(struct gbuf *b, const struct gval *v);
/* The type's own text for v (its String method); false when it has none. */
bool gp_stringer(struct gbuf *b, const struct gval *v);

#endif
