/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/fd.h"
#include "image/nbd-library.h"
#include "image/nbd-link-private.h"

enum {
	LEAVE_NS = NS_PER_SECOND,
};

/* --- The thread -------------------------------------------------------------- */

static bool is_alive(const struct nbd_link *link)
{
	return libnbd.aio_is_dead(link->handle) == 0 &&
	       libnbd.aio_is_closed(link->handle) == 0;
}

static void wait_for_word(struct nbd_link *link)
{
	uint64_t deadline = UINT64_MAX;
	char why[NBD_LINK_REASON_BYTES / 2];
	int err;

	if (link->busy > 0)
		deadline = link->heard_ns + link->config.reply_timeout_ns;
	err = nbd_peer_wait(link->handle, link->wake_fd, deadline);
	if (err == -ETIMEDOUT && clock_ns() >= deadline) {
		nbd_command_break_off(link, err,
				      "the server did not answer in time");
	} else if (err < 0) {
		nbd_peer_error(why, sizeof(why));
		nbd_command_break_off(link, err, why);
	}
}

/* Without a connection there is nobody else to listen to. */
static void wait_for_owner(const struct nbd_link *link)
{
	struct pollfd fd = {.fd = link->wake_fd, .events = POLLIN};

	(void)poll(&fd, 1, -1);
}

static bool is_over(struct nbd_link *link)
{
	eventfd_t count;
	bool over;

	/* First, so that a word that comes after it wakes the next wait. */
	(void)eventfd_read(link->wake_fd, &count);
	pthread_mutex_lock(&link->lock);
	over = link->ending;
	pthread_mutex_unlock(&link->lock);
	return over;
}

static void take_leave(struct nbd_link *link)
{
	uint64_t deadline = clock_ns() + LEAVE_NS;

	if (!link->handle)
		return;
	if (libnbd.aio_disconnect(link->handle, 0) == 0)
		while (is_alive(link) &&
		       nbd_peer_wait(link->handle, -1, deadline) == 0)
			;
	libnbd.close(link->handle);
	link->handle = NULL;
}

static void *work(void *arg)
{
	struct nbd_link *link = arg;

	while (!is_over(link)) {
		nbd_command_begin_all(link);
		if (link->handle && !is_alive(link)) {
			nbd_command_break_off(link, -ENOTCONN,
					      "the server has gone");
			nbd_command_begin_all(link);
		}
		nbd_command_tell(link);
		if (link->handle)
			wait_for_word(link);
		else
			wait_for_owner(link);
		nbd_command_tell(link);
	}
	take_leave(link);
	return NULL;
}

/* --- Owners ------------------------------------------------------------------ */

/* A request whose owner waits for its end. */
struct waiting {
	struct nbd_question question;
	pthread_mutex_t lock;
	pthread_cond_t over;
	bool is_over;
	int result;
};

const char *nbd_link_reason(struct nbd_link *link)
{
	const char *reason = NULL;

	pthread_mutex_lock(&link->lock);
	if (link->broke[0])
		reason = link->broke;
	else if (link->answered[0])
		reason = link->answered;
	pthread_mutex_unlock(&link->lock);
	return reason;
}

static void wake(const struct nbd_link *link)
{
	/* Fails only when the counter is full, when a wake-up is due anyway. */
	(void)eventfd_write(link->wake_fd, 1);
}

void nbd_link_submit(struct nbd_link *link, struct store_io *io)
{
	io->next = NULL;
	io->at = 0;
	io->pending = 0;
	io->result = 0;
	pthread_mutex_lock(&link->lock);
	if (link->first)
		link->last->next = io;
	else
		link->first = io;
	link->last = io;
	pthread_mutex_unlock(&link->lock);
	wake(link);
}

static void waiting_ended(struct store_io *io, int result)
{
	struct waiting *waiting = container_of(io, struct waiting, question.io);

	pthread_mutex_lock(&waiting->lock);
	waiting->is_over = true;
	waiting->result = result;
	pthread_cond_signal(&waiting->over);
	pthread_mutex_unlock(&waiting->lock);
}

static int run(struct nbd_link *link, struct waiting *waiting)
{
	waiting->question.io.done = waiting_ended;
	pthread_mutex_init(&waiting->lock, NULL);
	pthread_cond_init(&waiting->over, NULL);
	nbd_link_submit(link, &waiting->question.io);
	pthread_mutex_lock(&waiting->lock);
	while (!waiting->is_over)
		pthread_cond_wait(&waiting->over, &waiting->lock);
	pthread_mutex_unlock(&waiting->lock);
	pthread_cond_destroy(&waiting->over);
	pthread_mutex_destroy(&waiting->lock);
	return waiting->result;
}

int nbd_link_run(struct nbd_link *link, enum store_io_kind kind,
		 uint64_t offset, void *data, uint64_t length)
{
	const struct iovec iov = {data, length};
	struct waiting waiting = {
		.question.io = {.kind = kind,
				.offset = offset,
				.length = length,
				.iov = iov_cursor(&iov, 1)},
	};

	return run(link, &waiting);
}

int nbd_link_status(struct nbd_link *link, uint64_t offset, uint64_t length,
		    struct nbd_extents *ret)
{
	struct waiting waiting = {
		.question = {.io = {.kind = STORE_IO_STATUS,
				    .offset = offset,
				    .length = length},
			     .extents = ret},
	};

	ret->count = 0;
	return run(link, &waiting);
}

/* Signals are for the threads that know of them. */
static int start(struct nbd_link *link)
{
	sigset_t all, old;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = -pthread_create(&link->thread, NULL, work, link);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return err;
}

static void destroy(struct nbd_link *link)
{
	fd_close(&link->wake_fd);
	pthread_mutex_destroy(&link->lock);
	free(link);
}

int nbd_link_new(struct nbd_handle *handle,
		 const struct nbd_link_config *config,
		 struct nbd_link **ret_link)
{
	struct nbd_link *link = calloc(1, sizeof(*link));
	int err;

	if (!link)
		return -ENOMEM;
	link->config = *config;
	link->handle = handle;
	pthread_mutex_init(&link->lock, NULL);
	for (unsigned i = 0; i < NBD_LINK_COMMANDS; i++)
		link->commands[i].link = link;
	link->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	err = link->wake_fd < 0 ? -errno : start(link);
	if (err < 0) {
		destroy(link);
		return err;
	}
	*ret_link = link;
	return 0;
}

void nbd_link_free(struct nbd_link *link)
{
	if (!link)
		return;
	pthread_mutex_lock(&link->lock);
	link->ending = true;
	pthread_mutex_unlock(&link->lock);
	wake(link);
	pthread_join(link->thread, NULL);
	destroy(link);
}
