#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

enum { LINE_MAX_BYTES = 4096 };

static enum log_level current = LOG_INFO;
static char name[64];

void log_set_level(enum log_level level)
{
	current = level;
}

bool log_enabled(enum log_level level)
{
	return level >= current;
}

void log_set_name(const char *n)
{
	snprintf(name, sizeof name, "%s", n);
}

void log_line(enum log_level level, const char *fmt, ...)
{
	static const char *const words[] = {"DEBUG", "INFO", "WARN", "ERROR"};
	if (!log_enabled(level))
		return;
	char line[LINE_MAX_BYTES];
	clock_rfc3339_utc(clock_wall_ns(), 3, line);
	size_t n = strlen(line);
	n += (size_t)snprintf(line + n, sizeof line - n, " %s %s%s", words[level], name, *name ? " " : "");
	va_list ap;
	va_start(ap, fmt);
	int m = vsnprintf(line + n, sizeof line - n - 1, fmt, ap);
	va_end(ap);
	if (m > 0)
		n += (size_t)m < sizeof line - n - 1 ? (size_t)m : sizeof line - n - 2;
	for (size_t i = 0; i < n; i++) /* one line an event, whatever a client put into a value */
		if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
			line[i] = ' ';
	line[n++] = '\n';
	if (write(STDERR_FILENO, line, n) < 0)
		return; /* nowhere to report it */
}
