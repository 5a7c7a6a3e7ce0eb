/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frames that the guest `net` exchanges with another one, or with `peer` at
 * the host's end of a TAP. Each says who sent it to whom, what it is for, and
 * which one it is; its length and every byte of its payload follow from that. So
 * whoever gets a frame knows without asking whether it is as it was sent.
 *
 * Machine n has the address 02:00:00:00:00:n. Runs in guests as well: pure, no
 * library.
 */
#ifndef TESTS_KVM_FRAMES_H
#define TESTS_KVM_FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	FRAMES_ADDRESS_BYTES = 6,
	FRAMES_TYPE = 0x88b5, /* an EtherType for experiments (IEEE 802) */
	FRAMES_LEAST_BYTES = 60,
	FRAMES_MOST_BYTES = 1514,
};

/* The asker's side of the conversation; each is answered by the same. */
enum frames_kind {
	FRAMES_HELLO = 1, /* until somebody is there */
	FRAMES_DATA,	  /* number 0, 1, 2, … of a turn */
	FRAMES_FAREWELL,
};

struct frames_word {
	uint8_t to; /* machines */
	uint8_t from;
	uint8_t kind;
	uint8_t turn; /* a turn counts anew */
	uint32_t number;
};

/* The address of a machine; which machine has it, or -1. */
void frames_address(uint8_t machine, uint8_t ret_address[FRAMES_ADDRESS_BYTES]);
int frames_machine(const uint8_t address[FRAMES_ADDRESS_BYTES]);

/* Makes a frame in FRAMES_MOST_BYTES of room. Returns its length. */
uint32_t frames_make(const struct frames_word *word, uint8_t *frame);

/*
 * What a frame says. False if it is none of these: other hosts' frames are
 * nobody's fault. If it is one, *@ret_wrong is NULL or what is not as it was
 * sent.
 */
bool frames_read(const uint8_t *frame, uint32_t bytes,
		 struct frames_word *ret_word, const char **ret_wrong);

#endif
