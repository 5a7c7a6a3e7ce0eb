/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request for a page, as far as it matters: RFC 9112, 3 "Request Line".
 *
 * Pure.
 */
#ifndef CONTROL_PAGE_REQUEST_H
#define CONTROL_PAGE_REQUEST_H

#include <stdbool.h>
#include <stddef.h>

enum page_request {
	PAGE_REQUEST_PART, /* there is more to come */
	PAGE_REQUEST_GET,
	PAGE_REQUEST_HEAD, /* the same without the page */
	PAGE_REQUEST_OTHER_PAGE,
	PAGE_REQUEST_OTHER_METHOD,
	PAGE_REQUEST_BAD,
};

/* What the @length bytes ask for, of which the first may be a request. */
enum page_request page_request_read(const char *bytes, size_t length);

/* "404 Not Found"; not for a part. */
const char *page_request_status(enum page_request request);

#endif
