/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The schemas of what the switch is told, for vswitch/config.c: keys, and the
 * members that they are read into.
 */
#ifndef VSWITCH_CONFIG_SCHEMA_H
#define VSWITCH_CONFIG_SCHEMA_H

#include <cyaml/cyaml.h>

/* A string of at most @max characters. */
#define FIELD_TEXT(key, flags, type, member, max)                       \
	CYAML_FIELD_STRING_PTR(key, CYAML_FLAG_POINTER | (flags), type, \
			       member, 1, max)
/* libcyaml's own takes any word for a yes. */
#define FIELD_YES(key, type, member)                                         \
	CYAML_FIELD_ENUM(key, CYAML_FLAG_OPTIONAL | CYAML_FLAG_STRICT, type, \
			 member, config_yes_or_no, CONFIG_YES_OR_NO)
#define FIELD_NUMBER(key, type, member) \
	CYAML_FIELD_UINT(key, CYAML_FLAG_OPTIONAL, type, member)

enum {
	CONFIG_TEXT_MAX = 31,
	CONFIG_YES_OR_NO = 4,
};

extern const cyaml_strval_t config_yes_or_no[CONFIG_YES_OR_NO];

extern const cyaml_schema_value_t config_schema;      /* a struct config */
extern const cyaml_schema_value_t port_config_schema; /* a struct port_config */

/* vswitch/config-policy.c */
extern const cyaml_schema_field_t guard_config_fields[];
extern const cyaml_schema_value_t guard_config_schema;

extern const cyaml_schema_field_t mirror_config_fields[];

/* vswitch/config-acl.c */
extern const cyaml_schema_value_t acl_rule_schema; /* of a sequence's entry */
extern const cyaml_schema_value_t acl_config_schema;

#endif
