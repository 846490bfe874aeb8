/* cria save MODEL -o FILE, cria load -i FILE: a model as one file, for machines without a network. The file is a tar archive
 * in the layout of a model folder: blobs/sha256-<hex>, then manifests/<host>/<namespace>/<model>/<tag>. Unpacked over a model
 * folder it installs the model too; load has the server check every digest. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/vec.h"
#include "cli/cli.h"
#include "cli/cli_bar.h"
#include "cli/cli_http.h"
#include "cli/cli_tar.h"

enum { MANIFEST_MAX = 4 << 20, DIGEST_BYTES = 72 };

#define BLOBS "blobs/sha256-"
#define MANIFESTS "manifests/"

static bool is_hex64(const char *p)
{
	return strspn(p, "0123456789abcdef") == 64 && !p[64];
}

/* ---- save ---- */

struct save {
	FILE *f;
	struct cli_bar bar;
	char label[40];
	int64_t done, total;
};

static bool on_bytes(void *user, const void *data, size_t n, struct err *err)
{
	struct save *s = user;
	if (s->done + (int64_t)n > s->total) {
		err_set(err, ERR_FORMAT, "a blob is longer than the manifest says");
		return false;
	}
	if (fwrite(data, 1, n, s->f) != n) {
		err_set(err, ERR_IO, "cannot write the bundle: %s", strerror(errno));
		return false;
	}
	s->done += (int64_t)n;
	cli_bar_bytes(&s->bar, s->label, s->done, s->total);
	return true;
}

static int save_blob(struct save *s, const json_t *layer, struct err *err)
{
	const char *digest = json_string_value(json_get(layer, "digest"));
	char name[100], path[100];
	if (!digest || strncmp(digest, "sha256:", 7) || !is_hex64(digest + 7))
		return err_set(err, ERR_FORMAT, "the manifest has a layer without a digest");
	s->done = 0;
	s->total = json_integer_value(json_get(layer, "size"));
	snprintf(name, sizeof name, BLOBS "%s", digest + 7);
	snprintf(path, sizeof path, "/api/blobs/%s", digest);
	snprintf(s->label, sizeof s->label, "saving %.12s", digest + 7);
	int rc = cli_tar_header(s->f, name, s->total, err);
	if (!rc)
		rc = cli_download(path, on_bytes, s, err);
	if (!rc && s->done != s->total)
		rc = err_set(err, ERR_IO, "blob %s ended after %lld of %lld bytes", digest, (long long)s->done, (long long)s->total);
	return rc ? rc : cli_tar_pad(s->f, s->total, err);
}

/* "host/ns/model:tag" as the path of the manifest. */
static int save_manifest(struct save *s, const char *model, const char *text, struct err *err)
{
	struct str name = {0};
	str_printf(&name, MANIFESTS "%s", model);
	*strrchr(name.data, ':') = '/';
	int64_t n = (int64_t)strlen(text);
	int rc = cli_tar_header(s->f, name.data, n, err);
	if (!rc && fwrite(text, 1, (size_t)n, s->f) != (size_t)n)
		rc = err_set(err, ERR_IO, "cannot write the bundle: %s", strerror(errno));
	if (!rc)
		rc = cli_tar_pad(s->f, n, err);
	str_release(&name);
	return rc;
}

static int save_model(struct save *s, const json_t *answer, struct err *err)
{
	const char *model = json_string_value(json_get(answer, "model")), *text = json_string_value(json_get(answer, "manifest"));
	json_t *manifest = NULL, *layer;
	size_t i;
	if (!model || !text || !strrchr(model, ':'))
		return err_set(err, ERR_FORMAT, "the server's answer holds no manifest");
	int rc = json_parse(text, strlen(text), &manifest, err);
	json_array_foreach (json_get(manifest, "layers"), i, layer)
		if (!rc)
			rc = save_blob(s, layer, err);
	if (!rc && json_get_nonnull(manifest, "config"))
		rc = save_blob(s, json_get(manifest, "config"), err);
	cli_bar_end(&s->bar);
	if (!rc)
		rc = save_manifest(s, model, text, err);
	json_decref(manifest);
	return rc ? rc : cli_tar_finish(s->f, err);
}

/* Writes beside the file and renames, so that a broken run leaves no half bundle under the name. */
static int save_to(const char *path, const json_t *answer, struct err *err)
{
	struct save s = {0};
	struct str tmp = {0};
	str_printf(&tmp, "%s.part", path);
	s.f = fopen(tmp.data, "wb");
	int rc = s.f ? save_model(&s, answer, err) : err_set(err, ERR_IO, "cannot write %s: %s", tmp.data, strerror(errno));
	if (s.f && (fsync(fileno(s.f)) | fclose(s.f)) && !rc)
		rc = err_set(err, ERR_IO, "cannot write %s: %s", tmp.data, strerror(errno));
	if (!rc && rename(tmp.data, path))
		rc = err_set(err, ERR_IO, "cannot rename to %s: %s", path, strerror(errno));
	if (rc)
		unlink(tmp.data);
	str_release(&tmp);
	return rc;
}

int cmd_bundle_save(const struct cli_args *a)
{
	const char *path = cli_flag_value(a, "output");
	json_t *answer, *body = json_pack("{s:s}", "model", a->words[0]);
	struct err err;
	if (!path) {
		json_decref(body);
		return cli_fail("name the file to write: cria save %s -o FILE", a->words[0]);
	}
	int rc = cli_call("POST", "/api/export", body, &answer, &err);
	if (!rc)
		rc = save_to(path, answer, &err);
	json_decref(body);
	json_decref(answer);
	return rc ? cli_fail("%s", err.msg) : 0;
}

/* ---- load ---- */

struct load {
	FILE *f;
	struct cli_bar bar;
	char label[40];
	VEC(char *) names;     /* "host/ns/model:tag" */
	VEC(char *) manifests; /* [names.n] */
};

static void on_upload(void *user, long long sent, long long total)
{
	struct load *l = user;
	cli_bar_bytes(&l->bar, l->label, sent, total);
}

static int load_blob(struct load *l, const struct cli_tar_entry *e, struct err *err)
{
	const char *hex = e->name + strlen(BLOBS);
	char path[DIGEST_BYTES + 32];
	if (!is_hex64(hex))
		return err_set(err, ERR_FORMAT, "the bundle holds a file %s, which is no blob", e->name);
	snprintf(path, sizeof path, "/api/blobs/sha256:%s", hex);
	snprintf(l->label, sizeof l->label, "loading %.12s", hex);
	int there = cli_head(path, err);
	if (there < 0)
		return there;
	if (!there)
		return cli_upload_from(path, l->f, e->size_bytes, on_upload, l, err);
	cli_bar_bytes(&l->bar, l->label, e->size_bytes, e->size_bytes);
	return cli_tar_skip(l->f, e->size_bytes, err);
}

static int load_manifest(struct load *l, const struct cli_tar_entry *e, struct err *err)
{
	if (e->size_bytes > MANIFEST_MAX)
		return err_set(err, ERR_LIMIT, "the bundle's manifest has over %d bytes", MANIFEST_MAX);
	char *name = mem_strdup(e->name + strlen(MANIFESTS)), *slash = strrchr(name, '/');
	char *text = mem_zalloc((size_t)e->size_bytes + 1);
	vec_push(&l->names, name);
	vec_push(&l->manifests, text);
	if (!slash)
		return err_set(err, ERR_FORMAT, "the bundle holds a file %s, which is no manifest", e->name);
	*slash = ':';
	if (fread(text, 1, (size_t)e->size_bytes, l->f) != (size_t)e->size_bytes)
		return err_set(err, ERR_FORMAT, "the bundle ends too early, or cannot be read");
	return 0;
}

static int load_entries(struct load *l, struct err *err)
{
	struct cli_tar_entry e;
	int more;
	while ((more = cli_tar_next(l->f, &e, err)) > 0) {
		const char *name = !strncmp(e.name, "./", 2) ? e.name + 2 : e.name;
		int rc = 0;
		memmove(e.name, name, strlen(name) + 1);
		if (e.file && !strncmp(e.name, BLOBS, strlen(BLOBS)))
			rc = load_blob(l, &e, err);
		else if (e.file && !strncmp(e.name, MANIFESTS, strlen(MANIFESTS)))
			rc = load_manifest(l, &e, err);
		else if (e.file)
			rc = err_set(err, ERR_FORMAT, "the bundle holds a file %s, which belongs to no model", e.name);
		if (!rc)
			rc = cli_tar_skip_pad(l->f, e.size_bytes, err);
		if (rc)
			return rc;
	}
	return more < 0 ? more : l->names.n ? 0 : err_set(err, ERR_FORMAT, "the bundle holds no manifest");
}

/* The manifests come last: a model that is listed is complete. */
static int import(const struct load *l, struct err *err)
{
	int rc = 0;
	for (size_t i = 0; !rc && i < l->names.n; i++) {
		json_t *answer, *body = json_pack("{s:s, s:s}", "model", l->names.data[i], "manifest", l->manifests.data[i]);
		rc = body ? cli_call("POST", "/api/import", body, &answer, err)
			  : err_set(err, ERR_FORMAT, "the bundle's manifest is no text");
		if (body)
			json_decref(answer);
		json_decref(body);
		if (!rc)
			printf("loaded '%s'\n", l->names.data[i]);
	}
	return rc;
}

int cmd_bundle_load(const struct cli_args *a)
{
	const char *path = cli_flag_value(a, "input");
	struct load l = {0};
	struct err err;
	if (!path)
		return cli_fail("name the bundle to read: cria load -i FILE");
	l.f = fopen(path, "rb");
	int rc = l.f ? load_entries(&l, &err) : err_set(&err, ERR_IO, "cannot read %s: %s", path, strerror(errno));
	cli_bar_end(&l.bar);
	if (!rc)
		rc = import(&l, &err);
	for (size_t i = 0; i < l.names.n; i++) {
		mem_free(l.names.data[i]);
		mem_free(l.manifests.data[i]);
	}
	vec_release(&l.names);
	vec_release(&l.manifests);
	if (l.f)
		fclose(l.f);
	return rc ? cli_fail("%s", err.msg) : 0;
}
