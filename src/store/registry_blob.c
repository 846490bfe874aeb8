/* One blob from a registry into the store: who waits for it, the lock against other processes, the digest, the repair of
 * damaged ranges, and the final name. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/registry_fetch.h"
#include "store/registry_hash.h"

enum { OTHER_PROCESS_POLL_MS = 250 };

struct reg_download {
	struct registry *reg;
	struct reg_bases bases;
	char *repo, digest[72];
	int64_t size_bytes;
	/* guarded by reg->lock */
	int n_ref, n_waiter;
	bool ended;
	int rc;
	struct err err;
	/* written atomically */
	bool cancel, verifying;
	int64_t completed;
	/* the thread's own */
	int fd;
	struct reg_parts parts;
	size_t i_base;      /* the address in use */
};

/* ---- the partial file ---- */

static bool blob_is_there(struct reg_download *d)
{
	int64_t size;
	return store_blob_exists(d->reg->store, d->digest, &size) && size == d->size_bytes;
}

static bool same_file(int fd, const char *path)
{
	struct stat a, b;
	return !fstat(fd, &a) && !stat(path, &b) && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

static bool canceled(const struct reg_download *d)
{
	return __atomic_load_n(&d->cancel, __ATOMIC_RELAXED) || __atomic_load_n(&d->reg->stopping, __ATOMIC_RELAXED);
}

/* Another process downloads this blob: its records tell how far it is. */
static void watch_other(struct reg_download *d)
{
	struct reg_parts theirs;
	reg_parts_load(d->reg->store, d->digest, d->size_bytes, &theirs);
	__atomic_store_n(&d->completed, reg_parts_completed(&theirs), __ATOMIC_RELAXED);
	reg_parts_release(&theirs);
	struct timespec t = {.tv_nsec = OTHER_PROCESS_POLL_MS * NS_PER_MS};
	nanosleep(&t, NULL);
}

/* Opens the partial file and locks it; waits while another process works on it. Sets fd, or leaves it -1 when the blob has
 * come into the store meanwhile. The lock is on the file, so a name that was given away in between is noticed. */
static int open_partial(struct reg_download *d, const char *path, struct err *err)
{
	for (;;) {
		if (canceled(d))
			return err_set(err, ERR_CANCELED, "context canceled");
		if (blob_is_there(d))
			return 0;
		int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
		if (fd < 0)
			return err_set(err, ERR_IO, "cannot create %s: %s", path, strerror(errno));
		bool locked = !flock(fd, LOCK_EX | LOCK_NB);
		if (locked && same_file(fd, path)) {
			d->fd = fd;
			if (!blob_is_there(d))
				return 0;
			unlink(path);
			d->fd = -1;
		}
		close(fd);
		if (!locked)
			watch_other(d);
	}
}

/* Gives the file its length, and fails early when the disk is too small for it. */
static int make_room(struct reg_download *d, struct err *err)
{
	struct statvfs v;
	struct stat st;
	int64_t need = d->size_bytes - reg_parts_completed(&d->parts);
	if (fstat(d->fd, &st))
		return err_set(err, ERR_IO, "cannot read %s: %s", d->parts.path, strerror(errno));
	if (!fstatvfs(d->fd, &v) && v.f_frsize && (uint64_t)need / v.f_frsize > v.f_bavail &&
	    (uint64_t)st.st_blocks * 512 < (uint64_t)d->size_bytes)
		return err_set(err, ERR_IO, "not enough space in %s: %lld MB are needed, %llu MB are free", store_dir(d->reg->store),
			       (long long)(need / 1000000), (unsigned long long)v.f_bavail * v.f_frsize / 1000000);
	if (st.st_size != d->size_bytes && ftruncate(d->fd, d->size_bytes))
		return err_set(err, ERR_IO, "cannot write %s: %s", d->parts.path, strerror(errno));
	return 0;
}

/* ---- fetching ---- */

static bool session_canceled(void *user)
{
	return canceled(user);
}

/* Fetches what is missing from the registry's addresses, one after the other until one has given all. */
static int fetch(struct reg_download *d, struct reg_hash *hash, struct err *err)
{
	int rc = err_set(err, ERR_NOT_FOUND, "no registry for %s", d->digest);
	for (size_t i = 0; i < d->bases.n && rc && rc != ERR_CANCELED; i++) {
		struct reg_session s;
		const struct reg_base *base = &d->bases.data[(d->i_base + i) % d->bases.n];
		if (i)
			log_info("registry: %s: %s; trying %s", d->digest, err->msg, base->url);
		reg_session_init(&s, d->reg, base, d->repo, "pull", session_canceled, d);
		struct reg_fetch f = {.session = &s, .digest = d->digest, .fd = d->fd, .parts = &d->parts, .cancel = &d->cancel,
				      .completed = &d->completed, .hash = hash};
		rc = reg_fetch_run(&f, err);
		reg_session_release(&s);
		if (!rc)
			d->i_base = (d->i_base + i) % d->bases.n;
	}
	return rc;
}

static int hash_all(struct reg_download *d, char ret[72], struct err *err)
{
	struct reg_hash *h = reg_hash_begin(d->fd);
	reg_hash_advance(h, d->size_bytes);
	return reg_hash_end(h, &d->cancel, ret, err);
}

/* Fetches one range again. *ret_changed: other bytes came than were there. */
static int refetch(struct reg_download *d, size_t i, bool *ret_changed, struct err *err)
{
	unsigned char before[32], after[32];
	int64_t offset = d->parts.data[i].offset, size = d->parts.data[i].size_bytes;
	int rc = reg_hash_range(d->fd, offset, size, before, err);
	if (rc)
		return rc;
	d->parts.data[i].completed = 0;
	reg_parts_save(&d->parts);
	if ((rc = fetch(d, NULL, err)) || (rc = reg_hash_range(d->fd, offset, size, after, err)))
		return rc;
	*ret_changed = memcmp(before, after, sizeof before) != 0;
	return 0;
}

/* The digest is wrong: the ranges are fetched again one by one, those that had trouble first, until it is right. Only a
 * range that changed is worth hashing the file again. */
static int repair(struct reg_download *d, char digest[72], struct err *err)
{
	size_t n = d->parts.n;
	int rc = 0;
	d->i_base = (d->i_base + 1) % d->bases.n;
	for (int pass = 0; pass < 2; pass++) {
		for (size_t i = 0; !rc && i < n && i < d->parts.n; i++) {
			bool changed = false;
			if (d->parts.data[i].suspect != (pass == 0))
				continue;
			log_info("registry: %s has a wrong digest; fetching the range at %lld again", d->digest,
				 (long long)d->parts.data[i].offset);
			rc = refetch(d, i, &changed, err);
			if (!rc && changed && !(rc = hash_all(d, digest, err)) && !strcmp(digest, d->digest))
				return 0;
		}
	}
	return rc;
}

/* ---- the whole ---- */

static int finish(struct reg_download *d, struct err *err)
{
	struct str path = {0};
	int rc = 0;
	store_blob_path(d->reg->store, d->digest, &path);
	if (fchmod(d->fd, 0644) || fsync(d->fd))
		rc = err_set(err, ERR_IO, "cannot write %s: %s", d->parts.path, strerror(errno));
	else if (rename(d->parts.path, path.data))
		rc = err_set(err, ERR_IO, "cannot rename to %s: %s", path.data, strerror(errno));
	if (!rc) {
		store_sync_dir_of(path.data);
		reg_parts_forget(&d->parts);
	}
	str_release(&path);
	return rc;
}

/* The file is locked and ours. */
static int download(struct reg_download *d, struct err *err)
{
	char digest[72];
	int rc = make_room(d, err);
	if (rc)
		return rc;
	__atomic_store_n(&d->completed, reg_parts_completed(&d->parts), __ATOMIC_RELAXED);
	struct reg_hash *hash = reg_hash_begin(d->fd);
	rc = fetch(d, hash, err);
	__atomic_store_n(&d->verifying, !rc, __ATOMIC_RELAXED);
	struct err late;
	int rc_hash = reg_hash_end(hash, rc ? &(const bool){true} : &d->cancel, digest, &late);
	if (!rc && rc_hash) {
		*err = late;
		rc = rc_hash;
	}
	if (!rc && strcmp(digest, d->digest))
		rc = repair(d, digest, err);
	if (!rc && strcmp(digest, d->digest)) {
		unlink(d->parts.path);
		reg_parts_forget(&d->parts);
		return err_set(err, ERR_IO, "digest mismatch, file must be downloaded again: want %s, got %s", d->digest, digest);
	}
	return rc ? rc : finish(d, err);
}

/* What disk knows of the ranges, unless the bytes it speaks of have gone. */
static void load_parts(struct reg_download *d)
{
	struct stat st;
	reg_parts_load(d->reg->store, d->digest, d->size_bytes, &d->parts);
	if (fstat(d->fd, &st) || st.st_size == d->size_bytes || !reg_parts_completed(&d->parts))
		return;
	reg_parts_forget(&d->parts);
	reg_parts_release(&d->parts);
	reg_parts_load(d->reg->store, d->digest, d->size_bytes, &d->parts);
}

static int run(struct reg_download *d, struct err *err)
{
	char none[72];
	if (d->size_bytes == 0) {
		int rc = store_blob_put(d->reg->store, "", 0, none, NULL, err);
		return rc ? rc : strcmp(none, d->digest) ? err_set(err, ERR_FORMAT, "the manifest says that %s is empty", d->digest) : 0;
	}
	struct str path = {0};
	store_blob_path(d->reg->store, d->digest, &path);
	str_adds(&path, "-partial");
	int rc = open_partial(d, path.data, err);
	if (!rc && d->fd >= 0) {
		load_parts(d);
		rc = download(d, err);
		reg_parts_release(&d->parts);
		close(d->fd);
	}
	str_release(&path);
	return rc;
}

static void unref_locked(struct reg_download *d)
{
	if (--d->n_ref)
		return;
	reg_bases_release(&d->bases);
	mem_free(d->repo);
	mem_free(d);
}

static void *download_main(void *arg)
{
	struct reg_download *d = arg;
	struct registry *r = d->reg;
	struct err err = {0};
	int rc = run(d, &err);
	pthread_mutex_lock(&r->lock);
	d->rc = rc;
	d->err = err;
	d->ended = true;
	for (size_t i = 0; i < r->downloads.n; i++)
		if (r->downloads.data[i] == d)
			r->downloads.data[i--] = r->downloads.data[--r->downloads.n];
	pthread_cond_broadcast(&r->moved);
	unref_locked(d);
	pthread_mutex_unlock(&r->lock);
	return NULL;
}

/* ---- who waits ---- */

/* The download of a digest that runs and is not canceled; waits for a canceled one to end. Lock held. */
static struct reg_download *find_running(struct registry *r, const char *digest)
{
	for (size_t i = 0; i < r->downloads.n;) {
		struct reg_download *d = r->downloads.data[i];
		if (strcmp(d->digest, digest)) {
			i++;
		} else if (!d->cancel) {
			return d;
		} else {
			pthread_cond_wait(&r->moved, &r->lock);
			i = 0;
		}
	}
	return NULL;
}

struct reg_download *reg_download_join(struct registry *r, const struct reg_bases *bases, const char *repo, const char *digest,
				       int64_t size_bytes, struct err *err)
{
	pthread_t thread;
	pthread_mutex_lock(&r->lock);
	struct reg_download *d = r->stopping ? NULL : find_running(r, digest);
	if (r->stopping) {
		err_set(err, ERR_CANCELED, "the server is stopping");
	} else if (d) {
		d->n_ref++;
		d->n_waiter++;
	} else {
		d = mem_zalloc(sizeof *d);
		d->reg = r;
		reg_bases_copy(bases, &d->bases);
		d->repo = mem_strdup(repo);
		snprintf(d->digest, sizeof d->digest, "%s", digest);
		d->size_bytes = size_bytes;
		d->fd = -1;
		d->n_ref = 2;
		d->n_waiter = 1;
		vec_push(&r->downloads, d);
		if (pthread_create(&thread, NULL, download_main, d)) {
			r->downloads.n--;
			d->n_ref = 1;
			unref_locked(d);
			d = NULL;
			err_set(err, ERR_BUSY, "no thread for a download can be started");
		} else {
			pthread_detach(thread);
		}
	}
	pthread_mutex_unlock(&r->lock);
	return d;
}

bool reg_download_wait(struct reg_download *d, int64_t *ret_completed, bool *ret_verifying, int *ret_rc, struct err *err)
{
	int64_t until = clock_now_ns() + REG_PROGRESS_MS * NS_PER_MS;
	struct timespec t = {.tv_sec = until / NS_PER_S, .tv_nsec = until % NS_PER_S};
	pthread_mutex_lock(&d->reg->lock);
	while (!d->ended && !pthread_cond_timedwait(&d->reg->moved, &d->reg->lock, &t))
		;
	bool ended = d->ended;
	*ret_completed = __atomic_load_n(&d->completed, __ATOMIC_RELAXED);
	*ret_verifying = __atomic_load_n(&d->verifying, __ATOMIC_RELAXED);
	if (ended) {
		*ret_rc = d->rc;
		*err = d->err;
	}
	pthread_mutex_unlock(&d->reg->lock);
	return ended;
}

void reg_download_leave(struct reg_download *d)
{
	struct registry *r = d->reg;
	pthread_mutex_lock(&r->lock);
	if (--d->n_waiter == 0 && !d->ended)
		__atomic_store_n(&d->cancel, true, __ATOMIC_RELAXED);
	unref_locked(d);
	pthread_mutex_unlock(&r->lock);
}
