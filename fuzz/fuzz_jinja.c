/* layer: chat
 * The input is a template, rendered with fixed variables under small limits. */
#include <stdint.h>
#include <stdlib.h>

#include "base/clock.h"
#include "chat/jinja.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char vars_text[] =
		"{\"s\": \" Hello, World\\n\", \"n\": 7, \"f\": 1.5, \"no\": null, \"l\": [3, 1, 2], \"u\": \"\\u00e9\\u65e5\\ud83d\\ude00\","
		" \"d\": {\"b\": 1, \"a\": \"x\", \"C\": [1, {\"k\": null}]}, \"messages\": [{\"role\": \"user\", \"content\": \"U\"},"
		" {\"role\": \"assistant\", \"content\": \"A\", \"tool_calls\": [{\"function\": {\"name\": \"f\", \"arguments\": {\"x\": 1}}}]}]}";
	static const struct jinja_limits limits = {
		.steps = 100000, .depth = 300, .output_bytes = 1 << 20, .memory_bytes = 8 << 20, .time_ns = 10 * NS_PER_S};
	struct jinja *t;
	struct err err;
	struct str out = {0};
	if (size > 1 << 16 || jinja_parse((const char *)data, size, &t, &err))
		return 0;
	json_t *vars = json_loads(vars_text, 0, NULL);
	jinja_render(t, vars, 1772721045, &limits, &out, &err);
	json_decref(vars);
	str_release(&out);
	jinja_free(t);
	return 0;
}
