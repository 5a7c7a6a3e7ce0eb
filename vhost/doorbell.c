/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost/doorbell.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum {
	/* Completions that may lie unread, and be thrown away at once. */
	UNREAD_MAX = 256,
	/* Others may fill the room that was just made. */
	SUBMIT_TRIES = 16,
};

static const uint64_t one_ring = 1;

/* One for all threads: the kernel has a lock of its own. */
static struct {
	aio_context_t context;
	int empty_fd; /* reads as empty, at once */
	bool usable;
} signaller = {.empty_fd = -1};

static void signaller_open(void)
{
	signaller.empty_fd = memfd_create("doorbell", MFD_CLOEXEC);
	signaller.usable =
		signaller.empty_fd >= 0 &&
		syscall(SYS_io_setup, UNREAD_MAX, &signaller.context) == 0;
}

void doorbell_setup(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, signaller_open);
}

void doorbell_init(struct doorbell *bell, int fd)
{
	struct stat st;
	int flags;

	doorbell_setup();
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

/* Makes room; what completed says nothing that we do not know. */
static bool forget_completions(void)
{
	struct io_event events[UNREAD_MAX];
	struct timespec at_once = {0};

	return syscall(SYS_io_getevents, signaller.context, 0, UNREAD_MAX,
		       events, &at_once) >= 0;
}

static void signal_event(int fd)
{
	struct iocb nothing = {
		.aio_lio_opcode = IOCB_CMD_PREAD,
		.aio_fildes = signaller.empty_fd,
		.aio_flags = IOCB_FLAG_RESFD,
		.aio_resfd = fd,
	};
	struct iocb *list[] = {&nothing};

	for (unsigned i = 0; i < SUBMIT_TRIES; i++)
		if (syscall(SYS_io_submit, signaller.context, 1, list) == 1 ||
		    errno != EAGAIN || !forget_completions())
			return;
}

static void ring_event(int fd)
{
	if (signaller.usable)
		signal_event(fd);
	else if (write(fd, &one_ring, sizeof(one_ring)) < 0)
		return; /* EAGAIN: the count is full, the reader will wake */
}

/* There is no flag against SIGPIPE here: hold it back and discard it. */
static void ring_pipe(int fd)
{
	const struct iovec ring = {(void *)&one_ring, sizeof(one_ring)};
	const struct timespec at_once = {0};
	sigset_t pipe_set, old_set, pending;

	sigemptyset(&pipe_set);
	sigaddset(&pipe_set, SIGPIPE);
	sigpending(&pending);
	pthread_sigmask(SIG_BLOCK, &pipe_set, &old_set);
	if (vmsplice(fd, &ring, 1, SPLICE_F_NONBLOCK) < 0 &&
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
		ring_event(bell->fd);
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
