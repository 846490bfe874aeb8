#include <stdarg.h>
#include <stdio.h>
#include <utf8proc.h>

#include "base/utf8.h"
#include "chat/gotmpl_ast.h"

static const struct {
	const char *word;
	enum gtok_type type;
} keywords[] = {
	{"block", GT_BLOCK}, {"break", GT_BREAK}, {"continue", GT_CONTINUE}, {"define", GT_DEFINE},
	{"else", GT_ELSE},   {"end", GT_END},     {"if", GT_IF},             {"nil", GT_NIL},
	{"range", GT_RANGE}, {"template", GT_TEMPLATE}, {"with", GT_WITH},   {"true", GT_BOOL},
	{"false", GT_BOOL},
};

void glex_init(struct glex *l, const char *p, size_t n)
{
	*l = (struct glex){.p = p, .n = n};
}

int glex_line(const char *p, size_t pos)
{
	int line = 1;
	for (size_t i = 0; i < pos; i++)
		line += p[i] == '\n';
	return line;
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool is_word(uint32_t cp)
{
	if (cp < 128)
		return cp == '_' || (cp >= '0' && cp <= '9') || ((cp | 32) >= 'a' && (cp | 32) <= 'z');
	switch (utf8proc_category((utf8proc_int32_t)cp)) {
	case UTF8PROC_CATEGORY_LU:
	case UTF8PROC_CATEGORY_LL:
	case UTF8PROC_CATEGORY_LT:
	case UTF8PROC_CATEGORY_LM:
	case UTF8PROC_CATEGORY_LO:
	case UTF8PROC_CATEGORY_ND:
		return true;
	default:
		return false;
	}
}

static bool at(const struct glex *l, size_t pos, const char *z)
{
	size_t n = strlen(z);
	return pos <= l->n && l->n - pos >= n && memcmp(l->p + pos, z, n) == 0;
}

static int byte_at(const struct glex *l, size_t pos)
{
	return pos < l->n ? (unsigned char)l->p[pos] : -1;
}

/* " -}}" or "}}" at pos */
static bool at_right(const struct glex *l, size_t pos, bool *ret_trim)
{
	*ret_trim = pos < l->n && is_space(l->p[pos]) && at(l, pos + 1, "-}}");
	return *ret_trim || at(l, pos, "}}");
}

static size_t skip_space(const struct glex *l, size_t pos)
{
	while (pos < l->n && is_space(l->p[pos]))
		pos++;
	return pos;
}

static struct gtok token(const struct glex *l, enum gtok_type type, size_t from, size_t to)
{
	return (struct gtok){type, (uint32_t)from, {l->p + from, to - from}};
}

static struct gtok __attribute__((format(printf, 2, 3))) fail(struct glex *l, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(l->msg, sizeof l->msg, fmt, ap);
	va_end(ap);
	l->failed = true;
	return (struct gtok){GT_ERROR, (uint32_t)(l->pos < l->n ? l->pos : l->n), {l->msg, strlen(l->msg)}};
}

static uint32_t char_at(const struct glex *l, size_t pos, size_t *ret_len)
{
	uint32_t cp = 0;
	*ret_len = pos < l->n ? utf8_next(l->p + pos, l->n - pos, &cp) : 0;
	return cp;
}

/* "U+007D '}'" */
static struct gtok fail_char(struct glex *l, const char *what, size_t pos)
{
	size_t len;
	uint32_t cp = char_at(l, pos, &len);
	if (!len)
		return fail(l, "%s U+FFFFFFFFFFFFFFFF", what);
	if (cp == UTF8_REPLACEMENT || cp < 32)
		return fail(l, "%s U+%04X", what, (unsigned)cp);
	return fail(l, "%s U+%04X '%.*s'", what, (unsigned)cp, (int)len, l->p + pos);
}

/* May a name end at pos? */
static bool at_end_of_name(const struct glex *l, size_t pos)
{
	int c = byte_at(l, pos);
	return c < 0 || is_space((char)c) || strchr(".,|:)(", c) || at(l, pos, "}}");
}

static size_t skip_word(const struct glex *l, size_t pos)
{
	size_t len;
	while (pos < l->n && is_word(char_at(l, pos, &len)))
		pos += len;
	return pos;
}

static struct gtok lex_name(struct glex *l, enum gtok_type type, size_t from)
{
	bool plain = type == GT_IDENT;
	l->pos = skip_word(l, plain ? from : from + 1);
	if (!plain && l->pos == from + 1 && at_end_of_name(l, l->pos))
		return token(l, type == GT_FIELD ? GT_DOT : GT_VARIABLE, from, l->pos);
	if (!at_end_of_name(l, l->pos))
		return fail_char(l, "bad character", l->pos);
	struct gtok t = token(l, type, from, l->pos);
	if (plain)
		for (size_t i = 0; i < ARRAY_LEN(keywords); i++)
			if (gstr_eqz(t.text, keywords[i].word))
				t.type = keywords[i].type;
	return t;
}

static size_t skip_of(const struct glex *l, size_t pos, const char *set)
{
	while (pos < l->n && l->p[pos] && strchr(set, l->p[pos]))
		pos++;
	return pos;
}

static bool one_of(const struct glex *l, size_t *pos, const char *set)
{
	if (*pos >= l->n || !l->p[*pos] || !strchr(set, l->p[*pos]))
		return false;
	++*pos;
	return true;
}

/* One real or imaginary number; false when it runs into a letter. */
static bool scan_number(struct glex *l)
{
	enum { DEC, HEX, OTHER } base = DEC;
	const char *digits = "0123456789_";
	one_of(l, &l->pos, "+-");
	if (one_of(l, &l->pos, "0")) {
		if (one_of(l, &l->pos, "xX")) {
			digits = "0123456789abcdefABCDEF_";
			base = HEX;
		} else if (one_of(l, &l->pos, "oO")) {
			digits = "01234567_";
			base = OTHER;
		} else if (one_of(l, &l->pos, "bB")) {
			digits = "01_";
			base = OTHER;
		}
	}
	l->pos = skip_of(l, l->pos, digits);
	if (one_of(l, &l->pos, "."))
		l->pos = skip_of(l, l->pos, digits);
	if ((base == DEC && one_of(l, &l->pos, "eE")) || (base == HEX && one_of(l, &l->pos, "pP"))) {
		one_of(l, &l->pos, "+-");
		l->pos = skip_of(l, l->pos, "0123456789_");
	}
	one_of(l, &l->pos, "i");
	size_t len;
	return l->pos >= l->n || !is_word(char_at(l, l->pos, &len));
}

static struct gtok lex_number(struct glex *l)
{
	size_t from = l->pos;
	enum gtok_type type = GT_NUMBER;
	bool ok = scan_number(l);
	int c = byte_at(l, l->pos);
	if (ok && (c == '+' || c == '-')) { /* 1+2i */
		type = GT_COMPLEX;
		ok = scan_number(l) && l->p[l->pos - 1] == 'i';
	}
	if (ok)
		return token(l, type, from, l->pos);
	size_t len;
	int n = (int)(l->pos + (is_word(char_at(l, l->pos, &len)) ? len : 0) - from);
	return fail(l, "bad number syntax: \"%.*s\"", n < 60 ? n : 60, l->p + from);
}

/* "..." and '...' */
static struct gtok lex_quoted(struct glex *l, char quote)
{
	size_t from = l->pos++;
	for (; l->pos < l->n && l->p[l->pos] != '\n'; l->pos++) {
		if (l->p[l->pos] == quote) {
			l->pos++;
			return token(l, quote == '"' ? GT_STRING : GT_CHARCONST, from, l->pos);
		}
		if (l->p[l->pos] == '\\' && l->pos + 1 < l->n && l->p[l->pos + 1] != '\n')
			l->pos++;
	}
	return fail(l, quote == '"' ? "unterminated quoted string" : "unterminated character constant");
}

static struct gtok lex_raw(struct glex *l)
{
	size_t from = l->pos++;
	const char *end = memchr(l->p + l->pos, '`', l->n - l->pos);
	if (!end)
		return fail(l, "unterminated raw quoted string");
	l->pos = (size_t)(end - l->p) + 1;
	return token(l, GT_RAW, from, l->pos);
}

static struct gtok lex_right(struct glex *l, bool trim)
{
	size_t from = l->pos + (trim ? 2 : 0);
	l->pos = from + 2;
	l->in_action = false;
	struct gtok t = token(l, GT_RIGHT, from, l->pos);
	if (trim)
		l->pos = skip_space(l, l->pos);
	return t;
}

static struct gtok lex_space(struct glex *l)
{
	size_t from = l->pos, to = skip_space(l, from);
	if (at(l, to, "-}}")) { /* the last blank belongs to the closing braces */
		to--;
		if (to == from)
			return lex_right(l, true);
	}
	l->pos = to;
	return token(l, GT_SPACE, from, to);
}

static struct gtok lex_char(struct glex *l, char c)
{
	static const struct {
		char c;
		enum gtok_type type;
	} single[] = {{'=', GT_ASSIGN}, {'|', GT_PIPE}, {'(', GT_LPAREN}, {')', GT_RPAREN}};
	enum gtok_type type = GT_CHAR;
	for (size_t i = 0; i < ARRAY_LEN(single); i++)
		if (single[i].c == c)
			type = single[i].type;
	l->pos++;
	l->paren_depth += (c == '(') - (c == ')');
	if (l->paren_depth < 0)
		return fail(l, "unexpected right paren");
	return token(l, type, l->pos - 1, l->pos);
}

static struct gtok lex_inside(struct glex *l)
{
	bool trim;
	if (at_right(l, l->pos, &trim))
		return l->paren_depth ? fail(l, "unclosed left paren") : lex_right(l, trim);
	int c = byte_at(l, l->pos), next = byte_at(l, l->pos + 1);
	if (c < 0)
		return fail(l, "unclosed action");
	if (is_space((char)c))
		return lex_space(l);
	if (c == ':') {
		l->pos += 2;
		return next == '=' ? token(l, GT_DECLARE, l->pos - 2, l->pos) : fail(l, "expected :=");
	}
	if (c == '"' || c == '\'')
		return lex_quoted(l, (char)c);
	if (c == '`')
		return lex_raw(l);
	if (c == '$')
		return lex_name(l, GT_VARIABLE, l->pos);
	if (c == '.' && next >= 0 && (next < '0' || next > '9'))
		return lex_name(l, GT_FIELD, l->pos);
	if (c == '.' || c == '+' || c == '-' || (c >= '0' && c <= '9'))
		return lex_number(l);
	size_t len;
	if (is_word(char_at(l, l->pos, &len)))
		return lex_name(l, GT_IDENT, l->pos);
	if (c > ' ' && c < 127)
		return lex_char(l, (char)c);
	return fail_char(l, "unrecognized character in action:", l->pos);
}

/* A comment between braces: skipped. False with an error token. */
static bool skip_comment(struct glex *l, size_t body, struct gtok *ret)
{
	const char *end = memmem(l->p + body, l->n - body, "*/", 2);
	bool trim;
	if (!end) {
		*ret = fail(l, "unclosed comment");
		return false;
	}
	l->pos = (size_t)(end - l->p) + 2;
	if (!at_right(l, l->pos, &trim)) {
		*ret = fail(l, "comment ends before closing delimiter");
		return false;
	}
	l->pos += trim ? 4 : 2;
	if (trim)
		l->pos = skip_space(l, l->pos);
	return true;
}

static struct gtok lex_text(struct glex *l)
{
	while (l->pos < l->n) {
		size_t from = l->pos;
		const char *open = memmem(l->p + from, l->n - from, "{{", 2);
		size_t left = open ? (size_t)(open - l->p) : l->n, end = left;
		bool trim = open && at(l, left + 2, "-") && left + 3 < l->n && is_space(l->p[left + 3]);
		while (trim && end > from && is_space(l->p[end - 1]))
			end--;
		l->pos = left;
		if (end > from)
			return token(l, GT_TEXT, from, end);
		if (!open)
			break;
		size_t body = left + (trim ? 4 : 2);
		if (at(l, body, "/*")) {
			struct gtok bad;
			if (!skip_comment(l, body + 2, &bad))
				return bad;
			continue;
		}
		l->in_action = true;
		l->paren_depth = 0;
		l->pos = body;
		return token(l, GT_LEFT, left, left + 2);
	}
	return token(l, GT_EOF, l->n, l->n);
}

struct gtok glex_next(struct glex *l)
{
	if (l->failed)
		return token(l, GT_EOF, l->n, l->n);
	return l->in_action ? lex_inside(l) : lex_text(l);
}
