#include "modelfile/modelfile.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <utf8proc.h>

#include "base/bug.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "base/vec.h"
#include "modelfile/option.h"

static const char *const words[] = {
	[MODELFILE_FROM] = "from",           [MODELFILE_LICENSE] = "license",   [MODELFILE_TEMPLATE] = "template",
	[MODELFILE_SYSTEM] = "system",       [MODELFILE_ADAPTER] = "adapter",   [MODELFILE_DRAFT] = "draft",
	[MODELFILE_RENDERER] = "renderer",   [MODELFILE_PARSER] = "parser",     [MODELFILE_PARAMETER] = "parameter",
	[MODELFILE_MESSAGE] = "message",     [MODELFILE_REQUIRES] = "requires",
};

static const char *const roles[] = {"system", "user", "assistant"};

/* ---- reading ---- */

/* Where the reader stands: outside, in an instruction's word, in the first word after PARAMETER or MESSAGE, in a value, in
 * a comment. */
enum state { IN_NOTHING, IN_WORD, IN_KEY, IN_VALUE, IN_COMMENT };

struct reader {
	struct modelfile *out;
	enum state state;
	enum modelfile_kind kind;
	struct str buf, key;
	int line;
};

static bool is_blank(uint32_t c)
{
	return c == ' ' || c == '\t';
}

static bool is_newline(uint32_t c)
{
	return c == '\n' || c == '\r';
}

static bool is_alpha(uint32_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_print(uint32_t c)
{
	if (c < 0x80)
		return c >= 0x20 && c < 0x7f;
	switch (utf8proc_category((utf8proc_int32_t)c)) {
	case UTF8PROC_CATEGORY_CN: case UTF8PROC_CATEGORY_CC: case UTF8PROC_CATEGORY_CF: case UTF8PROC_CATEGORY_CS:
	case UTF8PROC_CATEGORY_CO: case UTF8PROC_CATEGORY_ZS: case UTF8PROC_CATEGORY_ZL: case UTF8PROC_CATEGORY_ZP:
		return false;
	default:
		return true;
	}
}

static int bad_word(const struct reader *r, struct err *err)
{
	return err_set(err, ERR_INVALID,
		       "(line %d): command must be one of \"from\", \"license\", \"template\", \"system\", \"adapter\", \"draft\", "
		       "\"renderer\", \"parser\", \"parameter\", \"message\", or \"requires\"",
		       r->line);
}

static int bad_role(const struct reader *r, struct err *err)
{
	return err_set(err, ERR_INVALID, "(line %d): message role must be one of \"system\", \"user\", or \"assistant\"", r->line);
}

static int unexpected_end(struct err *err)
{
	return err_set(err, ERR_INVALID, "unexpected EOF");
}

/* The text collected so far without blanks around it and without outer quotes; false while a quote is open. */
static bool complete_value(const struct str *buf, const char **ret, size_t *ret_n)
{
	const char *s = str_cstr(buf);
	size_t n = buf->len;
	while (n && (is_blank((unsigned char)s[0]) || is_newline((unsigned char)s[0]))) {
		s++;
		n--;
	}
	while (n && (is_blank((unsigned char)s[n - 1]) || is_newline((unsigned char)s[n - 1])))
		n--;
	size_t quote = n >= 3 && !memcmp(s, "\"\"\"", 3) ? 3 : n >= 1 && s[0] == '"' ? 1 : 0;
	if (quote && (n < 2 * quote || memcmp(s + n - quote, s, quote)))
		return false;
	*ret = s + quote;
	*ret_n = n - 2 * quote;
	return true;
}

/* Adds the command when its value is complete. */
static bool end_value(struct reader *r)
{
	const char *s;
	size_t n;
	if (!complete_value(&r->buf, &s, &n))
		return false;
	struct modelfile_cmd c = {.kind = r->kind, .key = mem_strdup(str_cstr(&r->key)), .value = mem_strndup(s, n)};
	vec_push(&r->out->cmds, c);
	str_clear(&r->buf);
	str_clear(&r->key);
	r->state = IN_NOTHING;
	return true;
}

static int end_word(struct reader *r, struct err *err)
{
	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		if (strcasecmp(words[i], str_cstr(&r->buf)))
			continue;
		r->kind = (enum modelfile_kind)i;
		r->state = i == MODELFILE_PARAMETER || i == MODELFILE_MESSAGE ? IN_KEY : IN_VALUE;
		str_clear(&r->buf);
		return 0;
	}
	return bad_word(r, err);
}

static int end_key(struct reader *r, struct err *err)
{
	str_clear(&r->key);
	if (r->kind == MODELFILE_MESSAGE) {
		size_t i = 0;
		while (i < ARRAY_LEN(roles) && strcasecmp(roles[i], str_cstr(&r->buf)))
			i++;
		if (i == ARRAY_LEN(roles))
			return bad_role(r, err);
		str_adds(&r->key, roles[i]);
	} else {
		str_add(&r->key, str_cstr(&r->buf), r->buf.len);
	}
	str_clear(&r->buf);
	r->state = IN_VALUE;
	return 0;
}

static int step(struct reader *r, uint32_t c, struct err *err)
{
	switch (r->state) {
	case IN_NOTHING:
		if (c == '#')
			r->state = IN_COMMENT;
		else if (!is_blank(c) && !is_newline(c) && is_print(c)) {
			r->state = IN_WORD;
			str_add_cp(&r->buf, c);
		}
		return 0;
	case IN_COMMENT:
		if (is_newline(c))
			r->state = IN_NOTHING;
		return 0;
	case IN_WORD:
		if (is_blank(c))
			return end_word(r, err);
		if (!is_alpha(c))
			return is_print(c) || is_newline(c) ? bad_word(r, err) : 0;
		str_add_cp(&r->buf, c);
		return 0;
	case IN_KEY:
		if (is_blank(c))
			return r->buf.len ? end_key(r, err) : 0;
		if (!is_alpha(c) && (r->kind == MODELFILE_MESSAGE || !((c >= '0' && c <= '9') || c == '_')))
			return unexpected_end(err);
		str_add_cp(&r->buf, c);
		return 0;
	case IN_VALUE:
		if (is_newline(c) && end_value(r))
			return 0;
		if (is_blank(c) || is_newline(c) || is_print(c))
			str_add_cp(&r->buf, c);
		return 0;
	}
	return 0;
}

/* Text in UTF-16 as UTF-8; a lone surrogate becomes U+FFFD. */
static void from_utf16(const unsigned char *s, size_t n, bool big, struct str *out)
{
	for (size_t i = 0; i + 1 < n; i += 2) {
		uint32_t c = big ? (uint32_t)s[i] << 8 | s[i + 1] : (uint32_t)s[i + 1] << 8 | s[i];
		if (c >= 0xD800 && c < 0xDC00 && i + 3 < n) {
			uint32_t low = big ? (uint32_t)s[i + 2] << 8 | s[i + 3] : (uint32_t)s[i + 3] << 8 | s[i + 2];
			if (low >= 0xDC00 && low < 0xE000) {
				c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
				i += 2;
			}
		}
		str_add_cp(out, c);
	}
}

static int finish(struct reader *r, struct err *err)
{
	if (r->state == IN_VALUE && !end_value(r))
		return unexpected_end(err);
	if (r->state == IN_WORD || r->state == IN_KEY)
		return unexpected_end(err);
	for (size_t i = 0; i < r->out->cmds.n; i++)
		if (r->out->cmds.data[i].kind == MODELFILE_FROM)
			return 0;
	return err_set(err, ERR_INVALID, "no FROM line");
}

static int read_all(struct reader *r, const char *text, size_t n, struct err *err)
{
	int rc = 0;
	for (size_t i = 0; !rc && i < n;) {
		uint32_t c;
		i += utf8_next(text + i, n - i, &c);
		if (c == '\n')
			r->line++;
		rc = step(r, c, err);
	}
	return rc ? rc : finish(r, err);
}

int modelfile_parse(const char *text, size_t n, struct modelfile *ret, struct err *err)
{
	struct reader r = {.out = ret, .line = 1};
	struct str utf8 = {0};
	memset(ret, 0, sizeof *ret);
	bool be = n >= 2 && !memcmp(text, "\xFE\xFF", 2), le = n >= 2 && !memcmp(text, "\xFF\xFE", 2);
	if (be || le) {
		from_utf16((const unsigned char *)text + 2, n - 2, be, &utf8);
		text = str_cstr(&utf8);
		n = utf8.len;
	} else if (n >= 3 && !memcmp(text, "\xEF\xBB\xBF", 3)) {
		text += 3;
		n -= 3;
	}
	int rc = read_all(&r, text, n, err);
	str_release(&r.buf);
	str_release(&r.key);
	str_release(&utf8);
	if (rc)
		modelfile_release(ret);
	return rc;
}

void modelfile_release(struct modelfile *m)
{
	for (size_t i = 0; i < m->cmds.n; i++) {
		mem_free(m->cmds.data[i].key);
		mem_free(m->cmds.data[i].value);
	}
	vec_release(&m->cmds);
}

/* ---- writing ---- */

static void put_quoted(struct str *out, const char *v)
{
	size_t n = strlen(v);
	if (!strchr(v, '\n') && v[0] != ' ' && (!n || v[n - 1] != ' ')) {
		str_adds(out, v);
		return;
	}
	const char *quote = strchr(v, '"') ? "\"\"\"" : "\"";
	str_printf(out, "%s%s%s", quote, v, quote);
}

void modelfile_write(struct str *out, enum modelfile_kind kind, const char *key, const char *value)
{
	for (const char *p = words[kind]; *p; p++)
		str_addc(out, (char)(*p - 'a' + 'A'));
	str_addc(out, ' ');
	if (kind == MODELFILE_PARAMETER || kind == MODELFILE_MESSAGE)
		str_printf(out, "%s ", key);
	if (kind == MODELFILE_FROM)
		str_adds(out, value);
	else
		put_quoted(out, value);
	str_addc(out, '\n');
}

static void write_param(struct str *out, const char *name, const json_t *v)
{
	struct str text = {0};
	if (json_is_string(v))
		str_adds(&text, json_string_value(v));
	else if (json_is_boolean(v))
		str_adds(&text, json_is_true(v) ? "true" : "false");
	else if (json_is_number(v))
		option_number_text(json_number_value(v), &text);
	else
		str_adds(&text, "<nil>");
	modelfile_write(out, MODELFILE_PARAMETER, name, str_cstr(&text));
	str_release(&text);
}

void modelfile_write_params(struct str *out, const json_t *params)
{
	void *it = json_object_iter((json_t *)params);
	for (; it; it = json_object_iter_next((json_t *)params, it)) {
		const char *name = json_object_iter_key(it);
		const json_t *v = json_object_iter_value(it);
		for (size_t i = 0; i < json_array_size(v); i++)
			write_param(out, name, json_array_get(v, i));
		if (!json_is_array(v) && !json_is_object(v))
			write_param(out, name, v);
	}
}

/* ---- typed parameters ---- */

static int bool_of(const char *v)
{
	static const char *const yes[] = {"1", "t", "T", "TRUE", "true", "True"}, *const no[] = {"0", "f", "F", "FALSE", "false", "False"};
	for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
		if (!strcmp(v, yes[i]))
			return 1;
		if (!strcmp(v, no[i]))
			return 0;
	}
	return -1;
}

static int typed_value(const struct option_desc *o, const char *v, json_t **ret, struct err *err)
{
	char *end;
	double f = strtod(v, &end);
	bool number = *v && !*end && strcspn(v, " \t\nxXpP") == strlen(v);
	switch (o->type) {
	case OPTION_FLOAT:
		if (!number)
			return err_set(err, ERR_INVALID, "invalid float value [%.200s]", v);
		*ret = json_real(f);
		return 0;
	case OPTION_INT: {
		long long i = strtoll(v, &end, 10);
		if (!number || *end)
			return err_set(err, ERR_INVALID, "invalid int value [%.200s]", v);
		*ret = json_integer(i);
		return 0;
	}
	case OPTION_BOOL:
		if (bool_of(v) < 0)
			return err_set(err, ERR_INVALID, "invalid bool value [%.200s]", v);
		*ret = json_boolean(bool_of(v));
		return 0;
	case OPTION_STRINGS:
		*ret = json_string(v);
		return 0;
	}
	return 0;
}

/* Names that old Modelfiles carry and nothing acts on any more. */
static bool is_deprecated(const char *name)
{
	static const char *const names[] = {"penalize_newline", "low_vram", "f16_kv", "logits_all", "vocab_only", "use_mlock",
					    "mirostat", "mirostat_tau", "mirostat_eta"};
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (!strcmp(names[i], name))
			return true;
	return false;
}

static int add_param(json_t *params, const struct modelfile_cmd *c, struct err *err)
{
	const struct option_desc *o = option_find(c->key);
	json_t *v = NULL;
	if (is_deprecated(c->key))
		return 0;
	if (!o)
		return err_set(err, ERR_INVALID, "unknown parameter '%s'", c->key);
	int rc = typed_value(o, c->value, &v, err);
	if (rc)
		return rc;
	if (o->type != OPTION_STRINGS) {
		json_object_set_new(params, c->key, v);
		return 0;
	}
	json_t *list = json_object_get(params, c->key);
	if (!list) {
		list = json_array();
		json_object_set_new(params, c->key, list);
	}
	json_array_append_new(list, v);
	return 0;
}

int modelfile_params(const struct modelfile *m, json_t **ret, struct err *err)
{
	json_t *params = json_object();
	int rc = 0;
	*ret = NULL;
	for (size_t i = 0; !rc && i < m->cmds.n; i++)
		if (m->cmds.data[i].kind == MODELFILE_PARAMETER)
			rc = add_param(params, &m->cmds.data[i], err);
	if (rc || !json_object_size(params)) {
		json_decref(params);
		return rc;
	}
	*ret = params;
	return 0;
}
