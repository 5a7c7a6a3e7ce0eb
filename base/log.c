/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/barrier.h"
#include "base/clock.h"

enum {
	LINE_BYTES = 1024
};

static enum log_level max_level = LOG_LEVEL_INFO;

/* The priorities of sd-daemon(3), indexed by our levels. */
static const char *const journal_prefix[] = {"<3>", "<4>", "<6>", "<7>"};
static const char *const plain_prefix[] = {"error: ", "warning: ", "", ""};

void log_set_level(enum log_level level)
{
	store_once(&max_level, level);
}

static void write_line(enum log_level level, const char *format, va_list args)
{
	const char *prefix = getenv("JOURNAL_STREAM") ? journal_prefix[level]
						      : plain_prefix[level];
	char line[LINE_BYTES];
	int at = snprintf(line, sizeof(line), "%s", prefix);
	int more = vsnprintf(line + at, sizeof(line) - at, format, args);

	if (more < 0)
		return;
	at = at + more < LINE_BYTES - 1 ? at + more : LINE_BYTES - 2;
	line[at++] = '\n';
	/* Nobody to tell if standard error is gone. */
	if (write(STDERR_FILENO, line, at) < 0)
		return;
}

void log_line(enum log_level level, const char *format, ...)
{
	va_list args;

	if (level > load_once(&max_level))
		return;
	va_start(args, format);
	write_line(level, format, args);
	va_end(args);
}

/* Counts are approximate under contention, which is enough for a limit. */
static bool limit_passes(struct log_limit *limit, uint64_t now_ns)
{
	uint64_t start = load_once(&limit->window_start_ns);

	if (start == 0 ||
	    now_ns - start >= LOG_WINDOW_SECONDS * NS_PER_SECOND) {
		store_once(&limit->window_start_ns, now_ns);
		store_once(&limit->passed, 0);
	}
	if (fetch_add_relaxed(&limit->passed, 1) < LOG_BURST)
		return true;
	fetch_add_relaxed(&limit->held_back, 1);
	return false;
}

void log_ratelimited(struct log_limit *limit, enum log_level level,
		     const char *format, ...)
{
	uint32_t held_back;
	va_list args;

	if (level > load_once(&max_level) || !limit_passes(limit, clock_ns()))
		return;
	held_back = exchange_acq_rel(&limit->held_back, 0);
	if (held_back > 0)
		log_line(level, "%u similar messages were held back",
			 held_back);
	va_start(args, format);
	write_line(level, format, args);
	va_end(args);
}
