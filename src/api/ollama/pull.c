/* POST /api/pull and /api/push: models come and go as files here; there is no registry client. The answer says so, with the
 * command that helps. */
#include "api/api_decode.h"
#include "api/api_endpoints.h"
#include "base/bug.h"

struct transfer_fields {
	const char *model, *name;
};

static const struct api_field table[] = {
	{"model", API_F_STR, offsetof(struct transfer_fields, model)},
	{"name", API_F_STR, offsetof(struct transfer_fields, name)},
};

/* The name asked for, or "" with an error answered. */
static int take_name(struct api_call *call, const char *type_name, json_t **ret_body, const char **ret, struct err *err)
{
	struct transfer_fields f = {"", ""};
	int rc = api_body(call, type_name, "missing request body", ret_body, err);
	if (!rc)
		rc = api_decode(call, *ret_body, type_name, table, ARRAY_LEN(table), &f, err);
	*ret = *f.model ? f.model : f.name;
	return rc;
}

void api_pull(struct api_ctx *ctx, struct api_call *call)
{
	struct store_name name;
	struct err err;
	json_t *body;
	const char *text;
	(void)ctx;
	int rc = take_name(call, "PullRequest", &body, &text, &err);
	if (!rc && !store_name_parse(text, &name))
		rc = err_set(&err, ERR_INVALID, "invalid model name");
	if (!rc)
		err_set(&err, ERR_UNSUPPORTED, "cannot pull '%s': this server has no registry client yet; download the GGUF file and run "
			"`cria create %s -f Modelfile` with a Modelfile that says FROM and the file's path", text, text);
	api_reply_err(call, &err);
	json_decref(body);
}

void api_push(struct api_ctx *ctx, struct api_call *call)
{
	struct err err;
	json_t *body;
	const char *text;
	(void)ctx;
	int rc = take_name(call, "PushRequest", &body, &text, &err);
	if (!rc && !*text)
		rc = err_set(&err, ERR_INVALID, "model is required");
	if (!rc)
		err_set(&err, ERR_UNSUPPORTED, "cannot push '%s': this server has no registry client yet; the model's file is shown by "
			"`cria show %s --modelfile`", text, text);
	api_reply_err(call, &err);
	json_decref(body);
}
