#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"
#include "base/utf8.h"
#include "chat/jinja_ast.h"
#include "chat/jinja_big.h"
#include "chat/jinja_case.h"

static const struct {
	const char *text;
	enum jtok type;
} operators[] = { /* longer ones first */
	{"//", T_FLOORDIV}, {"**", T_POW},    {"==", T_EQ},      {"!=", T_NE},       {"<=", T_LE},      {">=", T_GE},
	{"+", T_ADD},       {"-", T_SUB},     {"*", T_MUL},      {"/", T_DIV},       {"%", T_MOD},      {"~", T_TILDE},
	{"<", T_LT},        {">", T_GT},      {"=", T_ASSIGN},   {".", T_DOT},       {",", T_COMMA},    {":", T_COLON},
	{";", T_SEMICOLON}, {"|", T_PIPE},    {"(", T_LPAREN},   {")", T_RPAREN},    {"[", T_LBRACKET}, {"]", T_RBRACKET},
	{"{", T_LBRACE},    {"}", T_RBRACE},
};

const char *jlex_describe(const struct jtoken *tok)
{
	switch (tok->type) {
	case T_EOF: return "end of template";
	case T_DATA: return "template data";
	case T_BLOCK_BEGIN: return "begin of statement block";
	case T_BLOCK_END: return "end of statement block";
	case T_VAR_BEGIN: return "begin of print statement";
	case T_VAR_END: return "end of print statement";
	case T_NAME: return tok->s ? tok->s->p : "name"; /* interned names end in NUL */
	case T_STRING: return "string";
	case T_INTEGER: return "integer";
	case T_FLOAT: return "float";
	default: break;
	}
	for (size_t i = 0; i < ARRAY_LEN(operators); i++)
		if (operators[i].type == tok->type)
			return operators[i].text;
	return "?";
}

static bool lex_fail(struct jlex *lx, const char *what)
{
	err_set(lx->err, ERR_INVALID, "chat template, line %d: %s", lx->line, what);
	return false;
}

void jlex_init(struct jlex *lx, struct jinja *t, const char *s, size_t n, struct err *err)
{
	*lx = (struct jlex){.t = t, .s = s, .n = n, .line = 1, .line_starting = true, .err = err};
}

static bool at(const struct jlex *lx, const char *z)
{
	size_t n = strlen(z);
	return lx->n - lx->pos >= n && memcmp(lx->s + lx->pos, z, n) == 0;
}

/* Moves to `to` and counts the lines passed. */
static void advance(struct jlex *lx, size_t to)
{
	for (size_t i = lx->pos; i < to; i++)
		lx->line += lx->s[i] == '\n';
	lx->pos = to;
}

static size_t skip_space(const struct jlex *lx, size_t i)
{
	while (i < lx->n) {
		uint32_t cp;
		size_t len = utf8_next(lx->s + i, lx->n - i, &cp);
		if (!jcase_is_space(cp))
			break;
		i += len;
	}
	return i;
}

/* The end of a tag that starts at i ("%}" and the like): with a minus the white space after it goes too, otherwise (for
 * blocks and comments) one line end. Returns the position after it or 0. */
static size_t tag_end(const struct jlex *lx, size_t i, const char *close, bool block)
{
	bool minus = i < lx->n && lx->s[i] == '-', plus = block && i < lx->n && lx->s[i] == '+';
	size_t k = i + (minus || plus);
	if (lx->n - k < 2 || k > lx->n || memcmp(lx->s + k, close, 2) != 0)
		return 0;
	k += 2;
	if (minus)
		return skip_space(lx, k);
	if (block && !plus && k < lx->n && lx->s[k] == '\n')
		k++;
	return k;
}

/* Position after "{% word" and its blanks when that stands at i, else 0; *ret_sign is the whitespace control sign. */
static size_t tag_word(const struct jlex *lx, size_t i, const char *word, char *ret_sign)
{
	size_t n = strlen(word);
	if (lx->n - i < 2 || lx->s[i] != '{' || lx->s[i + 1] != '%')
		return 0;
	i += 2;
	*ret_sign = i < lx->n && (lx->s[i] == '-' || lx->s[i] == '+') ? lx->s[i++] : 0;
	i = skip_space(lx, i);
	if (lx->n - i < n || memcmp(lx->s + i, word, n) != 0)
		return 0;
	return skip_space(lx, i + n);
}

/* The end of the text from..to before a tag: whitespace control of the tag and lstrip_blocks shorten it. */
static size_t strip_before(const struct jlex *lx, size_t from, size_t to, char sign, bool is_var)
{
	if (sign == '-') {
		size_t start;
		return from + jcase_strip(lx->s + from, to - from, NULL, false, true, &start);
	}
	if (sign == '+' || is_var)
		return to;
	size_t line = to;
	while (line > from && lx->s[line - 1] != '\n')
		line--;
	if (line == from && !lx->line_starting)
		return to;
	return skip_space(lx, line) >= to ? line : to;
}

static bool data_token(struct jlex *lx, size_t from, size_t to, struct jtoken *ret)
{
	*ret = (struct jtoken){.type = T_DATA, .line = lx->line};
	ret->s = jinja_tstr(lx->t, lx->s + from, to - from);
	return ret->s ? true : lex_fail(lx, "the template is too large");
}

/* The text of a raw block: up to its end tag. lx->pos is behind the begin tag. */
static bool lex_raw(struct jlex *lx, struct jtoken *ret)
{
	size_t from = lx->pos;
	if (from >= lx->n) { /* Jinja2 takes a raw block without any text for the end of the template */
		lx->pending_raw = false;
		return data_token(lx, from, from, ret);
	}
	for (size_t i = from; i + 1 < lx->n; i++) {
		char sign;
		size_t k = lx->s[i] == '{' ? tag_word(lx, i, "endraw", &sign) : 0;
		k = k ? tag_end(lx, k, "%}", true) : 0;
		if (!k)
			continue;
		size_t to = strip_before(lx, from, i, sign, false);
		if (!data_token(lx, from, to, ret))
			return false;
		lx->line_starting = lx->s[k - 1] == '\n';
		lx->pending_raw = false;
		advance(lx, k);
		return true;
	}
	return lex_fail(lx, "missing end of raw directive");
}

static bool lex_comment(struct jlex *lx)
{
	for (size_t i = lx->pos; i < lx->n; i++) {
		char c = lx->s[i];
		size_t k = c == '#' || c == '-' || c == '+' ? tag_end(lx, i, "#}", true) : 0;
		if (!k)
			continue;
		lx->line_starting = lx->s[k - 1] == '\n';
		advance(lx, k);
		return true;
	}
	return lx->pos >= lx->n || lex_fail(lx, "missing end of comment tag");
}

/* Enters the tag at lx->pos. A comment is passed over; otherwise the state changes. */
static bool enter_tag(struct jlex *lx, struct jtoken *ret, bool *ret_is_token)
{
	char kind = lx->s[lx->pos + 1], sign;
	size_t raw = kind == '%' ? tag_word(lx, lx->pos, "raw", &sign) : 0;
	*ret_is_token = false;
	if (raw && (raw = tag_end(lx, raw, "%}", false))) {
		lx->line_starting = lx->s[raw - 1] == '\n';
		advance(lx, raw);
		lx->pending_raw = true;
		return true;
	}
	lx->pos += 2;
	if (lx->pos < lx->n && (lx->s[lx->pos] == '-' || lx->s[lx->pos] == '+'))
		lx->pos++;
	lx->line_starting = false;
	if (kind == '#')
		return lex_comment(lx);
	lx->state = kind == '%' ? JLEX_BLOCK : JLEX_VAR;
	*ret = (struct jtoken){.type = kind == '%' ? T_BLOCK_BEGIN : T_VAR_BEGIN, .line = lx->line};
	*ret_is_token = true;
	return true;
}

static bool lex_root(struct jlex *lx, struct jtoken *ret)
{
	for (;;) {
		if (lx->pending_raw) {
			if (!lex_raw(lx, ret))
				return false;
			if (ret->s->n)
				return true;
			continue;
		}
		size_t from = lx->pos, q = from;
		while (q + 1 < lx->n && !(lx->s[q] == '{' && (lx->s[q + 1] == '%' || lx->s[q + 1] == '{' || lx->s[q + 1] == '#')))
			q++;
		if (q + 1 >= lx->n) {
			if (from >= lx->n) {
				*ret = (struct jtoken){.type = T_EOF, .line = lx->line};
				return true;
			}
			bool ok = data_token(lx, from, lx->n, ret);
			advance(lx, lx->n);
			return ok;
		}
		char sign = q + 2 < lx->n ? lx->s[q + 2] : 0;
		size_t to = strip_before(lx, from, q, sign, lx->s[q + 1] == '{');
		if (to > from) {
			if (!data_token(lx, from, to, ret))
				return false;
			advance(lx, q);
			/* the text is delivered; on the next call the tag stands at pos with no text before it */
			lx->line_starting = false;
			return true;
		}
		advance(lx, q);
		bool is_token;
		if (!enter_tag(lx, ret, &is_token))
			return false;
		if (is_token)
			return true;
	}
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_base_digit(char c, int base)
{
	if (base == 16)
		return is_digit(c) || ((c | 32) >= 'a' && (c | 32) <= 'f');
	return c >= '0' && c < '0' + base;
}

/* Digits with single underscores between them; returns the position after them. */
static size_t digits(const struct jlex *lx, size_t i, int base)
{
	while (i < lx->n && is_base_digit(lx->s[i], base)) {
		i++;
		if (i + 1 < lx->n && lx->s[i] == '_' && is_base_digit(lx->s[i + 1], base))
			i++;
	}
	return i;
}

/* End of a float that starts at pos, or 0 when there is none. */
static size_t float_end(const struct jlex *lx)
{
	if (lx->pos > 0 && lx->s[lx->pos - 1] == '.')
		return 0;
	size_t i = digits(lx, lx->pos, 10), end = 0;
	if (i < lx->n && lx->s[i] == '.' && i + 1 < lx->n && is_digit(lx->s[i + 1]))
		end = i = digits(lx, i + 1, 10);
	if (i < lx->n && (lx->s[i] == 'e' || lx->s[i] == 'E')) {
		size_t k = i + 1;
		if (k < lx->n && (lx->s[k] == '+' || lx->s[k] == '-'))
			k++;
		if (k < lx->n && is_digit(lx->s[k]))
			end = digits(lx, k, 10);
	}
	return end;
}

static size_t integer_end(const struct jlex *lx, int *ret_base)
{
	static const struct {
		char c;
		int base;
	} prefixes[] = {{'b', 2}, {'o', 8}, {'x', 16}};
	size_t i = lx->pos;
	*ret_base = 10;
	if (lx->s[i] != '0')
		return digits(lx, i, 10);
	for (size_t k = 0; k < ARRAY_LEN(prefixes) && i + 1 < lx->n; k++) {
		if ((lx->s[i + 1] | 32) != prefixes[k].c)
			continue;
		size_t first = i + 2 + (i + 2 < lx->n && lx->s[i + 2] == '_');
		if (first < lx->n && is_base_digit(lx->s[first], prefixes[k].base)) {
			*ret_base = prefixes[k].base;
			return digits(lx, first, prefixes[k].base);
		}
	}
	while (i < lx->n && (lx->s[i] == '0' || (lx->s[i] == '_' && i + 1 < lx->n && lx->s[i + 1] == '0')))
		i++;
	return i;
}

static bool lex_number(struct jlex *lx, struct jtoken *ret)
{
	int base = 10;
	size_t end = float_end(lx);
	bool real = end != 0;
	if (!real)
		end = integer_end(lx, &base);
	size_t from = lx->pos + (base != 10 ? 2 : 0), n = 0;
	char *text = arena_alloc(&lx->t->arena, end - from + 1);
	if (!text)
		return lex_fail(lx, "the template is too large");
	for (size_t i = from; i < end; i++)
		if (lx->s[i] != '_')
			text[n++] = lx->s[i];
	text[n] = '\0';
	lx->pos = end;
	ret->type = real ? T_FLOAT : T_INTEGER;
	if (real) {
		ret->val = (struct jval){.kind = J_FLOAT, .f = strtod(text, NULL)};
		return true;
	}
	return jbig_parse(&lx->t->arena, text, n, base, false, &ret->val) ? true : lex_fail(lx, "an integer is too long");
}

static size_t put_cp(char *out, uint32_t cp)
{
	return utf8_encode(cp, out);
}

/* \ooo, \xhh, \uhhhh, \Uhhhhhhhh at s[*i] (after the backslash). */
static bool escape_code(const char *s, size_t n, size_t *i, uint32_t *ret)
{
	int want = s[*i] == 'x' ? 2 : s[*i] == 'u' ? 4 : s[*i] == 'U' ? 8 : 0;
	uint32_t cp = 0;
	if (!want) {
		for (int k = 0; k < 3 && *i < n && s[*i] >= '0' && s[*i] <= '7'; k++)
			cp = cp * 8 + (uint32_t)(s[(*i)++] - '0');
		*ret = cp;
		return true;
	}
	(*i)++;
	for (int k = 0; k < want; k++, (*i)++) {
		if (*i >= n || !is_base_digit(s[*i], 16))
			return false;
		char c = s[*i];
		cp = cp << 4 | (uint32_t)(is_digit(c) ? c - '0' : (c | 32) - 'a' + 10);
	}
	*ret = cp;
	return cp <= 0x10FFFF;
}

/* The value of a string literal's inside. Every escape is at least as long as what it stands for. */
static bool unescape(struct jlex *lx, const char *s, size_t n, struct jtoken *ret)
{
	static const char from[] = "\\'\"abfnrtv", to[] = "\\'\"\a\b\f\n\r\t\v";
	char *out = arena_alloc(&lx->t->arena, n + 4);
	size_t k = 0;
	if (!out)
		return lex_fail(lx, "the template is too large");
	for (size_t i = 0; i < n;) {
		if (s[i] != '\\' || i + 1 >= n) {
			out[k++] = s[i++];
			continue;
		}
		char c = s[++i];
		const char *simple = c ? strchr(from, c) : NULL;
		uint32_t cp;
		if (simple) {
			out[k++] = to[simple - from];
			i++;
		} else if (c == '\n') {
			i++;
		} else if (c == 'N') {
			return lex_fail(lx, "\\N{...} escapes are not supported; write the character or \\uXXXX");
		} else if (c == 'x' || c == 'u' || c == 'U' || (c >= '0' && c <= '7')) {
			if (!escape_code(s, n, &i, &cp))
				return lex_fail(lx, "truncated \\x, \\u or \\U escape in a string");
			k += put_cp(out + k, cp);
		} else {
			out[k++] = '\\';
		}
	}
	ret->s = jinja_tstr(lx->t, out, k);
	return ret->s ? true : lex_fail(lx, "the template is too large");
}

static bool lex_string(struct jlex *lx, struct jtoken *ret)
{
	char quote = lx->s[lx->pos];
	size_t from = lx->pos + 1, i = from;
	while (i < lx->n && lx->s[i] != quote)
		i += lx->s[i] == '\\' ? 2 : 1;
	if (i >= lx->n)
		return lex_fail(lx, "unexpected quote character: the string has no end");
	ret->type = T_STRING;
	bool ok = unescape(lx, lx->s + from, i - from, ret);
	advance(lx, i + 1);
	return ok;
}

static size_t name_end(const struct jlex *lx, size_t i)
{
	while (i < lx->n) {
		uint32_t cp;
		size_t len = utf8_next(lx->s + i, lx->n - i, &cp);
		if (!jcase_word(cp))
			break;
		i += len;
	}
	return i;
}

static bool lex_bracket(struct jlex *lx, enum jtok type)
{
	static const char pairs[][2] = {{T_LPAREN, T_RPAREN}, {T_LBRACKET, T_RBRACKET}, {T_LBRACE, T_RBRACE}};
	for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
		if ((int)type == pairs[i][0]) {
			if (lx->n_closer >= sizeof lx->closers)
				return lex_fail(lx, "brackets are nested too deeply");
			lx->closers[lx->n_closer++] = pairs[i][1];
		}
		if ((int)type == pairs[i][1]) {
			if (lx->n_closer == 0)
				return lex_fail(lx, "unexpected closing bracket");
			if (lx->closers[--lx->n_closer] != (char)type)
				return lex_fail(lx, "unexpected closing bracket, expected another kind");
		}
	}
	return true;
}

static bool lex_operator(struct jlex *lx, struct jtoken *ret)
{
	for (size_t i = 0; i < ARRAY_LEN(operators); i++) {
		if (!at(lx, operators[i].text))
			continue;
		ret->type = operators[i].type;
		lx->pos += strlen(operators[i].text);
		return lex_bracket(lx, ret->type);
	}
	char what[80];
	uint32_t cp;
	utf8_next(lx->s + lx->pos, lx->n - lx->pos, &cp);
	snprintf(what, sizeof what, "unexpected character U+%04X in a tag", (unsigned)cp);
	return lex_fail(lx, what);
}

static bool lex_tag(struct jlex *lx, struct jtoken *ret)
{
	bool block = lx->state == JLEX_BLOCK;
	size_t k;
	*ret = (struct jtoken){.line = lx->line};
	if (!lx->n_closer && lx->pos < lx->n && (k = tag_end(lx, lx->pos, block ? "%}" : "}}", block))) {
		lx->line_starting = lx->s[k - 1] == '\n';
		ret->type = block ? T_BLOCK_END : T_VAR_END;
		lx->state = JLEX_ROOT;
		advance(lx, k);
		return true;
	}
	advance(lx, skip_space(lx, lx->pos));
	ret->line = lx->line;
	if (lx->pos >= lx->n) {
		ret->type = T_EOF;
		return true;
	}
	if (!lx->n_closer && tag_end(lx, lx->pos, block ? "%}" : "}}", block))
		return lex_tag(lx, ret);
	char c = lx->s[lx->pos];
	if (is_digit(c))
		return lex_number(lx, ret);
	if (c == '\'' || c == '"')
		return lex_string(lx, ret);
	size_t end = name_end(lx, lx->pos);
	if (end == lx->pos)
		return lex_operator(lx, ret);
	ret->type = T_NAME;
	ret->s = jinja_intern(lx->t, lx->s + lx->pos, end - lx->pos);
	lx->pos = end;
	return ret->s ? true : lex_fail(lx, "the template is too large");
}

bool jlex_next(struct jlex *lx, struct jtoken *ret)
{
	return lx->state == JLEX_ROOT ? lex_root(lx, ret) : lex_tag(lx, ret);
}
