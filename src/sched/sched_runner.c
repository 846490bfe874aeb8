#include "sched/sched_runner.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

#define CRASH_TEXT                                                                                                     \
	"model runner has unexpectedly stopped, this may be due to resource limitations or an internal error, check cria's " \
	"logs for details"

enum {
	N_CTX_MIN = 4,       /* shorter contexts are raised to this, as in Ollama */
	DEATH_MAX = 2,       /* a job that saw so many deaths is not tried again */
	ROOM_EVERY_MS = 50,  /* between two looks at the memory while waiting for it */
	REAP_EVERY_MS = 20
};
#define BACKOFF_MAX_NS (5 * NS_PER_S)

/* What a state means to the rest of the file. */
static const struct state {
	const char *name;
	bool process; /* a child exists */
	bool loaded;  /* takes jobs */
	int64_t (*step)(struct sched_runner *r, int64_t now_ns); /* returns when it is due again */
} states[RUNNER_N_STATE];

static void set_state(struct sched_runner *r, enum sched_runner_state state)
{
	log_debug("runner model=%s state=%s", r->label, states[state].name);
	r->state = state;
	r->state_ns = clock_now_ns();
	r->dirty = true;
}

static int64_t sooner(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* ---- object ---- */

struct sched_runner *sched_runner_find(struct sched *s, const char *digest)
{
	for (struct sched_runner *r = s->runners; r; r = r->next)
		if (!strcmp(r->digest, digest))
			return r;
	return NULL;
}

struct sched_runner *sched_runner_new(struct sched *s, const struct store_model *model)
{
	struct sched_runner *r = mem_zalloc(sizeof *r);
	struct str label = {0};
	r->s = s;
	r->serial = ++s->last_serial;
	r->digest = mem_strdup(model->model_digest);
	r->path = mem_strdup(model->model_path);
	r->manifest_digest = mem_strdup(model->digest ? model->digest : "");
	r->name = model->name;
	store_name_short(&model->name, &label);
	snprintf(r->label, sizeof r->label, "%s", str_cstr(&label));
	str_release(&label);
	r->child.pidfd = -1;
	r->prep.fd = -1;
	r->keep_ns = s->cfg.keep_alive_ns;
	r->state_ns = clock_now_ns();
	r->next = s->runners;
	s->runners = r;
	return r;
}

static void runner_free(struct sched_runner *r)
{
	struct sched_runner **at = &r->s->runners;
	while (*at != r)
		at = &(*at)->next;
	*at = r->next;
	loaded_info_release(&r->info);
	mem_free(r->digest);
	mem_free(r->path);
	mem_free(r->manifest_digest);
	mem_free(r);
}

bool sched_runner_has_process(const struct sched_runner *r)
{
	return states[r->state].process;
}

size_t sched_runner_n_active(const struct sched_runner *r)
{
	size_t n = 0;
	for (const struct sched_job *j = r->jobs.first; j; j = j->next)
		n += j->active;
	return n;
}

int64_t sched_runner_expires_ns(const struct sched_runner *r, int64_t now_ns)
{
	return sched_sum(r->state == RUNNER_READY ? r->idle_ns : now_ns, r->keep_ns);
}

int64_t sched_runner_size_bytes(const struct sched_runner *r)
{
	const struct loaded_info *i = &r->info;
	int64_t kv;
	if (r->state == RUNNER_LOADING)
		return r->plan.want_bytes;
	if (__builtin_mul_overflow(i->kv_bytes_per_tok, r->n_ctx_shown, &kv))
		kv = INT64_MAX;
	return sched_sum(sched_sum(i->weights_bytes, i->other_bytes), kv);
}

uint64_t sched_runner_event(const struct sched_runner *r, int which)
{
	return r->serial << 1 | (uint64_t)which;
}

/* ---- jobs ---- */

static void job_remove(struct sched_runner *r, struct sched_job *j)
{
	sched_queue_remove(&r->s->queue, &r->jobs, j);
	r->dirty = true;
}

/* Removes the jobs whose clients went away, also from the runner. */
static void drop_canceled(struct sched_runner *r)
{
	for (struct sched_job *j = r->jobs.first, *next; j; j = next) {
		next = j->next;
		if (!j->canceled)
			continue;
		if (j->active && r->conn)
			ipc_conn_push(r->conn, IPC_CANCEL, j->id, NULL, 0, NULL, 0);
		job_remove(r, j);
	}
}

void sched_runner_fail_jobs(struct sched_runner *r, const struct err *err)
{
	/* Jobs that arrive while a hook runs are not meant. */
	const struct sched_job *last = r->jobs.last;
	for (struct sched_job *j = r->jobs.first, *next; j; j = next) {
		bool stop = j == last;
		if (j->active && r->conn)
			ipc_conn_push(r->conn, IPC_CANCEL, j->id, NULL, 0, NULL, 0);
		sched_emit(r->s, j, &(struct gen_event){.kind = EV_ERROR, .code = err->code, .text = (char *)err->msg});
		next = stop ? NULL : j->next;
		job_remove(r, j);
	}
}

/* Gives a job to the loaded runner. Returns the job behind it: a job that only loads ends here. */
static struct sched_job *hand_over(struct sched_runner *r, struct sched_job *j, int64_t now_ns)
{
	int64_t n_ctx = j->num_ctx > 0 ? j->num_ctx : r->plan.n_ctx_default;
	n_ctx = n_ctx > r->plan.n_ctx_max ? r->plan.n_ctx_max : n_ctx;
	n_ctx = n_ctx < N_CTX_MIN ? N_CTX_MIN : n_ctx;
	j->load_ns = now_ns - j->submit_ns;
	r->n_ctx_shown = n_ctx;
	if (j->load_only) {
		sched_emit(r->s, j, &(struct gen_event){.kind = EV_DONE, .reason = DONE_STOP});
		struct sched_job *next = j->next; /* known only now: jobs may have arrived while the hook ran */
		job_remove(r, j);
		return next;
	}
	size_t n = j->gen.len;
	gen_req_set_num_ctx(&j->gen, n_ctx);
	ipc_conn_push(r->conn, IPC_GEN, j->id, j->gen.data, j->gen.len, NULL, 0);
	str_truncate(&j->gen, n - 1); /* as it was, for a second try */
	str_addc(&j->gen, '}');
	j->active = true;
	return j->next;
}

/* Hands all waiting jobs over at once: the runner batches them. After a death the jobs that were active then go first and one
 * by one, each until its first event: if one of them is what kills runners, it meets as few others as possible. */
static void hand_over_all(struct sched_runner *r, int64_t now_ns)
{
	bool trial = false, suspects = false;
	for (const struct sched_job *j = r->jobs.first; j; j = j->next) {
		bool open = j->suspect && j->n_event == 0 && !j->canceled;
		trial |= open && j->active;
		suspects |= open;
	}
	for (struct sched_job *j = r->jobs.first, *next; j && !trial; j = next) {
		bool now = !j->active && !j->canceled && (j->suspect || !suspects);
		if (!now) {
			next = j->next;
			continue;
		}
		trial = j->suspect;
		next = hand_over(r, j, now_ns);
	}
}

/* ---- the end of a process ---- */

enum death {
	DEATH_CRASH,  /* unexpected: jobs are tried again or fail */
	DEATH_FAILED, /* the model cannot be loaded: all jobs get the reason */
	DEATH_QUIET   /* on purpose: jobs wait for the next process */
};

/* Decides for each job what a crash means; true when it has to fail. */
static bool is_lost(const struct sched_runner *r, struct sched_job *j)
{
	bool present = j->active || r->state == RUNNER_LOADING;
	if (!present)
		return false;
	j->suspect |= j->active;
	return ++j->n_death >= DEATH_MAX || j->n_event > 0;
}

/* Takes the process down and settles its jobs. `why` is for the log, and for the clients of DEATH_FAILED. */
static void die(struct sched_runner *r, enum death how, const struct err *why)
{
	struct sched *s = r->s;
	int64_t now = clock_now_ns();
	if (how != DEATH_QUIET)
		log_error("runner model=%s pid=%d state=%s jobs=%zu error=\"%s\"", r->label, (int)r->child.pid, states[r->state].name,
			  r->jobs.n, why->msg);
	for (struct sched_job *j = r->jobs.first; j; j = j->next) {
		j->lost = how == DEATH_FAILED || (how == DEATH_CRASH && is_lost(r, j));
		j->active = j->is_parked = false;
	}
	if (how == DEATH_CRASH) {
		int64_t wait = s->cfg.backoff_ns << (r->n_death < 16 ? r->n_death : 16);
		r->retry_ns = sched_sum(now, sooner(wait, BACKOFF_MAX_NS));
		r->n_death++;
	}
	ipc_conn_free(r->conn);
	r->conn = NULL;
	sched_spawn_kill(&r->child);
	set_state(r, RUNNER_DEAD);
	const struct gen_event error = {.kind = EV_ERROR,
					.code = how == DEATH_FAILED ? why->code : ERR_CRASHED,
					.text = how == DEATH_FAILED ? (char *)why->msg : (char *)CRASH_TEXT};
	for (struct sched_job *j = r->jobs.first, *next; j; j = next) {
		bool lost = j->lost;
		if (lost)
			sched_emit(s, j, &error);
		next = j->next;
		if (lost)
			job_remove(r, j);
	}
}

static void die_of(struct sched_runner *r, enum death how, int code, const char *text)
{
	struct err why;
	err_set(&why, code, "%s", text);
	die(r, how, &why);
}

static void log_status(const struct sched_runner *r, pid_t pid, int status)
{
	if (WIFSIGNALED(status))
		log_info("runner model=%s pid=%d ended signal=%d", r->label, (int)pid, WTERMSIG(status));
	else
		log_info("runner model=%s pid=%d ended status=%d", r->label, (int)pid, WEXITSTATUS(status));
}

static int64_t step_dead(struct sched_runner *r, int64_t now_ns)
{
	int status;
	pid_t pid = r->child.pid;
	drop_canceled(r);
	if (!sched_spawn_reap(&r->child, &status))
		return sched_sum(now_ns, REAP_EVERY_MS * NS_PER_MS);
	log_status(r, pid, status);
	loaded_info_release(&r->info);
	r->info = (struct loaded_info){0};
	r->evict = false;
	set_state(r, RUNNER_ABSENT);
	return now_ns;
}

void sched_runner_quit(struct sched_runner *r)
{
	struct err err;
	BUG_ON(sched_runner_n_active(r) || !r->conn);
	ipc_conn_push(r->conn, IPC_QUIT, 0, NULL, 0, NULL, 0);
	ipc_conn_flush(r->conn, &err);
	set_state(r, RUNNER_DRAINING);
}

static void flush(struct sched_runner *r);

static int64_t step_draining(struct sched_runner *r, int64_t now_ns)
{
	int64_t end = sched_sum(r->state_ns, r->s->cfg.quit_timeout_ns);
	drop_canceled(r);
	flush(r);
	if (now_ns < end)
		return end;
	log_warn("runner model=%s pid=%d does not end, killed", r->label, (int)r->child.pid);
	die_of(r, DEATH_QUIET, ERR_TIMEOUT, "");
	return now_ns;
}

void sched_runner_stop(struct sched_runner *r)
{
	r->retry_ns = 0;
	if (r->state == RUNNER_LOADING)
		die_of(r, DEATH_QUIET, ERR_CANCELED, "");
	else if (states[r->state].loaded)
		sched_runner_quit(r);
}

/* ---- the start ---- */

/* Gathers what is to be known before the start; on a thread of its own, because a disk or an inspect child may be slow. */
static void *prep_main(void *user)
{
	struct sched_runner *r = user;
	struct sched *s = r->s;
	struct err err = {0};
	struct stat st = {0};
	struct sched_mem_model mem = {0};
	json_t *facts = NULL;
	int fd = -1;
	if (!sched_inspect(s, r->path, r->digest, false, &facts, &err)) {
		const char *reason = json_string_value(json_object_get(facts, "unsupported_reason"));
		fd = open(r->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
		if (fd < 0 || fstat(fd, &st) < 0)
			err_set(&err, ERR_IO, "cannot open the model file %s: %s", r->path, strerror(errno));
		else if (!json_is_true(json_object_get(facts, "supported")))
			err_set(&err, ERR_UNSUPPORTED, "%s", reason ? reason : "this kind of model is not supported");
		else
			sched_mem_model(facts, st.st_size, s->cfg.kv_type, &mem);
	}
	json_decref(facts);
	pthread_mutex_lock(&s->lock);
	r->prep.err = err;
	r->prep.mem = mem;
	r->prep.fd = fd;
	r->prep.done = true;
	sched_wake(s);
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

static void prep_release(struct sched_runner *r)
{
	if (r->prep.fd >= 0)
		close(r->prep.fd);
	r->prep.fd = -1;
}

static int64_t step_absent(struct sched_runner *r, int64_t now_ns)
{
	drop_canceled(r);
	if (!r->jobs.n || now_ns < r->retry_ns)
		return r->retry_ns > now_ns ? r->retry_ns : INT64_MAX;
	r->keep_ns = r->s->cfg.keep_alive_ns;
	for (const struct sched_job *j = r->jobs.first; j; j = j->next)
		if (j->keep_alive_ns != SCHED_KEEP_DEFAULT)
			r->keep_ns = j->keep_alive_ns;
	r->retry_ns = 0;
	r->prep = (struct sched_prep){.running = true, .fd = -1};
	set_state(r, RUNNER_STARTING);
	int code = pthread_create(&r->prep.thread, NULL, prep_main, r);
	if (code) {
		r->prep = (struct sched_prep){.done = true, .fd = -1};
		err_set(&r->prep.err, ERR_NOMEM, "cannot start a thread: %s", strerror(code));
	}
	return now_ns;
}

/* The threads that the first job to ask for a number wants. Jobs that come later take the runner as it is. */
static int threads_of(const struct sched_runner *r)
{
	for (const struct sched_job *j = r->jobs.first; j; j = j->next)
		if (j->n_thread)
			return j->n_thread;
	return r->s->cfg.n_thread;
}

/* Sends the model file and what to do with it. */
static void push_load(struct sched_runner *r)
{
	const struct sched_cfg *cfg = &r->s->cfg;
	struct load_req q = {
		.name = r->label,
		.n_ctx_max = r->plan.n_ctx_max,
		.kv_bytes = r->plan.kv_bytes,
		.n_thread = threads_of(r),
		.speculation = cfg->speculation,
		.kernels = (char *)cfg->kernels,
		.cpu = (char *)cfg->cpu,
		.kv_type = (char *)cfg->kv_type,
	};
	struct str text = {0};
	load_req_encode(&q, &text);
	ipc_conn_push(r->conn, IPC_LOAD, 0, text.data, text.len, &r->prep.fd, 1);
	str_release(&text);
}

static int watch(struct sched_runner *r, int fd, int which, struct err *err)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = sched_runner_event(r, which)};
	if (epoll_ctl(r->s->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0)
		return err_set(err, ERR_IO, "cannot watch a runner process: %s", strerror(errno));
	return 0;
}

static int launch(struct sched_runner *r, int64_t now_ns, struct err *err)
{
	static const char *const argv[] = {"cria", "runner", NULL};
	struct sched *s = r->s;
	int sv[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
		return err_set(err, ERR_IO, "cannot start a runner process: socketpair: %s", strerror(errno));
	struct sched_spawn sp = {.exe = s->cfg.exe, .argv = argv, .envp = s->child_env, .fd_3 = sv[1], .fd_out = -1};
	int rc = sched_spawn_start(&sp, &r->child, err);
	close(sv[1]);
	if (rc) {
		close(sv[0]);
		return rc;
	}
	r->conn = ipc_conn_new(sv[0]);
	r->wants_out = false;
	r->load_ns = now_ns;
	r->load_share = 0;
	r->ping_ns = 0;
	r->next_ping_ns = now_ns;
	r->stats = (struct runner_stats){0};
	r->faults_ns = now_ns;
	r->n_ctx_shown = r->plan.n_ctx_default;
	set_state(r, RUNNER_LOADING);
	log_info("runner model=%s pid=%d loading ctx=%lld kv_mib=%lld", r->label, (int)r->child.pid, (long long)r->plan.n_ctx_max,
		 (long long)(r->plan.kv_bytes >> 20));
	push_load(r);
	rc = watch(r, sv[0], SCHED_EVENT_SOCKET, err);
	if (!rc && r->child.pidfd >= 0)
		rc = watch(r, r->child.pidfd, SCHED_EVENT_EXIT, err);
	if (rc)
		die(r, DEATH_FAILED, err);
	return 0;
}

static int64_t step_starting(struct sched_runner *r, int64_t now_ns)
{
	struct err err = {0};
	drop_canceled(r);
	if (!r->prep.done)
		return INT64_MAX;
	if (r->prep.running) {
		pthread_join(r->prep.thread, NULL);
		r->prep.running = false;
	}
	if (now_ns < r->retry_ns && r->jobs.n)
		return r->retry_ns;
	err = r->prep.err;
	int rc = err.code;
	if (!rc && r->jobs.n)
		rc = sched_room_make(r, &err);
	if (rc == 0 && r->jobs.n) {
		r->retry_ns = sched_sum(now_ns, ROOM_EVERY_MS * NS_PER_MS);
		return r->retry_ns;
	}
	r->retry_ns = 0;
	if (rc > 0)
		rc = launch(r, now_ns, &err);
	if (rc < 0 || r->state == RUNNER_STARTING) {
		set_state(r, RUNNER_ABSENT);
		if (rc < 0) {
			log_error("runner model=%s error=\"%s\"", r->label, err.msg);
			sched_runner_fail_jobs(r, &err);
		}
	}
	prep_release(r);
	return now_ns;
}

/* ---- frames from the runner ---- */

static int on_progress(struct sched_runner *r, const struct ipc_frame *f, struct err *err)
{
	double share;
	int rc = load_progress_decode(f->data, f->head.n_bytes, &share, err);
	if (!rc && share > r->load_share) {
		r->load_share = share;
		r->load_ns = clock_now_ns();
	}
	return rc;
}

static int on_loaded(struct sched_runner *r, const struct ipc_frame *f, struct err *err)
{
	int rc = loaded_info_decode(f->data, f->head.n_bytes, &r->info, err);
	if (rc)
		return rc;
	if (r->info.n_ctx_max > 0)
		r->plan.n_ctx_max = sooner(r->plan.n_ctx_max, r->info.n_ctx_max);
	r->plan.n_ctx_default = sooner(r->plan.n_ctx_default, r->plan.n_ctx_max);
	r->n_ctx_shown = r->plan.n_ctx_default;
	log_info("runner model=%s pid=%d loaded ms=%lld ctx=%lld", r->label, (int)r->child.pid,
		 (long long)((clock_now_ns() - r->state_ns) / NS_PER_MS), (long long)r->plan.n_ctx_max);
	r->idle_ns = clock_now_ns();
	set_state(r, RUNNER_BUSY);
	return 0;
}

static int on_failed(struct sched_runner *r, const struct ipc_frame *f, struct err *err)
{
	struct err failed;
	int rc = load_failed_decode(f->data, f->head.n_bytes, &failed, err);
	if (!rc)
		die(r, DEATH_FAILED, &failed);
	return rc;
}

/* The active job of a frame; NULL when it ended here meanwhile (a cancel crossed its event). */
static struct sched_job *job_of(struct sched_runner *r, const struct ipc_frame *f)
{
	struct sched_job *j = sched_queue_find(&r->s->queue, f->head.stream);
	return j && j->runner == r && j->active ? j : NULL;
}

static void deliver(struct sched_runner *r, struct sched_job *j, const struct gen_event *ev)
{
	bool last = ev->kind == EV_DONE || ev->kind == EV_ERROR;
	if (j->n_event++ == 0) {
		str_release(&j->gen);
		r->dirty |= j->suspect;
	}
	sched_emit(r->s, j, ev);
	if (!last)
		return;
	r->n_death = 0;
	job_remove(r, j);
}

static int on_event(struct sched_runner *r, const struct ipc_frame *f, struct err *err)
{
	struct sched_job *j = job_of(r, f);
	struct gen_event ev;
	int rc = j ? gen_event_decode(f->data, f->head.n_bytes, &ev, err) : 0;
	if (j && !rc) {
		deliver(r, j, &ev);
		gen_event_release(&ev);
	}
	return rc;
}

static int on_embedding(struct sched_runner *r, const struct ipc_frame *f, struct err *err)
{
	struct sched_job *j = job_of(r, f);
	struct gen_event ev;
	int rc = j ? gen_event_decode_embedding(f->data, f->head.n_bytes, &ev, err) : 0;
	if (j && !rc)
		deliver(r, j, &ev);
	return rc;
}

static int on_pong(struct sched_runner *r, const struct ipc_frame *f, struct err *err)
{
	struct runner_stats st;
	int rc = runner_stats_decode(f->data, f->head.n_bytes, &st, err);
	if (rc)
		return rc;
	if (st.major_faults != r->stats.major_faults || st.step_age_ns == 0)
		r->faults_ns = clock_now_ns();
	r->stats = st;
	r->ping_ns = 0;
	return 0;
}

#define IN(state) (1u << RUNNER_##state)

/* Which frames a runner may send in which state; anything else ends it. */
static const struct frame_rule {
	unsigned states;
	int (*fn)(struct sched_runner *r, const struct ipc_frame *f, struct err *err);
} frame_rules[IPC_TYPE_END] = {
	[IPC_PROGRESS] = {IN(LOADING), on_progress},
	[IPC_LOADED] = {IN(LOADING), on_loaded},
	[IPC_FAILED] = {IN(LOADING), on_failed},
	[IPC_EVENT] = {IN(READY) | IN(BUSY) | IN(DRAINING), on_event},
	[IPC_EMBEDDING] = {IN(READY) | IN(BUSY) | IN(DRAINING), on_embedding},
	[IPC_PONG] = {IN(LOADING) | IN(READY) | IN(BUSY) | IN(DRAINING), on_pong},
};

/* Reads once and handles what came. The number of frames, or negative when the connection is of no more use. */
static int read_frames(struct sched_runner *r, struct err *err)
{
	struct ipc_frame f;
	int n = 0, rc = ipc_conn_fill(r->conn, err);
	while (rc >= 0 && r->conn && (rc = ipc_conn_next(r->conn, &f, err)) == 1) {
		const struct frame_rule *rule = &frame_rules[f.head.type];
		if (!(rule->states & 1u << r->state))
			rc = err_set(err, ERR_FORMAT, "frame of type %u in state %s", f.head.type, states[r->state].name);
		else
			rc = rule->fn(r, &f, err);
		n++;
	}
	return rc < 0 ? rc : n;
}

/* The connection ended or broke. */
static void on_lost(struct sched_runner *r, const struct err *why)
{
	if (r->conn)
		die(r, r->state == RUNNER_DRAINING ? DEATH_QUIET : DEATH_CRASH, why);
}

/* Writes what the socket takes. A broken socket is reported by the next read. */
static void flush(struct sched_runner *r)
{
	struct err err;
	int rc = ipc_conn_flush(r->conn, &err);
	bool want = !rc && ipc_conn_pending(r->conn) > 0;
	if (rc == ERR_IO) {
		die(r, DEATH_FAILED, &err);
		return;
	}
	if (want != r->wants_out) {
		struct epoll_event ev = {.events = want ? EPOLLIN | EPOLLOUT : EPOLLIN,
					 .data.u64 = sched_runner_event(r, SCHED_EVENT_SOCKET)};
		epoll_ctl(r->s->epoll_fd, EPOLL_CTL_MOD, ipc_conn_fd(r->conn), &ev);
		r->wants_out = want;
	}
}

void sched_runner_on_socket(struct sched_runner *r)
{
	struct err err;
	if (!r->conn)
		return;
	if (r->wants_out)
		flush(r);
	if (r->conn && read_frames(r, &err) < 0)
		on_lost(r, &err);
}

void sched_runner_on_exit(struct sched_runner *r)
{
	struct err err;
	int rc = 1;
	/* Its last words first: they may say why. */
	while (r->conn && rc > 0)
		rc = read_frames(r, &err);
	if (rc == 0)
		err_set(&err, ERR_CRASHED, "the process ended");
	on_lost(r, &err);
}

/* ---- supervision ---- */

/* Pings, and judges the answers; *ret_due_ns is lowered to the next look. False when the runner hangs and was killed. */
static bool supervise(struct sched_runner *r, int64_t now_ns, int64_t *ret_due_ns)
{
	const struct sched_cfg *cfg = &r->s->cfg;
	int64_t deadline = sched_sum(r->ping_ns, cfg->pong_timeout_ns);
	if (r->ping_ns && now_ns >= deadline) {
		die_of(r, DEATH_CRASH, ERR_TIMEOUT, "the runner does not answer");
		return false;
	}
	/* A step that waits for a slow disk is not a hang: its faults advance. */
	if (r->stats.step_age_ns > cfg->step_timeout_ns && now_ns - r->faults_ns > cfg->step_timeout_ns) {
		die_of(r, DEATH_CRASH, ERR_TIMEOUT, "a step of the engine does not end");
		return false;
	}
	if (!r->ping_ns && now_ns >= r->next_ping_ns) {
		ipc_conn_push(r->conn, IPC_PING, 0, NULL, 0, NULL, 0);
		r->ping_ns = now_ns;
		r->next_ping_ns = sched_sum(now_ns, cfg->ping_every_ns);
		deadline = sched_sum(now_ns, cfg->pong_timeout_ns);
	}
	*ret_due_ns = sooner(*ret_due_ns, r->ping_ns ? deadline : r->next_ping_ns);
	return true;
}

static int64_t step_loading(struct sched_runner *r, int64_t now_ns)
{
	int64_t due = sched_sum(r->load_ns, r->s->cfg.load_timeout_ns);
	drop_canceled(r);
	if (now_ns >= due) {
		struct err why;
		err_set(&why, ERR_TIMEOUT, "timed out waiting for the model to load: no progress for %lld s at %.0f %%",
			(long long)(r->s->cfg.load_timeout_ns / NS_PER_S), r->load_share * 100);
		die(r, DEATH_FAILED, &why);
		return now_ns;
	}
	if (!supervise(r, now_ns, &due))
		return now_ns;
	flush(r);
	return due;
}

static void push_parks(struct sched_runner *r)
{
	for (struct sched_job *j = r->jobs.first; j; j = j->next) {
		char park = j->want_parked;
		if (!j->active || j->want_parked == j->is_parked)
			continue;
		ipc_conn_push(r->conn, IPC_PARK, j->id, &park, 1, NULL, 0);
		j->is_parked = j->want_parked;
	}
}

/* READY and BUSY. */
static int64_t step_loaded(struct sched_runner *r, int64_t now_ns)
{
	int64_t due = INT64_MAX;
	if (r->dirty) {
		r->dirty = false;
		drop_canceled(r);
		if (!r->evict)
			hand_over_all(r, now_ns);
		push_parks(r);
	}
	if (!supervise(r, now_ns, &due))
		return now_ns;
	if (r->jobs.n && r->state == RUNNER_READY) {
		set_state(r, RUNNER_BUSY);
	} else if (!r->jobs.n && r->state == RUNNER_BUSY) {
		set_state(r, RUNNER_READY);
		r->idle_ns = now_ns;
	}
	int64_t end = r->state == RUNNER_READY ? sched_sum(r->idle_ns, r->keep_ns) : INT64_MAX;
	if (now_ns >= end || (r->evict && !sched_runner_n_active(r))) {
		sched_runner_quit(r);
		return now_ns;
	}
	flush(r);
	return sooner(due, end);
}

static const struct state states[RUNNER_N_STATE] = {
	[RUNNER_ABSENT] = {"absent", false, false, step_absent},
	[RUNNER_STARTING] = {"starting", false, false, step_starting},
	[RUNNER_LOADING] = {"loading", true, false, step_loading},
	[RUNNER_READY] = {"ready", true, true, step_loaded},
	[RUNNER_BUSY] = {"busy", true, true, step_loaded},
	[RUNNER_DRAINING] = {"draining", true, false, step_draining},
	[RUNNER_DEAD] = {"dead", true, false, step_dead},
};

void sched_runner_step(struct sched_runner *r, int64_t now_ns, int64_t *ret_due_ns)
{
	enum sched_runner_state before;
	int64_t due;
	do {
		before = r->state;
		due = states[r->state].step(r, now_ns);
	} while (r->state != before);
	if (r->state == RUNNER_ABSENT && !r->jobs.n && now_ns >= r->retry_ns) {
		runner_free(r);
		return;
	}
	*ret_due_ns = sooner(*ret_due_ns, due);
}
