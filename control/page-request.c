/* SPDX-License-Identifier: Apache-2.0 */
#include "control/page-request.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"

enum {
	WORD_BYTES = 64,
};

/* A head ends with an empty line, whose CR may be missing (2.2). */
static bool is_whole(const char *bytes, size_t length)
{
	return memmem(bytes, length, "\n\r\n", 3) ||
	       memmem(bytes, length, "\n\n", 2);
}

/* Up to a space or the line's end, of which @ret_word gets what fits. */
static size_t take_word(const char *line, size_t length, char *ret_word)
{
	size_t n = 0;

	while (n < length && line[n] != ' ')
		n++;
	snprintf(ret_word, WORD_BYTES, "%.*s", (int)MIN(n, (size_t)WORD_BYTES),
		 line);
	return n < length ? n + 1 : n;
}

enum page_request page_request_read(const char *bytes, size_t length)
{
	char method[WORD_BYTES], target[WORD_BYTES], version[WORD_BYTES];
	size_t end, at = 0;

	if (!is_whole(bytes, length))
		return PAGE_REQUEST_PART;
	end = (const char *)memchr(bytes, '\n', length) - bytes;
	if (end > 0 && bytes[end - 1] == '\r')
		end--;
	at += take_word(bytes, end, method);
	at += take_word(bytes + at, end - at, target);
	at += take_word(bytes + at, end - at, version);
	if (at != end || strncmp(version, "HTTP/1.", 7) != 0)
		return PAGE_REQUEST_BAD;
	target[strcspn(target, "?")] = '\0';
	if (strcmp(target, "/metrics") != 0 && strcmp(target, "/") != 0)
		return PAGE_REQUEST_OTHER_PAGE;
	if (strcmp(method, "GET") == 0)
		return PAGE_REQUEST_GET;
	return strcmp(method, "HEAD") == 0 ? PAGE_REQUEST_HEAD
					   : PAGE_REQUEST_OTHER_METHOD;
}

const char *page_request_status(enum page_request request)
{
	static const char *const texts[] = {
		[PAGE_REQUEST_GET] = "200 OK",
		[PAGE_REQUEST_HEAD] = "200 OK",
		[PAGE_REQUEST_OTHER_PAGE] = "404 Not Found",
		[PAGE_REQUEST_OTHER_METHOD] = "405 Method Not Allowed",
		[PAGE_REQUEST_BAD] = "400 Bad Request",
	};

	return texts[request];
}
