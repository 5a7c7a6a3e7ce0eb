/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/net/xdp.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/bytes.h"

void xdp_run(const char *command)
{
	if (system(command) != 0)
		fail_msg("%s", command);
}

void xdp_wait_carrier(void)
{
	unsigned polls = 1000;

	while (system("ip link show dev " FIXTURE_TAP
		      " | grep -q 'state UP'") != 0) {
		assert_true(--polls > 0);
		usleep(10000);
	}
}

void xdp_lay_cable(unsigned mtu, unsigned queues)
{
	char add[256];

	snprintf(add, sizeof(add),
		 "ip link del " XDP_INTERFACE " 2>/dev/null; "
		 "ip link add name " XDP_INTERFACE " mtu %u numtxqueues %u "
		 "numrxqueues %u type veth peer name " FIXTURE_TAP " mtu %u "
		 "numtxqueues %u numrxqueues %u",
		 mtu, queues, queues, mtu, queues, queues);
	xdp_run(add);
	xdp_run("ip link set dev " XDP_INTERFACE " up");
	xdp_run("ip link set dev " FIXTURE_TAP " up");
	xdp_wait_carrier();
}

int xdp_setup(void **state)
{
	xdp_lay_cable(XDP_MAX_MTU, 1);
	return fixture_setup(state);
}

void xdp_start(struct fixture *f, const char *const *options)
{
	fixture_start_on(f, XDP_WIRE, options);
	if (f->wire_fd < 0)
		fixture_plug(f);
}

int xdp_setup_running(void **state)
{
	int err = xdp_setup(state);

	if (err == 0)
		xdp_start(*state, NULL);
	return err;
}
