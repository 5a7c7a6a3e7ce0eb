/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost-net/net-checksum.h"

#include "base/bytes.h"

/* Two columns of 64 bits, to which 32-bit words are added: no carry is lost. */
typedef uint64_t columns __attribute__((vector_size(16)));

enum {
	WIDTH = sizeof(columns),
	BLOCK_BYTES = 4 * WIDTH,
};

static inline columns load(const uint8_t *at)
{
	columns v;

	memcpy(&v, at, sizeof(v));
	return v;
}

static inline columns words_of(columns v)
{
	return (v & 0xffffffff) + (v >> 32);
}

/* Folds to 32 bits and a little, so that sums can be added for ever. */
static inline uint64_t narrow(uint64_t sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	return (sum & 0xffffffff) + (sum >> 32);
}

/* With @to, copies. Inlined into one loop that does and one that does not. */
static inline __attribute__((always_inline)) uint64_t
sum_bytes(uint8_t *to, const uint8_t *from, size_t bytes)
{
	columns sum[4] = {0};
	uint64_t tail = 0;

	while (bytes >= BLOCK_BYTES) {
		for (unsigned i = 0; i < 4; i++) {
			columns v = load(from + i * WIDTH);

			if (to)
				memcpy(to + i * WIDTH, &v, WIDTH);
			sum[i] += words_of(v);
		}
		from += BLOCK_BYTES;
		to += to ? BLOCK_BYTES : 0;
		bytes -= BLOCK_BYTES;
	}
	while (bytes > 0) {
		size_t count = MIN(bytes, sizeof(uint64_t));
		uint64_t v = 0;

		memcpy(&v, from, count);
		if (to)
			memcpy(to, &v, count);
		tail += (v & 0xffffffff) + (v >> 32);
		from += count;
		to += to ? count : 0;
		bytes -= count;
	}
	sum[0] += sum[1] + sum[2] + sum[3];
	return narrow(sum[0][0]) + narrow(sum[0][1]) + narrow(tail);
}

static uint16_t fold(uint64_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* Joins the sum of a piece; behind an odd byte its columns are the other way
 * round (RFC 1071, 2 (B)). */
static void join(struct net_sum *sum, uint64_t piece, size_t bytes)
{
	if (sum->is_odd)
		piece = __builtin_bswap16(fold(piece));
	sum->sum = narrow(sum->sum + piece);
	sum->is_odd ^= bytes & 1;
}

void net_sum_add(struct net_sum *sum, const void *data, size_t bytes)
{
	join(sum, sum_bytes(NULL, data, bytes), bytes);
}

void net_sum_copy(struct net_sum *sum, void *to, const void *from, size_t bytes)
{
	/* A piece of nothing may have no address. */
	if (bytes > 0)
		join(sum, sum_bytes(to, from, bytes), bytes);
}

void net_sum_add_u16(struct net_sum *sum, uint16_t value)
{
	uint8_t bytes[2];

	put_be16(bytes, value);
	net_sum_add(sum, bytes, sizeof(bytes));
}

uint16_t net_sum_fold(const struct net_sum *sum)
{
	return fold(sum->sum);
}

void net_sum_store(const struct net_sum *sum, void *place)
{
	uint16_t checksum = ~net_sum_fold(sum);

	if (checksum == 0)
		checksum = 0xffff;
	memcpy(place, &checksum, sizeof(checksum));
}
