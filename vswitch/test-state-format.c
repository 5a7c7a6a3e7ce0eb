/* SPDX-License-Identifier: Apache-2.0 */
/* A saved state that somebody else wrote: nothing beyond its bytes is read. */
#include "vswitch/state-format.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "tests/cmocka.h"

enum {
	NAMES = 2,
	STATIONS = 3,
	BYTES = sizeof(struct state_header) + 6 + NAMES * STATE_NAME_BYTES +
		STATIONS * sizeof(struct state_station),
};

static void make(uint8_t *bytes)
{
	const struct state_header header = {
		.magic = STATE_MAGIC,
		.sequence = 7,
		.saved = 1234,
		.text_bytes = 6,
		.names = NAMES,
		.stations = STATIONS,
	};
	const struct state_station last = {.key = 99, .name = 1, .age = 5};

	memset(bytes, 0, BYTES);
	memcpy(bytes, &header, sizeof(header));
	memcpy(bytes + sizeof(header), "text: ", 6);
	strcpy((char *)bytes + sizeof(header) + 6 + STATE_NAME_BYTES, "b");
	memcpy(bytes + BYTES - sizeof(last), &last, sizeof(last));
	state_seal(bytes, BYTES);
}

/* In memory of its own, so that a sanitizer sees a step beyond. */
static const char *view_copy(const uint8_t *bytes, size_t length)
{
	uint8_t *copy = malloc(MAX(length, (size_t)1));
	struct state_view view;
	const char *wrong;

	assert_non_null(copy);
	memcpy(copy, bytes, length);
	wrong = state_view(copy, length, &view);
	for (uint32_t i = 0; !wrong && i < view.names; i++)
		if (state_view_name(&view, i))
			assert_true(strlen(state_view_name(&view, i)) <
				    STATE_NAME_BYTES);
	for (uint32_t i = 0; !wrong && i < view.stations; i++)
		state_view_station(&view, i);
	free(copy);
	return wrong;
}

static void what_was_saved_is_seen(void **state)
{
	uint8_t bytes[BYTES];
	struct state_view view;

	make(bytes);
	assert_null(state_view(bytes, BYTES, &view));
	assert_int_equal(view.sequence, 7);
	assert_int_equal(view.saved, 1234);
	assert_memory_equal(view.text, "text: ", 6);
	assert_string_equal(state_view_name(&view, 1), "b");
	assert_int_equal(state_view_station(&view, 2).key, 99);
	assert_int_equal(state_view_station(&view, 2).age, 5);
}

static void any_cut_and_any_flipped_bit_is_refused(void **state)
{
	uint8_t bytes[BYTES];

	make(bytes);
	for (unsigned length = 0; length < BYTES; length++)
		assert_non_null(view_copy(bytes, length));
	for (unsigned bit = 0; bit < 8 * BYTES; bit++) {
		make(bytes);
		bytes[bit / 8] ^= 1 << bit % 8;
		assert_non_null(view_copy(bytes, BYTES));
	}
}

static size_t bytes_with(uint32_t text, uint32_t names, uint32_t stations)
{
	return state_bytes(&(struct state_header){
		.text_bytes = text, .names = names, .stations = stations});
}

static void each_count_has_its_own_limit(void **state)
{
	assert_int_not_equal(bytes_with(CONFIG_FILE_MAX_BYTES, CONFIG_MAX_PORTS,
					STATE_MAX_STATIONS),
			     0);
	assert_int_equal(bytes_with(CONFIG_FILE_MAX_BYTES + 1, 0, 0), 0);
	assert_int_equal(bytes_with(0, CONFIG_MAX_PORTS + 1, 0), 0);
	assert_int_equal(bytes_with(0, 0, STATE_MAX_STATIONS + 1), 0);
}

static void what_is_sealed_and_no_state_is_refused(void **state)
{
	uint8_t bytes[BYTES];

	make(bytes);
	bytes[0] = 'r';
	state_seal(bytes, BYTES);
	assert_non_null(view_copy(bytes, BYTES));
}

/* Whoever can write the file can make a checksum. */
static void sealed_lies_stay_within_the_bytes(void **state)
{
	uint8_t bytes[BYTES];

	for (unsigned at = 0; at < sizeof(struct state_header); at++) {
		for (unsigned value = 0; value < 256; value++) {
			struct state_header header;

			make(bytes);
			bytes[at] = value;
			memcpy(&header, bytes, sizeof(header));
			if (state_bytes(&header) > 0 &&
			    state_bytes(&header) <= BYTES)
				state_seal(bytes, state_bytes(&header));
			view_copy(bytes, BYTES);
		}
	}
	/* Names without an end. */
	make(bytes);
	memset(bytes + sizeof(struct state_header) + 6, 'x',
	       NAMES * STATE_NAME_BYTES);
	state_seal(bytes, BYTES);
	assert_null(view_copy(bytes, BYTES));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_saved_is_seen),
		cmocka_unit_test(any_cut_and_any_flipped_bit_is_refused),
		cmocka_unit_test(each_count_has_its_own_limit),
		cmocka_unit_test(what_is_sealed_and_no_state_is_refused),
		cmocka_unit_test(sealed_lies_stay_within_the_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
