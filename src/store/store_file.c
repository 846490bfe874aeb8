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

int store_file_read(const char *path, size_t max, struct str *out, struct err *err)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return err_set(err, errno == ENOENT || errno == ENOTDIR ? ERR_NOT_FOUND : ERR_IO, "open %s: %s", path, strerror(errno));
	int rc = 0;
	if (fstat(fd, &st) || !S_ISREG(st.st_mode))
		rc = err_set(err, ERR_IO, "%s is not a regular file", path);
	else if ((uint64_t)st.st_size > max)
		rc = err_set(err, ERR_LIMIT, "%s has %lld bytes; at most %zu are allowed there", path, (long long)st.st_size, max);
	while (!rc) {
		char buf[16384];
		ssize_t n = read(fd, buf, sizeof buf);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			rc = err_set(err, ERR_IO, "read %s: %s", path, strerror(errno));
		else if (n == 0)
			break;
		else if (out->len + (size_t)n > max)
			rc = err_set(err, ERR_LIMIT, "%s grew past %zu bytes while it was read", path, max);
		else
			str_add(out, buf, (size_t)n);
	}
	close(fd);
	return rc;
}

int store_mkdirs(const char *path, struct err *err)
{
	char *copy = mem_strdup(path);
	int rc = 0;
	for (char *p = copy + 1; !rc && *p; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		if (mkdir(copy, 0755) && errno != EEXIST)
			rc = err_set(err, ERR_IO, "cannot create the folder %s: %s", copy, strerror(errno));
		*p = '/';
	}
	if (!rc && mkdir(copy, 0755) && errno != EEXIST)
		rc = err_set(err, ERR_IO, "cannot create the folder %s: %s", copy, strerror(errno));
	mem_free(copy);
	return rc;
}

int store_mkdirs_above(const char *path, struct err *err)
{
	const char *slash = strrchr(path, '/');
	if (!slash || slash == path)
		return 0;
	char *dir = mem_strndup(path, (size_t)(slash - path));
	int rc = store_mkdirs(dir, err);
	mem_free(dir);
	return rc;
}

void store_sync_dir_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *dir = slash ? mem_strndup(path, (size_t)(slash - path)) : mem_strdup(".");
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0) {
		fsync(fd);
		close(fd);
	}
	mem_free(dir);
}

static int write_all(int fd, const char *data, size_t n)
{
	while (n) {
		ssize_t k = write(fd, data, n);
		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return -1;
		data += k;
		n -= (size_t)k;
	}
	return 0;
}

int store_file_write(const char *path, const void *data, size_t n, struct err *err)
{
	return store_file_write_mode(path, data, n, 0644, err);
}

int store_file_write_mode(const char *path, const void *data, size_t n, unsigned mode, struct err *err)
{
	struct str tmp = {0};
	const char *slash = strrchr(path, '/');
	int rc = store_mkdirs_above(path, err);
	if (rc)
		return rc;
	str_add(&tmp, path, slash ? (size_t)(slash + 1 - path) : 0);
	str_adds(&tmp, ".cria-tmp-XXXXXX");
	int fd = mkostemp(tmp.data, O_CLOEXEC);
	if (fd < 0) {
		rc = err_set(err, ERR_IO, "cannot write %s: %s", path, strerror(errno));
	} else {
		if (write_all(fd, data, n) || fchmod(fd, mode) || fsync(fd))
			rc = err_set(err, ERR_IO, "cannot write %s: %s", path, strerror(errno));
		if (close(fd) && !rc)
			rc = err_set(err, ERR_IO, "cannot write %s: %s", path, strerror(errno));
		if (!rc && rename(tmp.data, path))
			rc = err_set(err, ERR_IO, "cannot rename to %s: %s", path, strerror(errno));
		if (rc)
			unlink(tmp.data);
		else
			store_sync_dir_of(path);
	}
	str_release(&tmp);
	return rc;
}

void store_sha256_hex(const void *data, size_t n, char ret[65])
{
	unsigned char sum[32];
	gnutls_hash_fast(GNUTLS_DIG_SHA256, data, n, sum);
	for (int i = 0; i < 32; i++)
		sprintf(ret + 2 * i, "%02x", sum[i]);
}
