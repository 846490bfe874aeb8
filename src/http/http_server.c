#include "http/http_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/bug.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "http/http_conn.h"

enum { REFUSE_MAX = 256 }; /* connections beyond the limit that are told so; further ones are just closed */

/* ---- loops ---- */

static void loop_wake(struct http_loop *l)
{
	uint64_t one = 1;
	if (write(l->wake_fd, &one, sizeof one) < 0 && errno != EAGAIN)
		BUG("eventfd: %s", strerror(errno));
}

void http_loop_post(struct http_call *c)
{
	struct http_loop *l = c->loop;
	pthread_mutex_lock(&l->lock);
	if (!c->posted) {
		c->posted = true;
		c->refs++;
		c->next_posted = NULL;
		*l->posted_tail = c;
		l->posted_tail = &c->next_posted;
		loop_wake(l);
	}
	pthread_mutex_unlock(&l->lock);
}

static struct http_call *pop_posted(struct http_loop *l)
{
	pthread_mutex_lock(&l->lock);
	struct http_call *c = l->posted;
	if (c) {
		l->posted = c->next_posted;
		if (!l->posted)
			l->posted_tail = &l->posted;
		c->posted = false;
	}
	pthread_mutex_unlock(&l->lock);
	return c;
}

static int pop_fd(struct http_loop *l)
{
	pthread_mutex_lock(&l->lock);
	int fd = l->n_fd ? l->fds[--l->n_fd] : -1;
	pthread_mutex_unlock(&l->lock);
	return fd;
}

static void run_posted(struct http_loop *l)
{
	struct http_call *c;
	while ((c = pop_posted(l))) {
		if (c->conn)
			http_conn_posted(c->conn);
		http_call_unref(c);
	}
}

static void open_fds(struct http_loop *l, bool closed)
{
	int fd;
	while ((fd = pop_fd(l)) >= 0) {
		if (closed) {
			close(fd);
			atomic_fetch_sub(&l->server->n_conn, 1);
		} else if (atomic_load(&l->server->n_conn) > l->server->cfg.limits.max_conn) {
			http_conn_refuse(l, fd);
		} else {
			http_conn_open(l, fd);
		}
	}
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
	struct http_loop *l = arg;
	uint64_t n;
	(void)what;
	if (read(fd, &n, sizeof n) < 0 && errno != EAGAIN && errno != EINTR)
		BUG("eventfd: %s", strerror(errno));
	pthread_mutex_lock(&l->lock);
	bool drain = l->drain, cut = l->cut, stop = l->stop;
	l->drain = false;
	pthread_mutex_unlock(&l->lock);
	run_posted(l);
	open_fds(l, cut);
	for (struct http_conn *k = l->conns, *next; k && (drain || cut); k = next) {
		next = k->next;
		if (cut)
			http_conn_cut(k);
		else
			http_conn_close_idle(k);
	}
	if (stop)
		event_base_loopbreak(l->base);
}

static void listen_resume(struct http_server *s);

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct http_loop *l = arg;
	int64_t now = clock_now_ns();
	(void)fd, (void)what;
	for (struct http_conn *k = l->conns, *next; k; k = next) {
		next = k->next;
		http_conn_deadline(k, now);
	}
	if (l == l->server->loops)
		listen_resume(l->server);
}

static void *loop_main(void *arg)
{
	struct http_loop *l = arg;
	event_base_loop(l->base, EVLOOP_NO_EXIT_ON_EMPTY);
	run_posted(l);
	return NULL;
}

static void loop_init(struct http_loop *l, struct http_server *s)
{
	struct event_config *cfg = event_config_new();
	l->server = s;
	l->posted_tail = &l->posted;
	pthread_mutex_init(&l->lock, NULL);
	event_config_require_features(cfg, EV_FEATURE_ET);
	event_config_set_flag(cfg, EVENT_BASE_FLAG_NOLOCK);
	l->base = event_base_new_with_config(cfg);
	event_config_free(cfg);
	l->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (!l->base || l->wake_fd < 0)
		BUG("no event loop: %s", strerror(errno));
	struct timeval tick = {.tv_usec = HTTP_TICK_MS * 1000};
	event_assign(&l->wake, l->base, l->wake_fd, EV_READ | EV_PERSIST, on_wake, l);
	event_assign(&l->tick, l->base, -1, EV_PERSIST, on_tick, l);
	event_add(&l->wake, NULL);
	event_add(&l->tick, &tick);
}

static void loop_release(struct http_loop *l)
{
	event_del(&l->wake);
	event_del(&l->tick);
	event_base_free(l->base);
	close(l->wake_fd);
	mem_free(l->fds);
	pthread_mutex_destroy(&l->lock);
}

/* ---- accepting (loop 0) ---- */

static void listen_pause(struct http_server *s)
{
	for (int i = 0; i < s->n_listen; i++)
		event_del(&s->listen_events[i]);
	s->accept_after_ns = clock_now_ns() + NS_PER_S / 2;
	log_warn("http cannot accept: %s; trying again", strerror(errno));
}

static void listen_resume(struct http_server *s)
{
	if (!s->accept_after_ns || clock_now_ns() < s->accept_after_ns || atomic_load(&s->draining))
		return;
	s->accept_after_ns = 0;
	for (int i = 0; i < s->n_listen; i++)
		event_add(&s->listen_events[i], NULL);
}

static void give_fd(struct http_loop *l, int fd)
{
	pthread_mutex_lock(&l->lock);
	if (l->n_fd == l->cap_fd) {
		l->cap_fd = l->cap_fd * 2 + 16;
		l->fds = mem_realloc(l->fds, l->cap_fd * sizeof *l->fds);
	}
	l->fds[l->n_fd++] = fd;
	loop_wake(l);
	pthread_mutex_unlock(&l->lock);
}

static void on_accept(evutil_socket_t listen_fd, short what, void *arg)
{
	struct http_server *s = arg;
	(void)what;
	for (int i = 0; i < 64; i++) {
		if (atomic_load(&s->draining)) {
			for (int j = 0; j < s->n_listen; j++)
				event_del(&s->listen_events[j]);
			return;
		}
		int fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0) {
			if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
				listen_pause(s);
			return;
		}
		if (atomic_fetch_add(&s->n_conn, 1) >= s->cfg.limits.max_conn + REFUSE_MAX) {
			atomic_fetch_sub(&s->n_conn, 1);
			close(fd);
			continue;
		}
		give_fd(&s->loops[s->i_next_loop], fd);
		s->i_next_loop = (s->i_next_loop + 1) % HTTP_N_LOOP;
	}
}

/* ---- listening ---- */

static bool addr_loopback(const struct sockaddr *a)
{
	if (a->sa_family == AF_INET)
		return ntohl(((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr) >> 24 == 127;
	return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr);
}

static void set_port(struct sockaddr *a, int port)
{
	if (a->sa_family == AF_INET)
		((struct sockaddr_in *)(void *)a)->sin_port = htons((uint16_t)port);
	else
		((struct sockaddr_in6 *)(void *)a)->sin6_port = htons((uint16_t)port);
}

/* A listening socket on the address; -1 with errno. An IPv6 wildcard takes IPv4 too. */
static int listen_on(const struct sockaddr *a, socklen_t n)
{
	int one = 1, zero = 0;
	int fd = socket(a->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (a->sa_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero);
	if (bind(fd, a, n) || listen(fd, 1024)) {
		int e = errno;
		close(fd);
		errno = e;
		return -1;
	}
	return fd;
}

static void listen_add(struct http_server *s, int fd)
{
	struct sockaddr_storage a = {0};
	socklen_t n = sizeof a;
	getsockname(fd, (struct sockaddr *)&a, &n);
	s->port = ntohs(a.ss_family == AF_INET ? ((struct sockaddr_in *)(void *)&a)->sin_port :
						 ((struct sockaddr_in6 *)(void *)&a)->sin6_port);
	s->loopback &= addr_loopback((struct sockaddr *)&a);
	s->listen_fds[s->n_listen++] = fd;
}

static int listen_error(const struct http_server_cfg *cfg, int e, struct err *err)
{
	int code = e == EADDRINUSE ? ERR_EXISTS : e == EACCES || e == EPERM ? ERR_FORBIDDEN : ERR_IO;
	return err_set(err, code, "cannot listen on %s port %d: %s", *cfg->host ? cfg->host : "*", cfg->port, strerror(e));
}

/* Any address of the machine: one socket for both families where there is IPv6. */
static int listen_wildcard(struct http_server *s, struct err *err)
{
	in_port_t port = htons((uint16_t)s->cfg.port);
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_ANY_INIT, .sin6_port = port};
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = port};
	int fd = listen_on((struct sockaddr *)&v6, sizeof v6);
	if (fd < 0 && errno != EADDRINUSE && errno != EACCES)
		fd = listen_on((struct sockaddr *)&v4, sizeof v4);
	if (fd < 0)
		return listen_error(&s->cfg, errno, err);
	listen_add(s, fd);
	return 0;
}

static int listen_start(struct http_server *s, struct err *err)
{
	const char *host = s->cfg.host;
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *list;
	s->loopback = true;
	if (!*host || !strcmp(host, "0.0.0.0") || !strcmp(host, "::"))
		return listen_wildcard(s, err);
	int rc = getaddrinfo(host, NULL, &hints, &list);
	if (rc)
		return err_set(err, ERR_INVALID, "cannot listen on %s: %s; give an address of this machine, e.g. 127.0.0.1:11434",
			       host, gai_strerror(rc));
	/* IPv4 first: that is where clients look. A further address is a courtesy that may fail. */
	int e = EADDRNOTAVAIL;
	for (int pass = 0; pass < 2; pass++)
		for (struct addrinfo *i = list; i && s->n_listen < HTTP_N_LISTEN; i = i->ai_next) {
			if (i->ai_family != (pass ? AF_INET6 : AF_INET))
				continue;
			set_port(i->ai_addr, s->n_listen ? s->port : s->cfg.port);
			int fd = listen_on(i->ai_addr, i->ai_addrlen);
			if (fd >= 0)
				listen_add(s, fd);
			else if (!s->n_listen && e == EADDRNOTAVAIL)
				e = errno;
		}
	freeaddrinfo(list);
	return s->n_listen ? 0 : listen_error(&s->cfg, e, err);
}

/* ---- the server ---- */

static void default_limits(struct http_limits *l)
{
#define DEFAULT(field, value) l->field = l->field ? l->field : (value)
	DEFAULT(head_ns, 30 * NS_PER_S);
	DEFAULT(body_ns, 60 * NS_PER_S);
	DEFAULT(idle_ns, 120 * NS_PER_S);
	DEFAULT(stall_ns, 60 * NS_PER_S);
	DEFAULT(max_conn, 4096);
	DEFAULT(max_worker, 16);
	DEFAULT(max_queue, 1024);
	DEFAULT(body_max_bytes, (size_t)256 << 20);
	DEFAULT(bodies_max_bytes, (size_t)1 << 30);
#undef DEFAULT
}

int http_server_start(const struct http_server_cfg *cfg, struct http_server **ret, struct err *err)
{
	struct http_server *s = mem_zalloc(sizeof *s);
	s->cfg = *cfg;
	default_limits(&s->cfg.limits);
	if (listen_start(s, err)) {
		mem_free(s);
		return err->code;
	}
	atomic_store(&s->refs, 1);
	if (getrandom(&s->id_seed, sizeof s->id_seed, 0) < 0)
		s->id_seed = (unsigned)clock_wall_ns();
	http_origins_init(&s->origins, cfg->origins);
	s->work = http_work_start(s->cfg.limits.max_worker, (size_t)s->cfg.limits.max_queue);
	for (int i = 0; i < HTTP_N_LOOP; i++)
		loop_init(&s->loops[i], s);
	for (int i = 0; i < s->n_listen; i++) {
		event_assign(&s->listen_events[i], s->loops[0].base, s->listen_fds[i], EV_READ | EV_PERSIST, on_accept, s);
		event_add(&s->listen_events[i], NULL);
	}
	for (int i = 0; i < HTTP_N_LOOP; i++)
		if (pthread_create(&s->loops[i].thread, NULL, loop_main, &s->loops[i]))
			BUG("no thread for the http loop");
	*ret = s;
	return 0;
}

int http_server_port(const struct http_server *s)
{
	return s->port;
}

bool http_server_loopback(const struct http_server *s)
{
	return s->loopback;
}

int http_server_active(const struct http_server *s)
{
	return atomic_load(&s->n_active);
}

static void tell_loops(struct http_server *s, bool drain, bool cut, bool stop)
{
	for (int i = 0; i < HTTP_N_LOOP; i++) {
		struct http_loop *l = &s->loops[i];
		pthread_mutex_lock(&l->lock);
		l->drain |= drain;
		l->cut |= cut;
		l->stop |= stop;
		loop_wake(l);
		pthread_mutex_unlock(&l->lock);
	}
}

void http_server_drain(struct http_server *s)
{
	if (atomic_exchange(&s->draining, true))
		return;
	for (int i = 0; i < s->n_listen; i++)
		shutdown(s->listen_fds[i], SHUT_RDWR); /* wakes loop 0, which takes the listeners out */
	tell_loops(s, true, false, false);
}

bool http_server_stop(struct http_server *s, int64_t timeout_ns)
{
	http_server_drain(s);
	tell_loops(s, false, true, false);
	if (!http_work_stop(s->work, timeout_ns))
		return false;
	tell_loops(s, false, true, true);
	for (int i = 0; i < HTTP_N_LOOP; i++)
		pthread_join(s->loops[i].thread, NULL);
	for (int i = 0; i < s->n_listen; i++) {
		event_del(&s->listen_events[i]);
		close(s->listen_fds[i]);
	}
	for (int i = 0; i < HTTP_N_LOOP; i++)
		loop_release(&s->loops[i]);
	http_server_unref(s);
	return true;
}

void http_server_unref(struct http_server *s)
{
	if (atomic_fetch_sub(&s->refs, 1) != 1)
		return;
	http_origins_release(&s->origins);
	mem_free(s);
}
