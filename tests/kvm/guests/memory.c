/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory: what a guest takes for memory, and what becomes of it outside.
 *
 * Two tables stand between an address in a program and a byte of a memory chip.
 * The first is the guest's own (its page tables): virtual to physical, and what
 * is forbidden there is a page fault in the guest, which its own kernel settles
 * without anybody outside. The second is the monitor's (memory slots, and the
 * nested page tables that KVM makes of them): what the guest calls physical is
 * a range of the monitor's memory, and may be shared with a back-end, be added
 * while the guest runs, or be watched for writes (the dirty log), as a
 * migration does it.
 *
 * Shown here: every page of every slot keeps what was written, at its own
 * address; memory plugged in while running is memory like any other; what the
 * log says was written is what was; a page that is protected faults once, at
 * the address written to; and shared memory is seen in the file beneath it,
 * private memory is not (with the word "private").
 */
#include "tests/kvm/guests/memory.h"
#include "tests/kvm/guests/runtime.h"

enum {
	PAGE_BYTES = 4096,
	GUARDED_PAGES = 1,
	LOGGED_PAGES = 5,
};

/* Lies in the pages that boot.S declares as guarded. */
static uint64_t guarded[GUARDED_PAGES * PAGE_BYTES / sizeof(uint64_t)]
	__attribute__((aligned(4096), section(".guarded")));

static uint32_t ask(enum machine_question question, uint32_t argument)
{
	port_write32(MACHINE_ARGUMENT_PORT, argument);
	port_write32(MACHINE_ASK_PORT, question);
	return port_read32(MACHINE_ANSWER_PORT);
}

/* Where the image is, and below, is in use. */
static struct machine_range usable(struct machine_range range)
{
	const uint64_t lowest = MACHINE_IMAGE_GPA + MACHINE_IMAGE_BYTES;
	uint64_t end = range.gpa + range.bytes;

	if (range.gpa < lowest)
		range.gpa = end < lowest ? end : lowest;
	range.gpa = (range.gpa + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
	if (end > MACHINE_MAPPED_BYTES)
		end = MACHINE_MAPPED_BYTES;
	range.bytes = end > range.gpa ? end - range.gpa : 0;
	return range;
}

static volatile uint64_t *page_at(struct machine_range range, uint64_t page)
{
	return (volatile uint64_t *)(range.gpa + page * PAGE_BYTES);
}

/* Each page is told its own address: two that are one would show. */
static void touch(const struct machine_range *ranges, unsigned count)
{
	uint64_t pages = 0;

	for (unsigned i = 0; i < count; i++)
		for (uint64_t p = 0; p < ranges[i].bytes / PAGE_BYTES; p++)
			*page_at(ranges[i], p) =
				(uint64_t)page_at(ranges[i], p);
	for (unsigned i = 0; i < count; i++)
		for (uint64_t p = 0; p < ranges[i].bytes / PAGE_BYTES;
		     p++, pages++)
			expect(*page_at(ranges[i], p) ==
				       (uint64_t)page_at(ranges[i], p),
			       "a page keeps what was written to it");
	print("touched: %u pages in %u ranges\n", pages, (uint64_t)count);
}

static void fault(void)
{
	uint64_t before = kernel_call(MEMORY_FAULTS, 0, 0, 0);
	volatile uint64_t *at = &guarded[7];

	expect(*at == 0, "a protected page can be read");
	*at = 42;
	expect(*at == 42, "the write is done after the page was opened");
	*at = 43;
	expect(kernel_call(MEMORY_FAULTS, 0, 0, 0) == before + 1,
	       "a protected page faults once");
	expect(kernel_call(MEMORY_FAULT_ADDRESS, 0, 0, 0) == (uint64_t)at,
	       "the fault says which address");
	print("fault: one, repaired by the guest's own kernel\n");
}

static struct machine_range plug(void)
{
	const struct machine_range plugged = {MACHINE_PLUGGED_GPA,
					      MACHINE_PLUGGED_BYTES};

	expect(ask(MACHINE_ASK_PLUG, 0) == 0, "memory is plugged in");
	expect(ask(MACHINE_ASK_PLUG, 0) != 0, "there is no more to plug in");
	return plugged;
}

/* The log begins anew with each look: what is written here is all there is. */
static void dirty_log(struct machine_range range)
{
	const uint64_t first = range.gpa / PAGE_BYTES;
	const uint64_t pages = range.bytes / PAGE_BYTES;
	const uint64_t step = pages / LOGGED_PAGES;
	uint64_t found = first;

	ask(MACHINE_ASK_DIRTY_COUNT, 0);
	for (unsigned i = 0; i < LOGGED_PAGES; i++)
		*page_at(range, i * step) = i;
	/* Reading is not writing. */
	expect(*page_at(range, 1) != 0, "a page can be read");
	ask(MACHINE_ASK_DIRTY_COUNT, 0);
	for (unsigned i = 0; i < LOGGED_PAGES; i++, found++) {
		found = ask(MACHINE_ASK_DIRTY_NEXT, found);
		expect(found == first + i * step,
		       "the log has the pages that were written");
	}
	expect(ask(MACHINE_ASK_DIRTY_NEXT, found) >= first + pages,
	       "the log has no other page");
	print("dirty log: %u pages of %u\n", (uint64_t)LOGGED_PAGES, pages);
}

static void beneath(struct machine_range range, bool private)
{
	const uint32_t value = 0x5ee15ee1;
	bool seen;

	*page_at(range, 3) = value;
	seen = ask(MACHINE_ASK_FILE_WORD, range.gpa / PAGE_BYTES + 3) == value;
	expect(seen != private,
	       "shared memory is seen outside, private is not");
	print("memory at %x is %s\n", range.gpa,
	      private ? "private" : "shared");
}

int guest_main(const struct guest_boot *boot)
{
	struct machine_range ranges[MACHINE_MAX_RAM + 1];
	bool private = option_given(boot, "private");
	unsigned count = 0;

	for (unsigned i = 0; i < boot->ram_count; i++) {
		ranges[count] = usable(boot->ram[i]);
		if (ranges[count].bytes > 0)
			count++;
	}
	fault();
	if (boot->starter != MACHINE_BY_MONITOR) {
		touch(ranges, count);
		print("plugging, log, sharing: nobody to ask here\n");
		return MACHINE_OK;
	}
	ranges[count++] = plug();
	touch(ranges, count);
	for (unsigned i = 0; i < count; i++) {
		dirty_log(ranges[i]);
		beneath(ranges[i], private);
	}
	return MACHINE_OK;
}
