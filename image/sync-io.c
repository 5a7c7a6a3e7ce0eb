/* SPDX-License-Identifier: Apache-2.0 */
#include "image/sync-io.h"

#include <errno.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "image/cipher.h"
#include "image/codec.h"
#include "image/open.h"
#include "image/packed-read.h"

enum {
	CHUNK = 64 << 10,
	/* A request that gets no further in so many tries never will. */
	MAX_TRIES = 2000,
	SETTLING_FLUSHES = 6,
};

void (*sync_io_before_commit)(void);

/*
 * Maps, and does what must be done first, until there is a real answer. With
 * @packed, that many bytes of room for a compressed cluster.
 */
static int map_any(struct image *image, enum image_op op, uint64_t offset,
		   uint64_t length, uint32_t packed, struct image_extent *ret)
{
	for (int i = 0; i < MAX_TRIES; i++) {
		int err = packed ? image_map_packed(image, offset, packed, ret)
				 : image_map(image, op, offset, length, ret);

		if (err)
			return err;
		if (ret->kind == IMAGE_NEED)
			err = image_read_need(image, ret);
		else if (ret->kind == IMAGE_MUST_FLUSH)
			err = image_flush_sync(image);
		else if (ret->kind != IMAGE_BUSY)
			return 0;
		if (err)
			return err;
	}
	return -EDEADLK;
}

static int map(struct image *image, enum image_op op, uint64_t offset,
	       uint64_t length, struct image_extent *ret)
{
	return map_any(image, op, offset, length, 0, ret);
}

/* Kept: making one takes longer than unpacking a small cluster. */
static struct codec *the_codec(void)
{
	static struct codec *codec;

	if (!codec && codec_new(&codec) < 0)
		return NULL;
	return codec;
}

static int read_compressed(const struct image_extent *extent, uint8_t *to)
{
	struct codec *codec = the_codec();

	return codec ? packed_read(codec, extent, to) : -ENOMEM;
}

static int read_backing(struct image *image, uint64_t offset, uint8_t *to,
			uint64_t length)
{
	struct image *backing = image->backing;
	uint64_t there = 0;
	int err = 0;

	if (backing && offset < backing->size_bytes)
		there = MIN(length, backing->size_bytes - offset);
	if (there)
		err = sync_io_read(backing, offset, to, there);
	memset(to + there, 0, length - there);
	return err;
}

/* The number, for the cipher, of the sector that lies at @host. */
static uint64_t crypt_sector(const struct image_extent *extent, uint64_t host)
{
	return (extent->crypt_offset + (host - extent->host_offset)) /
	       CIPHER_SECTOR_BYTES;
}

static int read_data(const struct image_extent *extent, uint8_t *to)
{
	int err = store_read(extent->store, extent->host_offset, to,
			     extent->length);

	if (err == 0 && extent->cipher)
		err = image_cipher_decrypt(
			extent->cipher,
			crypt_sector(extent, extent->host_offset), to,
			extent->length);
	return err;
}

int sync_io_read(struct image *image, uint64_t offset, void *ret_data,
		 size_t length)
{
	uint8_t *to = ret_data;

	while (length) {
		struct image_extent extent;
		int err = map(image, IMAGE_READ, offset, length, &extent);

		if (err)
			return err;
		if (extent.kind == IMAGE_DATA)
			err = read_data(&extent, to);
		else if (extent.kind == IMAGE_ZEROES)
			memset(to, 0, extent.length);
		else if (extent.kind == IMAGE_HOLE)
			err = read_backing(image, offset, to, extent.length);
		else
			err = read_compressed(&extent, to);
		if (err)
			return err;
		to += extent.length;
		offset += extent.length;
		length -= extent.length;
	}
	return 0;
}

static int put_encrypted(const struct image_extent *extent, uint64_t host,
			 const uint8_t *data, uint64_t length)
{
	uint8_t buffer[CHUNK];
	int err;

	memcpy(buffer, data, length);
	err = image_cipher_encrypt(extent->cipher, crypt_sector(extent, host),
				   buffer, length);
	return err ? err : store_write(extent->store, host, buffer, length);
}

/* To @host of the extent's store: @data, or zeroes if it is NULL. */
static int put(const struct image_extent *extent, uint64_t host,
	       const uint8_t *data, uint64_t length)
{
	static const uint8_t zeroes[CHUNK];
	bool whole = data && !extent->cipher;

	while (length) {
		uint64_t part = whole ? length : MIN(length, (uint64_t)CHUNK);
		const uint8_t *from = data ? data : zeroes;
		int err =
			extent->cipher
				? put_encrypted(extent, host, from, part)
				: store_write(extent->store, host, from, part);

		if (err)
			return err;
		data = data ? data + part : NULL;
		host += part;
		length -= part;
	}
	return 0;
}

/* Fills a new cluster's head or tail with what the image reads as there. */
static int fill(struct image *image, const struct image_extent *extent,
		uint64_t guest, uint64_t host, uint64_t length)
{
	uint64_t size = image->size_bytes;
	uint64_t there = guest < size ? MIN(length, size - guest) : 0;
	uint8_t *old;
	int err;

	if (length == 0)
		return 0;
	if (extent->fill_zeroes)
		return put(extent, host, NULL, length);
	old = calloc(1, length);
	err = old ? sync_io_read(image, guest, old, there) : -ENOMEM;
	if (err == 0)
		err = put(extent, host, old, length);
	free(old);
	return err;
}

static int allocate(struct image *image, const struct image_extent *extent,
		    uint64_t offset, const uint8_t *data)
{
	uint64_t host = extent->host_offset + extent->head_bytes;
	uint64_t end = extent->length;
	int err = put(extent, host, data, extent->length);
	int outcome;

	if (err == 0)
		err = fill(image, extent, offset - extent->head_bytes,
			   host - extent->head_bytes, extent->head_bytes);
	if (err == 0)
		err = fill(image, extent, offset + end, host + end,
			   extent->tail_bytes);
	if (sync_io_before_commit)
		sync_io_before_commit();
	outcome = image_commit(image, extent, err);
	return err ? err : outcome;
}

static int change(struct image *image, enum image_op op, uint64_t offset,
		  const uint8_t *data, uint64_t length)
{
	while (length) {
		struct image_extent extent;
		int err = map(image, op, offset, length, &extent);

		if (err)
			return err;
		/* A discard: as the executor, where holes are no zeroes. */
		if (extent.kind == IMAGE_DATA &&
		    !(extent.cipher && op == IMAGE_DISCARD))
			err = put(&extent, extent.host_offset, data,
				  extent.length);
		else if (extent.kind == IMAGE_ALLOCATE)
			err = allocate(image, &extent, offset, data);
		if (err)
			return err;
		data = data ? data + extent.length : NULL;
		offset += extent.length;
		length -= extent.length;
	}
	return 0;
}

int sync_io_write(struct image *image, uint64_t offset, const void *data,
		  size_t length)
{
	return change(image, IMAGE_WRITE, offset, data, length);
}

static int write_stream(struct image *image, uint64_t offset,
			const uint8_t *stream, uint32_t bytes)
{
	struct image_extent extent;
	int err = map_any(image, IMAGE_WRITE, offset, 0, bytes, &extent);
	int outcome;

	if (err)
		return err;
	err = store_write(extent.store, extent.host_offset, stream, bytes);
	if (sync_io_before_commit)
		sync_io_before_commit();
	outcome = image_commit(image, &extent, err);
	return err ? err : outcome;
}

static int write_packed_cluster(struct image *image, struct codec *codec,
				uint64_t offset, const void *data,
				size_t length, uint8_t *padded, uint8_t *stream)
{
	size_t cluster = image->cluster_bytes, bytes;
	int err;

	memcpy(padded, data, length);
	memset(padded + length, 0, cluster - length);
	err = codec_compress(codec, image->codec, 0, padded, cluster, stream,
			     cluster - 1 + CODEC_SLACK_BYTES, &bytes);
	if (err == IMAGE_E_NO_SPACE)
		return sync_io_write(image, offset, data, length);
	return err ? err : write_stream(image, offset, stream, bytes);
}

int sync_io_write_packed(struct image *image, uint64_t offset, const void *data,
			 size_t length)
{
	size_t cluster = image->cluster_bytes;
	uint8_t *buffer = malloc(2 * cluster + CODEC_SLACK_BYTES);
	struct codec *codec = the_codec();
	int err = buffer && codec ? 0 : -ENOMEM;

	for (size_t at = 0; at < length && err == 0; at += cluster)
		err = write_packed_cluster(
			image, codec, offset + at, (const uint8_t *)data + at,
			MIN(cluster, length - at), buffer, buffer + cluster);
	free(buffer);
	return err;
}

int sync_io_zero(struct image *image, uint64_t offset, uint64_t length)
{
	return change(image, IMAGE_ZERO, offset, NULL, length);
}

int sync_io_discard(struct image *image, uint64_t offset, uint64_t length)
{
	return change(image, IMAGE_DISCARD, offset, NULL, length);
}

int sync_io_settle(struct image *image)
{
	int err = 0;

	for (int i = 0; i < SETTLING_FLUSHES && err == 0; i++)
		err = image_flush_sync(image);
	return err;
}
