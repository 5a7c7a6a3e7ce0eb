/* SPDX-License-Identifier: Apache-2.0 */
#include "image/nbd-peer.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "image/nbd-library.h"
#include "image/store.h"

enum {
	SECTOR_BYTES = 512,
	NS_PER_MS = 1000000,
	MESSAGE_BYTES = 256,
};

void nbd_peer_error(char *ret, size_t size)
{
	const char *text = libnbd.get_error();
	const char *call = text ? strstr(text, ": ") : NULL;

	/* The name of libnbd's function tells nobody anything. */
	if (call && strncmp(text, "nbd_", 4) == 0)
		text = call + 2;
	snprintf(ret, size, "%s", text ? text : "the server has gone");
	for (char *c = ret; *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
}

int nbd_peer_errno(int error)
{
	/* Who hears these tries again, for ever. */
	if (error <= 0 || error == EAGAIN || error == EINTR)
		return -EIO;
	return -error;
}

int nbd_peer_last_errno(int otherwise)
{
	int error = libnbd.get_errno();

	return error ? nbd_peer_errno(error) : otherwise;
}

static int poll_timeout(uint64_t deadline_ns)
{
	uint64_t now = clock_ns();

	if (deadline_ns == UINT64_MAX)
		return -1;
	if (deadline_ns <= now)
		return 0;
	return (int)MIN(div_round_up(deadline_ns - now, NS_PER_MS),
			(uint64_t)INT_MAX);
}

static short wanted_events(struct nbd_handle *handle)
{
	unsigned direction = libnbd.aio_get_direction(handle);

	return (short)((direction & LIBNBD_AIO_DIRECTION_READ ? POLLIN : 0) |
		       (direction & LIBNBD_AIO_DIRECTION_WRITE ? POLLOUT : 0));
}

/* A socket that was hung up is read, or written, to find out. */
static int notify(struct nbd_handle *handle, short events)
{
	unsigned direction = libnbd.aio_get_direction(handle);
	short broken = POLLHUP | POLLERR | POLLNVAL;
	int err = 0;

	if ((direction & LIBNBD_AIO_DIRECTION_READ) &&
	    (events & (POLLIN | broken)))
		err = libnbd.aio_notify_read(handle);
	else if ((direction & LIBNBD_AIO_DIRECTION_WRITE) &&
		 (events & (POLLOUT | broken)))
		err = libnbd.aio_notify_write(handle);
	if (err < 0)
		return nbd_peer_last_errno(-ENOTCONN);
	if (libnbd.aio_is_dead(handle) == 0 &&
	    libnbd.aio_is_closed(handle) == 0)
		return 0;
	return -ENOTCONN;
}

int nbd_peer_wait(struct nbd_handle *handle, int wake_fd, uint64_t deadline_ns)
{
	struct pollfd fds[] = {
		{.fd = libnbd.aio_get_fd(handle),
		 .events = wanted_events(handle)},
		{.fd = wake_fd, .events = POLLIN},
	};
	int count = poll(fds, ARRAY_SIZE(fds), poll_timeout(deadline_ns));

	if (count < 0 && errno != EINTR)
		return -errno;
	if (count == 0)
		return -ETIMEDOUT;
	return count > 0 && fds[0].revents ? notify(handle, fds[0].revents) : 0;
}

/* --- Negotiation ----------------------------------------------------------- */

static int fail(const char *name, const char *what, int otherwise,
		char **ret_error)
{
	char why[MESSAGE_BYTES];

	nbd_peer_error(why, sizeof(why));
	return store_fail(ret_error, nbd_peer_last_errno(otherwise),
			  "%s: %s: %s", name, what, why);
}

static int set_tls(struct nbd_handle *handle, const struct nbd_address *a)
{
	if (!a->tls)
		return 0;
	if (libnbd.set_tls(handle, LIBNBD_TLS_REQUIRE) < 0)
		return -1;
	if (a->user && libnbd.set_tls_username(handle, a->user) < 0)
		return -1;
	if (a->psk_file && libnbd.set_tls_psk_file(handle, a->psk_file) < 0)
		return -1;
	return a->certificates
		       ? libnbd.set_tls_certificates(handle, a->certificates)
		       : 0;
}

/*
 * libnbd is not to refuse what ends beside a block: the end of an export that is
 * no whole number of them can be had in no other way.
 */
static int set_up(struct nbd_handle *handle, const struct nbd_address *address)
{
	uint32_t strict = libnbd.get_strict_mode(handle) & ~LIBNBD_STRICT_ALIGN;

	if (libnbd.set_export_name(handle, address->export_name) < 0 ||
	    libnbd.add_meta_context(handle, LIBNBD_CONTEXT_BASE_ALLOCATION) <
		    0 ||
	    libnbd.set_strict_mode(handle, strict) < 0)
		return -1;
	return set_tls(handle, address);
}

static int begin(struct nbd_handle *handle, const struct nbd_address *address)
{
	if (set_up(handle, address) < 0)
		return -1;
	return address->socket
		       ? libnbd.aio_connect_unix(handle, address->socket)
		       : libnbd.aio_connect_tcp(handle, address->host,
						address->port);
}

static int negotiate(struct nbd_handle *handle, const char *name,
		     uint64_t deadline_ns, char **ret_error)
{
	static const char what[] = "cannot connect";

	while (libnbd.aio_is_connecting(handle) > 0) {
		int err = nbd_peer_wait(handle, -1, deadline_ns);

		if (err == -ETIMEDOUT && clock_ns() >= deadline_ns)
			return store_fail(ret_error, err,
					  "%s: %s: the server did not answer "
					  "in time",
					  name, what);
		if (err < 0)
			return fail(name, what, err, ret_error);
	}
	return libnbd.aio_is_ready(handle) > 0
		       ? 0
		       : fail(name, what, -ENOTCONN, ret_error);
}

/* --- What the server said --------------------------------------------------- */

/* A server that says nothing of blocks may be one that wants sectors. */
static uint64_t block_bytes(struct nbd_handle *handle, uint64_t size,
			    bool has_status)
{
	int64_t bytes = libnbd.get_block_size(handle, LIBNBD_SIZE_MINIMUM);

	if (bytes > 0)
		return bytes;
	return has_status || size % SECTOR_BYTES ? 1 : SECTOR_BYTES;
}

static int judge(struct nbd_handle *handle, const char *name,
		 struct nbd_export *ret, char **ret_error)
{
	int64_t size = libnbd.get_size(handle);
	int64_t max = libnbd.get_block_size(handle, LIBNBD_SIZE_MAXIMUM);
	uint64_t block;

	if (size < 0)
		return fail(name, "has no size", -EINVAL, ret_error);
	ret->size_bytes = size;
	block = block_bytes(handle, size, ret->has_status);
	max = max > 0 ? MIN(max, (int64_t)NBD_PEER_MAX_TRANSFER)
		      : NBD_PEER_MAX_TRANSFER;
	if (!is_power_of_two(block) || block > STORE_MAX_ALIGNMENT ||
	    (uint64_t)max < block)
		return store_fail(ret_error, -EINVAL,
				  "%s: the server wants blocks of %" PRIu64
				  " to %" PRId64 " bytes, which cannot be",
				  name, block, max);
	ret->block_bytes = block;
	ret->max_bytes = align_down(max, block);
	return 0;
}

static int ask(struct nbd_handle *handle, const char *name,
	       struct nbd_export *ret, char **ret_error)
{
	*ret = (struct nbd_export){
		.read_only = libnbd.is_read_only(handle) != 0,
		.can_flush = libnbd.can_flush(handle) > 0,
		.can_fua = libnbd.can_fua(handle) > 0,
		.can_zero = libnbd.can_zero(handle) > 0,
		.can_fast_zero = libnbd.can_fast_zero(handle) > 0,
		.has_status =
			libnbd.can_meta_context(
				handle, LIBNBD_CONTEXT_BASE_ALLOCATION) > 0,
	};
	return judge(handle, name, ret, ret_error);
}

static int load_library(const char *name, char **ret_error)
{
	char *reason = NULL;
	int err = nbd_library_load(&reason);

	if (err < 0)
		store_fail(ret_error, err, "%s: NBD needs libnbd: %s", name,
			   reason ? reason : "it cannot be loaded");
	free(reason);
	return err;
}

int nbd_peer_connect(const struct nbd_address *address, const char *name,
		     uint64_t deadline_ns, struct nbd_handle **ret_handle,
		     struct nbd_export *ret_export, char **ret_error)
{
	int err = load_library(name, ret_error);
	struct nbd_handle *handle;

	if (err < 0)
		return err;
	handle = libnbd.create();
	if (!handle)
		return -ENOMEM;
	if (begin(handle, address) < 0)
		err = fail(name, "cannot connect", -EIO, ret_error);
	else
		err = negotiate(handle, name, deadline_ns, ret_error);
	if (err == 0)
		err = ask(handle, name, ret_export, ret_error);
	if (err < 0)
		libnbd.close(handle);
	else
		*ret_handle = handle;
	return err;
}
