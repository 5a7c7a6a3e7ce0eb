/* SPDX-License-Identifier: Apache-2.0 */
#include "vswitch/metrics.h"

#include <stdio.h>
#include <stdlib.h>

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

static void print_family(FILE *page, struct vswitch *vswitch,
			 const struct family *family,
			 const struct port_counters *counters)
{
	fprintf(page, "# TYPE %s %s\n# HELP %s %s\n", family->name,
		family->is_gauge ? "gauge" : "counter", family->name,
		family->help);
	for (unsigned i = 0; i < CONFIG_MAX_PORTS; i++) {
		const struct port *port = vswitch_port(vswitch, i);

		if (port)
			family->print(page, port->config->name, &counters[i],
				      fdb_count(vswitch_fdb(vswitch), i));
	}
}

/* Each port is counted once: a turn of its threads is not for nothing. */
static void print_page(FILE *page, struct vswitch *vswitch,
		       struct port_counters *counters)
{
	for (unsigned i = 0; i < CONFIG_MAX_PORTS; i++) {
		const struct port *port = vswitch_port(vswitch, i);

		if (port)
			vswitch_count(vswitch, port, &counters[i]);
	}
	for (unsigned i = 0; i < sizeof(families) / sizeof(*families); i++)
		print_family(page, vswitch, &families[i], counters);
	metrics_print_lcores(page, vswitch);
	fputs("# EOF\n", page);
}

char *metrics_page(struct vswitch *vswitch)
{
	struct port_counters *counters =
		calloc(CONFIG_MAX_PORTS, sizeof(*counters));
	char *text = NULL;
	size_t length;
	FILE *page = counters ? open_memstream(&text, &length) : NULL;
	bool is_whole = false;

	if (page) {
		print_page(page, vswitch, counters);
		is_whole = fclose(page) == 0;
	}
	free(counters);
	if (is_whole)
		return text;
	free(text);
	return NULL;
}
