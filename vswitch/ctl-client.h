/* SPDX-License-Identifier: Apache-2.0 */
/* The connection of `vswitch ctl` to a switch. */
#ifndef VSWITCH_CTL_CLIENT_H
#define VSWITCH_CTL_CLIENT_H

#include <jansson.h>
#include <stdio.h>

/* NULL, with a message: nobody listens at @path. */
FILE *ctl_connect(const char *path);

/* A request, and its answer, a line each; takes @params. NULL: there is none. */
json_t *ctl_ask(FILE *to, const char *method, json_t *params);

/* The result in an answer, borrowed, which may be NULL; or NULL, with what the
 * switch said as a message. */
const json_t *ctl_result(const json_t *answer);

#endif
