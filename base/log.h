/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log lines on standard error, one write(2) each, with the priority prefix of
 * sd-daemon(3) when standard error is a journal stream. Programs log at any
 * level; libraries (base, vhost, image, the formats) only at LOG_LEVEL_DEBUG.
 *
 * Anything that a guest or a front-end can trigger goes through
 * log_ratelimited, which passes LOG_BURST lines each LOG_WINDOW_SECONDS for
 * one limiter and then says how many it held back.
 *
 * Any thread.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdint.h>

enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARNING,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG,
};

enum {
	LOG_BURST = 10,
	LOG_WINDOW_SECONDS = 5
};

struct log_limit {
	uint64_t window_start_ns;
	uint32_t passed;
	uint32_t held_back;
};

/* What is less important than @level is dropped. Default: LOG_LEVEL_INFO. */
void log_set_level(enum log_level level);

void log_line(enum log_level level, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

void log_ratelimited(struct log_limit *limit, enum log_level level,
		     const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#define log_error(...)	 log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)	 log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)	 log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
