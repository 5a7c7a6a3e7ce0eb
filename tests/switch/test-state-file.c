/* SPDX-License-Identifier: Apache-2.0 */
/* The file of a state: what is in it, who has it, and what becomes of one that is
 * not what it should be. */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "tests/switch/restart.h"

enum {
	BYTES = 300,
	SECOND_PLACE = 1 << 27,
	SAVED_BYTES = 4096,
	NAME_BYTES = 32,
	FDB_AGE = 300,
	IDLE_SECONDS = 3,
	SLACK = 60, /* seconds that a restart may take */
	HELD_US = 400 * 1000,
};

static uint8_t frame[FIXTURE_FRAME_BYTES];

/* vswitch/state-format.h, as somebody else reads it. */
struct header {
	uint8_t magic[8];
	uint64_t sequence, saved;
	uint32_t text_bytes, names, stations, checksum;
};

struct station {
	uint64_t key;
	uint32_t name, age;
};

/* One place, and where its parts are. */
struct saved {
	uint8_t bytes[SAVED_BYTES];
	size_t length;
	struct header header;
	struct station first; /* of its stations */
	size_t names_at, stations_at;
};

static void add_port(struct fixture *f)
{
	restart_add_port(f, 3, "");
}

/* Guest @port is heard, and knows that all have got the frame. */
static void is_heard(struct fixture *f, unsigned port)
{
	static uint32_t seed;

	fixture_frame(frame, FIXTURE_BROADCAST, port, BYTES, ++seed);
	fixture_send(f, port, frame, BYTES);
}

static struct header header_at(const char *path, unsigned place)
{
	struct header header = {0};
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_true(pread(fd, &header, sizeof(header),
			  place * (off_t)SECOND_PLACE) >= 0);
	close(fd);
	return header;
}

static void read_saved(const char *path, unsigned place, struct saved *ret)
{
	const struct header h = header_at(path, place);
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	ret->header = h;
	ret->names_at = sizeof(h) + h.text_bytes;
	ret->stations_at = ret->names_at + h.names * NAME_BYTES;
	ret->length = ret->stations_at + h.stations * sizeof(ret->first);
	assert_in_range(ret->length, sizeof(h) + 1, sizeof(ret->bytes));
	assert_int_equal(
		pread(fd, ret->bytes, ret->length, place * (off_t)SECOND_PLACE),
		ret->length);
	memcpy(&ret->first, ret->bytes + ret->stations_at,
	       h.stations > 0 ? sizeof(ret->first) : 0);
	close(fd);
}

static void read_latest(const char *path, struct saved *ret)
{
	read_saved(path,
		   header_at(path, 1).sequence > header_at(path, 0).sequence,
		   ret);
}

static void write_at(const char *path, unsigned place,
		     const struct saved *saved)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, saved->bytes, saved->length,
				place * (off_t)SECOND_PLACE),
			 saved->length);
	close(fd);
}

/* --- what is in it ------------------------------------------------------------- */

/* By now names and ports have other numbers. Nothing is saved without need. */
static void names_and_stations_and_when_they_were_heard_are_there(void **state)
{
	const uint64_t begin = time(NULL);
	struct fixture *f = *state;
	static struct saved saved;
	uint64_t spent_ms;
	struct stat st;
	char path[128];

	restart_path(f, path);
	restart_start(f);
	fixture_join_all(f, 3);
	assert_int_equal(fixture_ctl(f, "port del p0"), 0);
	is_heard(f, 2);
	spent_ms = process_cpu_ms(&f->process);
	sleep(IDLE_SECONDS);
	spent_ms = process_cpu_ms(&f->process) - spent_ms;
	assert_true(spent_ms < IDLE_SECONDS * 100);
	process_stop(&f->process, SIGTERM);
	read_latest(path, &saved);
	/* The port that went was one save, and the end another. */
	assert_in_range(saved.header.sequence, 1, 2);
	assert_in_range(saved.header.saved, begin + IDLE_SECONDS, time(NULL));
	assert_int_equal(saved.header.text_bytes, 0);
	assert_int_equal(saved.header.names, 2);
	assert_string_equal((char *)saved.bytes + saved.names_at, "p1");
	assert_string_equal((char *)saved.bytes + saved.names_at + NAME_BYTES,
			    "p2");
	assert_int_equal(saved.header.stations, 1);
	assert_int_equal(saved.first.key, UINT64_C(0x0200000000020007));
	assert_int_equal(saved.first.name, 1);
	assert_in_range(saved.first.age, 1, SLACK);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

/* --- what is not true ---------------------------------------------------------- */

/* CRC-32C, without the inversion at the end. */
static uint32_t crc(const uint8_t *bytes, size_t length)
{
	uint32_t crc = UINT32_MAX;

	for (size_t i = 0; i < 8 * length; i++) {
		crc ^= bytes[i / 8] >> i % 8 & 1;
		crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
	}
	return crc;
}

/* With header and first station as they are now. */
static void seal(struct saved *saved)
{
	saved->header.checksum = 0;
	memcpy(saved->bytes, &saved->header, sizeof(saved->header));
	memcpy(saved->bytes + saved->stations_at, &saved->first,
	       saved->header.stations > 0 ? sizeof(saved->first) : 0);
	saved->header.checksum = crc(saved->bytes, saved->length);
	memcpy(saved->bytes, &saved->header, sizeof(saved->header));
}

/* Of the only station: seconds; -1: it is not there. */
static int age_now(struct fixture *f)
{
	const char *line;
	int age = -1;

	assert_int_equal(fixture_ctl(f, "fdb show"), 0);
	line = strstr(f->said, "\n0");
	if (line)
		assert_int_equal(sscanf(line, "%*s %*s %*s no %d", &age), 1);
	return age;
}

/* One station: guest 0's. */
static void save_one(struct fixture *f, const char *path, struct saved *ret)
{
	restart_start(f);
	fixture_join_all(f, 3);
	is_heard(f, 0);
	process_stop(&f->process, SIGTERM);
	read_latest(path, ret);
	assert_int_equal(ret->header.sequence, 1);
}

struct lie {
	const char *what;
	uint64_t flip;	    /* of the key */
	uint32_t name, age; /* the name: instead of its own, if not 0 */
	int64_t later;	    /* saved, than now */
	int age_then;	    /* -1: it is left out */
};

/* The age then. */
static int start_with(struct fixture *f, const char *path, struct saved saved,
		      const struct lie *lie)
{
	int age;

	saved.first.key ^= lie->flip;
	saved.first.age = lie->age;
	if (lie->name)
		saved.first.name = lie->name;
	saved.header.saved = time(NULL) + lie->later;
	seal(&saved);
	write_at(path, 1, &saved);
	restart_start_again(f);
	age = age_now(f);
	process_stop(&f->process, SIGKILL);
	return age;
}

/* Whoever can write the file can make a checksum. */
static void station_that_cannot_be_is_left_out(void **state)
{
	static const struct lie lies[] = {
		{"as it was", 0, 0, 0, 0, 0},
		{"heard a while ago", 0, 0, 100, 0, 100},
		{"saved a while ago", 0, 0, 100, -100, 200},
		{"saved in the future", 0, 0, 100, 5000, 100},
		{"too old by now", 0, 0, 200, -FDB_AGE, -1},
		{"as old as can be", 0, 0, UINT32_MAX, -FDB_AGE, -1},
		{"a group", UINT64_C(1) << 56, 0, 0, 0, -1},
		{"no VLAN", 1, 0, 0, 0, -1},
		{"VLAN 4095", 0xffe, 0, 0, 0, -1},
		{"more than a key", 0x1000, 0, 0, 0, -1},
		{"a name without end", 0, 1, 0, 0, -1},
		{"beyond the names", 0, 3, 0, 0, -1},
		{"far beyond the names", 0, UINT32_MAX, 0, 0, -1},
	};
	static struct saved saved;
	struct fixture *f = *state;
	char path[128];

	restart_path(f, path);
	save_one(f, path, &saved);
	memset(saved.bytes + saved.names_at + NAME_BYTES, 'x', NAME_BYTES);
	for (unsigned i = 0; i < ARRAY_SIZE(lies); i++) {
		int age = start_with(f, path, saved, &lies[i]);

		print_message("# %s: %d\n", lies[i].what, age);
		assert_int_equal(age >= 0, lies[i].age_then >= 0);
		if (age >= 0)
			assert_in_range(age, lies[i].age_then,
					lies[i].age_then + SLACK);
	}
}

/* What it is not is said, with its line; the stations are there. */
static void text_that_is_no_configuration_is_named(void **state)
{
	static struct saved saved;
	struct fixture *f = *state;
	char path[128];

	restart_path(f, path);
	restart_start(f);
	fixture_join_all(f, 3);
	is_heard(f, 0);
	restart_add_port(f, 3, "");
	process_stop(&f->process, SIGTERM);
	read_latest(path, &saved);
	assert_true(saved.header.text_bytes > 0);
	saved.bytes[sizeof(saved.header)] = '[';
	saved.header.sequence = 9;
	seal(&saved);
	write_at(path, 1, &saved);
	restart_start_again(f);
	assert_true(restart_logged(f, "no port is restored: "));
	assert_true(restart_logged(f, "state:1: "));
	assert_true(age_now(f) >= 0);
}

/* The same of both places, but that the byte at @flip is another, and what is behind
 * @end is not there. */
static void spoil(const char *path, const struct saved *saved, unsigned flip,
		  off_t end)
{
	for (unsigned i = 0; i < 2; i++) {
		struct saved spoilt = saved[i];

		spoilt.bytes[flip] ^= flip ? 0x40 : 0;
		write_at(path, i, &spoilt);
	}
	if (end > 0)
		assert_int_equal(truncate(path, end), 0);
}

static void spoilt_file_is_named_and_left_out(void **state)
{
	static const struct {
		unsigned flip;
		off_t end;
		const char *words; /* NULL: the other place serves */
	} cases[] = {
		{0, SECOND_PLACE + 50, NULL},
		{24, 0, "nothing is restored: "},
		{27, 0, "nothing is restored: it says that it has more than"},
		{sizeof(struct header) + 4, 0,
		 "nothing is restored: its checksum is wrong"},
		{0, sizeof(struct header) + 9,
		 "nothing is restored: it is cut off"},
		{0, 3, "it is no state of a switch"},
	};
	struct fixture *f = *state;
	static struct saved saved[2];
	char path[128];

	restart_path(f, path);
	restart_start(f);
	add_port(f);
	process_stop(&f->process, SIGTERM);
	restart_start_again(f);
	process_stop(&f->process, SIGTERM);
	for (unsigned i = 0; i < 2; i++)
		read_saved(path, i, &saved[i]);
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		spoil(path, saved, cases[i].flip, cases[i].end);
		assert_int_equal(truncate(f->process.log, 0), 0);
		restart_start_again(f);
		if (cases[i].words) {
			process_wait_log(&f->process, path);
			process_wait_log(&f->process, cases[i].words);
		} else {
			assert_false(restart_logged(f, "restored"));
		}
		assert_int_equal(fixture_ctl(f, "port show"), 0);
		assert_int_equal(!strstr(f->said, "p3"),
				 cases[i].words != NULL);
		process_stop(&f->process, SIGKILL);
	}
}

/* --- who has it ---------------------------------------------------------------- */

static void file_of_somebody_else_is_not_written_to(void **state)
{
	static const char text[] = "a letter, not a state";
	struct fixture *f = *state;
	char path[128], after[64] = "";
	FILE *file;

	restart_start(f);
	process_stop(&f->process, SIGTERM);
	restart_path(f, path);
	file = fopen(path, "we");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
	restart_start_again(f);
	process_wait_log(&f->process, "it is no state of a switch");
	file = fopen(path, "re");
	assert_non_null(file);
	/* Nor is it held. */
	assert_int_equal(flock(fileno(file), LOCK_EX | LOCK_NB), 0);
	process_stop(&f->process, SIGTERM);
	assert_non_null(fgets(after, sizeof(after), file));
	fclose(file);
	assert_string_equal(after, text);
}

static bool has_open(const struct fixture *f, const char *path)
{
	char folder[64], link[320], target[128];
	struct dirent *entry;
	bool has = false;
	DIR *fds;

	snprintf(folder, sizeof(folder), "/proc/%d/fd", (int)f->process.pid);
	fds = opendir(folder);
	assert_non_null(fds);
	while ((entry = readdir(fds))) {
		ssize_t n;

		snprintf(link, sizeof(link), "%s/%s", folder, entry->d_name);
		n = readlink(link, target, sizeof(target));
		has |= n == (ssize_t)strlen(path) &&
		       memcmp(target, path, n) == 0;
	}
	closedir(fds);
	return has;
}

/* The kernel may hold it for a while after a switch was killed. */
static void file_is_waited_for_but_not_for_ever(void **state)
{
	struct fixture *f = *state;
	char path[128];
	int fd;

	restart_path(f, path);
	restart_start(f);
	add_port(f);
	process_stop(&f->process, SIGTERM);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	assert_int_equal(process_wait_exit(fixture_spawn_again(f)), 1);
	process_wait_log(&f->process, "state: another switch has it");
	f->process.pid = fixture_spawn_again(f);
	while (!has_open(f, path)) {
		process_assert_alive(&f->process);
		usleep(1000);
	}
	usleep(HELD_US);
	close(fd);
	fixture_wait_control(f);
	fixture_ctl_says(f, "port show", "p3");
	/* It has it now, and nobody else may read along. */
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(flock(fd, LOCK_SH | LOCK_NB), -1);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RESTART_TEST(
			names_and_stations_and_when_they_were_heard_are_there),
		RESTART_TEST(station_that_cannot_be_is_left_out),
		RESTART_TEST(text_that_is_no_configuration_is_named),
		RESTART_TEST(spoilt_file_is_named_and_left_out),
		RESTART_TEST(file_of_somebody_else_is_not_written_to),
		RESTART_TEST(file_is_waited_for_but_not_for_ever),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
