/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A strict reader of OpenMetrics text (version 1.0.0, "Text format"), for what
 * a collector may refuse: order, names, labels, values, histograms, the end.
 */
#ifndef TESTS_SWITCH_OPENMETRICS_H
#define TESTS_SWITCH_OPENMETRICS_H

enum {
	OPENMETRICS_ERROR_BYTES = 256,
};

/* The number of samples, or -1 with the line and what is wrong with it. */
int openmetrics_read(const char *text,
		     char ret_error[static OPENMETRICS_ERROR_BYTES]);

#endif
