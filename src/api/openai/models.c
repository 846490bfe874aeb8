/* GET /v1/models and /v1/models/:model */
#include "api/api_endpoints.h"
#include "api/api_model.h"
#include "api/openai/openai.h"
#include "base/clock.h"

static void put_model(struct jsonw *w, const struct store_model *m, const char *id)
{
	jsonw_obj(w);
	jsonw_kstr(w, "id", id);
	jsonw_kstr(w, "object", "model");
	jsonw_kint(w, "created", m->modified_wall_ns / NS_PER_S);
	jsonw_kstr(w, "owned_by", m->name.ns);
	jsonw_obj_end(w);
}

void api_v1_models(struct api_ctx *ctx, struct api_call *call)
{
	struct store_model **list;
	struct str out = {0}, id = {0};
	struct jsonw w;
	struct err err;
	size_t n;
	if (store_list(ctx->store, &list, &n, &err)) {
		openai_reply_err(call, &err);
		return;
	}
	jsonw_init(&w, &out, JSONW_GO);
	jsonw_obj(&w);
	jsonw_kstr(&w, "object", "list");
	jsonw_key(&w, "data");
	jsonw_arr(&w);
	for (size_t i = 0; i < n; i++) {
		str_clear(&id);
		store_name_short(&list[i]->name, &id);
		put_model(&w, list[i], id.data);
	}
	jsonw_arr_end(&w);
	jsonw_obj_end(&w);
	openai_reply(call, 200, &out);
	str_release(&out);
	str_release(&id);
	store_list_free(list, n);
}

void api_v1_models_model(struct api_ctx *ctx, struct api_call *call)
{
	struct store_model *m;
	struct store_name name;
	struct str out = {0};
	struct jsonw w;
	struct err err;
	int rc = api_model_open(ctx, call->param, &m, &err);
	if (rc == ERR_NOT_FOUND && store_name_parse(call->param, &name)) {
		store_name_short(&name, &out);
		err_set(&err, rc, "model '%s' not found", out.data);
		str_clear(&out);
	}
	if (rc) {
		openai_reply_err(call, &err);
	} else {
		jsonw_init(&w, &out, JSONW_GO);
		put_model(&w, m, call->param);
		openai_reply(call, 200, &out);
	}
	str_release(&out);
	store_model_free(m);
}
