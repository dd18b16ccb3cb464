//! The vDSO: a small ELF image that the kernel maps into every process. See vdso(7).
//!
//! It holds `__vdso_rt_sigreturn`, where signal handlers return to; debuggers
//! and unwinders know its two instructions. There is no clock in it: see
//! docs/RATIONALE.md.
//!
//! The image is put together here, table by table, in the order in which it lies.

use std::rc::Rc;

use crate::abi::Errno;
use crate::fs::Pages;
use crate::mm::shared::Sharers;
use crate::mm::{Mapped, PAGE};

/// Where `__vdso_rt_sigreturn` is in the image.
pub const SIGRETURN_OFFSET: u64 = 0x800;

/// `addi a7, zero, 139` (rt_sigreturn), `ecall`: uncompressed, as unwinders look for.
const SIGRETURN: [u32; 2] = [0x08b0_0893, 0x0000_0073];

const NAMES: &[u8] = b"\0__vdso_rt_sigreturn\0linux-vdso.so.1\0LINUX_4.15\0";
const NAME_SYMBOL: u32 = 1;
const NAME_SONAME: u32 = 21;
const NAME_VERSION: u32 = 37;

// Offsets of the parts, which are also their link addresses.
const PROGRAM_HEADERS: u64 = 64;
const DYNAMIC: u64 = 0x100;
const SYMBOLS: u64 = 0x200;
const STRINGS: u64 = 0x240;
const HASH: u64 = 0x280;
const VERSYM: u64 = 0x2a0;
const VERDEF: u64 = 0x2b0;

/// The image: one page.
fn image() -> [u8; PAGE as usize] {
    let mut image = Image([0; PAGE as usize]);
    image.header();
    image.dynamic();
    // Symbols: the null one, then ours (GLOBAL FUNC, section index 1: merely "defined").
    image.put32(SYMBOLS + 24, &[NAME_SYMBOL, 0x0001_0012]);
    image.put64(SYMBOLS + 32, &[SIGRETURN_OFFSET, 8]);
    image.put(STRINGS, NAMES);
    // System V hash: one bucket with symbol 1, whose chain ends.
    image.put32(HASH, &[1, 2, 1, 0, 0]);
    // Versions: the symbol has version 2; 1 is the file itself (VER_FLG_BASE).
    image.put(VERSYM, &[0, 0, 2, 0]);
    image.version(VERDEF, 1, 1, NAME_SONAME, 28);
    image.version(VERDEF + 28, 0, 2, NAME_VERSION, 0);
    image.put32(SIGRETURN_OFFSET, &SIGRETURN);
    image.0
}

struct Image([u8; PAGE as usize]);

impl Image {
    fn put(&mut self, at: u64, bytes: &[u8]) {
        self.0[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
    }

    fn put32(&mut self, at: u64, words: &[u32]) {
        for (at, word) in (at..).step_by(4).zip(words) {
            self.put(at, &word.to_le_bytes());
        }
    }

    fn put64(&mut self, at: u64, words: &[u64]) {
        for (at, word) in (at..).step_by(8).zip(words) {
            self.put(at, &word.to_le_bytes());
        }
    }

    fn header(&mut self) {
        // ELFCLASS64, little-endian, version 1; ET_DYN, EM_RISCV, version 1.
        self.put(0, b"\x7fELF\x02\x01\x01");
        self.put32(16, &[243 << 16 | 3, 1]);
        // No entry; program headers; no sections; flags: compressed code, double-float ABI.
        self.put64(24, &[0, PROGRAM_HEADERS, 0]);
        self.put32(48, &[5, 56 << 16 | 64, 2, 0]);
        // PT_LOAD, R X: the whole page. PT_DYNAMIC, R.
        self.put32(PROGRAM_HEADERS, &[1, 5]);
        self.put64(PROGRAM_HEADERS + 8, &[0, 0, 0, PAGE, PAGE, PAGE]);
        self.put32(PROGRAM_HEADERS + 56, &[2, 4]);
        self.put64(PROGRAM_HEADERS + 64, &[DYNAMIC, DYNAMIC, DYNAMIC, 160, 160, 8]);
    }

    fn dynamic(&mut self) {
        let entries: [(u64, u64); 10] = [
            (14, NAME_SONAME.into()), // DT_SONAME
            (4, HASH),                // DT_HASH
            (5, STRINGS),             // DT_STRTAB
            (6, SYMBOLS),             // DT_SYMTAB
            (10, NAMES.len() as u64), // DT_STRSZ
            (11, 24),                 // DT_SYMENT
            (0x6fff_fff0, VERSYM),    // DT_VERSYM
            (0x6fff_fffc, VERDEF),    // DT_VERDEF
            (0x6fff_fffd, 2),         // DT_VERDEFNUM
            (0, 0),                   // DT_NULL
        ];
        for (at, (tag, value)) in (DYNAMIC..).step_by(16).zip(entries) {
            self.put64(at, &[tag, value]);
        }
    }

    /// A version definition with its one name right behind it.
    fn version(&mut self, at: u64, flags: u32, index: u32, name: u32, next: u32) {
        let text = NAMES[name as usize..].split(|&b| b == 0).next().unwrap_or_default();
        // vd_version and vd_flags, vd_ndx and vd_cnt, vd_hash, vd_aux, vd_next; vda_name, vda_next.
        self.put32(at, &[flags << 16 | 1, 1 << 16 | index, hash(text), 20, next, name, 0]);
    }
}

/// The System V hash of a name, see the ELF gABI.
fn hash(name: &[u8]) -> u32 {
    name.iter().fold(0, |h: u32, &b| {
        let h = (h << 4).wrapping_add(b.into());
        (h ^ (h & 0xf000_0000) >> 24) & 0x0fff_ffff
    })
}

/// The image as something to map.
struct Vdso {
    image: [u8; PAGE as usize],
    sharers: Sharers,
}

/// A new one to map; a machine needs only one.
pub fn mapped() -> Rc<Mapped> {
    let pages = Rc::new(Vdso { image: image(), sharers: Sharers::default() });
    Rc::new(Mapped { pages, dentry: None, name: b"[vdso]".to_vec() })
}

impl Pages for Vdso {
    fn size(&self) -> u64 {
        PAGE
    }

    fn read_page(&self, offset: u64, page: &mut [u8; PAGE as usize]) -> Result<(), Errno> {
        *page = if offset == 0 { self.image } else { [0; PAGE as usize] };
        Ok(())
    }

    fn write_page(&self, _offset: u64, _page: &[u8; PAGE as usize]) -> Result<(), Errno> {
        Err(Errno::EACCES)
    }

    fn sharers(&self) -> &Sharers {
        &self.sharers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_is_a_program_for_this_machine() {
        let image = image();
        let elf = friscy_formats::elf::Elf::parse(&image, PAGE).unwrap();
        assert_eq!(elf.span(), 0..PAGE);
        assert_eq!(&image[STRINGS as usize + NAME_VERSION as usize..][..10], b"LINUX_4.15");
        assert_eq!(&image[STRINGS as usize + NAME_SONAME as usize..][..15], b"linux-vdso.so.1");
        assert_eq!(hash(b"LINUX_4.15"), 0x0ae7_7f75);
    }
}
