/* SPDX-License-Identifier: Apache-2.0 */
/* What the text of the configuration looks like. */
#include "vswitch/config-schema.h"

#include "base/bytes.h"
#include "vhost-net/net-tap.h"
#include "vhost-net/net-xdp-config.h"
#include "vswitch/acl.h"
#include "vswitch/config.h"
#include "vswitch/vlan.h"

enum {
	PATH_BYTES = 107, /* of a sun_path, without its end */
};

static const cyaml_strval_t kinds[] = {
	{"vhost-user", PORT_VHOST_USER},
	{"tap", PORT_TAP},
	{"internal", PORT_INTERNAL},
	{"dpdk", PORT_DPDK},
	{"xdp", PORT_XDP},
};

static const cyaml_strval_t xdp_modes[] = {
	{"auto", NET_XDP_AUTO},
	{"native", NET_XDP_NATIVE},
	{"copy", NET_XDP_COPY},
};

static const cyaml_strval_t modes[] = {
	{"access", VLAN_ACCESS},
	{"trunk", VLAN_TRUNK},
	{"tunnel", VLAN_TUNNEL},
};

const cyaml_strval_t config_yes_or_no[CONFIG_YES_OR_NO] = {
	{"false", false},
	{"no", false},
	{"true", true},
	{"yes", true},
};

static const cyaml_strval_t on_or_off[] = {
	{"true", CONFIG_ON},
	{"yes", CONFIG_ON},
	{"false", CONFIG_OFF},
	{"no", CONFIG_OFF},
};

#define FIELD_RATE(key, member)                                           \
	CYAML_FIELD_MAPPING(key, CYAML_FLAG_OPTIONAL, struct port_config, \
			    member, rate_fields)

static const cyaml_schema_field_t rate_fields[] = {
	CYAML_FIELD_UINT("rate", CYAML_FLAG_DEFAULT, struct config_rate, rate),
	FIELD_NUMBER("burst", struct config_rate, burst),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t shape_fields[] = {
	CYAML_FIELD_UINT("rate", CYAML_FLAG_DEFAULT, struct shape_config, rate),
	FIELD_NUMBER("burst", struct shape_config, burst),
	FIELD_NUMBER("queue", struct shape_config, queue),
	CYAML_FIELD_END,
};

static const cyaml_schema_value_t text_value = {
	CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 1, CONFIG_TEXT_MAX),
};

static const cyaml_schema_field_t port_fields[] = {
	FIELD_TEXT("name", CYAML_FLAG_DEFAULT, struct port_config, name,
		   CONFIG_NAME_MAX),
	CYAML_FIELD_ENUM("kind", CYAML_FLAG_STRICT, struct port_config, kind,
			 kinds, ARRAY_SIZE(kinds)),
	FIELD_TEXT("socket-path", CYAML_FLAG_OPTIONAL, struct port_config,
		   socket_path, PATH_BYTES),
	FIELD_YES("connect", struct port_config, connect),
	FIELD_TEXT("mac", CYAML_FLAG_OPTIONAL, struct port_config, mac,
		   CONFIG_TEXT_MAX),
	FIELD_TEXT("tap", CYAML_FLAG_OPTIONAL, struct port_config, tap,
		   IFNAMSIZ - 1),
	FIELD_TEXT("bridge", CYAML_FLAG_OPTIONAL, struct port_config, bridge,
		   IFNAMSIZ - 1),
	FIELD_TEXT("devargs", CYAML_FLAG_OPTIONAL, struct port_config, devargs,
		   CONFIG_DEVARGS_MAX),
	FIELD_TEXT("interface", CYAML_FLAG_OPTIONAL, struct port_config,
		   interface, IFNAMSIZ - 1),
	CYAML_FIELD_ENUM("xdp-mode", CYAML_FLAG_OPTIONAL | CYAML_FLAG_STRICT,
			 struct port_config, xdp_mode, xdp_modes,
			 ARRAY_SIZE(xdp_modes)),
	FIELD_NUMBER("queues", struct port_config, queues),
	FIELD_NUMBER("mtu", struct port_config, mtu),
	CYAML_FIELD_ENUM("offloads", CYAML_FLAG_OPTIONAL | CYAML_FLAG_STRICT,
			 struct port_config, offloads, on_or_off,
			 ARRAY_SIZE(on_or_off)),
	CYAML_FIELD_ENUM("vlan-mode", CYAML_FLAG_OPTIONAL | CYAML_FLAG_STRICT,
			 struct port_config, vlan_mode, modes,
			 ARRAY_SIZE(modes)),
	FIELD_NUMBER("vlan", struct port_config, vlan),
	CYAML_FIELD_SEQUENCE("vlans", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL,
			     struct port_config, vlans, &text_value, 1,
			     VLAN_IDS),
	FIELD_YES("tags-native", struct port_config, tags_native),
	FIELD_YES("service-tags", struct port_config, service_tags),
	FIELD_TEXT("group", CYAML_FLAG_OPTIONAL, struct port_config, group,
		   CONFIG_TEXT_MAX),
	FIELD_YES("locked", struct port_config, locked),
	CYAML_FIELD_SEQUENCE("stations",
			     CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL,
			     struct port_config, stations, &text_value, 1,
			     CONFIG_MAX_STATIONS),
	FIELD_NUMBER("max-stations", struct port_config, max_stations),
	FIELD_RATE("frames", frames),
	FIELD_RATE("bytes", bytes),
	FIELD_RATE("broadcast", broadcast),
	FIELD_RATE("multicast", multicast),
	FIELD_RATE("unknown", unknown),
	CYAML_FIELD_MAPPING("shape", CYAML_FLAG_OPTIONAL, struct port_config,
			    shape, shape_fields),
	CYAML_FIELD_MAPPING_PTR("guard",
				CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL,
				struct port_config, guard, guard_config_fields),
	CYAML_FIELD_MAPPING_PTR(
		"mirror", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL,
		struct port_config, mirror, mirror_config_fields),
	CYAML_FIELD_SEQUENCE("acl-in", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL,
			     struct port_config, acl.in, &acl_rule_schema, 1,
			     ACL_MAX_RULES),
	CYAML_FIELD_SEQUENCE("acl-out",
			     CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL,
			     struct port_config, acl.out, &acl_rule_schema, 1,
			     ACL_MAX_RULES),
	CYAML_FIELD_END,
};

static const cyaml_schema_value_t port_entry = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct port_config,
			    port_fields),
};

const cyaml_schema_value_t port_config_schema = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct port_config,
			    port_fields),
};

static const cyaml_strval_t balances[] = {
	{"auto", BALANCE_AUTO},
	{"off", BALANCE_OFF},
};

static const cyaml_schema_value_t cpu_value = {
	CYAML_VALUE_UINT(CYAML_FLAG_DEFAULT, uint16_t),
};

static const cyaml_schema_field_t config_fields[] = {
	FIELD_NUMBER("lcores", struct config, lcores),
	CYAML_FIELD_SEQUENCE("cpus", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL,
			     struct config, cpus, &cpu_value, 1,
			     CONFIG_MAX_LCORES),
	CYAML_FIELD_ENUM("balance", CYAML_FLAG_OPTIONAL | CYAML_FLAG_STRICT,
			 struct config, balance, balances,
			 ARRAY_SIZE(balances)),
	FIELD_YES("hugepages", struct config, hugepages),
	FIELD_NUMBER("fdb-capacity", struct config, fdb_capacity),
	FIELD_NUMBER("fdb-age", struct config, fdb_age),
	CYAML_FIELD_SEQUENCE("ports", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL,
			     struct config, ports, &port_entry, 0,
			     CONFIG_MAX_PORTS),
	CYAML_FIELD_END,
};

const cyaml_schema_value_t config_schema = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct config, config_fields),
};

const char *config_kind_name(enum port_kind kind)
{
	return kinds[kind].str;
}

const char *config_vlan_mode_name(unsigned mode)
{
	return modes[mode].str;
}
