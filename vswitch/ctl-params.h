/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parameters of `vswitch ctl`'s requests, made from the words behind a
 * command, of which there are as many as its row in ctl-commands.c says. NULL,
 * with a message: they are none. The caller's to release.
 */
#ifndef VSWITCH_CTL_PARAMS_H
#define VSWITCH_CTL_PARAMS_H

#include <jansson.h>

/* NAME */
json_t *ctl_params_name(unsigned count, char **arguments);
/* KEY=VALUE...: a port. Numbers and yes or no are so; VALUE may be JSON. Cuts
 * its arguments, as all do that take keys. */
json_t *ctl_params_port(unsigned count, char **arguments);
/* PORT KEY=VALUE... */
json_t *ctl_params_keys(unsigned count, char **arguments);
json_t *ctl_params_guard(unsigned count, char **arguments);
/* PORT */
json_t *ctl_params_of_port(unsigned count, char **arguments);
/* [PORT] */
json_t *ctl_params_flush(unsigned count, char **arguments);
json_t *ctl_params_acl_list(unsigned count, char **arguments);
/* PORT FILE, and PORT for no rules */
json_t *ctl_params_acl(unsigned count, char **arguments);
json_t *ctl_params_no_acl(unsigned count, char **arguments);
/* PORT PAIR LCORE */
json_t *ctl_params_move(unsigned count, char **arguments);
/* PORT HEX, or PORT KEY=VALUE... */
json_t *ctl_params_trace(unsigned count, char **arguments);

#endif
