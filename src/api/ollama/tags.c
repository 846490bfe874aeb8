/* GET /api/tags: the installed models, newest first. Capabilities that come from a Jinja template are not counted here, as
 * in Ollama's list. */
#include "api/api_endpoints.h"
#include "api/api_model.h"
#include "base/clock.h"
#include "base/log.h"

static void put_model(struct api_ctx *ctx, struct jsonw *w, const struct store_model *m)
{
	struct str name = {0};
	struct api_caps caps;
	struct err err;
	json_t *facts;
	char when[CLOCK_TEXT_BYTES];
	if (api_model_facts(ctx, m, false, &facts, &err)) {
		log_warn("facts of %s are missing: %s", m->name.model, err.msg);
		facts = json_object();
	}
	api_model_caps(m, facts, false, &caps);
	store_name_short(&m->name, &name);
	clock_rfc3339_go(m->modified_wall_ns, 1, when);
	jsonw_obj(w);
	jsonw_kstr(w, "name", name.data);
	jsonw_kstr(w, "model", name.data);
	if (*api_json_text(m->config, "remote_model"))
		jsonw_kstr(w, "remote_model", api_json_text(m->config, "remote_model"));
	if (*api_json_text(m->config, "remote_host"))
		jsonw_kstr(w, "remote_host", api_json_text(m->config, "remote_host"));
	jsonw_kstr(w, "modified_at", when);
	jsonw_kint(w, "size", m->size_bytes);
	jsonw_kstr(w, "digest", m->digest);
	jsonw_key(w, "details");
	api_details_write(w, m, facts, true);
	if (caps.n) {
		jsonw_key(w, "capabilities");
		jsonw_arr(w);
		for (size_t i = 0; i < caps.n; i++)
			jsonw_str(w, caps.names[i]);
		jsonw_arr_end(w);
	}
	jsonw_obj_end(w);
	json_decref(facts);
	str_release(&name);
}

void api_tags(struct api_ctx *ctx, struct api_call *call)
{
	struct store_model **list;
	struct str out = {0};
	struct jsonw w;
	struct err err;
	size_t n;
	if (store_list(ctx->store, &list, &n, &err)) {
		api_reply_err(call, &err);
		return;
	}
	jsonw_init(&w, &out, JSONW_GO);
	jsonw_obj(&w);
	jsonw_key(&w, "models");
	jsonw_arr(&w);
	for (size_t i = 0; i < n; i++)
		put_model(ctx, &w, list[i]);
	jsonw_arr_end(&w);
	jsonw_obj_end(&w);
	api_reply_json(call, 200, &out);
	str_release(&out);
	store_list_free(list, n);
}
