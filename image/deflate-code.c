/* SPDX-License-Identifier: Apache-2.0 */
#include "image/deflate-code.h"

const uint8_t deflate_length_extra[DEFLATE_LENGTHS] = {
	0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
	2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0,
};

const uint16_t deflate_length_base[DEFLATE_LENGTHS] = {
	3,  4,	5,  6,	7,  8,	9,  10, 11,  13,  15,  17,  19,	 23,  27,
	31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258,
};

const uint8_t deflate_distance_extra[DEFLATE_DISTANCES] = {
	0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4,  4,
	5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10,
};

const uint16_t deflate_distance_base[DEFLATE_DISTANCES] = {
	1,  2,	3,   4,	  5,   7,   9,	 13,  17,   25,	  33,	49,
	65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073,
};

/* The lengths of a dynamic block's third code come in this order. */
static const uint8_t header_order[19] = {
	16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15,
};

enum {
	REPEAT = 16,	   /* the last length, 3 to 6 times */
	ZEROES_SHORT = 17, /* 3 to 10 times */
	ZEROES_LONG = 18,  /* 11 to 138 times */
	SYMBOL_BITS = 9,
	MAX_HEADER_CODE_BITS = 7,
};

static unsigned header_extra(unsigned symbol)
{
	static const uint8_t extra[] = {2, 3, 7};

	return symbol < REPEAT ? 0 : extra[symbol - REPEAT];
}

/* Keys ascend; a few hundred at most. */
static void sort(uint32_t *keys, unsigned count)
{
	static const uint8_t gaps[] = {132, 57, 23, 10, 4, 1};

	for (size_t g = 0; g < ARRAY_SIZE(gaps); g++) {
		unsigned gap = gaps[g];

		for (unsigned i = gap; i < count; i++) {
			uint32_t key = keys[i];
			unsigned at = i;

			for (; at >= gap && keys[at - gap] > key; at -= gap)
				keys[at] = keys[at - gap];
			keys[at] = key;
		}
	}
}

/*
 * The classic tree of two queues: leaves by ascending count, and inner nodes,
 * which come about in ascending order. Fills how many leaves lie how deep.
 */
static void count_depths(const uint32_t *keys, unsigned leaves,
			 unsigned max_bits, unsigned *ret_at_depth)
{
	uint32_t weight[DEFLATE_MAX_SYMBOLS];
	uint16_t parent[2 * DEFLATE_MAX_SYMBOLS];
	uint8_t depth[DEFLATE_MAX_SYMBOLS];
	unsigned leaf = 0, inner = 0;

	for (unsigned made = 0; made + 1 < leaves; made++) {
		weight[made] = 0;
		for (int child = 0; child < 2; child++) {
			bool is_leaf =
				leaf < leaves &&
				(inner == made ||
				 keys[leaf] >> SYMBOL_BITS <= weight[inner]);

			weight[made] += is_leaf ? keys[leaf] >> SYMBOL_BITS
						: weight[inner];
			if (is_leaf)
				parent[leaf++] = made;
			else
				parent[DEFLATE_MAX_SYMBOLS + inner++] = made;
		}
	}
	/* From the root, which was made last, downwards. */
	depth[leaves - 2] = 0;
	for (unsigned i = leaves - 2; i-- > 0;)
		depth[i] = depth[parent[DEFLATE_MAX_SYMBOLS + i]] + 1;
	for (unsigned i = 0; i < leaves; i++)
		ret_at_depth[MIN(depth[parent[i]] + 1u, max_bits)]++;
}

/* Where depths were cut there are too many codes: others become longer. */
static void make_room(unsigned *at_depth, unsigned max_bits)
{
	uint32_t used = 0;

	for (unsigned bits = 1; bits <= max_bits; bits++)
		used += (uint32_t)at_depth[bits] << (max_bits - bits);
	for (; used > UINT32_C(1) << max_bits; used--) {
		unsigned bits = max_bits - 1;

		/* One leaf and one of the longest become two, a bit deeper. */
		while (at_depth[bits] == 0)
			bits--;
		at_depth[bits]--;
		at_depth[bits + 1] += 2;
		at_depth[max_bits]--;
	}
}

static uint16_t reversed(unsigned code, unsigned bits)
{
	unsigned to = 0;

	for (unsigned i = 0; i < bits; i++)
		to |= (code >> i & 1) << (bits - 1 - i);
	return to;
}

/* "Use of Huffman coding in the deflate format": codes from their lengths. */
static void assign_codes(struct deflate_symbol *code, unsigned count)
{
	unsigned at_depth[DEFLATE_MAX_CODE_BITS + 1] = {0};
	unsigned next[DEFLATE_MAX_CODE_BITS + 2] = {0};

	for (unsigned i = 0; i < count; i++)
		at_depth[code[i].bits]++;
	at_depth[0] = 0;
	for (unsigned bits = 1; bits <= DEFLATE_MAX_CODE_BITS; bits++)
		next[bits + 1] = (next[bits] + at_depth[bits]) << 1;
	for (unsigned i = 0; i < count; i++)
		if (code[i].bits > 0)
			code[i].code =
				reversed(next[code[i].bits]++, code[i].bits);
}

void deflate_make_code(const uint32_t *counts, unsigned count,
		       unsigned max_bits, struct deflate_symbol *ret_code)
{
	unsigned at_depth[DEFLATE_MAX_CODE_BITS + 1] = {0};
	uint32_t keys[DEFLATE_MAX_SYMBOLS];
	unsigned leaves = 0, at = 0;

	memset(ret_code, 0, count * sizeof(*ret_code));
	for (unsigned i = 0; i < count; i++)
		if (counts[i] > 0)
			keys[leaves++] = counts[i] << SYMBOL_BITS | i;
	for (unsigned i = 0; leaves < 2; i++)
		if (counts[i] == 0)
			keys[leaves++] = i;
	sort(keys, leaves);
	count_depths(keys, leaves, max_bits, at_depth);
	make_room(at_depth, max_bits);
	/* The rarest get the longest codes. */
	for (unsigned bits = max_bits; bits > 0; bits--)
		for (unsigned i = 0; i < at_depth[bits]; i++)
			ret_code[keys[at++] & ((1u << SYMBOL_BITS) - 1)].bits =
				bits;
	assign_codes(ret_code, count);
}

/* Codes 286 and 287 take part in the fixed code, and are never used. */
void deflate_fixed_codes(struct deflate_codes *ret_codes)
{
	struct deflate_symbol litlen[288];

	for (unsigned i = 0; i < ARRAY_SIZE(litlen); i++)
		litlen[i] = (struct deflate_symbol){
			.bits = i < 144	  ? 8
				: i < 256 ? 9
				: i < 280 ? 7
					  : 8,
		};
	assign_codes(litlen, ARRAY_SIZE(litlen));
	memcpy(ret_codes->litlen, litlen, sizeof(ret_codes->litlen));
	for (unsigned i = 0; i < DEFLATE_DISTANCES; i++)
		ret_codes->distance[i] = (struct deflate_symbol){
			.code = reversed(i, 5),
			.bits = 5,
		};
}

static void add_item(struct deflate_header *header, unsigned symbol,
		     unsigned extra)
{
	header->items[header->count].symbol = symbol;
	header->items[header->count++].extra = extra;
}

/* @run times length @bits. */
static void add_run(struct deflate_header *header, unsigned bits, unsigned run)
{
	if (bits > 0) {
		add_item(header, bits, 0);
		run--;
	}
	while (run > 0) {
		unsigned most = bits ? 6 : 138;
		unsigned now = MIN(run, most);

		/* Two short leftovers are better than one below the least. */
		if (now < 3) {
			add_item(header, bits, 0);
			run--;
			continue;
		}
		if (bits)
			add_item(header, REPEAT, now - 3);
		else if (now < 11)
			add_item(header, ZEROES_SHORT, now - 3);
		else
			add_item(header, ZEROES_LONG, now - 11);
		run -= now;
	}
}

static unsigned used(const struct deflate_symbol *code, unsigned count,
		     unsigned least)
{
	while (count > least && code[count - 1].bits == 0)
		count--;
	return count;
}

void deflate_make_header(const struct deflate_codes *codes,
			 struct deflate_header *ret_header)
{
	struct deflate_header *h = ret_header;
	uint8_t lengths[DEFLATE_LITLENS + DEFLATE_DISTANCES];
	uint32_t counts[19] = {0};
	unsigned total, run;

	h->litlens = used(codes->litlen, DEFLATE_LITLENS, DEFLATE_FIRST_LENGTH);
	h->distances = used(codes->distance, DEFLATE_DISTANCES, 1);
	h->count = 0;
	total = h->litlens + h->distances;
	for (unsigned i = 0; i < h->litlens; i++)
		lengths[i] = codes->litlen[i].bits;
	for (unsigned i = 0; i < h->distances; i++)
		lengths[h->litlens + i] = codes->distance[i].bits;
	for (unsigned i = 0; i < total; i += run) {
		run = 1;
		while (i + run < total && lengths[i + run] == lengths[i])
			run++;
		add_run(h, lengths[i], run);
	}
	for (unsigned i = 0; i < h->count; i++)
		counts[h->items[i].symbol]++;
	deflate_make_code(counts, 19, MAX_HEADER_CODE_BITS, h->code);
	h->order_used = 19;
	while (h->order_used > 4 &&
	       h->code[header_order[h->order_used - 1]].bits == 0)
		h->order_used--;
	h->bits = 5 + 5 + 4 + 3 * h->order_used;
	for (unsigned i = 0; i < 19; i++)
		h->bits += counts[i] * (h->code[i].bits + header_extra(i));
}

void deflate_put_header(struct deflate_bits *out,
			const struct deflate_header *header)
{
	deflate_put(out, header->litlens - 257, 5);
	deflate_put(out, header->distances - 1, 5);
	deflate_put(out, header->order_used - 4, 4);
	deflate_put_flush(out);
	for (unsigned i = 0; i < header->order_used; i++) {
		deflate_put(out, header->code[header_order[i]].bits, 3);
		deflate_put_flush(out);
	}
	for (unsigned i = 0; i < header->count; i++) {
		unsigned symbol = header->items[i].symbol;

		deflate_put(out, header->code[symbol].code,
			    header->code[symbol].bits);
		deflate_put(out, header->items[i].extra, header_extra(symbol));
		deflate_put_flush(out);
	}
}

static uint64_t extra_bits(const struct deflate_counts *counts)
{
	uint64_t bits = 0;

	for (unsigned i = 0; i < DEFLATE_LENGTHS; i++)
		bits += (uint64_t)counts->litlen[DEFLATE_FIRST_LENGTH + i] *
			deflate_length_extra[i];
	for (unsigned i = 0; i < DEFLATE_DISTANCES; i++)
		bits += (uint64_t)counts->distance[i] *
			deflate_distance_extra[i];
	return bits;
}

uint64_t deflate_cost(const struct deflate_counts *counts,
		      const struct deflate_codes *codes)
{
	uint64_t bits = extra_bits(counts);

	for (unsigned i = 0; i < DEFLATE_LITLENS; i++)
		bits += (uint64_t)counts->litlen[i] * codes->litlen[i].bits;
	for (unsigned i = 0; i < DEFLATE_DISTANCES; i++)
		bits += (uint64_t)counts->distance[i] * codes->distance[i].bits;
	return bits;
}

/* log2 in 1/256, @value not 0: between powers of two a parabola. */
static uint32_t log2_256(uint32_t value)
{
	unsigned whole = 31 - __builtin_clz(value);
	uint32_t part = ((uint64_t)value << 8 >> whole) & 255;

	return (whole << 8) + part + (part * (256 - part) * 88 >> 16);
}

static uint64_t entropy(const uint32_t *counts, unsigned count)
{
	uint64_t total = 0, bits = 0;

	for (unsigned i = 0; i < count; i++) {
		total += counts[i];
		if (counts[i] > 0)
			bits += (uint64_t)counts[i] * log2_256(counts[i]);
	}
	return total ? total * log2_256(total) - bits : 0;
}

uint64_t deflate_entropy(const struct deflate_counts *counts)
{
	return entropy(counts->litlen, DEFLATE_LITLENS) +
	       entropy(counts->distance, DEFLATE_DISTANCES);
}
