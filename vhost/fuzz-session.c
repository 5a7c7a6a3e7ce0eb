/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole conversations. Input: a sequence of records, each with the request,
 * flags, number and kind of the descriptors, and 16 bits for the size, then
 * as many bytes of payload. Request WRITE_MEMORY is no message but what the
 * guest does meanwhile: the payload is written to memory at 16 times the
 * number in the descriptors' two bytes. The device takes a few chains from
 * each ring before it stops, so that what the session set up is used.
 */
#include <assert.h>
#include <fcntl.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "vhost/test-device.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
	MAX_RECORDS = 96,
	MEMORY_BYTES = 1 << 20,
	MAX_CHAINS = 4,
	MAX_SEGMENTS = 16,
	WRITE_MEMORY = 0xff,
};

struct record {
	uint8_t request;
	uint8_t flags;
	uint8_t fd_count;
	uint8_t fd_kind;
	uint16_t size;
} __attribute__((packed));

/* Guest memory, whose content outlives a message: one file for all regions. */
static int memory_fd = -1;

static int closed_pipe(void)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -1;
	close(ends[0]);
	return ends[1];
}

static int closed_socket(void)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -1;
	close(pair[0]);
	return pair[1];
}

static int new_fd(uint8_t kind)
{
	switch (kind % 6) {
	case 0:
		return fcntl(memory_fd, F_DUPFD_CLOEXEC, 0);
	case 1:
		return eventfd(0, EFD_CLOEXEC);
	case 2:
		return closed_pipe();
	case 3:
		return closed_socket();
	case 4:
		return open("/dev/null", O_RDWR | O_CLOEXEC);
	default:
		return new_memfd(4096);
	}
}

static void serve(struct virtq *vq)
{
	struct iovec iov[MAX_SEGMENTS];
	struct virtq_chain chain = {.iov = iov, .iov_max = MAX_SEGMENTS};

	for (unsigned i = 0; i < MAX_CHAINS; i++) {
		int err = virtq_get(vq, &chain);

		if (err != 0 && err != VIRTQ_E_TOO_LONG)
			break;
		virtq_put(vq, &chain, chain.in_bytes > 7 ? 7 : 0);
	}
	virtq_flush(vq);
	virtq_notify(vq);
}

static void stop_after_serving(struct vhost_device *device, unsigned index)
{
	serve(fake(device)->queues[index].vq);
	fake_queue_stop(device, index);
}

static void take_message(struct vhost_message *m, const struct record *record,
			 const uint8_t *payload, size_t left)
{
	*m = request(record->request, record->size);
	m->header.flags = record->flags;
	for (unsigned i = 0; i < record->fd_count % (VHOST_USER_MAX_FDS + 1);
	     i++) {
		int fd = new_fd(record->fd_kind);

		if (fd >= 0)
			attach_fd(m, fd);
	}
	left = MIN(left, record->size);
	memcpy(&m->payload, payload, MIN(left, sizeof(m->payload)));
}

static void write_memory(const struct record *record, const uint8_t *payload,
			 size_t left)
{
	off_t at = (record->fd_kind << 8 | record->fd_count) * 16;

	if (pwrite(memory_fd, payload, MIN(left, record->size), at) < 0)
		abort();
}

static void check_reply(const struct vhost_message *reply)
{
	if (message_is_none(reply)) {
		assert(reply->fd_count == 0);
		return;
	}
	assert(reply->header.flags == (VHOST_USER_VERSION | VHOST_USER_REPLY));
	assert(reply->header.size <= sizeof(reply->payload));
}

/* What a broken ring's serving thread would report, at any time. */
static void report_broken(struct session *session, struct fake_device *device)
{
	for (unsigned i = 0; i < FAKE_QUEUES; i++)
		if (device->queues[i].running &&
		    virtq_error(device->queues[i].vq))
			session_queue_broken(session, i);
}

/* False when the session is over. */
static bool say(struct session *session, const struct record *record,
		const uint8_t *payload, size_t left)
{
	struct vhost_message message, reply;
	int err;

	take_message(&message, record, payload, left);
	err = session_handle(session, &message, &reply);
	assert(message.fd_count == 0);
	check_reply(&reply);
	message_close_fds(&reply);
	if (err != SESSION_E_CLOSE)
		return true;
	assert(session_error(session)[0]);
	return false;
}

static void converse(struct session *session, struct fake_device *device,
		     const uint8_t *data, size_t size)
{
	struct record record;

	for (unsigned i = 0; i < MAX_RECORDS && size >= sizeof(record); i++) {
		memcpy(&record, data, sizeof(record));
		data += sizeof(record);
		size -= sizeof(record);
		if (record.request == WRITE_MEMORY)
			write_memory(&record, data, size);
		else if (!say(session, &record, data, size))
			break;
		data += MIN(size, record.size);
		size -= MIN(size, record.size);
		session_config_changed(session);
		report_broken(session, device);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct vhost_device_ops ops;
	struct fake_device device;
	struct session *session;

	ops = fake_ops;
	ops.queue_stop = stop_after_serving;
	fake_init(&device);
	device.device.ops = &ops;
	memory_fd = new_memfd(MEMORY_BYTES);
	if (session_new(&device.device, &session) == 0) {
		converse(session, &device, data, size);
		session_free(session);
	}
	for (unsigned i = 0; i < FAKE_QUEUES; i++)
		assert(!device.queues[i].running);
	fd_close(&memory_fd);
	return 0;
}
