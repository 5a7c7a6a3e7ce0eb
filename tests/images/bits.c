/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/images/bits.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "image/manage.h"
#include "tests/cmocka.h"
#include "tests/images/scratch.h"

void bits_set(struct bits *bits, uint64_t granule, uint64_t size,
	      uint64_t offset, uint64_t length)
{
	uint64_t end = MIN(align_up(offset + length, granule), size);

	for (uint64_t at = align_down(offset, granule); at < end;
	     at += BITS_SECTOR)
		bits->set[at / BITS_SECTOR] = true;
}

const struct bits *bits_of_ours(struct image *image, const char *name)
{
	static struct bits bits;
	uint64_t at = 0, length = 1;

	memset(&bits, 0, sizeof(bits));
	while (at < image->size_bytes && length) {
		uint64_t offset = 0;

		assert_int_equal(
			image_bitmap_next(image, name, at, &offset, &length),
			0);
		bits_set(&bits, BITS_SECTOR, image->size_bytes, offset, length);
		at = offset + length;
	}
	return &bits;
}

/* What is dirty is listed as having no data. */
const struct bits *bits_of_theirs(const char *source, const char *name)
{
	static struct bits bits;
	const char *at;

	/* The server needs a moment; it ends when its client has gone. */
	scratch_must("rm -f socket; "
		     "qemu-nbd -r -B %s -k $PWD/socket %s "
		     ">/dev/null & for i in $(seq 500); do "
		     "qemu-img map --output=json --image-opts driver=nbd,"
		     "server.type=unix,server.path=socket,"
		     "x-dirty-bitmap=qemu:dirty-bitmap:%s >map && break; "
		     "sleep 0.02; done 2>/dev/null; kill $! 2>/dev/null; "
		     "wait; cat map",
		     name, source, name);
	memset(&bits, 0, sizeof(bits));
	at = strstr(scratch_output(), "\"start\"");
	assert_non_null(at);
	for (; at; at = strstr(at + 1, "\"start\"")) {
		unsigned long long start, length;
		const char *data = strstr(at, "\"data\": ");

		assert_int_equal(sscanf(at, "\"start\": %llu, \"length\": %llu",
					&start, &length),
				 2);
		assert_true(start <= BITS_MAX_DISK &&
			    length <= BITS_MAX_DISK - start);
		assert_non_null(data);
		if (data[8] == 'f')
			bits_set(&bits, BITS_SECTOR, BITS_MAX_DISK, start,
				 length);
	}
	return &bits;
}

void bits_must_be(const char *who, const char *name, const struct bits *got,
		  const struct bits *want)
{
	for (size_t i = 0; i < ARRAY_SIZE(got->set); i++)
		if (got->set[i] != want->set[i])
			fail_msg("%s, %s: sector %zu is %d", who, name, i,
				 got->set[i]);
}
