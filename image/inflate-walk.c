/* SPDX-License-Identifier: Apache-2.0 */
#include "image/inflate-walk.h"

#include <string.h>

#include "base/bytes.h"

enum {
	MAX_BITS = 15,
	END = 256,
};

struct code {
	uint16_t at_bits[MAX_BITS + 1];
	uint16_t symbols[288];
};

struct walker {
	const uint8_t *in;
	size_t in_bits, at;
	bool failed;
	uint8_t *out;
	size_t out_bytes;
	struct inflate_walk *walk;
};

static unsigned take(struct walker *w, unsigned count)
{
	unsigned value = 0;

	for (unsigned i = 0; i < count; i++, w->at++) {
		if (w->at >= w->in_bits) {
			w->failed = true;
			return 0;
		}
		value |= (w->in[w->at / 8] >> w->at % 8 & 1u) << i;
	}
	return value;
}

static bool make_code(struct code *code, const uint8_t *bits, unsigned count)
{
	unsigned first[MAX_BITS + 2] = {0};
	int left = 1;

	memset(code, 0, sizeof(*code));
	for (unsigned i = 0; i < count; i++)
		code->at_bits[bits[i]]++;
	for (unsigned b = 1; b <= MAX_BITS; b++) {
		left = left * 2 - code->at_bits[b];
		if (left < 0)
			return false;
		first[b + 1] = first[b] + code->at_bits[b];
	}
	for (unsigned i = 0; i < count; i++)
		if (bits[i] > 0)
			code->symbols[first[bits[i]]++] = i;
	return left == 0 || code->at_bits[0] + 1u == count;
}

static unsigned decode(struct walker *w, const struct code *code)
{
	unsigned value = 0, first = 0, index = 0;

	for (unsigned b = 1; b <= MAX_BITS && !w->failed; b++) {
		value |= take(w, 1);
		if (value - first < code->at_bits[b])
			return code->symbols[index + value - first];
		index += code->at_bits[b];
		first = (first + code->at_bits[b]) << 1;
		value <<= 1;
	}
	w->failed = true;
	return END;
}

static void put(struct walker *w, uint8_t byte)
{
	if (w->walk->out_bytes == w->out_bytes)
		w->failed = true;
	else
		w->out[w->walk->out_bytes++] = byte;
}

static void copy_match(struct walker *w, unsigned symbol,
		       const struct code *distances)
{
	unsigned slot = symbol - 257, length = 3, distance = 1;
	unsigned far;

	/* Lengths and distances as the tables of RFC 1951 come about. */
	for (unsigned i = 0; i < slot; i++)
		length += 1u << (i < 8 ? 0 : (i - 4) / 4);
	length += take(w, slot < 8 || slot == 28 ? 0 : (slot - 4) / 4);
	if (slot == 28)
		length = 258;
	far = decode(w, distances);
	for (unsigned i = 0; i < far; i++)
		distance += 1u << (i < 4 ? 0 : (i - 2) / 2);
	distance += take(w, far < 4 ? 0 : (far - 2) / 2);
	if (slot > 28 || far > 29 || distance > w->walk->out_bytes)
		w->failed = true;
	w->walk->farthest = MAX(w->walk->farthest, distance);
	w->walk->longest = MAX(w->walk->longest, length);
	while (length-- > 0 && !w->failed)
		put(w, w->out[w->walk->out_bytes - distance]);
}

static void walk_symbols(struct walker *w, const struct code *litlens,
			 const struct code *distances)
{
	while (!w->failed) {
		unsigned symbol = decode(w, litlens);

		if (symbol == END)
			return;
		if (symbol < END)
			put(w, symbol);
		else
			copy_match(w, symbol, distances);
	}
}

static void walk_stored(struct walker *w)
{
	unsigned length;

	w->walk->stored++;
	w->at = align_up(w->at, 8);
	length = take(w, 16);
	if (take(w, 16) != (~length & 0xffff))
		w->failed = true;
	while (length-- > 0 && !w->failed)
		put(w, take(w, 8));
}

static void walk_fixed(struct walker *w)
{
	struct code litlens, distances;
	uint8_t bits[288];

	w->walk->fixed++;
	for (unsigned i = 0; i < 288; i++)
		bits[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
	make_code(&litlens, bits, 288);
	memset(bits, 5, 32);
	make_code(&distances, bits, 32);
	walk_symbols(w, &litlens, &distances);
}

static void walk_dynamic(struct walker *w)
{
	static const uint8_t order[] = {16, 17, 18, 0, 8,  7, 9,  6, 10, 5,
					11, 4,	12, 3, 13, 2, 14, 1, 15};
	unsigned litlens = take(w, 5) + 257, distances = take(w, 5) + 1;
	unsigned lengths = take(w, 4) + 4, at = 0;
	struct code code, distance_code;
	uint8_t bits[320 + 138] = {0};

	w->walk->dynamic++;
	for (unsigned i = 0; i < lengths; i++)
		bits[order[i]] = take(w, 3);
	if (!make_code(&code, bits, 19))
		w->failed = true;
	while (at < litlens + distances && !w->failed) {
		unsigned symbol = decode(w, &code), run = 1, value = 0;

		if (symbol == 16) {
			value = at > 0 ? bits[at - 1] : 0;
			run = 3 + take(w, 2);
		} else if (symbol == 17) {
			run = 3 + take(w, 3);
		} else if (symbol == 18) {
			run = 11 + take(w, 7);
		} else {
			value = symbol;
		}
		memset(bits + at, value, run);
		at += run;
	}
	if (at != litlens + distances || bits[END] == 0 ||
	    !make_code(&code, bits, litlens) ||
	    !make_code(&distance_code, bits + litlens, distances))
		w->failed = true;
	walk_symbols(w, &code, &distance_code);
}

bool inflate_walk(const uint8_t *in, size_t in_bytes, uint8_t *out,
		  size_t out_bytes, struct inflate_walk *ret_walk)
{
	struct walker w = {
		.in = in,
		.in_bits = in_bytes * 8,
		.out = out,
		.out_bytes = out_bytes,
		.walk = ret_walk,
	};
	bool last = false;

	*ret_walk = (struct inflate_walk){0};
	while (!last && !w.failed) {
		last = take(&w, 1);
		switch (take(&w, 2)) {
		case 0:
			walk_stored(&w);
			break;
		case 1:
			walk_fixed(&w);
			break;
		case 2:
			walk_dynamic(&w);
			break;
		default:
			w.failed = true;
		}
	}
	ret_walk->in_bytes = (w.at + 7) / 8;
	return !w.failed;
}
