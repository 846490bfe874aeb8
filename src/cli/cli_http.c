#include "cli/cli_http.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/host.h"

/* One exchange under way. */
struct call {
	CURL *curl;
	struct curl_slist *headers;
	struct str body;      /* whole answers, or the unfinished line of a stream */
	const struct cli_sink *sink; /* NULL: the answer is read whole */
	bool stopped, canceled;
	struct err err;       /* an error found in the stream */
	char errbuf[CURL_ERROR_SIZE];
};

static const char *server_url(char out[700])
{
	struct host h;
	bool bad_port;
	const char *text = getenv("CRIA_HOST");
	host_parse(text ? text : getenv("OLLAMA_HOST"), &h, &bad_port);
	host_url(&h, out, 700);
	return out;
}

/* Hands complete lines to the caller; an "error" member ends the stream. */
static void take_lines(struct call *c)
{
	char *end;
	while (!c->stopped && c->body.len && (end = memchr(c->body.data, '\n', c->body.len))) {
		size_t n = (size_t)(end - c->body.data);
		json_t *obj = NULL;
		if (n && !json_parse(c->body.data, n, &obj, &c->err)) {
			const char *text = json_string_value(json_get(obj, "error"));
			if (text)
				err_set(&c->err, ERR_INTERNAL, "%s", text);
			c->stopped = text || !c->sink->line(c->sink->user, obj);
		} else if (n) {
			c->stopped = true;
		}
		json_decref(obj);
		str_cut_front(&c->body, n + 1);
	}
}

static size_t on_body(char *data, size_t size, size_t n, void *user)
{
	struct call *c = user;
	long status = 0;
	str_add(&c->body, data, size * n);
	curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &status);
	if (c->sink && status < 400)
		take_lines(c);
	return c->stopped ? 0 : size * n;
}

static void call_init(struct call *c, const char *method, const char *path)
{
	char url[700];
	static bool started;
	if (!started)
		curl_global_init(CURL_GLOBAL_DEFAULT);
	started = true;
	*c = (struct call){.curl = curl_easy_init()};
	struct str full = {0};
	str_printf(&full, "%s%s", server_url(url), path);
	c->headers = curl_slist_append(NULL, "User-Agent: cria-cli");
	curl_easy_setopt(c->curl, CURLOPT_URL, str_cstr(&full));
	curl_easy_setopt(c->curl, CURLOPT_CUSTOMREQUEST, method);
	curl_easy_setopt(c->curl, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(c->curl, CURLOPT_WRITEDATA, c);
	curl_easy_setopt(c->curl, CURLOPT_ERRORBUFFER, c->errbuf);
	curl_easy_setopt(c->curl, CURLOPT_CONNECTTIMEOUT, 10L);
	curl_easy_setopt(c->curl, CURLOPT_NOPROXY, "localhost,127.0.0.1,::1");
	str_release(&full);
}

static void add_header(struct call *c, const char *line)
{
	c->headers = curl_slist_append(c->headers, line);
}

/* "400 Bad Request" and the like, for the codes a server sends. */
static const char *reason(long status)
{
	static const struct {
		long status;
		const char *text;
	} table[] = {{400, "Bad Request"}, {401, "Unauthorized"}, {403, "Forbidden"}, {404, "Not Found"}, {405, "Method Not Allowed"},
		     {413, "Request Entity Too Large"}, {429, "Too Many Requests"}, {500, "Internal Server Error"},
		     {501, "Not Implemented"}, {503, "Service Unavailable"}};
	for (size_t i = 0; i < sizeof table / sizeof *table; i++)
		if (table[i].status == status)
			return table[i].text;
	return "";
}

/* Turns status and body of a failed call into the error. */
static int status_error(struct call *c, long status, struct err *err)
{
	json_t *obj = NULL;
	struct err ignored;
	json_parse(str_cstr(&c->body), c->body.len, &obj, &ignored);
	const char *text = json_string_value(json_get(obj, "error"));
	int code = status == 404 ? ERR_NOT_FOUND : ERR_INVALID;
	char prefix[80] = "";
	if (c->sink || !text)
		snprintf(prefix, sizeof prefix, "%ld %s: ", status, reason(status));
	err_set(err, code, "%s%s", prefix, text ? text : str_cstr(&c->body));
	json_decref(obj);
	return code;
}

/* Transfers like curl_easy_perform, but looks at the cancel flag at least every CLI_CANCEL_MS. */
static CURLcode perform_until_canceled(struct call *c)
{
	CURLM *multi = curl_multi_init();
	CURLcode rc = CURLE_OK;
	int running = 1, n_left;
	curl_multi_add_handle(multi, c->curl);
	while (running && !*c->sink->cancel) {
		if (curl_multi_perform(multi, &running)) {
			rc = CURLE_FAILED_INIT;
			break;
		}
		if (running)
			curl_multi_poll(multi, NULL, 0, CLI_CANCEL_MS, NULL);
	}
	for (CURLMsg *m; (m = curl_multi_info_read(multi, &n_left));)
		rc = m->data.result;
	c->canceled = running && *c->sink->cancel;
	curl_multi_remove_handle(multi, c->curl);
	curl_multi_cleanup(multi);
	return rc;
}

/* Performs the call and judges the outcome. The caller releases. */
static int call_run(struct call *c, struct err *err)
{
	char url[700];
	curl_easy_setopt(c->curl, CURLOPT_HTTPHEADER, c->headers);
	CURLcode rc = c->sink && c->sink->cancel ? perform_until_canceled(c) : curl_easy_perform(c->curl);
	long status = 0;
	curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &status);
	if (c->err.code) {
		*err = c->err;
		return err->code;
	}
	if (c->stopped)
		return 0;
	if (c->canceled)
		return err_set(err, ERR_CANCELED, "canceled");
	if (rc == CURLE_COULDNT_CONNECT || rc == CURLE_COULDNT_RESOLVE_HOST)
		return err_set(err, ERR_IO, "could not connect to the server at %s, run 'cria serve' to start it", server_url(url));
	if (rc != CURLE_OK)
		return err_set(err, ERR_IO, "the server at %s: %s", server_url(url), *c->errbuf ? c->errbuf : curl_easy_strerror(rc));
	return status >= 400 ? status_error(c, status, err) : 0;
}

static void call_release(struct call *c)
{
	curl_slist_free_all(c->headers);
	curl_easy_cleanup(c->curl);
	str_release(&c->body);
}

/* Sets a JSON body; text must live until the call is over. */
static void set_body(struct call *c, const json_t *body, struct str *text)
{
	struct jsonw w;
	jsonw_init(&w, text, JSONW_PLAIN);
	jsonw_value(&w, body);
	add_header(c, "Content-Type: application/json");
	curl_easy_setopt(c->curl, CURLOPT_POSTFIELDS, str_cstr(text));
	curl_easy_setopt(c->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)text->len);
}

int cli_get(const char *path, struct str *out, struct err *err)
{
	struct call c;
	call_init(&c, "GET", path);
	int rc = call_run(&c, err);
	if (!rc)
		str_add(out, str_cstr(&c.body), c.body.len);
	call_release(&c);
	return rc;
}

int cli_call(const char *method, const char *path, const json_t *body, json_t **ret, struct err *err)
{
	struct call c;
	struct str text = {0};
	call_init(&c, method, path);
	if (body)
		set_body(&c, body, &text);
	int rc = call_run(&c, err);
	*ret = NULL;
	if (!rc && !json_is_blank(str_cstr(&c.body), c.body.len))
		rc = json_parse(c.body.data, c.body.len, ret, err);
	call_release(&c);
	str_release(&text);
	return rc;
}

int cli_stream(const char *path, const json_t *body, const struct cli_sink *sink, struct err *err)
{
	struct call c;
	struct str text = {0};
	call_init(&c, "POST", path);
	c.sink = sink;
	add_header(&c, "Accept: application/x-ndjson");
	set_body(&c, body, &text);
	int rc = call_run(&c, err);
	call_release(&c);
	str_release(&text);
	return rc;
}

int cli_head(const char *path, struct err *err)
{
	struct call c;
	call_init(&c, "HEAD", path);
	curl_easy_setopt(c.curl, CURLOPT_NOBODY, 1L);
	int rc = call_run(&c, err);
	call_release(&c);
	return rc == 0 ? 1 : rc == ERR_NOT_FOUND ? 0 : rc;
}

struct upload {
	FILE *f;
	void (*progress)(void *user, long long sent, long long total);
	void *user;
	long long sent, total;
};

static size_t on_upload(char *buf, size_t size, size_t n, void *user)
{
	struct upload *u = user;
	long long left = u->total - u->sent;
	size_t want = (long long)(size * n) < left ? size * n : (size_t)left, got = want ? fread(buf, 1, want, u->f) : 0;
	u->sent += (long long)got;
	if (got < want)
		return CURL_READFUNC_ABORT; /* the server waits for as many bytes as were announced */
	if (u->progress)
		u->progress(u->user, u->sent, u->total);
	return got;
}

int cli_upload_from(const char *path, FILE *f, long long total, void (*progress)(void *user, long long sent, long long total), void *user,
		    struct err *err)
{
	struct upload u = {.f = f, .progress = progress, .user = user, .total = total};
	struct call c;
	call_init(&c, "POST", path);
	add_header(&c, "Content-Type: application/octet-stream");
	add_header(&c, "Expect:");
	curl_easy_setopt(c.curl, CURLOPT_POST, 1L);
	curl_easy_setopt(c.curl, CURLOPT_READFUNCTION, on_upload);
	curl_easy_setopt(c.curl, CURLOPT_READDATA, &u);
	curl_easy_setopt(c.curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)u.total);
	int rc = call_run(&c, err);
	call_release(&c);
	return rc && (ferror(f) || feof(f)) ? err_set(err, ERR_IO, "the file is shorter than it says, or cannot be read") : rc;
}

int cli_upload(const char *path, const char *file, void (*progress)(void *user, long long sent, long long total), void *user,
	       struct err *err)
{
	FILE *f = fopen(file, "rb");
	struct stat st;
	int rc;
	if (!f || fstat(fileno(f), &st))
		rc = err_set(err, ERR_IO, "cannot read %s: %s", file, strerror(errno));
	else
		rc = cli_upload_from(path, f, (long long)st.st_size, progress, user, err);
	if (f)
		fclose(f);
	return rc;
}

struct download {
	struct call call;
	bool (*write)(void *user, const void *data, size_t n, struct err *err);
	void *user;
};

static size_t on_download(char *data, size_t size, size_t n, void *user)
{
	struct download *d = user;
	long status = 0;
	curl_easy_getinfo(d->call.curl, CURLINFO_RESPONSE_CODE, &status);
	if (status >= 400)
		return on_body(data, size, n, &d->call);
	return d->write(d->user, data, size * n, &d->call.err) ? size * n : 0;
}

int cli_download(const char *path, bool (*write)(void *user, const void *data, size_t n, struct err *err), void *user, struct err *err)
{
	struct download d = {.write = write, .user = user};
	call_init(&d.call, "GET", path);
	curl_easy_setopt(d.call.curl, CURLOPT_WRITEFUNCTION, on_download);
	curl_easy_setopt(d.call.curl, CURLOPT_WRITEDATA, &d);
	int rc = call_run(&d.call, err);
	call_release(&d.call);
	return rc;
}
