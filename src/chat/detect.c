#include "chat/detect.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "chat/detect_table.h"

enum { NEAR = 100 }; /* distances from here on count as different */

/* Code points of a text; the caller frees. */
static uint32_t *code_points(const char *p, size_t n, size_t *ret_n)
{
	uint32_t *v = mem_calloc(n + 1, sizeof *v);
	size_t k = 0;
	for (size_t i = 0; i < n;)
		i += utf8_next(p + i, n - i, &v[k++]);
	*ret_n = k;
	return v;
}

static int min3(int a, int b, int c)
{
	int m = a < b ? a : b;
	return m < c ? m : c;
}

/* Levenshtein distance, or NEAR when it is not smaller. Only the diagonals that can stay below NEAR are computed: row[k] is
 * the distance between the first i characters of a and the first i + k - NEAR of b. */
static int distance(const uint32_t *a, size_t n_a, const uint32_t *b, size_t n_b)
{
	int row[2 * NEAR + 2];
	if ((n_a > n_b ? n_a - n_b : n_b - n_a) >= NEAR)
		return NEAR;
	for (int k = 0; k <= 2 * NEAR + 1; k++)
		row[k] = k < NEAR || k > 2 * NEAR ? NEAR : k - NEAR;
	for (size_t i = 1; i <= n_a; i++) {
		int best = NEAR, left = NEAR;
		for (int k = 0; k <= 2 * NEAR; k++) {
			int64_t j = (int64_t)i + k - NEAR;
			int d = NEAR;
			if (j == 0)
				d = (int)(i < NEAR ? i : NEAR);
			else if (j > 0 && (uint64_t)j <= n_b)
				d = min3(row[k] + (a[i - 1] != b[j - 1]), row[k + 1] + 1, left + 1);
			row[k] = left = d < NEAR ? d : NEAR;
			best = best < left ? best : left;
		}
		if (best >= NEAR)
			return NEAR;
	}
	return row[NEAR + (int)n_b - (int)n_a];
}

const struct detect_row *detect_table(size_t *ret_n)
{
	*ret_n = detect_n_rows;
	return detect_rows;
}

const struct detect_row *detect_template(const char *jinja, size_t n)
{
	enum { REFERENCE_BYTES_MAX = 16384 }; /* no reference is longer */
	int best = NEAR;
	const struct detect_row *found = NULL;
	size_t n_text, n_ref;
	if (n > 4 * (REFERENCE_BYTES_MAX + NEAR))
		return NULL;
	uint32_t *text = code_points(jinja, n, &n_text);
	for (size_t i = 0; i < detect_n_references; i++) {
		const struct detect_reference *ref = &detect_references[i];
		uint32_t *cps = code_points(ref->text, strlen(ref->text), &n_ref);
		int d = distance(text, n_text, cps, n_ref);
		mem_free(cps);
		if (d < best) {
			best = d;
			found = &detect_rows[ref->i_row];
		}
	}
	mem_free(text);
	return found;
}
