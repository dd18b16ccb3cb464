//! Programs that load, and every way in which a hostile file must not.

use super::*;

/// An ELF file from a few lines: header, table, `len` bytes in all.
#[derive(Clone)]
struct Draft {
    e_type: u16,
    machine: u16,
    entry: u64,
    phoff: u64,
    phentsize: u16,
    headers: Vec<ProgramHeader>,
    phnum: Option<u16>,
    len: usize,
}

fn segment(p_offset: u64, p_vaddr: u64, p_filesz: u64, p_memsz: u64, p_flags: u32) -> ProgramHeader {
    ProgramHeader {
        p_type: program_header::PT_LOAD,
        p_flags,
        p_offset,
        p_vaddr,
        p_paddr: p_vaddr,
        p_filesz,
        p_memsz,
        p_align: 4096,
    }
}

/// As ld makes them: text and data sharing a file page.
fn draft() -> Draft {
    Draft {
        e_type: header::ET_DYN,
        machine: header::EM_RISCV,
        entry: 0x500,
        phoff: 64,
        phentsize: 56,
        headers: vec![segment(0, 0, 0x1800, 0x1800, 5), segment(0x1800, 0x2800, 0x400, 0x2000, 6)],
        phnum: None,
        len: 0x2000,
    }
}

impl Draft {
    fn table(&self) -> Vec<u8> {
        let mut table = Vec::new();
        for ph in &self.headers {
            table.extend(ph.p_type.to_le_bytes());
            table.extend(ph.p_flags.to_le_bytes());
            for word in [ph.p_offset, ph.p_vaddr, ph.p_paddr, ph.p_filesz, ph.p_memsz, ph.p_align] {
                table.extend(word.to_le_bytes());
            }
        }
        table
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
        bytes.extend(self.e_type.to_le_bytes());
        bytes.extend(self.machine.to_le_bytes());
        bytes.extend(1u32.to_le_bytes());
        bytes.extend(self.entry.to_le_bytes());
        bytes.extend(self.phoff.to_le_bytes());
        bytes.extend(0u64.to_le_bytes());
        bytes.extend(5u32.to_le_bytes());
        bytes.extend(64u16.to_le_bytes());
        bytes.extend(self.phentsize.to_le_bytes());
        bytes.extend(self.phnum.unwrap_or(self.headers.len() as u16).to_le_bytes());
        bytes.extend([0; 6]);
        bytes.resize(self.len.max(64), 0);
        if let Some(place) = usize::try_from(self.phoff).ok().and_then(|at| bytes.get_mut(at..)) {
            let table = self.table();
            let len = table.len().min(place.len());
            place[..len].copy_from_slice(&table[..len]);
        }
        bytes
    }

    fn parse(&self) -> Result<Elf, ElfError> {
        let bytes = self.bytes();
        Elf::parse(&bytes, bytes.len() as u64)
    }

    fn with(change: impl FnOnce(&mut Draft)) -> Result<Elf, ElfError> {
        let mut draft = draft();
        change(&mut draft);
        draft.parse()
    }
}

fn malformed(what: &'static str) -> Result<Elf, ElfError> {
    Err(ElfError::Malformed(what))
}

#[test]
fn a_usual_program_is_read() {
    let elf = draft().parse().unwrap();
    assert_eq!(
        (elf.placement, elf.entry, elf.phnum, elf.phdr_vaddr),
        (Placement::Anywhere, 0x500, 2, Some(64))
    );
    assert_eq!(elf.span(), 0..0x5000);
    assert!(elf.loads[0].execute && !elf.loads[0].write && elf.loads[1].write && !elf.loads[1].execute);
    assert_eq!(
        (elf.loads[1].file_bytes, elf.loads[1].memory_bytes, elf.loads[1].end()),
        (0x400, 0x2000, 0x4800)
    );
    assert_eq!((elf.interp, elf.executable_stack), (None, None));
    assert_eq!(Draft::with(|d| d.e_type = header::ET_EXEC).unwrap().placement, Placement::Fixed);
}

#[test]
fn the_bytes_may_lie_at_any_address() {
    let bytes = draft().bytes();
    for skip in 0..16 {
        let mut moved = vec![0; skip];
        moved.extend(&bytes);
        assert_eq!(Elf::parse(&moved[skip..], 0x2000), draft().parse());
    }
}

#[test]
fn segments_out_of_order_are_sorted_and_empty_ones_dropped() {
    let elf = Draft::with(|d| {
        d.headers.reverse();
        d.headers.push(segment(0, 0, 0, 0, 4));
    });
    assert_eq!(elf.unwrap().loads.iter().map(|l| l.vaddr).collect::<Vec<_>>(), [0, 0x2800]);
}

#[test]
fn the_table_may_be_anywhere_in_the_file() {
    let mut draft = draft();
    (draft.phoff, draft.len) = (0x10_0000, 0x10_0100);
    let bytes = draft.bytes();
    let head = &bytes[..HEAD_BYTES];
    let len = bytes.len() as u64;
    assert_eq!(Elf::parse(head, len), Err(ElfError::Table { offset: 0x10_0000, len: 112 }));
    let elf = Elf::parse_with_table(head, &draft.table(), len).unwrap();
    assert_eq!((elf.loads.len(), elf.phdr_vaddr), (2, None));
    assert_eq!(
        Elf::parse_with_table(head, &draft.table()[1..], len),
        malformed("program headers are truncated")
    );
}

#[test]
fn other_machines_are_named() {
    let says = |d: &Draft| d.parse().unwrap_err().to_string();
    let mut other = draft();
    other.machine = header::EM_X86_64;
    assert_eq!(
        says(&other),
        "built for x86-64, not for riscv64; build the image with --platform linux/riscv64"
    );
    other.machine = header::EM_AARCH64;
    assert!(says(&other).starts_with("built for arm64,"));
    other.machine = 0x1234;
    assert!(says(&other).starts_with("built for machine number 4660,"));
    let mut bytes = draft().bytes();
    bytes[header::EI_CLASS] = header::ELFCLASS32;
    assert_eq!(Elf::parse(&bytes, 0x2000), Err(ElfError::Machine("32-bit RISC-V".into())));
    bytes[header::EI_DATA] = header::ELFDATA2MSB;
    bytes[18..20].copy_from_slice(&header::EM_S390.to_be_bytes());
    assert_eq!(Elf::parse(&bytes, 0x2000), Err(ElfError::Machine("s390x".into())));
}

#[test]
fn what_is_no_program_is_refused() {
    assert_eq!(Elf::parse(b"#!/bin/sh\n", 10), Err(ElfError::NotElf));
    assert_eq!(Elf::parse(b"", 0), Err(ElfError::NotElf));
    assert_eq!(Elf::parse(&draft().bytes()[..63], 63), Err(ElfError::Truncated));
    assert_eq!(Draft::with(|d| d.e_type = header::ET_REL), Err(ElfError::NotAProgram("an object file")));
    assert_eq!(Draft::with(|d| d.e_type = header::ET_CORE), Err(ElfError::NotAProgram("a core dump")));
    assert_eq!(Draft::with(|d| d.e_type = 99), Err(ElfError::NotAProgram("of an unknown type")));
}

#[test]
fn a_hostile_table_is_refused() {
    assert_eq!(Draft::with(|d| d.headers.clear()), malformed("it has no program headers"));
    assert_eq!(Draft::with(|d| d.phentsize = 32), malformed("program headers have a wrong size"));
    assert_eq!(Draft::with(|d| d.phnum = Some(1171)), malformed("too many program headers"));
    assert_eq!(Draft::with(|d| d.phnum = Some(u16::MAX)), malformed("too many program headers"));
    let outside = malformed("program headers lie outside the file");
    assert_eq!(Draft::with(|d| d.phoff = u64::MAX - 8), outside);
    assert_eq!(Draft::with(|d| d.phoff = 0x1fff), outside);
    assert_eq!(Draft::with(|d| d.phnum = Some(1170)), outside);
    assert_eq!(
        Draft::with(|d| d.headers.iter_mut().for_each(|ph| ph.p_type = program_header::PT_NOTE)),
        malformed("it has no segment to load")
    );
}

#[test]
fn hostile_segments_are_refused() {
    let first = |change: fn(&mut ProgramHeader)| Draft::with(|d| change(&mut d.headers[0]));
    let outside_file = malformed("a segment lies outside the file");
    assert_eq!(first(|ph| (ph.p_filesz, ph.p_memsz) = (0x2001, 0x2001)), outside_file);
    assert_eq!(first(|ph| ph.p_offset = !0xfff), outside_file);
    let outside_memory = malformed("a segment lies outside the address space");
    assert_eq!(first(|ph| ph.p_memsz = u64::MAX), outside_memory);
    assert_eq!(first(|ph| ph.p_memsz = ADDRESS_LIMIT + 1), outside_memory);
    assert_eq!(first(|ph| ph.p_vaddr = !0xfff), outside_memory);
    assert_eq!(first(|ph| ph.p_memsz = 1), malformed("a segment has more bytes in the file than in memory"));
    assert_eq!(first(|ph| ph.p_memsz = 0x2801), malformed("segments overlap"));
    assert_eq!(first(|ph| ph.p_vaddr = 1), malformed("a segment's offset and address differ within a page"));
    assert_eq!(first(|ph| ph.p_align = 3), malformed("a segment's alignment is no power of two"));
    assert_eq!(first(|ph| ph.p_align = 1 << 63), malformed("a segment's alignment is no power of two"));
    assert_eq!(Draft::with(|d| d.headers.push(d.headers[0].clone())), malformed("segments overlap"));
}

#[test]
fn the_interpreter_is_within_the_file_and_ends() {
    let interp = |offset, size| {
        Draft::with(|d| {
            let mut ph = segment(offset, 0, size, size, 4);
            ph.p_type = program_header::PT_INTERP;
            d.headers.push(ph);
        })
    };
    assert_eq!(interp(0x100, 20).unwrap().interp, Some(0x100..0x114));
    assert_eq!(interp(0x1fff, 2), Err(ElfError::Interp("the path lies outside the file")));
    assert_eq!(interp(u64::MAX, 2), Err(ElfError::Interp("the path lies outside the file")));
    assert_eq!(interp(0, 1), Err(ElfError::Interp("the path is empty or too long")));
    assert_eq!(interp(0, 4097), Err(ElfError::Interp("the path is empty or too long")));
    assert_eq!(interp_path(b"/lib/ld.so\0"), Ok(&b"/lib/ld.so"[..]));
    assert_eq!(interp_path(b"/lib/ld.so\0\0\0"), Ok(&b"/lib/ld.so"[..]));
    assert_eq!(interp_path(b"\0\0"), Err(ElfError::Interp("the path is empty")));
    assert_eq!(interp_path(b"/lib/ld.so"), Err(ElfError::Interp("the path has no end")));
    assert_eq!(interp_path(b""), Err(ElfError::Interp("the path has no end")));
}

#[test]
fn the_stack_header_is_read() {
    for (flags, executable) in [(6, false), (7, true)] {
        let elf = Draft::with(|d| {
            let mut ph = segment(0, 0, 0, 0, flags);
            ph.p_type = program_header::PT_GNU_STACK;
            d.headers.push(ph);
        });
        assert_eq!(elf.unwrap().executable_stack, Some(executable));
    }
}
