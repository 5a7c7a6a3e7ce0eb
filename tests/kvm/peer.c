/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peer: the host's end of the wire. Answers, at an interface of the host, what
 * the guest `net` asks, as another machine with that guest would; both judge
 * every frame. Ends with 0 after the farewell, with 1 if a frame was not as it
 * was sent.
 *
 *	peer INTERFACE MACHINE
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "tests/kvm/frames.h"

static int open_wire(const char *interface)
{
	struct sockaddr_ll address = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(FRAMES_TYPE),
		.sll_ifindex = if_nametoindex(interface),
	};
	autoclose int fd = -1;

	if (address.sll_ifindex == 0)
		return -errno;
	fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(FRAMES_TYPE));
	if (fd < 0 ||
	    bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	return fd_take(&fd);
}

static bool failed(const char *what, const struct frames_word *word)
{
	fprintf(stderr, "peer: frame %u of turn %u: %s\n", word->number,
		word->turn, what);
	return false;
}

/* Frames of one turn come in the order of their numbers. */
static bool is_due(const struct frames_word *word)
{
	static struct frames_word next;

	if (word->turn != next.turn)
		next = (struct frames_word){.turn = word->turn};
	return word->kind != FRAMES_DATA || word->number == next.number++;
}

/* False at the first frame that is not as it should be. */
static bool answer(int fd, uint8_t me, const struct frames_word *word)
{
	uint8_t frame[FRAMES_MOST_BYTES];
	const struct frames_word reply = {
		.to = word->from,
		.from = me,
		.kind = word->kind,
		.turn = word->turn,
		.number = word->number,
	};
	uint32_t bytes = frames_make(&reply, frame);

	if (word->to != me)
		return failed("it is for somebody else", word);
	if (!is_due(word))
		return failed("it is not the one that is due", word);
	if (send(fd, frame, bytes, 0) != (ssize_t)bytes)
		return failed(strerror(errno), word);
	return true;
}

static bool answer_all(int fd, uint8_t me)
{
	/* A byte more than any of ours: that one is not cut to fit. */
	uint8_t frame[FRAMES_MOST_BYTES + 1];
	struct frames_word word = {0};
	const char *wrong;
	ssize_t got;

	do {
		got = recv(fd, frame, sizeof(frame), 0);
		if (got < 0) {
			perror("peer: recv");
			return false;
		}
		if (!frames_read(frame, got, &word, &wrong))
			continue;
		if (wrong)
			return failed(wrong, &word);
		if (!answer(fd, me, &word))
			return false;
	} while (word.kind != FRAMES_FAREWELL);
	return true;
}

int main(int argc, char **argv)
{
	autoclose int fd = -1;

	if (argc != 3) {
		fputs("usage: peer INTERFACE MACHINE\n", stderr);
		return 2;
	}
	fd = open_wire(argv[1]);
	if (fd < 0) {
		fprintf(stderr, "peer: %s: %s\n", argv[1], strerror(-fd));
		return 2;
	}
	return answer_all(fd, atoi(argv[2])) ? 0 : 1;
}
