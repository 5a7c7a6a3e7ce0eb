/* SPDX-License-Identifier: Apache-2.0 */
#include "vswitch/config-check.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "vhost-net/net-tap.h"
#include "vhost-net/net-xdp-config.h"
#include "vhost-net/netdev.h"
#include "vswitch/ethdev.h"
#include "vswitch/forward.h"
#include "vswitch/mirror.h"
#include "vswitch/shaper.h"
#include "vswitch/vlan.h"

enum {
	MAX_AGE_SECONDS = 1000000, /* 802.1Q, 8.8.3 */
	MAX_CAPACITY = 1 << 22,
};

int config_find(struct config_finding *f, const char *key, const char *format,
		...)
{
	va_list args;

	snprintf(f->key, sizeof(f->key), "%s", key);
	va_start(args, format);
	vsnprintf(f->what, sizeof(f->what), format, args);
	va_end(args);
	return -EINVAL;
}

int config_find_below(struct config_finding *f, const char *format, ...)
{
	char key[CONFIG_KEY_BYTES], path[CONFIG_KEY_BYTES];
	va_list args;

	va_start(args, format);
	vsnprintf(path, sizeof(path), format, args);
	va_end(args);
	strcpy(key, f->key);
	snprintf(f->key, sizeof(f->key), "%.40s.%.50s", path, key);
	return -EINVAL;
}

static int check_vhost_user(const struct port_config *p,
			    struct config_finding *f)
{
	uint8_t mac[6];

	if (p->kind != PORT_VHOST_USER) {
		if (p->socket_path)
			return config_find(
				f, "socket-path",
				"only vhost-user ports have a socket");
		if (p->mac)
			return config_find(
				f, "mac",
				"only vhost-user ports tell it a guest");
		return 0;
	}
	if (!p->socket_path)
		return config_find(
			f, "socket-path",
			"a vhost-user port needs the path of its socket");
	if (p->mac && config_mac(p->mac, mac) < 0)
		return config_find(
			f, "mac",
			"%s: give an address, as in 52:54:00:12:34:56", p->mac);
	return 0;
}

static bool has_tap(const struct port_config *p)
{
	return p->kind == PORT_TAP || p->kind == PORT_INTERNAL;
}

static int check_tap(const struct port_config *p, struct config_finding *f)
{
	if (!has_tap(p) && p->tap)
		return config_find(f, "tap", "a %s port has no TAP",
				   config_kind_name(p->kind));
	if (p->bridge && p->kind != PORT_TAP)
		return config_find(f, "bridge",
				   "only the TAP of a port of kind tap "
				   "joins a bridge");
	if (has_tap(p) && !p->tap && strlen(p->name) >= IFNAMSIZ)
		return config_find(
			f, "name",
			"a device of that name cannot be: name one of at "
			"most %u characters with the key tap",
			IFNAMSIZ - 1);
	return 0;
}

static int check_devargs(const struct port_config *p, struct config_finding *f)
{
	const char *wrong;

	if (p->kind != PORT_DPDK && p->devargs)
		return config_find(f, "devargs", "only dpdk ports have them");
	if (p->kind != PORT_DPDK && p->offloads == CONFIG_OFF)
		return config_find(f, "offloads",
				   "only those of dpdk ports are turned off");
	if (p->kind != PORT_DPDK)
		return 0;
	if (!p->devargs)
		return config_find(f, "devargs",
				   "a dpdk port needs those of its device");
	wrong = ethdev_check(p->devargs);
	return wrong ? config_find(f, "devargs", "%.64s: %s", p->devargs, wrong)
		     : 0;
}

static int check_xdp(const struct port_config *p, struct config_finding *f)
{
	if (p->kind == PORT_XDP)
		return p->interface ? 0
				    : config_find(f, "interface",
						  "an xdp port needs the name "
						  "of one");
	if (p->interface)
		return config_find(f, "interface", "only xdp ports have one");
	if (p->xdp_mode != NET_XDP_AUTO)
		return config_find(f, "xdp-mode", "only xdp ports have one");
	return 0;
}

static int check_numbers(const struct port_config *p, struct config_finding *f)
{
	if (p->queues > CONFIG_MAX_QUEUES)
		return config_find(f, "queues", "%u: give 1 to %u", p->queues,
				   CONFIG_MAX_QUEUES);
	if (p->mtu && p->mtu < NETDEV_MIN_MTU)
		return config_find(f, "mtu", "%u: give %u or more", p->mtu,
				   NETDEV_MIN_MTU);
	return 0;
}

static int check_vlans(const struct port_config *p, struct config_finding *f)
{
	struct vlan_port vlan = {.mode = p->vlan_mode};
	const char *wrong;

	for (unsigned i = 0; i < p->vlans_count; i++) {
		char key[CONFIG_KEY_BYTES];

		snprintf(key, sizeof(key), "vlans.%u", i);
		if (config_add_vlans(p->vlans[i], &vlan) < 0)
			return config_find(
				f, key,
				"%s: give a VLAN from 1 to 4094, a range "
				"as in 10-20, or all",
				p->vlans[i]);
	}
	config_vlan(p, &vlan);
	wrong = vlan_port_check(&vlan);
	if (wrong)
		return config_find(f, p->vlan > VLAN_MAX ? "vlan" : "vlan-mode",
				   "%s", wrong);
	if (p->vlan_mode != VLAN_TRUNK && (p->tags_native || p->service_tags))
		return config_find(
			f, p->tags_native ? "tags-native" : "service-tags",
			"only a trunk has tags");
	return 0;
}

static int check_stations(const struct port_config *p, struct config_finding *f)
{
	uint8_t mac[6];

	if (p->stations_count > 0 && p->vlan_mode == VLAN_TRUNK &&
	    p->vlan == VLAN_NONE)
		return config_find(
			f, "stations",
			"they are in the native VLAN, and this trunk has "
			"none");
	for (unsigned i = 0; i < p->stations_count; i++) {
		char key[CONFIG_KEY_BYTES];

		snprintf(key, sizeof(key), "stations.%u", i);
		if (config_mac(p->stations[i], mac) < 0)
			return config_find(f, key,
					   "%s: give an address, as in "
					   "52:54:00:12:34:56",
					   p->stations[i]);
	}
	if (p->locked && p->stations_count == 0)
		return config_find(f, "locked", "a locked port needs stations");
	return 0;
}

static int check_limits(const struct port_config *p, struct config_finding *f)
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

		if (config_set_limit(&limit, all[i].rate, 1) < 0)
			return config_find(
				f, all[i].key,
				"so much in a second, or at once, cannot "
				"be limited");
	}
	return 0;
}

static int check_guard(const struct port_config *p, struct config_finding *f)
{
	int err = p->guard ? guard_config_check(p->guard, f) : 0;

	return err < 0 ? config_find_below(f, "guard") : 0;
}

static int check_shape(const struct port_config *p, struct config_finding *f)
{
	const struct config_rate rate = {p->shape.rate, p->shape.burst};
	struct limit limit = {0};

	if (config_set_limit(&limit, &rate, NET_MAX_FRAME_BYTES) < 0)
		return config_find(f, "shape",
				   "so much in a second, or at once, cannot be "
				   "limited");
	if (p->shape.queue > SHAPER_MAX_QUEUE_BYTES)
		return config_find(f, "shape.queue", "%llu: give %llu at most",
				   (unsigned long long)p->shape.queue,
				   (unsigned long long)SHAPER_MAX_QUEUE_BYTES);
	return 0;
}

static int check_mirror(const struct port_config *p, struct config_finding *f)
{
	if (!p->mirror)
		return 0;
	if (p->stations_count > 0)
		return config_find(f, "stations",
				   "a port with a mirror only listens");
	if (mirror_config_check(p->mirror, f) < 0)
		return config_find_below(f, "mirror");
	for (unsigned i = 0; i < p->mirror->ports_count; i++) {
		char key[CONFIG_KEY_BYTES];

		snprintf(key, sizeof(key), "mirror.ports.%u", i);
		if (strcmp(p->mirror->ports[i], p->name) == 0)
			return config_find(f, key,
					   "%s: it cannot listen to itself",
					   p->name);
	}
	return 0;
}

static int check_acl(const struct port_config *p, struct config_finding *f)
{
	return acl_config_check(&p->acl, f);
}

int port_config_check(const struct port_config *p, struct config_finding *f)
{
	static int (*const checks[])(const struct port_config *,
				     struct config_finding *) = {
		check_vhost_user, check_tap,   check_devargs,  check_xdp,
		check_numbers,	  check_vlans, check_stations, check_limits,
		check_guard,	  check_acl,   check_mirror,   check_shape,
	};
	int err = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(checks) && err == 0; i++)
		err = checks[i](p, f);
	return err;
}

static const char *tap_of(const struct port_config *p)
{
	if (!has_tap(p))
		return NULL;
	return p->tap ? p->tap : p->name;
}

static bool are_same(const char *a, const char *b)
{
	return a && b && strcmp(a, b) == 0;
}

static bool are_same_device(const char *a, const char *b)
{
	char names[2][ETHDEV_NAME_BYTES];

	if (!a || !b)
		return false;
	ethdev_name(a, names[0]);
	ethdev_name(b, names[1]);
	return strcmp(names[0], names[1]) == 0;
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
	if (are_same_device(a->devargs, b->devargs))
		return "devargs";
	if (are_same(a->interface, b->interface))
		return "interface";
	return NULL;
}

static int check_pairs(const struct config *config, unsigned i,
		       struct config_finding *f)
{
	for (unsigned j = 0; j < i; j++) {
		const char *key =
			port_config_clash(&config->ports[i], &config->ports[j]);

		if (key)
			return config_find(
				f, key,
				"the port %s of entry %u has it already",
				config->ports[j].name, j + 1);
	}
	return 0;
}

static bool has_port(const struct config *config, const char *name)
{
	for (unsigned i = 0; i < config->ports_count; i++)
		if (are_same(config->ports[i].name, name))
			return true;
	return false;
}

static int check_mirrored(const struct config *config, unsigned i,
			  struct config_finding *f)
{
	const struct mirror_config *mirror = config->ports[i].mirror;

	for (unsigned j = 0; mirror && j < mirror->ports_count; j++) {
		char key[CONFIG_KEY_BYTES];

		snprintf(key, sizeof(key), "mirror.ports.%u", j);
		if (!has_port(config, mirror->ports[j]))
			return config_find(f, key, "%s: no port has this name",
					   mirror->ports[j]);
	}
	return 0;
}

static int check_mirrors(const struct config *config, struct config_finding *f)
{
	unsigned count = 0;

	for (unsigned i = 0; i < config->ports_count; i++) {
		count += config->ports[i].mirror != NULL;
		if (count <= MIRROR_MAX)
			continue;
		config_find(f, "mirror", "there are %u of them at most",
			    MIRROR_MAX);
		return config_find_below(f, "ports.%u", i);
	}
	return 0;
}

int config_check_names(const struct config *config, struct config_finding *f)
{
	for (unsigned i = 0; i < config->ports_count; i++)
		if (check_mirrored(config, i, f) < 0)
			return config_find_below(f, "ports.%u", i);
	return 0;
}

static int check_ports(const struct config *config, struct config_finding *f)
{
	for (unsigned i = 0; i < config->ports_count; i++) {
		int err = port_config_check(&config->ports[i], f);

		if (err == 0)
			err = check_pairs(config, i, f);
		if (err < 0)
			return config_find_below(f, "ports.%u", i);
	}
	return check_mirrors(config, f);
}

int config_check(const struct config *config, struct config_finding *f)
{
	if (config->lcores > CONFIG_MAX_LCORES)
		return config_find(f, "lcores", "%u: give 1 to %u",
				   config->lcores, CONFIG_MAX_LCORES);
	if (config->fdb_capacity > MAX_CAPACITY)
		return config_find(f, "fdb-capacity", "%u: give %u at most",
				   config->fdb_capacity, MAX_CAPACITY);
	if (config->fdb_age > MAX_AGE_SECONDS)
		return config_find(f, "fdb-age", "%u: give %u seconds at most",
				   config->fdb_age, MAX_AGE_SECONDS);
	return check_ports(config, f);
}
