/* SPDX-License-Identifier: Apache-2.0 */
/* Guest images, sound and damaged: the file decides nothing but its own place. */
#include <elf.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "tests/cmocka.h"
#include "tests/kvm/tables.h"
#include "tests/kvm/vmm-image.h"

enum {
	NOTE_AT = 0x200,
	CODE_AT = 0x300,
	CODE_BYTES = 0x100,
	MEMORY_BYTES = 0x50000,
	FILE_BYTES = CODE_AT + CODE_BYTES,
};

/* Guest memory with a border on both sides that nobody may write to. */
enum {
	BORDER_BYTES = 4096,
	BORDER = 0x5a,
};

struct fixture {
	struct {
		Elf64_Ehdr header;
		Elf64_Phdr segments[2];
		uint8_t rest[FILE_BYTES - sizeof(Elf64_Ehdr) -
			     2 * sizeof(Elf64_Phdr)];
	} file;
	struct guest_note *note;
	uint8_t *room;
	uint8_t *memory;
};

static const struct guest_note sound = {
	.entry = MACHINE_IMAGE_GPA + 0x300,
	.vectors = MACHINE_IMAGE_GPA + 0x1000,
	.kernel_stack = MACHINE_IMAGE_GPA + 0x20000,
	.user_stack = MACHINE_IMAGE_GPA + 0x30000,
	.tables = MACHINE_IMAGE_GPA + 0x2000,
	.boot = MACHINE_IMAGE_GPA + 0x30000,
	.kernel_begin = MACHINE_IMAGE_GPA + 0x1000,
	.kernel_end = MACHINE_IMAGE_GPA + 0x20000,
	.guarded_begin = MACHINE_IMAGE_GPA + 0x20000,
	.guarded_end = MACHINE_IMAGE_GPA + 0x21000,
};

static void write_note(struct fixture *f)
{
	const Elf64_Nhdr head = {
		.n_namesz = sizeof(MACHINE_NOTE_NAME),
		.n_descsz = sizeof(sound),
		.n_type = MACHINE_NOTE_TYPE,
	};
	uint8_t *at = (uint8_t *)&f->file + NOTE_AT;
	size_t name = align_up(sizeof(MACHINE_NOTE_NAME), 4);

	memcpy(at, &head, sizeof(head));
	memcpy(at + sizeof(head), MACHINE_NOTE_NAME, head.n_namesz);
	memcpy(at + sizeof(head) + name, &sound, sizeof(sound));
	f->note = (struct guest_note *)(at + sizeof(head) + name);
	f->file.segments[1] = (Elf64_Phdr){
		.p_type = PT_NOTE,
		.p_offset = NOTE_AT,
		.p_filesz = sizeof(head) + name + sizeof(sound),
	};
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	memcpy(f->file.header.e_ident, ELFMAG, SELFMAG);
	f->file.header.e_ident[EI_CLASS] = ELFCLASS64;
	f->file.header.e_machine = EM_X86_64;
	f->file.header.e_phoff = sizeof(Elf64_Ehdr);
	f->file.header.e_phentsize = sizeof(Elf64_Phdr);
	f->file.header.e_phnum = 2;
	f->file.segments[0] = (Elf64_Phdr){
		.p_type = PT_LOAD,
		.p_offset = CODE_AT,
		.p_paddr = MACHINE_IMAGE_GPA,
		.p_filesz = CODE_BYTES,
		.p_memsz = MEMORY_BYTES,
	};
	memset((uint8_t *)&f->file + CODE_AT, 0x90, CODE_BYTES);
	write_note(f);
	f->room = malloc(MACHINE_IMAGE_BYTES + 2 * BORDER_BYTES);
	memset(f->room, BORDER, MACHINE_IMAGE_BYTES + 2 * BORDER_BYTES);
	f->memory = f->room + BORDER_BYTES;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	const uint8_t *after = f->memory + MACHINE_IMAGE_BYTES;
	bool intact = true;

	for (unsigned i = 0; i < BORDER_BYTES; i++)
		intact = intact && f->room[i] == BORDER && after[i] == BORDER;
	free(f->room);
	free(f);
	return intact ? 0 : -1;
}

static const char *load(struct fixture *f, size_t bytes)
{
	struct guest_note note;
	/* On the heap, so that a sanitizer sees a read behind the end. */
	void *file = malloc(bytes ? bytes : 1);
	const char *wrong;

	memcpy(file, &f->file, bytes);
	wrong = vmm_image_load(file, bytes, f->memory, &note);
	if (!wrong)
		assert_memory_equal(&note, f->note, sizeof(note));
	free(file);
	return wrong;
}

static void a_sound_image_is_loaded(void **state)
{
	struct fixture *f = *state;

	assert_null(load(f, FILE_BYTES));
	assert_int_equal(f->memory[0], 0x90);
	assert_int_equal(f->memory[CODE_BYTES - 1], 0x90);
	/* What the file does not have is zero, what is not asked for stays. */
	assert_int_equal(f->memory[CODE_BYTES], 0);
	assert_int_equal(f->memory[MEMORY_BYTES - 1], 0);
	assert_int_equal(f->memory[MEMORY_BYTES], BORDER);
}

static void no_prefix_of_an_image_is_one(void **state)
{
	struct fixture *f = *state;

	for (size_t bytes = 0; bytes < FILE_BYTES; bytes++)
		assert_non_null(load(f, bytes));
}

static void segments_stay_in_the_images_place(void **state)
{
	static const struct {
		uint64_t gpa, file_bytes, bytes;
	} wrong[] = {
		{MACHINE_IMAGE_GPA - 1, 1, 1},
		{MACHINE_IMAGE_GPA + MACHINE_IMAGE_BYTES, 1, 1},
		{MACHINE_IMAGE_GPA + 1, 1, MACHINE_IMAGE_BYTES},
		{MACHINE_IMAGE_GPA, 1, UINT64_MAX},
		{UINT64_MAX, 1, 2},
		{0, 1, 1},
		{MACHINE_IMAGE_GPA, CODE_BYTES, CODE_BYTES - 1},
		{MACHINE_IMAGE_GPA, CODE_BYTES + 1, MEMORY_BYTES},
		{MACHINE_IMAGE_GPA, UINT64_MAX, UINT64_MAX},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		f->file.segments[0].p_paddr = wrong[i].gpa;
		f->file.segments[0].p_filesz = wrong[i].file_bytes;
		f->file.segments[0].p_memsz = wrong[i].bytes;
		assert_non_null(load(f, FILE_BYTES));
	}
}

static void a_note_points_into_the_image(void **state)
{
	static const uint64_t wrong[] = {
		0,
		8,
		MACHINE_IMAGE_GPA - 4096,
		MACHINE_IMAGE_GPA + MACHINE_IMAGE_BYTES + 4096,
		UINT64_MAX & ~UINT64_C(4095),
		UINT64_MAX,
	};
	struct fixture *f = *state;
	uint64_t *fields = (uint64_t *)f->note;

	for (size_t i = 0; i < sizeof(sound) / sizeof(uint64_t); i++) {
		for (size_t j = 0; j < ARRAY_SIZE(wrong); j++) {
			fields[i] = wrong[j];
			assert_non_null(load(f, FILE_BYTES));
		}
		*f->note = sound;
	}
	/* What is large must fit as a whole. */
	f->note->tables =
		MACHINE_IMAGE_GPA + MACHINE_IMAGE_BYTES - TABLES_BYTES + 4096;
	assert_non_null(load(f, FILE_BYTES));
	*f->note = sound;
	f->note->kernel_end = f->note->kernel_begin - 4096;
	assert_non_null(load(f, FILE_BYTES));
}

static void files_of_other_kinds_are_refused(void **state)
{
	struct fixture *f = *state;

	f->file.header.e_machine = EM_AARCH64;
	assert_non_null(load(f, FILE_BYTES));
	f->file.header.e_machine = EM_X86_64;
	f->file.header.e_phoff = UINT64_MAX - 4;
	assert_non_null(load(f, FILE_BYTES));
	f->file.header.e_phoff = sizeof(Elf64_Ehdr);
	f->file.header.e_phnum = UINT16_MAX;
	assert_non_null(load(f, FILE_BYTES));
	f->file.header.e_phnum = 1; /* no note */
	assert_non_null(load(f, FILE_BYTES));
}

static void notes_that_lie_about_their_size_end_the_search(void **state)
{
	struct fixture *f = *state;
	Elf64_Nhdr *head = (Elf64_Nhdr *)((uint8_t *)&f->file + NOTE_AT);

	head->n_namesz = UINT32_MAX;
	assert_non_null(load(f, FILE_BYTES));
	head->n_namesz = sizeof(MACHINE_NOTE_NAME);
	head->n_descsz = UINT32_MAX;
	assert_non_null(load(f, FILE_BYTES));
	head->n_descsz = sizeof(sound) - 4;
	assert_non_null(load(f, FILE_BYTES));
}

int main(void)
{
#define IMAGE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		IMAGE_TEST(a_sound_image_is_loaded),
		IMAGE_TEST(no_prefix_of_an_image_is_one),
		IMAGE_TEST(segments_stay_in_the_images_place),
		IMAGE_TEST(a_note_points_into_the_image),
		IMAGE_TEST(files_of_other_kinds_are_refused),
		IMAGE_TEST(notes_that_lie_about_their_size_end_the_search),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
