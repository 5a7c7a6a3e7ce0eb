/* SPDX-License-Identifier: Apache-2.0 */
#include "base/capture.h"

#include <errno.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/capture-internal.h"

static int fill_in(struct capture_config *config)
{
	if (config->snap_bytes == 0)
		config->snap_bytes = CAPTURE_MAX_SNAP_BYTES;
	if (config->lane_bytes == 0)
		config->lane_bytes = CAPTURE_LANE_BYTES;
	if (config->lanes == 0 || config->lanes > CAPTURE_MAX_LANES ||
	    config->max_interfaces == 0 ||
	    config->max_interfaces > CAPTURE_MAX_INTERFACES ||
	    config->snap_bytes > CAPTURE_MAX_SNAP_BYTES ||
	    !is_power_of_two(config->lane_bytes) ||
	    config->lane_bytes / 2 < pcapng_packet_bytes(config->snap_bytes))
		return -EINVAL;
	return 0;
}

static int make_lanes(struct capture *capture)
{
	const unsigned count = capture->config.lanes;
	int err = 0;

	capture->ends = calloc(count, sizeof(*capture->ends));
	capture->lanes = aligned_alloc(_Alignof(struct capture_lane),
				       count * sizeof(*capture->lanes));
	if (!capture->ends || !capture->lanes)
		return -ENOMEM;
	memset(capture->lanes, 0, count * sizeof(*capture->lanes));
	for (unsigned i = 0; i < count && err == 0; i++)
		err = capture_lane_init(&capture->lanes[i], capture);
	return err;
}

static int make_buffers(struct capture *capture)
{
	const unsigned most = capture->config.max_interfaces;

	capture->lost = calloc(most, sizeof(*capture->lost));
	/* All descriptions, and the section's header. */
	capture->pending = calloc(most + 1, PCAPNG_MAX_BLOCK_BYTES);
	capture->out = malloc(CAPTURE_OUT_BYTES);
	return capture->lost && capture->pending && capture->out ? 0 : -ENOMEM;
}

static int start_writer(struct capture *capture)
{
	pthread_condattr_t attributes;
	int err;

	pthread_mutex_init(&capture->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&capture->told, &attributes);
	pthread_condattr_destroy(&attributes);
	capture->pending_bytes =
		pcapng_put_section(capture->pending, capture->config.program);
	capture->is_told = true; /* of the section */
	err = -pthread_create(&capture->pthread, NULL, capture_writer, capture);
	capture->has_thread = err == 0;
	return err;
}

int capture_new(const struct capture_config *config,
		struct capture **ret_capture)
{
	struct capture *capture = calloc(1, sizeof(*capture));
	int err;

	if (!capture)
		return -ENOMEM;
	capture->config = *config;
	err = fill_in(&capture->config);
	if (err == 0)
		err = make_lanes(capture);
	if (err == 0)
		err = make_buffers(capture);
	if (err == 0)
		err = start_writer(capture);
	if (err < 0) {
		capture_free(capture);
		return err;
	}
	*ret_capture = capture;
	return 0;
}

static void tell(struct capture *capture)
{
	capture->is_told = true;
	pthread_cond_signal(&capture->told);
}

static void stop_writer(struct capture *capture)
{
	pthread_mutex_lock(&capture->lock);
	store_release(&capture->on, false);
	store_release(&capture->quit, true);
	tell(capture);
	pthread_mutex_unlock(&capture->lock);
	pthread_join(capture->pthread, NULL);
	pthread_cond_destroy(&capture->told);
	pthread_mutex_destroy(&capture->lock);
}

void capture_free(struct capture *capture)
{
	if (!capture)
		return;
	if (capture->has_thread)
		stop_writer(capture);
	for (unsigned i = 0; capture->lanes && i < capture->config.lanes; i++)
		capture_lane_deinit(&capture->lanes[i]);
	free(capture->lanes);
	free(capture->ends);
	free(capture->lost);
	free(capture->pending);
	free(capture->out);
	free(capture);
}

int capture_add_interface(struct capture *capture, const char *name,
			  uint32_t *ret_interface)
{
	int err = 0;

	pthread_mutex_lock(&capture->lock);
	if (capture->interfaces == capture->config.max_interfaces) {
		err = -ENOSPC;
	} else {
		*ret_interface = capture->interfaces++;
		capture->pending_bytes += pcapng_put_interface(
			capture->pending + capture->pending_bytes, name,
			capture->config.snap_bytes);
		tell(capture);
	}
	pthread_mutex_unlock(&capture->lock);
	return err;
}

void capture_switch(struct capture *capture, bool on)
{
	pthread_mutex_lock(&capture->lock);
	store_release(&capture->on, on && !load_once(&capture->error) &&
					    !load_once(&capture->full));
	tell(capture);
	pthread_mutex_unlock(&capture->lock);
}

bool capture_is_on(const struct capture *capture)
{
	return load_acquire(&capture->on);
}

void capture_count(struct capture *capture,
		   struct capture_counters *ret_counters)
{
	unsigned interfaces;

	pthread_mutex_lock(&capture->lock);
	interfaces = capture->interfaces;
	pthread_mutex_unlock(&capture->lock);
	*ret_counters = (struct capture_counters){
		.frames = load_once(&capture->frames),
		.file_bytes = load_once(&capture->file_bytes),
		.error = load_once(&capture->error),
		.full = load_once(&capture->full),
	};
	for (unsigned i = 0; i < interfaces; i++)
		ret_counters->dropped += capture_tally(capture, i).dropped;
}

struct capture_lane *capture_lane(struct capture *capture, unsigned index)
{
	return &capture->lanes[index];
}
