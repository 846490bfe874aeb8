/* Model layers that are made here: parts merged, safetensors files converted, weights in another type. The work is done by a
 * child of the scheduler; here its input is found and its output becomes a blob. */
#include <string.h>

#include "api/ollama/create_model.h"
#include "base/bug.h"
#include "base/mem.h"

/* Names and blob paths of the files; ERR_INVALID for a bad digest. */
struct inputs {
	VEC(const char *) names;
	VEC(const char *) paths; /* owned */
};

static void inputs_release(struct inputs *in)
{
	for (size_t i = 0; i < in->paths.n; i++)
		mem_free((char *)in->paths.data[i]);
	vec_release(&in->paths);
	vec_release(&in->names);
}

static int add_input(struct create_model *c, const char *name, const char *digest, struct inputs *in, struct err *err)
{
	struct str path = {0};
	if (!store_digest_valid(digest))
		return err_set(err, ERR_INVALID, "invalid digest format");
	store_blob_path(c->ctx->store, digest, &path);
	int rc = store_blob_exists(c->ctx->store, digest, NULL) ? 0 :
		 err_set(err, ERR_INTERNAL, "open %s: no such file or directory", path.data);
	vec_push(&in->names, name);
	vec_push(&in->paths, str_take(&path));
	return rc;
}

/* Runs the child into a new blob; *ret is the layer, *ret_facts what its file is. */
static int convert(struct create_model *c, const struct inputs *in, const struct create_work *work, struct create_layer *ret,
		   json_t **ret_facts, struct err *err)
{
	struct store *s = c->ctx->store;
	struct store_blob *blob;
	struct str path = {0};
	int rc = store_blob_begin(s, &blob, err);
	if (rc)
		return rc;
	struct sched_convert job = {.names = in->names.data, .paths = in->paths.data, .n_file = in->names.n, .type = work->type,
				    .fd_out = store_blob_fd(blob), .progress = work->progress, .user = work->user};
	rc = sched_convert(c->ctx->sched, &job, err);
	if (!rc)
		rc = store_blob_adopt(blob, err);
	if (rc) {
		store_blob_abort(blob);
		return rc;
	}
	*ret = (struct create_layer){.media_type = MEDIA("model")};
	rc = store_blob_finish(blob, NULL, ret->digest, &ret->size_bytes, err);
	if (!rc) {
		store_blob_path(s, ret->digest, &path);
		rc = sched_inspect(c->ctx->sched, path.data, ret->digest, false, ret_facts, err);
	}
	str_release(&path);
	return rc;
}

static void set_facts(struct create_model *c, json_t *facts)
{
	json_decref(c->facts);
	c->facts = facts;
}

int create_add_converted(struct create_model *c, const json_t *files, const struct create_work *work, struct err *err)
{
	struct inputs in = {0};
	struct create_layer l;
	json_t *facts;
	int rc = 0;
	for (void *it = json_object_iter((json_t *)files); !rc && it; it = json_object_iter_next((json_t *)files, it))
		rc = add_input(c, json_object_iter_key(it), json_string_value(json_object_iter_value(it)), &in, err);
	if (!rc)
		rc = convert(c, &in, work, &l, &facts, err);
	inputs_release(&in);
	if (rc)
		return rc;
	vec_push(&c->layers, l);
	set_facts(c, facts);
	return 0;
}

int create_quantize(struct create_model *c, const struct create_work *work, struct err *err)
{
	struct inputs in = {0};
	struct create_layer *old = NULL, l;
	json_t *facts;
	for (size_t i = 0; i < c->layers.n && !old; i++)
		if (!strcmp(c->layers.data[i].media_type, MEDIA("model")))
			old = &c->layers.data[i];
	if (!old)
		return err_set(err, ERR_INVALID, "there is no model file to quantize");
	int rc = add_input(c, "model.gguf", old->digest, &in, err);
	if (!rc)
		rc = convert(c, &in, work, &l, &facts, err);
	inputs_release(&in);
	if (rc)
		return rc;
	l.from = old->from;
	*old = l;
	set_facts(c, facts);
	return 0;
}
