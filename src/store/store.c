#include "store/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/vec.h"
#include "store/store_priv.h"

/* ---- opening ---- */

/* Stores written by old versions of Ollama spell blob files "sha256:<hex>". */
static void rename_old_blobs(struct store *s)
{
	struct str dir = {0}, from = {0}, to = {0};
	str_printf(&dir, "%s/blobs", s->dir);
	DIR *d = opendir(dir.data);
	for (struct dirent *e; d && (e = readdir(d));) {
		if (!starts_with(e->d_name, "sha256:") || !store_digest_valid(e->d_name))
			continue;
		str_clear(&from);
		str_clear(&to);
		str_printf(&from, "%s/%s", dir.data, e->d_name);
		store_blob_path(s, e->d_name, &to);
		if (rename(from.data, to.data))
			log_warn("store: cannot rename %s: %s", from.data, strerror(errno));
	}
	if (d)
		closedir(d);
	str_release(&dir);
	str_release(&from);
	str_release(&to);
}

int store_open(const char *dir, const char *cache_dir, struct store **ret, struct err *err)
{
	struct str path = {0};
	struct stat st;
	*ret = NULL;
	int rc = store_mkdirs(dir, err);
	if (rc && !(stat(dir, &st) == 0 && S_ISDIR(st.st_mode)))
		return rc;
	struct store *s = mem_zalloc(sizeof *s);
	s->dir = mem_strdup(dir);
	s->cache_dir = cache_dir ? mem_strdup(cache_dir) : NULL;
	pthread_mutex_init(&s->lock, NULL);
	s->lock_fd = -1;
	static const char *const parts[] = {"blobs", "manifests"};
	rc = 0;
	s->writable = true;
	for (size_t i = 0; !rc && i < ARRAY_LEN(parts); i++) {
		str_clear(&path);
		str_printf(&path, "%s/%s", dir, parts[i]);
		if (mkdir(path.data, 0755) && errno != EEXIST && access(dir, R_OK | X_OK))
			rc = err_set(err, ERR_IO, "cannot use the model folder %s: %s; set OLLAMA_MODELS to another one", dir,
				     strerror(errno));
		s->writable &= !access(path.data, W_OK | X_OK);
	}
	str_release(&path);
	if (rc) {
		store_close(s);
		return rc;
	}
	if (s->writable) {
		str_printf(&path, "%s/.cria.lock", dir);
		s->lock_fd = open(path.data, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
		str_release(&path);
		rename_old_blobs(s);
	}
	*ret = s;
	return 0;
}

void store_close(struct store *s)
{
	if (!s)
		return;
	pthread_mutex_destroy(&s->lock);
	if (s->lock_fd >= 0)
		close(s->lock_fd);
	mem_free(s->dir);
	mem_free(s->cache_dir);
	mem_free(s);
}

/* A lock that cannot be had (a file system without them) is no reason to stop: renames are atomic in any case. */
void store_lock(struct store *s)
{
	pthread_mutex_lock(&s->lock);
	while (s->lock_fd >= 0 && flock(s->lock_fd, LOCK_EX) && errno == EINTR)
		;
}

void store_unlock(struct store *s)
{
	if (s->lock_fd >= 0)
		flock(s->lock_fd, LOCK_UN);
	pthread_mutex_unlock(&s->lock);
}

const char *store_dir(const struct store *s)
{
	return s->dir;
}

bool store_writable(const struct store *s)
{
	return s->writable;
}

/* ---- walking the manifests ---- */

void store_manifest_path(const struct store *s, const struct store_name *n, struct str *out)
{
	str_printf(out, "%s/manifests/%s/%s/%s/%s", s->dir, n->host, n->ns, n->model, n->tag);
}

/* The entries of a folder that may be a part of a name, sorted, so that walks are the same everywhere. */
struct entries {
	char **data;
	size_t n, cap;
};

static int cmp_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static struct entries list_dir(const char *path)
{
	struct entries v = {0};
	DIR *d = opendir(path);
	for (struct dirent *e; d && (e = readdir(d));)
		if (e->d_name[0] != '.')
			vec_push(&v, mem_strdup(e->d_name));
	if (d)
		closedir(d);
	if (v.n)
		qsort(v.data, v.n, sizeof *v.data, cmp_text);
	return v;
}

static void entries_release(struct entries *v)
{
	for (size_t i = 0; i < v->n; i++)
		mem_free(v->data[i]);
	vec_release(v);
}

/* The four parts of a name by level, with the size of each field. */
static char *name_part(struct store_name *n, int level, size_t *ret_cap)
{
	char *parts[] = {n->host, n->ns, n->model, n->tag};
	size_t caps[] = {sizeof n->host, sizeof n->ns, sizeof n->model, sizeof n->tag};
	*ret_cap = caps[level];
	return parts[level];
}

static bool walk_level(struct str *path, int level, struct store_name *name, store_walk_fn *fn, void *user)
{
	struct entries v = list_dir(path->data);
	size_t len = path->len, cap;
	char *part = name_part(name, level, &cap);
	bool go_on = true;
	for (size_t i = 0; go_on && i < v.n; i++) {
		struct stat st;
		if (strlen(v.data[i]) >= cap)
			continue;
		strcpy(part, v.data[i]);
		str_printf(path, "/%s", v.data[i]);
		if (!stat(path->data, &st)) {
			if (level < 3 && S_ISDIR(st.st_mode))
				go_on = walk_level(path, level + 1, name, fn, user);
			else if (level == 3 && S_ISREG(st.st_mode))
				go_on = fn(user, name);
		}
		str_truncate(path, len);
	}
	entries_release(&v);
	return go_on;
}

void store_walk(const struct store *s, store_walk_fn *fn, void *user)
{
	struct str path = {0};
	struct store_name name;
	memset(&name, 0, sizeof name);
	str_printf(&path, "%s/manifests", s->dir);
	walk_level(&path, 0, &name, fn, user);
	str_release(&path);
}

/* Tries the spelling given first, then every entry equal without case; a path that leads nowhere is backed out of. */
static bool find_level(struct str *path, int level, struct store_name *name)
{
	size_t len = path->len, cap;
	char *part = name_part(name, level, &cap);
	char *want = mem_strdup(part);
	struct entries v = list_dir(path->data);
	bool found = false;
	for (int exact = 1; !found && exact >= 0; exact--) {
		for (size_t i = 0; !found && i < v.n; i++) {
			struct stat st;
			if (strlen(v.data[i]) >= cap || strcasecmp(v.data[i], want) || (strcmp(v.data[i], want) == 0) != exact)
				continue;
			strcpy(part, v.data[i]);
			str_printf(path, "/%s", v.data[i]);
			if (level == 3)
				found = !stat(path->data, &st) && S_ISREG(st.st_mode);
			else
				found = find_level(path, level + 1, name);
			str_truncate(path, len);
		}
	}
	if (!found)
		strcpy(part, want);
	entries_release(&v);
	mem_free(want);
	return found;
}

bool store_name_on_disk(const struct store *s, struct store_name *name)
{
	struct str path = {0};
	str_printf(&path, "%s/manifests", s->dir);
	bool found = find_level(&path, 0, name);
	str_release(&path);
	return found;
}

/* ---- list ---- */

struct list_walk {
	struct store *store;
	VEC(struct store_model *) models;
};

static bool list_one(void *user, const struct store_name *name)
{
	struct list_walk *w = user;
	struct store_model *m;
	struct err err;
	if (store_resolve(w->store, name, &m, &err))
		log_warn("store: manifest of %s/%s/%s:%s is skipped: %s", name->host, name->ns, name->model, name->tag, err.msg);
	else
		vec_push(&w->models, m);
	return true;
}

static int cmp_newest(const void *a, const void *b)
{
	const struct store_model *x = *(struct store_model *const *)a, *y = *(struct store_model *const *)b;
	return x->modified_wall_ns < y->modified_wall_ns ? 1 : x->modified_wall_ns > y->modified_wall_ns ? -1 : 0;
}

int store_list(struct store *s, struct store_model ***ret, size_t *ret_n, struct err *err)
{
	struct list_walk w = {.store = s};
	(void)err;
	store_walk(s, list_one, &w);
	if (w.models.n)
		qsort(w.models.data, w.models.n, sizeof *w.models.data, cmp_newest);
	*ret = w.models.data;
	*ret_n = w.models.n;
	return 0;
}

void store_list_free(struct store_model **list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		store_model_free(list[i]);
	mem_free(list);
}

/* ---- facts ---- */

/* Part of the path: facts of another form, left by another version, are not read. */
enum { FACT_FORM = 2 };

static bool fact_path(const struct store *s, const char *digest, const char *kind, struct str *out)
{
	if (!s->cache_dir || !store_digest_valid(digest))
		return false;
	str_printf(out, "%s/facts-%d/sha256-%s.%s.json", s->cache_dir, FACT_FORM, digest + 7, kind);
	return true;
}

json_t *store_fact_get(struct store *s, const char *digest, const char *kind)
{
	struct str path = {0}, text = {0};
	struct err err;
	json_t *fact = NULL;
	if (fact_path(s, digest, kind, &path) && !store_file_read(path.data, (size_t)256 << 20, &text, &err) &&
	    json_parse_all(text.data ? text.data : "", text.len, &fact, &err))
		log_warn("store: cached facts %s are unreadable and will be made again: %s", path.data, err.msg);
	str_release(&path);
	str_release(&text);
	return fact;
}

void store_fact_put(struct store *s, const char *digest, const char *kind, const json_t *fact)
{
	struct str path = {0}, text = {0};
	struct jsonw w;
	struct err err;
	if (fact_path(s, digest, kind, &path)) {
		jsonw_init(&w, &text, JSONW_PLAIN);
		jsonw_value(&w, fact);
		if (store_file_write(path.data, text.data, text.len, &err))
			log_warn("store: facts of a model are not cached: %s", err.msg);
	}
	str_release(&path);
	str_release(&text);
}

/* ---- clean-up ---- */

enum { PRUNE_AGE_S = 3600 };

struct used_walk {
	struct store *store;
	struct map used; /* hex digest -> 1 */
	bool unreadable;
};

static bool add_used(void *user, const struct store_name *name)
{
	struct used_walk *w = user;
	struct store_layer *layers;
	size_t n;
	char digest[65];
	struct err err;
	if (store_manifest_layers(w->store, name, &layers, &n, digest, &err)) {
		log_warn("store: a manifest is unreadable, so no blob is removed: %s", err.msg);
		w->unreadable = true;
		return false;
	}
	for (size_t i = 0; i < n; i++)
		map_put(&w->used, layers[i].digest + 7, 64)->i = 1;
	store_layers_free(layers, n);
	return true;
}

/* Blobs, "-partial" files of downloads, our temporary files. Other files in the folder belong to somebody else. */
static bool prunable(const char *file, const struct map *used)
{
	if (starts_with(file, ".cria-tmp-"))
		return true;
	if (!starts_with(file, "sha256-") || strspn(file + 7, "0123456789abcdefABCDEF") != 64)
		return false;
	const char *rest = file + 7 + 64;
	return starts_with(rest, "-partial") || (*rest == '\0' && !map_get(used, file + 7, 64));
}

/* When a file was last written. For a download's records it is when its bytes were: ranges whose turn has not come are as
 * young as the one that grows. False: not ours to judge. */
static bool last_written(const char *path, time_t *ret)
{
	struct stat st, bytes;
	const char *record = strstr(path, "-partial-");
	if (lstat(path, &st) || !S_ISREG(st.st_mode))
		return false;
	*ret = st.st_mtime;
	if (record) {
		char *p = mem_strndup(path, (size_t)(record - path) + strlen("-partial"));
		if (!lstat(p, &bytes) && bytes.st_mtime > *ret)
			*ret = bytes.st_mtime;
		mem_free(p);
	}
	return true;
}

static void prune_dir(const char *dir, const struct map *used)
{
	struct str path = {0};
	int64_t oldest_s = clock_wall_ns() / NS_PER_S - PRUNE_AGE_S;
	DIR *d = opendir(dir);
	for (struct dirent *e; d && (e = readdir(d));) {
		time_t written;
		str_clear(&path);
		str_printf(&path, "%s/%s", dir, e->d_name);
		if (!prunable(e->d_name, used) || !last_written(path.data, &written) || written >= oldest_s)
			continue;
		log_info("store: removing %s, which no model uses", path.data);
		unlink(path.data);
	}
	if (d)
		closedir(d);
	str_release(&path);
}

/* rmdir refuses folders that hold something, so trying is safe. */
static void prune_empty(struct str *path, int level)
{
	struct entries v = list_dir(path->data);
	size_t len = path->len;
	for (size_t i = 0; level < 3 && i < v.n; i++) {
		str_printf(path, "/%s", v.data[i]);
		prune_empty(path, level + 1);
		rmdir(path->data);
		str_truncate(path, len);
	}
	entries_release(&v);
}

void store_prune(struct store *s)
{
	struct used_walk w = {.store = s};
	struct str path = {0};
	if (!s->writable)
		return;
	store_lock(s);
	store_walk(s, add_used, &w);
	if (!w.unreadable) {
		str_printf(&path, "%s/blobs", s->dir);
		prune_dir(path.data, &w.used);
	}
	str_clear(&path);
	str_printf(&path, "%s/manifests", s->dir);
	prune_empty(&path, 0);
	store_unlock(s);
	map_release(&w.used);
	str_release(&path);
}

void store_remove_unused(struct store *s, const struct store_layer *layers, size_t n)
{
	struct used_walk w = {.store = s};
	store_walk(s, add_used, &w);
	for (size_t i = 0; !w.unreadable && i < n; i++) {
		if (map_get(&w.used, layers[i].digest + 7, 64))
			continue;
		struct str path = {0};
		store_blob_path(s, layers[i].digest, &path);
		if (unlink(path.data) && errno != ENOENT)
			log_warn("store: cannot remove %s: %s", path.data, strerror(errno));
		str_release(&path);
	}
	map_release(&w.used);
}
