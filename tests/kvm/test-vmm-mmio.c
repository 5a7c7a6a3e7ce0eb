/* SPDX-License-Identifier: Apache-2.0 */
/* The registers of a virtio device, with drivers good and bad. */
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <string.h>

#include "base/bytes.h"
#include "tests/cmocka.h"
#include "tests/kvm/vmm-mmio.h"

#define BIT(n)	  (UINT64_C(1) << (n))
#define OFFERED	  (BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_F_RING_PACKED) | BIT(9))
#define DRIVER	  (VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER)
#define AGREED	  (DRIVER | VIRTIO_CONFIG_S_FEATURES_OK)
#define DRIVER_OK (AGREED | VIRTIO_CONFIG_S_DRIVER_OK)

enum {
	QUEUES = 2
};

struct fake {
	struct vmm_mmio_device device;
	struct vmm_mmio mmio;
	unsigned starts, stops, notified, last_queue;
	int start_error;
	uint64_t features;
	struct vmm_mmio_queue queues[VMM_MMIO_MAX_QUEUES];
};

static int start(void *arg, uint64_t features,
		 const struct vmm_mmio_queue *queues)
{
	struct fake *fake = arg;

	fake->starts++;
	fake->features = features;
	memcpy(fake->queues, queues, sizeof(fake->queues));
	return fake->start_error;
}

static void stop(void *arg)
{
	((struct fake *)arg)->stops++;
}

static void notify(void *arg, uint32_t queue)
{
	struct fake *fake = arg;

	fake->notified++;
	fake->last_queue = queue;
}

static uint64_t config_read(void *arg, uint32_t offset, uint32_t bytes)
{
	return offset * 100 + bytes;
}

static void config_write(void *arg, uint32_t offset, uint32_t bytes,
			 uint64_t value)
{
}

static int setup(void **state)
{
	static struct fake fake;

	fake = (struct fake){
		.device =
			{
				.id = 2,
				.features = OFFERED,
				.queues = QUEUES,
				.config_read = config_read,
				.config_write = config_write,
				.start = start,
				.stop = stop,
				.notify = notify,
				.arg = &fake,
			},
	};
	vmm_mmio_init(&fake.mmio, &fake.device);
	*state = &fake;
	return 0;
}

static uint32_t get(struct fake *fake, uint32_t reg)
{
	return vmm_mmio_read(&fake->mmio, reg, 4);
}

static void set(struct fake *fake, uint32_t reg, uint32_t value)
{
	vmm_mmio_write(&fake->mmio, reg, 4, value);
}

static void choose(struct fake *fake, uint64_t features)
{
	set(fake, VIRTIO_MMIO_STATUS, DRIVER);
	for (unsigned half = 0; half < 2; half++) {
		set(fake, VIRTIO_MMIO_DRIVER_FEATURES_SEL, half);
		set(fake, VIRTIO_MMIO_DRIVER_FEATURES, features >> 32 * half);
	}
	set(fake, VIRTIO_MMIO_STATUS, AGREED);
}

static void make_queue(struct fake *fake, uint32_t index, uint32_t size)
{
	set(fake, VIRTIO_MMIO_QUEUE_SEL, index);
	set(fake, VIRTIO_MMIO_QUEUE_NUM, size);
	set(fake, VIRTIO_MMIO_QUEUE_DESC_LOW, 0x1000);
	set(fake, VIRTIO_MMIO_QUEUE_DESC_HIGH, 1);
	set(fake, VIRTIO_MMIO_QUEUE_AVAIL_LOW, 0x2000);
	set(fake, VIRTIO_MMIO_QUEUE_AVAIL_HIGH, 2);
	set(fake, VIRTIO_MMIO_QUEUE_USED_LOW, 0x3000);
	set(fake, VIRTIO_MMIO_QUEUE_USED_HIGH, 3);
	set(fake, VIRTIO_MMIO_QUEUE_READY, 1);
}

static void start_up(struct fake *fake)
{
	choose(fake, OFFERED);
	make_queue(fake, 1, 64);
	set(fake, VIRTIO_MMIO_STATUS, DRIVER_OK);
}

static void a_device_says_what_it_is(void **state)
{
	struct fake *fake = *state;

	assert_int_equal(get(fake, VIRTIO_MMIO_MAGIC_VALUE), 0x74726976);
	assert_int_equal(get(fake, VIRTIO_MMIO_VERSION), 2);
	assert_int_equal(get(fake, VIRTIO_MMIO_DEVICE_ID), 2);
	assert_int_equal(get(fake, VIRTIO_MMIO_SHM_LEN_LOW), UINT32_MAX);
	set(fake, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	assert_int_equal(get(fake, VIRTIO_MMIO_DEVICE_FEATURES), OFFERED >> 32);
	set(fake, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 2);
	assert_int_equal(get(fake, VIRTIO_MMIO_DEVICE_FEATURES), 0);
	assert_int_equal(vmm_mmio_read(&fake->mmio, VIRTIO_MMIO_CONFIG + 8, 2),
			 802);
}

static void a_driver_starts_it(void **state)
{
	struct fake *fake = *state;

	start_up(fake);
	assert_int_equal(fake->starts, 1);
	assert_int_equal(fake->features, OFFERED);
	assert_false(fake->queues[0].ready);
	assert_true(fake->queues[1].ready);
	assert_int_equal(fake->queues[1].size, 64);
	assert_int_equal(fake->queues[1].desc_gpa, UINT64_C(0x100001000));
	assert_int_equal(fake->queues[1].driver_gpa, UINT64_C(0x200002000));
	assert_int_equal(fake->queues[1].device_gpa, UINT64_C(0x300003000));
	set(fake, VIRTIO_MMIO_QUEUE_NOTIFY, 1);
	assert_int_equal(fake->notified, 1);
	assert_int_equal(fake->last_queue, 1);
}

static void features_that_were_not_offered_are_refused(void **state)
{
	static const uint64_t wrong[] = {
		OFFERED | BIT(10),
		OFFERED | BIT(63),
		OFFERED & ~BIT(VIRTIO_F_VERSION_1),
		0,
	};
	struct fake *fake = *state;

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		choose(fake, wrong[i]);
		assert_int_equal(get(fake, VIRTIO_MMIO_STATUS), DRIVER);
		set(fake, VIRTIO_MMIO_STATUS,
		    DRIVER | VIRTIO_CONFIG_S_DRIVER_OK);
		assert_int_equal(fake->starts, 0);
		set(fake, VIRTIO_MMIO_STATUS, 0);
	}
}

static void features_are_fixed_once_agreed(void **state)
{
	struct fake *fake = *state;

	choose(fake, OFFERED);
	set(fake, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	set(fake, VIRTIO_MMIO_DRIVER_FEATURES, UINT32_MAX);
	set(fake, VIRTIO_MMIO_STATUS, DRIVER_OK);
	assert_int_equal(fake->features, OFFERED);
}

static void queues_of_wrong_sizes_are_not_ready(void **state)
{
	struct fake *fake = *state;

	choose(fake, OFFERED & ~BIT(VIRTIO_F_RING_PACKED));
	make_queue(fake, 0, 0);
	assert_int_equal(get(fake, VIRTIO_MMIO_QUEUE_READY), 0);
	make_queue(fake, 0, 100);
	assert_int_equal(get(fake, VIRTIO_MMIO_QUEUE_READY), 0);
	make_queue(fake, 0, VMM_MMIO_QUEUE_SIZE * 2);
	assert_int_equal(get(fake, VIRTIO_MMIO_QUEUE_READY), 0);
	make_queue(fake, 0, VMM_MMIO_QUEUE_SIZE);
	assert_int_equal(get(fake, VIRTIO_MMIO_QUEUE_READY), 1);
	/* And keeps what it is. */
	set(fake, VIRTIO_MMIO_QUEUE_NUM, 0);
	set(fake, VIRTIO_MMIO_STATUS, DRIVER_OK);
	assert_int_equal(fake->queues[0].size, VMM_MMIO_QUEUE_SIZE);
}

static void queues_that_are_not_there_are_nobodys(void **state)
{
	static const uint32_t indices[] = {QUEUES, VMM_MMIO_MAX_QUEUES,
					   UINT32_MAX};
	struct fake *fake = *state;

	choose(fake, OFFERED);
	for (size_t i = 0; i < ARRAY_SIZE(indices); i++) {
		make_queue(fake, indices[i], 64);
		assert_int_equal(get(fake, VIRTIO_MMIO_QUEUE_NUM_MAX), 0);
		assert_int_equal(get(fake, VIRTIO_MMIO_QUEUE_READY), 0);
	}
	make_queue(fake, 0, 64);
	set(fake, VIRTIO_MMIO_STATUS, DRIVER_OK);
	for (size_t i = 0; i < ARRAY_SIZE(indices); i++)
		set(fake, VIRTIO_MMIO_QUEUE_NOTIFY, indices[i]);
	assert_int_equal(fake->notified, 0);
}

static void a_reset_stops_it_once(void **state)
{
	struct fake *fake = *state;

	set(fake, VIRTIO_MMIO_STATUS, 0);
	assert_int_equal(fake->stops, 0);
	start_up(fake);
	set(fake, VIRTIO_MMIO_STATUS, 0);
	set(fake, VIRTIO_MMIO_STATUS, 0);
	assert_int_equal(fake->stops, 1);
	assert_int_equal(get(fake, VIRTIO_MMIO_STATUS), 0);
	set(fake, VIRTIO_MMIO_QUEUE_NOTIFY, 1);
	assert_int_equal(fake->notified, 0);
	start_up(fake);
	assert_int_equal(fake->starts, 2);
}

static void a_device_that_cannot_start_asks_for_a_reset(void **state)
{
	struct fake *fake = *state;

	fake->start_error = -EFAULT;
	start_up(fake);
	assert_true(get(fake, VIRTIO_MMIO_STATUS) &
		    VIRTIO_CONFIG_S_NEEDS_RESET);
	set(fake, VIRTIO_MMIO_STATUS, 0);
	assert_int_equal(fake->stops, 0);
	assert_int_equal(get(fake, VIRTIO_MMIO_STATUS), 0);
}

static void registers_are_read_as_a_whole(void **state)
{
	struct fake *fake = *state;

	assert_int_equal(vmm_mmio_read(&fake->mmio, 0, 1), 0);
	assert_int_equal(vmm_mmio_read(&fake->mmio, 0, 8), 0);
	vmm_mmio_write(&fake->mmio, VIRTIO_MMIO_STATUS, 1, DRIVER);
	assert_int_equal(get(fake, VIRTIO_MMIO_STATUS), 0);
}

int main(void)
{
#define MMIO_TEST(name) cmocka_unit_test_setup(name, setup)
	const struct CMUnitTest tests[] = {
		MMIO_TEST(a_device_says_what_it_is),
		MMIO_TEST(a_driver_starts_it),
		MMIO_TEST(features_that_were_not_offered_are_refused),
		MMIO_TEST(features_are_fixed_once_agreed),
		MMIO_TEST(queues_of_wrong_sizes_are_not_ready),
		MMIO_TEST(queues_that_are_not_there_are_nobodys),
		MMIO_TEST(a_reset_stops_it_once),
		MMIO_TEST(a_device_that_cannot_start_asks_for_a_reset),
		MMIO_TEST(registers_are_read_as_a_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
