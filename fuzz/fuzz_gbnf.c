/* layer: engine */
/* GBNF: text up to a NUL is a grammar, what follows is fed to it. Compiling must end soon; each state must agree with its
 * copy, and what is not complete must have a next byte. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/grammar.h"

static void feed(const struct grammar *g, const uint8_t *p, size_t n)
{
	struct grammar_state *s = grammar_state_new(g), *copy = grammar_state_new(g);
	for (size_t i = 0; i < 300; i++) {
		uint8_t at = i < n ? p[i] : (uint8_t)(i * 37);
		grammar_state_copy(copy, s);
		int k;
		for (k = 0; k < 256; k++) {
			uint8_t c = (uint8_t)(at + k);
			bool took = grammar_state_accept_bytes(s, &c, 1);
			if (k < 3 && took != grammar_state_accept_bytes(copy, &c, 1))
				abort();
			if (took)
				break;
		}
		if (k == 256) {
			if (!grammar_state_done(s))
				abort();
			break;
		}
	}
	grammar_state_free(s);
	grammar_state_free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *nul = memchr(data, 0, size);
	size_t n = nul ? (size_t)(nul - data) : size;
	struct grammar *g;
	struct err err;
	int rc = grammar_from_gbnf((const char *)data, n, &g, &err);
	if (rc) {
		if (rc != ERR_INVALID || !err.msg[0])
			abort();
		return 0;
	}
	feed(g, data + n + (nul != NULL), size - n - (nul != NULL));
	grammar_free(g);
	return 0;
}
