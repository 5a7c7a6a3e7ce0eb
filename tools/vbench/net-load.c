/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/vbench/net-load.h"

#include <errno.h>
#include <linux/if_ether.h>
#include <linux/virtio_config.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "tools/vbench/process.h"

enum {
	TEST_TYPE = 0x88b5, /* IEEE 802: local experimental */
	AT_IP = ETH_HLEN,
	AT_TCP = AT_IP + 20,
	TCP_HEADERS = AT_TCP + 20,
	MSS = 1448,
	BURST = 32,
	/* Rounds between two looks at the clock. */
	CLOCK_ROUNDS = 64,
};

struct net_load {
	const struct net_bench_options *options;
	struct net_driver *driver;
	unsigned idle[NET_BENCH_MAX_DEPTH]; /* frames that are not under way */
	unsigned idle_count;
	uint64_t frame_gpa[NET_BENCH_MAX_DEPTH];
	unsigned left; /* buffers of the frame that is arriving */
	uint64_t sent_frames, received_frames, received_bytes;
};

static uint32_t sum_of(uint32_t sum, const uint8_t *data, size_t bytes)
{
	for (size_t i = 0; i < bytes; i += 2)
		sum += get_be16(data + i);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* A TCP segment with the sum of its pseudo header; the kernel does the rest. */
static void make_tcp(uint8_t *frame, unsigned bytes,
		     struct virtio_net_hdr_v1 *header)
{
	uint8_t *ip = frame + AT_IP, *tcp = frame + AT_TCP;

	put_be16(frame + 12, ETH_P_IP);
	ip[0] = 0x45;
	put_be16(ip + 2, bytes - AT_IP);
	ip[8] = 64;
	ip[9] = 6;
	put_be32(ip + 12, 0xc0000201); /* RFC 5737: documentation */
	put_be32(ip + 16, 0xc0000202);
	put_be16(ip + 10, ~sum_of(0, ip, 20));
	put_be16(tcp, 9);
	put_be16(tcp + 2, 9);
	tcp[12] = 5 << 4;
	tcp[13] = 0x10;
	put_be16(tcp + 16, sum_of(6 + bytes - AT_TCP, ip + 12, 8));
	*header = (struct virtio_net_hdr_v1){
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.csum_start = htole16(AT_TCP),
		.csum_offset = htole16(16),
	};
	if (bytes <= TCP_HEADERS + MSS)
		return;
	header->gso_type = VIRTIO_NET_HDR_GSO_TCPV4;
	header->gso_size = htole16(MSS);
	header->hdr_len = htole16(TCP_HEADERS);
}

static void make_frame(const struct net_load *load, uint64_t gpa)
{
	static const uint8_t addresses[] = {2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1};
	struct virtio_net_hdr_v1 header = {0};
	uint8_t *at = ram_at(load->driver->ram, gpa);
	uint8_t *frame = at + NET_HEADER_BYTES;

	memset(frame, 0, load->options->frame_bytes);
	memcpy(frame, addresses, sizeof(addresses));
	put_be16(frame + 12, TEST_TYPE);
	if (load->options->tso)
		make_tcp(frame, load->options->frame_bytes, &header);
	memcpy(at, &header, sizeof(header));
}

static int make_frames(struct net_load *load)
{
	for (unsigned i = 0; i < load->options->depth; i++) {
		uint64_t gpa = ram_alloc(
			load->driver->ram,
			NET_HEADER_BYTES + load->options->frame_bytes, 64);

		if (gpa == RAM_NONE)
			return -ENOMEM;
		load->frame_gpa[i] = gpa;
		load->idle[load->idle_count++] = i;
		make_frame(load, gpa);
	}
	return 0;
}

static bool lacks_tso(const struct net_load *load)
{
	return load->options->tso &&
	       !frontend_has(load->driver->fe, VIRTIO_NET_F_HOST_TSO4);
}

int net_load_new(const struct net_bench_options *options,
		 struct net_load **ret_load)
{
	struct net_load *load = calloc(1, sizeof(*load));
	struct net_options wanted = {
		.queue_size = options->queue_size,
		.poll = true,
	};
	int err;

	if (!load)
		return -ENOMEM;
	if (!options->packed)
		wanted.without |= UINT64_C(1) << VIRTIO_F_RING_PACKED;
	if (options->plain)
		wanted.without |= UINT64_C(1) << VIRTIO_NET_F_MRG_RXBUF;
	load->options = options;
	err = net_driver_open(options->socket_path, &wanted, &load->driver);
	if (err == 0 && lacks_tso(load))
		err = -EOPNOTSUPP;
	if (err == 0)
		err = make_frames(load);
	if (err < 0) {
		fprintf(stderr, "vbench: %s: %s\n", options->socket_path,
			err == -EOPNOTSUPP ? "the back-end takes no TSO"
					   : strerror(-err));
		net_load_free(load);
		return err;
	}
	*ret_load = load;
	return 0;
}

void net_load_free(struct net_load *load)
{
	if (!load)
		return;
	net_driver_free(load->driver);
	free(load);
}

static int take_back(struct net_load *load)
{
	struct driver_ring *ring = load->driver->pairs[0].transmit;
	uint32_t written;
	void *token;
	int n;

	while ((n = driver_ring_pop(ring, &token, &written)) == 1) {
		load->idle[load->idle_count++] = (uintptr_t)token - 1;
		load->sent_frames++;
	}
	return n;
}

static int send_some(struct net_load *load)
{
	struct driver_ring *ring = load->driver->pairs[0].transmit;
	int err = take_back(load);

	if (err < 0 || load->options->direction == NET_RECEIVES ||
	    load->idle_count == 0)
		return err;
	while (load->idle_count > 0) {
		unsigned i = load->idle[load->idle_count - 1];
		const struct driver_buffer whole = {
			.gpa = load->frame_gpa[i],
			.length = NET_HEADER_BYTES + load->options->frame_bytes,
		};

		if (driver_ring_add(ring, &whole, 1,
				    (void *)(uintptr_t)(i + 1)) < 0)
			break;
		load->idle_count--;
	}
	driver_ring_publish(ring);
	driver_ring_kick(ring);
	return 0;
}

static int count_buffer(struct net_load *load, const uint8_t *data,
			uint32_t written)
{
	struct virtio_net_hdr_v1 header;

	load->received_bytes += written;
	if (load->left > 0) {
		load->left--;
		return 0;
	}
	memcpy(&header, data, sizeof(header));
	if (written < sizeof(header) || header.num_buffers == 0)
		return -EPROTO;
	load->left = le16toh(header.num_buffers) - 1;
	load->received_bytes -= sizeof(header);
	load->received_frames++;
	return 0;
}

static int receive_some(struct net_load *load)
{
	struct net_driver *driver = load->driver;
	struct net_pair *pair = &driver->pairs[0];
	uint32_t written;
	void *token;
	unsigned count = 0;
	int n = 0, err = 0;

	while (count < BURST && err == 0 &&
	       (n = driver_ring_pop(pair->receive, &token, &written)) == 1) {
		const unsigned i = (uintptr_t)token - 1;
		const struct driver_buffer whole = {
			.gpa = pair->buffer_gpa[i],
			.length = driver->buffer_bytes,
			.device_writes = true,
		};

		err = count_buffer(load, ram_at(driver->ram, whole.gpa),
				   written);
		if (err == 0)
			err = driver_ring_add(pair->receive, &whole, 1, token);
		count++;
	}
	if (count > 0) {
		driver_ring_publish(pair->receive);
		driver_ring_kick(pair->receive);
	}
	return n < 0 ? n : err;
}

static int run_until(struct net_load *load, uint64_t end_ns)
{
	int err = 0;

	for (unsigned round = 0; err == 0; round++) {
		if (round % CLOCK_ROUNDS == 0 && clock_ns() >= end_ns)
			break;
		err = send_some(load);
		if (err == 0)
			err = receive_some(load);
	}
	return err;
}

int net_load_run(struct net_load *load, struct net_result *ret_result)
{
	const struct net_bench_options *options = load->options;
	struct net_result result = {
		.backend_pid = options->backend_pid
				       ? options->backend_pid
				       : frontend_peer_pid(load->driver->fe),
	};
	uint64_t cpu_before = 0, cpu_after = 0, began;
	int err = run_until(load, clock_ns() + options->ramp_ns);

	if (err < 0)
		return err;
	load->sent_frames = load->received_frames = load->received_bytes = 0;
	if (process_cpu_ns(result.backend_pid, &cpu_before) < 0)
		result.backend_pid = 0;
	began = clock_ns();
	err = run_until(load, began + options->time_ns);
	result.elapsed_ns = clock_ns() - began;
	if (result.backend_pid &&
	    process_cpu_ns(result.backend_pid, &cpu_after) == 0)
		result.backend_cpu_ns = cpu_after - cpu_before;
	result.sent_frames = load->sent_frames;
	result.received_frames = load->received_frames;
	result.received_bytes = load->received_bytes;
	if (err == 0)
		*ret_result = result;
	return err;
}
