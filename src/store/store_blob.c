#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/store_priv.h"

bool store_digest_valid(const char *digest)
{
	if (strncmp(digest, "sha256", 6) || (digest[6] != ':' && digest[6] != '-'))
		return false;
	const char *hex = digest + 7;
	return strspn(hex, "0123456789abcdefABCDEF") == 64 && hex[64] == '\0';
}

void store_blob_path(const struct store *s, const char *digest, struct str *out)
{
	str_printf(out, "%s/blobs/sha256-%s", s->dir, store_digest_valid(digest) ? digest + 7 : "invalid");
}

bool store_blob_exists(const struct store *s, const char *digest, int64_t *ret_size)
{
	struct str path = {0};
	struct stat st;
	if (!store_digest_valid(digest))
		return false;
	store_blob_path(s, digest, &path);
	bool ok = !stat(path.data, &st) && S_ISREG(st.st_mode);
	if (ok && ret_size)
		*ret_size = st.st_size;
	str_release(&path);
	return ok;
}

struct store_blob {
	struct store *store;
	int fd;
	char *tmp_path;
	gnutls_hash_hd_t hash;
	int64_t size_bytes;
	bool failed, renamed;
};

int store_blob_begin(struct store *s, struct store_blob **ret, struct err *err)
{
	struct str tmp = {0};
	*ret = NULL;
	str_printf(&tmp, "%s/blobs/.cria-tmp-XXXXXX", s->dir);
	int fd = mkostemp(tmp.data, O_CLOEXEC);
	if (fd < 0) {
		int rc = err_set(err, ERR_IO, "cannot create a file in %s/blobs: %s", s->dir, strerror(errno));
		str_release(&tmp);
		return rc;
	}
	struct store_blob *b = mem_zalloc(sizeof *b);
	b->store = s;
	b->fd = fd;
	b->tmp_path = str_take(&tmp);
	if (gnutls_hash_init(&b->hash, GNUTLS_DIG_SHA256)) {
		b->hash = NULL;
		store_blob_abort(b);
		return err_set(err, ERR_INTERNAL, "SHA-256 is not available in the crypto library");
	}
	*ret = b;
	return 0;
}

int store_blob_write(struct store_blob *b, const void *data, size_t n, struct err *err)
{
	const char *p = data;
	gnutls_hash(b->hash, data, n);
	b->size_bytes += (int64_t)n;
	while (n) {
		ssize_t k = write(b->fd, p, n);
		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0) {
			b->failed = true;
			return err_set(err, ERR_IO, "cannot write a model file to %s/blobs: %s", b->store->dir, strerror(errno));
		}
		p += k;
		n -= (size_t)k;
	}
	return 0;
}

int store_blob_fd(const struct store_blob *b)
{
	return b->fd;
}

int store_blob_adopt(struct store_blob *b, struct err *err)
{
	enum { STEP = 1 << 20 };
	char *buf = mem_alloc(STEP);
	ssize_t n;
	while ((n = pread(b->fd, buf, STEP, b->size_bytes)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			b->failed = true;
			break;
		}
		gnutls_hash(b->hash, buf, (size_t)n);
		b->size_bytes += n;
	}
	int rc = n < 0 ? err_set(err, ERR_IO, "cannot read a model file in %s/blobs: %s", b->store->dir, strerror(errno)) : 0;
	mem_free(buf);
	return rc;
}

void store_blob_abort(struct store_blob *b)
{
	if (!b)
		return;
	if (b->hash)
		gnutls_hash_deinit(b->hash, NULL);
	if (b->fd >= 0)
		close(b->fd);
	if (!b->renamed)
		unlink(b->tmp_path);
	mem_free(b->tmp_path);
	mem_free(b);
}

/* The digest of what was written, "sha256:<hex>". */
static void finish_digest(struct store_blob *b, char ret[72])
{
	unsigned char sum[32];
	gnutls_hash_deinit(b->hash, sum);
	b->hash = NULL;
	strcpy(ret, "sha256:");
	for (int i = 0; i < 32; i++)
		sprintf(ret + 7 + 2 * i, "%02x", sum[i]);
}

int store_blob_finish(struct store_blob *b, const char *want, char ret_digest[72], int64_t *ret_size, struct err *err)
{
	struct str path = {0};
	int rc = 0;
	finish_digest(b, ret_digest);
	if (ret_size)
		*ret_size = b->size_bytes;
	if (b->failed)
		rc = err_set(err, ERR_IO, "the model file was not written completely");
	else if (want && (!store_digest_valid(want) || strcmp(want + 7, ret_digest + 7)))
		rc = err_set(err, ERR_INVALID, "digest mismatch, expected \"%s\", got \"%s\"", want, ret_digest);
	else if (fchmod(b->fd, 0644) || fsync(b->fd))
		rc = err_set(err, ERR_IO, "cannot write a model file to %s/blobs: %s", b->store->dir, strerror(errno));
	if (!rc) {
		store_blob_path(b->store, ret_digest, &path);
		b->renamed = !rename(b->tmp_path, path.data);
		if (b->renamed)
			store_sync_dir_of(path.data);
		else
			rc = err_set(err, ERR_IO, "cannot rename to %s: %s", path.data, strerror(errno));
	}
	str_release(&path);
	store_blob_abort(b);
	return rc;
}

int store_blob_put(struct store *s, const void *data, size_t n, char ret_digest[72], bool *ret_existed, struct err *err)
{
	struct store_blob *b;
	char hex[65];
	store_sha256_hex(data, n, hex);
	snprintf(ret_digest, 72, "sha256:%s", hex);
	bool existed = store_blob_exists(s, ret_digest, NULL);
	if (ret_existed)
		*ret_existed = existed;
	if (existed) {
		struct str path = {0};
		store_blob_path(s, ret_digest, &path);
		utimensat(AT_FDCWD, path.data, NULL, 0); /* young blobs are safe from the clean-up */
		str_release(&path);
		return 0;
	}
	int rc = store_blob_begin(s, &b, err);
	if (rc)
		return rc;
	rc = store_blob_write(b, data, n, err);
	if (rc) {
		store_blob_abort(b);
		return rc;
	}
	return store_blob_finish(b, NULL, ret_digest, NULL, err);
}
