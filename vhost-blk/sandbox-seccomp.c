/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <linux/fs.h>
#include <seccomp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "base/bytes.h"
#include "base/log.h"
#include "vhost-blk/sandbox.h"

/*
 * What is needed after start. Reads and writes of images go through io_uring,
 * or plain calls where these are cheaper; the rest is the socket, guest memory
 * coming and going, and what libc does by itself.
 */
static const char *const allowed[] = {
	/* the rings */
	"io_uring_enter",
	"io_uring_register",
	"io_submit",
	"io_getevents",
	"io_pgetevents",
	"io_destroy",
	/* images */
	"read",
	"write",
	"pread64",
	"pwrite64",
	"readv",
	"writev",
	"preadv",
	"pwritev",
	"preadv2",
	"pwritev2",
	"lseek",
	"fallocate",
	"ftruncate",
	"fsync",
	"fdatasync",
	"sync_file_range",
	"fstat",
	"newfstatat",
	"statx",
	"fstatfs",
	/* the socket, and what came over it */
	"accept",
	"accept4",
	"connect",
	"recvmsg",
	"recvfrom",
	"sendmsg",
	"sendto",
	"shutdown",
	"getsockopt",
	"setsockopt",
	"getsockname",
	"memfd_create",
	"fcntl",
	"dup",
	"dup3",
	"close",
	"eventfd2",
	"timerfd_settime",
	"poll",
	"ppoll",
	"unlink",
	"unlinkat",
	/* memory; see also add_mappings */
	"munmap",
	"mremap",
	"madvise",
	"brk",
	/* threads, time, signals, the end */
	"futex",
	"sched_yield",
	"clock_gettime",
	"clock_nanosleep",
	"nanosleep",
	"gettid",
	"getpid",
	"tgkill",
	"rt_sigaction",
	"rt_sigprocmask",
	"rt_sigpending", /* of SIGPIPE, when a call fd is a pipe */
	"rt_sigtimedwait",
	"rt_sigreturn",
	"sigaltstack",
	"restart_syscall",
	"set_robust_list",
	"rseq",
	"getrandom",
	"prlimit64",
	"exit",
	"exit_group",
};

/* Only an intruder calls these. */
static const char *const deadly[] = {
	"execve",
	"execveat",
	"fork",
	"vfork",
	"ptrace",
	"process_vm_readv",
	"process_vm_writev",
	"setuid",
	"setgid",
	"mount",
	"init_module",
	"finit_module",
	"kexec_load",
	"bpf",
	"userfaultfd",
	"perf_event_open",
	"open_by_handle_at",
	"io_uring_setup",
};

/* Discarding and zeroing block devices, and their sizes. */
static const unsigned long ioctls[] = {
	BLKDISCARD,
	BLKZEROOUT,
	BLKGETSIZE64,
	BLKSSZGET,
};

/* A name that this architecture or libseccomp does not know needs no rule. */
static int add_names(scmp_filter_ctx filter, uint32_t action,
		     const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int number = seccomp_syscall_resolve_name(names[i]);
		int err;

		if (number == __NR_SCMP_ERROR)
			continue;
		err = seccomp_rule_add(filter, action, number, 0);
		if (err < 0)
			return err;
	}
	return 0;
}

/* Memory comes and goes, but none that could be run: PROT_EXEC is refused. */
static int add_mappings(scmp_filter_ctx filter)
{
	const int numbers[] = {SCMP_SYS(mmap), SCMP_SYS(mprotect)};
	int err = 0;

	for (size_t i = 0; err == 0 && i < ARRAY_SIZE(numbers); i++)
		err = seccomp_rule_add(
			filter, SCMP_ACT_ALLOW, numbers[i], 1,
			SCMP_CMP(2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	return err;
}

static int add_rules(scmp_filter_ctx filter)
{
	int err =
		add_names(filter, SCMP_ACT_ALLOW, allowed, ARRAY_SIZE(allowed));

	if (err == 0)
		err = add_names(filter, SCMP_ACT_KILL_PROCESS, deadly,
				ARRAY_SIZE(deadly));
	if (err == 0)
		err = add_mappings(filter);
	for (size_t i = 0; err == 0 && i < ARRAY_SIZE(ioctls); i++)
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl),
				       1,
				       SCMP_CMP(1, SCMP_CMP_EQ, ioctls[i], 0));
	if (err == 0)
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket),
				       1, SCMP_CMP(0, SCMP_CMP_EQ, AF_UNIX, 0));
	/* All threads at once. Sets no_new_privs too. */
	if (err == 0)
		err = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
	return err;
}

int sandbox_system_calls(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int err;

	if (!filter)
		return -ENOMEM;
	err = add_rules(filter);
	if (err < 0) {
		seccomp_release(filter);
		return err;
	}
	err = seccomp_load(filter);
	seccomp_release(filter);
	/* What libseccomp reports for a kernel without filters. */
	if (err == -EINVAL || err == -ENOSYS || err == -ECANCELED) {
		log_warning("sandbox: this kernel has no seccomp filters (%s): "
			    "system calls are not given up",
			    strerror(-err));
		return 0;
	}
	return err;
}
