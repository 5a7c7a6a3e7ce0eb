/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/images/reference.h"

#include <stdlib.h>
#include <string.h>

#include "image/open.h"
#include "tests/cmocka.h"
#include "tests/images/scratch.h"
#include "tests/images/workload.h"

enum {
	REQUESTS = 60,
};

struct image *reference_open_as(const char *name, const char *snapshot,
				bool read_only)
{
	static const char *const allowed[] = {".", NULL};
	const struct image_open_request request = {
		.path = name,
		.format = "qcow2",
		.read_only = read_only,
		.cache_bytes = 1,
		.snapshot = snapshot,
		.allowed = allowed,
	};
	struct image *image = NULL;
	char *error = NULL;
	int err = image_open(&request, &image, &error, NULL);

	if (err)
		print_error("%s: %d: %s\n", name, err, error ? error : "");
	assert_int_equal(err, 0);
	return image;
}

struct image *reference_open(const char *name, bool read_only)
{
	return reference_open_as(name, NULL, read_only);
}

void reference_clean(const char *name)
{
	scratch_must("qemu-img check -f qcow2 %s", name);
	if (!strstr(scratch_output(), "No errors were found"))
		fail_msg("%s: %s", name, scratch_output());
}

void reference_reads_as(const char *name, const char *options,
			const uint8_t *model, uint64_t size)
{
	size_t length;
	uint8_t *raw;

	scratch_must("qemu-img convert %s -f qcow2 -O raw %s out.raw", options,
		     name);
	raw = scratch_read("out.raw", &length);
	assert_int_equal(length, size);
	for (uint64_t i = 0; i < size; i++)
		if (raw[i] != model[i])
			fail_msg("%s %s: byte %llu differs", name, options,
				 (unsigned long long)i);
	free(raw);
}

/* Ours reads the same as theirs; then ours works on it, and theirs looks. */
void reference_work_on(const char *name, const char *snapshot, uint64_t seed)
{
	struct image *image = reference_open(name, false);
	struct workload work;
	uint8_t *before;
	uint64_t size = image->size_bytes;

	workload_init(&work, image, seed);
	before = malloc(size);
	memcpy(before, work.model, size);
	assert_int_equal(image_close(image), 0);
	reference_clean(name);
	reference_reads_as(name, "", before, size);

	for (int round = 0; round < 2; round++) {
		image = work.image = reference_open(name, false);
		workload_run(&work, REQUESTS);
		workload_check(&work);
		assert_int_equal(image_close(image), 0);
		reference_clean(name);
		reference_reads_as(name, "", work.model, size);
	}
	if (snapshot)
		reference_reads_as(name, snapshot, before, size);
	workload_deinit(&work);
	free(before);
}

/* Writes of every kind that qemu-io can make. */
static const char qemu_writes[] =
	"-c 'write -P 1 0 256k' -c 'write -P 2 300k 12k' "
	"-c 'write -z 64k 64k' -c 'write -z 10k 1k' "
	"-c 'write -P 3 1M 200k' -c 'write -z -u 1M 64k' "
	"-c 'discard 128k 64k' -c 'write -P 9 3M 512'";

void reference_make(const char *options)
{
	scratch_must("rm -f theirs.qcow2 && "
		     "qemu-img create -q -f qcow2 -o %s theirs.qcow2 4M",
		     options);
	scratch_must("qemu-io -f qcow2 %s theirs.qcow2", qemu_writes);
}
