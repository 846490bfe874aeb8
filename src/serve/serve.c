#include "serve/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bug.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/version.h"
#include "http/http_server.h"
#include "serve/serve_config.h"

#define HANDLER_TIMEOUT_NS (10 * NS_PER_S) /* for handlers to notice that their client was cut off */

struct serve {
	struct serve_config cfg;
	struct api_ctx ctx;
	struct http_server *http;
};

/* ---- signals ---- */

/* A signal handler has nothing but globals: the pipe that wakes serve_main, and how many signals came. */
static int signal_pipe[2];
static volatile sig_atomic_t n_signal;

static void on_signal(int sig)
{
	int saved = errno;
	char byte = (char)sig;
	n_signal = n_signal + 1;
	if (n_signal > 1)
		_exit(128 + sig); /* runners end when their socket closes */
	if (write(signal_pipe[1], &byte, 1) < 0)
		_exit(128 + sig);
	errno = saved;
}

/* Handlers rather than blocked signals: a mask would be inherited by runners. */
static void catch_signals(void)
{
	struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	if (pipe2(signal_pipe, O_CLOEXEC))
		BUG("no pipe for signals: %s", strerror(errno));
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGINT, &sa, NULL);
	sa.sa_handler = SIG_IGN;
	sigaction(SIGPIPE, &sa, NULL);
}

static int wait_signal(void)
{
	char byte;
	while (read(signal_pipe[0], &byte, 1) != 1)
		;
	return byte;
}

/* Every connection, runner and file is a descriptor; the usual soft limit of 1024 is for programs that use select(). */
static void raise_file_limit(void)
{
	struct rlimit r;
	if (getrlimit(RLIMIT_NOFILE, &r) || r.rlim_cur == r.rlim_max)
		return;
	r.rlim_cur = r.rlim_max;
	setrlimit(RLIMIT_NOFILE, &r);
}

/* ---- start ---- */

/* A connection to where the address leads, within a second; -1 otherwise. */
static int dial(const struct host *h)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list;
	struct timeval tv = {.tv_sec = 1};
	char port[16];
	int fd = -1;
	const char *name = !strcmp(h->name, "0.0.0.0") || !strcmp(h->name, "::") ? "localhost" : h->name;
	snprintf(port, sizeof port, "%d", h->port);
	if (getaddrinfo(name, port, &hints, &list))
		return -1;
	for (struct addrinfo *i = list; i && fd < 0; i = i->ai_next) {
		fd = socket(i->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (fd < 0)
			continue;
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv); /* bounds connect too */
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
		if (connect(fd, i->ai_addr, i->ai_addrlen)) {
			close(fd);
			fd = -1;
		}
	}
	freeaddrinfo(list);
	return fd;
}

/* Who has the port: asks it for "/", as every Ollama client does. */
static const char *who_answers(const struct host *h)
{
	static const char ask[] = "GET / HTTP/1.0\r\nHost: localhost\r\n\r\n";
	char answer[1024];
	size_t n = 0;
	int fd = dial(h);
	if (fd < 0)
		return "Another program has the port, but does not answer.";
	if (send(fd, ask, sizeof ask - 1, MSG_NOSIGNAL) == (ssize_t)sizeof ask - 1) {
		ssize_t got;
		while (n < sizeof answer - 1 && (got = recv(fd, answer + n, sizeof answer - 1 - n, 0)) > 0)
			n += (size_t)got;
	}
	close(fd);
	answer[n] = '\0';
	if (strstr(answer, "Ollama is running"))
		return "A server already answers there (\"Ollama is running\"; it may be another cria): clients can use it as it is.";
	return "A program that is neither Ollama nor cria has the port.";
}

static void explain_port_taken(const struct host *h, const struct err *err)
{
	struct host other = *h;
	other.port = h->port == 65535 ? HOST_PORT_DEFAULT : h->port + 1;
	fprintf(stderr,
		"cria: %s\n%s\nTo run this server beside it, choose another port, for clients too:\n"
		"    OLLAMA_HOST=%s%s%s:%d cria serve\n",
		err->msg, who_answers(h), strchr(h->name, ':') ? "[" : "", h->name, strchr(h->name, ':') ? "]" : "", other.port);
}

static int start_http(struct serve *s, struct err *err)
{
	struct http_server_cfg http = {
		.host = s->cfg.addr.name,
		.port = s->cfg.addr.port,
		.routes = api_routes,
		.n_route = api_n_route,
		.ctx = &s->ctx,
		.origins = s->cfg.origins,
	};
	return http_server_start(&http, &s->http, err);
}

static struct registry *start_registry(const struct serve *s)
{
	const struct serve_config *c = &s->cfg;
	struct registry_cfg cfg = {
		.key_path = c->key_path,
		.auth_path = c->auth_path,
		.ca_path = c->ca_file,
		.mirrors = c->mirrors,
		.version = CRIA_VERSION,
		.stall_ns = c->stall_ns,
		.proxy = c->proxy,
		.no_prune = c->no_prune,
	};
	return registry_new(s->ctx.store, &cfg);
}

static int count_of(int64_t v)
{
	return v > INT32_MAX ? INT32_MAX : (int)v;
}

/* 0, or an error with everything that was started stopped again. */
static int start(struct serve *s, struct err *err)
{
	const struct serve_config *c = &s->cfg;
	s->ctx = (struct api_ctx){
		.version = CRIA_VERSION,
		.stream_default = c->stream,
		.keep_alive_ns = c->keep_alive_ns,
		.n_ctx_default = c->n_ctx,
		.no_prune = c->no_prune,
		.auto_pull = c->auto_pull,
	};
	if (store_open(c->models_dir, c->cache_dir, &s->ctx.store, err))
		return err->code;
	if (!c->no_prune)
		store_prune(s->ctx.store);
	struct sched_cfg sched = {
		.keep_alive_ns = c->keep_alive_ns,
		.load_timeout_ns = c->load_timeout_ns,
		.n_ctx_default = c->n_ctx,
		.max_loaded = count_of(c->max_loaded),
		.max_queue = count_of(c->max_queue),
		.n_thread = count_of(c->n_thread),
		.speculation = c->speculation,
		.kernels = *c->kernels ? c->kernels : NULL,
		.cpu = *c->cpu ? c->cpu : NULL,
		.kv_type = c->kv_type,
		.mem_limit_bytes = c->mem_limit_bytes,
	};
	if (sched_start(&sched, s->ctx.store, &s->ctx.sched, err)) {
		store_close(s->ctx.store);
		return err->code;
	}
	s->ctx.registry = start_registry(s);
	if (start_http(s, err)) {
		registry_free(s->ctx.registry);
		sched_stop(s->ctx.sched, 0);
		store_close(s->ctx.store);
		return err->code;
	}
	return 0;
}

static void announce(const struct serve *s)
{
	char url[600];
	struct host at = s->cfg.addr;
	at.port = http_server_port(s->http);
	strcpy(at.scheme, "http");
	at.path[0] = '\0';
	host_url(&at, url, sizeof url);
	log_info("models dir=%s why=\"%s\"%s", s->cfg.models_dir, s->cfg.models_why,
		 store_writable(s->ctx.store) ? "" : " read-only=1");
	if (!http_server_loopback(s->http))
		log_warn("listening on %s: everybody who can reach this machine can use it; there are no passwords", s->cfg.addr.name);
	log_info("serving %s version=%s pid=%d", url, CRIA_VERSION, (int)getpid());
}

/* ---- stop ---- */

static void stop(struct serve *s)
{
	int64_t until = clock_now_ns() + s->cfg.grace_ns;
	s->ctx.draining = true;
	http_server_drain(s->http);
	registry_stop(s->ctx.registry); /* what has arrived is kept for the next try */
	int n = http_server_active(s->http);
	if (n)
		log_info("shutdown waits up to %.1f s for %d requests", (double)s->cfg.grace_ns / 1e9, n);
	while (http_server_active(s->http) && clock_now_ns() < until)
		poll(NULL, 0, 20);
	if (!http_server_stop(s->http, HANDLER_TIMEOUT_NS)) {
		log_error("shutdown: a request does not end; exiting without it");
		_exit(1); /* it may use all that would be freed now; runners end when their socket closes */
	}
	registry_free(s->ctx.registry);
	sched_stop(s->ctx.sched, 0);
	store_close(s->ctx.store);
	log_info("stopped");
}

static const char *env(const char *name)
{
	return getenv(name);
}

static int help(void)
{
	printf("Start the server\n\nUsage:\n  cria serve\n\nFlags:\n  -h, --help  this help\n\n");
	serve_config_help();
	return 0;
}

int serve_main(int argc, char **argv)
{
	struct serve s = {0};
	struct err err = {0};
	if (argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")))
		return help();
	if (argc > 1) {
		fprintf(stderr, "cria: serve takes no argument %s; settings come from the environment, see cria serve --help\n", argv[1]);
		return 1;
	}
	mem_return_large();
	catch_signals();
	raise_file_limit();
	serve_config_load(&s.cfg, env);
	if (s.cfg.debug)
		log_set_level(LOG_DEBUG);
	serve_config_log(env);
	int rc = start(&s, &err);
	if (rc == ERR_EXISTS)
		explain_port_taken(&s.cfg.addr, &err);
	else if (rc)
		fprintf(stderr, "cria: %s\n", err.msg);
	if (!rc) {
		announce(&s);
		log_info("shutdown signal=%d", wait_signal());
		stop(&s);
	}
	serve_config_release(&s.cfg);
	return rc ? 1 : 0;
}
