//! ELF as far as execve(2) needs it: the header and the program headers.
//!
//! goblin reads the structures; this file decides what is a program that the
//! machine can load, and refuses all else before anything is mapped. Knows
//! nothing of memory: `runtime`'s exec maps, the packer uses it for early
//! errors. See elf(5) and the RISC-V ELF psABI.

use std::ops::Range;

use goblin::container::{Container, Ctx, Endian};
use goblin::elf::program_header::{self, ProgramHeader};
use goblin::elf64::header::{self, Header};

/// Bytes of a file's beginning that [`Elf::parse`] is best given: enough for the headers of any usual program.
pub const HEAD_BYTES: usize = 4096;
/// Size of the ELF header.
pub const HEADER_BYTES: usize = 64;
/// Size of a program header (e_phentsize, AT_PHENT).
pub const PROGRAM_HEADER_BYTES: u16 = 56;
/// Most program headers, as in Linux: a table of 64 KiB.
pub const MAX_PROGRAM_HEADERS: u16 = (65536 / PROGRAM_HEADER_BYTES as u32) as u16;
/// Longest path of an interpreter, with its NUL (PATH_MAX).
pub const MAX_INTERP_BYTES: u64 = 4096;
/// First address that no program can be linked for (user space of Sv48; how
/// much of it the machine has is for its loader to say).
pub const ADDRESS_LIMIT: u64 = 1 << 47;
/// Guest page: file offsets and addresses must agree modulo this.
const PAGE: u64 = 4096;
/// How goblin is to read the structures.
const CONTEXT: Ctx = Ctx { container: Container::Big, le: Endian::Little };

/// Why a file is not a program for this machine. execve(2) answers ENOEXEC to
/// all of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ElfError {
    /// No ELF magic: perhaps a script.
    #[error("not an ELF file")]
    NotElf,
    /// Cut off within the header.
    #[error("ELF header is truncated")]
    Truncated,
    /// A program for something else.
    #[error("built for {0}, not for riscv64; build the image with --platform linux/riscv64")]
    Machine(String),
    /// An object file, a core dump…
    #[error("ELF file is {0}, not a program")]
    NotAProgram(&'static str),
    /// The program headers are not in the bytes given: read this range of the
    /// file and call [`Elf::parse_with_table`].
    #[error("ELF program headers are elsewhere in the file")]
    Table {
        /// Byte offset in the file.
        offset: u64,
        /// Bytes.
        len: u32,
    },
    /// Breaks a rule of the format.
    #[error("ELF file is damaged: {0}")]
    Malformed(&'static str),
    /// The PT_INTERP string is no path.
    #[error("ELF file names no usable interpreter: {0}")]
    Interp(&'static str),
}

/// Where a program may be loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// ET_EXEC: at its link addresses.
    Fixed,
    /// ET_DYN: anywhere, keeping distances.
    Anywhere,
}

/// A PT_LOAD segment: `file_bytes` from the file, then zeros up to `memory_bytes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Byte offset in the file.
    pub offset: u64,
    /// Link address.
    pub vaddr: u64,
    /// Bytes from the file, at most `memory_bytes`.
    pub file_bytes: u64,
    /// Bytes in memory.
    pub memory_bytes: u64,
    /// Readable.
    pub read: bool,
    /// Writable.
    pub write: bool,
    /// Executable.
    pub execute: bool,
    /// A power of two, at least a page.
    pub align: u64,
}

/// A program's headers, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elf {
    /// Where it may lie.
    pub placement: Placement,
    /// Link address of the first instruction.
    pub entry: u64,
    /// At least one, ascending and disjoint in memory (they may share pages), within the file and [`ADDRESS_LIMIT`].
    pub loads: Vec<Load>,
    /// Bytes of the file that hold the interpreter's path; see [`interp_path`].
    pub interp: Option<Range<u64>>,
    /// PT_GNU_STACK: whether the stack is to be executable; none when it does not say.
    pub executable_stack: Option<bool>,
    /// Link address of the program headers in memory (AT_PHDR); none when no segment holds them.
    pub phdr_vaddr: Option<u64>,
    /// Their number (AT_PHNUM); each has [`PROGRAM_HEADER_BYTES`].
    pub phnum: u16,
}

impl Elf {
    /// The program whose file begins with `head` and is `file_bytes` long.
    /// [`ElfError::Table`] when the program headers are not in `head`.
    pub fn parse(head: &[u8], file_bytes: u64) -> Result<Elf, ElfError> {
        let header = parse_header(head)?;
        let range = table_range(&header, file_bytes)?;
        let table = usize::try_from(range.start).ok().zip(usize::try_from(range.end).ok());
        match table.and_then(|(start, end)| head.get(start..end)) {
            Some(table) => Elf::from_parts(&header, table, file_bytes),
            None => Err(ElfError::Table { offset: range.start, len: (range.end - range.start) as u32 }),
        }
    }

    /// As [`Elf::parse`], with the program headers read separately.
    pub fn parse_with_table(head: &[u8], table: &[u8], file_bytes: u64) -> Result<Elf, ElfError> {
        let header = parse_header(head)?;
        let range = table_range(&header, file_bytes)?;
        if table.len() as u64 != range.end - range.start {
            return Err(ElfError::Malformed("program headers are truncated"));
        }
        Elf::from_parts(&header, table, file_bytes)
    }

    fn from_parts(header: &Header, table: &[u8], file_bytes: u64) -> Result<Elf, ElfError> {
        let headers = ProgramHeader::parse(table, 0, usize::from(header.e_phnum), CONTEXT)
            .map_err(|_| ElfError::Malformed("program headers are truncated"))?;
        let mut elf = Elf {
            placement: if header.e_type == header::ET_EXEC { Placement::Fixed } else { Placement::Anywhere },
            entry: header.e_entry,
            loads: Vec::new(),
            interp: None,
            executable_stack: None,
            phdr_vaddr: None,
            phnum: header.e_phnum,
        };
        for ph in &headers {
            match ph.p_type {
                program_header::PT_LOAD => elf.loads.extend(load(ph, file_bytes)?),
                // As in Linux, the first one counts.
                program_header::PT_INTERP if elf.interp.is_none() => {
                    elf.interp = Some(interp(ph, file_bytes)?)
                }
                program_header::PT_GNU_STACK => {
                    elf.executable_stack = Some(ph.p_flags & program_header::PF_X != 0);
                }
                _ => {}
            }
        }
        elf.loads.sort_by_key(|load| load.vaddr);
        if elf.loads.is_empty() {
            return Err(ElfError::Malformed("it has no segment to load"));
        }
        if elf.loads.windows(2).any(|pair| pair[0].end() > pair[1].vaddr) {
            return Err(ElfError::Malformed("segments overlap"));
        }
        // Linux asks which segment holds the table, not PT_PHDR.
        let len = table.len() as u64;
        elf.phdr_vaddr = elf.loads.iter().find_map(|load| {
            let skip = header.e_phoff.checked_sub(load.offset)?;
            (skip.checked_add(len)? <= load.file_bytes).then(|| load.vaddr + skip)
        });
        Ok(elf)
    }

    /// Link addresses from the first segment's page to the end of the last, whole pages.
    pub fn span(&self) -> Range<u64> {
        let start = self.loads.first().map_or(0, |load| load.vaddr / PAGE * PAGE);
        let end = self.loads.last().map_or(0, |load| load.end().next_multiple_of(PAGE));
        start..end
    }

    /// The largest alignment of all segments: what an [`Placement::Anywhere`] base should be a multiple of.
    pub fn align(&self) -> u64 {
        self.loads.iter().map(|load| load.align).max().unwrap_or(PAGE)
    }
}

impl Load {
    /// First address after the segment. Below [`ADDRESS_LIMIT`], as [`Elf::parse`] made sure.
    pub fn end(&self) -> u64 {
        self.vaddr.saturating_add(self.memory_bytes)
    }
}

/// The path in a PT_INTERP segment's bytes (`elf.interp` of the file).
pub fn interp_path(bytes: &[u8]) -> Result<&[u8], ElfError> {
    match bytes.split_last() {
        Some((0, path)) => {
            let path = path.split(|&b| b == 0).next().unwrap_or_default();
            if path.is_empty() { Err(ElfError::Interp("the path is empty")) } else { Ok(path) }
        }
        _ => Err(ElfError::Interp("the path has no end")),
    }
}

/// The header, when it is that of a 64-bit little-endian RISC-V program.
fn parse_header(head: &[u8]) -> Result<Header, ElfError> {
    if !head.starts_with(header::ELFMAG) {
        return Err(ElfError::NotElf);
    }
    let Some(bytes) = head.first_chunk::<HEADER_BYTES>() else { return Err(ElfError::Truncated) };
    // Class and byte order first: they say how to read the machine.
    let class = bytes[header::EI_CLASS];
    let big_endian = bytes[header::EI_DATA] == header::ELFDATA2MSB;
    let machine = [bytes[18], bytes[19]];
    let machine = if big_endian { u16::from_be_bytes(machine) } else { u16::from_le_bytes(machine) };
    if machine != header::EM_RISCV || class != header::ELFCLASS64 || big_endian {
        return Err(ElfError::Machine(machine_name(machine, class, big_endian)));
    }
    let header = Header::parse(bytes).map_err(|_| ElfError::Truncated)?;
    match header.e_type {
        header::ET_EXEC | header::ET_DYN => Ok(header),
        header::ET_REL => Err(ElfError::NotAProgram("an object file")),
        header::ET_CORE => Err(ElfError::NotAProgram("a core dump")),
        _ => Err(ElfError::NotAProgram("of an unknown type")),
    }
}

/// What `file` or docker call a machine.
fn machine_name(machine: u16, class: u8, big_endian: bool) -> String {
    let name = match machine {
        header::EM_X86_64 => "x86-64",
        header::EM_386 => "x86 (32-bit)",
        header::EM_AARCH64 => "arm64",
        header::EM_ARM => "arm (32-bit)",
        header::EM_RISCV if class == header::ELFCLASS32 => "32-bit RISC-V",
        header::EM_RISCV => "big-endian RISC-V",
        header::EM_PPC64 if big_endian => "ppc64",
        header::EM_PPC64 => "ppc64le",
        header::EM_S390 => "s390x",
        header::EM_MIPS => "mips",
        258 => "loong64",
        other => return format!("machine number {other}"),
    };
    name.to_owned()
}

/// Where the program headers are.
fn table_range(header: &Header, file_bytes: u64) -> Result<Range<u64>, ElfError> {
    if header.e_phnum == 0 {
        return Err(ElfError::Malformed("it has no program headers"));
    }
    if header.e_phentsize != PROGRAM_HEADER_BYTES {
        return Err(ElfError::Malformed("program headers have a wrong size"));
    }
    if header.e_phnum > MAX_PROGRAM_HEADERS {
        return Err(ElfError::Malformed("too many program headers"));
    }
    let len = u64::from(header.e_phnum) * u64::from(PROGRAM_HEADER_BYTES);
    match header.e_phoff.checked_add(len) {
        Some(end) if end <= file_bytes => Ok(header.e_phoff..end),
        _ => Err(ElfError::Malformed("program headers lie outside the file")),
    }
}

/// A PT_LOAD, checked for itself; none when it is empty.
fn load(ph: &ProgramHeader, file_bytes: u64) -> Result<Option<Load>, ElfError> {
    if ph.p_filesz > ph.p_memsz {
        return Err(ElfError::Malformed("a segment has more bytes in the file than in memory"));
    }
    if ph.p_offset.checked_add(ph.p_filesz).is_none_or(|end| end > file_bytes) {
        return Err(ElfError::Malformed("a segment lies outside the file"));
    }
    if ph.p_vaddr.checked_add(ph.p_memsz).is_none_or(|end| end > ADDRESS_LIMIT) {
        return Err(ElfError::Malformed("a segment lies outside the address space"));
    }
    if ph.p_filesz > 0 && ph.p_offset % PAGE != ph.p_vaddr % PAGE {
        return Err(ElfError::Malformed("a segment's offset and address differ within a page"));
    }
    if ph.p_align > 1 && !ph.p_align.is_power_of_two() || ph.p_align > ADDRESS_LIMIT {
        return Err(ElfError::Malformed("a segment's alignment is no power of two"));
    }
    Ok((ph.p_memsz > 0).then_some(Load {
        offset: ph.p_offset,
        vaddr: ph.p_vaddr,
        file_bytes: ph.p_filesz,
        memory_bytes: ph.p_memsz,
        read: ph.p_flags & program_header::PF_R != 0,
        write: ph.p_flags & program_header::PF_W != 0,
        execute: ph.p_flags & program_header::PF_X != 0,
        align: ph.p_align.max(PAGE),
    }))
}

fn interp(ph: &ProgramHeader, file_bytes: u64) -> Result<Range<u64>, ElfError> {
    if !(2..=MAX_INTERP_BYTES).contains(&ph.p_filesz) {
        return Err(ElfError::Interp("the path is empty or too long"));
    }
    match ph.p_offset.checked_add(ph.p_filesz) {
        Some(end) if end <= file_bytes => Ok(ph.p_offset..end),
        _ => Err(ElfError::Interp("the path lies outside the file")),
    }
}

#[cfg(test)]
#[path = "elf_test.rs"]
mod tests;
