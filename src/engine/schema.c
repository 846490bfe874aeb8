/* JSON schemas as grammars: values of each kind. */
#include "engine/schema_int.h"

#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "engine/schema_num.h"
#include "engine/schema_regex.h"

/* ---- pieces ---- */

void schema_quote(const char *p, size_t n, struct str *out)
{
	static const char shorts[] = "\"\"\\\\\bb\ff\nn\rr\tt";
	str_addc(out, '"');
	for (size_t i = 0; i < n; i++) {
		const char *q = p[i] ? strchr(shorts, p[i]) : NULL;
		if (q && ((size_t)(q - shorts) & 1) == 0) {
			str_addc(out, '\\');
			str_addc(out, q[1]);
		} else if ((unsigned char)p[i] < 0x20) {
			str_printf(out, "\\u%04x", p[i]);
		} else {
			str_addc(out, p[i]);
		}
	}
	str_addc(out, '"');
}

uint32_t schema_space(struct schema *s, uint32_t next)
{
	if (!s->dfa_space) {
		struct nfa a;
		struct err err;
		nfa_init(&a);
		uint32_t blanks = 0;
		for (int i = 0; i < 20; i++)
			blanks = nfa_split(&a, 0, nfa_split(&a, nfa_range(&a, ' ', ' ', blanks), nfa_range(&a, '\t', '\t', blanks)));
		uint32_t start = nfa_split(&a, nfa_range(&a, ' ', ' ', 0), nfa_range(&a, '\n', '\n', blanks));
		if (gb_add_nfa(s->g, &a, nfa_split(&a, 0, start), &s->dfa_space, &err))
			return GB_FAIL;
	}
	return gb_dfa(s->g, s->dfa_space, next);
}

static uint32_t any_string(struct schema *s, uint32_t min, uint32_t max, uint32_t next)
{
	return gb_lit(s->g, "\"", gb_count(s->g, GB_DFA_CHAR, min, max, gb_lit(s->g, "\"", next)));
}

static uint32_t number(struct schema *s, const struct num_range *r, uint32_t next)
{
	uint32_t node;
	if (num_compile(s->g, r, next, &node, s->err))
		return schema_fail_err(s, NULL);
	return node;
}

uint32_t schema_any_object(struct schema *s, uint32_t next)
{
	struct grammar *g = s->g;
	uint32_t end = schema_space(s, gb_lit(g, "}", next)), loop = gb_loop(g, end);
	uint32_t member = any_string(s, 0, GRAMMAR_INF, gb_lit(g, ":", schema_space(s, schema_any_value(s, loop))));
	gb_close(g, loop, gb_lit(g, ",", schema_space(s, member)));
	return gb_lit(g, "{", schema_space(s, gb_split(g, member, gb_lit(g, "}", next))));
}

static uint32_t any_array(struct schema *s, uint32_t next)
{
	struct grammar *g = s->g;
	uint32_t end = schema_space(s, gb_lit(g, "]", next)), loop = gb_loop(g, end);
	uint32_t item = schema_any_value(s, loop);
	gb_close(g, loop, gb_lit(g, ",", schema_space(s, item)));
	return gb_lit(g, "[", schema_space(s, gb_split(g, item, gb_lit(g, "]", next))));
}

uint32_t schema_any_value(struct schema *s, uint32_t next)
{
	struct grammar *g = s->g;
	if (!s->value_made) {
		struct num_range all = {0};
		s->value_made = true;
		uint32_t v = gb_split(g, schema_any_object(s, GB_RET), any_array(s, GB_RET));
		v = gb_split(g, v, any_string(s, 0, GRAMMAR_INF, GB_RET));
		v = gb_split(g, v, number(s, &all, GB_RET));
		v = gb_split(g, v, gb_lit(g, "true", GB_RET));
		v = gb_split(g, v, gb_lit(g, "false", GB_RET));
		v = gb_split(g, v, gb_lit(g, "null", GB_RET));
		g->rules.data[s->rule_value] = v;
	}
	return gb_call(g, s->rule_value, next);
}

uint32_t schema_count(struct schema *s, json_t *flat, const char *keyword, uint32_t fallback)
{
	const json_t *v = json_object_get(flat, keyword);
	double d = json_is_number(v) ? json_number_value(v) : 0;
	if (!v)
		return fallback;
	if (!json_is_number(v) || d < 0 || d != (double)(int64_t)(d < 1e15 ? d : 1e15)) {
		schema_fail(s, keyword, "must be a whole number, 0 or larger");
		return 0;
	}
	/* A text that long is never written. */
	return d < GRAMMAR_INF - 1 ? (uint32_t)d : GRAMMAR_INF - 1;
}

/* ---- enum ---- */

static int side_grammar(struct schema *s, const json_t *schema, struct grammar **ret);

static uint32_t constant(struct schema *s, const json_t *v, uint32_t next, int depth);

static uint32_t constant_array(struct schema *s, const json_t *v, uint32_t next, int depth)
{
	struct grammar *g = s->g;
	size_t n = json_array_size(v);
	uint32_t r = schema_space(s, gb_lit(g, "]", next));
	for (size_t i = n; i-- > 0;) {
		r = constant(s, json_array_get(v, i), r, depth + 1);
		if (i)
			r = gb_lit(g, ",", schema_space(s, r));
	}
	return gb_lit(g, "[", n ? schema_space(s, r) : r);
}

static uint32_t constant_object(struct schema *s, const json_t *v, uint32_t next, int depth)
{
	struct grammar *g = s->g;
	struct str quoted = {0};
	VEC(const char *) names = {0};
	const char *name;
	json_t *m;
	json_object_foreach((json_t *)v, name, m) {
		vec_push(&names, name);
	}
	uint32_t r = schema_space(s, gb_lit(g, "}", next));
	for (size_t i = names.n; i-- > 0;) {
		r = constant(s, json_object_get(v, names.data[i]), r, depth + 1);
		str_clear(&quoted);
		schema_quote(names.data[i], strlen(names.data[i]), &quoted);
		str_addc(&quoted, ':');
		r = gb_bytes(g, quoted.data, quoted.len, schema_space(s, r));
		if (i)
			r = gb_lit(g, ",", schema_space(s, r));
	}
	r = gb_lit(g, "{", names.n ? schema_space(s, r) : r);
	vec_release(&names);
	str_release(&quoted);
	return r;
}

static void scalar_text(const json_t *v, struct str *out)
{
	struct jsonw w;
	str_clear(out);
	if (json_is_string(v)) {
		schema_quote(json_string_value(v), json_string_length(v), out);
	} else {
		jsonw_init(&w, out, JSONW_PLAIN);
		jsonw_value(&w, v);
	}
}

static uint32_t constant(struct schema *s, const json_t *v, uint32_t next, int depth)
{
	struct str text = {0};
	if (depth > SCHEMA_DEPTH_MAX)
		return schema_fail(s, NULL, "a value nests more than %d deep", SCHEMA_DEPTH_MAX);
	if (json_is_array(v))
		return constant_array(s, v, next, depth);
	if (json_is_object(v))
		return constant_object(s, v, next, depth);
	scalar_text(v, &text);
	uint32_t r = gb_bytes(s->g, str_cstr(&text), text.len, next);
	str_release(&text);
	return r;
}

static const char *type_name(const json_t *v)
{
	switch (json_typeof(v)) {
	case JSON_OBJECT:
		return "object";
	case JSON_ARRAY:
		return "array";
	case JSON_STRING:
		return "string";
	case JSON_INTEGER:
	case JSON_REAL:
		return "number";
	case JSON_NULL:
		return "null";
	case JSON_TRUE:
	case JSON_FALSE:
		break;
	}
	return "boolean";
}

static bool is_whole(const json_t *v)
{
	double d = json_number_value(v);
	return json_is_integer(v) || (d > -1e18 && d < 1e18 && d == (double)(int64_t)d);
}

static bool type_allows(const json_t *types, const json_t *v)
{
	size_t i;
	json_t *t;
	if (!types)
		return true;
	json_array_foreach(types, i, t) {
		const char *z = json_string_value(t);
		if (!strcmp(z, type_name(v)) || (!strcmp(z, "integer") && json_is_number(v) && is_whole(v)))
			return true;
	}
	return false;
}

/* The values of an enum that the keywords beside it allow, as a grammar of these keywords says. */
static json_t *allowed_values(struct schema *s, json_t *flat)
{
	json_t *all = json_object_get(flat, "enum"), *rest = schema_own(s, json_copy(flat)), *v;
	json_t *out = schema_own(s, json_array());
	struct grammar_state *start = NULL, *state = NULL;
	struct grammar *g;
	struct str text = {0};
	size_t i;
	json_object_del(rest, "enum");
	json_object_del(rest, "type");
	if (!json_object_size(rest))
		return all;
	if (json_object_get(flat, "type"))
		json_object_set(rest, "type", json_object_get(flat, "type"));
	if (side_grammar(s, rest, &g))
		return out;
	if (g && (start = grammar_state_new(g)) && (state = grammar_state_new(g))) {
		json_array_foreach(all, i, v) {
			struct jsonw w;
			str_clear(&text);
			jsonw_init(&w, &text, JSONW_PLAIN);
			jsonw_value(&w, v);
			grammar_state_copy(state, start);
			if (grammar_state_accept_bytes(state, text.data, text.len) && grammar_state_can_end(state))
				json_array_append(out, v);
			grammar_spend(&s->g->budget, 100 * (int64_t)text.len);
		}
	}
	grammar_state_free(start);
	grammar_state_free(state);
	grammar_free(g);
	str_release(&text);
	return out;
}

/* Many scalars become one automaton, so that a state stays small. */
static uint32_t compile_enum(struct schema *s, json_t *flat, uint32_t next)
{
	json_t *types = json_object_get(flat, "type"), *v, *values = allowed_values(s, flat);
	uint32_t r = GB_FAIL, all = 0, dfa;
	struct str text = {0};
	struct nfa a;
	size_t i, n = 0;
	nfa_init(&a);
	json_array_foreach(values, i, v) {
		if (!type_allows(types, v))
			continue;
		if (json_is_object(v) || json_is_array(v)) {
			r = gb_split(s->g, r, constant(s, v, next, 0));
			continue;
		}
		scalar_text(v, &text);
		uint32_t one = nfa_bytes(&a, str_cstr(&text), text.len, 0);
		all = n++ ? nfa_split(&a, one, all) : one;
	}
	str_release(&text);
	if (!n) {
		nfa_release(&a);
		return r;
	}
	if (gb_add_nfa(s->g, &a, all, &dfa, s->err))
		return schema_fail_err(s, "enum");
	return gb_split(s->g, r, gb_dfa(s->g, dfa, next));
}

/* ---- strings ---- */

#define YEAR "(?:[1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])"
#define LEAP_YEAR "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)"
#define DAY                                                                                                            \
	YEAR "-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))" \
	"|" LEAP_YEAR "-02-29"
#define CLOCK "(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\\.[0-9]{1,9})?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
#define OCTET "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"

/* RFC 3339 for dates and times, RFC 4122, RFC 2673 for addresses; mail addresses of the plain kind. Other formats are
 * annotations, which JSON schema allows them to be. */
static const struct {
	const char *name, *pattern;
} formats[] = {
	{"date", "^(?:" DAY ")$"},
	{"time", "^(?:" CLOCK ")$"},
	{"date-time", "^(?:" DAY ")T" CLOCK "$"},
	{"uuid", "^[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"},
	{"ipv4", "^(?:" OCTET "\\.){3}" OCTET "$"},
	{"email", "^[A-Za-z0-9_+-]+(?:\\.[A-Za-z0-9_+-]+)*@[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*(?:\\.[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*)+$"},
};

static const char *format_pattern(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(formats); i++)
		if (!strcmp(formats[i].name, name))
			return formats[i].pattern;
	return NULL;
}

int64_t schema_regex(struct schema *s, const char *keyword, const char *pattern)
{
	union map_val *at = map_get(&s->regexes, pattern, strlen(pattern));
	struct dfa d;
	uint32_t dfa;
	if (at)
		return at->i;
	if (s->rc)
		return -1;
	if (regex_to_dfa(pattern, strlen(pattern), &s->g->budget, &d, s->err) || gb_add_dfa(s->g, &d, &dfa, s->err)) {
		schema_fail_err(s, keyword);
		return -1;
	}
	map_put(&s->regexes, pattern, strlen(pattern))->i = dfa;
	return dfa;
}

/* Narrows *d, empty at first, by another automaton of the grammar. */
static int narrow(struct schema *s, struct dfa *d, bool *any, const struct dfa *by)
{
	static const struct dfa none;
	struct dfa both, empty = none;
	if (*any) {
		*any = false;
		/* A copy: the product with itself. */
		return dfa_product(by, by, false, &s->g->budget, d, s->err);
	}
	int rc = dfa_product(d, by, false, &s->g->budget, &both, s->err);
	dfa_release(d);
	*d = rc ? empty : both;
	return rc;
}

static int names_dfa(struct schema *s, const json_t *names, struct dfa *ret)
{
	struct str quoted = {0};
	struct nfa a;
	size_t i;
	json_t *v;
	nfa_init(&a);
	uint32_t all = nfa_range(&a, 1, 0, 0);
	json_array_foreach(names, i, v) {
		if (!json_is_string(v))
			continue;
		str_clear(&quoted);
		schema_quote(json_string_value(v), json_string_length(v), &quoted);
		all = nfa_split(&a, nfa_bytes(&a, quoted.data + 1, quoted.len - 2, 0), all);
	}
	int rc = nfa_to_dfa(&a, all, &s->g->budget, ret, s->err);
	nfa_release(&a);
	str_release(&quoted);
	return rc;
}

static int narrow_by_patterns(struct schema *s, json_t *flat, struct dfa *ret, bool *ret_any)
{
	static const char *const lists[] = {"pattern", "format"};
	for (size_t k = 0; k < ARRAY_LEN(lists); k++) {
		size_t i;
		json_t *v;
		json_array_foreach(json_object_get(flat, lists[k]), i, v) {
			const char *z = k ? format_pattern(json_string_value(v)) : json_string_value(v);
			int64_t dfa = z ? schema_regex(s, lists[k], z) : 0;
			if (dfa < 0 || (z && narrow(s, ret, ret_any, &s->g->dfas.data[dfa]))) {
				schema_fail_err(s, lists[k]);
				return s->rc;
			}
		}
	}
	return 0;
}

int schema_string_dfa(struct schema *s, json_t *flat, struct dfa *ret, bool *ret_any)
{
	uint32_t min = schema_count(s, flat, "minLength", 0), max = schema_count(s, flat, "maxLength", GRAMMAR_INF);
	struct dfa d;
	*ret = (struct dfa){0};
	*ret_any = true;
	int rc = s->rc ? s->rc : narrow_by_patterns(s, flat, ret, ret_any);
	if (!rc && (min || max != GRAMMAR_INF) && min <= max) {
		rc = regex_length_dfa(min, max, &s->g->budget, &d, s->err);
		if (!rc) {
			rc = narrow(s, ret, ret_any, &d);
			dfa_release(&d);
		}
		if (rc)
			schema_fail_err(s, max != GRAMMAR_INF ? "maxLength" : "minLength");
	}
	if (!rc && json_object_get(flat, "enum")) {
		rc = names_dfa(s, json_object_get(flat, "enum"), &d);
		if (!rc) {
			rc = narrow(s, ret, ret_any, &d);
			dfa_release(&d);
		}
	}
	if (!rc && min > max) {
		dfa_release(ret);
		*ret_any = false;
	}
	if (rc)
		dfa_release(ret);
	return rc;
}

static uint32_t compile_string(struct schema *s, json_t *flat, uint32_t next)
{
	uint32_t min = schema_count(s, flat, "minLength", 0), max = schema_count(s, flat, "maxLength", GRAMMAR_INF), id;
	struct dfa d;
	bool any = true, known_format = false;
	size_t i;
	json_t *v;
	json_array_foreach(json_object_get(flat, "format"), i, v) {
		known_format |= format_pattern(json_string_value(v)) != NULL;
	}
	if (s->rc)
		return GB_FAIL;
	if (!json_object_get(flat, "pattern") && !known_format)
		return any_string(s, min, max, next);
	if (schema_string_dfa(s, flat, &d, &any) || gb_add_dfa(s->g, &d, &id, s->err))
		return schema_fail_err(s, NULL);
	return gb_lit(s->g, "\"", gb_dfa(s->g, id, gb_lit(s->g, "\"", next)));
}

/* ---- arrays ---- */

/* Items after the first ones, each behind a comma, min to max of them. */
static uint32_t more_items(struct schema *s, json_t *items, uint32_t min, uint32_t max, uint32_t next)
{
	struct grammar *g = s->g;
	if (!max || json_is_false(items))
		return min ? GB_FAIL : next;
	uint32_t rule = items ? schema_rule(s, items, "items") : 0;
	uint32_t body = items ? gb_call(g, rule, GB_RET) : schema_any_value(s, GB_RET);
	return gb_rep(g, gb_lit(g, ",", schema_space(s, body)), min, max, next);
}

/* All items are of one schema: it is compiled once where that can be. */
static uint32_t uniform_array(struct schema *s, json_t *items, uint32_t min, uint32_t max, uint32_t next)
{
	struct grammar *g = s->g;
	uint32_t empty = min ? GB_FAIL : gb_lit(g, "]", next), end = schema_space(s, gb_lit(g, "]", next)), first;
	if (!max || json_is_false(items)) {
		first = GB_FAIL;
	} else if (min <= 1 && max == GRAMMAR_INF) {
		uint32_t loop = gb_loop(g, end);
		size_t len = schema_push(s, "items", NULL);
		first = items ? schema_compile(s, items, loop) : schema_any_value(s, loop);
		schema_pop(s, len);
		gb_close(g, loop, gb_lit(g, ",", schema_space(s, first)));
	} else {
		uint32_t rest = more_items(s, items, min ? min - 1 : 0, max == GRAMMAR_INF ? max : max - 1, end);
		first = items ? gb_call(g, schema_rule(s, items, "items"), rest) : schema_any_value(s, rest);
	}
	return gb_lit(g, "[", schema_space(s, gb_split(g, first, empty)));
}

static uint32_t compile_array(struct schema *s, json_t *flat, uint32_t next)
{
	struct grammar *g = s->g;
	json_t *prefix = json_object_get(flat, "prefixItems"), *items = json_object_get(flat, "items");
	uint32_t min = schema_count(s, flat, "minItems", 0), max = schema_count(s, flat, "maxItems", GRAMMAR_INF);
	size_t n = json_array_size(prefix);
	if (s->rc || min > max)
		return GB_FAIL;
	if (!n)
		return uniform_array(s, items, min, max, next);
	/* As with properties, nothing follows what is listed unless it is said so. */
	if (!items && max > n)
		max = (uint32_t)n;
	if (n > max)
		n = max;
	if (min > max)
		return GB_FAIL;
	uint32_t end = schema_space(s, gb_lit(g, "]", next));
	uint32_t rest = more_items(s, items, min > n ? min - (uint32_t)n : 0, max == GRAMMAR_INF ? max : max - (uint32_t)n, end);
	for (size_t i = n; i-- > 0 && !s->rc;) {
		char index[24];
		snprintf(index, sizeof index, "%zu", i);
		size_t len = schema_push(s, "prefixItems", index);
		uint32_t item = schema_compile(s, json_array_get(prefix, i), rest);
		schema_pop(s, len);
		rest = gb_split(g, i ? gb_lit(g, ",", schema_space(s, item)) : item, i >= min ? (i ? end : gb_lit(g, "]", next)) : GB_FAIL);
	}
	if (!n)
		rest = gb_lit(g, "]", next);
	return gb_lit(g, "[", schema_space(s, rest));
}

/* ---- values ---- */

static uint32_t compile_numeric(struct schema *s, json_t *flat, bool integer, uint32_t next)
{
	struct num_range r = {
		.integer = integer,
		.min = json_object_get(flat, "minimum"),
		.above = json_object_get(flat, "exclusiveMinimum"),
		.max = json_object_get(flat, "maximum"),
		.below = json_object_get(flat, "exclusiveMaximum"),
		.multiple = json_object_get(flat, "multipleOf"),
	};
	return number(s, &r, next);
}

static uint32_t compile_type(struct schema *s, json_t *flat, const char *type, uint32_t next)
{
	struct grammar *g = s->g;
	if (!strcmp(type, "object"))
		return schema_object(s, flat, next);
	if (!strcmp(type, "array"))
		return compile_array(s, flat, next);
	if (!strcmp(type, "string"))
		return compile_string(s, flat, next);
	if (!strcmp(type, "boolean"))
		return gb_split(g, gb_lit(g, "true", next), gb_lit(g, "false", next));
	if (!strcmp(type, "null"))
		return gb_lit(g, "null", next);
	return compile_numeric(s, flat, !strcmp(type, "integer"), next);
}

/* Without a type the keywords tell which one is meant. */
static const struct {
	const char *keyword, *type;
} hints[] = {
	{"properties", "object"}, {"required", "object"}, {"additionalProperties", "object"}, {"patternProperties", "object"},
	{"propertyNames", "object"}, {"minProperties", "object"}, {"maxProperties", "object"},
	{"items", "array"}, {"prefixItems", "array"}, {"minItems", "array"}, {"maxItems", "array"},
	{"pattern", "string"}, {"minLength", "string"}, {"maxLength", "string"},
	{"minimum", "number"}, {"maximum", "number"}, {"exclusiveMinimum", "number"}, {"exclusiveMaximum", "number"},
	{"multipleOf", "number"},
};

static uint32_t compile_hinted(struct schema *s, json_t *flat, uint32_t next)
{
	uint32_t r = GB_FAIL;
	bool any = true;
	const char *last = "";
	for (size_t i = 0; i < ARRAY_LEN(hints); i++) {
		if (!json_object_get(flat, hints[i].keyword) || !strcmp(last, hints[i].type))
			continue;
		last = hints[i].type;
		any = false;
		r = gb_split(s->g, r, compile_type(s, flat, last, next));
	}
	if (!any)
		return r;
	return json_array_size(json_object_get(flat, "format")) ? compile_string(s, flat, next) : schema_any_value(s, next);
}

static uint32_t compile_flat(struct schema *s, json_t *flat, uint32_t next);

/* One list of alternatives at a time; what stands beside it applies to each. */
static uint32_t compile_any(struct schema *s, json_t *flat, uint32_t next)
{
	json_t *any = json_object_get(flat, FLAT_ANY), *list = json_array_get(any, 0), *base = schema_own(s, json_copy(flat)), *v;
	uint32_t r = GB_FAIL;
	size_t i;
	if (json_array_size(any) > 1) {
		json_t *rest = json_copy(any);
		json_array_remove(rest, 0);
		json_object_set_new(base, FLAT_ANY, rest);
	} else {
		json_object_del(base, FLAT_ANY);
	}
	json_array_foreach(list, i, v) {
		char index[24];
		snprintf(index, sizeof index, "%zu", i);
		size_t len = schema_push(s, "anyOf", index);
		if (!json_object_size(base)) {
			r = gb_split(s->g, r, schema_compile(s, v, next));
		} else {
			json_t *one = schema_flatten(s, v);
			one = one ? schema_merge(s, base, one) : NULL;
			r = gb_split(s->g, r, one ? compile_flat(s, one, next) : GB_FAIL);
		}
		schema_pop(s, len);
		if (s->rc)
			return GB_FAIL;
	}
	return r;
}

static uint32_t compile_flat(struct schema *s, json_t *flat, uint32_t next)
{
	json_t *types = json_object_get(flat, "type"), *v;
	uint32_t r = GB_FAIL;
	size_t i;
	if (s->rc)
		return GB_FAIL;
	if (s->depth >= SCHEMA_DEPTH_MAX)
		return schema_fail(s, NULL, "it nests more than %d deep", SCHEMA_DEPTH_MAX);
	s->depth++;
	if (json_object_get(flat, FLAT_ANY))
		r = compile_any(s, flat, next);
	else if (json_object_get(flat, "enum"))
		r = compile_enum(s, flat, next);
	else if (!types)
		r = compile_hinted(s, flat, next);
	else
		json_array_foreach(types, i, v) {
			r = gb_split(s->g, r, compile_type(s, flat, json_string_value(v), next));
		}
	s->depth--;
	return r;
}

/* True when nothing but annotations stands beside the reference. */
static bool is_pure_ref(const json_t *schema)
{
	const char *name;
	json_t *v;
	json_object_foreach((json_t *)schema, name, v) {
		if (strcmp(name, "$ref") && !schema_is_annotation(name))
			return false;
	}
	return true;
}

static uint32_t compile_body(struct schema *s, const json_t *schema, uint32_t next)
{
	const char *ref = json_string_value(json_object_get(schema, "$ref"));
	if (ref && is_pure_ref(schema)) {
		const json_t *target = schema_resolve(s, ref);
		return target ? gb_call(s->g, schema_rule(s, target, ref), next) : GB_FAIL;
	}
	json_t *flat = schema_flatten(s, schema);
	uint32_t r = flat ? compile_flat(s, flat, next) : GB_FAIL;
	/* OpenAPI 3.0: null besides whatever else is allowed. */
	return json_is_true(json_object_get(schema, "nullable")) ? gb_split(s->g, r, gb_lit(s->g, "null", next)) : r;
}

/* References and merged schemas become rules: they may recur. */
uint32_t schema_compile(struct schema *s, const json_t *schema, uint32_t next)
{
	if (s->rc)
		return GB_FAIL;
	if (json_object_get(schema, "allOf") || (json_object_get(schema, "$ref") && !is_pure_ref(schema)))
		return gb_call(s->g, schema_rule(s, schema, NULL), next);
	return compile_body(s, schema, next);
}

uint32_t schema_rule(struct schema *s, const json_t *schema, const char *path)
{
	union map_val *at = map_put(&s->job_of, (const char *)&schema, sizeof schema);
	if (!at->i) {
		size_t len = s->path.len;
		if (path && *path == '#')
			str_printf(&s->path, "%s%.400s", len ? " -> " : "", path);
		else if (path)
			schema_push(s, path, NULL);
		const char *shown = str_cstr(&s->path);
		size_t skip = s->path.len > 600 ? s->path.len - 600 : 0;
		vec_push(&s->jobs, ((struct schema_job){schema, mem_strdup(shown + skip), gb_rule(s->g)}));
		schema_pop(s, len);
		at = map_get(&s->job_of, (const char *)&schema, sizeof schema);
		at->i = (int64_t)s->jobs.n;
	}
	return s->jobs.data[at->i - 1].rule;
}

/* ---- entry ---- */

static void schema_init(struct schema *s, const json_t *root, struct err *err)
{
	*s = (struct schema){.g = gb_new(), .root = root, .err = err};
	s->rule_value = gb_rule(s->g);
	str_adds(&s->path, "#");
}

static int schema_end(struct schema *s, struct grammar **ret)
{
	int rc = s->rc;
	if (!rc && (rc = gb_finish(s->g, s->err)))
		err_prefix(s->err, "#");
	for (size_t i = 0; i < s->owned.n; i++)
		json_decref(s->owned.data[i]);
	for (size_t i = 0; i < s->jobs.n; i++)
		mem_free(s->jobs.data[i].path);
	vec_release(&s->owned);
	vec_release(&s->jobs);
	map_release(&s->job_of);
	map_release(&s->regexes);
	str_release(&s->path);
	if (rc)
		grammar_free(s->g);
	else
		*ret = s->g;
	return rc;
}

static void run_jobs(struct schema *s)
{
	for (size_t i = 0; i < s->jobs.n && !s->rc && s->g->budget.left >= 0; i++) {
		struct schema_job job = s->jobs.data[i];
		str_clear(&s->path);
		str_adds(&s->path, job.path);
		uint32_t start = compile_body(s, job.schema, GB_RET);
		s->g->rules.data[job.rule] = start;
	}
}

/* A grammar of its own for a part of the schema, charged to the budget of the whole. NULL where nothing satisfies it. */
static int side_grammar(struct schema *s, const json_t *schema, struct grammar **ret)
{
	struct schema side;
	struct err err;
	int64_t before;
	*ret = NULL;
	if (s->n_side >= SCHEMA_SIDE_MAX)
		return schema_fail(s, "enum", "too many enums have other keywords beside them"), s->rc;
	schema_init(&side, s->root, &err);
	side.n_side = s->n_side + 1;
	side.depth = s->depth;
	before = side.g->budget.left = s->g->budget.left;
	str_clear(&side.path);
	str_adds(&side.path, str_cstr(&s->path));
	vec_push(&side.jobs, ((struct schema_job){schema, mem_strdup(str_cstr(&s->path)), 0}));
	run_jobs(&side);
	grammar_spend(&s->g->budget, before - side.g->budget.left);
	s->n_side = side.n_side;
	bool failed = side.rc != 0;
	if (schema_end(&side, ret) && failed) {
		*s->err = err;
		s->rc = err.code;
	}
	return s->rc;
}

int grammar_from_schema(const json_t *schema, struct grammar **ret, struct err *err)
{
	struct schema s;
	struct err mine;
	schema_init(&s, schema, err ? err : &mine);
	map_put(&s.job_of, (const char *)&schema, sizeof schema)->i = 1;
	vec_push(&s.jobs, ((struct schema_job){schema, mem_strdup("#"), 0}));
	run_jobs(&s);
	return schema_end(&s, ret);
}

int grammar_from_json(struct grammar **ret, struct err *err)
{
	struct schema s;
	struct err mine;
	schema_init(&s, NULL, err ? err : &mine);
	uint32_t start = schema_any_object(&s, GB_RET);
	s.g->rules.data[0] = start;
	return schema_end(&s, ret);
}
