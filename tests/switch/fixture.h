/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A real vswitch (named by VSWITCH) with vhost-user ports, and a guest on each.
 * Guest n is on the port "p<n>" and has the address 02:00:00:00:00:<n>.
 *
 * Everything is checked with cmocka's asserts: a function that returns has
 * succeeded.
 */
#ifndef TESTS_SWITCH_FIXTURE_H
#define TESTS_SWITCH_FIXTURE_H

#include "tests/frontend/net-driver.h"
#include "tests/process.h"

enum {
	FIXTURE_MAX_GUESTS = 8,
	FIXTURE_FRAME_BYTES = 68 << 10,
	FIXTURE_SAID_BYTES = 64 << 10,
	FIXTURE_BROADCAST = 0xff, /* as who a frame is for */
	FIXTURE_HEAD_BYTES = 14,  /* of a frame without a tag */
};

struct fixture {
	struct process process;
	char config[96];		  /* the file's path */
	char *args[PROCESS_MAX_ARGS + 1]; /* of the last process; owned */
	struct net_driver *guests[FIXTURE_MAX_GUESTS];
	char said[FIXTURE_SAID_BYTES]; /* by `vswitch ctl` */
};

int fixture_setup(void **state);
int fixture_teardown(void **state);

/*
 * Starts the switch: @head is YAML before the ports, each of @ports (ended by
 * NULL) what its port has beside name, kind and socket: "vlan: 7, group: x".
 */
void fixture_start(struct fixture *f, const char *head,
		   const char *const *ports);
/* The same with more command-line options, ended by NULL. */
void fixture_start_with(struct fixture *f, const char *head,
			const char *const *ports, const char *const *options);
/* The same with a control socket for fixture_ctl. */
void fixture_start_controlled(struct fixture *f, const char *head,
			      const char *const *ports);
void fixture_start_controlled_with(struct fixture *f, const char *head,
				   const char *const *ports,
				   const char *const *options);
void fixture_control_path(const struct fixture *f, char ret_path[static 128]);
/* Until that socket is there. */
void fixture_wait_control(const struct fixture *f);
/* Runs `vswitch ctl` with @arguments; its status, and in f->said what it
 * printed. */
int fixture_ctl(struct fixture *f, const char *arguments);
/* Succeeds, and prints @words. */
void fixture_ctl_says(struct fixture *f, const char *arguments,
		      const char *words);
/* A connection to the control socket. */
int fixture_connect_control(const struct fixture *f);
/* One line to it, which may be anything: the answer is in f->said. */
void fixture_ask(struct fixture *f, const char *request);
/* Any file. Returns the process, which is not waited for. */
pid_t fixture_spawn(struct fixture *f, const char *yaml,
		    const char *const *options);
/* One more, with the file that is there and the options of before. */
pid_t fixture_spawn_again(struct fixture *f);
void fixture_socket(const struct fixture *f, unsigned port,
		    char ret_path[static 128]);

/* --- guests ------------------------------------------------------------------ */

/* The guest of @port starts, with its driver's @options or NULL. */
void fixture_join(struct fixture *f, unsigned port,
		  const struct net_options *options);
/* Guests 0 to @count - 1. */
void fixture_join_all(struct fixture *f, unsigned count);
/* It hangs up. */
void fixture_leave(struct fixture *f, unsigned port);

/* Has the switch log its counters, and waits for that. */
void fixture_count(const struct fixture *f);
/* What stands behind @words in the log then. */
uint64_t fixture_counted(const struct fixture *f, const char *words);

/* --- frames ------------------------------------------------------------------ */

/* A frame of @bytes whose payload follows from @seed; @type: 0x88b5. */
void fixture_frame(uint8_t *frame, unsigned to, unsigned from, size_t bytes,
		   uint32_t seed);
uint32_t fixture_seed(const uint8_t *frame);
/* Puts a tag behind the addresses: the frame has 4 bytes more. */
void fixture_tag(uint8_t *frame, size_t bytes, uint16_t tpid, uint16_t tci);

/* Sends a frame, and waits until the guest has its buffers back. */
void fixture_send(struct fixture *f, unsigned from, const uint8_t *frame,
		  size_t bytes);
/* The same, of a frame that the switch counts as not forwarded, for @reason. */
void fixture_send_dropped(struct fixture *f, unsigned from,
			  const uint8_t *frame, size_t bytes,
			  const char *reason);
/* The next frame of @port is this one, byte by byte. */
void fixture_expect(struct fixture *f, unsigned port, const uint8_t *frame,
		    size_t bytes);
/*
 * Nothing has come for @port: a frame that @from sends it now, which reaches
 * it, is the first.
 */
void fixture_expect_nothing(struct fixture *f, unsigned port, unsigned from);
/* Each of guests 0 to @count - 1, all that there are, is heard by the others: the
 * switch knows where they are. */
void fixture_introduce(struct fixture *f, unsigned count);

/* --- a network of the host's ------------------------------------------------- */

/* Two ends of a wire, rle0 and rle1, in the test's namespace; without addresses the
 * host itself says nothing on them. False: there are no rights to. */
bool fixture_make_wire(void);
/* With what was opened on it. */
void fixture_end_wire(int fd);
/* A socket that takes all that comes in at the interface, and sends by it. */
int fixture_open_wire(const char *interface);
/* The next frame that comes in: its length. */
size_t fixture_receive_wire(int fd,
			    uint8_t ret_frame[static FIXTURE_FRAME_BYTES]);
/* What guest 0 leaves to be done, segments and a checksum, is done on the wire. */
void fixture_expect_cut(struct fixture *f, int fd);

#define SWITCH_TEST(name) \
	cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

#endif
