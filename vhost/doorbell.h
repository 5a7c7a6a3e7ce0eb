/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The descriptor with which we interrupt a driver (call), or tell a front-end
 * that a ring broke (err). It should be an eventfd, but it is whatever the
 * front-end sent: it may be a pipe that nobody reads, or whose reader is gone.
 * Ringing never blocks, never raises SIGPIPE, and never fails: a doorbell that
 * cannot take another ring is already rung.
 *
 * One hole is known: O_NONBLOCK belongs to the front-end as well, and an eventfd
 * knows no other way of not waiting. A front-end that clears it later and fills
 * the counter holds up the thread that rings, until somebody reads the eventfd.
 */
#ifndef VHOST_DOORBELL_H
#define VHOST_DOORBELL_H

enum doorbell_kind {
	DOORBELL_NONE,
	DOORBELL_EVENT, /* an eventfd, or what takes a plain write */
	DOORBELL_SOCKET,
	DOORBELL_PIPE,
};

struct doorbell {
	int fd;
	enum doorbell_kind kind;
};

/*
 * Borrows @fd (-1: none) and makes it non-blocking, for the front-end too: an
 * eventfd that KVM or QEMU reads is so already. A bad fd is none.
 */
void doorbell_init(struct doorbell *bell, int fd);
void doorbell_ring(const struct doorbell *bell);

#endif
