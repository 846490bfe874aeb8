/* The tests after `is`. */
#include <string.h>

#include "base/bug.h"
#include "chat/jinja_run.h"

static bool answer(struct jval *ret, bool b)
{
	*ret = jv_bool(b);
	return true;
}

static bool t_callable(struct jrun *r, struct jargs *a, struct jval *ret)
{
	(void)r;
	uint8_t k = a->v[0].kind;
	/* an undefined value has a __call__ that fails, so Python finds it callable */
	return answer(ret, k == J_FUNC || k == J_MACRO || k == J_LOOP || k == J_JOINER || k == J_UNDEF);
}

/* Tests of the kind alone: one bit a kind. */
#define BIT(k) (1u << (k))
enum {
	NUMBERS = BIT(J_INT) | BIT(J_BIG) | BIT(J_FLOAT) | BIT(J_BOOL),
	SEQUENCES = BIT(J_UNDEF) | BIT(J_STR) | BIT(J_BYTES) | BIT(J_LIST) | BIT(J_TUPLE) | BIT(J_DICT) | BIT(J_RANGE)
};
static const struct {
	const char *name;
	unsigned kinds;
} by_kind[] = {
	{"undefined", BIT(J_UNDEF)},          {"none", BIT(J_NONE)},   {"boolean", BIT(J_BOOL)},
	{"integer", BIT(J_INT) | BIT(J_BIG)}, {"float", BIT(J_FLOAT)}, {"string", BIT(J_STR)},
	{"mapping", BIT(J_DICT)},             {"number", NUMBERS},     {"sequence", SEQUENCES},
};

static bool t_kind(struct jrun *r, struct jargs *a, struct jval *ret)
{
	(void)r;
	for (size_t i = 0; i < ARRAY_LEN(by_kind); i++)
		if (strcmp(a->fn->name, by_kind[i].name) == 0)
			return answer(ret, by_kind[i].kinds >> a->v[0].kind & 1);
	BUG("test %s without kinds", a->fn->name);
}

static bool t_defined(struct jrun *r, struct jargs *a, struct jval *ret)
{
	(void)r;
	return answer(ret, a->v[0].kind != J_UNDEF);
}

static bool t_true(struct jrun *r, struct jargs *a, struct jval *ret)
{
	(void)r;
	return answer(ret, a->v[0].kind == J_BOOL && a->v[0].b);
}

static bool t_false(struct jrun *r, struct jargs *a, struct jval *ret)
{
	(void)r;
	return answer(ret, a->v[0].kind == J_BOOL && !a->v[0].b);
}

static bool t_iterable(struct jrun *r, struct jargs *a, struct jval *ret)
{
	(void)r;
	return answer(ret, ji_can(&a->v[0]) || a->v[0].kind == J_LOOP || a->v[0].kind == J_SELF);
}

static bool t_escaped(struct jrun *r, struct jargs *a, struct jval *ret)
{
	(void)r;
	return answer(ret, a->v[0].kind == J_STR && a->v[0].safe);
}

static bool rest_is(struct jrun *r, const struct jval *v, int64_t divisor, int64_t want, struct jval *ret)
{
	struct jval by = jv_int(divisor), rest, wanted = jv_int(want);
	bool same;
	if (!jo_binary(r, T_MOD, v, &by, &rest) || !jv_eq(r, &rest, &wanted, &same))
		return false;
	return answer(ret, same);
}

static bool t_odd(struct jrun *r, struct jargs *a, struct jval *ret)
{
	return rest_is(r, &a->v[0], 2, 1, ret);
}

static bool t_even(struct jrun *r, struct jargs *a, struct jval *ret)
{
	return rest_is(r, &a->v[0], 2, 0, ret);
}

static bool t_divisibleby(struct jrun *r, struct jargs *a, struct jval *ret)
{
	struct jval rest, zero = jv_int(0);
	bool same;
	if (!jo_binary(r, T_MOD, &a->v[0], &a->v[1], &rest) || !jv_eq(r, &rest, &zero, &same))
		return false;
	return answer(ret, same);
}

static bool compared(struct jrun *r, struct jargs *a, enum jcmp_op op, struct jval *ret)
{
	bool yes;
	return jo_compare(r, op, &a->v[0], &a->v[1], &yes) && answer(ret, yes);
}

static bool t_eq(struct jrun *r, struct jargs *a, struct jval *ret)
{
	return compared(r, a, JCMP_EQ, ret);
}

static bool t_ne(struct jrun *r, struct jargs *a, struct jval *ret)
{
	return compared(r, a, JCMP_NE, ret);
}

static bool t_lt(struct jrun *r, struct jargs *a, struct jval *ret)
{
	return compared(r, a, JCMP_LT, ret);
}

static bool t_le(struct jrun *r, struct jargs *a, struct jval *ret)
{
	return compared(r, a, JCMP_LE, ret);
}

static bool t_gt(struct jrun *r, struct jargs *a, struct jval *ret)
{
	return compared(r, a, JCMP_GT, ret);
}

static bool t_ge(struct jrun *r, struct jargs *a, struct jval *ret)
{
	return compared(r, a, JCMP_GE, ret);
}

static bool t_in(struct jrun *r, struct jargs *a, struct jval *ret)
{
	return compared(r, a, JCMP_IN, ret);
}

static bool t_sameas(struct jrun *r, struct jargs *a, struct jval *ret)
{
	if (a->v[0].kind == J_STR && !jr_charge(r, a->v[0].s->n))
		return false;
	return answer(ret, jv_is(&a->v[0], &a->v[1]));
}

static bool t_lower(struct jrun *r, struct jargs *a, struct jval *ret)
{
	struct jval s;
	return jp_to_str(r, &a->v[0], &s) && jr_charge(r, s.s->n * 16) && answer(ret, jcase_is_lower(s.s));
}

static bool t_upper(struct jrun *r, struct jargs *a, struct jval *ret)
{
	struct jval s;
	return jp_to_str(r, &a->v[0], &s) && jr_charge(r, s.s->n * 16) && answer(ret, jcase_is_upper(s.s));
}

static bool t_filter(struct jrun *r, struct jargs *a, struct jval *ret)
{
	uint64_t hash;
	return jv_hash(r, &a->v[0], &hash) && answer(ret, a->v[0].kind == J_STR && jinja_find_filter(a->v[0].s->p, a->v[0].s->n));
}

static bool t_test(struct jrun *r, struct jargs *a, struct jval *ret)
{
	uint64_t hash;
	return jv_hash(r, &a->v[0], &hash) && answer(ret, a->v[0].kind == J_STR && jinja_find_test(a->v[0].s->p, a->v[0].s->n));
}

static const struct jbuiltin tests[] = {
	{"!=", "other", t_ne},
	{"<", "other", t_lt},
	{"<=", "other", t_le},
	{"==", "other", t_eq},
	{">", "other", t_gt},
	{">=", "other", t_ge},
	{"boolean", "", t_kind},
	{"callable", "", t_callable},
	{"defined", "", t_defined},
	{"divisibleby", "num", t_divisibleby},
	{"eq", "other", t_eq},
	{"equalto", "other", t_eq},
	{"escaped", "", t_escaped},
	{"even", "", t_even},
	{"false", "", t_false},
	{"filter", "", t_filter},
	{"float", "", t_kind},
	{"ge", "other", t_ge},
	{"greaterthan", "other", t_gt},
	{"gt", "other", t_gt},
	{"in", "seq", t_in},
	{"integer", "", t_kind},
	{"iterable", "", t_iterable},
	{"le", "other", t_le},
	{"lessthan", "other", t_lt},
	{"lower", "", t_lower},
	{"lt", "other", t_lt},
	{"mapping", "", t_kind},
	{"ne", "other", t_ne},
	{"none", "", t_kind},
	{"number", "", t_kind},
	{"odd", "", t_odd},
	{"sameas", "other", t_sameas},
	{"sequence", "", t_kind},
	{"string", "", t_kind},
	{"test", "", t_test},
	{"true", "", t_true},
	{"undefined", "", t_kind},
	{"upper", "", t_upper},
};

const struct jbuiltin *jinja_find_test(const char *p, size_t n)
{
	return jinja_table_find(tests, ARRAY_LEN(tests), p, n);
}
