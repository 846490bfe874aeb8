/* Methods of everything but strings, and the global functions. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/bug.h"
#include "chat/jinja_str.h"

/* ---- dict ---- */

static bool d_get(struct jrun *r, struct jargs *a, struct jval *ret)
{
	struct jval *found;
	if (!jv_dict_find(r, a->v[0].dict, &a->v[1], &found))
		return false;
	*ret = found ? *found : a->v[2].kind == J_MISSING ? jv_none() : a->v[2];
	return true;
}

/* keys, values, items */
static bool d_view(struct jrun *r, struct jargs *a, struct jval *ret)
{
	char c = a->fn->name[0];
	(void)r;
	*ret = (struct jval){.kind = J_VIEW, .dict = a->v[0].dict};
	ret->of = c == 'k' ? JVIEW_KEYS : c == 'v' ? JVIEW_VALUES : JVIEW_ITEMS;
	return true;
}

static bool dict_merge(struct jrun *r, struct jdict *d, const struct jcall *c)
{
	if (c->n_args > 1)
		return jr_fail(r, "at most one dict is taken, got %zu", c->n_args);
	if (c->n_args && c->args[0].kind == J_DICT) {
		const struct jdict *from = c->args[0].dict;
		for (size_t i = 0; from != d && i < from->n; i++)
			if (!jv_dict_put(r, d, from->e[i].key, from->e[i].val))
				return false;
	} else if (c->n_args) {
		struct jiter it;
		struct jval pair, two;
		int got;
		if (!ji_open(r, &c->args[0], &it))
			return false;
		while ((got = ji_next(r, &it, &pair))) {
			if (got < 0 || !ji_list(r, &pair, &two))
				return false;
			if (two.list->n != 2)
				return jr_fail(r, "a dict is made of pairs");
			if (!jv_dict_put(r, d, two.list->v[0], two.list->v[1]))
				return false;
		}
	}
	for (size_t i = 0; i < c->n_kw; i++)
		if (!jv_dict_put(r, d, (struct jval){.kind = J_STR, .s = c->kw_names[i]}, c->kw_vals[i]))
			return false;
	return true;
}

static bool d_update(struct jrun *r, struct jargs *a, struct jval *ret)
{
	*ret = jv_none();
	return dict_merge(r, a->v[0].dict, a->call);
}

static bool d_copy(struct jrun *r, struct jargs *a, struct jval *ret)
{
	return jv_dict(r, ret) && dict_merge(r, ret->dict, &(struct jcall){.args = a->v, .n_args = 1});
}

static bool d_pop(struct jrun *r, struct jargs *a, struct jval *ret)
{
	struct jdict *d = a->v[0].dict;
	struct jval *found;
	if (!jv_dict_find(r, d, &a->v[1], &found))
		return false;
	if (!found) {
		if (a->v[2].kind == J_MISSING)
			return jr_fail(r, "pop(): the key is not in the dict");
		*ret = a->v[2];
		return true;
	}
	*ret = *found;
	return jv_dict_del(r, d, (size_t)((struct jentry *)(void *)((char *)found - offsetof(struct jentry, val)) - d->e));
}

static bool d_popitem(struct jrun *r, struct jargs *a, struct jval *ret)
{
	struct jdict *d = a->v[0].dict;
	if (!d->n)
		return jr_fail(r, "popitem(): dictionary is empty");
	return jv_pair(r, d->e[d->n - 1].key, d->e[d->n - 1].val, ret) && jv_dict_del(r, d, d->n - 1);
}

static bool d_setdefault(struct jrun *r, struct jargs *a, struct jval *ret)
{
	struct jval *found;
	if (!jv_dict_find(r, a->v[0].dict, &a->v[1], &found))
		return false;
	*ret = found ? *found : a->v[2].kind == J_MISSING ? jv_none() : a->v[2];
	return found || jv_dict_put(r, a->v[0].dict, a->v[1], *ret);
}

static bool d_clear(struct jrun *r, struct jargs *a, struct jval *ret)
{
	(void)r;
	*a->v[0].dict = (struct jdict){0};
	*ret = jv_none();
	return true;
}

static bool d_fromkeys(struct jrun *r, struct jargs *a, struct jval *ret)
{
	struct jiter it;
	struct jval key;
	int got;
	if (!ji_open(r, &a->v[1], &it) || !jv_dict(r, ret))
		return false;
	while ((got = ji_next(r, &it, &key)))
		if (got < 0 || !jv_dict_put(r, ret->dict, key, a->v[2].kind == J_MISSING ? jv_none() : a->v[2]))
			return false;
	return true;
}

static const struct jbuiltin dict_methods[] = {
	{"clear", "/", d_clear},     {"copy", "/", d_copy},         {"fromkeys", "/ iterable value?", d_fromkeys},
	{"get", "/ key default?", d_get}, {"items", "/", d_view},   {"keys", "/", d_view},
	{"pop", "/ key default?", d_pop}, {"popitem", "/", d_popitem}, {"setdefault", "/ key default?", d_setdefault},
	{"update", "*", d_update},   {"values", "/", d_view},
};

/* ---- list and tuple ---- */

static bool l_append(struct jrun *r, struct jargs *a, struct jval *ret)
{
	*ret = jv_none();
	return jv_push(r, a->v[0].list, a->v[1]);
}

static bool l_extend(struct jrun *r, struct jargs *a, struct jval *ret)
{
	struct jval more;
	*ret = jv_none();
	if (!ji_list(r, &a->v[1], &more))
		return false;
	for (size_t i = 0; i < more.list->n; i++)
		if (!jv_push(r, a->v[0].list, more.list->v[i]))
			return false;
	return true;
}

/* Index argument as Python's list methods take it: negative ones count from the end. */
static bool list_index(struct jrun *r, const struct jlist *l, const struct jval *v, int64_t def, int64_t *ret)
{
	if (!ja_int(r, v, def, ret))
		return false;
	if (*ret < 0)
		*ret += (int64_t)l->n;
	return true;
}

static bool l_insert(struct jrun *r, struct jargs *a, struct jval *ret)
{
	struct jlist *l = a->v[0].list;
	int64_t i;
	*ret = jv_none();
	if (!list_index(r, l, &a->v[1], 0, &i))
		return false;
	i = i < 0 ? 0 : i > (int64_t)l->n ? (int64_t)l->n : i;
	if (!jv_push(r, l, a->v[2]) || !jr_charge(r, l->n * sizeof *l->v))
		return false;
	memmove(l->v + i + 1, l->v + i, (l->n - 1 - (size_t)i) * sizeof *l->v);
	l->v[i] = a->v[2];
	return true;
}

static bool list_remove(struct jrun *r, struct jlist *l, size_t i)
{
	memmove(l->v + i, l->v + i + 1, (l->n - i - 1) * sizeof *l->v);
	l->n--;
	return jr_charge(r, (l->n - i) * sizeof *l->v);
}

static bool l_pop(struct jrun *r, struct jargs *a, struct jval *ret)
{
	struct jlist *l = a->v[0].list;
	int64_t i;
	if (!list_index(r, l, &a->v[1], -1, &i))
		return false;
	if (i < 0 || i >= (int64_t)l->n)
		return jr_fail(r, "pop index out of range");
	*ret = l->v[i];
	return list_remove(r, l, (size_t)i);
}

/* Position of the item between start and end; SIZE_MAX when it is not there. */
static bool list_find(struct jrun *r, const struct jlist *l, const struct jval *item, int64_t start, int64_t end, size_t *ret)
{
	bool same;
	*ret = SIZE_MAX;
	for (int64_t i = start < 0 ? 0 : start; i < end && i < (int64_t)l->n; i++) {
		if (!jr_step(r) || !jv_eq(r, &l->v[i], item, &same))
			return false;
		if (same) {
			*ret = (size_t)i;
			break;
		}
	}
	return true;
}

static bool l_index(struct jrun *r, struct jargs *a, struct jval *ret)
{
	struct jlist *l = a->v[0].list;
	int64_t start, end;
	size_t at;
	if (!list_index(r, l, &a->v[2], 0, &start) || !list_index(r, l, &a->v[3], (int64_t)l->n, &end) ||
	    !list_find(r, l, &a->v[1], start, end, &at))
		return false;
	if (at == SIZE_MAX)
		return jr_fail(r, "index(): the item is not in the %s", jv_type(&a->v[0]));
	*ret = jv_int((int64_t)at);
	return true;
}

static bool l_remove(struct jrun *r, struct jargs *a, struct jval *ret)
{
	size_t at;
	*ret = jv_none();
	if (!list_find(r, a->v[0].list, &a->v[1], 0, INT64_MAX, &at))
		return false;
	return at == SIZE_MAX ? jr_fail(r, "remove(): the item is not in the list") : list_remove(r, a->v[0].list, at);
}

static bool l_count(struct jrun *r, struct jargs *a, struct jval *ret)
{
	const struct jlist *l = a->v[0].list;
	int64_t n = 0;
	bool same;
	for (size_t i = 0; i < l->n; i++) {
		if (!jr_step(r) || !jv_eq(r, &l->v[i], &a->v[1], &same))
			return false;
		n += same;
	}
	*ret = jv_int(n);
	return true;
}

static bool l_clear(struct jrun *r, struct jargs *a, struct jval *ret)
{
	(void)r;
	a->v[0].list->n = 0;
	*ret = jv_none();
	return true;
}

static bool l_copy(struct jrun *r, struct jargs *a, struct jval *ret)
{
	return ji_list(r, &a->v[0], ret);
}

static bool l_reverse(struct jrun *r, struct jargs *a, struct jval *ret)
{
	struct jlist *l = a->v[0].list;
	for (size_t i = 0; i < l->n / 2; i++) {
		struct jval v = l->v[i];
		l->v[i] = l->v[l->n - 1 - i];
		l->v[l->n - 1 - i] = v;
	}
	*ret = jv_none();
	return jr_charge(r, l->n * sizeof *l->v);
}

static bool l_sort(struct jrun *r, struct jargs *a, struct jval *ret)
{
	const struct jval args[] = {jv_bool(ja_bool(&a->v[1], false)), jv_bool(true)};
	struct jval sorted;
	if (!jr_call_builtin(r, jinja_find_filter("sort", 4), a->v[0], &(struct jcall){.args = args, .n_args = 2}, &sorted))
		return false;
	*a->v[0].list = *sorted.list;
	*ret = jv_none();
	return true;
}

static const struct jbuiltin list_methods[] = {
	{"append", "/ item", l_append}, {"clear", "/", l_clear},   {"copy", "/", l_copy},
	{"count", "/ item", l_count},   {"extend", "/ items", l_extend}, {"index", "/ item start? end?", l_index},
	{"insert", "/ index item", l_insert}, {"pop", "/ index?", l_pop}, {"remove", "/ item", l_remove},
	{"reverse", "/", l_reverse},    {"sort", "reverse?", l_sort},
};
static const struct jbuiltin tuple_methods[] = {{"count", "/ item", l_count}, {"index", "/ item start? end?", l_index}};

/* ---- numbers, bytes, cycler ---- */

static bool n_is_integer(struct jrun *r, struct jargs *a, struct jval *ret)
{
	(void)r;
	*ret = jv_bool(isfinite(a->v[0].f) && a->v[0].f == trunc(a->v[0].f));
	return true;
}

static bool n_bit_length(struct jrun *r, struct jargs *a, struct jval *ret)
{
	const char *bits = jbig_text(r, &a->v[0], 2);
	if (!bits)
		return false;
	bits += *bits == '-';
	*ret = jv_int(*bits == '0' ? 0 : (int64_t)strlen(bits));
	return true;
}

static bool b_decode(struct jrun *r, struct jargs *a, struct jval *ret)
{
	(void)r;
	*ret = (struct jval){.kind = J_STR, .s = a->v[0].s};
	return true;
}

static bool c_next(struct jrun *r, struct jargs *a, struct jval *ret)
{
	struct jcycler *c = a->v[0].cycler;
	(void)r;
	*ret = c->items->v[c->pos];
	c->pos = (c->pos + 1) % c->items->n;
	return true;
}

static bool c_reset(struct jrun *r, struct jargs *a, struct jval *ret)
{
	(void)r;
	a->v[0].cycler->pos = 0;
	*ret = jv_none();
	return true;
}

static const struct jbuiltin float_methods[] = {{"is_integer", "/", n_is_integer}};
static const struct jbuiltin int_methods[] = {{"bit_length", "/", n_bit_length}};
static const struct jbuiltin bytes_methods[] = {{"decode", "encoding? errors?", b_decode}};
static const struct jbuiltin cycler_methods[] = {{"next", "", c_next}, {"reset", "", c_reset}};

const struct jbuiltin *jinja_find_method(const struct jval *self, const struct jstr *name)
{
#define TABLE(t) {t, ARRAY_LEN(t)}
	static const struct {
		const struct jbuiltin *table;
		size_t n;
	} tables[J_N_KIND] = {
		[J_DICT] = TABLE(dict_methods),   [J_LIST] = TABLE(list_methods), [J_TUPLE] = TABLE(tuple_methods),
		[J_FLOAT] = TABLE(float_methods), [J_INT] = TABLE(int_methods),   [J_BIG] = TABLE(int_methods),
		[J_BOOL] = TABLE(int_methods),    [J_BYTES] = TABLE(bytes_methods), [J_CYCLER] = TABLE(cycler_methods),
	};
#undef TABLE
	if (self->kind == J_STR)
		return jinja_table_find(jinja_str_methods, jinja_n_str_methods, name->p, name->n);
	if (self->kind == J_LOOP)
		return jinja_table_find(jx_loop_methods, jx_n_loop_methods, name->p, name->n);
	return jinja_table_find(tables[self->kind].table, tables[self->kind].n, name->p, name->n);
}

/* ---- globals ---- */

static bool g_range(struct jrun *r, struct jargs *a, struct jval *ret)
{
	enum { RANGE_MAX = 100000 };
	int64_t at[3] = {0, 0, 1}, span;
	struct jrange *g = jr_alloc(r, sizeof *g);
	if (!g)
		return false;
	for (int i = 0; i < 3; i++)
		if (!ja_int(r, &a->v[i + 1], at[i], &at[i]))
			return false;
	if (a->v[2].kind == J_MISSING) {
		at[1] = at[0];
		at[0] = 0;
	}
	if (at[2] == 0)
		return jr_fail(r, "range() arg 3 must not be zero");
	*g = (struct jrange){.start = at[0], .stop = at[1], .step = at[2]};
	bool up = at[2] > 0;
	if (up ? at[0] < at[1] : at[0] > at[1]) {
		if (__builtin_sub_overflow(at[1], at[0], &span) || span == INT64_MIN || at[2] == INT64_MIN)
			return jr_limit(r, "range too big");
		span = up ? span : -span;
		g->n = (span - 1) / (up ? at[2] : -at[2]) + 1;
	}
	if (g->n > RANGE_MAX)
		return jr_limit(r, "range too big: more than %d items", RANGE_MAX);
	*ret = (struct jval){.kind = J_RANGE, .range = g};
	return true;
}

static bool g_dict(struct jrun *r, struct jargs *a, struct jval *ret)
{
	return jv_dict(r, ret) && dict_merge(r, ret->dict, a->call);
}

static bool g_namespace(struct jrun *r, struct jargs *a, struct jval *ret)
{
	if (!g_dict(r, a, ret))
		return false;
	ret->kind = J_NS;
	return true;
}

static bool g_cycler(struct jrun *r, struct jargs *a, struct jval *ret)
{
	struct jcycler *c = jr_alloc(r, sizeof *c);
	struct jval items;
	if (!a->call->n_args || a->call->n_kw)
		return jr_fail(r, "cycler() needs at least one item");
	if (!c || !jv_list(r, J_LIST, a->call->n_args, &items))
		return false;
	for (size_t i = 0; i < a->call->n_args; i++)
		items.list->v[items.list->n++] = a->call->args[i];
	*c = (struct jcycler){.items = items.list};
	*ret = (struct jval){.kind = J_CYCLER, .cycler = c};
	return true;
}

static bool g_joiner(struct jrun *r, struct jargs *a, struct jval *ret)
{
	struct jcycler *c = jr_alloc(r, sizeof *c);
	if (!c)
		return false;
	*c = (struct jcycler){.sep = a->v[1]};
	*ret = (struct jval){.kind = J_JOINER, .cycler = c};
	return a->v[1].kind != J_MISSING || jv_strz(r, ", ", &c->sep);
}

/* Filler text of n paragraphs. Jinja2's is random; this one is not. */
static bool g_lipsum(struct jrun *r, struct jargs *a, struct jval *ret)
{
	static const char text[] = "Lorem ipsum dolor sit amet, consectetuer adipiscing elit.";
	bool html = ja_bool(&a->v[2], true);
	int64_t n;
	struct jb b;
	jb_init(&b, r);
	if (!ja_int(r, &a->v[1], 5, &n))
		return false;
	for (int64_t i = 0; i < n; i++)
		if ((i && !jb_adds(&b, html ? "\n" : "\n\n")) || (html && !jb_adds(&b, "<p>")) || !jb_adds(&b, text) ||
		    (html && !jb_adds(&b, "</p>")))
			return false;
	if (!jb_take(&b, ret))
		return false;
	ret->safe = html;
	return true;
}

static bool g_raise(struct jrun *r, struct jargs *a, struct jval *ret)
{
	struct jval s;
	(void)ret;
	return jp_to_str(r, &a->v[1], &s) && jr_raise(r, s.s);
}

static bool g_strftime(struct jrun *r, struct jargs *a, struct jval *ret)
{
	enum { FORMAT_BYTES_MAX = 256 };
	char fmt[FORMAT_BYTES_MAX + 2], out[16 * FORMAT_BYTES_MAX];
	struct jstr *s;
	struct tm tm;
	time_t now = (time_t)r->now_s;
	size_t n = 0;
	if (!ja_str(r, &a->v[1], &s))
		return false;
	if (s->n > FORMAT_BYTES_MAX / 4 || memchr(s->p, '\0', s->n))
		return jr_limit(r, "strftime_now: the format is too long");
	/* Python's own directives: microseconds, and no zone, since this time has none */
	for (size_t i = 0; i < s->n; i++) {
		char next = s->p[i] == '%' && i + 1 < s->n ? s->p[i + 1] : 0;
		if (next == 'f')
			n += (size_t)sprintf(fmt + n, "000000");
		if (next == 'f' || next == 'z' || next == 'Z') {
			i++;
			continue;
		}
		fmt[n++] = s->p[i];
		if (next == '%')
			fmt[n++] = s->p[++i];
	}
	fmt[n++] = '.'; /* so that an empty result differs from a failure */
	fmt[n] = '\0';
	r->steps += 50 + n;
	localtime_r(&now, &tm);
	size_t len = strftime(out, sizeof out, fmt, &tm);
	return len ? jv_str(r, out, len - 1, ret) : jr_limit(r, "strftime_now: the result is too long");
}

bool jinja_global(struct jrun *r, const struct jstr *name, struct jval *ret)
{
	static const struct jbuiltin globals[] = {
		{"range", "/ start stop? step?", g_range},
		{"dict", "*", g_dict},
		{"namespace", "*", g_namespace},
		{"cycler", "*", g_cycler},
		{"joiner", "sep?", g_joiner},
		{"lipsum", "n? html? min? max?", g_lipsum},
		{"raise_exception", "message", g_raise},
		{"strftime_now", "format", g_strftime},
	};
	*ret = (struct jval){.kind = J_MISSING};
	if (jv_str_eqz(name, "self")) {
		ret->kind = J_SELF;
		ret->func = NULL;
		return true;
	}
	const struct jbuiltin *fn = jinja_table_find(globals, ARRAY_LEN(globals), name->p, name->n);
	return !fn || jr_func(r, fn, (struct jval){.kind = J_MISSING}, ret);
}
