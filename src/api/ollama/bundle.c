/* What `cria save` and `cria load` need beside uploads: a model's manifest and blobs out, a manifest in. Ollama has no such
 * routes. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "api/api_decode.h"
#include "api/api_endpoints.h"
#include "api/api_job.h"
#include "base/bug.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/registry_parse.h"

enum { CHUNK_BYTES = 256 * 1024 };

struct bundle_fields {
	const char *model, *manifest;
};

static const struct api_field table[] = {
	{"model", API_F_STR, offsetof(struct bundle_fields, model)},
	{"manifest", API_F_STR, offsetof(struct bundle_fields, manifest)},
};

/* ---- out ---- */

void api_export(struct api_ctx *ctx, struct api_call *call)
{
	struct bundle_fields f = {"", ""};
	struct store_name name;
	struct str text = {0}, full = {0}, out = {0};
	struct jsonw w;
	struct err err;
	json_t *body;
	int rc = api_body(call, "ExportRequest", "missing request body", &body, &err);
	if (!rc)
		rc = api_decode(call, body, "ExportRequest", table, ARRAY_LEN(table), &f, &err);
	if (!rc && !store_name_parse(f.model, &name))
		rc = err_set(&err, ERR_INVALID, "invalid model name");
	if (!rc)
		rc = store_manifest_get(ctx->store, &name, &text, &err);
	if (rc) {
		api_reply_err(call, &err);
	} else {
		store_name_full(&name, &full);
		jsonw_init(&w, &out, JSONW_GO);
		jsonw_obj(&w);
		jsonw_kstr(&w, "model", full.data);
		jsonw_key(&w, "manifest");
		jsonw_strn(&w, str_cstr(&text), text.len);
		jsonw_obj_end(&w);
		api_reply_json(call, 200, &out);
	}
	json_decref(body);
	str_release(&text);
	str_release(&full);
	str_release(&out);
}

/* Sends the rest of a file; user is its descriptor. A read error ends the stream early: the reader knows the length. */
static void send_file(struct api_job *job, struct api_call *call, void *user)
{
	int fd = (int)(intptr_t)user;
	char *buf = mem_alloc(CHUNK_BYTES);
	struct api_header h = {"Content-Type", "application/octet-stream"};
	ssize_t n;
	call->ops->stream_begin(call, 200, &h, 1);
	while ((n = read(fd, buf, CHUNK_BYTES)) > 0 || (n < 0 && errno == EINTR))
		if (n > 0 && !api_job_write(job, buf, (size_t)n))
			break;
	if (n < 0)
		log_error("reading blob %s: %s", call->param, strerror(errno));
	call->ops->stream_end(call);
	close(fd);
	mem_free(buf);
}

void api_blobs_get(struct api_ctx *ctx, struct api_call *call)
{
	struct str path = {0};
	struct err err;
	int64_t size;
	if (!store_digest_valid(call->param)) {
		api_reply_error(call, 400, "invalid digest format");
		return;
	}
	store_blob_path(ctx->store, call->param, &path);
	int fd = store_blob_exists(ctx->store, call->param, &size) ? open(path.data, O_RDONLY | O_CLOEXEC) : -1;
	str_release(&path);
	if (fd < 0) {
		api_reply_error(call, 404, "blob \"%s\" not found", call->param);
	} else if (api_job_start(call, send_file, (void *)(intptr_t)fd, &err)) {
		close(fd);
		api_reply_err(call, &err);
	}
}

/* ---- in ---- */

/* Each layer's blob must be there with the size the manifest gives: digests were checked when they came. */
static int check_blobs(const struct api_ctx *ctx, const struct store_layer *layers, size_t n, struct err *err)
{
	for (size_t i = 0; i < n; i++) {
		int64_t size;
		if (!store_blob_exists(ctx->store, layers[i].digest, &size))
			return err_set(err, ERR_NOT_FOUND, "blob \"%s\" not found", layers[i].digest);
		if (size != layers[i].size_bytes)
			return err_set(err, ERR_INVALID, "blob %s has %lld bytes, the manifest says %lld", layers[i].digest,
				       (long long)size, (long long)layers[i].size_bytes);
	}
	return 0;
}

static int import(struct api_ctx *ctx, const struct bundle_fields *f, struct err *err)
{
	struct store_name name;
	struct store_layer *layers;
	size_t n;
	struct str text = {0};
	if (!store_name_parse(f->model, &name))
		return err_set(err, ERR_INVALID, "invalid model name");
	if (reg_manifest_parse(f->manifest, strlen(f->manifest), &layers, &n, err))
		return err->code = ERR_INVALID;
	str_adds(&text, f->manifest);
	int rc = check_blobs(ctx, layers, n, err);
	if (!rc)
		rc = store_manifest_put(ctx->store, &name, &text, layers, n, !ctx->no_prune, err);
	reg_layers_free(layers, n);
	str_release(&text);
	return rc;
}

void api_import(struct api_ctx *ctx, struct api_call *call)
{
	struct bundle_fields f = {"", ""};
	struct err err;
	json_t *body;
	int rc = api_body(call, "ImportRequest", "missing request body", &body, &err);
	if (!rc)
		rc = api_decode(call, body, "ImportRequest", table, ARRAY_LEN(table), &f, &err);
	if (!rc)
		rc = import(ctx, &f, &err);
	if (rc)
		api_reply_err(call, &err);
	else
		api_reply_text(call, 200, "application/json; charset=utf-8", "{\"status\":\"success\"}");
	json_decref(body);
}
