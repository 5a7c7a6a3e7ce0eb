/* SPDX-License-Identifier: Apache-2.0 */
/* What ports may do: schemas, checks, and what they make. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vswitch/config-check.h"
#include "vswitch/config-schema.h"
#include "vswitch/fdb.h"
#include "vswitch/guard.h"

#define MAC_OF_FIRST "first"

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
