/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/kvm/frames.h"

enum {
	TYPE_AT = 2 * FRAMES_ADDRESS_BYTES,
	KIND_AT = TYPE_AT + 2,
	TURN_AT = KIND_AT + 1,
	NUMBER_AT = TURN_AT + 1,
	PAYLOAD_AT = NUMBER_AT + 4,
	/* Shares no factor with the number of lengths: goes through them all. */
	LENGTH_STEP = 101,
	/* One frame in so many is as long as can be. */
	LONGEST_EACH = 8,
};

void frames_address(uint8_t machine, uint8_t ret_address[FRAMES_ADDRESS_BYTES])
{
	for (unsigned i = 0; i < FRAMES_ADDRESS_BYTES; i++)
		ret_address[i] = 0;
	ret_address[0] = 2; /* locally administered */
	ret_address[FRAMES_ADDRESS_BYTES - 1] = machine;
}

int frames_machine(const uint8_t address[FRAMES_ADDRESS_BYTES])
{
	if (address[0] != 2)
		return -1;
	for (unsigned i = 1; i < FRAMES_ADDRESS_BYTES - 1; i++)
		if (address[i] != 0)
			return -1;
	return address[FRAMES_ADDRESS_BYTES - 1];
}

static uint32_t length(const struct frames_word *word)
{
	const uint32_t lengths = FRAMES_MOST_BYTES - FRAMES_LEAST_BYTES + 1;

	if (word->kind != FRAMES_DATA)
		return FRAMES_LEAST_BYTES;
	if (word->number % LONGEST_EACH == LONGEST_EACH - 1)
		return FRAMES_MOST_BYTES;
	return FRAMES_LEAST_BYTES +
	       (uint64_t)word->number * LENGTH_STEP % lengths;
}

/* Differs with each part of the word and each place. */
static uint8_t payload(const struct frames_word *word, uint32_t at)
{
	uint64_t x = (uint64_t)word->number << 32 | (uint64_t)word->turn << 24 |
		     (uint64_t)word->kind << 16 | (uint64_t)word->from << 8 |
		     word->to;

	x += at * UINT64_C(0xd6e8feb86659fd93);
	return (x * UINT64_C(0x9e3779b97f4a7c15)) >> 56;
}

uint32_t frames_make(const struct frames_word *word, uint8_t *frame)
{
	uint32_t bytes = length(word);

	frames_address(word->to, frame);
	frames_address(word->from, frame + FRAMES_ADDRESS_BYTES);
	frame[TYPE_AT] = FRAMES_TYPE >> 8;
	frame[TYPE_AT + 1] = FRAMES_TYPE & 0xff;
	frame[KIND_AT] = word->kind;
	frame[TURN_AT] = word->turn;
	for (unsigned i = 0; i < 4; i++)
		frame[NUMBER_AT + i] = word->number >> (8 * i);
	for (uint32_t i = PAYLOAD_AT; i < bytes; i++)
		frame[i] = payload(word, i);
	return bytes;
}

bool frames_read(const uint8_t *frame, uint32_t bytes,
		 struct frames_word *ret_word, const char **ret_wrong)
{
	int to, from;

	if (bytes < FRAMES_LEAST_BYTES || frame[TYPE_AT] != FRAMES_TYPE >> 8 ||
	    frame[TYPE_AT + 1] != (FRAMES_TYPE & 0xff))
		return false;
	to = frames_machine(frame);
	from = frames_machine(frame + FRAMES_ADDRESS_BYTES);
	*ret_word = (struct frames_word){
		.to = to,
		.from = from,
		.kind = frame[KIND_AT],
		.turn = frame[TURN_AT],
	};
	for (unsigned i = 0; i < 4; i++)
		ret_word->number |= (uint32_t)frame[NUMBER_AT + i] << (8 * i);
	*ret_wrong = NULL;
	if (to < 0 || from < 0)
		*ret_wrong = "the addresses are no machines'";
	else if (bytes != length(ret_word))
		*ret_wrong = "the length is another";
	for (uint32_t i = PAYLOAD_AT; i < bytes && !*ret_wrong; i++)
		if (frame[i] != payload(ret_word, i))
			*ret_wrong = "the payload is another";
	return true;
}
