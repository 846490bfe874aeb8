#include "chat/jinja_case.h"

#include <string.h>
#include <utf8proc.h>

#include "base/bug.h"
#include "base/utf8.h"
#include "chat/jinja_run.h"

struct range {
	uint32_t from, to;
};

static const struct {
	uint32_t cp;
	const char *upper, *title;
} special[] = {
#define JCASE(cp, upper, title) {cp, upper, title},
#include "chat/jinja_case.def"
#undef JCASE
};

#define ONE_RANGE(from, to) {from, to},
static const struct range digit_ranges[] = {
#define JRANGE_DIGIT ONE_RANGE
#include "chat/jinja_case.def"
#undef JRANGE_DIGIT
};
static const struct range numeric_ranges[] = {
#define JRANGE_NUMERIC ONE_RANGE
#include "chat/jinja_case.def"
#undef JRANGE_NUMERIC
};
static const struct range lower_ranges[] = {
#define JRANGE_LOWER ONE_RANGE
#include "chat/jinja_case.def"
#undef JRANGE_LOWER
};
static const struct range upper_ranges[] = {
#define JRANGE_UPPER ONE_RANGE
#include "chat/jinja_case.def"
#undef JRANGE_UPPER
};

static bool in_ranges(const struct range *ranges, size_t n, uint32_t cp)
{
	size_t lo = 0, hi = n;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		if (cp > ranges[mid].to)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < n && cp >= ranges[lo].from;
}
#define IN(ranges, cp) in_ranges(ranges, ARRAY_LEN(ranges), cp)

static utf8proc_category_t category(uint32_t cp)
{
	return utf8proc_category((utf8proc_int32_t)cp);
}

bool jcase_is_space(uint32_t cp)
{
	return (cp >= 9 && cp <= 13) || (cp >= 0x1C && cp <= 0x20) || cp == 0x85 || cp == 0xA0 || cp == 0x1680 ||
	       (cp >= 0x2000 && cp <= 0x200A) || cp == 0x2028 || cp == 0x2029 || cp == 0x202F || cp == 0x205F || cp == 0x3000;
}

bool jcase_is(uint32_t cp, enum jclass c)
{
	utf8proc_category_t cat = category(cp);
	switch (c) {
	case JCLASS_SPACE: return jcase_is_space(cp);
	case JCLASS_DECIMAL: return cat == UTF8PROC_CATEGORY_ND;
	case JCLASS_DIGIT: return cat == UTF8PROC_CATEGORY_ND || IN(digit_ranges, cp);
	case JCLASS_NUMERIC:
		return cat == UTF8PROC_CATEGORY_ND || cat == UTF8PROC_CATEGORY_NL || cat == UTF8PROC_CATEGORY_NO ||
		       IN(numeric_ranges, cp);
	case JCLASS_ALPHA:
		return cat == UTF8PROC_CATEGORY_LU || cat == UTF8PROC_CATEGORY_LL || cat == UTF8PROC_CATEGORY_LT ||
		       cat == UTF8PROC_CATEGORY_LM || cat == UTF8PROC_CATEGORY_LO;
	case JCLASS_ALNUM: return jcase_is(cp, JCLASS_ALPHA) || jcase_is(cp, JCLASS_NUMERIC);
	case JCLASS_PRINTABLE: break;
	}
	switch (cat) {
	case UTF8PROC_CATEGORY_CC:
	case UTF8PROC_CATEGORY_CF:
	case UTF8PROC_CATEGORY_CS:
	case UTF8PROC_CATEGORY_CO:
	case UTF8PROC_CATEGORY_CN:
	case UTF8PROC_CATEGORY_ZL:
	case UTF8PROC_CATEGORY_ZP: return false;
	case UTF8PROC_CATEGORY_ZS: return cp == ' ';
	default: return true;
	}
}

bool jcase_word(uint32_t cp)
{
	if (cp < 0x80)
		return (cp >= '0' && cp <= '9') || ((cp | 32) >= 'a' && (cp | 32) <= 'z') || cp == '_';
	return jcase_is(cp, JCLASS_ALNUM);
}

static bool is_lower(uint32_t cp)
{
	return category(cp) == UTF8PROC_CATEGORY_LL || IN(lower_ranges, cp);
}

static bool is_upper(uint32_t cp)
{
	return category(cp) == UTF8PROC_CATEGORY_LU || IN(upper_ranges, cp);
}

static bool is_cased(uint32_t cp)
{
	return is_lower(cp) || is_upper(cp) || category(cp) == UTF8PROC_CATEGORY_LT;
}

/* ---- mapping ---- */

static bool add_upper(struct jb *b, uint32_t cp, bool title)
{
	size_t lo = 0, hi = ARRAY_LEN(special);
	while (cp >= special[0].cp && lo < hi) {
		size_t mid = (lo + hi) / 2;
		if (special[mid].cp == cp)
			return jb_adds(b, title ? special[mid].title : special[mid].upper);
		if (special[mid].cp < cp)
			lo = mid + 1;
		else
			hi = mid;
	}
	utf8proc_int32_t c = (utf8proc_int32_t)cp;
	return jb_add_cp(b, (uint32_t)(title ? utf8proc_totitle(c) : utf8proc_toupper(c)));
}

/* Whether the sigma at byte i ends a word: a cased letter before it, none after (Unicode, Final_Sigma). */
static bool final_sigma(const struct jstr *s, size_t i)
{
	uint32_t cp = 0;
	size_t k = i;
	bool before = false;
	while (k > 0 && !before) {
		do
			k--;
		while (k > 0 && ((unsigned char)s->p[k] & 0xC0) == 0x80);
		utf8_next(s->p + k, s->n - k, &cp);
		before = is_cased(cp);
		if (!before && category(cp) != UTF8PROC_CATEGORY_MN && cp != '\'' && cp != 0xAD)
			return false;
	}
	if (!before)
		return false;
	for (k = i + 2; k < s->n;) {
		k += utf8_next(s->p + k, s->n - k, &cp);
		if (is_cased(cp))
			return false;
		if (category(cp) != UTF8PROC_CATEGORY_MN && cp != '\'' && cp != 0xAD)
			return true;
	}
	return true;
}

static bool add_lower(struct jb *b, const struct jstr *s, size_t i, uint32_t cp)
{
	if (cp == 0x130)
		return jb_adds(b, "i\xcc\x87");
	if (cp == 0x3A3)
		return jb_add_cp(b, final_sigma(s, i) ? 0x3C2 : 0x3C3);
	return jb_add_cp(b, (uint32_t)utf8proc_tolower((utf8proc_int32_t)cp));
}

static bool add_folded(struct jb *b, uint32_t cp)
{
	utf8proc_int32_t out[8];
	int boundary = 0;
	utf8proc_ssize_t n = utf8proc_decompose_char((utf8proc_int32_t)cp, out, ARRAY_LEN(out), UTF8PROC_CASEFOLD, &boundary);
	for (utf8proc_ssize_t i = 0; i < n && i < (utf8proc_ssize_t)ARRAY_LEN(out); i++)
		if (!jb_add_cp(b, (uint32_t)out[i]))
			return false;
	return true;
}

bool jcase_map(struct jrun *r, const struct jstr *s, enum jcase how, struct jval *ret)
{
	struct jb b;
	bool in_word = false;
	jb_init(&b, r);
	for (size_t i = 0; i < s->n;) {
		uint32_t cp;
		size_t n = utf8_next(s->p + i, s->n - i, &cp);
		bool ok = true;
		switch (how) {
		case JCASE_UPPER: ok = add_upper(&b, cp, false); break;
		case JCASE_LOWER: ok = add_lower(&b, s, i, cp); break;
		case JCASE_FOLD: ok = add_folded(&b, cp); break;
		case JCASE_SWAP:
			ok = is_upper(cp) ? add_lower(&b, s, i, cp) : is_lower(cp) ? add_upper(&b, cp, false) : jb_add_cp(&b, cp);
			break;
		case JCASE_TITLE:
			ok = in_word ? add_lower(&b, s, i, cp) : add_upper(&b, cp, true);
			in_word = is_cased(cp);
			break;
		case JCASE_CAPITALIZE: ok = i ? add_lower(&b, s, i, cp) : add_upper(&b, cp, true); break;
		}
		if (!ok)
			return false;
		i += n;
	}
	return jb_take(&b, ret);
}

/* ---- whole strings ---- */

static bool all_one_case(const struct jstr *s, bool (*want)(uint32_t), bool (*not)(uint32_t))
{
	bool any = false;
	for (size_t i = 0; i < s->n;) {
		uint32_t cp;
		i += utf8_next(s->p + i, s->n - i, &cp);
		if (not(cp) || category(cp) == UTF8PROC_CATEGORY_LT)
			return false;
		any |= want(cp);
	}
	return any;
}

bool jcase_is_lower(const struct jstr *s)
{
	return all_one_case(s, is_lower, is_upper);
}

bool jcase_is_upper(const struct jstr *s)
{
	return all_one_case(s, is_upper, is_lower);
}

bool jcase_is_title(const struct jstr *s)
{
	bool in_word = false, any = false;
	for (size_t i = 0; i < s->n;) {
		uint32_t cp;
		i += utf8_next(s->p + i, s->n - i, &cp);
		bool head = is_upper(cp) || category(cp) == UTF8PROC_CATEGORY_LT;
		if (head ? in_word : is_lower(cp) && !in_word)
			return false;
		in_word = head || is_lower(cp);
		any |= in_word;
	}
	return any;
}

/* Whether the character is one to strip. */
static bool strips(uint32_t cp, const char *p, size_t n, const struct jstr *chars)
{
	if (!chars)
		return jcase_is_space(cp);
	return n && memmem(chars->p, chars->n, p, n) != NULL; /* UTF-8 characters match at boundaries only */
}

size_t jcase_strip(const char *p, size_t n, const struct jstr *chars, bool left, bool right, size_t *ret_from)
{
	size_t from = 0;
	uint32_t cp;
	while (left && from < n) {
		size_t len = utf8_next(p + from, n - from, &cp);
		if (!strips(cp, p + from, len, chars))
			break;
		from += len;
	}
	while (right && n > from) {
		size_t k = n - 1;
		while (k > from && ((unsigned char)p[k] & 0xC0) == 0x80)
			k--;
		utf8_next(p + k, n - k, &cp);
		if (!strips(cp, p + k, n - k, chars))
			break;
		n = k;
	}
	*ret_from = from;
	return n - from;
}
