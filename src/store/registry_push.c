/* A model to a registry: each blob that it lacks, in parts, then the manifest. */
#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/registry_priv.h"

#define TYPE_MANIFEST "application/vnd.docker.distribution.manifest.v2+json"
#define TYPE_BYTES "application/octet-stream"
#define PART_BYTES_MIN (INT64_C(100) * 1000 * 1000)
#define PART_BYTES_MAX (INT64_C(1000) * 1000 * 1000)

enum { PARTS_WANTED = 16, MD5_BYTES = 16 };

struct push {
	struct registry *reg;
	const struct registry_sink *sink;
	struct reg_session session;
	struct reg_bases bases;
	char *repo;
	/* the blob on its way */
	const struct store_layer *layer;
	int fd;
	int64_t sent;           /* bytes that are out */
	int64_t told_ns;        /* when progress was told last */
	struct str upload_url;  /* where the next part goes */
	bool elsewhere;         /* parts go to another address each, so one that fails can be sent again alone */
};

static void status(const struct push *p, const char *text)
{
	p->sink->progress(p->sink->user, text, NULL, 0, 0);
}

static void blob_status(struct push *p, int64_t completed)
{
	char text[40];
	snprintf(text, sizeof text, "pushing %.12s", p->layer->digest + 7);
	p->told_ns = clock_now_ns();
	p->sink->progress(p->sink->user, text, p->layer->digest, p->layer->size_bytes, completed);
}

/* Asked by the transfer several times a second: the place to tell how far it is. */
static bool tick(void *user)
{
	struct push *p = user;
	if (p->layer && p->fd >= 0 && clock_now_ns() - p->told_ns >= REG_PROGRESS_MS * NS_PER_MS)
		blob_status(p, __atomic_load_n(&p->sent, __ATOMIC_RELAXED));
	return p->sink->canceled(p->sink->user);
}

/* ---- one blob ---- */

/* Where the upload goes on; the header is an address on the registry's own host or another. */
static int take_location(struct push *p, const struct reg_reply *r, const char *asked, struct err *err)
{
	struct str url = {0};
	const char *to = r->head.upload_location ? r->head.upload_location : r->head.location;
	if (!to)
		return err_set(err, ERR_IO, "the registry did not say where to send the blob (no Location)");
	if (!reg_url_join(asked, to, &url)) {
		str_release(&url);
		return err_set(err, ERR_FORMAT, "the registry wants the blob at \"%.200s\", which is no usable address", to);
	}
	int rc = reg_url_allowed(&p->session, url.data, err);
	str_clear(&p->upload_url);
	str_adds(&p->upload_url, url.data);
	str_release(&url);
	return rc;
}

static int check_status(const struct reg_reply *r, struct err *err)
{
	if (r->status >= 200 && r->status < 300)
		return 0;
	return reg_status_error(r, err);
}

/* Opens an upload. *ret_done: the registry took the blob from another repository, nothing is to be sent. */
static int begin_upload(struct push *p, bool *ret_done, struct err *err)
{
	struct str url = {0};
	struct store_name from;
	struct reg_reply reply;
	str_printf(&url, "%s/v2/%s/blobs/uploads/", p->session.base.url, p->repo);
	if (p->layer->from && store_name_parse(p->layer->from, &from))
		str_printf(&url, "?mount=%s&from=%s/%s", p->layer->digest, from.ns, from.model);
	struct reg_request q = {.method = "POST", .url = url.data};
	int rc = reg_send(&p->session, &q, &reply, err);
	if (!rc && !(rc = check_status(&reply, err))) {
		*ret_done = reply.status == 201;
		if (!*ret_done)
			rc = take_location(p, &reply, url.data, err);
	}
	reg_reply_release(&reply);
	str_release(&url);
	return rc;
}

/* A part's address was given with 307: the bytes go there, without our token. */
static int put_part(struct push *p, const char *url, const struct reg_body_file *file, struct err *err)
{
	struct reg_reply reply;
	struct reg_request q = {.method = "PUT", .url = url, .plain = true, .content_type = TYPE_BYTES, .file = file};
	int rc = reg_send(&p->session, &q, &reply, err);
	if (!rc)
		rc = check_status(&reply, err);
	reg_reply_release(&reply);
	return rc;
}

static int send_part_once(struct push *p, int64_t offset, int64_t size, struct err *err)
{
	char range[64];
	struct str asked = {0}, direct = {0};
	struct reg_reply reply;
	struct reg_body_file file = {.fd = p->fd, .offset = offset, .size_bytes = size, .sent = &p->sent};
	snprintf(range, sizeof range, "%lld-%lld", (long long)offset, (long long)(offset + size - 1));
	str_adds(&asked, p->upload_url.data);
	struct reg_request q = {.method = "PATCH", .url = asked.data, .content_type = TYPE_BYTES, .content_range = range,
				.redirect_uploads = true, .file = &file};
	__atomic_store_n(&p->sent, offset, __ATOMIC_RELAXED);
	int rc = reg_send(&p->session, &q, &reply, err);
	bool elsewhere = !rc && reply.status == 307 && reply.head.location;
	p->elsewhere |= elsewhere;
	if (elsewhere && !reg_url_join(asked.data, reply.head.location, &direct))
		rc = err_set(err, ERR_FORMAT, "the registry redirects the upload to no usable address");
	if (elsewhere && !rc) {
		__atomic_store_n(&p->sent, offset, __ATOMIC_RELAXED);
		rc = put_part(p, direct.data, &file, err);
		if (!rc && reply.head.upload_location)
			rc = take_location(p, &reply, asked.data, err);
	} else if (!rc && !(rc = check_status(&reply, err))) {
		rc = take_location(p, &reply, asked.data, err);
	}
	reg_reply_release(&reply);
	str_release(&asked);
	str_release(&direct);
	return rc;
}

/* After an upload that broke in the middle the registry may have kept some bytes: only a new upload is sure. */
static int restart(struct push *p, struct err *err)
{
	bool done = false;
	return begin_upload(p, &done, err);
}

static bool pause_canceled(struct push *p, int i_try)
{
	int64_t until = clock_now_ns() + ((NS_PER_S / 4) << (i_try - 1));
	while (clock_now_ns() < until) {
		struct timespec t = {.tv_nsec = 50 * NS_PER_MS};
		if (tick(p) || __atomic_load_n(&p->reg->stopping, __ATOMIC_RELAXED))
			return true;
		nanosleep(&t, NULL);
	}
	return false;
}

static int send_part(struct push *p, int64_t offset, int64_t size, struct err *err)
{
	for (int i = 1;; i++) {
		int rc = send_part_once(p, offset, size, err);
		if (!rc || !p->elsewhere || rc == ERR_CANCELED || rc == ERR_FORBIDDEN || i == REG_TRIES_MAX)
			return rc;
		log_info("registry: part at %lld of %s fails (%d): %s", (long long)offset, p->layer->digest, i, err->msg);
		if (pause_canceled(p, i))
			return err_set(err, ERR_CANCELED, "context canceled");
	}
}

static int64_t part_bytes(int64_t total)
{
	int64_t size = total / PARTS_WANTED;
	return size < PART_BYTES_MIN ? PART_BYTES_MIN : size > PART_BYTES_MAX ? PART_BYTES_MAX : size;
}

static int send_parts(struct push *p, int *ret_n, struct err *err)
{
	int64_t total = p->layer->size_bytes, size = part_bytes(total);
	int rc = 0;
	*ret_n = 0;
	for (int64_t at = 0; !rc && at < total; at += size, ++*ret_n)
		rc = send_part(p, at, total - at < size ? total - at : size, err);
	return rc;
}

/* MD5 over the MD5s of the parts, as object stores make their tags. */
static int etag(struct push *p, char ret[48], struct err *err)
{
	int64_t total = p->layer->size_bytes, size = part_bytes(total);
	static const size_t chunk = 1 << 20;
	unsigned char sum[MD5_BYTES], *buf = mem_alloc(chunk);
	gnutls_hash_hd_t all, part;
	int n = 0, rc = 0;
	BUG_ON(gnutls_hash_init(&all, GNUTLS_DIG_MD5));
	for (int64_t at = 0; !rc && at < total; at += size, n++) {
		int64_t end = total - at < size ? total : at + size;
		BUG_ON(gnutls_hash_init(&part, GNUTLS_DIG_MD5));
		for (int64_t i = at; !rc && i < end;) {
			ssize_t got = pread(p->fd, buf, end - i < (int64_t)chunk ? (size_t)(end - i) : chunk, i);
			if (got <= 0)
				rc = err_set(err, ERR_IO, "cannot read blob %s: %s", p->layer->digest,
					     got ? strerror(errno) : "it is too short");
			else
				gnutls_hash(part, buf, (size_t)got);
			i += got;
		}
		gnutls_hash_deinit(part, sum);
		gnutls_hash(all, sum, sizeof sum);
	}
	gnutls_hash_deinit(all, sum);
	for (int i = 0; i < MD5_BYTES; i++)
		snprintf(ret + 2 * i, 3, "%02x", sum[i]);
	snprintf(ret + 2 * MD5_BYTES, 48 - 2 * MD5_BYTES, "-%d", n);
	mem_free(buf);
	return rc;
}

/* Closes the upload: the registry compares the digest. */
static int commit(struct push *p, const char *tag, struct err *err)
{
	struct str url = {0};
	struct reg_reply reply;
	str_printf(&url, "%s%cdigest=sha256%%3A%s&etag=%s", p->upload_url.data, strchr(p->upload_url.data, '?') ? '&' : '?',
		   p->layer->digest + 7, tag);
	struct reg_request q = {.method = "PUT", .url = url.data, .content_type = TYPE_BYTES};
	int rc = reg_send(&p->session, &q, &reply, err);
	if (!rc)
		rc = check_status(&reply, err);
	reg_reply_release(&reply);
	str_release(&url);
	return rc;
}

static int upload(struct push *p, struct err *err)
{
	char tag[48];
	bool done = false;
	int n_part, rc = etag(p, tag, err);
	if (rc || (rc = begin_upload(p, &done, err)) || done)
		return rc;
	for (int i = 1;; i++) {
		rc = send_parts(p, &n_part, err);
		if (!rc)
			rc = commit(p, tag, err);
		if (!rc || rc == ERR_CANCELED || rc == ERR_FORBIDDEN)
			return rc;
		if (i == REG_TRIES_MAX)
			break;
		log_info("registry: push of %s fails (%d): %s", p->layer->digest, i, err->msg);
		if (pause_canceled(p, i))
			return err_set(err, ERR_CANCELED, "context canceled");
		if ((rc = restart(p, err)))
			return rc;
	}
	char text[sizeof err->msg];
	snprintf(text, sizeof text, "%s", err->msg);
	return err_set(err, ERR_IO, "max retries exceeded: %.900s", text);
}

/* Whether the registry has the blob. */
static int head_blob(struct push *p, bool *ret_there, struct err *err)
{
	struct str url = {0};
	struct reg_reply reply;
	str_printf(&url, "%s/v2/%s/blobs/%s", p->session.base.url, p->repo, p->layer->digest);
	struct reg_request q = {.method = "HEAD", .url = url.data, .follow = true};
	int rc = reg_send(&p->session, &q, &reply, err);
	*ret_there = !rc && reply.status == 200;
	if (!rc && reply.status != 200 && reply.status != 404)
		rc = reg_status_error(&reply, err);
	reg_reply_release(&reply);
	str_release(&url);
	return rc;
}

static int push_blob(struct push *p, const struct store_layer *l, struct err *err)
{
	struct str path = {0};
	bool there = false;
	p->layer = l;
	int rc = head_blob(p, &there, err);
	if (!rc && !there) {
		store_blob_path(p->reg->store, l->digest, &path);
		p->fd = open(path.data, O_RDONLY | O_CLOEXEC);
		p->sent = 0;
		rc = p->fd < 0 ? err_set(err, ERR_IO, "open %s: %s", path.data, strerror(errno)) : upload(p, err);
		if (p->fd >= 0)
			close(p->fd);
		p->fd = -1;
		str_release(&path);
	}
	if (!rc)
		blob_status(p, l->size_bytes);
	p->layer = NULL;
	return rc;
}

/* ---- the model ---- */

static int put_manifest(struct push *p, const struct store_name *name, const struct str *text, struct err *err)
{
	struct str url = {0};
	struct reg_reply reply;
	status(p, "pushing manifest");
	str_printf(&url, "%s/v2/%s/manifests/%s", p->session.base.url, p->repo, name->tag);
	struct reg_request q = {.method = "PUT", .url = url.data, .content_type = TYPE_MANIFEST, .body = text->data, .n_body = text->len};
	int rc = reg_send(&p->session, &q, &reply, err);
	if (!rc)
		rc = check_status(&reply, err);
	reg_reply_release(&reply);
	str_release(&url);
	return rc;
}

static int push(struct push *p, const struct store_name *name, struct err *err)
{
	struct str text = {0}, path = {0};
	struct store_layer *layers = NULL;
	size_t n = 0;
	struct store_name on_disk = *name;
	status(p, "retrieving manifest");
	bool there = store_name_on_disk(p->reg->store, &on_disk);
	store_manifest_path(p->reg->store, &on_disk, &path);
	int rc = there ? store_file_read(path.data, MANIFEST_BYTES_MAX, &text, err)
		       : err_set(err, ERR_NOT_FOUND, "open %s: no such file or directory", path.data);
	if (!rc)
		rc = reg_manifest_parse(str_cstr(&text), text.len, &layers, &n, err);
	if (rc)
		status(p, "couldn't retrieve manifest");
	for (size_t i = 0; !rc && i < n; i++)
		rc = push_blob(p, &layers[i], err);
	if (!rc)
		rc = put_manifest(p, name, &text, err);
	if (!rc)
		status(p, "success");
	reg_layers_free(layers, n);
	str_release(&text);
	str_release(&path);
	return rc;
}

/* A bad name is reported as Ollama does: where the manifest would have been read. */
static int bad_name(const struct registry_sink *sink, const char *text, struct err *err)
{
	const char *slash = strrchr(text, '/'), *colon = strrchr(slash ? slash : text, ':');
	sink->progress(sink->user, "retrieving manifest", NULL, 0, 0);
	sink->progress(sink->user, "couldn't retrieve manifest", NULL, 0, 0);
	return err_set(err, ERR_INTERNAL, "unqualified name: %s%.300s%s", slash ? "" : "registry.ollama.ai/library/", text,
		       colon ? "" : ":latest");
}

int registry_push(struct registry *r, const char *text, bool insecure, const struct registry_sink *sink, struct err *err)
{
	struct push p = {.reg = r, .sink = sink, .fd = -1};
	struct str repo = {0};
	struct store_name name;
	if (!store_name_parse(text, &name))
		return bad_name(sink, text, err);
	if (__atomic_load_n(&r->stopping, __ATOMIC_RELAXED))
		return err_set(err, ERR_CANCELED, "the server is stopping");
	registry_enter(r);
	str_printf(&repo, "%s/%s", name.ns, name.model);
	p.repo = str_take(&repo);
	reg_bases_of(r, name.host, insecure, false, &p.bases);
	int rc = err_set(err, ERR_INVALID, "\"%s\" is no host of a registry", name.host);
	if (p.bases.n) {
		reg_session_init(&p.session, r, &p.bases.data[0], p.repo, "push,pull", tick, &p);
		rc = push(&p, &name, err);
		reg_session_release(&p.session);
	}
	reg_bases_release(&p.bases);
	str_release(&p.upload_url);
	mem_free(p.repo);
	registry_leave(r);
	return rc;
}
