/* jinja_run: the state of one render: limits, output, scopes, calls. Everything it makes lies in its arena, which goes
 * with the render. One thread. */
#ifndef CRIA_CHAT_JINJA_RUN_H
#define CRIA_CHAT_JINJA_RUN_H

#include "base/arena.h"
#include "base/str.h"
#include "chat/jinja.h"
#include "chat/jinja_ast.h"
#include "chat/jinja_big.h"
#include "chat/jinja_case.h"
#include "chat/jinja_value.h"

/* Text being built: in the arena, or (ext) at the end of the caller's string. */
struct jb {
	struct jrun *r;
	char *p;
	size_t n, cap;
	struct str *ext;
	size_t ext_base; /* length of *ext before the render */
};

void jb_init(struct jb *b, struct jrun *r);
bool jb_add(struct jb *b, const char *p, size_t n);
bool jb_adds(struct jb *b, const char *z);
bool jb_addc(struct jb *b, char c);
bool jb_add_cp(struct jb *b, uint32_t cp);
bool jb_pad(struct jb *b, const char *fill, size_t n_fill, size_t times); /* the fill text, times times */
bool jb_printf(struct jb *b, const char *fmt, ...) __attribute__((format(printf, 2, 3))); /* up to 400 bytes */
bool jb_take(struct jb *b, struct jval *ret); /* as a string */

/* Variables of one block. Names are interned in the template, so that pointers compare. */
struct jscope {
	struct jscope *parent;
	struct jvar {
		struct jstr *name;
		struct jval val;
	} *vars;
	size_t n, cap;
	bool captured; /* a macro refers to it */
};

struct jrun {
	const struct jinja *t;
	struct arena arena;
	struct jinja_limits lim;
	uint64_t steps;
	uint64_t next_clock; /* step at which the time is looked at */
	int64_t deadline_ns;
	int depth;
	bool failed;
	struct err *err;
	int line;
	struct jdict *vars;
	struct jscope *scope, *root;
	struct jb *out;
	bool autoescape;
	struct jval *stack; /* arguments of calls under way */
	size_t sp;
	int64_t now_s;
	uint64_t rng;
};

enum { JINJA_STACK = 16384 };

/* ---- failing: always returns false ---- */
bool jr_fail(struct jrun *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool jr_limit(struct jrun *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool jr_raise(struct jrun *r, const struct jstr *text); /* exactly this text */
bool jr_fail_undef(struct jrun *r, const struct jval *undef);
/* As jr_fail, but an undefined value among the two gets its own message. */
bool jr_fail_op(struct jrun *r, const char *op, const struct jval *a, const struct jval *b);
void *jr_alloc(struct jrun *r, size_t n);               /* NULL after jr_limit */
void *jr_alloc_n(struct jrun *r, size_t n, size_t size);

/* One step of work. jr_charge: n bytes were copied; work that takes longer a byte counts them several times, so that a step
 * stays near 25 ns. */
bool jr_clock(struct jrun *r);
static inline bool jr_step(struct jrun *r)
{
	return ++r->steps < r->next_clock || jr_clock(r);
}
static inline bool jr_charge(struct jrun *r, size_t n)
{
	r->steps += n / 64;
	return jr_step(r);
}
bool jr_too_deep(struct jrun *r);
static inline bool jr_enter(struct jrun *r)
{
	return ++r->depth <= r->lim.depth || jr_too_deep(r);
}
static inline void jr_leave(struct jrun *r)
{
	r->depth--;
}

/* ---- calls ---- */
struct jcall {
	const struct jval *args;
	size_t n_args;
	struct jstr *const *kw_names;
	const struct jval *kw_vals;
	size_t n_kw;
};

enum { JARGS_MAX = 9 };
struct jargs {
	struct jval v[JARGS_MAX]; /* v[0]: the value itself; then the parameters in order, J_MISSING when not given */
	const struct jcall *call; /* the arguments as they came */
	const struct jbuiltin *fn;
};

/* params: names with blanks between, "?" after optional ones; a leading "/ ": no keywords; "*": anything goes, the
 * function reads args->call itself. */
struct jbuiltin {
	const char *name;
	const char *params;
	bool (*fn)(struct jrun *r, struct jargs *a, struct jval *ret);
};
struct jfunc {
	const struct jbuiltin *fn;
	struct jval self;
};
struct jmacro {
	const struct jnode *node;
	struct jscope *scope;
	struct jstr *name;
};

bool jr_call_builtin(struct jrun *r, const struct jbuiltin *fn, struct jval self, const struct jcall *c, struct jval *ret);
bool jr_call(struct jrun *r, const struct jval *callee, const struct jcall *c, struct jval *ret);
bool jr_func(struct jrun *r, const struct jbuiltin *fn, struct jval self, struct jval *ret);
const struct jval *jr_kwarg(const struct jcall *c, const char *name);

/* arguments; `def` is taken when the argument is missing */
bool ja_int(struct jrun *r, const struct jval *v, int64_t def, int64_t *ret);
bool ja_bool(const struct jval *v, bool def);
bool ja_str(struct jrun *r, const struct jval *v, struct jstr **ret); /* must be a string */
bool ja_size(struct jrun *r, const struct jval *v, size_t def, size_t *ret); /* negative numbers become 0 */

/* ---- tables ---- */
const struct jbuiltin *jinja_find_filter(const char *p, size_t n);
const struct jbuiltin *jinja_find_test(const char *p, size_t n);
const struct jbuiltin *jinja_find_method(const struct jval *self, const struct jstr *name);
bool jinja_global(struct jrun *r, const struct jstr *name, struct jval *ret); /* J_MISSING when there is none */
const struct jbuiltin *jinja_table_find(const struct jbuiltin *table, size_t n, const char *p, size_t n_name);
extern const struct jbuiltin jinja_text_filters[], jinja_seq_filters[], jinja_str_methods[];
extern const size_t jinja_n_text_filters, jinja_n_seq_filters, jinja_n_str_methods;

/* filters in files of their own (jinja_markup.c, jinja_pprint.c) */
bool jinja_pprint(struct jrun *r, struct jargs *a, struct jval *ret);
bool jinja_striptags(struct jrun *r, struct jargs *a, struct jval *ret);
bool jinja_urlencode(struct jrun *r, struct jargs *a, struct jval *ret);
bool jinja_urlize(struct jrun *r, struct jargs *a, struct jval *ret);
bool jinja_xmlattr(struct jrun *r, struct jargs *a, struct jval *ret);

/* ---- operators (jinja_op.c) ---- */
bool jo_binary(struct jrun *r, enum jtok op, const struct jval *a, const struct jval *b, struct jval *ret);
bool jo_negate(struct jrun *r, const struct jval *a, bool minus, struct jval *ret);
bool jo_compare(struct jrun *r, enum jcmp_op op, const struct jval *a, const struct jval *b, bool *ret);
bool jo_getattr(struct jrun *r, const struct jval *v, struct jstr *name, struct jval *ret); /* v.name */
bool jo_getitem(struct jrun *r, const struct jval *v, const struct jval *key, struct jval *ret); /* v[key] */
bool jo_attr_only(struct jrun *r, const struct jval *v, struct jstr *name, struct jval *ret); /* J_MISSING: no such attribute */
bool jo_slice(struct jrun *r, const struct jval *v, const struct jval part[3], struct jval *ret);
bool jo_repeat(struct jrun *r, const struct jval *v, int64_t times, struct jval *ret);

/* ---- iterating (jinja_iter.c) ---- */
struct jiter {
	int (*next)(struct jrun *r, struct jiter *it, struct jval *ret); /* 1: an item, 0: the end, -1: failed */
	struct jval src;
	size_t pos;
	int64_t i;
	void *state;
	const char *type; /* Python's name */
};
bool ji_open(struct jrun *r, const struct jval *v, struct jiter *it);
int ji_next(struct jrun *r, struct jiter *it, struct jval *ret);
bool ji_can(const struct jval *v);
bool ji_list(struct jrun *r, const struct jval *v, struct jval *ret); /* a new list of its items */
bool ji_make(struct jrun *r, const struct jiter *it, struct jval *ret); /* an iterator value */
bool ji_reversed(struct jrun *r, const struct jval *v, struct jval *ret); /* Python's reversed(); J_MISSING: cannot */
bool ji_is_generator(const struct jval *v);

/* ---- printing (jinja_print.c) ---- */
bool jp_str(struct jb *b, const struct jval *v);  /* str(v) */
bool jp_repr(struct jb *b, const struct jval *v); /* repr(v) */
void jp_float(double f, char out[40]);            /* repr of a float */
bool jp_to_str(struct jrun *r, const struct jval *v, struct jval *ret);  /* str(v) as a value; keeps marked strings marked */
bool jp_escape(struct jrun *r, const struct jval *v, struct jval *ret);  /* HTML-escaped, marked */
struct jjson {
	bool ascii, sort;
	const char *indent; /* NULL: on one line */
	size_t n_indent;
	const char *item_sep, *key_sep;
	size_t n_item_sep, n_key_sep;
};
bool jp_json(struct jb *b, const struct jval *v, const struct jjson *o);

/* ---- text formats (jinja_format.c) ---- */
bool jf_percent(struct jrun *r, const struct jval *fmt, const struct jval *args, struct jval *ret); /* fmt % args */
bool jf_format(struct jrun *r, const struct jval *fmt, const struct jcall *c, struct jval *ret);    /* fmt.format(...) */

/* ---- evaluation: je_ expressions (jinja_eval.c), jx_ statements (jinja_exec.c), loops and macros (jinja_block.c) ---- */
bool je_eval(struct jrun *r, const struct jnode *n, struct jval *ret);
bool je_filter_text(struct jrun *r, const struct jnode *chain, const struct jval *text, struct jval *ret);
bool je_call_node(struct jrun *r, const struct jnode *n, const struct jval *caller, struct jval *ret);
bool je_lookup(struct jrun *r, struct jstr *name, struct jval *ret);
enum jx_result { JX_OK, JX_FAIL, JX_BREAK, JX_CONTINUE };
enum jx_result jx_exec(struct jrun *r, const struct jnode *n);
/* Runs a body in a new scope below `parent` with its output caught as a string. */
enum jx_result jx_capture(struct jrun *r, const struct jnode *body, struct jscope *scope, struct jval *ret);
bool jx_render(struct jrun *r);
enum jx_result jx_for(struct jrun *r, const struct jnode *n, const struct jval *iterable, struct jscope *outer, int64_t depth0);
bool jx_macro(struct jrun *r, const struct jnode *n, struct jval *ret);
bool jx_call_macro(struct jrun *r, const struct jmacro *m, const struct jcall *c, struct jval *ret);
bool jx_call_loop(struct jrun *r, struct jloop *l, const struct jcall *c, struct jval *ret);
bool jx_loop_attr(struct jrun *r, struct jloop *l, const struct jstr *name, struct jval *ret);
bool jx_loop_len(struct jrun *r, struct jloop *l, int64_t *ret);
extern const struct jbuiltin jx_loop_methods[];
extern const size_t jx_n_loop_methods;
bool jx_set(struct jrun *r, struct jscope *s, struct jstr *name, struct jval v);
bool jx_assign(struct jrun *r, const struct jnode *target, const struct jval *v);
struct jscope *jx_scope(struct jrun *r, struct jscope *parent);

#endif
