/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests: a session with a fake device, and what a front-end usually says
 * to it. Guest memory is one region of MEMORY_BYTES; ring i lies at
 * ring_uva(i).
 */
#ifndef VHOST_TEST_CONVERSATION_H
#define VHOST_TEST_CONVERSATION_H

#include <stdlib.h>

#include "tests/cmocka.h"
#include "vhost/test-device.h"

enum {
	MEMORY_BYTES = 1 << 20,
	RING_SIZE = 256,
	RING_BYTES = 0x10000, /* room that each ring has */
};

static const uint64_t memory_uva = 0x7f0000000000;
static const uint64_t bit30 = VHOST_USER_BIT(VHOST_USER_F_PROTOCOL_FEATURES);
static const uint64_t split_features = VHOST_USER_BIT(VIRTIO_F_VERSION_1);

static struct fake_device fake_device;
static struct session *session;
static struct vhost_message reply;

static int begin_session(void **state)
{
	fake_init(&fake_device);
	return session_new(&fake_device.device, &session);
}

static int end_session(void **state)
{
	session_free(session);
	session = NULL;
	return 0;
}

/* Says it; the reply, if any, is in @reply. */
static inline int say(struct vhost_message message)
{
	return session_handle(session, &message, &reply);
}

static inline void say_well(struct vhost_message message)
{
	int err = say(message);

	if (err != 0)
		print_error("%d: %s\n", err, session_error(session));
	assert_int_equal(err, 0);
}

/* Says it, and expects that the error has these words in it. */
static inline void is_refused(struct vhost_message message, const char *words)
{
	assert_int_equal(say(message), SESSION_E_CLOSE);
	assert_true(message_is_none(&reply));
	if (!strstr(session_error(session), words))
		print_error("no \"%s\" in: %s\n", words,
			    session_error(session));
	assert_non_null(strstr(session_error(session), words));
}

static inline struct vhost_message region_message(uint32_t number, uint64_t gpa,
						  uint64_t size, uint64_t uva)
{
	struct vhost_message m = request(number, 40);

	m.payload.single_region.region = (struct vhost_user_region){
		.gpa = gpa, .size = size, .uva = uva};
	return m;
}

static inline struct vhost_message memory_message(void)
{
	struct vhost_message m = request(VHOST_USER_SET_MEM_TABLE, 8 + 32);

	m.payload.memory.num_regions = 1;
	m.payload.memory.regions[0] = (struct vhost_user_region){
		.size = MEMORY_BYTES, .uva = memory_uva};
	attach_fd(&m, new_memfd(MEMORY_BYTES));
	return m;
}

static inline uint64_t ring_uva(unsigned index)
{
	return memory_uva + (uint64_t)index * RING_BYTES;
}

static inline struct vhost_message addr_message(unsigned index, uint64_t uva)
{
	struct vhost_message m = request(VHOST_USER_SET_VRING_ADDR, 40);

	m.payload.addr = (struct vhost_vring_addr){
		.index = index,
		.desc_user_addr = uva,
		.avail_user_addr = uva + 0x4000,
		.used_user_addr = uva + 0x8000,
	};
	return m;
}

static inline struct vhost_message event_message(uint32_t number,
						 unsigned index)
{
	struct vhost_message m = request_u64(number, index);

	attach_fd(&m, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
	return m;
}

static inline void configure_ring(unsigned index)
{
	say_well(request_state(VHOST_USER_SET_VRING_NUM, index, RING_SIZE));
	say_well(request_state(VHOST_USER_SET_VRING_BASE, index, 0));
	say_well(addr_message(index, ring_uva(index)));
	say_well(event_message(VHOST_USER_SET_VRING_CALL, index));
}

/* A device with ring 0 running, negotiated with @features. */
static inline void begin_serving(uint64_t features)
{
	say_well(request_u64(VHOST_USER_SET_FEATURES, features));
	say_well(memory_message());
	configure_ring(0);
	say_well(event_message(VHOST_USER_SET_VRING_KICK, 0));
	assert_true(fake_device.queues[0].running);
}

static inline void negotiate(uint64_t protocol_features)
{
	say_well(request_u64(VHOST_USER_SET_PROTOCOL_FEATURES,
			     protocol_features));
}

static inline uint32_t base_of(unsigned index)
{
	say_well(request_state(VHOST_USER_GET_VRING_BASE, index, 0));
	assert_int_equal(reply.header.request, VHOST_USER_GET_VRING_BASE);
	assert_int_equal(reply.payload.state.index, index);
	return reply.payload.state.num;
}

/* Rings an err fd: a copy of what was given to queue @index. */
static inline int give_err_fd(unsigned index)
{
	struct vhost_message m = event_message(VHOST_USER_SET_VRING_ERR, index);
	int copy = dup(m.fds[0]);

	say_well(m);
	return copy;
}

/* How often it was signalled since the last look. */
static inline uint64_t signals(int fd)
{
	uint64_t count;

	return read(fd, &count, sizeof(count)) == sizeof(count) ? count : 0;
}

#define session_test(name) \
	cmocka_unit_test_setup_teardown(name, begin_session, end_session)

#endif
