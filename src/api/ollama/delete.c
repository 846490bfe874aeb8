/* DELETE /api/delete */
#include "api/api_decode.h"
#include "api/api_endpoints.h"
#include "base/bug.h"

struct delete_fields {
	const char *model, *name;
};

static const struct api_field table[] = {
	{"model", API_F_STR, offsetof(struct delete_fields, model)},
	{"name", API_F_STR, offsetof(struct delete_fields, name)},
};

void api_delete(struct api_ctx *ctx, struct api_call *call)
{
	struct delete_fields f = {"", ""};
	struct store_name name;
	struct err err;
	json_t *body;
	int rc = api_body(call, "DeleteRequest", "missing request body", &body, &err);
	if (!rc)
		rc = api_decode(call, body, "DeleteRequest", table, ARRAY_LEN(table), &f, &err);
	const char *text = *f.model ? f.model : f.name;
	if (!rc && !*text)
		rc = err_set(&err, ERR_INVALID, "model is required");
	if (!rc && !store_name_parse(text, &name))
		rc = err_set(&err, ERR_INVALID, "name \"%s\" is invalid", text);
	if (!rc && (rc = store_delete(ctx->store, &name, &err)) == ERR_NOT_FOUND)
		err_set(&err, rc, "model '%s' not found", text);
	if (rc)
		api_reply_err(call, &err);
	else
		call->ops->reply(call, 200, NULL, 0, "", 0);
	json_decref(body);
}
