/* Values as text: the String methods of a conversation's types, JSON (encoding/json), Go's quoting. The verbs of fmt are
 * in gotmpl_format.c. */
#include <math.h>
#include <stdio.h>
#include <utf8proc.h>

#include "base/json.h"
#include "base/utf8.h"
#include "chat/gotmpl_run.h"

/* ---- JSON ---- */

static void json_str(struct gbuf *b, struct gstr s)
{
	struct str one = {0};
	struct jsonw w;
	if (b->r->failed)
		return;
	jsonw_init(&w, &one, JSONW_GO);
	jsonw_strn(&w, s.p ? s.p : "", s.n);
	gb_add(b, one.data, one.len);
	str_release(&one);
}

static void json_float(struct gbuf *b, double f)
{
	char text[40];
	json_f64_text(f, text);
	gb_adds(b, text);
}

static void json_slice(struct gbuf *b, const struct gval *v)
{
	if (v->type->json_words && v->n == 1) {
		gp_json(b, &v->v[0]);
		return;
	}
	if (v->nil) {
		gb_adds(b, "null");
		return;
	}
	gb_addc(b, '[');
	for (size_t i = 0; i < v->n && !b->r->failed; i++) {
		gb_adds(b, i ? "," : "");
		gp_json(b, &v->v[i]);
	}
	gb_addc(b, ']');
}

static void json_map(struct gbuf *b, const struct gval *v)
{
	if (v->nil) {
		gb_adds(b, "null");
		return;
	}
	gb_addc(b, '{');
	for (size_t i = 0; i < v->map->n && !b->r->failed; i++) {
		const struct gentry *e = &v->map->e[v->map->order ? v->map->order[i] : i];
		gb_adds(b, i ? "," : "");
		json_str(b, e->key);
		gb_addc(b, ':');
		gp_json(b, &e->val);
	}
	gb_addc(b, '}');
}

static void json_struct(struct gbuf *b, const struct gval *v)
{
	bool any = false;
	gb_addc(b, '{');
	for (size_t i = 0; i < v->type->n_fields && !b->r->failed; i++) {
		const struct gfield *f = &v->type->fields[i];
		bool empty = f->kind == GV_NIL ? v->fields[i].kind == GV_NIL : !gv_truth(&v->fields[i]);
		if (f->omit_empty && empty)
			continue;
		gb_adds(b, any ? "," : "");
		json_str(b, (struct gstr){f->json, strlen(f->json)});
		gb_addc(b, ':');
		gp_json(b, &v->fields[i]);
		any = true;
	}
	gb_addc(b, '}');
}

void gp_json(struct gbuf *b, const struct gval *v)
{
	char text[24];
	if (!gr_enter(b->r))
		return;
	switch ((enum gkind)v->kind) {
	case GV_INVALID:
	case GV_NIL:
		gb_adds(b, "null");
		break;
	case GV_BOOL:
		gb_adds(b, v->b ? "true" : "false");
		break;
	case GV_INT:
	case GV_UINT8:
		snprintf(text, sizeof text, "%lld", (long long)v->i);
		gb_adds(b, text);
		break;
	case GV_FLOAT:
		json_float(b, v->f);
		break;
	case GV_COMPLEX: /* not representable: Ollama's json gives nothing */
		break;
	case GV_STR:
		json_str(b, v->s);
		break;
	case GV_SLICE:
		json_slice(b, v);
		break;
	case GV_MAP:
		json_map(b, v);
		break;
	case GV_STRUCT:
		json_struct(b, v);
		break;
	}
	b->r->depth--;
}

/* ---- String methods ---- */

static void words(struct gbuf *b, const struct gval *v)
{
	gb_adds(b, v->n > 1 ? "[" : "");
	for (size_t i = 0; i < v->n; i++) {
		gb_adds(b, i ? " " : "");
		gb_add(b, v->v[i].s.p, v->v[i].s.n);
	}
	gb_adds(b, v->n > 1 ? "]" : "");
}

bool gp_stringer(struct gbuf *b, const struct gval *v)
{
	if (!v->type || v->type->print == GPRINT_PLAIN || v->kind == GV_NIL)
		return false;
	if (v->type->print == GPRINT_WORDS)
		words(b, v);
	else if (v->kind == GV_MAP && v->nil)
		gb_adds(b, "{}");
	else
		gp_json(b, v);
	return true;
}

void gp_value(struct gbuf *b, const struct gval *v)
{
	if (v->kind == GV_INVALID || (v->kind == GV_NIL && !v->type))
		gb_adds(b, "<no value>");
	else if (v->kind == GV_STR)
		gb_add(b, v->s.p, v->s.n);
	else
		gp_sprint(b, v, 1, false);
}

/* ---- quoting (strconv.Quote) ---- */

bool gp_printable(uint32_t cp)
{
	if (cp < 128)
		return cp >= 32 && cp < 127;
	switch (utf8proc_category((utf8proc_int32_t)cp)) {
	case UTF8PROC_CATEGORY_CN:
	case UTF8PROC_CATEGORY_ZS:
	case UTF8PROC_CATEGORY_ZL:
	case UTF8PROC_CATEGORY_ZP:
	case UTF8PROC_CATEGORY_CC:
	case UTF8PROC_CATEGORY_CF:
	case UTF8PROC_CATEGORY_CS:
	case UTF8PROC_CATEGORY_CO:
		return false;
	default:
		return true;
	}
}

static void quote_char(struct gbuf *b, const char *p, size_t len, uint32_t cp, char quote, bool ascii)
{
	static const char named[] = "\a\b\f\n\r\t\v", letters[] = "abfnrtv";
	const char *at = cp && cp < 32 ? strchr(named, (int)cp) : NULL;
	char esc[16];
	if (cp == UTF8_REPLACEMENT && len == 1)
		snprintf(esc, sizeof esc, "\\x%02x", (unsigned char)*p);
	else if (cp == (uint32_t)quote || cp == '\\')
		snprintf(esc, sizeof esc, "\\%c", (int)cp);
	else if (ascii ? cp < 127 && cp >= 32 : gp_printable(cp))
		snprintf(esc, sizeof esc, "%.*s", (int)len, p);
	else if (at)
		snprintf(esc, sizeof esc, "\\%c", letters[at - named]);
	else if (cp < 32 || cp == 127)
		snprintf(esc, sizeof esc, "\\x%02x", (unsigned)cp);
	else
		snprintf(esc, sizeof esc, cp < 0x10000 ? "\\u%04x" : "\\U%08x", (unsigned)cp);
	gb_adds(b, esc);
}

void gp_quote(struct gbuf *b, struct gstr s, char quote, bool ascii)
{
	gb_addc(b, quote);
	for (size_t i = 0; i < s.n && !b->r->failed;) {
		uint32_t cp;
		size_t len = utf8_next(s.p + i, s.n - i, &cp);
		quote_char(b, s.p + i, len, cp, quote, ascii);
		i += len;
	}
	gb_addc(b, quote);
}
