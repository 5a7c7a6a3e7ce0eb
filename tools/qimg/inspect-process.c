/* SPDX-License-Identifier: Apache-2.0 */
/* The child, as its parent sees it: a pipe to read, and a way to end. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "tools/qimg/inspect.h"

/* All that comes, up to the limit; to be freed. NULL: too much, or an error. */
static char *read_all(int fd, size_t *ret_bytes)
{
	char *data = malloc(INSPECT_MAX_REPORT);
	size_t bytes = 0;
	ssize_t got = 1;

	while (data && got != 0 && bytes < INSPECT_MAX_REPORT) {
		got = read(fd, data + bytes, INSPECT_MAX_REPORT - bytes);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			break;
		bytes += got;
	}
	if (got == 0) {
		*ret_bytes = bytes;
		return data;
	}
	free(data);
	return NULL;
}

static enum inspect_end end_of(int status, int *ret_signal)
{
	if (WIFSIGNALED(status)) {
		*ret_signal = WTERMSIG(status);
		switch (*ret_signal) {
		case SIGXCPU:
			return INSPECT_OUT_OF_TIME;
		case SIGSYS:
			return INSPECT_FORBIDDEN_CALL;
		default:
			return INSPECT_CRASHED;
		}
	}
	switch (WEXITSTATUS(status)) {
	case INSPECT_CHILD_OK:
		return INSPECT_REPORTED;
	case INSPECT_CHILD_NO_MEMORY:
		return INSPECT_OUT_OF_MEMORY;
	case INSPECT_CHILD_NO_SANDBOX:
		return INSPECT_NO_SANDBOX;
	default:
		return INSPECT_CRASHED;
	}
}

static void add_usage(json_t *report, const struct rusage *usage)
{
	double seconds =
		(double)(usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) +
		(double)(usage->ru_utime.tv_usec + usage->ru_stime.tv_usec) /
			1e6;

	json_object_set_new(report, "cpu-seconds-used", json_real(seconds));
	json_object_set_new(report, "memory-used",
			    json_integer((json_int_t)usage->ru_maxrss * 1024));
}

static json_t *finish(pid_t child, int from, enum inspect_end *ret_end,
		      int *ret_signal)
{
	struct rusage usage = {0};
	json_t *report = NULL;
	size_t bytes = 0;
	char *data = read_all(from, &bytes);
	int status = 0;

	/* It has nothing more to say: what it may still do is of no use. */
	if (!data)
		kill(child, SIGKILL);
	while (wait4(child, &status, 0, &usage) < 0 && errno == EINTR)
		;
	*ret_end = end_of(status, ret_signal);
	if (*ret_end == INSPECT_REPORTED) {
		report = json_loadb(data ? data : "", bytes,
				    JSON_REJECT_DUPLICATES, NULL);
		/* Who writes no JSON is not ours any more. */
		if (!json_is_object(report))
			*ret_end = INSPECT_CRASHED;
	}
	free(data);
	if (!json_is_object(report)) {
		json_decref(report);
		report = json_object();
	}
	add_usage(report, &usage);
	return report;
}

json_t *inspect_run(const struct inspect_request *request,
		    enum inspect_end *ret_end, int *ret_signal)
{
	int ends[2];
	pid_t child;

	*ret_end = INSPECT_FAILED;
	*ret_signal = 0;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return json_object();
	child = fork();
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		inspect_child(request, ends[1]);
	}
	close(ends[1]);
	autoclose int from = ends[0];
	return child < 0 ? json_object()
			 : finish(child, from, ret_end, ret_signal);
}
