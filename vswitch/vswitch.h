/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The switch: ports, what is known of stations, and the threads that forward.
 *
 * Control thread only.
 */
#ifndef VSWITCH_VSWITCH_H
#define VSWITCH_VSWITCH_H

#include "base/loop.h"
#include "base/spin.h"
#include "vswitch/config.h"
#include "vswitch/fdb.h"
#include "vswitch/port.h"

struct vswitch;

struct vswitch_config {
	struct config *config; /* taken on success */
	const char *path;      /* that it was read from; borrowed */
	struct loop *control;  /* borrowed */
	enum spin_mode poll;
};

/*
 * Makes the switch and opens of its ports what needs rights (TAPs). EAL has to
 * be initialised. A negative errno with a sentence.
 */
int vswitch_new(const struct vswitch_config *config,
		struct vswitch **ret_vswitch,
		char ret_error[static PORT_ERROR_BYTES]);

/* Makes the threads, and starts all ports. */
int vswitch_start(struct vswitch *vswitch,
		  char ret_error[static PORT_ERROR_BYTES]);

/* Also if it was not started. Accepts NULL. */
void vswitch_free(struct vswitch *vswitch);

/*
 * One more port, while frames pass. Takes @config on success. -EEXIST if
 * another port has its name, socket or TAP; -ENOSPC.
 */
int vswitch_add_port(struct vswitch *vswitch, struct port_config *config,
		     char ret_error[static PORT_ERROR_BYTES]);
/* The same in two steps: what needs rights is opened, and the port has its place
 * and stations; then frames may come. If they may not, it is to be removed. */
int vswitch_open_port(struct vswitch *vswitch, struct port_config *config,
		      char ret_error[static PORT_ERROR_BYTES]);
int vswitch_start_port(struct vswitch *vswitch, uint16_t number,
		       char ret_error[static PORT_ERROR_BYTES]);
/* -ENOENT. */
int vswitch_remove_port(struct vswitch *vswitch, const char *name);

/*
 * The port of the name in @config, which is taken on success, goes on as that
 * says. Only what forwarding goes by may differ: no serving thread is at a
 * frame while it changes, no frame is lost, and whoever is behind the port sees
 * nothing of it. -ENOENT, -ENOSPC (its stations).
 */
int vswitch_change_port(struct vswitch *vswitch, struct port_config *config,
			char ret_error[static PORT_ERROR_BYTES]);

/*
 * A port that is to make room is retired first: nobody finds it any more, its name
 * is free, and it forwards as before, until it is halted for what it has open. Then
 * all that are retired come back as they were, those that were halted without
 * their connections and stations, or all go. What cannot come back is logged, and
 * goes.
 */
void vswitch_retire_port(struct vswitch *vswitch, uint16_t number);
void vswitch_halt_port(struct vswitch *vswitch, uint16_t number);
/* The retired port of @number that was not halted, or NULL. */
const struct port *vswitch_retired_port(const struct vswitch *vswitch,
					unsigned number);
void vswitch_recall_ports(struct vswitch *vswitch);
void vswitch_dismiss_ports(struct vswitch *vswitch);

/* In the order of their numbers; NULL: no port has @number. Also before the
 * start. */
const struct port *vswitch_port(const struct vswitch *vswitch, unsigned number);
/* -ENOENT */
int vswitch_find_port(const struct vswitch *vswitch, const char *name,
		      uint16_t *ret_number);
/* As port_count. */
void vswitch_count(const struct vswitch *vswitch, const struct port *port,
		   struct port_counters *ret_counters,
		   struct port_counters *ret_pairs);

/*
 * From the next burst on, while frames pass, the port @number, which there is,
 * has another guard; NULL: none. @config is read only here. -ENOMEM.
 */
int vswitch_set_guard(struct vswitch *vswitch, uint16_t number,
		      const struct guard_config *config);

/* Likewise: other ACLs, which are made first; their counts begin at 0. */
int vswitch_set_acl(struct vswitch *vswitch, uint16_t number,
		    const struct acl_config *config);

struct fdb *vswitch_fdb(struct vswitch *vswitch);

/* The serving threads. */
unsigned vswitch_lcore_count(const struct vswitch *vswitch);
struct lcore *vswitch_lcore(const struct vswitch *vswitch, unsigned number);

/* What the serving threads go by. */
const struct forward_table *vswitch_table(const struct vswitch *vswitch);

/* The source of a port's pair; NULL: there is none, or nobody serves it. */
struct source *vswitch_source(const struct vswitch *vswitch, unsigned number,
			      unsigned pair);
struct balance *vswitch_balance(struct vswitch *vswitch);
struct sniffers *vswitch_sniffers(struct vswitch *vswitch);

/* Another one after each port that was added, removed or changed. */
uint64_t vswitch_generation(const struct vswitch *vswitch);

/* --- what it was told --------------------------------------------------------- */

/* As the file had it when it was last read. */
const struct config *vswitch_config(const struct vswitch *vswitch);
const char *vswitch_config_path(const struct vswitch *vswitch);
/* Takes @config, of which only the age of stations is applied here. */
void vswitch_set_config(struct vswitch *vswitch, struct config *config);
/* All as it is now, as config_write; ports in the order of their numbers. */
char *vswitch_write(const struct vswitch *vswitch);

#endif
