/* A model from a registry: manifest, then each blob that is missing, then the manifest file. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "store/registry_priv.h"

#define ACCEPT_MANIFEST "application/vnd.docker.distribution.manifest.v2+json"

enum { ROUNDS_MAX = 3 /* blobs that another process removed while we worked are fetched again */ };

struct pull {
	struct registry *reg;
	const struct store_name *name;
	const struct registry_sink *sink;
	struct reg_bases bases;
	char *repo;
	struct str manifest;
	struct store_layer *layers;
	size_t n_layer;
};

static void status(const struct pull *p, const char *text)
{
	p->sink->progress(p->sink->user, text, NULL, 0, 0);
}

static void blob_status(const struct pull *p, const struct store_layer *l, int64_t completed)
{
	char text[40];
	snprintf(text, sizeof text, "pulling %.12s", l->digest + 7);
	p->sink->progress(p->sink->user, text, l->digest, l->size_bytes, completed);
}

/* ---- manifest ---- */

/* Whether the digest that came with the manifest is that of its bytes: on plain http nothing else tells. */
static bool digest_fits(const struct reg_reply *r)
{
	char hex[65];
	if (!r->head.digest || !starts_with(r->head.digest, "sha256:"))
		return true;
	store_sha256_hex(str_cstr(&r->body), r->body.len, hex);
	return !strcmp(hex, r->head.digest + 7);
}

static int judge_manifest(struct pull *p, struct reg_reply *r, struct err *err)
{
	if (r->status == 404)
		return err_set(err, ERR_NOT_FOUND, "file does not exist");
	if (r->status != 200)
		return r->status >= 400 ? reg_status_error(r, err) : err_set(err, ERR_IO, "%ld: no manifest came", r->status);
	if (!digest_fits(r))
		return err_set(err, ERR_FORMAT, "the manifest was damaged on its way: its digest is not %s", r->head.digest);
	int rc = reg_manifest_parse(str_cstr(&r->body), r->body.len, &p->layers, &p->n_layer, err);
	if (!rc) {
		str_clear(&p->manifest);
		str_add(&p->manifest, str_cstr(&r->body), r->body.len);
	}
	return rc;
}

static int manifest_from(struct pull *p, const struct reg_base *base, struct err *err)
{
	struct reg_session s;
	struct reg_reply reply;
	struct str url = {0};
	int rc = 0;
	reg_session_init(&s, p->reg, base, p->repo, "pull", p->sink->canceled, p->sink->user);
	if (p->sink->connect_s)
		s.connect_s = p->sink->connect_s;
	str_printf(&url, "%s/v2/%s/manifests/%s", base->url, p->repo, p->name->tag);
	struct reg_request q = {.method = "GET", .url = url.data, .accept = ACCEPT_MANIFEST, .follow = true,
				.reply_max = MANIFEST_BYTES_MAX};
	for (int i = 0; i < 3; i++) { /* damage is worth another try, everything else is not */
		rc = reg_send(&s, &q, &reply, err);
		if (!rc)
			rc = judge_manifest(p, &reply, err);
		reg_reply_release(&reply);
		if (rc != ERR_FORMAT)
			break;
	}
	str_release(&url);
	reg_session_release(&s);
	return rc;
}

/* From the first address that has it. That address comes first for the blobs too. */
static int get_manifest(struct pull *p, struct err *err)
{
	int rc = 0;
	for (size_t i = 0; i < p->bases.n; i++) {
		rc = manifest_from(p, &p->bases.data[i], err);
		if (!rc) {
			struct reg_base b = p->bases.data[i];
			p->bases.data[i] = p->bases.data[0];
			p->bases.data[0] = b;
			return 0;
		}
		if (rc == ERR_CANCELED)
			break;
		if (i + 1 < p->bases.n)
			log_info("registry: mirror %s: %s", p->bases.data[i].url, err->msg);
	}
	if (rc != ERR_CANCELED)
		err_prefix(err, "pull model manifest");
	return rc;
}

/* ---- blobs ---- */

static bool is_there(const struct pull *p, const struct store_layer *l)
{
	int64_t size;
	return store_blob_exists(p->reg->store, l->digest, &size) && size == l->size_bytes;
}

static void touch(const struct pull *p, const struct store_layer *l)
{
	struct str path = {0};
	store_blob_path(p->reg->store, l->digest, &path);
	utimensat(AT_FDCWD, path.data, NULL, 0); /* young blobs are safe from another server's clean-up */
	str_release(&path);
}

static int pull_blob(struct pull *p, const struct store_layer *l, struct err *err)
{
	struct reg_download *d;
	int64_t completed = 0;
	bool verifying = false;
	int rc = 0;
	if (is_there(p, l)) {
		touch(p, l);
		blob_status(p, l, l->size_bytes);
		return 0;
	}
	d = reg_download_join(p->reg, &p->bases, p->repo, l->digest, l->size_bytes, err);
	if (!d)
		return err->code;
	blob_status(p, l, 0);
	while (!rc && !reg_download_wait(d, &completed, &verifying, &rc, err)) {
		blob_status(p, l, completed);
		if (p->sink->canceled(p->sink->user))
			rc = err_set(err, ERR_CANCELED, "context canceled");
	}
	reg_download_leave(d);
	if (!rc)
		blob_status(p, l, l->size_bytes);
	return rc;
}

static int pull_blobs(struct pull *p, struct err *err)
{
	int rc = 0;
	for (size_t i = 0; !rc && i < p->n_layer; i++)
		rc = pull_blob(p, &p->layers[i], err);
	return rc;
}

/* Fetches and writes; a blob that went away in between starts another round. */
static int pull(struct pull *p, struct err *err)
{
	status(p, "pulling manifest");
	int rc = get_manifest(p, err);
	for (int i = 0; !rc && i < ROUNDS_MAX; i++) {
		rc = pull_blobs(p, err);
		if (rc)
			break;
		status(p, "verifying sha256 digest");
		status(p, "writing manifest");
		rc = store_manifest_put(p->reg->store, p->name, &p->manifest, p->layers, p->n_layer, !p->reg->no_prune, err);
		if (rc != ERR_NOT_FOUND)
			break;
		if (i + 1 < ROUNDS_MAX)
			rc = 0;
	}
	if (!rc)
		status(p, "success");
	return rc;
}

int registry_pull(struct registry *r, const struct store_name *name, bool insecure, const struct registry_sink *sink, struct err *err)
{
	struct pull p = {.reg = r, .name = name, .sink = sink};
	struct str repo = {0};
	if (!store_writable(r->store))
		return err_set(err, ERR_IO, "the model folder %s cannot be written", store_dir(r->store));
	if (__atomic_load_n(&r->stopping, __ATOMIC_RELAXED))
		return err_set(err, ERR_CANCELED, "the server is stopping");
	registry_enter(r);
	str_printf(&repo, "%s/%s", name->ns, name->model);
	p.repo = str_take(&repo);
	reg_bases_of(r, name->host, insecure, true, &p.bases);
	int rc = p.bases.n ? pull(&p, err) : err_set(err, ERR_INVALID, "\"%s\" is no host of a registry", name->host);
	reg_bases_release(&p.bases);
	reg_layers_free(p.layers, p.n_layer);
	str_release(&p.manifest);
	mem_free(p.repo);
	registry_leave(r);
	return rc;
}
