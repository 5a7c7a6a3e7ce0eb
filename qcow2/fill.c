/* SPDX-License-Identifier: Apache-2.0 */
#include "qcow2/fill.h"

#include <errno.h>
#include <stdlib.h>

#include "image/cipher.h"
#include "image/executor.h"
#include "image/open.h"
#include "qcow2/alloc.h"
#include "qcow2/offline.h"
#include "qcow2/table.h"

enum {
	CHUNK_BYTES = 1 << 20,
	ENCRYPTED_BYTES = 64 << 10,
	/* Answers in a row that let nothing go on. */
	MAX_VAIN = 64,
	LOOP_ENTRIES = 64,
};

static int write_zeroes(struct store *store, uint64_t offset, uint64_t length)
{
	uint8_t *zeroes;
	int err = store_zero(store, offset, length);

	if (err != -ENOTSUP)
		return err;
	zeroes = aligned_alloc(4096, CHUNK_BYTES);
	if (!zeroes)
		return -ENOMEM;
	memset(zeroes, 0, CHUNK_BYTES);
	err = 0;
	while (length > 0 && err == 0) {
		size_t chunk = MIN(length, (uint64_t)CHUNK_BYTES);

		err = store_write(store, offset, zeroes, chunk);
		offset += chunk;
		length -= chunk;
	}
	free(zeroes);
	return err;
}

/* A write that really is one: the space is to be taken. */
static int write_through(struct store *store, uint64_t offset, uint64_t length)
{
	static const uint8_t zeroes[65536] __attribute__((aligned(4096)));
	int err = 0;

	while (length > 0 && err == 0) {
		size_t chunk = MIN(length, (uint64_t)sizeof(zeroes));

		err = store_write(store, offset, zeroes, chunk);
		offset += chunk;
		length -= chunk;
	}
	return err;
}

/* Zeroes as what they are encrypted to: there is no shorter way. */
static int write_encrypted(const struct image_extent *e, uint64_t length)
{
	uint8_t *data = aligned_alloc(4096, ENCRYPTED_BYTES);
	int err = data ? 0 : -ENOMEM;

	length = align_up(length, CIPHER_SECTOR_BYTES);
	for (uint64_t at = 0; at < length && err == 0; at += ENCRYPTED_BYTES) {
		size_t chunk = MIN(length - at, (uint64_t)ENCRYPTED_BYTES);

		memset(data, 0, chunk);
		err = image_cipher_encrypt(
			e->cipher, (e->crypt_offset + at) / CIPHER_SECTOR_BYTES,
			data, chunk);
		if (err == 0)
			err = store_write(e->store, e->host_offset + at, data,
					  chunk);
	}
	free(data);
	return err;
}

static bool is_fresh_data(const struct qcow2 *q, const struct image_extent *e)
{
	return q->data_file && e->host_offset >= q->raw_zero_from;
}

static int fill_extent(struct qcow2 *q, const struct image_extent *e,
		       bool written)
{
	bool allocate = e->kind == IMAGE_ALLOCATE;
	uint64_t length = e->length + (allocate ? e->head_bytes : 0) +
			  (allocate ? e->tail_bytes : 0);
	int err = 0;

	if (e->cipher && (written || allocate))
		err = write_encrypted(e, length);
	else if (written)
		err = write_through(e->store, e->host_offset, length);
	else if (allocate && !e->reads_zero && !is_fresh_data(q, e))
		err = write_zeroes(e->store, e->host_offset, length);
	if (!allocate)
		return err;
	return image_commit(&q->image, e, err) ?: err;
}

/* --- Room without content ------------------------------------------------ */

struct absent {
	uint64_t cluster; /* the next guest cluster */
	uint64_t end;
	bool written;
};

static int take_room(struct qcow2 *q, const struct absent *a, uint32_t want,
		     struct image_extent *ret, struct qcow2_run *ret_run)
{
	int err = 0;

	if (q->data_file)
		*ret_run =
			(struct qcow2_run){.first = a->cluster, .count = want};
	else
		err = qcow2_alloc(q, QCOW2_ALLOC_DATA, want, ret, ret_run);
	if (err == 0 && a->written)
		err = write_through(
			q->image.data_store, ret_run->first << q->cluster_bits,
			(uint64_t)ret_run->count << q->cluster_bits);
	return err;
}

static int absent_step(struct qcow2 *q, void *opaque, struct image_extent *ret)
{
	struct absent *a = opaque;
	int err = 0;

	while (a->cluster < a->end && err == 0) {
		struct qcow2_run run;
		struct qcow2_l2 l2;

		err = qcow2_l2_own(q, a->cluster, ret, &l2);
		if (err)
			break;
		metacache_pin(&q->cache, l2.slice);
		err = take_room(q, a, MIN(a->end - a->cluster, l2.count), ret,
				&run);
		for (uint32_t i = 0; err == 0 && i < run.count; i++)
			qcow2_l2_set_extended(
				q, l2.slice, l2.index + i, a->cluster + i,
				(run.first + i) << q->cluster_bits |
					QCOW2_COPIED,
				0);
		metacache_unpin(&q->cache, l2.slice);
		a->cluster += err ? 0 : run.count;
	}
	return err;
}

int qcow2_fill_absent(struct qcow2 *q, bool written)
{
	struct absent a = {
		.end = div_round_up(q->image.size_bytes,
				    qcow2_cluster_bytes(q)),
		.written = written,
	};

	return qcow2_offline_run(q, absent_step, &a);
}

int qcow2_fill_host(struct qcow2 *q, uint64_t offset, uint64_t length)
{
	const struct image_extent e = {
		.store = q->image.store,
		.host_offset = offset,
		.cipher = q->image.cipher,
		.crypt_offset = offset,
	};

	return e.cipher ? write_encrypted(&e, length)
			: write_zeroes(e.store, offset, length);
}

int qcow2_fill_zeroes(struct qcow2 *q, uint64_t offset, uint64_t length,
		      bool written)
{
	unsigned vain = 0;

	while (length > 0) {
		struct image_extent e;
		int err = image_map(&q->image, IMAGE_WRITE, offset, length, &e);

		if (err)
			return err;
		if (e.length == 0 && vain++ == MAX_VAIN)
			return -EBUSY;
		if (e.kind == IMAGE_NEED) {
			err = image_read_need(&q->image, &e);
		} else if (e.length == 0) {
			err = image_flush_sync(&q->image);
		} else {
			err = fill_extent(q, &e, written);
			vain = 0;
		}
		if (err)
			return err;
		offset += e.length;
		length -= e.length;
	}
	return 0;
}

/* --- Zeroes, as a guest would write them ---------------------------------- */

struct zeroing {
	struct executor_request request;
	bool done;
	int result;
};

static void zeroing_done(struct executor_request *request, int result)
{
	struct zeroing *z = container_of(request, struct zeroing, request);

	z->done = true;
	z->result = result;
}

static int run_zeroing(struct loop *loop, struct executor *executor,
		       struct zeroing *z)
{
	executor_submit(executor, &z->request);
	while (!z->done) {
		int err = loop_wait(loop, UINT64_MAX);

		if (err < 0 && err != -EINTR && !z->done)
			return err;
	}
	return z->result;
}

static int run_as_guest(struct qcow2 *q, struct zeroing *z)
{
	const struct executor_config config = {.depth = 1};
	struct executor *executor;
	struct loop *loop;
	int err = loop_new(LOOP_ENTRIES, &loop);

	if (err)
		return err;
	err = executor_new(loop, &q->image, &config, &executor);
	if (err == 0) {
		err = run_zeroing(loop, executor, z);
		executor_free(executor);
	}
	loop_free(loop);
	return err;
}

int qcow2_zero_range(struct qcow2 *q, uint64_t offset, uint64_t length)
{
	struct zeroing z = {.request = {.op = EXECUTOR_ZERO,
					.offset = offset,
					.length = length,
					.done = zeroing_done}};

	return length ? run_as_guest(q, &z) : 0;
}

int qcow2_write_zeroes(struct qcow2 *q, uint64_t offset, uint64_t length)
{
	struct iovec iov = {.iov_base = calloc(1, length + 1),
			    .iov_len = length};
	struct zeroing z = {.request = {.op = EXECUTOR_WRITE,
					.offset = offset,
					.length = length,
					.iov = &iov,
					.iov_count = 1,
					.done = zeroing_done}};
	int err = iov.iov_base ? 0 : -ENOMEM;

	if (err == 0 && length)
		err = run_as_guest(q, &z);
	free(iov.iov_base);
	return err;
}
