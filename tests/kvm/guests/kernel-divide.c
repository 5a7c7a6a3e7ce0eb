/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel of the `divide` guest: a table of processes, a table of handlers,
 * and a way from one process to the next. Runs at level 0, entered by the
 * processor through the stubs of boot.S.
 */
#include "tests/kvm/guests/divide.h"
#include "tests/kvm/guests/runtime.h"
#include "tests/kvm/tables.h"

enum {
	/* Processes get no ports; bit 1 is always set. */
	PROCESS_RFLAGS = 0x2,
};

enum process_state {
	PROCESS_READY,
	PROCESS_RUNNING,
	PROCESS_ENDED,	/* by itself */
	PROCESS_KILLED, /* by a fatal exception */
};

struct process {
	void (*entry)(void);
	enum process_state state;
	bool content; /* ended by itself, and well */
};

static struct process processes[DIVIDE_PROCESSES];
static unsigned running; /* index */
static unsigned steps;	 /* of the story that were told */

/* A line of the story, numbered. The story ends where a step is not so. */
static void step(bool is_so, const char *text, uint64_t number)
{
	print("%u %s %u\n", (uint64_t)++steps, text, number);
	expect(is_so, text);
}

/* Makes @frame such that iretq goes to the process's first instruction. */
static void enter(struct kernel_frame *frame, unsigned index)
{
	uint64_t stack_end =
		(uint64_t)divide_stacks[index] + DIVIDE_STACK_BYTES;

	memset(frame, 0, sizeof(*frame));
	frame->rip = (uint64_t)processes[index].entry;
	frame->cs = TABLES_USER_CODE;
	frame->ss = TABLES_USER_DATA;
	frame->rflags = PROCESS_RFLAGS;
	/* As after a call: a function expects a return address there. */
	frame->rsp = stack_end - sizeof(uint64_t);
	processes[index].state = PROCESS_RUNNING;
	running = index;
}

/* Ends the machine if there is none; all went well if nothing is left over. */
static void run_next(struct kernel_frame *frame)
{
	bool well = true;

	for (unsigned i = 0; i < DIVIDE_PROCESSES; i++) {
		if (processes[i].state != PROCESS_READY)
			continue;
		print("kernel: process %u is next\n", (uint64_t)i + 1);
		enter(frame, i);
		return;
	}
	for (unsigned i = 0; i < DIVIDE_PROCESSES; i++)
		well = well && (processes[i].state == PROCESS_KILLED ||
				processes[i].content);
	print("kernel: no process is left\n");
	guest_exit(well ? MACHINE_OK : MACHINE_FAILED);
}

/* --- exceptions --- */

/* True if the process can go on, false if it cannot. */
typedef bool exception_handler(struct kernel_frame *frame);

static bool divide_error(struct kernel_frame *frame)
{
	step(frame->rip == (uint64_t)divide_instruction,
	     "handler of divide error: the instruction is the division of "
	     "process",
	     running + 1);
	return false;
}

/*
 * What an exception does to a process. Page faults would be repaired here by a
 * kernel that has memory to give; this one has nothing to repair with.
 */
static exception_handler *const handlers[MACHINE_IRQ_VECTOR] = {
	[KERNEL_DIVIDE_ERROR] = divide_error,
};

static bool on_kernel_stack(const struct kernel_frame *frame)
{
	return (uint64_t)(frame + 1) == guest_note.kernel_stack;
}

bool kernel_exception(struct kernel_frame *frame)
{
	exception_handler *handler = handlers[frame->vector];

	if ((frame->cs & 3) != 3 || !handler)
		return false;
	step(true, "exception raised:", frame->vector);
	step((frame->cs & 3) == 3, "it was raised at level", frame->cs & 3);
	step(kernel_level() == 0 && on_kernel_stack(frame),
	     "the kernel is entered, on its own stack, at level",
	     kernel_level());
	if (handler(frame))
		return true;
	processes[running].state = PROCESS_KILLED;
	step(true, "fatal: the kernel ends process", running + 1);
	run_next(frame);
	step((frame->cs & 3) == 3 &&
		     processes[running].state == PROCESS_RUNNING,
	     "the kernel returns to user mode, level", frame->cs & 3);
	return true;
}

/* --- what processes ask for --- */

static void start(struct kernel_frame *frame, bool calm)
{
	processes[0].entry = calm ? divide_calmly : divide_by_zero;
	processes[1].entry = divide_by_six;
	run_next(frame);
}

static void end(struct kernel_frame *frame, bool content)
{
	processes[running].state = PROCESS_ENDED;
	processes[running].content = content;
	print("kernel: process %u has ended%s\n", (uint64_t)running + 1,
	      content ? "" : ", not content");
	run_next(frame);
}

void kernel_own_service(struct kernel_frame *frame)
{
	switch (frame->rax) {
	case DIVIDE_START:
		start(frame, frame->rdi != 0);
		break;
	case DIVIDE_SAY:
		step((frame->cs & 3) == 3, (const char *)frame->rdi,
		     frame->rsi);
		break;
	case DIVIDE_HEARD:
		frame->rax = serial_poll() >= 0;
		break;
	case DIVIDE_END:
		end(frame, frame->rdi == MACHINE_OK);
		break;
	default:
		frame->rax = UINT64_MAX;
	}
}
