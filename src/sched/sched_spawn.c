#include "sched/sched_spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/vec.h"

extern char **environ;

/* Names, and prefixes of names that end in '_'. Tokens, proxies and keys of the server are not in it. */
static const char *const env_allowed[] = {
	"CRIA_", "PATH", "LANG", "LC_", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "LLVM_PROFILE_FILE",
	"ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS", "LSAN_OPTIONS", "MALLOC_",
};

static bool env_is_allowed(const char *var)
{
	for (size_t i = 0; i < ARRAY_LEN(env_allowed); i++) {
		size_t n = strlen(env_allowed[i]);
		if (!strncmp(var, env_allowed[i], n) && (env_allowed[i][n - 1] == '_' || var[n] == '='))
			return true;
	}
	return false;
}

char **sched_spawn_env_new(void)
{
	VEC(char *) env = {0};
	for (char **e = environ; e && *e; e++)
		if (env_is_allowed(*e))
			vec_push(&env, mem_strdup(*e));
	vec_push(&env, NULL);
	return env.data;
}

void sched_spawn_env_free(char **env)
{
	for (char **e = env; e && *e; e++)
		mem_free(*e);
	mem_free(env);
}

/* ---- in the child, between fork and exec: async-signal-safe calls only ---- */

static void reset_signals(void)
{
	struct sigaction dfl = {.sa_handler = SIG_DFL};
	sigset_t none;
	for (int i = 1; i < NSIG; i++)
		sigaction(i, &dfl, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* When memory runs out the kernel shall take a runner, not the server. Raising the score needs no privilege. */
static void raise_oom_score(void)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	ssize_t n = write(fd, "500", 3);
	(void)n; /* an advice: without it the kernel picks by size */
	close(fd);
}

/* The number that err_fd gets: the first after those of the child. */
static int err_number(const struct sched_spawn *sp)
{
	return 4 + sp->n_more;
}

/* Lays out the descriptors: 0, 1, 3 and those after it, and err_fd (close-on-exec) as the only other one. All are copied above
 * the numbers that are overwritten before the first is. */
static bool place_fds(const struct sched_spawn *sp, int err_fd)
{
	int from[3 + SCHED_SPAWN_FD_MAX], n = 3 + sp->n_more;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	from[0] = null;
	from[1] = sp->fd_out >= 0 ? sp->fd_out : null;
	from[2] = sp->fd_3;
	for (int i = 0; i < sp->n_more; i++)
		from[3 + i] = sp->fds_more[i];
	for (int i = 0; i < n; i++) {
		from[i] = from[i] < 0 ? -1 : fcntl(from[i], F_DUPFD_CLOEXEC, err_number(sp) + 1);
		if (from[i] < 0)
			return false;
	}
	for (int i = 0; i < n; i++)
		if (dup2(from[i], i < 2 ? i : i + 1) < 0) /* standard error stays */
			return false;
	if (err_fd != err_number(sp) && dup3(err_fd, err_number(sp), O_CLOEXEC) < 0)
		return false;
	/* All are close-on-exec anyway: this is for descriptors of foreign libraries. */
	syscall(SYS_close_range, (unsigned)err_number(sp) + 1, ~0u, 0u);
	return true;
}

static void child_main(const struct sched_spawn *sp, int err_fd, pid_t parent)
{
	/* err_fd may be 3, which place_fds overwrites. */
	int last = err_number(sp), high = fcntl(err_fd, F_DUPFD_CLOEXEC, last + 1);
	reset_signals();
	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(127); /* the server ended before the line above */
	raise_oom_score();
	if (high >= 0 && place_fds(sp, high))
		execve(sp->exe, (char *const *)sp->argv, sp->envp);
	int code = errno;
	ssize_t n = write(high >= 0 && fcntl(last, F_GETFD) >= 0 ? last : err_fd, &code, sizeof code);
	(void)n;
	_exit(127);
}

/* ---- in the server ---- */

static int wait_exec(int fd)
{
	int code = 0;
	ssize_t n;
	do
		n = read(fd, &code, sizeof code);
	while (n < 0 && errno == EINTR);
	return n == sizeof code ? code : 0;
}

int sched_spawn_start(const struct sched_spawn *sp, struct sched_child *ret, struct err *err)
{
	int pipe_fds[2];
	sigset_t all, old;
	*ret = (struct sched_child){.pidfd = -1};
	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return err_set(err, ERR_IO, "cannot start a runner process: pipe: %s", strerror(errno));
	pid_t parent = getpid();
	/* No handler of the server may run in the child before it has reset them. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pid_t pid = fork();
	if (pid == 0)
		child_main(sp, pipe_fds[1], parent);
	int fork_errno = errno;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	close(pipe_fds[1]);
	int exec_errno = pid > 0 ? wait_exec(pipe_fds[0]) : 0;
	close(pipe_fds[0]);
	if (pid < 0)
		return err_set(err, ERR_IO, "cannot start a runner process: fork: %s", strerror(fork_errno));
	if (exec_errno) {
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
		return err_set(err, ERR_IO, "cannot start a runner process: cannot execute %s: %s", sp->exe, strerror(exec_errno));
	}
	ret->pid = pid;
	ret->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (ret->pidfd >= 0)
		fcntl(ret->pidfd, F_SETFD, FD_CLOEXEC);
	return 0;
}

void sched_spawn_kill(const struct sched_child *c)
{
	if (c->pid <= 0)
		return;
	kill(-c->pid, SIGKILL);
	kill(c->pid, SIGKILL);
}

static void forget(struct sched_child *c)
{
	if (c->pidfd >= 0)
		close(c->pidfd);
	*c = (struct sched_child){.pidfd = -1};
}

bool sched_spawn_reap(struct sched_child *c, int *ret_status)
{
	*ret_status = 0;
	if (c->pid <= 0)
		return true;
	siginfo_t info = {0};
	int rc = waitid(P_PID, (id_t)c->pid, &info, WEXITED | WNOHANG | WNOWAIT);
	if (rc == 0 && info.si_pid == 0)
		return false;
	/* What the child left behind in its group goes first: once it is reaped the number may belong to somebody else. */
	kill(-c->pid, SIGKILL);
	if (rc == 0)
		waitpid(c->pid, ret_status, 0);
	forget(c);
	return true;
}

void sched_spawn_end(struct sched_child *c, int *ret_status)
{
	*ret_status = 0;
	if (c->pid <= 0)
		return;
	sched_spawn_kill(c);
	while (waitpid(c->pid, ret_status, 0) < 0 && errno == EINTR)
		;
	forget(c);
}
