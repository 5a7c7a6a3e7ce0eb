/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The schemas of what the switch is told, for vswitch/config.c: keys, and the
 * members that they are read into.
 */
#ifndef VSWITCH_CONFIG_SCHEMA_H
#define VSWITCH_CONFIG_SCHEMA_H

#include <cyaml/cyaml.h>

extern const cyaml_schema_value_t config_schema;      /* a struct config */
extern const cyaml_schema_value_t port_config_schema; /* a struct port_config */

#endif
