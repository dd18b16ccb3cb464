//! The stack of a new program: strings, auxiliary vector, environment and argument pointers.
//!
//! From the top down, as Linux builds it (fs/exec.c, fs/binfmt_elf.c) and the RISC-V psABI expects it:
//!
//! ```text
//! stack_end
//!   8 bytes of zero
//!   the program's path (AT_EXECFN)
//!   environment strings, then argument strings
//!   16 random bytes (AT_RANDOM)
//!   auxv pairs, AT_NULL
//!   envp pointers, NULL
//!   argv pointers, NULL
//!   argc                      ◀ sp, 16-byte aligned
//! ```

use super::exec::{Arguments, ExecError};
use crate::abi::Errno;
use crate::mm::Mm;

/// Longest single string (MAX_ARG_STRLEN), with its NUL.
pub const STRING_MAX: usize = 128 << 10;
/// Most bytes of strings and pointers, whatever RLIMIT_STACK says (3/4 of the default stack).
pub const TOTAL_MAX: u64 = 6 << 20;

const AT_PHDR: u64 = 3;
const AT_PHENT: u64 = 4;
const AT_PHNUM: u64 = 5;
const AT_PAGESZ: u64 = 6;
const AT_BASE: u64 = 7;
const AT_FLAGS: u64 = 8;
/// Address of the program's own first instruction.
pub const AT_ENTRY: u64 = 9;
const AT_UID: u64 = 11;
const AT_EUID: u64 = 12;
const AT_GID: u64 = 13;
const AT_EGID: u64 = 14;
const AT_HWCAP: u64 = 16;
const AT_CLKTCK: u64 = 17;
const AT_SECURE: u64 = 23;
/// Address of 16 random bytes, getauxval(3).
pub const AT_RANDOM: u64 = 25;
const AT_EXECFN: u64 = 31;
const AT_SYSINFO_EHDR: u64 = 33;

/// One bit a letter: I M A F D C.
const HWCAP: u64 = 1 << 8 | 1 << 12 | 1 | 1 << 5 | 1 << 3 | 1 << 2;

/// What the auxiliary vector tells, see getauxval(3).
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "the names are those of the AT_ constants; getauxval(3) says what they mean")]
pub struct Auxv {
    pub phdr: u64,
    pub phnum: u64,
    pub base: u64,
    pub entry: u64,
    pub uid: u32,
    pub euid: u32,
    pub gid: u32,
    pub egid: u32,
    pub vdso: u64,
    pub random: [u8; 16],
    /// Not in the vector: where execution begins.
    pub first_pc: u64,
}

/// Strings laid out downwards from the top of the stack.
struct Strings {
    end: u64,
    /// In reverse: the last byte of the stack first.
    reversed: Vec<u8>,
}

impl Strings {
    /// A string and its NUL; its address.
    fn push(&mut self, string: &[u8]) -> u64 {
        self.reversed.push(0);
        self.reversed.extend(string.iter().rev());
        self.end - self.reversed.len() as u64
    }
}

/// E2BIG when the strings and their pointers are too much for this stack.
pub fn check_size(args: &Arguments, stack_limit: u64) -> Result<(), Errno> {
    let strings = || args.argv.iter().chain(&args.envp);
    if strings().any(|string| string.len() >= STRING_MAX) {
        return Err(Errno::E2BIG);
    }
    let total: u64 = strings().map(|string| string.len() as u64 + 1 + 8).sum();
    if total > TOTAL_MAX.min(stack_limit / 4).max(STRING_MAX as u64) { Err(Errno::E2BIG) } else { Ok(()) }
}

/// Build the stack in `mm`; the stack pointer. E2BIG, ENOMEM.
pub fn build(mm: &Mm, path: &[u8], args: &Arguments, auxv: &Auxv) -> Result<u64, ExecError> {
    check_size(args, mm.limits().stack)?;
    let mut layout = mm.layout();
    let mut strings = Strings { end: layout.stack_end, reversed: vec![0; 8] };
    let execfn = strings.push(path);
    // Pushed from the last to the first, so that they ascend in memory.
    let env_end = layout.stack_end - strings.reversed.len() as u64;
    let envp = pushed(&mut strings, &args.envp);
    let args_end = layout.stack_end - strings.reversed.len() as u64;
    let argv = pushed(&mut strings, &args.argv);
    let args_start = layout.stack_end - strings.reversed.len() as u64;
    strings.reversed.extend(auxv.random.iter().rev());
    let random = layout.stack_end - strings.reversed.len() as u64;

    let vector = auxv_pairs(auxv, random, execfn);
    let words = 1 + argv.len() + 1 + envp.len() + 1 + vector.len();
    let sp = (random - 8 * words as u64) & !15;
    let pointers = [argv.len() as u64]
        .into_iter()
        .chain(argv)
        .chain([0])
        .chain(envp)
        .chain([0])
        .chain(vector.iter().copied());
    let mut bytes: Vec<u8> = pointers.flat_map(u64::to_le_bytes).collect();
    bytes.resize((random - sp) as usize, 0);
    strings.reversed.reverse();
    bytes.extend_from_slice(&strings.reversed);
    mm.copy_out(sp, &bytes)?;

    mm.set_auxv(vector.iter().flat_map(|word| word.to_le_bytes()).collect());
    layout.stack_start = sp;
    layout.args = (args_start, args_end);
    layout.env = (args_end, env_end);
    mm.set_layout(layout);
    Ok(sp)
}

/// Push all strings so that the first has the lowest address; their addresses in order.
fn pushed(strings: &mut Strings, list: &[Vec<u8>]) -> Vec<u64> {
    let mut addresses: Vec<u64> = list.iter().rev().map(|string| strings.push(string)).collect();
    addresses.reverse();
    addresses
}

fn auxv_pairs(auxv: &Auxv, random: u64, execfn: u64) -> Vec<u64> {
    let secure = u64::from((auxv.uid, auxv.gid) != (auxv.euid, auxv.egid));
    let pairs = [
        (AT_SYSINFO_EHDR, auxv.vdso),
        (AT_HWCAP, HWCAP),
        (AT_PAGESZ, crate::mm::PAGE),
        (AT_CLKTCK, 100),
        (AT_PHDR, auxv.phdr),
        (AT_PHENT, u64::from(friscy_formats::elf::PROGRAM_HEADER_BYTES)),
        (AT_PHNUM, auxv.phnum),
        (AT_BASE, auxv.base),
        (AT_FLAGS, 0),
        (AT_ENTRY, auxv.entry),
        (AT_UID, u64::from(auxv.uid)),
        (AT_EUID, u64::from(auxv.euid)),
        (AT_GID, u64::from(auxv.gid)),
        (AT_EGID, u64::from(auxv.egid)),
        (AT_SECURE, secure),
        (AT_RANDOM, random),
        (AT_EXECFN, execfn),
        (0, 0),
    ];
    pairs.into_iter().flat_map(|(key, value)| [key, value]).collect()
}

/// A value of an auxiliary vector in memory form.
pub fn auxv_value(vector: &[u8], key: u64) -> Option<u64> {
    let words: Vec<u64> =
        vector.chunks_exact(8).filter_map(|word| word.try_into().ok().map(u64::from_le_bytes)).collect();
    words.chunks_exact(2).find(|pair| pair[0] == key).map(|pair| pair[1])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mm::{Layout, Linear, Mapping, Place};

    #[test]
    fn the_stack_is_as_linux_builds_it() {
        let mm = Mm::new(&std::rc::Rc::new(Linear::new(1 << 20))).unwrap();
        let end = 0x20_0000;
        mm.map(Place::Fixed(end - 0x4000), Mapping::anonymous(0x4000, 3)).unwrap();
        mm.set_layout(Layout { stack_end: end, ..Layout::default() });
        let args = Arguments {
            argv: vec![b"prog".to_vec(), b"".to_vec()],
            envp: vec![b"A=1".to_vec(), b"LONG=value".to_vec()],
        };
        let auxv = Auxv {
            phdr: 0x10040,
            phnum: 9,
            base: 0x40_0000,
            entry: 0x10100,
            uid: 1,
            euid: 0,
            gid: 2,
            egid: 2,
            vdso: 0x50_0000,
            random: *b"0123456789abcdef",
            first_pc: 0,
        };
        let sp = build(&mm, b"/bin/prog", &args, &auxv).unwrap();
        assert_eq!(sp % 16, 0);
        let word = |at: u64| {
            let mut bytes = [0; 8];
            mm.copy_in(at, &mut bytes).unwrap();
            u64::from_le_bytes(bytes)
        };
        let text = |at: u64| mm.read_cstr(at, 100, Errno::ENAMETOOLONG).unwrap();
        assert_eq!(word(end - 8), 0);
        assert_eq!(text(end - 8 - 10), b"/bin/prog");
        assert_eq!(word(sp), 2);
        assert_eq!((text(word(sp + 8)), text(word(sp + 16)), word(sp + 24)), (b"prog".to_vec(), vec![], 0));
        assert_eq!(
            (text(word(sp + 32)), text(word(sp + 40)), word(sp + 48)),
            (b"A=1".to_vec(), b"LONG=value".to_vec(), 0)
        );
        // Strings ascend: arguments, environment, path.
        assert_eq!(word(sp + 16), word(sp + 8) + 5);
        assert_eq!(word(sp + 32), word(sp + 16) + 1);
        assert_eq!(word(sp + 40), word(sp + 32) + 4);
        assert_eq!(end - 18, word(sp + 40) + 11);
        let vector = mm.auxv();
        let value = |key| auxv_value(&vector, key);
        assert_eq!((value(AT_HWCAP), value(AT_SECURE), value(AT_PHENT)), (Some(0x112d), Some(1), Some(56)));
        assert_eq!((value(AT_SYSINFO_EHDR), value(AT_EXECFN)), (Some(0x50_0000), Some(end - 18)));
        let mut in_memory = vec![0; vector.len()];
        mm.copy_in(sp + 56, &mut in_memory).unwrap();
        assert_eq!(in_memory, vector);
        let mut random = [0; 16];
        mm.copy_in(value(AT_RANDOM).unwrap(), &mut random).unwrap();
        assert_eq!(&random, b"0123456789abcdef");
    }

    #[test]
    fn too_much_is_refused() {
        let args = |len: usize, count: usize| Arguments { argv: vec![vec![b'x'; len]; count], envp: vec![] };
        assert_eq!(check_size(&args(STRING_MAX, 1), 8 << 20), Err(Errno::E2BIG));
        assert_eq!(check_size(&args(STRING_MAX - 1, 15), 8 << 20), Ok(()));
        assert_eq!(check_size(&args(STRING_MAX - 1, 16), 8 << 20), Err(Errno::E2BIG));
        assert_eq!(check_size(&args(STRING_MAX - 1, 100), u64::MAX), Err(Errno::E2BIG));
    }
}
