/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/qimg/progress.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"

enum {
	BAR_CHARS = 24,
	/* Between two lines. */
	TERMINAL_NS = NS_PER_SECOND / 5,
	JSON_NS = NS_PER_SECOND / 2,
};

static struct {
	bool shown;	  /* -p or --progress */
	bool json;	  /* --progress=json */
	bool on_terminal; /* a bar, not qemu-img's line */
	bool begun;
	uint64_t total, done;
	uint64_t began_ns, printed_ns;
	double printed_percent;
	unsigned step; /* in percent */
} p = {.step = 1};

static volatile sig_atomic_t asked;

static void ask(int signal)
{
	asked = 1;
}

static void catch_signals(void)
{
	const struct sigaction action = {
		.sa_handler = ask,
		.sa_flags = SA_RESTART,
	};

	sigaction(SIGUSR1, &action, NULL);
#ifdef SIGINFO
	sigaction(SIGINFO, &action, NULL);
#endif
}

bool progress_init(const struct cli *cli)
{
	const char *kind = cli_value(cli, QIMG_PROGRESS);

	if (kind && strcmp(kind, "json") != 0) {
		cli_error("--progress=%s: only json is known", kind);
		return false;
	}
	p.json = kind != NULL;
	p.shown = p.json || (cli_has(cli, 'p') && !cli_has(cli, 'q'));
	p.on_terminal = isatty(STDOUT_FILENO);
	catch_signals();
	return true;
}

void progress_set_step(unsigned step)
{
	p.step = step;
}

static double percent(void)
{
	if (p.total == PROGRESS_UNKNOWN)
		return 0;
	return p.total ? 100.0 * (double)p.done / (double)p.total : 100.0;
}

static double seconds(void)
{
	return (double)(clock_ns() - p.began_ns) / NS_PER_SECOND;
}

static double speed(void)
{
	double time = seconds();

	return time > 0 ? (double)p.done / time : 0;
}

static void print_json(void)
{
	char total[24] = "null";

	if (p.total != PROGRESS_UNKNOWN)
		snprintf(total, sizeof(total), "%" PRIu64, p.total);
	fprintf(stderr,
		"{\"done-bytes\": %" PRIu64 ", \"total-bytes\": %s"
		", \"seconds\": %.3f, \"bytes-per-second\": %.0f}\n",
		p.done, total, seconds(), speed());
}

static void print_unknown(void)
{
	printf("\r%.1f MiB  %.0f MiB/s  ", (double)p.done / 1048576,
	       speed() / 1048576);
}

static void print_bar(void)
{
	unsigned full = MIN((unsigned)(percent() * BAR_CHARS / 100),
			    (unsigned)BAR_CHARS);
	double rate = speed();
	double left = rate > 0 ? (double)(p.total - p.done) / rate : 0;
	char bar[BAR_CHARS + 1];

	memset(bar, ' ', BAR_CHARS);
	memset(bar, '=', full);
	bar[BAR_CHARS] = '\0';
	printf("\r[%s] %5.1f %%  %.1f of %.1f MiB  %.0f MiB/s  %.0f s left  ",
	       bar, percent(), (double)p.done / 1048576,
	       (double)p.total / 1048576, rate / 1048576, left);
}

static void print(void)
{
	p.printed_ns = clock_ns();
	p.printed_percent = percent();
	if (p.json)
		print_json();
	else if (p.on_terminal && p.total == PROGRESS_UNKNOWN)
		print_unknown();
	else if (p.on_terminal)
		print_bar();
	else
		printf("    (%3.2f/100%%)\r", percent());
	fflush(stdout);
}

/* qemu-img's lines come by the percent, what we print by time. */
static bool is_time(void)
{
	uint64_t since = clock_ns() - p.printed_ns;

	if (p.json)
		return since >= JSON_NS;
	if (p.on_terminal)
		return since >= TERMINAL_NS;
	return percent() - p.printed_percent > p.step ||
	       (p.done == p.total && p.printed_percent < 100);
}

static void answer(void)
{
	asked = 0;
	if (p.shown)
		print();
	else
		fprintf(stderr, "    (%3.2f/100%%)\n", percent());
}

void progress_begin(uint64_t total)
{
	p.begun = true;
	p.total = total;
	p.done = 0;
	p.began_ns = clock_ns();
	if (p.shown)
		print();
}

static void look(void)
{
	if (p.shown && is_time())
		print();
	if (asked)
		answer();
}

void progress_add(uint64_t bytes)
{
	p.done += bytes;
	look();
}

void progress_update(void *opaque, uint64_t done, uint64_t total)
{
	if (!p.begun)
		progress_begin(total);
	p.done = MIN(done, total);
	p.total = total;
	look();
}

void progress_line(bool success)
{
	if (p.on_terminal && !p.json)
		progress_end(success);
}

void progress_end(bool success)
{
	if (!p.shown || !p.begun)
		return;
	p.begun = false;
	if (success && (p.json || p.on_terminal || p.printed_percent < 100)) {
		if (p.total == PROGRESS_UNKNOWN)
			p.total = p.done;
		p.done = p.total;
		print();
	}
	if (!p.json)
		printf("\n");
	fflush(stdout);
}
