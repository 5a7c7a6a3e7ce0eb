/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/kvm/vmm-image.h"

#include <elf.h>
#include <stdbool.h>
#include <string.h>

#include "base/bytes.h"
#include "tests/kvm/tables.h"

enum {
	MAX_SEGMENTS = 16,
	NOTE_ALIGN = 4,
	PAGE_BYTES = 4096,
};

struct image {
	const uint8_t *file;
	size_t bytes;
	Elf64_Ehdr header;
};

static const char *read_header(struct image *image)
{
	const Elf64_Ehdr *h = &image->header;

	if (image->bytes < sizeof(*h))
		return "it is too short";
	memcpy(&image->header, image->file, sizeof(*h));
	if (memcmp(h->e_ident, ELFMAG, SELFMAG) != 0 ||
	    h->e_ident[EI_CLASS] != ELFCLASS64 || h->e_machine != EM_X86_64)
		return "it is no 64-bit ELF file for x86";
	if (h->e_phentsize != sizeof(Elf64_Phdr) || h->e_phnum > MAX_SEGMENTS ||
	    !range_fits(h->e_phoff, h->e_phnum * sizeof(Elf64_Phdr),
			image->bytes))
		return "its program headers are not in the file";
	return NULL;
}

static Elf64_Phdr segment_at(const struct image *image, unsigned i)
{
	Elf64_Phdr segment;

	memcpy(&segment,
	       image->file + image->header.e_phoff + i * sizeof(segment),
	       sizeof(segment));
	return segment;
}

static bool in_image(uint64_t gpa, uint64_t bytes)
{
	return gpa >= MACHINE_IMAGE_GPA &&
	       range_fits(gpa - MACHINE_IMAGE_GPA, bytes, MACHINE_IMAGE_BYTES);
}

static const char *load_segment(const struct image *image,
				const Elf64_Phdr *segment, uint8_t *memory)
{
	if (!range_fits(segment->p_offset, segment->p_filesz, image->bytes))
		return "a segment is not in the file";
	if (segment->p_filesz > segment->p_memsz ||
	    !in_image(segment->p_paddr, segment->p_memsz))
		return "a segment is not where images are";
	memory += segment->p_paddr - MACHINE_IMAGE_GPA;
	memcpy(memory, image->file + segment->p_offset, segment->p_filesz);
	memset(memory + segment->p_filesz, 0,
	       segment->p_memsz - segment->p_filesz);
	return NULL;
}

/* Ours among the notes of one segment; false if there is none. */
static bool find_note(const uint8_t *notes, uint64_t bytes,
		      struct guest_note *ret_note)
{
	const char name[] = MACHINE_NOTE_NAME;
	Elf64_Nhdr head;

	while (bytes >= sizeof(head)) {
		uint64_t name_bytes, all;

		memcpy(&head, notes, sizeof(head));
		name_bytes = align_up(head.n_namesz, NOTE_ALIGN);
		all = sizeof(head) + name_bytes +
		      align_up(head.n_descsz, NOTE_ALIGN);
		if (all > bytes)
			return false;
		if (head.n_type == MACHINE_NOTE_TYPE &&
		    head.n_namesz == sizeof(name) &&
		    head.n_descsz == sizeof(*ret_note) &&
		    memcmp(notes + sizeof(head), name, sizeof(name)) == 0) {
			memcpy(ret_note, notes + sizeof(head) + name_bytes,
			       sizeof(*ret_note));
			return true;
		}
		notes += all;
		bytes -= all;
	}
	return false;
}

static bool is_page_range(uint64_t begin, uint64_t end)
{
	return begin <= end && is_aligned(begin | end, PAGE_BYTES) &&
	       in_image(begin, end - begin);
}

static bool note_is_sane(const struct guest_note *note)
{
	return in_image(note->entry, 1) && is_aligned(note->vectors, 16) &&
	       in_image(note->vectors, MACHINE_VECTORS * 16) &&
	       in_image(note->kernel_stack - PAGE_BYTES, PAGE_BYTES) &&
	       in_image(note->user_stack - PAGE_BYTES, PAGE_BYTES) &&
	       is_aligned(note->kernel_stack | note->user_stack, 16) &&
	       is_aligned(note->tables, PAGE_BYTES) &&
	       in_image(note->tables, TABLES_BYTES) &&
	       is_aligned(note->boot, sizeof(uint64_t)) &&
	       in_image(note->boot, sizeof(struct guest_boot)) &&
	       is_page_range(note->kernel_begin, note->kernel_end) &&
	       is_page_range(note->guarded_begin, note->guarded_end);
}

const char *vmm_image_load(const void *file, size_t bytes, uint8_t *memory,
			   struct guest_note *ret_note)
{
	struct image image = {.file = file, .bytes = bytes};
	const char *wrong = read_header(&image);
	struct guest_note note;
	bool noted = false;

	for (unsigned i = 0; !wrong && i < image.header.e_phnum; i++) {
		Elf64_Phdr segment = segment_at(&image, i);

		if (segment.p_type == PT_LOAD)
			wrong = load_segment(&image, &segment, memory);
		else if (segment.p_type == PT_NOTE && !noted &&
			 range_fits(segment.p_offset, segment.p_filesz, bytes))
			noted = find_note(image.file + segment.p_offset,
					  segment.p_filesz, &note);
	}
	if (wrong)
		return wrong;
	if (!noted)
		return "it has no note of ours (tests/kvm/machine.h)";
	if (!note_is_sane(&note))
		return "its note points out of the image";
	*ret_note = note;
	return NULL;
}
