/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio-net card (virtio 1.2, 5.1): one queue of empty buffers that the
 * device fills with what comes in, one queue of what is to go out. Before each
 * frame lies a header in which driver and device could leave checksums and
 * segmentation to each other; this driver asks for nothing of that.
 *
 * With merged buffers ("merge" on the command line) a frame that is longer than
 * a buffer fills several, and the first one's header says how many.
 *
 * Whatever fails ends the guest.
 */
#ifndef TESTS_KVM_GUESTS_CARD_H
#define TESTS_KVM_GUESTS_CARD_H

#include <linux/virtio_net.h>

#include "tests/kvm/frames.h"
#include "tests/kvm/guests/virtio.h"

struct card {
	struct virtio virtio;
	uint8_t address[FRAMES_ADDRESS_BYTES]; /* as the device says */
	bool merges;
	bool interrupts; /* how to wait: for one, or by looking */
};

/*
 * Opens the device with this number ("packed" on the command line: with queues
 * of that layout), waiting by looking.
 */
void card_open(struct card *card, const struct guest_boot *boot,
	       unsigned number);

void card_wait_by_interrupt(struct card *card, bool interrupts);

/* Sends a copy of a frame of at most FRAMES_MOST_BYTES; waits for room. */
void card_send(struct card *card, const uint8_t *frame, uint32_t bytes);

/* Waits until the device has read all that was sent. */
void card_drain(struct card *card);

/*
 * The next frame that has come, in FRAMES_MOST_BYTES of room: its length; 0 if
 * there is none. Waited for by interrupt, there is none only when something else
 * has interrupted.
 */
uint32_t card_receive(struct card *card, uint8_t *ret_frame);

#endif
