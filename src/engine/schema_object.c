/* Objects: the listed properties in their order, then others by what their names match. */
#include "engine/schema_int.h"

#include <string.h>

#include "engine/schema_regex.h"

enum { PATTERN_MAX = 5 }; /* each set of patterns that a name may match has its own schema */

struct property {
	const char *name;
	json_t *schema; /* NULL: any value */
	bool required;
};

/* Names that are not listed, of one kind. */
struct other {
	uint32_t dfa;   /* of the name; unused when any */
	bool any;
	json_t *schema; /* NULL: any value */
};

struct object {
	struct schema *s;
	json_t *flat, *patterns, *more; /* more: schema of what is not listed; NULL when nothing is said */
	bool closed;                    /* names that match no pattern must be listed */
	VEC(struct property) props;
	VEC(struct other) others;
	uint32_t n_required;
};

/* ---- what there is ---- */

/* The schema of a name: its own, those of the patterns that it matches, or of what is not listed. */
static json_t *schema_for(struct object *o, const char *name, json_t *own)
{
	struct str quoted = {0};
	const char *pattern;
	json_t *v;
	bool matched = own != NULL;
	schema_quote(name, strlen(name), &quoted);
	json_object_foreach(o->patterns, pattern, v) {
		int64_t dfa = schema_regex(o->s, "patternProperties", pattern);
		if (dfa < 0 || !dfa_matches(&o->s->g->dfas.data[dfa], quoted.data + 1, quoted.len - 2))
			continue;
		matched = true;
		own = schema_both(o->s, own, v);
	}
	str_release(&quoted);
	return matched ? own : o->more;
}

static void list_properties(struct object *o)
{
	json_t *props = json_object_get(o->flat, "properties"), *v;
	struct map names = {0};
	const char *name;
	size_t i;
	json_object_foreach(props, name, v) {
		vec_push(&o->props, ((struct property){name, schema_for(o, name, v), false}));
		map_put_ref(&names, name, strlen(name))->i = (int64_t)o->props.n - 1;
	}
	json_array_foreach(json_object_get(o->flat, "required"), i, v) {
		name = json_string_value(v);
		if (!map_get(&names, name, strlen(name))) {
			vec_push(&o->props, ((struct property){name, schema_for(o, name, NULL), false}));
			map_put_ref(&names, name, strlen(name))->i = (int64_t)o->props.n - 1;
		}
		struct property *p = &o->props.data[map_get(&names, name, strlen(name))->i];
		o->n_required += !p->required;
		p->required = true;
	}
	map_release(&names);
}

/* Names that are written with none but the usual escapes, less those listed: so no listed name comes a second time. */
static int free_names(struct object *o, struct dfa *ret)
{
	struct schema *s = o->s;
	struct str quoted = {0};
	struct dfa all, listed;
	struct nfa a;
	nfa_init(&a);
	uint32_t start = nfa_range(&a, 1, 0, 0);
	for (size_t i = 0; i < o->props.n; i++) {
		str_clear(&quoted);
		schema_quote(o->props.data[i].name, strlen(o->props.data[i].name), &quoted);
		start = nfa_split(&a, nfa_bytes(&a, quoted.data + 1, quoted.len - 2, 0), start);
	}
	str_release(&quoted);
	int rc = nfa_to_dfa(&a, start, &s->g->budget, &listed, s->err);
	nfa_release(&a);
	if (rc)
		return rc;
	rc = regex_length_dfa(0, GRAMMAR_INF, &s->g->budget, &all, s->err);
	if (!rc) {
		rc = dfa_product(&all, &listed, true, &s->g->budget, ret, s->err);
		dfa_release(&all);
	}
	dfa_release(&listed);
	return rc;
}

static int narrow(struct object *o, struct dfa *d, const struct dfa *by, bool minus)
{
	struct dfa both;
	int rc = dfa_product(d, by, minus, &o->s->g->budget, &both, o->s->err);
	dfa_release(d);
	*d = both;
	return rc;
}

/* propertyNames narrows the free names. */
static int narrow_names(struct object *o, struct dfa *d)
{
	json_t *names = json_object_get(o->flat, "propertyNames"), *flat;
	struct dfa by;
	bool any;
	if (!names)
		return 0;
	if (!(flat = schema_flatten(o->s, names)))
		return o->s->rc;
	if (json_object_get(flat, FLAT_ANY)) {
		schema_fail(o->s, "propertyNames", "alternatives (anyOf, oneOf) are not supported here");
		return o->s->rc;
	}
	int rc = schema_string_dfa(o->s, flat, &by, &any);
	if (rc || any)
		return rc;
	rc = narrow(o, d, &by, false);
	dfa_release(&by);
	return rc;
}

/* The names that match exactly the patterns of the bit set, and their schema. Owns d. */
static int add_other(struct object *o, struct dfa *d, unsigned set)
{
	const char *pattern;
	json_t *v, *schema = NULL;
	unsigned i = 0;
	int rc = 0;
	json_object_foreach(o->patterns, pattern, v) {
		bool in = set >> i++ & 1;
		int64_t dfa = schema_regex(o->s, "patternProperties", pattern);
		if (dfa < 0 || rc || (rc = narrow(o, d, &o->s->g->dfas.data[dfa], !in)))
			continue;
		schema = in ? schema_both(o->s, schema, v) : schema;
	}
	if (rc || o->s->rc || !d->n_state) {
		dfa_release(d);
		return rc ? rc : o->s->rc;
	}
	struct other other = {.schema = set ? schema : o->more};
	rc = gb_add_dfa(o->s->g, d, &other.dfa, o->s->err);
	vec_push(&o->others, other);
	return rc;
}

static void copy_dfa(const struct dfa *d, struct dfa *ret)
{
	size_t n = (size_t)d->n_state;
	*ret = *d;
	ret->next = mem_alloc(n * (size_t)d->n_cls * sizeof *d->next);
	ret->flags = mem_alloc(n);
	if (n) {
		memcpy(ret->next, d->next, n * (size_t)d->n_cls * sizeof *d->next);
		memcpy(ret->flags, d->flags, n);
	}
}

static int list_others(struct object *o)
{
	struct schema *s = o->s;
	size_t n = json_object_size(o->patterns);
	struct dfa free, copy;
	if (n > PATTERN_MAX) {
		schema_fail(s, "patternProperties", "more than %d patterns are not supported", PATTERN_MAX);
		return s->rc;
	}
	if (o->closed && !n)
		return 0;
	if (!n && !o->props.n && !json_object_get(o->flat, "propertyNames")) {
		vec_push(&o->others, ((struct other){.any = true, .schema = o->more}));
		return 0;
	}
	int rc = free_names(o, &free);
	if (rc)
		return rc;
	rc = narrow_names(o, &free);
	for (unsigned set = o->closed; set < 1u << n && !rc; set++) {
		copy_dfa(&free, &copy);
		rc = add_other(o, &copy, set);
	}
	dfa_release(&free);
	return rc;
}

/* ---- nodes ---- */

static uint32_t value_of(struct object *o, const char *keyword, const char *name, json_t *schema, uint32_t next)
{
	if (!schema)
		return schema_any_value(o->s, next);
	size_t len = schema_push(o->s, keyword, name);
	uint32_t r = schema_compile(o->s, schema, next);
	schema_pop(o->s, len);
	return r;
}

static uint32_t listed_member(struct object *o, const struct property *p, uint32_t next)
{
	struct str quoted = {0};
	schema_quote(p->name, strlen(p->name), &quoted);
	str_addc(&quoted, ':');
	uint32_t value = schema_space(o->s, value_of(o, "properties", p->name, p->schema, next));
	uint32_t r = gb_bytes(o->s->g, quoted.data, quoted.len, value);
	str_release(&quoted);
	return r;
}

static uint32_t other_member(struct object *o, uint32_t next)
{
	struct grammar *g = o->s->g;
	uint32_t r = GB_FAIL;
	for (size_t i = 0; i < o->others.n; i++) {
		const struct other *x = &o->others.data[i];
		uint32_t tail = gb_lit(g, "\":", schema_space(o->s, value_of(o, "additionalProperties", NULL, x->schema, next)));
		tail = x->any ? gb_count(g, GB_DFA_CHAR, 0, GRAMMAR_INF, tail) : gb_dfa(g, x->dfa, tail);
		r = gb_split(g, r, gb_lit(g, "\"", tail));
	}
	return r;
}

/* Only names that are not listed, max of them at most. */
static uint32_t bounded_map(struct object *o, uint32_t min, uint32_t max, uint32_t next)
{
	struct schema *s = o->s;
	struct grammar *g = s->g;
	uint32_t rule = gb_rule(g), empty = min ? GB_FAIL : gb_lit(g, "}", next), end = schema_space(s, gb_lit(g, "}", next));
	uint32_t member = other_member(o, GB_RET);
	if (rule)
		g->rules.data[rule] = member;
	uint32_t rest = gb_rep(g, gb_lit(g, ",", schema_space(s, gb_call(g, rule, GB_RET))), 0, max ? max - 1 : 0, end);
	uint32_t first = max ? gb_call(g, rule, rest) : GB_FAIL;
	return gb_lit(g, "{", schema_space(s, gb_split(g, first, empty)));
}

/* `rest` is after members, all properties before i decided; `first` the same where a member must come now. */
static uint32_t all_members(struct object *o, bool may_be_empty, uint32_t next)
{
	struct schema *s = o->s;
	struct grammar *g = s->g;
	uint32_t end = schema_space(s, gb_lit(g, "}", next)), rest = end, first = GB_FAIL;
	bool may_end = true;
	if (o->others.n) {
		rest = gb_loop(g, end);
		first = other_member(o, rest);
		gb_close(g, rest, gb_lit(g, ",", schema_space(s, first)));
	}
	for (size_t i = o->props.n; i-- > 0 && !s->rc;) {
		const struct property *p = &o->props.data[i];
		uint32_t here = listed_member(o, p, rest);
		may_end &= !p->required;
		first = p->required ? here : gb_split(g, here, first);
		rest = gb_split(g, gb_lit(g, ",", schema_space(s, first)), may_end ? end : GB_FAIL);
	}
	return gb_lit(g, "{", schema_space(s, gb_split(g, first, may_end && may_be_empty ? gb_lit(g, "}", next) : GB_FAIL)));
}

/* minProperties and maxProperties, where they can be had without counting. False: nothing fits, or an error. */
static bool apply_counts(struct object *o, uint32_t min, uint32_t max)
{
	uint32_t n = (uint32_t)o->props.n;
	bool only_listed = !o->others.n;
	if (min > max || max < o->n_required || (only_listed && min > n))
		return false;
	if (min > o->n_required && min > 1) {
		if (!only_listed || min < n)
			return schema_fail(o->s, "minProperties", "is supported up to 1, up to the number of required properties, and as "
				"the number of all"), false;
		for (uint32_t i = 0; i < n; i++)
			o->props.data[i].required = true;
	}
	if (max == GRAMMAR_INF || (only_listed && max >= n) || !n)
		return true;
	if (max > o->n_required)
		return schema_fail(o->s, "maxProperties", "is not supported beside optional properties"), false;
	size_t to = 0;
	for (size_t i = 0; i < o->props.n; i++)
		if (o->props.data[i].required)
			o->props.data[to++] = o->props.data[i];
	o->props.n = to;
	o->others.n = 0;
	return true;
}

uint32_t schema_object(struct schema *s, json_t *flat, uint32_t next)
{
	struct object o = {.s = s, .flat = flat, .patterns = json_object_get(flat, "patternProperties")};
	json_t *unevaluated = json_object_get(flat, "unevaluatedProperties");
	uint32_t min = schema_count(s, flat, "minProperties", 0), max = schema_count(s, flat, "maxProperties", GRAMMAR_INF), r = GB_FAIL;
	o.more = json_object_get(flat, "additionalProperties");
	if (!o.more)
		o.more = unevaluated;
	/* Nothing is added to listed properties unless the schema asks for it: models would add at will. */
	o.closed = o.more ? json_is_false(o.more) : json_object_size(o.patterns) || json_object_size(json_object_get(flat, "properties"));
	list_properties(&o);
	if (!s->rc && list_others(&o))
		schema_fail_err(s, NULL);
	if (!s->rc && apply_counts(&o, min, max))
		r = !o.props.n && max != GRAMMAR_INF ? bounded_map(&o, min, max, next) : all_members(&o, min == 0, next);
	vec_release(&o.props);
	vec_release(&o.others);
	return s->rc ? GB_FAIL : r;
}
