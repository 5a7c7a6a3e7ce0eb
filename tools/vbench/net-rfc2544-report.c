/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/bytes.h"
#include "tools/vbench/net-rfc2544.h"

enum {
	WIDTH = 720,
	HEIGHT = 400,
	MARGIN = 70,
};

static double microseconds(const struct net_rfc2544_size *size,
			   unsigned per_mille)
{
	return histogram_percentile(&size->latency, per_mille) / 1000.0;
}

static double gbit(const struct net_rfc2544_size *size)
{
	return size->throughput_fps * size->frame_bytes * 8 / 1e9;
}

void net_rfc2544_text(const struct net_rfc2544_size *sizes)
{
	printf("%6s %12s %8s %10s %10s %10s %10s %10s\n", "bytes", "frames/s",
	       "Gbit/s", "p50 µs", "p99 µs", "max µs", "most", "burst");
	for (unsigned i = 0; i < NET_RFC2544_SIZES; i++) {
		const struct net_rfc2544_size *size = &sizes[i];

		printf("%6u %12.0f %8.2f %9.1f %9.1f %9.1f %10.0f %10" PRIu64
		       "\n",
		       size->frame_bytes, size->throughput_fps, gbit(size),
		       microseconds(size, 500), microseconds(size, 990),
		       microseconds(size, 1000), size->most_fps,
		       size->burst_frames);
	}
	printf("per cent lost at 100, 90, …, 10 per cent of the most:\n");
	for (unsigned i = 0; i < NET_RFC2544_SIZES; i++) {
		printf("%6u", sizes[i].frame_bytes);
		for (unsigned n = 0; n < NET_RFC2544_LOADS; n++)
			printf(" %6.2f", sizes[i].lost[n]);
		printf("\n");
	}
}

void net_rfc2544_json(const struct net_rfc2544_size *sizes)
{
	printf("{\"device\":\"net\",\"rfc2544\":[");
	for (unsigned i = 0; i < NET_RFC2544_SIZES; i++) {
		const struct net_rfc2544_size *size = &sizes[i];

		printf("%s{\"size\":%u,\"most_frames_per_s\":%.0f,"
		       "\"throughput_frames_per_s\":%.0f,"
		       "\"latency_us\":{\"p50\":%.2f,\"p90\":%.2f,"
		       "\"p99\":%.2f,\"max\":%.2f},"
		       "\"back_to_back_frames\":%" PRIu64 ",\"lost_percent\":[",
		       i ? "," : "", size->frame_bytes, size->most_fps,
		       size->throughput_fps, microseconds(size, 500),
		       microseconds(size, 900), microseconds(size, 990),
		       microseconds(size, 1000), size->burst_frames);
		for (unsigned n = 0; n < NET_RFC2544_LOADS; n++)
			printf("%s%.3f", n ? "," : "", size->lost[n]);
		printf("]}");
	}
	printf("]}\n");
}

static double throughput_of(const struct net_rfc2544_size *size)
{
	return size->throughput_fps;
}

static double latency_of(const struct net_rfc2544_size *size)
{
	return microseconds(size, 990);
}

static unsigned column(unsigned i)
{
	return MARGIN + i * (WIDTH - 2 * MARGIN) / (NET_RFC2544_SIZES - 1);
}

/* One line over all sizes, its largest value at the top, and that value. */
static void plot_line(FILE *to, const struct net_rfc2544_size *sizes,
		      double (*value_of)(const struct net_rfc2544_size *size),
		      const char *colour, const char *name, unsigned label_x)
{
	double most = 1;

	for (unsigned i = 0; i < NET_RFC2544_SIZES; i++)
		most = MAX(most, value_of(&sizes[i]));
	fprintf(to, "<polyline fill=\"none\" stroke=\"%s\" points=\"", colour);
	for (unsigned i = 0; i < NET_RFC2544_SIZES; i++)
		fprintf(to, "%u,%.1f ", column(i),
			HEIGHT - MARGIN -
				value_of(&sizes[i]) / most *
					(HEIGHT - 2 * MARGIN));
	fprintf(to,
		"\"/>\n<text x=\"%u\" y=\"%u\" fill=\"%s\">%s, up to %.0f"
		"</text>\n",
		label_x, MARGIN / 2, colour, name, most);
}

int net_rfc2544_plot(const struct net_rfc2544_size *sizes, const char *path)
{
	FILE *to = fopen(path, "we");
	int err;

	if (!to)
		return -errno;
	fprintf(to,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%u\" "
		"height=\"%u\" font-family=\"sans-serif\" font-size=\"13\">\n"
		"<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n"
		"<path d=\"M%u %u V%u H%u\" stroke=\"black\" fill=\"none\"/>\n",
		WIDTH, HEIGHT, MARGIN, MARGIN, HEIGHT - MARGIN, WIDTH - MARGIN);
	for (unsigned i = 0; i < NET_RFC2544_SIZES; i++)
		fprintf(to,
			"<text x=\"%u\" y=\"%u\" text-anchor=\"middle\">%u"
			"</text>\n",
			column(i), HEIGHT - MARGIN / 2, sizes[i].frame_bytes);
	plot_line(to, sizes, throughput_of, "navy", "frames/s without loss",
		  MARGIN);
	plot_line(to, sizes, latency_of, "firebrick", "99th percentile, µs",
		  WIDTH / 2);
	fprintf(to, "</svg>\n");
	err = ferror(to) ? -EIO : 0;
	return fclose(to) == 0 ? err : -errno;
}
