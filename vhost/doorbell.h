/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The descriptor with which we interrupt a driver (call), or tell a front-end
 * that a ring broke (err). It should be an eventfd, but it is whatever the
 * front-end sent: it may be a pipe that nobody reads, or whose reader is gone.
 * Ringing never blocks, never raises SIGPIPE, and never fails: a doorbell that
 * cannot take another ring is already rung.
 *
 * O_NONBLOCK is no help with that: it belongs to the open file, which the
 * front-end shares and may change between any look of ours and the write. So
 * an eventfd is not written to. The kernel signals it, as the completion of an
 * asynchronous read of nothing (io_submit(2), IOCB_FLAG_RESFD): that adds to
 * the count, or leaves it at its end, and waits in no case. A pipe is filled
 * by vmsplice(2), which like send(2) has a flag of the call for not waiting.
 *
 * Where the kernel has no asynchronous I/O (CONFIG_AIO), eventfds are written
 * to after all, and a front-end that clears the flag and fills the counter
 * holds up the thread that rings.
 */
#ifndef VHOST_DOORBELL_H
#define VHOST_DOORBELL_H

enum doorbell_kind {
	DOORBELL_NONE,
	DOORBELL_EVENT, /* an eventfd */
	DOORBELL_SOCKET,
	DOORBELL_PIPE,
};

struct doorbell {
	int fd;
	enum doorbell_kind kind;
};

/*
 * Sets up what all doorbells of the process share. doorbell_init does so where
 * nobody has; a program that gives up system calls does it before. Any thread.
 */
void doorbell_setup(void);

/*
 * Borrows @fd (-1: none) and makes it non-blocking, for the front-end too: an
 * eventfd that KVM or QEMU reads is so already. A bad fd is none.
 */
void doorbell_init(struct doorbell *bell, int fd);
void doorbell_ring(const struct doorbell *bell);

#endif
