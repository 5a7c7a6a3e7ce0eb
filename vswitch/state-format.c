/* SPDX-License-Identifier: Apache-2.0 */
#include "vswitch/state-format.h"

#include <rte_hash_crc.h>
#include <string.h>

#include "base/bytes.h"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
	      "numbers are written as they lie in memory");

static uint32_t checksum(const uint8_t *bytes, size_t length)
{
	struct state_header header;
	uint32_t crc;

	memcpy(&header, bytes, sizeof(header));
	header.checksum = 0;
	crc = rte_hash_crc(&header, sizeof(header), UINT32_MAX);
	return rte_hash_crc(bytes + sizeof(header), length - sizeof(header),
			    crc);
}

size_t state_bytes(const struct state_header *header)
{
	if (header->text_bytes > CONFIG_FILE_MAX_BYTES ||
	    header->names > CONFIG_MAX_PORTS ||
	    header->stations > STATE_MAX_STATIONS)
		return 0;
	return sizeof(*header) + header->text_bytes +
	       header->names * (size_t)STATE_NAME_BYTES +
	       header->stations * sizeof(struct state_station);
}

const char *state_view(const uint8_t *bytes, size_t length,
		       struct state_view *ret_view)
{
	struct state_header header;
	const uint8_t *at = bytes + sizeof(header);

	if (length < sizeof(header))
		return "it is cut off";
	memcpy(&header, bytes, sizeof(header));
	if (memcmp(header.magic, STATE_MAGIC, sizeof(header.magic)) != 0)
		return "it is no state of a switch";
	if (state_bytes(&header) == 0)
		return "it says that it has more than can be";
	if (state_bytes(&header) > length)
		return "it is cut off";
	if (header.checksum != checksum(bytes, state_bytes(&header)))
		return "its checksum is wrong";
	*ret_view = (struct state_view){
		.sequence = header.sequence,
		.saved = header.saved,
		.text = (const char *)at,
		.text_bytes = header.text_bytes,
		.names = header.names,
		.stations = header.stations,
		.name_bytes = at + header.text_bytes,
		.station_bytes = at + header.text_bytes +
				 header.names * (size_t)STATE_NAME_BYTES,
	};
	return NULL;
}

const char *state_view_name(const struct state_view *view, uint32_t i)
{
	const uint8_t *name = view->name_bytes + i * (size_t)STATE_NAME_BYTES;

	return memchr(name, '\0', STATE_NAME_BYTES) ? (const char *)name : NULL;
}

struct state_station state_view_station(const struct state_view *view,
					uint32_t i)
{
	struct state_station station;

	memcpy(&station, view->station_bytes + i * sizeof(station),
	       sizeof(station));
	return station;
}

void state_seal(uint8_t *bytes, size_t length)
{
	uint32_t sum = checksum(bytes, length);

	memcpy(bytes + offsetof(struct state_header, checksum), &sum,
	       sizeof(sum));
}
