#include "store/registry_hash.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/bug.h"
#include "base/mem.h"

enum { CHUNK_BYTES = 1 << 20 };

struct reg_hash {
	int fd, os_error;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t moved;
	gnutls_hash_hd_t hash;
	int64_t limit, done;
	bool ending, canceled;
};

/* Hashes [offset, offset + n) into hash; 0 or an errno value. A file that is shorter than it should be is EIO. */
static int feed(gnutls_hash_hd_t hash, int fd, int64_t offset, int64_t n, unsigned char *buf)
{
	while (n) {
		ssize_t got = pread(fd, buf, n < CHUNK_BYTES ? (size_t)n : CHUNK_BYTES, offset);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got ? errno : EIO;
		gnutls_hash(hash, buf, (size_t)got);
		offset += got;
		n -= got;
	}
	return 0;
}

static void *hash_main(void *arg)
{
	struct reg_hash *h = arg;
	unsigned char *buf = mem_alloc(CHUNK_BYTES);
	pthread_mutex_lock(&h->lock);
	while (!h->os_error && !h->canceled) {
		int64_t at = h->done, n = h->limit - at;
		if (n <= 0 && h->ending)
			break;
		if (n <= 0) {
			pthread_cond_wait(&h->moved, &h->lock);
			continue;
		}
		pthread_mutex_unlock(&h->lock);
		int e = feed(h->hash, h->fd, at, n < CHUNK_BYTES ? n : CHUNK_BYTES, buf);
		pthread_mutex_lock(&h->lock);
		h->os_error = e;
		h->done = at + (n < CHUNK_BYTES ? n : CHUNK_BYTES);
	}
	h->ending = true;
	pthread_cond_broadcast(&h->moved);
	pthread_mutex_unlock(&h->lock);
	mem_free(buf);
	return NULL;
}

struct reg_hash *reg_hash_begin(int fd)
{
	struct reg_hash *h = mem_zalloc(sizeof *h);
	pthread_condattr_t attr;
	h->fd = fd;
	pthread_mutex_init(&h->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&h->moved, &attr);
	pthread_condattr_destroy(&attr);
	BUG_ON(gnutls_hash_init(&h->hash, GNUTLS_DIG_SHA256));
	BUG_ON(pthread_create(&h->thread, NULL, hash_main, h));
	return h;
}

void reg_hash_advance(struct reg_hash *h, int64_t limit_bytes)
{
	pthread_mutex_lock(&h->lock);
	if (limit_bytes > h->limit) {
		h->limit = limit_bytes;
		pthread_cond_signal(&h->moved);
	}
	pthread_mutex_unlock(&h->lock);
}

int reg_hash_end(struct reg_hash *h, const bool *cancel, char ret_digest[72], struct err *err)
{
	unsigned char sum[32];
	pthread_mutex_lock(&h->lock);
	h->ending = true;
	pthread_cond_signal(&h->moved);
	while (h->done < h->limit && !h->os_error && !h->canceled) {
		struct timespec t;
		clock_gettime(CLOCK_MONOTONIC, &t);
		t.tv_sec++;
		h->canceled = cancel && __atomic_load_n(cancel, __ATOMIC_RELAXED);
		pthread_cond_timedwait(&h->moved, &h->lock, &t);
	}
	pthread_mutex_unlock(&h->lock);
	pthread_join(h->thread, NULL);
	gnutls_hash_deinit(h->hash, sum);
	int rc = h->canceled ? err_set(err, ERR_CANCELED, "context canceled")
	       : h->os_error ? err_set(err, ERR_IO, "cannot read the downloaded file: %s", strerror(h->os_error)) : 0;
	snprintf(ret_digest, 72, "sha256:");
	for (int i = 0; i < 32; i++)
		snprintf(ret_digest + 7 + 2 * i, 3, "%02x", sum[i]);
	pthread_mutex_destroy(&h->lock);
	pthread_cond_destroy(&h->moved);
	mem_free(h);
	return rc;
}

int reg_hash_range(int fd, int64_t offset, int64_t size_bytes, unsigned char ret[32], struct err *err)
{
	gnutls_hash_hd_t hash;
	unsigned char *buf = mem_alloc(CHUNK_BYTES);
	BUG_ON(gnutls_hash_init(&hash, GNUTLS_DIG_SHA256));
	int e = feed(hash, fd, offset, size_bytes, buf);
	gnutls_hash_deinit(hash, ret);
	mem_free(buf);
	return e ? err_set(err, ERR_IO, "cannot read the downloaded file: %s", strerror(e)) : 0;
}
