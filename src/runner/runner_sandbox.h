/* runner_sandbox: takes away from a process that reads hostile model bytes what it does not need. Both steps go on with one
 * log line where the kernel lacks the feature. */
#ifndef CRIA_RUNNER_SANDBOX_H
#define CRIA_RUNNER_SANDBOX_H

/* Landlock: from now on no path can be opened except for reading under /proc and /sys. Holds for this thread and those it
 * starts, so it is called before any thread exists. */
void runner_sandbox_files(void);
/* seccomp: system calls are cut down to memory, threads, and open descriptors; all others fail with EPERM. Holds for every
 * thread of the process. */
void runner_sandbox_calls(void);

#endif
