#include "base/clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static int64_t read_clock(clockid_t id)
{
	struct timespec t;
	clock_gettime(id, &t);
	return (int64_t)t.tv_sec * NS_PER_S + t.tv_nsec;
}

int64_t clock_now_ns(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

int64_t clock_wall_ns(void)
{
	return read_clock(CLOCK_REALTIME);
}

/* Writes date and time without zone; returns the bytes written. */
static int put_stamp(const struct tm *tm, char out[CLOCK_TEXT_BYTES])
{
	return (int)strftime(out, CLOCK_TEXT_BYTES, "%Y-%m-%dT%H:%M:%S", tm);
}

static void split(int64_t wall_ns, time_t *ret_s, int64_t *ret_ns)
{
	*ret_s = (time_t)(wall_ns / NS_PER_S);
	*ret_ns = wall_ns % NS_PER_S;
	if (*ret_ns < 0) {
		*ret_ns += NS_PER_S;
		--*ret_s;
	}
}

void clock_rfc3339_utc(int64_t wall_ns, int digits, char out[CLOCK_TEXT_BYTES])
{
	time_t s;
	int64_t ns;
	struct tm tm;
	split(wall_ns, &s, &ns);
	gmtime_r(&s, &tm);
	int n = put_stamp(&tm, out);
	if (digits > 0) {
		char frac[16];
		snprintf(frac, sizeof frac, "%09d", (int)ns);
		out[n++] = '.';
		memcpy(out + n, frac, (size_t)digits);
		n += digits;
	}
	memcpy(out + n, "Z", 2);
}

void clock_rfc3339_go(int64_t wall_ns, int local, char out[CLOCK_TEXT_BYTES])
{
	time_t s;
	int64_t ns;
	struct tm tm;
	split(wall_ns, &s, &ns);
	if (local)
		localtime_r(&s, &tm);
	else
		gmtime_r(&s, &tm);
	int n = put_stamp(&tm, out);
	if (ns) {
		char frac[16];
		int m = snprintf(frac, sizeof frac, ".%09d", (int)ns);
		while (frac[m - 1] == '0')
			m--;
		memcpy(out + n, frac, (size_t)m);
		n += m;
	}
	long off = local ? tm.tm_gmtoff : 0;
	if (off == 0)
		memcpy(out + n, "Z", 2);
	else
		snprintf(out + n, (size_t)(CLOCK_TEXT_BYTES - n), "%c%02ld:%02ld", off < 0 ? '-' : '+',
			 (off < 0 ? -off : off) / 3600, (off < 0 ? -off : off) / 60 % 60);
}
