/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The entropy coding half of the deflate encoder: symbols, prefix codes, the
 * header of a dynamic block ("Compression with dynamic Huffman codes", RFC 1951
 * 3.2.7), bits. For deflate.c alone.
 */
#ifndef IMAGE_DEFLATE_CODE_H
#define IMAGE_DEFLATE_CODE_H

#include "base/bytes.h"

enum {
	DEFLATE_LITERALS = 256,
	DEFLATE_END_OF_BLOCK = 256,
	DEFLATE_FIRST_LENGTH = 257,
	DEFLATE_LENGTHS = 29,
	DEFLATE_LITLENS = DEFLATE_FIRST_LENGTH + DEFLATE_LENGTHS,
	DEFLATE_DISTANCES = 24, /* symbols for up to 4 KiB */
	DEFLATE_MAX_SYMBOLS = DEFLATE_LITLENS,
	DEFLATE_MAX_CODE_BITS = 15,
	DEFLATE_MIN_MATCH = 3,
	DEFLATE_MAX_MATCH = 258,
};

/* How often each symbol occurs. */
struct deflate_counts {
	uint32_t litlen[DEFLATE_LITLENS];
	uint32_t distance[DEFLATE_DISTANCES];
};

/* @code has its first bit lowest, as it is written. */
struct deflate_symbol {
	uint16_t code;
	uint8_t bits;
};

struct deflate_codes {
	struct deflate_symbol litlen[DEFLATE_LITLENS];
	struct deflate_symbol distance[DEFLATE_DISTANCES];
};

/* Of a dynamic block: the code lengths, run-length encoded, and their code. */
struct deflate_header {
	unsigned litlens, distances, order_used;
	unsigned count;
	struct {
		uint8_t symbol, extra;
	} items[DEFLATE_LITLENS + DEFLATE_DISTANCES + 8];
	struct deflate_symbol code[19];
	uint32_t bits;
};

/* At most 7 bits wait in @bits between calls of deflate_put_flush. */
struct deflate_bits {
	uint64_t bits;
	unsigned count;
	uint8_t *at;
};

/* Up to 57 bits between two flushes, those that wait included. */
static inline void deflate_put(struct deflate_bits *out, uint64_t value,
			       unsigned count)
{
	out->bits |= value << out->count;
	out->count += count;
}

/* Writes 8 bytes at out->at, of which it keeps the whole ones. */
static inline void deflate_put_flush(struct deflate_bits *out)
{
	put_le64(out->at, out->bits);
	out->at += out->count >> 3;
	out->bits >>= out->count & ~7u;
	out->count &= 7;
}

/* Extra bits of length symbol @slot, and the length where it begins. */
extern const uint8_t deflate_length_extra[DEFLATE_LENGTHS];
extern const uint16_t deflate_length_base[DEFLATE_LENGTHS];
extern const uint8_t deflate_distance_extra[DEFLATE_DISTANCES];
extern const uint16_t deflate_distance_base[DEFLATE_DISTANCES];

/*
 * An optimal code for @count symbols, none longer than @max_bits; unused ones
 * have 0 bits. At least two symbols get a code, so that it is complete.
 */
void deflate_make_code(const uint32_t *counts, unsigned count,
		       unsigned max_bits, struct deflate_symbol *ret_code);

void deflate_fixed_codes(struct deflate_codes *ret_codes);

/* The header for @codes, with its length in bits. */
void deflate_make_header(const struct deflate_codes *codes,
			 struct deflate_header *ret_header);
void deflate_put_header(struct deflate_bits *out,
			const struct deflate_header *header);

/* Bits that the counted symbols take, extra bits included. */
uint64_t deflate_cost(const struct deflate_counts *counts,
		      const struct deflate_codes *codes);

/* About that, in 1/256 bit, for the best code there could be. */
uint64_t deflate_entropy(const struct deflate_counts *counts);

/* deflate-block.c */

/* @length 0: no match follows, the input or the piece ends. */
struct deflate_sequence {
	uint16_t literals;
	uint16_t length;
	uint16_t distance;
	uint8_t length_slot;
	uint8_t distance_slot;
};

struct deflate_piece {
	unsigned first, count; /* sequences */
	size_t bytes;
	struct deflate_counts counts;
};

/* What one call writes. */
struct deflate_portion {
	const struct deflate_sequence *sequences;
	struct deflate_piece *pieces; /* changed */
	unsigned count;
	const struct deflate_codes *fixed;
};

/*
 * Writes the portion, whose bytes begin at @in, as blocks; with @last they end
 * the stream. False if not all fits before @end, behind which there are
 * DEFLATE_SLACK_BYTES more.
 */
bool deflate_put_pieces(struct deflate_bits *out, const uint8_t *end,
			const uint8_t *in, struct deflate_portion *portion,
			bool last);

#endif
