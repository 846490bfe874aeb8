/* HEAD and POST /api/blobs/:digest: model files on their way to /api/create. */
#include "api/api_endpoints.h"

void api_blobs_head(struct api_ctx *ctx, struct api_call *call)
{
	if (!store_digest_valid(call->param))
		api_reply_error(call, 400, "invalid digest format");
	else if (!store_blob_exists(ctx->store, call->param, NULL))
		api_reply_error(call, 404, "blob \"%s\" not found", call->param);
	else
		call->ops->reply(call, 200, NULL, 0, "", 0);
}

void api_blobs_post(struct api_ctx *ctx, struct api_call *call)
{
	struct store_blob *blob = call->blob;
	struct err err;
	char digest[72];
	call->blob = NULL;
	if (!store_digest_valid(call->param)) {
		store_blob_abort(blob);
		api_reply_error(call, 400, "invalid digest format");
		return;
	}
	if (store_blob_exists(ctx->store, call->param, NULL)) {
		store_blob_abort(blob);
		call->ops->reply(call, 200, NULL, 0, "", 0);
		return;
	}
	if (!blob) {
		err_set(&err, ERR_IO, "the model folder %s cannot be written", store_dir(ctx->store));
		api_reply_err(call, &err);
		return;
	}
	if (store_blob_finish(blob, call->param, digest, NULL, &err))
		api_reply_err(call, &err);
	else
		call->ops->reply(call, 201, NULL, 0, "", 0);
}
