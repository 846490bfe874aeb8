#include "runner/runner_sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/bug.h"
#include "base/log.h"

/* Access rights of Landlock ABI 1, 2 (refer), 3 (truncate) and 5 (device ioctl), by number: the header of the build machine
 * may be older than the kernel that runs this. Source: Linux, Documentation/userspace-api/landlock.rst. */
enum {
	FS_READ_FILE = 1 << 2,
	FS_READ_DIR = 1 << 3,
	FS_ABI1 = (1 << 13) - 1,
	FS_REFER = 1 << 13,
	FS_TRUNCATE = 1 << 14,
	FS_IOCTL = 1 << 15
};

/* The ruleset attribute as of ABI 4. */
struct ruleset {
	uint64_t handled_fs, handled_net;
};
enum { NET_BIND_CONNECT_TCP = 3 };

static void allow_reading(int ruleset_fd, const char *folder)
{
	struct landlock_path_beneath_attr rule = {.allowed_access = FS_READ_FILE | FS_READ_DIR};
	rule.parent_fd = open(folder, O_PATH | O_CLOEXEC | O_DIRECTORY);
	if (rule.parent_fd < 0)
		return;
	syscall(SYS_landlock_add_rule, ruleset_fd, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
	close(rule.parent_fd);
}

void runner_sandbox_files(void)
{
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	if (abi < 1) {
		log_info("sandbox landlock=off reason=\"%s\"", strerror(errno));
		return;
	}
	struct ruleset set = {.handled_fs = FS_ABI1, .handled_net = abi >= 4 ? NET_BIND_CONNECT_TCP : 0};
	set.handled_fs |= (abi >= 2 ? FS_REFER : 0) | (abi >= 3 ? FS_TRUNCATE : 0) | (abi >= 5 ? FS_IOCTL : 0);
	int fd = (int)syscall(SYS_landlock_create_ruleset, &set, abi >= 4 ? sizeof set : sizeof set.handled_fs, 0);
	if (fd < 0) {
		log_info("sandbox landlock=off reason=\"%s\"", strerror(errno));
		return;
	}
	allow_reading(fd, "/proc");
	allow_reading(fd, "/sys");
	if (syscall(SYS_landlock_restrict_self, fd, 0))
		log_info("sandbox landlock=off reason=\"%s\"", strerror(errno));
	close(fd);
}

/* What threads, memory, timers and open descriptors need. */
static const int allowed[] = {
	SCMP_SYS(read),		 SCMP_SYS(write),	   SCMP_SYS(readv),	      SCMP_SYS(writev),
	SCMP_SYS(pread64),	 SCMP_SYS(pwrite64),	   SCMP_SYS(lseek),	      SCMP_SYS(close),
	SCMP_SYS(fstat),	 SCMP_SYS(fcntl),	   SCMP_SYS(dup),	      SCMP_SYS(poll),
	SCMP_SYS(ppoll),	 SCMP_SYS(sendmsg),	   SCMP_SYS(recvmsg),	      SCMP_SYS(sendto),
	SCMP_SYS(recvfrom),	 SCMP_SYS(shutdown),	   SCMP_SYS(mmap),	      SCMP_SYS(munmap),
	SCMP_SYS(mremap),	 SCMP_SYS(mprotect),	   SCMP_SYS(madvise),	      SCMP_SYS(mincore),
	SCMP_SYS(mlock),	 SCMP_SYS(munlock),	   SCMP_SYS(brk),	      SCMP_SYS(membarrier),
	SCMP_SYS(futex),	 SCMP_SYS(set_robust_list), SCMP_SYS(rseq),	      SCMP_SYS(sched_yield),
	SCMP_SYS(sched_getaffinity), SCMP_SYS(sched_setaffinity), SCMP_SYS(getcpu),    SCMP_SYS(set_tid_address),
	SCMP_SYS(exit),		 SCMP_SYS(exit_group),	   SCMP_SYS(rt_sigaction),    SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn),	 SCMP_SYS(sigaltstack),	   SCMP_SYS(getpid),	      SCMP_SYS(gettid),
	SCMP_SYS(clock_gettime), SCMP_SYS(clock_nanosleep), SCMP_SYS(nanosleep),      SCMP_SYS(gettimeofday),
	SCMP_SYS(getrandom),	 SCMP_SYS(getrusage),	   SCMP_SYS(sysinfo),	      SCMP_SYS(restart_syscall),
	SCMP_SYS(uname),	 SCMP_SYS(times),
};

/* flags of clone(2): a new thread is allowed, a new process is not. */
enum { FLAG_THREAD = 0x00010000 };

static int fill_filter(scmp_filter_ctx ctx)
{
	int rc = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1);
	for (size_t i = 0; !rc && i < ARRAY_LEN(allowed); i++)
		rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, allowed[i], 0);
	struct scmp_arg_cmp thread = {.arg = 0, .op = SCMP_CMP_MASKED_EQ, .datum_a = FLAG_THREAD, .datum_b = FLAG_THREAD};
	struct scmp_arg_cmp self = {.arg = 0, .op = SCMP_CMP_EQ, .datum_a = (scmp_datum_t)getpid(), .datum_b = 0};
	if (!rc)
		rc = seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1, &thread);
	/* fstat() of the C library. */
	struct scmp_arg_cmp by_fd = {.arg = 3, .op = SCMP_CMP_MASKED_EQ, .datum_a = AT_EMPTY_PATH, .datum_b = AT_EMPTY_PATH};
	if (!rc)
		rc = seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, SCMP_SYS(newfstatat), 1, &by_fd);
	/* clone3 has its flags in memory, where a filter cannot look; with ENOSYS the C library falls back to clone. */
	if (!rc)
		rc = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	/* abort() signals its own thread. */
	if (!rc)
		rc = seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1, &self);
	return rc;
}

void runner_sandbox_calls(void)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int rc = ctx ? fill_filter(ctx) : -ENOMEM;
	if (!rc)
		rc = seccomp_load(ctx);
	if (rc)
		log_info("sandbox seccomp=off reason=\"%s\"", strerror(-rc));
	if (ctx)
		seccomp_release(ctx);
}
