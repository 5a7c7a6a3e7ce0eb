/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images in the scratch folder that QEMU's tools and ours take turns at. What is
 * not as it has to be fails the test.
 */
#ifndef TESTS_IMAGES_REFERENCE_H
#define TESTS_IMAGES_REFERENCE_H

#include <stdbool.h>
#include <stdint.h>

#include "image/image.h"

/*
 * An encrypted image has this key, which all programs know as "s"; ours gives
 * it to every image that is opened or made here.
 */
#define REFERENCE_PASSPHRASE "abc"
/* What qemu-img and qimg are told of such an image. */
#define REFERENCE_ENCRYPTED                               \
	"--object secret,id=s,data=" REFERENCE_PASSPHRASE \
	" --image-opts driver=qcow2,encrypt.key-secret=s,file.filename="

/*
 * qimg is the program's first argument, and $QIMG in scratch_run from now on.
 * Before scratch_enter; exits with 2 if it is not there.
 */
void reference_take_qimg(int argc, char **argv);

/*
 * qemu-img and qimg, told the same, print the same and end with the same status;
 * where errors begin with their names these may differ.
 */
void reference_same(const char *arguments, ...)
	__attribute__((format(printf, 1, 2)));

/* By image_create, with @options as after -o, which may name a backing file. */
int reference_create(const struct image_format *format, const char *name,
		     const char *options, uint64_t size_bytes,
		     char **ret_error);

/* By ours; it may have all files of the folder opened. */
struct image *reference_open(const char *name, bool read_only);
/* As @snapshot, if that is not NULL. */
struct image *reference_open_as(const char *name, const char *snapshot,
				bool read_only);

/* qemu-img check finds nothing, leaks included. */
void reference_clean(const char *name);

/*
 * qemu-img convert, with @options, reads the model; or with @source, which is
 * all that it is told of the image.
 */
void reference_reads_as(const char *name, const char *options,
			const uint8_t *model, uint64_t size);
void reference_source_reads_as(const char *source, const uint8_t *model,
			       uint64_t size);

/*
 * Ours reads the same as theirs; then ours works on it, and theirs looks.
 * @snapshot, if not NULL, are the options that select what must not change.
 */
void reference_work_on(const char *name, const char *snapshot, uint64_t seed);

/* theirs.qcow2, made with @options, with writes of every kind. */
void reference_make(const char *options);

#endif
