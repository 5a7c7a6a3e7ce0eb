/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The blocks of a pcapng file (draft-ietf-opsawg-pcapng): what Wireshark,
 * tcpdump and libpcap read frames from. A file is one section header, then for
 * each interface its description before its first packet, then packets, and at
 * last what was counted.
 *
 * Each function writes one block, in this machine's byte order, and returns its
 * bytes: a multiple of four. Times are nanoseconds since 1970. Pure: any thread.
 */
#ifndef BASE_PCAPNG_H
#define BASE_PCAPNG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	PCAPNG_MAX_TEXT_BYTES = 64, /* of a name; what is longer is cut off */
	/* Of any block without a packet's bytes. */
	PCAPNG_MAX_BLOCK_BYTES = 128,
	/* In front of a packet's bytes. */
	PCAPNG_PACKET_HEAD_BYTES = 28,
};

/* As the interface sees it; section 4.3.1. */
enum pcapng_direction {
	PCAPNG_INBOUND = 1,
	PCAPNG_OUTBOUND = 2,
};

struct pcapng_packet {
	uint32_t interface; /* in the order of their descriptions */
	uint64_t time_ns;
	uint32_t captured_bytes; /* that are in the file */
	uint32_t bytes;		 /* that the packet had */
	enum pcapng_direction direction;
};

/* @program: who writes. */
size_t pcapng_put_section(void *to, const char *program);

/* Ethernet. @snap_bytes: of each packet, at most; 0: all. */
size_t pcapng_put_interface(void *to, const char *name, uint32_t snap_bytes);

/* Of the whole block. */
size_t pcapng_packet_bytes(uint32_t captured_bytes);

/* All but the packet's bytes, which go to @to + PCAPNG_PACKET_HEAD_BYTES. */
size_t pcapng_put_packet(void *to, const struct pcapng_packet *packet);

/* @received: by the interface; @dropped: those of them that are not in the
 * file. */
size_t pcapng_put_statistics(void *to, uint32_t interface, uint64_t time_ns,
			     uint64_t received, uint64_t dropped);

/* --- of a block that was made here --- */

uint32_t pcapng_block_bytes(const void *block);
bool pcapng_block_is_packet(const void *block);
uint32_t pcapng_packet_interface(const void *block);
uint64_t pcapng_packet_time_ns(const void *block);

#endif
