/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "tools/qimg/convert.h"

enum {
	BAR_CHARS = 24,
	/* Between two lines. */
	TERMINAL_NS = NS_PER_SECOND / 5,
	PLAIN_NS = NS_PER_SECOND / 2,
};

static volatile sig_atomic_t asked;

static void ask(int signal)
{
	asked = 1;
}

static double percent(const struct convert_progress *p)
{
	return p->total ? 100.0 * (double)p->done / (double)p->total : 100.0;
}

static double seconds(const struct convert_progress *p)
{
	return (double)(clock_ns() - p->began_ns) / NS_PER_SECOND;
}

static double speed(const struct convert_progress *p)
{
	double time = seconds(p);

	return time > 0 ? (double)p->done / time : 0;
}

static void print_json(const struct convert_progress *p)
{
	printf("{\"done-bytes\": %" PRIu64 ", \"total-bytes\": %" PRIu64
	       ", \"seconds\": %.3f, \"bytes-per-second\": %.0f}\n",
	       p->done, p->total, seconds(p), speed(p));
}

static void print_bar(const struct convert_progress *p)
{
	unsigned full = (unsigned)(percent(p) * BAR_CHARS / 100);
	double rate = speed(p);
	double left = rate > 0 ? (double)(p->total - p->done) / rate : 0;
	char bar[BAR_CHARS + 1];

	memset(bar, ' ', BAR_CHARS);
	memset(bar, '=', full);
	bar[BAR_CHARS] = '\0';
	printf("\r[%s] %5.1f %%  %.1f of %.1f MiB  %.0f MiB/s  %.0f s left  ",
	       bar, percent(p), (double)p->done / 1048576,
	       (double)p->total / 1048576, rate / 1048576, left);
}

static void print(struct convert_progress *p)
{
	p->printed_ns = clock_ns();
	if (p->json)
		print_json(p);
	else if (p->on_terminal)
		print_bar(p);
	else
		printf("    (%3.2f/100%%)\r", percent(p));
	fflush(stdout);
}

void convert_progress_begin(struct convert_progress *p, uint64_t total)
{
	const struct sigaction action = {.sa_handler = ask};

	p->total = total;
	p->done = 0;
	p->began_ns = clock_ns();
	sigaction(SIGUSR1, &action, NULL);
	p->on_terminal = isatty(STDOUT_FILENO);
	if (p->shown)
		print(p);
}

void convert_progress_add(struct convert_progress *p, uint64_t bytes)
{
	uint64_t pause = p->on_terminal ? TERMINAL_NS : PLAIN_NS;

	p->done += bytes;
	if (p->shown && clock_ns() - p->printed_ns >= pause)
		print(p);
	if (!asked)
		return;
	asked = 0;
	if (p->shown)
		print(p);
	else
		fprintf(stderr, "    (%3.2f/100%%)\n", percent(p));
}

void convert_progress_end(struct convert_progress *p, bool success)
{
	if (!p->shown)
		return;
	if (success) {
		p->done = p->total;
		print(p);
	}
	if (!p->json)
		printf("\n");
	fflush(stdout);
}
