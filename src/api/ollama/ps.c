/* GET /api/ps: the loaded models, latest expiry first. */
#include "api/api_endpoints.h"
#include "api/api_model.h"
#include "base/clock.h"

static void put_model(struct api_ctx *ctx, struct jsonw *w, const struct sched_loaded *l)
{
	struct str name = {0};
	struct store_model *m = NULL, gone = {.parent_model = (char[]){""}};
	struct err err;
	char when[CLOCK_TEXT_BYTES];
	if (store_resolve(ctx->store, &l->name, &m, &err)) /* deleted while it is loaded */
		m = NULL;
	store_name_short(&l->name, &name);
	clock_rfc3339_go(l->expires_wall_ns, 1, when);
	jsonw_obj(w);
	jsonw_kstr(w, "name", name.data);
	jsonw_kstr(w, "model", name.data);
	jsonw_kint(w, "size", l->size_bytes);
	jsonw_kstr(w, "digest", l->manifest_digest ? l->manifest_digest : "");
	jsonw_key(w, "details");
	api_details_write(w, m ? m : &gone, NULL, false);
	jsonw_kstr(w, "expires_at", when);
	jsonw_kint(w, "size_vram", 0);
	jsonw_kint(w, "context_length", l->n_ctx);
	jsonw_obj_end(w);
	store_model_free(m);
	str_release(&name);
}

void api_ps(struct api_ctx *ctx, struct api_call *call)
{
	struct sched_loaded *list;
	struct str out = {0};
	struct jsonw w;
	size_t n = sched_ps(ctx->sched, &list);
	jsonw_init(&w, &out, JSONW_GO);
	jsonw_obj(&w);
	jsonw_key(&w, "models");
	jsonw_arr(&w);
	for (size_t i = 0; i < n; i++)
		put_model(ctx, &w, &list[i]);
	jsonw_arr_end(&w);
	jsonw_obj_end(&w);
	sched_ps_free(list, n);
	api_reply_json(call, 200, &out);
	str_release(&out);
}
