/* registry_priv: what the files of the registry client share. */
#ifndef CRIA_REGISTRY_PRIV_H
#define CRIA_REGISTRY_PRIV_H

#include <curl/curl.h>
#include <pthread.h>
#include <sys/socket.h>

#include "base/vec.h"
#include "store/registry.h"
#include "store/registry_parse.h"
#include "store/store_priv.h"

enum {
	REG_PROGRESS_MS = 60,            /* between two progress lines of one client */
	REG_CONNECT_S = 20,
	REG_FAILURES_MAX = 64, REG_FAILURE_S = 60,
	REG_REDIRECTS_MAX = 5,
	REG_URL_MAX = 8192,
	REG_REPLY_MAX = 1 << 20,         /* of everything but manifests */
	REG_TRIES_MAX = 6                /* without a byte of progress in between */
};

/* One address of a registry: itself or a mirror. */
struct reg_base {
	char *url;      /* "https://host[:port][/prefix]" */
	char *origin;   /* "https://host:port", as reg_url_origin writes it */
	char *host;     /* as the name spells it: credentials are looked up by it */
	bool http_ok;   /* plain http is allowed here */
};

/* A name, or a host alone, that is not tried again before a time. */
struct reg_failure {
	char text[600];
	int64_t until_ns;
};

struct reg_download;

struct registry {
	struct store *store;
	char *key_path, *auth_path, *ca_path, *user_agent;
	VEC(struct reg_base) mirrors;
	VEC(char *) mirror_of; /* [mirrors.n] the registry host each stands for */
	int64_t stall_ns;
	bool proxy, no_prune;
	pthread_mutex_t lock;  /* guards the rest, and creating the key */
	pthread_cond_t moved;  /* a download made progress or ended */
	VEC(struct reg_download *) downloads;
	struct reg_failure failures[REG_FAILURES_MAX]; /* a ring */
	size_t i_failure;
	int n_user;            /* pulls and pushes that run */
	bool stopping;
};

/* Around each pull and push: registry_free waits for them. */
void registry_enter(struct registry *r);
void registry_leave(struct registry *r);

/* The addresses to ask for a host, mirrors first. Release with reg_bases_release. */
struct reg_bases {
	struct reg_base *data;
	size_t n, cap;
};
void reg_bases_of(const struct registry *r, const char *host, bool insecure, bool with_mirrors, struct reg_bases *ret);
void reg_bases_copy(const struct reg_bases *from, struct reg_bases *ret);
void reg_bases_release(struct reg_bases *b);

/* ---- addresses (registry_net.c) ---- */

/* Loopback, private, link-local, multicast and other addresses that do not belong to the public internet. */
bool reg_address_private(const struct sockaddr *a);
/* Whether a host as written in a URL is such an address, or a name of this machine. */
bool reg_host_private(const char *host);
void reg_address_text(const struct sockaddr *a, char *out, size_t n); /* "1.2.3.4:443", "[::1]:443" */
/* "scheme://host:port" of a URL in lower case; false when it is no http or https URL, or carries a user name. */
bool reg_url_origin(const char *url, struct str *out);
/* location as seen from url; false when it is no acceptable URL. */
bool reg_url_join(const char *url, const char *location, struct str *out);

/* ---- one conversation with one registry (registry_http.c) ---- */

/* Told by the socket callback of a transfer. */
struct reg_dial {
	const struct registry *reg;
	bool public_only;   /* private addresses are refused */
	bool is_private;    /* the last address dialed is one */
	bool refused;
	char text[80];      /* the last address dialed */
};

struct reg_session {
	struct registry *reg;
	struct reg_base base; /* borrowed */
	const char *repo;     /* "library/llama3", borrowed */
	const char *scope;    /* "pull" or "push,pull" */
	char *auth;           /* value of Authorization for the base's origin, or NULL */
	CURL *curl;
	struct reg_dial dial;
	int connect_s;
	bool private_ok;      /* the registry itself has a private address: it may lead to private ones */
	bool (*canceled)(void *user);
	void *user;
};

void reg_session_init(struct reg_session *s, struct registry *r, const struct reg_base *base, const char *repo, const char *scope,
		      bool (*canceled)(void *user), void *user);
/* A transfer to url is over: where the registry itself was found tells whether it may lead to private addresses. */
void reg_session_dialed(struct reg_session *s, const char *url, const struct reg_dial *dial);
void reg_session_release(struct reg_session *s);

/* Bytes of a request's body that come from a file. */
struct reg_body_file {
	int fd;
	int64_t offset, size_bytes;
	int64_t *sent;              /* grows while they go out, read by others under no lock: progress only */
};

struct reg_request {
	const char *method, *url;
	const char *accept, *content_type, *content_range; /* NULL: header is not sent */
	const char *authorization;        /* instead of the session's */
	bool plain;                       /* no Authorization and no retry on 401 */
	bool redirect_uploads;            /* X-Redirect-Uploads: 1 */
	bool follow;                      /* redirects are followed (GET and HEAD) */
	const void *body;
	size_t n_body;
	const struct reg_body_file *file; /* instead of body */
	size_t reply_max;                 /* 0: REG_REPLY_MAX */
};

struct reg_reply {
	long status;
	struct str body;
	struct reg_headers head;
};

/* Sends a request and reads the whole answer. A 401 of the registry leads to a token and a second try; the second 401 is
 * ERR_FORBIDDEN "unauthorized: access denied". Other statuses are the caller's business. */
int reg_send(struct reg_session *s, const struct reg_request *q, struct reg_reply *ret, struct err *err);
void reg_reply_release(struct reg_reply *r);
/* "<status>: <body>" for statuses from 400. Returns err->code. */
int reg_status_error(const struct reg_reply *r, struct err *err);

/* Settings that all transfers share; the URL must have passed reg_url_origin. dial must live as long as the handle. */
void reg_easy_setup(const struct reg_session *s, CURL *curl, const char *url, struct reg_dial *dial);
/* Whether a transfer may go to url: scheme, literal address. ERR_FORBIDDEN. */
int reg_url_allowed(const struct reg_session *s, const char *url, struct err *err);
bool reg_same_origin(const struct reg_session *s, const char *url);
/* What went wrong, in the words of Go's client: `Get "https://...": dial tcp 127.0.0.1:9: connect: connection refused`. */
int reg_curl_error(const char *method, const char *url, const struct reg_dial *dial, CURL *curl, CURLcode code, struct err *err);

/* ---- who we are (registry_auth.c, registry_key.c) ---- */

/* Answers a 401: fills s->auth. */
int reg_authorize(struct reg_session *s, const char *url, const char *authenticate, struct err *err);
/* "<public key>:<signature>" in base64, of text. Makes the key file when there is none. */
int reg_key_sign(struct registry *r, const char *text, struct str *out, struct err *err);

/* ---- blobs (registry_blob.c) ---- */

/* One blob on its way into the store, shared by all who wait for it. */
struct reg_download *reg_download_join(struct registry *r, const struct reg_bases *bases, const char *repo, const char *digest,
				       int64_t size_bytes, struct err *err);
/* Waits up to REG_PROGRESS_MS. True when it has ended: then *ret_rc and *err hold how. */
bool reg_download_wait(struct reg_download *d, int64_t *ret_completed, bool *ret_verifying, int *ret_rc, struct err *err);
/* The last one to leave cancels a download that still runs. */
void reg_download_leave(struct reg_download *d);

#endif
