#include "runner/runner.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "runner/runner_int.h"
#include "runner/runner_sandbox.h"

#define QUIT_MAX_NS (5 * NS_PER_S) /* a quit waits this long for running sequences */

/* ---- output: any thread ---- */

static void wake(struct runner *r)
{
	uint64_t one = 1;
	if (write(r->wake_fd, &one, sizeof one) < 0)
		return; /* the counter is full: the frame thread is awake anyway */
}

static void queue(struct runner *r, enum ipc_type type, uint64_t stream, const void *data, size_t n)
{
	pthread_mutex_lock(&r->conn_lock);
	ipc_conn_push(r->conn, type, stream, data, n, NULL, 0);
	pthread_mutex_unlock(&r->conn_lock);
}

void runner_push(struct runner *r, enum ipc_type type, uint64_t stream, const void *data, size_t n)
{
	queue(r, type, stream, data, n);
	wake(r);
}

void runner_queue_event(struct runner *r, uint64_t stream, const struct gen_event *e)
{
	struct str s = {0};
	gen_event_encode(e, &s);
	queue(r, IPC_EVENT, stream, str_cstr(&s), s.len);
	str_release(&s);
}

void runner_push_event(struct runner *r, uint64_t stream, const struct gen_event *e)
{
	runner_queue_event(r, stream, e);
	wake(r);
}

void runner_push_error(struct runner *r, uint64_t stream, int code, const char *msg)
{
	struct gen_event e = {.kind = EV_ERROR, .code = code, .text = (char *)msg};
	runner_push_event(r, stream, &e);
}

static size_t pending(struct runner *r)
{
	pthread_mutex_lock(&r->conn_lock);
	size_t n = ipc_conn_pending(r->conn);
	pthread_mutex_unlock(&r->conn_lock);
	return n;
}

static int flush(struct runner *r, struct err *err)
{
	pthread_mutex_lock(&r->conn_lock);
	int rc = ipc_conn_flush(r->conn, err);
	pthread_mutex_unlock(&r->conn_lock);
	return rc;
}

/* ---- jobs: the text thread ---- */

void runner_job_push(struct runner *r, struct runner_job *job)
{
	pthread_mutex_lock(&r->job_lock);
	job->next = NULL;
	*r->job_tail = job;
	r->job_tail = &job->next;
	pthread_cond_signal(&r->job_cond);
	pthread_mutex_unlock(&r->job_lock);
}

static void *text_thread(void *arg)
{
	struct runner *r = arg;
	for (;;) {
		pthread_mutex_lock(&r->job_lock);
		while (!r->job_head)
			pthread_cond_wait(&r->job_cond, &r->job_lock);
		struct runner_job *job = r->job_head;
		r->job_head = job->next;
		if (!r->job_head)
			r->job_tail = &r->job_head;
		pthread_mutex_unlock(&r->job_lock);
		job->fn(job);
	}
	return NULL;
}

/* ---- answers: the token thread ---- */

/* Writes what the lanes gave at once; the frame thread does what is left, and finds out why when that fails. */
static void *token_thread(void *arg)
{
	struct runner *r = arg;
	for (;;) {
		struct err ignored;
		runner_tokens_serve(&r->tokens);
		if (flush(r, &ignored) || pending(r))
			wake(r);
	}
	return NULL;
}

static void start_thread(void *(*fn)(void *), struct runner *r)
{
	pthread_t t;
	int rc = pthread_create(&t, NULL, fn, r);
	if (rc)
		BUG("a thread cannot be started: %s", strerror(rc));
	pthread_detach(t);
}

/* ---- loading: the loader thread ---- */

static void on_progress(void *user, float share)
{
	struct runner *r = user;
	struct str s = {0};
	load_progress_encode(share, &s);
	runner_push(r, IPC_PROGRESS, 0, s.data, s.len);
	str_release(&s);
}

static int load(struct runner *r, struct err *err)
{
	const struct load_req *q = &r->load_req;
	int rc = runner_load_open(&r->load, r->load_fd, q->template_text, err);
	if (!rc)
		rc = runner_load_compute(&r->load, q->kernels, q->cpu, q->kv_type, q->n_thread, err);
	if (!rc)
		rc = runner_load_start(&r->load, q->n_ctx_max, q->kv_bytes > 0 ? (size_t)q->kv_bytes : 0, on_progress, r, err);
	close(r->load_fd);
	return rc;
}

static void push_failed(struct runner *r, const struct err *err)
{
	struct str s = {0};
	load_failed_encode(err, &s);
	atomic_store(&r->state, RUNNER_FAILED);
	runner_push(r, IPC_FAILED, 0, s.data, s.len);
	str_release(&s);
}

static void *load_thread(void *arg)
{
	struct runner *r = arg;
	struct err err = {0};
	int64_t t0 = clock_now_ns();
	if (load(r, &err)) {
		log_error("loading failed: %s", err.msg);
		push_failed(r, &err);
		return NULL;
	}
	struct loaded_info info;
	runner_load_info(&r->load, &info);
	runner_sandbox_calls();
	log_info("loaded arch=%s kernels=%s kv=%s threads=%d ctx=%lld ms=%lld", info.arch, info.kernels,
		 kern_kv_type_name(r->load.kv_type), info.n_thread,
		 (long long)info.n_ctx_max, (long long)((clock_now_ns() - t0) / NS_PER_MS));
	struct str s = {0};
	loaded_info_encode(&info, &s);
	atomic_store(&r->state, RUNNER_READY);
	runner_push(r, IPC_LOADED, 0, s.data, s.len);
	str_release(&s);
	loaded_info_release(&info);
	return NULL;
}

/* ---- frames: the frame thread ---- */

static int on_load(struct runner *r, struct ipc_frame *f, struct err *err)
{
	if (atomic_load(&r->state) != RUNNER_EMPTY)
		return err_set(err, ERR_INVALID, "a runner loads one model only");
	if (f->head.n_fd < 1)
		return err_set(err, ERR_INVALID, "the load request carries no model file");
	int rc = load_req_decode(f->data, f->head.n_bytes, &r->load_req, err);
	if (rc)
		return rc;
	r->load_fd = f->fds[0];
	f->fds[0] = -1;
	if (r->load_req.name)
		log_set_name(r->load_req.name);
	atomic_store(&r->state, RUNNER_LOADING);
	start_thread(load_thread, r);
	return 0;
}

static int64_t rss_bytes(const struct runner *r)
{
	char text[128] = "";
	long total, resident = 0;
	if (pread(r->statm_fd, text, sizeof text - 1, 0) < 0 || sscanf(text, "%ld %ld", &total, &resident) != 2)
		return 0;
	return (int64_t)resident * sysconf(_SC_PAGESIZE);
}

static void on_ping(struct runner *r)
{
	struct runner_stats st = {.rss_bytes = rss_bytes(r)};
	struct rusage u;
	if (!getrusage(RUSAGE_SELF, &u))
		st.major_faults = u.ru_majflt;
	if (atomic_load(&r->state) == RUNNER_READY) {
		struct engine_stats e;
		engine_stats(r->load.engine, &e);
		st.n_active = e.n_active;
		st.n_queued = e.n_queued;
		st.kv_used_bytes = (int64_t)e.kv_used_bytes;
		st.kv_budget_bytes = (int64_t)e.kv_budget_bytes;
		st.n_step = e.n_step;
		st.step_age_ns = e.step_started_ns ? clock_now_ns() - e.step_started_ns : 0;
	}
	struct str s = {0};
	runner_stats_encode(&st, &s);
	runner_push(r, IPC_PONG, 0, s.data, s.len);
	str_release(&s);
}

static void on_gen(struct runner *r, const struct ipc_frame *f)
{
	if (atomic_load(&r->state) != RUNNER_READY)
		runner_push_error(r, f->head.stream, ERR_BUSY, "the model is not loaded yet");
	else
		runner_gen_new(r, f->head.stream, mem_strndup(f->data, f->head.n_bytes), f->head.n_bytes);
}

static void on_quit(struct runner *r)
{
	if (!r->quit_ns)
		r->quit_ns = clock_now_ns() + QUIT_MAX_NS;
	runner_gen_cancel(r, 0);
}

static int on_frame(struct runner *r, struct ipc_frame *f, struct err *err)
{
	switch (f->head.type) {
	case IPC_LOAD:
		return on_load(r, f, err);
	case IPC_GEN:
		on_gen(r, f);
		return 0;
	case IPC_CANCEL:
		if (f->head.stream)
			runner_gen_cancel(r, f->head.stream);
		return 0;
	case IPC_PARK:
		if (f->head.n_bytes != 1)
			return err_set(err, ERR_FORMAT, "a park frame has %u bytes, not 1", f->head.n_bytes);
		runner_gen_park(r, f->head.stream, f->data[0] != 0);
		return 0;
	case IPC_PING:
		on_ping(r);
		return 0;
	case IPC_QUIT:
		on_quit(r);
		return 0;
	}
	return err_set(err, ERR_FORMAT, "a frame of type %u is none that a runner takes", f->head.type);
}

static int read_frames(struct runner *r, struct err *err)
{
	struct ipc_frame f;
	int rc = ipc_conn_fill(r->conn, err);
	if (rc)
		return rc;
	while ((rc = ipc_conn_next(r->conn, &f, err)) > 0) {
		rc = on_frame(r, &f, err);
		for (int i = 0; i < f.head.n_fd; i++)
			if (f.fds[i] >= 0)
				close(f.fds[i]);
		if (rc)
			return rc;
	}
	return rc;
}

/* What is to be done when nothing more can be read or written; negative to go on, else the exit status. */
static int leave(struct runner *r)
{
	if (atomic_load(&r->state) == RUNNER_FAILED && !pending(r))
		return 1;
	if (r->quit_ns && (clock_now_ns() > r->quit_ns || (!runner_gen_any(r) && !pending(r))))
		return 0;
	return -1;
}

static int loop(struct runner *r)
{
	struct err err = {0};
	for (;;) {
		bool waiting = runner_gen_flow(r, pending(r), clock_now_ns()) || r->quit_ns;
		struct pollfd p[2] = {{.fd = ipc_conn_fd(r->conn), .events = (short)(POLLIN | (pending(r) ? POLLOUT : 0))},
				      {.fd = r->wake_fd, .events = POLLIN}};
		if (poll(p, 2, waiting ? 100 : -1) < 0 && errno != EINTR)
			BUG("poll: %s", strerror(errno));
		uint64_t n_wake;
		if (p[1].revents && read(r->wake_fd, &n_wake, sizeof n_wake) < 0 && errno != EAGAIN)
			BUG("eventfd: %s", strerror(errno));
		int rc = p[0].revents & (POLLIN | POLLHUP | POLLERR) ? read_frames(r, &err) : 0;
		if (!rc)
			rc = flush(r, &err);
		if (rc == ERR_CRASHED)
			return 0; /* the server is gone, and so are we */
		if (rc) {
			log_error("the connection to the server broke: %s", err.msg);
			return 1;
		}
		int status = leave(r);
		if (status >= 0)
			return status;
	}
}

static void init_process(void)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	sigaction(SIGPIPE, &ignore, NULL);
	/* A key press in the server's terminal is the server's business: it ends its runners itself. */
	sigaction(SIGINT, &ignore, NULL);
	sigaction(SIGHUP, &ignore, NULL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	tzset(); /* templates ask for local time; the zone file cannot be opened later */
	runner_sandbox_files();
}

int runner_main(int argc, char **argv)
{
	(void)argv;
	if (argc > 1) {
		fprintf(stderr, "cria runner takes no arguments: the server starts it\n");
		return 2;
	}
	static struct runner r; /* threads outlive this function until the process is gone */
	init_process();
	mem_return_large();
	r = (struct runner){.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
			    .statm_fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC)};
	BUG_ON(r.wake_fd < 0);
	pthread_mutex_init(&r.conn_lock, NULL);
	pthread_mutex_init(&r.job_lock, NULL);
	pthread_mutex_init(&r.lock, NULL);
	pthread_cond_init(&r.job_cond, NULL);
	r.job_tail = &r.job_head;
	r.conn = ipc_conn_new(RUNNER_FD);
	runner_tokens_init(&r.tokens);
	start_thread(text_thread, &r);
	start_thread(token_thread, &r);
	/* No tidying up: the kernel takes all memory back at once, and other threads may be deep in a step. */
	_exit(loop(&r));
}
