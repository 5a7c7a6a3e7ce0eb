/* SPDX-License-Identifier: Apache-2.0 */
/* What all pumps do alike: whose turn it is, limits, and the guest's queues. */
#include "base/bytes.h"
#include "vhost-net/net-pump-internal.h"

void net_pump_init(struct net_pump *pump, const struct net_pump_ops *ops,
		   const struct net_pump_config *config, int fd)
{
	pump->ops = ops;
	pump->config = *config;
	pump->fd = fd;
	pump->readable = true;
}

void net_pump_free(struct net_pump *pump)
{
	if (pump)
		pump->ops->free(pump);
}

int net_pump_fd(const struct net_pump *pump)
{
	return pump->fd;
}

void net_pump_set_send(struct net_pump *pump, struct netdev_queue *queue)
{
	pump->send = queue;
	pump->wait_ns[NET_SEND] = 0;
	if (queue)
		virtq_kicks_off(netdev_queue_virtq(queue));
}

void net_pump_stop(struct net_pump *pump, bool sends)
{
	if (sends && pump->lent && pump->ops->stop_sending)
		pump->ops->stop_sending(pump);
}

bool net_pump_is_idle(const struct net_pump *pump, bool sends)
{
	return sends ? !pump->lent : pump->ops->is_idle(pump);
}

/* What waits for its limit stays in the ring. */
static unsigned take_burst(struct net_pump *pump, struct net_rx_frame **frames)
{
	const bool limited = pump->config.limits->limits[NET_SEND];
	uint32_t bytes = 0;
	unsigned count;

	pump->wait_ns[NET_SEND] =
		net_limits_wait_ns(pump->config.limits, NET_SEND);
	if (pump->wait_ns[NET_SEND] > 0 && netdev_queue_is_enabled(pump->send))
		return 0;
	count = netdev_rx_burst(
		pump->send, limited ? NET_LIMITED_BURST : NET_BURST, frames);
	for (unsigned i = 0; i < count && limited; i++)
		bytes += (*frames)[i].bytes;
	net_limits_passed(pump->config.limits, NET_SEND, count, bytes);
	return count;
}

static bool run_send(struct net_pump *pump)
{
	struct net_rx_frame *frames;
	unsigned count;

	if (!pump->send || pump->lent)
		return false;
	count = take_burst(pump, &frames);
	if (pump->wait_ns[NET_SEND] > 0)
		return false;
	for (unsigned i = 0; i < count; i++)
		net_pump_capture_sent(pump, &frames[i]);
	pump->lent = true;
	pump->ops->send(pump, frames, count);
	return count > 0;
}

void net_pump_finish(struct net_pump *pump)
{
	if (!pump->ops->finish(pump) || !pump->lent)
		return;
	pump->lent = false;
	netdev_rx_done(pump->send);
}

bool net_pump_run(struct net_pump *pump)
{
	bool worked;

	net_pump_look_at_capture(pump);
	worked = net_pump_run_receive(pump);
	return run_send(pump) || worked;
}

void net_pump_wake(struct net_pump *pump)
{
	pump->readable = true;
}

uint64_t net_pump_timeout_ns(const struct net_pump *pump)
{
	uint64_t timeout =
		pump->starved && pump->has_bounced ? WAIT_NS : UINT64_MAX;

	if (pump->retry_ns > 0)
		timeout = MIN(timeout, pump->retry_ns);
	for (unsigned i = 0; i < NET_DIRECTIONS; i++)
		if (pump->wait_ns[i] > 0)
			timeout = MIN(timeout, pump->wait_ns[i]);
	return timeout;
}

bool net_pump_sleep(struct net_pump *pump)
{
	bool again = false;

	if (pump->send && !pump->lent && pump->wait_ns[NET_SEND] == 0)
		again |= virtq_kicks_on(netdev_queue_virtq(pump->send));
	if (pump->receive && pump->starved)
		again |= virtq_kicks_on(netdev_queue_virtq(pump->receive));
	return again;
}

void net_pump_awake(struct net_pump *pump)
{
	if (pump->send)
		virtq_kicks_off(netdev_queue_virtq(pump->send));
	if (pump->receive)
		virtq_kicks_off(netdev_queue_virtq(pump->receive));
}

int net_pump_error(const struct net_pump *pump)
{
	return pump->error;
}

uint64_t net_pump_refused(const struct net_pump *pump)
{
	return pump->refused;
}
