#include "sched/sched.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "sched/sched_priv.h"
#include "sched/sched_runner.h"

enum {
	EVENTS_AT_ONCE = 64,
	TURN_MAX_MS = 1000,   /* the loop turns at least so often: sched_alive */
	THREADS_MAX = 1 << 16, /* that a request may ask for; the runner knows its own limit */
	QUEUE_DEFAULT = 512   /* OLLAMA_MAX_QUEUE's default */
};
#define ALIVE_NS (5 * NS_PER_S)
#define WAKE_EVENT UINT64_MAX
#define STOP_TEXT "the server is shutting down"

/* ---- hooks ---- */

void sched_wake(struct sched *s)
{
	uint64_t one = 1;
	ssize_t n = write(s->wake_fd, &one, sizeof one);
	(void)n; /* fails only when the counter is full: then the thread is awake anyway */
}

void sched_emit(struct sched *s, struct sched_job *j, const struct gen_event *ev)
{
	if (j->canceled)
		return;
	s->hook_id = j->id;
	pthread_mutex_unlock(&s->lock);
	j->on_event(j->user, ev, j->load_ns);
	pthread_mutex_lock(&s->lock);
	s->hook_id = 0;
	pthread_cond_broadcast(&s->hook_done);
}

/* ---- the thread ---- */

static struct sched_runner *runner_of(struct sched *s, uint64_t serial)
{
	for (struct sched_runner *r = s->runners; r; r = r->next)
		if (r->serial == serial)
			return r;
	return NULL;
}

static void on_ready(struct sched *s, uint64_t event)
{
	if (event == WAKE_EVENT) {
		uint64_t n;
		ssize_t got = read(s->wake_fd, &n, sizeof n);
		(void)got;
		return;
	}
	struct sched_runner *r = runner_of(s, event >> 1);
	if (!r)
		return;
	if ((event & 1) == SCHED_EVENT_SOCKET)
		sched_runner_on_socket(r);
	else
		sched_runner_on_exit(r);
}

/* Runs all runners on; returns when the next one is due. */
static int64_t step_all(struct sched *s)
{
	int64_t now = clock_now_ns(), due = INT64_MAX;
	for (struct sched_runner *r = s->runners, *next; r; r = next) {
		next = r->next; /* a step frees nobody but r, and new runners come in front */
		sched_runner_step(r, now, &due);
	}
	return due;
}

/* True when everything is over and the thread may end. */
static bool step_stop(struct sched *s)
{
	if (!s->stopping || (s->queue.n && clock_now_ns() < s->stop_ns))
		return false;
	uint64_t one = 1;
	ssize_t n = write(s->stop_fd, &one, sizeof one);
	(void)n;
	struct err err;
	err_set(&err, ERR_CANCELED, STOP_TEXT);
	for (struct sched_runner *r = s->runners; r; r = r->next) {
		sched_runner_fail_jobs(r, &err);
		sched_runner_stop(r);
	}
	return !s->runners;
}

static int sleep_ms(const struct sched *s, int64_t due_ns)
{
	int64_t now = clock_now_ns();
	if (s->stopping && !s->runners)
		return 0;
	if (s->stopping && s->queue.n && s->stop_ns < due_ns)
		due_ns = s->stop_ns;
	if (due_ns <= now)
		return 0;
	return due_ns - now > TURN_MAX_MS * NS_PER_MS ? TURN_MAX_MS : (int)((due_ns - now + NS_PER_MS - 1) / NS_PER_MS);
}

static void *thread_main(void *user)
{
	struct sched *s = user;
	struct epoll_event events[EVENTS_AT_ONCE];
	pthread_setname_np(pthread_self(), "sched");
	pthread_mutex_lock(&s->lock);
	while (!step_stop(s)) {
		int ms = sleep_ms(s, step_all(s));
		pthread_mutex_unlock(&s->lock);
		int n = epoll_wait(s->epoll_fd, events, EVENTS_AT_ONCE, ms);
		BUG_ON(n < 0 && errno != EINTR);
		pthread_mutex_lock(&s->lock);
		s->turn_ns = clock_now_ns();
		for (int i = 0; i < n; i++)
			on_ready(s, events[i].data.u64);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

/* ---- start and stop ---- */

static void set_default(int64_t *v, int64_t dflt)
{
	if (*v <= 0)
		*v = dflt;
}

static char *dup_or_null(const char *s)
{
	return s ? mem_strdup(s) : NULL;
}

static void copy_cfg(struct sched_cfg *to, const struct sched_cfg *from)
{
	*to = *from;
	to->exe = mem_strdup(from->exe ? from->exe : "/proc/self/exe");
	to->kernels = dup_or_null(from->kernels);
	to->cpu = dup_or_null(from->cpu);
	to->kv_type = dup_or_null(from->kv_type);
	set_default(&to->load_timeout_ns, 300 * NS_PER_S);
	set_default(&to->ping_every_ns, NS_PER_S);
	set_default(&to->pong_timeout_ns, 10 * NS_PER_S);
	set_default(&to->step_timeout_ns, 60 * NS_PER_S);
	set_default(&to->quit_timeout_ns, 5 * NS_PER_S);
	set_default(&to->backoff_ns, 100 * NS_PER_MS);
	set_default(&to->inspect_timeout_ns, 30 * NS_PER_S);
	if (to->max_queue <= 0)
		to->max_queue = QUEUE_DEFAULT;
	if (to->keep_alive_ns < 0)
		to->keep_alive_ns = INT64_MAX;
}

static void sched_free(struct sched *s)
{
	int fds[] = {s->epoll_fd, s->wake_fd, s->stop_fd};
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	pthread_mutex_destroy(&s->lock);
	pthread_cond_destroy(&s->hook_done);
	pthread_mutex_destroy(&s->inspect_lock);
	pthread_cond_destroy(&s->inspect_done);
	vec_release(&s->inspecting);
	sched_spawn_env_free(s->child_env);
	mem_free((char *)s->cfg.exe);
	mem_free((char *)s->cfg.kernels);
	mem_free((char *)s->cfg.cpu);
	mem_free((char *)s->cfg.kv_type);
	mem_free(s);
}

static void init_locks(struct sched *s)
{
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->hook_done, NULL);
	pthread_mutex_init(&s->inspect_lock, NULL);
	pthread_cond_init(&s->inspect_done, &attr);
	pthread_condattr_destroy(&attr);
}

static int start_thread(struct sched *s, struct err *err)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = WAKE_EVENT};
	sigset_t all, old;
	if (s->epoll_fd < 0 || s->wake_fd < 0 || s->stop_fd < 0 || epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, s->wake_fd, &ev) < 0)
		return err_set(err, ERR_IO, "cannot set up the scheduler: %s", strerror(errno));
	/* Signals are the business of the server's main thread. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int code = pthread_create(&s->thread, NULL, thread_main, s);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return code ? err_set(err, ERR_NOMEM, "cannot start the scheduler thread: %s", strerror(code)) : 0;
}

int sched_start(const struct sched_cfg *cfg, struct store *store, struct sched **ret, struct err *err)
{
	struct sched *s = mem_zalloc(sizeof *s);
	copy_cfg(&s->cfg, cfg);
	s->store = store;
	s->child_env = sched_spawn_env_new();
	s->turn_ns = clock_now_ns();
	s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	s->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	init_locks(s);
	int rc = start_thread(s, err);
	if (rc) {
		sched_free(s);
		return rc;
	}
	*ret = s;
	return 0;
}

void sched_stop(struct sched *s, int64_t grace_ns)
{
	int64_t now = clock_now_ns();
	pthread_mutex_lock(&s->lock);
	s->stopping = true;
	s->stop_ns = grace_ns > INT64_MAX - now ? INT64_MAX : now + grace_ns;
	sched_wake(s);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->thread, NULL);
	sched_free(s);
}

/* ---- requests ---- */

/* NULL when the request is too large. */
static struct sched_job *job_new(const struct sched_req *req, struct err *err)
{
	struct sched_job *j = mem_zalloc(sizeof *j);
	j->n_thread = req->num_thread <= 0 ? 0 : req->num_thread < THREADS_MAX ? (int)req->num_thread : THREADS_MAX;
	j->num_ctx = req->gen ? req->gen->opts.num_ctx : req->num_ctx;
	if (req->gen)
		gen_req_encode(req->gen, &j->gen);
	if (j->gen.len > IPC_PAYLOAD_MAX - 64) {
		sched_queue_free_job(j);
		err_set(err, ERR_LIMIT, "the request is larger than %d MiB", IPC_PAYLOAD_MAX >> 20);
		return NULL;
	}
	j->load_only = !req->gen;
	j->keep_alive_ns = req->keep_alive_ns;
	if (j->keep_alive_ns < 0 && j->keep_alive_ns != SCHED_KEEP_DEFAULT)
		j->keep_alive_ns = INT64_MAX;
	j->submit_ns = clock_now_ns();
	j->user = req->user;
	j->on_event = req->on_event;
	return j;
}

/* With the lock. */
static int enqueue(struct sched *s, const struct store_model *model, struct sched_job *j, struct err *err)
{
	if (s->stopping)
		return err_set(err, ERR_CANCELED, STOP_TEXT);
	struct sched_runner *r = sched_runner_find(s, model->model_digest);
	/* One request may be in service before its first event; it is not in the queue. */
	if (r && sched_queue_n_waiting(&r->jobs) > (size_t)s->cfg.max_queue)
		return err_set(err, ERR_BUSY, "server busy, please try again.  maximum pending requests exceeded");
	if (!r)
		r = sched_runner_new(s, model);
	j->runner = r;
	sched_queue_push(&s->queue, &r->jobs, j);
	if (j->keep_alive_ns != SCHED_KEEP_DEFAULT)
		r->keep_ns = j->keep_alive_ns;
	r->dirty = true;
	sched_wake(s);
	return 0;
}

int sched_submit(struct sched *s, const struct sched_req *req, uint64_t *ret_id, struct err *err)
{
	const struct store_model *m = req->model;
	if (!m->model_digest || !m->model_path)
		return err_set(err, ERR_UNSUPPORTED, "model %s has no weights to run", m->name.model);
	if (m->adapter_path)
		return err_set(err, ERR_UNSUPPORTED, "model %s has an adapter, which is not supported", m->name.model);
	struct sched_job *j = job_new(req, err);
	if (!j)
		return ERR_LIMIT;
	pthread_mutex_lock(&s->lock);
	int rc = enqueue(s, m, j, err);
	if (!rc)
		*ret_id = j->id;
	pthread_mutex_unlock(&s->lock);
	if (rc)
		sched_queue_free_job(j);
	return rc;
}

void sched_cancel(struct sched *s, uint64_t id)
{
	pthread_mutex_lock(&s->lock);
	struct sched_job *j = sched_queue_find(&s->queue, id);
	if (j && !j->canceled) {
		j->canceled = true;
		j->runner->dirty = true;
		sched_wake(s);
	}
	/* The job may be freed while this waits; its id is never used again. */
	while (j && s->hook_id == id && !pthread_equal(pthread_self(), s->thread))
		pthread_cond_wait(&s->hook_done, &s->lock);
	pthread_mutex_unlock(&s->lock);
}

void sched_park(struct sched *s, uint64_t id, bool parked)
{
	pthread_mutex_lock(&s->lock);
	struct sched_job *j = sched_queue_find(&s->queue, id);
	if (j && j->want_parked != parked) {
		j->want_parked = parked;
		j->runner->dirty = true;
		sched_wake(s);
	}
	pthread_mutex_unlock(&s->lock);
}

bool sched_alive(struct sched *s)
{
	return clock_now_ns() - s->turn_ns < ALIVE_NS;
}
