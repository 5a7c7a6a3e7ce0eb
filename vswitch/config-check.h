/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a configuration that fits the schema says that cannot be: values out of
 * range, keys that do not go together, two ports that cannot be in one switch.
 *
 * Control thread.
 */
#ifndef VSWITCH_CONFIG_CHECK_H
#define VSWITCH_CONFIG_CHECK_H

#include "base/limit.h"
#include "vswitch/config.h"

enum {
	CONFIG_KEY_BYTES = 96,
};

/* The first thing that is wrong: under which key, and a sentence. */
struct config_finding {
	char key[CONFIG_KEY_BYTES]; /* as config_file_line takes it */
	char what[CONFIG_FILE_ERROR_BYTES / 2];
};

/* What is not given has its default already. -EINVAL, with the finding. */
int config_check(const struct config *config, struct config_finding *f);
/* Of one that was checked, and is all that there is: mirrors listen to its ports. */
int config_check_names(const struct config *config, struct config_finding *f);
int port_config_check(const struct port_config *p, struct config_finding *f);

int guard_config_check(const struct guard_config *guard,
		       struct config_finding *f);
int mirror_config_check(const struct mirror_config *mirror,
			struct config_finding *f);
int acl_config_check(const struct acl_config *acl, struct config_finding *f);

/* Notes what is wrong. -EINVAL. */
__attribute__((format(printf, 3, 4))) int
config_find(struct config_finding *f, const char *key, const char *format, ...);
/* What was found is below the key that @format makes. -EINVAL. */
__attribute__((format(printf, 2, 3))) int
config_find_below(struct config_finding *f, const char *format, ...);

/* --- what a check tries; vswitch/config-port.c ------------------------------- */

/* "7", "7-9", "all" for a port of the mode that is set. -EINVAL. */
int config_add_vlans(const char *text, struct vlan_port *vlan);
/* @burst, or if it is 0 what it is then. */
uint64_t config_burst(uint64_t rate, uint64_t burst, uint64_t least_burst);
/* Bytes that wait, or if that is not given what it is then. */
uint64_t config_shape_queue(const struct shape_config *config);
/* Of a burst that is not given, at least @least_burst. -EINVAL. */
int config_set_limit(struct limit *limit, const struct config_rate *rate,
		     uint64_t least_burst);

#endif
