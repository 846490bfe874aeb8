#include "chat/jinja_value.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

#include "base/bug.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "chat/jinja_big.h"
#include "chat/jinja_run.h"

/* Bytes that may grow at the end: a text that is appended to again and again is then copied once in a while only. */
struct jbuf {
	size_t used, cap;
	char data[];
};

enum { INDEX_FROM = 8 }; /* dicts of fewer entries are searched in order */

/* ---- strings ---- */

bool jv_str_ref(struct jrun *r, const char *p, size_t n, struct jval *ret)
{
	struct jstr *s = jr_alloc(r, sizeof *s);
	if (!s)
		return false;
	*s = (struct jstr){.p = p, .n = n, .n_cp = SIZE_MAX};
	*ret = (struct jval){.kind = J_STR, .s = s};
	return true;
}

bool jv_strz(struct jrun *r, const char *z, struct jval *ret)
{
	return jv_str_ref(r, z, strlen(z), ret);
}

bool jv_str(struct jrun *r, const char *p, size_t n, struct jval *ret)
{
	char *copy = jr_alloc(r, n);
	if (!copy || !jr_charge(r, n))
		return false;
	memcpy(copy, p, n);
	return jv_str_ref(r, copy, n, ret);
}

bool jv_str_part(struct jrun *r, const struct jstr *of, size_t from, size_t n, struct jval *ret)
{
	if (!jv_str_ref(r, of->p + from, n, ret))
		return false;
	if (of->n_cp == of->n)
		ret->s->n_cp = n;
	return true;
}

bool jv_concat(struct jrun *r, const struct jstr *a, const struct jstr *b, struct jval *ret)
{
	size_t n;
	struct jbuf *buf = a->buf;
	bool known = a->n_cp != SIZE_MAX && b->n_cp != SIZE_MAX;
	size_t n_cp = known ? a->n_cp + b->n_cp : SIZE_MAX;
	if (!size_add(a->n, b->n, &n))
		return jr_limit(r, "a string is too long");
	if (buf && a->p == buf->data && a->n == buf->used && b->n <= buf->cap - buf->used) {
		memcpy(buf->data + buf->used, b->p, b->n);
		buf->used += b->n;
		if (!jr_charge(r, b->n))
			return false;
	} else {
		size_t cap = n < 256 ? n : n + n / 2;
		if (!jr_charge(r, n) || !(buf = jr_alloc(r, sizeof *buf + cap)))
			return false;
		buf->cap = cap;
		buf->used = n;
		memcpy(buf->data, a->p, a->n);
		memcpy(buf->data + a->n, b->p, b->n);
	}
	if (!jv_str_ref(r, buf->data, n, ret))
		return false;
	ret->s->n_cp = n_cp;
	ret->s->buf = buf;
	return true;
}

size_t jv_str_len(struct jstr *s)
{
	if (s->n_cp == SIZE_MAX)
		s->n_cp = utf8_count(s->p, s->n);
	return s->n_cp;
}

bool jv_str_eqz(const struct jstr *s, const char *z)
{
	size_t n = strlen(z);
	return s->n == n && memcmp(s->p, z, n) == 0;
}

int jv_str_cmp(const struct jstr *a, const struct jstr *b)
{
	int c = memcmp(a->p, b->p, a->n < b->n ? a->n : b->n);
	return c ? (c < 0 ? -1 : 1) : a->n < b->n ? -1 : a->n > b->n;
}

/* ---- lists ---- */

bool jv_list(struct jrun *r, uint8_t kind, size_t cap, struct jval *ret)
{
	struct jlist *l = jr_alloc(r, sizeof *l);
	if (!l)
		return false;
	*l = (struct jlist){.cap = cap};
	if (cap && !(l->v = jr_alloc_n(r, cap, sizeof *l->v)))
		return false;
	*ret = (struct jval){.kind = kind, .list = l};
	return true;
}

bool jv_push(struct jrun *r, struct jlist *l, struct jval v)
{
	if (l->n == l->cap) {
		size_t cap = l->cap + l->cap / 2 + 4;
		struct jval *more = jr_alloc_n(r, cap, sizeof *more);
		if (!more)
			return false;
		if (l->n)
			memcpy(more, l->v, l->n * sizeof *more);
		l->v = more;
		l->cap = cap;
	}
	l->v[l->n++] = v;
	return jr_step(r);
}

bool jv_pair(struct jrun *r, struct jval a, struct jval b, struct jval *ret)
{
	return jv_list(r, J_TUPLE, 2, ret) && jv_push(r, ret->list, a) && jv_push(r, ret->list, b);
}

/* ---- dicts ---- */

bool jv_hash(struct jrun *r, const struct jval *v, uint64_t *ret)
{
	uint64_t h = 0;
	switch (v->kind) {
	case J_STR:
	case J_BYTES: *ret = map_hash(v->s->p, v->s->n); return jr_charge(r, v->s->n);
	case J_BOOL:
	case J_INT: {
		int64_t i = jv_as_int(v);
		*ret = map_hash(&i, sizeof i);
		return true;
	}
	case J_BIG: *ret = jbig_hash(v); return true;
	case J_FLOAT: {
		/* whole numbers hash like the equal integer */
		int64_t i = v->f >= -9.2e18 && v->f <= 9.2e18 ? (int64_t)v->f : 0;
		*ret = (double)i == v->f ? map_hash(&i, sizeof i) : map_hash(&v->f, sizeof v->f);
		struct jval big;
		if ((double)i != v->f && isfinite(v->f) && v->f == trunc(v->f)) {
			if (!jbig_from_double(r, v->f, &big))
				return false;
			*ret = jbig_hash(&big);
		}
		return true;
	}
	case J_TUPLE:
		if (!jr_enter(r))
			return false;
		for (size_t i = 0; i < v->list->n; i++) {
			uint64_t part[2] = {h, 0};
			if (!jv_hash(r, &v->list->v[i], &part[1]) || !jr_step(r))
				return false;
			h = map_hash(part, sizeof part);
		}
		jr_leave(r);
		*ret = h;
		return true;
	case J_LIST:
	case J_DICT:
	case J_VIEW: return jr_fail(r, "unhashable type: '%s'", jv_type(v));
	case J_UNDEF:
	case J_NONE: h = v->kind; break;
	default: h = (uint64_t)(uintptr_t)v->func; break;
	}
	*ret = map_hash(&h, sizeof h);
	return true;
}

bool jv_dict(struct jrun *r, struct jval *ret)
{
	struct jdict *d = jr_alloc(r, sizeof *d);
	if (!d)
		return false;
	*d = (struct jdict){0};
	*ret = (struct jval){.kind = J_DICT, .dict = d};
	return true;
}

/* Keys of one string: the same bytes. */
static bool is_key(const struct jval *k, const char *p, size_t n)
{
	return k->kind == J_STR && k->s->n == n && memcmp(k->s->p, p, n) == 0;
}

struct jval *jv_dict_gets(const struct jdict *d, const char *p, size_t n)
{
	if (!d->index) {
		for (size_t i = 0; i < d->n; i++)
			if (is_key(&d->e[i].key, p, n))
				return &d->e[i].val;
		return NULL;
	}
	uint64_t h = map_hash(p, n);
	for (size_t i = h & (d->n_index - 1); d->index[i]; i = (i + 1) & (d->n_index - 1)) {
		struct jentry *e = &d->e[d->index[i] - 1];
		if (e->hash == h && is_key(&e->key, p, n))
			return &e->val;
	}
	return NULL;
}

/* The entry of key or NULL in *ret. */
static bool dict_entry(struct jrun *r, const struct jdict *d, const struct jval *key, uint64_t h, struct jentry **ret)
{
	bool same;
	*ret = NULL;
	size_t mask = d->n_index - 1, k = h & mask;
	for (size_t i = 0; d->index ? d->index[k] != 0 : i < d->n; i++, k = (k + 1) & mask) {
		struct jentry *e = &d->e[d->index ? d->index[k] - 1 : i];
		if (e->hash != h)
			continue;
		if (!jr_step(r) || !jv_eq(r, &e->key, key, &same))
			return false;
		if (same) {
			*ret = e;
			return true;
		}
	}
	return true;
}

bool jv_dict_find(struct jrun *r, const struct jdict *d, const struct jval *key, struct jval **ret)
{
	uint64_t h;
	struct jentry *e;
	if (!jv_hash(r, key, &h) || !dict_entry(r, d, key, h, &e))
		return false;
	*ret = e ? &e->val : NULL;
	return true;
}

static bool reindex(struct jrun *r, struct jdict *d, size_t n_index)
{
	if (n_index != d->n_index) {
		uint32_t *index = jr_alloc_n(r, n_index, sizeof *index);
		if (!index)
			return false;
		d->index = index;
		d->n_index = n_index;
	}
	memset(d->index, 0, n_index * sizeof *d->index);
	for (size_t i = 0; i < d->n; i++) {
		size_t k = d->e[i].hash & (n_index - 1);
		while (d->index[k])
			k = (k + 1) & (n_index - 1);
		d->index[k] = (uint32_t)(i + 1);
	}
	return jr_charge(r, d->n * 16);
}

static bool dict_add(struct jrun *r, struct jdict *d, struct jentry e)
{
	if (d->n == d->cap) {
		size_t cap = d->cap + d->cap / 2 + 4;
		struct jentry *more = jr_alloc_n(r, cap, sizeof *more);
		if (!more)
			return false;
		if (d->n)
			memcpy(more, d->e, d->n * sizeof *more);
		d->e = more;
		d->cap = cap;
	}
	if (d->n >= UINT32_MAX / 4)
		return jr_limit(r, "a dict has too many keys");
	d->e[d->n++] = e;
	if (d->n < INDEX_FROM)
		return true;
	if (d->n * 2 > d->n_index)
		return reindex(r, d, d->n_index ? d->n_index * 2 : 32);
	size_t k = e.hash & (d->n_index - 1);
	while (d->index[k])
		k = (k + 1) & (d->n_index - 1);
	d->index[k] = (uint32_t)d->n;
	return true;
}

bool jv_dict_put(struct jrun *r, struct jdict *d, struct jval key, struct jval val)
{
	struct jentry *e;
	uint64_t h;
	if (!jr_step(r) || !jv_hash(r, &key, &h) || !dict_entry(r, d, &key, h, &e))
		return false;
	if (!e)
		return dict_add(r, d, (struct jentry){.key = key, .val = val, .hash = h});
	e->val = val;
	return true;
}

bool jv_dict_del(struct jrun *r, struct jdict *d, size_t i)
{
	memmove(&d->e[i], &d->e[i + 1], (d->n - i - 1) * sizeof *d->e);
	d->n--;
	return !d->index || reindex(r, d, d->n_index);
}

/* ---- comparing ---- */

bool jv_truth(const struct jval *v)
{
	switch (v->kind) {
	case J_MISSING:
	case J_UNDEF:
	case J_NONE: return false;
	case J_BOOL: return v->b;
	case J_INT: return v->i != 0;
	case J_FLOAT: return v->f != 0;
	case J_STR:
	case J_BYTES: return v->s->n != 0;
	case J_LIST:
	case J_TUPLE: return v->list->n != 0;
	case J_DICT:
	case J_VIEW: return v->dict->n != 0;
	case J_RANGE: return v->range->n != 0;
	default: return true; /* a loop has at least one item while it can be seen */
	}
}

bool jv_is(const struct jval *a, const struct jval *b)
{
	if (a->kind != b->kind)
		return false;
	switch (a->kind) {
	case J_NONE: return true;
	case J_BOOL: return a->b == b->b;
	case J_INT: return a->i == b->i;
	case J_FLOAT: return memcmp(&a->f, &b->f, sizeof a->f) == 0;
	case J_STR: return a->s == b->s || (a->s->n == b->s->n && memcmp(a->s->p, b->s->p, a->s->n) == 0);
	case J_UNDEF: return false;
	case J_VIEW: return a->of == b->of && a->dict == b->dict;
	case J_TUPLE: return a->list == b->list || (!a->list->n && !b->list->n);
	case J_FUNC:
		return a->func == b->func || (a->func->fn == b->func->fn && a->func->self.kind == J_MISSING &&
					      b->func->self.kind == J_MISSING);
	default: return a->func == b->func;
	}
}

static bool is_number(const struct jval *v)
{
	return v->kind == J_BOOL || v->kind == J_INT || v->kind == J_BIG || v->kind == J_FLOAT;
}

/* Exact comparison of an integer with a float, as Python does it: -1, 0, 1, or 2 with NaN. */
static bool cmp_int_float(struct jrun *r, const struct jval *a, double f, int *ret)
{
	struct jval whole;
	if (isnan(f)) {
		*ret = 2;
		return true;
	}
	if (isinf(f)) {
		*ret = f > 0 ? -1 : 1;
		return true;
	}
	if (!jbig_from_double(r, f, &whole))
		return false;
	int c = jbig_cmp(a, &whole);
	double rest = f - trunc(f);
	*ret = c ? c : rest > 0 ? -1 : rest < 0;
	return true;
}

static bool cmp_numbers(struct jrun *r, const struct jval *a, const struct jval *b, int *ret)
{
	if (a->kind == J_FLOAT && b->kind == J_FLOAT) {
		*ret = isnan(a->f) || isnan(b->f) ? 2 : a->f < b->f ? -1 : a->f > b->f;
		return true;
	}
	if (b->kind == J_FLOAT)
		return cmp_int_float(r, a, b->f, ret);
	if (a->kind == J_FLOAT) {
		if (!cmp_int_float(r, b, a->f, ret))
			return false;
		*ret = *ret == 2 ? 2 : -*ret;
		return true;
	}
	*ret = jbig_cmp(a, b);
	return true;
}

static bool eq_lists(struct jrun *r, const struct jlist *a, const struct jlist *b, bool *ret)
{
	*ret = a->n == b->n;
	if (!jr_enter(r))
		return false;
	for (size_t i = 0; *ret && i < a->n && i < b->n; i++)
		if (!jr_step(r) || !jv_eq(r, &a->v[i], &b->v[i], ret))
			return false;
	jr_leave(r);
	return true;
}

static bool eq_dicts(struct jrun *r, const struct jdict *a, const struct jdict *b, bool *ret)
{
	*ret = a->n == b->n;
	if (!jr_enter(r))
		return false;
	for (size_t i = 0; *ret && i < a->n; i++) {
		struct jentry *e;
		if (!jr_step(r) || !dict_entry(r, b, &a->e[i].key, a->e[i].hash, &e))
			return false;
		*ret = e != NULL;
		if (e && !jv_eq(r, &a->e[i].val, &e->val, ret))
			return false;
	}
	jr_leave(r);
	return true;
}

bool jv_eq(struct jrun *r, const struct jval *a, const struct jval *b, bool *ret)
{
	int c;
	if (is_number(a) && is_number(b)) {
		if (!cmp_numbers(r, a, b, &c))
			return false;
		*ret = c == 0;
		return true;
	}
	*ret = false;
	if (a->kind != b->kind)
		return true;
	switch (a->kind) {
	case J_UNDEF:
	case J_NONE: *ret = true; return true;
	case J_STR:
	case J_BYTES:
		*ret = a->s == b->s || (a->s->n == b->s->n && memcmp(a->s->p, b->s->p, a->s->n) == 0);
		return jr_charge(r, a->s->n);
	case J_LIST:
	case J_TUPLE:
		if (a->list == b->list) {
			*ret = true;
			return true;
		}
		return eq_lists(r, a->list, b->list, ret);
	case J_DICT:
		if (a->dict == b->dict) {
			*ret = true;
			return true;
		}
		return eq_dicts(r, a->dict, b->dict, ret);
	case J_RANGE:
		*ret = a->range->n == b->range->n &&
		       (a->range->n == 0 || (a->range->start == b->range->start &&
					     (a->range->n == 1 || a->range->step == b->range->step)));
		return true;
	default: *ret = jv_is(a, b); return true;
	}
}

static bool cmp_lists(struct jrun *r, const struct jlist *a, const struct jlist *b, const char *op, int *ret)
{
	bool same;
	if (!jr_enter(r))
		return false;
	for (size_t i = 0; i < a->n && i < b->n; i++) {
		if (!jr_step(r) || !jv_eq(r, &a->v[i], &b->v[i], &same))
			return false;
		if (same)
			continue;
		if (!jv_cmp(r, &a->v[i], &b->v[i], op, ret))
			return false;
		jr_leave(r);
		return true;
	}
	jr_leave(r);
	*ret = a->n < b->n ? -1 : a->n > b->n;
	return true;
}

bool jv_cmp(struct jrun *r, const struct jval *a, const struct jval *b, const char *op, int *ret)
{
	if (is_number(a) && is_number(b))
		return cmp_numbers(r, a, b, ret);
	if (a->kind == b->kind) {
		switch (a->kind) {
		case J_STR:
		case J_BYTES: *ret = jv_str_cmp(a->s, b->s); return jr_charge(r, a->s->n);
		case J_LIST:
		case J_TUPLE: return cmp_lists(r, a->list, b->list, op, ret);
		default: break;
		}
	}
	return jr_fail_op(r, op, a, b);
}

/* ---- sizes and names ---- */

bool jv_has_len(const struct jval *v)
{
	switch (v->kind) {
	case J_UNDEF:
	case J_STR:
	case J_BYTES:
	case J_LIST:
	case J_TUPLE:
	case J_DICT:
	case J_VIEW:
	case J_RANGE:
	case J_LOOP: return true;
	default: return false;
	}
}

bool jv_len(struct jrun *r, const struct jval *v, size_t *ret)
{
	int64_t n;
	switch (v->kind) {
	case J_UNDEF: *ret = 0; return true;
	case J_STR:
		if (v->s->n_cp == SIZE_MAX && !jr_charge(r, v->s->n * 2))
			return false;
		*ret = jv_str_len(v->s);
		return true;
	case J_BYTES: *ret = v->s->n; return true;
	case J_LIST:
	case J_TUPLE: *ret = v->list->n; return true;
	case J_DICT:
	case J_VIEW: *ret = v->dict->n; return true;
	case J_RANGE: *ret = (size_t)v->range->n; return true;
	case J_LOOP:
		if (!jx_loop_len(r, v->loop, &n))
			return false;
		*ret = (size_t)n;
		return true;
	default: return jr_fail(r, "object of type '%s' has no len()", jv_type(v));
	}
}

const char *jv_type(const struct jval *v)
{
	static const char *const names[J_N_KIND] = {
		[J_MISSING] = "missing",  [J_UNDEF] = "Undefined", [J_NONE] = "NoneType", [J_BOOL] = "bool",
		[J_INT] = "int",          [J_BIG] = "int",         [J_FLOAT] = "float",   [J_STR] = "str",
		[J_BYTES] = "bytes",      [J_LIST] = "list",       [J_TUPLE] = "tuple",   [J_DICT] = "dict",
		[J_VIEW] = "dict_items",  [J_RANGE] = "range",     [J_ITER] = "generator", [J_NS] = "Namespace",
		[J_FUNC] = "function",    [J_MACRO] = "Macro",     [J_LOOP] = "LoopContext", [J_CYCLER] = "Cycler",
		[J_JOINER] = "Joiner",    [J_SELF] = "TemplateReference",
	};
	static const char *const views[] = {
		[JVIEW_KEYS] = "dict_keys", [JVIEW_VALUES] = "dict_values", [JVIEW_ITEMS] = "dict_items"};
	if (v->kind == J_VIEW)
		return views[v->of];
	if (v->kind == J_ITER)
		return v->iter->type;
	if (v->kind == J_STR && v->safe)
		return "Markup";
	return names[v->kind];
}

/* ---- JSON ---- */

struct from_json {
	struct jrun *r;
	bool copy; /* strings are copied; otherwise they refer to the JSON tree */
};

static bool from_any(const struct from_json *f, const json_t *j, int depth, struct jval *ret);

static bool from_str(const struct from_json *f, const char *p, size_t n, struct jval *ret)
{
	return f->copy ? jv_str(f->r, p, n, ret) : jv_str_ref(f->r, p, n, ret);
}

static bool from_array(const struct from_json *f, const json_t *j, int depth, struct jval *ret)
{
	size_t n = json_array_size(j);
	if (!jv_list(f->r, J_LIST, n, ret))
		return false;
	for (size_t i = 0; i < n; i++) {
		struct jval v;
		if (!from_any(f, json_array_get(j, i), depth - 1, &v) || !jv_push(f->r, ret->list, v))
			return false;
	}
	return true;
}

static bool from_object(const struct from_json *f, const json_t *j, int depth, struct jval *ret)
{
	json_t *obj = (json_t *)j; /* jansson's iterators take no const */
	if (!jv_dict(f->r, ret))
		return false;
	for (void *it = json_object_iter(obj); it; it = json_object_iter_next(obj, it)) {
		struct jval k, v;
		if (!from_str(f, json_object_iter_key(it), json_object_iter_key_len(it), &k) ||
		    !from_any(f, json_object_iter_value(it), depth - 1, &v) || !jv_dict_put(f->r, ret->dict, k, v))
			return false;
	}
	return true;
}

static bool from_any(const struct from_json *f, const json_t *j, int depth, struct jval *ret)
{
	if (depth <= 0)
		return jr_limit(f->r, "the variables are nested too deeply");
	switch (json_typeof(j)) {
	case JSON_NULL: *ret = jv_none(); return true;
	case JSON_TRUE:
	case JSON_FALSE: *ret = jv_bool(json_is_true(j)); return true;
	case JSON_INTEGER: *ret = jv_int(json_integer_value(j)); return true;
	case JSON_REAL: *ret = jv_float(json_real_value(j)); return true;
	case JSON_STRING: return from_str(f, json_string_value(j), json_string_length(j), ret);
	case JSON_ARRAY: return from_array(f, j, depth, ret);
	case JSON_OBJECT: return from_object(f, j, depth, ret);
	}
	return jr_fail(f->r, "unknown JSON type");
}

bool jv_from_json(struct jrun *r, const json_t *j, int depth, struct jval *ret)
{
	return from_any(&(struct from_json){.r = r}, j, depth, ret);
}

bool jv_from_json_copy(struct jrun *r, const json_t *j, int depth, struct jval *ret)
{
	return from_any(&(struct from_json){.r = r, .copy = true}, j, depth, ret);
}
