/* layer: chat */
/* Go templates: the first byte picks how the rest, a template, is rendered: on plain data, over a conversation, or as a
 * fill-in-the-middle prompt; or the rest is a Jinja text to recognise. Any result will do that keeps within the limits. */
#include <stdint.h>
#include <stdlib.h>

#include "base/bug.h"
#include "base/json.h"
#include "chat/collate.h"
#include "chat/detect.h"

static const char data_text[] =
	"{\"s\":\"hello\",\"n\":7,\"f\":1.5,\"big\":1e21,\"t\":true,\"nil\":null,\"l\":[3,1,2],\"e\":[],\"m\":{\"b\":2,\"a\":\"x\"},"
	"\"mm\":{\"k\":{\"z\":1}},\"users\":[{\"Name\":\"Ann\",\"Tags\":[\"x\"]}],\"u\":\"\xC3\xA9\xE6\x97\xA5\",\"html\":\"<a>'&\\\"\"}";
static const char messages_text[] =
	"[{\"role\":\"system\",\"content\":\"Be brief.\"},{\"role\":\"user\",\"content\":\"Hi [img]\",\"images\":[\"x\",\"y\"]},"
	"{\"role\":\"assistant\",\"content\":\"\",\"thinking\":\"hm\",\"tool_calls\":[{\"id\":\"a\",\"function\":{\"index\":0,\"name\":\"f\","
	"\"arguments\":{\"b\":1,\"a\":[null,\"<\"]}}}]},{\"role\":\"tool\",\"content\":\"2\",\"tool_name\":\"f\"},"
	"{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"user\",\"content\":\"b\"}]";
static const char tools_text[] =
	"[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"description\":\"d\",\"parameters\":{\"type\":\"object\",\"required\":[\"a\"],"
	"\"properties\":{\"z\":{\"type\":[\"string\",\"null\"],\"enum\":[1,\"x\"]},\"a\":{\"anyOf\":[{\"type\":\"array\"}],"
	"\"properties\":{\"q\":{\"type\":\"integer\"}}}}}}}]";

static json_t *parsed(const char *text, size_t n)
{
	struct err err;
	json_t *j = NULL;
	BUG_ON(json_parse(text, n, &j, &err));
	return j;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static const struct gotmpl_limits limits = {
		.steps = 5000, .depth = 1500, .output_bytes = 1 << 17, .memory_bytes = 1 << 20, .time_ns = INT64_C(20000000000)};
	static json_t *data, *messages, *tools;
	struct gotmpl *t;
	struct err err;
	struct str out = {0};
	if (!data) {
		data = parsed(data_text, sizeof data_text - 1);
		messages = parsed(messages_text, sizeof messages_text - 1);
		tools = parsed(tools_text, sizeof tools_text - 1);
	}
	if (!n)
		return 0;
	const char *src = (const char *)p + 1;
	if (p[0] % 8 == 7) {
		detect_template(src, n - 1);
		return 0;
	}
	if (gotmpl_parse(src, n - 1, &t, &err))
		return 0;
	struct collate_req req = {.messages = messages, .tools = p[0] & 16 ? tools : NULL, .think = p[0] % 3 - 1, .tag_images = p[0] & 32};
	int rc;
	if (p[0] % 8 == 6)
		req.prompt = req.suffix = "x";
	if (p[0] % 2)
		rc = gotmpl_render(t, data, 1772721045, &limits, &out, &err);
	else
		rc = collate_render(t, &req, &limits, &out, &err);
	BUG_ON(rc && out.len);
	BUG_ON(out.len > limits.output_bytes);
	str_release(&out);
	gotmpl_free(t);
	return 0;
}
