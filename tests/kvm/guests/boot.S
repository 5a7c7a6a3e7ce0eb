/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything of a guest that cannot be said in C: the two notes by which it is
 * found, the way from 32-bit mode to 64-bit mode, the way from level 0 to level
 * 3, and the stubs by which the processor comes back from there.
 */

#define PAGE 4096

/* --- notes --- */

	.section .note.guest, "a", @note
	/* Xen's PHYS32_ENTRY (18): a 32-bit address to enter at. */
	.align 4
	.long 4, 8, 18
	.asciz "Xen"
	.quad pvh_entry
	/* Ours: struct guest_note, tests/kvm/machine.h. */
	.align 4
	.long 9, note_end - note_begin, 1
	.asciz "Ringline"
	.align 4
note_begin:
	.globl guest_note
guest_note:
	.quad user_entry
	.quad vectors
	.quad kernel_stack_end
	.quad user_stack_end
	.quad tables
	.quad guest_boot
	.quad kernel_begin
	.quad kernel_end
	.quad kernel_end	/* the guarded page follows the kernel */
	.quad guarded_end
note_end:

/* --- PVH: 32-bit mode, no paging, ebx has the start_info --- */

	.section .kernel.start, "ax"
	.code32
	.globl pvh_entry
pvh_entry:
	cld
	cli
	movl $kernel_stack_end, %esp
	/*
	 * Page tables for the way: the first GiB as it is. Entries of the
	 * directory are 2 MiB pages, present and writable.
	 */
	movl $first_pd, %edi
	movl $0x83, %eax
	movl $512, %ecx
1:	movl %eax, (%edi)
	movl $0, 4(%edi)
	addl $0x200000, %eax
	addl $8, %edi
	loop 1b
	movl $first_pd + 3, first_pdpt
	movl $first_pdpt + 3, first_pml4
	/* Long mode: PAE on, EFER.LME on, then paging on. */
	movl %cr4, %eax
	orl $0x20, %eax
	movl %eax, %cr4
	movl $first_pml4, %eax
	movl %eax, %cr3
	movl $0xc0000080, %ecx
	rdmsr
	orl $0x901, %eax
	wrmsr
	movl $0x80010033, %eax
	movl %eax, %cr0
	/* Still 32-bit code, until CS is loaded with a 64-bit segment. */
	lgdt first_gdt_pointer
	ljmp $0x08, $long_mode

	.code64
long_mode:
	xorl %eax, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %fs
	movl %eax, %gs
	movl %eax, %ss
	movl %ebx, %edi
	call kernel_pvh
	/*
	 * The tables are made; the GDT is on their first page, the TSS behind
	 * it, then the IDT (tests/kvm/tables.h has the offsets).
	 */
	movq $tables + 0x1000, %rax
	movq %rax, %cr3
	lgdt gdt_pointer
	lidt idt_pointer
	movw $8 << 3, %ax
	ltr %ax
	call kernel_pvh_devices
	/* iretq takes the five values that an interrupt at level 3 pushes. */
	pushq $(5 << 3 | 3)
	pushq $user_stack_end
	pushq $0x3002
	pushq $(6 << 3 | 3)
	pushq $user_entry
	movq $guest_boot, %rdi
	iretq

	.section .kernel.data, "aw"
	.align 8
first_gdt:
	.quad 0
	.quad 0x00af9b000000ffff
first_gdt_pointer:
	.word . - first_gdt - 1
	.long first_gdt
gdt_pointer:
	.word 10 * 8 - 1
	.quad tables
idt_pointer:
	.word 64 * 16 - 1
	.quad tables + 0x400

/* --- exceptions and interrupts --- */

	.section .kernel.text, "ax"
	/*
	 * The processor has pushed SS, RSP, RFLAGS, CS, RIP and, for some
	 * exceptions, an error code; a stub makes that the same for all.
	 */
	.align 16
vectors:
	.set vector, 0
	.rept 64
	.align 16
	.if vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 || vector == 29 || vector == 30
	.else
	pushq $0
	.endif
	pushq $vector
	jmp save
	.set vector, vector + 1
	.endr

	/* What is pushed here is struct kernel_frame, from its end. */
save:
	pushq %rax
	pushq %rbx
	pushq %rcx
	pushq %rdx
	pushq %rsi
	pushq %rdi
	pushq %rbp
	pushq %r8
	pushq %r9
	pushq %r10
	pushq %r11
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	cld
	movq %rsp, %rdi
	movq %rsp, %rbp
	andq $-16, %rsp
	call kernel_trap
	movq %rbp, %rsp
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %r11
	popq %r10
	popq %r9
	popq %r8
	popq %rbp
	popq %rdi
	popq %rsi
	popq %rdx
	popq %rcx
	popq %rbx
	popq %rax
	addq $16, %rsp
	iretq

/* --- level 3 --- */

	.section .text, "ax"
user_entry:
	xorl %ebp, %ebp
	call guest_main
	/* What main returns is the verdict: the exit port, and no return. */
	movw $0xf4, %dx
	outl %eax, %dx
1:	jmp 1b

/* --- room --- */

	.section .kernel.bss, "aw", @nobits
	.align PAGE
	.globl tables
tables:
	.skip 9 * PAGE
first_pml4:
	.skip PAGE
first_pdpt:
	.skip PAGE
first_pd:
	.skip PAGE
	.skip 4 * PAGE
kernel_stack_end:

	.section .bss
	.align PAGE
	.globl guest_boot
guest_boot:
	.skip PAGE
	.skip 8 * PAGE
user_stack_end:

	.section .note.GNU-stack, "", @progbits
