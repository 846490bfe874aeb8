/* store_priv: what the files of store/ share. */
#ifndef CRIA_STORE_PRIV_H
#define CRIA_STORE_PRIV_H

#include <pthread.h>

#include "store/store.h"

enum {
	MANIFEST_BYTES_MAX = 4 << 20, /* real ones have a few KB; the bound keeps a hostile file from filling memory */
	TEXT_LAYER_BYTES_MAX = 16 << 20
};

struct store {
	char *dir, *cache_dir;
	bool writable;
	pthread_mutex_t lock; /* held while manifests or blobs are removed or replaced, with lock_fd locked */
	int lock_fd;          /* of the file that keeps other processes out meanwhile; -1 on a read-only store */
};

/* Around everything that removes or replaces manifests and blobs, in this process and in others on the same store. */
void store_lock(struct store *s);
void store_unlock(struct store *s);

/* Reads a whole regular file of at most max bytes. ERR_NOT_FOUND, ERR_LIMIT, ERR_IO. */
int store_file_read(const char *path, size_t max, struct str *out, struct err *err);
/* Writes a file atomically: temporary file in the same folder, fsync, rename, fsync of the folder. Folders are made. */
int store_file_write(const char *path, const void *data, size_t n, struct err *err);
int store_file_write_mode(const char *path, const void *data, size_t n, unsigned mode, struct err *err); /* 0600 for secrets */
int store_mkdirs(const char *path, struct err *err);      /* like mkdir -p */
int store_mkdirs_above(const char *path, struct err *err); /* the folders above a file */
void store_sync_dir_of(const char *path);

/* A manifest's path under the root, exactly as the name is spelled. */
void store_manifest_path(const struct store *s, const struct store_name *name, struct str *out);
/* Replaces the parts of a name by those on disk that equal them without case. False when there is no such manifest. */
bool store_name_on_disk(const struct store *s, struct store_name *name);

/* Calls fn for each manifest file of the store; a false return ends the walk. */
typedef bool store_walk_fn(void *user, const struct store_name *name);
void store_walk(const struct store *s, store_walk_fn *fn, void *user);

/* Layers and config as the manifest lists them (the config comes last, as a layer); release with store_layers_free. */
int store_manifest_layers(const struct store *s, const struct store_name *name, struct store_layer **ret, size_t *ret_n,
			  char ret_digest[65], struct err *err);
/* The same of a parsed manifest. */
int store_layers_parse(const json_t *root, struct store_layer **ret, size_t *ret_n, struct err *err);
void store_layers_free(struct store_layer *layers, size_t n);
/* Removes blobs of the list that no manifest names; when a manifest is unreadable nothing is removed. Lock held. */
void store_remove_unused(struct store *s, const struct store_layer *layers, size_t n);

/* Hex SHA-256 of bytes. */
void store_sha256_hex(const void *data, size_t n, char ret[65]);

#endif
