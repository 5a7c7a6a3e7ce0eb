/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A port of the switch: what is common to all kinds, and how each kind is
 * opened, counted and closed. vswitch/vhost-port.c, vswitch/tap-port.c,
 * vswitch/ethdev-port.c, vswitch/xdp-port.c.
 *
 * Control thread only, but for what forwarding calls.
 */
#ifndef VSWITCH_PORT_H
#define VSWITCH_PORT_H

#include "base/log.h"
#include "base/loop.h"
#include "vhost-net/netdev.h"
#include "vswitch/config.h"
#include "vswitch/forward.h"
#include "vswitch/lcore.h"
#include "vswitch/offload.h"
#include "vswitch/shaper.h"

enum {
	PORT_ERROR_BYTES = 512,
	PORT_NAME_BYTES = CONFIG_NAME_MAX + 1,
	PORT_OFFLOADS = 4,
};

struct port;

/* Of the switch, for its ports. */
struct port_owner {
	struct loop *control;
	struct lcore *const *lcores;
	unsigned lcore_count;
};

/* What a port has counted, as whoever is behind it sees it. */
struct port_counters {
	struct netdev_counters net; /* rx is what went out of the switch */
	uint64_t drops[FORWARD_DROPS];
	uint64_t offloads[OFFLOADS]; /* of ports with ops->offloads */
	uint64_t unreachable;	     /* nobody was there to receive */
	struct shaper_counters shaped;
};

struct port_ops {
	/*
	 * What needs rights or paths, before they are given up; may be NULL.
	 * And the rest: frames may come and go. With a sentence in @ret_error.
	 * A vhost-user port can be started again after it was stopped.
	 */
	int (*open)(struct port *port, char *ret_error);
	int (*start)(struct port *port, char *ret_error);
	/* No source is attached any more, nor is any frame received; frames
	 * may still be sent to the port. Also if it was not started. */
	void (*stop)(struct port *port);
	/* Nobody knows of the port any more. */
	void (*free)(struct port *port);
	/* Adds what queue pair @pair has counted, of config->queues, … */
	void (*count_pair)(struct port *port, unsigned pair,
			   struct port_counters *counters);
	/* … and what belongs to none of them. */
	void (*count_rest)(struct port *port, struct port_counters *counters);
	bool (*is_up)(const struct port *port);
	/* Where the frames of @pair come from; NULL: nobody serves it now. */
	struct source *(*source)(struct port *port, unsigned pair);
	/* What a device does of what frames leave to be done, as a person is
	 * shown it; how many. NULL: that is up to who is behind the port. */
	unsigned (*offloads)(const struct port *port,
			     const char *ret_names[static PORT_OFFLOADS]);
	/* The way that its frames go, for a person: "AF_XDP in copy mode"; NULL:
	 * its kind says it. */
	const char *(*way)(const struct port *port);
};

/* What is made of a configuration before anything changes. Owned. */
struct port_policy {
	struct guard *guard; /* NULL: none, and so on */
	struct acl *acl_in, *acl_out;
};

struct port {
	struct forward_port forward; /* first */
	struct port_policy policy;
	const struct port_ops *ops;
	const struct port_owner *owner;
	const struct port_config *config; /* borrowed; see port_configure */
	char name[PORT_NAME_BYTES];
	struct log_limit log_limit;
};

/* By the kind that the configuration says. -ENOMEM. */
int port_new(const struct port_config *config, const struct port_owner *owner,
	     uint16_t number, struct port **ret_port);

/* With its policies. Nobody knows of the port any more. */
void port_free(struct port *port);

int vhost_port_new(struct port **ret_port);
int tap_port_new(struct port **ret_port);
int ethdev_port_new(struct port **ret_port);
int xdp_port_new(struct port **ret_port);

static inline struct port *port_of(struct forward_port *forward)
{
	return (struct port *)forward;
}

/* The thread that serves pair @pair of the port at first. */
static inline struct lcore *port_lcore(const struct port *port, unsigned pair)
{
	const struct port_owner *owner = port->owner;

	return owner
		->lcores[(port->forward.number + pair) % owner->lcore_count];
}

/* -ENOMEM, also for ACLs that are too intricate. */
int port_policy_make(const struct port_config *config,
		     struct port_policy *ret_policy);
void port_policy_free(struct port_policy *policy);

/* Who serves the source of @pair, and remains to. */
static inline struct lcore *port_home(const struct port *port,
				      struct source *source, unsigned pair)
{
	if (!source->home)
		source->home = port_lcore(port, pair);
	return source->home;
}

/* What forwarding goes by, as @config has it, which is borrowed from now on.
 * Takes @policy, and leaves in it the one of before. No thread looks at the port
 * meanwhile. */
void port_configure(struct port *port, const struct port_config *config,
		    struct port_policy *policy);

/* Has the port get frames as fast as @config says, from now on. A shaper that is
 * there stays until port_unshape, which is called before the port is freed.
 * A negative errno. */
int port_shape(struct port *port, const struct shape_config *config);
void port_unshape(struct port *port);

/* All that the port has counted; and, in @ret_pairs of config->queues, which may be
 * NULL, what of it each queue pair has. */
void port_count(struct port *port, struct port_counters *ret_counters,
		struct port_counters *ret_pairs);

/* Every serving thread has begun a new round. */
void port_sync(const struct port_owner *owner);

/* Has @run(arg) called while all serving threads are between two rounds. */
void port_quiet(const struct port_owner *owner, void (*run)(void *arg),
		void *arg);

/* Something from outside that a person may want to know. */
void port_complain(struct port *port, const char *what);

#endif
