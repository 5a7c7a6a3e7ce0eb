/* SPDX-License-Identifier: Apache-2.0 */
#include "vswitch/control-policy.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/barrier.h"
#include "base/bytes.h"
#include "vswitch/acl.h"
#include "vswitch/guard.h"
#include "vswitch/reload.h"
#include "vswitch/vswitch.h"

enum {
	MAC_TEXT_BYTES = 18,
	MATCH_TEXT_BYTES = 320, /* of all that a rule can ask for */
};

static int fail(char *ret_error, int code, const char *text)
{
	snprintf(ret_error, RPC_ERROR_BYTES, "%s", text);
	return code;
}

/* The port that the parameter "port" names: its number. */
static int find_port(const struct vswitch *vswitch, json_t *params,
		     uint16_t *ret_number, char *ret_error)
{
	const char *name = json_string_value(json_object_get(params, "port"));

	if (vswitch_find_port(vswitch, name, ret_number) == 0)
		return 0;
	snprintf(ret_error, RPC_ERROR_BYTES, "%.64s: no port has this name",
		 name);
	return RPC_E_FAILED;
}

/* --- guards ------------------------------------------------------------------ */

static void print_mac(uint64_t mac, char ret_text[static MAC_TEXT_BYTES])
{
	snprintf(ret_text, MAC_TEXT_BYTES, "%02x:%02x:%02x:%02x:%02x:%02x",
		 (unsigned)(mac >> 56) & 0xff, (unsigned)(mac >> 48) & 0xff,
		 (unsigned)(mac >> 40) & 0xff, (unsigned)(mac >> 32) & 0xff,
		 (unsigned)(mac >> 24) & 0xff, (unsigned)(mac >> 16) & 0xff);
}

static json_t *describe_guard(const struct port *port,
			      const struct guard *guard)
{
	const uint64_t mac = load_once(&guard->mac);
	char text[MAC_TEXT_BYTES] = "first";
	json_t *addresses = json_array();

	if (mac)
		print_mac(mac, text);
	for (unsigned i = 0; i < guard->count; i++) {
		char prefix[PREFIX_TEXT_BYTES];

		prefix_print(&guard->addresses[i], prefix);
		json_array_append_new(addresses, json_string(prefix));
	}
	return json_pack("{s:s, s:s, s:o, s:b}", "port", port->config->name,
			 "mac", text, "addresses", addresses, "router",
			 (int)guard->is_router);
}

int control_guard_list(void *arg, json_t *params, json_t **ret_result,
		       char ret_error[static RPC_ERROR_BYTES])
{
	json_t *list = json_array();

	for (unsigned i = 0; i < CONFIG_MAX_PORTS; i++) {
		const struct port *port = vswitch_port(arg, i);

		if (port && port->forward.guard)
			json_array_append_new(
				list,
				describe_guard(port, port->forward.guard));
	}
	*ret_result = list;
	return 0;
}

int control_guard_set(void *arg, json_t *params, json_t **ret_result,
		      char ret_error[static RPC_ERROR_BYTES])
{
	char error[CONFIG_FILE_ERROR_BYTES] = "there is no memory";
	struct guard_config *config;
	uint16_t number;
	char *text;
	int err = find_port(arg, params, &number, ret_error);

	if (err)
		return err;
	text = json_dumps(json_object_get(params, "guard"), 0);
	err = text ? guard_config_read(text, strlen(text), &config, error)
		   : -ENOMEM;
	free(text);
	if (err < 0)
		return fail(ret_error, RPC_E_PARAMS, error);
	err = vswitch_set_guard(arg, number, config);
	guard_config_free(config);
	if (err < 0)
		return fail(ret_error, RPC_E_FAILED, strerror(-err));
	*ret_result = json_true();
	return 0;
}

int control_guard_remove(void *arg, json_t *params, json_t **ret_result,
			 char ret_error[static RPC_ERROR_BYTES])
{
	uint16_t number;
	int err = find_port(arg, params, &number, ret_error);

	if (err)
		return err;
	vswitch_set_guard(arg, number, NULL);
	*ret_result = json_true();
	return 0;
}

/* --- ACLs -------------------------------------------------------------------- */

/* Of a text that becomes longer. */
struct print {
	char text[MATCH_TEXT_BYTES];
	size_t length;
};

__attribute__((format(printf, 2, 3))) static void put(struct print *print,
						      const char *format, ...)
{
	const size_t room = sizeof(print->text) - print->length;
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(print->text + print->length, room, format, args);
	va_end(args);
	if (n > 0)
		print->length += MIN((size_t)n, room - 1);
}

static void put_mac(struct print *print, const char *key,
		    const struct acl_match *mac)
{
	char text[MAC_TEXT_BYTES];
	unsigned bits = __builtin_popcountll(mac->mask);

	if (bits == 0)
		return;
	print_mac(mac->value << 16, text);
	put(print, " %s %s", key, text);
	if (bits < 48)
		put(print, "/%u", bits);
}

static void put_prefix(struct print *print, const char *key,
		       const struct prefix *prefix)
{
	char text[PREFIX_TEXT_BYTES];

	if (prefix->bits == 0)
		return;
	prefix_print(prefix, text);
	put(print, " %s %s", key, text);
}

static void put_range(struct print *print, const char *key,
		      const struct acl_range *range)
{
	if (range->first == 0 && range->last == UINT16_MAX)
		return;
	put(print, " %s %u", key, range->first);
	if (range->last > range->first)
		put(print, "-%u", range->last);
}

/* As the configuration has it, with numbers for words. */
static void print_match(const struct acl_rule *rule, struct print *print)
{
	put_mac(print, "from-mac", &rule->from_mac);
	put_mac(print, "to-mac", &rule->to_mac);
	if (rule->ethertype)
		put(print, " ethertype 0x%04x", rule->ethertype);
	if (rule->vlan)
		put(print, " vlan %u", rule->vlan);
	if (rule->family)
		put(print, " ipv%u", rule->family);
	put_prefix(print, "from", &rule->from);
	put_prefix(print, "to", &rule->to);
	if (rule->has_protocol)
		put(print, " protocol %u", rule->protocol);
	if (rule->has_ports) {
		put_range(print, "from-ports", &rule->from_ports);
		put_range(print, "to-ports", &rule->to_ports);
	}
	if (rule->has_icmp_type)
		put(print, " icmp-type %u", rule->icmp_type);
	if (rule->opens)
		put(print, " opens");
}

static void list_rules(json_t *list, const struct port *port,
		       const char *direction, const struct acl *acl)
{
	for (unsigned i = 0; acl && i < acl_count(acl); i++) {
		const struct acl_rule *rule = acl_rule(acl, i);
		struct print match = {0};

		print_match(rule, &match);
		json_array_append_new(
			list,
			json_pack("{s:s, s:s, s:i, s:s, s:s, s:s, s:I}", "port",
				  port->config->name, "direction", direction,
				  "number", (int)i + 1, "name", rule->name,
				  "action", rule->denies ? "deny" : "allow",
				  "match", match.length ? match.text + 1 : "",
				  "hits", (json_int_t)acl_hits(acl, i)));
	}
}

int control_acl_list(void *arg, json_t *params, json_t **ret_result,
		     char ret_error[static RPC_ERROR_BYTES])
{
	const char *name = json_string_value(json_object_get(params, "port"));
	json_t *list = json_array();

	for (unsigned i = 0; i < CONFIG_MAX_PORTS; i++) {
		const struct port *port = vswitch_port(arg, i);

		if (!port || (name && strcmp(name, port->config->name) != 0))
			continue;
		list_rules(list, port, "in", port->forward.acl_in);
		list_rules(list, port, "out", port->forward.acl_out);
	}
	*ret_result = list;
	return 0;
}

int control_acl_set(void *arg, json_t *params, json_t **ret_result,
		    char ret_error[static RPC_ERROR_BYTES])
{
	const char *text = json_string_value(json_object_get(params, "acl"));
	char error[CONFIG_FILE_ERROR_BYTES];
	struct acl_config *config;
	uint16_t number;
	int err = find_port(arg, params, &number, ret_error);

	if (err)
		return err;
	if (acl_config_read(text, strlen(text), &config, error) < 0)
		return fail(ret_error, RPC_E_PARAMS, error);
	err = vswitch_set_acl(arg, number, config);
	acl_config_free(config);
	if (err < 0)
		return fail(ret_error, RPC_E_FAILED,
			    "the rules are too intricate together: there is no "
			    "memory to compile them");
	*ret_result = json_true();
	return 0;
}

/* --- any key ----------------------------------------------------------------- */

static int check_names(const struct vswitch *vswitch,
		       const struct mirror_config *mirror, char *ret_error)
{
	uint16_t number;

	for (unsigned i = 0; mirror && i < mirror->ports_count; i++) {
		if (vswitch_find_port(vswitch, mirror->ports[i], &number) == 0)
			continue;
		snprintf(ret_error, RPC_ERROR_BYTES,
			 "ports: %.64s: no port has this name",
			 mirror->ports[i]);
		return RPC_E_PARAMS;
	}
	return 0;
}

static int change_port(struct vswitch *vswitch, uint16_t number,
		       struct port_config *config, char *ret_error)
{
	const struct port_config *before =
		vswitch_port(vswitch, number)->config;
	char error[PORT_ERROR_BYTES];
	int err = check_names(vswitch, config->mirror, ret_error);

	if (err)
		return err;
	if (!reload_can_change(before, config))
		return fail(ret_error, RPC_E_PARAMS,
			    "name, kind and device of a port cannot change: "
			    "remove it, and add another");
	if (vswitch_change_port(vswitch, config, error) < 0)
		return fail(ret_error, RPC_E_FAILED, error);
	return 0;
}

int control_port_set(void *arg, json_t *params, json_t **ret_result,
		     char ret_error[static RPC_ERROR_BYTES])
{
	char error[CONFIG_FILE_ERROR_BYTES] = "there is no memory";
	struct port_config *config;
	uint16_t number;
	int err = find_port(arg, params, &number, ret_error);

	if (err)
		return err;
	if (port_config_set(vswitch_port(arg, number)->config,
			    json_object_get(params, "keys"), &config,
			    error) < 0)
		return fail(ret_error, RPC_E_PARAMS, error);
	err = change_port(arg, number, config, ret_error);
	if (err) {
		port_config_free(config);
		return err;
	}
	*ret_result = json_true();
	return 0;
}
