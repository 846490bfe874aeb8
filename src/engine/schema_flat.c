/* Flat forms of schemas: references, allOf, merging. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "engine/schema_int.h"

/* How keywords are taken in and how two of them become one. */
enum kw_kind {
	KW_REFUSED,
	KW_BOTH,     /* schemas: {"allOf": [a, b]} */
	KW_LARGER, KW_SMALLER, /* numbers */
	KW_CONCAT,   /* arrays */
	KW_OBJECTS,  /* objects of schemas, name by name */
	KW_TYPE, KW_ENUM, KW_PREFIX, KW_EQUAL,
	KW_SPECIAL,  /* handled before merging */
};

static const struct keyword {
	const char *name;
	enum kw_kind kind;
} keywords[] = {
	{"$ref", KW_SPECIAL}, {"allOf", KW_SPECIAL}, {"anyOf", KW_SPECIAL}, {"oneOf", KW_SPECIAL}, {"const", KW_SPECIAL},
	{"nullable", KW_SPECIAL}, {"additionalItems", KW_SPECIAL}, {"not", KW_SPECIAL},
	{"type", KW_TYPE}, {"enum", KW_ENUM}, {FLAT_ANY, KW_CONCAT},
	{"properties", KW_OBJECTS}, {"patternProperties", KW_OBJECTS}, {"additionalProperties", KW_BOTH},
	{"unevaluatedProperties", KW_BOTH}, {"propertyNames", KW_BOTH}, {"required", KW_CONCAT}, {"minProperties", KW_LARGER},
	{"maxProperties", KW_SMALLER},
	{"items", KW_BOTH}, {"prefixItems", KW_PREFIX}, {"minItems", KW_LARGER}, {"maxItems", KW_SMALLER}, {"uniqueItems", KW_SPECIAL},
	{"minLength", KW_LARGER}, {"maxLength", KW_SMALLER}, {"pattern", KW_CONCAT}, {"format", KW_CONCAT},
	{"minimum", KW_LARGER}, {"exclusiveMinimum", KW_LARGER}, {"maximum", KW_SMALLER}, {"exclusiveMaximum", KW_SMALLER},
	{"multipleOf", KW_EQUAL},
	{"if", KW_REFUSED}, {"dependentRequired", KW_REFUSED}, {"dependentSchemas", KW_REFUSED}, {"dependencies", KW_REFUSED},
	{"contains", KW_REFUSED}, {"unevaluatedItems", KW_REFUSED}, {"$dynamicRef", KW_REFUSED}, {"$recursiveRef", KW_REFUSED},
};

static const struct keyword *find_keyword(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(keywords); i++)
		if (!strcmp(keywords[i].name, name))
			return &keywords[i];
	return NULL;
}

bool schema_is_annotation(const char *keyword)
{
	return !find_keyword(keyword) || !strcmp(keyword, FLAT_ANY);
}

/* ---- paths, errors, ownership ---- */

uint32_t schema_fail_err(struct schema *s, const char *keyword)
{
	if (s->rc)
		return GB_FAIL;
	s->rc = s->err ? s->err->code : ERR_INVALID;
	err_prefix(s->err, "%s%s%s", str_cstr(&s->path), keyword ? "/" : "", keyword ? keyword : "");
	return GB_FAIL;
}

uint32_t schema_fail(struct schema *s, const char *keyword, const char *fmt, ...)
{
	struct str msg = {0};
	va_list ap;
	if (s->rc)
		return GB_FAIL;
	va_start(ap, fmt);
	str_vprintf(&msg, fmt, ap);
	va_end(ap);
	err_set(s->err, ERR_INVALID, "%s", str_cstr(&msg));
	str_release(&msg);
	return schema_fail_err(s, keyword);
}

size_t schema_push(struct schema *s, const char *keyword, const char *name)
{
	size_t len = s->path.len;
	if (len < 2000) {
		str_printf(&s->path, "/%s", keyword);
		if (name)
			str_printf(&s->path, "/%.100s", name);
	}
	return len;
}

void schema_pop(struct schema *s, size_t len)
{
	str_truncate(&s->path, len);
}

json_t *schema_own(struct schema *s, json_t *v)
{
	vec_push(&s->owned, v);
	return v;
}

json_t *schema_both(struct schema *s, json_t *a, json_t *b)
{
	if (!a || !b || a == b)
		return a ? a : b;
	return schema_own(s, json_pack("{s:[O,O]}", "allOf", a, b));
}

/* ---- references ---- */

static int hex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
}

/* One step of a JSON pointer in a fragment (RFC 6901): percent escapes, then ~1 and ~0. */
static void unescape(const char *p, size_t n, struct str *out)
{
	str_clear(out);
	for (size_t i = 0; i < n; i++) {
		char c = p[i];
		if (c == '%' && i + 2 < n && hex(p[i + 1]) >= 0 && hex(p[i + 2]) >= 0) {
			c = (char)(hex(p[i + 1]) << 4 | hex(p[i + 2]));
			i += 2;
		} else if (c == '~' && i + 1 < n && (p[i + 1] == '0' || p[i + 1] == '1')) {
			c = p[++i] == '0' ? '~' : '/';
		}
		str_addc(out, c);
	}
}

const json_t *schema_resolve(struct schema *s, const char *ref)
{
	const json_t *at = s->root;
	const char *p = ref + 1;
	struct str name = {0};
	if (*ref != '#' || (*p && *p != '/')) {
		schema_fail(s, "$ref", "\"%.200s\" is not supported: only references into the same schema, as \"#/$defs/name\"", ref);
		return NULL;
	}
	while (*p == '/' && at) {
		size_t n = strcspn(++p, "/");
		unescape(p, n, &name);
		if (json_is_array(at)) {
			char *end;
			size_t i = strtoul(str_cstr(&name), &end, 10);
			at = name.len && !*end ? json_array_get(at, i) : NULL;
		} else {
			at = json_object_get(at, str_cstr(&name));
		}
		p += n;
	}
	str_release(&name);
	if (!at)
		schema_fail(s, "$ref", "there is no \"%.200s\" in the schema", ref);
	return at;
}

/* ---- merging ---- */

static double number_of(const json_t *v)
{
	return json_is_number(v) ? json_number_value(v) : 0;
}

static json_t *nothing(struct schema *s)
{
	return schema_own(s, json_pack("{s:[]}", "enum"));
}

static bool has_type(const json_t *list, const char *name)
{
	size_t i;
	json_t *v;
	json_array_foreach(list, i, v) {
		const char *z = json_string_value(v);
		if (z && (!strcmp(z, name) || (!strcmp(z, "number") && !strcmp(name, "integer"))))
			return true;
	}
	return false;
}

/* Types in both lists; an integer is a number. */
static json_t *common_types(const json_t *a, const json_t *b)
{
	json_t *out = json_array();
	for (int side = 0; side < 2; side++) {
		size_t i;
		json_t *v;
		json_array_foreach(side ? b : a, i, v) {
			const char *z = json_string_value(v);
			if (z && has_type(side ? a : b, z) && !has_type(out, z))
				json_array_append(out, v);
		}
	}
	return out;
}

static bool has_value(const json_t *list, const json_t *v)
{
	size_t i;
	json_t *x;
	json_array_foreach(list, i, x) {
		if (json_equal(x, v) || (json_is_number(x) && json_is_number(v) && number_of(x) == number_of(v)))
			return true;
	}
	return false;
}

static json_t *common_values(struct schema *s, const json_t *a, const json_t *b)
{
	json_t *out = json_array(), *v;
	size_t i;
	grammar_spend(&s->g->budget, (int64_t)(json_array_size(a) * json_array_size(b)) * 20);
	if (s->g->budget.left < 0)
		return out;
	json_array_foreach(a, i, v) {
		if (has_value(b, v))
			json_array_append(out, v);
	}
	return out;
}

static json_t *concat(const json_t *a, const json_t *b)
{
	json_t *out = json_copy((json_t *)a);
	json_array_extend(out, (json_t *)b);
	return out;
}

/* Item i of a list of first items; what it has for further ones; anything. */
static json_t *item_schema(const json_t *flat, size_t i)
{
	json_t *prefix = json_object_get(flat, "prefixItems");
	return i < json_array_size(prefix) ? json_array_get(prefix, i) : json_object_get(flat, "items");
}

static json_t *merge_prefix(struct schema *s, const json_t *a, const json_t *b)
{
	size_t n = json_array_size(json_object_get(a, "prefixItems")), m = json_array_size(json_object_get(b, "prefixItems"));
	json_t *out = json_array();
	for (size_t i = 0; i < n || i < m; i++) {
		json_t *both = schema_both(s, item_schema(a, i), item_schema(b, i));
		json_array_append(out, both ? both : json_true());
	}
	return out;
}

static json_t *merge_objects(struct schema *s, const json_t *a, const json_t *b)
{
	json_t *out = json_copy((json_t *)a), *v;
	const char *name;
	json_object_foreach((json_t *)b, name, v) {
		json_object_set(out, name, schema_both(s, json_object_get(a, name), v));
	}
	return out;
}

/* A new reference to what a and b, values of the same keyword, come to; NULL after an error. */
static json_t *merge_values(struct schema *s, const struct keyword *kw, json_t *a, json_t *b)
{
	switch (kw->kind) {
	case KW_BOTH:
		return json_incref(schema_both(s, a, b));
	case KW_LARGER:
		return json_incref(number_of(a) >= number_of(b) ? a : b);
	case KW_SMALLER:
		return json_incref(number_of(a) <= number_of(b) ? a : b);
	case KW_CONCAT:
		return concat(a, b);
	case KW_OBJECTS:
		return merge_objects(s, a, b);
	case KW_TYPE:
		return common_types(a, b);
	case KW_ENUM:
		return common_values(s, a, b);
	case KW_EQUAL:
		if (json_is_number(a) && json_is_number(b) && number_of(a) == number_of(b))
			return json_incref(a);
		break;
	case KW_PREFIX:
		return json_incref(a); /* merge_prefix sets it */
	case KW_REFUSED:
	case KW_SPECIAL:
		break;
	}
	schema_fail(s, kw->name, "two different ones apply to the same value; that is not supported");
	return NULL;
}

/* Properties that only `of` names must also satisfy what `by` says about all others. */
static void restrain(struct schema *s, json_t *out, const json_t *of, const json_t *by)
{
	json_t *more = json_object_get(by, "additionalProperties"), *listed = json_object_get(by, "properties"), *v, *copy;
	const char *name;
	if (!more || !json_object_get(of, "properties"))
		return;
	copy = json_copy(json_object_get(out, "properties"));
	json_object_foreach(json_object_get(of, "properties"), name, v) {
		const char *pattern;
		json_t *pv;
		bool matched = json_object_get(listed, name) != NULL;
		json_object_foreach(json_object_get(by, "patternProperties"), pattern, pv) {
			struct str quoted = {0};
			int64_t dfa = schema_regex(s, "patternProperties", pattern);
			schema_quote(name, strlen(name), &quoted);
			matched |= dfa >= 0 && dfa_matches(&s->g->dfas.data[dfa], str_cstr(&quoted) + 1, quoted.len - 2);
			str_release(&quoted);
		}
		if (!matched)
			json_object_set(copy, name, schema_both(s, json_object_get(copy, name), more));
	}
	json_object_set_new(out, "properties", copy);
}

json_t *schema_merge(struct schema *s, json_t *a, json_t *b)
{
	const char *name;
	json_t *v;
	if (!json_object_size(a) || !json_object_size(b))
		return json_object_size(a) ? a : b;
	if (!grammar_spend(&s->g->budget, 200 + 100 * (int64_t)(json_object_size(a) + json_object_size(b)))) {
		grammar_budget_err(s->err);
		schema_fail_err(s, NULL);
		return NULL;
	}
	json_t *out = schema_own(s, json_copy(a));
	json_object_foreach(b, name, v) {
		json_t *mine = json_object_get(a, name);
		json_t *both = mine ? merge_values(s, find_keyword(name), mine, v) : json_incref(v);
		if (!both)
			return NULL;
		json_object_set_new(out, name, both);
	}
	if (json_object_get(a, "prefixItems") || json_object_get(b, "prefixItems"))
		json_object_set_new(out, "prefixItems", merge_prefix(s, a, b));
	restrain(s, out, a, b);
	restrain(s, out, b, a);
	return s->rc ? NULL : out;
}

/* ---- flattening ---- */

static json_t *flatten(struct schema *s, const json_t *schema, int depth);

/* Draft 4: `true` makes the inclusive bound exclusive. */
static void flat_exclusive(json_t *out, const char *exclusive, const char *inclusive)
{
	json_t *v = json_object_get(out, exclusive), *bound = json_object_get(out, inclusive);
	if (!json_is_boolean(v))
		return;
	if (json_is_true(v) && bound) {
		json_object_set(out, exclusive, bound);
		json_object_del(out, inclusive);
	} else {
		json_object_del(out, exclusive);
	}
}

static void flat_items(json_t *out, const json_t *schema)
{
	json_t *items = json_object_get(schema, "items"), *more = json_object_get(schema, "additionalItems");
	if (!json_is_array(items))
		return;
	json_object_set(out, "prefixItems", items);
	json_object_del(out, "items");
	if (more)
		json_object_set(out, "items", more);
}

/* One value or an array of them becomes an array. */
static void flat_array(json_t *out, const char *keyword)
{
	json_t *v = json_object_get(out, keyword);
	if (v && !json_is_array(v))
		json_object_set_new(out, keyword, json_pack("[O]", v));
}

static bool is_simple_type(const char *z)
{
	static const char *const names[] = {"object", "array", "string", "number", "integer", "boolean", "null"};
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (!strcmp(names[i], z))
			return true;
	return false;
}

static void check_forms(struct schema *s, const json_t *out)
{
	static const struct {
		const char *keyword, *want;
		json_type type;
	} forms[] = {
		{"properties", "an object of schemas", JSON_OBJECT}, {"patternProperties", "an object of schemas", JSON_OBJECT},
		{"required", "an array of names", JSON_ARRAY}, {"enum", "an array of values", JSON_ARRAY},
		{"prefixItems", "an array of schemas", JSON_ARRAY}, {"anyOf", "an array of schemas", JSON_ARRAY},
		{"oneOf", "an array of schemas", JSON_ARRAY}, {"allOf", "an array of schemas", JSON_ARRAY},
		{"$ref", "a string", JSON_STRING},
	};
	static const char *const lists[] = {"required", "type", "pattern", "format"};
	for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
		json_t *v = json_object_get(out, forms[i].keyword);
		if (v && json_typeof(v) != forms[i].type)
			schema_fail(s, forms[i].keyword, "must be %s", forms[i].want);
	}
	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		size_t k;
		json_t *v;
		json_array_foreach(json_object_get(out, lists[i]), k, v) {
			const char *z = json_string_value(v);
			if (!z)
				schema_fail(s, lists[i], "must be a string or an array of strings");
			else if (!strcmp(lists[i], "type") && !is_simple_type(z))
				schema_fail(s, "type", "\"%.100s\" is no type of JSON schema", z);
		}
	}
}

static void refuse_keywords(struct schema *s, const json_t *schema)
{
	const json_t *no = json_object_get(schema, "not"), *unique = json_object_get(schema, "uniqueItems");
	const json_t *max = json_object_get(schema, "maxItems");
	for (size_t i = 0; i < ARRAY_LEN(keywords); i++)
		if (keywords[i].kind == KW_REFUSED && json_object_get(schema, keywords[i].name))
			schema_fail(s, keywords[i].name, "is not supported in a format");
	if (no && !json_is_true(no) && !json_is_false(no) && json_object_size(no))
		schema_fail(s, "not", "is not supported in a format, but for \"not\": {}");
	if (json_is_true(unique) && !(json_is_integer(max) && json_integer_value(max) <= 1))
		schema_fail(s, "uniqueItems", "is not supported in a format");
}

/* Members that apply to the same value are merged in: the reference, allOf. */
static json_t *merge_in(struct schema *s, json_t *out, const json_t *schema, int depth)
{
	const char *ref = json_string_value(json_object_get(schema, "$ref"));
	json_t *v, *part;
	size_t i;
	if (ref) {
		const json_t *target = schema_resolve(s, ref);
		part = target ? flatten(s, target, depth + 1) : NULL;
		if (!part || !(out = schema_merge(s, part, out)))
			return NULL;
	}
	json_array_foreach(json_object_get(schema, "allOf"), i, v) {
		char index[24];
		snprintf(index, sizeof index, "%zu", i);
		size_t len = schema_push(s, "allOf", index);
		part = flatten(s, v, depth + 1);
		schema_pop(s, len);
		if (!part || !(out = schema_merge(s, out, part)))
			return NULL;
	}
	return out;
}

static json_t *flatten(struct schema *s, const json_t *schema, int depth)
{
	const char *name;
	json_t *v, *any = json_array();
	json_t *out = schema_own(s, json_object());
	json_object_set_new(out, FLAT_ANY, any);
	if (depth > SCHEMA_DEPTH_MAX) {
		schema_fail(s, NULL, "its references and allOf nest more than %d deep, or have no end", SCHEMA_DEPTH_MAX);
		return NULL;
	}
	if (++s->n > SCHEMA_N_MAX || !grammar_spend(&s->g->budget, 500 + 50 * (int64_t)json_object_size(schema))) {
		grammar_budget_err(s->err);
		schema_fail_err(s, NULL);
		return NULL;
	}
	if (json_is_false(schema))
		return nothing(s);
	if (!json_is_object(schema) && !json_is_true(schema)) {
		schema_fail(s, NULL, "a schema must be an object, true or false");
		return NULL;
	}
	refuse_keywords(s, schema);
	json_object_foreach((json_t *)schema, name, v) {
		const struct keyword *kw = find_keyword(name);
		if (kw && kw->kind != KW_SPECIAL && kw->kind != KW_REFUSED && strcmp(name, FLAT_ANY))
			json_object_set(out, name, v);
	}
	if ((v = json_object_get(schema, "const")))
		json_object_set_new(out, "enum", json_pack("[O]", v));
	if ((v = json_object_get(schema, "not")) && !json_is_false(v))
		json_object_set_new(out, "enum", json_array());
	if ((v = json_object_get(schema, "anyOf")))
		json_array_append(any, v);
	if ((v = json_object_get(schema, "oneOf")))
		json_array_append(any, v);
	flat_exclusive(out, "exclusiveMinimum", "minimum");
	flat_exclusive(out, "exclusiveMaximum", "maximum");
	flat_items(out, schema);
	flat_array(out, "type");
	flat_array(out, "pattern");
	flat_array(out, "format");
	if (!json_array_size(any))
		json_object_del(out, FLAT_ANY);
	check_forms(s, schema);
	check_forms(s, out);
	return s->rc ? NULL : merge_in(s, out, schema, depth);
}

json_t *schema_flatten(struct schema *s, const json_t *schema)
{
	return flatten(s, schema, 0);
}
