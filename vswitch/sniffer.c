/* SPDX-License-Identifier: Apache-2.0 */
#include "vswitch/sniffer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/log.h"

struct sniffer {
	struct sniffers *sniffers;
	unsigned place;
	uint16_t number;
	char port[PORT_NAME_BYTES];
	int fd;
	uint32_t snap_bytes;
	struct loop_message begin;
	struct loop_watch *watch;
	struct capture *capture; /* NULL: it has not begun */
	bool is_over;		 /* before it could begin */
	unsigned filter_count;
	struct bpf_insn filter[];
};

/* --- serving threads ----------------------------------------------------------- */

static void show(const struct sniffer *sniffer, unsigned lane,
		 enum pcapng_direction direction,
		 const struct net_rx_frame *frame)
{
	struct capture_frame seen = {
		.direction = direction,
		.bytes = frame->bytes,
		.head = frame->head,
		.head_bytes = frame->head_bytes,
		.rest = frame->rest,
	};

	if (sniffer->filter_count > 0 &&
	    bpf_filter(sniffer->filter, frame->head, frame->bytes,
		       frame->head_bytes) == 0)
		return;
	capture_frame(capture_lane(sniffer->capture, lane), &seen);
}

void sniffer_show(const struct sniffer_set *set, uint16_t number, unsigned lane,
		  enum pcapng_direction direction,
		  const struct net_rx_frame *const *frames, unsigned count)
{
	for (unsigned wants = set->wants[number]; wants; wants &= wants - 1) {
		const struct sniffer *s = set->sniffers[__builtin_ctz(wants)];

		if (!capture_lane_is_on(capture_lane(s->capture, lane)))
			continue;
		for (unsigned i = 0; i < count; i++)
			show(s, lane, direction, frames[i]);
	}
}

/* --- which there are ----------------------------------------------------------- */

void sniffers_init(struct sniffers *sniffers, const struct port_owner *owner,
		   struct forward_table *table)
{
	*sniffers = (struct sniffers){.owner = owner, .table = table};
}

/* Of those that have begun: no thread shows another one anything when this
 * returns. */
static void publish(struct sniffers *all)
{
	struct forward_table *table = all->table;
	struct sniffer_set *set = &all->sets[table->sniffers == &all->sets[0]];
	bool has_any = false;

	*set = (struct sniffer_set){0};
	for (unsigned i = 0; i < SNIFFER_MAX; i++) {
		struct sniffer *s = all->all[i];

		if (!s || !s->capture || s->is_over)
			continue;
		set->sniffers[i] = s;
		set->wants[s->number] |= 1u << i;
		has_any = true;
	}
	store_release(&table->sniffers, has_any ? set : NULL);
	port_sync(all->owner);
}

static void free_sniffer(struct sniffer *s)
{
	loop_watch_free(s->watch);
	capture_free(s->capture);
	/* Who asked has another descriptor of it. */
	shutdown(s->fd, SHUT_RDWR);
	fd_close(&s->fd);
	s->sniffers->all[s->place] = NULL;
	free(s);
}

static void log_end(const struct sniffer *s)
{
	struct capture_counters counters;

	capture_count(s->capture, &counters);
	log_info("%s: captured %llu frames and dropped %llu", s->port,
		 (unsigned long long)counters.frames,
		 (unsigned long long)counters.dropped);
}

/* One that is to begin is freed then. */
static void end(struct sniffer *s)
{
	s->is_over = true;
	if (!s->capture)
		return;
	publish(s->sniffers);
	capture_switch(s->capture, false);
	log_end(s);
	free_sniffer(s);
}

/* --- one ----------------------------------------------------------------------- */

static void reader_left(void *arg, int revents)
{
	struct sniffer *s = arg;

	end(s);
}

static int begin(struct sniffer *s)
{
	const struct port_owner *owner = s->sniffers->owner;
	const struct capture_config config = {
		.fd = s->fd,
		.program = "vswitch",
		.lanes = owner->lcore_count,
		.max_interfaces = 1,
		.snap_bytes = s->snap_bytes,
	};
	uint32_t interface; /* 0: the only one */
	int err = capture_new(&config, &s->capture);

	if (err == 0)
		err = capture_add_interface(s->capture, s->port, &interface);
	if (err == 0)
		err = loop_watch_new(owner->control, s->fd, POLLRDHUP,
				     reader_left, s, &s->watch);
	return err;
}

static void run_begin(struct loop_message *message)
{
	struct sniffer *s = container_of(message, struct sniffer, begin);
	int err = s->is_over ? 0 : begin(s);

	if (err < 0)
		log_warning("%s: cannot capture: %s", s->port, strerror(-err));
	if (err < 0 || s->is_over) {
		free_sniffer(s);
		return;
	}
	capture_switch(s->capture, true);
	publish(s->sniffers);
}

static int place_for(const struct sniffers *all)
{
	for (unsigned i = 0; i < SNIFFER_MAX; i++)
		if (!all->all[i])
			return i;
	return -ENOSPC;
}

static bool is_filter(const struct sniffer_config *config)
{
	return config->filter_count == 0 ||
	       (config->filter_count <= SNIFFER_MAX_INSTRUCTIONS &&
		bpf_validate(config->filter, config->filter_count));
}

int sniffers_add(struct sniffers *sniffers, const struct sniffer_config *config)
{
	const size_t filter_bytes =
		config->filter_count * sizeof(*config->filter);
	int place = place_for(sniffers);
	struct sniffer *s;

	if (!is_filter(config) || config->snap_bytes > CAPTURE_MAX_SNAP_BYTES)
		return -EINVAL;
	if (place < 0)
		return place;
	s = calloc(1, sizeof(*s) + filter_bytes);
	if (!s)
		return -ENOMEM;
	s->fd = fcntl(config->fd, F_DUPFD_CLOEXEC, 0);
	if (s->fd < 0) {
		int err = -errno;

		free(s);
		return err;
	}
	s->sniffers = sniffers;
	s->place = place;
	s->number = config->number;
	snprintf(s->port, sizeof(s->port), "%s", config->port);
	s->snap_bytes = config->snap_bytes;
	s->filter_count = config->filter_count;
	if (filter_bytes > 0)
		memcpy(s->filter, config->filter, filter_bytes);
	s->begin.run = run_begin;
	sniffers->all[place] = s;
	loop_post(sniffers->owner->control, &s->begin);
	return 0;
}

void sniffers_end(struct sniffers *sniffers, uint16_t number)
{
	for (unsigned i = 0; i < SNIFFER_MAX; i++)
		if (sniffers->all[i] && sniffers->all[i]->number == number)
			end(sniffers->all[i]);
}

/* The loop has run what was posted. */
void sniffers_deinit(struct sniffers *sniffers)
{
	for (unsigned i = 0; i < SNIFFER_MAX; i++)
		if (sniffers->all[i])
			free_sniffer(sniffers->all[i]);
}
