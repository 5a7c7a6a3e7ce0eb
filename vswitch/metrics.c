/* SPDX-License-Identifier: Apache-2.0 */
#include "vswitch/metrics.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "vswitch/metrics-lcore.h"

/* A sample for each port, or for each port and reason. */
struct family {
	const char *name; /* without _total */
	const char *help;
	bool is_gauge;
	void (*print)(FILE *page, const char *port,
		      const struct port_counters *counters, uint32_t stations);
};

/* What a name may hold that a label may not; OpenMetrics, "Escaping". */
static void print_label(FILE *page, const char *text)
{
	for (; *text; text++) {
		if (*text == '\n')
			fputs("\\n", page);
		else if (*text == '"' || *text == '\\')
			fprintf(page, "\\%c", *text);
		else
			fputc(*text, page);
	}
}

static void print_sample(FILE *page, const char *name, const char *port,
			 const char *label, const char *value, uint64_t count)
{
	fprintf(page, "%s{port=\"", name);
	print_label(page, port);
	fprintf(page, "\"");
	if (label)
		fprintf(page, ",%s=\"%s\"", label, value);
	fprintf(page, "} %llu\n", (unsigned long long)count);
}

static void print_frames(FILE *page, const char *port,
			 const struct port_counters *c, uint32_t stations)
{
	print_sample(page, "vswitch_frames_total", port, "direction", "sent",
		     c->net.tx_frames);
	print_sample(page, "vswitch_frames_total", port, "direction",
		     "received", c->net.rx_frames);
}

static void print_bytes(FILE *page, const char *port,
			const struct port_counters *c, uint32_t stations)
{
	print_sample(page, "vswitch_bytes_total", port, "direction", "sent",
		     c->net.tx_bytes);
	print_sample(page, "vswitch_bytes_total", port, "direction", "received",
		     c->net.rx_bytes);
}

static void print_sent_faults(FILE *page, const char *port,
			      const struct port_counters *c, uint32_t stations)
{
	for (unsigned i = 1; i < NET_FAULTS; i++)
		print_sample(page, "vswitch_sent_dropped_total", port, "reason",
			     net_fault_name(i), c->net.tx_faults[i]);
}

static void print_received_faults(FILE *page, const char *port,
				  const struct port_counters *c,
				  uint32_t stations)
{
	for (unsigned i = 1; i < NET_FAULTS; i++)
		print_sample(page, "vswitch_received_dropped_total", port,
			     "reason", net_fault_name(i), c->net.rx_faults[i]);
}

static void print_drops(FILE *page, const char *port,
			const struct port_counters *c, uint32_t stations)
{
	for (unsigned i = 1; i < FORWARD_DROPS; i++)
		print_sample(page, "vswitch_not_forwarded_total", port,
			     "reason", forward_drop_name(i), c->drops[i]);
}

static void print_unreachable(FILE *page, const char *port,
			      const struct port_counters *c, uint32_t stations)
{
	print_sample(page, "vswitch_unreachable_total", port, NULL, NULL,
		     c->unreachable);
}

static void print_shaped(FILE *page, const char *port,
			 const struct port_counters *c, uint32_t stations)
{
	print_sample(page, "vswitch_shaped_total", port, "outcome", "delayed",
		     c->shaped.delayed);
	print_sample(page, "vswitch_shaped_total", port, "outcome", "dropped",
		     c->shaped.dropped);
}

static void print_stations(FILE *page, const char *port,
			   const struct port_counters *c, uint32_t stations)
{
	print_sample(page, "vswitch_stations", port, NULL, NULL, stations);
}

static const struct family families[] = {
	{"vswitch_frames", "Frames, as whoever is behind the port sees it.",
	 false, print_frames},
	{"vswitch_bytes", "Bytes of these frames.", false, print_bytes},
	{"vswitch_sent_dropped", "Frames that made no sense.", false,
	 print_sent_faults},
	{"vswitch_received_dropped", "Frames that found no place.", false,
	 print_received_faults},
	{"vswitch_not_forwarded", "Frames that went nowhere.", false,
	 print_drops},
	{"vswitch_unreachable", "Frames for whom nobody was there.", false,
	 print_unreachable},
	{"vswitch_shaped", "Frames that came faster than they may leave.",
	 false, print_shaped},
	{"vswitch_stations", "Stations that were learned.", true,
	 print_stations},
};

/* What a port has counted, and each of its queue pairs. */
struct counted {
	struct port_counters port;
	struct port_counters *pairs; /* owned */
};

/* Of a queue, the beginning of a sample. */
static void print_queue(FILE *page, const char *name, const struct port *port,
			unsigned pair)
{
	fprintf(page, "%s{port=\"", name);
	print_label(page, port->config->name);
	fprintf(page, "\",pair=\"%u\"", pair);
}

static void print_both(FILE *page, const char *name, const struct port *port,
		       unsigned pair, uint64_t sent, uint64_t received)
{
	print_queue(page, name, port, pair);
	fprintf(page, ",direction=\"sent\"} %llu\n", (unsigned long long)sent);
	print_queue(page, name, port, pair);
	fprintf(page, ",direction=\"received\"} %llu\n",
		(unsigned long long)received);
}

static void print_queue_frames(FILE *page, const struct port *port,
			       unsigned pair, const struct port_counters *c)
{
	print_both(page, "vswitch_queue_frames_total", port, pair,
		   c->net.tx_frames, c->net.rx_frames);
}

static void print_queue_bytes(FILE *page, const struct port *port,
			      unsigned pair, const struct port_counters *c)
{
	print_both(page, "vswitch_queue_bytes_total", port, pair,
		   c->net.tx_bytes, c->net.rx_bytes);
}

/* For what reasons, the port's families say; a page of all for each queue would
 * be long. */
static void print_queue_drops(FILE *page, const struct port *port,
			      unsigned pair, const struct port_counters *c)
{
	uint64_t sent = 0, received = 0;

	for (unsigned i = 1; i < NET_FAULTS; i++) {
		sent += c->net.tx_faults[i];
		received += c->net.rx_faults[i];
	}
	for (unsigned i = 1; i < FORWARD_DROPS; i++)
		sent += c->drops[i];
	print_both(page, "vswitch_queue_dropped_total", port, pair, sent,
		   received);
}

static const struct {
	const char *name, *help;
	void (*print)(FILE *page, const struct port *port, unsigned pair,
		      const struct port_counters *counters);
} queue_families[] = {
	{"vswitch_queue_frames", "Frames by queue.", print_queue_frames},
	{"vswitch_queue_bytes", "Bytes of these frames.", print_queue_bytes},
	{"vswitch_queue_dropped",
	 "Frames that were sent and went nowhere, or found no place.",
	 print_queue_drops},
};

static void print_queues(FILE *page, struct vswitch *vswitch,
			 const struct counted *counted)
{
	for (unsigned f = 0; f < ARRAY_SIZE(queue_families); f++) {
		fprintf(page, "# TYPE %1$s counter\n# HELP %1$s %2$s\n",
			queue_families[f].name, queue_families[f].help);
		for (unsigned i = 0; i < CONFIG_MAX_PORTS; i++) {
			const struct port *port = vswitch_port(vswitch, i);

			for (unsigned q = 0; port && q < port->config->queues;
			     q++)
				queue_families[f].print(page, port, q,
							&counted[i].pairs[q]);
		}
	}
}

static void print_family(FILE *page, struct vswitch *vswitch,
			 const struct family *family,
			 const struct counted *counted)
{
	fprintf(page, "# TYPE %s %s\n# HELP %s %s\n", family->name,
		family->is_gauge ? "gauge" : "counter", family->name,
		family->help);
	for (unsigned i = 0; i < CONFIG_MAX_PORTS; i++) {
		const struct port *port = vswitch_port(vswitch, i);

		if (port)
			family->print(page, port->config->name,
				      &counted[i].port,
				      fdb_count(vswitch_fdb(vswitch), i));
	}
}

/* Each port is counted once: a turn of its threads is not for nothing. */
static bool count_all(struct vswitch *vswitch, struct counted *counted)
{
	for (unsigned i = 0; i < CONFIG_MAX_PORTS; i++) {
		const struct port *port = vswitch_port(vswitch, i);

		if (!port)
			continue;
		counted[i].pairs =
			calloc(port->config->queues, sizeof(*counted[i].pairs));
		if (!counted[i].pairs)
			return false;
		vswitch_count(vswitch, port, &counted[i].port,
			      counted[i].pairs);
	}
	return true;
}

static void print_links(FILE *page, struct vswitch *vswitch)
{
	fputs("# TYPE vswitch_port_up gauge\n"
	      "# HELP vswitch_port_up Whether somebody is behind the port, or "
	      "its device has a link.\n",
	      page);
	for (unsigned i = 0; i < CONFIG_MAX_PORTS; i++) {
		const struct port *port = vswitch_port(vswitch, i);

		if (port)
			print_sample(page, "vswitch_port_up",
				     port->config->name, NULL, NULL,
				     port->ops->is_up(port));
	}
}

static void print_offloads(FILE *page, struct vswitch *vswitch,
			   const struct counted *counted)
{
	fputs("# TYPE vswitch_offloads counter\n"
	      "# HELP vswitch_offloads Frames for a device with something left "
	      "to be made.\n",
	      page);
	for (unsigned i = 0; i < CONFIG_MAX_PORTS; i++) {
		const struct port *port = vswitch_port(vswitch, i);

		if (!port || !port->ops->offloads)
			continue;
		for (unsigned o = 0; o < OFFLOADS; o++)
			print_sample(page, "vswitch_offloads_total",
				     port->config->name, "outcome",
				     offload_name(o),
				     counted[i].port.offloads[o]);
	}
}

static void print_page(FILE *page, struct vswitch *vswitch,
		       const struct counted *counted)
{
	for (unsigned i = 0; i < ARRAY_SIZE(families); i++)
		print_family(page, vswitch, &families[i], counted);
	print_links(page, vswitch);
	print_offloads(page, vswitch, counted);
	print_queues(page, vswitch, counted);
	metrics_print_lcores(page, vswitch);
	fputs("# EOF\n", page);
}

char *metrics_page(struct vswitch *vswitch)
{
	struct counted *counted = calloc(CONFIG_MAX_PORTS, sizeof(*counted));
	char *text = NULL;
	size_t length;
	FILE *page = NULL;
	bool is_whole = false;

	if (counted && count_all(vswitch, counted))
		page = open_memstream(&text, &length);
	if (page) {
		print_page(page, vswitch, counted);
		is_whole = fclose(page) == 0;
	}
	for (unsigned i = 0; counted && i < CONFIG_MAX_PORTS; i++)
		free(counted[i].pairs);
	free(counted);
	if (is_whole)
		return text;
	free(text);
	return NULL;
}
