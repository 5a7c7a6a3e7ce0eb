/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of the switch: vswitch.c has its beginning and end, vswitch-ports.c
 * ports that come and go, vswitch-retire.c those that may come back,
 * vswitch-mirrors.c who listens to whom, vswitch-change.c what changes of a port
 * that stays.
 */
#ifndef VSWITCH_VSWITCH_INTERNAL_H
#define VSWITCH_VSWITCH_INTERNAL_H

#include "vswitch/balance.h"
#include "vswitch/mirror.h"
#include "vswitch/sniffer.h"
#include "vswitch/vswitch.h"

enum slot_state {
	SLOT_USED, /* if there is a port */
	SLOT_RETIRED,
	SLOT_HALTED,
	SLOT_LEAVING, /* until it is freed */
};

/* A port's place in the table, whether or not there is one. */
struct vswitch_slot {
	struct port *port;
	struct port_config *config; /* owned */
	enum slot_state state;
	struct loop_message freeing;
};

struct vswitch {
	struct vswitch_config config;
	struct rte_rcu_qsbr *rcu;
	struct fdb *fdb;
	struct lcore *lcores[CONFIG_MAX_LCORES];
	struct port_owner owner;
	struct forward_table table;
	struct vswitch_slot slots[CONFIG_MAX_PORTS];
	struct mirror_set mirrors[2]; /* in turn */
	struct sniffers sniffers;
	struct balance balance;
	bool is_started;
	uint64_t generation;
	int timer_fd;
	struct loop_watch *timer;
};

/* --- vswitch-ports.c ---------------------------------------------------------- */

/* Ports of one group have one number, which nobody else has: that of the first
 * of them. Of no group (NULL): 0. */
uint16_t vswitch_number_group(const struct vswitch *vswitch, const char *name);
/* The key of the @i-th of @config->stations. */
fdb_key vswitch_station(const struct port_config *config, unsigned i);
/* All or none of those of @config become static on port @number. */
int vswitch_give_stations(struct vswitch *vswitch,
			  const struct port_config *config, uint16_t number,
			  char *ret_error);

/* Opens what needs rights, and takes the place @number; and @config on success. */
int vswitch_open_at(struct vswitch *vswitch, struct port_config *config,
		    uint16_t number, char *ret_error);
/* Whoever finds it in the table has done with it when this returns. Also if it
 * was not started. */
void vswitch_stop_port(struct vswitch *vswitch, uint16_t number);
/* The same, and has it freed behind what its threads have posted already. */
void vswitch_end_port(struct vswitch *vswitch, uint16_t number);
/* Frees the stopped port of the slot whose message it is, and the configuration,
 * if it is in the slot still. */
void vswitch_free_slot(struct loop_message *freeing);

/* --- vswitch-mirrors.c -------------------------------------------------------- */

/* Ports came, went or listen to others: numbers are not what they were. */
void vswitch_set_mirrors(struct vswitch *vswitch);
/* Whether there is place for the mirror of @config, if it has one; @has_one: the
 * port is among those that listen already. */
int vswitch_check_mirror(const struct vswitch *vswitch,
			 const struct port_config *config, bool has_one,
			 char *ret_error);

#endif
