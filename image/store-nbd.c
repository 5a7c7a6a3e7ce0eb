/* SPDX-License-Identifier: Apache-2.0 */
#include "image/store-nbd.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "image/nbd-library.h"
#include "image/nbd-link.h"
#include "image/store-bounce.h"

enum {
	STATUS_BYTES = 1 << 30, /* asked for at once */
};

struct store_nbd {
	struct store store;
	char *name;
	struct nbd_export limits;
	struct nbd_link *link;
	struct store_bounce bounce; /* where blocks are more than a byte */
	pthread_mutex_t status_lock;
	struct nbd_extents known; /* what was said last */
};

static struct store_nbd *to_nbd(struct store *store)
{
	return container_of(store, struct store_nbd, store);
}

/* --- Whole blocks ----------------------------------------------------------- */

/* A server takes whole blocks, and what ends where the export does. */
static bool is_whole(const struct store_nbd *nbd, uint64_t offset,
		     uint64_t length)
{
	uint32_t block = nbd->limits.block_bytes;

	return is_aligned(offset, block) &&
	       (is_aligned(length, block) ||
		offset + length == nbd->store.size_bytes);
}

/* Of [offset, offset + length), what lies in the export. */
static uint64_t within(const struct store *store, uint64_t offset,
		       uint64_t length)
{
	return offset < store->size_bytes
		       ? MIN(length, store->size_bytes - offset)
		       : 0;
}

static int read_blocks(struct store *store, uint64_t offset, void *ret_data,
		       size_t length)
{
	size_t there = within(store, offset, length);

	memset((char *)ret_data + there, 0, length - there);
	return there ? nbd_link_run(to_nbd(store)->link, STORE_IO_READ, offset,
				    ret_data, there)
		     : 0;
}

/* What a block has past the export's end is nowhere kept. */
static int write_blocks(struct store *store, uint64_t offset, const void *data,
			size_t length)
{
	size_t there = within(store, offset, length);

	return there ? nbd_link_run(to_nbd(store)->link, STORE_IO_WRITE, offset,
				    (void *)data, there)
		     : 0;
}

static const struct store_aligned_io blocks = {read_blocks, write_blocks};

/* --- The store's calls ------------------------------------------------------ */

static int export_read(struct store *store, uint64_t offset, void *ret_data,
		       size_t length)
{
	struct store_nbd *nbd = to_nbd(store);

	if (is_whole(nbd, offset, within(store, offset, length)))
		return read_blocks(store, offset, ret_data, length);
	return store_bounce_read(store, &nbd->bounce, &blocks, offset, ret_data,
				 length);
}

static int check_write(const struct store *store, uint64_t offset,
		       uint64_t length)
{
	if (store->read_only)
		return -EBADF;
	return range_fits(offset, length, store->size_bytes) ? 0 : -ENOSPC;
}

static int export_write(struct store *store, uint64_t offset, const void *data,
			size_t length)
{
	struct store_nbd *nbd = to_nbd(store);
	int err = check_write(store, offset, length);

	if (err < 0)
		return err;
	if (is_whole(nbd, offset, length))
		return write_blocks(store, offset, data, length);
	return store_bounce_write(store, &nbd->bounce, &blocks, offset, data,
				  length);
}

static int export_flush(struct store *store)
{
	if (store->read_only)
		return 0;
	return nbd_link_run(to_nbd(store)->link, STORE_IO_FLUSH, 0, NULL, 0);
}

static int export_resize(struct store *store, uint64_t size_bytes)
{
	return -ENOTSUP;
}

/* Less than a block. */
static int write_zeroes(struct store *store, uint64_t from, uint64_t to)
{
	static const char zeroes[4096];
	int err = 0;

	while (from < to && err == 0) {
		size_t bytes = MIN(to - from, (uint64_t)sizeof(zeroes));

		err = export_write(store, from, zeroes, bytes);
		from += bytes;
	}
	return err;
}

/* Whole blocks by the server; by us the parts of blocks around them. */
static int make_zero(struct store *store, enum store_io_kind kind,
		     uint64_t offset, uint64_t length)
{
	struct store_nbd *nbd = to_nbd(store);
	uint32_t block = nbd->limits.block_bytes;
	uint64_t end = offset + length, first, last;
	int err = check_write(store, offset, length);

	if (err < 0 || length == 0)
		return err;
	if (!nbd->limits.can_zero)
		return -ENOTSUP;
	first = MIN(align_up(offset, block), end);
	last = end == store->size_bytes ? end
					: MAX(align_down(end, block), first);
	err = write_zeroes(store, offset, first);
	if (err == 0 && first < last)
		err = nbd_link_run(nbd->link, kind, first, NULL, last - first);
	return err ? err : write_zeroes(store, last, end);
}

static int export_punch(struct store *store, uint64_t offset, uint64_t length)
{
	return make_zero(store, STORE_IO_PUNCH, offset, length);
}

static int export_zero(struct store *store, uint64_t offset, uint64_t length)
{
	return make_zero(store, STORE_IO_ZERO, offset, length);
}

/* --- Allocation ------------------------------------------------------------- */

/* The first that ends past @offset; or NULL. */
static const struct nbd_extent *find(const struct nbd_extents *extents,
				     uint64_t offset)
{
	if (offset < extents->begin)
		return NULL;
	for (unsigned i = 0; i < extents->count; i++)
		if (extents->all[i].end > offset)
			return &extents->all[i];
	return NULL;
}

/* Whole blocks are asked about, and what is left at the end is data. */
static uint64_t askable(const struct store_nbd *nbd)
{
	return nbd->limits.has_status ? align_down(nbd->store.size_bytes,
						   nbd->limits.block_bytes)
				      : 0;
}

static int ask(struct store_nbd *nbd, uint64_t offset, uint64_t length)
{
	uint32_t block = nbd->limits.block_bytes;
	uint64_t begin = align_down(offset, block);
	uint64_t end = offset + MIN(length, (uint64_t)STATUS_BYTES);

	end = MIN(align_up(end, block), askable(nbd));
	return nbd_link_status(nbd->link, begin, end - begin, &nbd->known);
}

/*
 * A server answers for more than was asked about, so its answer is kept, but
 * for an export that we change.
 */
static int export_status(struct store *store, uint64_t offset, uint64_t length,
			 struct store_status *ret)
{
	struct store_nbd *nbd = to_nbd(store);
	const struct nbd_extent *found = NULL;
	int err = 0;

	if (offset >= askable(nbd))
		return 0;
	pthread_mutex_lock(&nbd->status_lock);
	if (store->read_only)
		found = find(&nbd->known, offset);
	if (!found) {
		err = ask(nbd, offset, length);
		found = err ? NULL : find(&nbd->known, offset);
	}
	if (found)
		*ret = (struct store_status){
			.length = MIN(length, found->end - offset),
			.zero = found->flags & LIBNBD_STATE_ZERO,
			.hole = found->flags & LIBNBD_STATE_HOLE,
		};
	pthread_mutex_unlock(&nbd->status_lock);
	return err;
}

/* --- Requests that go on by themselves -------------------------------------- */

/* Every segment makes a command of its own. */
static bool has_whole_segments(const struct store_nbd *nbd,
			       const struct store_io *io)
{
	uint64_t at = io->offset, end = io->offset + io->length;

	if (nbd->limits.block_bytes == 1)
		return true;
	for (size_t i = 0; i < io->iov.count && at < end; i++) {
		size_t skip = i == 0 ? io->iov.skip : 0;
		uint64_t bytes = MIN(io->iov.iov[i].iov_len - skip, end - at);

		if (!is_whole(nbd, at, bytes))
			return false;
		at += bytes;
	}
	return true;
}

static bool takes(const struct store_nbd *nbd, const struct store_io *io)
{
	if (io->kind == STORE_IO_FLUSH)
		return true;
	if (!range_fits(io->offset, io->length, nbd->store.size_bytes) ||
	    !is_whole(nbd, io->offset, io->length))
		return false;
	switch (io->kind) {
	case STORE_IO_READ:
		return has_whole_segments(nbd, io);
	case STORE_IO_WRITE:
		return !nbd->store.read_only && has_whole_segments(nbd, io);
	case STORE_IO_ZERO:
	case STORE_IO_PUNCH:
		return !nbd->store.read_only && nbd->limits.can_zero;
	case STORE_IO_FLUSH:
	case STORE_IO_STATUS:
		break;
	}
	return false;
}

static bool export_submit(struct store *store, struct store_io *io)
{
	struct store_nbd *nbd = to_nbd(store);

	if (!takes(nbd, io))
		return false;
	nbd_link_submit(nbd->link, io);
	return true;
}

static const char *export_reason(struct store *store)
{
	return nbd_link_reason(to_nbd(store)->link);
}

/* --- Opening ---------------------------------------------------------------- */

static void export_free(struct store *store)
{
	struct store_nbd *nbd = to_nbd(store);

	nbd_link_free(nbd->link);
	store_bounce_deinit(&nbd->bounce);
	pthread_mutex_destroy(&nbd->status_lock);
	free(nbd->name);
	free(nbd);
}

static const struct store_ops export_ops = {
	.read = export_read,
	.write = export_write,
	.flush = export_flush,
	.resize = export_resize,
	.punch = export_punch,
	.zero = export_zero,
	.status = export_status,
	.submit = export_submit,
	.reason = export_reason,
	.free = export_free,
};

static uint64_t or_seconds(uint64_t timeout_ns, unsigned seconds)
{
	return timeout_ns ? timeout_ns : seconds * NS_PER_SECOND;
}

static int connect_to(struct store_nbd *nbd,
		      const struct image_remote_options *options,
		      char **ret_error)
{
	uint64_t timeout =
		or_seconds(options->open_timeout_ns, NBD_OPEN_SECONDS);
	struct nbd_link_config config = {
		.store = &nbd->store,
		.reply_timeout_ns = or_seconds(options->reply_timeout_ns,
					       NBD_REPLY_SECONDS),
	};
	struct nbd_address address;
	struct nbd_handle *handle;
	int err = nbd_address_parse(nbd->name, &address, ret_error);

	if (err)
		return err;
	err = nbd_peer_connect(&address, nbd->name, clock_ns() + timeout,
			       &handle, &nbd->limits, ret_error);
	nbd_address_deinit(&address);
	if (err)
		return err;
	config.limits = nbd->limits;
	err = nbd_link_new(handle, &config, &nbd->link);
	if (err)
		libnbd.close(handle);
	return err;
}

static int set_up(struct store_nbd *nbd,
		  const struct image_remote_options *options, char **ret_error)
{
	uint32_t block;
	int err = connect_to(nbd, options, ret_error);

	if (err)
		return err;
	block = nbd->limits.block_bytes;
	nbd->store.size_bytes = nbd->limits.size_bytes;
	if (!options->read_only && nbd->limits.read_only)
		return store_fail(ret_error, -EROFS,
				  "%s: the export is read-only", nbd->name);
	return block > 1 ? store_bounce_init(&nbd->bounce, block) : 0;
}

static int export_open(const char *address,
		       const struct image_remote_options *options,
		       struct store **ret_store, char **ret_error)
{
	struct store_nbd *nbd = calloc(1, sizeof(*nbd));
	int err;

	if (!nbd)
		return -ENOMEM;
	nbd->name = strdup(address);
	nbd->store = (struct store){
		.ops = &export_ops,
		.name = nbd->name,
		.fd = -1,
		.read_only = options->read_only,
		.is_remote = true,
		.alignment = 1,
	};
	pthread_mutex_init(&nbd->status_lock, NULL);
	err = nbd->name ? set_up(nbd, options, ret_error) : -ENOMEM;
	if (err)
		export_free(&nbd->store);
	else
		*ret_store = &nbd->store;
	return err;
}

const struct image_remote nbd_remote = {
	.is_address = nbd_address_is,
	.resolve = nbd_address_resolve,
	.open = export_open,
};
