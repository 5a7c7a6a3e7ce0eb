/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the switch is told: the file of --config, or one port over the control
 * socket. Strings and sequences belong to the structure they were read into.
 *
 * Control thread.
 */
#ifndef VSWITCH_CONFIG_H
#define VSWITCH_CONFIG_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control/config-file.h"

enum {
	CONFIG_NAME_MAX = 31,
	CONFIG_DEVARGS_MAX = 255,
	CONFIG_MAX_PORTS = 256,
	CONFIG_MAX_LCORES = 64,
	CONFIG_MAX_QUEUES = 64,
	CONFIG_MAX_STATIONS = 1024, /* that a port is given */
};

enum port_kind {
	PORT_VHOST_USER,
	PORT_TAP,
	PORT_INTERNAL, /* a TAP for the host itself */
	PORT_DPDK,     /* a device of DPDK's */
	PORT_XDP,      /* an interface, by AF_XDP */
};

/* Whether queues are moved to other threads as load wants it. */
enum config_balance {
	BALANCE_AUTO,
	BALANCE_OFF,
};

/* What is done unless one says otherwise. */
enum config_switch {
	CONFIG_ON,
	CONFIG_OFF,
};

/* A rate of 0 is none. */
struct config_rate {
	uint64_t rate;	/* a second */
	uint64_t burst; /* 0: a tenth of a second's */
};

/* Who a port may say it is: vswitch/guard.h. */
struct guard_config {
	char *mac; /* "first"; NULL: the port's mac, or if it has none, first */
	char **addresses; /* prefixes */
	unsigned addresses_count;
	bool router;
};

/* One rule on what passes a port: vswitch/acl.h. What is NULL or 0 is anything. */
struct acl_rule_config {
	char *name;
	int action; /* enum acl_action */
	char *from_mac,
		*to_mac; /* "52:54:00:12:34:56", "52:54:00:00:00:00/24" */
	char *ethertype; /* "arp", "ipv4", "ipv6", or a number */
	uint16_t vlan;
	char *from, *to; /* prefixes */
	char *protocol;	 /* "tcp", "udp", "icmp", "icmpv6", or a number */
	char *from_ports, *to_ports; /* "22", "1024-65535" */
	char *icmp_type;
	bool opens;
};

enum acl_action {
	ACL_ALLOW,
	ACL_DENY,
};

/* Of a port: for what it sends, and what it is sent. */
struct acl_config {
	struct acl_rule_config *in;
	unsigned in_count;
	struct acl_rule_config *out;
	unsigned out_count;
};

/* What a port listens to: vswitch/mirror.h. */
struct mirror_config {
	char **ports; /* their names */
	unsigned ports_count;
	int direction; /* of these: enum mirror_direction */
	char **vlans;
	unsigned vlans_count;
};

enum mirror_direction {
	MIRROR_BOTH,
	MIRROR_IN,  /* what they send */
	MIRROR_OUT, /* what they are sent */
};

/* How fast a port gets frames: vswitch/shaper.h. A rate of 0 is none. */
struct shape_config {
	uint64_t rate, burst; /* bytes; as in struct config_rate */
	uint64_t queue;	      /* bytes; 0: 256 KiB */
};

struct port_config {
	char *name;
	int kind; /* enum port_kind */
	/* vhost-user */
	char *socket_path;
	bool connect;
	char *mac; /* that the guest is told; or NULL */
	/* TAP */
	char *tap;	 /* NULL: called as the port is */
	char *bridge;	 /* to be joined; or NULL */
	char *devargs;	 /* DPDK: the device, as DPDK names it */
	char *interface; /* AF_XDP */
	int xdp_mode;	 /* enum net_xdp_mode */
	uint16_t queues; /* pairs; 1 */
	uint16_t mtu;	 /* 0: as it is */
	int offloads;	 /* enum config_switch: DPDK, those of the device */
	int vlan_mode;	 /* enum vlan_mode */
	uint16_t vlan;	 /* access, tunnel: the VLAN; trunk: the native one */
	char **vlans;	 /* "10", "20-30", "all" */
	unsigned vlans_count;
	bool tags_native;
	bool service_tags; /* trunk: 802.1ad */
	char *group;	   /* of ports that do not reach each other */
	bool locked;	   /* only its stations may send */
	char **stations;   /* static ones */
	unsigned stations_count;
	uint32_t max_stations; /* to be learned; a guest: 1,024 */
	struct config_rate frames, bytes;
	struct config_rate broadcast, multicast, unknown;
	struct shape_config shape;
	struct guard_config *guard; /* NULL: none */
	struct acl_config acl;
	struct mirror_config *mirror; /* NULL: none */
};

struct config {
	uint16_t lcores; /* 1 */
	uint16_t *cpus;	 /* of them, in turn; NULL: any */
	unsigned cpus_count;
	int balance;	       /* enum config_balance */
	bool hugepages;	       /* if there are enough */
	uint32_t fdb_capacity; /* of stations; 65,536 */
	uint32_t fdb_age;      /* seconds; 300 */
	struct port_config *ports;
	unsigned ports_count;
};

/*
 * Reads and checks a file. -EINVAL, or another negative errno if it cannot be
 * read, with a sentence that names file, line and key.
 */
int config_read(const char *path, struct config **ret_config,
		char ret_error[static CONFIG_FILE_ERROR_BYTES]);
/* The same, of text that came from elsewhere: its mirrors may listen to ports that
 * it lacks. */
int config_parse(const struct config_text *text, struct config **ret_config,
		 char ret_error[static CONFIG_FILE_ERROR_BYTES]);
void config_free(struct config *config); /* accepts NULL */

/* One port, from text that is YAML or JSON. */
int port_config_read(const char *text, size_t length,
		     struct port_config **ret_config,
		     char ret_error[static CONFIG_FILE_ERROR_BYTES]);
void port_config_free(struct port_config *config); /* accepts NULL */
int port_config_copy(const struct port_config *config,
		     struct port_config **ret_copy);

/* The text that is read to the same, all keys that have a value in it; for the
 * caller to free. NULL: there is no memory. */
char *config_write(const struct config *config);
char *port_config_write(const struct port_config *config);

/* A guard alone, likewise. */
int guard_config_read(const char *text, size_t length,
		      struct guard_config **ret_config,
		      char ret_error[static CONFIG_FILE_ERROR_BYTES]);
void guard_config_free(struct guard_config *config); /* accepts NULL */

/*
 * The port @config with the keys of the JSON object @changes instead of its own:
 * null takes one away. As port_config_read; -ENOMEM.
 */
int port_config_set(const struct port_config *config, json_t *changes,
		    struct port_config **ret_config,
		    char ret_error[static CONFIG_FILE_ERROR_BYTES]);

/* Both ACLs of a port, under the keys that a port has them under. */
int acl_config_read(const char *text, size_t length,
		    struct acl_config **ret_config,
		    char ret_error[static CONFIG_FILE_ERROR_BYTES]);
void acl_config_free(struct acl_config *config); /* accepts NULL */

/* The key of @a under which both ports have the same, or NULL: they can be in
 * one switch. */
const char *port_config_clash(const struct port_config *a,
			      const struct port_config *b);

/* --- what a checked port says ------------------------------------------------ */

struct vlan_port;
struct forward_port;
struct acl;
struct guard;
struct shaper;

const char *config_kind_name(enum port_kind kind);
const char *config_vlan_mode_name(unsigned mode);
void config_vlan(const struct port_config *config, struct vlan_port *ret_vlan);
/* -EINVAL if @text is no address of one station. */
int config_mac(const char *text, uint8_t ret_mac[static 6]);
/* The guard of a port whose guest was told @mac, or NULL; for the caller to free.
 * -ENOMEM. */
int config_guard(const struct guard_config *config, const char *mac,
		 struct guard **ret_guard);
/* The ACL of @count rules; NULL for none. -ENOMEM, also if they are too
 * intricate together. */
int config_acl(const struct acl_rule_config *rules, unsigned count,
	       struct acl **ret_acl);
/* Adds to @vlans, a bit each, those that a mirror wants. */
void config_mirror_vlans(const struct mirror_config *config,
			 struct vlan_port *vlans);
const char *config_mirror_direction_name(unsigned direction);
/* -ENOMEM. */
int config_shape(const struct shape_config *config, struct shaper *shaper);
/* The limits of a port that nobody uses yet. */
void config_limits(const struct port_config *config, struct forward_port *port);

#endif
