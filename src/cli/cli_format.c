#include "cli/cli_format.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/bug.h"
#include "base/mem.h"
#include "cli/cli_term.h"

void cli_size_text(int64_t n_bytes, char out[CLI_TEXT_BYTES])
{
	static const char *const units[] = {"B", "KB", "MB", "GB", "TB"};
	double v = (double)n_bytes;
	size_t u = 0;
	while (v >= 1000 && u + 1 < ARRAY_LEN(units)) {
		v /= 1000;
		u++;
	}
	bool whole = v >= 10 || v == floor(v) || u == 0;
	snprintf(out, CLI_TEXT_BYTES, whole ? "%.0f %s" : "%.1f %s", whole ? floor(v) : v, units[u]);
}

void cli_count_text(double n, char out[CLI_TEXT_BYTES])
{
	if (n >= 1e9)
		snprintf(out, CLI_TEXT_BYTES, fmod(n, 1e9) == 0 ? "%.0fB" : "%.1fB", n / 1e9);
	else if (n >= 1e6)
		snprintf(out, CLI_TEXT_BYTES, fmod(n, 1e6) == 0 ? "%.0fM" : "%.2fM", n / 1e6);
	else if (n >= 1e3)
		snprintf(out, CLI_TEXT_BYTES, "%.0fK", n / 1e3);
	else
		snprintf(out, CLI_TEXT_BYTES, "%.0f", n);
}

void cli_age_text(int64_t then_s, int64_t now_s, char out[CLI_TEXT_BYTES])
{
	static const struct {
		int64_t below_s, unit_s;
		const char *fixed, *many; /* fixed: the whole text; many: printf form of the count */
	} steps[] = {
		{1, 1, "Less than a second", NULL}, {2, 1, "1 second", NULL},        {60, 1, NULL, "%lld seconds"},
		{120, 60, "About a minute", NULL},  {3600, 60, NULL, "%lld minutes"}, {7200, 3600, "About an hour", NULL},
		{48 * 3600, 3600, NULL, "%lld hours"}, {14 * 86400, 86400, NULL, "%lld days"},
		{60 * 86400, 7 * 86400, NULL, "%lld weeks"}, {730 * 86400, 30 * 86400, NULL, "%lld months"},
		{INT64_MAX, 365 * 86400, NULL, "%lld years"},
	};
	int64_t d = then_s > now_s ? then_s - now_s : now_s - then_s;
	size_t i = 0;
	while (d >= steps[i].below_s)
		i++;
	char text[40];
	if (steps[i].fixed)
		snprintf(text, sizeof text, "%s", steps[i].fixed);
	else
		snprintf(text, sizeof text, steps[i].many, (long long)(d / steps[i].unit_s));
	snprintf(out, CLI_TEXT_BYTES, "%s %s", text, then_s > now_s ? "from now" : "ago");
}

/* v as decimal without trailing zeros, with unit. */
static void put_trimmed(double v, int digits, const char *unit, char out[CLI_TEXT_BYTES])
{
	char num[32];
	snprintf(num, sizeof num, "%.*f", digits, v);
	size_t n = strlen(num);
	while (strchr(num, '.') && (num[n - 1] == '0' || num[n - 1] == '.')) {
		bool dot = num[n - 1] == '.';
		num[--n] = '\0';
		if (dot)
			break;
	}
	snprintf(out, CLI_TEXT_BYTES, "%s%s", num, unit);
}

void cli_duration_text(int64_t ns, char out[CLI_TEXT_BYTES])
{
	if (ns < 1000) {
		snprintf(out, CLI_TEXT_BYTES, ns ? "%lldns" : "%llds", (long long)ns);
	} else if (ns < 1000000) {
		put_trimmed((double)ns / 1e3, 3, "µs", out);
	} else if (ns < INT64_C(1000000000)) {
		put_trimmed((double)ns / 1e6, 6, "ms", out);
	} else {
		int64_t min = ns / INT64_C(60000000000), rest = ns % INT64_C(60000000000);
		char sec[CLI_TEXT_BYTES];
		put_trimmed((double)rest / 1e9, 9, "s", sec);
		if (min >= 60)
			snprintf(out, CLI_TEXT_BYTES, "%lldh%lldm%.40s", (long long)(min / 60), (long long)(min % 60), sec);
		else if (min)
			snprintf(out, CLI_TEXT_BYTES, "%lldm%.40s", (long long)min, sec);
		else
			snprintf(out, CLI_TEXT_BYTES, "%.60s", sec);
	}
}

int64_t cli_parse_time(const char *text)
{
	struct tm tm = {0};
	const char *p = text ? strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) : NULL;
	if (!p)
		return -1;
	int64_t t = (int64_t)timegm(&tm);
	if (*p == '.')
		p += 1 + strspn(p + 1, "0123456789");
	int h, m;
	if ((*p == '+' || *p == '-') && sscanf(p + 1, "%2d:%2d", &h, &m) == 2)
		t += (*p == '+' ? -1 : 1) * (h * 3600 + m * 60);
	return t;
}

static int width(const char *s)
{
	return cli_columns(s, strlen(s));
}

static void put_cell(const char *s, int w)
{
	printf("%s%*s", s, w - width(s), "");
}

void cli_table(const char *const *header, const char *const *cells, int n_row, int n_col, int indent)
{
	int *w = mem_calloc((size_t)n_col, sizeof *w);
	for (int c = 0; c < n_col; c++) {
		w[c] = header ? width(header[c]) : 0;
		for (int r = 0; r < n_row; r++)
			if (width(cells[r * n_col + c]) > w[c])
				w[c] = width(cells[r * n_col + c]);
	}
	for (int c = 0; header && c < n_col; c++) {
		put_cell(header[c], w[c]);
		printf("%s", c + 1 < n_col ? "    " : " \n");
	}
	for (int r = 0; r < n_row; r++) {
		printf("%*s", indent, "");
		for (int c = 0; c < n_col; c++) {
			put_cell(cells[r * n_col + c], w[c]);
			printf("    ");
		}
		printf("\n");
	}
	mem_free(w);
}
