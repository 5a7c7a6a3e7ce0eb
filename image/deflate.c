/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Portions of the input are parsed into sequences (a run of literals, then
 * perhaps a match), then written as one or more blocks.
 *
 * Matches are found through chains of earlier positions with the same hash of
 * four bytes, and one position per hash of three. Positions are kept modulo
 * 2^16 and never cleaned up: an old one looks like a distance that is wrong or
 * passes for one that is right, and the bytes there are compared in any case.
 */
#include "image/deflate.h"

#include <errno.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "image/deflate-code.h"

enum {
	HASH3_BITS = 12,
	HASH4_BITS = 13,
	PIECE_BYTES = 8192,
	PIECES = 8,
	PORTION_BYTES = PIECES * PIECE_BYTES,
	/* A portion ends in a match or a literal that began inside it. */
	MAX_PORTION_BYTES = PORTION_BYTES + 2 * DEFLATE_MAX_MATCH,
	MAX_SEQUENCES = MAX_PORTION_BYTES / DEFLATE_MIN_MATCH + 2 * PIECES + 2,
	/* What a short match at this distance saves is less than it costs. */
	FAR_FOR_THREE = 2048,
	/* In bytes that look random: literals before the search speeds up. */
	SAMPLE_BYTES = 16,
	LEAST_SEEN = 512, /* to judge by */
	PATIENCE_SHIFT = 5,
	MAX_STRIDE = 16,
};

struct level {
	uint16_t depth; /* positions looked at */
	uint16_t nice;	/* a match of this length is good enough */
	uint16_t lazy;	/* one below is compared with the next position's */
};

static const struct level levels[] = {
	{2, 16, 0},  {4, 24, 0},   {5, 32, 6},	   {6, 32, 8},	    {7, 32, 10},
	{8, 32, 12}, {16, 64, 32}, {40, 128, 128}, {200, 258, 258},
};

struct deflate {
	uint16_t hash3[1 << HASH3_BITS];
	uint16_t hash4[1 << HASH4_BITS];
	uint16_t before[DEFLATE_WINDOW_BYTES]; /* the same hash, earlier */

	struct deflate_sequence sequences[MAX_SEQUENCES];
	struct deflate_piece pieces[PIECES];
	unsigned piece_count;

	struct deflate_codes fixed;
	uint8_t length_slots[DEFLATE_MAX_MATCH + 1];
	uint8_t near_slots[257]; /* of distances up to 256 */
};

/* Where the parsing of one portion is. */
struct parse {
	struct deflate *d;
	const struct level *level;
	const uint8_t *in;
	size_t bytes; /* of the whole input */
	size_t at;
	size_t literals_from; /* not yet in a sequence */
	size_t piece_end;
	unsigned sequences;
	unsigned min_match;
	bool looks_random;
};

struct match {
	unsigned length, distance;
};

static unsigned distance_slot(const struct deflate *d, unsigned distance)
{
	return distance <= 256 ? d->near_slots[distance]
			       : d->near_slots[((distance - 1) >> 7) + 1] + 14;
}

static void make_slots(struct deflate *d)
{
	for (unsigned slot = 0; slot < DEFLATE_LENGTHS; slot++)
		for (unsigned i = 0; i < 1u << deflate_length_extra[slot]; i++)
			if (deflate_length_base[slot] + i <= DEFLATE_MAX_MATCH)
				d->length_slots[deflate_length_base[slot] + i] =
					slot;
	for (unsigned slot = 0; deflate_distance_base[slot] <= 256; slot++)
		for (unsigned i = 0; i < 1u << deflate_distance_extra[slot];
		     i++)
			if (deflate_distance_base[slot] + i <= 256)
				d->near_slots[deflate_distance_base[slot] + i] =
					slot;
}

int deflate_new(struct deflate **ret_deflate)
{
	struct deflate *d = calloc(1, sizeof(*d));

	if (!d)
		return -ENOMEM;
	deflate_fixed_codes(&d->fixed);
	make_slots(d);
	*ret_deflate = d;
	return 0;
}

void deflate_free(struct deflate *deflate)
{
	free(deflate);
}

size_t deflate_bound(size_t bytes)
{
	/* Per portion: a header and stored blocks' lengths. */
	return bytes + (bytes / PORTION_BYTES + 1) * 16 + DEFLATE_SLACK_BYTES;
}

/* How many bytes at @a and @b are the same, of the @from known to be so. */
static unsigned common(const uint8_t *a, const uint8_t *b, unsigned from,
		       unsigned limit)
{
	while (from + 8 <= limit) {
		uint64_t differ = get_le64(a + from) ^ get_le64(b + from);

		if (differ)
			return from + (__builtin_ctzll(differ) >> 3);
		from += 8;
	}
	while (from < limit && a[from] == b[from])
		from++;
	return from;
}

static inline uint32_t hash3_of(uint32_t four)
{
	return (four << 8) * UINT32_C(0x9e3779b1) >> (32 - HASH3_BITS);
}

static inline uint32_t hash4_of(uint32_t four)
{
	return four * UINT32_C(0x9e3779b1) >> (32 - HASH4_BITS);
}

/* Four bytes are left at @at. Returns the last position with its hash. */
static inline uint16_t insert(struct deflate *d, size_t at, uint32_t four,
			      uint16_t *ret_three)
{
	uint16_t *three = &d->hash3[hash3_of(four)];
	uint16_t *head = &d->hash4[hash4_of(four)];
	uint16_t last = *head;

	*ret_three = *three;
	*three = *head = at;
	d->before[at % DEFLATE_WINDOW_BYTES] = last;
	return last;
}

/*
 * Enters parse->at, and looks for a match there of more than best->length
 * bytes. Whether there was one.
 */
static inline __attribute__((always_inline)) bool
search(const struct parse *p, unsigned depth, struct match *best)
{
	size_t left = p->bytes - p->at;
	unsigned limit = MIN(left, (size_t)DEFLATE_MAX_MATCH);
	unsigned reach = MIN(p->at, (size_t)DEFLATE_WINDOW_BYTES);
	unsigned nice = MIN((unsigned)p->level->nice, limit);
	const uint8_t *here = p->in + p->at;
	uint32_t four = get_le32(here);
	unsigned length = MAX(best->length, 3u), distance = 0, last = 0;
	uint16_t three;
	uint16_t at = insert(p->d, p->at, four, &three);

	if (best->length < 3) {
		unsigned back = (uint16_t)(p->at - three);

		if (back - 1 < reach &&
		    (get_le32(here - back) ^ four) << 8 == 0)
			distance = back;
	}
	if (length >= limit)
		depth = 0;
	for (; depth > 0; depth--) {
		unsigned back = (uint16_t)(p->at - at);
		const uint8_t *there = here - back;

		if (back <= last || back > reach)
			break;
		last = back;
		if (get_le32(there + length - 3) ==
			    get_le32(here + length - 3) &&
		    get_le32(there) == four) {
			unsigned same = common(here, there, 4, limit);

			if (same > length) {
				length = same;
				distance = back;
				if (length >= nice)
					break;
			}
		}
		at = p->d->before[at % DEFLATE_WINDOW_BYTES];
	}
	if (distance == 0)
		return false;
	*best = (struct match){.length = length, .distance = distance};
	return true;
}

static void enter(const struct parse *p, size_t from, size_t count)
{
	size_t end = MIN(from + count, p->bytes - 3);
	uint16_t unused;

	for (; from < end; from++)
		insert(p->d, from, get_le32(p->in + from), &unused);
}

/*
 * How the next piece's bytes are spread says what is worth trying there. A
 * quarter of them will do.
 */
static void judge_bytes(struct parse *p)
{
	uint16_t counts[2][DEFLATE_LITERALS] = {0};
	size_t bytes = MIN(p->bytes - p->at, (size_t)PIECE_BYTES);
	const uint8_t *in = p->in + p->at;
	uint32_t squares = 0, seen = 0, kinds = 0;

	for (size_t i = 0; i + SAMPLE_BYTES <= bytes; i += 4 * SAMPLE_BYTES) {
		for (size_t k = 0; k < SAMPLE_BYTES; k += 2) {
			counts[0][in[i + k]]++;
			counts[1][in[i + k + 1]]++;
		}
		seen += SAMPLE_BYTES;
	}
	for (size_t i = 0; i < DEFLATE_LITERALS; i++) {
		uint32_t count = counts[0][i] + counts[1][i];

		squares += count * count;
		kinds += count > 0;
	}
	/* Evenly spread bytes: seen^2 / 256, and seen for chance. */
	p->looks_random = seen >= LEAST_SEEN &&
			  squares < seen * seen / 256 + seen + seen / 2;
	/* Few kinds of bytes make literals cheap. */
	p->min_match = 3;
	if (seen >= LEAST_SEEN)
		p->min_match = kinds < 14 ? 5 : kinds < 32 ? 4 : 3;
}

static struct deflate_piece *current(const struct parse *p)
{
	return &p->d->pieces[p->d->piece_count - 1];
}

static void begin_piece(struct parse *p)
{
	struct deflate_piece *piece = &p->d->pieces[p->d->piece_count++];

	*piece = (struct deflate_piece){.first = p->sequences};
	p->piece_end = p->at + PIECE_BYTES;
	judge_bytes(p);
}

/* The literals so far, and a match or none. */
static void add_sequence(struct parse *p, struct match match)
{
	struct deflate_sequence *s = &p->d->sequences[p->sequences++];
	struct deflate_piece *piece = current(p);

	for (size_t i = p->literals_from; i < p->at; i++)
		piece->counts.litlen[p->in[i]]++;
	*s = (struct deflate_sequence){
		.literals = p->at - p->literals_from,
		.length = match.length,
	};
	piece->count++;
	piece->bytes += s->literals + match.length;
	p->at += match.length;
	p->literals_from = p->at;
	if (match.length == 0)
		return;
	s->distance = match.distance;
	s->length_slot = p->d->length_slots[match.length];
	s->distance_slot = distance_slot(p->d, match.distance);
	piece->counts.litlen[DEFLATE_FIRST_LENGTH + s->length_slot]++;
	piece->counts.distance[s->distance_slot]++;
}

static int worth(struct match match)
{
	return (int)match.length * 4 - (31 - __builtin_clz(match.distance));
}

static bool is_worth_it(const struct parse *p, struct match match)
{
	return match.length >= p->min_match &&
	       (match.length > 3 || match.distance <= FAR_FOR_THREE);
}

/* A match was found at p->at, which is entered: that, or a later one. */
static void take_match(struct parse *p, struct match match)
{
	size_t entered = p->at + 1;

	while (match.length < p->level->lazy && p->bytes - p->at > 4) {
		struct match next = {.length = match.length - 1};
		bool better;

		p->at++;
		entered = p->at + 1;
		better = search(p, MAX(p->level->depth / 2, 1), &next) &&
			 worth(next) > worth(match) + 2;
		if (!better) {
			p->at--;
			break;
		}
		match = next;
	}
	if (entered < p->at + match.length)
		enter(p, entered, p->at + match.length - entered);
	add_sequence(p, match);
}

/* Nothing here; in what looks random, nothing nearby either. */
static void pass_literal(struct parse *p)
{
	size_t run = p->at - p->literals_from;
	size_t stride = 1;

	if (p->looks_random)
		stride += MIN(run >> PATIENCE_SHIFT, (size_t)MAX_STRIDE - 1);
	p->at = MIN(p->at + stride, p->piece_end);
	p->at = MIN(p->at, p->bytes);
}

static void parse_piece(struct parse *p)
{
	size_t end = MIN(p->piece_end, p->bytes);

	while (p->at < end) {
		struct match match = {0};

		if (p->bytes - p->at < 4) {
			p->at = p->bytes;
			break;
		}
		if (search(p, p->level->depth, &match) && is_worth_it(p, match))
			take_match(p, match);
		else
			pass_literal(p);
	}
	if (p->at > p->literals_from)
		add_sequence(p, (struct match){0});
}

static void parse_portion(struct parse *p)
{
	p->sequences = 0;
	p->d->piece_count = 0;
	do {
		begin_piece(p);
		parse_piece(p);
	} while (p->at < p->bytes && p->d->piece_count < PIECES);
}

static void forget(struct deflate *d)
{
	memset(d->hash3, 0, sizeof(d->hash3));
	memset(d->hash4, 0, sizeof(d->hash4));
	memset(d->before, 0, sizeof(d->before));
}

static const struct level *clamped(int level)
{
	level = MAX(level, (int)DEFLATE_MIN_LEVEL);
	level = MIN(level, (int)DEFLATE_MAX_LEVEL);
	return &levels[level - DEFLATE_MIN_LEVEL];
}

size_t deflate_compress(struct deflate *deflate, int level, const void *from,
			size_t bytes, void *to, size_t to_bytes)
{
	struct deflate_bits out = {.at = to};
	struct parse parse = {
		.d = deflate,
		.level = clamped(level),
		.in = from,
		.bytes = bytes,
	};
	const uint8_t *end;

	if (to_bytes <= DEFLATE_SLACK_BYTES)
		return 0;
	end = (uint8_t *)to + to_bytes - DEFLATE_SLACK_BYTES;
	forget(deflate);
	do {
		const uint8_t *in = parse.in + parse.at;
		struct deflate_portion portion;

		parse_portion(&parse);
		portion = (struct deflate_portion){
			.sequences = deflate->sequences,
			.pieces = deflate->pieces,
			.count = deflate->piece_count,
			.fixed = &deflate->fixed,
		};
		if (!deflate_put_pieces(&out, end, in, &portion,
					parse.at == bytes))
			return 0;
	} while (parse.at < bytes);
	if (out.count > 0) {
		*out.at++ = out.bits;
		out.count = 0;
	}
	return out.at - (uint8_t *)to;
}
