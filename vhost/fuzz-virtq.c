/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A driver, a front-end and guest memory, all of them out of the input: a few
 * bytes of configuration, a script of calls, and the bytes of two regions of
 * guest memory and of an in-flight region. Between calls the script may change
 * a byte of memory, as a driver does that runs at the same time.
 *
 * What must hold is in the sanitizers and in the asserts: segments lie in guest
 * memory, counts are bounded by the ring, and every call ends.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bytes.h"
#include "vhost/virtq.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
	REGION_BYTES = 2048,
	GUEST_BYTES = 2 * REGION_BYTES,
	INFLIGHT_BYTES = 1024,
	MAX_HELD = 64,
	IOV_ROOM = 16,
	SCRIPT_BYTES = 96,
};

/* Where the fuzzed rings lie; fixed, so that inputs are easily found. */
enum {
	DESC_AT = 0,
	AVAIL_AT = 512,
	USED_AT = 1024,
};

struct fuzz_config {
	uint8_t size;
	uint8_t flags;
	uint8_t base[4];
	uint8_t inflight_size;
	uint8_t script_bytes;
};

struct held_chain {
	struct virtq_chain chain;
	struct iovec iov[IOV_ROOM];
};

struct world {
	int fd;
	int inflight_fd;
	uint8_t *guest;
	uint8_t *inflight_bytes;
	struct guest_memory *memory;
	struct dirty_log *log;
	struct virtq *vq;
	struct held_chain held[MAX_HELD];
	unsigned held_count;
};

static int make_file(const char *name, size_t bytes, uint8_t **ret_bytes)
{
	int fd = memfd_create(name, MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, (off_t)bytes) < 0)
		abort();
	*ret_bytes =
		mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (*ret_bytes == MAP_FAILED)
		abort();
	return fd;
}

/* Two neighbouring regions, which are not neighbours in the file. */
static void world_init(struct world *w)
{
	struct guest_region_spec specs[2];
	uint8_t *log_bytes;
	int log_fd = make_file("log", 4096, &log_bytes);

	w->fd = make_file("guest", GUEST_BYTES, &w->guest);
	w->inflight_fd =
		make_file("inflight", INFLIGHT_BYTES, &w->inflight_bytes);
	for (unsigned i = 0; i < 2; i++)
		specs[i] = (struct guest_region_spec){
			.gpa = i * REGION_BYTES,
			.size_bytes = REGION_BYTES,
			.uva = i * REGION_BYTES,
			.mmap_offset = (1 - i) * REGION_BYTES,
			.fd = w->fd,
		};
	if (guest_memory_new(specs, 2, &w->memory) != 0 ||
	    dirty_log_new(log_fd, 0, 4096, &w->log) != 0 ||
	    virtq_new(&w->vq) != 0)
		abort();
	munmap(log_bytes, 4096);
	close(log_fd);
}

static struct world *world(void)
{
	static struct world *only;

	if (!only) {
		only = calloc(1, sizeof(*only));
		if (!only)
			abort();
		world_init(only);
	}
	return only;
}

static uint8_t *guest_at(struct world *w, unsigned gpa)
{
	gpa %= GUEST_BYTES;
	return w->guest + (gpa + REGION_BYTES) % GUEST_BYTES;
}

static void check_chain(struct world *w, const struct virtq_chain *chain)
{
	unsigned count = chain->out_count + chain->in_count;
	uint64_t bytes = 0;

	assert(count <= chain->iov_max);
	for (unsigned i = 0; i < count; i++) {
		const uint8_t *first = chain->iov[i].iov_base;
		size_t length = chain->iov[i].iov_len;

		assert(length > 0 && length <= REGION_BYTES);
		assert(guest_memory_gpa(w->memory, first) != UINT64_MAX);
		assert(guest_memory_gpa(w->memory, first + length - 1) !=
		       UINT64_MAX);
		/* As a device would: sanitizers see a bad one. */
		if (i >= chain->out_count)
			memset(chain->iov[i].iov_base, 0, 1);
		bytes += length;
	}
	assert(bytes == chain->out_bytes + chain->in_bytes);
}

static void do_get(struct world *w)
{
	struct held_chain *held = &w->held[w->held_count];
	int err;

	if (w->held_count == MAX_HELD)
		return;
	held->chain = (struct virtq_chain){
		.iov = held->iov,
		.iov_max = IOV_ROOM,
	};
	err = virtq_get(w->vq, &held->chain);
	if (err == VIRTQ_E_EMPTY || err == VIRTQ_E_BROKEN) {
		assert((err == VIRTQ_E_BROKEN) == !!virtq_error(w->vq));
		return;
	}
	assert(err == 0 || err == VIRTQ_E_TOO_LONG);
	check_chain(w, &held->chain);
	w->held_count++;
	assert(virtq_in_flight(w->vq) <= virtq_size(w->vq));
}

/* The oldest that are out, as they must be; the last ones are left in the ring. */
static void do_singles(struct world *w, uint8_t most, uint8_t left)
{
	const bool writable = most & 128;
	struct virtq_single singles[8];
	uint32_t written[8];
	unsigned count;

	if (w->held_count > 0)
		return;
	count = virtq_get_singles(w->vq, singles, most % 9u, writable);
	assert(count <= most % 9u);
	assert(virtq_in_flight(w->vq) <= virtq_size(w->vq));
	for (unsigned i = 0; i < count; i++) {
		struct iovec iov = {singles[i].host, singles[i].len};
		const struct virtq_chain chain = {
			.iov = &iov,
			.iov_max = 1,
			.out_count = !writable,
			.in_count = writable,
			.out_bytes = writable ? 0 : iov.iov_len,
			.in_bytes = writable ? iov.iov_len : 0,
		};

		check_chain(w, &chain);
		written[i] = singles[i].len;
	}
	left = MIN(left, count);
	virtq_put_singles(w->vq, singles, writable ? written : NULL,
			  count - left);
	virtq_unget_singles(w->vq, singles + count - left, left);
}

/* In-order rings bring chains of any age back; the others too. */
static void do_put(struct world *w, uint8_t which)
{
	struct held_chain *held;

	if (w->held_count == 0)
		return;
	held = &w->held[which % w->held_count];
	virtq_put(w->vq, &held->chain, (uint32_t)held->chain.in_bytes);
	w->held_count--;
	if (held == &w->held[w->held_count])
		return;
	*held = w->held[w->held_count];
	held->chain.iov = held->iov;
}

/* Only when nothing was put since: @in_sequence says so. */
static void do_unget(struct world *w, bool in_sequence)
{
	if (!in_sequence || w->held_count == 0)
		return;
	w->held_count--;
	virtq_unget(w->vq, &w->held[w->held_count].chain, 1);
}

static void run_script(struct world *w, const uint8_t *script, size_t size)
{
	bool in_sequence = true;

	for (size_t i = 0; i + 2 < size; i += 3) {
		switch (script[i] % 8) {
		case 0:
		case 1:
			do_get(w);
			break;
		case 2:
			do_put(w, script[i + 1]);
			in_sequence = w->held_count == 0;
			break;
		case 3:
			virtq_flush(w->vq);
			virtq_notify(w->vq);
			break;
		case 4:
			if (script[i + 1] & 1)
				virtq_kicks_on(w->vq);
			else
				virtq_kicks_off(w->vq);
			break;
		case 5:
			do_unget(w, in_sequence);
			break;
		case 6:
			*guest_at(w, (script[i] >> 3) * 256u + script[i + 1]) =
				script[i + 2];
			break;
		case 7:
			virtq_has_avail(w->vq);
			do_singles(w, script[i + 1], script[i + 2]);
			break;
		}
	}
}

static struct virtq_config ring_config(const struct fuzz_config *fuzz)
{
	return (struct virtq_config){
		.size = fuzz->size % 33,
		.packed = fuzz->flags & 1,
		.event_idx = fuzz->flags & 2,
		.in_order = fuzz->flags & 4,
		.indirect = fuzz->flags & 8,
		.log_used = fuzz->flags & 16,
		.desc_uva = DESC_AT,
		.avail_uva = AVAIL_AT,
		.used_uva = USED_AT,
		.base = get_le32(fuzz->base),
		.call_fd = -1,
		.err_fd = -1,
	};
}

/* Starts, runs, dies without giving back what it holds, starts again. */
static void run_lives(struct world *w, const struct fuzz_config *fuzz,
		      const uint8_t *script, size_t size)
{
	struct virtq_config config = ring_config(fuzz);
	struct inflight_queue queue = {0};
	struct inflight *inflight = NULL;
	uint16_t entries = fuzz->inflight_size % 33;

	if (fuzz->flags & 32 &&
	    inflight_map(w->inflight_fd, INFLIGHT_BYTES, 0, 1, entries,
			 config.packed, &inflight) == 0)
		queue = inflight_queue(inflight, 0);
	for (unsigned life = 0; life < 2; life++) {
		w->held_count = 0;
		if (virtq_start(w->vq, &config, w->memory,
				fuzz->flags & 64 ? w->log : NULL, queue) != 0)
			break;
		run_script(w, script, size);
		config.base = virtq_stop(w->vq);
	}
	inflight_free(inflight);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct world *w = world();
	struct fuzz_config fuzz;
	size_t script_size;
	const uint8_t *script;

	if (size < sizeof(fuzz))
		return 0;
	memcpy(&fuzz, data, sizeof(fuzz));
	data += sizeof(fuzz);
	size -= sizeof(fuzz);
	script = data;
	script_size = MIN(size, (size_t)fuzz.script_bytes % SCRIPT_BYTES);
	data += script_size;
	size -= script_size;
	memset(w->guest, 0, GUEST_BYTES);
	memset(w->inflight_bytes, 0, INFLIGHT_BYTES);
	/* The in-flight region first: it is the smaller one. */
	if (fuzz.flags & 32) {
		size_t bytes = MIN(size, (size_t)128);

		memcpy(w->inflight_bytes, data, bytes);
		data += bytes;
		size -= bytes;
	}
	for (size_t i = 0; i < MIN(size, (size_t)GUEST_BYTES); i++)
		*guest_at(w, (unsigned)i) = data[i];
	run_lives(w, &fuzz, script, script_size);
	return 0;
}
