/* cli_http: requests to the server named by CRIA_HOST or OLLAMA_HOST, on libcurl. Errors carry the server's own sentence;
 * a server that is not there gives one sentence that says how to start it. Single-threaded, as the command line is. */
#ifndef CRIA_CLI_HTTP_H
#define CRIA_CLI_HTTP_H

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>

#include "base/err.h"
#include "base/json.h"
#include "base/str.h"

/* GET path; the body goes to out. */
int cli_get(const char *path, struct str *out, struct err *err);
/* One JSON request and its JSON answer (NULL when the body is empty). Borrows body; *ret is owned. */
int cli_call(const char *method, const char *path, const json_t *body, json_t **ret, struct err *err);
/* Where the objects of a stream go. */
struct cli_sink {
	bool (*line)(void *user, const json_t *obj); /* false ends the stream at once, as a success */
	void *user;
	/* May be NULL. Set by a signal handler: the connection is closed within CLI_CANCEL_MS, which tells the server to stop,
	 * and the call ends with ERR_CANCELED. */
	const volatile sig_atomic_t *cancel;
};
enum { CLI_CANCEL_MS = 100 };
/* A streaming request: every NDJSON object goes to the sink as it arrives. An object with "error" ends the stream with that
 * text; an error status gives "400 Bad Request: text". */
int cli_stream(const char *path, const json_t *body, const struct cli_sink *sink, struct err *err);
/* HEAD path: 1 there, 0 not (404), negative on errors. */
int cli_head(const char *path, struct err *err);
/* GET path into write, piece by piece; false from it ends the call with ERR_IO and the text it put into *err. */
int cli_download(const char *path, bool (*write)(void *user, const void *data, size_t n, struct err *err), void *user, struct err *err);
/* Uploads the next total bytes of a file that is open for reading as the body of a POST. */
int cli_upload_from(const char *path, FILE *f, long long total, void (*progress)(void *user, long long sent, long long total), void *user,
		    struct err *err);
/* Uploads a file as the body of a POST; progress gets bytes sent so far. */
int cli_upload(const char *path, const char *file, void (*progress)(void *user, long long sent, long long total), void *user,
	       struct err *err);

#endif
