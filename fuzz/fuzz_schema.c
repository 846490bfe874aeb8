/* layer: engine */
/* JSON schemas: the input is a schema. Compiling must end soon in a grammar or an error; a random walk through what the
 * grammar allows must always find a next byte, and where it ends the text must parse. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "engine/grammar.h"

static uint32_t rng;

static uint32_t random_below(uint32_t n)
{
	rng = rng * 1664525u + 1013904223u;
	return (rng >> 8) % n;
}

/* One more byte of the text; false at its end. */
static bool walk_on(struct grammar_state *s, struct str *out)
{
	static const char closers[] = "\"]}0:,ntf";
	uint32_t from = random_below(256), i;
	if (grammar_state_can_end(s) && random_below(4) == 0)
		return false;
	if (random_below(3)) {
		for (const char *c = closers; *c; c++) {
			if (grammar_state_accept_bytes(s, c, 1)) {
				str_addc(out, *c);
				return true;
			}
		}
	}
	for (i = 0; i < 256; i++) {
		char c = (char)((from + i) & 255);
		if (grammar_state_accept_bytes(s, &c, 1)) {
			str_addc(out, c);
			return true;
		}
	}
	if (!grammar_state_done(s))
		abort();
	return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct grammar *g;
	struct err err;
	json_t *schema;
	if (json_parse_all((const char *)data, size, &schema, &err))
		return 0;
	int rc = grammar_from_schema(schema, &g, &err);
	json_decref(schema);
	if (rc) {
		if (rc != ERR_INVALID || !err.msg[0])
			abort();
		return 0;
	}
	struct grammar_state *s = grammar_state_new(g);
	struct str text = {0};
	rng = (uint32_t)size;
	for (int i = 0; i < 400 && walk_on(s, &text); i++)
		;
	if (grammar_state_can_end(s)) {
		json_t *v = json_loadb(str_cstr(&text), text.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
		if (!v)
			abort();
		json_decref(v);
	}
	str_release(&text);
	grammar_state_free(s);
	grammar_free(g);
	return 0;
}
