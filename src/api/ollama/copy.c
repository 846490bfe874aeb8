/* POST /api/copy */
#include "api/api_decode.h"
#include "api/api_endpoints.h"
#include "base/bug.h"

struct copy_fields {
	const char *source, *destination;
};

static const struct api_field table[] = {
	{"source", API_F_STR, offsetof(struct copy_fields, source)},
	{"destination", API_F_STR, offsetof(struct copy_fields, destination)},
};

void api_copy(struct api_ctx *ctx, struct api_call *call)
{
	struct copy_fields f;
	struct store_name from, to;
	struct err err;
	json_t *body;
	int rc = api_body(call, "CopyRequest", "missing request body", &body, &err);
	if (!rc)
		rc = api_decode(call, body, "CopyRequest", table, ARRAY_LEN(table), &f, &err);
	if (!rc && !store_name_parse(f.source, &from))
		rc = err_set(&err, ERR_INVALID, "source \"%s\" is invalid", f.source);
	if (!rc && !store_name_parse(f.destination, &to))
		rc = err_set(&err, ERR_INVALID, "destination \"%s\" is invalid", f.destination);
	if (!rc && (rc = store_copy(ctx->store, &from, &to, &err)) == ERR_NOT_FOUND)
		err_set(&err, rc, "model \"%s\" not found", f.source);
	if (rc)
		api_reply_err(call, &err);
	else
		call->ops->reply(call, 200, NULL, 0, "", 0);
	json_decref(body);
}
