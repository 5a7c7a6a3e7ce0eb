/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Encrypted images that QEMU's tools look at: the guest reads and writes plain
 * text, and none of it lies in the file. qimg makes them, as qemu-img counts for
 * seconds first how often it can derive a key; test-luks-reference.c has its.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "tests/blk/fixture.h"

enum {
	DISK_BYTES = 4 << 20,
	READ_BYTES = 64 << 10,
	SKIPPED = 77,
};

/* What QEMU is told: the key's file, and the image as @format says. */
static char secret[256];

static void run(const char *command)
{
	if (system(command) != 0)
		fail_msg("%s", command);
}

static void key_of(const struct fixture *f, char key[static 128])
{
	snprintf(key, 128, "%s.key", f->image);
}

static void write_key(const char *name, const char *text)
{
	FILE *file = fopen(name, "w");

	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static void qemu_io(const struct fixture *f, const char *format,
		    const char *command)
{
	char line[1024];
	bool luks = strcmp(format, "luks") == 0;

	snprintf(line, sizeof(line),
		 "qemu-io --object %s --image-opts -c '%s' "
		 "driver=%s,%skey-secret=s,file.filename=%s >/dev/null",
		 secret, command, format, luks ? "" : "encrypt.", f->image);
	run(line);
}

/* All of the disk is 0x5a. */
static void make(const struct fixture *f, const char *format,
		 const char *options)
{
	char key[128], line[1024];

	key_of(f, key);
	write_key(key, "open sesame\n");
	snprintf(secret, sizeof(secret), "secret,id=s,file=%s", key);
	snprintf(line, sizeof(line),
		 "\"$QIMG\" create -q --object %s -f %s -o %s %s %d", secret,
		 format, options, f->image, DISK_BYTES);
	run(line);
	qemu_io(f, format, "write -P 0x5a 0 4M");
}

static void start(struct fixture *f, const char *format)
{
	char key[128], key_option[160], format_option[32];
	const char *const options[] = {key_option, format_option, NULL};

	key_of(f, key);
	snprintf(key_option, sizeof(key_option), "--key-file=%s", key);
	snprintf(format_option, sizeof(format_option), "--format=%s", format);
	fixture_start(f, options);
}

static bool lies_in_file(const struct fixture *f, uint8_t byte)
{
	struct stat st;
	uint8_t *data, run_of[64];
	bool found;
	int fd;

	/* By its name: it need not be the file that the fixture made. */
	fd = open(f->image, O_RDONLY | O_CLOEXEC);
	assert_return_code(fd, errno);
	assert_int_equal(fstat(fd, &st), 0);
	data = malloc(st.st_size);
	assert_int_equal(pread(fd, data, st.st_size, 0), st.st_size);
	close(fd);
	memset(run_of, byte, sizeof(run_of));
	found = memmem(data, st.st_size, run_of, sizeof(run_of)) != NULL;
	free(data);
	return found;
}

static void serve(struct fixture *f, const char *format)
{
	uint8_t *data = malloc(READ_BYTES);
	struct blk_driver *d;
	pid_t pid;

	start(f, format);
	d = fixture_open(f, NULL);
	assert_int_equal(blk_read(d, 0, 8, data, READ_BYTES), 0);
	for (size_t i = 0; i < READ_BYTES; i++)
		assert_int_equal(data[i], 0x5a);
	memset(data, 0xa7, READ_BYTES);
	assert_int_equal(blk_write(d, 0, 1001, data, READ_BYTES), 0);
	/* One sector in the middle of what was there. */
	assert_int_equal(blk_write(d, 0, 5, data, 512), 0);
	memset(data, 0, READ_BYTES);
	assert_int_equal(blk_read(d, 0, 1001, data, READ_BYTES), 0);
	assert_int_equal(data[0], 0xa7);
	assert_int_equal(data[READ_BYTES - 1], 0xa7);
	blk_driver_free(d);
	pid = f->process.pid;
	f->process.pid = 0;
	kill(pid, SIGTERM);
	assert_int_equal(process_wait_exit(pid), 0);
	assert_false(lies_in_file(f, 0x5a));
	assert_false(lies_in_file(f, 0xa7));
	qemu_io(f, format, "read -P 0xa7 512512 64k");
	qemu_io(f, format, "read -P 0xa7 2560 512");
	qemu_io(f, format, "read -P 0x5a 3072 1000");
	free(data);
}

static void a_guest_reads_plain_text_of_an_encrypted_qcow2_image(void **state)
{
	struct fixture *f = *state;

	make(f, "qcow2",
	     "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10");
	serve(f, "qcow2");
}

static void a_guest_reads_plain_text_of_a_luks_image(void **state)
{
	struct fixture *f = *state;

	make(f, "luks", "key-secret=s,iter-time=10");
	serve(f, "luks");
}

/* Nothing is served, and nothing changes. */
static void without_the_right_key_nothing_is_served(void **state)
{
	struct fixture *f = *state;
	char key[128], option[160];
	const char *const none[] = {"--format=qcow2", NULL};
	const char *const wrong[] = {"--format=qcow2", option, NULL};

	make(f, "qcow2",
	     "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10");
	key_of(f, key);
	snprintf(option, sizeof(option), "--key-file=%s", key);
	assert_int_not_equal(
		process_wait_exit(fixture_spawn(f, f->process.socket, none)),
		0);
	write_key(key, "open sesame");
	assert_int_not_equal(
		process_wait_exit(fixture_spawn(f, f->process.socket, wrong)),
		0);
	assert_int_equal(unlink(key), 0);
	assert_int_not_equal(
		process_wait_exit(fixture_spawn(f, f->process.socket, wrong)),
		0);
	write_key(key, "open sesame\n");
	qemu_io(f, "qcow2", "read -P 0x5a 0 4M");
}

static int tear_down(void **state)
{
	char key[128];

	key_of(*state, key);
	unlink(key);
	return fixture_teardown(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			a_guest_reads_plain_text_of_an_encrypted_qcow2_image,
			fixture_setup, tear_down),
		cmocka_unit_test_setup_teardown(
			a_guest_reads_plain_text_of_a_luks_image, fixture_setup,
			tear_down),
		cmocka_unit_test_setup_teardown(
			without_the_right_key_nothing_is_served, fixture_setup,
			tear_down),
	};

	if (!getenv("VHOST_BLK") || !getenv("QIMG") ||
	    system("command -v qemu-io >/dev/null") != 0) {
		printf("1..0 # SKIP no vhost-blk, no qimg, or no qemu-io\n");
		return SKIPPED;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
