/* sched_inspect: facts of a model file or of a template, from the store's cache or from a `cria inspect` child. The child's answer is bounded in
 * size and time. Callers that ask for the same facts at the same time share one child. Runs on the caller's thread and never
 * takes the scheduler's lock. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "sched/sched_priv.h"
#include "sched/sched_spawn.h"

enum {
	OUTPUT_MAX_BYTES = 64 << 20,
	AT_ONCE_MAX = 2 /* inspect children: a long model list must not start one for every file at the same time */
};

/* What a child looks at, and how. */
struct target {
	const char *kind;   /* of the facts, a literal */
	const char *option; /* for the command line, NULL: none */
	const char *noun;   /* "model file", for messages */
	const char *digest; /* "" when the facts are not to be kept */
	const char *path;   /* of the file; NULL: `text` */
	const char *text;
};

static const struct target model_target = {.kind = "info", .noun = "model file"};
static const struct target verbose_target = {.kind = "verbose", .option = "--verbose", .noun = "model file"};
static const struct target template_target = {.kind = "template", .option = "--template", .noun = "template"};

/* ---- one child ---- */

/* Reads the child's output to its end. */
static int read_output(struct sched *s, const struct target *t, int fd, int64_t deadline_ns, struct str *out, struct err *err)
{
	for (;;) {
		struct pollfd p[] = {{.fd = fd, .events = POLLIN}, {.fd = s->stop_fd, .events = POLLIN}};
		int64_t left_ms = (deadline_ns - clock_now_ns() + NS_PER_MS - 1) / NS_PER_MS;
		if (left_ms <= 0)
			return err_set(err, ERR_TIMEOUT, "the %s could not be read within %lld s", t->noun,
				       (long long)(s->cfg.inspect_timeout_ns / NS_PER_S));
		if (poll(p, 2, (int)left_ms) < 0 && errno != EINTR)
			return err_set(err, ERR_IO, "poll: %s", strerror(errno));
		if (p[1].revents)
			return err_set(err, ERR_CANCELED, "the server is shutting down");
		if (!p[0].revents)
			continue;
		str_reserve(out, 64 << 10);
		ssize_t n = read(fd, out->data + out->len, 64 << 10);
		if (n < 0 && errno != EINTR && errno != EAGAIN)
			return err_set(err, ERR_IO, "cannot read what inspect prints: %s", strerror(errno));
		if (n == 0)
			return 0;
		out->len += n > 0 ? (size_t)n : 0;
		out->data[out->len] = '\0';
		if (out->len > OUTPUT_MAX_BYTES)
			return err_set(err, ERR_LIMIT, "the facts of the %s are longer than %d MiB", t->noun, OUTPUT_MAX_BYTES >> 20);
	}
}

/* Turns the child's output and wait status into facts. */
static int read_facts(const struct target *t, const struct str *out, int status, json_t **ret, struct err *err)
{
	int rc = json_parse_all(str_cstr(out), out->len, ret, NULL);
	const char *text = json_string_value(json_object_get(*ret, "error"));
	if (text)
		rc = err_set(err, ERR_FORMAT, "%s", text);
	else if (WIFSIGNALED(status))
		rc = err_set(err, ERR_FORMAT, "the %s cannot be read: the process that looked at it was ended by signal %d", t->noun,
			     WTERMSIG(status));
	else if (WEXITSTATUS(status) || rc || !json_is_object(*ret))
		rc = err_set(err, ERR_FORMAT, "the %s cannot be read: the process that looked at it ended with status %d", t->noun,
			     WEXITSTATUS(status));
	if (rc) {
		json_decref(*ret);
		*ret = NULL;
	}
	return rc;
}

static int run_child(struct sched *s, const struct target *t, int target_fd, json_t **ret, struct err *err)
{
	const char *argv[] = {"cria", "inspect", t->option, NULL};
	struct sched_child child;
	struct str out = {0};
	int fds[2], status;
	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_set(err, ERR_IO, "pipe: %s", strerror(errno));
	struct sched_spawn sp = {.exe = s->cfg.exe, .argv = argv, .envp = s->child_env, .fd_3 = target_fd, .fd_out = fds[1]};
	int rc = sched_spawn_start(&sp, &child, err);
	close(fds[1]);
	if (!rc) {
		rc = read_output(s, t, fds[0], clock_now_ns() + s->cfg.inspect_timeout_ns, &out, err);
		/* After the end of its output nothing is lost by not waiting long. */
		struct pollfd p = {.fd = child.pidfd, .events = POLLIN};
		if (!rc && child.pidfd >= 0)
			poll(&p, 1, 1000);
		if (rc || !sched_spawn_reap(&child, &status))
			sched_spawn_end(&child, &status);
	}
	close(fds[0]);
	if (!rc)
		rc = read_facts(t, &out, status, ret, err);
	str_release(&out);
	return rc;
}

/* A file in memory with the text; negative errno when there is none. */
static int open_text(const char *text)
{
	size_t n = strlen(text);
	int fd = memfd_create("template", MFD_CLOEXEC);
	for (ssize_t k; fd >= 0 && n; text += k, n -= (size_t)k) {
		k = write(fd, text, n);
		if (k < 0) {
			int code = errno;
			close(fd);
			return -code;
		}
	}
	return fd < 0 ? -errno : lseek(fd, 0, SEEK_SET) ? -EIO : fd;
}

static int run(struct sched *s, const struct target *t, json_t **ret, struct err *err)
{
	int fd = t->path ? open(t->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK) : open_text(t->text);
	if (t->path && fd < 0)
		return err_set(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "cannot open the model file %s: %s", t->path,
			       strerror(errno));
	if (fd < 0)
		return err_set(err, ERR_IO, "no memory file for a template: %s", strerror(-fd));
	int rc = run_child(s, t, fd, ret, err);
	close(fd);
	return rc;
}

/* ---- sharing ---- */

static bool is_running(const struct sched *s, const char *digest, const char *kind)
{
	for (size_t i = 0; i < s->inspecting.n; i++)
		if (!strcmp(s->inspecting.data[i].digest, digest) && s->inspecting.data[i].kind == kind)
			return true;
	return false;
}

/* Waits for a turn. *ret_waited: somebody else looked at the same file meanwhile, so the cache is worth a second look. */
static int begin(struct sched *s, const char *digest, const char *kind, bool *ret_waited, struct err *err)
{
	struct timespec until;
	int rc = 0;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += s->cfg.inspect_timeout_ns / NS_PER_S + 1;
	*ret_waited = false;
	pthread_mutex_lock(&s->inspect_lock);
	for (;;) {
		bool same = is_running(s, digest, kind);
		if (!same && s->inspecting.n < AT_ONCE_MAX)
			break;
		*ret_waited |= same;
		if (pthread_cond_timedwait(&s->inspect_done, &s->inspect_lock, &until) == ETIMEDOUT) {
			rc = err_set(err, ERR_TIMEOUT, "too many model files are being read, try again later");
			break;
		}
	}
	if (!rc)
		vec_push(&s->inspecting, ((struct sched_inspecting){digest, kind}));
	pthread_mutex_unlock(&s->inspect_lock);
	return rc;
}

static void end(struct sched *s, const char *digest, const char *kind)
{
	pthread_mutex_lock(&s->inspect_lock);
	for (size_t i = 0; i < s->inspecting.n; i++)
		if (s->inspecting.data[i].digest == digest && s->inspecting.data[i].kind == kind)
			s->inspecting.data[i] = s->inspecting.data[--s->inspecting.n];
	pthread_cond_broadcast(&s->inspect_done);
	pthread_mutex_unlock(&s->inspect_lock);
}

static int look(struct sched *s, const struct target *t, json_t **ret, struct err *err)
{
	bool waited;
	*ret = *t->digest ? store_fact_get(s->store, t->digest, t->kind) : NULL;
	if (*ret)
		return 0;
	int rc = begin(s, t->digest, t->kind, &waited, err);
	if (rc)
		return rc;
	if (waited && *t->digest)
		*ret = store_fact_get(s->store, t->digest, t->kind);
	if (!*ret) {
		rc = run(s, t, ret, err);
		/* What this version cannot run a later one may: only good news is kept. */
		if (!rc && *t->digest && (!t->path || json_is_true(json_object_get(*ret, "supported"))))
			store_fact_put(s->store, t->digest, t->kind, *ret);
		if (rc)
			log_warn("inspect digest=%s error=\"%s\"", t->digest, err ? err->msg : "");
	}
	end(s, t->digest, t->kind);
	return rc;
}

int sched_inspect(struct sched *s, const char *blob_path, const char *digest, bool verbose, json_t **ret, struct err *err)
{
	struct target t = verbose ? verbose_target : model_target;
	t.digest = digest;
	t.path = blob_path;
	return look(s, &t, ret, err);
}

int sched_inspect_template(struct sched *s, const char *text, const char *digest, json_t **ret, struct err *err)
{
	struct target t = template_target;
	t.digest = digest;
	t.text = text;
	return look(s, &t, ret, err);
}
