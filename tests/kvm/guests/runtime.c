/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/kvm/guests/runtime.h"

#include <stdarg.h>

#include "tests/kvm/guests/kernel.h"

enum {
	SERIAL_LINE_STATUS = 5,
	SERIAL_CAN_TAKE_MORE = 0x20,
	APIC_TASK_PRIORITY = 0x80,
	APIC_SPURIOUS = 0xf0,
	APIC_ENABLE = 0x1ff, /* spurious interrupts would be vector 255 */
};

/* --- the machine --- */

void guest_exit(enum machine_verdict verdict)
{
	for (;;)
		port_write32(MACHINE_EXIT_PORT, verdict);
}

/* A service that waits for nothing tells. */
uint64_t interrupts_seen(void)
{
	return kernel_call(KERNEL_WAIT, UINT64_MAX, 0, 0);
}

void interrupts_enable(void)
{
	mmio_write32(MACHINE_APIC_GPA + APIC_TASK_PRIORITY, 0);
	mmio_write32(MACHINE_APIC_GPA + APIC_SPURIOUS, APIC_ENABLE);
}

/* --- words --- */

static void print_char(char c)
{
	while (!(port_read8(MACHINE_SERIAL_PORT + SERIAL_LINE_STATUS) &
		 SERIAL_CAN_TAKE_MORE))
		;
	port_write8(MACHINE_SERIAL_PORT, c);
}

static void print_number(uint64_t value, unsigned base)
{
	char digits[20];
	unsigned count = 0;

	do
		digits[count++] = "0123456789abcdef"[value % base];
	while ((value /= base) != 0);
	while (count > 0)
		print_char(digits[--count]);
}

static void print_string(const char *s)
{
	while (*s)
		print_char(*s++);
}

static void print_value(char conversion, va_list *arguments)
{
	switch (conversion) {
	case 'u':
		print_number(va_arg(*arguments, uint64_t), 10);
		break;
	case 'x':
		print_string("0x");
		print_number(va_arg(*arguments, uint64_t), 16);
		break;
	case 's':
		print_string(va_arg(*arguments, const char *));
		break;
	default:
		print_char(conversion);
	}
}

void print(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	for (; *format; format++) {
		if (*format == '%')
			print_value(*++format, &arguments);
		else
			print_char(*format);
	}
	va_end(arguments);
}

void expect(bool is_so, const char *what)
{
	if (is_so)
		return;
	print("guest: FAILED: %s\n", what);
	guest_exit(MACHINE_FAILED);
}

/* The length of the common beginning, if it is all of @word; 0 otherwise. */
static unsigned starts_with(const char *text, const char *word)
{
	unsigned i = 0;

	for (; word[i]; i++)
		if (text[i] != word[i])
			return 0;
	return i;
}

static uint64_t parse_number(const char **text)
{
	unsigned base = 10;
	uint64_t value = 0;

	if ((*text)[0] == '0' && (*text)[1] == 'x') {
		base = 16;
		*text += 2;
	}
	for (;; ++*text) {
		char c = **text;

		if (c >= '0' && c <= '9')
			value = value * base + (c - '0');
		else if (base == 16 && c >= 'a' && c <= 'f')
			value = value * base + (c - 'a' + 10);
		else
			return value;
	}
}

/* The next word that is @name with "=" or the end behind it; its end. */
static const char *find_option(const char *command, const char *name)
{
	bool at_start = true;

	for (; *command; command++) {
		unsigned length = at_start ? starts_with(command, name) : 0;
		char after = command[length];

		if (length > 0 && (after == '=' || after == ' ' || !after))
			return command + length;
		at_start = *command == ' ';
	}
	return NULL;
}

bool option_given(const struct guest_boot *boot, const char *name)
{
	return find_option(boot->command, name) != NULL;
}

uint64_t option_number(const struct guest_boot *boot, const char *name,
		       uint64_t otherwise)
{
	const char *at = find_option(boot->command, name);

	if (!at || *at++ != '=')
		return otherwise;
	return parse_number(&at);
}

bool guest_device(unsigned number, struct guest_device *ret_device)
{
	const char *at = guest_boot.command;

	for (unsigned i = 0; i <= number; i++) {
		at = find_option(at, "virtio_mmio.device");
		if (!at)
			return false;
	}
	if (*at++ != '=')
		return false;
	ret_device->bytes = parse_number(&at);
	if (*at++ != '@')
		return false;
	ret_device->gpa = parse_number(&at);
	if (*at++ != ':')
		return false;
	ret_device->irq = parse_number(&at);
	return true;
}

/* --- bytes --- */

void *memcpy(void *to, const void *from, size_t bytes)
{
	void *start = to;

	__asm__ volatile("rep movsb"
			 : "+D"(to), "+S"(from), "+c"(bytes)
			 :
			 : "memory");
	return start;
}

void *memset(void *to, int byte, size_t bytes)
{
	void *start = to;

	__asm__ volatile("rep stosb"
			 : "+D"(to), "+c"(bytes)
			 : "a"(byte)
			 : "memory");
	return start;
}
