/* clock: monotonic time for durations and deadlines, wall time for what people see. All int64 nanoseconds. */
#ifndef CRIA_BASE_CLOCK_H
#define CRIA_BASE_CLOCK_H

#include <stdint.h>

#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S INT64_C(1000000000)

int64_t clock_now_ns(void);  /* CLOCK_MONOTONIC */
int64_t clock_wall_ns(void); /* since 1970, UTC */

enum { CLOCK_TEXT_BYTES = 48 };
/* RFC 3339 with exactly `digits` (0-9) decimals, UTC, "Z" at the end. */
void clock_rfc3339_utc(int64_t wall_ns, int digits, char out[CLOCK_TEXT_BYTES]);
/* RFC 3339 as Go writes it: nanoseconds with trailing zeros removed; UTC ("Z"), or the local zone with its offset. */
void clock_rfc3339_go(int64_t wall_ns, int local, char out[CLOCK_TEXT_BYTES]);

#endif
