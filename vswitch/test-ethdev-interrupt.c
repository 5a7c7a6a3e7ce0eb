/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A queue whose device has interrupts, good ones and bad ones: none that came is
 * slept over. The device is a ring, which has none: this file stands between it
 * and the switch (--wrap).
 *
 * What is slept over is found after 256 ms, so that it tells whether the best of
 * some tries took as long; a busy machine may be slow at others.
 */
#include <errno.h>
#include <rte_ethdev.h>
#include <rte_rcu_qsbr.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/barrier.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "tests/cmocka.h"
#include "vswitch/port.h"
#include "vswitch/test-eal.h"

enum {
	LCORES = 2,
	MBUFS = 1023,
	FRAME_BYTES = 60,
	TRIES = 5,
	SETTLE_US = 30000,
	IDLE_US = 600000,
	SOON_NS = 100 * 1000 * 1000,
	PATIENCE_SECONDS = 10,
};

/* The interrupt. */
static struct {
	int fd;
	bool refuses, is_silent;
	bool comes_early; /* before the next time that it is enabled */
	bool is_enabled;
	unsigned enables;
	uint64_t early_ns; /* when that was */
} irq;

static struct rte_mempool *pool;
static struct rte_rcu_qsbr *rcu;
static struct fdb *fdb;
static struct lcore *lcores[LCORES];
static const struct port_owner owner = {
	.lcores = lcores,
	.lcore_count = LCORES,
};
static struct forward_table table;
static struct port_config *config;
static struct port *port;
static uint16_t id; /* of the ring */

/* Where frames go. */
static struct {
	struct forward_port port;
	sem_t came;
	uint64_t at_ns;
	bool was_enabled;
} sink;

static struct source *source(void)
{
	return port->ops->source(port, 0);
}

/* --- the device ---------------------------------------------------------------- */

static void put_frame(void)
{
	struct rte_mbuf *mbuf = rte_pktmbuf_alloc(pool);
	uint8_t *bytes;

	assert_non_null(mbuf);
	mbuf->data_len = mbuf->pkt_len = FRAME_BYTES;
	bytes = rte_pktmbuf_mtod(mbuf, uint8_t *);
	memset(bytes, 0, FRAME_BYTES);
	memset(bytes, 0xff, 6);
	bytes[6] = 2;
	put_be16(bytes + 12, 0x88b5);
	assert_int_equal(rte_eth_tx_burst(id, 0, &mbuf, 1), 1);
}

static void arrive(void)
{
	put_frame();
	full_barrier();
	if (load_once(&irq.is_enabled) && !irq.is_silent)
		assert_int_equal(eventfd_write(irq.fd, 1), 0);
}

int __wrap_rte_eth_dev_rx_intr_enable(uint16_t port_id, uint16_t queue_id);
int __wrap_rte_eth_dev_rx_intr_disable(uint16_t port_id, uint16_t queue_id);
int __wrap_rte_eth_dev_rx_intr_ctl_q_get_fd(uint16_t port_id,
					    uint16_t queue_id);

int __wrap_rte_eth_dev_rx_intr_enable(uint16_t port_id, uint16_t queue_id)
{
	store_once(&irq.enables, irq.enables + 1);
	if (irq.refuses)
		return -EIO;
	if (load_once(&irq.comes_early)) {
		store_once(&irq.comes_early, false);
		irq.early_ns = clock_ns();
		put_frame();
	}
	store_once(&irq.is_enabled, true);
	full_barrier();
	return 0;
}

int __wrap_rte_eth_dev_rx_intr_disable(uint16_t port_id, uint16_t queue_id)
{
	store_once(&irq.is_enabled, false);
	return 0;
}

int __wrap_rte_eth_dev_rx_intr_ctl_q_get_fd(uint16_t port_id, uint16_t queue_id)
{
	return irq.fd;
}

/* --- the switch ------------------------------------------------------------------ */

static void take(struct forward_port *to,
		 const struct net_rx_frame *const *frames, unsigned count)
{
	sink.at_ns = clock_ns();
	sink.was_enabled |= irq.is_enabled;
	for (unsigned i = 0; i < count; i++)
		sem_post(&sink.came);
}

static void wait_for_frame(void)
{
	struct timespec end;

	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += PATIENCE_SECONDS;
	assert_int_equal(sem_timedwait(&sink.came, &end), 0);
}

/* How long the best of some frames took that came to a sleeper. */
static uint64_t best_ns(void)
{
	uint64_t best = UINT64_MAX;

	for (unsigned i = 0; i < TRIES; i++) {
		uint64_t began;

		usleep(SETTLE_US);
		began = clock_ns();
		arrive();
		wait_for_frame();
		best = MIN(best, sink.at_ns - began);
	}
	return best;
}

/* How often a second a thread with nothing to do goes to sleep. */
static unsigned count_sleeps(void)
{
	const unsigned before = load_once(&irq.enables);

	usleep(IDLE_US);
	return (load_once(&irq.enables) - before) * 1000000 / IDLE_US;
}

static int open_port(bool refuses, bool is_silent)
{
	char error[PORT_ERROR_BYTES];

	irq.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	irq.refuses = refuses;
	irq.is_silent = is_silent;
	irq.is_enabled = false;
	irq.enables = 0;
	sink.was_enabled = false;
	if (port_new(config, &owner, 0, &port) < 0 ||
	    port->ops->open(port, error) < 0 ||
	    rte_eth_dev_get_port_by_name("net_ring0", &id) < 0)
		return -1;
	table.ports[0] = &port->forward;
	return port->ops->start(port, error);
}

static int setup(void **state)
{
	return open_port(false, false);
}

static int setup_silent(void **state)
{
	return open_port(false, true);
}

static int setup_refusing(void **state)
{
	return open_port(true, false);
}

/* Nothing is missing, whatever was under way. */
static int teardown(void **state)
{
	table.ports[0] = NULL;
	port->ops->stop(port);
	port_free(port);
	close(irq.fd);
	while (sem_trywait(&sink.came) == 0)
		;
	return rte_mempool_full(pool) && !sink.was_enabled ? 0 : -1;
}

/* --- good ones --------------------------------------------------------------------- */

static void a_sleeper_is_woken(void **state)
{
	assert_in_range(best_ns(), 0, SOON_NS);
	assert_int_equal(source()->trust, SOURCE_HEARD);
	assert_in_range(best_ns(), 0, SOON_NS);
	assert_in_range(count_sleeps(), 0, 20);
}

/* The one of a frame that comes as it is being enabled does not come. */
static void a_frame_before_it_is_enabled_is_found(void **state)
{
	uint64_t best = UINT64_MAX;

	best_ns();
	for (unsigned i = 0; i < TRIES; i++) {
		usleep(SETTLE_US);
		store_once(&irq.comes_early, true);
		arrive();
		wait_for_frame();
		wait_for_frame();
		best = MIN(best, sink.at_ns - irq.early_ns);
	}
	assert_int_equal(source()->trust, SOURCE_HEARD);
	assert_in_range(best, 0, SOON_NS);
}

static void it_moves_along_with_its_queue(void **state)
{
	best_ns();
	for (unsigned i = 0; i < TRIES; i++) {
		assert_int_equal(lcore_move(lcores[1 - i % 2], source()), 0);
		assert_in_range(best_ns(), 0, SOON_NS);
		/* It comes to nobody, who is no longer there to hear it. */
		arrive();
		assert_int_equal(lcore_move(lcores[i % 2], source()), 0);
		wait_for_frame();
		assert_int_equal(lcore_move(lcores[1 - i % 2], source()), 0);
	}
}

static void a_port_goes_with_one_pending(void **state)
{
	best_ns();
	for (unsigned i = 0; i < TRIES; i++) {
		usleep(SETTLE_US);
		for (unsigned n = 0; n < 100; n++)
			arrive();
		assert_int_equal(teardown(state), 0);
		assert_int_equal(setup(state), 0);
	}
	assert_in_range(best_ns(), 0, SOON_NS);
}

/* A queue that is taken from its thread just then. */
static void what_was_found_and_not_taken_is_given_back(void **state)
{
	lcore_detach(lcores[0], source());
	put_frame();
	assert_true(source()->ops->sleep(source()));
	assert_false(rte_mempool_full(pool));
}

/* --- bad ones ---------------------------------------------------------------------- */

static void a_queue_that_is_never_told_of_is_looked_at(void **state)
{
	assert_in_range(best_ns(), 0, SOON_NS);
	assert_int_equal(source()->trust, SOURCE_DOUBTED);
	assert_true(count_sleeps() > 40);
}

static void one_that_is_lost_is_made_up_for(void **state)
{
	best_ns();
	irq.is_silent = true;
	best_ns();
	assert_int_equal(source()->trust, SOURCE_HEARD);
}

static void one_that_is_refused_is_given_up(void **state)
{
	assert_in_range(best_ns(), 0, SOON_NS);
	assert_int_equal(source()->fd, -1);
	assert_int_equal(lcore_move(lcores[1], source()), 0);
	assert_in_range(best_ns(), 0, SOON_NS);
	assert_int_equal(irq.enables, 1);
}

/* --- what surrounds them ------------------------------------------------------------- */

static void make_switch(void)
{
	struct fdb_config stations = {.name = "test", .capacity = 64};
	const size_t bytes = rte_rcu_qsbr_get_memsize(LCORES);
	static const char text[] = "{name: w, kind: dpdk, devargs: net_ring0}";
	char error[CONFIG_FILE_ERROR_BYTES];

	rcu = aligned_alloc(64, align_up(bytes, 64));
	assert_non_null(rcu);
	assert_int_equal(rte_rcu_qsbr_init(rcu, LCORES), 0);
	stations.rcu = rcu;
	assert_int_equal(fdb_new(&stations, &fdb), 0);
	for (unsigned i = 0; i < LCORES; i++) {
		const struct lcore_config lcore = {
			.number = i,
			.cpu = -1,
			.fdb = fdb,
			.table = &table,
			.rcu = rcu,
		};

		assert_int_equal(lcore_new(&lcore, &lcores[i]), 0);
	}
	sem_init(&sink.came, 0, 0);
	sink.port = (struct forward_port){
		.number = 1,
		.vlan.mode = VLAN_ACCESS,
		.vlan.native = VLAN_MIN,
		.send = take,
	};
	table.ports[1] = &sink.port;
	table.end = 2;
	assert_int_equal(port_config_read(text, strlen(text), &config, error),
			 0);
}

static void free_switch(void)
{
	for (unsigned i = 0; i < LCORES; i++)
		lcore_free(lcores[i]);
	fdb_free(fdb);
	free(rcu);
	port_config_free(config);
	sem_destroy(&sink.came);
}

#define WITH(name, setup) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH(a_sleeper_is_woken, setup),
		WITH(a_frame_before_it_is_enabled_is_found, setup),
		WITH(it_moves_along_with_its_queue, setup),
		WITH(a_port_goes_with_one_pending, setup),
		WITH(what_was_found_and_not_taken_is_given_back, setup),
		WITH(a_queue_that_is_never_told_of_is_looked_at, setup_silent),
		WITH(one_that_is_lost_is_made_up_for, setup),
		WITH(one_that_is_refused_is_given_up, setup_refusing),
	};
	int failed;

	test_eal_init();
	pool = rte_pktmbuf_pool_create("test", MBUFS, 0, 0,
				       RTE_PKTMBUF_HEADROOM + 2048,
				       SOCKET_ID_ANY);
	assert_non_null(pool);
	make_switch();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	free_switch();
	return failed;
}
