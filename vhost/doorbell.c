/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost/doorbell.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const uint64_t one_ring = 1;

void doorbell_init(struct doorbell *bell, int fd)
{
	struct stat st;
	int flags;

	bell->fd = fd;
	bell->kind = DOORBELL_NONE;
	if (fd < 0 || fstat(fd, &st) < 0)
		return;
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || (!(flags & O_NONBLOCK) &&
			  fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0))
		return;
	if (S_ISFIFO(st.st_mode))
		bell->kind = DOORBELL_PIPE;
	else if (S_ISSOCK(st.st_mode))
		bell->kind = DOORBELL_SOCKET;
	else
		bell->kind = DOORBELL_EVENT;
}

/* A write to a pipe has no MSG_NOSIGNAL: hold SIGPIPE back and discard it. */
static void ring_pipe(int fd)
{
	const struct timespec at_once = {0};
	sigset_t pipe_set, old_set, pending;

	sigemptyset(&pipe_set);
	sigaddset(&pipe_set, SIGPIPE);
	sigpending(&pending);
	pthread_sigmask(SIG_BLOCK, &pipe_set, &old_set);
	if (write(fd, &one_ring, sizeof(one_ring)) < 0 &&
	    !sigismember(&pending, SIGPIPE))
		(void)sigtimedwait(&pipe_set, NULL, &at_once);
	pthread_sigmask(SIG_SETMASK, &old_set, NULL);
}

void doorbell_ring(const struct doorbell *bell)
{
	switch (bell->kind) {
	case DOORBELL_NONE:
		break;
	case DOORBELL_EVENT:
		/* EAGAIN: the count is full, so the reader will wake. */
		if (write(bell->fd, &one_ring, sizeof(one_ring)) < 0)
			break;
		break;
	case DOORBELL_SOCKET:
		(void)send(bell->fd, &one_ring, sizeof(one_ring),
			   MSG_NOSIGNAL | MSG_DONTWAIT);
		break;
	case DOORBELL_PIPE:
		ring_pipe(bell->fd);
		break;
	}
}
