/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A saved state as bytes, which vswitch/state.c has in a file; all numbers are
 * little-endian:
 *
 *	header		struct state_header
 *	text		YAML: ports that are not in the configuration file
 *	names		of all ports, STATE_NAME_BYTES each, with a 0 at the end
 *	stations	struct state_station each
 *
 * Any thread; nothing here is kept.
 */
#ifndef VSWITCH_STATE_FORMAT_H
#define VSWITCH_STATE_FORMAT_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "control/config-file.h"
#include "vswitch/config.h"

enum {
	STATE_NAME_BYTES = CONFIG_NAME_MAX + 1,
	STATE_MAX_STATIONS = 1 << 22, /* config-check.c */
	/* Of a state; the second one in a file begins there. */
	STATE_MAX_BYTES = 1 << 27,
};

#define STATE_MAGIC "RLSWITCH"

struct state_header {
	uint8_t magic[8];
	uint64_t sequence; /* the larger one is the later */
	uint64_t saved;	   /* seconds of CLOCK_REALTIME */
	uint32_t text_bytes;
	uint32_t names;
	uint32_t stations;
	uint32_t checksum; /* CRC-32C of all, this being 0 */
};

struct state_station {
	uint64_t key; /* fdb_key */
	uint32_t name;
	uint32_t age; /* seconds */
};

static_assert(sizeof(struct state_header) == 40, "no padding");
static_assert(sizeof(struct state_station) == 16, "no padding");
static_assert(sizeof(struct state_header) + CONFIG_FILE_MAX_BYTES +
			      CONFIG_MAX_PORTS * STATE_NAME_BYTES +
			      STATE_MAX_STATIONS *
				      sizeof(struct state_station) <=
		      STATE_MAX_BYTES,
	      "any state finds room");

/* The parts of one, in the bytes that it was read from. */
struct state_view {
	uint64_t sequence, saved;
	const char *text;
	uint32_t text_bytes, names, stations;
	const uint8_t *name_bytes, *station_bytes;
};

/* What one with that header takes up; 0: there is none such. */
size_t state_bytes(const struct state_header *header);

/* NULL, or what is wrong with the @length bytes. */
const char *state_view(const uint8_t *bytes, size_t length,
		       struct state_view *ret_view);

/* Of a view: @i is in range. A name that ends; NULL: it does not. */
const char *state_view_name(const struct state_view *view, uint32_t i);
struct state_station state_view_station(const struct state_view *view,
					uint32_t i);

/* Over all of @bytes, whose header says all but it. */
void state_seal(uint8_t *bytes, size_t length);

#endif
