/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/frontend/blk-driver.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

enum {
	DEFAULT_QUEUE_SIZE = 128,
	DEFAULT_RAM_BYTES = 16 << 20,
	DEFAULT_TIMEOUT_MS = 10000,
};

static int make_rings(struct blk_driver *d, const struct blk_options *o)
{
	struct driver_ring_config config = frontend_ring_config(
		d->fe, o->queue_size ? o->queue_size : DEFAULT_QUEUE_SIZE);
	int err = 0;

	config.indirect_max = o->indirect_max;
	config.pages_apart = o->pages_apart;
	for (unsigned i = 0; i < d->queues && err == 0; i++) {
		err = driver_ring_new(d->ram, &config, &d->rings[i]);
		if (err == 0 && d->poll)
			driver_ring_calls_off(d->rings[i]);
	}
	return err;
}

static int make_bounce(struct blk_driver *d)
{
	uint64_t bytes = BLK_BOUNCE_BYTES + BLK_SECTOR_BYTES;

	d->bounce_out_gpa = ram_alloc(d->ram, bytes, BLK_SECTOR_BYTES);
	d->bounce_in_gpa = ram_alloc(d->ram, bytes, BLK_SECTOR_BYTES);
	if (d->bounce_out_gpa == RAM_NONE || d->bounce_in_gpa == RAM_NONE)
		return -ENOMEM;
	/* Data behind the header is then aligned. */
	d->bounce_out_gpa += BLK_SECTOR_BYTES - BLK_HEADER_BYTES;
	return 0;
}

static int start(struct blk_driver *d, const struct blk_options *o)
{
	uint64_t ram_bytes = o->ram_bytes ? o->ram_bytes : DEFAULT_RAM_BYTES;
	int err;

	d->fe->features_limit &= ~o->without;
	d->fe->protocol_limit &= ~o->protocol_without;
	err = frontend_negotiate(d->fe, d->profile, d->queues);
	if (err == 0)
		err = ram_new_usual(ram_bytes + 2 * BLK_BOUNCE_BYTES, &d->ram);
	if (err == 0)
		err = make_bounce(d);
	if (err == 0)
		err = make_rings(d, o);
	if (err == 0)
		err = frontend_start(d->fe, d->profile, d->ram, d->rings,
				     d->queues);
	return err;
}

int blk_driver_new(struct frontend *fe, const struct blk_options *options,
		   struct blk_driver **ret_driver)
{
	struct blk_driver *d;
	int err;

	if (options->queues > BLK_MAX_QUEUES)
		return -EINVAL;
	d = calloc(1, sizeof(*d));
	if (!d)
		return -ENOMEM;
	d->fe = fe;
	d->profile = options->profile ? options->profile : &profile_everything;
	d->queues = options->queues ? options->queues : 1;
	d->poll = options->poll;
	d->timeout_ms = DEFAULT_TIMEOUT_MS;
	err = start(d, options);
	if (err < 0) {
		d->fe = NULL;
		blk_driver_free(d);
		return err;
	}
	*ret_driver = d;
	return 0;
}

int blk_driver_open(const char *socket_path, const struct blk_options *options,
		    struct blk_driver **ret_driver)
{
	struct frontend *fe;
	int err = frontend_connect(socket_path, &fe);

	if (err < 0)
		return err;
	err = blk_driver_new(fe, options, ret_driver);
	if (err < 0)
		frontend_free(fe);
	return err;
}

int blk_driver_reconnect(struct blk_driver *driver, struct frontend *fe)
{
	int err;

	fe->features_limit = driver->fe->features;
	fe->protocol_limit = driver->fe->protocol;
	err = frontend_negotiate(fe, driver->profile, driver->queues);
	if (err == 0 && fe->features != driver->fe->features)
		err = -EPROTO;
	if (err < 0) {
		frontend_free(fe);
		return err;
	}
	frontend_hand_inflight(driver->fe, fe);
	frontend_free(driver->fe);
	driver->fe = fe;
	return frontend_start(fe, driver->profile, driver->ram, driver->rings,
			      driver->queues);
}

void blk_driver_free(struct blk_driver *driver)
{
	if (!driver)
		return;
	frontend_free(driver->fe);
	for (unsigned i = 0; i < driver->queues; i++)
		driver_ring_free(driver->rings[i]);
	ram_free(driver->ram);
	free(driver);
}

static void write_header(struct blk_driver *d, const struct blk_request *r,
			 uint32_t type, uint64_t sector)
{
	const struct virtio_blk_outhdr header = {
		.type = htole32(type),
		.sector = htole64(sector),
	};
	uint8_t *in = ram_at(d->ram, r->in_gpa);

	memcpy(ram_at(d->ram, r->out_gpa), &header, sizeof(header));
	in[r->in_bytes - 1] = BLK_STATUS_UNWRITTEN;
}

int blk_prepare(struct blk_driver *driver, struct blk_request *request,
		uint32_t type, uint64_t sector, uint32_t out_data_bytes,
		uint32_t in_data_bytes)
{
	struct blk_request r = {
		.out_bytes = BLK_HEADER_BYTES + out_data_bytes,
		.in_bytes = in_data_bytes + 1,
	};

	r.out_gpa = ram_alloc(driver->ram, r.out_bytes, 16);
	r.in_gpa = ram_alloc(driver->ram, r.in_bytes, 16);
	if (r.out_gpa == RAM_NONE || r.in_gpa == RAM_NONE)
		return -ENOMEM;
	write_header(driver, &r, type, sector);
	*request = r;
	return 0;
}

/* Appends the descriptors of one stream; -EINVAL if they are too many. */
static int cut(struct driver_buffer *buffers, unsigned *count, uint64_t gpa,
	       uint32_t bytes, const uint32_t *cuts, bool device_writes)
{
	while (bytes > 0) {
		uint32_t length = MIN(cuts[0], bytes);

		if (*count == BLK_MAX_CUTS)
			return -EINVAL;
		buffers[(*count)++] = (struct driver_buffer){
			.gpa = gpa,
			.length = length,
			.device_writes = device_writes,
		};
		gpa += length;
		bytes -= length;
		if (cuts[1] != 0)
			cuts++;
	}
	return 0;
}

int blk_add(struct blk_driver *driver, unsigned queue,
	    struct blk_request *request)
{
	const uint32_t usual_out[] = {BLK_HEADER_BYTES, UINT32_MAX, 0};
	const uint32_t usual_in[] = {MAX(request->in_bytes - 1, UINT32_C(1)),
				     UINT32_MAX, 0};
	struct driver_buffer buffers[BLK_MAX_CUTS];
	unsigned count = 0;
	int err;

	err = cut(buffers, &count, request->out_gpa, request->out_bytes,
		  request->out_cuts ? request->out_cuts : usual_out, false);
	if (err == 0)
		err = cut(buffers, &count, request->in_gpa, request->in_bytes,
			  request->in_cuts ? request->in_cuts : usual_in, true);
	if (err < 0)
		return err;
	return driver_ring_add(driver->rings[queue], buffers, count, request);
}

void blk_kick(struct blk_driver *driver, unsigned queue)
{
	driver_ring_publish(driver->rings[queue]);
	driver_ring_kick(driver->rings[queue]);
}

int blk_reap(struct blk_driver *driver, unsigned queue)
{
	int found, count = 0;
	uint32_t written;
	void *token;

	while ((found = driver_ring_pop(driver->rings[queue], &token,
					&written)) == 1) {
		struct blk_request *request = token;
		const uint8_t *in = ram_at(driver->ram, request->in_gpa);

		request->status = in[request->in_bytes - 1];
		request->written = written;
		request->completions++;
		count++;
	}
	return found < 0 ? found : count;
}

int blk_wait(struct blk_driver *driver, unsigned queue,
	     struct blk_request *request)
{
	int err = 0;

	while (request->completions == 0 && err >= 0) {
		err = driver_ring_wait(driver->rings[queue], driver->poll,
				       driver->timeout_ms);
		if (err == 0)
			err = blk_reap(driver, queue);
	}
	return err < 0 ? err : 0;
}

int blk_run(struct blk_driver *driver, unsigned queue,
	    struct blk_request *request)
{
	int err = blk_add(driver, queue, request);

	if (err < 0)
		return err;
	blk_kick(driver, queue);
	err = blk_wait(driver, queue, request);
	return err < 0 ? err : request->status;
}

/* One operation through the driver's own buffers. */
static int bounce(struct blk_driver *d, unsigned queue, uint32_t type,
		  uint64_t sector, const void *out, uint32_t out_bytes,
		  void *in, uint32_t in_bytes)
{
	struct blk_request r = {
		.out_gpa = d->bounce_out_gpa,
		.out_bytes = BLK_HEADER_BYTES + out_bytes,
		.in_gpa = d->bounce_in_gpa,
		.in_bytes = in_bytes + 1,
	};
	int status;

	if (out_bytes > BLK_BOUNCE_BYTES || in_bytes > BLK_BOUNCE_BYTES)
		return -EINVAL;
	write_header(d, &r, type, sector);
	if (out_bytes > 0)
		memcpy(blk_out_data(d, &r), out, out_bytes);
	status = blk_run(d, queue, &r);
	if (status >= 0 && in_bytes > 0)
		memcpy(in, blk_in_data(d, &r), in_bytes);
	return status;
}

int blk_read(struct blk_driver *driver, unsigned queue, uint64_t sector,
	     void *ret_data, uint32_t bytes)
{
	return bounce(driver, queue, VIRTIO_BLK_T_IN, sector, NULL, 0, ret_data,
		      bytes);
}

int blk_write(struct blk_driver *driver, unsigned queue, uint64_t sector,
	      const void *data, uint32_t bytes)
{
	return bounce(driver, queue, VIRTIO_BLK_T_OUT, sector, data, bytes,
		      NULL, 0);
}

int blk_flush(struct blk_driver *driver, unsigned queue)
{
	return bounce(driver, queue, VIRTIO_BLK_T_FLUSH, 0, NULL, 0, NULL, 0);
}

int blk_get_id(struct blk_driver *driver, unsigned queue,
	       char ret_id[VIRTIO_BLK_ID_BYTES + 1])
{
	memset(ret_id, 0, VIRTIO_BLK_ID_BYTES + 1);
	return bounce(driver, queue, VIRTIO_BLK_T_GET_ID, 0, NULL, 0, ret_id,
		      VIRTIO_BLK_ID_BYTES);
}

int blk_ranges(struct blk_driver *driver, unsigned queue, uint32_t type,
	       const struct virtio_blk_discard_write_zeroes *ranges,
	       unsigned count)
{
	return bounce(driver, queue, type, 0, ranges, count * sizeof(*ranges),
		      NULL, 0);
}

int blk_config(struct blk_driver *driver, struct virtio_blk_config *ret_config)
{
	memset(ret_config, 0, sizeof(*ret_config));
	return frontend_get_config(
		driver->fe, 0, ret_config,
		offsetof(struct virtio_blk_config, max_secure_erase_sectors));
}
