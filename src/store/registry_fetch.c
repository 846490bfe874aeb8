#include "store/registry_fetch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/registry_hash.h"

enum {
	CONNECTIONS_MAX = 16,
	POLL_MS = 50,
	SAVE_MS = 100,
	RETRY_FIRST_MS = 250, /* doubled with each try that brings nothing */
	BUFFER_BYTES = 256 * 1024
};

struct run;

/* One connection at work on one part. */
struct conn {
	struct run *run;
	CURL *curl;             /* NULL: free */
	struct curl_slist *headers;
	size_t i_part;
	char *url;
	struct reg_headers head;
	struct reg_dial dial;
	bool judged;            /* the head of the answer is right, bytes may be written */
	bool lied;              /* the answer does not fit the request */
	int64_t skip_bytes;     /* of an answer that begins at 0 although the range does not */
	size_t noise_bytes;     /* of answers that are no success */
	int64_t start_completed;
	int64_t last_ns;        /* when bytes came */
	int n_redirect;
	int i_token;            /* of the token it was sent with */
	char why[160];          /* what was wrong with the answer */
};

struct run {
	struct reg_fetch *f;
	CURLM *multi;
	struct conn conns[CONNECTIONS_MAX];
	char *own_url;          /* at the registry */
	char *direct_url;       /* where the registry led to; NULL: not (yet) */
	bool ranges_ok;         /* an answer with a right range has come: more connections make sense */
	bool no_ranges;         /* the server sends the whole file whatever is asked */
	int i_token;            /* counts the tokens */
	int n_auth;             /* tokens asked for since the last progress */
	int64_t saved_ns;
	int os_error;           /* of writing */
	int rc;                 /* what ends the run */
	struct err *err;
};

/* ---- bytes in ---- */

static size_t on_header(char *p, size_t size, size_t n, void *user)
{
	struct conn *c = user;
	reg_header_line(&c->head, p, size * n);
	return size * n;
}

static struct reg_part *part_of(struct conn *c)
{
	return &c->run->f->parts->data[c->i_part];
}

static bool lie(struct conn *c, const char *what)
{
	snprintf(c->why, sizeof c->why, "%s", what);
	c->lied = true;
	return false;
}

/* Whether the answer is the range that was asked for, or the whole file. */
static bool judge(struct conn *c, long status)
{
	struct reg_part *p = part_of(c);
	int64_t size = c->run->f->parts->size_bytes, at = p->offset + p->completed;
	if (c->head.encoding && strcasecmp(c->head.encoding, "identity"))
		return lie(c, "the answer is compressed, which was not asked for");
	if (status == 206) {
		if (c->head.first != at || c->head.last >= p->offset + p->size_bytes)
			return lie(c, "the answer is another range than the one asked for");
		if (c->head.total_bytes >= 0 && c->head.total_bytes != size)
			return lie(c, "the file has another size than the manifest says");
		c->run->ranges_ok = true;
		return true;
	}
	if (c->head.length_bytes >= 0 && c->head.length_bytes != size)
		return lie(c, "the file has another size than the manifest says");
	if (c->run->f->parts->n > 1) {
		c->run->no_ranges = true;
		return lie(c, "the server sends no ranges");
	}
	c->skip_bytes = at;
	return true;
}

static bool write_at(struct run *r, const char *p, size_t n, int64_t offset)
{
	while (n) {
		ssize_t k = pwrite(r->f->fd, p, n, offset);
		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0) {
			r->os_error = errno;
			return false;
		}
		p += k;
		n -= (size_t)k;
		offset += k;
	}
	return true;
}

static size_t on_body(char *data, size_t size, size_t n, void *user)
{
	struct conn *c = user;
	struct reg_part *p = part_of(c);
	long status = 0;
	size_t all = n * size, skip = 0;
	c->last_ns = clock_now_ns();
	curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &status);
	if (status != 200 && status != 206) /* the text of an error: nobody reads it */
		return (c->noise_bytes += all) > REG_REPLY_MAX ? 0 : all;
	if (!c->judged && !judge(c, status))
		return 0;
	c->judged = true;
	if (c->skip_bytes) {
		skip = c->skip_bytes < (int64_t)all ? (size_t)c->skip_bytes : all;
		c->skip_bytes -= (int64_t)skip;
	}
	int64_t room = p->size_bytes - p->completed, take = (int64_t)(all - skip);
	if (take > room)
		take = room;
	if (!write_at(c->run, data + skip, (size_t)take, p->offset + p->completed))
		return 0;
	p->completed += take;
	return take == (int64_t)(all - skip) ? all : 0; /* what lies beyond the range ends the connection */
}

/* ---- connections ---- */

static void conn_close(struct conn *c)
{
	curl_multi_remove_handle(c->run->multi, c->curl);
	curl_easy_cleanup(c->curl);
	curl_slist_free_all(c->headers);
	reg_headers_release(&c->head);
	mem_free(c->url);
	part_of(c)->active = false;
	c->curl = NULL;
	c->headers = NULL;
	c->url = NULL;
}

static void conn_open(struct run *r, struct conn *c, size_t i_part, const char *url, int n_redirect)
{
	struct reg_session *s = r->f->session;
	struct reg_part *p = &r->f->parts->data[i_part];
	struct str range = {0};
	*c = (struct conn){.run = r, .curl = curl_easy_init(), .i_part = i_part, .url = mem_strdup(url), .start_completed = p->completed,
			   .last_ns = clock_now_ns(), .n_redirect = n_redirect, .i_token = r->i_token};
	BUG_ON(!c->curl);
	reg_headers_init(&c->head);
	reg_easy_setup(s, c->curl, c->url, &c->dial);
	if (s->auth && reg_same_origin(s, url)) {
		struct str auth = {0};
		str_printf(&auth, "Authorization: %s", s->auth);
		c->headers = curl_slist_append(c->headers, auth.data);
		str_release(&auth);
	}
	c->headers = curl_slist_append(c->headers, "Accept:");
	str_printf(&range, "%lld-%lld", (long long)(p->offset + p->completed), (long long)(p->offset + p->size_bytes - 1));
	curl_easy_setopt(c->curl, CURLOPT_RANGE, range.data);
	str_release(&range);
	curl_easy_setopt(c->curl, CURLOPT_HTTPHEADER, c->headers);
	curl_easy_setopt(c->curl, CURLOPT_BUFFERSIZE, (long)BUFFER_BYTES);
	curl_easy_setopt(c->curl, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(c->curl, CURLOPT_HEADERDATA, c);
	curl_easy_setopt(c->curl, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(c->curl, CURLOPT_WRITEDATA, c);
	curl_easy_setopt(c->curl, CURLOPT_PRIVATE, c);
	p->active = true;
	curl_multi_add_handle(r->multi, c->curl);
}

static void end_run(struct run *r, int rc)
{
	if (!r->rc)
		r->rc = rc;
}

/* Another try for a part, later; the text says what went wrong. */
static void try_again(struct run *r, struct reg_part *p, bool progress, const struct err *why)
{
	p->n_try = progress ? 1 : p->n_try + 1;
	p->suspect = true;
	p->retry_ns = clock_now_ns() + ((int64_t)RETRY_FIRST_MS << (p->n_try - 1)) * NS_PER_MS;
	log_debug("registry: range at %lld of %s fails (%d): %s", (long long)p->offset, r->f->digest, p->n_try, why->msg);
	if (p->n_try >= REG_TRIES_MAX)
		end_run(r, err_set(r->err, why->code == ERR_TIMEOUT ? ERR_TIMEOUT : ERR_IO, "max retries exceeded: %.900s", why->msg));
}

static void forget_direct(struct run *r)
{
	mem_free(r->direct_url);
	r->direct_url = NULL;
}

/* A redirect: the place it leads to is judged and then serves all further ranges. */
static void redirected(struct run *r, struct conn *c)
{
	struct str to = {0};
	size_t i_part = c->i_part;
	int n = c->n_redirect + 1, rc = 0;
	if (n > REG_REDIRECTS_MAX)
		rc = err_set(r->err, ERR_LIMIT, "Get \"%s\": stopped after %d redirects", r->own_url, REG_REDIRECTS_MAX);
	else if (!reg_url_join(c->url, c->head.location, &to))
		rc = err_set(r->err, ERR_FORMAT, "Get \"%s\": the redirect leads to no usable address", r->own_url);
	else
		rc = reg_url_allowed(r->f->session, to.data, r->err);
	conn_close(c);
	if (rc) {
		end_run(r, rc);
	} else {
		forget_direct(r);
		r->direct_url = mem_strdup(to.data);
		conn_open(r, c, i_part, to.data, n);
	}
	str_release(&to);
}

/* The registry wants a token. Other connections wait meanwhile; that happens once in a token's life. */
static void unauthorized(struct run *r, struct conn *c)
{
	struct reg_part *p = part_of(c);
	char *authenticate = mem_strdup(c->head.authenticate ? c->head.authenticate : "");
	bool old_token = c->i_token != r->i_token; /* others of its time have a new one already */
	conn_close(c);
	if (!old_token && r->n_auth++ > 1)
		end_run(r, err_set(r->err, ERR_FORBIDDEN, "unauthorized: access denied"));
	else if (!old_token)
		end_run(r, reg_authorize(r->f->session, r->own_url, authenticate, r->err));
	r->i_token += !old_token;
	p->retry_ns = 0;
	mem_free(authenticate);
}

static void bad_status(struct run *r, struct conn *c, long status, struct reg_part *p)
{
	struct err why;
	bool own = reg_same_origin(r->f->session, c->url);
	err_set(&why, ERR_IO, "Get \"%s\": %ld", c->url, status);
	conn_close(c);
	if (own && (status == 404 || status == 410))
		end_run(r, err_set(r->err, ERR_NOT_FOUND, "the registry has no blob %s", r->f->digest));
	else if (own && status == 403)
		end_run(r, err_set(r->err, ERR_FORBIDDEN, "unauthorized: access denied"));
	else
		try_again(r, p, false, &why);
	if (!own) /* addresses of stores expire: ask the registry again */
		forget_direct(r);
}

/* A connection has ended, well or not. */
static void ended(struct run *r, struct conn *c, CURLcode code)
{
	struct reg_part *p = part_of(c);
	struct err why;
	long status = 0;
	bool progress = p->completed > c->start_completed;
	curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &status);
	if (progress)
		r->n_auth = 0;
	reg_session_dialed(r->f->session, c->url, &c->dial);
	if (p->completed == p->size_bytes) {
		conn_close(c);
	} else if (r->os_error || r->no_ranges) {
		conn_close(c);
	} else if (c->dial.refused) {
		end_run(r, reg_curl_error("GET", c->url, &c->dial, c->curl, code, r->err));
		conn_close(c);
	} else if (c->lied || code || status == 200 || status == 206) {
		if (c->lied)
			err_set(&why, ERR_FORMAT, "Get \"%s\": %s", c->url, c->why);
		else if (code)
			reg_curl_error("GET", c->url, &c->dial, c->curl, code, &why);
		else
			err_set(&why, ERR_IO, "Get \"%s\": unexpected EOF", c->url);
		if (!reg_same_origin(r->f->session, c->url) && !progress)
			forget_direct(r);
		conn_close(c);
		try_again(r, p, progress, &why);
	} else if (status >= 301 && status <= 308 && c->head.location) {
		redirected(r, c);
	} else if (status == 401 && reg_same_origin(r->f->session, c->url)) {
		unauthorized(r, c);
	} else {
		bad_status(r, c, status, p);
	}
}

static void collect_ended(struct run *r)
{
	int n_left;
	for (CURLMsg *m; (m = curl_multi_info_read(r->multi, &n_left));) {
		char *user = NULL;
		if (m->msg != CURLMSG_DONE)
			continue;
		CURLcode code = m->data.result;
		curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &user);
		ended(r, (struct conn *)(void *)user, code);
	}
}

static void check_stalls(struct run *r)
{
	int64_t now = clock_now_ns();
	for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
		struct conn *c = &r->conns[i];
		if (!c->curl || now - c->last_ns <= r->f->session->reg->stall_ns)
			continue;
		struct reg_part *p = part_of(c);
		struct err why;
		bool progress = p->completed > c->start_completed;
		err_set(&why, ERR_TIMEOUT, "Get \"%s\": no bytes for %.1f s", c->url, (double)r->f->session->reg->stall_ns / 1e9);
		conn_close(c);
		try_again(r, p, progress, &why);
	}
}

/* ---- the loop ---- */

/* Gives free connections to parts that wait; one alone until it is known that ranges work. Returns whether work is left. */
static bool start_conns(struct run *r)
{
	int64_t now = clock_now_ns();
	size_t n_active = 0;
	bool left = false;
	for (size_t i = 0; i < CONNECTIONS_MAX; i++)
		n_active += r->conns[i].curl != NULL;
	for (size_t i = 0; i < r->f->parts->n; i++) {
		struct reg_part *p = &r->f->parts->data[i];
		left |= p->completed < p->size_bytes;
		if (p->completed == p->size_bytes || p->active || p->retry_ns > now || n_active >= (r->ranges_ok ? CONNECTIONS_MAX : 1))
			continue;
		struct conn *c = r->conns;
		while (c->curl)
			c++;
		conn_open(r, c, i, r->direct_url ? r->direct_url : r->own_url, 0);
		n_active++;
	}
	return left;
}

static void close_all(struct run *r)
{
	for (size_t i = 0; i < CONNECTIONS_MAX; i++)
		if (r->conns[i].curl)
			conn_close(&r->conns[i]);
}

static void report(struct run *r, bool last)
{
	struct reg_parts *p = r->f->parts;
	int64_t now = clock_now_ns();
	__atomic_store_n(r->f->completed, reg_parts_completed(p), __ATOMIC_RELAXED);
	if (r->f->hash)
		reg_hash_advance(r->f->hash, reg_parts_prefix(p));
	if (last || now - r->saved_ns > SAVE_MS * NS_PER_MS) {
		reg_parts_save(p);
		r->saved_ns = now;
	}
}

static void step(struct run *r)
{
	int running;
	curl_multi_perform(r->multi, &running);
	collect_ended(r);
	check_stalls(r);
	if (r->os_error) {
		end_run(r, err_set(r->err, ERR_IO, "cannot write %s: %s", r->f->parts->path, strerror(r->os_error)));
	} else if (r->no_ranges) {
		close_all(r);
		reg_parts_join(r->f->parts);
		r->no_ranges = false;
	}
	report(r, false);
	curl_multi_poll(r->multi, NULL, 0, POLL_MS, NULL);
	if (__atomic_load_n(r->f->cancel, __ATOMIC_RELAXED) || __atomic_load_n(&r->f->session->reg->stopping, __ATOMIC_RELAXED))
		end_run(r, err_set(r->err, ERR_CANCELED, "context canceled"));
}

int reg_fetch_run(struct reg_fetch *f, struct err *err)
{
	struct run *r = mem_zalloc(sizeof *r);
	struct str url = {0};
	r->f = f;
	r->err = err;
	r->multi = curl_multi_init();
	BUG_ON(!r->multi);
	str_printf(&url, "%s/v2/%s/blobs/%s", f->session->base.url, f->session->repo, f->digest);
	r->own_url = str_take(&url);
	for (size_t i = 0; i < f->parts->n; i++) {
		f->parts->data[i].active = false;
		f->parts->data[i].n_try = 0;
		f->parts->data[i].retry_ns = 0;
	}
	while (!r->rc && start_conns(r))
		step(r);
	close_all(r);
	report(r, true);
	int rc = r->rc;
	curl_multi_cleanup(r->multi);
	mem_free(r->own_url);
	mem_free(r->direct_url);
	mem_free(r);
	return rc;
}
