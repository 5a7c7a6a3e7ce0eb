/* SPDX-License-Identifier: Apache-2.0 */
/* One function for each request, over frontend_tell and frontend_ask. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bitmap.h"
#include "base/bytes.h"
#include "base/fd.h"
#include "tests/frontend/frontend.h"

enum {
	LOG_PAGE_BYTES = 4096
};

static void drop_fds(struct frontend_message *m)
{
	while (m->fd_count > 0)
		close(m->fds[--m->fd_count]);
}

int frontend_set_u64(struct frontend *fe, uint32_t request, uint64_t value)
{
	return frontend_tell(fe, request, &value, sizeof(value), NULL, 0);
}

int frontend_get_u64(struct frontend *fe, uint32_t request, uint64_t *ret_value)
{
	struct frontend_message reply;
	int err = frontend_ask(fe, request, NULL, 0, &reply);

	if (err < 0)
		return err;
	drop_fds(&reply);
	if (reply.header.size != sizeof(reply.payload.u64))
		return -EPROTO;
	*ret_value = reply.payload.u64;
	return 0;
}

int frontend_get_features(struct frontend *fe)
{
	return frontend_get_u64(fe, VHOST_USER_GET_FEATURES, &fe->offered);
}

int frontend_get_protocol_features(struct frontend *fe)
{
	return frontend_get_u64(fe, VHOST_USER_GET_PROTOCOL_FEATURES,
				&fe->protocol_offered);
}

int frontend_set_features(struct frontend *fe, uint64_t features)
{
	int err = frontend_set_u64(fe, VHOST_USER_SET_FEATURES, features);

	if (err == 0)
		fe->features = features;
	return err;
}

int frontend_set_protocol_features(struct frontend *fe, uint64_t features)
{
	int err = frontend_set_u64(fe, VHOST_USER_SET_PROTOCOL_FEATURES,
				   features);

	if (err == 0)
		fe->protocol = features;
	return err;
}

static struct vhost_user_region describe(const struct ram_region *region)
{
	return (struct vhost_user_region){
		.gpa = region->gpa,
		.size = region->size_bytes,
		.uva = region->uva,
		.mmap_offset = region->mmap_offset,
	};
}

int frontend_set_memory(struct frontend *fe, struct ram *ram)
{
	struct vhost_user_memory table = {.num_regions = ram->count};
	int fds[VHOST_USER_MAX_TABLE_REGIONS];

	if (ram->count > VHOST_USER_MAX_TABLE_REGIONS)
		return -EINVAL;
	for (unsigned i = 0; i < ram->count; i++) {
		table.regions[i] = describe(&ram->regions[i]);
		fds[i] = ram->regions[i].fd;
	}
	fe->ram = ram;
	return frontend_tell(
		fe, VHOST_USER_SET_MEM_TABLE, &table,
		offsetof(struct vhost_user_memory, regions[ram->count]), fds,
		ram->count);
}

int frontend_add_region(struct frontend *fe, struct ram *ram, unsigned index)
{
	const struct vhost_user_single_region single = {
		.region = describe(&ram->regions[index])};

	fe->ram = ram;
	return frontend_tell(fe, VHOST_USER_ADD_MEM_REG, &single,
			     sizeof(single), &ram->regions[index].fd, 1);
}

int frontend_remove_region(struct frontend *fe, struct ram *ram, unsigned index)
{
	const struct vhost_user_single_region single = {
		.region = describe(&ram->regions[index])};

	return frontend_tell(fe, VHOST_USER_REM_MEM_REG, &single,
			     sizeof(single), NULL, 0);
}

static int tell_state(struct frontend *fe, uint32_t request, unsigned index,
		      uint32_t num)
{
	const struct vhost_vring_state state = {.index = index, .num = num};

	return frontend_tell(fe, request, &state, sizeof(state), NULL, 0);
}

int frontend_ring_num(struct frontend *fe, unsigned index, uint32_t size)
{
	return tell_state(fe, VHOST_USER_SET_VRING_NUM, index, size);
}

int frontend_ring_base(struct frontend *fe, unsigned index, uint32_t base)
{
	return tell_state(fe, VHOST_USER_SET_VRING_BASE, index, base);
}

int frontend_ring_enable(struct frontend *fe, unsigned index, bool enable)
{
	return tell_state(fe, VHOST_USER_SET_VRING_ENABLE, index, enable);
}

int frontend_ring_addr(struct frontend *fe, unsigned index,
		       const struct driver_ring *ring, bool log)
{
	const struct vhost_vring_addr addr = {
		.index = index,
		.flags = log ? 1 << VHOST_VRING_F_LOG : 0,
		.desc_user_addr = ram_uva(ring->ram, ring->desc_gpa),
		.avail_user_addr = ram_uva(ring->ram, ring->avail_gpa),
		.used_user_addr = ram_uva(ring->ram, ring->used_gpa),
		/* Of a packed ring the device's event, as QEMU has it. */
		.log_guest_addr = ring->used_gpa,
	};

	return frontend_tell(fe, VHOST_USER_SET_VRING_ADDR, &addr, sizeof(addr),
			     NULL, 0);
}

int frontend_ring_fd(struct frontend *fe, uint32_t request, unsigned index,
		     int fd)
{
	uint64_t value = index | (fd < 0 ? VHOST_USER_NOFD : 0);

	return frontend_tell(fe, request, &value, sizeof(value), &fd, fd >= 0);
}

int frontend_ring_stop(struct frontend *fe, unsigned index, uint32_t *ret_base)
{
	const struct vhost_vring_state state = {.index = index};
	struct frontend_message reply;
	int err = frontend_ask(fe, VHOST_USER_GET_VRING_BASE, &state,
			       sizeof(state), &reply);

	if (err < 0)
		return err;
	drop_fds(&reply);
	if (reply.header.size != sizeof(state) ||
	    reply.payload.state.index != index)
		return -EPROTO;
	if (ret_base)
		*ret_base = reply.payload.state.num;
	return 0;
}

int frontend_get_config(struct frontend *fe, uint32_t offset, void *ret_data,
			uint32_t bytes)
{
	struct vhost_user_config config = {.offset = offset, .size = bytes};
	struct frontend_message reply;
	int err;

	if (bytes > sizeof(config.data))
		return -EINVAL;
	err = frontend_ask(fe, VHOST_USER_GET_CONFIG, &config,
			   VHOST_USER_CONFIG_HEADER_BYTES + bytes, &reply);
	if (err < 0)
		return err;
	drop_fds(&reply);
	/* A size of 0 is how a back-end refuses. */
	if (reply.header.size != VHOST_USER_CONFIG_HEADER_BYTES + bytes)
		return -EREMOTEIO;
	memcpy(ret_data, reply.payload.config.data, bytes);
	return 0;
}

int frontend_set_config(struct frontend *fe, uint32_t offset, const void *data,
			uint32_t bytes)
{
	struct vhost_user_config config = {
		.offset = offset,
		.size = bytes,
		.flags = VHOST_USER_CONFIG_WRITABLE,
	};

	if (bytes > sizeof(config.data))
		return -EINVAL;
	memcpy(config.data, data, bytes);
	return frontend_tell(fe, VHOST_USER_SET_CONFIG, &config,
			     VHOST_USER_CONFIG_HEADER_BYTES + bytes, NULL, 0);
}

int frontend_get_inflight(struct frontend *fe, uint16_t queues, uint16_t size)
{
	const struct vhost_user_inflight wish = {
		.num_queues = queues,
		.queue_size = size,
	};
	struct frontend_message reply;
	int err = frontend_ask(fe, VHOST_USER_GET_INFLIGHT_FD, &wish,
			       fe->inflight_wire_bytes, &reply);

	if (err < 0)
		return err;
	if (reply.header.size < VHOST_USER_INFLIGHT_TEXT_BYTES ||
	    reply.fd_count != 1) {
		drop_fds(&reply);
		return -EPROTO;
	}
	fd_close(&fe->inflight_fd);
	fe->inflight_fd = reply.fds[0];
	fe->inflight = reply.payload.inflight;
	fe->inflight.num_queues = queues;
	fe->inflight.queue_size = size;
	fe->inflight.padding = 0;
	return 0;
}

int frontend_set_inflight(struct frontend *fe)
{
	return frontend_tell(fe, VHOST_USER_SET_INFLIGHT_FD, &fe->inflight,
			     fe->inflight_wire_bytes, &fe->inflight_fd, 1);
}

void frontend_hand_inflight(struct frontend *from, struct frontend *to)
{
	fd_close(&to->inflight_fd);
	to->inflight_fd = fd_take(&from->inflight_fd);
	to->inflight = from->inflight;
}

static int map_log(struct frontend *fe, uint64_t bytes)
{
	autoclose int fd = memfd_create("dirty-log", MFD_CLOEXEC);
	void *log;

	if (fd < 0 || ftruncate(fd, bytes) < 0)
		return -errno;
	log = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (log == MAP_FAILED)
		return -errno;
	if (fe->log)
		munmap(fe->log, fe->log_bytes);
	fd_close(&fe->log_fd);
	fe->log_fd = fd_take(&fd);
	fe->log = log;
	fe->log_bytes = bytes;
	return 0;
}

int frontend_log_start(struct frontend *fe)
{
	uint64_t pages = div_round_up(fe->ram->end, LOG_PAGE_BYTES);
	struct vhost_user_log log = {
		.mmap_size = align_up(div_round_up(pages, 8), LOG_PAGE_BYTES)};
	struct {
		struct vhost_user_header header;
		struct vhost_user_log log;
	} __attribute__((packed)) message = {
		.header = {.request = VHOST_USER_SET_LOG_BASE,
			   .flags = VHOST_USER_VERSION,
			   .size = sizeof(log)},
		.log = log,
	};
	struct frontend_message reply;
	int err = map_log(fe, log.mmap_size);

	if (err == 0)
		err = frontend_send_raw(fe, &message, sizeof(message),
					&fe->log_fd, 1);
	/* With LOG_SHMFD it has a reply of its own, asked for or not. */
	if (err < 0 ||
	    !frontend_has_protocol(fe, VHOST_USER_PROTOCOL_F_LOG_SHMFD))
		return err;
	err = frontend_receive(fe, fe->fd, &reply);
	if (err < 0)
		return err;
	drop_fds(&reply);
	return reply.header.request == VHOST_USER_SET_LOG_BASE ? 0 : -EPROTO;
}

/* The log is bytes; on a little-endian host its words are the same bits. */
bool frontend_log_test(const struct frontend *fe, uint64_t gpa)
{
	return bitmap_test(fe->log, gpa / LOG_PAGE_BYTES);
}

uint64_t frontend_log_count(const struct frontend *fe)
{
	return bitmap_count(fe->log, fe->log_bytes * 8);
}

void frontend_log_clear(struct frontend *fe)
{
	memset(fe->log, 0, fe->log_bytes);
}

int frontend_open_channel(struct frontend *fe)
{
	int pair[2], err;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	err = frontend_tell(fe, VHOST_USER_SET_BACKEND_REQ_FD, NULL, 0,
			    &pair[1], 1);
	close(pair[1]);
	fd_close(&fe->channel_fd);
	fe->channel_fd = pair[0];
	return err;
}

int frontend_channel_receive(struct frontend *fe, uint32_t *ret_request)
{
	struct frontend_message m;
	struct {
		struct vhost_user_header header;
		uint64_t value;
	} __attribute__((packed)) ack = {0};
	int err = frontend_receive(fe, fe->channel_fd, &m);

	if (err < 0)
		return err;
	drop_fds(&m);
	*ret_request = m.header.request;
	if (!(m.header.flags & VHOST_USER_NEED_REPLY))
		return 0;
	ack.header = (struct vhost_user_header){
		.request = m.header.request,
		.flags = VHOST_USER_VERSION | VHOST_USER_REPLY,
		.size = sizeof(ack.value),
	};
	return send(fe->channel_fd, &ack, sizeof(ack), MSG_NOSIGNAL) < 0
		       ? -errno
		       : 0;
}
