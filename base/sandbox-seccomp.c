/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "base/bytes.h"
#include "base/sandbox.h"

/* What any program needs, and what libc does by itself. */
static const char *const common[] = {
	"read",
	"write",
	"readv",
	"writev",
	"close",
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
	"exit",
	"exit_group",
	NULL,
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
	NULL,
};

/* libc asks for clone3 first, whose flags a filter cannot see, and takes clone
 * where a kernel has none. */
static int add_threads(scmp_filter_ctx filter)
{
	const scmp_datum_t thread = CLONE_VM | CLONE_THREAD;
	int err = seccomp_rule_add(
		filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
		SCMP_CMP(0, SCMP_CMP_MASKED_EQ, thread, thread));

	if (err == 0)
		err = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS),
				       SCMP_SYS(clone3), 0);
	return err;
}

static int add_name(scmp_filter_ctx filter, uint32_t action, const char *name)
{
	int number = seccomp_syscall_resolve_name(name);

	/* What this architecture or libseccomp does not know needs no rule. */
	if (number == __NR_SCMP_ERROR)
		return 0;
	if (strcmp(name, SANDBOX_THREADS) == 0)
		return add_threads(filter);
	return seccomp_rule_add(filter, action, number, 0);
}

static int add_names(scmp_filter_ctx filter, uint32_t action,
		     const char *const *names)
{
	int err = 0;

	for (; err == 0 && *names; names++)
		err = add_name(filter, action, *names);
	return err;
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

static int add_ioctls(scmp_filter_ctx filter, const struct sandbox_calls *calls)
{
	int err = 0;

	for (size_t i = 0; err == 0 && i < calls->ioctl_count; i++)
		err = seccomp_rule_add(
			filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
			SCMP_CMP(1, SCMP_CMP_EQ, calls->ioctls[i], 0));
	return err;
}

static int add_rules(scmp_filter_ctx filter, const struct sandbox_calls *calls)
{
	int err = add_names(filter, SCMP_ACT_ALLOW, common);

	if (err == 0)
		err = add_names(filter, SCMP_ACT_ALLOW, calls->names);
	if (err == 0 && calls->more_names)
		err = add_names(filter, SCMP_ACT_ALLOW, calls->more_names);
	if (err == 0)
		err = add_names(filter, SCMP_ACT_KILL_PROCESS, deadly);
	if (err == 0)
		err = add_mappings(filter);
	if (err == 0)
		err = add_ioctls(filter, calls);
	if (err == 0 && calls->unix_sockets)
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket),
				       1, SCMP_CMP(0, SCMP_CMP_EQ, AF_UNIX, 0));
	/* All threads at once. Sets no_new_privs too. */
	if (err == 0)
		err = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
	return err;
}

int sandbox_system_calls(const struct sandbox_calls *calls)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int err;

	if (!filter)
		return -ENOMEM;
	err = add_rules(filter, calls);
	if (err < 0) {
		seccomp_release(filter);
		return err;
	}
	err = seccomp_load(filter);
	seccomp_release(filter);
	/* What libseccomp reports for a kernel without filters. */
	return err == -EINVAL || err == -ENOSYS || err == -ECANCELED
		       ? SANDBOX_E_ABSENT
		       : err;
}
