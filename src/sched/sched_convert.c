/* sched_convert: model files turned into one GGUF file by a `cria convert` child, which gets descriptors and may open nothing.
 * Runs on the caller's thread and never takes the scheduler's lock. The child may work for long; it is given up when it says
 * nothing for a while, when the caller's progress function says so, and when the server stops. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
#include "sched/sched_priv.h"
#include "sched/sched_spawn.h"

enum {
	AT_ONCE_MAX = 2,          /* each uses all cores */
	FILES_MAX = SCHED_SPAWN_FD_MAX - 1,
	LINE_MAX_BYTES = 64 << 10,
	LOOK_MS = 250,            /* how often the caller is asked whether to go on */
	SILENCE_MS = 120 * 1000   /* the child tells its progress ten times a second, but a slow disk may hold it up */
};

struct converting {
	struct sched *s;
	const struct sched_convert *c;
	struct str text; /* of the child, not yet a line */
	bool ok;
};

/* The request as a file in memory. */
static int open_request(const struct sched_convert *c, struct err *err)
{
	struct str text = {0};
	struct jsonw w;
	jsonw_init(&w, &text, JSONW_PLAIN);
	jsonw_obj(&w);
	jsonw_kstr(&w, "type", c->type);
	jsonw_key(&w, "files");
	jsonw_arr(&w);
	for (size_t i = 0; i < c->n_file; i++)
		jsonw_str(&w, c->names[i]);
	jsonw_arr_end(&w);
	jsonw_obj_end(&w);
	int fd = memfd_create("convert", MFD_CLOEXEC);
	if (fd < 0 || write(fd, text.data, text.len) != (ssize_t)text.len) {
		err_set(err, ERR_IO, "no memory file for a conversion: %s", strerror(errno));
		if (fd >= 0)
			close(fd);
		fd = -1;
	}
	str_release(&text);
	return fd;
}

/* One line of the child. */
static int take_line(struct converting *k, const char *line, size_t n, struct err *err)
{
	json_t *v;
	int rc = json_parse_all(line, n, &v, NULL);
	const char *text = rc ? NULL : json_string_value(json_object_get(v, "error"));
	if (rc || !json_is_object(v)) {
		rc = err_set(err, ERR_INTERNAL, "the process that converts the model said something that is no answer");
	} else if (text) {
		const char *code = json_string_value(json_object_get(v, "code"));
		rc = err_set(err, err_from_name(code ? code : ""), "%s", text);
	} else if (json_is_true(json_object_get(v, "ok"))) {
		k->ok = true;
	} else if (!k->c->progress(k->c->user, json_integer_value(json_object_get(v, "done")),
				   json_integer_value(json_object_get(v, "total")))) {
		rc = err_set(err, ERR_CANCELED, "the client left");
	}
	json_decref(v);
	return rc;
}

static int take_text(struct converting *k, int fd, bool *ret_end, struct err *err)
{
	enum { STEP = 4096 };
	str_reserve(&k->text, STEP);
	ssize_t n = read(fd, k->text.data + k->text.len, STEP);
	if (n < 0)
		return errno == EINTR || errno == EAGAIN ? 0 : err_set(err, ERR_IO, "read: %s", strerror(errno));
	*ret_end = n == 0;
	k->text.len += (size_t)n;
	k->text.data[k->text.len] = '\0';
	int rc = 0;
	for (char *nl; !rc && (nl = memchr(k->text.data, '\n', k->text.len));) {
		rc = take_line(k, k->text.data, (size_t)(nl - k->text.data), err);
		str_cut_front(&k->text, (size_t)(nl - k->text.data) + 1);
	}
	return rc || k->text.len <= LINE_MAX_BYTES ? rc : err_set(err, ERR_LIMIT, "the process that converts the model says too much");
}

/* Follows the child to the end of its output. */
static int follow(struct converting *k, int fd, struct err *err)
{
	int64_t heard_ns = clock_now_ns();
	bool end = false;
	int rc = 0;
	while (!rc && !end) {
		struct pollfd p[] = {{.fd = fd, .events = POLLIN}, {.fd = k->s->stop_fd, .events = POLLIN}};
		if (poll(p, 2, LOOK_MS) < 0 && errno != EINTR)
			return err_set(err, ERR_IO, "poll: %s", strerror(errno));
		if (p[1].revents)
			return err_set(err, ERR_CANCELED, "the server is shutting down");
		if (p[0].revents) {
			heard_ns = clock_now_ns();
			rc = take_text(k, fd, &end, err);
		} else if (!k->c->progress(k->c->user, 0, 0)) {
			rc = err_set(err, ERR_CANCELED, "the client left");
		} else if (clock_now_ns() - heard_ns > SILENCE_MS * NS_PER_MS) {
			rc = err_set(err, ERR_TIMEOUT, "the conversion made no progress within %d s", SILENCE_MS / 1000);
		}
	}
	return rc;
}

static int run_child(struct converting *k, const int *fds, int n_fd, struct err *err)
{
	static const char *const argv[] = {"cria", "convert", NULL};
	struct sched_child child;
	int pipe_fds[2], status;
	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return err_set(err, ERR_IO, "pipe: %s", strerror(errno));
	struct sched_spawn sp = {.exe = k->s->cfg.exe, .argv = argv, .envp = k->s->child_env, .fd_3 = fds[0], .fds_more = fds + 1,
				 .n_more = n_fd - 1, .fd_out = pipe_fds[1]};
	int rc = sched_spawn_start(&sp, &child, err);
	close(pipe_fds[1]);
	if (!rc) {
		rc = follow(k, pipe_fds[0], err);
		struct pollfd p = {.fd = child.pidfd, .events = POLLIN};
		if (!rc && child.pidfd >= 0)
			poll(&p, 1, 1000);
		if (rc || !sched_spawn_reap(&child, &status))
			sched_spawn_end(&child, &status);
		if (!rc && (!k->ok || !WIFEXITED(status) || WEXITSTATUS(status)))
			rc = err_set(err, ERR_FORMAT, "the model cannot be converted: the process that read it ended with %s %d",
				     WIFSIGNALED(status) ? "signal" : "status",
				     WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	}
	close(pipe_fds[0]);
	return rc;
}

static int open_and_run(struct converting *k, struct err *err)
{
	int fds[FILES_MAX + 2], n = 0, rc = 0;
	fds[n++] = open_request(k->c, err);
	fds[n++] = k->c->fd_out;
	if (fds[0] < 0)
		return err->code;
	for (size_t i = 0; !rc && i < k->c->n_file; i++) {
		int fd = open(k->c->paths[i], O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
		if (fd < 0)
			rc = err_set(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "cannot open the model file %s: %s", k->c->paths[i],
				     strerror(errno));
		else
			fds[n++] = fd;
	}
	if (!rc)
		rc = run_child(k, fds, n, err);
	for (int i = 0; i < n; i++)
		if (fds[i] != k->c->fd_out)
			close(fds[i]);
	return rc;
}

int sched_convert(struct sched *s, const struct sched_convert *c, struct err *err)
{
	struct converting k = {.s = s, .c = c};
	if (c->n_file > FILES_MAX)
		return err_set(err, ERR_LIMIT, "a model of %zu files is too much; at most %d can be converted", c->n_file, FILES_MAX);
	int rc = atomic_fetch_add(&s->n_converting, 1) < AT_ONCE_MAX ? open_and_run(&k, err) :
		 err_set(err, ERR_BUSY, "%d models are being converted, try again later", AT_ONCE_MAX);
	atomic_fetch_sub(&s->n_converting, 1);
	str_release(&k.text);
	if (rc)
		log_warn("convert type=%s files=%zu error=\"%s\"", c->type, c->n_file, err->msg);
	return rc;
}
