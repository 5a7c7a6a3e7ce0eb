/* SPDX-License-Identifier: Apache-2.0 */
#include "vswitch/config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "vhost-net/net-tap.h"
#include "vhost-net/netdev.h"
#include "vswitch/forward.h"
#include "vswitch/vlan.h"

enum {
	MAC_TEXT_BYTES = 17,
	PATH_BYTES = 107, /* of a sun_path, without its end */
	TEXT_MAX = 31,
	MAX_AGE_SECONDS = 1000000, /* 802.1Q, 8.8.3 */
	MAX_CAPACITY = 1 << 22,
	DEFAULT_CAPACITY = 65536,
	DEFAULT_AGE_SECONDS = 300,
	MAX_OF_A_GUEST = 1024,
	KEY_BYTES = 96,
	BURSTS_A_SECOND = 10,
};

/* --- what the text looks like ------------------------------------------------ */

static const cyaml_strval_t kinds[] = {
	{"vhost-user", PORT_VHOST_USER},
	{"tap", PORT_TAP},
	{"internal", PORT_INTERNAL},
};

static const cyaml_strval_t modes[] = {
	{"access", VLAN_ACCESS},
	{"trunk", VLAN_TRUNK},
	{"tunnel", VLAN_TUNNEL},
};

/* libcyaml's own takes any word for a yes. */
static const cyaml_strval_t yes_or_no[] = {
	{"false", false},
	{"no", false},
	{"true", true},
	{"yes", true},
};

#define FIELD_TEXT(key, flags, type, member, max)                       \
	CYAML_FIELD_STRING_PTR(key, CYAML_FLAG_POINTER | (flags), type, \
			       member, 1, max)
#define FIELD_YES(key, type, member)                                         \
	CYAML_FIELD_ENUM(key, CYAML_FLAG_OPTIONAL | CYAML_FLAG_STRICT, type, \
			 member, yes_or_no, ARRAY_SIZE(yes_or_no))
#define FIELD_NUMBER(key, type, member) \
	CYAML_FIELD_UINT(key, CYAML_FLAG_OPTIONAL, type, member)
#define FIELD_RATE(key, member)                                           \
	CYAML_FIELD_MAPPING(key, CYAML_FLAG_OPTIONAL, struct port_config, \
			    member, rate_fields)

static const cyaml_schema_field_t rate_fields[] = {
	CYAML_FIELD_UINT("rate", CYAML_FLAG_DEFAULT, struct config_rate, rate),
	FIELD_NUMBER("burst", struct config_rate, burst),
	CYAML_FIELD_END,
};

static const cyaml_schema_value_t text_value = {
	CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 1, TEXT_MAX),
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
		   TEXT_MAX),
	FIELD_TEXT("tap", CYAML_FLAG_OPTIONAL, struct port_config, tap,
		   IFNAMSIZ - 1),
	FIELD_TEXT("bridge", CYAML_FLAG_OPTIONAL, struct port_config, bridge,
		   IFNAMSIZ - 1),
	FIELD_NUMBER("queues", struct port_config, queues),
	FIELD_NUMBER("mtu", struct port_config, mtu),
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
		   TEXT_MAX),
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
	CYAML_FIELD_END,
};

static const cyaml_schema_value_t port_entry = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct port_config,
			    port_fields),
};

static const cyaml_schema_value_t port_value = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct port_config,
			    port_fields),
};

static const cyaml_schema_field_t config_fields[] = {
	FIELD_NUMBER("lcores", struct config, lcores),
	FIELD_NUMBER("fdb-capacity", struct config, fdb_capacity),
	FIELD_NUMBER("fdb-age", struct config, fdb_age),
	CYAML_FIELD_SEQUENCE("ports", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL,
			     struct config, ports, &port_entry, 0,
			     CONFIG_MAX_PORTS),
	CYAML_FIELD_END,
};

static const cyaml_schema_value_t config_value = {
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

/* --- what it says ------------------------------------------------------------ */

int config_mac(const char *text, uint8_t ret_mac[static 6])
{
	unsigned bytes[6];
	char end;

	if (strlen(text) != MAC_TEXT_BYTES ||
	    sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%c", &bytes[0], &bytes[1],
		   &bytes[2], &bytes[3], &bytes[4], &bytes[5], &end) != 6 ||
	    bytes[0] & 1)
		return -EINVAL;
	for (unsigned i = 0; i < ARRAY_SIZE(bytes); i++)
		ret_mac[i] = bytes[i];
	return 0;
}

/* "7", "7-9": 0 is what a customer of a tunnel sends untagged. */
static int read_range(const char *text, unsigned *ret_first, unsigned *ret_last)
{
	char end;
	int n = sscanf(text, "%4u-%4u%c", ret_first, ret_last, &end);

	if (n == 1) {
		*ret_last = *ret_first;
		if (sscanf(text, "%4u%c", ret_first, &end) != 1)
			return -EINVAL;
	} else if (n != 2) {
		return -EINVAL;
	}
	return *ret_first <= *ret_last && *ret_last <= VLAN_MAX ? 0 : -EINVAL;
}

static int add_range(const char *text, struct vlan_port *vlan)
{
	const bool is_trunk = vlan->mode == VLAN_TRUNK;
	unsigned first = is_trunk ? VLAN_MIN : VLAN_NONE, last = VLAN_MAX;

	if (strcmp(text, "all") != 0 && read_range(text, &first, &last) < 0)
		return -EINVAL;
	if (is_trunk && first < VLAN_MIN)
		return -EINVAL;
	for (unsigned i = first; i <= last; i++)
		vlan_port_add(vlan, i);
	return 0;
}

void config_vlan(const struct port_config *config, struct vlan_port *ret_vlan)
{
	*ret_vlan = (struct vlan_port){
		.mode = config->vlan_mode,
		.native = config->vlan,
		.tags_native = config->tags_native,
		.tpid = config->service_tags ? VLAN_SERVICE_TPID : VLAN_TPID,
	};
	/* A switch without VLANs is one of a single one. */
	if (config->vlan_mode == VLAN_ACCESS && config->vlan == VLAN_NONE)
		ret_vlan->native = VLAN_MIN;
	for (unsigned i = 0; i < config->vlans_count; i++)
		add_range(config->vlans[i], ret_vlan);
}

static int set_limit(struct limit *limit, const struct config_rate *rate,
		     uint64_t least_burst)
{
	uint64_t burst = rate->burst;

	if (burst == 0)
		burst = MAX(rate->rate / BURSTS_A_SECOND, least_burst);
	return limit_set(limit, rate->rate, burst);
}

void config_limits(const struct port_config *config, struct forward_port *port)
{
	set_limit(&port->frames, &config->frames, 1);
	set_limit(&port->bytes, &config->bytes, NET_MAX_FRAME_BYTES);
	set_limit(&port->storms[FORWARD_BROADCAST], &config->broadcast, 1);
	set_limit(&port->storms[FORWARD_MULTICAST], &config->multicast, 1);
	set_limit(&port->storms[FORWARD_UNKNOWN], &config->unknown, 1);
}

/* --- what does not fit together ---------------------------------------------- */

/* The first thing that is wrong: under which key, and a sentence. */
struct finding {
	char key[KEY_BYTES];
	char what[CONFIG_FILE_ERROR_BYTES / 2];
};

__attribute__((format(printf, 3, 4))) static int
find(struct finding *finding, const char *key, const char *format, ...)
{
	va_list args;

	snprintf(finding->key, sizeof(finding->key), "%s", key);
	va_start(args, format);
	vsnprintf(finding->what, sizeof(finding->what), format, args);
	va_end(args);
	return -EINVAL;
}

static int check_vhost_user(const struct port_config *p, struct finding *f)
{
	uint8_t mac[6];

	if (p->kind != PORT_VHOST_USER) {
		if (p->socket_path)
			return find(f, "socket-path",
				    "only vhost-user ports have a socket");
		if (p->mac)
			return find(f, "mac",
				    "only vhost-user ports tell it a guest");
		return 0;
	}
	if (!p->socket_path)
		return find(f, "socket-path",
			    "a vhost-user port needs the path of its socket");
	if (p->mac && config_mac(p->mac, mac) < 0)
		return find(f, "mac",
			    "%s: give an address, as in 52:54:00:12:34:56",
			    p->mac);
	return 0;
}

static int check_tap(const struct port_config *p, struct finding *f)
{
	if (p->kind == PORT_VHOST_USER && p->tap)
		return find(f, "tap", "a vhost-user port has no TAP");
	if (p->bridge && p->kind != PORT_TAP)
		return find(f, "bridge",
			    "only the TAP of a port of kind tap "
			    "joins a bridge");
	if (p->kind != PORT_VHOST_USER && !p->tap &&
	    strlen(p->name) >= IFNAMSIZ)
		return find(f, "name",
			    "a device of that name cannot be: name one of at "
			    "most %u characters with the key tap",
			    IFNAMSIZ - 1);
	return 0;
}

static int check_numbers(const struct port_config *p, struct finding *f)
{
	if (p->queues > CONFIG_MAX_QUEUES)
		return find(f, "queues", "%u: give 1 to %u", p->queues,
			    CONFIG_MAX_QUEUES);
	if (p->mtu && p->mtu < NETDEV_MIN_MTU)
		return find(f, "mtu", "%u: give %u or more", p->mtu,
			    NETDEV_MIN_MTU);
	return 0;
}

static int check_vlans(const struct port_config *p, struct finding *f)
{
	struct vlan_port vlan = {.mode = p->vlan_mode};
	const char *wrong;

	for (unsigned i = 0; i < p->vlans_count; i++) {
		char key[KEY_BYTES];

		snprintf(key, sizeof(key), "vlans.%u", i);
		if (add_range(p->vlans[i], &vlan) < 0)
			return find(f, key,
				    "%s: give a VLAN from 1 to 4094, a range "
				    "as in 10-20, or all",
				    p->vlans[i]);
	}
	config_vlan(p, &vlan);
	wrong = vlan_port_check(&vlan);
	if (wrong)
		return find(f, p->vlan > VLAN_MAX ? "vlan" : "vlan-mode", "%s",
			    wrong);
	if (p->vlan_mode != VLAN_TRUNK && (p->tags_native || p->service_tags))
		return find(f, p->tags_native ? "tags-native" : "service-tags",
			    "only a trunk has tags");
	return 0;
}

static int check_stations(const struct port_config *p, struct finding *f)
{
	uint8_t mac[6];

	if (p->stations_count > 0 && p->vlan_mode == VLAN_TRUNK &&
	    p->vlan == VLAN_NONE)
		return find(f, "stations",
			    "they are in the native VLAN, and this trunk has "
			    "none");
	for (unsigned i = 0; i < p->stations_count; i++) {
		char key[KEY_BYTES];

		snprintf(key, sizeof(key), "stations.%u", i);
		if (config_mac(p->stations[i], mac) < 0)
			return find(f, key,
				    "%s: give an address, as in "
				    "52:54:00:12:34:56",
				    p->stations[i]);
	}
	if (p->locked && p->stations_count == 0)
		return find(f, "locked", "a locked port needs stations");
	return 0;
}

static int check_limits(const struct port_config *p, struct finding *f)
{
	const struct {
		const char *key;
		const struct config_rate *rate;
	} all[] = {
		{"frames", &p->frames},	      {"bytes", &p->bytes},
		{"broadcast", &p->broadcast}, {"multicast", &p->multicast},
		{"unknown", &p->unknown},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(all); i++) {
		struct limit limit = {0};

		if (set_limit(&limit, all[i].rate, 1) < 0)
			return find(f, all[i].key,
				    "so much in a second, or at once, cannot "
				    "be limited");
	}
	return 0;
}

static int check_port(const struct port_config *p, struct finding *f)
{
	static int (*const checks[])(const struct port_config *,
				     struct finding *) = {
		check_vhost_user, check_tap,	  check_numbers,
		check_vlans,	  check_stations, check_limits,
	};
	int err = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(checks) && err == 0; i++)
		err = checks[i](p, f);
	return err;
}

static const char *tap_of(const struct port_config *p)
{
	if (p->kind == PORT_VHOST_USER)
		return NULL;
	return p->tap ? p->tap : p->name;
}

static bool are_same(const char *a, const char *b)
{
	return a && b && strcmp(a, b) == 0;
}

const char *port_config_clash(const struct port_config *a,
			      const struct port_config *b)
{
	if (are_same(a->name, b->name))
		return "name";
	if (are_same(a->socket_path, b->socket_path))
		return "socket-path";
	if (are_same(tap_of(a), tap_of(b)))
		return a->tap ? "tap" : "name";
	return NULL;
}

static int check_pairs(const struct config *config, unsigned i,
		       struct finding *f)
{
	for (unsigned j = 0; j < i; j++) {
		const char *key =
			port_config_clash(&config->ports[i], &config->ports[j]);

		if (key)
			return find(f, key,
				    "the port %s of entry %u has it already",
				    config->ports[j].name, j + 1);
	}
	return 0;
}

static int check_ports(const struct config *config, struct finding *f)
{
	for (unsigned i = 0; i < config->ports_count; i++) {
		char path[KEY_BYTES];
		int err = check_port(&config->ports[i], f);

		if (err == 0)
			err = check_pairs(config, i, f);
		if (err == 0)
			continue;
		snprintf(path, sizeof(path), "ports.%u.%.60s", i, f->key);
		strcpy(f->key, path);
		return err;
	}
	return 0;
}

static int check_config(const struct config *config, struct finding *f)
{
	if (config->lcores > CONFIG_MAX_LCORES)
		return find(f, "lcores", "%u: give 1 to %u", config->lcores,
			    CONFIG_MAX_LCORES);
	if (config->fdb_capacity > MAX_CAPACITY)
		return find(f, "fdb-capacity", "%u: give %u at most",
			    config->fdb_capacity, MAX_CAPACITY);
	if (config->fdb_age > MAX_AGE_SECONDS)
		return find(f, "fdb-age", "%u: give %u seconds at most",
			    config->fdb_age, MAX_AGE_SECONDS);
	return check_ports(config, f);
}

static void fill_in_port(struct port_config *p)
{
	if (p->queues == 0)
		p->queues = 1;
	/* One guest shall not fill the table, and have all others flooded. */
	if (p->max_stations == 0)
		p->max_stations = p->kind == PORT_VHOST_USER ? MAX_OF_A_GUEST
							     : UINT32_MAX;
}

static void fill_in(struct config *config)
{
	if (config->lcores == 0)
		config->lcores = 1;
	if (config->fdb_capacity == 0)
		config->fdb_capacity = DEFAULT_CAPACITY;
	if (config->fdb_age == 0)
		config->fdb_age = DEFAULT_AGE_SECONDS;
	for (unsigned i = 0; i < config->ports_count; i++)
		fill_in_port(&config->ports[i]);
}

/* --- reading ----------------------------------------------------------------- */

static void say(const struct config_text *text, const struct finding *f,
		char *ret_error)
{
	const char *key = strrchr(f->key, '.');

	/* Not the position in a sequence. */
	while (key && key > f->key && key[1] >= '0' && key[1] <= '9')
		for (key--; key > f->key && *key != '.'; key--)
			;
	key = key ? key + (*key == '.') : f->key;
	snprintf(ret_error, CONFIG_FILE_ERROR_BYTES, "%s:%u: %.*s: %s",
		 text->name, config_file_line(text, f->key),
		 (int)strcspn(key, "."), key, f->what);
}

int config_read(const char *path, struct config **ret_config,
		char ret_error[static CONFIG_FILE_ERROR_BYTES])
{
	struct finding finding = {0};
	struct config_text text;
	struct config *config;
	void *data = NULL;
	int err = config_text_read(path, &text, ret_error);

	if (err < 0)
		return err;
	err = config_file_load(&text, &config_value, &data, ret_error);
	config = data;
	if (err == 0) {
		fill_in(config);
		err = check_config(config, &finding);
		if (err < 0)
			say(&text, &finding, ret_error);
	}
	config_text_free(&text);
	if (err < 0) {
		config_free(config);
		return err;
	}
	*ret_config = config;
	return 0;
}

void config_free(struct config *config)
{
	if (config)
		config_file_free(&config_value, config);
}

int port_config_read(const char *bytes, size_t length,
		     struct port_config **ret_config,
		     char ret_error[static CONFIG_FILE_ERROR_BYTES])
{
	const struct config_text text = {
		.name = "port",
		.bytes = (char *)bytes,
		.length = length,
	};
	struct finding finding = {0};
	struct port_config *config;
	void *data = NULL;
	int err = config_file_load(&text, &port_value, &data, ret_error);

	if (err < 0)
		return err;
	config = data;
	fill_in_port(config);
	err = check_port(config, &finding);
	if (err < 0) {
		say(&text, &finding, ret_error);
		port_config_free(config);
		return err;
	}
	*ret_config = config;
	return 0;
}

void port_config_free(struct port_config *config)
{
	if (config)
		config_file_free(&port_value, config);
}
