/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Much data by TCP, of which each word says where it belongs: a guest whose every
 * instruction is emulated can make and check that as fast as it comes, which it
 * cannot with a hash.
 *
 *	stream listen|connect ADDRESS PORT send|receive BYTES
 *
 * BYTES is a multiple of 64 KiB. Ends with 0 when all was sent and the other end
 * has closed, or all was received as it is to be, and no more; else it says why.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	BLOCK_BYTES = 64 << 10,
	BLOCK_WORDS = BLOCK_BYTES / sizeof(uint64_t),
};

/* Odd, so that no two words of a stream are the same. */
static const uint64_t step = UINT64_C(0x9e3779b97f4a7c15);

static uint64_t block[BLOCK_WORDS];

static _Noreturn void fail(const char *what)
{
	fprintf(stderr, "stream: %s: %s\n", what, strerror(errno));
	exit(1);
}

static _Noreturn void complain(const char *what)
{
	fprintf(stderr, "stream: %s\n", what);
	exit(1);
}

static int take_connection(int fd, const struct sockaddr_in *address)
{
	const int on = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 ||
	    listen(fd, 1) < 0)
		fail("listen");
	return accept(fd, NULL, NULL);
}

static int open_link(const char *how, const char *host, const char *port)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons(strtoul(port, NULL, 10)),
	};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || inet_pton(AF_INET, host, &address.sin_addr) != 1)
		fail(host);
	if (strcmp(how, "listen") == 0)
		fd = take_connection(fd, &address);
	else if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		fail("connect");
	if (fd < 0)
		fail("accept");
	return fd;
}

static void send_all(int fd, uint64_t bytes)
{
	uint64_t word = 0;

	for (; bytes > 0; bytes -= BLOCK_BYTES) {
		for (unsigned i = 0; i < BLOCK_WORDS; i++)
			block[i] = word += step;
		for (size_t at = 0; at < BLOCK_BYTES;) {
			ssize_t n =
				write(fd, (char *)block + at, BLOCK_BYTES - at);

			if (n < 0)
				fail("write");
			at += n;
		}
	}
	shutdown(fd, SHUT_WR);
	/* What was sent is there when the other end says that it has all. */
	if (read(fd, block, 1) != 0)
		complain("the other end did not close");
}

static void receive_all(int fd, uint64_t bytes)
{
	uint64_t word = 0, wrong = 0;

	for (; bytes > 0; bytes -= BLOCK_BYTES) {
		for (size_t at = 0; at < BLOCK_BYTES;) {
			ssize_t n =
				read(fd, (char *)block + at, BLOCK_BYTES - at);

			if (n < 0)
				fail("read");
			if (n == 0)
				complain("it ended early");
			at += n;
		}
		for (unsigned i = 0; i < BLOCK_WORDS; i++)
			wrong |= block[i] ^ (word += step);
		if (wrong)
			complain("what came is not what was sent");
	}
	if (read(fd, block, 1) != 0)
		complain("more came than was to come");
}

int main(int argc, char **argv)
{
	uint64_t bytes = argc == 6 ? strtoull(argv[5], NULL, 10) : 0;
	int fd;

	if (bytes == 0 || bytes % BLOCK_BYTES != 0)
		complain("usage: listen|connect ADDRESS PORT send|receive "
			 "BYTES");
	fd = open_link(argv[1], argv[2], argv[3]);
	if (strcmp(argv[4], "send") == 0)
		send_all(fd, bytes);
	else
		receive_all(fd, bytes);
	return 0;
}
