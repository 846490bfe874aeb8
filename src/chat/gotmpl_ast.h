/* gotmpl_ast: tokens and the tree of a parsed Go template. Nodes live in the template's arena and are constant after
 * parsing. Positions are byte offsets into the source; names in nodes point into the source or the arena. */
#ifndef CRIA_CHAT_GOTMPL_AST_H
#define CRIA_CHAT_GOTMPL_AST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "base/vec.h"
#include "chat/gotmpl.h"

enum {
	GOTMPL_SOURCE_BYTES_MAX = 2 << 20,
	GOTMPL_PARSE_BYTES_MAX = 64 << 20, /* arena of one template */
	GOTMPL_PARSE_DEPTH_MAX = 500,       /* nested blocks and parentheses */
	GOTMPL_DEFS_MAX = 200,              /* define and block clauses */
	GOTMPL_NAMES_MAX = 500,             /* different variables in scope */
	GOTMPL_VARS_MAX = 50000             /* variables alive while rendering */
};

struct gstr {
	const char *p; /* not NUL-terminated, never NULL */
	size_t n;
};

static inline bool gstr_eq(struct gstr a, struct gstr b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}
static inline bool gstr_eqz(struct gstr a, const char *z)
{
	return gstr_eq(a, (struct gstr){z, strlen(z)});
}
/* Byte order, which is Go's order of map keys. */
static inline int gstr_cmp(struct gstr a, struct gstr b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	int c = n ? memcmp(a.p, b.p, n) : 0;
	return c ? c : (a.n > b.n) - (a.n < b.n);
}

enum gtok_type {
	GT_ERROR, /* text: the message */
	GT_EOF,
	GT_TEXT,
	GT_LEFT, /* the opening braces of an action */
	GT_RIGHT,
	GT_SPACE,
	GT_ASSIGN,
	GT_DECLARE,
	GT_PIPE,
	GT_LPAREN,
	GT_RPAREN,
	GT_CHAR, /* another ASCII character */
	GT_STRING,
	GT_RAW,
	GT_CHARCONST,
	GT_NUMBER,
	GT_COMPLEX,
	GT_VARIABLE,
	GT_FIELD,
	GT_IDENT,
	GT_BOOL,
	GT_KEYWORD_, /* keywords follow */
	GT_DOT,
	GT_BLOCK,
	GT_BREAK,
	GT_CONTINUE,
	GT_DEFINE,
	GT_ELSE,
	GT_END,
	GT_IF,
	GT_NIL,
	GT_RANGE,
	GT_TEMPLATE,
	GT_WITH
};

struct gfunc;

struct gtok {
	enum gtok_type type;
	uint32_t pos;
	struct gstr text;
};

struct glex {
	const char *p;
	size_t n, pos;
	int paren_depth;
	bool in_action;
	bool failed; /* an error was given out; the end follows */
	char msg[128];
};

void glex_init(struct glex *l, const char *p, size_t n);
struct gtok glex_next(struct glex *l);
int glex_line(const char *p, size_t pos); /* counted from 1 */

enum gnode_type {
	GN_LIST,
	GN_TEXT,
	GN_ACTION,
	GN_IF,
	GN_WITH,
	GN_RANGE,
	GN_TEMPLATE,
	GN_BREAK,
	GN_CONTINUE,
	GN_PIPE,
	GN_COMMAND,
	GN_FIELD,
	GN_VARIABLE,
	GN_CHAIN,
	GN_IDENT,
	GN_DOT,
	GN_NIL,
	GN_BOOL,
	GN_NUMBER,
	GN_STRING
};

enum gnum { GNUM_INT, GNUM_FLOAT, GNUM_COMPLEX, GNUM_TOO_BIG }; /* TOO_BIG: fits uint64 only; using it is an error */

struct gnode {
	uint8_t type;   /* enum gnode_type */
	bool is_assign; /* PIPE: `=`, not `:=` */
	bool truth;     /* BOOL */
	uint8_t num;    /* NUMBER: enum gnum */
	uint32_t pos;
	union {
		struct gnode **kids;  /* LIST: nodes; COMMAND: arguments; PIPE: declared variables, then commands */
		struct gstr *names;   /* FIELD, CHAIN: names; VARIABLE: the variable with its $, then names */
		struct gstr text;     /* TEXT; IDENT: the name; STRING: the value; TEMPLATE: the name */
		struct gnode *list;   /* IF, WITH, RANGE */
		int64_t i;            /* NUMBER */
		struct {
			double re, im;
		};
	};
	uint32_t n;      /* of kids or names */
	uint32_t n_decl; /* PIPE: variables at the front of kids */
	union {
		struct gnode *pipe; /* ACTION, IF, WITH, RANGE, TEMPLATE */
		struct gnode *base; /* CHAIN */
		const struct gfunc *fn; /* IDENT */
		struct gstr src;    /* NUMBER, STRING: as written */
	};
	struct gnode *else_list; /* IF, WITH, RANGE; or NULL */
};

struct gdef {
	struct gstr name;
	struct gnode *root;
};

struct gotmpl {
	struct arena arena;
	char *source;
	size_t n_source;
	VEC(struct gdef) defs; /* the template itself has the name "" */
	struct gnode *root;
	struct gnode *cut; /* root up to where the model's answer goes: collate.h's legacy form */
	const char **vars;
	size_t n_vars;
	bool adds_answer; /* it reads neither messages nor an answer: the answer follows its text */
	struct gotmpl_tags tags;
};

/* ---- parser ---- */
struct gparse {
	struct gotmpl *t;
	struct err *err;
	struct glex lex;
	struct gtok back[3]; /* tokens given back, the next one last */
	int n_back;
	struct gtok last;
	uint32_t action_pos; /* of the action that is open, for messages */
	int depth, range_depth;
	VEC(struct gstr) vars;       /* in scope */
	VEC(struct gnode *) pending; /* children of unfinished nodes */
	bool failed;
};
bool gparse_template(struct gotmpl *t, struct err *err);
const struct gnode *gdef_find(const struct gotmpl *t, struct gstr name);
const struct gfunc *gfunc_find(struct gstr name); /* gotmpl_func.c; NULL: no such function */
/* Parses a number token; false with a message in ret_msg. */
bool gparse_number(struct gtok tok, struct gnode *ret, char ret_msg[128]);
/* The value of a quoted string (with its quotes); false when it is no Go string. */
bool gparse_unquote(struct arena *a, struct gstr quoted, struct gstr *ret);

/* ---- looking at trees (gotmpl_tree.c) ---- */
void gnode_print(struct str *s, const struct gnode *n); /* as Go prints nodes; long text is cut */
bool gtree_empty(const struct gnode *n);                /* white space and definitions only */
bool gtree_vars(struct gotmpl *t, struct err *err);     /* fills t->vars */
bool gtree_cut(struct gotmpl *t);                       /* fills t->cut */
bool gtree_infer(struct gotmpl *t);                     /* fills t->tags */

#endif
