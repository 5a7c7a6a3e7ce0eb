/* SPDX-License-Identifier: Apache-2.0 */
#include "vswitch/control-policy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/barrier.h"
#include "vswitch/guard.h"
#include "vswitch/vswitch.h"

enum {
	MAC_TEXT_BYTES = 18,
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
