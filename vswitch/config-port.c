/* SPDX-License-Identifier: Apache-2.0 */
/* What a port that was checked says, as its parts take it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "vhost-net/net-mac.h"
#include "vswitch/config-check.h"
#include "vswitch/forward.h"
#include "vswitch/vlan.h"

enum {
	BURSTS_A_SECOND = 10,
};

int config_mac(const char *text, uint8_t ret_mac[static 6])
{
	const char *end = net_mac_parse(text, ret_mac);

	return end && !*end && !(ret_mac[0] & 1) ? 0 : -EINVAL;
}

/* "7", "7-9": 0 is what a customer of a tunnel sends untagged. */
static int read_range(const char *text, unsigned *ret_first, unsigned *ret_last)
{
	char end;
	int n = sscanf(text, "%4u-%4u%c", ret_first, ret_last, &end);

	if (n == 1) {
		*ret_last = *ret_first;
		if (sscanf(text, "%4u%c", ret_first, &end) != 1)
			return -EINVAL;
	} else if (n != 2) {
		return -EINVAL;
	}
	return *ret_first <= *ret_last && *ret_last <= VLAN_MAX ? 0 : -EINVAL;
}

int config_add_vlans(const char *text, struct vlan_port *vlan)
{
	const bool is_trunk = vlan->mode == VLAN_TRUNK;
	unsigned first = is_trunk ? VLAN_MIN : VLAN_NONE, last = VLAN_MAX;

	if (strcmp(text, "all") != 0 && read_range(text, &first, &last) < 0)
		return -EINVAL;
	if (is_trunk && first < VLAN_MIN)
		return -EINVAL;
	for (unsigned i = first; i <= last; i++)
		vlan_port_add(vlan, i);
	return 0;
}

void config_vlan(const struct port_config *config, struct vlan_port *ret_vlan)
{
	*ret_vlan = (struct vlan_port){
		.mode = config->vlan_mode,
		.native = config->vlan,
		.tags_native = config->tags_native,
		.tpid = config->service_tags ? VLAN_SERVICE_TPID : VLAN_TPID,
	};
	/* A switch without VLANs is one of a single one. */
	if (config->vlan_mode == VLAN_ACCESS && config->vlan == VLAN_NONE)
		ret_vlan->native = VLAN_MIN;
	for (unsigned i = 0; i < config->vlans_count; i++)
		config_add_vlans(config->vlans[i], ret_vlan);
}

uint64_t config_burst(uint64_t rate, uint64_t burst, uint64_t least_burst)
{
	return burst ? burst : MAX(rate / BURSTS_A_SECOND, least_burst);
}

int config_set_limit(struct limit *limit, const struct config_rate *rate,
		     uint64_t least_burst)
{
	return limit_set(limit, rate->rate,
			 config_burst(rate->rate, rate->burst, least_burst));
}

void config_limits(const struct port_config *config, struct forward_port *port)
{
	config_set_limit(&port->frames, &config->frames, 1);
	config_set_limit(&port->bytes, &config->bytes, NET_MAX_FRAME_BYTES);
	config_set_limit(&port->storms[FORWARD_BROADCAST], &config->broadcast,
			 1);
	config_set_limit(&port->storms[FORWARD_MULTICAST], &config->multicast,
			 1);
	config_set_limit(&port->storms[FORWARD_UNKNOWN], &config->unknown, 1);
}
