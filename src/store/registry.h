/* registry: models from and to registries: Ollama's own protocol (signed tokens), plain OCI registries (basic and bearer), and
 * Hugging Face names. It speaks HTTP through libcurl and writes into the store; what a model holds is not its business.
 *
 * Everything a registry says is hostile: sizes are bounded, digests are checked before they become file names, a blob gets
 * its name only after its SHA-256 was right, credentials go to the host they belong to, and a public registry cannot lead a
 * transfer to a private address.
 *
 * Thread rule: pull and push block and run on a thread of the caller's; any number may run at once. Pulls that want the same
 * blob share one download, in this process and, by a file lock, with others on the same store. registry_stop ends all. */
#ifndef CRIA_REGISTRY_H
#define CRIA_REGISTRY_H

#include <stdbool.h>
#include <stdint.h>

#include "store/store.h"

struct registry;

struct registry_cfg {
	const char *key_path;    /* OpenSSH ed25519 key, made when it is first needed and missing */
	const char *auth_path;   /* Docker's config.json with passwords by host; "" for none */
	const char *ca_path;     /* PEM file of certificate authorities; "" for the system's */
	const char *mirrors;     /* "registry.ollama.ai=http://mirror:5000,https://other": asked before the registry; a mirror
				  * without host= stands for registry.ollama.ai */
	const char *version;     /* told in User-Agent */
	int64_t stall_ns;        /* a connection that brings nothing for this long is made anew */
	bool proxy;              /* the environment names a proxy: addresses are the proxy's, and are not judged */
	bool no_prune;           /* blobs that only a replaced manifest used stay */
};

struct registry *registry_new(struct store *s, const struct registry_cfg *cfg);
/* Makes every transfer end with ERR_CANCELED soon, and new ones at once. */
void registry_stop(struct registry *r);
/* Stops, and waits for what still runs. */
void registry_free(struct registry *r);

/* Where progress goes, on the calling thread. digest is NULL for lines that are a status only. */
struct registry_sink {
	void (*progress)(void *user, const char *status, const char *digest, int64_t total, int64_t completed);
	bool (*canceled)(void *user); /* asked at least once a second */
	void *user;
	int connect_s;                /* to give up on a registry that cannot be reached; 0: 20 */
};

/* Fetches a model's manifest and the blobs that are missing, then writes the manifest. `insecure`: http instead of https.
 * The last puller of a blob that is canceled stops its download; what has arrived stays for the next try. */
int registry_pull(struct registry *r, const struct store_name *name, bool insecure, const struct registry_sink *sink, struct err *err);
/* What pulls that nobody asked for by name leave behind: a name that a registry does not know, or a registry that is out of
 * reach, is not tried again for a minute. */
void registry_note_failure(struct registry *r, const struct store_name *name, bool unknown);
bool registry_failed_lately(struct registry *r, const struct store_name *name);
/* Sends a model. The name as the user wrote it, because a bad one is reported after the first status line. */
int registry_push(struct registry *r, const char *name, bool insecure, const struct registry_sink *sink, struct err *err);

#endif
