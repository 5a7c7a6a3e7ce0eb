/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From pieces to blocks. Neighbouring pieces become one block unless codes of
 * their own save more than a header takes; each block is written in the way
 * that is shortest, which is known before.
 */
#include "image/deflate-code.h"

enum {
	MAX_STORED_BYTES = 65535,
	HEADER_GUESS_BITS = 500,
};

static void add_counts(struct deflate_counts *to,
		       const struct deflate_counts *more)
{
	for (unsigned i = 0; i < DEFLATE_LITLENS; i++)
		to->litlen[i] += more->litlen[i];
	for (unsigned i = 0; i < DEFLATE_DISTANCES; i++)
		to->distance[i] += more->distance[i];
}

/* Joins pieces that are alike; what is left are the blocks. */
static void join_pieces(struct deflate_portion *portion)
{
	struct deflate_piece *block = &portion->pieces[0];
	uint64_t block_cost = deflate_entropy(&block->counts);

	for (unsigned i = 1; i < portion->count; i++) {
		struct deflate_piece *next = &portion->pieces[i];
		uint64_t next_cost = deflate_entropy(&next->counts);
		struct deflate_counts both = block->counts;
		uint64_t both_cost;

		add_counts(&both, &next->counts);
		both_cost = deflate_entropy(&both);
		if (both_cost >
		    block_cost + next_cost + (HEADER_GUESS_BITS << 8)) {
			*++block = *next;
			block_cost = next_cost;
			continue;
		}
		block->counts = both;
		block->count += next->count;
		block->bytes += next->bytes;
		block_cost = both_cost;
	}
	portion->count = block + 1 - portion->pieces;
}

static void put_stored(struct deflate_bits *out, const uint8_t *in,
		       size_t bytes, bool last)
{
	do {
		size_t now = MIN(bytes, (size_t)MAX_STORED_BYTES);

		deflate_put(out, last && now == bytes, 3);
		out->count = align_up(out->count, 8);
		deflate_put_flush(out);
		put_le16(out->at, now);
		put_le16(out->at + 2, ~now);
		memcpy(out->at + 4, in, now);
		out->at += 4 + now;
		in += now;
		bytes -= now;
	} while (bytes > 0);
}

static const uint8_t *put_literals(struct deflate_bits *out,
				   const struct deflate_codes *codes,
				   const uint8_t *in, unsigned count)
{
	const struct deflate_symbol *code = codes->litlen;

	for (; count >= 3; count -= 3, in += 3) {
		for (int i = 0; i < 3; i++)
			deflate_put(out, code[in[i]].code, code[in[i]].bits);
		deflate_put_flush(out);
	}
	for (; count > 0; count--, in++)
		deflate_put(out, code[*in].code, code[*in].bits);
	deflate_put_flush(out);
	return in;
}

/* 15 + 5 + 15 + 10 bits at most, and 7 that wait. */
static void put_match(struct deflate_bits *out,
		      const struct deflate_codes *codes,
		      const struct deflate_sequence *s)
{
	unsigned length = s->length_slot, distance = s->distance_slot;
	const struct deflate_symbol *code =
		&codes->litlen[DEFLATE_FIRST_LENGTH + length];

	deflate_put(out, code->code, code->bits);
	deflate_put(out, s->length - deflate_length_base[length],
		    deflate_length_extra[length]);
	code = &codes->distance[distance];
	deflate_put(out, code->code, code->bits);
	deflate_put(out, s->distance - deflate_distance_base[distance],
		    deflate_distance_extra[distance]);
	deflate_put_flush(out);
}

static void put_sequences(struct deflate_bits *out,
			  const struct deflate_codes *codes, const uint8_t *in,
			  const struct deflate_sequence *s, unsigned count)
{
	for (; count > 0; count--, s++) {
		in = put_literals(out, codes, in, s->literals);
		if (s->length > 0)
			put_match(out, codes, s);
		in += s->length;
	}
	deflate_put(out, codes->litlen[DEFLATE_END_OF_BLOCK].code,
		    codes->litlen[DEFLATE_END_OF_BLOCK].bits);
	deflate_put_flush(out);
}

static uint64_t stored_bits(size_t bytes)
{
	/* Its 3 bits, up to 7 to a whole byte, and the length twice. */
	return bytes * 8 +
	       div_round_up(MAX(bytes, (size_t)1), MAX_STORED_BYTES) *
		       (3 + 7 + 32);
}

/* In the way that is shortest; false if there is no room for it. */
static bool put_block(const struct deflate_portion *portion,
		      struct deflate_bits *out, const uint8_t *end,
		      const uint8_t *in, struct deflate_piece *block, bool last)
{
	const struct deflate_sequence *sequences =
		&portion->sequences[block->first];
	uint64_t stored = stored_bits(block->bytes), fixed, dynamic, least;
	struct deflate_header header;
	struct deflate_codes codes;

	block->counts.litlen[DEFLATE_END_OF_BLOCK] = 1;
	deflate_make_code(block->counts.litlen, DEFLATE_LITLENS,
			  DEFLATE_MAX_CODE_BITS, codes.litlen);
	deflate_make_code(block->counts.distance, DEFLATE_DISTANCES,
			  DEFLATE_MAX_CODE_BITS, codes.distance);
	deflate_make_header(&codes, &header);
	dynamic = 3 + header.bits + deflate_cost(&block->counts, &codes);
	fixed = 3 + deflate_cost(&block->counts, portion->fixed);
	least = MIN(fixed, dynamic);
	least = MIN(stored, least);
	/* With the bits that wait. */
	if ((least + out->count + 7) / 8 > (uint64_t)(end - out->at))
		return false;
	if (least == stored) {
		put_stored(out, in, block->bytes, last);
	} else if (least == fixed) {
		deflate_put(out, last | 1 << 1, 3);
		put_sequences(out, portion->fixed, in, sequences, block->count);
	} else {
		deflate_put(out, last | 2 << 1, 3);
		deflate_put_header(out, &header);
		put_sequences(out, &codes, in, sequences, block->count);
	}
	return true;
}

bool deflate_put_pieces(struct deflate_bits *out, const uint8_t *end,
			const uint8_t *in, struct deflate_portion *portion,
			bool last)
{
	join_pieces(portion);
	for (unsigned i = 0; i < portion->count; i++) {
		struct deflate_piece *block = &portion->pieces[i];

		if (!put_block(portion, out, end, in, block,
			       last && i + 1 == portion->count))
			return false;
		in += block->bytes;
	}
	return true;
}
