#include "chat/jinja_str.h"

#include <string.h>

#include "base/bug.h"
#include "base/utf8.h"

/* Offset of needle in p[from..to), or SIZE_MAX. */
static size_t find_in(const char *p, size_t from, size_t to, const struct jstr *needle)
{
	if (from > to)
		return SIZE_MAX;
	if (!needle->n)
		return from;
	const char *hit = memmem(p + from, to - from, needle->p, needle->n);
	return hit ? (size_t)(hit - p) : SIZE_MAX;
}

/* The last one. Comparing costs steps: long needles over long texts would take quadratic time. */
static bool rfind_in(struct jrun *r, const char *p, size_t from, size_t to, const struct jstr *needle, size_t *ret)
{
	*ret = SIZE_MAX;
	if (from > to || to - from < needle->n)
		return true;
	for (size_t i = to - needle->n + 1; i-- > from;) {
		if (needle->n && p[i] != needle->p[0])
			continue;
		if (!jr_charge(r, needle->n))
			return false;
		if (memcmp(p + i, needle->p, needle->n) == 0) {
			*ret = i;
			break;
		}
	}
	return true;
}

/* The first or last one. */
static bool find_side(struct jrun *r, const char *p, size_t from, size_t to, const struct jstr *needle, bool right, size_t *ret)
{
	if (right)
		return rfind_in(r, p, from, to, needle, ret);
	*ret = find_in(p, from, to, needle);
	return true;
}

/* ---- replacing, splitting ---- */

/* As replace with an empty needle: the new text before each character and at the end. */
static bool replace_between(struct jb *b, const struct jstr *s, const struct jstr *new, int64_t count)
{
	size_t i = 0;
	for (uint32_t cp; i < s->n && count; count--) {
		size_t n = utf8_next(s->p + i, s->n - i, &cp);
		if (!jb_add(b, new->p, new->n) || !jb_add(b, s->p + i, n))
			return false;
		i += n;
	}
	if (!jb_add(b, s->p + i, s->n - i))
		return false;
	return !count || i < s->n || jb_add(b, new->p, new->n);
}

bool jstr_replace(struct jrun *r, const struct jstr *s, const struct jstr *old, const struct jstr *new, int64_t count,
		  struct jval *ret)
{
	struct jb b;
	size_t at = 0, hit;
	jb_init(&b, r);
	if (!old->n)
		return replace_between(&b, s, new, count) && jb_take(&b, ret);
	while (count && (hit = find_in(s->p, at, s->n, old)) != SIZE_MAX) {
		if (!jb_add(&b, s->p + at, hit - at) || !jb_add(&b, new->p, new->n))
			return false;
		at = hit + old->n;
		count--;
	}
	return jb_add(&b, s->p + at, s->n - at) && jb_take(&b, ret);
}

bool jstr_strip(struct jrun *r, const struct jstr *s, const struct jval *chars, bool left, bool right, struct jval *ret)
{
	struct jstr *set = NULL;
	size_t from;
	if (chars->kind != J_MISSING && chars->kind != J_NONE && !ja_str(r, chars, &set))
		return false;
	/* a large set is searched for each character */
	if (set && set->n > 64 && !jr_charge(r, s->n > SIZE_MAX / 64 / set->n ? SIZE_MAX : s->n * set->n))
		return false;
	size_t n = jcase_strip(s->p, s->n, set, left, right, &from);
	return jr_charge(r, (s->n - n) * 4) && jv_str_part(r, s, from, n, ret);
}

static bool push_part(struct jrun *r, struct jlist *l, const struct jval *s, size_t from, size_t to)
{
	struct jval part;
	if (!jv_str_part(r, s->s, from, to - from, &part))
		return false;
	part.safe = s->safe;
	return jv_push(r, l, part);
}

static bool is_line_end(uint32_t cp)
{
	return (cp >= 10 && cp <= 13) || (cp >= 0x1C && cp <= 0x1E) || cp == 0x85 || cp == 0x2028 || cp == 0x2029;
}

bool jstr_splitlines(struct jrun *r, const struct jval *s, bool keep_ends, struct jval *ret)
{
	const char *p = s->s->p;
	size_t n = s->s->n, from = 0;
	if (!jr_charge(r, n * 4) || !jv_list(r, J_LIST, 0, ret))
		return false;
	for (size_t i = 0; i < n;) {
		uint32_t cp;
		size_t end = i;
		i += utf8_next(p + i, n - i, &cp);
		if (!is_line_end(cp))
			continue;
		i += cp == '\r' && i < n && p[i] == '\n';
		if (!push_part(r, ret->list, s, from, keep_ends ? i : end))
			return false;
		from = i;
	}
	return from == n || push_part(r, ret->list, s, from, n);
}

static bool split_at(struct jrun *r, const struct jval *s, const struct jstr *sep, int64_t max, struct jlist *l)
{
	size_t at = 0, hit;
	while (max && (hit = find_in(s->s->p, at, s->s->n, sep)) != SIZE_MAX) {
		if (!push_part(r, l, s, at, hit))
			return false;
		at = hit + sep->n;
		max--;
	}
	return push_part(r, l, s, at, s->s->n);
}

/* From the right, parts come out last first. */
static bool rsplit_at(struct jrun *r, const struct jval *s, const struct jstr *sep, int64_t max, struct jlist *l)
{
	size_t to = s->s->n, hit;
	for (; max; max--) {
		if (!rfind_in(r, s->s->p, 0, to, sep, &hit))
			return false;
		if (hit == SIZE_MAX)
			break;
		if (!push_part(r, l, s, hit + sep->n, to))
			return false;
		to = hit;
	}
	return push_part(r, l, s, 0, to);
}

static bool split_space(struct jrun *r, const struct jval *s, int64_t max, struct jlist *l)
{
	const char *p = s->s->p;
	size_t n = s->s->n, at = 0, from;
	for (;; max--) {
		size_t left = jcase_strip(p + at, n - at, NULL, true, false, &from), len = 0;
		at += from;
		if (!left)
			return true;
		if (!max)
			return push_part(r, l, s, at, n);
		while (len < left) {
			uint32_t cp;
			size_t k = utf8_next(p + at + len, left - len, &cp);
			if (jcase_is_space(cp))
				break;
			len += k;
		}
		if (!push_part(r, l, s, at, at + len))
			return false;
		at += len;
	}
}

static bool rsplit_space(struct jrun *r, const struct jval *s, int64_t max, struct jlist *l)
{
	const char *p = s->s->p;
	size_t to = s->s->n, start;
	for (;; max--) {
		to = jcase_strip(p, to, NULL, false, true, &start);
		if (!to)
			return true;
		if (!max)
			return push_part(r, l, s, 0, to);
		size_t from = to;
		while (from > 0) {
			size_t k = from - 1;
			uint32_t cp;
			while (k > 0 && ((unsigned char)p[k] & 0xC0) == 0x80)
				k--;
			utf8_next(p + k, from - k, &cp);
			if (jcase_is_space(cp))
				break;
			from = k;
		}
		if (!push_part(r, l, s, from, to))
			return false;
		to = from;
	}
}

bool jstr_split(struct jrun *r, const struct jval *s, const struct jstr *sep, int64_t max, bool from_right, struct jval *ret)
{
	if (!jr_charge(r, s->s->n) || !jv_list(r, J_LIST, 0, ret))
		return false;
	if (sep && !sep->n)
		return jr_fail(r, "empty separator");
	struct jlist *l = ret->list;
	bool ok = sep ? (from_right ? rsplit_at(r, s, sep, max, l) : split_at(r, s, sep, max, l))
		      : (from_right ? rsplit_space(r, s, max, l) : split_space(r, s, max, l));
	for (size_t i = 0; ok && from_right && i < l->n / 2; i++) {
		struct jval v = l->v[i];
		l->v[i] = l->v[l->n - 1 - i];
		l->v[l->n - 1 - i] = v;
	}
	return ok;
}

static bool m_split(struct jrun *r, struct jargs *a, struct jval *ret)
{
	struct jstr *sep = NULL;
	int64_t max;
	if (a->v[1].kind != J_MISSING && a->v[1].kind != J_NONE && !ja_str(r, &a->v[1], &sep))
		return false;
	return ja_int(r, &a->v[2], -1, &max) && jstr_split(r, &a->v[0], sep, max, a->fn->name[0] == 'r', ret);
}

static bool m_splitlines(struct jrun *r, struct jargs *a, struct jval *ret)
{
	return jstr_splitlines(r, &a->v[0], ja_bool(&a->v[1], false), ret);
}

static bool m_partition(struct jrun *r, struct jargs *a, struct jval *ret)
{
	bool right = a->fn->name[0] == 'r';
	const struct jval *s = &a->v[0];
	size_t n = s->s->n;
	struct jstr *sep;
	if (!ja_str(r, &a->v[1], &sep))
		return false;
	if (!sep->n)
		return jr_fail(r, "empty separator");
	size_t hit;
	if (!jr_charge(r, n) || !jv_list(r, J_TUPLE, 3, ret) || !find_side(r, s->s->p, 0, n, sep, right, &hit))
		return false;
	bool found = hit != SIZE_MAX;
	size_t end = found ? hit + sep->n : right ? 0 : n;
	if (!found)
		hit = right ? 0 : n;
	return push_part(r, ret->list, s, 0, hit) && push_part(r, ret->list, s, hit, end) && push_part(r, ret->list, s, end, n);
}

/* ---- finding ---- */

/* Byte range of the code points start..end of s; false in *ret when start is behind the end. */
static bool sub_range(struct jrun *r, struct jstr *s, const struct jval *start, const struct jval *end, size_t *from, size_t *to,
		      bool *ret)
{
	struct jval part[3] = {*start, *end, {0}};
	int64_t n = (int64_t)jv_str_len(s), at[2];
	bool whole = start->kind == J_MISSING && end->kind == J_MISSING;
	uint32_t cp;
	for (int i = 0; i < 2; i++) {
		if (part[i].kind == J_NONE)
			part[i].kind = J_MISSING;
		if (!ja_int(r, &part[i], i ? n : 0, &at[i]))
			return false;
		if (at[i] < 0)
			at[i] = at[i] + n < 0 ? 0 : at[i] + n;
	}
	*ret = at[0] <= n && at[0] <= at[1];
	if (at[1] > n)
		at[1] = n;
	size_t byte = 0;
	*from = whole ? 0 : s->n;
	*to = s->n;
	for (int64_t i = 0; !whole && *ret && i <= at[1]; i++) {
		if (i == at[0])
			*from = byte;
		if (i == at[1])
			*to = byte;
		if (byte < s->n)
			byte += utf8_next(s->p + byte, s->n - byte, &cp);
	}
	return jr_charge(r, whole ? s->n * 4 : s->n * 8);
}

static bool m_find(struct jrun *r, struct jargs *a, struct jval *ret)
{
	struct jstr *s = a->v[0].s, *needle;
	size_t from, to, hit = SIZE_MAX;
	const char *name = a->fn->name;
	bool any, right = name[0] == 'r';
	if (!ja_str(r, &a->v[1], &needle) || !sub_range(r, s, &a->v[2], &a->v[3], &from, &to, &any))
		return false;
	if (any && !find_side(r, s->p, from, to, needle, right, &hit))
		return false;
	if (hit == SIZE_MAX) {
		if (strcmp(name + right, "index") == 0)
			return jr_fail(r, "substring not found");
		*ret = jv_int(-1);
		return true;
	}
	*ret = jv_int((int64_t)utf8_count(s->p, hit));
	return true;
}

static bool m_count(struct jrun *r, struct jargs *a, struct jval *ret)
{
	struct jstr *s = a->v[0].s, *needle;
	size_t from, to, hit;
	int64_t n = 0;
	bool any;
	if (!ja_str(r, &a->v[1], &needle) || !sub_range(r, s, &a->v[2], &a->v[3], &from, &to, &any))
		return false;
	if (any && !needle->n)
		n = (int64_t)utf8_count(s->p + from, to - from) + 1;
	while (any && needle->n && (hit = find_in(s->p, from, to, needle)) != SIZE_MAX) {
		n++;
		from = hit + needle->n;
	}
	*ret = jv_int(n);
	return true;
}

static bool m_starts(struct jrun *r, struct jargs *a, struct jval *ret)
{
	const struct jstr *s = a->v[0].s;
	size_t from, to;
	bool any, ends = a->fn->name[0] == 'e', yes = false;
	const struct jval *list = a->v[1].kind == J_TUPLE ? a->v[1].list->v : &a->v[1];
	size_t n = a->v[1].kind == J_TUPLE ? a->v[1].list->n : 1;
	if (!sub_range(r, a->v[0].s, &a->v[2], &a->v[3], &from, &to, &any))
		return false;
	for (size_t i = 0; i < n && !yes; i++) {
		struct jstr *x;
		if (!ja_str(r, &list[i], &x) || !jr_charge(r, x->n))
			return false;
		yes = any && x->n <= to - from && memcmp(ends ? s->p + to - x->n : s->p + from, x->p, x->n) == 0;
	}
	*ret = jv_bool(yes);
	return true;
}

/* ---- changing ---- */

static bool m_replace(struct jrun *r, struct jargs *a, struct jval *ret)
{
	struct jstr *old, *new;
	struct jval with = a->v[2];
	int64_t count;
	if (a->v[0].safe && with.kind == J_STR && !jp_escape(r, &a->v[2], &with))
		return false;
	if (!ja_str(r, &a->v[1], &old) || !ja_str(r, &with, &new) || !ja_int(r, &a->v[3], -1, &count) ||
	    !jstr_replace(r, a->v[0].s, old, new, count, ret))
		return false;
	ret->safe = a->v[0].safe;
	return true;
}

static bool m_strip(struct jrun *r, struct jargs *a, struct jval *ret)
{
	char side = a->fn->name[0];
	if (!jstr_strip(r, a->v[0].s, &a->v[1], side != 'r', side != 'l', ret))
		return false;
	ret->safe = a->v[0].safe;
	return true;
}

static bool m_case(struct jrun *r, struct jargs *a, struct jval *ret)
{
	static const struct {
		const char *name;
		enum jcase how;
	} cases[] = {
		{"upper", JCASE_UPPER},           {"lower", JCASE_LOWER},   {"title", JCASE_TITLE},
		{"capitalize", JCASE_CAPITALIZE}, {"swapcase", JCASE_SWAP}, {"casefold", JCASE_FOLD},
	};
	size_t i = 0;
	while (strcmp(cases[i].name, a->fn->name) != 0)
		i++;
	if (!jcase_map(r, a->v[0].s, cases[i].how, ret))
		return false;
	ret->safe = a->v[0].safe;
	return true;
}

static bool m_affix(struct jrun *r, struct jargs *a, struct jval *ret)
{
	const struct jstr *s = a->v[0].s;
	bool suffix = strcmp(a->fn->name, "removesuffix") == 0;
	struct jstr *x;
	if (!ja_str(r, &a->v[1], &x))
		return false;
	bool has = x->n <= s->n && memcmp(suffix ? s->p + s->n - x->n : s->p, x->p, x->n) == 0;
	if (!jv_str_part(r, s, has && !suffix ? x->n : 0, s->n - (has ? x->n : 0), ret))
		return false;
	ret->safe = a->v[0].safe;
	return true;
}

static bool pad_around(struct jrun *r, struct jstr *s, size_t left, size_t right, const struct jstr *fill, struct jval *ret)
{
	struct jb b;
	jb_init(&b, r);
	return jb_pad(&b, fill->p, fill->n, left) && jb_add(&b, s->p, s->n) && jb_pad(&b, fill->p, fill->n, right) &&
	       jb_take(&b, ret);
}

bool jstr_center(struct jrun *r, struct jstr *s, size_t width, const struct jstr *fill, struct jval *ret)
{
	size_t n = jv_str_len(s), pad = width > n ? width - n : 0;
	size_t left = pad / 2 + (pad & width & 1);
	return pad_around(r, s, left, pad - left, fill, ret);
}

static bool m_pad(struct jrun *r, struct jargs *a, struct jval *ret)
{
	struct jstr blank = {.p = " ", .n = 1, .n_cp = 1};
	struct jstr *s = a->v[0].s, *fill = &blank;
	size_t width, n = jv_str_len(s);
	bool ok;
	if (!ja_size(r, &a->v[1], 0, &width) || (a->v[2].kind != J_MISSING && !ja_str(r, &a->v[2], &fill)))
		return false;
	if (jv_str_len(fill) != 1)
		return jr_fail(r, "the fill character must be exactly one character long");
	size_t pad = width > n ? width - n : 0;
	switch (a->fn->name[0]) {
	case 'c': ok = jstr_center(r, s, width, fill, ret); break;
	case 'l': ok = pad_around(r, s, 0, pad, fill, ret); break;
	default: ok = pad_around(r, s, pad, 0, fill, ret); break;
	}
	ret->safe = a->v[0].safe;
	return ok;
}

static bool m_zfill(struct jrun *r, struct jargs *a, struct jval *ret)
{
	struct jstr *s = a->v[0].s;
	size_t width, n = jv_str_len(s), sign = s->n && (s->p[0] == '-' || s->p[0] == '+');
	struct jb b;
	if (!ja_size(r, &a->v[1], 0, &width))
		return false;
	jb_init(&b, r);
	return jb_add(&b, s->p, sign) && jb_pad(&b, "0", 1, width > n ? width - n : 0) && jb_add(&b, s->p + sign, s->n - sign) &&
	       jb_take(&b, ret);
}

static bool m_expandtabs(struct jrun *r, struct jargs *a, struct jval *ret)
{
	const struct jstr *s = a->v[0].s;
	size_t size, column = 0;
	struct jb b;
	if (!ja_size(r, &a->v[1], 8, &size))
		return false;
	jb_init(&b, r);
	for (size_t i = 0; i < s->n; i++) {
		char c = s->p[i];
		if (c == '\t') {
			size_t n = size ? size - column % size : 0;
			if (!jb_pad(&b, " ", 1, n))
				return false;
			column += n;
			continue;
		}
		if (!jb_addc(&b, c))
			return false;
		column = c == '\n' || c == '\r' ? 0 : column + (((unsigned char)c & 0xC0) != 0x80);
	}
	return jb_take(&b, ret);
}

static bool m_join(struct jrun *r, struct jargs *a, struct jval *ret)
{
	const struct jval *sep = &a->v[0];
	struct jiter it;
	struct jval item;
	struct jb b;
	int got;
	bool first = true;
	jb_init(&b, r);
	if (!ji_open(r, &a->v[1], &it))
		return false;
	for (size_t i = 0; (got = ji_next(r, &it, &item)); i++) {
		if (got < 0)
			return false;
		if (sep->safe && !jp_escape(r, &item, &item))
			return false;
		if (item.kind != J_STR)
			return jr_fail(r, "sequence item %zu: expected str instance, %s found", i, jv_type(&item));
		if ((!first && !jb_add(&b, sep->s->p, sep->s->n)) || !jb_add(&b, item.s->p, item.s->n))
			return false;
		first = false;
	}
	if (!jb_take(&b, ret))
		return false;
	ret->safe = sep->safe;
	return true;
}

static bool m_format(struct jrun *r, struct jargs *a, struct jval *ret)
{
	return jf_format(r, &a->v[0], a->call, ret);
}

static bool m_format_map(struct jrun *r, struct jargs *a, struct jval *ret)
{
	const struct jcall *c = a->call;
	if (c->n_args != 1 || c->n_kw || c->args[0].kind != J_DICT)
		return jr_fail(r, "format_map() takes one mapping");
	const struct jdict *d = c->args[0].dict;
	struct jval *vals = jr_alloc_n(r, d->n, sizeof *vals);
	struct jstr **names = jr_alloc_n(r, d->n, sizeof *names);
	size_t n = 0;
	if (!vals || !names)
		return false;
	for (size_t i = 0; i < d->n; i++) {
		if (d->e[i].key.kind != J_STR)
			continue;
		vals[n] = d->e[i].val;
		names[n++] = d->e[i].key.s;
	}
	return jf_format(r, &a->v[0], &(struct jcall){.kw_vals = vals, .kw_names = names, .n_kw = n}, ret);
}

static bool m_encode(struct jrun *r, struct jargs *a, struct jval *ret)
{
	(void)r;
	*ret = (struct jval){.kind = J_BYTES, .s = a->v[0].s};
	return true;
}

/* ---- asking ---- */

static bool m_is_class(struct jrun *r, struct jargs *a, struct jval *ret)
{
	static const struct {
		const char *name;
		enum jclass c;
	} classes[] = {
		{"isalpha", JCLASS_ALPHA},     {"isdigit", JCLASS_DIGIT}, {"isdecimal", JCLASS_DECIMAL},
		{"isnumeric", JCLASS_NUMERIC}, {"isalnum", JCLASS_ALNUM}, {"isspace", JCLASS_SPACE},
		{"isprintable", JCLASS_PRINTABLE},
	};
	const struct jstr *s = a->v[0].s;
	size_t k = 0;
	while (strcmp(classes[k].name, a->fn->name) != 0)
		k++;
	bool yes = s->n > 0 || classes[k].c == JCLASS_PRINTABLE;
	for (size_t i = 0; yes && i < s->n;) {
		uint32_t cp;
		i += utf8_next(s->p + i, s->n - i, &cp);
		yes = jcase_is(cp, classes[k].c);
	}
	*ret = jv_bool(yes);
	return jr_charge(r, s->n * 16);
}

static bool m_is_case(struct jrun *r, struct jargs *a, struct jval *ret)
{
	const struct jstr *s = a->v[0].s;
	char c = a->fn->name[2];
	*ret = jv_bool(c == 'u' ? jcase_is_upper(s) : c == 'l' ? jcase_is_lower(s) : jcase_is_title(s));
	return jr_charge(r, s->n * 16);
}

static bool m_isascii(struct jrun *r, struct jargs *a, struct jval *ret)
{
	*ret = jv_bool(jv_str_len(a->v[0].s) == a->v[0].s->n);
	return jr_charge(r, a->v[0].s->n);
}

static bool m_isidentifier(struct jrun *r, struct jargs *a, struct jval *ret)
{
	const struct jstr *s = a->v[0].s;
	bool yes = s->n && !(s->p[0] >= '0' && s->p[0] <= '9');
	for (size_t i = 0; yes && i < s->n;) {
		uint32_t cp;
		i += utf8_next(s->p + i, s->n - i, &cp);
		yes = jcase_word(cp);
	}
	*ret = jv_bool(yes);
	return jr_charge(r, s->n * 16);
}

const struct jbuiltin jinja_str_methods[] = {
	{"capitalize", "/", m_case},
	{"casefold", "/", m_case},
	{"center", "/ width fillchar?", m_pad},
	{"count", "/ sub start? end?", m_count},
	{"encode", "encoding? errors?", m_encode},
	{"endswith", "/ suffix start? end?", m_starts},
	{"expandtabs", "tabsize?", m_expandtabs},
	{"find", "/ sub start? end?", m_find},
	{"format", "*", m_format},
	{"format_map", "*", m_format_map},
	{"index", "/ sub start? end?", m_find},
	{"isalnum", "/", m_is_class},
	{"isalpha", "/", m_is_class},
	{"isascii", "/", m_isascii},
	{"isdecimal", "/", m_is_class},
	{"isdigit", "/", m_is_class},
	{"isidentifier", "/", m_isidentifier},
	{"islower", "/", m_is_case},
	{"isnumeric", "/", m_is_class},
	{"isprintable", "/", m_is_class},
	{"isspace", "/", m_is_class},
	{"istitle", "/", m_is_case},
	{"isupper", "/", m_is_case},
	{"join", "/ iterable", m_join},
	{"ljust", "/ width fillchar?", m_pad},
	{"lower", "/", m_case},
	{"lstrip", "/ chars?", m_strip},
	{"partition", "/ sep", m_partition},
	{"removeprefix", "/ prefix", m_affix},
	{"removesuffix", "/ suffix", m_affix},
	{"replace", "/ old new count?", m_replace},
	{"rfind", "/ sub start? end?", m_find},
	{"rindex", "/ sub start? end?", m_find},
	{"rjust", "/ width fillchar?", m_pad},
	{"rpartition", "/ sep", m_partition},
	{"rsplit", "sep? maxsplit?", m_split},
	{"rstrip", "/ chars?", m_strip},
	{"split", "sep? maxsplit?", m_split},
	{"splitlines", "keepends?", m_splitlines},
	{"startswith", "/ prefix start? end?", m_starts},
	{"strip", "/ chars?", m_strip},
	{"swapcase", "/", m_case},
	{"title", "/", m_case},
	{"upper", "/", m_case},
	{"zfill", "/ width", m_zfill},
};
const size_t jinja_n_str_methods = ARRAY_LEN(jinja_str_methods);
