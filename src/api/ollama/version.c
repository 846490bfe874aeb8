/* GET / and /api/version, /api/status: what clients ask to find out whether a server is there and of what kind. */
#include "api/api_endpoints.h"
#include "base/json.h"

void api_root(struct api_ctx *ctx, struct api_call *call)
{
	(void)ctx;
	api_reply_text(call, 200, "text/plain; charset=utf-8", "Ollama is running"); /* clients compare this text */
}

void api_version(struct api_ctx *ctx, struct api_call *call)
{
	struct str out = {0};
	struct jsonw w;
	jsonw_init(&w, &out, JSONW_GO);
	jsonw_obj(&w);
	jsonw_kstr(&w, "version", ctx->version);
	jsonw_obj_end(&w);
	api_reply_json(call, 200, &out);
	str_release(&out);
}

/* There is no cloud behind this server, which is what "disabled" means to clients. */
void api_status(struct api_ctx *ctx, struct api_call *call)
{
	(void)ctx;
	api_reply_text(call, 200, "application/json; charset=utf-8", "{\"cloud\":{\"disabled\":true,\"source\":\"config\"}}");
}
