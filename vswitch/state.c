/* SPDX-License-Identifier: Apache-2.0 */
#include "vswitch/state.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "vswitch/state-format.h"

enum {
	PLACES = 2,
	SAVE_SECONDS = 30,
	UNKNOWN_PORT = UINT16_MAX,
	LOCK_TRIES = 40,
	LOCK_NS = 50 * 1000 * 1000,
};

struct state {
	const char *path;
	int fd;
	uint64_t sequence; /* of the last that was begun, or read */
	struct vswitch *vswitch;
	struct loop *loop;
	int timer_fd;
	struct loop_watch *timer;
	/* Of the last save, or of one under way. */
	uint64_t generation;
	uint64_t saved_ns;
	uint8_t *bytes; /* NULL: none is under way */
	size_t length;
	struct loop_op write, sync;
	struct log_limit log_limit;
};

static void complain(struct state *state, const char *what)
{
	log_ratelimited(&state->log_limit, LOG_LEVEL_WARNING, "%s: %s",
			state->path, what);
}

static uint64_t realtime_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec;
}

/* --- reading ----------------------------------------------------------------- */

static off_t place_of(uint64_t sequence)
{
	return sequence % PLACES * (off_t)STATE_MAX_BYTES;
}

/* A file that holds something else is somebody's, and not ours to write to.
 * Zeroes are what a first save leaves that never came to its end. */
static bool is_ours(int fd)
{
	static const uint8_t zeroes[8];
	uint8_t magic[8];
	ssize_t n = pread(fd, magic, sizeof(magic), 0);

	return n == 0 || (n == sizeof(magic) &&
			  (memcmp(magic, STATE_MAGIC, sizeof(magic)) == 0 ||
			   memcmp(magic, zeroes, sizeof(magic)) == 0));
}

/* A killed predecessor has it until the kernel has ended its requests. */
static int lock(int fd)
{
	const struct timespec moment = {.tv_nsec = LOCK_NS};

	for (unsigned i = 0; i < LOCK_TRIES; i++) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0)
			return 0;
		if (errno != EWOULDBLOCK)
			return -errno;
		nanosleep(&moment, NULL);
	}
	return -EWOULDBLOCK;
}

int state_open(const char *path, struct state **ret_state)
{
	struct state *state = calloc(1, sizeof(*state));
	int err;

	if (!state)
		return -ENOMEM;
	state->path = path;
	state->timer_fd = -1;
	state->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0600);
	err = state->fd < 0 ? -errno : lock(state->fd);
	if (err == 0 && !is_ours(state->fd))
		err = -EINVAL;
	if (err < 0) {
		state_close(state);
		return err;
	}
	*ret_state = state;
	return 0;
}

/* All bytes of a place, to be freed; NULL: there are none. */
static uint8_t *read_place(struct state *state, unsigned place,
			   size_t *ret_length)
{
	struct state_header header;
	const off_t at = place_of(place);
	size_t length;
	uint8_t *bytes;
	ssize_t n;

	if (pread(state->fd, &header, sizeof(header), at) != sizeof(header))
		return NULL;
	length = state_bytes(&header);
	if (length == 0)
		length = sizeof(header);
	bytes = malloc(length);
	n = bytes ? pread(state->fd, bytes, length, at) : -1;
	if (n < 0) {
		free(bytes);
		return NULL;
	}
	*ret_length = n;
	return bytes;
}

/* The bytes of the later one that is whole, to be freed, or NULL. */
static uint8_t *read_latest(struct state *state, struct state_view *ret_view)
{
	const char *wrong = NULL;
	uint8_t *best = NULL;

	for (unsigned place = 0; place < PLACES; place++) {
		size_t length = 0;
		uint8_t *bytes = read_place(state, place, &length);
		struct state_view view;
		const char *what =
			bytes ? state_view(bytes, length, &view) : NULL;

		if (what)
			wrong = what;
		if (!bytes || what ||
		    (best && view.sequence < ret_view->sequence)) {
			free(bytes);
			continue;
		}
		free(best);
		best = bytes;
		*ret_view = view;
	}
	if (!best && wrong)
		log_warning("%s: nothing is restored: %s", state->path, wrong);
	return best;
}

/* --- restoring --------------------------------------------------------------- */

static void restore_port(struct state *state, struct vswitch *vswitch,
			 const struct port_config *config)
{
	char error[PORT_ERROR_BYTES] = "there is no memory";
	struct port_config *copy;
	uint16_t number;
	int err;

	/* The file has it by now. */
	if (vswitch_find_port(vswitch, config->name, &number) == 0)
		return;
	err = port_config_copy(config, &copy);
	if (err < 0) {
		complain(state, error);
		return;
	}
	err = vswitch_add_port(vswitch, copy, error);
	if (err < 0) {
		log_warning("%s: the port %s is not restored: %s", state->path,
			    config->name, error);
		port_config_free(copy);
	}
}

static void restore_ports(struct state *state, struct vswitch *vswitch,
			  const struct state_view *view)
{
	const struct config_text text = {
		.name = state->path,
		.bytes = (char *)view->text,
		.length = view->text_bytes,
	};
	char error[CONFIG_FILE_ERROR_BYTES];
	struct config *config;

	if (view->text_bytes == 0)
		return;
	if (config_parse(&text, &config, error) < 0) {
		log_warning("no port is restored: %s", error);
		return;
	}
	for (unsigned i = 0; i < config->ports_count; i++)
		restore_port(state, vswitch, &config->ports[i]);
	config_free(config);
}

static void find_ports(const struct vswitch *vswitch,
		       const struct state_view *view, uint16_t *ret_ports)
{
	for (uint32_t i = 0; i < view->names; i++) {
		const char *name = state_view_name(view, i);

		ret_ports[i] = UNKNOWN_PORT;
		if (name)
			vswitch_find_port(vswitch, name, &ret_ports[i]);
	}
}

/* It could be heard there still: the port may be another than it was. */
static bool can_be_on(const struct port *port, fdb_key key)
{
	const struct vlan_frame frame = {.vlan = fdb_key_vlan(key)};
	struct vlan_edit edit;

	return !port->forward.is_locked && !fdb_key_is_group(key) &&
	       fdb_key_of((uint8_t[]){key >> 56, key >> 48, key >> 40,
				      key >> 32, key >> 24, key >> 16},
			  fdb_key_vlan(key)) == key &&
	       frame.vlan >= VLAN_MIN && frame.vlan <= VLAN_MAX &&
	       vlan_egress(&port->forward.vlan, &frame, &edit);
}

static void restore_stations(struct vswitch *vswitch,
			     const struct state_view *view)
{
	const uint32_t max_age = vswitch_config(vswitch)->fdb_age;
	const uint64_t now = realtime_seconds();
	const uint64_t since = now > view->saved ? now - view->saved : 0;
	uint16_t ports[CONFIG_MAX_PORTS];

	find_ports(vswitch, view, ports);
	for (uint32_t i = 0; i < view->stations; i++) {
		struct state_station s = state_view_station(view, i);
		const uint64_t age = s.age + since;
		const struct port *port;

		if (s.name >= view->names || ports[s.name] == UNKNOWN_PORT ||
		    age > max_age)
			continue;
		port = vswitch_port(vswitch, ports[s.name]);
		if (can_be_on(port, s.key))
			fdb_learn(vswitch_fdb(vswitch), s.key, ports[s.name],
				  clock_ns() / NS_PER_SECOND - age);
	}
}

void state_restore(struct state *state, struct vswitch *vswitch)
{
	struct state_view view;
	uint8_t *bytes = read_latest(state, &view);

	if (!bytes)
		return;
	state->sequence = view.sequence;
	restore_ports(state, vswitch, &view);
	restore_stations(vswitch, &view);
	free(bytes);
}

/* --- what is saved ----------------------------------------------------------- */

static bool is_in_file(const struct config *config, const char *name)
{
	for (unsigned i = 0; i < config->ports_count; i++)
		if (strcmp(config->ports[i].name, name) == 0)
			return true;
	return false;
}

/* Ports of the control socket; "": there are none. NULL: there is no memory. */
static char *write_ports(const struct vswitch *vswitch)
{
	const struct config *file = vswitch_config(vswitch);
	struct port_config ports[CONFIG_MAX_PORTS];
	struct config added = {.ports = ports};

	for (unsigned i = 0; i < CONFIG_MAX_PORTS; i++) {
		const struct port *port = vswitch_port(vswitch, i);

		if (port && !is_in_file(file, port->name))
			ports[added.ports_count++] = *port->config;
	}
	return added.ports_count > 0 ? config_write(&added) : strdup("");
}

/* Where a station goes, as long as there is room: others may come meanwhile. */
struct gathering {
	const struct vswitch *vswitch;
	uint8_t *at;
	uint32_t count, max, now;
	uint32_t names[CONFIG_MAX_PORTS]; /* by number */
};

static void gather(void *arg, const struct fdb_station *station)
{
	struct gathering *g = arg;
	struct state_station s;

	if (station->is_static || g->count == g->max ||
	    !vswitch_port(g->vswitch, station->port))
		return;
	s = (struct state_station){
		.key = station->key,
		.name = g->names[station->port],
		.age = MAX((int32_t)(g->now - station->heard), 0),
	};
	memcpy(g->at + g->count++ * sizeof(s), &s, sizeof(s));
}

static uint32_t count_stations(const struct vswitch *vswitch,
			       uint32_t *ret_ports)
{
	uint64_t stations = 0;
	uint32_t ports = 0;

	for (unsigned i = 0; i < CONFIG_MAX_PORTS; i++) {
		if (!vswitch_port(vswitch, i))
			continue;
		ports++;
		stations +=
			fdb_count(vswitch_fdb((struct vswitch *)vswitch), i);
	}
	*ret_ports = ports;
	return MIN(stations, (uint64_t)STATE_MAX_STATIONS);
}

static void fill(struct state *state, const char *text,
		 struct state_header *header)
{
	struct vswitch *vswitch = state->vswitch;
	uint8_t *at = state->bytes + sizeof(*header);
	struct gathering g = {
		.vswitch = vswitch,
		.max = header->stations,
		.now = clock_ns() / NS_PER_SECOND,
	};
	uint32_t names = 0;

	memcpy(at, text, header->text_bytes);
	at += header->text_bytes;
	for (unsigned i = 0; i < CONFIG_MAX_PORTS; i++) {
		const struct port *port = vswitch_port(vswitch, i);

		if (!port)
			continue;
		memcpy(at, port->name, STATE_NAME_BYTES);
		at += STATE_NAME_BYTES;
		g.names[i] = names++;
	}
	g.at = at;
	fdb_for_each(vswitch_fdb(vswitch), gather, &g);
	header->stations = g.count;
	memcpy(state->bytes, header, sizeof(*header));
	state->length = state_bytes(header);
	state_seal(state->bytes, state->length);
}

static int make_bytes(struct state *state)
{
	struct state_header header = {
		.magic = STATE_MAGIC,
		.sequence = state->sequence + 1,
		.saved = realtime_seconds(),
	};
	char *text = write_ports(state->vswitch);
	size_t length = 0;

	header.stations = count_stations(state->vswitch, &header.names);
	if (text) {
		header.text_bytes = strlen(text);
		length = state_bytes(&header);
	}
	state->bytes = length > 0 ? calloc(1, length) : NULL;
	if (state->bytes)
		fill(state, text, &header);
	free(text);
	return state->bytes ? 0 : -ENOMEM;
}

/* --- saving ------------------------------------------------------------------ */

static void end_save(struct state *state, int err)
{
	if (err < 0)
		complain(state, strerror(-err));
	free(state->bytes);
	state->bytes = NULL;
}

static void synced(struct loop_op *op, int32_t result, uint32_t flags)
{
	end_save(container_of(op, struct state, sync), result);
}

static void written(struct loop_op *op, int32_t result, uint32_t flags)
{
	struct state *state = container_of(op, struct state, write);
	struct io_uring_sqe *sqe;

	if (result < 0 || (size_t)result != state->length) {
		end_save(state, result < 0 ? result : -ENOSPC);
		return;
	}
	sqe = loop_sqe(state->loop);
	io_uring_prep_fsync(sqe, state->fd, 0);
	loop_bind(sqe, &state->sync);
	loop_submit(state->loop);
}

/* Over the older one of both: the later stays whole until this is. */
static void begin_save(struct state *state)
{
	struct io_uring_sqe *sqe;
	int err = make_bytes(state);

	state->generation = vswitch_generation(state->vswitch);
	state->saved_ns = clock_ns();
	if (err < 0) {
		complain(state, strerror(-err));
		return;
	}
	state->sequence++;
	sqe = loop_sqe(state->loop);
	io_uring_prep_write(sqe, state->fd, state->bytes, state->length,
			    place_of(state->sequence));
	loop_bind(sqe, &state->write);
	loop_submit(state->loop);
}

static void second_passed(void *arg, int revents)
{
	struct state *state = arg;
	uint64_t times;

	while (read(state->timer_fd, &times, sizeof(times)) > 0)
		;
	if (state->bytes)
		return;
	if (state->generation != vswitch_generation(state->vswitch) ||
	    clock_ns() - state->saved_ns >= SAVE_SECONDS * NS_PER_SECOND)
		begin_save(state);
}

int state_start(struct state *state, struct vswitch *vswitch, struct loop *loop)
{
	const struct itimerspec each_second = {
		.it_interval.tv_sec = 1,
		.it_value.tv_sec = 1,
	};

	state->vswitch = vswitch;
	state->loop = loop;
	state->write.done = written;
	state->sync.done = synced;
	state->saved_ns = clock_ns();
	state->generation = vswitch_generation(vswitch);
	state->timer_fd =
		timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (state->timer_fd < 0 ||
	    timerfd_settime(state->timer_fd, 0, &each_second, NULL) < 0)
		return -errno;
	return loop_watch_new(loop, state->timer_fd, POLLIN, second_passed,
			      state, &state->timer);
}

/* Until nothing is under way. */
static void await(struct state *state)
{
	while (state->bytes && loop_wait(state->loop, UINT64_MAX) >= 0)
		;
}

void state_close(struct state *state)
{
	if (!state)
		return;
	if (state->timer) {
		await(state);
		begin_save(state);
		await(state);
	}
	loop_watch_free(state->timer);
	fd_close(&state->timer_fd);
	fd_close(&state->fd);
	free(state);
}
