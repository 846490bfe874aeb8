/* The answering half of a call: implements struct api_call_ops. Bytes are laid out as HTTP here, on the thread that
 * answers, and handed to the loop, which only moves them. */
#include <event2/buffer.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/bug.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "http/http_conn.h"

enum {
	ARENA_CAP_BYTES = 64 * 1024 * 1024,
	TRIM_AFTER_BYTES = 8 * 1024 * 1024, /* a body this large leaves enough freed small blocks to be worth a trim */
	MAX_HEADER_OUT = 16,
};

static const struct {
	int status;
	const char *reason;
} reasons[] = {
	{200, "OK"},
	{201, "Created"},
	{202, "Accepted"},
	{204, "No Content"},
	{301, "Moved Permanently"},
	{307, "Temporary Redirect"},
	{400, "Bad Request"},
	{401, "Unauthorized"},
	{403, "Forbidden"},
	{404, "Not Found"},
	{405, "Method Not Allowed"},
	{408, "Request Timeout"},
	{409, "Conflict"},
	{410, "Gone"},
	{413, "Request Entity Too Large"},
	{417, "Expectation Failed"},
	{422, "Unprocessable Entity"},
	{429, "Too Many Requests"},
	{499, "Client Closed Request"},
	{500, "Internal Server Error"},
	{501, "Not Implemented"},
	{502, "Bad Gateway"},
	{503, "Service Unavailable"},
	{504, "Gateway Timeout"},
	{507, "Insufficient Storage"},
};

static const char *reason_of(int status)
{
	for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
		if (reasons[i].status == status)
			return reasons[i].reason;
	return "Status";
}

/* ---- head ---- */

/* IMF-fixdate of RFC 9110 5.6.7, without the locale. */
static void date_text(struct str *out)
{
	static const char days[] = "SunMonTueWedThuFriSat", months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	time_t t = (time_t)(clock_wall_ns() / NS_PER_S);
	struct tm tm;
	gmtime_r(&t, &tm);
	str_printf(out, "Date: %.3s, %02d %.3s %d %02d:%02d:%02d GMT\r\n", days + 3 * tm.tm_wday, tm.tm_mday,
		   months + 3 * tm.tm_mon, tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

static int header_order(const void *a, const void *b)
{
	return strcmp(((const struct api_header *)a)->name, ((const struct api_header *)b)->name);
}

/* Control characters could end the line and forge another: they become blanks. */
static void header_line(struct str *out, const struct api_header *h)
{
	str_printf(out, "%s: ", h->name);
	for (const char *s = h->value; *s; s++)
		str_addc(out, (unsigned char)*s < 0x20 || *s == 0x7f ? ' ' : *s);
	str_adds(out, "\r\n");
}

/* n < 0: a body of unknown length. Under the lock. */
static void write_head(struct http_call *c, int status, const struct api_header *headers, size_t n_header, int64_t n)
{
	struct api_header all[MAX_HEADER_OUT];
	size_t n_all = 0;
	bool length_known = n >= 0, never_body = status == 204 || status == 304 || status < 200;
	BUG_ON(n_header > MAX_HEADER_OUT - 2);
	c->status = status;
	c->no_body = c->head.method == API_HEAD || never_body;
	c->chunked = !length_known && c->head.minor >= 1 && !c->no_body;
	c->close_after = c->force_close || !c->head.keep_alive || atomic_load(&c->server->draining) ||
			 (!length_known && c->head.minor == 0);
	for (; n_all < n_header; n_all++)
		all[n_all] = headers[n_all];
	if (c->cors == HTTP_CORS_ALLOW) {
		all[n_all++] = (struct api_header){"Access-Control-Allow-Origin", c->server->origins.all ? "*" : c->origin};
		if (!c->server->origins.all)
			all[n_all++] = (struct api_header){"Vary", "Origin"};
	}
	qsort(all, n_all, sizeof *all, header_order);
	str_printf(&c->out, "HTTP/1.%d %d %s\r\n", c->head.minor ? 1 : 0, status, reason_of(status));
	for (size_t i = 0; i < n_all; i++)
		header_line(&c->out, &all[i]);
	date_text(&c->out);
	if (length_known && !never_body)
		str_printf(&c->out, "Content-Length: %lld\r\n", (long long)n);
	if (c->chunked)
		str_adds(&c->out, "Transfer-Encoding: chunked\r\n");
	if (c->close_after && c->head.minor >= 1)
		str_adds(&c->out, "Connection: close\r\n");
	else if (!c->close_after && c->head.minor == 0)
		str_adds(&c->out, "Connection: keep-alive\r\n");
	str_adds(&c->out, "\r\n");
}

/* ---- api_call_ops ---- */

void http_call_reply(struct http_call *c, int status, const struct api_header *headers, size_t n_header, const void *body, size_t n)
{
	pthread_mutex_lock(&c->lock);
	if (!c->detached) {
		BUG_ON(c->answer != HTTP_ANSWER_NONE);
		write_head(c, status, headers, n_header, (int64_t)n);
		if (!c->no_body) {
			str_add(&c->out, body, n);
			c->n_sent_bytes = (int64_t)n;
		}
		http_loop_post(c);
	}
	c->answer = HTTP_ANSWER_DONE;
	pthread_mutex_unlock(&c->lock);
}

static struct http_call *call_of(struct api_call *c)
{
	return (struct http_call *)(void *)c;
}

static void op_ref(struct api_call *c)
{
	http_call_ref(call_of(c));
}

static void op_unref(struct api_call *c)
{
	http_call_unref(call_of(c));
}

static void op_reply(struct api_call *c, int status, const struct api_header *headers, size_t n_header, const void *body, size_t n)
{
	http_call_reply(call_of(c), status, headers, n_header, body, n);
}

static void op_stream_begin(struct api_call *api, int status, const struct api_header *headers, size_t n_header)
{
	struct http_call *c = call_of(api);
	pthread_mutex_lock(&c->lock);
	if (!c->detached) {
		BUG_ON(c->answer != HTTP_ANSWER_NONE);
		write_head(c, status, headers, n_header, -1);
		http_loop_post(c);
	}
	c->answer = HTTP_ANSWER_STREAM;
	pthread_mutex_unlock(&c->lock);
}

static size_t op_stream_write(struct api_call *api, const void *data, size_t n)
{
	struct http_call *c = call_of(api);
	size_t pending = 0;
	pthread_mutex_lock(&c->lock);
	if (!c->detached) {
		BUG_ON(c->answer != HTTP_ANSWER_STREAM);
		if (n && !c->no_body) {
			if (c->chunked)
				str_printf(&c->out, "%zx\r\n", n);
			str_add(&c->out, data, n);
			if (c->chunked)
				str_adds(&c->out, "\r\n");
			c->n_sent_bytes += (int64_t)n;
			http_loop_post(c);
		}
		pending = c->out.len + c->unsent_bytes;
		c->was_high |= pending > HTTP_PENDING_HIGH_BYTES;
	}
	pthread_mutex_unlock(&c->lock);
	return pending;
}

static void op_stream_end(struct api_call *api)
{
	struct http_call *c = call_of(api);
	pthread_mutex_lock(&c->lock);
	if (!c->detached) {
		BUG_ON(c->answer != HTTP_ANSWER_STREAM);
		if (c->chunked)
			str_adds(&c->out, "0\r\n\r\n");
		http_loop_post(c);
	}
	c->answer = HTTP_ANSWER_DONE;
	pthread_mutex_unlock(&c->lock);
}

static void op_watch(struct api_call *api, void (*on_end)(void *user, bool gone), void (*on_low)(void *user), void *user)
{
	struct http_call *c = call_of(api);
	pthread_mutex_lock(&c->lock);
	bool late = c->detached, gone = c->gone;
	if (!late) {
		c->on_end = on_end;
		c->on_low = on_low;
		c->user = user;
		http_loop_post(c); /* the client may have left before anybody watched */
	}
	pthread_mutex_unlock(&c->lock);
	if (late && on_end)
		on_end(user, gone);
}

static const struct api_call_ops ops = {
	.ref = op_ref,
	.unref = op_unref,
	.reply = op_reply,
	.stream_begin = op_stream_begin,
	.stream_write = op_stream_write,
	.stream_end = op_stream_end,
	.watch = op_watch,
};

/* ---- life ---- */

struct http_call *http_call_new(struct http_server *s, struct http_loop *l)
{
	struct http_call *c = mem_zalloc(sizeof *c);
	c->server = s;
	atomic_fetch_add(&s->refs, 1);
	c->loop = l;
	c->refs = 1;
	pthread_mutex_init(&c->lock, NULL);
	snprintf(c->id, sizeof c->id, "r-%06x", (s->id_seed + atomic_fetch_add(&s->n_id, 1) * 0x9E3779B1u) >> 8);
	c->c = (struct api_call){.ops = &ops, .ctx = s->cfg.ctx, .path = "", .param = "", .id = c->id, .body = ""};
	c->c.t0_ns = clock_now_ns();
	arena_init(&c->c.arena, ARENA_CAP_BYTES);
	return c;
}

static void call_free(struct http_call *c)
{
	if (c->blob_ours && c->c.blob)
		store_blob_abort(c->c.blob);
	atomic_fetch_sub(&c->server->body_bytes, c->n_body_cap);
	mem_free(c->body);
	str_release(&c->spool);
	str_release(&c->out);
	arena_release(&c->c.arena);
	pthread_mutex_destroy(&c->lock);
	http_server_unref(c->server);
	bool large = c->n_body_cap >= TRIM_AFTER_BYTES;
	mem_free(c);
	if (large)
		mem_trim();
}

void http_call_ref(struct http_call *c)
{
	pthread_mutex_lock(&c->lock);
	c->refs++;
	pthread_mutex_unlock(&c->lock);
}

void http_call_unref(struct http_call *c)
{
	pthread_mutex_lock(&c->lock);
	int n = --c->refs;
	/* Only the connection is left, and it waits for an answer that nobody can give any more. */
	if (n == 1 && c->dispatched && c->answer == HTTP_ANSWER_NONE && !c->detached && !c->abandoned) {
		c->abandoned = true;
		http_loop_post(c);
	}
	pthread_mutex_unlock(&c->lock);
	if (n == 0)
		call_free(c);
}

/* ---- loop side ---- */

static void bytes_free(const void *data, size_t n, void *arg)
{
	(void)n, (void)arg;
	mem_free((void *)(uintptr_t)data);
}

enum http_answer http_call_take(struct http_call *c, struct evbuffer *buf, bool *ret_overrun)
{
	pthread_mutex_lock(&c->lock);
	enum http_answer answer = c->answer;
	if (c->out.len > HTTP_PENDING_LOW_BYTES) {
		size_t n = c->out.len;
		char *data = str_take(&c->out);
		evbuffer_add_reference(buf, data, n, bytes_free, NULL);
	} else if (c->out.len) {
		evbuffer_add(buf, c->out.data, c->out.len);
		str_clear(&c->out);
	}
	c->unsent_bytes = evbuffer_get_length(buf);
	*ret_overrun = answer == HTTP_ANSWER_STREAM && c->unsent_bytes > HTTP_PENDING_MAX_BYTES;
	pthread_mutex_unlock(&c->lock);
	return answer;
}

void http_call_sent(struct http_call *c, size_t unsent_bytes)
{
	pthread_mutex_lock(&c->lock);
	c->unsent_bytes = unsent_bytes;
	bool low = c->was_high && unsent_bytes + c->out.len < HTTP_PENDING_LOW_BYTES;
	if (low)
		c->was_high = false;
	void (*fn)(void *) = low ? c->on_low : NULL;
	void *user = c->user;
	pthread_mutex_unlock(&c->lock);
	if (fn)
		fn(user);
}

bool http_call_watched(struct http_call *c)
{
	pthread_mutex_lock(&c->lock);
	bool watched = c->on_end != NULL;
	pthread_mutex_unlock(&c->lock);
	return watched;
}

bool http_call_detached(struct http_call *c)
{
	pthread_mutex_lock(&c->lock);
	bool detached = c->detached;
	pthread_mutex_unlock(&c->lock);
	return detached;
}

/* Body bytes are counted over all connections, so that many large requests cannot use up the machine's memory. */
int http_call_body_add(struct http_call *c, const char *data, size_t n)
{
	const struct http_limits *lim = &c->server->cfg.limits;
	size_t need = c->c.n_body + n + 1;
	if (c->c.n_body + n > lim->body_max_bytes)
		return 413;
	if (need > c->n_body_cap) {
		size_t cap = c->n_body_cap * 2 > 16384 ? c->n_body_cap * 2 : 16384;
		size_t whole = (size_t)c->head.content_length_bytes + 1;
		if (need <= whole && whole < cap)
			cap = whole;
		if (cap < need)
			cap = need;
		size_t more = cap - c->n_body_cap;
		char *p = NULL;
		if (atomic_fetch_add(&c->server->body_bytes, more) + more <= lim->bodies_max_bytes)
			p = mem_try_alloc(cap);
		if (!p) {
			atomic_fetch_sub(&c->server->body_bytes, more);
			return 503;
		}
		if (c->c.n_body)
			memcpy(p, c->body, c->c.n_body);
		mem_free(c->body);
		c->body = p;
		c->n_body_cap = cap;
	}
	memcpy(c->body + c->c.n_body, data, n);
	c->c.n_body += n;
	c->body[c->c.n_body] = '\0';
	c->c.body = c->body;
	return 0;
}

void http_call_detach(struct http_call *c, bool gone)
{
	c->conn = NULL;
	pthread_mutex_lock(&c->lock);
	c->detached = true;
	c->gone = gone;
	void (*fn)(void *, bool) = c->on_end;
	void *user = c->user;
	c->on_end = NULL;
	c->on_low = NULL;
	int status = gone && !c->status ? 499 : c->status; /* as proxies log it */
	int64_t n = c->n_sent_bytes;
	str_release(&c->out);
	pthread_mutex_unlock(&c->lock);
	if (fn)
		fn(user, gone);
	log_info("http method=%s path=%.200s status=%d ms=%.1f bytes=%lld%s req=%s", c->head.method_text, c->head.raw_path, status,
		 (double)(clock_now_ns() - c->c.t0_ns) / 1e6, (long long)n, gone ? " gone=1" : "", c->id);
}
