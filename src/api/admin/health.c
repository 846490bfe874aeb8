/* GET /livez and /readyz: for supervisors and load balancers. */
#include "api/api_endpoints.h"

void api_livez(struct api_ctx *ctx, struct api_call *call)
{
	bool alive = sched_alive(ctx->sched);
	api_reply_text(call, alive ? 200 : 503, "text/plain; charset=utf-8", alive ? "ok\n" : "the scheduler does not turn\n");
}

void api_readyz(struct api_ctx *ctx, struct api_call *call)
{
	const char *why = ctx->draining ? "draining\n" : !sched_alive(ctx->sched) ? "the scheduler does not turn\n" : NULL;
	api_reply_text(call, why ? 503 : 200, "text/plain; charset=utf-8", why ? why : "ok\n");
}
