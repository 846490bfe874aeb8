/* api_endpoints: the handlers named in routes.def, each defined in a file of its own in ollama/, openai/ or admin/. The
 * prototypes come from the table itself, so that a new endpoint is one line there. A handler listed for two paths is
 * declared twice, which C allows. */
#ifndef CRIA_API_ENDPOINTS_H
#define CRIA_API_ENDPOINTS_H

#include "api/api.h"

#define ROUTE(methods, pattern, handler, flags) void handler(struct api_ctx *ctx, struct api_call *call);
#include "api/routes.def"
#undef ROUTE

#endif
