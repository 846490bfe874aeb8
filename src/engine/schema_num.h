/* schema_num: automata for numbers: of a kind, in a range, multiples of something. Numbers are written without leading
 * zeros; a bounded number has no exponent. Lengths are bounded, so that a number always ends and its value is exact. */
#ifndef CRIA_ENGINE_SCHEMA_NUM_H
#define CRIA_ENGINE_SCHEMA_NUM_H

#include <jansson.h>

#include "engine/grammar_int.h"

/* Bounds are JSON numbers or NULL. */
struct num_range {
	bool integer;
	const json_t *min, *max;           /* inclusive */
	const json_t *above, *below;       /* exclusive */
	const json_t *multiple;
};

/* A number of the range, then next. ERR_INVALID for bounds that cannot be honoured; *ret GB_FAIL when there is no such number. */
int num_compile(struct grammar *g, const struct num_range *r, uint32_t next, uint32_t *ret, struct err *err);

#endif
