/* sched_spawn: child processes of the server: runners and inspect. A child is this binary executed again with one descriptor
 * on 3, an own process group, a clean environment, no other open file, and a raised out-of-memory score; it is killed when
 * the thread that started it ends, so no orphan survives the server.
 *
 * The starting thread must therefore live as long as the child. */
#ifndef CRIA_SCHED_SPAWN_H
#define CRIA_SCHED_SPAWN_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

struct sched_child {
	pid_t pid;  /* 0: none */
	int pidfd;  /* readable when the child has ended; -1 where the kernel has none */
};

enum { SCHED_SPAWN_FD_MAX = 512 };

struct sched_spawn {
	const char *exe;
	const char *const *argv; /* NULL-terminated */
	char *const *envp;
	int fd_3;                /* becomes descriptor 3 */
	const int *fds_more;     /* [n_more] become 4 and on */
	int n_more;              /* up to SCHED_SPAWN_FD_MAX */
	int fd_out;              /* becomes standard output; -1: /dev/null */
};

/* Returns after exec succeeded or failed. Standard error is shared with the server. */
int sched_spawn_start(const struct sched_spawn *sp, struct sched_child *ret, struct err *err);
/* SIGKILL to the child and its process group. */
void sched_spawn_kill(const struct sched_child *c);
/* True when the child has ended (then *ret_status is wait's status, and *c is empty again). Never blocks. */
bool sched_spawn_reap(struct sched_child *c, int *ret_status);
/* Kills, waits and reaps. */
void sched_spawn_end(struct sched_child *c, int *ret_status);

/* The variables of this process that children may see. */
char **sched_spawn_env_new(void);
void sched_spawn_env_free(char **env);

#endif
