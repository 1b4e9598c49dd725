# The smallest guest that does what a kernel does first: protected mode, page tables, long mode, SSE, CPUID.
# Then it ends QEMU with exit code 33 by the isa-debug-exit device. Assembled into GUEST in kvm.py by:
#   as --64 -o guest.o guest.S && ld -m elf_x86_64 -Ttext 0x7c00 --oformat binary -o guest.bin guest.o
.code16
.globl _start
_start:
  cli
  xorw %ax, %ax
  movw %ax, %ds
  movw %ax, %es
  movw %ax, %ss
  movw $0x7c00, %sp
  inb $0x92, %al
  orb $2, %al
  outb %al, $0x92
  # PML4 at 0x1000, PDPT at 0x2000, PD at 0x3000 with one page of 2 MiB
  cld
  movw $0x1000, %di
  xorl %eax, %eax
  movw $0xc00, %cx
  rep stosl
  movw $0x2003, 0x1000
  movw $0x3003, 0x2000
  movw $0x0083, 0x3000
  movl $0x1000, %eax
  movl %eax, %cr3
  movl %cr4, %eax
  orl $0x620, %eax        # PAE, OSFXSR, OSXMMEXCPT
  movl %eax, %cr4
  movl $0xc0000080, %ecx  # EFER
  rdmsr
  orl $0x100, %eax        # LME
  wrmsr
  lgdtl gdtr
  movl %cr0, %eax
  andl $0xfffffffb, %eax
  orl $0x80000003, %eax   # PG, MP, PE
  movl %eax, %cr0
  ljmp $8, $long
.code64
long:
  movw $16, %ax
  movw %ax, %ds
  movw %ax, %ss
  movups (0x7c00), %xmm0
  xorl %eax, %eax
  cpuid
  movw $0x501, %dx
  movb $0x10, %al
  outb %al, %dx
1: hlt
  jmp 1b
.balign 8
gdt: .quad 0
 .quad 0x00af9a000000ffff
 .quad 0x00cf92000000ffff
gdtr: .word 23
 .long gdt
.org 510
.word 0xaa55
