/* Operators and lookups, with Python's rules for mixed types. */
#include <math.h>
#include <string.h>

#include "base/bug.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "chat/jinja_run.h"

static bool is_num(const struct jval *v)
{
	return v->kind == J_INT || v->kind == J_BOOL || v->kind == J_FLOAT || v->kind == J_BIG;
}

static bool is_whole(const struct jval *v)
{
	return v->kind == J_INT || v->kind == J_BOOL || v->kind == J_BIG;
}

static double to_double(const struct jval *v)
{
	return v->kind == J_FLOAT ? v->f : jbig_double(v);
}

static const char *op_text(enum jtok op)
{
	struct jtoken tok = {.type = op};
	return jlex_describe(&tok);
}

/* ---- numbers ---- */

static bool int_binary(struct jrun *r, enum jtok op, const struct jval *a, const struct jval *b, struct jval *ret)
{
	int64_t x = jv_as_int(a), y = jv_as_int(b), z;
	switch (op) {
	case T_ADD:
		if (__builtin_add_overflow(x, y, &z))
			return jbig_binary(r, op, a, b, ret);
		break;
	case T_SUB:
		if (__builtin_sub_overflow(x, y, &z))
			return jbig_binary(r, op, a, b, ret);
		break;
	case T_MUL:
		if (__builtin_mul_overflow(x, y, &z))
			return jbig_binary(r, op, a, b, ret);
		break;
	default: /* floor division and its rest */
		if (y == -1)
			return op == T_MOD ? (*ret = jv_int(0), true) : jbig_negate(r, a, ret);
		z = op == T_MOD ? x % y : x / y;
		if (op == T_MOD ? z && (z < 0) != (y < 0) : x % y && (x < 0) != (y < 0))
			z += op == T_MOD ? y : -1;
		break;
	}
	*ret = jv_int(z);
	return true;
}

static bool float_floor(double x, double y, bool rest, struct jval *ret)
{
	double m = fmod(x, y), q = (x - m) / y;
	if (m != 0) {
		if ((y < 0) != (m < 0)) {
			m += y;
			q -= 1;
		}
	} else {
		m = copysign(0, y);
	}
	if (q != 0) {
		double down = floor(q);
		q = q - down > 0.5 ? down + 1 : down;
	} else {
		q = copysign(0, x / y);
	}
	*ret = jv_float(rest ? m : q);
	return true;
}

static bool int_power(struct jrun *r, const struct jval *a, const struct jval *b, struct jval *ret)
{
	if (jbig_sign(b) >= 0)
		return jbig_binary(r, T_POW, a, b, ret);
	if (jbig_sign(a) == 0)
		return jr_fail(r, "0.0 cannot be raised to a negative power");
	*ret = jv_float(pow(jbig_double(a), jbig_double(b)));
	return true;
}

static bool float_power(struct jrun *r, double x, double y, struct jval *ret)
{
	if (x == 0 && y < 0)
		return jr_fail(r, "0.0 cannot be raised to a negative power");
	if (x < 0 && isfinite(x) && isfinite(y) && y != floor(y))
		return jr_fail(r, "a fractional power of a negative number is not supported");
	double z = pow(x, y);
	if (isinf(z) && isfinite(x) && isfinite(y))
		return jr_fail(r, "numerical result out of range");
	*ret = jv_float(z);
	return true;
}

static bool number_binary(struct jrun *r, enum jtok op, const struct jval *a, const struct jval *b, struct jval *ret)
{
	bool whole = is_whole(a) && is_whole(b);
	bool divides = op == T_DIV || op == T_FLOORDIV || op == T_MOD;
	if (divides && to_double(b) == 0)
		return jr_fail(r, "%s by zero", op == T_MOD ? "modulo" : "division");
	if (op == T_POW)
		return whole ? int_power(r, a, b, ret) : float_power(r, to_double(a), to_double(b), ret);
	if (whole && op != T_DIV)
		return a->kind != J_BIG && b->kind != J_BIG ? int_binary(r, op, a, b, ret) : jbig_binary(r, op, a, b, ret);
	double x = to_double(a), y = to_double(b);
	if ((a->kind == J_BIG || b->kind == J_BIG) && (isinf(x) || isinf(y)))
		return jr_fail(r, "int too large to convert to float");
	switch (op) {
	case T_ADD: *ret = jv_float(x + y); return true;
	case T_SUB: *ret = jv_float(x - y); return true;
	case T_MUL: *ret = jv_float(x * y); return true;
	case T_DIV: *ret = jv_float(x / y); return true;
	default: return float_floor(x, y, op == T_MOD, ret);
	}
}

/* ---- sequences ---- */

static bool repeat_str(struct jrun *r, const struct jval *v, size_t times, struct jval *ret)
{
	size_t n;
	if (!size_mul(v->s->n, times, &n))
		return jr_limit(r, "a string is too long");
	char *p = jr_alloc(r, n);
	if (!p || !jr_charge(r, n))
		return false;
	if (v->s->n == 1)
		memset(p, v->s->p[0], n);
	for (size_t i = 0; v->s->n > 1 && i < times; i++)
		memcpy(p + i * v->s->n, v->s->p, v->s->n);
	uint8_t kind = v->kind, safe = v->safe;
	if (!jv_str_ref(r, p, n, ret))
		return false;
	ret->kind = kind;
	ret->safe = safe;
	return true;
}

bool jo_repeat(struct jrun *r, const struct jval *v, int64_t times, struct jval *ret)
{
	size_t n = times > 0 ? (size_t)times : 0, total;
	if (v->kind == J_STR || v->kind == J_BYTES)
		return repeat_str(r, v, v->s->n ? n : 0, ret);
	const struct jlist *l = v->list;
	if (!size_mul(l->n, n, &total))
		return jr_limit(r, "a list is too long");
	if (!jv_list(r, v->kind, total, ret))
		return false;
	for (size_t i = 0; l->n && i < n; i++) {
		if (!jr_charge(r, l->n * sizeof *l->v))
			return false;
		memcpy(ret->list->v + i * l->n, l->v, l->n * sizeof *l->v);
	}
	ret->list->n = total;
	return true;
}

static bool add_lists(struct jrun *r, const struct jval *a, const struct jval *b, struct jval *ret)
{
	size_t n = a->list->n + b->list->n;
	struct jval v;
	if (!jv_list(r, a->kind, n, &v) || !jr_charge(r, n * sizeof v))
		return false;
	if (a->list->n)
		memcpy(v.list->v, a->list->v, a->list->n * sizeof v);
	if (b->list->n)
		memcpy(v.list->v + a->list->n, b->list->v, b->list->n * sizeof v);
	v.list->n = n;
	*ret = v;
	return true;
}

/* A marked string makes the other one escaped and the result marked. */
static bool add_strings(struct jrun *r, const struct jval *a, const struct jval *b, struct jval *ret)
{
	struct jval x = *a, y = *b;
	bool safe = a->safe || b->safe;
	if (safe && ((!x.safe && !jp_escape(r, a, &x)) || (!y.safe && !jp_escape(r, b, &y))))
		return false;
	if (!jv_concat(r, x.s, y.s, ret))
		return false;
	ret->safe = safe;
	return true;
}

static bool is_sequence(const struct jval *v)
{
	return v->kind == J_STR || v->kind == J_LIST || v->kind == J_TUPLE || v->kind == J_BYTES;
}

bool jo_binary(struct jrun *r, enum jtok op, const struct jval *a, const struct jval *b, struct jval *ret)
{
	if (op == T_MOD && a->kind == J_STR)
		return jf_percent(r, a, b, ret);
	if (is_num(a) && is_num(b))
		return number_binary(r, op, a, b, ret);
	if (op == T_ADD && a->kind == J_STR && b->kind == J_STR)
		return add_strings(r, a, b, ret);
	if (op == T_ADD && (a->kind == J_LIST || a->kind == J_TUPLE) && a->kind == b->kind)
		return add_lists(r, a, b, ret);
	if (op == T_MUL && is_sequence(a) && jv_is_int(b))
		return jo_repeat(r, a, jv_as_int(b), ret);
	if (op == T_MUL && jv_is_int(a) && is_sequence(b))
		return jo_repeat(r, b, jv_as_int(a), ret);
	return jr_fail_op(r, op_text(op), a, b);
}

bool jo_negate(struct jrun *r, const struct jval *a, bool minus, struct jval *ret)
{
	if (a->kind == J_FLOAT) {
		*ret = jv_float(minus ? -a->f : a->f);
		return true;
	}
	if (is_whole(a)) {
		if (minus)
			return jbig_negate(r, a, ret);
		*ret = a->kind == J_BOOL ? jv_int(a->b) : *a;
		return true;
	}
	if (a->kind == J_UNDEF)
		return jr_fail_undef(r, a);
	return jr_fail(r, "bad operand type for unary %c: '%s'", minus ? '-' : '+', jv_type(a));
}

/* ---- comparing ---- */

static bool contains_item(struct jrun *r, const struct jval *box, const struct jval *item, bool *ret)
{
	struct jiter it;
	struct jval v;
	int got;
	*ret = false;
	if (!ji_open(r, box, &it))
		return false;
	while (!*ret && (got = ji_next(r, &it, &v))) {
		if (got < 0)
			return false;
		if (v.kind == J_STR && !jr_charge(r, v.s->n))
			return false;
		if (jv_is(&v, item))
			*ret = true;
		else if (!jv_eq(r, &v, item, ret))
			return false;
	}
	return true;
}

static bool contains(struct jrun *r, const struct jval *box, const struct jval *item, bool *ret)
{
	struct jval *found;
	switch (box->kind) {
	case J_STR:
		if (item->kind != J_STR)
			return jr_fail(r, "'in <string>' requires string as left operand, not %s", jv_type(item));
		*ret = item->s->n == 0 || memmem(box->s->p, box->s->n, item->s->p, item->s->n) != NULL;
		return jr_charge(r, box->s->n * 2) && jr_charge(r, item->s->n < box->s->n ? item->s->n * 8 : 0);
	case J_DICT:
		if (!jv_dict_find(r, box->dict, item, &found))
			return false;
		*ret = found != NULL;
		return true;
	default:
		if (!ji_can(box))
			return jr_fail(r, "argument of type '%s' is not iterable", jv_type(box));
		return contains_item(r, box, item, ret);
	}
}

bool jo_compare(struct jrun *r, enum jcmp_op op, const struct jval *a, const struct jval *b, bool *ret)
{
	static const char *const texts[] = {[JCMP_LT] = "<", [JCMP_LE] = "<=", [JCMP_GT] = ">", [JCMP_GE] = ">="};
	int c;
	switch (op) {
	case JCMP_EQ:
	case JCMP_NE:
		if (!jv_eq(r, a, b, ret))
			return false;
		*ret ^= op == JCMP_NE;
		return true;
	case JCMP_IN:
	case JCMP_NOTIN:
		if (!contains(r, b, a, ret))
			return false;
		*ret ^= op == JCMP_NOTIN;
		return true;
	default: break;
	}
	if (!jv_cmp(r, a, b, texts[op], &c))
		return false;
	*ret = c != 2 && (op == JCMP_LT ? c < 0 : op == JCMP_LE ? c <= 0 : op == JCMP_GT ? c > 0 : c >= 0);
	return true;
}

/* ---- subscripts ---- */

/* Byte offset of code point i of s (i at most the length). */
static size_t cp_offset(struct jstr *s, size_t i)
{
	if (jv_str_len(s) == s->n)
		return i;
	size_t at = 0;
	for (uint32_t cp; i && at < s->n; i--)
		at += utf8_next(s->p + at, s->n - at, &cp);
	return at;
}

static bool index_str(struct jrun *r, const struct jval *v, int64_t i, struct jval *ret)
{
	uint32_t cp;
	if (v->s->n_cp == SIZE_MAX && !jr_charge(r, v->s->n * 2))
		return false;
	int64_t n = (int64_t)jv_str_len(v->s);
	if (i < 0)
		i += n;
	if (i < 0 || i >= n) {
		ret->kind = J_MISSING;
		return true;
	}
	size_t at = cp_offset(v->s, (size_t)i);
	if (!jr_charge(r, at * 4) || !jv_str_part(r, v->s, at, utf8_next(v->s->p + at, v->s->n - at, &cp), ret))
		return false;
	ret->safe = v->safe;
	return true;
}

/* v[i] with Python's types alone; J_MISSING where Python raises a LookupError or a TypeError. */
static bool plain_item(struct jrun *r, const struct jval *v, const struct jval *key, struct jval *ret)
{
	struct jval *found;
	ret->kind = J_MISSING;
	if (v->kind == J_DICT) {
		if (key->kind == J_LIST || key->kind == J_DICT || key->kind == J_VIEW)
			return true;
		if (!jv_dict_find(r, v->dict, key, &found))
			return false;
		if (found)
			*ret = *found;
		return true;
	}
	if (!jv_is_int(key))
		return true;
	int64_t i = jv_as_int(key);
	switch (v->kind) {
	case J_STR: return index_str(r, v, i, ret);
	case J_LIST:
	case J_TUPLE:
		i += i < 0 ? (int64_t)v->list->n : 0;
		if (i >= 0 && i < (int64_t)v->list->n)
			*ret = v->list->v[i];
		return true;
	case J_RANGE:
		i += i < 0 ? v->range->n : 0;
		if (i >= 0 && i < v->range->n)
			*ret = jv_int(v->range->start + i * v->range->step);
		return true;
	default: return true;
	}
}

static bool macro_attr(struct jrun *r, const struct jmacro *m, const struct jstr *name, struct jval *ret)
{
	const struct jnode *n = m->node;
	if (jv_str_eqz(name, "name")) {
		*ret = m->name ? (struct jval){.kind = J_STR, .s = m->name} : jv_none();
	} else if (jv_str_eqz(name, "arguments")) {
		if (!jv_list(r, J_TUPLE, n->n_list, ret))
			return false;
		for (size_t i = 0; i < n->n_list; i++)
			ret->list->v[ret->list->n++] = (struct jval){.kind = J_STR, .s = n->list[i]->name};
	} else if (jv_str_eqz(name, "caller")) {
		*ret = jv_bool(n->flags & JF_CALLER);
	} else if (jv_str_eqz(name, "catch_kwargs")) {
		*ret = jv_bool(n->flags & JF_KWARGS);
	} else if (jv_str_eqz(name, "catch_varargs")) {
		*ret = jv_bool(n->flags & JF_VARARGS);
	}
	return true;
}

static bool self_attr(struct jrun *r, const struct jstr *name, struct jval *ret)
{
	union map_val *slot = map_get(&r->t->blocks, name->p, name->n);
	if (!slot)
		return true;
	struct jmacro *m = jr_alloc(r, sizeof *m);
	if (!m)
		return false;
	*m = (struct jmacro){.node = slot->p, .scope = r->root};
	*ret = (struct jval){.kind = J_MACRO, .macro = m};
	return true;
}

bool jo_attr_only(struct jrun *r, const struct jval *v, struct jstr *name, struct jval *ret)
{
	struct jval *found;
	*ret = (struct jval){.kind = J_MISSING};
	switch (v->kind) {
	case J_UNDEF: return jr_fail_undef(r, v);
	case J_NS:
		found = jv_dict_gets(v->dict, name->p, name->n);
		if (found)
			*ret = *found;
		return true;
	case J_LOOP:
		if (!jx_loop_attr(r, v->loop, name, ret) || ret->kind != J_MISSING)
			return !r->failed;
		break;
	case J_MACRO: return macro_attr(r, v->macro, name, ret);
	case J_SELF: return self_attr(r, name, ret);
	case J_CYCLER:
		if (jv_str_eqz(name, "current")) {
			*ret = v->cycler->items->v[v->cycler->pos];
			return true;
		}
		break;
	case J_TUPLE:
		if (v->list->group && (jv_str_eqz(name, "grouper") || jv_str_eqz(name, "list"))) {
			*ret = v->list->v[name->p[0] == 'l'];
			return true;
		}
		break;
	default: break;
	}
	const struct jbuiltin *fn = jinja_find_method(v, name);
	return !fn || jr_func(r, fn, *v, ret);
}

bool jo_getattr(struct jrun *r, const struct jval *v, struct jstr *name, struct jval *ret)
{
	const struct jval of = *v; /* ret may be v */
	struct jval *found;
	if (!jo_attr_only(r, &of, name, ret) || ret->kind != J_MISSING)
		return !r->failed;
	if (of.kind == J_DICT && (found = jv_dict_gets(of.dict, name->p, name->n)))
		*ret = *found;
	else
		*ret = jv_undef(name, of.kind);
	return true;
}

bool jo_getitem(struct jrun *r, const struct jval *v, const struct jval *key, struct jval *ret)
{
	const struct jval of = *v; /* ret may be v */
	if (of.kind == J_UNDEF)
		return jr_fail_undef(r, &of);
	if (!plain_item(r, &of, key, ret))
		return false;
	if (ret->kind != J_MISSING)
		return true;
	if (key->kind == J_STR && (!jo_attr_only(r, &of, key->s, ret) || ret->kind != J_MISSING))
		return !r->failed;
	*ret = jv_undef(key->kind == J_STR ? key->s : NULL, of.kind);
	return true;
}

/* Python's slice.indices: at[] becomes start, stop and step for a sequence of n; *ret_n is the number of items. */
static bool slice_bounds(struct jrun *r, const struct jval part[3], int64_t n, int64_t at[3], size_t *ret_n)
{
	for (int i = 2; i >= 0; i--) {
		const struct jval *p = &part[i];
		bool given = p->kind != J_MISSING && p->kind != J_NONE;
		if (given && p->kind != J_BIG && !jv_is_int(p))
			return jr_fail(r, "slice indices must be integers or None, not %s", jv_type(p));
		int64_t v = !given ? 1 : p->kind == J_BIG ? jbig_sign(p) * INT64_MAX : jv_as_int(p);
		if (i == 2) {
			if (v == 0)
				return jr_fail(r, "slice step cannot be zero");
			at[2] = v < -INT64_MAX ? -INT64_MAX : v;
			continue;
		}
		int64_t low = at[2] < 0 ? -1 : 0, high = at[2] < 0 ? n - 1 : n;
		if (!given)
			v = (i == 0) == (at[2] > 0) ? low : high;
		else if (v < 0)
			v = v + n < low ? low : v + n;
		else if (v > high)
			v = high;
		at[i] = v;
	}
	int64_t span = at[2] > 0 ? at[1] - at[0] : at[0] - at[1];
	int64_t by = at[2] > 0 ? at[2] : -at[2];
	*ret_n = span > 0 ? (size_t)((span - 1) / by + 1) : 0;
	return true;
}

static bool slice_str(struct jrun *r, const struct jval *v, int64_t start, int64_t step, size_t n, struct jval *ret)
{
	struct jb b;
	if (!jr_charge(r, v->s->n * 4))
		return false;
	if (step == 1 || n <= 1) {
		size_t from = n ? cp_offset(v->s, (size_t)start) : 0, to = n ? cp_offset(v->s, (size_t)start + n) : 0;
		return jv_str_part(r, v->s, from, to - from, ret);
	}
	jb_init(&b, r);
	if (jv_str_len(v->s) == v->s->n) {
		for (size_t i = 0; i < n; i++)
			if (!jb_addc(&b, v->s->p[start + (int64_t)i * step]))
				return false;
		return jb_take(&b, ret);
	}
	size_t n_cp = jv_str_len(v->s), at = 0;
	size_t *offsets = jr_alloc_n(r, n_cp + 1, sizeof *offsets);
	if (!offsets)
		return false;
	for (size_t i = 0; i < n_cp; i++) {
		uint32_t cp;
		offsets[i] = at;
		at += utf8_next(v->s->p + at, v->s->n - at, &cp);
	}
	offsets[n_cp] = at;
	for (size_t i = 0; i < n; i++) {
		size_t k = (size_t)(start + (int64_t)i * step);
		if (!jb_add(&b, v->s->p + offsets[k], offsets[k + 1] - offsets[k]))
			return false;
	}
	return jb_take(&b, ret);
}

static bool slice_range(struct jrun *r, const struct jrange *g, const int64_t at[3], size_t n, struct jval *ret)
{
	struct jrange *out = jr_alloc(r, sizeof *out);
	int64_t shift;
	if (!out)
		return false;
	*out = (struct jrange){.n = (int64_t)n};
	if (__builtin_mul_overflow(g->step, at[2], &out->step) || __builtin_mul_overflow(g->step, at[0], &shift) ||
	    __builtin_add_overflow(g->start, shift, &out->start) || __builtin_mul_overflow(g->step, at[1], &shift) ||
	    __builtin_add_overflow(g->start, shift, &out->stop))
		return jr_limit(r, "a range is too large");
	*ret = (struct jval){.kind = J_RANGE, .range = out};
	return true;
}

bool jo_slice(struct jrun *r, const struct jval *v, const struct jval part[3], struct jval *ret)
{
	int64_t at[3] = {0, 0, 1};
	size_t n = 0, len;
	if (v->kind == J_UNDEF)
		return jr_fail_undef(r, v);
	if (v->kind != J_STR && v->kind != J_LIST && v->kind != J_TUPLE && v->kind != J_RANGE)
		return jr_fail(r, "'%s' object cannot be sliced", jv_type(v));
	if (!jv_len(r, v, &len) || !slice_bounds(r, part, (int64_t)len, at, &n))
		return false;
	if (v->kind == J_STR) {
		uint8_t safe = v->safe;
		bool ok = slice_str(r, v, at[0], at[2], n, ret);
		ret->safe = safe;
		return ok;
	}
	if (v->kind == J_RANGE)
		return slice_range(r, v->range, at, n, ret);
	struct jval l;
	if (!jv_list(r, v->kind, n, &l) || !jr_charge(r, n * sizeof l))
		return false;
	for (size_t i = 0; i < n; i++)
		l.list->v[i] = v->list->v[at[0] + (int64_t)i * at[2]];
	l.list->n = n;
	*ret = l;
	return true;
}
