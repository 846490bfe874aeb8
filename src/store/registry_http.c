/* Requests to a registry: one at a time for small answers. Redirects are followed by hand, so that each step is judged, and
 * answers are never decompressed. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/registry_priv.h"

/* ---- sessions ---- */

void reg_session_init(struct reg_session *s, struct registry *r, const struct reg_base *base, const char *repo, const char *scope,
		      bool (*canceled)(void *user), void *user)
{
	*s = (struct reg_session){.reg = r, .base = *base, .repo = repo, .scope = scope, .curl = curl_easy_init(),
				  .canceled = canceled, .user = user,
				  .connect_s = REG_CONNECT_S};
	BUG_ON(!s->curl);
	char *name = strstr(base->origin, "://") + 3;
	name = mem_strndup(name, (size_t)(strrchr(name, ':') - name));
	s->private_ok = reg_host_private(name);
	mem_free(name);
}

void reg_session_dialed(struct reg_session *s, const char *url, const struct reg_dial *dial)
{
	if (*dial->text && !s->reg->proxy && reg_same_origin(s, url))
		s->private_ok |= dial->is_private;
}

void reg_session_release(struct reg_session *s)
{
	curl_easy_cleanup(s->curl);
	mem_free(s->auth);
	*s = (struct reg_session){0};
}

bool reg_same_origin(const struct reg_session *s, const char *url)
{
	struct str origin = {0};
	bool same = reg_url_origin(url, &origin) && str_eq(&origin, s->base.origin);
	str_release(&origin);
	return same;
}

int reg_url_allowed(const struct reg_session *s, const char *url, struct err *err)
{
	struct str origin = {0};
	int rc = 0;
	if (!reg_url_origin(url, &origin))
		rc = err_set(err, ERR_FORBIDDEN, "the registry %s leads to \"%.200s\", which is no http or https address",
			     s->base.host, url);
	else if (starts_with(origin.data, "http:") && !s->base.http_ok)
		rc = err_set(err, ERR_FORBIDDEN, "the registry %s leads from https to http (%.200s)", s->base.host, url);
	else if (!s->private_ok && !str_eq(&origin, s->base.origin)) {
		char *host = strstr(origin.data, "://") + 3, *colon = strrchr(host, ':');
		*colon = '\0';
		if (reg_host_private(host))
			rc = err_set(err, ERR_FORBIDDEN, "the registry %s leads to the private address %s; that is not followed",
				     s->base.host, host);
	}
	str_release(&origin);
	return rc;
}

/* ---- libcurl ---- */

/* Makes the socket of a connection, unless its address is forbidden. This is where the name has been resolved, so a name
 * that changes its address between check and use gains nothing. */
static curl_socket_t open_socket(void *user, curlsocktype purpose, struct curl_sockaddr *a)
{
	struct reg_dial *d = user;
	(void)purpose;
	reg_address_text(&a->addr, d->text, sizeof d->text);
	d->is_private = reg_address_private(&a->addr);
	d->refused = d->public_only && d->is_private;
	if (d->refused)
		return CURL_SOCKET_BAD;
	return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

void reg_easy_setup(const struct reg_session *s, CURL *curl, const char *url, struct reg_dial *dial)
{
	dial->reg = s->reg;
	dial->public_only = !s->private_ok && !s->reg->proxy && !reg_same_origin(s, url);
	dial->refused = dial->is_private = false;
	dial->text[0] = '\0'; /* stays empty when a connection is used again */
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_USERAGENT, s->reg->user_agent);
	curl_easy_setopt(curl, CURLOPT_ACCEPT_ENCODING, NULL);
	curl_easy_setopt(curl, CURLOPT_HTTP_CONTENT_DECODING, 0L);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)s->connect_s);
	curl_easy_setopt(curl, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1); /* ranges in parallel want connections of their own */
	curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, open_socket);
	curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, dial);
	if (s->reg->ca_path)
		curl_easy_setopt(curl, CURLOPT_CAINFO, s->reg->ca_path);
}

static const char *go_errno(int os_errno, char out[160])
{
	snprintf(out, 160, "%s", os_errno ? strerror(os_errno) : "connection failed");
	if (out[0] >= 'A' && out[0] <= 'Z')
		out[0] = (char)(out[0] + 32);
	return out;
}

int reg_curl_error(const char *method, const char *url, const struct reg_dial *dial, CURL *curl, CURLcode code, struct err *err)
{
	char verb[8], text[160];
	const char *host = strstr(url, "://") ? strstr(url, "://") + 3 : url;
	long os_errno = 0;
	snprintf(verb, sizeof verb, "%.1s", method);
	for (size_t i = 1; method[i] && i < sizeof verb - 1; i++) {
		verb[i] = (char)(method[i] + 32);
		verb[i + 1] = '\0';
	}
	curl_easy_getinfo(curl, CURLINFO_OS_ERRNO, &os_errno);
	if (code == CURLE_ABORTED_BY_CALLBACK)
		return err_set(err, ERR_CANCELED, "context canceled");
	if (dial->refused)
		return err_set(err, ERR_FORBIDDEN, "%s \"%s\": the address %s is private; a public registry may not lead there", verb, url,
			       dial->text);
	if (code == CURLE_COULDNT_CONNECT)
		return err_set(err, ERR_IO, "%s \"%s\": dial tcp %s: connect: %s", verb, url, dial->text, go_errno((int)os_errno, text));
	if (code == CURLE_COULDNT_RESOLVE_HOST)
		return err_set(err, ERR_IO, "%s \"%s\": dial tcp: lookup %.*s: no such host", verb, url, (int)strcspn(host, ":/"), host);
	if (code == CURLE_OPERATION_TIMEDOUT)
		return err_set(err, ERR_TIMEOUT, "%s \"%s\": i/o timeout", verb, url);
	if (code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE)
		return err_set(err, ERR_IO, "%s \"%s\": tls: failed to verify certificate (%s); CRIA_CA_FILE names a file with further "
					    "authorities", verb, url, curl_easy_strerror(code));
	return err_set(err, ERR_IO, "%s \"%s\": %s", verb, url, curl_easy_strerror(code));
}

/* ---- one request ---- */

struct transfer {
	struct reg_session *s;
	const struct reg_request *q;
	struct reg_reply *reply;
	size_t reply_max;
	bool too_long;
	int64_t body_sent; /* of the file range */
	int64_t last_bytes, last_ns; /* when something moved last */
	bool stalled;
};

static size_t on_header(char *p, size_t size, size_t n, void *user)
{
	struct transfer *t = user;
	reg_header_line(&t->reply->head, p, size * n);
	return size * n;
}

static size_t on_body(char *p, size_t size, size_t n, void *user)
{
	struct transfer *t = user;
	n *= size;
	if (t->reply->body.len + n > t->reply_max) {
		t->too_long = true;
		return 0;
	}
	str_add(&t->reply->body, p, n);
	return n;
}

static size_t on_read(char *buf, size_t size, size_t n, void *user)
{
	struct transfer *t = user;
	const struct reg_body_file *f = t->q->file;
	int64_t left = f->size_bytes - t->body_sent;
	n *= size;
	if ((int64_t)n > left)
		n = (size_t)left;
	ssize_t got = n ? pread(f->fd, buf, n, f->offset + t->body_sent) : 0;
	if (got < 0)
		return CURL_READFUNC_ABORT;
	t->body_sent += got;
	if (f->sent)
		__atomic_fetch_add(f->sent, got, __ATOMIC_RELAXED);
	return (size_t)got;
}

/* libcurl rewinds a body that it has to send again. */
static int on_seek(void *user, curl_off_t offset, int origin)
{
	struct transfer *t = user;
	if (origin != SEEK_SET)
		return CURL_SEEKFUNC_CANTSEEK;
	if (t->q->file->sent)
		__atomic_fetch_sub(t->q->file->sent, t->body_sent - offset, __ATOMIC_RELAXED);
	t->body_sent = offset;
	return CURL_SEEKFUNC_OK;
}

static int on_tick(void *user, curl_off_t dl_total, curl_off_t dl, curl_off_t ul_total, curl_off_t ul)
{
	struct transfer *t = user;
	int64_t now = clock_now_ns(), bytes = dl + ul;
	(void)dl_total;
	(void)ul_total;
	if (bytes != t->last_bytes) {
		t->last_bytes = bytes;
		t->last_ns = now;
	}
	t->stalled = now - t->last_ns > t->s->reg->stall_ns;
	return t->stalled || __atomic_load_n(&t->s->reg->stopping, __ATOMIC_RELAXED) || (t->s->canceled && t->s->canceled(t->s->user));
}

static struct curl_slist *add_header(struct curl_slist *list, const char *name, const char *value)
{
	struct str line = {0};
	str_printf(&line, "%s: %s", name, value);
	list = curl_slist_append(list, line.data);
	str_release(&line);
	return list;
}

static struct curl_slist *request_headers(const struct reg_session *s, const struct reg_request *q, const char *url)
{
	struct curl_slist *list = curl_slist_append(NULL, "Expect:");
	const char *auth = q->authorization ? q->authorization : !q->plain && reg_same_origin(s, url) ? s->auth : NULL;
	const struct {
		const char *name, *value;
	} table[] = {{"Accept", q->accept}, {"Authorization", auth}, {"Content-Type", q->content_type},
		     {"Content-Range", q->content_range}, {"X-Redirect-Uploads", q->redirect_uploads ? "1" : NULL}};
	for (size_t i = 0; i < ARRAY_LEN(table); i++)
		if (table[i].value)
			list = add_header(list, table[i].name, table[i].value);
	if (!q->accept)
		list = curl_slist_append(list, "Accept:");
	return list;
}

static void set_method(CURL *c, struct transfer *t)
{
	const struct reg_request *q = t->q;
	bool get = !strcmp(q->method, "GET"), head = !strcmp(q->method, "HEAD");
	if (get)
		return;
	if (head) {
		curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
		return;
	}
	curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, q->method);
	if (q->file) {
		curl_easy_setopt(c, CURLOPT_UPLOAD, 1L);
		curl_easy_setopt(c, CURLOPT_UPLOAD_BUFFERSIZE, 512 * 1024L);
		curl_easy_setopt(c, CURLOPT_READFUNCTION, on_read);
		curl_easy_setopt(c, CURLOPT_READDATA, t);
		curl_easy_setopt(c, CURLOPT_SEEKFUNCTION, on_seek);
		curl_easy_setopt(c, CURLOPT_SEEKDATA, t);
		curl_easy_setopt(c, CURLOPT_INFILESIZE_LARGE, (curl_off_t)q->file->size_bytes);
	} else {
		curl_easy_setopt(c, CURLOPT_POSTFIELDS, q->body ? q->body : "");
		curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)q->n_body);
	}
}

/* One exchange with url, without redirects or authorization rounds. */
static int exchange(struct reg_session *s, const struct reg_request *q, const char *url, struct reg_reply *ret, struct err *err)
{
	CURL *c = s->curl;
	struct transfer t = {.s = s, .q = q, .reply = ret, .reply_max = q->reply_max ? q->reply_max : REG_REPLY_MAX,
			     .last_ns = clock_now_ns()};
	int rc = reg_url_allowed(s, url, err);
	if (rc)
		return rc;
	str_clear(&ret->body);
	reg_headers_release(&ret->head);
	curl_easy_reset(c);
	reg_easy_setup(s, c, url, &s->dial);
	struct curl_slist *headers = request_headers(s, q, url);
	curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(c, CURLOPT_HEADERDATA, &t);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, &t);
	curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
	curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_tick);
	curl_easy_setopt(c, CURLOPT_XFERINFODATA, &t);
	set_method(c, &t);
	CURLcode code = curl_easy_perform(c);
	curl_slist_free_all(headers);
	curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &ret->status);
	reg_session_dialed(s, url, &s->dial);
	if (t.too_long)
		return err_set(err, ERR_LIMIT, "%s \"%s\": the answer has over %zu bytes", q->method, url, t.reply_max);
	if (code && t.stalled)
		return err_set(err, ERR_TIMEOUT, "%s \"%s\": nothing came for %lld s", q->method, url,
			       (long long)(s->reg->stall_ns / NS_PER_S));
	if (code)
		return reg_curl_error(q->method, url, &s->dial, c, code, err);
	if (ret->head.encoding && strcasecmp(ret->head.encoding, "identity"))
		return err_set(err, ERR_FORMAT, "%s \"%s\": the answer is encoded as %.40s, which was not asked for", q->method, url,
			       ret->head.encoding);
	return 0;
}

/* The exchange and the redirects it leads to. */
static int exchange_follow(struct reg_session *s, const struct reg_request *q, struct reg_reply *ret, struct err *err)
{
	struct str url = {0}, next = {0};
	int rc = 0;
	str_adds(&url, q->url);
	for (int i = 0;; i++) {
		rc = exchange(s, q, url.data, ret, err);
		bool redirect = ret->status >= 301 && ret->status <= 308 && ret->status != 304 && ret->head.location;
		if (rc || !q->follow || !redirect)
			break;
		str_clear(&next);
		if (i == REG_REDIRECTS_MAX)
			rc = err_set(err, ERR_LIMIT, "Get \"%s\": stopped after %d redirects", q->url, REG_REDIRECTS_MAX);
		else if (!reg_url_join(url.data, ret->head.location, &next))
			rc = err_set(err, ERR_FORMAT, "Get \"%s\": the redirect leads to no usable address", q->url);
		if (rc)
			break;
		str_clear(&url);
		str_adds(&url, next.data);
	}
	str_release(&url);
	str_release(&next);
	return rc;
}

int reg_send(struct reg_session *s, const struct reg_request *q, struct reg_reply *ret, struct err *err)
{
	*ret = (struct reg_reply){0};
	reg_headers_init(&ret->head);
	for (int round = 0;; round++) {
		int rc = exchange_follow(s, q, ret, err);
		if (rc || ret->status != 401 || q->plain)
			return rc;
		if (round)
			return err_set(err, ERR_FORBIDDEN, "unauthorized: access denied");
		rc = reg_authorize(s, q->url, ret->head.authenticate ? ret->head.authenticate : "", err);
		if (rc)
			return rc;
	}
}

void reg_reply_release(struct reg_reply *r)
{
	str_release(&r->body);
	reg_headers_release(&r->head);
}

int reg_status_error(const struct reg_reply *r, struct err *err)
{
	size_t n = r->body.len;
	while (n && (r->body.data[n - 1] == '\n' || r->body.data[n - 1] == ' '))
		n--;
	return err_set(err, ERR_IO, "%ld: %.*s", r->status, n > 600 ? 600 : (int)n, str_cstr(&r->body));
}
