/* The functions of templates: Go's predefined ones and Ollama's. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/utf8.h"
#include "chat/gotmpl_run.h"

/* ---- comparing ---- */

static bool is_basic(const struct gval *v)
{
	return v->kind >= GV_BOOL && v->kind <= GV_STR;
}

static bool is_int(const struct gval *v)
{
	return v->kind == GV_INT || v->kind == GV_UINT8;
}

static bool is_nil(const struct gval *v)
{
	return v->kind == GV_INVALID || v->kind == GV_NIL || ((v->kind == GV_SLICE || v->kind == GV_MAP) && v->nil);
}

static bool mixed_types(struct grun *r, const char *fn, const struct gval *a, const struct gval *b)
{
	return gr_fail(r, "error calling %s: incompatible types for comparison: %s and %s", fn, gv_type(a), gv_type(b));
}

static bool equal_basic(const struct gval *a, const struct gval *b)
{
	switch ((enum gkind)a->kind) {
	case GV_BOOL:
		return a->b == b->b;
	case GV_INT:
	case GV_UINT8:
		return a->i == b->i;
	case GV_FLOAT:
		return a->f == b->f;
	case GV_COMPLEX:
		return a->re == b->re && a->im == b->im;
	default:
		return gstr_eq(a->s, b->s);
	}
}

/* Comparing long texts is work. */
static bool charge(struct grun *r, const struct gval *a, const struct gval *b)
{
	if (a->kind == GV_STR && b->kind == GV_STR)
		r->steps += (a->s.n < b->s.n ? a->s.n : b->s.n) / 64;
	return gr_step(r);
}

static bool equal(struct grun *r, const char *fn, const struct gval *a, const struct gval *b, bool *ret)
{
	*ret = false;
	if (!charge(r, a, b))
		return false;
	if (is_basic(a) != is_basic(b) || (is_basic(a) && a->kind != b->kind && !(is_int(a) && is_int(b)))) {
		if (a->kind == GV_INVALID || b->kind == GV_INVALID)
			return true; /* nil differs from everything else */
		return mixed_types(r, fn, a, b);
	}
	if (is_basic(a)) {
		*ret = equal_basic(a, b);
		return true;
	}
	if (a->kind != b->kind && a->kind != GV_INVALID && b->kind != GV_INVALID)
		return gr_fail(r, "error calling %s: non-comparable types %s, %s", fn, gv_type(a), gv_type(b));
	if (is_nil(a) || is_nil(b)) {
		*ret = is_nil(a) && is_nil(b);
		return true;
	}
	if (a->type && a->type->pointer && a->type == b->type) {
		*ret = a->fields == b->fields;
		return true;
	}
	return gr_fail(r, "error calling %s: non-comparable type %s", fn, gv_type(b));
}

static bool f_eq(struct grun *r, const struct gval *a, size_t n, struct gval *ret)
{
	bool same = false;
	if (n < 2)
		return gr_fail(r, "error calling eq: missing argument for comparison");
	for (size_t i = 1; i < n && !same; i++)
		if (!equal(r, "eq", &a[0], &a[i], &same))
			return false;
	*ret = gv_bool(same);
	return true;
}

static bool f_ne(struct grun *r, const struct gval *a, size_t n, struct gval *ret)
{
	bool same;
	(void)n;
	if (!equal(r, "ne", &a[0], &a[1], &same))
		return false;
	*ret = gv_bool(!same);
	return true;
}

/* -1, 0, 1; unordered floats (NaN) count as 1. */
static bool order(struct grun *r, const char *fn, const struct gval *a, const struct gval *b, int *ret)
{
	if (!charge(r, a, b))
		return false;
	if (!is_basic(a) || !is_basic(b))
		return gr_fail(r, "error calling %s: invalid type for comparison", fn);
	if (a->kind != b->kind && !(is_int(a) && is_int(b)))
		return mixed_types(r, fn, a, b);
	if (a->kind == GV_BOOL || a->kind == GV_COMPLEX)
		return gr_fail(r, "error calling %s: invalid type for comparison", fn);
	if (a->kind == GV_FLOAT)
		*ret = a->f < b->f ? -1 : a->f == b->f ? 0 : 1;
	else if (a->kind == GV_STR)
		*ret = gstr_cmp(a->s, b->s);
	else
		*ret = (a->i > b->i) - (a->i < b->i);
	return true;
}

#define ORDER(name, test)                                                                                              \
	static bool f_##name(struct grun *r, const struct gval *a, size_t n, struct gval *ret)                         \
	{                                                                                                              \
		int c = 0;                                                                                             \
		(void)n;                                                                                               \
		if (!order(r, #name, &a[0], &a[1], &c))                                                                \
			return false;                                                                                  \
		*ret = gv_bool(c test 0);                                                                              \
		return true;                                                                                           \
	}
ORDER(lt, <)
ORDER(le, <=)
ORDER(gt, >)
ORDER(ge, >=)

static bool f_not(struct grun *r, const struct gval *a, size_t n, struct gval *ret)
{
	(void)r;
	(void)n;
	*ret = gv_bool(!gv_truth(&a[0]));
	return true;
}

/* ---- parts ---- */

static bool f_len(struct grun *r, const struct gval *a, size_t n, struct gval *ret)
{
	(void)n;
	if (a->kind == GV_INVALID || a->kind == GV_NIL)
		return gr_fail(r, "error calling len: len of nil pointer");
	if (a->kind != GV_STR && a->kind != GV_SLICE && a->kind != GV_MAP)
		return gr_fail(r, "error calling len: len of type %s", gv_type(a));
	*ret = gv_int((int64_t)gv_len(a));
	return true;
}

static bool position(struct grun *r, const char *fn, const struct gval *v, size_t max, size_t *ret)
{
	if (v->kind == GV_INVALID)
		return gr_fail(r, "error calling %s: cannot index slice/array with nil", fn);
	if (!is_int(v) || v->iface)
		return gr_fail(r, "error calling %s: cannot index slice/array with type %s", fn, gv_static_type(v));
	if (v->i < 0 || (uint64_t)v->i > max)
		return gr_fail(r, "error calling %s: index out of range: %lld", fn, (long long)v->i);
	*ret = (size_t)v->i;
	return true;
}

static bool member(struct grun *r, const struct gval *from, const struct gval *key, struct gval *ret)
{
	size_t i;
	if (from->kind == GV_INVALID || from->kind == GV_NIL)
		return gr_fail(r, "error calling index: index of nil pointer");
	if (from->kind == GV_MAP) {
		if (key->kind == GV_INVALID)
			return gr_fail(r, "error calling index: value is nil; should be of type string");
		if (key->kind != GV_STR)
			return gr_fail(r, "error calling index: value has type %s; should be string", gv_type(key));
		struct gentry *e = gv_find(from->map, key->s);
		if (!e)
			return gr_zero(r, from->type->elem_kind, from->type->elem, ret);
		*ret = e->val;
		return true;
	}
	if (from->kind != GV_SLICE && from->kind != GV_STR)
		return gr_fail(r, "error calling index: can't index item of type %s", gv_type(from));
	size_t len = gv_len(from);
	if (len == 0 ? !position(r, "index", key, 0, &i) : !position(r, "index", key, len - 1, &i))
		return false;
	if (len == 0)
		return gr_fail(r, "error calling index: index out of range: 0");
	*ret = from->kind == GV_SLICE ? from->v[i] : (struct gval){.kind = GV_UINT8, .i = (unsigned char)from->s.p[i]};
	return true;
}

static bool f_index(struct grun *r, const struct gval *a, size_t n, struct gval *ret)
{
	struct gval v = a[0];
	if (v.kind == GV_INVALID)
		return gr_fail(r, "error calling index: index of untyped nil");
	for (size_t i = 1; i < n; i++) {
		struct gval from = gv_unbox(v);
		if (!gr_step(r) || !member(r, &from, &a[i], &v))
			return false;
	}
	*ret = v;
	return true;
}

/* Go takes indexes only as plain integers here, not as elements of []any or map[string]any. */
static bool f_slice(struct grun *r, const struct gval *a, size_t n, struct gval *ret)
{
	*ret = gv_unbox(*a);
	if (ret->kind == GV_INVALID)
		return gr_fail(r, "error calling slice: slice of untyped nil");
	if (n > 4)
		return gr_fail(r, "error calling slice: too many slice indexes: %zu", n - 1);
	if (ret->kind != GV_STR && ret->kind != GV_SLICE)
		return gr_fail(r, "error calling slice: can't slice item of type %s", gv_type(ret));
	if (ret->kind == GV_STR && n == 4)
		return gr_fail(r, "error calling slice: cannot 3-index slice a string");
	size_t len = gv_len(ret), at[3] = {0, len, len};
	for (size_t i = 1; i < n; i++)
		if (!position(r, "slice", &a[i], len, &at[i - 1]))
			return false;
	if (at[0] > at[1] || at[1] > at[2])
		return gr_fail(r, "error calling slice: invalid slice index: %zu > %zu", at[0] > at[1] ? at[0] : at[1],
			       at[0] > at[1] ? at[1] : at[2]);
	if (ret->kind == GV_STR) {
		ret->s = (struct gstr){ret->s.p + at[0], at[1] - at[0]};
	} else {
		ret->v = ret->v ? ret->v + at[0] : NULL;
		ret->n = at[1] - at[0];
	}
	return true;
}

/* ---- text ---- */

static bool f_print(struct grun *r, const struct gval *a, size_t n, struct gval *ret)
{
	struct str s;
	struct gbuf b = gb_scratch(r, &s);
	gp_sprint(&b, a, n, false);
	return gb_take(&b, ret);
}

static bool f_println(struct grun *r, const struct gval *a, size_t n, struct gval *ret)
{
	struct str s;
	struct gbuf b = gb_scratch(r, &s);
	gp_sprint(&b, a, n, true);
	return gb_take(&b, ret);
}

static bool f_printf(struct grun *r, const struct gval *a, size_t n, struct gval *ret)
{
	struct str s;
	struct gbuf b = gb_scratch(r, &s);
	gp_printf(&b, a[0].s, a + 1, n - 1);
	return gb_take(&b, ret);
}

/* The text that html, js and urlquery escape. */
static bool joined(struct grun *r, const struct gval *a, size_t n, struct gval *ret)
{
	struct str s;
	if (n == 1 && a->kind == GV_STR) {
		*ret = *a;
		return true;
	}
	struct gbuf b = gb_scratch(r, &s);
	struct gval *v = gr_alloc(r, n, sizeof *v);
	for (size_t i = 0; v && i < n; i++)
		v[i] = a[i].kind == GV_INVALID ? gv_strz("<no value>") : a[i];
	if (v)
		gp_sprint(&b, v, n, false);
	return gb_take(&b, ret);
}

static const char *html_of(unsigned char c)
{
	switch (c) {
	case '\0':
		return "\xEF\xBF\xBD";
	case '"':
		return "&#34;";
	case '\'':
		return "&#39;";
	case '&':
		return "&amp;";
	case '<':
		return "&lt;";
	case '>':
		return "&gt;";
	default:
		return NULL;
	}
}

static bool f_html(struct grun *r, const struct gval *a, size_t n, struct gval *ret)
{
	struct gval text;
	struct str s;
	if (!joined(r, a, n, &text))
		return false;
	struct gbuf b = gb_scratch(r, &s);
	for (size_t i = 0; i < text.s.n && !r->failed; i++) {
		const char *esc = html_of((unsigned char)text.s.p[i]);
		if (esc)
			gb_adds(&b, esc);
		else
			gb_addc(&b, text.s.p[i]);
	}
	return gb_take(&b, ret);
}

static bool f_js(struct grun *r, const struct gval *a, size_t n, struct gval *ret)
{
	struct gval text;
	struct str s;
	char esc[16];
	if (!joined(r, a, n, &text))
		return false;
	struct gbuf b = gb_scratch(r, &s);
	for (size_t i = 0; i < text.s.n && !r->failed;) {
		uint32_t cp;
		size_t len = utf8_next(text.s.p + i, text.s.n - i, &cp);
		if (cp == '\\' || cp == '\'' || cp == '"') {
			snprintf(esc, sizeof esc, "\\%c", (int)cp);
			gb_adds(&b, esc);
		} else if (cp < 128 ? cp < 32 || strchr("<>&=", (int)cp) : !gp_printable(cp)) {
			snprintf(esc, sizeof esc, "\\u%04X", (unsigned)cp);
			gb_adds(&b, esc);
		} else {
			gb_add(&b, text.s.p + i, len);
		}
		i += len;
	}
	return gb_take(&b, ret);
}

static bool f_urlquery(struct grun *r, const struct gval *a, size_t n, struct gval *ret)
{
	struct gval text;
	struct str s;
	if (!joined(r, a, n, &text))
		return false;
	struct gbuf b = gb_scratch(r, &s);
	for (size_t i = 0; i < text.s.n && !r->failed; i++) {
		unsigned char c = (unsigned char)text.s.p[i];
		char esc[8];
		bool keep = (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') || (c && strchr("-_.~", c));
		snprintf(esc, sizeof esc, keep ? "%c" : c == ' ' ? "+" : "%%%02X", c);
		gb_adds(&b, esc);
	}
	return gb_take(&b, ret);
}

static bool f_call(struct grun *r, const struct gval *a, size_t n, struct gval *ret)
{
	struct str what = {0};
	(void)n;
	(void)ret;
	if (a->kind == GV_INVALID)
		return gr_fail(r, "error calling call: call of nil");
	if (r->at->type == GN_COMMAND && r->at->n > 1)
		gnode_print(&what, r->at->kids[1]);
	gr_fail(r, "error calling call: non-function %s of type %s", str_cstr(&what), gv_type(a));
	str_release(&what);
	return false;
}

/* ---- Ollama's ---- */

static bool f_json(struct grun *r, const struct gval *a, size_t n, struct gval *ret)
{
	struct str s;
	struct gbuf b = gb_scratch(r, &s);
	(void)n;
	gp_json(&b, &a[0]);
	return gb_take(&b, ret);
}

/* The format that templates pass is ignored, as Ollama ignores it. */
static bool date(struct grun *r, int days, struct gval *ret)
{
	struct tm tm;
	time_t t = (time_t)r->now_s;
	char text[32];
	if (!localtime_r(&t, &tm))
		return gr_fail(r, "the time is out of range");
	tm.tm_mday += days;
	if (days)
		timegm(&tm); /* puts the day right; mktime would look for the zone's file, which a runner cannot open */
	size_t n = strftime(text, sizeof text, "%Y-%m-%d", &tm);
	char *p = gr_alloc(r, n + 1, 1);
	if (!p)
		return false;
	memcpy(p, text, n);
	*ret = gv_str((struct gstr){p, n});
	return true;
}

static bool f_current(struct grun *r, const struct gval *a, size_t n, struct gval *ret)
{
	(void)a;
	(void)n;
	return date(r, 0, ret);
}

static bool f_yesterday(struct grun *r, const struct gval *a, size_t n, struct gval *ret)
{
	(void)a;
	(void)n;
	return date(r, -1, ret);
}

static bool f_typescript(struct grun *r, const struct gval *a, size_t n, struct gval *ret)
{
	const char *text = gf_typescript(r, &a[0]);
	(void)n;
	*ret = gv_strz(text ? text : "");
	return text != NULL;
}

/* ---- schema types as TypeScript ---- */

static const char *typescript_word(struct gstr s)
{
	static const char *const words[][2] = {
		{"string", "string"}, {"number", "number"}, {"integer", "number"},
		{"boolean", "boolean"}, {"array", "any[]"}, {"object", "Record<string, any>"}, {"null", "null"},
	};
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (gstr_eqz(s, words[i][0]))
			return words[i][1];
	return "any";
}

static const struct gval *prop_field(const struct gval *prop, const char *name)
{
	for (size_t i = 0; prop->kind == GV_STRUCT && i < prop->type->n_fields; i++)
		if (!strcmp(prop->type->fields[i].name, name))
			return &prop->fields[i];
	return NULL;
}

static void typescript(struct gbuf *b, const struct gval *prop)
{
	const struct gval *any = prop_field(prop, "AnyOf"), *type = prop_field(prop, "Type");
	if (!any || !type || (!any->n && !type->n)) {
		gb_adds(b, "any");
		return;
	}
	if (!gr_enter(b->r))
		return;
	for (size_t i = 0; i < (any->n ? any->n : type->n) && !b->r->failed; i++) {
		gb_adds(b, i ? " | " : "");
		if (any->n)
			typescript(b, &any->v[i]);
		else
			gb_adds(b, typescript_word(type->v[i].s));
	}
	b->r->depth--;
}

const char *gf_typescript(struct grun *r, const struct gval *prop)
{
	struct str s;
	struct gval v;
	struct gbuf b = gb_scratch(r, &s);
	typescript(&b, prop);
	return gb_take(&b, &v) ? v.s.p : NULL; /* zeroed memory ends it */
}

static const struct gfunc functions[] = {
	{"and", 1, -1, GARG_ANY, NULL}, /* short-circuit: ge_ evaluates these */
	{"or", 1, -1, GARG_ANY, NULL},
	{"not", 1, 1, GARG_ANY, f_not},
	{"eq", 1, -1, GARG_ANY, f_eq},
	{"ne", 2, 2, GARG_ANY, f_ne},
	{"lt", 2, 2, GARG_ANY, f_lt},
	{"le", 2, 2, GARG_ANY, f_le},
	{"gt", 2, 2, GARG_ANY, f_gt},
	{"ge", 2, 2, GARG_ANY, f_ge},
	{"len", 1, 1, GARG_ANY, f_len},
	{"index", 1, -1, GARG_ANY, f_index},
	{"slice", 1, -1, GARG_BOXED, f_slice},
	{"print", 0, -1, GARG_ANY, f_print},
	{"println", 0, -1, GARG_ANY, f_println},
	{"printf", 1, -1, GARG_FORMAT, f_printf},
	{"html", 0, -1, GARG_ANY, f_html},
	{"js", 0, -1, GARG_ANY, f_js},
	{"urlquery", 0, -1, GARG_ANY, f_urlquery},
	{"call", 1, -1, GARG_ANY, f_call},
	{"json", 1, 1, GARG_ANY, f_json},
	{"currentDate", 0, -1, GARG_STRING, f_current},
	{"yesterdayDate", 0, -1, GARG_STRING, f_yesterday},
	{"toTypeScriptType", 1, 1, GARG_ANY, f_typescript},
};

const struct gfunc *gfunc_find(struct gstr name)
{
	for (size_t i = 0; i < ARRAY_LEN(functions); i++)
		if (gstr_eqz(name, functions[i].name))
			return &functions[i];
	return NULL;
}
