/* The life of one connection on its loop: reads heads and bodies, writes answers, notices that the client left, keeps
 * deadlines. One request at a time; what a client sends ahead waits in `in`.
 *
 * The socket is watched edge-triggered by one event from accept to close: `readable` and `writable` remember the last edge.
 * So a client that leaves is noticed in every state, also while nothing is read. */
#include <errno.h>
#include <event2/buffer.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/bug.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "http/http_conn.h"

enum step { STEP_WAIT, STEP_AGAIN, STEP_CLOSE };

static void deadline_in(struct http_conn *k, int64_t ns)
{
	k->deadline_ns = clock_now_ns() + ns;
}

/* ---- socket ---- */

/* Appends what the socket has, at most max bytes; true when something came. */
static bool read_some(struct http_conn *k, size_t max)
{
	if (!k->readable || k->eof || k->broken)
		return false;
	if (k->i_in == k->in.len) {
		str_clear(&k->in);
		k->i_in = 0;
	}
	str_reserve(&k->in, max);
	ssize_t n = recv(k->fd, k->in.data + k->in.len, max, 0);
	if (n > 0) {
		k->in.len += (size_t)n;
		k->in.data[k->in.len] = '\0';
		return true;
	}
	if (n == 0)
		k->eof = true;
	else if (errno == EAGAIN || errno == EWOULDBLOCK)
		k->readable = false;
	else if (errno != EINTR)
		k->broken = true;
	return false;
}

/* Writes from the buffer until it is empty or the socket is full. True when some of it went out. */
static bool write_some(struct http_conn *k)
{
	bool any = false;
	while (k->writable && !k->broken && evbuffer_get_length(k->out)) {
		struct evbuffer_iovec vec[16];
		struct iovec iov[16];
		int n_vec = evbuffer_peek(k->out, -1, NULL, vec, 16);
		if (n_vec > 16)
			n_vec = 16;
		for (int i = 0; i < n_vec; i++)
			iov[i] = (struct iovec){vec[i].iov_base, vec[i].iov_len};
		struct msghdr msg = {.msg_iov = iov, .msg_iovlen = (size_t)n_vec};
		ssize_t n = sendmsg(k->fd, &msg, MSG_NOSIGNAL);
		if (n > 0) {
			evbuffer_drain(k->out, (size_t)n);
			any = true;
		} else if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
			k->writable = false;
		} else if (n < 0 && errno != EINTR) {
			k->broken = true;
		}
	}
	return any;
}

/* The client closed its side or the connection failed, even if unread bytes stand before that. */
static bool peer_left(struct http_conn *k)
{
	struct pollfd p = {.fd = k->fd, .events = POLLRDHUP};
	return k->eof || k->broken || (poll(&p, 1, 0) == 1 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR)));
}

/* ---- between requests ---- */

static void conn_close(struct http_conn *k)
{
	struct http_loop *l = k->loop;
	if (k->call) {
		http_call_detach(k->call, true);
		http_call_unref(k->call);
		atomic_fetch_sub(&l->server->n_active, 1);
	}
	event_del(&k->ev);
	close(k->fd);
	evbuffer_free(k->out);
	str_release(&k->in);
	if (k->prev)
		k->prev->next = k->next;
	else
		l->conns = k->next;
	if (k->next)
		k->next->prev = k->prev;
	atomic_fetch_sub(&l->server->n_conn, 1);
	mem_free(k);
}

static void begin_head(struct http_conn *k)
{
	str_cut_front(&k->in, k->i_in);
	k->i_in = 0;
	if (k->in.len == 0 && k->in.cap > HTTP_READ_HEAD_BYTES * 2)
		str_release(&k->in);
	k->scan = (struct http_scan){0};
	k->t_first_ns = 0;
	k->state = HTTP_CONN_HEAD;
	deadline_in(k, k->loop->server->cfg.limits.idle_ns);
}

static void begin_linger(struct http_conn *k)
{
	k->state = HTTP_CONN_LINGER;
	deadline_in(k, HTTP_LINGER_NS);
}

static void fault(struct http_conn *k, enum http_fault f)
{
	const struct http_fault_text *t = &http_faults[f];
	evbuffer_add_printf(k->out, "HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n%s",
			    t->status, t->reason, t->body);
	log_info("http refused status=%d reason=\"%s\"", t->status, t->reason);
	begin_linger(k);
}

/* ---- a request ---- */

static void begin_answer(struct http_conn *k)
{
	k->state = HTTP_CONN_ANSWER;
	k->deadline_ns = INT64_MAX;
}

/* Answers an error about the body, after which the stream of requests is out of step. */
static void body_fail(struct http_conn *k, int status, const char *text)
{
	k->call->force_close = true;
	api_reply_error(&k->call->c, status, "%s", text);
	begin_answer(k);
}

/* The head is complete and well-formed. */
static void begin_body(struct http_conn *k)
{
	struct http_call *c = k->call;
	const struct http_limits *lim = &k->loop->server->cfg.limits;
	bool has_body = c->head.chunked || c->head.content_length_bytes > 0;
	http_body_init(&k->body, &c->head);
	k->n_discard_bytes = 0;
	k->state = HTTP_CONN_BODY;
	deadline_in(k, lim->body_ns);
	if (c->early) {
		if (c->force_close || (has_body && c->head.expect_continue) ||
		    c->head.content_length_bytes > HTTP_DISCARD_MAX_BYTES) {
			c->force_close = true;
			http_dispatch_early(c);
			begin_answer(k);
		}
		return;
	}
	if (!c->blob_ours && (uint64_t)c->head.content_length_bytes > lim->body_max_bytes) {
		body_fail(k, 413, "request body too large");
		return;
	}
	if (has_body && c->head.expect_continue) {
		evbuffer_add_printf(k->out, "HTTP/1.1 100 Continue\r\n\r\n");
		write_some(k);
	}
}

static void begin_request(struct http_conn *k, size_t head_bytes)
{
	struct http_server *s = k->loop->server;
	struct http_call *c = http_call_new(s, k->loop);
	enum http_fault f = http_head_parse(k->in.data + k->i_in, head_bytes, &c->c.arena, &c->head);
	k->i_in += head_bytes;
	if (f) {
		fault(k, f);
		http_call_unref(c);
		return;
	}
	c->conn = k;
	k->call = c;
	atomic_fetch_add(&s->n_active, 1);
	http_dispatch_head(c);
	begin_body(k);
}

static enum step step_head(struct http_conn *k)
{
	size_t n_head;
	enum http_fault f;
	if (k->in.len > k->i_in) {
		if (!k->t_first_ns) {
			k->t_first_ns = clock_now_ns();
			deadline_in(k, k->loop->server->cfg.limits.head_ns);
		}
		enum http_step st = http_scan(&k->scan, k->in.data + k->i_in, k->in.len - k->i_in, &n_head, &f);
		if (st == HTTP_BAD) {
			fault(k, f);
			return STEP_AGAIN;
		}
		if (st == HTTP_DONE) {
			begin_request(k, n_head);
			return STEP_AGAIN;
		}
	} else if (atomic_load(&k->loop->server->draining)) {
		return STEP_CLOSE;
	}
	if (read_some(k, HTTP_READ_HEAD_BYTES))
		return STEP_AGAIN;
	return k->eof || k->broken ? STEP_CLOSE : STEP_WAIT;
}

static enum step begin_spool(struct http_conn *k)
{
	k->spooling = http_dispatch_spool(k->call);
	k->deadline_ns = INT64_MAX;
	if (k->spooling)
		return STEP_WAIT;
	body_fail(k, 503, "server busy, please try again: too many requests are waiting");
	return STEP_AGAIN;
}

static enum step body_data(struct http_conn *k, const char *data, size_t n)
{
	struct http_call *c = k->call;
	if (c->early) {
		k->n_discard_bytes += n;
		if (k->n_discard_bytes > HTTP_DISCARD_MAX_BYTES) {
			c->force_close = true;
			http_dispatch_early(c);
			begin_answer(k);
		}
		return STEP_AGAIN;
	}
	if (c->blob_ours) {
		str_add(&c->spool, data, n);
		return c->spool.len >= HTTP_SPOOL_BYTES ? begin_spool(k) : STEP_AGAIN;
	}
	int status = http_call_body_add(c, data, n);
	if (status)
		body_fail(k, status, status == 413 ? "request body too large" : "server busy: too many large requests at once");
	return STEP_AGAIN;
}

static enum step body_done(struct http_conn *k)
{
	struct http_call *c = k->call;
	if (c->blob_ours && (c->spool.len || !c->c.blob))
		return begin_spool(k); /* comes back here when it is written */
	begin_answer(k);
	if (c->early)
		http_dispatch_early(c);
	else
		http_dispatch_handler(c);
	return STEP_AGAIN;
}

static enum step step_body(struct http_conn *k, size_t *budget)
{
	const char *data = NULL;
	size_t used, n = 0;
	if (k->spooling)
		return k->broken ? STEP_CLOSE : STEP_WAIT;
	enum http_step st = http_body_feed(&k->body, str_cstr(&k->in) + k->i_in, k->in.len - k->i_in, &used, &data, &n);
	k->i_in += used;
	switch (st) {
	case HTTP_DATA:
		return body_data(k, data, n);
	case HTTP_DONE:
		return body_done(k);
	case HTTP_BAD:
		body_fail(k, 400, k->body.error);
		return STEP_AGAIN;
	case HTTP_MORE:
		break;
	}
	if (*budget < HTTP_READ_BODY_BYTES) {
		event_active(&k->ev, EV_READ, 0); /* others first */
		return STEP_WAIT;
	}
	if (read_some(k, HTTP_READ_BODY_BYTES)) {
		*budget -= HTTP_READ_BODY_BYTES;
		deadline_in(k, k->loop->server->cfg.limits.body_ns);
		return STEP_AGAIN;
	}
	if (k->eof) {
		body_fail(k, 400, "unexpected EOF");
		return STEP_AGAIN;
	}
	return k->broken ? STEP_CLOSE : STEP_WAIT;
}

/* The answer is written out. */
static void finish_call(struct http_conn *k)
{
	struct http_call *c = k->call;
	bool close_after = c->close_after;
	k->call = NULL;
	http_call_detach(c, false);
	http_call_unref(c);
	atomic_fetch_sub(&k->loop->server->n_active, 1);
	if (close_after)
		begin_linger(k);
	else
		begin_head(k);
}

static enum step step_answer(struct http_conn *k)
{
	while (k->in.len - k->i_in < HTTP_AHEAD_MAX_BYTES && read_some(k, HTTP_READ_HEAD_BYTES))
		;
	if (k->broken)
		return STEP_CLOSE;
	/* A client that closed only its sending side may still read a short answer; a watched call is given up, as it may
	 * run for minutes for nobody. */
	if (http_call_watched(k->call) && peer_left(k))
		return STEP_CLOSE;
	bool overrun;
	enum http_answer answer = http_call_take(k->call, k->out, &overrun);
	bool wrote = write_some(k);
	size_t unsent = evbuffer_get_length(k->out);
	if (k->broken || overrun)
		return STEP_CLOSE;
	if (unsent == 0)
		k->deadline_ns = INT64_MAX;
	else if (wrote || k->deadline_ns == INT64_MAX)
		deadline_in(k, k->loop->server->cfg.limits.stall_ns);
	http_call_sent(k->call, unsent);
	if (answer != HTTP_ANSWER_DONE || unsent)
		return STEP_WAIT;
	finish_call(k);
	return STEP_AGAIN;
}

/* The last answer goes out, our side is closed, and what still comes is dropped: closing at once with unread bytes would
 * reset the connection and could take the answer away from the client (RFC 9112 9.6). */
static enum step step_linger(struct http_conn *k, size_t *budget)
{
	write_some(k);
	if (k->broken)
		return STEP_CLOSE;
	if (evbuffer_get_length(k->out))
		return STEP_WAIT;
	if (!k->shut) {
		k->shut = true;
		shutdown(k->fd, SHUT_WR);
	}
	k->i_in = k->in.len;
	if (*budget < HTTP_READ_BODY_BYTES) {
		event_active(&k->ev, EV_READ, 0);
		return STEP_WAIT;
	}
	*budget -= HTTP_READ_BODY_BYTES;
	if (read_some(k, HTTP_READ_BODY_BYTES))
		return STEP_AGAIN;
	return k->eof || k->broken ? STEP_CLOSE : STEP_WAIT;
}

void http_conn_run(struct http_conn *k)
{
	size_t budget = HTTP_TURN_BYTES;
	enum step st;
	do {
		switch (k->state) {
		case HTTP_CONN_HEAD:
			st = step_head(k);
			break;
		case HTTP_CONN_BODY:
			st = step_body(k, &budget);
			break;
		case HTTP_CONN_ANSWER:
			st = step_answer(k);
			break;
		default:
			st = step_linger(k, &budget);
			break;
		}
	} while (st == STEP_AGAIN);
	if (st == STEP_CLOSE)
		conn_close(k);
}

/* ---- events ---- */

static void on_event(evutil_socket_t fd, short what, void *arg)
{
	struct http_conn *k = arg;
	(void)fd;
	if (what & EV_READ)
		k->readable = true;
	if (what & EV_WRITE)
		k->writable = true;
	http_conn_run(k);
}

static struct http_conn *conn_new(struct http_loop *l, int fd)
{
	struct http_conn *k = mem_zalloc(sizeof *k);
	int one = 1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* each token is a small write that must not wait */
	k->loop = l;
	k->fd = fd;
	k->out = evbuffer_new();
	BUG_ON(!k->out);
	k->readable = k->writable = true;
	k->next = l->conns;
	if (k->next)
		k->next->prev = k;
	l->conns = k;
	event_assign(&k->ev, l->base, fd, EV_READ | EV_WRITE | EV_ET | EV_PERSIST, on_event, k);
	if (event_add(&k->ev, NULL))
		k->broken = true;
	begin_head(k);
	return k;
}

void http_conn_open(struct http_loop *l, int fd)
{
	http_conn_run(conn_new(l, fd));
}

void http_conn_refuse(struct http_loop *l, int fd)
{
	static const char body[] = "{\"error\":\"server busy, please try again: too many connections\"}";
	struct http_conn *k = conn_new(l, fd);
	evbuffer_add_printf(k->out,
			    "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json; charset=utf-8\r\n"
			    "Content-Length: %zu\r\nConnection: close\r\n\r\n%s",
			    sizeof body - 1, body);
	begin_linger(k);
	http_conn_run(k);
}

void http_conn_cut(struct http_conn *k)
{
	conn_close(k);
}

void http_conn_posted(struct http_conn *k)
{
	struct http_call *c = k->call;
	pthread_mutex_lock(&c->lock);
	bool spooled = c->spooled, abandoned = c->abandoned && c->answer == HTTP_ANSWER_NONE;
	c->spooled = false;
	pthread_mutex_unlock(&c->lock);
	if (spooled) {
		k->spooling = false;
		deadline_in(k, k->loop->server->cfg.limits.body_ns);
		if (c->spool_err.code)
			body_fail(k, api_status_of(c->spool_err.code), c->spool_err.msg);
	}
	if (abandoned) {
		log_error("http bug: no answer for path=%.200s req=%s", c->head.raw_path, c->id);
		http_call_reply(c, 500, NULL, 0, NULL, 0);
	}
	http_conn_run(k);
}

void http_conn_deadline(struct http_conn *k, int64_t now_ns)
{
	if (now_ns < k->deadline_ns)
		return;
	if (k->call)
		log_info("http timeout path=%.200s while=%s req=%s", k->call->head.raw_path,
			 k->state == HTTP_CONN_BODY ? "reading" : "writing", k->call->id);
	conn_close(k);
}

void http_conn_close_idle(struct http_conn *k)
{
	if (k->state == HTTP_CONN_HEAD && k->in.len == k->i_in)
		conn_close(k);
}
