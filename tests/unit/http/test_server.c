/* A server on a free port with routes of its own, driven over sockets. */
#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "http/http_server.h"

/* ---- endpoints of the test ---- */

static atomic_int n_gone, n_kept, n_low;
static atomic_size_t peak_pending;
static atomic_bool hold;

static void h_hello(struct api_ctx *ctx, struct api_call *c)
{
	(void)ctx;
	api_reply_text(c, 200, "text/plain; charset=utf-8", "hello");
}

static void h_echo(struct api_ctx *ctx, struct api_call *c)
{
	(void)ctx;
	struct api_header h = {"Content-Type", "application/octet-stream"};
	c->ops->reply(c, 200, &h, 1, c->body, c->n_body);
}

static void h_hold(struct api_ctx *ctx, struct api_call *c)
{
	(void)ctx;
	while (atomic_load(&hold))
		usleep(2000);
	api_reply_text(c, 200, "text/plain", "held");
}

static void h_stream(struct api_ctx *ctx, struct api_call *c)
{
	(void)ctx;
	struct api_header h = {"Content-Type", "application/x-ndjson"};
	c->ops->stream_begin(c, 200, &h, 1);
	for (int i = 0; i < 3; i++) {
		char line[32];
		snprintf(line, sizeof line, "{\"i\":%d}\n", i);
		c->ops->stream_write(c, line, strlen(line));
	}
	c->ops->stream_end(c);
}

static void h_never(struct api_ctx *ctx, struct api_call *c)
{
	(void)ctx, (void)c;
}

struct live {
	struct api_call *c;
	atomic_bool ended, low;
	size_t piece, total;
};

static void live_end(void *user, bool gone)
{
	struct live *l = user;
	atomic_fetch_add(gone ? &n_gone : &n_kept, 1);
	atomic_store(&l->ended, true);
}

static void live_low(void *user)
{
	struct live *l = user;
	atomic_fetch_add(&n_low, 1);
	atomic_store(&l->low, true);
}

/* Writes until the client leaves or the total is reached; pauses when more than 512 KiB wait. */
static void *live_main(void *arg)
{
	struct live *l = arg;
	char *data = mem_zalloc(l->piece);
	memset(data, 'x', l->piece);
	struct api_header h = {"Content-Type", "text/plain"};
	l->c->ops->stream_begin(l->c, 200, &h, 1);
	size_t done = 0;
	while (!atomic_load(&l->ended) && done < l->total) {
		size_t pending = l->c->ops->stream_write(l->c, data, l->piece);
		done += l->piece;
		if (pending > atomic_load(&peak_pending))
			atomic_store(&peak_pending, pending);
		while (pending > 512 * 1024 && !atomic_load(&l->low) && !atomic_load(&l->ended))
			usleep(1000);
		atomic_store(&l->low, false);
		if (l->piece < 1000)
			usleep(2000);
	}
	l->c->ops->stream_end(l->c);
	while (!atomic_load(&l->ended))
		usleep(1000);
	api_call_unref(l->c);
	mem_free(data);
	mem_free(l);
	return NULL;
}

static void start_live(struct api_call *c, size_t piece, size_t total)
{
	struct live *l = mem_zalloc(sizeof *l);
	pthread_t t;
	*l = (struct live){.c = c, .piece = piece, .total = total};
	api_call_ref(c);
	c->ops->watch(c, live_end, live_low, l);
	ck_assert_int_eq(pthread_create(&t, NULL, live_main, l), 0);
	pthread_detach(t);
}

static void h_live(struct api_ctx *ctx, struct api_call *c)
{
	(void)ctx;
	start_live(c, 10, SIZE_MAX / 2);
}

static void h_flood(struct api_ctx *ctx, struct api_call *c)
{
	(void)ctx;
	start_live(c, 100000, 20000000);
}

static void h_upload(struct api_ctx *ctx, struct api_call *c)
{
	struct err err = {0};
	char digest[72];
	int64_t n;
	(void)ctx;
	ck_assert_ptr_nonnull(c->blob);
	if (store_blob_finish(c->blob, NULL, digest, &n, &err))
		api_reply_err(c, &err);
	else
		api_reply_error(c, 200, "%s %lld", digest, (long long)n);
}

static const struct api_route routes[] = {
	{API_GET | API_HEAD, "/", h_hello, 0},
	{API_POST, "/echo", h_echo, 0},
	{API_GET, "/hold", h_hold, 0},
	{API_GET, "/stream", h_stream, 0},
	{API_GET, "/never", h_never, 0},
	{API_GET, "/live", h_live, 0},
	{API_GET, "/flood", h_flood, 0},
	{API_POST, "/upload/:x", h_upload, API_BODY_FILE},
};

/* ---- rig ---- */

static struct http_server *server;
static struct api_ctx ctx;
static char tmp_dir[64];

static void start_with(struct http_limits lim)
{
	struct err err = {0};
	struct http_server_cfg cfg = {.host = "127.0.0.1", .routes = routes, .n_route = sizeof routes / sizeof *routes, .ctx = &ctx};
	cfg.limits = lim;
	log_set_level(LOG_ERROR + 1);
	ck_assert_msg(http_server_start(&cfg, &server, &err) == 0, "%s", err.msg);
}

static void start(void)
{
	start_with((struct http_limits){0});
}

static void stop(void)
{
	ck_assert(http_server_stop(server, 5 * NS_PER_S));
	for (int i = 0; i < 1000 && atomic_load(&n_gone) < 0; i++)
		usleep(1000);
	usleep(20000); /* writers notice that they have ended */
}

static int dial_rcvbuf(int bytes)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)http_server_port(server))};
	struct timeval tv = {.tv_sec = 10};
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bytes)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
	return fd;
}

static int dial(void)
{
	return dial_rcvbuf(0);
}

static void put(int fd, const char *s)
{
	ck_assert_int_eq(send(fd, s, strlen(s), MSG_NOSIGNAL), (ssize_t)strlen(s));
}

/* Reads until the text ends with `end`, or (NULL) to the end of the connection. */
static char *get(int fd, const char *end)
{
	static char buf[1 << 20];
	size_t n = 0;
	for (;;) {
		ssize_t r = recv(fd, buf + n, end ? 1 : sizeof buf - 1 - n, 0);
		if (r <= 0) {
			buf[n] = '\0';
			ck_assert_msg(!end && r == 0, "connection ended (%s) after: %s", strerror(errno), buf);
			return buf;
		}
		n += (size_t)r;
		buf[n] = '\0';
		if (end && n >= strlen(end) && !strcmp(buf + n - strlen(end), end))
			return buf;
	}
}

static void wait_for(atomic_int *x, int want)
{
	for (int i = 0; i < 5000 && atomic_load(x) < want; i++)
		usleep(1000);
	ck_assert_int_ge(atomic_load(x), want);
}

static bool has(const char *s, const char *part)
{
	return strstr(s, part) != NULL;
}

/* ---- tests ---- */

START_TEST(keep_alive_and_pipeline)
{
	start();
	int fd = dial();
	for (int i = 0; i < 3; i++) {
		put(fd, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
		char *r = get(fd, "\r\n\r\nhello");
		ck_assert(has(r, "HTTP/1.1 200 OK\r\n") && has(r, "Content-Length: 5\r\n") && has(r, "\r\nDate: "));
		ck_assert(!has(r, "Connection:") && !has(r, "Server:"));
	}
	put(fd, "POST /echo HTTP/1.1\r\nHost: x.local\r\nContent-Length: 3\r\n\r\nabc"
		"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\nHEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n"
		"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\nGET / HTTP/1.1\r\n");
	char *r = get(fd, NULL);
	char *a = strstr(r, "\r\n\r\nabcHTTP/1.1 200");
	ck_assert_ptr_nonnull(a);
	char *b = strstr(a, "\r\n\r\n8\r\n{\"i\":0}\n\r\n8\r\n{\"i\":1}\n\r\n8\r\n{\"i\":2}\n\r\n0\r\n\r\nHTTP/1.1 200");
	ck_assert_msg(b != NULL, "%s", a);
	ck_assert(has(b, "Content-Length: 5\r\n\r\nHTTP/1.1 200 OK") && has(b, "Connection: close\r\n\r\nhello"));
	close(fd);
	stop();
}
END_TEST

START_TEST(bodies)
{
	start();
	int fd = dial();
	put(fd, "POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
		"3;x\r\nabc\r\n2\r\nde\r\n0\r\nT: 1\r\n\r\n");
	get(fd, "\r\n\r\nabcde");
	put(fd, "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
	ck_assert_str_eq(get(fd, "\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
	put(fd, "ok");
	get(fd, "\r\n\r\nok");
	/* an unwanted body is read over, and the connection goes on */
	put(fd, "POST /nope HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nxxxx");
	ck_assert(has(get(fd, "404 page not found"), "Content-Type: text/plain\r\n"));
	/* ... unless the client waits for permission to send it */
	put(fd, "POST /nope HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
	ck_assert(has(get(fd, NULL), "Connection: close\r\n"));
	close(fd);
	fd = dial();
	put(fd, "POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n");
	char *r = get(fd, NULL);
	ck_assert(has(r, "HTTP/1.1 400 ") && has(r, "\r\n\r\n{\"error\":\"invalid byte in chunk length\"}"));
	close(fd);
	fd = dial(); /* half a body and an end */
	put(fd, "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc");
	shutdown(fd, SHUT_WR);
	ck_assert(has(get(fd, NULL), "{\"error\":\"unexpected EOF\"}"));
	close(fd);
	fd = dial(); /* a client that closes its sending side at once still gets short answers */
	put(fd, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\nGET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
	shutdown(fd, SHUT_WR);
	r = get(fd, NULL);
	ck_assert(has(r, "helloHTTP/1.1 200"));
	close(fd);
	stop();
}
END_TEST

START_TEST(limits)
{
	start_with((struct http_limits){.body_max_bytes = 1000, .bodies_max_bytes = 40000});
	int fd = dial();
	put(fd, "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1001\r\n\r\n");
	char *r = get(fd, NULL);
	ck_assert(has(r, "HTTP/1.1 413 ") && has(r, "{\"error\":\"request body too large\"}"));
	close(fd);
	fd = dial();
	put(fd, "POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n400\r\n");
	for (int i = 0; i < 32; i++)
		put(fd, "0123456789abcdef0123456789abcdef");
	ck_assert(has(get(fd, NULL), "HTTP/1.1 413 "));
	close(fd);
	fd = dial();
	put(fd, "GET / HTTP/1.1\r\nHost: localhost\r\nA: ");
	char *big = mem_alloc(70000);
	memset(big, 'a', 70000);
	send(fd, big, 70000, MSG_NOSIGNAL);
	ck_assert(has(get(fd, NULL), "HTTP/1.1 431 "));
	close(fd);
	stop();
	start_with((struct http_limits){.bodies_max_bytes = 40000});
	fd = dial();
	put(fd, "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000\r\n\r\n");
	send(fd, big, 60000, MSG_NOSIGNAL);
	ck_assert(has(get(fd, NULL), "HTTP/1.1 503 "));
	close(fd);
	fd = dial(); /* what was counted is given back */
	put(fd, "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 30000\r\n\r\n");
	send(fd, big, 30000, MSG_NOSIGNAL);
	ck_assert(has(get(fd, "aaaaa"), "HTTP/1.1 200 "));
	close(fd);
	mem_free(big);
	stop();
}
END_TEST

START_TEST(old_http)
{
	start();
	int fd = dial();
	put(fd, "GET / HTTP/1.0\r\n\r\n");
	char *r = get(fd, NULL);
	ck_assert(has(r, "HTTP/1.0 200 OK\r\n") && has(r, "\r\n\r\nhello"));
	close(fd);
	fd = dial();
	put(fd, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
	ck_assert(has(get(fd, "\r\n\r\nhello"), "Connection: keep-alive\r\n"));
	put(fd, "GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
	r = get(fd, NULL);
	ck_assert(!has(r, "Transfer-Encoding") && has(r, "\r\n\r\n{\"i\":0}\n{\"i\":1}\n{\"i\":2}\n"));
	close(fd);
	stop();
}
END_TEST

START_TEST(answers_without_handler)
{
	static const char *const t[][2] = {
		{"GET /never HTTP/1.1\r\nHost: localhost\r\n\r\n", "HTTP/1.1 500 Internal Server Error\r\n"},
		{"HELLO\r\n\r\n",
		 "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"},
		{"GET / HTTP/2.0\r\nHost: a\r\n\r\n", "HTTP/1.1 505 HTTP Version Not Supported: unsupported protocol version\r\n"},
		{"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", "HTTP/1.1 403 Forbidden\r\n"},
		{"GET / HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n\r\n", "HTTP/1.1 403 Forbidden\r\n"},
		{"GET / HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost:3\r\n\r\n",
		 "HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: http://localhost:3\r\nContent-Type: text/plain; charset=utf-8\r\n"
		 "Vary: Origin\r\nDate: "},
		{"OPTIONS /echo HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost:3\r\n\r\n", "HTTP/1.1 204 No Content\r\n"},
		{"OPTIONS /echo HTTP/1.1\r\nHost: localhost\r\n\r\n", "HTTP/1.1 204 No Content\r\nAllow: POST\r\n"},
		{"OPTIONS /echo HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
		 "HTTP/1.1 405 Method Not Allowed\r\nAllow: POST\r\nContent-Type: text/plain\r\n"},
		{"GET //x HTTP/1.1\r\nHost: localhost\r\n\r\n",
		 "HTTP/1.1 307 Temporary Redirect\r\nContent-Type: text/html; charset=utf-8\r\nLocation: /x\r\n"},
		{"POST /echo HTTP/1.1\r\nHost: localhost\r\nExpect: 200-ok\r\nContent-Length: 2\r\n\r\n", "HTTP/1.1 417 Expectation"},
	};
	start();
	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		int fd = dial();
		put(fd, t[i][0]);
		char *r = get(fd, "\r\n\r\n");
		ck_assert_msg(!strncmp(r, t[i][1], strlen(t[i][1])), "%s gave %s", t[i][0], r);
		close(fd);
	}
	stop();
}
END_TEST

START_TEST(client_leaves)
{
	start();
	for (int how = 0; how < 3; how++) {
		int before = atomic_load(&n_gone);
		int fd = dial();
		put(fd, "GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n");
		get(fd, "a\r\nxxxxxxxxxx\r\n");
		struct linger hard = {.l_onoff = 1};
		if (how == 0)
			shutdown(fd, SHUT_WR);
		if (how == 1)
			setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard); /* close resets */
		if (how == 2) { /* leaves behind a pile of requests that nobody has read yet */
			static char pile[200000];
			memset(pile, 'G', sizeof pile);
			send(fd, pile, sizeof pile, MSG_NOSIGNAL | MSG_DONTWAIT);
		}
		if (how)
			close(fd);
		int64_t t0 = clock_now_ns();
		wait_for(&n_gone, before + 1);
		ck_assert_int_lt(clock_now_ns() - t0, 2 * NS_PER_S);
		if (!how)
			close(fd);
	}
	ck_assert_int_eq(atomic_load(&n_kept), 0);
	stop();
}
END_TEST

START_TEST(slow_reader)
{
	start();
	int fd = dial_rcvbuf(4096);
	put(fd, "GET /flood HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
	usleep(300000);
	size_t peak = atomic_load(&peak_pending);
	ck_assert_uint_gt(peak, 512 * 1024);
	ck_assert_uint_lt(peak, 1024 * 1024); /* the writer stopped: nothing was taken */
	static char buf[65536];
	size_t n = 0;
	ssize_t r;
	while ((r = recv(fd, buf, sizeof buf, 0)) > 0)
		n += (size_t)r;
	ck_assert_uint_gt(n, 20000000);
	ck_assert_int_gt(atomic_load(&n_low), 3);
	wait_for(&n_kept, 1);
	close(fd);
	stop();
}
END_TEST

START_TEST(deadlines)
{
	int64_t ms = 300 * NS_PER_MS;
	start_with((struct http_limits){.head_ns = ms, .body_ns = ms, .idle_ns = ms, .stall_ns = 600 * NS_PER_MS});
	int a = dial(), b = dial(), c = dial(), d = dial_rcvbuf(4096);
	put(a, "GET / HT");
	put(b, "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nab");
	put(d, "GET /flood HTTP/1.1\r\nHost: localhost\r\n\r\n");
	ck_assert_str_eq(get(a, NULL), "");
	get(b, NULL);
	ck_assert_str_eq(get(c, NULL), "");
	wait_for(&n_gone, 1);
	close(a), close(b), close(c), close(d);
	stop();
}
END_TEST

START_TEST(many)
{
	enum { N = 64 };
	int fds[N];
	start();
	for (int i = 0; i < N; i++)
		fds[i] = dial();
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < N; i++)
			put(fds[i], i % 2 ? "GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n" :
					    "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
		for (int i = 0; i < N; i++)
			get(fds[i], i % 2 ? "0\r\n\r\n" : "hello");
	}
	/* all leave in the middle of a live stream */
	for (int i = 0; i < N; i++)
		put(fds[i], "GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n");
	for (int i = 0; i < N; i++)
		get(fds[i], "xxxxxxxxxx\r\n");
	for (int i = 0; i < N; i++)
		close(fds[i]);
	wait_for(&n_gone, N);
	ck_assert_int_eq(http_server_active(server), 0);
	stop();
}
END_TEST

START_TEST(too_many)
{
	start_with((struct http_limits){.max_conn = 2, .max_worker = 1, .max_queue = 1});
	int a = dial(), b = dial();
	put(a, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
	get(a, "hello");
	put(b, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
	get(b, "hello");
	int c = dial();
	ck_assert(has(get(c, NULL), "HTTP/1.1 503 "));
	close(a), close(b), close(c);
	stop();
	/* one worker, one waiting, the third is refused */
	start_with((struct http_limits){.max_worker = 1, .max_queue = 1});
	atomic_store(&hold, true);
	a = dial(), b = dial(), c = dial();
	put(a, "GET /hold HTTP/1.1\r\nHost: localhost\r\n\r\n");
	usleep(100000);
	put(b, "GET /hold HTTP/1.1\r\nHost: localhost\r\n\r\n");
	usleep(100000);
	put(c, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
	ck_assert(has(get(c, "waiting\"}"), "HTTP/1.1 503 "));
	atomic_store(&hold, false);
	get(a, "held");
	get(b, "held");
	close(a), close(b), close(c);
	stop();
}
END_TEST

START_TEST(upload)
{
	struct err err = {0};
	char cache[80], cmd[200];
	strcpy(tmp_dir, "/tmp/cria-http-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(tmp_dir));
	snprintf(cache, sizeof cache, "%s/cache", tmp_dir);
	ck_assert_msg(store_open(tmp_dir, cache, &ctx.store, &err) == 0, "%s", err.msg);
	start();
	enum { N = 5000000 };
	char *data = mem_zalloc(N), head[128];
	int fd = dial();
	for (int i = 0; i < 2; i++) {
		snprintf(head, sizeof head, "POST /upload/1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n", i ? 0 : N);
		put(fd, head);
		for (size_t k = 0; k < N && !i;) {
			ssize_t n = send(fd, data + k, N - k, MSG_NOSIGNAL);
			ck_assert_int_gt(n, 0);
			k += (size_t)n;
		}
		char *r = get(fd, "\"}");
		const char *none = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 0";
		ck_assert_msg(has(r, i ? none : " 5000000\"}"), "%s", r);
	}
	/* a client that leaves in the middle leaves nothing behind */
	put(fd, "POST /upload/1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000000\r\n\r\n");
	send(fd, data, 2500000, MSG_NOSIGNAL);
	close(fd);
	for (int i = 0; i < 3000 && http_server_active(server); i++)
		usleep(1000);
	mem_free(data);
	stop();
	store_close(ctx.store);
	snprintf(cmd, sizeof cmd, "test $(ls %s/blobs | wc -l) = 2 && rm -r %s", tmp_dir, tmp_dir);
	ck_assert_int_eq(system(cmd), 0);
}
END_TEST

START_TEST(draining)
{
	start();
	int idle = dial(), busy = dial();
	put(idle, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
	get(idle, "hello");
	for (int i = 0; i < 2000 && http_server_active(server); i++) /* the answer arrives before the request counts as done */
		usleep(1000);
	atomic_store(&hold, true);
	put(busy, "GET /hold HTTP/1.1\r\nHost: localhost\r\n\r\n");
	for (int i = 0; i < 2000 && !http_server_active(server); i++)
		usleep(1000);
	http_server_drain(server);
	ck_assert_str_eq(get(idle, NULL), "");
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)http_server_port(server))};
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	int late = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_ne(connect(late, (struct sockaddr *)&a, sizeof a), 0);
	ck_assert_int_eq(http_server_active(server), 1);
	atomic_store(&hold, false);
	char *r = get(busy, NULL);
	ck_assert(has(r, "Connection: close\r\n") && has(r, "held"));
	close(idle), close(busy), close(late);
	stop();
	/* stopping cuts live streams, and says so to whom it may concern */
	start();
	int fd = dial();
	put(fd, "GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n");
	get(fd, "xxxxxxxxxx\r\n");
	int before = atomic_load(&n_gone);
	stop();
	ck_assert_int_eq(atomic_load(&n_gone), before + 1);
	close(fd);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("http_server");
	TCase *t = tcase_create("all");
	tcase_set_timeout(t, 60);
	tcase_add_test(t, keep_alive_and_pipeline);
	tcase_add_test(t, bodies);
	tcase_add_test(t, limits);
	tcase_add_test(t, old_http);
	tcase_add_test(t, answers_without_handler);
	tcase_add_test(t, client_leaves);
	tcase_add_test(t, slow_reader);
	tcase_add_test(t, deadlines);
	tcase_add_test(t, many);
	tcase_add_test(t, too_many);
	tcase_add_test(t, upload);
	tcase_add_test(t, draining);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int n = srunner_ntests_failed(r);
	srunner_free(r);
	return n != 0;
}
