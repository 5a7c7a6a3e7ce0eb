/* SPDX-License-Identifier: Apache-2.0 */
/* What a switch knows, as the bytes that are saved. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "vswitch/state-parts.h"

uint64_t state_realtime(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec;
}

static bool is_in_file(const struct config *config, const char *name)
{
	for (unsigned i = 0; i < config->ports_count; i++)
		if (strcmp(config->ports[i].name, name) == 0)
			return true;
	return false;
}

/* Ports of the control socket; "": there are none. NULL: there is no memory. */
static char *write_ports(const struct vswitch *vswitch)
{
	const struct config *file = vswitch_config(vswitch);
	struct port_config ports[CONFIG_MAX_PORTS];
	struct config added = {.ports = ports};

	for (unsigned i = 0; i < CONFIG_MAX_PORTS; i++) {
		const struct port *port = vswitch_port(vswitch, i);

		if (port && !is_in_file(file, port->name))
			ports[added.ports_count++] = *port->config;
	}
	return added.ports_count > 0 ? config_write(&added) : strdup("");
}

/* Where a station goes, as long as there is room: others may come meanwhile. */
struct gathering {
	const struct vswitch *vswitch;
	uint8_t *at;
	uint32_t count, max, now;
	uint32_t names[CONFIG_MAX_PORTS]; /* by number */
};

static void gather(void *arg, const struct fdb_station *station)
{
	struct gathering *g = arg;
	struct state_station s;

	if (station->is_static || g->count == g->max ||
	    !vswitch_port(g->vswitch, station->port))
		return;
	s = (struct state_station){
		.key = station->key,
		.name = g->names[station->port],
		.age = MAX((int32_t)(g->now - station->heard), 0),
	};
	memcpy(g->at + g->count++ * sizeof(s), &s, sizeof(s));
}

static uint32_t count_stations(struct vswitch *vswitch, uint32_t *ret_ports)
{
	uint64_t stations = 0;
	uint32_t ports = 0;

	for (unsigned i = 0; i < CONFIG_MAX_PORTS; i++) {
		if (!vswitch_port(vswitch, i))
			continue;
		ports++;
		stations += fdb_count(vswitch_fdb(vswitch), i);
	}
	*ret_ports = ports;
	return MIN(stations, (uint64_t)STATE_MAX_STATIONS);
}

/* Returns how many bytes they are: stations may be fewer than there was room for. */
static size_t fill(struct vswitch *vswitch, const char *text,
		   struct state_header *header, uint8_t *bytes)
{
	uint8_t *at = bytes + sizeof(*header);
	struct gathering g = {
		.vswitch = vswitch,
		.max = header->stations,
		.now = clock_ns() / NS_PER_SECOND,
	};
	uint32_t names = 0;
	size_t length;

	memcpy(at, text, header->text_bytes);
	at += header->text_bytes;
	for (unsigned i = 0; i < CONFIG_MAX_PORTS; i++) {
		const struct port *port = vswitch_port(vswitch, i);

		if (!port)
			continue;
		memcpy(at, port->name, STATE_NAME_BYTES);
		at += STATE_NAME_BYTES;
		g.names[i] = names++;
	}
	g.at = at;
	fdb_for_each(vswitch_fdb(vswitch), gather, &g);
	header->stations = g.count;
	memcpy(bytes, header, sizeof(*header));
	length = state_bytes(header);
	state_seal(bytes, length);
	return length;
}

uint8_t *state_gather(struct vswitch *vswitch, uint64_t sequence,
		      size_t *ret_length)
{
	struct state_header header = {
		.magic = STATE_MAGIC,
		.sequence = sequence,
		.saved = state_realtime(),
	};
	char *text = write_ports(vswitch);
	uint8_t *bytes = NULL;
	size_t length = 0;

	header.stations = count_stations(vswitch, &header.names);
	if (text) {
		header.text_bytes = strlen(text);
		length = state_bytes(&header);
	}
	if (length > 0)
		bytes = calloc(1, length);
	if (bytes)
		*ret_length = fill(vswitch, text, &header, bytes);
	free(text);
	return bytes;
}
