/* jinja_ast: tokens, syntax tree and parser of templates. A parsed template owns one arena that holds its tree, names and
 * constants; it never changes after jinja_parse, so that threads may share it. */
#ifndef CRIA_CHAT_JINJA_AST_H
#define CRIA_CHAT_JINJA_AST_H

#include "base/arena.h"
#include "base/err.h"
#include "base/map.h"
#include "chat/jinja_value.h"

enum {
	JINJA_SOURCE_BYTES_MAX = 4 << 20,
	JINJA_PARSE_BYTES_MAX = 96 << 20, /* arena of one template */
	JINJA_PARSE_DEPTH_MAX = 200,      /* nested expressions; blocks: the same */
	JINJA_ARGS_MAX = 255              /* keyword arguments of a call, parameters of a macro */
};

/* ---- tokens ---- */
enum jtok {
	T_EOF,
	T_DATA,
	T_BLOCK_BEGIN,
	T_BLOCK_END,
	T_VAR_BEGIN,
	T_VAR_END,
	T_NAME,
	T_STRING,
	T_INTEGER,
	T_FLOAT,
	T_ADD,
	T_SUB,
	T_MUL,
	T_DIV,
	T_FLOORDIV,
	T_MOD,
	T_POW,
	T_TILDE,
	T_EQ,
	T_NE,
	T_LT,
	T_LE,
	T_GT,
	T_GE,
	T_ASSIGN,
	T_DOT,
	T_COMMA,
	T_COLON,
	T_SEMICOLON,
	T_PIPE,
	T_LPAREN,
	T_RPAREN,
	T_LBRACKET,
	T_RBRACKET,
	T_LBRACE,
	T_RBRACE
};

struct jtoken {
	enum jtok type;
	int line;
	struct jstr *s;  /* T_NAME (interned), T_STRING, T_DATA */
	struct jval val; /* T_INTEGER, T_FLOAT */
};

enum jlex_state { JLEX_ROOT, JLEX_BLOCK, JLEX_VAR };

struct jlex {
	struct jinja *t; /* owner of strings and names */
	const char *s;   /* source with \n line ends only */
	size_t n, pos;
	int line;
	enum jlex_state state;
	bool line_starting;  /* the last match ended in a line end */
	char closers[256];   /* open brackets */
	size_t n_closer;
	bool pending_raw;    /* inside {% raw %} */
	struct err *err;
};

void jlex_init(struct jlex *lx, struct jinja *t, const char *s, size_t n, struct err *err);
bool jlex_next(struct jlex *lx, struct jtoken *ret);
const char *jlex_describe(const struct jtoken *tok);

/* ---- tree ---- */
enum jnode_kind {
	/* expressions */
	E_CONST,   /* val */
	E_NAME,    /* name */
	E_NSREF,   /* name.name2: target of set only */
	E_TUPLE,   /* list */
	E_LIST,    /* list */
	E_DICT,    /* list: key, value, key, value */
	E_GETATTR, /* a.name */
	E_GETITEM, /* a[b] */
	E_SLICE,   /* a:b:c, parts may be NULL */
	E_CALL,    /* a(list, kw, *b, **c) */
	E_FILTER,  /* a|name(list, kw, *b, **c); a NULL: the text of the block */
	E_TEST,    /* a is name(...) */
	E_COND,    /* a if b else c (c may be NULL) */
	E_OR,
	E_AND,
	E_NOT,
	E_COMPARE, /* a, then list with the operators in ops */
	E_BINARY,  /* a op b; op is the token */
	E_CONCAT,  /* list */
	E_NEG,
	E_POS,
	/* statements */
	S_DATA,    /* val: template text */
	S_OUTPUT,  /* list */
	S_IF,      /* list: test, body, test, body...; a: else body or NULL */
	S_FOR,     /* a target, b iterable, c test; d body; e else body; flag: recursive */
	S_SET,     /* a target, b value */
	S_SETBLOCK, /* a target, b filter chain or NULL, d body */
	S_MACRO,   /* name; list: parameters; kw: defaults of the last ones; d body */
	S_CALLBLOCK, /* a call, b macro of the body */
	S_FILTERBLOCK, /* b filter chain, d body */
	S_WITH,    /* list: target, value...; d body */
	S_AUTOESCAPE, /* a flag, d body */
	S_BLOCK,   /* name, d body; flag: scoped */
	S_SCOPE,   /* d body */
	S_BODY,    /* list of statements */
	S_BREAK,
	S_CONTINUE,
	S_NOLOADER /* include, import, extends: there are no other templates; name: the tag */
};

enum jnode_flag {
	JF_RECURSIVE = 1,
	JF_SCOPED = 2,
	/* what a macro body mentions */
	JF_CALLER = 4,
	JF_KWARGS = 8,
	JF_VARARGS = 16
};

enum jcmp_op { JCMP_EQ, JCMP_NE, JCMP_LT, JCMP_LE, JCMP_GT, JCMP_GE, JCMP_IN, JCMP_NOTIN };

struct jnode {
	uint8_t kind; /* enum jnode_kind */
	uint8_t op;   /* E_BINARY: enum jtok */
	uint16_t flags;
	int line;
	struct jnode *a, *b, *c, *d, *e;
	struct jnode **list;
	size_t n_list;
	struct jnode **kw; /* values of keyword arguments, defaults of macros */
	struct jstr **kw_names;
	size_t n_kw;
	uint8_t *ops;      /* E_COMPARE: enum jcmp_op */
	struct jstr *name, *name2;
	const struct jbuiltin *fn; /* E_FILTER, E_TEST; NULL: unknown, an error when it is reached */
	struct jval val;
};

struct jinja {
	struct arena arena;
	struct map names; /* text to interned struct jstr */
	struct map used;  /* names read as variables, attributes or string keys */
	struct jnode *body;
	struct map blocks; /* name to S_BLOCK */
	struct jstr *name_loop, *name_caller, *name_varargs, *name_kwargs;
};

/* The one jstr of this name; NULL past the memory limit. */
struct jstr *jinja_intern(struct jinja *t, const char *p, size_t n);
struct jstr *jinja_tstr(struct jinja *t, const char *p, size_t n); /* copies, counted */
/* Marks a name as used by the template. */
void jinja_mark(struct jinja *t, const struct jstr *s);

/* ---- parser (jinja_parse.c: expressions, jinja_stmt.c: statements) ---- */
struct jparse {
	struct jinja *t;
	struct jlex lex;
	struct jtoken cur, ahead;
	bool has_ahead;
	int depth;       /* of expressions */
	int block_depth; /* of statements */
	int loop_depth;  /* loops that break and continue can reach */
	int for_depth;   /* all loops around */
	struct jnode *macros[JINJA_PARSE_DEPTH_MAX + 8]; /* macros around this point */
	size_t n_macro;
	bool soft;       /* inside if: unknown filters fail only when reached */
	const char *tags[JINJA_PARSE_DEPTH_MAX + 8]; /* open tags, for messages */
	/* unknown filters and tests met so far */
	struct junknown {
		struct jnode *node;
		bool soft;
	} *unknown;
	size_t n_unknown, cap_unknown;
	struct err *err;
};

bool jparse_template(struct jparse *p, struct jnode **ret);
bool jparse_fail(struct jparse *p, int line, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
bool jparse_next(struct jparse *p);
bool jparse_expect(struct jparse *p, enum jtok type);
bool jparse_is_name(const struct jparse *p, const char *name);
/* Takes the current token when it is this name (or type); *ret tells. */
bool jparse_skip_name(struct jparse *p, const char *name, bool *ret);
bool jparse_skip(struct jparse *p, enum jtok type, bool *ret);
struct jnode *jparse_node(struct jparse *p, enum jnode_kind kind, int line); /* NULL past the memory limit */

bool jparse_expr(struct jparse *p, bool with_cond, struct jnode **ret);
/* SIMPLE: names and literals only, as targets of assignments; NS: ns.name is a target too. */
enum jtuple_flags { JTUPLE_SIMPLE = 1, JTUPLE_NO_COND = 2, JTUPLE_PARENS = 4, JTUPLE_NS = 8 };
bool jparse_primary(struct jparse *p, int flags, struct jnode **ret);
bool jparse_tuple(struct jparse *p, int flags, struct jnode **ret);
bool jparse_filter(struct jparse *p, struct jnode *of, bool start_inline, struct jnode **ret);
const char *jparse_kind_name(enum jnode_kind kind);

/* A growing list in the arena. */
struct jnodes {
	struct jnode **v;
	size_t n, cap;
};
bool jparse_add(struct jparse *p, struct jnodes *l, struct jnode *n);

#endif
