/* jinja_value: the values of templates, after Python's data model: what they are and how they are made, compared and
 * looked up. It knows nothing of syntax. Values live in the arena of one render (struct jrun) or, for constants, in the
 * parsed template; nothing is freed singly. One thread per render.
 *
 * Functions that can fail return false (or -1) after jr_fail has recorded why. */
#ifndef CRIA_CHAT_JINJA_VALUE_H
#define CRIA_CHAT_JINJA_VALUE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct jrun;
struct jnode;

enum jkind {
	J_MISSING, /* no value at all: an argument that was not given */
	J_UNDEF,
	J_NONE,
	J_BOOL,
	J_INT,
	J_BIG, /* integers outside int64 */
	J_FLOAT,
	J_STR,
	J_BYTES,
	J_LIST,
	J_TUPLE,
	J_DICT,
	J_VIEW, /* keys(), values() or items() of a dict */
	J_RANGE,
	J_ITER, /* a generator or another iterator: can be walked once */
	J_NS,   /* namespace() */
	J_FUNC, /* a function or a method bound to a value */
	J_MACRO,
	J_LOOP,
	J_CYCLER,
	J_JOINER,
	J_SELF,
	J_N_KIND
};

enum jview { JVIEW_KEYS, JVIEW_VALUES, JVIEW_ITEMS };

/* A string is UTF-8 and never changes. Its bytes may be shared with the JSON input or with a longer string. */
struct jstr {
	const char *p; /* not NUL-terminated */
	size_t n;
	size_t n_cp;        /* code points; SIZE_MAX: not counted yet (never so in a template, which threads share) */
	struct jbuf *buf;   /* where p lies, when bytes may be appended there; NULL otherwise */
};

struct jval {
	uint8_t kind; /* enum jkind */
	uint8_t safe; /* J_STR: marked as HTML (Python's Markup) */
	uint8_t of;   /* J_UNDEF: the kind whose member is missing, 0 for a plain name; J_VIEW: enum jview */
	union {
		bool b;
		int64_t i;
		double f;
		struct jbig *big;
		struct jstr *s; /* J_STR, J_BYTES; J_UNDEF: the missing name or NULL */
		struct jlist *list;
		struct jdict *dict; /* J_DICT, J_VIEW, J_NS */
		struct jrange *range;
		struct jiter *iter;
		struct jfunc *func;
		struct jmacro *macro;
		struct jloop *loop;
		struct jcycler *cycler;
	};
};

struct jlist {
	struct jval *v;
	size_t n, cap;
	bool group; /* a tuple of groupby: has the attributes grouper and list */
};

struct jentry {
	struct jval key, val;
	uint64_t hash;
};

/* In order of insertion. index holds entry number + 1 in open addressing and is built from 8 entries on. */
struct jdict {
	struct jentry *e;
	size_t n, cap;
	uint32_t *index;
	size_t n_index;
};

struct jrange {
	int64_t start, step;
	int64_t n;
	int64_t stop; /* as given, for printing */
};

struct jcycler {
	struct jlist *items;
	size_t pos;
	struct jval sep; /* J_JOINER */
	bool used;
};

/* ---- strings ---- */
bool jv_str(struct jrun *r, const char *p, size_t n, struct jval *ret); /* copies */
bool jv_strz(struct jrun *r, const char *z, struct jval *ret);          /* refers to a literal */
bool jv_str_ref(struct jrun *r, const char *p, size_t n, struct jval *ret); /* refers to bytes that outlive the render */
bool jv_str_part(struct jrun *r, const struct jstr *of, size_t from, size_t n, struct jval *ret); /* bytes of a string */
bool jv_concat(struct jrun *r, const struct jstr *a, const struct jstr *b, struct jval *ret);
size_t jv_str_len(struct jstr *s); /* in code points */
bool jv_str_eqz(const struct jstr *s, const char *z);
int jv_str_cmp(const struct jstr *a, const struct jstr *b); /* -1, 0, 1 */

/* ---- simple values ---- */
static inline struct jval jv_none(void)
{
	return (struct jval){.kind = J_NONE};
}
static inline struct jval jv_bool(bool b)
{
	return (struct jval){.kind = J_BOOL, .b = b};
}
static inline struct jval jv_int(int64_t i)
{
	return (struct jval){.kind = J_INT, .i = i};
}
static inline struct jval jv_float(double f)
{
	return (struct jval){.kind = J_FLOAT, .f = f};
}
static inline struct jval jv_undef(struct jstr *name, uint8_t of)
{
	return (struct jval){.kind = J_UNDEF, .of = of, .s = name};
}
/* bool or int, as Python's index arguments take them */
static inline bool jv_is_int(const struct jval *v)
{
	return v->kind == J_INT || v->kind == J_BOOL;
}
static inline int64_t jv_as_int(const struct jval *v)
{
	return v->kind == J_BOOL ? v->b : v->i;
}

/* ---- lists, tuples ---- */
bool jv_list(struct jrun *r, uint8_t kind, size_t cap, struct jval *ret); /* J_LIST or J_TUPLE, empty */
bool jv_push(struct jrun *r, struct jlist *l, struct jval v);
bool jv_pair(struct jrun *r, struct jval a, struct jval b, struct jval *ret); /* a tuple of two */

/* ---- dicts; all return false only on failure (unhashable key, memory) ---- */
bool jv_dict(struct jrun *r, struct jval *ret);
bool jv_dict_find(struct jrun *r, const struct jdict *d, const struct jval *key, struct jval **ret); /* *ret NULL: absent */
struct jval *jv_dict_gets(const struct jdict *d, const char *p, size_t n); /* by string key; NULL: absent */
bool jv_dict_put(struct jrun *r, struct jdict *d, struct jval key, struct jval val);
bool jv_dict_del(struct jrun *r, struct jdict *d, size_t i);
bool jv_hash(struct jrun *r, const struct jval *v, uint64_t *ret);

/* ---- comparing ---- */
bool jv_truth(const struct jval *v);
bool jv_eq(struct jrun *r, const struct jval *a, const struct jval *b, bool *ret);
/* Orders as Python's `<` would need it: *ret < 0, 0, > 0; 2 for unordered (NaN). `op` is the operator for the message. */
bool jv_cmp(struct jrun *r, const struct jval *a, const struct jval *b, const char *op, int *ret);
bool jv_is(const struct jval *a, const struct jval *b); /* the same object */
bool jv_len(struct jrun *r, const struct jval *v, size_t *ret);
bool jv_has_len(const struct jval *v);

/* Python's name of the type ("int", "NoneType"). */
const char *jv_type(const struct jval *v);
/* JSON to a value; `depth` bounds the recursion. */
bool jv_from_json(struct jrun *r, const json_t *j, int depth, struct jval *ret); /* strings refer to j */
bool jv_from_json_copy(struct jrun *r, const json_t *j, int depth, struct jval *ret);

#endif
