/* SPDX-License-Identifier: Apache-2.0 */
/* What ports may do: schemas, checks, and what they make. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "vswitch/config-check.h"
#include "vswitch/config-schema.h"
#include "vswitch/fdb.h"
#include "vswitch/guard.h"
#include "vswitch/shaper.h"
#include "vswitch/vlan.h"

#define MAC_OF_FIRST "first"

enum {
	DEFAULT_QUEUE_BYTES = 256 << 10,
};

/* --- guards ------------------------------------------------------------------ */

static const cyaml_schema_value_t address_value = {
	CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 1, PREFIX_TEXT_BYTES - 1),
};

const cyaml_schema_field_t guard_config_fields[] = {
	FIELD_TEXT("mac", CYAML_FLAG_OPTIONAL, struct guard_config, mac,
		   CONFIG_TEXT_MAX),
	CYAML_FIELD_SEQUENCE("addresses",
			     CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL,
			     struct guard_config, addresses, &address_value, 1,
			     GUARD_MAX_ADDRESSES),
	FIELD_YES("router", struct guard_config, router),
	CYAML_FIELD_END,
};

const cyaml_schema_value_t guard_config_schema = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct guard_config,
			    guard_config_fields),
};

int guard_config_check(const struct guard_config *guard,
		       struct config_finding *f)
{
	uint8_t mac[GUARD_MAC_BYTES];
	struct prefix prefix;

	if (guard->mac && strcmp(guard->mac, MAC_OF_FIRST) != 0 &&
	    config_mac(guard->mac, mac) < 0)
		return config_find(f, "mac",
				   "%s: give an address, as in "
				   "52:54:00:12:34:56, or first",
				   guard->mac);
	for (unsigned i = 0; i < guard->addresses_count; i++) {
		char key[CONFIG_KEY_BYTES];

		snprintf(key, sizeof(key), "addresses.%u", i);
		if (prefix_read(guard->addresses[i], &prefix) < 0)
			return config_find(f, key,
					   "%s: give an IP address or a prefix,"
					   " as in 10.1.0.0/16 or fe80::/10",
					   guard->addresses[i]);
	}
	return 0;
}

int config_guard(const struct guard_config *config, const char *port_mac,
		 struct guard **ret_guard)
{
	struct guard *guard = calloc(1, sizeof(*guard));
	const char *text = config->mac ? config->mac : port_mac;
	uint8_t mac[GUARD_MAC_BYTES];

	if (!guard)
		return -ENOMEM;
	if (text && config_mac(text, mac) == 0)
		guard->mac = fdb_key_of(mac, 0);
	guard->is_router = config->router;
	for (unsigned i = 0; i < config->addresses_count; i++)
		prefix_read(config->addresses[i],
			    &guard->addresses[guard->count++]);
	*ret_guard = guard;
	return 0;
}

/* --- mirrors ----------------------------------------------------------------- */

static const cyaml_strval_t directions[] = {
	{"both", MIRROR_BOTH},
	{"in", MIRROR_IN},
	{"out", MIRROR_OUT},
};

static const cyaml_schema_value_t text_value = {
	CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 1, CONFIG_TEXT_MAX),
};

const cyaml_schema_field_t mirror_config_fields[] = {
	CYAML_FIELD_SEQUENCE("ports", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL,
			     struct mirror_config, ports, &text_value, 1,
			     CONFIG_MAX_PORTS),
	CYAML_FIELD_ENUM("direction", CYAML_FLAG_OPTIONAL | CYAML_FLAG_STRICT,
			 struct mirror_config, direction, directions,
			 ARRAY_SIZE(directions)),
	CYAML_FIELD_SEQUENCE("vlans", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL,
			     struct mirror_config, vlans, &text_value, 1,
			     VLAN_IDS),
	CYAML_FIELD_END,
};

const char *config_mirror_direction_name(unsigned direction)
{
	return directions[direction].str;
}

int mirror_config_check(const struct mirror_config *mirror,
			struct config_finding *f)
{
	struct vlan_port vlans = {.mode = VLAN_TRUNK};

	if (mirror->ports_count == 0 && mirror->vlans_count == 0)
		return config_find(
			f, "ports",
			"a mirror needs ports or vlans to listen to");
	for (unsigned i = 0; i < mirror->vlans_count; i++) {
		char key[CONFIG_KEY_BYTES];

		snprintf(key, sizeof(key), "vlans.%u", i);
		if (config_add_vlans(mirror->vlans[i], &vlans) < 0)
			return config_find(f, key,
					   "%s: give a VLAN from 1 to 4094, a "
					   "range as in 10-20, or all",
					   mirror->vlans[i]);
	}
	return 0;
}

void config_mirror_vlans(const struct mirror_config *config,
			 struct vlan_port *vlans)
{
	vlans->mode = VLAN_TRUNK;
	for (unsigned i = 0; i < config->vlans_count; i++)
		config_add_vlans(config->vlans[i], vlans);
}

/* --- shaping ----------------------------------------------------------------- */

uint64_t config_shape_queue(const struct shape_config *config)
{
	return config->queue ? config->queue : DEFAULT_QUEUE_BYTES;
}

int config_shape(const struct shape_config *config, struct shaper *shaper)
{
	const uint64_t burst =
		config_burst(config->rate, config->burst, NET_MAX_FRAME_BYTES);

	return shaper_set(shaper, config->rate, burst,
			  config_shape_queue(config));
}
