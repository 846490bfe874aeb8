#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

static const struct {
	int code;
	const char *name, *text;
} table[] = {
#define ERR(name, text) {ERR_##name, #name, text},
#include "base/err.def"
#undef ERR
};

/* Cuts s, which snprintf may have truncated, at the last whole character. */
static void trim_tail(char *s)
{
	s[utf8_whole(s, strlen(s))] = '\0';
}

int err_set(struct err *err, int code, const char *fmt, ...)
{
	if (err) {
		va_list ap;
		err->code = code;
		va_start(ap, fmt);
		vsnprintf(err->msg, sizeof err->msg, fmt, ap);
		va_end(ap);
		trim_tail(err->msg);
	}
	return code;
}

int err_prefix(struct err *err, const char *fmt, ...)
{
	if (!err)
		return ERR_INTERNAL;
	char old[sizeof err->msg];
	memcpy(old, err->msg, sizeof old);
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(err->msg, sizeof err->msg, fmt, ap);
	va_end(ap);
	if (n >= 0 && (size_t)n + 3 < sizeof err->msg)
		snprintf(err->msg + n, sizeof err->msg - (size_t)n, ": %.*s", (int)(sizeof err->msg - 3 - (size_t)n), old);
	trim_tail(err->msg);
	return err->code;
}

const char *err_name(int code)
{
	for (size_t i = 0; i < sizeof table / sizeof *table; i++)
		if (table[i].code == code)
			return table[i].name;
	return code == ERR_OK ? "OK" : "?";
}

const char *err_text(int code)
{
	for (size_t i = 0; i < sizeof table / sizeof *table; i++)
		if (table[i].code == code)
			return table[i].text;
	return code == ERR_OK ? "ok" : "?";
}

int err_from_name(const char *name)
{
	for (size_t i = 0; i < sizeof table / sizeof *table; i++)
		if (!strcmp(table[i].name, name))
			return table[i].code;
	return ERR_INTERNAL;
}
