/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/images/reference.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image/manage.h"
#include "image/open.h"
#include "tests/cmocka.h"
#include "tests/images/scratch.h"
#include "tests/images/workload.h"

enum {
	REQUESTS = 60,
};

static const struct image_secret secrets[] = {
	{"s", 0, REFERENCE_PASSPHRASE, sizeof(REFERENCE_PASSPHRASE) - 1}, {0}};

void reference_take_qimg(int argc, char **argv)
{
	/* The build's way of saying it may be relative to where we are now. */
	char *path = argc > 1 ? realpath(argv[1], NULL) : NULL;

	if (!path) {
		fprintf(stderr, "usage: %s QIMG\n", argv[0]);
		exit(2);
	}
	setenv("QIMG", path, 1);
	free(path);
}

void reference_same(const char *arguments, ...)
{
	char text[1024];
	va_list args;
	int length;

	va_start(args, arguments);
	length = vsnprintf(text, sizeof(text), arguments, args);
	va_end(args);
	assert_in_range(length, 1, sizeof(text) - 1);
	/* Nothing is said of which of the two outputs is written first. */
	if (scratch_run("said() { name=$1; shift; \"$@\" >out.txt 2>err.txt; "
			"echo \"status $?\" >>out.txt; "
			"sed \"s/^$name: //\" err.txt | cat out.txt -; }; "
			"said qemu-img qemu-img %s >theirs.txt; "
			"said qimg $QIMG %s >ours.txt; "
			"diff theirs.txt ours.txt",
			text, text) != 0)
		fail_msg("%s\n%s", text, scratch_output());
}

int reference_create(const struct image_format *format, const char *name,
		     const char *options, uint64_t size_bytes, char **ret_error)
{
	struct image_options parsed = {0};
	struct image_create_request request = {
		.path = name,
		.size_bytes = size_bytes,
		.options = &parsed,
		.secrets = secrets,
	};
	char *error = NULL;
	int err;

	if (image_options_parse(&parsed, options, &error))
		fail_msg("%s: %s", options, error);
	assert_int_equal(
		store_create_file(name, true, &request.store, ret_error), 0);
	err = image_create(format, &request, ret_error);
	store_free(request.store);
	image_options_deinit(&parsed);
	return err;
}

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
		.secrets = secrets,
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

void reference_source_reads_as(const char *source, const uint8_t *model,
			       uint64_t size)
{
	size_t length;
	uint8_t *raw;

	scratch_must("qemu-img convert -O raw %s out.raw", source);
	raw = scratch_read("out.raw", &length);
	assert_int_equal(length, size);
	for (uint64_t i = 0; i < size; i++)
		if (raw[i] != model[i])
			fail_msg("%s: byte %llu differs", source,
				 (unsigned long long)i);
	free(raw);
}

void reference_reads_as(const char *name, const char *options,
			const uint8_t *model, uint64_t size)
{
	char source[256];

	snprintf(source, sizeof(source), "%s -f qcow2 %s", options, name);
	reference_source_reads_as(source, model, size);
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
