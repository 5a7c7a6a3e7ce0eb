/* SPDX-License-Identifier: Apache-2.0 */
#include "base/pcapng.h"

#include <string.h>

#include "base/bytes.h"

enum {
	SECTION_HEADER = 0x0a0d0d0a,
	INTERFACE_DESCRIPTION = 1,
	INTERFACE_STATISTICS = 5,
	ENHANCED_PACKET = 6,

	BYTE_ORDER_MAGIC = 0x1a2b3c4d,
	MAJOR_VERSION = 1,
	LINK_ETHERNET = 1,
	NANOSECONDS = 9, /* 10^-9 */

	END_OF_OPTIONS = 0,
	SECTION_USER_APPLICATION = 4,
	INTERFACE_NAME = 2,
	INTERFACE_TIME_RESOLUTION = 9,
	PACKET_FLAGS = 2,
	STATISTICS_RECEIVED = 4,
	STATISTICS_DROPPED = 5,

	/* Type, length; and the length once more at the end. */
	BLOCK_HEAD_BYTES = 8,
	BLOCK_TAIL_BYTES = 4,
	/* The flags, and the end of options. */
	PACKET_OPTIONS_BYTES = 12,
};

/* Where the next field goes. */
struct block {
	uint8_t *start;
	size_t bytes;
};

static void put_bytes(struct block *block, const void *from, size_t bytes)
{
	memcpy(block->start + block->bytes, from, bytes);
	block->bytes += bytes;
}

static void put16(struct block *block, uint16_t v)
{
	put_bytes(block, &v, sizeof(v));
}

static void put32(struct block *block, uint32_t v)
{
	put_bytes(block, &v, sizeof(v));
}

static void pad(struct block *block)
{
	static const uint8_t zeroes[4];

	put_bytes(block, zeroes, -block->bytes % sizeof(zeroes));
}

/* Times are two halves, the upper one first, in any byte order. */
static void put_time(struct block *block, uint64_t time_ns)
{
	put32(block, time_ns >> 32);
	put32(block, time_ns);
}

static void put_option(struct block *block, uint16_t code, const void *value,
		       uint16_t bytes)
{
	put16(block, code);
	put16(block, bytes);
	put_bytes(block, value, bytes);
	pad(block);
}

static void put_text(struct block *block, uint16_t code, const char *text)
{
	put_option(block, code, text, strnlen(text, PCAPNG_MAX_TEXT_BYTES));
}

static struct block begin(void *to, uint32_t type)
{
	struct block block = {.start = to};

	put32(&block, type);
	put32(&block, 0); /* the length, by end */
	return block;
}

static size_t end(struct block *block)
{
	uint32_t bytes;

	put_option(block, END_OF_OPTIONS, "", 0);
	bytes = block->bytes + BLOCK_TAIL_BYTES;
	put32(block, bytes);
	/* The same at either end: it can be read backwards. */
	memcpy(block->start + 4, &bytes, sizeof(bytes));
	return bytes;
}

size_t pcapng_put_section(void *to, const char *program)
{
	struct block block = begin(to, SECTION_HEADER);

	put32(&block, BYTE_ORDER_MAGIC);
	put16(&block, MAJOR_VERSION);
	put16(&block, 0);
	/* The section's length: not known. */
	put32(&block, UINT32_MAX);
	put32(&block, UINT32_MAX);
	put_text(&block, SECTION_USER_APPLICATION, program);
	return end(&block);
}

size_t pcapng_put_interface(void *to, const char *name, uint32_t snap_bytes)
{
	static const uint8_t resolution = NANOSECONDS;
	struct block block = begin(to, INTERFACE_DESCRIPTION);

	put16(&block, LINK_ETHERNET);
	put16(&block, 0);
	put32(&block, snap_bytes);
	put_text(&block, INTERFACE_NAME, name);
	put_option(&block, INTERFACE_TIME_RESOLUTION, &resolution,
		   sizeof(resolution));
	return end(&block);
}

size_t pcapng_packet_bytes(uint32_t captured_bytes)
{
	return PCAPNG_PACKET_HEAD_BYTES + align_up(captured_bytes, 4) +
	       PACKET_OPTIONS_BYTES + BLOCK_TAIL_BYTES;
}

size_t pcapng_put_packet(void *to, const struct pcapng_packet *packet)
{
	const uint32_t flags = packet->direction;
	struct block block = begin(to, ENHANCED_PACKET);

	put32(&block, packet->interface);
	put_time(&block, packet->time_ns);
	put32(&block, packet->captured_bytes);
	put32(&block, packet->bytes);
	block.bytes += packet->captured_bytes;
	pad(&block);
	put_option(&block, PACKET_FLAGS, &flags, sizeof(flags));
	return end(&block);
}

size_t pcapng_put_statistics(void *to, uint32_t interface, uint64_t time_ns,
			     uint64_t received, uint64_t dropped)
{
	struct block block = begin(to, INTERFACE_STATISTICS);

	put32(&block, interface);
	put_time(&block, time_ns);
	put_option(&block, STATISTICS_RECEIVED, &received, sizeof(received));
	put_option(&block, STATISTICS_DROPPED, &dropped, sizeof(dropped));
	return end(&block);
}

static uint32_t field(const void *block, size_t offset)
{
	uint32_t v;

	memcpy(&v, (const uint8_t *)block + offset, sizeof(v));
	return v;
}

uint32_t pcapng_block_bytes(const void *block)
{
	return field(block, 4);
}

bool pcapng_block_is_packet(const void *block)
{
	return field(block, 0) == ENHANCED_PACKET;
}

uint32_t pcapng_packet_interface(const void *block)
{
	return field(block, BLOCK_HEAD_BYTES);
}

uint64_t pcapng_packet_time_ns(const void *block)
{
	return (uint64_t)field(block, BLOCK_HEAD_BYTES + 4) << 32 |
	       field(block, BLOCK_HEAD_BYTES + 8);
}
