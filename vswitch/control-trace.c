/* SPDX-License-Identifier: Apache-2.0 */
#include "vswitch/control-trace.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "vhost-net/net-mac.h"
#include "vswitch/config.h"
#include "vswitch/trace.h"

enum {
	TYPE_IPV4 = 0x0800,
	TYPE_EXPERIMENTAL = 0x88b5,
	FRAME_BYTES = 2048, /* of one that is given */
	LEAST_BYTES = 60,
	IPV4_BYTES = 20,
	PORTS_BYTES = 8,
};

struct bytes {
	uint8_t data[FRAME_BYTES];
	size_t length;
};

static int fail(char *ret_error, const char *what)
{
	snprintf(ret_error, RPC_ERROR_BYTES, "%s", what);
	return RPC_E_PARAMS;
}

/* --- the frame --------------------------------------------------------------- */

static int read_hex(const char *text, struct bytes *ret, char *ret_error)
{
	unsigned byte;
	int used;

	for (; *text; text += used) {
		/* A sign or a space would pass for a digit. */
		if (ret->length == sizeof(ret->data) ||
		    strspn(text, "0123456789abcdefABCDEF") < 2 ||
		    sscanf(text, "%2x%n", &byte, &used) != 1)
			return fail(ret_error, "frame: give at most 2048 bytes "
					       "in hexadecimal digits");
		ret->data[ret->length++] = byte;
	}
	return ret->length < NET_ETHERNET_BYTES
		       ? fail(ret_error, "frame: it has no Ethernet header")
		       : 0;
}

/* A destination may be a group's address. */
static int read_mac(json_t *params, const char *key, uint8_t *ret_mac)
{
	const char *text = json_string_value(json_object_get(params, key));
	const char *end = text ? net_mac_parse(text, ret_mac) : NULL;

	return end && !*end ? 0 : -EINVAL;
}

static unsigned number(json_t *params, const char *key, unsigned otherwise)
{
	json_t *value = json_object_get(params, key);

	return value ? json_integer_value(value) : otherwise;
}

static int add_ipv4(json_t *params, uint8_t *ip)
{
	const char *from = json_string_value(json_object_get(params, "src"));
	const char *to = json_string_value(json_object_get(params, "dst"));
	uint8_t *ports = ip + IPV4_BYTES;

	ip[0] = 0x45;
	put_be16(ip + 2, IPV4_BYTES + PORTS_BYTES);
	ip[8] = 64;
	ip[9] = number(params, "protocol", IPPROTO_UDP);
	if ((from && inet_pton(AF_INET, from, ip + 12) != 1) ||
	    (to && inet_pton(AF_INET, to, ip + 16) != 1))
		return -EINVAL;
	put_be16(ports, number(params, "sport", 0));
	put_be16(ports + 2, number(params, "dport", 0));
	put_be16(ports + 4, PORTS_BYTES);
	/* TCP: no options, and it opens a connection. */
	if (ip[9] == IPPROTO_TCP) {
		put_be16(ip + 2, IPV4_BYTES + 20);
		put_be16(ports + 4, 0);
		ports[12] = 0x50;
		ports[13] = 0x02;
	}
	return 0;
}

static int make_frame(json_t *params, struct bytes *ret, char *ret_error)
{
	const unsigned vlan = number(params, "vlan", 0);
	const bool is_ip = json_object_get(params, "src") ||
			   json_object_get(params, "dst");
	uint8_t *at = ret->data + 12;

	if (read_mac(params, "to", ret->data) < 0 ||
	    read_mac(params, "from", ret->data + 6) < 0)
		return fail(ret_error, "give frame=HEX, or to and from, as in "
				       "52:54:00:12:34:56");
	if (vlan > VLAN_MAX)
		return fail(ret_error, "vlan: VLANs are 1 to 4094");
	if (vlan) {
		put_be16(at, VLAN_TPID);
		put_be16(at + 2, vlan);
		at += 4;
	}
	put_be16(at,
		 number(params, "type", is_ip ? TYPE_IPV4 : TYPE_EXPERIMENTAL));
	ret->length = LEAST_BYTES + (at - ret->data - 12);
	if (is_ip && add_ipv4(params, at + 2) < 0)
		return fail(ret_error, "src, dst: give IPv4 addresses");
	return 0;
}

/* --- the answer -------------------------------------------------------------- */

static void add_text(json_t *object, const char *key, const char *text)
{
	if (text[0])
		json_object_set_new(object, key, json_string(text));
}

static json_t *describe_port(const struct port *port,
			     const struct trace_port *at)
{
	static const char *const places[] = {
		[TRACE_GETS] = "gets it",
		[TRACE_MIRRORED] = "mirrored",
		[TRACE_REFUSED] = "does not",
	};
	json_t *object = json_pack("{s:s, s:s}", "port", port->name, "result",
				   places[at->place]);

	if (at->place == TRACE_REFUSED) {
		add_text(object, "why", forward_drop_name(at->why));
	} else {
		json_object_set_new(object, "bytes", json_integer(at->bytes));
		if (at->is_tagged)
			json_object_set_new(object, "tag",
					    json_integer(at->tag_vlan));
	}
	add_text(object, "rule", at->rule);
	return object;
}

/* What the switch would say first: of the ingress. */
static json_t *describe_ingress(const struct port *port,
				const struct trace *trace)
{
	static const char *const stations[] = {
		[FDB_KNOWN] = "known here",
		[FDB_NEW] = "would be learned",
		[FDB_MOVED] = "would move here",
		[FDB_STATIC] = "another port's for good",
		[FDB_LIMIT] = "one too many, not learned",
		[FDB_FULL] = "no room, not learned",
	};
	json_t *object = json_pack("{s:s, s:s}", "port", port->name, "result",
				   trace->why	   ? "dropped"
				   : trace->floods ? "to all"
						   : "to one");

	if (trace->why)
		add_text(object, "why", forward_drop_name(trace->why));
	else
		add_text(object, "why", stations[trace->learned]);
	if (trace->vlan)
		json_object_set_new(object, "vlan", json_integer(trace->vlan));
	add_text(object, "rule", trace->rule);
	return object;
}

static json_t *describe(struct vswitch *vswitch, unsigned number,
			const struct trace *trace)
{
	json_t *list = json_array();

	json_array_append_new(
		list, describe_ingress(vswitch_port(vswitch, number), trace));
	for (unsigned i = 0; i < CONFIG_MAX_PORTS; i++)
		if (trace->ports[i].place != TRACE_NOT_ASKED)
			json_array_append_new(
				list, describe_port(vswitch_port(vswitch, i),
						    &trace->ports[i]));
	return list;
}

const struct rpc_param control_trace_params[] = {
	{"port", "string", true, "at which the frame would come in"},
	{"frame", "string", false, "in hexadecimal; or, instead of that:"},
	{"to", "string", false, "address of a station or a group"},
	{"from", "string", false, "address of a station"},
	{"vlan", "integer", false, "of a tag"},
	{"type", "integer", false, "Ethertype"},
	{"src", "string", false, "IPv4 address"},
	{"dst", "string", false, "IPv4 address"},
	{"protocol", "integer", false, "of IPv4; UDP"},
	{"sport", "integer", false, "port of TCP or UDP"},
	{"dport", "integer", false, "port of TCP or UDP"},
	{0},
};

int control_trace(void *arg, json_t *params, json_t **ret_result,
		  char ret_error[static RPC_ERROR_BYTES])
{
	const char *name = json_string_value(json_object_get(params, "port"));
	const char *hex = json_string_value(json_object_get(params, "frame"));
	struct bytes bytes = {0};
	struct trace *trace;
	uint16_t at;
	int err;

	if (vswitch_find_port(arg, name, &at) < 0) {
		snprintf(ret_error, RPC_ERROR_BYTES,
			 "%.64s: no port has this name", name);
		return RPC_E_FAILED;
	}
	err = hex ? read_hex(hex, &bytes, ret_error)
		  : make_frame(params, &bytes, ret_error);
	if (err)
		return err;
	trace = malloc(sizeof(*trace));
	err = trace ? trace_frame(arg, at, bytes.data, bytes.length, trace)
		    : -ENOMEM;
	if (err == 0)
		*ret_result = describe(arg, at, trace);
	free(trace);
	return err == 0 ? 0 : fail(ret_error, "there is no memory");
}
