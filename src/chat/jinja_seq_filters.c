/* Filters over sequences. Those that are generators in Jinja2 are lazy here too: their errors come when items are asked
 * for, and they can be walked once. */
#include <string.h>

#include "base/bug.h"
#include "chat/jinja_run.h"

/* ---- attribute paths ("a.b.0") ---- */

struct path {
	struct jval *parts;
	size_t n;
};

static bool is_digits(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] < '0' || p[i] > '9')
			return false;
	return n > 0;
}

static bool path_text(struct jrun *r, const struct jstr *s, size_t from, size_t to, struct path *ret)
{
	size_t n = 1;
	for (size_t i = from; i < to; i++)
		n += s->p[i] == '.';
	ret->n = 0;
	if (!(ret->parts = jr_alloc_n(r, n, sizeof *ret->parts)))
		return false;
	while (ret->n < n) {
		size_t end = from;
		while (end < to && s->p[end] != '.')
			end++;
		struct jval *part = &ret->parts[ret->n++];
		bool ok = is_digits(s->p + from, end - from) ? jbig_parse(&r->arena, s->p + from, end - from, 10, false, part)
							      : jv_str_part(r, s, from, end - from, part);
		if (!ok)
			return jr_limit(r, "an attribute path is too long");
		from = end + 1;
	}
	return true;
}

static bool path_make(struct jrun *r, const struct jval *attr, struct path *ret)
{
	*ret = (struct path){0};
	if (attr->kind == J_MISSING || attr->kind == J_NONE)
		return true;
	if (attr->kind == J_STR)
		return path_text(r, attr->s, 0, attr->s->n, ret);
	if (!(ret->parts = jr_alloc(r, sizeof *ret->parts)))
		return false;
	ret->parts[0] = *attr;
	ret->n = 1;
	return true;
}

/* def: taken where a part is undefined, unless it is missing or none. */
static bool path_get(struct jrun *r, const struct path *p, const struct jval *item, const struct jval *def, struct jval *ret)
{
	struct jval v = *item;
	for (size_t i = 0; i < p->n; i++) {
		if (!jr_step(r) || !jo_getitem(r, &v, &p->parts[i], &v))
			return false;
		if (v.kind == J_UNDEF && def && def->kind != J_MISSING && def->kind != J_NONE)
			v = *def;
	}
	*ret = v;
	return true;
}

static bool fold_case(struct jrun *r, bool sensitive, struct jval *v)
{
	return sensitive || v->kind != J_STR || jcase_map(r, v->s, JCASE_LOWER, v);
}

static bool path_key(struct jrun *r, const struct path *p, const struct jval *item, const struct jval *def, bool sensitive,
		     struct jval *ret)
{
	return path_get(r, p, item, def, ret) && fold_case(r, sensitive, ret);
}

/* ---- generators ---- */

/* What a lazy filter needs while it runs. */
struct lazy {
	struct jval src;
	struct jiter it;
	bool open;
	bool reject;
	bool by_attr; /* the test looks at an attribute */
	struct path path;
	struct jval def;
	const struct jbuiltin *fn; /* filter or test; NULL: none */
	struct jcall call;
	struct jval fill;
	int64_t n, at;     /* batch, slice: count; slice: number of the slice */
	size_t offset;
	struct jlist *all; /* slice: every item */
	struct jdict *seen;
	bool sensitive;
	const char *late_error; /* wrong arguments: reported when the first item is asked for */
};

static bool lazy_make(struct jrun *r, struct jargs *a, int (*next)(struct jrun *, struct jiter *, struct jval *),
		      struct lazy **ret_lazy, struct jval *ret)
{
	struct lazy *z = jr_alloc(r, sizeof *z);
	if (!z)
		return false;
	*z = (struct lazy){.src = a->v[0]};
	*ret_lazy = z;
	return ji_make(r, &(struct jiter){.next = next, .state = z, .type = "generator"}, ret);
}

/* The next item of the source; 0 at once when the source is falsy (`if value:`) and that counts. */
static int lazy_next(struct jrun *r, struct lazy *z, bool falsy_is_empty, struct jval *ret)
{
	if (!z->open) {
		if (falsy_is_empty && !jv_truth(&z->src))
			return 0;
		if (z->late_error) {
			jr_fail(r, "%s", z->late_error);
			return -1;
		}
		if (!ji_open(r, &z->src, &z->it))
			return -1;
		z->open = true;
	}
	return ji_next(r, &z->it, ret);
}

/* Keeps the arguments after the first `skip` positional ones for later calls. */
static bool keep_call(struct jrun *r, const struct jcall *c, size_t skip, struct jcall *ret)
{
	size_t n = c->n_args > skip ? c->n_args - skip : 0;
	struct jval *v = jr_alloc_n(r, n + c->n_kw, sizeof *v);
	struct jstr **names = jr_alloc_n(r, c->n_kw, sizeof *names);
	if (!v || !names)
		return false;
	for (size_t i = 0; i < n; i++)
		v[i] = c->args[skip + i];
	for (size_t i = 0; i < c->n_kw; i++) {
		v[n + i] = c->kw_vals[i];
		names[i] = c->kw_names[i];
	}
	*ret = (struct jcall){.args = v, .n_args = n, .kw_vals = v + n, .kw_names = names, .n_kw = c->n_kw};
	return true;
}

static int next_map(struct jrun *r, struct jiter *it, struct jval *ret)
{
	struct lazy *z = it->state;
	struct jval item;
	int got = lazy_next(r, z, true, &item);
	if (got <= 0)
		return got;
	bool ok = z->fn ? jr_call_builtin(r, z->fn, item, &z->call, ret) : path_get(r, &z->path, &item, &z->def, ret);
	return ok ? 1 : -1;
}

static bool f_map(struct jrun *r, struct jargs *a, struct jval *ret)
{
	struct lazy *z;
	const struct jcall *c = a->call;
	const struct jval *attr = jr_kwarg(c, "attribute"), *def = jr_kwarg(c, "default");
	if (!lazy_make(r, a, next_map, &z, ret))
		return false;
	if (!c->n_args && attr) {
		if (c->n_kw > 1u + (def != NULL))
			z->late_error = "map got an unexpected keyword argument";
		z->def = def ? *def : jv_none();
		return path_make(r, attr, &z->path);
	}
	if (c->n_args && c->args[0].kind == J_STR)
		z->fn = jinja_find_filter(c->args[0].s->p, c->args[0].s->n);
	if (!z->fn)
		z->late_error = c->n_args ? "map got the name of an unknown filter" : "map requires a filter argument";
	return keep_call(r, c, 1, &z->call);
}

static int next_select(struct jrun *r, struct jiter *it, struct jval *ret)
{
	struct lazy *z = it->state;
	struct jval tested;
	int got;
	while ((got = lazy_next(r, z, true, ret)) > 0) {
		tested = *ret;
		if (z->by_attr && !path_get(r, &z->path, ret, NULL, &tested))
			return -1;
		if (z->fn && !jr_call_builtin(r, z->fn, tested, &z->call, &tested))
			return -1;
		if (jv_truth(&tested) != z->reject)
			return 1;
	}
	return got;
}

static bool select_with(struct jrun *r, struct jargs *a, bool by_attr, bool reject, struct jval *ret)
{
	const struct jcall *c = a->call;
	struct lazy *z;
	size_t skip = by_attr;
	if (!lazy_make(r, a, next_select, &z, ret))
		return false;
	z->reject = reject;
	z->by_attr = by_attr;
	if (by_attr && !c->n_args)
		z->late_error = "missing parameter for attribute name";
	if (by_attr && c->n_args && !path_make(r, &c->args[0], &z->path))
		return false;
	if (c->n_args <= skip)
		return true;
	const struct jval *name = &c->args[skip];
	z->fn = name->kind == J_STR ? jinja_find_test(name->s->p, name->s->n) : NULL;
	if (!z->fn)
		z->late_error = "select or reject got the name of an unknown test";
	return keep_call(r, c, skip + 1, &z->call);
}

static bool f_select(struct jrun *r, struct jargs *a, struct jval *ret)
{
	return select_with(r, a, false, false, ret);
}

static bool f_reject(struct jrun *r, struct jargs *a, struct jval *ret)
{
	return select_with(r, a, false, true, ret);
}

static bool f_selectattr(struct jrun *r, struct jargs *a, struct jval *ret)
{
	return select_with(r, a, true, false, ret);
}

static bool f_rejectattr(struct jrun *r, struct jargs *a, struct jval *ret)
{
	return select_with(r, a, true, true, ret);
}

static int next_unique(struct jrun *r, struct jiter *it, struct jval *ret)
{
	struct lazy *z = it->state;
	struct jval key, *found;
	int got;
	while ((got = lazy_next(r, z, false, ret)) > 0) {
		if (!path_key(r, &z->path, ret, NULL, z->sensitive, &key) || !jv_dict_find(r, z->seen, &key, &found))
			return -1;
		if (found)
			continue;
		return jv_dict_put(r, z->seen, key, jv_none()) ? 1 : -1;
	}
	return got;
}

static bool f_unique(struct jrun *r, struct jargs *a, struct jval *ret)
{
	struct lazy *z;
	struct jval seen;
	if (!lazy_make(r, a, next_unique, &z, ret) || !jv_dict(r, &seen))
		return false;
	z->seen = seen.dict;
	z->sensitive = ja_bool(&a->v[1], false);
	return path_make(r, &a->v[2], &z->path);
}

/* One row of batch. An item that did not fit is kept in z->def for the next row. */
static int next_batch(struct jrun *r, struct jiter *it, struct jval *ret)
{
	struct lazy *z = it->state;
	struct jval row, item;
	int got = 1;
	if (!jv_list(r, J_LIST, 0, &row))
		return -1;
	if (z->def.kind != J_MISSING) {
		if (!jv_push(r, row.list, z->def))
			return -1;
		z->def.kind = J_MISSING;
	}
	while ((got = lazy_next(r, z, false, &item)) > 0) {
		if ((int64_t)row.list->n == z->n) {
			z->def = item;
			*ret = row;
			return 1;
		}
		if (!jv_push(r, row.list, item))
			return -1;
	}
	if (got < 0 || !row.list->n)
		return got;
	int64_t missing = z->n - (int64_t)row.list->n;
	struct jval one, fill;
	if (z->fill.kind != J_NONE && missing > 0) {
		if (!jv_list(r, J_LIST, 1, &one) || !jv_push(r, one.list, z->fill) || !jo_repeat(r, &one, missing, &fill) ||
		    !jo_binary(r, T_ADD, &row, &fill, &row))
			return -1;
	}
	*ret = row;
	return 1;
}

static bool f_batch(struct jrun *r, struct jargs *a, struct jval *ret)
{
	struct lazy *z;
	if (!lazy_make(r, a, next_batch, &z, ret))
		return false;
	z->fill = a->v[2].kind == J_MISSING ? jv_none() : a->v[2];
	return ja_int(r, &a->v[1], 0, &z->n);
}

static int next_slice(struct jrun *r, struct jiter *it, struct jval *ret)
{
	struct lazy *z = it->state;
	struct jval all, row;
	if (!z->all) {
		if (!ji_list(r, &z->src, &all))
			return -1;
		z->all = all.list;
	}
	if (z->n == 0) {
		jr_fail(r, "slice() needs at least one slice");
		return -1;
	}
	if (z->at >= z->n)
		return 0;
	size_t per = z->all->n / (size_t)z->n, extra = z->all->n % (size_t)z->n, at = (size_t)z->at++;
	size_t start = z->offset + at * per;
	if (at < extra)
		z->offset++;
	size_t end = z->offset + (at + 1) * per;
	if (!jv_list(r, J_LIST, end - start + 1, &row))
		return -1;
	for (size_t i = start; i < end; i++)
		if (!jv_push(r, row.list, z->all->v[i]))
			return -1;
	if (z->fill.kind != J_NONE && at >= extra && !jv_push(r, row.list, z->fill))
		return -1;
	*ret = row;
	return 1;
}

static bool f_slice(struct jrun *r, struct jargs *a, struct jval *ret)
{
	struct lazy *z;
	if (!lazy_make(r, a, next_slice, &z, ret))
		return false;
	z->fill = a->v[2].kind == J_MISSING ? jv_none() : a->v[2];
	return ja_int(r, &a->v[1], 0, &z->n);
}

static int next_items(struct jrun *r, struct jiter *it, struct jval *ret)
{
	struct lazy *z = it->state;
	if (!z->open && z->src.kind == J_DICT) {
		z->src.kind = J_VIEW;
		z->src.of = JVIEW_ITEMS;
	} else if (!z->open && z->src.kind != J_UNDEF) {
		jr_fail(r, "can only get item pairs from a mapping");
		return -1;
	}
	return lazy_next(r, z, false, ret);
}

static bool f_items(struct jrun *r, struct jargs *a, struct jval *ret)
{
	struct lazy *z;
	return lazy_make(r, a, next_items, &z, ret);
}

/* ---- sorting ---- */

struct sort_item {
	struct jval key, val;
};

/* Stable merge sort of v[0..n) with tmp as room; equal keys keep their order in both directions. */
static bool merge_sort(struct jrun *r, struct sort_item *v, struct sort_item *tmp, size_t n, bool reverse)
{
	for (size_t width = 1; width < n; width *= 2) {
		for (size_t lo = 0; lo < n; lo += 2 * width) {
			size_t mid = lo + width < n ? lo + width : n, hi = lo + 2 * width < n ? lo + 2 * width : n;
			size_t i = lo, k = mid, out = lo;
			while (i < mid && k < hi) {
				int c;
				if (!jr_step(r) || !jv_cmp(r, &v[k].key, &v[i].key, "<", &c))
					return false;
				bool take_right = c != 2 && (reverse ? c > 0 : c < 0);
				tmp[out++] = take_right ? v[k++] : v[i++];
			}
			while (i < mid)
				tmp[out++] = v[i++];
			while (k < hi)
				tmp[out++] = v[k++];
		}
		memcpy(v, tmp, n * sizeof *v);
	}
	return true;
}

static bool sort_items(struct jrun *r, struct sort_item *v, size_t n, bool reverse)
{
	struct sort_item *tmp = jr_alloc_n(r, n, sizeof *tmp);
	return tmp && jr_charge(r, n * sizeof *v) && merge_sort(r, v, tmp, n, reverse);
}

/* The key of sort: a list with the value at each of the comma-separated paths. */
static bool sort_key(struct jrun *r, const struct path *paths, size_t n, const struct jval *item, bool sensitive, struct jval *ret)
{
	if (!jv_list(r, J_LIST, n, ret))
		return false;
	for (size_t i = 0; i < n; i++) {
		struct jval part;
		if (!path_key(r, &paths[i], item, NULL, sensitive, &part) || !jv_push(r, ret->list, part))
			return false;
	}
	return true;
}

static bool sort_paths(struct jrun *r, const struct jval *attr, struct path **ret, size_t *ret_n)
{
	size_t n = 1;
	for (size_t i = 0; attr->kind == J_STR && i < attr->s->n; i++)
		n += attr->s->p[i] == ',';
	struct path *paths = jr_alloc_n(r, n, sizeof *paths);
	if (!paths)
		return false;
	*ret = paths;
	*ret_n = n;
	if (attr->kind != J_STR)
		return path_make(r, attr, &paths[0]);
	for (size_t i = 0, from = 0; i < n; i++) {
		size_t to = from;
		while (to < attr->s->n && attr->s->p[to] != ',')
			to++;
		if (!path_text(r, attr->s, from, to, &paths[i]))
			return false;
		from = to + 1;
	}
	return true;
}

static bool f_sort(struct jrun *r, struct jargs *a, struct jval *ret)
{
	struct path *paths;
	size_t n_path;
	bool sensitive = ja_bool(&a->v[2], false);
	if (!ji_list(r, &a->v[0], ret) || !sort_paths(r, &a->v[3], &paths, &n_path))
		return false;
	struct jlist *l = ret->list;
	struct sort_item *v = jr_alloc_n(r, l->n, sizeof *v);
	if (!v)
		return false;
	for (size_t i = 0; i < l->n; i++) {
		v[i].val = l->v[i];
		if (!sort_key(r, paths, n_path, &l->v[i], sensitive, &v[i].key))
			return false;
	}
	if (!sort_items(r, v, l->n, ja_bool(&a->v[1], false)))
		return false;
	for (size_t i = 0; i < l->n; i++)
		l->v[i] = v[i].val;
	return true;
}

static bool f_dictsort(struct jrun *r, struct jargs *a, struct jval *ret)
{
	bool sensitive = ja_bool(&a->v[1], false), by_value = false;
	if (a->v[2].kind != J_MISSING) {
		by_value = a->v[2].kind == J_STR && jv_str_eqz(a->v[2].s, "value");
		if (!by_value && !(a->v[2].kind == J_STR && jv_str_eqz(a->v[2].s, "key")))
			return jr_fail(r, "you can only sort by either \"key\" or \"value\"");
	}
	if (a->v[0].kind == J_UNDEF)
		return jr_fail_undef(r, &a->v[0]);
	if (a->v[0].kind != J_DICT)
		return jr_fail(r, "'%s' object has no attribute 'items'", jv_type(&a->v[0]));
	const struct jdict *d = a->v[0].dict;
	struct sort_item *v = jr_alloc_n(r, d->n, sizeof *v);
	if (!v || !jv_list(r, J_LIST, d->n, ret))
		return false;
	for (size_t i = 0; i < d->n; i++) {
		v[i].key = by_value ? d->e[i].val : d->e[i].key;
		if (!jv_pair(r, d->e[i].key, d->e[i].val, &v[i].val) || !fold_case(r, sensitive, &v[i].key))
			return false;
	}
	if (!sort_items(r, v, d->n, ja_bool(&a->v[3], false)))
		return false;
	for (size_t i = 0; i < d->n; i++)
		ret->list->v[ret->list->n++] = v[i].val;
	return true;
}

static bool add_group(struct jrun *r, struct jlist *groups, struct jval key, struct jval items)
{
	struct jval pair;
	if (!jv_pair(r, key, items, &pair))
		return false;
	pair.list->group = true;
	return jv_push(r, groups, pair);
}

/* groupby(attribute, default, case_sensitive) */
static bool f_groupby(struct jrun *r, struct jargs *a, struct jval *ret)
{
	struct path path;
	struct jval all, items = {0}, key;
	bool sensitive = ja_bool(&a->v[3], false), same;
	if (!path_make(r, &a->v[1], &path) || !ji_list(r, &a->v[0], &all) || !jv_list(r, J_LIST, 0, ret))
		return false;
	size_t n = all.list->n;
	struct sort_item *v = jr_alloc_n(r, n, sizeof *v);
	if (!v)
		return false;
	for (size_t i = 0; i < n; i++) {
		v[i].val = all.list->v[i];
		if (!path_key(r, &path, &v[i].val, &a->v[2], sensitive, &v[i].key))
			return false;
	}
	if (!sort_items(r, v, n, false))
		return false;
	for (size_t i = 0; i < n; i++) {
		same = false;
		if (i && !jv_eq(r, &v[i - 1].key, &v[i].key, &same))
			return false;
		if (!same && (!path_get(r, &path, &v[i].val, &a->v[2], &key) || !jv_list(r, J_LIST, 0, &items) ||
			      !add_group(r, ret->list, key, items)))
			return false;
		if (!jv_push(r, items.list, v[i].val))
			return false;
	}
	return true;
}

static bool min_or_max(struct jrun *r, struct jargs *a, bool max, struct jval *ret)
{
	struct path path;
	struct jiter it;
	struct jval item, key, best_key = {0};
	bool sensitive = ja_bool(&a->v[1], false);
	int got, c;
	*ret = jv_undef(NULL, 0);
	if (!path_make(r, &a->v[2], &path) || !ji_open(r, &a->v[0], &it))
		return false;
	while ((got = ji_next(r, &it, &item))) {
		if (got < 0 || !path_key(r, &path, &item, NULL, sensitive, &key))
			return false;
		if (best_key.kind != J_MISSING) {
			if (!jv_cmp(r, &key, &best_key, max ? ">" : "<", &c))
				return false;
			if (c == 2 || !(max ? c > 0 : c < 0))
				continue;
		}
		best_key = key;
		*ret = item;
	}
	return true;
}

static bool f_min(struct jrun *r, struct jargs *a, struct jval *ret)
{
	return min_or_max(r, a, false, ret);
}

static bool f_max(struct jrun *r, struct jargs *a, struct jval *ret)
{
	return min_or_max(r, a, true, ret);
}

static bool f_sum(struct jrun *r, struct jargs *a, struct jval *ret)
{
	struct path path;
	struct jiter it;
	struct jval item;
	int got;
	*ret = a->v[2].kind == J_MISSING ? jv_int(0) : a->v[2];
	if (ret->kind == J_STR)
		return jr_fail(r, "sum() can't sum strings; use join");
	if (!path_make(r, &a->v[1], &path) || !ji_open(r, &a->v[0], &it))
		return false;
	while ((got = ji_next(r, &it, &item)))
		if (got < 0 || !path_get(r, &path, &item, NULL, &item) || !jo_binary(r, T_ADD, ret, &item, ret))
			return false;
	return true;
}

/* ---- taking and joining ---- */

static bool f_join(struct jrun *r, struct jargs *a, struct jval *ret)
{
	struct path path;
	struct jiter it;
	struct jval item, sep = {0};
	struct jb b;
	bool first = true, safe = false;
	int got;
	jb_init(&b, r);
	if (a->v[1].kind != J_MISSING && !jp_to_str(r, &a->v[1], &sep))
		return false;
	if (!path_make(r, &a->v[2], &path) || !ji_open(r, &a->v[0], &it))
		return false;
	while ((got = ji_next(r, &it, &item))) {
		if (got < 0 || (!first && sep.kind != J_MISSING && !jb_add(&b, sep.s->p, sep.s->n)) ||
		    !path_get(r, &path, &item, NULL, &item))
			return false;
		safe |= r->autoescape && item.kind == J_STR && item.safe;
		if (!jp_str(&b, &item))
			return false;
		first = false;
	}
	if (!jb_take(&b, ret))
		return false;
	ret->safe = safe;
	return true;
}

static bool f_first(struct jrun *r, struct jargs *a, struct jval *ret)
{
	struct jiter it;
	if (!ji_open(r, &a->v[0], &it))
		return false;
	int got = ji_next(r, &it, ret);
	if (got == 0)
		*ret = jv_undef(NULL, 0);
	return got >= 0;
}

static bool f_last(struct jrun *r, struct jargs *a, struct jval *ret)
{
	struct jval rev;
	struct jargs of_rev;
	switch (a->v[0].kind) {
	case J_UNDEF: *ret = jv_undef(NULL, 0); return true;
	case J_STR:
		if (!a->v[0].s->n) {
			*ret = jv_undef(NULL, 0);
			return true;
		}
		return jo_getitem(r, &a->v[0], &(struct jval){.kind = J_INT, .i = -1}, ret);
	default: break;
	}
	if (!ji_reversed(r, &a->v[0], &rev))
		return false;
	if (rev.kind == J_MISSING)
		return jr_fail(r, "'%s' object is not reversible", jv_type(&a->v[0]));
	of_rev.v[0] = rev;
	return f_first(r, &of_rev, ret);
}

static bool f_random(struct jrun *r, struct jargs *a, struct jval *ret)
{
	size_t n;
	if (!jv_len(r, &a->v[0], &n))
		return false;
	if (!n) {
		*ret = jv_undef(NULL, 0);
		return true;
	}
	r->rng = r->rng * 6364136223846793005u + 1442695040888963407u;
	struct jval i = jv_int((int64_t)((r->rng >> 33) % n));
	return jo_getitem(r, &a->v[0], &i, ret);
}

static bool f_list(struct jrun *r, struct jargs *a, struct jval *ret)
{
	return ji_list(r, &a->v[0], ret);
}

static bool f_reverse(struct jrun *r, struct jargs *a, struct jval *ret)
{
	const struct jval backward[3] = {{0}, {0}, {.kind = J_INT, .i = -1}};
	if (a->v[0].kind == J_STR)
		return jo_slice(r, &a->v[0], backward, ret);
	if (!ji_reversed(r, &a->v[0], ret) || ret->kind != J_MISSING)
		return !r->failed;
	struct jval l;
	return ji_list(r, &a->v[0], &l) && jo_slice(r, &l, backward, ret);
}

static bool f_length(struct jrun *r, struct jargs *a, struct jval *ret)
{
	size_t n;
	if (!jv_len(r, &a->v[0], &n))
		return false;
	*ret = jv_int((int64_t)n);
	return true;
}

const struct jbuiltin jinja_seq_filters[] = {
	{"batch", "linecount fill_with?", f_batch},
	{"count", "", f_length},
	{"dictsort", "case_sensitive? by? reverse?", f_dictsort},
	{"first", "", f_first},
	{"groupby", "attribute default? case_sensitive?", f_groupby},
	{"items", "", f_items},
	{"join", "d? attribute?", f_join},
	{"last", "", f_last},
	{"length", "", f_length},
	{"list", "", f_list},
	{"map", "*", f_map},
	{"max", "case_sensitive? attribute?", f_max},
	{"min", "case_sensitive? attribute?", f_min},
	{"random", "", f_random},
	{"reject", "*", f_reject},
	{"rejectattr", "*", f_rejectattr},
	{"reverse", "", f_reverse},
	{"select", "*", f_select},
	{"selectattr", "*", f_selectattr},
	{"slice", "slices fill_with?", f_slice},
	{"sort", "reverse? case_sensitive? attribute?", f_sort},
	{"sum", "attribute? start?", f_sum},
	{"unique", "case_sensitive? attribute?", f_unique},
};
const size_t jinja_n_seq_filters = ARRAY_LEN(jinja_seq_filters);
