/* store: models on disk in Ollama's layout: manifests/<host>/<namespace>/<model>/<tag> and blobs/sha256-<hex>. It reads
 * JSON and bytes, never model contents. Facts about model files (made by `cria inspect`) are cached in a folder of our own.
 *
 * Thread rule: all functions may be called from any thread; changes are atomic renames, deletion takes an internal lock. */
#ifndef CRIA_STORE_H
#define CRIA_STORE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "store/store_name.h"

struct store;

/* Opens (creates when missing) the store; cache_dir holds derived facts. The error says which folder and why. */
int store_open(const char *dir, const char *cache_dir, struct store **ret, struct err *err);
void store_close(struct store *s);
const char *store_dir(const struct store *s);
bool store_writable(const struct store *s);
/* Removes what no manifest names and nobody touched for an hour: blobs, parts of downloads, temporary files; and empty
 * manifest folders. Removes no blob when a manifest is unreadable. For the start of a server, unless the operator forbids it. */
void store_prune(struct store *s);

struct store_layer {
	char *media_type, *digest; /* "sha256:<64 hex>" */
	char *from;                /* or NULL */
	int64_t size_bytes;
};

/* One installed model: its manifest read, small text layers loaded. */
struct store_model {
	struct store_name name;     /* as spelled on disk */
	char *digest;               /* 64 hex: SHA-256 of the manifest file */
	int64_t modified_wall_ns;
	int64_t size_bytes;         /* config + layers */
	struct store_layer *layers; /* [n_layer] */
	size_t n_layer;
	json_t *config;             /* the config blob's object, {} when missing */
	char *model_digest;         /* of the GGUF layer, NULL when the model has none (e.g. remote stubs) */
	char *model_path;           /* its blob file */
	char *projector_path;       /* or NULL */
	char *adapter_path;         /* or NULL */
	char *template_text;        /* Go template layer, or NULL */
	char *system;               /* or NULL */
	json_t *params;             /* object or NULL */
	json_t *messages;           /* array or NULL */
	char **licenses;            /* [n_license] */
	size_t n_license;
	char *parent_model;         /* "" when none */
};

/* The model of a name, parts matched without case. ERR_NOT_FOUND; ERR_FORMAT when the manifest is unreadable. */
int store_resolve(struct store *s, const struct store_name *name, struct store_model **ret, struct err *err);
bool store_has(const struct store *s, const struct store_name *name); /* whether there is a manifest, readable or not */
void store_model_free(struct store_model *m);
/* All models, newest first; unreadable manifests are logged and skipped. */
int store_list(struct store *s, struct store_model ***ret, size_t *ret_n, struct err *err);
void store_list_free(struct store_model **list, size_t n);

/* ERR_NOT_FOUND when the source is missing. Overwrites the destination. */
int store_copy(struct store *s, const struct store_name *from, const struct store_name *to, struct err *err);
/* Removes the manifest, empty folders above it, and blobs that no manifest names any more. */
int store_delete(struct store *s, const struct store_name *name, struct err *err);

/* "sha256:<64 hex>" or "sha256-<64 hex>", any case of hex. */
bool store_digest_valid(const char *digest);
/* Path of a blob file (existing or not); digest in either spelling. */
void store_blob_path(const struct store *s, const char *digest, struct str *out);
bool store_blob_exists(const struct store *s, const char *digest, int64_t *ret_size);

/* Writes a blob: a temporary file beside the blobs, hashed while it grows, renamed at the end. */
struct store_blob;
int store_blob_begin(struct store *s, struct store_blob **ret, struct err *err);
int store_blob_write(struct store_blob *b, const void *data, size_t n, struct err *err);
/* The file, for another process to write to at any offset; store_blob_adopt then reads back what is in it. The file stays the
 * blob's. */
int store_blob_fd(const struct store_blob *b);
int store_blob_adopt(struct store_blob *b, struct err *err);
/* Ends the blob: want (a digest) may be NULL. ERR_INVALID `digest mismatch, expected "a", got "b"`. Frees b in any case. */
int store_blob_finish(struct store_blob *b, const char *want, char ret_digest[72], int64_t *ret_size, struct err *err);
void store_blob_abort(struct store_blob *b);
/* A small layer from memory; *ret_existed (may be NULL) tells whether the blob was there before. */
int store_blob_put(struct store *s, const void *data, size_t n, char ret_digest[72], bool *ret_existed, struct err *err);
/* Appends a small blob's bytes. */
int store_blob_text(const struct store *s, const char *digest, struct str *out, struct err *err);

/* Writes config blob and manifest for a name: layers are borrowed, their blobs must exist. With `prune`, blobs that only the
 * replaced manifest of that name used are removed. */
int store_manifest_write(struct store *s, const struct store_name *name, const json_t *config, const struct store_layer *layers,
			 size_t n_layer, bool prune, struct err *err);

/* A manifest's bytes; *name becomes the spelling on disk. ERR_NOT_FOUND. */
int store_manifest_get(struct store *s, struct store_name *name, struct str *out, struct err *err);
/* Writes the manifest that a registry or a bundle gave, byte for byte. ERR_NOT_FOUND when a blob of its layers is missing. */
int store_manifest_put(struct store *s, const struct store_name *name, const struct str *text, const struct store_layer *layers,
		       size_t n_layer, bool prune, struct err *err);

/* Facts of a blob by digest (kind "info" or "verbose"): NULL when not cached. */
json_t *store_fact_get(struct store *s, const char *digest, const char *kind);
void store_fact_put(struct store *s, const char *digest, const char *kind, const json_t *fact);

#endif
